//! Telling a driver again to leave frames as they are, when somebody has allowed it to change them. Used by the control thread.
//!
//! Who insists is given way to, little by little: on some cards the link goes down for a moment whenever the driver is told. Each
//! thing is said once while the interface is open; what operators should know is noted for as long as it is so.

use std::io;
use std::time::{Duration, Instant};

use crate::ethtool::FramesLeftAlone;

/// How long the driver is left alone after it was told again, first and at most; each time is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(256);

/// What is said in the log of a driver that was told again.
const TOLD_AGAIN: &str = "was told again to leave VLAN tags in frames, and not to join segments: somebody had allowed it. Should that be repeated, it is told less and less often, and this is not said again";
/// What is noted while it is not told.
const ALLOWED: &str = "the driver takes VLAN tags out of frames, or joins segments, as somebody allows it again and again; it is told otherwise less and less often";

/// What is noted of a driver that does not do what it is told.
pub(crate) fn refusal(cause: &io::Error) -> String {
    format!(
        "the driver takes VLAN tags out of frames, or joins segments, and does not leave that off: {cause}"
    )
}

/// A driver that was told to leave frames as they are, and is watched.
#[derive(Debug)]
pub(crate) struct Insistence {
    left_alone: FramesLeftAlone,
    pause: Duration,
    /// When it may be told again; `None`: whenever that is needed.
    next: Option<Instant>,
    /// What is not as an operator would expect.
    note: Option<String>,
    has_said_again: bool,
    has_said_refusal: bool,
}

impl Insistence {
    pub(crate) fn new(left_alone: FramesLeftAlone) -> Self {
        Self {
            left_alone,
            pause: FIRST_PAUSE,
            next: None,
            note: None,
            has_said_again: false,
            has_said_refusal: false,
        }
    }

    /// What is not as an operator would expect, as of the last look.
    pub(crate) fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Looks whether the driver does as it was told, and tells it again if not. Returns what is to be logged of its interface.
    pub(crate) fn look(&mut self, now: Instant) -> Option<String> {
        if !self.left_alone.is_allowed_again() {
            self.note = None;
            // Who lets it be for longer than it would have been left alone does not insist.
            if self.next.is_some_and(|next| now.saturating_duration_since(next) >= self.pause) {
                self.pause = FIRST_PAUSE;
            }
            return None;
        }
        if self.next.is_some_and(|next| now < next) {
            self.note.get_or_insert_with(|| ALLOWED.to_owned());
            return None;
        }
        self.next = now.checked_add(self.pause);
        self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
        match self.left_alone.renew() {
            Ok(()) => {
                self.note = None;
                let is_said = std::mem::replace(&mut self.has_said_again, true);
                (!is_said).then(|| TOLD_AGAIN.to_owned())
            }
            Err(cause) => {
                self.note = Some(refusal(&cause));
                let is_said = std::mem::replace(&mut self.has_said_refusal, true);
                (!is_said).then(|| {
                    format!("was told again to leave frames alone, but {}", refusal(&cause))
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ethtool::{allow_to_strip_tags, strips_tags};
    use crate::wire::{Wire, ip};
    use helio_host::Interfaces;
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

    fn insist(name: &str) -> Insistence {
        let interface = Interfaces::new().unwrap().find(name).unwrap().unwrap();
        Insistence::new(FramesLeftAlone::demand(interface.index).unwrap())
    }

    #[test]
    fn a_driver_is_told_again_less_and_less_often_and_that_is_said_once() {
        let _wire = Wire::new(1500);
        let (mut insistence, begin) = (insist("near"), Instant::now());
        let (mut told, mut said) = (Vec::new(), 0);
        for second in 0..1000 {
            // Somebody does that each second.
            allow_to_strip_tags("near");
            said += usize::from(insistence.look(begin + Duration::from_secs(second)).is_some());
            let is_stripped = strips_tags("near");
            assert_eq!(insistence.note().is_some(), is_stripped);
            if !is_stripped {
                told.push(second);
            }
        }
        assert_eq!((told, said), (vec![0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 767], 1));
        // After a while it is told at once.
        allow_to_strip_tags("near");
        insistence.look(begin + Duration::from_secs(5000));
        assert!(!strips_tags("near") && insistence.note().is_none());
        // Nobody did that for long: the pause begins anew.
        insistence.look(begin + Duration::from_secs(5600));
        for second in [6000, 6001] {
            allow_to_strip_tags("near");
            insistence.look(begin + Duration::from_secs(second));
            assert!(!strips_tags("near"), "after {second} s");
        }
    }

    #[test]
    fn a_driver_that_refuses_is_noted_until_it_does_as_it_is_told_and_said_once() {
        let _wire = Wire::new(1500);
        let (mut insistence, begin) = (insist("near"), Instant::now());
        let rights = capabilities(None).unwrap();
        let mut fewer = rights;
        fewer.effective.remove(CapabilitySet::NET_ADMIN);
        allow_to_strip_tags("near");
        // Of this thread: the kernel refuses in the place of a driver.
        set_capabilities(None, fewer).unwrap();
        for second in 0..10 {
            let said = insistence.look(begin + Duration::from_secs(second));
            assert_eq!(said.is_some(), second == 0, "{said:?}");
            let note = insistence.note().unwrap();
            assert!(note.contains("does not leave that off") && strips_tags("near"), "{note}");
        }
        set_capabilities(None, rights).unwrap();
        insistence.look(begin + Duration::from_secs(15));
        assert!(insistence.note().is_none() && !strips_tags("near"));
    }

    #[test]
    fn an_interface_that_is_gone_need_not_be_told() {
        let _wire = Wire::new(1500);
        let mut insistence = insist("near");
        allow_to_strip_tags("near");
        ip("link del near");
        assert_eq!((insistence.look(Instant::now()), insistence.note()), (None, None));
    }
}
