//! Front-ends that do not read their answers. A program of its own, with one test at a time, as it looks at what its
//! threads cost.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use helio_guest::{Connection, MessageId, encode_header, features};
use helio_vhost_user::StateWord;
use support::lab::Lab;

const NEED_REPLY: u32 = 1 << 3;

/// Bytes of an answer that is one number.
const ANSWER_BYTES: usize = 20;

/// Processor time of the control threads of ports, in ticks of 10 ms.
fn control_ticks() -> u64 {
    let ticks = |task: std::io::Result<std::fs::DirEntry>| {
        let stat = std::fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
        let (name, rest) = stat.rsplit_once(") ")?;
        // utime and stime are fields 14 and 15, and the name was the second one. proc_pid_stat(5).
        let fields: Vec<_> = rest.split(' ').collect();
        let time = fields[11].parse::<u64>().ok()? + fields[12].parse::<u64>().ok()?;
        name.contains("(port test").then_some(time)
    };
    std::fs::read_dir("/proc/self/task").unwrap().filter_map(ticks).sum()
}

/// Answers that the kernel keeps for a front-end that does not read.
fn answers_without_a_reader() -> usize {
    let (mut near, _far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let mut count = 0;
    loop {
        match near.write(&[0; ANSWER_BYTES]) {
            Ok(ANSWER_BYTES) => count += 1,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return count,
            other => panic!("{other:?}"),
        }
    }
}

/// A front-end that agreed on answers, and then asked for `count` of them that it does not read.
fn mute(lab: &Lab, count: usize) -> Connection {
    let connection = Connection::connect(&lab.ports[0].socket).unwrap();
    let usual = features::protocol::USUAL.to_ne_bytes();
    connection.send(MessageId::SetProtocolFeatures, &usual, &[]).unwrap();
    for _ in 0..count {
        connection.send(MessageId::GetFeatures, &[], &[]).unwrap();
    }
    connection
}

#[test]
fn unread_answers_cost_no_processor_time_whoever_goes_first() {
    let room = answers_without_a_reader();
    assert!(room > 100);
    let lab = Lab::new(1);
    // Few enough, so many that the last one just finds room or just does not, and more.
    for count in [room - 20, room - 1, room, room + 1, room + 20] {
        let connection = mute(&lab, count);
        std::thread::sleep(Duration::from_millis(100));
        let before = control_ticks();
        std::thread::sleep(Duration::from_millis(500));
        let spent = control_ticks() - before;
        assert!(spent < 10, "{spent} ticks of 50 with {count} answers");
        // Features that were not offered, and the wish to hear about it.
        let header = encode_header(2, 1 | NEED_REPLY, 8);
        connection.send_raw(&[&header[..], &[0xff; 8]].concat(), &[]).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        let before = control_ticks();
        std::thread::sleep(Duration::from_millis(500));
        let spent = control_ticks() - before;
        assert!(spent < 10, "{spent} ticks of 50 after a refusal behind {count} answers");
        if count <= room {
            assert_eq!(lab.ports[0].handle.state().word, StateWord::Waiting);
            lab.ports[0].wait_ends(1);
            lab.ports[0].events.lock().unwrap().clear();
        } else {
            // It was not read behind answers that wait: the session ends with its front-end.
            assert!(lab.ports[0].handle.state().detail.starts_with("connected"));
            drop(connection);
            lab.ports[0].wait_ends(1);
            lab.ports[0].events.lock().unwrap().clear();
        }
    }
}
