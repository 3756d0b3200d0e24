//! Whether a named mirror session fits beside the ports and the other sessions of a plan.

use helio_types::MAX_LEGS;

use crate::own_address::OwnAddress;
use crate::problem::{Faults, SessionFaults};
use crate::session::{MirrorDestination, MirrorDirection, SessionConfig};
use crate::stream_loop::Streams;
use crate::{Attachment, Config, PortConfig, PortError, SessionError};

impl Config {
    /// Whether `session` can join the sessions of this plan.
    ///
    /// # Errors
    ///
    /// Its name belongs to another one, a port it names does not exist or cannot be what it is to be, or there would be more
    /// than [`MAX_LEGS`] destinations in all.
    pub fn check_session_fits(&self, session: &SessionConfig) -> Result<(), SessionError> {
        self.check_session(session, None)
    }

    /// Whether `session` can take the place of the session `old` of this plan. As [`Config::check_session_fits`], but the
    /// ports that `old` named already may be gone: a session outlives its ports, and watches them again when they are back.
    ///
    /// # Errors
    ///
    /// As [`Config::check_session_fits`].
    pub fn check_session_change(
        &self,
        session: &SessionConfig,
        old: &SessionConfig,
    ) -> Result<(), SessionError> {
        self.check_session(session, Some(old))
    }

    fn check_session(
        &self,
        session: &SessionConfig,
        old: Option<&SessionConfig>,
    ) -> Result<(), SessionError> {
        let others = || {
            let is_other = |other: &&SessionConfig| old.is_none_or(|old| other.name != old.name);
            self.sessions.iter().filter(is_other)
        };
        let mut all = SessionFaults::default();
        let mut own = Faults::default();
        if others().any(|other| other.name == session.name) {
            let name = &session.name;
            own.add("name", format!("there is a session {name:?} already; write another name"));
        }
        let was_named = |port: &String| old.is_some_and(|old| old.sources.ports.contains(port));
        for port in session.sources.ports.iter().filter(|port| !was_named(port)) {
            if self.port_named(port).is_none() {
                own.add("source-ports", no_such_port(port));
            }
        }
        let legs: usize = others().map(|other| other.destinations.len()).sum();
        if legs + session.destinations.len() > MAX_LEGS {
            let text = format!(
                "all named sessions together would have more than {MAX_LEGS} destinations; leave some out"
            );
            own.add("destination", text);
        }
        all.take(None, own);
        let streams = Streams::new(self.ports.iter(), others().chain([session]));
        for (position, destination) in session.destinations.iter().enumerate() {
            let mut faults = Faults::default();
            if !old.is_some_and(|old| old.destinations.contains(destination)) {
                faults.keep(destination.port_key(), self.check_destination(destination));
                let beside = |other| check_own_addresses(destination, other);
                let beside_all = others().try_for_each(beside);
                let own = beside_all.and_then(|()| self.check_decap_addresses(destination));
                faults.keep("mac", own);
                let numbers = |other| check_numbers(destination, other);
                faults.keep("id", others().try_for_each(numbers));
            }
            // It may be watched only now.
            if let Some(port) = self.port_named(destination.port()) {
                let no_loop = check_labels(port, session, destination);
                faults.keep(destination.port_key(), no_loop);
            }
            faults.keep("remote", streams.check_loop(session, destination));
            all.take(Some(position), faults);
        }
        all.none_or(Some(()))
    }

    /// Whether `port` can have its labels beside the sessions of this plan.
    ///
    /// # Errors
    ///
    /// One of them would make it a source of a session whose copies it gets, or lets out, or takes in again.
    pub fn check_labels(&self, port: &PortConfig) -> Result<(), PortError> {
        let mut faults = Faults::default();
        self.check_labels_into(port, &mut faults);
        self.check_streams_into(port, "labels", &mut faults);
        faults.none_or(Some(()))
    }

    pub(crate) fn check_labels_into(&self, port: &PortConfig, faults: &mut Faults) {
        for session in &self.sessions {
            let here = session.destinations.iter().filter(|other| other.port() == port.name);
            let no_loop = here.map(|here| check_labels(port, session, here));
            let no_loop = no_loop.collect::<Result<Vec<()>, _>>();
            let said = |why| format!("in the mirror session {:?}, {why}", session.name);
            faults.keep("labels", no_loop.map_err(said));
        }
    }

    fn check_destination(&self, destination: &MirrorDestination) -> Result<(), String> {
        let name = destination.port();
        if let MirrorDestination::Remote(_) = destination {
            return self.check_uplink(name);
        }
        match self.port_named(name).map(|port| &port.attachment) {
            None => Err(no_such_port(name)),
            Some(Attachment::Decap(_)) => Err(format!(
                "the port {name:?} takes mirror streams, and nothing can be sent to it; write another port"
            )),
            Some(_) => Ok(()),
        }
    }

    /// Whether the switch can have its address of `destination` beside those of its decap ports.
    fn check_decap_addresses(&self, destination: &MirrorDestination) -> Result<(), String> {
        let MirrorDestination::Remote(remote) = destination else { return Ok(()) };
        let own = OwnAddress::from(remote);
        self.ports.iter().try_for_each(|port| match &port.attachment {
            Attachment::Decap(point) => {
                own.check_beside(&point.into(), &format!("the port {:?}", port.name))
            }
            _ => Ok(()),
        })
    }
}

/// Whether a label of `port`, which is that of `destination`, lets copies of `session` be watched again.
fn check_labels(
    port: &PortConfig,
    session: &SessionConfig,
    destination: &MirrorDestination,
) -> Result<(), String> {
    let name = &port.name;
    let Some(label) = port.labels.iter().find(|label| session.sources.labels.contains(label))
    else {
        return Ok(());
    };
    match destination {
        MirrorDestination::Remote(_) if session.direction == MirrorDirection::Ingress => Ok(()),
        MirrorDestination::Remote(_) => Err(format!(
            "copies leave by {name:?}, which the label {label:?} makes a source, and would be watched again; write direction = \"ingress\", or take the label from that port"
        )),
        MirrorDestination::Port { .. } | MirrorDestination::Rspan { .. } => Err(format!(
            "the label {label:?} makes {name:?} a source too, and its copies would be watched again; write another port, or take the label from that one"
        )),
    }
}

/// Whether the switch can have its address of `destination` beside those of the session `other`.
fn check_own_addresses(
    destination: &MirrorDestination,
    other: &SessionConfig,
) -> Result<(), String> {
    let owner = format!("the session {:?}", other.name);
    other.destinations.iter().try_for_each(|other| destination.check_own_address(other, &owner))
}

/// Whether a collector can tell the numbers of `destination` from those of the session `other`.
fn check_numbers(destination: &MirrorDestination, other: &SessionConfig) -> Result<(), String> {
    let owner = format!("the session {:?}", other.name);
    other.destinations.iter().try_for_each(|other| destination.check_numbers(other, &owner))
}

fn no_such_port(name: &str) -> String {
    format!("there is no port {name:?}; write the name of one that there is, or add it first")
}
