//! Blocking forms, for tests: wait until frames arrive, until all sent frames are taken, until nothing comes.
//!
//! They sleep on the calls of the back-end, not on the clock: a back-end that forgets to call fails the test.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use crate::error::GuestError;
use crate::guest::Guest;
use crate::net_header::NetHeader;
use crate::split_ring::Calls;
use crate::transmit_queue::SendError;

/// How long to sleep between looks at a transmitq, whose completions are not called for.
const TRANSMIT_PAUSE: Duration = Duration::from_micros(50);

/// One frame that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Queue pair on which it arrived.
    pub pair: usize,
    /// Its net header.
    pub header: NetHeader,
    /// The frame.
    pub frame: Vec<u8>,
}

impl Guest {
    /// Waits for `count` frames. More may come with the last of them.
    ///
    /// # Errors
    ///
    /// [`GuestError::Timeout`] when they did not arrive in time; those that did are lost.
    pub fn wait_received(
        &mut self,
        count: usize,
        timeout: Duration,
    ) -> Result<Vec<Received>, GuestError> {
        let frames = self.receive_until(count, timeout)?;
        if frames.len() < count {
            return Err(GuestError::Timeout { what: "frames to arrive", waited: timeout });
        }
        Ok(frames)
    }

    /// All frames that arrive in `duration`.
    ///
    /// # Errors
    ///
    /// [`GuestError::Host`] when the host cannot wait.
    pub fn receive_for(&mut self, duration: Duration) -> Result<Vec<Received>, GuestError> {
        self.receive_until(usize::MAX, duration)
    }

    /// Sends a frame on the first transmitq and shows it to the back-end; waits for room if there is none.
    ///
    /// # Errors
    ///
    /// [`GuestError::Timeout`] when there was no room in time, [`GuestError::Config`] for a frame that is
    /// longer than a transmit buffer.
    pub fn send_blocking(&mut self, frame: &[u8], timeout: Duration) -> Result<(), GuestError> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.send(frame) {
                Ok(()) => break,
                Err(SendError::TooLong) => {
                    return Err(GuestError::Config("a frame longer than a transmit buffer"));
                }
                Err(SendError::RingFull) if Instant::now() >= deadline => {
                    return Err(GuestError::Timeout { what: "room to send", waited: timeout });
                }
                Err(SendError::RingFull) => std::thread::sleep(TRANSMIT_PAUSE),
            }
        }
        self.kick();
        Ok(())
    }

    /// Waits until the back-end has completed all that was sent.
    ///
    /// # Errors
    ///
    /// [`GuestError::Timeout`] when it did not in time.
    pub fn wait_all_sent(&mut self, timeout: Duration) -> Result<(), GuestError> {
        let deadline = Instant::now() + timeout;
        loop {
            self.reclaim();
            if self.driver.unfinished() == 0 {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let what = "sent frames to be completed";
                return Err(GuestError::Timeout { what, waited: timeout });
            }
            std::thread::sleep(TRANSMIT_PAUSE);
        }
    }

    fn receive_until(
        &mut self,
        count: usize,
        timeout: Duration,
    ) -> Result<Vec<Received>, GuestError> {
        let deadline = Instant::now() + timeout;
        let mut frames = Vec::new();
        loop {
            self.poll_once(|pair, header, frame| {
                frames.push(Received { pair, header: *header, frame: frame.to_vec() });
            });
            if frames.len() >= count || !self.sleep_until_called(deadline)? {
                return Ok(frames);
            }
        }
    }

    /// Sleeps until a frame is there. Whether there is one before the deadline, and was called for.
    fn sleep_until_called(&mut self, deadline: Instant) -> Result<bool, GuestError> {
        self.driver.set_calls(Calls::Wanted);
        let mut there = self.driver.has_received();
        while !there {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.poll_calls(left)? {
                break;
            }
            there = self.driver.has_received();
        }
        self.driver.set_calls(Calls::Suppressed);
        Ok(there)
    }

    /// Sleeps until a receiveq is called, or until `left` is over; whether it may have been called. Takes the
    /// calls back.
    fn poll_calls(&self, left: Duration) -> Result<bool, GuestError> {
        let timeout = rustix::time::Timespec::try_from(left)
            .map_err(|_| GuestError::Config("a timeout longer than time itself"))?;
        let receive_calls = || self.driver.rings().step_by(2).map(|(_area, events)| &events.call);
        let mut polled: Vec<PollFd<'_>> = receive_calls()
            .map(|call| PollFd::from_borrowed_fd(call.as_fd(), PollFlags::IN))
            .collect();
        let called = match rustix::event::poll(&mut polled, Some(&timeout)) {
            Ok(ready) => ready > 0,
            Err(rustix::io::Errno::INTR) => true,
            Err(cause) => return Err(GuestError::host("wait for a call")(cause)),
        };
        for call in receive_calls() {
            // How often it was called says nothing; the ring does.
            let _calls = call.take();
        }
        Ok(called)
    }
}
