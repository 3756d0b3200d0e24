//! Messages as they go over a socket: whole, with their descriptors. vhost-user, "Message Specification".

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

/// Id, flags and size of the payload.
pub(super) const HEADER_BYTES: usize = 12;

/// Longest payload of any message.
const MAX_PAYLOAD_BYTES: usize = 4096;

/// Most descriptors that come with one message: one for each region of a memory table.
const MAX_FDS: usize = 32;

const VERSION_MASK: u32 = 3;
const VERSION: u32 = 1;
pub(super) const FLAG_REPLY: u32 = 1 << 2;
pub(super) const FLAG_NEED_REPLY: u32 = 1 << 3;

/// One message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) id: u32,
    pub(super) flags: u32,
    pub(super) payload: Vec<u8>,
    pub(super) fds: Vec<OwnedFd>,
}

impl Message {
    /// The answer that says that message `id` was done.
    pub(super) fn done(id: u32) -> Self {
        Self::number_reply(id, 0)
    }

    /// The answer to message `id` that is one number.
    pub(super) fn number_reply(id: u32, number: u64) -> Self {
        let payload = number.to_ne_bytes().to_vec();
        Self { id, flags: VERSION | FLAG_REPLY, payload, fds: Vec::new() }
    }

    /// Whether the front-end asks for an answer that the message does not have of its own.
    pub(super) fn needs_reply(&self) -> bool {
        self.flags & FLAG_NEED_REPLY != 0
    }

    /// The 32-bit number at `index` of the payload.
    pub(super) fn word(&self, index: usize) -> Option<u32> {
        self.payload.as_chunks().0.get(index).map(|bytes| u32::from_ne_bytes(*bytes))
    }

    /// The payload as the one number it is.
    pub(super) fn number(&self) -> Option<u64> {
        self.payload.as_slice().try_into().ok().map(u64::from_ne_bytes)
    }
}

/// How far reading got.
#[derive(Debug)]
pub(super) enum Progress {
    /// A message is complete.
    Whole(Message),
    /// More is to come.
    Partial,
    /// The other side went between two messages.
    Ended,
    /// The other side went in the middle of one.
    EndedInside,
    /// It is not a message.
    Malformed(String),
}

/// Collects the bytes of one message at a time, never a byte of the next one.
#[derive(Debug)]
pub(super) struct Reader {
    bytes: Vec<u8>,
    wanted: usize,
    fds: Vec<OwnedFd>,
}

impl Reader {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), wanted: HEADER_BYTES, fds: Vec::new() }
    }

    /// Reads what is there, without waiting.
    pub(super) fn read(&mut self, socket: BorrowedFd<'_>) -> Progress {
        loop {
            if self.bytes.len() == self.wanted {
                match self.advance() {
                    Ok(Some(message)) => return Progress::Whole(message),
                    Ok(None) => continue,
                    Err(why) => return Progress::Malformed(why),
                }
            }
            match self.receive(socket) {
                Ok(0) if self.bytes.is_empty() => return Progress::Ended,
                Ok(0) => return Progress::EndedInside,
                Ok(_) if self.fds.len() > MAX_FDS => {
                    return Progress::Malformed("a message with more than 32 descriptors".into());
                }
                Ok(_) => {}
                Err(Errno::AGAIN | Errno::INTR) => return Progress::Partial,
                Err(Errno::MSGSIZE) => {
                    return Progress::Malformed("a message with more than 32 descriptors".into());
                }
                Err(_) => return Progress::Ended,
            }
        }
    }

    /// All wanted bytes are there: those of the header, or those of the whole message.
    fn advance(&mut self) -> Result<Option<Message>, String> {
        let Some((header, payload)) = self.bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *header;
        let id = u32::from_ne_bytes([a, b, c, d]);
        let flags = u32::from_ne_bytes([e, f, g, h]);
        let size = usize::try_from(u32::from_ne_bytes([i, j, k, l])).unwrap_or(usize::MAX);
        if flags & VERSION_MASK != VERSION {
            return Err(format!("message {id} of an unknown version"));
        }
        if size > MAX_PAYLOAD_BYTES {
            return Err(format!("message {id} with {size} bytes"));
        }
        if payload.len() < size {
            self.wanted = HEADER_BYTES + size;
            return Ok(None);
        }
        let message =
            Message { id, flags, payload: payload.to_vec(), fds: std::mem::take(&mut self.fds) };
        self.bytes.clear();
        self.wanted = HEADER_BYTES;
        Ok(Some(message))
    }

    fn receive(&mut self, socket: BorrowedFd<'_>) -> Result<usize, Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut buffer = [0; MAX_PAYLOAD_BYTES];
        let room = buffer.get_mut(..self.wanted - self.bytes.len()).ok_or(Errno::INVAL)?;
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let got = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(room)], &mut control, flags)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds);
            }
        }
        // Descriptors that found no room were closed by the kernel.
        if got.flags.contains(ReturnFlags::CTRUNC) {
            return Err(Errno::MSGSIZE);
        }
        self.bytes.extend_from_slice(buffer.get(..got.bytes).unwrap_or_default());
        Ok(got.bytes)
    }
}

/// Sends bytes, with descriptors on the first of them, without waiting. Returns how many went.
pub(super) fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[OwnedFd]) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(Errno::INVAL);
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    fn header(id: u32, flags: u32, size: u32) -> Vec<u8> {
        [id, flags, size].iter().flat_map(|number| number.to_ne_bytes()).collect()
    }

    #[test]
    fn c046_a_message_may_come_byte_by_byte_and_the_next_one_right_behind() {
        let (mut theirs, ours) = UnixStream::pair().unwrap();
        let mut reader = Reader::new();
        let mut bytes = header(2, 1, 8);
        bytes.extend(7_u64.to_ne_bytes());
        for byte in &bytes {
            assert!(matches!(reader.read(ours.as_fd()), Progress::Partial));
            theirs.write_all(&[*byte]).unwrap();
        }
        theirs.write_all(&header(3, 9, 0)).unwrap();
        let Progress::Whole(first) = reader.read(ours.as_fd()) else { panic!("no message") };
        assert_eq!((first.id, first.number()), (2, Some(7)));
        let Progress::Whole(second) = reader.read(ours.as_fd()) else { panic!("no message") };
        assert_eq!((second.id, second.needs_reply(), second.payload.len()), (3, true, 0));
    }

    #[test]
    fn c046_an_end_between_messages_is_not_an_end_inside_one() {
        for (bytes, inside) in [(0, false), (1, true), (12, true), (19, true)] {
            let (mut theirs, ours) = UnixStream::pair().unwrap();
            let mut message = header(2, 1, 8);
            message.extend([0; 8]);
            theirs.write_all(&message[..bytes]).unwrap();
            drop(theirs);
            let progress = Reader::new().read(ours.as_fd());
            assert_eq!(matches!(progress, Progress::EndedInside), inside, "{bytes}: {progress:?}");
            assert_eq!(matches!(progress, Progress::Ended), !inside, "{bytes}: {progress:?}");
        }
    }

    #[test]
    fn c041_a_version_or_a_size_out_of_range_is_no_message() {
        for (flags, size) in [(0, 0), (2, 0), (3, 0), (1, 4097), (1, 1 << 31)] {
            let (mut theirs, ours) = UnixStream::pair().unwrap();
            theirs.write_all(&header(1, flags, size)).unwrap();
            let progress = Reader::new().read(ours.as_fd());
            assert!(matches!(progress, Progress::Malformed(_)), "{flags} {size}: {progress:?}");
        }
    }

    #[test]
    fn c043_32_descriptors_arrive_and_33_are_refused() {
        let open = |count| -> Vec<OwnedFd> {
            (0..count).map(|_| crate::event_fd::make().unwrap()).collect()
        };
        let (theirs, ours) = UnixStream::pair().unwrap();
        assert_eq!(send(theirs.as_fd(), &header(5, 1, 0), &open(32)), Ok(12));
        let Progress::Whole(message) = Reader::new().read(ours.as_fd()) else { panic!("refused") };
        assert_eq!(message.fds.len(), 32);
        let mut reader = Reader::new();
        send(theirs.as_fd(), &[5, 0, 0, 0], &open(32)).unwrap();
        send(theirs.as_fd(), &[1, 0, 0, 0], &open(1)).unwrap();
        let progress = reader.read(ours.as_fd());
        assert!(matches!(progress, Progress::Malformed(_)), "{progress:?}");
    }
}
