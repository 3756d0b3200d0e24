//! The front-end of a vhost-user session: well-formed messages in their order, answers checked.
//!
//! Blocking; used by the thread that plays the guest, at set-up and when something changes. A message that the
//! back-end can acknowledge is acknowledged before the next one goes out, when both sides have REPLY_ACK.

use std::os::fd::{AsFd, BorrowedFd};

use crate::connection::Connection;
use crate::error::GuestError;
use crate::event_fd::{EventFd, RingEvents};
use crate::features::{self, protocol};
use crate::guest_config::SetupOrder;
use crate::memory::GuestMemory;
use crate::message::{MAX_TABLE_REGIONS, MemoryRegion, MessageId, RingState, VRING_NO_FD};
use crate::ring_area::RingArea;

/// What a back-end is told about one ring.
#[derive(Debug)]
pub struct RingSetup<'a> {
    /// Number of the ring.
    pub index: u32,
    /// Its place and size.
    pub area: &'a RingArea,
    /// The avail index from which it goes on.
    pub base: u16,
    /// Signalled by us.
    pub kick: &'a EventFd,
    /// Signalled by the back-end.
    pub call: &'a EventFd,
    /// Signalled by the back-end when the ring is broken.
    pub err: &'a EventFd,
}

/// What a back-end is told before it runs.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub(crate) memory: &'a GuestMemory,
    /// By number.
    pub(crate) rings: &'a [(&'a RingArea, &'a RingEvents)],
    /// The avail index from which each ring goes on.
    pub(crate) bases: &'a [u16],
    /// Rings below this number are enabled.
    pub(crate) enabled: u32,
    pub(crate) order: SetupOrder,
}

/// A session with one back-end.
#[derive(Debug)]
pub struct FrontEnd {
    connection: Connection,
    offered: u64,
    features: u64,
    protocol: u64,
    queue_limit: Option<u64>,
    memory_slots: Option<u64>,
}

impl FrontEnd {
    /// Opens the session as QEMU does: features, protocol features, limits, owner.
    ///
    /// # Errors
    ///
    /// When the back-end refuses, is gone or does not answer.
    pub fn open(
        connection: Connection,
        wanted: u64,
        wanted_protocol: u64,
    ) -> Result<Self, GuestError> {
        let mut session = Self {
            connection,
            offered: 0,
            features: 0,
            protocol: 0,
            queue_limit: None,
            memory_slots: None,
        };
        session.offered = session.ask(MessageId::GetFeatures)?;
        session.features = session.offered & (wanted | features::PROTOCOL_FEATURES);
        if session.features & features::PROTOCOL_FEATURES != 0 {
            session.open_protocol(wanted_protocol)?;
        }
        session.command(MessageId::SetOwner, &[], &[])?;
        Ok(session)
    }

    fn open_protocol(&mut self, wanted: u64) -> Result<(), GuestError> {
        let chosen = self.ask(MessageId::GetProtocolFeatures)? & wanted;
        self.connection.send(MessageId::SetProtocolFeatures, &chosen.to_ne_bytes(), &[])?;
        self.protocol = chosen;
        if chosen & protocol::MQ != 0 {
            self.queue_limit = Some(self.ask(MessageId::GetQueueNum)?);
        }
        if chosen & protocol::CONFIGURE_MEM_SLOTS != 0 {
            self.memory_slots = Some(self.ask(MessageId::GetMaxMemSlots)?);
        }
        Ok(())
    }

    /// Features that the back-end offered.
    #[must_use]
    pub fn offered(&self) -> u64 {
        self.offered
    }

    /// Features in use: offered and wanted.
    #[must_use]
    pub fn features(&self) -> u64 {
        self.features
    }

    /// Protocol features in use.
    #[must_use]
    pub fn protocol_features(&self) -> u64 {
        self.protocol
    }

    /// What GET_QUEUE_NUM answered, when it was asked. Back-ends do not agree whether it counts pairs or rings.
    #[must_use]
    pub fn queue_limit(&self) -> Option<u64> {
        self.queue_limit
    }

    /// What GET_MAX_MEM_SLOTS answered, when it was asked.
    #[must_use]
    pub fn memory_slots(&self) -> Option<u64> {
        self.memory_slots
    }

    /// The socket, for messages that break the rules.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The socket, to change how long replies may take.
    pub fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Tells which features are used.
    ///
    /// # Errors
    ///
    /// As [`FrontEnd::command`].
    pub fn set_features(&self) -> Result<(), GuestError> {
        self.command(MessageId::SetFeatures, &self.features.to_ne_bytes(), &[])
    }

    /// Tells the back-end everything and lets it run.
    pub(crate) fn start(&self, start: &Start<'_>) -> Result<(), GuestError> {
        for (index, (_area, events)) in (0..).zip(start.rings) {
            self.set_event(MessageId::SetVringCall, index, Some(&events.call))?;
        }
        let enable = || (0..start.enabled).try_for_each(|index| self.enable_ring(index));
        if start.order == SetupOrder::Qemu {
            enable()?;
        }
        self.set_features()?;
        self.share_memory(start.memory)?;
        for (index, ((area, events), base)) in (0..).zip(start.rings.iter().zip(start.bases)) {
            self.set_up_ring(&RingSetup {
                index,
                area,
                base: *base,
                kick: &events.kick,
                call: &events.call,
                err: &events.err,
            })?;
        }
        if start.order == SetupOrder::VirtioUser {
            enable()?;
        }
        Ok(())
    }

    /// Shares all memory: region by region when the back-end knows slots, else in one table.
    ///
    /// # Errors
    ///
    /// As [`FrontEnd::command`]; [`GuestError::Config`] for more regions than a table holds.
    pub fn share_memory(&self, memory: &GuestMemory) -> Result<(), GuestError> {
        let (table, files) = (memory.table(), memory.files());
        if self.memory_slots.is_none() {
            return self.set_memory_table(&table, &files);
        }
        for (region, file) in table.iter().zip(files) {
            self.command(MessageId::AddMemReg, &region.encode_single(), &[file])?;
        }
        Ok(())
    }

    /// Takes back what [`FrontEnd::share_memory`] gave region by region; nothing to do for a table.
    ///
    /// # Errors
    ///
    /// As [`FrontEnd::command`].
    pub fn withdraw_memory(&self, memory: &GuestMemory) -> Result<(), GuestError> {
        if self.memory_slots.is_none() {
            return Ok(());
        }
        memory
            .table()
            .iter()
            .try_for_each(|region| self.command(MessageId::RemMemReg, &region.encode_single(), &[]))
    }

    /// Replaces the memory table.
    ///
    /// # Errors
    ///
    /// As [`FrontEnd::command`]; [`GuestError::Config`] for more regions than a table holds.
    pub fn set_memory_table(
        &self,
        table: &[MemoryRegion],
        files: &[BorrowedFd<'_>],
    ) -> Result<(), GuestError> {
        if table.len() > MAX_TABLE_REGIONS {
            return Err(GuestError::Config("a memory table has at most 8 regions"));
        }
        self.command(MessageId::SetMemTable, &MemoryRegion::encode_table(table), files)
    }

    /// Tells everything about one ring; the kick comes last but one, and starts it. QEMU's order.
    ///
    /// # Errors
    ///
    /// As [`FrontEnd::command`].
    pub fn set_up_ring(&self, ring: &RingSetup<'_>) -> Result<(), GuestError> {
        let index = ring.index;
        let state = |number| RingState { index, number }.encode();
        self.command(MessageId::SetVringNum, &state(u32::from(ring.area.size())), &[])?;
        self.command(MessageId::SetVringBase, &state(u32::from(ring.base)), &[])?;
        self.command(MessageId::SetVringAddr, &ring.area.front_end_addresses(index).encode(), &[])?;
        self.set_event(MessageId::SetVringErr, index, Some(ring.err))?;
        self.set_event(MessageId::SetVringKick, index, Some(ring.kick))?;
        self.set_event(MessageId::SetVringCall, index, Some(ring.call))
    }

    /// Hands over the eventfd of SET_VRING_KICK, CALL or ERR, or says that there is none.
    ///
    /// # Errors
    ///
    /// As [`FrontEnd::command`].
    pub fn set_event(
        &self,
        message: MessageId,
        index: u32,
        event: Option<&EventFd>,
    ) -> Result<(), GuestError> {
        match event {
            Some(event) => self.command(message, &u64::from(index).to_ne_bytes(), &[event.as_fd()]),
            None => self.command(message, &(u64::from(index) | VRING_NO_FD).to_ne_bytes(), &[]),
        }
    }

    /// Lets the back-end use the ring. Without protocol features a ring is enabled from its start, and there is
    /// no such message.
    ///
    /// # Errors
    ///
    /// As [`FrontEnd::command`].
    pub fn enable_ring(&self, index: u32) -> Result<(), GuestError> {
        self.switch_ring(RingState { index, number: 1 })
    }

    /// Forbids the back-end to use the ring. See [`FrontEnd::enable_ring`].
    ///
    /// # Errors
    ///
    /// As [`FrontEnd::command`].
    pub fn disable_ring(&self, index: u32) -> Result<(), GuestError> {
        self.switch_ring(RingState { index, number: 0 })
    }

    fn switch_ring(&self, state: RingState) -> Result<(), GuestError> {
        if self.features & features::PROTOCOL_FEATURES == 0 {
            return Ok(());
        }
        self.command(MessageId::SetVringEnable, &state.encode(), &[])
    }

    /// Stops the ring. The avail index up to which the back-end took chains.
    ///
    /// # Errors
    ///
    /// As [`FrontEnd::command`]; [`GuestError::BadReply`] when the answer is about another ring.
    pub fn stop_ring(&self, index: u32) -> Result<u16, GuestError> {
        let message = MessageId::GetVringBase;
        self.connection.send(message, &RingState { index, number: 0 }.encode(), &[])?;
        let reply = self.connection.receive_reply(message)?;
        let state = RingState::decode(&reply.payload).filter(|state| state.index == index);
        let state = state.ok_or(GuestError::BadReply { message, what: "it is of another ring" })?;
        u16::try_from(state.number)
            .map_err(|_| GuestError::BadReply { message, what: "the base is over 65535" })
    }

    /// Sends one message and, when both sides have REPLY_ACK, waits until the back-end has done it.
    ///
    /// # Errors
    ///
    /// [`GuestError::Refused`] when it was not done, [`GuestError::Closed`] when the back-end is gone,
    /// [`GuestError::Timeout`] when it did not answer.
    pub fn command(
        &self,
        message: MessageId,
        payload: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), GuestError> {
        if self.protocol & protocol::REPLY_ACK == 0 {
            return self.connection.send(message, payload, fds);
        }
        self.connection.send_for_ack(message, payload, fds)?;
        let reply = self.connection.receive_reply(message)?;
        match reply.number() {
            Some(0) => Ok(()),
            Some(code) => Err(GuestError::Refused { message, code }),
            None => Err(GuestError::BadReply { message, what: "an acknowledgement is a number" }),
        }
    }

    /// Asks for one number.
    ///
    /// # Errors
    ///
    /// As [`FrontEnd::command`].
    pub fn ask(&self, message: MessageId) -> Result<u64, GuestError> {
        self.connection.send(message, &[], &[])?;
        let reply = self.connection.receive_reply(message)?;
        reply.number().ok_or(GuestError::BadReply { message, what: "it should be one number" })
    }
}
