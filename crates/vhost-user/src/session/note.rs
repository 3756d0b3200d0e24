//! Things a front-end asked for that were not done, or not as asked. Each kind is told once per session, and all are
//! counted, so that a front-end cannot fill a log.

use super::{Session, State};

/// What was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    SizeWhileRunning,
    BaseWhileRunning,
    KickNotWatched,
    CallNotUsed,
    ErrNotUsed,
    StillDraining,
}

impl Note {
    fn sentence(self) -> &'static str {
        match self {
            Self::SizeWhileRunning => "another size for a running ring was ignored",
            Self::BaseWhileRunning => "another base for a running ring was ignored",
            Self::KickNotWatched => {
                "a kick descriptor is not an eventfd, so kicks do not wake the worker"
            }
            Self::CallNotUsed => {
                "a call descriptor is not an eventfd, so the guest is not signalled"
            }
            Self::ErrNotUsed => {
                "an error descriptor is not an eventfd, so faults are not signalled"
            }
            Self::StillDraining => {
                "a ring was started again before its last frames were given back"
            }
        }
    }
}

impl Session {
    pub(super) fn note(&self, state: &mut State, note: Note) {
        let mut facts = self.port.status.facts();
        facts.notes += 1;
        facts.note = Some(note.sentence().to_owned());
        drop(facts);
        let kind = 1 << note as u32;
        if state.told & kind == 0 {
            state.told |= kind;
            self.port.tell_note(note.sentence());
        }
    }
}
