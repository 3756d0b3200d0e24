//! Frames of a named session that go the same way are delivered together, as far as nobody can tell.

use helio_mirror::{LegForm, Session};
use helio_testkit::TestFrame;
use helio_types::DropReason;

use crate::sessions::{frames_of, remote, session, stage_with, without_remote_tag};
use crate::stage::{Stage, frame, ordinary};

/// Frames from port 0 to port 1 with payloads of these lengths.
fn frames(lengths: &[usize]) -> Vec<TestFrame> {
    let one = |(seed, bytes): (u8, &usize)| frame(0, 1).payload(*bytes, seed).complete();
    (0..).zip(lengths).map(one).collect()
}

fn bytes_of(frames: &[TestFrame]) -> Vec<Vec<u8>> {
    frames.iter().map(|frame| frame.bytes.clone()).collect()
}

/// A stage of four ports with this session, after one burst of port 0.
fn after(session: Session, burst: &[TestFrame]) -> Stage {
    let mut stage = stage_with(&vec![ordinary(); 4], vec![session]);
    burst.iter().for_each(|frame| stage.send(0, frame));
    stage.settle();
    stage
}

#[test]
fn frames_of_a_session_go_together_to_their_receiver_and_to_who_watches() {
    let sent = frames(&[40, 500, 40, 1000, 60]);
    let stage = after(session(&[0], &[(0, 2, LegForm::Plain), (1, 3, LegForm::Plain)]), &sent);
    for to in [1, 2, 3] {
        assert_eq!(stage.bytes_at(to), bytes_of(&sent));
        assert_eq!(stage.ports[to].runs(), [5], "to {to}");
    }
    for leg in [0, 1] {
        assert_eq!(frames_of(&stage, leg, DropReason::PortDown), [5, 5, 0]);
    }
}

#[test]
fn a_filter_parts_a_burst_only_where_it_changes_its_mind() {
    let sent = frames(&[40, 40, 600, 700, 600, 40]);
    let filter = Some(helio_filter::compile("greater 500").unwrap());
    let watching = Session { filter, ..session(&[0], &[(0, 2, LegForm::Plain)]) };
    let stage = after(watching, &sent);
    assert_eq!(stage.bytes_at(1), bytes_of(&sent));
    assert_eq!(stage.bytes_at(2), bytes_of(&sent[2..5]));
    assert_eq!((stage.ports[1].runs(), stage.ports[2].runs()), (vec![2, 3, 1], vec![3]));
}

#[test]
fn what_a_receiver_refuses_in_the_middle_counts_for_the_leg_whose_copy_it_is() {
    let sent = frames(&[40, 40, 900, 40]);
    for to in [1, 2] {
        let mut stage =
            stage_with(&vec![ordinary(); 4], vec![session(&[0], &[(0, to, LegForm::Plain)])]);
        stage.ports[to].set_longest(500);
        sent.iter().for_each(|frame| stage.send(0, frame));
        stage.settle();
        let all = bytes_of(&sent);
        assert_eq!(stage.bytes_at(to), [&all[..2], &all[3..]].concat());
        let counts = stage.leg_counts(0);
        assert_eq!((counts.wanted.frames, counts.delivered.frames), (4, 3), "to {to}");
        assert_eq!(counts.dropped_total().frames, 1);
        assert_eq!(stage.all_drops(1), u64::from(to == 1));
    }
}

#[test]
fn a_port_that_gets_frames_in_two_forms_gets_one_frame_after_the_other() {
    let sent = frames(&[40, 50, 60]);
    let stage = after(session(&[0], &[(0, 1, remote())]), &sent);
    let got = stage.bytes_at(1);
    let expected = bytes_of(&sent).into_iter().flat_map(|bytes| [bytes.clone(), bytes]);
    let plain = |(at, bytes): (usize, &Vec<u8>)| match at % 2 {
        0 => bytes.clone(),
        _ => without_remote_tag(bytes),
    };
    assert_eq!(got.iter().enumerate().map(plain).collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    // Where each port has one form only, the receiver gets all at once.
    let stage = after(session(&[0], &[(0, 2, remote())]), &sent);
    assert_eq!(stage.ports[1].runs(), [3]);
    let copies = stage.bytes_at(2);
    assert_eq!(
        copies.iter().map(|copy| without_remote_tag(copy)).collect::<Vec<_>>(),
        bytes_of(&sent)
    );
}
