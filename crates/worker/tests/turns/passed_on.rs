//! Mirror streams that arrive and go on to a collector: what their senders said of a copy is said of it again.

use helio_encap::{Encapsulation, ErspanSession, HardwareId, Oversize, SnapLen, SubHeaderChoice};
use helio_mirror::{LegForm, Session};

use crate::fragments::{fragments, inner, point};
use crate::sessions::session;
use crate::stage::{Stage, ordinary};
use crate::underlay::{COLLECTOR_MAC, DECAP, OWN_MAC, UPLINK, collector, with};

/// The port behind which the collector is.
const ONWARD: usize = 3;

/// What stands between the number in GRE and a copy, with the type of GRE, when the copy is whole and when it is cut: of both types
/// that can tell, and of the one that cannot.
const TOLD: [([u8; 2], &[u8], &[u8]); 3] = [
    ([0x88, 0xbe], &[0x10, 10, 0, 7, 0, 0, 0, 0], &[0x10, 10, 4, 7, 0, 0, 0, 0]),
    (
        [0x22, 0xeb],
        &[0x20, 10, 0, 7, 0, 0, 0, 0, 0, 0, 0x80, 0],
        &[0x20, 10, 4, 7, 0, 0, 0, 0, 0, 0, 0x80, 0],
    ),
    ([0x65, 0x58], &[], &[]),
];

/// A collector by ERSPAN of types II and III.
fn forms() -> [LegForm; 2] {
    let session = ErspanSession::of_low_bits(8);
    let type_3 = Encapsulation::ErspanIII {
        session,
        security_group: 0,
        hardware: HardwareId::of_low_bits(0),
        sub_header: SubHeaderChoice::Absent,
    };
    [Encapsulation::ErspanII { session }, type_3].map(|encapsulation| {
        let form = collector(OWN_MAC, Some(COLLECTOR_MAC), Oversize::Truncate);
        with(form, |remote| remote.encapsulation = encapsulation)
    })
}

/// Whether the only copy at the collector says that it is cut, after one of 300 bytes came in datagrams that carry `piece_bytes`
/// with this in front of it.
fn tells_cut(stage: &mut Stage, (kind, shim): ([u8; 2], &[u8]), piece_bytes: usize) -> bool {
    for mut datagram in fragments(0, &[shim, &inner(300)].concat(), piece_bytes) {
        let is_first = datagram.bytes[20] & 0x1f == 0 && datagram.bytes[21] == 0;
        if is_first {
            datagram.bytes[36..38].copy_from_slice(&kind);
        }
        stage.send(UPLINK, &datagram);
    }
    stage.settle();
    let copies = stage.bytes_at(ONWARD);
    assert_eq!(copies.len(), 1);
    // Behind Ethernet, IPv4, and GRE with a number.
    copies[0][44] & 4 == 4
}

#[test]
fn a_copy_that_came_cut_is_said_to_be_cut_wherever_it_goes_and_one_that_came_whole_if_it_is_cut_here()
 {
    for onward_at in [0, 1] {
        for form in forms() {
            for snap_len in [SnapLen::WHOLE, SnapLen::new(299).unwrap()] {
                let mut plans = vec![ordinary(); 4];
                plans[ONWARD] = ordinary().on(onward_at);
                let mut stage = Stage::new(2, &plans);
                let watching = session(&[DECAP], &[(0, ONWARD, form.clone())]);
                let watching = Session { snap_len, ..watching };
                stage.configure_underlay(&plans, vec![watching], vec![point()]);
                for (kind, whole, cut) in TOLD {
                    for piece_bytes in [1480, 64] {
                        let is_cut = |shim| tells_cut(&mut stage, (kind, shim), piece_bytes);
                        let found = [whole, cut].map(is_cut);
                        let is_cut_here = snap_len != SnapLen::WHOLE;
                        let wanted = [is_cut_here, is_cut_here || !cut.is_empty()];
                        assert_eq!(found, wanted, "{kind:x?} {form:?} {snap_len:?} {piece_bytes}");
                    }
                }
            }
        }
    }
}
