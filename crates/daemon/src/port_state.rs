//! What each port does, in a word and in a sentence, whether that is a failure, and why nothing arrives at one.

use helio_api::PortState;
use helio_config::{Attachment, DecapPoint};
use helio_host::Gravity;

use crate::ports::{Ports, ServedPort};

/// What a port does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    /// In a word.
    pub(crate) word: PortState,
    /// Whether an operator should be warned of it.
    pub(crate) gravity: Gravity,
    /// In a sentence.
    pub(crate) detail: String,
}

/// What a port does. One that takes mirror streams does so as long as its uplink carries frames.
pub(crate) fn port_state(port: &ServedPort, ports: &Ports) -> Condition {
    let own = port.handle.condition();
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
    // Its uplink says itself whether that is a failure.
    Condition { word: PortState::Waiting, gravity: Gravity::Usual, detail: why }
}

/// Why no frame can arrive at a port now; `None` when it can.
pub(crate) fn why_nothing_arrives(port: &ServedPort) -> Option<String> {
    let Condition { word, detail, .. } = port.handle.condition();
    (word != PortState::Up).then(|| format!("port {:?} is {word}: {detail}", port.config.name))
}
