//! Whether a named mirror session fits beside the ports and the other sessions of a plan.

use helio_types::MAX_LEGS;

use crate::own_address::OwnAddress;
use crate::problem::{Faults, SessionFaults};
use crate::session::{MirrorDestination, SessionConfig};
use crate::{Attachment, Config, SessionError};

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
        for (position, destination) in session.destinations.iter().enumerate() {
            if old.is_some_and(|old| old.destinations.contains(destination)) {
                continue;
            }
            let mut faults = Faults::default();
            faults.keep(destination.port_key(), self.check_destination(destination));
            let beside = |other| check_own_addresses(destination, other);
            let beside_all = others().try_for_each(beside);
            faults.keep("mac", beside_all.and_then(|()| self.check_decap_addresses(destination)));
            all.take(Some(position), faults);
        }
        all.none_or(Some(()))
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

/// Whether the switch can have its address of `destination` beside those of the session `other`.
fn check_own_addresses(
    destination: &MirrorDestination,
    other: &SessionConfig,
) -> Result<(), String> {
    let owner = format!("the session {:?}", other.name);
    other.destinations.iter().try_for_each(|other| destination.check_own_address(other, &owner))
}

fn no_such_port(name: &str) -> String {
    format!("there is no port {name:?}; write the name of one that there is, or add it first")
}
