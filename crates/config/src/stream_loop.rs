//! Mirror streams that would go round: copies for an address where this switch takes streams itself, and whose session watches
//! what arrives there, at once or by way of other sessions.

use crate::problem::Faults;
use crate::session::{MirrorDestination, MirrorDirection, RemoteDestination, SessionConfig};
use crate::{Attachment, Config, PortConfig};

/// The ports and sessions of a plan as they would be.
pub(crate) struct Streams<'a> {
    ports: Vec<&'a PortConfig>,
    /// Without the one that is asked about.
    sessions: Vec<&'a SessionConfig>,
}

impl<'a> Streams<'a> {
    pub(crate) fn new(
        ports: impl Iterator<Item = &'a PortConfig>,
        sessions: impl Iterator<Item = &'a SessionConfig>,
    ) -> Self {
        Self { ports: ports.collect(), sessions: sessions.collect() }
    }

    /// Whether no copy of `session` for `destination` comes back to that session. Each port is looked at once at most.
    pub(crate) fn check_loop(
        &self,
        session: &SessionConfig,
        destination: &MirrorDestination,
    ) -> Result<(), String> {
        let MirrorDestination::Remote(remote) = destination else { return Ok(()) };
        let mut reached: Vec<_> = self.ending(remote).collect();
        let mut looked_at = 0;
        while let Some(port) = reached.get(looked_at).copied() {
            looked_at += 1;
            if watches_stream(session, port) {
                let (remote, name) = (remote.remote, &port.name);
                return Err(format!(
                    "copies for {remote} arrive at this switch again, and those that come to the port {name:?} would be watched again; write another remote, or leave that port out of the sources"
                ));
            }
            let watching = self.sessions.iter().filter(|other| watches_stream(other, port));
            for next in watching.flat_map(|other| remotes(other)).flat_map(|to| self.ending(to)) {
                if !reached.iter().any(|known| known.name == next.name) {
                    reached.push(next);
                }
            }
        }
        Ok(())
    }

    /// The ports at which copies for `remote` arrive.
    fn ending(&self, remote: &RemoteDestination) -> impl Iterator<Item = &'a PortConfig> {
        let is_end = |port: &&PortConfig| match &port.attachment {
            Attachment::Decap(point) => point.local == remote.remote,
            _ => false,
        };
        self.ports.iter().copied().filter(is_end)
    }
}

impl Config {
    /// Whether no session's copies go round once `port` is as it is here.
    pub(crate) fn check_streams_into(
        &self,
        port: &PortConfig,
        key: &'static str,
        faults: &mut Faults,
    ) {
        let others = || self.ports.iter().filter(|other| other.name != port.name);
        for session in &self.sessions {
            let beside = self.sessions.iter().filter(|other| other.name != session.name);
            let streams = Streams::new(others().chain([port]), beside);
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
