//! The control thread of a TAP port: it makes the interface, lends it to the worker, watches it, and closes it.

use std::os::fd::{AsFd, OwnedFd};

use helio_host::{
    Interface, Interfaces, Link, Order, PortEvent, Reply, Senses, Stop, Worker, keep_open,
};

use crate::device::Device;
use crate::parts::{Shared, TapError};
use crate::status::sentence;

/// Longest MTU that the kernel gives a TAP: 64 KiB without the Ethernet header.
const LONGEST_MTU: u32 = 65_521;

/// Looks of the worker that it takes at most to read all that waits in a TAP, unless its queue is longer than the usual 500
/// frames (Linux 6.18, drivers/net/tun.c, TUN_READQ_SIZE) or no buffers are free: a burst has room for one frame at least, and
/// for no more if it is long.
const LOOKS: u32 = 500;

/// An interface that was made.
struct Opening {
    device: Box<Device>,
    /// By which the worker is woken.
    waker: OwnedFd,
    interface: Interface,
}

/// Runs until it is asked to stop.
pub(crate) fn run(shared: &Shared, stop: &Stop, senses: &Senses) {
    keep_open(
        senses,
        stop,
        || open(shared, &senses.interfaces),
        |opening| serve(shared, stop, senses, opening),
        |why| {
            if shared.status.refuse(&why) {
                shared.tell(&PortEvent::Refused(why));
            }
        },
    );
    shared.status.end();
}

fn open(shared: &Shared, interfaces: &Interfaces) -> Result<Opening, TapError> {
    let name = &shared.interface;
    let host = |what| move |cause| TapError::Host { interface: name.clone(), what, cause };
    let device = Box::new(Device::open(name)?);
    let mtu = shared.status.wanted_mtu().min(LONGEST_MTU);
    interfaces.set_mtu(name, mtu).map_err(host("it cannot have the MTU of the port"))?;
    interfaces.set_up(name).map_err(host("it cannot be set up"))?;
    let waker = device.try_clone().map_err(host("it cannot be watched"))?;
    let found = interfaces.find(name).map_err(host("its settings cannot be read"))?;
    let gone = || host("it is gone")(std::io::ErrorKind::NotFound.into());
    Ok(Opening { device, waker, interface: found.ok_or_else(gone)? })
}

/// Lends the interface to the worker until it is gone or the port ends.
fn serve(shared: &Shared, stop: &Stop, senses: &Senses, opening: Opening) -> Worker {
    let Opening { device, waker, interface } = opening;
    match shared.ask(|answer| Order::Install(device, answer)) {
        Reply::Answer(refused) => debug_assert!(refused.is_none(), "the worker had a TAP already"),
        Reply::Gone => return Worker::Gone,
    }
    if let Err(error) = shared.wakeups.watch(waker.as_fd()) {
        let text = format!("a sleeping worker is not woken by frames: {error}");
        shared.tell(&PortEvent::Note(text));
    }
    shared.status.open(interface.mtu);
    shared.status.set_link(link_of(&interface));
    shared.tell(&PortEvent::Opened(sentence(&shared.interface, interface.mtu)));
    // What came before the worker could be woken shows now.
    shared.wakeups.wake();

    let why = watch(shared, stop, senses, interface);

    shared.wakeups.unwatch(waker.as_fd());
    drop(waker);
    shared.status.refuse(&why);
    let end = match shared.ask(Order::Remove) {
        Reply::Answer(device) => {
            drop(device);
            shared.tell(&PortEvent::LinkDown);
            Worker::There
        }
        Reply::Gone => Worker::Gone,
    };
    // Said once more: a worker that was silent has answered.
    shared.status.refuse(&why);
    if !stop.is_wanted() {
        shared.tell(&PortEvent::Closed(why));
    }
    end
}

/// A TAP that is set up carries frames: the switch is at its other end.
fn link_of(interface: &Interface) -> Link {
    if interface.is_set_up { Link::Up } else { Link::Down }
}

/// Looks at the interface whenever something changes. Returns why it must be closed.
fn watch(shared: &Shared, stop: &Stop, senses: &Senses, opened: Interface) -> String {
    let name = &shared.interface;
    let mut before = opened;
    let mut given = shared.status.wanted_mtu();
    loop {
        senses.wait_for_change(stop);
        if stop.is_wanted() {
            return "stopped".to_owned();
        }
        // A port that got another MTU passes it on; what the host sets itself stays until then.
        let wanted = shared.status.wanted_mtu();
        if wanted != given {
            given = wanted;
            if let Err(error) = senses.interfaces.set_mtu(name, wanted.min(LONGEST_MTU)) {
                shared.tell(&PortEvent::Note(format!("{name} keeps its MTU: {error}")));
            }
        }
        let now = match senses.interfaces.find(name) {
            Ok(Some(now)) => now,
            Ok(None) => return format!("{name} is gone"),
            Err(error) => return format!("{name} cannot be asked: {error}"),
        };
        if now.index != before.index {
            return format!("{name} is another interface now");
        }
        shared.status.open(now.mtu);
        if now.is_set_up != before.is_set_up {
            shared.status.set_link(link_of(&now));
            shared.wakeups.wake();
            let change = if now.is_set_up { "was set up" } else { "was set down" };
            shared.tell(&PortEvent::Note(format!("{name} {change}")));
        }
        if !now.is_set_up {
            tell_down(shared, now.mtu);
        }
        before = now;
    }
}

/// Says that the interface, with this MTU, carries nothing any more when what had come before is decided. Said at every look,
/// each second, as more may wait than is read by then.
fn tell_down(shared: &Shared, mtu: u32) {
    if let Reply::Answer(_) = shared.ask(|answer| Order::Quiesce(answer, LOOKS)) {
        // A worker that was silent has answered.
        shared.status.open(mtu);
        shared.tell(&PortEvent::LinkDown);
    }
}
