//! A small back-end that gives every guest its own frames back. It shares nothing with the crate under test: it
//! reads messages and rings by itself, works only when it is kicked, and calls only when it is asked to.

mod memory;
mod ring;

use std::io::{IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use helio_guest::features;
use memory::Memory;
use ring::{Piece, Ring, Wish};
use rustix::event::{PollFd, PollFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

/// Most chains that one used entry completes.
const MAX_GROUP: u16 = 16;

/// How the back-end behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// By the rules.
    Honest,
    /// By the rules, and one used entry completes several transmit chains. Needs IN_ORDER.
    Grouping,
    /// Completes a receive chain under a head that it was not given.
    WrongHead,
    /// Says that it wrote more than the buffer has.
    LongLen,
    /// Says that it wrote to a transmit chain.
    TransmitLen,
    /// Says that the frame lies in more buffers than it completed.
    Unmerged,
    /// Asks for an offload that the guest did not choose.
    Offload,
    /// Changes a bit of the payload.
    Corrupting,
    /// Gives each frame back twice.
    Doubling,
    /// Never calls.
    Silent,
    /// Answers SET_FEATURES with code 1.
    RefusingFeatures,
    /// Goes away after 100 frames, completing none of the last ten.
    Dying,
}

/// What a back-end has seen when it ends.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Numbers of the messages, in order.
    pub(crate) messages: Vec<u32>,
    /// Frames given back.
    pub(crate) frames: u64,
    /// Times it woke up for a kick.
    pub(crate) kicks: u64,
    /// Most regions it had at once.
    pub(crate) regions: usize,
}

/// Runs a back-end on `socket` until the front-end closes it.
pub(crate) fn spawn(
    socket: UnixStream,
    features: u64,
    protocol: u64,
    behaviour: Behaviour,
) -> JoinHandle<Report> {
    std::thread::spawn(move || Device::new(socket, features, protocol, behaviour).run())
}

struct Device {
    socket: UnixStream,
    behaviour: Behaviour,
    offered: u64,
    protocol: u64,
    features: u64,
    memory: Memory,
    rings: Vec<Ring>,
    report: Report,
}

impl Device {
    fn new(socket: UnixStream, offered: u64, protocol: u64, behaviour: Behaviour) -> Self {
        let rings = (0..8).map(|_| Ring::default()).collect();
        let (memory, report) = (Memory::default(), Report::default());
        Self { socket, behaviour, offered, protocol, features: 0, memory, rings, report }
    }

    fn run(mut self) -> Report {
        loop {
            let mut polled = vec![PollFd::new(&self.socket, PollFlags::IN)];
            let kicks = self.rings.iter().filter_map(|ring| ring.kick.as_ref());
            polled.extend(kicks.map(|kick| PollFd::from_borrowed_fd(kick.as_fd(), PollFlags::IN)));
            rustix::event::poll(&mut polled, None).unwrap();
            let is_message = !polled[0].revents().is_empty();
            let is_kick = polled[1..].iter().any(|kick| !kick.revents().is_empty());
            if is_message && !self.message() {
                return self.report;
            }
            if is_kick {
                self.report.kicks += 1;
                for kick in self.rings.iter().filter_map(|ring| ring.kick.as_ref()) {
                    let _empty = rustix::io::read(kick, &mut [0; 8]);
                }
            }
            // A ring may have been enabled that was kicked before.
            let is_enabling = is_message && self.report.messages.last() == Some(&18);
            if (is_kick || is_enabling) && !(0..self.rings.len() / 2).all(|p| self.forward(p)) {
                return self.report;
            }
        }
    }

    /// Handles one message; `false` when there are no more.
    fn message(&mut self) -> bool {
        let mut header = [0; 12];
        let mut fds = Vec::new();
        if !self.receive(&mut header, &mut fds) {
            return false;
        }
        let word = |at: usize| u32::from_ne_bytes(header[at..at + 4].try_into().unwrap());
        let mut payload = vec![0; usize::try_from(word(8)).unwrap()];
        assert!(self.receive(&mut payload, &mut fds));
        self.report.messages.push(word(0));
        let answer = self.handle(word(0), &payload, fds);
        let wants_ack = word(4) & 8 != 0;
        let is_refused = word(0) == 2 && self.behaviour == Behaviour::RefusingFeatures;
        let reply = match answer {
            Some(reply) => reply,
            None if wants_ack => u64::from(is_refused).to_ne_bytes().to_vec(),
            None => return true,
        };
        let size = u32::try_from(reply.len()).unwrap();
        let mut bytes: Vec<u8> = [word(0), 5, size].map(u32::to_ne_bytes).concat();
        bytes.extend(reply);
        self.socket.write_all(&bytes).is_ok()
    }

    fn receive(&self, into: &mut [u8], fds: &mut Vec<OwnedFd>) -> bool {
        let mut filled = 0;
        while filled < into.len() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut rest = [IoSliceMut::new(&mut into[filled..])];
            let flags = RecvFlags::CMSG_CLOEXEC;
            let Ok(got) = rustix::net::recvmsg(&self.socket, &mut rest, &mut control, flags) else {
                return false;
            };
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(passed) = message {
                    fds.extend(passed);
                }
            }
            if got.bytes == 0 {
                return false;
            }
            filled += got.bytes;
        }
        true
    }

    /// Does what message `id` says; its reply if it has one of its own.
    fn handle(&mut self, id: u32, payload: &[u8], fds: Vec<OwnedFd>) -> Option<Vec<u8>> {
        let numbers: Vec<u64> =
            payload.chunks_exact(8).map(|b| u64::from_ne_bytes(b.try_into().unwrap())).collect();
        let index = numbers.first().map_or(0, |n| usize::try_from(n & 0xff).unwrap());
        let number = numbers.first().map_or(0, |n| n >> 32);
        let mut fds = fds.into_iter();
        match id {
            1 => return Some(self.offered.to_ne_bytes().to_vec()),
            2 => self.features = numbers[0],
            3 => {}
            5 => {
                self.memory.clear();
                for (region, file) in numbers[1..].chunks_exact(4).zip(fds) {
                    self.memory.add(region.try_into().unwrap(), &file);
                }
            }
            8 => self.rings[index].size = u16::try_from(number).unwrap(),
            9 => {
                let ring = &mut self.rings[index];
                (ring.table, ring.used, ring.avail) = (numbers[1], numbers[2], numbers[3]);
            }
            10 => self.rings[index].next_avail = u16::try_from(number).unwrap(),
            11 => {
                let ring = &mut self.rings[index];
                ring.kick = None;
                let base = u64::from(ring.next_avail) << 32 | index as u64;
                return Some(base.to_ne_bytes().to_vec());
            }
            12 => self.rings[index].start(&self.memory, fds.next().unwrap()),
            13 => self.rings[index].call = fds.next(),
            14 => {}
            15 => return Some(self.protocol.to_ne_bytes().to_vec()),
            16 => {}
            17 => return Some(4_u64.to_ne_bytes().to_vec()),
            18 => self.rings[index].is_enabled = number == 1,
            36 => return Some(32_u64.to_ne_bytes().to_vec()),
            37 => self.memory.add(numbers[1..].try_into().unwrap(), &fds.next().unwrap()),
            38 => self.memory.remove(numbers[1]),
            other => panic!("message {other} was not expected"),
        }
        self.report.regions = self.report.regions.max(self.memory.count());
        None
    }

    /// Gives frames of one pair back as long as there are frames and room. `false` when it is time to die.
    fn forward(&mut self, pair: usize) -> bool {
        let (mut group, mut last) = (0, 0);
        while self.rings[2 * pair].runs() && self.rings[2 * pair + 1].runs() {
            let transmit = &self.rings[2 * pair + 1];
            let Some(head) = transmit.peek(&self.memory, 0) else {
                transmit.want_kick(&self.memory, 0);
                if transmit.peek(&self.memory, 0).is_none() {
                    break;
                }
                continue;
            };
            let chain = transmit.chain(&self.memory, head);
            let times = if self.behaviour == Behaviour::Doubling { 2 } else { 1 };
            if !self.deliver(pair, &chain, times) {
                break;
            }
            self.report.frames += 1;
            self.rings[2 * pair + 1].next_avail =
                self.rings[2 * pair + 1].next_avail.wrapping_add(1);
            (group, last) = (group + 1, head);
            if self.behaviour != Behaviour::Grouping || group == MAX_GROUP {
                self.complete(2 * pair + 1, head, group);
                group = 0;
            }
            if self.behaviour == Behaviour::Dying && self.report.frames == 100 {
                return false;
            }
        }
        if group > 0 {
            self.complete(2 * pair + 1, last, group);
        }
        true
    }

    /// Puts a used entry in a transmitq, for `group` chains that end with `head`.
    fn complete(&mut self, index: usize, head: u16, group: u16) {
        if self.behaviour == Behaviour::Dying && self.report.frames > 90 {
            return;
        }
        let len = u32::from(self.behaviour == Behaviour::TransmitLen);
        self.rings[index].push(&self.memory, u32::from(head), len, group);
        self.publish(index);
    }

    fn publish(&mut self, index: usize) {
        let by_index = self.features & features::EVENT_IDX != 0;
        let wish = if by_index { Wish::ByIndex } else { Wish::ByFlag };
        let ring = &mut self.rings[index];
        if ring.publish(&self.memory, wish) && self.behaviour != Behaviour::Silent {
            rustix::io::write(ring.call.as_ref().unwrap(), &1_u64.to_ne_bytes()).unwrap();
        }
    }

    /// Writes the frame of a transmit chain to the receiveq beside it, `times` times. `false` without room.
    fn deliver(&mut self, pair: usize, chain: &[Piece], times: u16) -> bool {
        let mut bytes = Vec::new();
        for (addr, len, is_writable) in chain {
            assert!(!is_writable, "a transmit chain is readable");
            bytes.extend(self.memory.read(*addr, u64::from(*len)));
        }
        let ring = &self.rings[2 * pair];
        let is_mergeable = self.features & features::MRG_RXBUF != 0;
        let (mut heads, mut room) = (Vec::new(), 0);
        while room < bytes.len() * usize::from(times) {
            let ahead = u16::try_from(heads.len()).unwrap();
            let Some(head) = ring.peek(&self.memory, ahead) else {
                // The guest must offer one more than there are now.
                ring.want_kick(&self.memory, ahead);
                if ring.peek(&self.memory, ahead).is_none() {
                    return false;
                }
                continue;
            };
            let buffers = ring.chain(&self.memory, head);
            room += buffers.iter().map(|(_, len, _)| usize::try_from(*len).unwrap()).sum::<usize>();
            heads.push((head, buffers));
            assert!(is_mergeable || times == 2 || room >= bytes.len(), "a frame fits its buffer");
        }
        let each = heads.len() / usize::from(times);
        self.mark(&mut bytes, each);
        for heads in heads.chunks(each) {
            self.write(pair, &bytes, heads);
        }
        self.publish(2 * pair);
        true
    }

    /// Writes the fields of the net header that are the device's, and the lies.
    fn mark(&self, bytes: &mut [u8], buffers: usize) {
        let lie = u16::from(self.behaviour == Behaviour::Unmerged);
        let count = u16::try_from(buffers).unwrap() + lie;
        if self.features & (features::VERSION_1 | features::MRG_RXBUF) != 0 {
            bytes[10..12].copy_from_slice(&count.to_le_bytes());
        }
        match self.behaviour {
            Behaviour::Corrupting => *bytes.last_mut().unwrap() ^= 1,
            Behaviour::Offload => bytes[0] = 1,
            _ => {}
        }
    }

    fn write(&mut self, pair: usize, mut bytes: &[u8], heads: &[(u16, Vec<Piece>)]) {
        for (head, buffers) in heads {
            let mut written = 0;
            for (addr, len, is_writable) in buffers {
                assert!(is_writable, "a receive chain is writable");
                let (now, rest) = bytes.split_at(bytes.len().min(usize::try_from(*len).unwrap()));
                self.memory.write(*addr, now);
                written += u32::try_from(now.len()).unwrap();
                bytes = rest;
            }
            let (head, written) = match self.behaviour {
                Behaviour::WrongHead => (1000, written),
                Behaviour::LongLen => (u32::from(*head), 100_000),
                _ => (u32::from(*head), written),
            };
            let ring = &mut self.rings[2 * pair];
            ring.next_avail = ring.next_avail.wrapping_add(1);
            ring.push(&self.memory, head, written, 1);
        }
    }
}
