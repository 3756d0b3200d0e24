//! What a worker does with a TAP in a turn. Each test has a network namespace without a name, which is gone when the test
//! is. They need root.
#![cfg(test)]

use std::io;
use std::net::UdpSocket;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use helio_frame::{
    Armed, Burst, Delivery, Intake, MemoryId, Origin, Pool, Port, RestBytes, Wakeups,
};
use helio_host::PortEvent;
use helio_mem::{MemoryTable, Segment};
use helio_offload::NetHeader;
use helio_tap::{MOST_READS, MOST_WRITES, StateWord, TapHandle, TapParts, TapPort};
use helio_testkit::{CountingAllocator, allocations_in};
use helio_types::{DropReason, PortId, WorkerId};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::thread::{UnshareFlags, unshare_unsafe};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// The worker of a test never sleeps.
struct Sleepless;

impl Wakeups for Sleepless {
    fn wake(&self) {}
    fn watch(&self, _: BorrowedFd<'_>) -> io::Result<()> {
        Ok(())
    }
    fn unwatch(&self, _: BorrowedFd<'_>) {}
}

/// A worker with one TAP.
struct Rig {
    port: TapPort,
    handle: TapHandle,
    burst: Burst,
    pool: Pool,
    refused: [u32; DropReason::COUNT],
    /// How often it was told that the interface carries nothing any more.
    downs: Arc<AtomicUsize>,
}

impl Rig {
    /// A TAP that was started, and has been opened or refused.
    fn started(interface: &str) -> Self {
        let downs = Arc::new(AtomicUsize::new(0));
        let told = Arc::clone(&downs);
        let parts = TapParts {
            id: PortId::new(3).unwrap(),
            name: "host".to_owned(),
            interface: interface.to_owned(),
            mtu: 9000,
            wakeups: Arc::new(Sleepless),
            events: Box::new(move |event| {
                told.fetch_add(usize::from(*event == PortEvent::LinkDown), Ordering::Relaxed);
            }),
        };
        let (port, mut handle) = TapPort::create(parts).unwrap();
        handle.start().unwrap();
        let pool = Pool::new(512, MemoryId::of_worker(WorkerId::new(0).unwrap())).unwrap();
        let refused = [0; DropReason::COUNT];
        let mut rig = Self { port, handle, burst: Burst::new(), pool, refused, downs };
        let until = Instant::now() + Duration::from_secs(10);
        while rig.handle.state().detail.starts_with("opening") {
            assert!(Instant::now() < until, "{:?}", rig.handle.state());
            rig.turn();
        }
        rig
    }

    /// Takes a turn. How many frames came.
    fn turn(&mut self) -> usize {
        let Self { port, burst, pool, refused, .. } = self;
        burst.clear();
        port.take(&mut Intake { burst, pool, refused });
        for frame in burst.frames() {
            if let Origin::Chunk(chunk) = frame.origin {
                pool.release(chunk);
            }
        }
        port.publish();
        burst.frames().len()
    }

    /// Takes turns until no frame has come in so many that each TAP was read.
    fn quiet(&mut self) {
        let mut empty = 0;
        while empty < 100 {
            empty = if self.turn() > 0 { 0 } else { empty + 1 };
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let Self { port, handle, burst, pool, refused, .. } = self;
        std::thread::scope(|scope| {
            let stopping = scope.spawn(|| handle.stop());
            while !stopping.is_finished() {
                port.take(&mut Intake { burst, pool, refused });
            }
        });
    }
}

fn enter_namespace() {
    // SAFETY: this thread, and those that it starts from now on, get another network namespace, nothing else.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
}

/// Gives the TAP an address and a neighbour that does not answer: what the host sends it sends at once. From here it goes.
fn host() -> UdpSocket {
    for arguments in [
        "address add 10.9.0.1/24 dev helio0",
        "neigh add 10.9.0.2 lladdr 52:54:00:00:00:02 dev helio0 nud permanent",
    ] {
        let done = std::process::Command::new("ip").args(arguments.split(' ')).status();
        assert!(done.unwrap().success(), "ip {arguments}");
    }
    UdpSocket::bind("10.9.0.1:0").unwrap()
}

/// How often this thread has called read(2).
fn reads() -> u64 {
    let counts = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    let line = counts.lines().find_map(|line| line.strip_prefix("syscr: ")).unwrap();
    line.parse().unwrap()
}

#[test]
fn a_quiet_tap_costs_few_reads_and_its_next_frame_is_not_left_lying() {
    enter_namespace();
    // What the host says by itself when an interface comes up would not be quiet.
    std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").ok();
    let mut rig = Rig::started("helio0");
    let host = host();
    rig.quiet();
    let itself = reads();
    let before = reads();
    let own = before - itself;
    (0..1600).for_each(|_| assert_eq!(rig.turn(), 0));
    let cost = reads() - before - own;
    assert!(cost <= 1600 / 16, "{cost} reads");
    // A worker that is about to sleep sees what came since, whenever that was.
    for pauses in 0..40 {
        (0..pauses).for_each(|_| assert_eq!(rig.turn(), 0));
        assert_eq!(rig.port.arm(), Armed::Idle);
        rig.port.disarm();
        rig.quiet();
        (0..pauses).for_each(|_| assert_eq!(rig.turn(), 0));
        host.send_to(&[7; 100], "10.9.0.2:53").unwrap();
        assert_eq!(rig.port.arm(), Armed::WorkPending);
        rig.port.disarm();
        assert_eq!(rig.turn(), 1);
        // One that does not sleep finds it some looks later.
        rig.quiet();
        host.send_to(&[7; 100], "10.9.0.2:53").unwrap();
        let looks = (1..).find(|_| rig.turn() == 1).unwrap();
        assert!(looks <= 17, "{looks}");
    }
}

#[test]
fn turns_allocate_nothing_and_end_with_their_most_reads_and_writes() {
    enter_namespace();
    let mut rig = Rig::started("helio0");
    assert_eq!(rig.handle.state().word, StateWord::Up, "{:?}", rig.handle.state());
    let host = host();
    rig.quiet();
    for _ in 0..2 * MOST_READS {
        host.send_to(&[7; 2000], "10.9.0.2:53").unwrap();
    }
    let memory = MemoryTable::anonymous(9000).unwrap();
    let rest = [Segment { offset: 0, bytes: 5000, region: 0 }];
    let rest = RestBytes::new(Some(&memory), &rest);
    let delivery = Delivery::whole(NetHeader::PLAIN, &[2; 128], &[], rest);
    let (mut taken, mut last, mut armed) = (0, Ok(()), Armed::Idle);
    // As after a sleep: the next look reads.
    rig.port.disarm();
    let allocations = allocations_in(|| {
        taken = rig.turn();
        armed = rig.port.arm();
        for _ in 0..MOST_WRITES {
            rig.port.offer(&delivery).unwrap();
        }
        last = rig.port.offer(&delivery);
        rig.port.publish();
    });
    assert_eq!((allocations, taken, armed), (0, MOST_READS, Armed::WorkPending));
    assert_eq!((last, rig.port.offer(&delivery)), (Err(DropReason::HostBusy), Ok(())));
    rig.quiet();
    assert_eq!((rig.port.arm(), rig.pool.in_use(), rig.refused.iter().sum()), (Armed::Idle, 0, 0));
}

#[test]
fn a_tap_that_somebody_else_has_is_told_and_one_that_was_stopped_is_gone() {
    enter_namespace();
    let first = Rig::started("helio0");
    let second = Rig::started("helio0");
    let state = second.handle.state();
    assert_eq!(state.word, StateWord::Waiting);
    assert!(state.detail.contains("helio0 is in use by another process"), "{}", state.detail);
    drop((second, first));
    let asking = socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
    // A process that is just being started by another test has our descriptors for a moment.
    let until = Instant::now() + Duration::from_secs(10);
    while name_to_index(&asking, "helio0").is_ok() {
        assert!(Instant::now() < until, "helio0 is still there");
        std::thread::yield_now();
    }
}

/// Sets the TAP up or down, as the host does.
fn set_link(up_or_down: &str) {
    let done =
        std::process::Command::new("ip").args(["link", "set", "helio0", up_or_down]).status();
    assert!(done.unwrap().success());
}

#[test]
fn a_tap_that_is_set_down_is_told_when_what_waits_in_it_was_taken_and_not_before() {
    enter_namespace();
    std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").ok();
    let mut rig = Rig::started("helio0");
    let host = host();
    rig.quiet();
    for _ in 0..2 * MOST_READS + 1 {
        host.send_to(&[7; 100], "10.9.0.2:53").unwrap();
    }
    set_link("down");
    let until = Instant::now() + Duration::from_secs(30);
    while rig.handle.state().word == StateWord::Up {
        assert!(Instant::now() < until, "{:?}", rig.handle.state());
        std::thread::yield_now();
    }
    let mut taken = 0;
    while taken < 2 * MOST_READS + 1 {
        assert!(Instant::now() < until, "{taken} were taken");
        assert_eq!(rig.downs.load(Ordering::Relaxed), 0, "told after {taken}");
        taken += rig.turn();
    }
    while rig.downs.load(Ordering::Relaxed) == 0 {
        assert!(Instant::now() < until, "it was not told");
        assert_eq!(rig.turn(), 0);
    }
}
