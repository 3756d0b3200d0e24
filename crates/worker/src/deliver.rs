//! Delivering frames to ports of this worker, each in the form and with the tag that its port wants.

use helio_counters::{FrameCount, MirrorBlock, PortBlock};
use helio_encap::SnapLen;
use helio_frame::{Delivery, Frame, Port, Precedence, RestBytes};
use helio_offload::{Form, MAX_HEADER_BYTES, NetHeader, Offloads, SegmentPlan};
use helio_switch::{PortSettings, TagEdit, egress_edit};
use helio_types::{DropReason, LegSet, MIN_FRAME_BYTES, PortId};

use crate::core::Core;
use crate::form::Forms;
use crate::mailbox::{Readers, Tagging, Targets};
use crate::run::{Traits, Work};

/// Bytes of a VLAN tag.
const TAG_BYTES: u32 = 4;

/// Why a port gets a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The switch chose it: offloads that its guest accepts are left to the guest.
    Production,
    /// A copy for a mirror destination: frames as they are on a wire, with complete checksums, because a capture of
    /// anything else looks broken.
    Copy(SnapLen),
    /// A copy of a frame that policy refused: with the tag that it came with.
    CopyOfRefused(SnapLen),
}

/// The part of a port in the delivery of some frames: why it gets them, and whose counters tell what became of them there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) purpose: Purpose,
    /// Whether that is a copy of its mirror session, too.
    pub(crate) is_for_mirror: bool,
    /// The legs of which it is the copy, too.
    pub(crate) legs: LegSet,
}

impl Part {
    /// Of a port that the switch chose.
    #[inline]
    pub(crate) fn production(port: PortId, targets: &Targets) -> Self {
        let is_for_mirror = targets.production_for_mirror.contains(port);
        Self { purpose: Purpose::Production, is_for_mirror, legs: LegSet::EMPTY }
    }

    /// Of a mirror destination.
    pub(crate) const COPY: Self =
        Self { purpose: Purpose::Copy(SnapLen::WHOLE), is_for_mirror: true, legs: LegSet::EMPTY };
}

impl Purpose {
    /// Whether the frame stands back for others.
    #[inline]
    pub(crate) fn precedence(self) -> Precedence {
        match self {
            Self::Production => Precedence::Production,
            Self::Copy(_) | Self::CopyOfRefused(_) => Precedence::Copy,
        }
    }

    /// Most bytes of each frame that the port gets.
    #[inline]
    pub(crate) fn snap_bytes(self) -> u32 {
        match self {
            Self::Production => u32::MAX,
            Self::Copy(snap_len) | Self::CopyOfRefused(snap_len) => snap_len.bytes(),
        }
    }
}

/// What became of one frame at one port. A frame that is cut into segments has several outcomes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    delivered: u64,
    /// Bytes of what was delivered, before any tag was put in or taken out, and before it was cut.
    delivered_bytes: u64,
    dropped: u64,
    /// Why, for the last one dropped.
    reason: Option<DropReason>,
}

impl Core {
    /// Delivers frames that go the same way to all `targets`, which are for this worker to deal with: production first, then
    /// the copies. A port has the same part in all the frames, so it gets them in order whether it receives or watches.
    #[inline]
    pub(crate) fn deliver_all(
        &mut self,
        frames: &mut [Frame],
        traits: Traits,
        tagging: Tagging,
        targets: &Targets,
        readers: Readers,
    ) {
        match traits.work {
            Work::Nothing => self.deliver_complete(frames, traits, tagging, targets, readers),
            Work::Offloads => {
                for frame in &*frames {
                    self.deliver_worked(frame, tagging, targets);
                }
            }
        }
    }

    /// Delivers one frame to one port after the other, so that all its receivers share what is computed for it.
    fn deliver_worked(&mut self, frame: &Frame, tagging: Tagging, targets: &Targets) {
        self.forms.begin();
        for port in &targets.production {
            self.deliver_one(frame, tagging, port, Part::production(port, targets));
        }
        for port in &targets.copies {
            self.deliver_one(frame, tagging, port, Part::COPY);
        }
    }

    /// Delivers one frame to one port, and counts what became of it.
    pub(crate) fn deliver_one(
        &mut self,
        frame: &Frame,
        tagging: Tagging,
        port: PortId,
        part: Part,
    ) {
        let outcome = self.deliver(frame, tagging, port, part.purpose);
        if let (Purpose::Production, Some(reason)) = (part.purpose, outcome.reason) {
            self.counters.port(port).drop_egress(reason, outcome.dropped);
        }
        if part.is_for_mirror {
            outcome.count(on_the_wire(frame), &self.counters.port(port).mirror);
        }
        for leg in part.legs {
            outcome.count(on_the_wire(frame), self.counters.leg(leg));
        }
    }

    /// Counts mirror copies as dropped before they were tried.
    pub(crate) fn refuse_copies(&self, wire: FrameCount, port: PortId, reason: DropReason) {
        self.counters.port(port).mirror.drop_copies(reason, wire.frames, wire.bytes);
    }

    /// Delivers one frame to one port, whatever must be done to it.
    fn deliver(
        &mut self,
        frame: &Frame,
        tagging: Tagging,
        to: PortId,
        purpose: Purpose,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let place = self.place(to);
        self.give(place);
        let Self { locals, snapshot, memories, forms, counters, .. } = self;
        let local = place.and_then(|place| locals.get_mut(place));
        let (Some(local), Some(settings)) = (local, snapshot.switch.port(to)) else {
            outcome.drop(DropReason::PortDown);
            return outcome;
        };
        let rest = RestBytes::new(
            memories.get(frame.memory.index()).and_then(Option::as_deref),
            &frame.rest,
        );
        if rest.table().is_none() && !frame.rest.is_empty() {
            outcome.drop(DropReason::PortDown);
            return outcome;
        }
        let edit = match purpose {
            Purpose::CopyOfRefused(_) => TagEdit::Keep,
            _ => egress_edit(&settings.vlan, tagging.vlan, tagging.tag),
        };
        let mut way = Way {
            port: &mut *local.port,
            edit,
            longest: longest(settings, tagging),
            snap_bytes: purpose.snap_bytes(),
            precedence: purpose.precedence(),
            block: counters.port(to),
            outcome: &mut outcome,
        };
        let (accepts, max_bytes) = match purpose {
            Purpose::Production => (way.port.accepts(), longest_payload(frame, way.longest)),
            Purpose::Copy(_) | Purpose::CopyOfRefused(_) => (Offloads::NONE, u16::MAX),
        };
        let form = form(frame, accepts, way.longest);
        let made = in_form(frame, rest, forms, form, max_bytes, |delivery| way.send(delivery));
        if let Err(reason) = made {
            outcome.drop(reason);
        }
        outcome
    }
}

/// Gives `send` a frame in a form: once, or for each segment with at most `max_bytes` of payload.
///
/// # Errors
///
/// Why the frame cannot have this form; nothing was sent then.
#[inline]
pub(crate) fn in_form<'a>(
    frame: &'a Frame,
    rest: RestBytes<'a>,
    forms: &mut Forms,
    form: Form,
    max_bytes: u16,
    mut send: impl FnMut(Delivery<'_>),
) -> Result<(), DropReason> {
    match form {
        Form::Whole => send(Delivery::whole(frame.net, frame.head.bytes(), &[], rest)),
        Form::Finished => {
            let head = forms.finished(frame, &rest)?;
            send(Delivery::whole(NetHeader::PLAIN, head.bytes(), &[], rest));
        }
        Form::Segmented(checksum) => {
            let segmenter = forms.segmented(frame, &rest, checksum, max_bytes)?;
            segmenter.segments().for_each(|plan| send(segment(frame, &plan, rest)));
        }
    }
    Ok(())
}

/// One segment of a frame.
fn segment<'a>(frame: &'a Frame, plan: &SegmentPlan<'a>, rest: RestBytes<'a>) -> Delivery<'a> {
    let head = frame.head.bytes();
    let head_bytes = u32::try_from(head.len()).unwrap_or(u32::MAX);
    let end = plan.body_start + plan.body_bytes;
    let tail = plan.body_start.min(head_bytes) as usize..end.min(head_bytes) as usize;
    let rest_skip = plan.body_start.saturating_sub(head_bytes);
    Delivery {
        net: plan.net,
        header: plan.header,
        tail: head.get(tail).unwrap_or_default(),
        rest,
        rest_skip,
        rest_bytes: end.saturating_sub(head_bytes) - rest_skip,
        precedence: Precedence::Production,
    }
}

/// The way into one port.
struct Way<'a> {
    port: &'a mut dyn Port,
    edit: TagEdit,
    /// Longest frame that its MTU allows, with the tag it came with.
    longest: u32,
    /// Most bytes that are delivered of each frame.
    snap_bytes: u32,
    precedence: Precedence,
    block: &'a PortBlock,
    outcome: &'a mut Outcome,
}

impl Way<'_> {
    #[inline]
    fn send(&mut self, delivery: Delivery<'_>) {
        let delivery = Delivery { precedence: self.precedence, ..delivery };
        let bytes = delivery.bytes();
        if delivery.net.gso.is_none() && bytes.min(self.snap_bytes) > self.longest {
            return self.outcome.drop(DropReason::Mtu);
        }
        let offered = if self.edit == TagEdit::Keep {
            self.offer(&delivery)
        } else {
            self.offer_edited(&delivery)
        };
        match offered {
            Ok(()) => self.outcome.deliver(bytes),
            Err(reason) => self.outcome.drop(reason),
        }
    }

    /// Offers a frame as it leaves, cut to the length that is wanted.
    #[inline]
    fn offer(&mut self, delivery: &Delivery<'_>) -> Result<(), DropReason> {
        let bytes = delivery.bytes();
        if bytes > self.snap_bytes {
            self.port.offer(&delivery.range(0, self.snap_bytes))?;
        } else {
            self.port.offer(delivery)?;
        }
        self.block.egress.add(1, u64::from(bytes.min(self.snap_bytes)));
        Ok(())
    }

    fn offer_edited(&mut self, delivery: &Delivery<'_>) -> Result<(), DropReason> {
        let mut header = [0; MAX_HEADER_BYTES + TAG_BYTES as usize];
        let bytes = self.edit.apply(delivery.header, &mut header).ok_or(DropReason::HeaderLong)?;
        let shift = i16::try_from(self.edit.byte_delta()).unwrap_or(0);
        let net = delivery.net.shifted(shift)?;
        let header = header.get(..bytes).unwrap_or_default();
        self.offer(&Delivery { net, header, ..*delivery })
    }
}

impl Outcome {
    /// Nothing was done: the frame was dropped for `reason`.
    pub(crate) fn dropped(reason: DropReason) -> Self {
        let mut outcome = Self::default();
        outcome.drop(reason);
        outcome
    }

    /// One more, which was dropped.
    pub(crate) fn drop(&mut self, reason: DropReason) {
        self.dropped += 1;
        self.reason = Some(reason);
    }

    /// One more, which was delivered.
    pub(crate) fn deliver(&mut self, bytes: u32) {
        self.delivered += 1;
        self.delivered_bytes += u64::from(bytes);
    }

    /// Counts what became of a copy. Sessions count frames as they are on a wire, so that wanted, delivered and dropped agree
    /// in whatever form the frame was delivered.
    pub(crate) fn count(self, wire: FrameCount, block: &MirrorBlock) {
        match self.reason {
            None => block.delivered.add(wire.frames, wire.bytes),
            Some(reason) if self.delivered + self.dropped == wire.frames => {
                block.delivered.add(self.delivered, self.delivered_bytes);
                block.drop_copies(reason, self.dropped, wire.bytes - self.delivered_bytes);
            }
            Some(reason) => block.drop_copies(reason, wire.frames, wire.bytes),
        }
    }
}

/// The longest frame that the MTU of a port allows, with the tag that the frame came with.
pub(crate) fn longest(settings: &PortSettings, tagging: Tagging) -> u32 {
    let tag_bytes = if tagging.tag.is_some() { TAG_BYTES } else { 0 };
    MIN_FRAME_BYTES + tag_bytes + u32::from(settings.mtu)
}

/// The frame as it would be on a wire: the segments it stands for, each with its headers.
pub(crate) fn on_the_wire(frame: &Frame) -> FrameCount {
    let frames = u64::from(frame.net.segment_count(frame.bytes));
    let header_bytes = frame.net.gso.map_or(0, |gso| u64::from(gso.header_bytes));
    FrameCount { frames, bytes: u64::from(frame.bytes) + (frames - 1) * header_bytes }
}

/// The form of a frame for a receiver that accepts `accepts` and takes frames up to `longest` bytes. A frame that stands for
/// segments longer than that is cut anew, whatever the receiver accepts.
fn form(frame: &Frame, accepts: Offloads, longest: u32) -> Form {
    let segment_bytes =
        frame.net.gso.map_or(0, |gso| u32::from(gso.header_bytes) + u32::from(gso.segment_bytes));
    let accepts =
        if segment_bytes > longest { accepts.intersection(Offloads::CSUM) } else { accepts };
    Form::towards(&frame.net, accepts)
}

/// Payload of one segment, so that the segment is no longer than `longest`.
fn longest_payload(frame: &Frame, longest: u32) -> u16 {
    let header_bytes = frame.net.gso.map_or(0, |gso| u32::from(gso.header_bytes));
    u16::try_from(longest.saturating_sub(header_bytes)).unwrap_or(u16::MAX)
}
