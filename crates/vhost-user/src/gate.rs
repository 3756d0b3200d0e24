//! What stands between a front-end and `vhost-user-backend`: it takes each message whole, judges it (`rules`), and hands
//! it on over a socket of our own.
//!
//! Three things make it necessary, none of which that crate lets us do from inside. QEMU enables the rings of a net device
//! before it sets features, and the crate ends the connection at that; a message whose bytes come in pieces, or whose
//! regions are not sorted, is refused by it; and nobody could wait for a fault, for the end of a session, and for an order
//! to stop at the same time. Run by the control thread of the port.
//!
//! What always holds: at most one message that will be answered is under way, so answers keep their order; a front-end
//! that does not read its answers, or sends faster than they are worked off, fills buffers of the kernel only. The wait
//! ends only for what is then dealt with, so the thread sleeps while nothing can be done.

mod message;
mod private_link;
mod regions;
mod rules;

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::pace::VisitorPace;
use crate::socket::ServerSocket;

use message::{Message, Progress, Reader, send};
pub(crate) use private_link::private_link;
use rules::{Judged, Rules, Verdict};

/// Why the gate closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The front-end went.
    ByFrontEnd,
    /// The front-end went in the middle of a message.
    InMessage,
    /// The front-end sent what we do not take, for this reason.
    Refused(String),
    /// The back-end refused a message; it knows why.
    ByBackEnd,
    /// The port is to be stopped.
    Stopped,
}

/// What the control thread also waits for while a session lasts.
pub(crate) struct Attention<'a> {
    /// Readable when the port is to be stopped.
    pub(crate) stop: BorrowedFd<'a>,
    /// Readable when the port broke a rule.
    pub(crate) fault: BorrowedFd<'a>,
    /// Where other front-ends may come meanwhile.
    pub(crate) visitors: Option<&'a ServerSocket>,
}

/// What happened beside the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// The port broke a rule.
    Fault,
    /// Another front-end came and was turned away.
    TurnedAway,
}

/// One session's gate.
pub(crate) struct Gate<'a> {
    front: UnixStream,
    back: &'a UnixStream,
    from_front: Reader,
    from_back: Reader,
    rules: Rules,
    /// Messages for the back-end that found no room yet, first one first.
    to_back: Vec<Judged>,
    /// Bytes for the front-end that found no room yet.
    to_front: Vec<u8>,
    /// The back-end will answer the last message.
    awaits_answer: bool,
    pace: VisitorPace,
}

/// Bits of what the gate waits for that came true.
struct Ready {
    front: PollFlags,
    back: PollFlags,
    stop: bool,
    fault: bool,
    visitor: bool,
}

impl<'a> Gate<'a> {
    /// A gate between `front` and `back`, for a port with `rings` rings.
    pub(crate) fn new(front: UnixStream, back: &'a UnixStream, rings: u32) -> Self {
        Self {
            front,
            back,
            from_front: Reader::new(),
            from_back: Reader::new(),
            rules: Rules::new(rings),
            to_back: Vec::new(),
            to_front: Vec::new(),
            awaits_answer: false,
            pace: VisitorPace::new(Instant::now()),
        }
    }

    /// Hands messages on until one side goes, breaks a rule, or the port is to be stopped.
    pub(crate) fn run(mut self, attention: &Attention<'_>, mut on: impl FnMut(Sight)) -> Closed {
        loop {
            let Some(ready) = self.wait(attention) else { continue };
            if ready.stop {
                return Closed::Stopped;
            }
            if ready.fault {
                on(Sight::Fault);
            }
            if let Err(closed) = self.pass_on(&ready) {
                // The last answer says no: it should still arrive.
                let _ = self.flush_front();
                return closed;
            }
            if ready.visitor && self.turn_away(attention) {
                on(Sight::TurnedAway);
            }
        }
    }

    /// `None` when the wait was interrupted.
    fn wait(&self, attention: &Attention<'_>) -> Option<Ready> {
        let none = PollFlags::empty();
        let wants = |wanted: bool, flags: PollFlags| if wanted { flags } else { none };
        let takes_messages = self.takes_messages();
        let front =
            wants(takes_messages, PollFlags::IN) | wants(!self.to_front.is_empty(), PollFlags::OUT);
        let back = wants(self.to_front.is_empty(), PollFlags::IN)
            | wants(!self.to_back.is_empty(), PollFlags::OUT);
        let mut fds = [
            PollFd::new(&self.front, front),
            PollFd::new(self.back, back),
            PollFd::from_borrowed_fd(attention.stop, PollFlags::IN),
            PollFd::from_borrowed_fd(attention.fault, PollFlags::IN),
            // Without a socket for visitors, or in a pause between them, this one stands in and asks for nothing.
            PollFd::from_borrowed_fd(attention.stop, none),
        ];
        let pause = self.pace.pause(Instant::now());
        let mut timeout = None;
        if let (Some(socket), [.., visitors]) = (attention.visitors, &mut fds) {
            match pause.is_zero() {
                true => *visitors = PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN),
                false => timeout = Timespec::try_from(pause).ok(),
            }
        }
        rustix::event::poll(&mut fds, timeout.as_ref()).ok()?;
        let [front, back, stop, fault, visitor] = fds.map(|fd| fd.revents());
        Some(Ready {
            front,
            back,
            stop: !stop.is_empty(),
            fault: !fault.is_empty(),
            visitor: visitor.contains(PollFlags::IN),
        })
    }

    /// Closes the connection of a front-end that came while this one is served. One that came after this one went is left
    /// for the next session: so whether it went is asked after the other one was seen.
    fn turn_away(&mut self, attention: &Attention<'_>) -> bool {
        let mut front = [PollFd::new(&self.front, PollFlags::empty())];
        let now = Timespec::try_from(Duration::ZERO).ok();
        let is_there = rustix::event::poll(&mut front, now.as_ref()) == Ok(0);
        let Some(socket) = attention.visitors.filter(|_| is_there) else { return false };
        self.pace.turned_away(Instant::now());
        socket.accept().is_ok()
    }

    /// Whether the next message of the front-end may be taken.
    fn takes_messages(&self) -> bool {
        self.to_back.is_empty() && self.to_front.is_empty() && !self.awaits_answer
    }

    fn pass_on(&mut self, ready: &Ready) -> Result<(), Closed> {
        let readable = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
        self.flush_front()?;
        self.flush_back()?;
        if !self.to_front.is_empty() && ready.back.intersects(PollFlags::HUP | PollFlags::ERR) {
            // Nothing is left to hand on but what the front-end does not read, and no wait would last.
            return Err(Closed::ByBackEnd);
        }
        if self.to_front.is_empty() && ready.back.intersects(readable) {
            self.take_answer()?;
        }
        if self.takes_messages() && ready.front.intersects(readable) {
            return self.take_message();
        }
        // Not read now, so what it sent last is not known; but nobody is there any more who could be answered.
        match ready.front.intersects(PollFlags::HUP | PollFlags::ERR) {
            true => Err(Closed::ByFrontEnd),
            false => Ok(()),
        }
    }

    fn take_message(&mut self) -> Result<(), Closed> {
        let message = match self.from_front.read(self.front.as_fd()) {
            Progress::Whole(message) => message,
            Progress::Partial => return Ok(()),
            Progress::Ended => return Err(Closed::ByFrontEnd),
            Progress::EndedInside => return Err(Closed::InMessage),
            Progress::Malformed(why) => return Err(Closed::Refused(why)),
        };
        match self.rules.judge(message) {
            Verdict::Pass(messages) => {
                self.to_back = messages;
                self.flush_back()
            }
            Verdict::Answer(None) => Ok(()),
            Verdict::Answer(Some(answer)) => {
                self.to_front = answer.to_bytes();
                self.flush_front()
            }
            Verdict::Refuse(why) => Err(Closed::Refused(why)),
        }
    }

    fn take_answer(&mut self) -> Result<(), Closed> {
        match self.from_back.read(self.back.as_fd()) {
            Progress::Whole(answer) => {
                self.awaits_answer = false;
                self.to_front = answer.to_bytes();
                self.flush_front()
            }
            Progress::Partial => Ok(()),
            Progress::Ended | Progress::EndedInside | Progress::Malformed(_) => {
                Err(Closed::ByBackEnd)
            }
        }
    }

    fn flush_back(&mut self) -> Result<(), Closed> {
        while let Some(next) = self.to_back.first() {
            let bytes = next.message.to_bytes();
            match send(self.back.as_fd(), &bytes, &next.message.fds) {
                // A message of this size goes as a whole or not at all.
                Ok(_) => {
                    self.awaits_answer |= next.is_answered;
                    self.to_back.remove(0);
                }
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                // What it said last is still to be read.
                Err(_) => {
                    self.to_back.clear();
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn flush_front(&mut self) -> Result<(), Closed> {
        while !self.to_front.is_empty() {
            match send(self.front.as_fd(), &self.to_front, &[]) {
                Ok(sent) => {
                    self.to_front.drain(..sent.min(self.to_front.len()));
                }
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                Err(_) => return Err(Closed::ByFrontEnd),
            }
        }
        Ok(())
    }
}

impl Message {
    /// As it goes over a socket.
    fn to_bytes(&self) -> Vec<u8> {
        let size = u32::try_from(self.payload.len()).unwrap_or(0);
        let mut bytes = Vec::with_capacity(message::HEADER_BYTES + self.payload.len());
        for number in [self.id, self.flags, size] {
            bytes.extend_from_slice(&number.to_ne_bytes());
        }
        bytes.extend_from_slice(&self.payload);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_fd;
    use std::sync::mpsc::channel;

    /// Sends until the socket has no room.
    fn fill(socket: &UnixStream) {
        while send(socket.as_fd(), &[0; 4096], &[]).is_ok() {}
        while send(socket.as_fd(), &[0; 1], &[]).is_ok() {}
    }

    #[test]
    fn a_back_end_that_goes_ends_the_session_also_when_its_last_answer_finds_no_room() {
        let (_mute, front) = UnixStream::pair().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        fill(&front);
        send(theirs.as_fd(), &Message::number_reply(2, 1).to_bytes(), &[]).unwrap();
        drop(theirs);
        let (ended, end) = channel();
        std::thread::spawn(move || {
            let (stop, fault) = (event_fd::make().unwrap(), event_fd::make().unwrap());
            let attention = Attention { stop: stop.as_fd(), fault: fault.as_fd(), visitors: None };
            ended.send(Gate::new(front, &ours, 2).run(&attention, |_| {})).unwrap();
        });
        let closed = end.recv_timeout(Duration::from_secs(5));
        assert_eq!(closed, Ok(Closed::ByBackEnd), "the gate did not close");
    }

    #[test]
    fn the_last_answer_of_a_back_end_that_goes_arrives_when_there_is_room() {
        let (far, front) = UnixStream::pair().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        send(theirs.as_fd(), &Message::number_reply(2, 1).to_bytes(), &[]).unwrap();
        drop(theirs);
        let (stop, fault) = (event_fd::make().unwrap(), event_fd::make().unwrap());
        let attention = Attention { stop: stop.as_fd(), fault: fault.as_fd(), visitors: None };
        let closed = Gate::new(front, &ours, 2).run(&attention, |_| {});
        assert_eq!(closed, Closed::ByBackEnd);
        let Progress::Whole(answer) = Reader::new().read(far.as_fd()) else { panic!("no answer") };
        assert_eq!((answer.id, answer.number()), (2, Some(1)));
    }
}
