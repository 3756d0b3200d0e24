//! Where a decap port lies while its uplink is away.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::DecapReport;
use crate::decap::Decap;

/// What a decap port knows of its streams, while no worker serves it. The control side has one for each decap port, for as long
/// as that is there; the worker that loses the uplink puts in what it has, and the one that gets the uplink takes it out and goes
/// on counting. Used when a configuration is put in place, and never in a turn.
#[derive(Debug, Default)]
pub struct DecapShelf(Mutex<Option<Box<Decap>>>);

impl DecapShelf {
    /// What the port has seen. `None` while a worker serves it, which tells that then, and before one ever did.
    #[must_use]
    pub fn report(&self) -> Option<DecapReport> {
        self.lock().as_ref().map(|decap| decap.report())
    }

    pub(crate) fn put(&self, decap: Decap) {
        let before = self.lock().replace(Box::new(decap));
        drop(before);
    }

    pub(crate) fn take(&self) -> Option<Decap> {
        self.lock().take().map(|decap| *decap)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<Decap>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
