//! What each port does, in a word and in a sentence, and why nothing arrives at one.

use helio_api::PortState;
use helio_config::{Attachment, DecapPoint};

use crate::ports::{Ports, ServedPort};

/// What a port does. One that takes mirror streams does so as long as its uplink carries frames.
pub(crate) fn port_state(port: &ServedPort, ports: &Ports) -> (PortState, String) {
    let own = port.handle.state();
    let Attachment::Decap(DecapPoint { uplink, local, .. }) = &port.config.attachment else {
        return own;
    };
    let why = match ports.find(uplink) {
        None => {
            format!("there is no port {uplink:?}; streams for {local} are taken once there is one")
        }
        Some(found) if !matches!(found.config.attachment, Attachment::Uplink(_)) => {
            format!("port {uplink:?} is no uplink, and streams for {local} arrive on one")
        }
        Some(found) => match why_nothing_arrives(found) {
            Some(why) => why,
            None => return own,
        },
    };
    (PortState::Waiting, why)
}

/// Why no frame can arrive at a port now; `None` when it can.
pub(crate) fn why_nothing_arrives(port: &ServedPort) -> Option<String> {
    let (state, detail) = port.handle.state();
    (state != PortState::Up).then(|| format!("port {:?} is {state}: {detail}", port.config.name))
}
