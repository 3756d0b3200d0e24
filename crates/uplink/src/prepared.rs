//! What is asked of an interface before it is opened. Done by the control thread.
//!
//! It stays while tries to open the interface fail, so that a card is not told something else with each: on some the link goes
//! down for a moment whenever that is.

use std::io;
use std::time::Instant;

use crate::ethtool::FramesLeftAlone;
use crate::insistence::{Insistence, refusal};
use crate::promiscuous::Promiscuous;

/// An interface that receives all frames, and whose driver leaves them as they are. Dropping it undoes that.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// Its number.
    index: u32,
    promiscuous: Promiscuous,
    /// `None` where the driver goes on.
    pub(crate) insistence: Option<Insistence>,
    /// What is not as an operator would expect.
    pub(crate) note: Option<String>,
}

impl Prepared {
    /// Asks it of the interface with number `index`.
    ///
    /// # Errors
    ///
    /// When the process may not receive all frames.
    pub(crate) fn new(index: u32) -> io::Result<Self> {
        let promiscuous = Promiscuous::new(index)?;
        let (insistence, note) = demand(index);
        Ok(Self { index, promiscuous, insistence, note })
    }

    /// What was asked of the interface with number `index` before, if it is of that; asked again where it holds no more, as when
    /// the interface was in another network namespace, or somebody has a tool. With it comes what is to be logged.
    ///
    /// # Errors
    ///
    /// When the process may not receive all frames.
    pub(crate) fn again(self, index: u32) -> io::Result<(Self, Option<String>)> {
        if self.index != index {
            return Ok((Self::new(index)?, None));
        }
        // The kernel counts wishes: one is there before the other goes, so nothing is switched.
        let promiscuous = Promiscuous::new(index)?;
        let (mut insistence, mut note) = (self.insistence, self.note);
        let mut news = None;
        match &mut insistence {
            Some(insistence) => news = insistence.look(Instant::now()),
            None => (insistence, note) = demand(index),
        }
        drop(self.promiscuous);
        Ok((Self { index, promiscuous, insistence, note }, news))
    }
}

/// Tells the driver to leave frames as they are; or what operators should know.
fn demand(index: u32) -> (Option<Insistence>, Option<String>) {
    match FramesLeftAlone::demand(index) {
        Ok(left_alone) => (Some(Insistence::new(left_alone)), None),
        Err(cause) => (None, Some(refusal(&cause))),
    }
}
