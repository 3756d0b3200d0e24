//! Where a port on an interface stands, and how operators are told. Written by its control thread.

use crate::Link;
use crate::event::WORKER_SILENT;

/// What a port does, as one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateWord {
    /// It was not started, or is stopped.
    Down,
    /// It waits for its interface, or for a link.
    Waiting,
    /// It carries frames.
    Up,
}

impl StateWord {
    /// The name in lists and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Waiting => "waiting",
            Self::Up => "up",
        }
    }
}

/// Whether an operator should be warned of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gravity {
    /// It comes and goes in the usual course of things, as a link does.
    Usual,
    /// The port cannot do what it is there for.
    Failure,
}

/// What a port does, and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortState {
    /// In one word.
    pub word: StateWord,
    /// Whether that is a failure.
    pub gravity: Gravity,
    /// In one sentence.
    pub detail: String,
}

/// Where a port stands; `F` says how its interface is used.
#[derive(Debug, Default)]
pub enum Stage<F> {
    /// The control thread does not run.
    #[default]
    Stopped,
    /// It is about to open the interface for the first time.
    Opening,
    /// That failed, for this reason; it tries again.
    Refused(String),
    /// The worker has not answered for too long. Nothing is done before it does.
    Silent,
    /// The worker has what was opened.
    Open(F),
}

impl<F> Stage<F> {
    /// Notes why there is no interface. Whether that is another reason than before.
    pub fn refuse(&mut self, why: &str) -> bool {
        let is_new = !matches!(self, Self::Refused(before) if before == why);
        *self = Self::Refused(why.to_owned());
        is_new
    }

    /// How the interface is used; `None` while it is not.
    #[must_use]
    pub fn facts(&self) -> Option<&F> {
        match self {
            Self::Open(facts) => Some(facts),
            Self::Stopped | Self::Opening | Self::Refused(_) | Self::Silent => None,
        }
    }

    /// The state of a port on `interface`; `sentence` says how the interface is used, `no_link` what is wrong when it carries
    /// nothing.
    #[must_use]
    pub fn describe(
        &self,
        interface: &str,
        link: Link,
        no_link: &str,
        sentence: impl FnOnce(&F) -> String,
    ) -> PortState {
        let (word, detail) = match self {
            Self::Stopped => (StateWord::Down, "stopped".to_owned()),
            Self::Opening => (StateWord::Waiting, format!("opening {interface}")),
            Self::Refused(why) => (StateWord::Waiting, why.clone()),
            Self::Silent => (StateWord::Waiting, WORKER_SILENT.to_owned()),
            Self::Open(_) if link == Link::Down => {
                (StateWord::Waiting, format!("{interface} {no_link}"))
            }
            Self::Open(facts) => (StateWord::Up, sentence(facts)),
        };
        let gravity = match self {
            Self::Refused(_) | Self::Silent => Gravity::Failure,
            Self::Stopped | Self::Opening | Self::Open(_) => Gravity::Usual,
        };
        PortState { word, gravity, detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_cannot_be_used_is_a_failure_and_one_without_a_link_is_none() {
        let gravity = |stage: Stage<u32>, link| {
            stage.describe("eth1", link, "has no link", |mtu| format!("MTU {mtu}")).gravity
        };
        for stage in [Stage::Refused("no eth1".to_owned()), Stage::Silent] {
            assert_eq!(gravity(stage, Link::Down), Gravity::Failure);
        }
        for stage in [Stage::Stopped, Stage::Opening, Stage::Open(1500)] {
            assert_eq!(gravity(stage, Link::Down), Gravity::Usual);
        }
        assert_eq!(gravity(Stage::Open(1500), Link::Up), Gravity::Usual);
    }

    #[test]
    fn each_stage_says_what_it_waits_for_and_a_reason_is_new_once() {
        let told = |stage: &Stage<u32>, link| {
            let state = stage.describe("eth1", link, "has no link", |mtu| format!("MTU {mtu}"));
            (state.word.name(), state.detail)
        };
        let mut stage = Stage::default();
        assert_eq!(told(&stage, Link::Up), ("down", "stopped".to_owned()));
        stage = Stage::Opening;
        assert_eq!(told(&stage, Link::Up), ("waiting", "opening eth1".to_owned()));
        assert!(stage.refuse("no eth1") && !stage.refuse("no eth1") && stage.refuse("in use"));
        assert_eq!(told(&stage, Link::Up), ("waiting", "in use".to_owned()));
        stage = Stage::Silent;
        assert_eq!(told(&stage, Link::Up), ("waiting", WORKER_SILENT.to_owned()));
        assert_eq!(stage.facts(), None);
        stage = Stage::Open(1500);
        assert_eq!(told(&stage, Link::Down), ("waiting", "eth1 has no link".to_owned()));
        assert_eq!(told(&stage, Link::Up), ("up", "MTU 1500".to_owned()));
        assert_eq!(stage.facts(), Some(&1500));
    }
}
