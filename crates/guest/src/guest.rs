//! One guest: a session with a back-end, memory, and a driver.
//!
//! Owned by one thread. Set-up and stopping wait for the back-end; sending and polling never do.

use std::path::Path;
use std::sync::Arc;

use crate::chain_layout::ChainLayout;
use crate::connection::Connection;
use crate::driver::NetDriver;
use crate::error::GuestError;
use crate::fault::Faults;
use crate::front_end::{FrontEnd, Start};
use crate::guest_config::GuestConfig;
use crate::memory::GuestMemory;
use crate::net_header::NetHeader;
use crate::transmit_queue::SendError;

/// A guest as a switch sees it.
#[derive(Debug)]
pub struct Guest {
    session: FrontEnd,
    config: GuestConfig,
    memory: Arc<GuestMemory>,
    pub(crate) driver: NetDriver,
    /// Avail index from which each ring goes on.
    bases: Vec<u16>,
    active_pairs: u16,
}

impl Guest {
    /// Connects to a back-end that listens on `path`. Negotiated, not started.
    ///
    /// # Errors
    ///
    /// As [`Guest::new`]; [`GuestError::Socket`] when nobody listens.
    pub fn connect(path: &Path, config: GuestConfig) -> Result<Self, GuestError> {
        Self::new(Connection::connect(path)?, config)
    }

    /// Opens a session, makes the memory and the driver. Not started.
    ///
    /// # Errors
    ///
    /// When the back-end or the host refuses, or the configuration contradicts itself.
    pub fn new(connection: Connection, config: GuestConfig) -> Result<Self, GuestError> {
        if config.queue_pairs == 0 || config.active_pairs > config.queue_pairs {
            return Err(GuestError::Config("at least one queue pair, and no more active ones"));
        }
        let session = FrontEnd::open(connection, config.features, config.protocol_features)?;
        let features = session.features();
        let needed = NetDriver::needed_bytes(&config, features);
        let memory = GuestMemory::new(&config.memory.plans(needed))?;
        let driver = NetDriver::new(&memory, &config, features)?;
        let bases = vec![0; 2 * usize::from(config.queue_pairs)];
        let active_pairs = config.active_pairs;
        Ok(Self { session, config, memory, driver, bases, active_pairs })
    }

    /// Features in use.
    #[must_use]
    pub fn features(&self) -> u64 {
        self.session.features()
    }

    /// Its Ethernet address.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        self.config.mac
    }

    /// How it was made.
    #[must_use]
    pub fn config(&self) -> &GuestConfig {
        &self.config
    }

    /// Its memory.
    #[must_use]
    pub fn memory(&self) -> &Arc<GuestMemory> {
        &self.memory
    }

    /// Its session, for further messages and for lies.
    #[must_use]
    pub fn session(&self) -> &FrontEnd {
        &self.session
    }

    /// Its session, to change how long replies may take.
    pub fn session_mut(&mut self) -> &mut FrontEnd {
        &mut self.session
    }

    /// Its driver.
    #[must_use]
    pub fn driver(&self) -> &NetDriver {
        &self.driver
    }

    /// Its driver, for single queues and for lies.
    pub fn driver_mut(&mut self) -> &mut NetDriver {
        &mut self.driver
    }

    /// Rules that the back-end broke.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.driver.faults()
    }

    /// Whether the back-end is gone.
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        self.session.connection().is_closed()
    }

    /// Tells the back-end everything and lets it run.
    ///
    /// # Errors
    ///
    /// When the back-end refuses, is gone or does not answer.
    pub fn start(&mut self) -> Result<(), GuestError> {
        let rings: Vec<_> = self.driver.rings().collect();
        self.session.start(&Start {
            memory: &self.memory,
            rings: &rings,
            bases: &self.bases,
            enabled: 2 * u32::from(self.active_pairs),
            order: self.config.setup_order,
        })
    }

    /// Stops all rings. The avail index up to which the back-end took chains, for each; the next
    /// [`Guest::start`] goes on from there.
    ///
    /// # Errors
    ///
    /// When the back-end is gone or does not answer.
    pub fn stop(&mut self) -> Result<Vec<u16>, GuestError> {
        for (index, base) in (0..).zip(&mut self.bases) {
            *base = self.session.stop_ring(index)?;
        }
        self.session.withdraw_memory(&self.memory)?;
        Ok(self.bases.clone())
    }

    /// Stops all rings and begins anew with empty ones: a guest that reboots, or loads its driver again.
    ///
    /// # Errors
    ///
    /// As [`Guest::stop`] and [`Guest::start`].
    pub fn restart(&mut self) -> Result<(), GuestError> {
        self.stop()?;
        self.driver.reset();
        self.bases.fill(0);
        self.start()
    }

    /// Goes on over a new connection after the back-end was lost: same memory, same rings. Chains that the lost
    /// back-end did not complete are offered again, as QEMU does it.
    ///
    /// # Errors
    ///
    /// As [`Guest::new`]; [`GuestError::Config`] when the back-end has other features than before.
    pub fn resume(&mut self, connection: Connection) -> Result<(), GuestError> {
        let before = self.features();
        let session =
            FrontEnd::open(connection, self.config.features, self.config.protocol_features)?;
        if session.features() != before {
            return Err(GuestError::Config("the back-end came back with other features"));
        }
        self.session = session;
        for (base, (area, _events)) in self.bases.iter_mut().zip(self.driver.rings()) {
            *base = area.used_idx();
        }
        self.start()?;
        // What was published before is not announced by any kick to come.
        self.driver.kick_all();
        Ok(())
    }

    /// Changes how many queue pairs are in use, as `ethtool -L` in a guest does.
    ///
    /// # Errors
    ///
    /// When the back-end refuses; [`GuestError::Config`] for more pairs than there are.
    pub fn set_active_pairs(&mut self, pairs: u16) -> Result<(), GuestError> {
        if pairs > self.config.queue_pairs {
            return Err(GuestError::Config("more active queue pairs than there are"));
        }
        for pair in 0..self.config.queue_pairs {
            for index in [2 * u32::from(pair), 2 * u32::from(pair) + 1] {
                match pair < pairs {
                    true => self.session.enable_ring(index)?,
                    false => self.session.disable_ring(index)?,
                }
            }
        }
        self.active_pairs = pairs;
        Ok(())
    }

    /// Queue pairs in use.
    #[must_use]
    pub fn active_pairs(&self) -> u16 {
        self.active_pairs
    }

    /// Adds a frame to the first transmitq; [`Guest::kick`] shows it to the back-end.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    #[inline]
    pub fn send(&mut self, frame: &[u8]) -> Result<(), SendError> {
        self.driver.send(0, &NetHeader::default(), frame)
    }

    /// Adds a frame to the transmitq of `pair`, with this net header.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    #[inline]
    pub fn send_on(
        &mut self,
        pair: usize,
        header: &NetHeader,
        frame: &[u8],
    ) -> Result<(), SendError> {
        self.driver.send(pair, header, frame)
    }

    /// Adds a frame to the first transmitq, cut into descriptors as `layout` says.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn send_with(
        &mut self,
        header: &NetHeader,
        frame: &[u8],
        layout: ChainLayout<'_>,
    ) -> Result<(), SendError> {
        self.driver.send_with(0, header, frame, layout)
    }

    /// Shows all added frames and buffers to the back-end, and kicks it where it wants that.
    pub fn kick(&mut self) {
        self.driver.publish();
    }

    /// Posts up to `count` receive buffers on each receiveq; how many. For a guest with
    /// [`crate::Refill::ByHand`].
    pub fn post_receive(&mut self, count: usize) -> usize {
        let mut posted = 0;
        for pair in 0..self.driver.queue_pairs() {
            if let Some(queue) = self.driver.receive_queue(pair) {
                posted += queue.post(count);
                queue.publish();
            }
        }
        posted
    }

    /// One turn: takes all received frames, posts buffers, takes back transmit buffers. Never waits. Gives the
    /// queue pair, the net header and the frame to `sink`; the number of frames.
    #[inline]
    pub fn poll_once(&mut self, sink: impl FnMut(usize, &NetHeader, &[u8])) -> usize {
        self.driver.poll(sink)
    }

    /// Takes back transmit buffers; how many.
    pub fn reclaim(&mut self) -> usize {
        self.driver.reclaim()
    }
}
