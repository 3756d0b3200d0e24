//! One guest with one queue pair that sends and receives in bursts.
//!
//! Owned by the thread that plays the guests. Set-up and stopping wait for the back-end, nothing else does.

use std::path::Path;
use std::sync::Arc;

use super::config::BurstConfig;
use super::receiver::BurstReceiver;
use super::sender::BurstSender;
use crate::connection::Connection;
use crate::error::GuestError;
use crate::fault::Faults;
use crate::front_end::{FrontEnd, Start};
use crate::memory::GuestMemory;

/// A guest as a switch sees it.
#[derive(Debug)]
pub struct BurstGuest {
    session: FrontEnd,
    config: BurstConfig,
    memory: Arc<GuestMemory>,
    sender: BurstSender,
    receiver: BurstReceiver,
}

impl BurstGuest {
    /// Connects to a back-end that listens on `path`. Negotiated, not started.
    ///
    /// # Errors
    ///
    /// As [`BurstGuest::new`]; [`GuestError::Socket`] when nobody listens.
    pub fn connect(path: &Path, config: BurstConfig) -> Result<Self, GuestError> {
        Self::new(Connection::connect(path)?, config)
    }

    /// Opens a session, makes the memory and the queues. Not started.
    ///
    /// # Errors
    ///
    /// When the back-end or the host refuses, or the configuration contradicts itself.
    pub fn new(connection: Connection, config: BurstConfig) -> Result<Self, GuestError> {
        let session = FrontEnd::open(connection, config.features, config.protocol_features)?;
        let features = session.features();
        let (memory, sender, receiver) = queues(&config, features)?;
        Ok(Self { session, config, memory, sender, receiver })
    }

    /// Features in use.
    #[must_use]
    pub fn features(&self) -> u64 {
        self.session.features()
    }

    /// How it was made.
    #[must_use]
    pub fn config(&self) -> &BurstConfig {
        &self.config
    }

    /// Whether the back-end is gone.
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        self.session.connection().is_closed()
    }

    /// Rules that the back-end broke.
    #[must_use]
    pub fn faults(&self) -> Faults {
        let mut faults = self.sender.faults();
        faults.add(&self.receiver.faults());
        faults
    }

    /// Posts all receive buffers, tells the back-end everything and lets it run.
    ///
    /// # Errors
    ///
    /// When the back-end refuses, is gone or does not answer.
    pub fn start(&mut self) -> Result<(), GuestError> {
        self.receiver.post_all();
        let rings = [
            (self.receiver.area(), self.receiver.events()),
            (self.sender.area(), self.sender.events()),
        ];
        self.session.start(&Start {
            memory: &self.memory,
            rings: &rings,
            bases: &[0, 0],
            enabled: 2,
            order: self.config.setup_order,
        })?;
        // The buffers were posted before the back-end could see a kick.
        self.receiver.events().kick.signal();
        Ok(())
    }

    /// Stops both rings; all chains are ours again, and [`BurstGuest::start`] begins with index 0.
    ///
    /// # Errors
    ///
    /// When the back-end is gone or does not answer.
    pub fn stop(&mut self) -> Result<(), GuestError> {
        for index in 0..2 {
            self.session.stop_ring(index)?;
        }
        self.session.withdraw_memory(&self.memory)?;
        self.sender.reset();
        self.receiver.reset();
        Ok(())
    }

    /// Its transmitq.
    #[inline]
    pub fn sender(&mut self) -> &mut BurstSender {
        &mut self.sender
    }

    /// Its receiveq.
    #[inline]
    pub fn receiver(&mut self) -> &mut BurstReceiver {
        &mut self.receiver
    }
}

/// The two queues of a guest.
type Queues = (Arc<GuestMemory>, BurstSender, BurstReceiver);

/// Makes them in fresh memory.
fn queues(config: &BurstConfig, features: u64) -> Result<Queues, GuestError> {
    let needed = BurstSender::needed_bytes(config) + BurstReceiver::needed_bytes(config);
    let memory = GuestMemory::fitting(needed, config.pages)?;
    let sender = BurstSender::new(&memory, config, features)?;
    let receiver = BurstReceiver::new(&memory, config, features)?;
    Ok((memory, sender, receiver))
}

/// The queues of a guest that has no session: its back-end is in this process.
#[derive(Debug)]
pub struct BurstQueues {
    /// The transmitq.
    pub sender: BurstSender,
    /// The receiveq, all buffers posted.
    pub receiver: BurstReceiver,
}

impl BurstQueues {
    /// In fresh memory, with all features that `config` asks for.
    ///
    /// # Errors
    ///
    /// As [`BurstGuest::new`].
    pub fn new(config: &BurstConfig) -> Result<Self, GuestError> {
        let (_memory, sender, mut receiver) = queues(config, config.features)?;
        receiver.post_all();
        Ok(Self { sender, receiver })
    }
}
