//! Sending on a wire: numbered frames, as many as asked for, from the far end.
//!
//! By an AF_XDP socket that never receives: the cheapest way that the kernel has for frames of user space on a veth. Each
//! frame stands in its chunk, and only its number is written again.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use xsk_rs::{FrameDesc, Umem};

use crate::socket::{self, ENTRIES, Rings};

/// Frames that are handed over in one step.
const STEP: usize = 64;
/// How long the kernel may refuse to take any frame.
const PATIENCE: Duration = Duration::from_millis(100);

/// Sends frames of one kind from one end of a wire.
#[derive(Debug)]
pub struct WireSender {
    umem: Umem,
    rings: Rings,
    free: Vec<FrameDesc>,
    frame_bytes: usize,
    number_at: usize,
    next: u64,
}

impl WireSender {
    /// Opens an end of a wire for copies of `frame`, whose eight bytes from `number_at` on become the number of each, in
    /// network order.
    ///
    /// # Errors
    ///
    /// When the frame is too long or too short, or the kernel refuses.
    pub fn open(interface: &str, frame: &[u8], number_at: usize) -> io::Result<Self> {
        let (umem, mut free) = socket::memory()?;
        let rings = socket::bind(interface, &umem)?;
        for desc in &mut free {
            // SAFETY: the descriptor is of this UMEM, and its chunk is nobody else's.
            let mut data = unsafe { umem.data_mut(desc) };
            let mut place = data.cursor();
            if number_at + 8 > frame.len() || frame.len() > place.buf_len() {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            place.write_all(frame)?;
        }
        Ok(Self { umem, rings, free, frame_bytes: frame.len(), number_at, next: 0 })
    }

    /// Number of the next frame.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Sends this many frames, and returns when the kernel has taken all of them. Returns how many that are: less only if it
    /// refuses for long.
    pub fn send(&mut self, count: usize) -> usize {
        let began = Instant::now();
        let mut sent = 0;
        while sent < count && began.elapsed() < PATIENCE {
            self.reclaim();
            let step = STEP.min(count - sent).min(self.free.len());
            sent += self.hand_over(step);
            self.push();
        }
        sent
    }

    /// Sends one frame of another kind, which is as long.
    ///
    /// # Errors
    ///
    /// When the kernel does not take it.
    pub fn send_other(&mut self, frame: &[u8]) -> io::Result<()> {
        self.reclaim();
        let mut desc = self.free.pop().ok_or(io::ErrorKind::WouldBlock)?;
        // SAFETY: the descriptor is of this UMEM, and its chunk is free.
        let mut data = unsafe { self.umem.data_mut(&mut desc) };
        data.cursor().set_pos(self.frame_bytes);
        let usual = data.contents().to_vec();
        if usual.len() != frame.len() {
            self.free.push(desc);
            return Err(io::ErrorKind::InvalidInput.into());
        }
        data.contents_mut().copy_from_slice(frame);
        // SAFETY: the chunk was free, so nobody else has it.
        unsafe { self.rings.tx.produce_one(&desc) };
        self.push();
        let until = Instant::now() + PATIENCE;
        while self.free.len() < socket::CHUNKS as usize && Instant::now() < until {
            self.reclaim();
        }
        if self.free.len() < socket::CHUNKS as usize {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // SAFETY: all chunks are back.
        let mut data = unsafe { self.umem.data_mut(&mut desc) };
        data.contents_mut().copy_from_slice(&usual);
        Ok(())
    }

    /// Puts up to `count` numbered frames into the ring.
    fn hand_over(&mut self, count: usize) -> usize {
        let kept = self.free.len() - count;
        for desc in self.free.get_mut(kept..).unwrap_or_default() {
            // SAFETY: the descriptor is of this UMEM, and its chunk is free.
            let mut data = unsafe { self.umem.data_mut(desc) };
            // Descriptors come back without their length.
            data.cursor().set_pos(self.frame_bytes);
            let place = data.contents_mut().get_mut(self.number_at..self.number_at + 8);
            if let Some(place) = place {
                place.copy_from_slice(&self.next.to_be_bytes());
            }
            self.next += 1;
        }
        let batch = self.free.get(kept..).unwrap_or_default();
        // SAFETY: the chunks were free, so nobody else has them.
        let queued = unsafe { self.rings.tx.produce(batch) };
        // All or nothing; the ring has an entry for each chunk.
        if queued == count {
            self.free.truncate(kept);
        }
        queued
    }

    /// Calls the kernel until it has taken all that is in the ring.
    fn push(&mut self) {
        let until = Instant::now() + PATIENCE;
        while self.rings.tx.nb_free_exact() < ENTRIES && Instant::now() < until {
            // What it did shows in the ring.
            let _ = self.rings.tx.wakeup();
        }
    }

    fn reclaim(&mut self) {
        let mut batch = [FrameDesc::default(); STEP];
        loop {
            // SAFETY: the ring is that of a socket of this UMEM.
            let done = unsafe { self.rings.completion.consume(&mut batch) };
            self.free.extend(batch.iter().take(done));
            if done < STEP {
                return;
            }
        }
    }
}
