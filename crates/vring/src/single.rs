//! Reading a frame that lies in one piece: what nearly every frame does.

use helio_frame::{Frame, HEAD_BYTES};
use helio_mem::{MemoryTable, Segment};
use helio_offload::{NetHeader, Offloads, RawNetHeader, check};
use helio_types::{DropReason, MAX_FRAME_BYTES, MIN_FRAME_BYTES};

use crate::NetHeaderSize;

/// Reads the net header and the first bytes of the frame in `buffer` into `frame`, each once, and notes where the rest lies.
///
/// The net header of a guest without offloads says nothing, and is not read: it may be in a line of its own.
///
/// # Errors
///
/// As for a chain of several buffers. See [`Reading`](crate::reading::Reading).
#[inline]
pub(crate) fn read(
    memory: &MemoryTable,
    buffer: Segment,
    header: NetHeaderSize,
    allowed: Offloads,
    frame: &mut Frame,
) -> Result<(), DropReason> {
    let header_bytes = u32::try_from(header.bytes()).unwrap_or(0);
    let bytes = buffer.bytes.checked_sub(header_bytes).ok_or(DropReason::HeaderShort)?;
    if bytes > MAX_FRAME_BYTES {
        return Err(DropReason::Oversize);
    }
    if bytes < MIN_FRAME_BYTES {
        return Err(DropReason::Runt);
    }
    let place = buffer.skip(header_bytes);
    let read = memory.read_blocks(place, frame.head.room());
    frame.head.set_len(read);
    frame.bytes = bytes;
    frame.rest.clear();
    let rest = place.skip(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX));
    if rest.bytes > 0 {
        frame.rest.push(rest);
    }
    frame.net = if allowed == Offloads::NONE {
        NetHeader::PLAIN
    } else {
        let mut raw = [0; 12];
        let raw = raw.get_mut(..header.bytes()).unwrap_or_default();
        memory.read(buffer, raw);
        let raw = RawNetHeader::from_bytes(raw).ok_or(DropReason::HeaderShort)?;
        check(&raw, allowed, frame.head.bytes(), bytes)?
    };
    Ok(())
}
