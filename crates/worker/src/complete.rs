//! Delivering frames that nothing is left to do to: run by run, one port after the other.
//!
//! A port is asked once for a whole run, so that what a frame of 64 bytes costs is mostly its bytes; and with several mirrors
//! the lines of one ring stay at hand until all frames are written to it. The last port is told that it is, if nobody else reads
//! the frames: it may keep what they lie in.

use helio_counters::FrameCount;
use helio_frame::{Frame, LastRun, Precedence, Run, RunEnd};
use helio_switch::{PortSettings, TagEdit, egress_edit};
use helio_types::{DropReason, PortId};

use crate::core::{Core, Local};
use crate::deliver::{Part, Purpose, longest};
use crate::mailbox::{Readers, Tagging, Targets};
use crate::run::{Traits, Work};

impl Core {
    /// Delivers frames that are complete to all `targets`, production first.
    #[inline]
    pub(crate) fn deliver_complete(
        &mut self,
        frames: &mut [Frame],
        traits: Traits,
        tagging: Tagging,
        targets: &Targets,
        readers: Readers,
    ) {
        let after_production = if targets.copies.is_empty() { readers } else { Readers::Others };
        let mut ports = targets.production.iter();
        while let Some(port) = ports.next() {
            let readers = if ports.is_done() { after_production } else { Readers::Others };
            let part = Part::production(port, targets);
            self.deliver_part(frames, traits, tagging, port, part, readers);
        }
        let mut ports = targets.copies.iter();
        while let Some(port) = ports.next() {
            let readers = if ports.is_done() { readers } else { Readers::Others };
            self.deliver_part(frames, traits, tagging, port, Part::COPY, readers);
        }
    }

    /// Delivers frames to one port: together, if nothing is to be done to any of them.
    #[inline]
    pub(crate) fn deliver_part(
        &mut self,
        frames: &mut [Frame],
        traits: Traits,
        tagging: Tagging,
        to: PortId,
        part: Part,
        readers: Readers,
    ) {
        if self.takes_as_they_are(to, traits, tagging, part.purpose) {
            self.deliver_run(frames, traits, to, part, readers);
        } else {
            for frame in &*frames {
                self.deliver_one(frame, tagging, to, part);
            }
        }
    }

    /// Whether frames go to `port` without a change, and none is too long for it.
    #[inline]
    pub(crate) fn takes_as_they_are(
        &self,
        port: PortId,
        traits: Traits,
        tagging: Tagging,
        purpose: Purpose,
    ) -> bool {
        let keeps_tag = |settings: &PortSettings| match purpose {
            Purpose::CopyOfRefused(_) => true,
            Purpose::Production | Purpose::Copy(_) => {
                egress_edit(&settings.vlan, tagging.vlan, tagging.tag) == TagEdit::Keep
            }
        };
        traits.work == Work::Nothing
            && traits.longest <= purpose.snap_bytes()
            && self.snapshot.switch.port(port).is_some_and(|settings| {
                keeps_tag(settings) && traits.longest <= longest(settings, tagging)
            })
    }

    /// Offers a run to one port.
    #[inline]
    fn deliver_run(
        &mut self,
        frames: &mut [Frame],
        traits: Traits,
        to: PortId,
        part: Part,
        readers: Readers,
    ) {
        let end = self.offer_run(frames, to, part.purpose.precedence(), readers);
        if end.refused.is_none() {
            return self.count_delivered(traits.wire, to, part);
        }
        self.deliver_after_refusal(frames, traits, to, end, part, readers);
    }

    /// Goes on after `end`, beginning again after each frame that the port refuses.
    #[inline(never)]
    fn deliver_after_refusal(
        &mut self,
        frames: &mut [Frame],
        traits: Traits,
        to: PortId,
        end: RunEnd,
        part: Part,
        readers: Readers,
    ) {
        let all = frames.len();
        let (mut left, mut end) = (frames, end);
        loop {
            let (written, after) = left.split_at_mut(end.written.min(left.len()));
            if !written.is_empty() {
                self.count_delivered(total(written), to, part);
            }
            let Some((reason, count)) = end.refused else { return };
            // One at least, or a port that refuses nothing would keep us here for ever.
            let (refused, after) = after.split_at_mut(count.max(1).min(after.len()));
            let wire = if refused.len() == all { traits.wire } else { total(refused) };
            self.count_refused_at(wire, to, part, reason);
            left = after;
            if left.is_empty() {
                return;
            }
            end = self.offer_run(left, to, part.purpose.precedence(), readers);
        }
    }

    #[inline]
    fn offer_run(
        &mut self,
        frames: &mut [Frame],
        to: PortId,
        precedence: Precedence,
        readers: Readers,
    ) -> RunEnd {
        let place = self.place(to);
        self.give(place);
        let Self { locals, memories, .. } = self;
        match place.and_then(|place| locals.get_mut(place)) {
            Some(Local { port, .. }) if readers == Readers::NoOthers => {
                port.offer_last(LastRun { frames, memories, precedence })
            }
            Some(Local { port, .. }) => port.offer_run(Run { frames, memories, precedence }),
            None => RunEnd::none(frames.len(), DropReason::PortDown),
        }
    }

    #[inline]
    fn count_delivered(&self, wire: FrameCount, to: PortId, part: Part) {
        let block = self.counters.port(to);
        block.egress.add(wire.frames, wire.bytes);
        if part.is_for_mirror {
            block.mirror.delivered.add(wire.frames, wire.bytes);
        }
        for leg in part.legs {
            self.counters.leg(leg).delivered.add(wire.frames, wire.bytes);
        }
    }

    fn count_refused_at(&self, wire: FrameCount, to: PortId, part: Part, reason: DropReason) {
        if part.purpose == Purpose::Production {
            self.counters.port(to).drop_egress(reason, wire.frames);
        }
        if part.is_for_mirror {
            self.refuse_copies(wire, to, reason);
        }
        self.refuse_legs(wire, part.legs, reason);
    }
}

/// Frames that stand for themselves, and the bytes in them.
fn total(frames: &[Frame]) -> FrameCount {
    let bytes = frames.iter().map(|frame| u64::from(frame.bytes)).sum();
    FrameCount { frames: frames.len() as u64, bytes }
}
