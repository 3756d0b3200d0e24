//! Any datagram in any fragments in any order, and anything else that may come as a fragment.

use proptest::prelude::*;

use super::fragments::{Desk, gre, v4, v6};
use super::strategies;
use super::{WIDE, datagram, datagrams, frame};
use crate::{
    Encapsulation, Fragment, MOST_DATAGRAMS, Oversize, Path, SnapLen, Template, VXLAN_PORT,
    WAIT_NS, parse, parse_assembled,
};

/// Cuts a payload at these units.
fn spans(bytes: usize, cuts: &[usize]) -> Vec<(usize, usize)> {
    let mut at: Vec<_> = cuts.iter().map(|cut| cut * 8).filter(|cut| *cut < bytes).collect();
    at.extend([0, bytes]);
    at.sort_unstable();
    at.dedup();
    at.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

/// A fragment as a hostile sender makes it: of few datagrams, so that they meet.
fn any_fragment() -> impl Strategy<Value = Vec<u8>> {
    let ids = 0_u16..40;
    (ids, 0_usize..12, 1_usize..6, any::<bool>(), any::<bool>()).prop_map(
        |(id, from, units, ends, is_v6)| {
            let (from, mut to) = (from * 8, (from + units) * 8);
            if from == 0 {
                to += 8;
            }
            let payload = gre(if ends { u32::try_from(to).unwrap() - 4 } else { 400 });
            let from = if ends && from == 0 { 8 } else { from };
            if is_v6 { v6(id.into(), &payload, from, to) } else { v4(id, &payload, from, to) }
        },
    )
}

proptest! {
    #[test]
    fn any_split_of_a_datagram_in_any_order_gives_it_back(
        inner_bytes in 14_u32..3000,
        cuts in proptest::collection::vec(1_usize..376, 1..63),
        order in any::<prop::sample::Index>(),
        keys in proptest::collection::vec(any::<u32>(), 64),
        is_v6 in any::<bool>(),
    ) {
        let payload = gre(inner_bytes);
        let spans = spans(payload.len(), &cuts);
        prop_assume!(spans.len() > 1);
        let mut frames: Vec<_> = spans
            .iter()
            .map(|(from, to)| match is_v6 {
                true => v6(9, &payload, *from, *to),
                false => v4(9, &payload, *from, *to),
            })
            .zip(keys)
            .collect();
        frames.sort_by_key(|(_, key)| *key);
        let mut desk = Desk::new();
        let last = frames.len() - 1;
        // One of those that wait comes twice.
        let again = order.index(last);
        for (place, (wire, _)) in frames.iter().enumerate() {
            let whole = desk.take(wire);
            prop_assert_eq!(whole.as_ref().map(|(_, got)| got), (place == last).then_some(&payload));
            if place == again {
                prop_assert_eq!(desk.take(wire), None);
            }
        }
        prop_assert_eq!((desk.refused_total(), desk.buffers_in_use()), (1, 0));
    }

    #[test]
    fn what_we_send_in_fragments_is_read_as_if_it_had_come_whole(
        underlay in strategies::underlay(),
        encapsulation in strategies::encapsulation(),
        copy in strategies::copy(),
        frame_bytes in 600_u32..9000,
        mtu_bytes in 400_u16..9000,
    ) {
        let template = Template::new(&underlay, encapsulation);
        let path = Path { mtu_bytes, oversize: Oversize::Fragment };
        let plan = template.plan(frame_bytes, SnapLen::WHOLE, path).unwrap();
        prop_assume!(plan.count() > 1);
        let inner = frame(frame_bytes);
        let port = match encapsulation {
            Encapsulation::Vxlan { port, .. } => port,
            _ => VXLAN_PORT,
        };
        let mut desk = Desk::new();
        let wires = datagrams(&template, &copy, &plan, &inner);
        let mut wholes = wires.iter().rev().filter_map(|wire| desk.take(wire));
        let (whole, payload) = wholes.next().unwrap();
        prop_assert!(wholes.next().is_none());
        let got = parse_assembled(&payload[..payload.len().min(128)], &whole, port).unwrap();
        let from = got.inner_start as usize;
        prop_assert_eq!(&payload[from..from + got.inner_bytes as usize], &inner[..]);
        let unfragmented = datagram(&template, &copy, &inner);
        let bytes = u32::try_from(unfragmented.len()).unwrap();
        let wanted = parse(&unfragmented, bytes, port).unwrap();
        let ip = wanted.inner_start - got.inner_start;
        prop_assert!(template.plan(frame_bytes, SnapLen::WHOLE, WIDE).unwrap().count() == 1);
        prop_assert_eq!(crate::Decapsulated { inner_start: got.inner_start + ip, ..got }, wanted);
    }

    #[test]
    fn whatever_comes_is_counted_once_and_no_more_is_kept_than_there_is_room_for(
        frames in proptest::collection::vec((any_fragment(), 0_u64..4), 1..200),
    ) {
        let mut desk = Desk::new();
        for (came, (wire, pause)) in (1..).zip(&frames) {
            desk.now_ns += pause * WAIT_NS / 20;
            desk.give_up_old();
            let whole = desk.take(wire);
            if let Some((whole, payload)) = whole {
                prop_assert_eq!(payload.len(), whole.payload_bytes() as usize);
            }
            let counts = desk.counts();
            prop_assert_eq!(counts.joined + counts.waiting + desk.refused_total(), came);
            prop_assert!(desk.buffers_in_use() <= MOST_DATAGRAMS);
            prop_assert!(counts.waiting <= 64 * desk.buffers_in_use() as u64);
        }
        desk.now_ns += WAIT_NS;
        desk.give_up_old();
        prop_assert_eq!((desk.counts().waiting, desk.buffers_in_use()), (0, 0));
    }

    #[test]
    fn no_bytes_make_a_fragment_that_lies_outside_its_frame_or_a_datagram(
        bytes in proptest::collection::vec(any::<u8>(), 0..120),
        is_v6 in any::<bool>(),
        more in 0_u32..70_000,
    ) {
        let kind = if is_v6 { [0x86, 0xdd, 0x60] } else { [8, 0, 0x45] };
        let head = [&[2; 12][..], &kind, &bytes].concat();
        let frame_bytes = u32::try_from(head.len()).unwrap() + more;
        if let Ok(Some(fragment)) = Fragment::read(&head, frame_bytes) {
            let (start, bytes) = (fragment.data_start(), fragment.data_bytes());
            prop_assert!(bytes > 0 && start + bytes <= frame_bytes);
            prop_assert!(start as usize <= head.len());
            prop_assert!(fragment.start() + bytes <= 65_535);
        }
    }
}
