//! Which ring of a port.

use std::fmt;

/// The two kinds of queue of a pair. VIRTIO 1.2, section 5.1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueueKind {
    /// The guest receives: our egress.
    Receive,
    /// The guest sends: our ingress.
    Transmit,
}

/// A ring of a port. The control queue of the guest stays with the front-end, so rings alternate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RingId {
    /// Queue pair, counted from 0.
    pub(crate) pair: u8,
    /// Which queue of the pair.
    pub(crate) kind: QueueKind,
}

impl RingId {
    /// The ring that messages call `index`; `None` when it is beyond the 256 that a message can name.
    pub(crate) fn new(index: usize) -> Option<Self> {
        let kind = if index.is_multiple_of(2) { QueueKind::Receive } else { QueueKind::Transmit };
        (index < 256).then_some(())?;
        Some(Self { pair: u8::try_from(index / 2).ok()?, kind })
    }
}

impl fmt::Display for RingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            QueueKind::Receive => "receiveq",
            QueueKind::Transmit => "transmitq",
        };
        write!(f, "{kind} {}", self.pair)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_alternate_between_receive_and_transmit() {
        let names: Vec<_> = (0..4).map(|i| RingId::new(i).unwrap().to_string()).collect();
        assert_eq!(names, ["receiveq 0", "transmitq 0", "receiveq 1", "transmitq 1"]);
        assert_eq!(RingId::new(255).unwrap().pair, 127);
        assert_eq!(RingId::new(256), None);
    }
}
