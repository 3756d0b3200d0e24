//! The socket to the back-end, below all rules: any bytes, any descriptors, in any pieces; and replies.
//!
//! Used by the thread that plays the guest, and by hostile tests directly. Sending may block when the back-end
//! does not read; every wait for a reply ends.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use rustix::event::{PollFd, PollFlags};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::error::GuestError;
use crate::message::{
    FLAG_NEED_REPLY, FLAG_REPLY, FLAG_VERSION, HEADER_BYTES, MAX_REPLY_BYTES, MessageId,
    decode_header, encode_header,
};

/// How long a back-end may take to answer.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// Most descriptors that the kernel passes with one message (SCM_MAX_FD).
const MAX_FDS: usize = 253;

/// Most descriptors we take with one reply.
const MAX_REPLY_FDS: usize = 8;

/// One message of the back-end.
#[derive(Debug)]
pub struct Reply {
    /// Number of the message it answers.
    pub id: u32,
    /// Its flags.
    pub flags: u32,
    /// Its payload.
    pub payload: Vec<u8>,
    /// The descriptors that came with it.
    pub fds: Vec<OwnedFd>,
}

impl Reply {
    /// The payload as the one number it is, or `None` when it is something else.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        self.payload.as_slice().try_into().ok().map(u64::from_ne_bytes)
    }
}

/// One connection to a back-end.
#[derive(Debug)]
pub struct Connection {
    socket: UnixStream,
    reply_timeout: Duration,
}

impl Connection {
    /// Takes over a connected socket.
    #[must_use]
    pub fn new(socket: UnixStream) -> Self {
        Self { socket, reply_timeout: REPLY_TIMEOUT }
    }

    /// The process at the other end, when it can be named here: another container may hide it.
    #[must_use]
    pub fn peer_process(&self) -> Option<u32> {
        let peer = getsockopt(&self.socket, PeerCredentials).ok()?;
        u32::try_from(peer.pid()).ok().filter(|process| *process != 0)
    }

    /// Connects to a back-end that listens on `path`.
    ///
    /// # Errors
    ///
    /// [`GuestError::Socket`] when nobody listens there.
    pub fn connect(path: &Path) -> Result<Self, GuestError> {
        Ok(Self::new(UnixStream::connect(path)?))
    }

    /// Changes how long a reply may take.
    pub fn set_reply_timeout(&mut self, timeout: Duration) {
        self.reply_timeout = timeout;
    }

    /// Sends `bytes` with `fds` on the first of them.
    ///
    /// # Errors
    ///
    /// [`GuestError::Closed`] when the back-end is gone, [`GuestError::Host`] otherwise; more than 253
    /// descriptors are refused by the kernel.
    pub fn send_raw(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), GuestError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(GuestError::Config("more descriptors than one message can carry"));
        }
        let mut sent = 0;
        while sent < bytes.len() {
            let rest = [IoSlice::new(bytes.get(sent..).unwrap_or_default())];
            sent += rustix::net::sendmsg(&self.socket, &rest, &mut control, SendFlags::NOSIGNAL)
                .map_err(closed_or("send a message"))?;
            control.clear();
        }
        Ok(())
    }

    /// Sends `bytes` in pieces of `piece_bytes`, with `pause` after each, and no descriptor.
    ///
    /// # Errors
    ///
    /// As [`Connection::send_raw`].
    pub fn send_pieces(
        &self,
        bytes: &[u8],
        piece_bytes: usize,
        pause: Duration,
    ) -> Result<(), GuestError> {
        for piece in bytes.chunks(piece_bytes.max(1)) {
            self.send_raw(piece, &[])?;
            std::thread::sleep(pause);
        }
        Ok(())
    }

    /// Sends one well-formed message.
    ///
    /// # Errors
    ///
    /// As [`Connection::send_raw`].
    pub fn send(
        &self,
        id: MessageId,
        payload: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), GuestError> {
        self.send_flagged(id, FLAG_VERSION, payload, fds)
    }

    /// Sends one well-formed message and asks for an answer.
    ///
    /// # Errors
    ///
    /// As [`Connection::send_raw`].
    pub fn send_for_ack(
        &self,
        id: MessageId,
        payload: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), GuestError> {
        self.send_flagged(id, FLAG_VERSION | FLAG_NEED_REPLY, payload, fds)
    }

    fn send_flagged(
        &self,
        id: MessageId,
        flags: u32,
        payload: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), GuestError> {
        let size = u32::try_from(payload.len())
            .map_err(|_| GuestError::Config("a payload longer than 4 GiB"))?;
        let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
        bytes.extend_from_slice(&encode_header(id as u32, flags, size));
        bytes.extend_from_slice(payload);
        self.send_raw(&bytes, fds)
    }

    /// The next message of the back-end, whatever it is.
    ///
    /// # Errors
    ///
    /// [`GuestError::Closed`] or [`GuestError::Timeout`] when there is none, [`GuestError::BadReply`] when it
    /// announces an absurd length.
    pub fn receive(&self, answering: MessageId) -> Result<Reply, GuestError> {
        let deadline = Instant::now() + self.reply_timeout;
        let mut fds = Vec::new();
        let mut header = [0; HEADER_BYTES];
        self.receive_exact(&mut header, &mut fds, deadline)?;
        let (id, flags, size) = decode_header(&header);
        if size > MAX_REPLY_BYTES {
            return Err(GuestError::BadReply { message: answering, what: "its length is absurd" });
        }
        let mut payload = vec![0; size as usize];
        self.receive_exact(&mut payload, &mut fds, deadline)?;
        Ok(Reply { id, flags, payload, fds })
    }

    /// The answer to `message`, checked for number and flags.
    ///
    /// # Errors
    ///
    /// As [`Connection::receive`], and [`GuestError::BadReply`] when it answers something else.
    pub fn receive_reply(&self, message: MessageId) -> Result<Reply, GuestError> {
        let reply = self.receive(message)?;
        let bad = |what| Err(GuestError::BadReply { message, what });
        if reply.id != message as u32 {
            return bad("it answers another message");
        }
        if reply.flags & FLAG_REPLY == 0 || reply.flags & 3 != FLAG_VERSION {
            return bad("its flags are not those of a reply");
        }
        Ok(reply)
    }

    /// Whether the back-end has closed its end. Bytes that were not read yet do not hide it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let mut polled = [PollFd::new(&self.socket, PollFlags::RDHUP)];
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        rustix::event::poll(&mut polled, Some(&now)).is_ok()
            && polled.iter().any(|socket| socket.revents().intersects(gone))
    }

    /// Waits until the back-end closes its end, and says whether it did in time.
    #[must_use]
    pub fn wait_closed(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        while !self.is_closed() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// Fills `into` from the socket, collecting descriptors on the way.
    fn receive_exact(
        &self,
        into: &mut [u8],
        fds: &mut Vec<OwnedFd>,
        deadline: Instant,
    ) -> Result<(), GuestError> {
        let mut filled = 0;
        while filled < into.len() {
            self.wait_readable(deadline)?;
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_REPLY_FDS))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut rest = [IoSliceMut::new(into.get_mut(filled..).unwrap_or_default())];
            let flags = RecvFlags::CMSG_CLOEXEC;
            let got = rustix::net::recvmsg(&self.socket, &mut rest, &mut control, flags)
                .map_err(closed_or("receive a reply"))?;
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(passed) = message {
                    fds.extend(passed);
                }
            }
            if got.bytes == 0 {
                return Err(GuestError::Closed);
            }
            filled += got.bytes;
        }
        Ok(())
    }

    fn wait_readable(&self, deadline: Instant) -> Result<(), GuestError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = rustix::time::Timespec::try_from(left)
            .map_err(|_| GuestError::Config("a timeout longer than time itself"))?;
        let mut polled = [PollFd::new(&self.socket, PollFlags::IN)];
        match rustix::event::poll(&mut polled, Some(&timeout)) {
            Ok(0) => Err(GuestError::Timeout { what: "a reply", waited: self.reply_timeout }),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(cause) => Err(GuestError::host("wait for a reply")(cause)),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// For `map_err` after a call on the socket: a peer that is gone has a word of its own.
fn closed_or(what: &'static str) -> impl Fn(rustix::io::Errno) -> GuestError {
    move |cause| match cause {
        rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET => GuestError::Closed,
        _ => GuestError::Host { what, cause },
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn pair() -> (Connection, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut connection = Connection::new(ours);
        connection.set_reply_timeout(Duration::from_millis(200));
        (connection, theirs)
    }

    #[test]
    fn the_process_at_the_other_end_is_named() {
        let (connection, _peer) = pair();
        assert_eq!(connection.peer_process(), Some(std::process::id()));
    }

    #[test]
    fn a_message_in_pieces_arrives_as_one_stream_of_bytes() {
        let (connection, mut peer) = pair();
        connection.send_pieces(b"abcdefg", 3, Duration::ZERO).unwrap();
        let mut bytes = [0; 7];
        peer.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"abcdefg");
    }

    #[test]
    fn a_reply_is_taken_when_it_answers_the_message() {
        let (connection, mut peer) = pair();
        peer.write_all(&encode_header(1, FLAG_VERSION | FLAG_REPLY, 8)).unwrap();
        peer.write_all(&77_u64.to_ne_bytes()).unwrap();
        assert_eq!(connection.receive_reply(MessageId::GetFeatures).unwrap().number(), Some(77));
    }

    #[test]
    fn a_reply_to_another_message_and_a_request_are_refused() {
        for (id, flags) in [(2, FLAG_VERSION | FLAG_REPLY), (1, FLAG_VERSION), (1, FLAG_REPLY)] {
            let (connection, mut peer) = pair();
            peer.write_all(&encode_header(id, flags, 0)).unwrap();
            let refused = connection.receive_reply(MessageId::GetFeatures);
            assert!(matches!(refused, Err(GuestError::BadReply { .. })), "{refused:?}");
        }
    }

    #[test]
    fn waiting_for_a_reply_ends() {
        let (connection, _peer) = pair();
        let waited = connection.receive_reply(MessageId::GetFeatures);
        assert!(matches!(waited, Err(GuestError::Timeout { .. })), "{waited:?}");
    }

    #[test]
    fn a_peer_that_is_gone_is_told_even_behind_unread_bytes() {
        let (connection, mut peer) = pair();
        assert!(!connection.is_closed());
        peer.write_all(b"unread").unwrap();
        drop(peer);
        assert!(connection.wait_closed(Duration::from_secs(1)));
        assert!(matches!(connection.send_raw(b"x", &[]), Err(GuestError::Closed)));
    }
}
