//! Delivering frames to ports of this worker, each in the form and with the tag that its port wants.

use helio_counters::{FrameCount, PortBlock};
use helio_frame::{Delivery, Frame, Port, RestBytes};
use helio_offload::{Form, MAX_HEADER_BYTES, NetHeader, Offloads, SegmentPlan};
use helio_switch::{PortSettings, TagEdit, egress_edit};
use helio_types::{DropReason, MIN_FRAME_BYTES, PortId};

use crate::core::Core;
use crate::mailbox::{Tagging, Targets};
use crate::run::{Traits, Work};

/// Bytes of a VLAN tag.
const TAG_BYTES: u32 = 4;

/// Why a port gets a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// The switch chose it: offloads that its guest accepts are left to the guest.
    Production,
    /// A copy for a mirror destination: frames as they are on a wire, with complete checksums, because a capture of
    /// anything else looks broken.
    Copy,
}

/// What became of one frame at one port. A frame that is cut into segments has several outcomes.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    delivered: u64,
    /// Bytes of what was delivered, before any tag was put in or taken out.
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
        frames: &[Frame],
        traits: Traits,
        tagging: Tagging,
        targets: &Targets,
    ) {
        match traits.work {
            Work::Nothing => self.deliver_complete(frames, traits, tagging, targets),
            Work::Offloads => {
                for frame in frames {
                    self.deliver_worked(frame, tagging, targets);
                }
            }
        }
    }

    /// Delivers one frame to one port after the other, so that all its receivers share what is computed for it.
    fn deliver_worked(&mut self, frame: &Frame, tagging: Tagging, targets: &Targets) {
        self.forms.begin();
        for port in &targets.production {
            self.deliver_production(frame, tagging, port, targets);
        }
        for port in &targets.copies {
            self.deliver_copy(frame, tagging, port);
        }
    }

    pub(crate) fn deliver_production(
        &mut self,
        frame: &Frame,
        tagging: Tagging,
        port: PortId,
        targets: &Targets,
    ) {
        let outcome = self.deliver(frame, tagging, port, Purpose::Production);
        if let Some(reason) = outcome.reason {
            self.counters.port(port).drop_egress(reason, outcome.dropped);
        }
        if targets.production_for_mirror.contains(port) {
            self.count_copy(frame, port, outcome);
        }
    }

    pub(crate) fn deliver_copy(&mut self, frame: &Frame, tagging: Tagging, port: PortId) {
        let outcome = self.deliver(frame, tagging, port, Purpose::Copy);
        self.count_copy(frame, port, outcome);
    }

    /// Counts mirror copies as dropped before they were tried.
    pub(crate) fn refuse_copies(&self, wire: FrameCount, port: PortId, reason: DropReason) {
        self.counters.port(port).mirror.drop_copies(reason, wire.frames, wire.bytes);
    }

    /// Counts what became of a frame that a mirror session wanted at `port`. Sessions count frames as they are on a wire,
    /// so that wanted, delivered and dropped agree in whatever form the frame was delivered.
    fn count_copy(&self, frame: &Frame, port: PortId, outcome: Outcome) {
        let wire = on_the_wire(frame);
        let block = &self.counters.port(port).mirror;
        match outcome.reason {
            None => block.delivered.add(wire.frames, wire.bytes),
            Some(reason) if outcome.delivered + outcome.dropped == wire.frames => {
                block.delivered.add(outcome.delivered, outcome.delivered_bytes);
                block.drop_copies(reason, outcome.dropped, wire.bytes - outcome.delivered_bytes);
            }
            Some(reason) => block.drop_copies(reason, wire.frames, wire.bytes),
        }
    }

    fn deliver(
        &mut self,
        frame: &Frame,
        tagging: Tagging,
        to: PortId,
        purpose: Purpose,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let place = self.place(to);
        self.touch(place);
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
        let mut way = Way {
            port: &mut *local.port,
            edit: egress_edit(&settings.vlan, tagging.vlan, tagging.tag),
            longest: longest(settings, tagging),
            block: counters.port(to),
            outcome: &mut outcome,
        };
        let accepts = match purpose {
            Purpose::Production => way.port.accepts(),
            Purpose::Copy => Offloads::NONE,
        };
        match form(frame, accepts, way.longest) {
            Form::Whole => way.send(Delivery::whole(frame.net, frame.head.bytes(), &[], rest)),
            Form::Finished => match forms.finished(frame, &rest) {
                Ok(head) => way.send(Delivery::whole(NetHeader::PLAIN, head.bytes(), &[], rest)),
                Err(reason) => way.outcome.drop(reason),
            },
            Form::Segmented(checksum) => {
                let max_bytes = match purpose {
                    Purpose::Production => longest_payload(frame, way.longest),
                    Purpose::Copy => u16::MAX,
                };
                match forms.segmented(frame, &rest, checksum, max_bytes) {
                    Ok(segmenter) => {
                        segmenter.segments().for_each(|plan| way.send_segment(frame, &plan, rest))
                    }
                    Err(reason) => way.outcome.drop(reason),
                }
            }
        }
        outcome
    }
}

/// The way into one port.
struct Way<'a> {
    port: &'a mut dyn Port,
    edit: TagEdit,
    /// Longest frame that its MTU allows, with the tag it came with.
    longest: u32,
    block: &'a PortBlock,
    outcome: &'a mut Outcome,
}

impl Way<'_> {
    fn send_segment(&mut self, frame: &Frame, plan: &SegmentPlan<'_>, rest: RestBytes<'_>) {
        let head = frame.head.bytes();
        let head_bytes = u32::try_from(head.len()).unwrap_or(u32::MAX);
        let end = plan.body_start + plan.body_bytes;
        let tail = plan.body_start.min(head_bytes) as usize..end.min(head_bytes) as usize;
        let rest_skip = plan.body_start.saturating_sub(head_bytes);
        self.send(Delivery {
            net: plan.net,
            header: plan.header,
            tail: head.get(tail).unwrap_or_default(),
            rest,
            rest_skip,
            rest_bytes: end.saturating_sub(head_bytes) - rest_skip,
        });
    }

    #[inline]
    fn send(&mut self, delivery: Delivery<'_>) {
        let bytes = delivery.bytes();
        if delivery.net.gso.is_none() && bytes > self.longest {
            return self.outcome.drop(DropReason::Mtu);
        }
        let offered = if self.edit == TagEdit::Keep {
            self.offer(&delivery)
        } else {
            self.offer_edited(&delivery)
        };
        match offered {
            Ok(()) => {
                self.outcome.delivered += 1;
                self.outcome.delivered_bytes += u64::from(bytes);
            }
            Err(reason) => self.outcome.drop(reason),
        }
    }

    #[inline]
    fn offer(&mut self, delivery: &Delivery<'_>) -> Result<(), DropReason> {
        self.port.offer(delivery)?;
        self.block.egress.add(1, u64::from(delivery.bytes()));
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
    fn drop(&mut self, reason: DropReason) {
        self.dropped += 1;
        self.reason = Some(reason);
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
