//! What control holds of a port, whatever its kind: the only place that makes ports, besides the tests of their crates.

use std::sync::Arc;

use helio_api::{ChunkInfo, PortInfo, PortState, UplinkInfo};
use helio_config::{
    Attachment, PollMode, PortConfig, SocketMode, TapInterface, UplinkInterface, VmSocket,
};
use helio_control::{ControlError, ControlErrorKind};
use helio_frame::{MemoryDirectory, Port, Wakeups};
use helio_host::{
    FirstTry, Gravity, PortEvent as InterfaceEvent, PortState as InterfaceState,
    StateWord as InterfaceWord,
};
use helio_tap::{TapHandle, TapParts, TapPort};
use helio_types::{PortId, UplinkMode};
use helio_uplink::{
    Census, Pages, SharedUmem, UmemUse, UplinkHandle, UplinkParts, UplinkPort, UplinkQueues,
    WorkerPolling,
};
use helio_vhost_user::{
    MAX_QUEUE_PAIRS, PortEvent, PortParts, SocketAccess, SocketRole, StateWord, VhostPort,
    VhostPortHandle,
};
use helio_worker::DecapShelf;

use crate::forgetting::Forgetting;
use crate::port_state::Condition;

/// What every port is made from, besides what it is attached to.
pub(crate) struct Surroundings {
    pub(crate) id: PortId,
    pub(crate) name: String,
    pub(crate) wakeups: Arc<dyn Wakeups>,
    /// Of the worker.
    pub(crate) polling: PollMode,
    pub(crate) directory: Arc<dyn MemoryDirectory>,
    /// What uplinks share.
    pub(crate) umem: Option<Arc<SharedUmem>>,
    pub(crate) forgetting: Arc<Forgetting>,
}

/// The control half of a port.
pub(crate) enum PortHandle {
    Vm(VhostPortHandle),
    Uplink(UplinkHandle),
    Tap(TapHandle),
    /// Served by the uplink's worker, by what it is configured.
    Decap(DecapHandle),
}

/// What control holds of a decap port.
pub(crate) struct DecapHandle {
    /// What it does.
    sentence: String,
    /// Where its counts lie while its uplink is away.
    shelf: Arc<DecapShelf>,
}

/// Makes the port of `config`. Its worker gets the first half, if there is one; it serves nobody before [`PortHandle::start`].
pub(crate) fn make(
    config: &PortConfig,
    around: Surroundings,
    access: SocketAccess,
) -> Result<(Option<Box<dyn Port>>, PortHandle), ControlError> {
    let (port, handle) = match &config.attachment {
        Attachment::Vm(socket) => make_vm(socket, around, access)?,
        Attachment::Uplink(uplink) => make_uplink(uplink, around)?,
        Attachment::Tap(tap) => make_tap(tap, config.mtu, around)?,
        Attachment::Decap(point) => {
            let sentence =
                format!("takes mirror streams for {} that arrive on {}", point.local, point.uplink);
            let handle = DecapHandle { sentence, shelf: Arc::default() };
            return Ok((None, PortHandle::Decap(handle)));
        }
    };
    Ok((Some(port), handle))
}

fn make_vm(
    socket: &VmSocket,
    around: Surroundings,
    access: SocketAccess,
) -> Result<(Box<dyn Port>, PortHandle), ControlError> {
    let (id, name, forgetting) = (around.id, around.name.clone(), around.forgetting);
    let parts = PortParts {
        id: around.id,
        name: around.name,
        socket: socket.path.clone(),
        role: match socket.mode {
            SocketMode::Server => SocketRole::Server,
            SocketMode::Client => SocketRole::Client,
        },
        access,
        queue_pairs: u8::try_from(socket.queue_pairs).unwrap_or(MAX_QUEUE_PAIRS),
        wakeups: around.wakeups,
        directory: around.directory,
        events: Box::new(move |event| {
            log_event(&name, event);
            if *event == PortEvent::LinkDown {
                forgetting.forget(id, &name);
            }
        }),
    };
    let (port, handle) =
        VhostPort::create(parts).map_err(|error| ControlError::invalid(error.to_string()))?;
    Ok((Box::new(port), PortHandle::Vm(handle)))
}

fn make_uplink(
    uplink: &UplinkInterface,
    around: Surroundings,
) -> Result<(Box<dyn Port>, PortHandle), ControlError> {
    let events = interface_events(&around);
    let parts = UplinkParts {
        id: around.id,
        name: around.name,
        interface: uplink.name.clone(),
        mode: uplink.mode,
        queues: queues_of(uplink),
        pass: uplink.pass.clone(),
        wakeups: around.wakeups,
        polling: match around.polling {
            PollMode::Busy => WorkerPolling::Busy,
            PollMode::Adaptive { .. } => WorkerPolling::Adaptive,
        },
        umem: around.umem,
        directory: around.directory,
        events,
    };
    let (port, handle) =
        UplinkPort::create(parts).map_err(|error| ControlError::invalid(error.to_string()))?;
    Ok((Box::new(port), PortHandle::Uplink(handle)))
}

/// Which queues of its interface an uplink is to use.
fn queues_of(uplink: &UplinkInterface) -> UplinkQueues {
    match uplink.queues {
        None => UplinkQueues::All,
        Some(count) => UplinkQueues::First(u32::from(count)),
    }
}

/// Memory for the uplinks among `ports` to share, so that frames from one to another are not copied. None if they are fewer
/// than two, or the host refuses: that is no reason not to start.
pub(crate) fn share_umem(ports: &[PortConfig]) -> Option<Arc<SharedUmem>> {
    let uplinks = ports.iter().filter_map(|port| match &port.attachment {
        // Where the card moves the bytes itself, it is told of one memory for one card.
        Attachment::Uplink(uplink) if uplink.mode != UplinkMode::ZeroCopy => Some(uplink),
        _ => None,
    });
    let uplinks: Vec<_> = uplinks.map(|uplink| (uplink.name.as_str(), queues_of(uplink))).collect();
    match SharedUmem::for_uplinks(uplinks.into_iter()) {
        Ok(shared) => shared,
        Err(cause) => {
            tracing::info!(
                "frames from uplink to uplink are copied: they share no memory: {cause}"
            );
            None
        }
    }
}

fn make_tap(
    tap: &TapInterface,
    mtu: u16,
    around: Surroundings,
) -> Result<(Box<dyn Port>, PortHandle), ControlError> {
    let events = interface_events(&around);
    let parts = TapParts {
        id: around.id,
        name: around.name,
        interface: tap.name.clone(),
        mtu,
        wakeups: around.wakeups,
        events,
    };
    let (port, handle) = TapPort::create(parts)
        .map_err(|error| ControlError::new(ControlErrorKind::Internal, error.to_string()))?;
    Ok((Box::new(port), PortHandle::Tap(handle)))
}

impl PortHandle {
    /// Lets front-ends in, or opens the interface: that is under way when this returns. The worker must have the port by now.
    pub(crate) fn start(&mut self) -> Result<Option<FirstTry>, ControlError> {
        let started = match self {
            Self::Vm(handle) => handle.start().map_err(|error| error.to_string()),
            Self::Uplink(handle) => handle.start().map_err(|error| error.to_string()),
            Self::Tap(handle) => handle.start().map_err(|error| error.to_string()),
            Self::Decap(_) => Ok(()),
        };
        started.map_err(|error| ControlError::new(ControlErrorKind::Internal, error))?;
        Ok(match self {
            Self::Vm(_) | Self::Decap(_) => None,
            Self::Uplink(handle) => Some(handle.first_try()),
            Self::Tap(handle) => Some(handle.first_try()),
        })
    }

    /// Ends the session, or closes the interface. Afterwards the worker may drop the port.
    pub(crate) fn stop(&mut self) {
        match self {
            Self::Vm(handle) => handle.stop(),
            Self::Uplink(handle) => handle.stop(),
            Self::Tap(handle) => handle.stop(),
            Self::Decap(_) => {}
        }
    }

    /// What the port does.
    pub(crate) fn condition(&self) -> Condition {
        match self {
            Self::Vm(handle) => {
                let state = handle.state();
                let word = match state.word {
                    StateWord::Down => PortState::Down,
                    StateWord::Waiting => PortState::Waiting,
                    StateWord::Up => PortState::Up,
                    StateWord::Faulted => PortState::Faulted,
                };
                let gravity = match word {
                    PortState::Faulted => Gravity::Failure,
                    PortState::Down | PortState::Waiting | PortState::Up => Gravity::Usual,
                };
                Condition { word, gravity, detail: state.detail }
            }
            Self::Uplink(handle) => of_interface(handle.state()),
            Self::Tap(handle) => of_interface(handle.state()),
            Self::Decap(DecapHandle { sentence, .. }) => {
                Condition { word: PortState::Up, gravity: Gravity::Usual, detail: sentence.clone() }
            }
        }
    }

    /// The session of a VM port.
    pub(crate) fn vm(&self) -> Option<&VhostPortHandle> {
        match self {
            Self::Vm(handle) => Some(handle),
            Self::Uplink(_) | Self::Tap(_) | Self::Decap(_) => None,
        }
    }

    /// The shelf of a decap port.
    pub(crate) fn shelf(&self) -> Option<&Arc<DecapShelf>> {
        match self {
            Self::Decap(handle) => Some(&handle.shelf),
            Self::Vm(_) | Self::Uplink(_) | Self::Tap(_) => None,
        }
    }

    /// Passes a new MTU of the port on to an interface that is the switch's own.
    pub(crate) fn set_mtu(&self, mtu: u16) {
        if let Self::Tap(handle) = self {
            handle.set_mtu(mtu);
        }
    }

    /// Adds to `info` what is known of the interface.
    pub(crate) fn describe_interface(&self, info: &mut PortInfo) {
        match (self, &mut info.uplink, &mut info.tap) {
            (Self::Uplink(handle), Some(uplink), _) => describe_uplink(handle, uplink),
            (Self::Tap(handle), _, Some(tap)) => tap.interface_mtu = handle.mtu().unwrap_or(0),
            _ => {}
        }
    }
}

fn of_interface(state: InterfaceState) -> Condition {
    let word = match state.word {
        InterfaceWord::Down => PortState::Down,
        InterfaceWord::Waiting => PortState::Waiting,
        InterfaceWord::Up => PortState::Up,
    };
    Condition { word, gravity: state.gravity, detail: state.detail }
}

/// Adds to `info` how the interface is used, and what the kernel dropped.
fn describe_uplink(handle: &UplinkHandle, info: &mut UplinkInfo) {
    if let Some(facts) = handle.facts() {
        info.mode = Some(facts.way.name().to_owned());
        info.queues = facts.queues;
        info.interface_mtu = facts.mtu;
        info.multi_buffer = facts.multi_buffer;
        info.huge_pages = facts.pages == Pages::Huge;
        info.shared_umem = facts.umem == UmemUse::Shared;
        info.busy_poll = facts.busy_poll;
    }
    let drops = handle.kernel_drops();
    let reasons = [
        ("no-chunk", drops.no_chunk),
        ("rx-ring-full", drops.ring_full),
        ("refused-to-send", drops.refused_to_send),
        ("other", drops.other),
    ];
    let occurred = reasons.into_iter().filter(|(_, count)| *count > 0);
    info.kernel_drops = occurred.map(|(reason, count)| (reason.to_owned(), count)).collect();
    let Census { spare, lent, held, lost, free, staged, sent } = handle.census();
    let total = handle.facts().map_or(0, |facts| facts.chunks() as usize);
    info.chunks = ChunkInfo { total, spare, lent, held, lost, free, staged, sent };
}

/// A front-end that connects and goes away in a loop would flood the log, so only what must not happen is a warning; the
/// housekeeping tells of states that last.
fn log_event(port: &str, event: &PortEvent) {
    match event {
        PortEvent::WorkerSilent => tracing::warn!("port {port}: {event}"),
        PortEvent::Connected | PortEvent::SessionEnded(_) | PortEvent::Note(_) => {
            tracing::debug!("port {port}: {event}")
        }
        // The housekeeping tells what came of it.
        PortEvent::LinkDown => {}
    }
}

/// What becomes of the events of a port on an interface.
fn interface_events(around: &Surroundings) -> Box<dyn Fn(&InterfaceEvent) + Send + Sync> {
    let (id, name) = (around.id, around.name.clone());
    let forgetting = Arc::clone(&around.forgetting);
    Box::new(move |event| {
        log_interface_event(&name, event);
        if *event == InterfaceEvent::LinkDown {
            forgetting.forget(id, &name);
        }
    })
}

/// States of interfaces are told by the housekeeping, too.
fn log_interface_event(port: &str, event: &InterfaceEvent) {
    match event {
        InterfaceEvent::WorkerSilent => tracing::warn!("port {port}: {event}"),
        InterfaceEvent::Opened(_)
        | InterfaceEvent::Refused(_)
        | InterfaceEvent::Closed(_)
        | InterfaceEvent::Note(_) => {
            tracing::debug!("port {port}: {event}")
        }
        // The housekeeping tells what came of it.
        InterfaceEvent::LinkDown => {}
    }
}
