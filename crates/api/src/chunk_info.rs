//! Where the chunks of an uplink are.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where the chunks of an uplink are; all are zero while its interface is not open. The first four add up to the chunks that
/// frames are received into, the last three to those that frames are sent from. When nothing is under way all are `spare`,
/// `lent` or `free`, but for a few `sent` ones that the kernel has given back and the worker, asleep, has not yet taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkInfo {
    /// All of them.
    pub total: usize,
    /// For receiving, to be lent to the kernel when it has fewer than it may have.
    pub spare: usize,
    /// For receiving, with the kernel.
    pub lent: usize,
    /// For receiving, with a frame that is still to be delivered somewhere.
    pub held: usize,
    /// For receiving, and not found any more: none, but for a fault of the switch. They are back when it starts anew.
    #[serde(default)]
    pub lost: usize,
    /// For sending, without a frame.
    pub free: usize,
    /// For sending, with a frame that the kernel has not been shown yet.
    pub staged: usize,
    /// For sending, with the kernel.
    pub sent: usize,
}

impl fmt::Display for ChunkInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { total, spare, lent, held, lost, free, staged, sent } = self;
        write!(f, "{total}: to receive {lent} lent, {held} held, {spare} spare")?;
        if *lost > 0 {
            write!(f, ", {lost} lost")?;
        }
        write!(f, "; ")?;
        write!(f, "to send {free} free, {staged} staged, {sent} sent")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_shown_by_what_they_are_for() {
        let mut chunks =
            ChunkInfo { total: 4096, lent: 2040, held: 8, free: 2048, ..Default::default() };
        assert_eq!(
            chunks.to_string(),
            "4096: to receive 2040 lent, 8 held, 0 spare; to send 2048 free, 0 staged, 0 sent"
        );
        (chunks.lent, chunks.lost) = (2037, 3);
        let told = "4096: to receive 2037 lent, 8 held, 0 spare, 3 lost; to send 2048 free, 0 staged, 0 sent";
        assert_eq!(chunks.to_string(), told);
    }
}
