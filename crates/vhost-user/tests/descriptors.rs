//! Nothing is left behind: descriptors, threads and mappings after many sessions. One test, as the counts are those of the
//! whole process.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::os::fd::AsFd;

use helio_guest::{Connection, MessageId, encode_header};
use support::lab::{Lab, config, ping};
use support::{lie, wait_until};

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

fn mapped_files() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("memfd:")).count()
}

#[test]
fn c071_sessions_leave_nothing_behind() {
    let lab = Lab::new(2);
    let mut other = lab.guest(1);
    let mapped = mapped_files();
    {
        let mut one = lab.guest(0);
        ping(&mut one, &mut other);
    }
    lab.ports[0].wait_ends(1);
    let counts = || (open_descriptors(), threads(), mapped_files());
    let settled = counts();
    assert_eq!(settled.2, mapped);
    for round in 0..100 {
        let mut one = lab.guest(0);
        if round % 10 == 0 {
            ping(&mut one, &mut other);
        }
        drop(one);
    }
    lab.ports[0].wait_ends(101);
    wait_until("descriptors, threads and mappings are back", || counts() == settled);
    flood_of_descriptors(&lab);
    wait_until("descriptors, threads and mappings are back", || counts() == settled);
    assert!(!lab.ports[0].was_worker_silent());
    let mut one = lab.guest(0);
    ping(&mut one, &mut other);
}

/// C-044: messages with all the descriptors that the kernel passes, taken, refused or cut.
fn flood_of_descriptors(lab: &Lab) {
    let file = tempfile::tempfile().unwrap();
    let before = lab.ports[0].events.lock().unwrap().len();
    for id in [1, 5, 12, 18, 37, 99] {
        for count in [1, 32, 33, 250] {
            let connection = Connection::connect(&lab.ports[0].socket).unwrap();
            let fds = lie::copies(&file, count);
            let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            let _ = connection.send_raw(&encode_header(id, 1, 8), &fds);
            let _ = connection.send_raw(&[0; 8], &fds);
        }
    }
    let guest = helio_guest::Guest::connect(&lab.ports[0].socket, config(0)).unwrap();
    for _ in 0..300 {
        let event = helio_guest::EventFd::new().unwrap();
        for id in [MessageId::SetVringCall, MessageId::SetVringKick, MessageId::SetVringErr] {
            guest.session().set_event(id, 1, Some(&event)).unwrap();
        }
    }
    drop(guest);
    wait_until("all sessions ended", || {
        lab.ports[0].events.lock().unwrap().len() >= before + 2 * 25
    });
}
