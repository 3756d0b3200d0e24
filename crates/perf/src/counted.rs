//! What a switch says it took in, beside what its guests sent: each is a check of the other.
//!
//! Asked once for each switch, when all windows of a cell are over. Figures never come from here: frames are counted where
//! they arrive.

use serde::Serialize;

use crate::cells::Scene;
use crate::error::PerfError;
use crate::peer_name::PeerName;
use crate::peers::Counters;

/// One switch of one cell.
#[derive(Clone, Debug, Serialize)]
pub struct Counted {
    /// The switch.
    pub peer: PeerName,
    /// Its guests.
    pub scene: Scene,
    /// Frames that they have sent since they were attached, those included by which they made themselves known.
    pub sent: u64,
    /// Frames that it says it has taken in since it was started.
    pub taken_in: Option<u64>,
    /// What it said when the two differ, or why it could not be asked.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub said: String,
}

impl Counted {
    pub(crate) fn new(
        peer: PeerName,
        scene: Scene,
        sent: u64,
        asked: Result<Counters, PerfError>,
    ) -> Self {
        let (taken_in, said) = match asked {
            Ok(Counters { taken_in, .. }) if taken_in == sent => (Some(taken_in), String::new()),
            Ok(Counters { taken_in, text }) => (Some(taken_in), text),
            Err(error) => (None, error.to_string()),
        };
        Self { peer, scene, sent, taken_in, said }
    }

    /// Whether it says the same as its guests.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.taken_in == Some(self.sent)
    }

    /// What differs, in words.
    #[must_use]
    pub fn difference(&self) -> String {
        let Self { peer, sent, taken_in, said, .. } = self;
        match taken_in {
            Some(taken_in) => {
                format!("{peer}: guests sent {sent} frames, it says it took in {taken_in}")
            }
            None => format!("{peer}: {}", said.lines().next().unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(taken_in: u64) -> Counted {
        let said = Counters { taken_in, text: "all that it says".to_owned() };
        Counted::new(PeerName::Ovs, Scene::default(), 7, Ok(said))
    }

    #[test]
    fn what_it_said_is_kept_only_when_it_differs() {
        let (same, other) = (counted(7), counted(6));
        assert!(same.agrees() && same.said.is_empty());
        assert!(!other.agrees());
        assert_eq!(other.said, "all that it says");
        assert_eq!(other.difference(), "ovs: guests sent 7 frames, it says it took in 6");
    }

    #[test]
    fn one_that_does_not_answer_agrees_with_nobody() {
        let error = PerfError::Plan("it is gone".to_owned());
        let counted = Counted::new(PeerName::Vpp, Scene::default(), 0, Err(error));
        assert!(!counted.agrees());
        assert_eq!(counted.difference(), "vpp: it is gone");
    }
}
