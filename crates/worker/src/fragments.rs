//! Mirror streams whose datagrams arrive in fragments: their bytes are copied to a private buffer until none is missing, and
//! then the copy in it is delivered like any other. Used by the worker that owns the uplink.
//!
//! A fragment costs a look at a table of fixed size and one copy of its bytes; the buffers are those of the decap port, of which
//! no port gets more than its part, and all of them together no more than half.

use helio_encap::{Assembled, Buffers, Fragment};
use helio_frame::{Frame, Origin, Pool, RestBytes};
use helio_mem::MemoryTable;
use helio_types::PortId;

use crate::core::Core;
use crate::decap::Decap;

/// The private buffers of one port.
struct OfPort<'a> {
    pool: &'a mut Pool,
    port: PortId,
}

impl Buffers for OfPort<'_> {
    fn take(&mut self) -> Option<u16> {
        // Whoever can send here can send as many as there are ports: frames that cannot be forwarded otherwise come first.
        if self.pool.is_half_in_use() {
            return None;
        }
        self.pool.take(self.port)
    }

    fn give_back(&mut self, buffer: u16) {
        self.pool.release(buffer);
    }
}

impl Core {
    /// Takes in a fragment that came in `frame` for the decap port at `place`, and delivers the copy in its datagram if that is
    /// whole now.
    #[inline(never)]
    pub(crate) fn join_fragment(&mut self, place: usize, frame: &Frame, fragment: &Fragment) {
        let Self { decaps, pool, memories, now_ns, .. } = self;
        let Some(decap) = decaps.get_mut(place) else { return };
        let port = decap.point.port;
        let table = memories.get(frame.memory.index()).and_then(Option::as_deref);
        let mut buffers = OfPort { pool, port };
        let Some(buffer) = decap.fragments.keep(fragment, *now_ns, &mut buffers) else { return };
        if !write(frame, table, fragment, buffers.pool, buffer) {
            return decap.fragments.abandon(buffer, &mut buffers);
        }
        let Some(whole) = decap.fragments.written(buffer) else { return };
        let payload = payload(pool, buffer, &whole);
        if let Some(copy) = decap.read_assembled(payload.head.bytes(), &whole, *now_ns) {
            self.deliver_copy(port, &payload, &copy);
        }
        self.release(payload.origin);
    }

    /// Gives up datagrams of which fragments have been missing for too long.
    #[inline]
    pub(crate) fn tend_fragments(&mut self) {
        let Self { decaps, pool, now_ns, .. } = self;
        for decap in decaps {
            let mut buffers = OfPort { pool, port: decap.point.port };
            decap.fragments.give_up_old(*now_ns, &mut buffers);
        }
    }

    /// Gives up what waits for a decap port that is no more.
    pub(crate) fn give_up_fragments(&mut self, decap: &mut Decap) {
        let mut buffers = OfPort { pool: &mut self.pool, port: decap.point.port };
        decap.fragments.give_up_all(&mut buffers);
    }
}

/// Copies the bytes of a fragment to where they belong. Whether all of them were there.
fn write(
    frame: &Frame,
    table: Option<&MemoryTable>,
    fragment: &Fragment,
    pool: &Pool,
    buffer: u16,
) -> bool {
    let target = pool.segment(buffer).skip(fragment.start()).limit(fragment.data_bytes());
    let head = frame.head.bytes().get(fragment.data_start() as usize..).unwrap_or_default();
    // No longer than the frame, so padding behind the datagram stays behind.
    let from_head = head.get(..fragment.data_bytes() as usize).unwrap_or(head);
    let mut written = pool.table().write(target, from_head);
    let Some(table) = table else { return written == fragment.data_bytes() as usize };
    let count = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    let left = fragment.data_bytes().saturating_sub(count(written));
    for piece in RestBytes::new(Some(table), &frame.rest).range(0, left) {
        written += table.copy_to(piece, pool.table(), target.skip(count(written)));
    }
    written == fragment.data_bytes() as usize
}

/// What a datagram carries, as if it were a frame: so the copy in it is found as in one that came whole.
fn payload(pool: &Pool, buffer: u16, whole: &Assembled) -> Frame {
    let bytes = whole.payload_bytes();
    let all = pool.segment(buffer).limit(bytes);
    let mut frame = Frame::vacant();
    let in_head = pool.table().read(all, frame.head.room());
    frame.head.set_len(in_head);
    frame.bytes = bytes;
    frame.memory = pool.id();
    frame.origin = Origin::Chunk(buffer);
    let rest = all.skip(u32::try_from(in_head).unwrap_or(bytes));
    if rest.bytes > 0 {
        // There is room: it is empty.
        let _ = frame.rest.try_push(rest);
    }
    frame
}
