//! One guest that sends and receives in bursts, on one queue pair or several.
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
use crate::features;
use crate::front_end::{FrontEnd, Start};
use crate::memory::GuestMemory;

/// A guest as a switch sees it.
#[derive(Debug)]
pub struct BurstGuest {
    session: FrontEnd,
    config: BurstConfig,
    memory: Arc<GuestMemory>,
    first: BurstQueues,
    others: Vec<BurstQueues>,
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
        let several = if config.queue_pairs > 1 { features::MQ } else { 0 };
        let wanted = config.features | several;
        let session = FrontEnd::open(connection, wanted, config.protocol_features)?;
        let is_refused = session.features() & several != several
            || session.queue_limit().unwrap_or(1) < u64::from(config.queue_pairs);
        if several != 0 && is_refused {
            return Err(GuestError::Config("the back-end does not offer as many queue pairs"));
        }
        let features = session.features();
        let (memory, first, others) = queues(&config, features)?;
        Ok(Self { session, config, memory, first, others })
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

    /// The process of the back-end, when it can be named here.
    #[must_use]
    pub fn back_end_process(&self) -> Option<u32> {
        self.session.connection().peer_process()
    }

    /// Rules that the back-end broke.
    #[must_use]
    pub fn faults(&self) -> Faults {
        let mut faults = Faults::default();
        for pair in std::iter::once(&self.first).chain(&self.others) {
            faults.add(&pair.sender.faults());
            faults.add(&pair.receiver.faults());
        }
        faults
    }

    /// Posts all receive buffers, tells the back-end everything and lets it run.
    ///
    /// # Errors
    ///
    /// When the back-end refuses, is gone or does not answer.
    pub fn start(&mut self) -> Result<(), GuestError> {
        self.pairs().for_each(|pair| pair.receiver.post_all());
        let pairs = || std::iter::once(&self.first).chain(&self.others);
        let rings: Vec<_> = pairs()
            .flat_map(|BurstQueues { sender, receiver }| {
                [(receiver.area(), receiver.events()), (sender.area(), sender.events())]
            })
            .collect();
        let started = self.session.start(&Start {
            memory: &self.memory,
            rings: &rings,
            bases: &vec![0; rings.len()],
            enabled: self.ring_count(),
            order: self.config.setup_order,
        });
        started.map_err(|error| match error {
            // Whether a back-end counts pairs or rings when it is asked for its limit, nobody knows.
            GuestError::Refused { .. } | GuestError::Closed if self.config.queue_pairs > 1 => {
                GuestError::Config("the back-end refused a ring: it may have fewer queue pairs")
            }
            other => other,
        })?;
        // The buffers were posted before the back-end could see a kick. A back-end may wait for one of each ring and not
        // want any until then, as VPP does: QEMU kicks them all too.
        pairs().for_each(|pair| {
            pair.receiver.events().kick.signal();
            pair.sender.events().kick.signal();
        });
        Ok(())
    }

    /// Stops all rings; all chains are ours again, and [`BurstGuest::start`] begins with index 0.
    ///
    /// # Errors
    ///
    /// When the back-end is gone or does not answer.
    pub fn stop(&mut self) -> Result<(), GuestError> {
        for index in 0..self.ring_count() {
            self.session.stop_ring(index)?;
        }
        self.session.withdraw_memory(&self.memory)?;
        self.pairs().for_each(|pair| {
            pair.sender.reset();
            pair.receiver.reset();
        });
        Ok(())
    }

    /// Its first transmitq.
    #[inline]
    pub fn sender(&mut self) -> &mut BurstSender {
        &mut self.first.sender
    }

    /// Its first receiveq.
    #[inline]
    pub fn receiver(&mut self) -> &mut BurstReceiver {
        &mut self.first.receiver
    }

    /// A queue pair by its number, when there is one.
    #[inline]
    pub fn pair(&mut self, number: usize) -> Option<&mut BurstQueues> {
        match number.checked_sub(1) {
            None => Some(&mut self.first),
            Some(number) => self.others.get_mut(number),
        }
    }

    /// All queue pairs in their order.
    #[inline]
    pub fn pairs(&mut self) -> impl Iterator<Item = &mut BurstQueues> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }

    fn ring_count(&self) -> u32 {
        2 * u32::from(self.config.queue_pairs.max(1))
    }
}

/// The queues of a guest: the first pair, and all others.
type Queues = (Arc<GuestMemory>, BurstQueues, Vec<BurstQueues>);

/// Makes them in fresh memory.
fn queues(config: &BurstConfig, features: u64) -> Result<Queues, GuestError> {
    let pairs = u64::from(config.queue_pairs.max(1));
    let needed = BurstSender::needed_bytes(config) + BurstReceiver::needed_bytes(config);
    let memory = GuestMemory::fitting(pairs * needed, config.pages)?;
    let pair = || {
        let sender = BurstSender::new(&memory, config, features)?;
        Ok(BurstQueues { sender, receiver: BurstReceiver::new(&memory, config, features)? })
    };
    let first = pair()?;
    let others = (1..pairs).map(|_| pair()).collect::<Result<_, GuestError>>()?;
    Ok((memory, first, others))
}

/// One queue pair. Also that of a guest without a session, whose back-end is in this process.
#[derive(Debug)]
pub struct BurstQueues {
    /// The transmitq.
    pub sender: BurstSender,
    /// The receiveq.
    pub receiver: BurstReceiver,
}

impl BurstQueues {
    /// The first pair of a guest without a session: in fresh memory, with all features that `config` asks for, and all
    /// buffers posted.
    ///
    /// # Errors
    ///
    /// As [`BurstGuest::new`].
    pub fn new(config: &BurstConfig) -> Result<Self, GuestError> {
        let (_memory, mut first, _others) = queues(config, config.features)?;
        first.receiver.post_all();
        Ok(first)
    }
}
