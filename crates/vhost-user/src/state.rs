//! The state of a port, in words for operators.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::status::{Facts, Link, PortStatus};

/// A driver that has said what it uses shares memory within this time, or its front-end cannot.
const MEMORY_OVERDUE: Duration = Duration::from_secs(2);

/// What is said when a front-end came while another one was served.
pub(crate) const TURNED_AWAY: &str = "another front-end tried to connect and was turned away";

/// What is said of a worker that takes too long.
const WORKER_SILENT: &str =
    "the worker of the port does not answer; front-ends are let in when it does";

/// What a port does, as one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateWord {
    /// It was not started, or is stopped.
    Down,
    /// It waits for a front-end, or for the guest's driver.
    Waiting,
    /// It carries frames.
    Up,
    /// The guest or its front-end broke a rule.
    Faulted,
}

impl StateWord {
    /// The name in lists and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Waiting => "waiting",
            Self::Up => "up",
            Self::Faulted => "faulted",
        }
    }
}

impl fmt::Display for StateWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a port does, and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortState {
    /// In one word.
    pub word: StateWord,
    /// In one sentence.
    pub detail: String,
}

/// The state of a port with `queue_pairs` pairs and its socket at `path`.
pub(crate) fn describe(
    status: &PortStatus,
    path: &Path,
    queue_pairs: u8,
    now: Instant,
) -> PortState {
    let facts = status.facts();
    let path = path.display();
    let (word, mut detail) = match &facts.link {
        Link::Listening | Link::Connecting(_) if status.is_worker_silent() => {
            (StateWord::Waiting, WORKER_SILENT.to_owned())
        }
        Link::Down => (StateWord::Down, "stopped".to_owned()),
        Link::Listening => {
            (StateWord::Waiting, format!("listening on {path}: no front-end is connected"))
        }
        Link::Connecting(None) => (StateWord::Waiting, format!("connecting to {path}")),
        Link::Connecting(Some(why)) => {
            (StateWord::Waiting, format!("connecting to {path}: {why}; retrying"))
        }
        Link::Connected => session(status, &facts, queue_pairs, now),
    };
    let connected = facts.link == Link::Connected;
    let aside = if connected { &facts.note } else { &facts.last_end };
    if let Some(aside) = aside {
        let about = if connected { "note" } else { "the last session ended" };
        detail.push_str(&format!("; {about}: {aside}"));
    }
    if connected && facts.turned_away > 0 {
        detail.push_str(&format!("; {TURNED_AWAY}"));
    }
    PortState { word, detail }
}

fn session(
    status: &PortStatus,
    facts: &Facts,
    queue_pairs: u8,
    now: Instant,
) -> (StateWord, String) {
    if let Some(fault) = status.fault() {
        let how = "it starts again when the guest's driver does";
        return (StateWord::Faulted, format!("faulted: {fault}; {how}"));
    }
    let active = status.active_pairs();
    let displaced = match facts.displaced_rings {
        0 => None,
        1 => Some("a ring waits for memory that is not shared now".to_owned()),
        many => Some(format!("{many} rings wait for memory that is not shared now")),
    };
    if active > 0 {
        let rest = displaced.map_or_else(String::new, |displaced| format!("; {displaced}"));
        return (StateWord::Up, format!("{active} of {queue_pairs} queue pairs running{rest}"));
    }
    if let Some(displaced) = displaced {
        return (StateWord::Waiting, format!("connected: {displaced}"));
    }
    let overdue = facts.features_since.is_some_and(|since| now >= since + MEMORY_OVERDUE);
    let waits = match facts.memory {
        None if overdue => {
            "the front-end has shared no memory; with QEMU use memory-backend-memfd,share=on"
        }
        None => "waits for the guest's driver",
        Some(_) => "waits for the guest's driver to start its queues",
    };
    (StateWord::Waiting, format!("connected: {waits}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use helio_frame::PortFault;

    fn described(status: &PortStatus, now: Instant) -> (&'static str, String) {
        let state = describe(status, Path::new("/run/a.sock"), 8, now);
        (state.word.name(), state.detail)
    }

    #[test]
    fn c160_each_state_says_what_it_waits_for() {
        let (status, now) = (PortStatus::default(), Instant::now());
        assert_eq!(described(&status, now), ("down", "stopped".to_owned()));
        status.facts().link = Link::Connecting(Some("no such file".to_owned()));
        let (word, detail) = described(&status, now);
        assert_eq!(
            (word, &*detail),
            ("waiting", "connecting to /run/a.sock: no such file; retrying")
        );
        status.facts().link = Link::Connected;
        assert_eq!(described(&status, now).1, "connected: waits for the guest's driver");
        status.set_active_pairs(2);
        assert_eq!(described(&status, now), ("up", "2 of 8 queue pairs running".to_owned()));
        status.set_fault(PortFault::AvailIndex);
        let (word, detail) = described(&status, now);
        assert_eq!(word, "faulted");
        assert!(detail.starts_with("faulted: the guest's avail index is further"), "{detail}");
    }

    #[test]
    fn c161_a_front_end_that_shares_no_memory_is_told_what_to_use() {
        let (status, now) = (PortStatus::default(), Instant::now());
        status.facts().link = Link::Connected;
        status.facts().features_since = Some(now);
        assert!(!described(&status, now).1.contains("share=on"));
        let later = described(&status, now + MEMORY_OVERDUE).1;
        assert!(later.contains("memory-backend-memfd,share=on"), "{later}");
    }

    #[test]
    fn rings_without_memory_and_front_ends_that_were_turned_away_are_told() {
        let (status, now) = (PortStatus::default(), Instant::now());
        status.facts().link = Link::Connected;
        status.facts().displaced_rings = 1;
        let (word, detail) = described(&status, now);
        assert_eq!(
            (word, &*detail),
            ("waiting", "connected: a ring waits for memory that is not shared now")
        );
        status.facts().displaced_rings = 2;
        status.facts().turned_away = 1;
        status.set_active_pairs(3);
        assert_eq!(
            described(&status, now),
            (
                "up",
                "3 of 8 queue pairs running; 2 rings wait for memory that is not shared now; another front-end tried to connect and was turned away"
                    .to_owned()
            )
        );
        status.facts().link = Link::Listening;
        assert!(!described(&status, now).1.contains("turned away"));
    }

    #[test]
    fn a_worker_that_does_not_answer_is_told_instead_of_front_ends_that_are_not_let_in() {
        let (status, now) = (PortStatus::default(), Instant::now());
        status.miss_worker();
        assert_eq!(described(&status, now).1, "stopped");
        for link in [Link::Listening, Link::Connecting(None)] {
            status.facts().link = link;
            assert_eq!(described(&status, now), ("waiting", WORKER_SILENT.to_owned()));
        }
        assert!(status.hear_worker() && !status.hear_worker());
        assert_eq!(described(&status, now).1, "connecting to /run/a.sock");
    }

    #[test]
    fn the_end_of_the_last_session_is_kept() {
        let status = PortStatus::default();
        status.facts().link = Link::Listening;
        status.facts().last_end = Some("because".to_owned());
        let (word, detail) = described(&status, Instant::now());
        assert_eq!(word, "waiting");
        assert!(detail.ends_with("; the last session ended: because"), "{detail}");
    }
}
