//! Front-ends that send garbage, each while a pair on other ports exchanges frames and loses none of them. Afterwards a
//! guest can use the port, and no descriptor is left open.

mod support;

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use helio_api::PortState;
use helio_guest::{MessageId, RingAddresses, RingState, encode_header, features};

use rustix::event::{EventfdFlags, eventfd};
use rustix::net::{AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType};

use support::front_end::{Garbage, header_and, is_refused};
use support::process::open_files;
use support::random::Random;
use support::{PATIENCE, wait_until};

/// Version 1, no reply, no wish for one.
const PLAIN: u32 = 1;
const REPLY: u32 = 1 << 2;
const NEED_REPLY: u32 = 1 << 3;

#[test]
fn c041_messages_of_all_numbers_and_wrong_sizes_harm_nobody() {
    let garbage = Garbage::new();
    for id in (0..=50).chain([u32::MAX]) {
        for said in [0, 1, 7, 8, 9, 12, 40, 41, 4096, 4097, 1 << 31] {
            garbage.send(&header_and(id, PLAIN, said, 48), &[]);
        }
    }
    garbage.end();
}

#[test]
fn c041_messages_of_all_numbers_and_wrong_sizes_harm_nobody_in_a_running_session() {
    let garbage = Garbage::new();
    for id in (0..=50).chain([u32::MAX]) {
        for said in [0, 7, 8, 9, 40] {
            let guest = garbage.port().guest();
            let message = header_and(id, PLAIN | NEED_REPLY, said, usize::try_from(said).unwrap());
            guest.session().connection().send_raw(&message, &[]).unwrap();
        }
    }
    garbage.end();
}

#[test]
fn c042_wrong_versions_and_replies_are_refused() {
    let garbage = Garbage::new();
    for flags in [0, 2, 3, 2 | NEED_REPLY, PLAIN | REPLY, PLAIN | REPLY | NEED_REPLY] {
        let connection = garbage.port().connect();
        connection.send_raw(&encode_header(1, flags, 0), &[]).unwrap();
        assert!(connection.wait_closed(PATIENCE), "flags {flags:#x} were taken");
    }
    garbage.end();
}

#[test]
fn c048_nobody_is_answered_who_did_not_agree_on_answers() {
    let garbage = Garbage::new();
    let mut connection = garbage.port().connect();
    connection.set_reply_timeout(PATIENCE);
    connection.send_for_ack(MessageId::SetOwner, &[], &[]).unwrap();
    connection.send(MessageId::GetFeatures, &[], &[]).unwrap();
    // The first answer is to the question.
    assert!(connection.receive_reply(MessageId::GetFeatures).unwrap().number().is_some());
    drop(connection);
    garbage.end();
}

#[test]
fn r5_c043_surplus_and_missing_descriptors_are_closed_and_refused() {
    let (garbage, file) = Garbage::with(|| tempfile::tempfile().unwrap());
    for id in (1..=40).chain([u32::MAX]) {
        for count in [1, 2, 8, 9, 32, 33, 253] {
            let fds: Vec<BorrowedFd<'_>> = (0..count).map(|_| file.as_fd()).collect();
            garbage.send(&header_and(id, PLAIN, 8, 8), &fds);
        }
    }
    for id in [MessageId::SetMemTable, MessageId::AddMemReg, MessageId::SetVringKick] {
        garbage.send(&header_and(id as u32, PLAIN, 40, 40), &[]);
    }
    garbage.end();
}

#[test]
fn c043_descriptors_with_every_piece_of_a_message_are_closed() {
    let (garbage, file) = Garbage::with(|| tempfile::tempfile().unwrap());
    let fds: Vec<BorrowedFd<'_>> = (0..20).map(|_| file.as_fd()).collect();
    for _ in 0..20 {
        let connection = garbage.port().connect();
        for byte in header_and(MessageId::SetOwner as u32, PLAIN, 0, 0).chunks(1) {
            if connection.send_raw(byte, &fds).is_err() {
                break;
            }
        }
    }
    garbage.end();
}

#[test]
fn c044_floods_cost_neither_descriptors_nor_the_others() {
    let (garbage, event) = Garbage::with(|| eventfd(0, EventfdFlags::CLOEXEC).unwrap());
    let floods: [(MessageId, Vec<u8>, &[BorrowedFd<'_>]); 4] = [
        (MessageId::SetOwner, vec![], &[]),
        (MessageId::SetFeatures, 0_u64.to_ne_bytes().to_vec(), &[]),
        (MessageId::SetVringCall, 0_u64.to_ne_bytes().to_vec(), &[event.as_fd()]),
        (MessageId::SetVringKick, 1_u64.to_ne_bytes().to_vec(), &[event.as_fd()]),
    ];
    for (message, payload, fds) in floods {
        let connection = garbage.port().connect();
        for _ in 0..10_000 {
            if connection.send(message, &payload, fds).is_err() {
                break;
            }
        }
        drop(connection);
    }
    garbage.end();
}

#[test]
fn c044_a_flood_of_questions_whose_answers_nobody_reads_is_held_back() {
    let garbage = Garbage::new();
    let connection = garbage.port().connect();
    let sent = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..100_000 {
                if connection.send(MessageId::GetFeatures, &[], &[]).is_err() {
                    break;
                }
                sent.fetch_add(1, Ordering::Relaxed);
            }
        });
        let sent = || sent.load(Ordering::Relaxed);
        let mut before = u64::MAX;
        wait_until("the front-end is held back", || {
            std::thread::sleep(Duration::from_millis(50));
            std::mem::replace(&mut before, sent()) == sent()
        });
        assert!(sent() < 100_000, "all questions were taken");
        garbage.pair.go_on();
        rustix::net::shutdown(&connection, Shutdown::Both).unwrap();
    });
    drop(connection);
    garbage.end();
}

#[test]
fn c045_rings_that_are_not_there_are_refused() {
    let garbage = Garbage::new();
    for index in [16_u32, 17, 255, 256, 0x100, 0xffff, 1 << 31, u32::MAX] {
        let state = RingState { index, number: 1 }.encode();
        let addresses = RingAddresses { index, ..RingAddresses::default() }.encode();
        let messages = [
            (MessageId::SetVringNum, state.to_vec()),
            (MessageId::SetVringBase, state.to_vec()),
            (MessageId::SetVringEnable, state.to_vec()),
            (MessageId::SetVringAddr, addresses),
        ];
        for (message, payload) in messages {
            let session = garbage.port().session();
            let answer = session.command(message, &payload, &[]);
            assert!(is_refused(&answer), "{message:?} of ring {index} was carried out");
            assert!(session.connection().wait_closed(PATIENCE));
        }
        let session = garbage.port().session();
        let _ = session.connection().send(MessageId::GetVringBase, &state, &[]);
        assert!(session.connection().wait_closed(PATIENCE), "base of ring {index}");
    }
    garbage.end();
}

#[test]
fn c045_descriptors_for_rings_that_are_not_there_are_refused_and_closed() {
    let (garbage, event) = Garbage::with(|| eventfd(0, EventfdFlags::CLOEXEC).unwrap());
    for index in [16_u64, 17, 255] {
        for message in [MessageId::SetVringKick, MessageId::SetVringCall, MessageId::SetVringErr] {
            let session = garbage.port().session();
            let answer = session.command(message, &index.to_ne_bytes(), &[event.as_fd()]);
            assert!(is_refused(&answer), "{message:?} of ring {index} was carried out");
        }
    }
    garbage.end();
}

#[test]
fn c046_a_front_end_may_go_after_any_byte() {
    let garbage = Garbage::new();
    let features = header_and(MessageId::GetFeatures as u32, PLAIN, 0, 0);
    let owner = header_and(MessageId::SetOwner as u32, PLAIN, 0, 0);
    let set = header_and(MessageId::SetFeatures as u32, PLAIN, 8, 8);
    let all = [features, owner, set].concat();
    for bytes in 0..=all.len() {
        let connection = garbage.port().connect();
        connection.send_raw(&all[..bytes], &[]).unwrap();
    }
    garbage.end();
}

#[test]
fn c046_messages_may_come_byte_by_byte_and_all_at_once() {
    let garbage = Garbage::new();
    let question = header_and(MessageId::GetFeatures as u32, PLAIN, 0, 0);
    let owner = header_and(MessageId::SetOwner as u32, PLAIN, 0, 0);
    let all = [question.clone(), owner, question].concat();
    for piece in [1, 5, 12, 13, all.len()] {
        let connection = garbage.port().connect();
        connection.send_pieces(&all, piece, Duration::from_micros(200)).unwrap();
        for _ in 0..2 {
            let answer = connection.receive_reply(MessageId::GetFeatures).unwrap();
            assert!(answer.number().is_some(), "in pieces of {piece}");
        }
    }
    garbage.end();
}

#[test]
fn c049_an_owner_may_be_set_twice_and_reset() {
    let garbage = Garbage::new();
    let session = garbage.port().session();
    for message in [MessageId::SetOwner, MessageId::ResetOwner, MessageId::SetOwner] {
        // Refusing is as good as ignoring; the session ends or goes on, and the port lives.
        let _ = session.command(message, &[], &[]);
    }
    drop(session);
    garbage.end();
}

#[test]
fn c050_c051_features_that_were_not_offered_are_refused() {
    let garbage = Garbage::new();
    let offered = garbage.port().session().offered();
    for bit in (0..64).filter(|bit| offered >> bit & 1 == 0) {
        let session = garbage.port().session();
        let answer = session.command(MessageId::SetFeatures, &(1_u64 << bit).to_ne_bytes(), &[]);
        assert!(is_refused(&answer), "feature {bit} was taken");
    }
    for bit in (0..64).filter(|bit| features::protocol::USUAL >> bit & 1 == 0) {
        let connection = garbage.port().connect();
        let chosen = (1_u64 << bit).to_ne_bytes();
        connection.send(MessageId::SetProtocolFeatures, &chosen, &[]).unwrap();
        assert!(connection.wait_closed(PATIENCE), "protocol feature {bit} was taken");
    }
    garbage.end();
}

#[test]
fn c053_c098_c099_messages_that_were_not_agreed_on_end_the_session() {
    let (garbage, file) = Garbage::with(|| tempfile::tempfile().unwrap());
    let messages = [
        MessageId::SetLogBase,
        MessageId::SetLogFd,
        MessageId::SendRarp,
        MessageId::NetSetMtu,
        MessageId::SetBackendReqFd,
        MessageId::IotlbMsg,
        MessageId::GetConfig,
        MessageId::SetConfig,
        MessageId::PostcopyAdvise,
        MessageId::PostcopyListen,
        MessageId::PostcopyEnd,
        MessageId::GetInflightFd,
        MessageId::SetInflightFd,
        MessageId::VringKick,
        MessageId::SetStatus,
        MessageId::GetStatus,
    ];
    for message in messages {
        for fds in [&[][..], &[file.as_fd()]] {
            let session = garbage.port().session();
            assert!(is_refused(&session.command(message, &[0; 16], fds)), "{message:?}");
            assert!(session.connection().wait_closed(PATIENCE), "{message:?}");
        }
    }
    garbage.end();
}

#[test]
fn c057_a_second_front_end_is_turned_away_and_the_first_is_unharmed() {
    let garbage = Garbage::new();
    let port = garbage.port();
    let mut first = port.guest();
    for _ in 0..10 {
        let second = port.connect();
        // It may be closed already.
        let _ = second.send(MessageId::GetFeatures, &[], &[]);
        assert!(second.wait_closed(PATIENCE));
    }
    garbage.pair.go_on();
    first.wait_all_sent(PATIENCE).unwrap();
    assert!(!first.is_disconnected());
    drop(first);
    drop(port.guest());
    garbage.end();
}

#[test]
fn c058_a_thousand_connections_a_second_without_a_message_cost_nothing() {
    let garbage = Garbage::new();
    let address = SocketAddrUnix::new(garbage.switch.socket("liar")).unwrap();
    let mut connected = 0;
    for _ in 0..1000 {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        // It fails when the queue of the kernel is full: nobody is let in faster than the port wants.
        connected += usize::from(rustix::net::connect(&socket, &address).is_ok());
        drop(socket);
        let open = open_files();
        assert!(open < garbage.open_at_start + 100, "{open} descriptors");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(connected > 16, "{connected} connections were let in");
    garbage.end();
}

#[test]
fn c059_a_front_end_that_sends_a_byte_now_and_then_holds_nobody_up() {
    let garbage = Garbage::new();
    let slow = garbage.port().connect();
    let message = header_and(MessageId::GetFeatures as u32, PLAIN, 0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| slow.send_pieces(&message, 1, Duration::from_millis(50)).unwrap());
        for _ in 0..10 {
            let asked = Instant::now();
            garbage.switch.port("liar");
            assert!(asked.elapsed() < Duration::from_secs(1));
            // Another port serves its front-ends meanwhile.
            drop(garbage.switch.guest("tempter"));
            garbage.switch.wait_state("tempter", PortState::Waiting);
        }
    });
    assert!(slow.receive_reply(MessageId::GetFeatures).is_ok());
    drop(slow);
    garbage.end();
}

#[test]
fn a_port_can_be_removed_while_its_front_end_is_silent() {
    let garbage = Garbage::new();
    let silent = garbage.port().connect();
    silent.send_raw(&[1, 0, 0], &[]).unwrap();
    let asked = Instant::now();
    let answer = garbage.switch.control().request("DELETE", "/v1/ports/liar", "");
    assert_eq!(answer.status, 204, "{}", answer.body);
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    assert!(silent.wait_closed(PATIENCE));
    drop(silent);
    let port = serde_json::json!({
        "name": "liar",
        "socket": garbage.switch.socket("liar"),
        "static_mac": ["52:54:00:00:00:03"],
    });
    let answer = garbage.switch.control().request("POST", "/v1/ports", &port.to_string());
    assert_eq!(answer.status, 201, "{}", answer.body);
    garbage.end();
}

#[test]
fn random_messages_harm_nobody() {
    let garbage = Garbage::new();
    let mut random = Random::new();
    for _ in 0..100 {
        let session = garbage.port().session();
        for _ in 0..20 {
            let bytes = random.below(48);
            let flags = PLAIN | (random.below(2) * NEED_REPLY);
            let mut message = encode_header(random.below(42), flags, bytes).to_vec();
            message.extend((0..bytes).map(|_| u8::try_from(random.below(5)).unwrap()));
            if session.connection().send_raw(&message, &[]).is_err() {
                break;
            }
        }
    }
    garbage.end();
}
