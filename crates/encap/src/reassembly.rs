//! Fragments of mirror copies until their datagrams are whole. One table per decap port, used by the worker that owns the uplink.
//! It says where bytes belong, and the worker writes them: a buffer for each datagram.
//!
//! Senders decide what comes, so all is bounded: the datagrams, the fragments of each, and the time they wait. Whoever sends
//! rubbish costs datagrams of this table and nothing else. Every fragment counts once: as joined, as waiting, or as refused
//! with its reason.

use std::net::IpAddr;

use arrayvec::ArrayVec;

use crate::fragment::Key;
use crate::plan::More;
use crate::{Fragment, MAX_FRAGMENTS, Refusal};

/// Datagrams of which fragments wait at once. Our own switch sends the fragments of a copy in a row, so those of different
/// datagrams mix only where hosts do; what stays is mostly incomplete for good, and the oldest gives its place.
pub const MOST_DATAGRAMS: usize = 16;

/// A datagram is given up so long after its first fragment came, in nanoseconds. RFC 791 suggests 15 seconds and RFC 8200
/// 60, for the Internet of their times: on the network of a collector what is a second late was lost. The longer fragments
/// wait, the more likely they meet those of a later datagram with the same identification (RFC 4963).
pub const WAIT_NS: u64 = 1_000_000_000;

/// A datagram is also given up when so many others have begun since: identifications of IPv4 come again after 65,536.
const MOST_SINCE: u64 = 4096;

/// Where the bytes of datagrams are kept while fragments are missing.
pub trait Buffers {
    /// A buffer for one datagram of any length.
    fn take(&mut self) -> Option<u16>;

    /// One is not needed any more.
    fn give_back(&mut self, buffer: u16);
}

/// What became of fragments: each one is joined, waiting, or refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentCounts {
    /// Fragments of the datagrams that were put together.
    pub joined: u64,
    /// These datagrams.
    pub datagrams: u64,
    /// Fragments that wait for others.
    pub waiting: u64,
}

/// A datagram that was put together. Its payload, all that follows the IP header, lies in its buffer from the first byte on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assembled {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) outer_tci: Option<u16>,
    /// What the payload begins with.
    pub(crate) protocol: u8,
    pub(crate) payload_bytes: u32,
}

impl Assembled {
    /// Length of the payload: below 2^16.
    #[must_use]
    pub const fn payload_bytes(&self) -> u32 {
        self.payload_bytes
    }
}

/// The bytes of a payload that a fragment has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

/// What is done with the fragments of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// They are written to this buffer. Entered with the first one; left when the datagram is whole, refused, or given up.
    Filling(u16),
    /// They are refused, as those before were. Left when the datagram is given up: nothing of it is used after RFC 5722.
    Refused(Refusal),
}

/// A datagram of which fragments came.
#[derive(Debug)]
struct Waiting {
    key: Key,
    state: State,
    began_ns: u64,
    /// The how-manieth it is of all that began.
    number: u64,
    /// What is here, in order, nothing twice.
    spans: ArrayVec<Span, { MAX_FRAGMENTS as usize }>,
    /// How much that is.
    bytes: u32,
    /// Length of the payload, once its last fragment is here.
    end: Option<u32>,
    /// Protocol and outer tag, once its first fragment is here.
    first: Option<(u8, Option<u16>)>,
}

impl Waiting {
    /// Adds what a fragment has.
    fn add(&mut self, fragment: &Fragment) -> Result<(), Refusal> {
        let span = Span { start: fragment.start(), end: fragment.end() };
        let is_last = fragment.more == More::Last;
        let at = self.spans.partition_point(|other| other.start < span.start);
        let (before, after) = self.spans.split_at_checked(at).unwrap_or_default();
        if after.first() == Some(&span) {
            let was_last = self.end == Some(span.end);
            let same = was_last == is_last;
            return Err(if same { Refusal::FragmentDuplicate } else { Refusal::FragmentLength });
        }
        let overlaps = before.last().is_some_and(|other| other.end > span.start)
            || after.first().is_some_and(|other| other.start < span.end);
        if overlaps {
            return Err(Refusal::FragmentOverlap);
        }
        let beyond = self.end.is_some_and(|end| span.end > end);
        if beyond || (is_last && (self.end.is_some() || !after.is_empty())) {
            return Err(Refusal::FragmentLength);
        }
        self.spans.try_insert(at, span).map_err(|_| Refusal::FragmentCount)?;
        self.bytes += fragment.data_bytes();
        if is_last {
            self.end = Some(span.end);
        }
        if span.start == 0 {
            self.first = Some((fragment.protocol, fragment.outer_tci));
        }
        Ok(())
    }

    /// The datagram, if nothing is missing.
    fn whole(&self) -> Option<Assembled> {
        let payload_bytes = self.end.filter(|end| *end == self.bytes)?;
        let (protocol, outer_tci) = self.first?;
        let Key { source, destination, .. } = self.key;
        Some(Assembled { source, destination, outer_tci, protocol, payload_bytes })
    }

    fn fragments(&self) -> u64 {
        self.spans.len() as u64
    }
}

/// Datagrams of which fragments came, and what became of all fragments.
#[derive(Debug)]
pub struct Reassembly {
    datagrams: Vec<Waiting>,
    /// Datagrams that began so far.
    begun: u64,
    /// Nothing is given up before, in nanoseconds, while something waits.
    due_ns: u64,
    joined: u64,
    whole: u64,
    refused: [u64; Refusal::COUNT],
}

impl Default for Reassembly {
    fn default() -> Self {
        Self::new()
    }
}

impl Reassembly {
    /// Before the first fragment. Allocates all it will ever need.
    #[must_use]
    pub fn new() -> Self {
        Self {
            datagrams: Vec::with_capacity(MOST_DATAGRAMS),
            begun: 0,
            due_ns: 0,
            joined: 0,
            whole: 0,
            refused: [0; Refusal::COUNT],
        }
    }

    /// Notes a fragment that came at `now_ns`, which never goes back. Returns the buffer that its bytes are to be written to, at
    /// [`Fragment::start`]; then either [`Reassembly::written`] or [`Reassembly::abandon`] is to be called. `None` when it was
    /// refused, which is counted.
    pub fn keep(
        &mut self,
        fragment: &Fragment,
        now_ns: u64,
        buffers: &mut impl Buffers,
    ) -> Option<u16> {
        let place = self.find(fragment, now_ns, buffers);
        let Some(place) = place.or_else(|| self.begin(fragment, now_ns, buffers)) else {
            self.refuse(Refusal::FragmentBuffer, 1);
            return None;
        };
        let datagram = self.datagrams.get_mut(place)?;
        let buffer = match datagram.state {
            State::Filling(buffer) => buffer,
            State::Refused(reason) => {
                self.refuse(reason, 1);
                return None;
            }
        };
        match datagram.add(fragment) {
            Ok(()) => Some(buffer),
            Err(Refusal::FragmentDuplicate) => {
                self.refuse(Refusal::FragmentDuplicate, 1);
                None
            }
            Err(reason) => {
                let before = datagram.fragments();
                datagram.spans.clear();
                datagram.state = State::Refused(reason);
                self.refuse(reason, before + 1);
                buffers.give_back(buffer);
                None
            }
        }
    }

    /// The bytes of a fragment were written to `buffer`. Returns its datagram if that is whole now: the buffer is the caller's
    /// from then on.
    pub fn written(&mut self, buffer: u16) -> Option<Assembled> {
        let place = self.place_of(buffer)?;
        let datagram = self.datagrams.get(place)?;
        let whole = datagram.whole()?;
        self.joined += datagram.fragments();
        self.whole += 1;
        self.datagrams.swap_remove(place);
        Some(whole)
    }

    /// The bytes of a fragment could not be written to `buffer`: its datagram is given up.
    pub fn abandon(&mut self, buffer: u16, buffers: &mut impl Buffers) {
        if let Some(place) = self.place_of(buffer) {
            self.give_up(place, Refusal::FragmentBuffer, buffers);
        }
    }

    /// Gives up what has waited too long at `now_ns`. To be called now and then: nothing else ends a datagram of which
    /// nothing comes any more.
    #[inline]
    pub fn give_up_old(&mut self, now_ns: u64, buffers: &mut impl Buffers) {
        if !self.datagrams.is_empty() && now_ns >= self.due_ns {
            self.give_up_due(now_ns, buffers);
        }
    }

    #[cold]
    fn give_up_due(&mut self, now_ns: u64, buffers: &mut impl Buffers) {
        for place in (0..self.datagrams.len()).rev() {
            if self.is_old(place, now_ns) {
                self.give_up(place, Refusal::FragmentIncomplete, buffers);
            }
        }
        let began = self.datagrams.iter().map(|datagram| datagram.began_ns).min();
        self.due_ns = began.unwrap_or(now_ns).saturating_add(WAIT_NS);
    }

    /// Gives up all that waits.
    pub fn give_up_all(&mut self, buffers: &mut impl Buffers) {
        while let Some(place) = self.datagrams.len().checked_sub(1) {
            self.give_up(place, Refusal::FragmentIncomplete, buffers);
        }
    }

    /// What became of fragments that were not refused.
    #[must_use]
    pub fn counts(&self) -> FragmentCounts {
        let waiting = self.datagrams.iter().map(Waiting::fragments).sum();
        FragmentCounts { joined: self.joined, datagrams: self.whole, waiting }
    }

    /// Fragments that were refused, by [`Refusal::index`].
    #[must_use]
    pub fn refused(&self) -> &[u64; Refusal::COUNT] {
        &self.refused
    }

    /// Where the datagram of a fragment stands. One that is too old is given up: this fragment belongs to another one then.
    fn find(
        &mut self,
        fragment: &Fragment,
        now_ns: u64,
        buffers: &mut impl Buffers,
    ) -> Option<usize> {
        let place = self.datagrams.iter().position(|datagram| datagram.key == fragment.key)?;
        if self.is_old(place, now_ns) {
            self.give_up(place, Refusal::FragmentIncomplete, buffers);
            return None;
        }
        Some(place)
    }

    fn is_old(&self, place: usize, now_ns: u64) -> bool {
        self.datagrams.get(place).is_some_and(|datagram| {
            now_ns.saturating_sub(datagram.began_ns) >= WAIT_NS
                || self.begun - datagram.number > MOST_SINCE
        })
    }

    /// Begins a datagram, in the place of the oldest if there is no other.
    fn begin(
        &mut self,
        fragment: &Fragment,
        now_ns: u64,
        buffers: &mut impl Buffers,
    ) -> Option<usize> {
        if self.datagrams.len() >= MOST_DATAGRAMS {
            let all = self.datagrams.iter().enumerate();
            let (oldest, _) = all.min_by_key(|(_, datagram)| datagram.number)?;
            self.give_up(oldest, Refusal::FragmentsFull, buffers);
        }
        let state = State::Filling(buffers.take()?);
        if self.datagrams.is_empty() {
            self.due_ns = now_ns.saturating_add(WAIT_NS);
        }
        self.begun += 1;
        self.datagrams.push(Waiting {
            key: fragment.key,
            state,
            began_ns: now_ns,
            number: self.begun,
            spans: ArrayVec::new(),
            bytes: 0,
            end: None,
            first: None,
        });
        self.datagrams.len().checked_sub(1)
    }

    fn place_of(&self, buffer: u16) -> Option<usize> {
        self.datagrams.iter().position(|datagram| datagram.state == State::Filling(buffer))
    }

    fn give_up(&mut self, place: usize, reason: Refusal, buffers: &mut impl Buffers) {
        if place >= self.datagrams.len() {
            return;
        }
        let datagram = self.datagrams.swap_remove(place);
        self.refuse(reason, datagram.fragments());
        if let State::Filling(buffer) = datagram.state {
            buffers.give_back(buffer);
        }
    }

    fn refuse(&mut self, reason: Refusal, fragments: u64) {
        if let Some(count) = self.refused.get_mut(reason.index()) {
            *count += fragments;
        }
    }
}
