//! What drivers are asked and told by ethtool: how many queues there are, and not to change frames before the XDP program
//! sees them. Used by the control thread.

use std::io;

use helio_host::{InterfaceRequest, Interfaces};

// Linux 6.18, include/uapi/linux/ethtool.h.
const GET_FLAGS: u32 = 0x25;
const SET_FLAGS: u32 = 0x26;
const GET_CHANNELS: u32 = 0x3c;
/// The driver takes VLAN tags out of frames: an XDP program does not see them any more.
const STRIPS_TAGS: u32 = 1 << 8;
/// The driver joins segments: what the switch would forward was never on the wire.
const JOINS_SEGMENTS: u32 = 1 << 15;
/// What it must leave.
const UNWANTED: u32 = STRIPS_TAGS | JOINS_SEGMENTS;

#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    max_rx: u32,
    max_tx: u32,
    max_other: u32,
    max_combined: u32,
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

/// What an ethtool command reads and writes.
///
/// # Safety
///
/// It must begin with the number of its command, and be laid out as the kernel lays out what that command demands.
unsafe trait Body {}

// SAFETY: Linux 6.18, include/uapi/linux/ethtool.h, struct ethtool_value; only commands with such a body are made of it.
unsafe impl Body for Value {}
// SAFETY: the same, struct ethtool_channels.
unsafe impl Body for Channels {}

/// Carries out an ethtool request.
fn ask<T: Body>(interfaces: &Interfaces, name: &str, body: &mut T) -> io::Result<()> {
    let mut request = InterfaceRequest::new(name)?;
    request.0.ifr_ifru.ifru_data = (&raw mut *body).cast();
    // SAFETY: the pointer leads to what the command demands, by `Body`, and it is exclusively borrowed.
    unsafe { interfaces.ask(libc::SIOCETHTOOL, &mut request) }
}

/// Numbers of queues. The kernel knows those to receive on and those to send on by numbers of their own, each from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueCounts {
    pub(crate) receiving: u32,
    pub(crate) sending: u32,
}

impl QueueCounts {
    pub(crate) const ONE: Self = Self { receiving: 1, sending: 1 };
}

/// How many queues an interface has; one of each when its driver does not say.
pub(crate) fn queue_counts(interfaces: &Interfaces, name: &str) -> io::Result<QueueCounts> {
    let mut channels = Channels { command: GET_CHANNELS, ..Channels::default() };
    match ask(interfaces, name, &mut channels) {
        Ok(()) => {
            let Channels { rx, tx, combined, .. } = channels;
            Ok(QueueCounts { receiving: (rx + combined).max(1), sending: (tx + combined).max(1) })
        }
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Err(error),
        Err(_) => Ok(QueueCounts::ONE),
    }
}

/// An interface whose driver was told to leave frames as they are. Dropping it allows again what was allowed before; a
/// process that is killed does not come to that. The interface is known by its number: meanwhile it may have got another name,
/// and another one its name.
#[derive(Debug)]
pub(crate) struct FramesLeftAlone {
    interfaces: Interfaces,
    index: u32,
    /// What was allowed and is not now.
    withdrawn: u32,
}

impl FramesLeftAlone {
    /// Tells the driver. One that knows nothing of the kind does nothing of the kind.
    ///
    /// # Errors
    ///
    /// When the driver goes on with it.
    pub(crate) fn demand(index: u32) -> io::Result<Self> {
        let interfaces = Interfaces::new()?;
        let mut left_alone = Self { interfaces, index, withdrawn: 0 };
        left_alone.withdraw()?;
        Ok(left_alone)
    }

    /// Whether somebody has allowed it meanwhile.
    pub(crate) fn is_allowed_again(&self) -> bool {
        self.flags().is_ok_and(|flags| flags & UNWANTED != 0)
    }

    /// Tells the driver again. An interface that is gone need not be told.
    ///
    /// # Errors
    ///
    /// When the driver goes on with it.
    pub(crate) fn renew(&mut self) -> io::Result<()> {
        match self.withdraw() {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            told => told,
        }
    }

    fn withdraw(&mut self) -> io::Result<()> {
        let Ok(flags) = self.flags() else { return Ok(()) };
        let unwanted = flags & UNWANTED;
        if unwanted != 0 {
            self.set_flags(flags & !unwanted)?;
            self.withdrawn |= unwanted;
        }
        Ok(())
    }

    fn flags(&self) -> io::Result<u32> {
        let name = self.interfaces.name_of(self.index)?;
        let mut value = Value { command: GET_FLAGS, data: 0 };
        ask(&self.interfaces, &name, &mut value).map(|()| value.data)
    }

    fn set_flags(&self, flags: u32) -> io::Result<()> {
        let name = self.interfaces.name_of(self.index)?;
        ask(&self.interfaces, &name, &mut Value { command: SET_FLAGS, data: flags })
    }
}

impl Drop for FramesLeftAlone {
    fn drop(&mut self) {
        if self.withdrawn != 0
            && let Ok(flags) = self.flags()
        {
            // An interface that is gone needs nothing back.
            let _ = self.set_flags(flags | self.withdrawn);
        }
    }
}

#[cfg(test)]
fn told_flags(name: &str) -> u32 {
    let mut value = Value { command: GET_FLAGS, data: 0 };
    ask(&Interfaces::new().unwrap(), name, &mut value).unwrap();
    value.data
}

/// Whether the driver takes VLAN tags out of frames.
#[cfg(test)]
pub(crate) fn strips_tags(name: &str) -> bool {
    told_flags(name) & STRIPS_TAGS != 0
}

/// Allows the driver to take VLAN tags out of frames, as an operator or a tool may.
#[cfg(test)]
pub(crate) fn allow_to_strip_tags(name: &str) {
    let mut value = Value { command: SET_FLAGS, data: told_flags(name) | STRIPS_TAGS };
    ask(&Interfaces::new().unwrap(), name, &mut value).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Wire, ip};

    fn demand(name: &str) -> FramesLeftAlone {
        let interface = Interfaces::new().unwrap().find(name).unwrap().unwrap();
        FramesLeftAlone::demand(interface.index).unwrap()
    }

    #[test]
    fn what_was_withdrawn_is_given_back_to_the_same_interface_whatever_its_name_is_by_then() {
        let wire = Wire::new(1500);
        assert!(strips_tags("near"));
        let left_alone = demand("near");
        assert!(!strips_tags("near"));
        for (end, name) in [("near", "before"), ("far", "beyond")] {
            ip(&format!("link set {end} down"));
            ip(&format!("link set {end} name {name}"));
        }
        wire.lay(1500, 1);
        // An operator wants it off there.
        std::mem::forget(demand("near"));
        assert!(!strips_tags("near"));
        drop(left_alone);
        assert!(strips_tags("before") && !strips_tags("near"));
    }

    #[test]
    fn an_interface_that_is_gone_needs_nothing_back() {
        let _wire = Wire::new(1500);
        let left_alone = demand("near");
        ip("link del near");
        drop(left_alone);
    }
}
