//! A guest that receives: buffers as the input says, filled by a [`ReceiveQueue`].
//!
//! A frame lies in the buffers whole and once, or not at all; the used lengths add up to it; nothing is written outside
//! the buffers and the used ring; and a chain that breaks the rules comes back empty.

use std::ops::Range;
use std::sync::LazyLock;

use helio_frame::{Delivery, RestBytes};
use helio_mem::{GuestAddr, MemoryTable, Segment};
use helio_offload::{Checksum, Ecn, Gso, GsoKind, NetHeader};
use helio_types::DropReason;
use helio_vring::{MAX_CHAIN_DESCRIPTORS, ReceiveQueue, feature};

use crate::Outcome;
use crate::chain::{Descriptor, walk};
use crate::guest::{Guest, MAX_OPERATIONS, MAX_WORK};
use crate::input::Input;

/// Most chains that one frame is spread over.
const MAX_CHAINS: usize = 256;

/// Descriptors that a turn must not exceed, and those before which nothing may be refused for them.
const TURN_STEPS: Range<u32> = 4 * MAX_CHAIN_DESCRIPTORS as u32..16 * MAX_CHAIN_DESCRIPTORS as u32;

/// What checking one frame costs, in steps.
const OFFER_WORK: u32 = 100;

/// Memory of another guest, whose bytes tell where they come from. Only ever read.
static SOURCE: LazyLock<(Vec<u8>, MemoryTable)> = LazyLock::new(|| {
    let bytes: Vec<u8> =
        (0..0x4_0000_u32).map(|at| u8::try_from((at * 7 + at / 251) % 251).unwrap()).collect();
    let table = MemoryTable::anonymous(bytes.len()).unwrap();
    let whole = u32::try_from(bytes.len()).unwrap();
    table.resolve(GuestAddr(0), whole, |all| table.write(all, &bytes) == bytes.len()).unwrap();
    (bytes, table)
});

/// Runs one input.
///
/// # Panics
///
/// When something does not hold.
pub fn run(data: &[u8]) -> Outcome {
    let mut input = Input::new(data);
    let Some(mut case) = Case::start(Guest::new(&mut input)) else {
        return Outcome { accepted: 0, refused: 1 };
    };
    for _ in 0..MAX_OPERATIONS {
        if input.is_empty() || case.faulted || case.work > MAX_WORK {
            break;
        }
        case.step(&mut input);
    }
    case.publish();
    case.outcome
}

struct Case {
    guest: Guest,
    queue: ReceiveQueue,
    /// The next entry of either ring: what is taken is used at once.
    next: u16,
    /// The used index that the guest sees.
    published: u16,
    /// Chains on offer when the queue last looked.
    available: u16,
    /// Steps taken in this turn, at least and at most: it is not known how far a chain was read that is refused to bound
    /// the turn.
    steps: Range<u32>,
    /// Steps taken for this input, and what counts as such.
    work: u32,
    faulted: bool,
    outcome: Outcome,
}

/// What the rules say of one frame.
#[derive(Debug)]
enum Expected {
    /// It fits these chains.
    Fits(Vec<Chain>),
    /// It is refused, and no chain is used.
    Stays(DropReason),
    /// The last of these chains breaks a rule.
    Broken(Vec<u16>, DropReason),
    /// The avail index is impossible.
    Fault,
}

#[derive(Debug)]
struct Chain {
    head: u16,
    buffers: Vec<Descriptor>,
    bytes: u64,
}

impl Case {
    fn start(mut guest: Guest) -> Option<Self> {
        let (queue, index) = guest.start(ReceiveQueue::start)?;
        Some(Self {
            guest,
            queue,
            next: index,
            published: index,
            available: 0,
            steps: 0..0,
            work: 0,
            faulted: false,
            outcome: Outcome::default(),
        })
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let operation = input.u8() % (Guest::OPERATIONS + 4);
        match operation.checked_sub(Guest::OPERATIONS) {
            None => self.guest.act(operation, input),
            Some(0 | 1) => self.offer(input),
            Some(2) => {
                for _ in 0..input.u8() {
                    self.offer(&mut Input::new(&[0, 20, 0]));
                }
            }
            Some(_) => self.publish(),
        }
    }

    fn offer(&mut self, input: &mut Input<'_>) {
        if self.faulted || self.work > MAX_WORK {
            return;
        }
        let (net, header_bytes, tail_bytes) = (net_header(input), input.u8(), input.u8());
        let (rest_bytes, skip, cut) = (input.u16(), input.u8(), input.u8());
        let (source, table) = &*SOURCE;
        let header = &source[..14 + usize::from(header_bytes % 179)];
        let tail = &source[1000..1000 + usize::from(tail_bytes % 129)];
        let segments = segments(u32::from(rest_bytes) + u32::from(skip), u32::from(cut));
        let delivery = Delivery {
            net,
            header,
            tail,
            rest: RestBytes::new(Some(table), &segments),
            rest_skip: u32::from(skip),
            rest_bytes: u32::from(rest_bytes),
        };
        let rest = segments.iter().flat_map(|segment| {
            let start = usize::try_from(segment.offset).unwrap();
            &source[start..start + segment.bytes as usize]
        });
        let rest = rest.skip(usize::from(skip)).take(usize::from(rest_bytes));
        let frame: Vec<u8> = header.iter().chain(tail).chain(rest).copied().collect();
        assert_eq!(frame.len(), delivery.bytes() as usize);
        self.deliver(&delivery, &frame);
    }

    fn deliver(&mut self, delivery: &Delivery<'_>, frame: &[u8]) {
        self.work += OFFER_WORK;
        let known = self.steps.start;
        let needed = (frame.len() + self.guest.header_bytes()) as u64;
        let expected = self.expected(needed);
        let offered = self.queue.offer(delivery);
        match (offered, expected) {
            (Err(fault), Expected::Fault) => {
                assert_eq!(Err(fault), self.guest.available(self.next, self.published));
                self.faulted = true;
            }
            (Ok(Ok(())), Expected::Fits(chains)) => self.expect_frame(&chains, delivery, frame),
            (Ok(Err(DropReason::RxBufferTooSmall)), _) if self.steps.end >= TURN_STEPS.start => {
                self.steps.start = known;
            }
            (Ok(Err(reason)), Expected::Stays(should)) if reason == should => {}
            (Ok(Err(reason)), Expected::Broken(heads, should)) if reason == should => {
                heads.into_iter().for_each(|head| self.expect_used(head, 0));
            }
            (offered, expected) => panic!("{offered:?} and not {expected:?}"),
        }
        assert!(self.steps.start < TURN_STEPS.end, "{:?} steps in one turn", self.steps);
        self.outcome.count(&offered.unwrap_or(Err(DropReason::PortDown)));
        assert_eq!(self.queue.next_avail(), self.next);
        self.guest.assert_memory();
    }

    /// Where a frame goes that needs `needed` bytes with its net header. VIRTIO 1.2, section 5.1.6.3.
    fn expected(&mut self, needed: u64) -> Expected {
        let mergeable = self.guest.features & feature::MRG_RXBUF != 0;
        let (mut chains, mut room, mut pieces) = (Vec::new(), 0, 0);
        while room < needed {
            let ahead = u16::try_from(chains.len()).unwrap();
            if chains.len() >= if mergeable { MAX_CHAINS } else { 1 } {
                return Expected::Stays(DropReason::RxBufferTooSmall);
            }
            if ahead >= self.available {
                match self.guest.available(self.next, self.published) {
                    Ok(available) => self.available = available,
                    Err(_) => return Expected::Fault,
                }
                if ahead >= self.available {
                    return Expected::Stays(DropReason::NoRxBuffer);
                }
            }
            let head = self.guest.head(self.next.wrapping_add(ahead));
            match self.read(head, needed - room, &mut pieces) {
                Ok(chain) => {
                    room += chain.bytes;
                    chains.push(chain);
                }
                Err(reason @ DropReason::RxBufferTooSmall) => return Expected::Stays(reason),
                Err(reason) => {
                    let heads = chains.iter().map(|chain: &Chain| chain.head).chain([head]);
                    return Expected::Broken(heads.collect(), reason);
                }
            }
        }
        Expected::Fits(chains)
    }

    /// The chain at `head`, of which the frame needs `missing` bytes.
    fn read(&mut self, head: u16, missing: u64, pieces: &mut usize) -> Result<Chain, DropReason> {
        let mut chain = Chain { head, buffers: Vec::new(), bytes: 0 };
        let mut steps = 1;
        let walked = walk(&self.guest, head, |buffer| {
            steps += 1;
            if !buffer.is_writable() {
                return Err(DropReason::ChainDirection);
            }
            let filled = chain.bytes;
            chain.bytes += u64::from(buffer.bytes);
            u32::try_from(chain.bytes).map_err(|_| DropReason::Oversize)?;
            // Only what the frame fills is remembered, and only so many pieces of it.
            let needed = u32::try_from(missing.saturating_sub(filled).min(buffer.bytes.into()));
            *pieces += self.guest.image.count_pieces(buffer.addr, needed.unwrap());
            if *pieces > usize::from(MAX_CHAIN_DESCRIPTORS) {
                return Err(DropReason::RxBufferTooSmall);
            }
            if !self.guest.image.holds(buffer.addr, buffer.bytes) {
                return Err(DropReason::ChainAddress);
            }
            chain.buffers.push(buffer);
            Ok(())
        });
        self.steps = self.steps.start + steps..self.steps.end + steps;
        self.work += steps;
        walked.map(|()| chain)
    }

    /// The frame must lie in `chains`, behind its net header, and all but the last must be full.
    fn expect_frame(&mut self, chains: &[Chain], delivery: &Delivery<'_>, frame: &[u8]) {
        let mut raw = delivery.net.to_raw();
        raw.num_buffers = u16::try_from(chains.len()).unwrap();
        let data = [&raw.to_bytes()[..self.guest.header_bytes()], frame].concat();
        let mut left = &data[..];
        for buffer in chains.iter().flat_map(|chain| &chain.buffers) {
            let (now, later) = left.split_at(left.len().min(buffer.bytes as usize));
            assert!(self.guest.image.write(buffer.addr, now));
            left = later;
        }
        assert!(left.is_empty());
        let mut left = data.len() as u64;
        for chain in chains {
            let written = chain.bytes.min(left);
            left -= written;
            self.expect_used(chain.head, u32::try_from(written).unwrap());
        }
        assert_eq!(left, 0);
    }

    fn expect_used(&mut self, head: u16, written: u32) {
        self.guest.expect_used(self.next, head, written);
        self.next = self.next.wrapping_add(1);
        self.available = self.available.saturating_sub(1);
    }

    fn publish(&mut self) {
        if self.published != self.next {
            self.guest.expect_used_index(self.next);
            self.published = self.next;
        }
        self.steps = 0..0;
        self.queue.publish();
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        self.queue.notify();
        self.guest.assert_memory();
    }
}

/// What a frame may be delivered with: the queue passes it on without a look.
fn net_header(input: &mut Input<'_>) -> NetHeader {
    let kind = input.u8();
    if kind & 1 == 0 {
        return NetHeader::PLAIN;
    }
    let (start, offset) = (input.u16(), input.u16());
    let gso =
        Gso { kind: GsoKind::Tcp6, ecn: Ecn::Present, segment_bytes: start, header_bytes: offset };
    NetHeader { checksum: Checksum::Partial { start, offset }, gso: (kind & 2 != 0).then_some(gso) }
}

/// `total` bytes of the source in at most 20 pieces, with a gap behind each.
fn segments(total: u32, cut: u32) -> Vec<Segment> {
    let piece = (total / 20 + 1).max(16 * cut + 1);
    let mut segments = Vec::new();
    let mut done = 0;
    while done < total {
        let bytes = piece.min(total - done);
        let gaps = 5 * u64::try_from(segments.len() + 1).unwrap();
        segments.push(Segment { offset: u64::from(done) + gaps, bytes, region: 0 });
        done += bytes;
    }
    segments
}
