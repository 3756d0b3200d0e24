//! Completes a checksum that the sender left partial. Called by a worker on its private head.

use helio_types::DropReason;

use crate::rest::{Rest, frame_bytes, sum_frame};

/// Where the checksum lies in a UDP header, and in a UDP-Lite one.
const UDP_CHECKSUM_OFFSET: u16 = 6;

/// Writes the complete checksum of the bytes from `start` to the end of the frame into `head`, at `start`
/// plus `offset`, where the sum of the pseudo-header stands before. VIRTIO 1.2, section 5.1.6.2.1.
///
/// The end is that of the frame, also when the network header says that the packet ends before: that is
/// what VIRTIO says and what Linux does. Padding as Ethernet wants it is zero and adds nothing to the sum.
///
/// A UDP checksum of 0 would mean that there is none, so it becomes 0xffff (RFC 768).
///
/// # Errors
///
/// [`DropReason::HeaderLong`] when the place to write lies beyond `head`, [`DropReason::BadOffload`] when
/// it lies beyond the frame. Nothing is written then.
pub fn finish(
    head: &mut [u8],
    start: u16,
    offset: u16,
    rest: &impl Rest,
) -> Result<(), DropReason> {
    let end = frame_bytes(head, rest);
    let place = u32::from(start) + u32::from(offset);
    if place + 2 > end {
        return Err(DropReason::BadOffload);
    }
    // Before the sum, which is the dear part.
    if place as usize + 2 > head.len() {
        return Err(DropReason::HeaderLong);
    }
    let checksum = match !sum_frame(head, rest, u32::from(start)..end) {
        0 if offset == UDP_CHECKSUM_OFFSET => 0xffff,
        checksum => checksum,
    };
    let field = head
        .get_mut(place as usize..)
        .and_then(|after| after.first_chunk_mut::<2>())
        .ok_or(DropReason::HeaderLong)?;
    *field = checksum.to_be_bytes();
    Ok(())
}
