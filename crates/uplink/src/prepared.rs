//! What is asked of an interface before it is opened. Done by the control thread.
//!
//! It is kept while tries to open it fail, so that a card is not told something else with each: on some the link goes down for a
//! moment whenever that is.

use std::io;

use crate::ethtool::FramesLeftAlone;
use crate::insistence::{Insistence, refusal};
use crate::promiscuous::Promiscuous;

/// An interface that receives all frames, and whose driver leaves them as they are. Dropping it undoes that.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// Its number.
    index: u32,
    _promiscuous: Promiscuous,
    /// `None` where the driver goes on.
    pub(crate) insistence: Option<Insistence>,
    /// What is not as an operator would expect.
    pub(crate) note: Option<String>,
}

impl Prepared {
    /// Asks it of the interface with number `index`; `before` is what was asked of one before.
    ///
    /// # Errors
    ///
    /// When the process may not receive all frames.
    pub(crate) fn new(index: u32, before: Option<Self>) -> io::Result<Self> {
        if let Some(same) = before.filter(|before| before.index == index) {
            return Ok(same);
        }
        let promiscuous = Promiscuous::new(index)?;
        let (insistence, note) = match FramesLeftAlone::demand(index) {
            Ok(left_alone) => (Some(Insistence::new(left_alone)), None),
            Err(cause) => (None, Some(refusal(&cause))),
        };
        Ok(Self { index, _promiscuous: promiscuous, insistence, note })
    }
}
