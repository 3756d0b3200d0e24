//! What is known of the next hop, and when to ask: RFC 4861, section 7.3, for ARP as well. The worker that owns the
//! uplink drives it. There is no delay before probes, because nothing answers copies.
//!
//! What always holds: two questions are at least a second apart, whatever arrives. An unknown neighbour becomes known
//! only by an answer to a question that was asked a moment ago.

use std::fmt;
use std::time::{Duration, Instant};

use helio_types::MacAddr;

use crate::Refusal;
use crate::claim::{Claim, Occasion, Weight};

/// Between questions. RFC 4861, section 10: RETRANS_TIMER.
const RETRANSMIT: Duration = Duration::from_secs(1);
/// Questions before the neighbour counts as lost. RFC 4861, section 10: MAX_MULTICAST_SOLICIT, MAX_UNICAST_SOLICIT.
const TRIES: u8 = 3;
/// How long an answer counts. RFC 4861, section 10: REACHABLE_TIME.
const REACHABLE: Duration = Duration::from_secs(30);
/// Longest time between questions while nobody answers.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How long after a question an answer is one.
const ANSWER_TIME: Duration = Duration::from_secs(3);
/// How long an address that was taken is not replaced by what nobody asked for: of several that come together the
/// first counts.
const LOCK_TIME: Duration = Duration::from_secs(1);

/// What is known of the next hop, for those who look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NeighbourState {
    /// Nothing is known yet; it was asked at most three times. Copies are refused.
    Incomplete,
    /// It has answered within the last 30 s.
    Reachable,
    /// It is known from before, and no copy has been sent since.
    Stale,
    /// It is known from before and is being asked whether it is still there. Copies go there meanwhile.
    Probe,
    /// It has not answered. It is asked again, less and less often, at least every 30 s. Copies are refused.
    Failed,
}

impl NeighbourState {
    /// The name used in JSON and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete",
            Self::Reachable => "reachable",
            Self::Stale => "stale",
            Self::Probe => "probe",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for NeighbourState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whom to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Whoever has the address.
    Everybody,
    /// The one who had it.
    Only(MacAddr),
}

/// What a claim has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing.
    Unchanged,
    /// The neighbour is known, or known again.
    Learned,
}

/// Where the neighbour is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    mac: MacAddr,
    /// When this address was taken.
    since: Instant,
}

/// The variants are those of [`NeighbourState`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Incomplete { sent: u8 },
    Reachable { known: Known, answered: Instant },
    Stale { known: Known },
    Probe { known: Known, sent: u8 },
    Failed { wait: Duration },
}

/// What is known of one next hop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resolution {
    state: State,
    /// Whether a copy was sent since it went stale.
    is_used: bool,
    /// When it was asked last.
    asked: Option<Instant>,
}

impl Resolution {
    pub(crate) const fn new() -> Self {
        Self { state: State::Incomplete { sent: 0 }, is_used: false, asked: None }
    }

    const fn known(&self) -> Option<Known> {
        match self.state {
            State::Reachable { known, .. }
            | State::Stale { known }
            | State::Probe { known, .. } => Some(known),
            State::Incomplete { .. } | State::Failed { .. } => None,
        }
    }

    #[inline]
    pub(crate) fn mac(&self) -> Option<MacAddr> {
        self.known().map(|known| known.mac)
    }

    #[inline]
    pub(crate) fn use_mac(&mut self) -> Option<MacAddr> {
        self.is_used = true;
        self.mac()
    }

    pub(crate) const fn state(&self) -> NeighbourState {
        match self.state {
            State::Incomplete { .. } => NeighbourState::Incomplete,
            State::Reachable { .. } => NeighbourState::Reachable,
            State::Stale { .. } => NeighbourState::Stale,
            State::Probe { .. } => NeighbourState::Probe,
            State::Failed { .. } => NeighbourState::Failed,
        }
    }

    /// Begins anew with what is known, as after the link was down.
    pub(crate) fn restart(&mut self) {
        self.state = match self.known() {
            Some(known) => State::Probe { known, sent: 0 },
            None => State::Incomplete { sent: 0 },
        };
    }

    /// Lets time pass. Says whom to ask now, if anybody.
    pub(crate) fn turn(&mut self, now: Instant) -> Option<Ask> {
        self.pass(now);
        if !self.has_waited(RETRANSMIT, now) {
            return None;
        }
        let since = self.asked.map(|asked| now.saturating_duration_since(asked));
        let ask = match &mut self.state {
            State::Incomplete { sent } if *sent < TRIES => {
                *sent += 1;
                Ask::Everybody
            }
            State::Probe { known, sent } if *sent < TRIES => {
                *sent += 1;
                Ask::Only(known.mac)
            }
            State::Failed { wait } if since.is_none_or(|since| since >= *wait) => {
                *wait = wait.saturating_mul(2).min(LONGEST_WAIT);
                Ask::Everybody
            }
            _ => return None,
        };
        self.asked = Some(now);
        Some(ask)
    }

    /// Whether the last question was at least so long ago.
    fn has_waited(&self, wait: Duration, now: Instant) -> bool {
        self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= wait)
    }

    /// The changes that come with time, and with use.
    fn pass(&mut self, now: Instant) {
        let is_quiet = self.has_waited(RETRANSMIT, now);
        self.state = match self.state {
            State::Incomplete { sent: TRIES.. } if is_quiet => {
                State::Failed { wait: RETRANSMIT.saturating_mul(2) }
            }
            State::Reachable { known, answered }
                if now.saturating_duration_since(answered) >= REACHABLE =>
            {
                self.is_used = false;
                State::Stale { known }
            }
            State::Stale { known } if self.is_used => State::Probe { known, sent: 0 },
            State::Probe { sent: TRIES.., .. } if is_quiet => State::Incomplete { sent: 0 },
            same => same,
        };
    }

    /// Whether what comes now can be an answer.
    fn is_waiting(&self, now: Instant) -> bool {
        let is_asking = match self.state {
            State::Incomplete { sent } | State::Probe { sent, .. } => sent > 0,
            State::Failed { .. } => true,
            State::Reachable { .. } | State::Stale { .. } => false,
        };
        let asked = self.asked.filter(|_| is_asking);
        asked.is_some_and(|asked| now.saturating_duration_since(asked) <= ANSWER_TIME)
    }

    /// Weighs what the next hop says of itself.
    pub(crate) fn hear(&mut self, claim: &Claim, now: Instant) -> Result<Heard, Refusal> {
        // What nobody waits for was not asked for.
        let occasion = if self.is_waiting(now) { claim.occasion } else { Occasion::Mention };
        let claim = &Claim { occasion, ..*claim };
        let is_answer = occasion == Occasion::Answer;
        match self.known() {
            Some(known) if known.mac == claim.mac => Ok(self.hear_again(known, claim, now)),
            Some(known) => self.hear_other(known, claim, now),
            // RFC 4861, section 7.2.5: it must say where it is.
            None if is_answer && claim.weight == Weight::Confirms => Err(Refusal::Malformed),
            None if is_answer => {
                let known = Known { mac: claim.mac, since: now };
                self.state = State::Reachable { known, answered: now };
                Ok(Heard::Learned)
            }
            None => {
                // Nobody is believed unasked, but it seems to be there: ask soon.
                if let State::Failed { wait } = &mut self.state {
                    *wait = RETRANSMIT;
                }
                Err(Refusal::Unasked)
            }
        }
    }

    fn hear_again(&mut self, known: Known, claim: &Claim, now: Instant) -> Heard {
        if claim.occasion == Occasion::Mention {
            return Heard::Unchanged;
        }
        self.state = State::Reachable { known, answered: now };
        Heard::Learned
    }

    /// RFC 4861, section 7.2.5.
    fn hear_other(&mut self, known: Known, claim: &Claim, now: Instant) -> Result<Heard, Refusal> {
        match claim.weight {
            Weight::Confirms => return Err(Refusal::SenderMac),
            Weight::Yields => {
                if let State::Reachable { .. } = self.state {
                    self.go_stale(known);
                }
                return Ok(Heard::Unchanged);
            }
            Weight::Replaces => {}
        }
        let other = Known { mac: claim.mac, since: now };
        if claim.occasion == Occasion::Answer {
            self.state = State::Reachable { known: other, answered: now };
            return Ok(Heard::Learned);
        }
        if now.saturating_duration_since(known.since) < LOCK_TIME {
            return Err(Refusal::TooSoon);
        }
        self.go_stale(other);
        Ok(Heard::Learned)
    }

    fn go_stale(&mut self, known: Known) {
        self.is_used = false;
        self.state = State::Stale { known };
    }
}
