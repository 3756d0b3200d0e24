//! How the bytes of a chain are cut into descriptors.

/// Bytes that are left free between two pieces of one chain: a back-end that reads on past the end of a
/// descriptor does not find the next piece there.
pub(crate) const GAP_BYTES: u32 = 16;

/// Whether a chain takes entries of the descriptor table or of a table of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChainForm {
    /// Linked entries of the ring's descriptor table.
    #[default]
    Direct,
    /// One entry of it that refers to an indirect table. Needs INDIRECT_DESC.
    Indirect,
}

/// How the bytes of one chain, net header first, lie in descriptors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChainLayout<'a> {
    /// Lengths of the first descriptors, zero allowed. What is left after them is one more descriptor; when
    /// nothing is left there is none.
    pub cuts: &'a [u32],
    /// Where the descriptors are.
    pub form: ChainForm,
}

impl ChainLayout<'_> {
    /// Net header and frame in one descriptor.
    pub const WHOLE: ChainLayout<'static> = ChainLayout { cuts: &[], form: ChainForm::Direct };

    /// The net header in a descriptor of its own, as old drivers do it.
    pub const HEADER_APART: ChainLayout<'static> =
        ChainLayout { cuts: &[12], form: ChainForm::Direct };
}

/// One piece of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Where it lies in the buffer of the chain; gaps count.
    pub(crate) at: u32,
    /// Where its bytes are in the sequence of all bytes.
    pub(crate) offset: u32,
    /// Its length in bytes.
    pub(crate) len: u32,
}

/// The pieces of a chain of `total` bytes.
pub(crate) fn pieces(cuts: &[u32], total: u32) -> impl Iterator<Item = Piece> {
    let mut at = 0;
    let mut offset = 0;
    let rest = std::iter::once(u32::MAX)
        .filter(move |_| cut_bytes(cuts) < u64::from(total) || cuts.is_empty());
    cuts.iter().copied().chain(rest).map(move |cut| {
        let len = cut.min(total - offset);
        let piece = Piece { at, offset, len };
        at += len + GAP_BYTES;
        offset += len;
        piece
    })
}

/// Room that a chain of `total` bytes takes in its buffer.
pub(crate) fn room_bytes(cuts: &[u32], total: u32) -> u64 {
    u64::from(total) + u64::from(GAP_BYTES) * cuts.len() as u64
}

fn cut_bytes(cuts: &[u32]) -> u64 {
    cuts.iter().map(|&cut| u64::from(cut)).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lengths(cuts: &[u32], total: u32) -> Vec<u32> {
        pieces(cuts, total).map(|piece| piece.len).collect()
    }

    #[test]
    fn what_is_left_after_the_cuts_is_one_more_piece() {
        assert_eq!(lengths(&[], 60), [60]);
        assert_eq!(lengths(&[12], 60), [12, 48]);
        assert_eq!(lengths(&[1, 0, 2], 60), [1, 0, 2, 57]);
    }

    #[test]
    fn nothing_left_makes_no_piece_but_a_cut_of_zero_does() {
        assert_eq!(lengths(&[12, 48], 60), [12, 48]);
        assert_eq!(lengths(&[12, 48, 0], 60), [12, 48, 0]);
        assert_eq!(lengths(&[12, 100], 60), [12, 48]);
        assert_eq!(lengths(&[], 0), [0]);
    }

    proptest! {
        #[test]
        fn pieces_cover_all_bytes_once_and_fit_their_room(
            cuts in proptest::collection::vec(0_u32..40, 0..8),
            total in 0_u32..200,
        ) {
            let mut offset = 0;
            let mut free_from = 0;
            for piece in pieces(&cuts, total) {
                prop_assert_eq!(piece.offset, offset);
                prop_assert!(piece.at >= free_from);
                offset += piece.len;
                free_from = piece.at + piece.len;
            }
            prop_assert_eq!(offset, total);
            prop_assert!(u64::from(free_from) <= room_bytes(&cuts, total));
        }
    }
}
