//! Mirror streams that would go round: copies for an address where this switch takes streams itself, and whose session watches
//! what arrives there, at once or by way of other sessions.

use std::cell::OnceCell;

use crate::problem::Faults;
use crate::session::{MirrorDestination, MirrorDirection, RemoteDestination, SessionConfig};
use crate::{Attachment, Config, DecapPoint, PortConfig};

/// The ports and sessions of a plan as they would be.
pub(crate) struct Streams<'a> {
    /// The ports that take streams.
    ends: Vec<End<'a>>,
    /// All sessions, also those that are asked about: who is reached by its own copies is refused.
    sessions: Vec<&'a SessionConfig>,
}

/// A port that takes streams.
struct End<'a> {
    port: &'a PortConfig,
    point: &'a DecapPoint,
    /// The places of the sessions that watch what arrives there, once that was asked: most ports are never reached.
    watchers: OnceCell<Vec<usize>>,
}

/// The ports that copies come to, each once.
struct Reached {
    /// By their places among all.
    is_reached: Vec<bool>,
    places: Vec<usize>,
}

impl<'a> Streams<'a> {
    pub(crate) fn new(
        ports: impl Iterator<Item = &'a PortConfig>,
        sessions: impl Iterator<Item = &'a SessionConfig>,
    ) -> Self {
        let end = |port: &'a PortConfig| match &port.attachment {
            Attachment::Decap(point) => Some(End { port, point, watchers: OnceCell::new() }),
            _ => None,
        };
        Self { ends: ports.filter_map(end).collect(), sessions: sessions.collect() }
    }

    /// Whether no copy of `session`, one of these, for `destination` comes back to that session. Each port and each session is
    /// looked at once at most: a plan may have many of both, and is checked while the switch runs.
    pub(crate) fn check_loop(
        &self,
        session: &SessionConfig,
        destination: &MirrorDestination,
    ) -> Result<(), String> {
        let MirrorDestination::Remote(remote) = destination else { return Ok(()) };
        let mut reached = Reached::by(remote, &self.ends);
        let mut has_sent = vec![false; self.sessions.len()];
        let mut looked_at = 0;
        while let Some(end) = reached.places.get(looked_at).and_then(|place| self.ends.get(*place))
        {
            looked_at += 1;
            for watcher in end.watchers(&self.sessions) {
                let Some(other) = self.sessions.get(*watcher) else { continue };
                if std::ptr::eq(*other, session) {
                    return Err(goes_round(remote, &end.port.name));
                }
                let sends =
                    has_sent.get_mut(*watcher).is_some_and(|it| !std::mem::replace(it, true));
                if sends {
                    remotes(other).for_each(|next| reached.add(next, &self.ends));
                }
            }
        }
        Ok(())
    }
}

impl End<'_> {
    fn watchers(&self, sessions: &[&SessionConfig]) -> &[usize] {
        self.watchers.get_or_init(|| {
            let each = sessions.iter().enumerate();
            let watching = each.filter(|(_, session)| watches_stream(session, self.port));
            watching.map(|(place, _)| place).collect()
        })
    }
}

impl Reached {
    /// Those that copies for `remote` arrive at.
    fn by(remote: &RemoteDestination, ends: &[End<'_>]) -> Self {
        let mut reached = Self { is_reached: vec![false; ends.len()], places: Vec::new() };
        reached.add(remote, ends);
        reached
    }

    /// And those that copies for `remote` arrive at.
    fn add(&mut self, remote: &RemoteDestination, ends: &[End<'_>]) {
        for (place, (end, is_reached)) in ends.iter().zip(&mut self.is_reached).enumerate() {
            if !*is_reached && remote.arrives_at(end.point) {
                *is_reached = true;
                self.places.push(place);
            }
        }
    }
}

fn goes_round(remote: &RemoteDestination, port: &str) -> String {
    let remote = remote.remote;
    format!(
        "copies for {remote} arrive at this switch again, and those that come to the port {port:?} would be watched again; write another remote, or leave that port out of the sources"
    )
}

impl Config {
    /// Whether no session's copies go round once `port` is as it is here.
    pub(crate) fn check_streams_into(
        &self,
        port: &PortConfig,
        key: &'static str,
        faults: &mut Faults,
    ) {
        let others = self.ports.iter().filter(|other| other.name != port.name);
        let streams = Streams::new(others.chain([port]), self.sessions.iter());
        for session in &self.sessions {
            let mut destinations = session.destinations.iter();
            let no_loop = destinations.try_for_each(|to| streams.check_loop(session, to));
            let said = |why| format!("in the mirror session {:?}, {why}", session.name);
            faults.keep(key, no_loop.map_err(said));
        }
    }
}

/// Whether a session watches what arrives at a port that takes streams: nothing is ever sent to such a port.
fn watches_stream(session: &SessionConfig, port: &PortConfig) -> bool {
    let sources = &session.sources;
    session.direction != MirrorDirection::Egress
        && (sources.ports.contains(&port.name)
            || port.labels.iter().any(|label| sources.labels.contains(label)))
}

fn remotes(session: &SessionConfig) -> impl Iterator<Item = &RemoteDestination> {
    session.destinations.iter().filter_map(|destination| match destination {
        MirrorDestination::Remote(remote) => Some(remote),
        MirrorDestination::Port { .. } | MirrorDestination::Rspan { .. } => None,
    })
}
