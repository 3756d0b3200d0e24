//! The control half of a VM port: starts and stops it, and says how it is.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use helio_frame::PortFault;

use crate::parts::{MAX_QUEUE_PAIRS, PortError, PortEvent, PortParts, PortShared, SocketRole};
use crate::port_thread::{self, Stop, Way};
use crate::socket::{self, ServerSocket};
use crate::state::{self, PortState};
use crate::status::{Link, SharedMemory};

/// How long the end of the control thread is waited for. It is longer than a session waits for the worker.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// What control holds of a port. Dropping it stops the port; a thread that was waited for in vain is not waited for again.
#[derive(Debug)]
pub struct VhostPortHandle {
    shared: Arc<PortShared>,
    stop: Arc<Stop>,
    control: Control,
}

#[derive(Debug)]
enum Control {
    /// Made, not started. Left by [`VhostPortHandle::start`].
    Prepared(Way),
    /// The control thread runs. Left by [`VhostPortHandle::stop`].
    Running { thread: JoinHandle<()>, ended: Receiver<()> },
    /// It was asked to end, and waited for in vain. Left by [`VhostPortHandle::stop`], once it has ended.
    Late { thread: JoinHandle<()>, ended: Receiver<()> },
    /// It has ended, and the socket is gone.
    Stopped,
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Server(_) => "Server",
            Self::Client => "Client",
        })
    }
}

impl VhostPortHandle {
    pub(crate) fn create(parts: PortParts) -> Result<(Arc<PortShared>, Self), PortError> {
        socket::check_path(&parts.socket)?;
        if !(1..=MAX_QUEUE_PAIRS).contains(&parts.queue_pairs) {
            return Err(PortError::QueuePairs(parts.queue_pairs));
        }
        let way = match parts.role {
            SocketRole::Server => Way::Server(ServerSocket::open(&parts.socket, parts.access)?),
            SocketRole::Client => Way::Client,
        };
        let stop = Arc::new(Stop::new().map_err(PortError::Thread)?);
        let shared = Arc::new(PortShared::new(parts).map_err(PortError::Thread)?);
        let handle = Self { shared: Arc::clone(&shared), stop, control: Control::Prepared(way) };
        Ok((shared, handle))
    }

    /// Lets front-ends in. The worker must have the port by now; a second call does nothing.
    ///
    /// # Errors
    ///
    /// When the host has no thread for us.
    pub fn start(&mut self) -> Result<(), PortError> {
        let way = match std::mem::replace(&mut self.control, Control::Stopped) {
            Control::Prepared(way) => way,
            other => {
                self.control = other;
                return Ok(());
            }
        };
        let (shared, stop) = (Arc::clone(&self.shared), Arc::clone(&self.stop));
        let (end, ended) = channel::<()>();
        // Said before the thread is there, so that whoever asks next hears it.
        self.shared.status.facts().link = way.link();
        let thread = thread::Builder::new()
            .name(format!("port {}", self.shared.name))
            .spawn(move || {
                // Dropped last, also when the thread unwinds: that is the sign of its end.
                let _end = end;
                port_thread::run(&shared, &stop, &way);
            })
            .map_err(|error| {
                self.shared.status.facts().link = Link::Down;
                PortError::Thread(error)
            })?;
        self.control = Control::Running { thread, ended };
        Ok(())
    }

    /// What the port does.
    #[must_use]
    pub fn state(&self) -> PortState {
        let shared = &self.shared;
        state::describe(&shared.status, &shared.socket, shared.queue_pairs, Instant::now())
    }

    /// The features that the front-end acknowledged; 0 while there are none.
    #[must_use]
    pub fn features(&self) -> u64 {
        self.shared.status.features()
    }

    /// Queue pairs that carry frames in both directions.
    #[must_use]
    pub fn active_pairs(&self) -> u16 {
        self.shared.status.active_pairs()
    }

    /// The rule that was broken, if the port stopped because of that.
    #[must_use]
    pub fn fault(&self) -> Option<PortFault> {
        self.shared.status.fault()
    }

    /// The memory that the front-end shares.
    #[must_use]
    pub fn memory(&self) -> Option<SharedMemory> {
        self.shared.status.facts().memory
    }

    /// How often something the front-end asked for was not done, or not as asked.
    #[must_use]
    pub fn notes(&self) -> u64 {
        self.shared.status.facts().notes
    }

    /// Ends the session and the control thread, and removes the socket. All rings are stopped by the worker, which must
    /// still have the port or have dropped it. Afterwards the worker may drop the port.
    ///
    /// A thread that does not end in time is told as an event. It ends with what holds it up, and this can be called once more,
    /// to wait again.
    pub fn stop(&mut self) {
        self.stop_within(STOP_PATIENCE);
    }

    fn stop_within(&mut self, patience: Duration) {
        self.stop.request();
        match std::mem::replace(&mut self.control, Control::Stopped) {
            Control::Prepared(_) | Control::Stopped => {}
            Control::Running { thread, ended } | Control::Late { thread, ended } => {
                // Nothing is ever sent: the wait ends with the sender.
                if ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                    self.shared.tell(&PortEvent::WorkerSilent);
                    self.control = Control::Late { thread, ended };
                } else {
                    // A thread that failed has said so on standard error.
                    let _ = thread.join();
                }
            }
        }
    }
}

impl Drop for VhostPortHandle {
    fn drop(&mut self) {
        if !matches!(self.control, Control::Late { .. }) {
            self.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::silence;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::Sender;

    /// A handle whose control thread ends when the second of these is dropped; the third counts how often it was told that it
    /// does not end.
    fn held(dir: &tempfile::TempDir) -> (VhostPortHandle, Sender<()>, Arc<AtomicUsize>) {
        let silences = Arc::new(AtomicUsize::new(0));
        let told = Arc::clone(&silences);
        let parts = silence::parts(dir.path(), SocketRole::Client, 1, move |event| {
            assert_eq!(*event, PortEvent::WorkerSilent);
            told.fetch_add(1, Ordering::Relaxed);
        });
        let (_shared, mut handle) = VhostPortHandle::create(parts).unwrap();
        let ((let_go, waits), (end, ended)) = (channel::<()>(), channel());
        let thread = thread::spawn(move || {
            let _end = end;
            waits.iter().for_each(drop);
        });
        handle.control = Control::Running { thread, ended };
        (handle, let_go, silences)
    }

    #[test]
    fn a_thread_that_does_not_end_in_time_is_told_each_time_and_joined_when_it_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let (mut handle, let_go, silences) = held(&dir);
        for times in 1..=2 {
            handle.stop_within(Duration::from_millis(1));
            assert_eq!(silences.load(Ordering::Relaxed), times);
        }
        drop(let_go);
        handle.stop();
        assert!(matches!(handle.control, Control::Stopped));
        assert_eq!(silences.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_thread_that_was_waited_for_in_vain_is_not_waited_for_again_when_its_handle_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let (mut handle, _let_go, silences) = held(&dir);
        handle.stop_within(Duration::from_millis(1));
        drop(handle);
        assert_eq!(silences.load(Ordering::Relaxed), 1);
    }
}
