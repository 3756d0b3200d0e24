//! The control thread of an uplink: it opens the interface, lends its queues to the worker, watches it, and closes it.

use std::cell::RefCell;
use std::time::Instant;

use helio_frame::{BURST_BYTES, MemoryId};
use helio_host::{Interface, Link, Order, PortEvent, Reply, Senses, Stop, Worker, keep_open};

use crate::ethtool::{QueueCounts, queue_counts};
use crate::opening::{Opening, open, wanted_queues};
use crate::parts::Shared;
use crate::prepared::Prepared;
use crate::program::Attached;
use crate::sockets::fits_one_chunk;
use crate::status::sentence;
use crate::umem::{CHUNK_BYTES, RX_ENTRIES};

/// Looks of the worker after which it has taken all that waited in a queue: each takes a burst at least, or what there is.
const LOOKS_AT_QUEUE: u32 = RX_ENTRIES.div_ceil(BURST_BYTES / CHUNK_BYTES);

/// Runs until it is asked to stop.
pub(crate) fn run(shared: &Shared, stop: &Stop, senses: &Senses) {
    let prepared = RefCell::default();
    keep_open(
        senses,
        stop,
        || open(shared, &senses.interfaces, stop, &prepared),
        |opening| serve(shared, stop, senses, opening, &prepared),
        |why| {
            if shared.status.refuse(&why) {
                shared.tell(&PortEvent::Refused(why));
            }
        },
    );
    shared.status.end();
}

/// Lends an open interface to the worker until it is gone or the uplink ends.
fn serve(
    shared: &Shared,
    stop: &Stop,
    senses: &Senses,
    opening: Opening,
    prepared: &RefCell<Option<Prepared>>,
) -> Worker {
    // What comes first is dropped last: these sockets are closed before their chunks can be another's.
    let Opening { lots: _lots, attached, queues, table, watched, interface, facts, note } = opening;
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
    shared.tell(&PortEvent::Opened(sentence(&shared.interface, &facts)));
    shared.status.open(facts, watched, note);
    shared.status.look(&interface);
    // What came before the worker could be woken shows now.
    shared.wakeups.wake();

    let queues = QueueCounts { receiving: facts.queues, sending: facts.sending_queues };
    let opened = Opened { interface, queues, multi_buffer: facts.multi_buffer };
    let why = watch(shared, stop, senses, &opened, &attached, prepared);

    // The program first: what arrives from now on is the host's.
    drop(attached);
    drop(prepared.take());
    shared.status.close(why.clone());
    let end = match shared.ask(Order::Remove) {
        // Their sockets are closed here.
        Reply::Answer(queues) => {
            drop(queues);
            // What had come and was not taken is gone with them.
            shared.tell(&PortEvent::LinkDown);
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

/// An interface as it was when it was opened.
struct Opened {
    interface: Interface,
    /// Queues that were wanted of those it had.
    queues: QueueCounts,
    /// Whether a frame may lie in several chunks.
    multi_buffer: bool,
}

impl Opened {
    /// Why the interface cannot be used any more as it was opened, when it is like `now` and `queues` are wanted.
    fn outlived(&self, now: &Interface, queues: QueueCounts) -> Option<&'static str> {
        if now.index != self.interface.index {
            Some("is another interface now")
        } else if queues != self.queues {
            Some("has another number of queues now")
        } else if !self.multi_buffer && !fits_one_chunk(now.mtu) {
            // Opened anew, frames may lie in several chunks, perhaps in another mode.
            Some("has a longer MTU now than one chunk has room for")
        } else {
            None
        }
    }
}

/// Looks at the interface whenever something changes. Returns why it must be closed.
fn watch(
    shared: &Shared,
    stop: &Stop,
    senses: &Senses,
    opened: &Opened,
    attached: &Attached,
    prepared: &RefCell<Option<Prepared>>,
) -> String {
    let name = &shared.interface;
    let mut link = opened.interface.link;
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
        // One that is gone by now is found to be so at the next look.
        let queues = queue_counts(&senses.interfaces, name)
            .map_or(opened.queues, |there| wanted_queues(shared.queues, there));
        if let Some(why) = opened.outlived(&now, queues) {
            return format!("{name} {why}");
        }
        if !attached.is_attached() {
            return format!("the XDP program was taken away from {name}");
        }
        if let Some(insistence) =
            prepared.borrow_mut().as_mut().and_then(|all| all.insistence.as_mut())
        {
            let news = insistence.look(Instant::now());
            shared.status.note_driver(insistence.note());
            if let Some(news) = news {
                shared.tell(&PortEvent::Note(format!("{name} {news}")));
            }
        }
        shared.status.set_mtu(now.mtu);
        shared.status.look(&now);
        if now.link != link {
            link = now.link;
            // What waits to be sent can go now, or need not be tried any more.
            shared.wakeups.wake();
            let text = match (link, now.is_set_up) {
                (Link::Up, _) => format!("{name} has a link"),
                (Link::Down, true) => format!("{name} has no link"),
                (Link::Down, false) => format!("{name} was set down"),
            };
            shared.tell(&PortEvent::Note(text));
        }
        if link == Link::Down {
            tell_down(shared, opened.queues.receiving);
        }
    }
}

/// Says that the link is down when what had come before is decided. Said at every look, each second, as the kernel may bring
/// something late.
fn tell_down(shared: &Shared, queues: u32) {
    let facts = shared.status.facts();
    // Each begins with another queue.
    let looks = queues.saturating_mul(LOOKS_AT_QUEUE);
    if let Reply::Answer(_) = shared.ask(|answer| Order::Quiesce(answer, looks)) {
        shared.status.has_answered(facts);
        shared.tell(&PortEvent::LinkDown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use helio_types::MacAddr;

    #[test]
    fn an_interface_is_opened_anew_for_its_number_its_queues_and_an_mtu_beyond_one_chunk() {
        let (link, mac) = (Link::Up, MacAddr([2; 6]));
        let interface = |index, mtu| Interface { index, link, is_set_up: true, mtu, mac };
        for multi_buffer in [false, true] {
            let queues = |receiving, sending| QueueCounts { receiving, sending };
            let opened =
                Opened { interface: interface(7, 1500), queues: queues(2, 2), multi_buffer };
            assert_eq!(opened.outlived(&interface(7, 3822), queues(2, 2)), None);
            assert!(opened.outlived(&interface(8, 1500), queues(2, 2)).is_some());
            assert!(opened.outlived(&interface(7, 1500), queues(3, 2)).is_some());
            assert!(opened.outlived(&interface(7, 1500), queues(2, 1)).is_some());
            assert_eq!(opened.outlived(&interface(7, 3823), queues(2, 2)).is_some(), !multi_buffer);
        }
    }
}
