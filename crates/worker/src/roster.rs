//! Which ports are looked at in every turn, and which now and then: so that a port costs nothing while its guest is silent.
//!
//! With 256 ports of which two exchanged frames of 64 bytes, a frame cost 282 ns while all were looked at in every turn, and
//! 38 so; with two ports alone 36.

/// Turns without a frame after which a port counts as silent: some milliseconds while others are busy.
const PATIENCE_TURNS: u16 = 4096;
/// Silent ports looked at in a turn that found something elsewhere: the first frame of a silent one among 256 waits for 256
/// turns at most.
const LOOKS_BESIDE_WORK: usize = 1;
/// Silent ports looked at in a turn that found nothing.
const LOOKS_WHEN_IDLE: usize = 32;
/// Silent ports up to which a look still has at hand what the last one at the same port read.
const AT_HAND: usize = 16;

/// The places of all ports of a worker, each in one of two lists.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    lively: Vec<Lively>,
    silent: Vec<u8>,
    /// Whether a lively port may have had no frame for long.
    may_part: bool,
    /// Where in `silent` the next look goes.
    next: usize,
}

/// A port that is looked at in every turn.
#[derive(Clone, Copy, Debug)]
struct Lively {
    place: u8,
    /// Turns since it had a frame.
    empty_turns: u16,
}

impl Roster {
    /// No ports. Allocates all that `ports` of them will need.
    pub(crate) fn with_capacity(ports: usize) -> Self {
        let (lively, silent) = (Vec::with_capacity(ports), Vec::with_capacity(ports));
        Self { lively, silent, may_part: false, next: 0 }
    }

    /// Begins anew with `ports` ports, all of them lively.
    pub(crate) fn reset(&mut self, ports: usize) {
        let places = (0..ports).filter_map(|place| u8::try_from(place).ok());
        self.lively.clear();
        self.lively.extend(places.map(|place| Lively { place, empty_turns: 0 }));
        self.silent.clear();
        self.next = 0;
    }

    /// Number of ports that are looked at in every turn.
    pub(crate) fn lively_count(&self) -> usize {
        self.lively.len()
    }

    /// The place of the lively port with number `index`.
    pub(crate) fn lively(&self, index: usize) -> Option<usize> {
        self.lively.get(index).map(|port| usize::from(port.place))
    }

    /// Notes what the look at a lively port found.
    #[inline]
    pub(crate) fn looked(&mut self, index: usize, found: u64) {
        if let Some(port) = self.lively.get_mut(index) {
            port.empty_turns = if found > 0 { 0 } else { port.empty_turns.saturating_add(1) };
            self.may_part |= port.empty_turns >= PATIENCE_TURNS;
        }
    }

    /// How many silent ports to look at in a turn in which the lively ones had `found` frames.
    #[inline]
    pub(crate) fn looks(&self, found: u64) -> usize {
        let most = if found > 0 { LOOKS_BESIDE_WORK } else { LOOKS_WHEN_IDLE };
        self.silent.len().min(most)
    }

    /// The place of the silent port that is to be looked at next.
    pub(crate) fn silent(&self) -> Option<usize> {
        self.silent.get(self.next).map(|place| usize::from(*place))
    }

    /// The same, if what that look will read has to be fetched: for few ports that would take longer than it saves.
    #[inline]
    pub(crate) fn silent_out_of_mind(&self) -> Option<usize> {
        if self.silent.len() > AT_HAND { self.silent() } else { None }
    }

    /// Notes what the look at that port found.
    pub(crate) fn looked_at_silent(&mut self, found: u64) {
        if found > 0 && self.next < self.silent.len() {
            let place = self.silent.swap_remove(self.next);
            self.lively.push(Lively { place, empty_turns: 0 });
        } else {
            self.next += 1;
        }
        if self.next >= self.silent.len() {
            self.next = 0;
        }
    }

    /// Ends a turn: ports that had no frame for long are silent from now on.
    #[inline]
    pub(crate) fn end_turn(&mut self) {
        if self.may_part {
            self.part();
        }
    }

    #[cold]
    fn part(&mut self) {
        let Self { lively, silent, may_part, .. } = self;
        *may_part = false;
        lively.retain(|port| {
            let stays = port.empty_turns < PATIENCE_TURNS;
            if !stays {
                silent.push(port.place);
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// One turn in which the ports in `senders` have a frame. Returns the places that were looked at.
    fn turn(roster: &mut Roster, senders: &[usize]) -> Vec<usize> {
        let mut looked_at = Vec::new();
        let mut total = 0;
        let mut found = |place: usize| {
            looked_at.push(place);
            u64::from(senders.contains(&place))
        };
        for index in 0..roster.lively_count() {
            let found = found(roster.lively(index).unwrap());
            roster.looked(index, found);
            total += found;
        }
        for _ in 0..roster.looks(total) {
            let found = found(roster.silent().unwrap());
            roster.looked_at_silent(found);
        }
        roster.end_turn();
        looked_at
    }

    fn quiet(ports: usize) -> Roster {
        let mut roster = Roster::with_capacity(ports);
        roster.reset(ports);
        for _ in 0..PATIENCE_TURNS {
            assert_eq!(turn(&mut roster, &[]).len(), ports);
        }
        assert_eq!(roster.lively_count(), 0);
        roster
    }

    #[test]
    fn a_look_is_foreseen_only_where_there_are_many_silent_ports() {
        assert_eq!(quiet(AT_HAND).silent_out_of_mind(), None);
        let roster = quiet(AT_HAND + 1);
        assert_eq!(roster.silent_out_of_mind(), roster.silent());
    }

    #[test]
    fn every_silent_port_is_looked_at_within_256_busy_turns_and_within_8_idle_ones() {
        for (senders, turns) in [(&[7_usize][..], 256), (&[], 8)] {
            let mut roster = quiet(256);
            while !senders.is_empty() && roster.lively_count() == 0 {
                turn(&mut roster, senders);
            }
            let seen: BTreeSet<_> = (0..turns).flat_map(|_| turn(&mut roster, senders)).collect();
            assert_eq!(seen.len(), 256, "{senders:?}");
        }
    }

    #[test]
    fn a_port_with_frames_is_looked_at_in_every_turn_and_a_silent_one_beside_it() {
        let mut roster = quiet(256);
        while roster.lively_count() == 0 {
            turn(&mut roster, &[3]);
        }
        for _ in 0..20_000 {
            let places = turn(&mut roster, &[3]);
            assert_eq!((places[0], places.len()), (3, 2));
        }
    }

    #[test]
    fn few_ports_are_all_looked_at_when_there_is_nothing_to_do() {
        let mut roster = quiet(32);
        let places: BTreeSet<_> = turn(&mut roster, &[]).into_iter().collect();
        assert_eq!(places.len(), 32);
    }

    #[test]
    fn a_reset_makes_all_ports_lively() {
        let mut roster = quiet(4);
        roster.reset(5);
        assert_eq!(turn(&mut roster, &[]), [0, 1, 2, 3, 4]);
    }
}
