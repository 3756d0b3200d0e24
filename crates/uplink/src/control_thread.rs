//! The control thread of an uplink: it opens the interface, lends its queues to the worker, watches it, and closes it.

use std::os::fd::AsFd;

use helio_frame::MemoryId;
use helio_host::{Interface, Link, Order, PortEvent, Reply, Senses, Stop, Worker, keep_open};

use crate::ethtool::receive_queues;
use crate::opening::{Opening, open, wanted_queues};
use crate::parts::Shared;
use crate::status::sentence;

/// Runs until it is asked to stop.
pub(crate) fn run(shared: &Shared, stop: &Stop, senses: &Senses) {
    keep_open(
        senses,
        stop,
        || open(shared, &senses.interfaces, stop),
        |opening| serve(shared, stop, senses, opening),
        |why| {
            if shared.status.refuse(&why) {
                shared.tell(&PortEvent::Refused(why));
            }
        },
    );
    shared.status.end();
}

/// Lends an open interface to the worker until it is gone or the uplink ends.
fn serve(shared: &Shared, stop: &Stop, senses: &Senses, opening: Opening) -> Worker {
    let Opening { grip, queues, table, wakers, watched, interface, there, facts, note } = opening;
    let memory = MemoryId::of_port(shared.id);
    shared.directory.replace(memory, Some(table));
    let refused = match shared.ask(|answer| Order::Install(queues, answer)) {
        Reply::Answer(refused) => refused,
        Reply::Gone => {
            shared.directory.replace(memory, None);
            return Worker::Gone;
        }
    };
    debug_assert!(refused.is_none(), "the worker had queues already");
    drop(refused);
    for socket in &wakers {
        if let Err(error) = shared.wakeups.watch(socket.as_fd()) {
            let text = format!("a sleeping worker is not woken by frames: {error}");
            shared.tell(&PortEvent::Note(text));
        }
    }
    shared.tell(&PortEvent::Opened(sentence(&shared.interface, &facts)));
    shared.status.open(facts, watched, note);
    shared.status.set_link(interface.link);
    // What came before the worker could be woken shows now.
    shared.wakeups.wake();

    let why = watch(shared, stop, senses, (&interface, there), || grip.attached.is_attached());

    // The program first: what arrives from now on is the host's.
    drop(grip);
    for socket in &wakers {
        shared.wakeups.unwatch(socket.as_fd());
    }
    drop(wakers);
    shared.status.close(why.clone());
    let end = match shared.ask(Order::Remove) {
        // Their sockets are closed here.
        Reply::Answer(queues) => {
            drop(queues);
            Worker::There
        }
        Reply::Gone => Worker::Gone,
    };
    shared.directory.replace(memory, None);
    // Said once more: a worker that was silent has answered.
    shared.status.refuse(&why);
    if !stop.is_wanted() {
        shared.tell(&PortEvent::Closed(why));
    }
    end
}

/// Looks at the interface whenever something changes. Returns why it must be closed.
fn watch(
    shared: &Shared,
    stop: &Stop,
    senses: &Senses,
    (opened, there): (&Interface, u32),
    is_attached: impl Fn() -> bool,
) -> String {
    let name = &shared.interface;
    let mut link = opened.link;
    loop {
        senses.wait_for_change(stop);
        if stop.is_wanted() {
            return "stopped".to_owned();
        }
        let now = match senses.interfaces.find(name) {
            Ok(Some(now)) => now,
            Ok(None) => return format!("{name} is gone"),
            Err(error) => return format!("{name} cannot be asked: {error}"),
        };
        if now.index != opened.index {
            return format!("{name} is another interface now");
        }
        if !is_attached() {
            return format!("the XDP program was taken away from {name}");
        }
        // One that is gone by now is found to be so at the next look.
        let queues = receive_queues(&senses.interfaces, name).unwrap_or(there);
        if wanted_queues(shared.queues, queues) != wanted_queues(shared.queues, there) {
            return format!("{name} has another number of queues now");
        }
        shared.status.set_mtu(now.mtu);
        if now.link != link {
            link = now.link;
            shared.status.set_link(link);
            // What waits to be sent can go now, or need not be tried any more.
            shared.wakeups.wake();
            let text = match (link, now.is_set_up) {
                (Link::Up, _) => format!("{name} has a link"),
                (Link::Down, true) => format!("{name} has no link"),
                (Link::Down, false) => format!("{name} was set down"),
            };
            shared.tell(&PortEvent::Note(text));
        }
    }
}
