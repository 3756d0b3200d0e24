//! Lengths at which a plan changes, on both sides.

use helio_types::DropReason;

use super::parse_edges::{underlay_v4, underlay_v6};
use crate::{
    Encapsulation, ErspanSession, MAX_FRAGMENTS, NoFit, Oversize, Path, Plan, SnapLen, Template,
    Truncation, Underlay,
};

/// With 16 bytes between IP and the copy.
const TYPE_II: Encapsulation = Encapsulation::ErspanII { session: ErspanSession::MAX };

fn plan(
    underlay: Underlay,
    frame_bytes: u32,
    mtu_bytes: u16,
    oversize: Oversize,
) -> Result<Plan, NoFit> {
    let template = Template::new(&underlay, TYPE_II);
    template.plan(frame_bytes, SnapLen::WHOLE, Path { mtu_bytes, oversize })
}

/// Start and length of the parts.
fn ranges(plan: &Plan) -> Vec<(u32, u32)> {
    plan.parts().map(|part| (part.inner_start(), part.inner_bytes())).collect()
}

#[test]
fn a_copy_that_fits_its_path_is_whole_whatever_the_policy() {
    for oversize in [Oversize::Drop, Oversize::Truncate, Oversize::Fragment] {
        for (underlay, fits) in [(underlay_v4(), 1464), (underlay_v6(), 1444)] {
            let fitting = plan(underlay, fits, 1500, oversize).unwrap();
            assert_eq!((fitting.count(), fitting.truncation()), (1, Truncation::Whole));
            assert_eq!(ranges(&fitting), [(0, fits)]);
        }
    }
}

#[test]
fn one_byte_more_is_dropped_truncated_or_fragmented() {
    assert_eq!(plan(underlay_v4(), 1465, 1500, Oversize::Drop), Err(NoFit::Mtu));
    let cut = plan(underlay_v4(), 1465, 1500, Oversize::Truncate).unwrap();
    assert_eq!((ranges(&cut), cut.truncation()), (vec![(0, 1464)], Truncation::Cut));
    let split = plan(underlay_v4(), 1465, 1500, Oversize::Fragment).unwrap();
    assert_eq!(split.truncation(), Truncation::Whole);
    assert_eq!(ranges(&split), [(0, 1464), (1464, 1)]);
    // In IPv6 the fragment header takes 8 bytes more of each.
    let split = plan(underlay_v6(), 1445, 1500, Oversize::Fragment).unwrap();
    assert_eq!(ranges(&split), [(0, 1432), (1432, 13)]);
}

#[test]
fn no_fragment_is_longer_than_the_first_also_where_the_last_could_be() {
    // 1487 bytes of payload would fit, of which a fragment that others follow has 1480.
    for (bytes, last) in [(1480, vec![(1464, 1480)]), (1481, vec![(1464, 1480), (2944, 1)])] {
        let split = plan(underlay_v4(), 1464 + bytes, 1507, Oversize::Fragment).unwrap();
        assert_eq!(ranges(&split), [vec![(0, 1464)], last].concat());
    }
}

#[test]
fn the_snap_length_comes_before_the_path() {
    let template = Template::new(&underlay_v4(), TYPE_II);
    let path = Path { mtu_bytes: 1500, oversize: Oversize::Drop };
    let snapped = |snap, bytes| template.plan(bytes, SnapLen::new(snap).unwrap(), path).unwrap();
    assert_eq!(snapped(128, 9000).inner_bytes(), 128);
    assert_eq!(snapped(128, 9000).truncation(), Truncation::Cut);
    assert_eq!(snapped(128, 128).truncation(), Truncation::Whole);
    assert_eq!(snapped(128, 129).truncation(), Truncation::Cut);
    assert_eq!(snapped(128, 60).inner_bytes(), 60);
    // Both cut: the shorter one counts.
    let path = Path { mtu_bytes: 100, oversize: Oversize::Truncate };
    let cut = template.plan(9000, SnapLen::new(128).unwrap(), path).unwrap();
    assert_eq!((cut.inner_bytes(), cut.truncation()), (64, Truncation::Cut));
}

#[test]
fn a_snap_length_keeps_an_ethernet_header() {
    assert_eq!(SnapLen::new(13), None);
    assert_eq!(SnapLen::new(14).map(SnapLen::bytes), Some(14));
}

#[test]
fn a_path_that_takes_hardly_more_than_headers_takes_nothing() {
    // An Ethernet header of 14 bytes behind 36.
    assert_eq!(plan(underlay_v4(), 60, 49, Oversize::Truncate), Err(NoFit::MtuTooSmall));
    let least = plan(underlay_v4(), 60, 50, Oversize::Truncate).unwrap();
    assert_eq!(least.inner_bytes(), 14);
    // 16 bytes of header and one unit behind 20, or behind 48.
    assert_eq!(plan(underlay_v4(), 60, 43, Oversize::Fragment), Err(NoFit::MtuTooSmall));
    assert_eq!(plan(underlay_v4(), 60, 44, Oversize::Fragment).map(|plan| plan.count()), Ok(4));
    assert_eq!(plan(underlay_v6(), 60, 71, Oversize::Fragment), Err(NoFit::MtuTooSmall));
    assert_eq!(plan(underlay_v6(), 60, 72, Oversize::Fragment).map(|plan| plan.count()), Ok(4));
    assert_eq!(plan(underlay_v4(), 60, 0, Oversize::Truncate), Err(NoFit::MtuTooSmall));
    assert_eq!(plan(underlay_v4(), 60, 0, Oversize::Fragment), Err(NoFit::MtuTooSmall));
}

#[test]
fn headers_alone_must_fit_their_path() {
    use Oversize::{Drop, Fragment, Truncate};
    assert_eq!(plan(underlay_v4(), 0, 36, Drop).map(|plan| plan.inner_bytes()), Ok(0));
    assert_eq!(plan(underlay_v4(), 0, 35, Drop), Err(NoFit::Mtu));
    assert_eq!(plan(underlay_v4(), 0, 35, Truncate), Err(NoFit::MtuTooSmall));
    assert_eq!(plan(underlay_v4(), 0, 35, Fragment), Err(NoFit::MtuTooSmall));
}

#[test]
fn a_copy_has_64_fragments_at_most() {
    // 80 bytes of payload in each but the last, which has 80 as well.
    let most = u32::from(MAX_FRAGMENTS) * 80 - 16;
    let split = plan(underlay_v4(), most, 100, Oversize::Fragment).unwrap();
    assert_eq!(split.count(), MAX_FRAGMENTS);
    assert_eq!(ranges(&split).len(), usize::from(MAX_FRAGMENTS));
    let refused = plan(underlay_v4(), most + 1, 100, Oversize::Fragment);
    assert_eq!(refused, Err(NoFit::TooManyFragments));
}

#[test]
fn a_copy_is_no_longer_than_a_datagram_can_be() {
    for (underlay, most) in [(underlay_v4(), 65_535 - 36), (underlay_v6(), 65_535 - 16)] {
        let split = plan(underlay, most, 1500, Oversize::Fragment).unwrap();
        assert_eq!(ranges(&split).iter().map(|(_, bytes)| bytes).sum::<u32>(), most);
        let refused = plan(underlay, most + 1, 1500, Oversize::Fragment);
        assert_eq!(refused, Err(NoFit::TooLong));
        assert_eq!(plan(underlay, u32::MAX, 1500, Oversize::Fragment), Err(NoFit::TooLong));
    }
}

#[test]
fn the_longest_datagram_over_the_shortest_path_of_ipv6_is_not_too_many_fragments() {
    let split = plan(underlay_v6(), 65_535 - 16, 1280, Oversize::Fragment).unwrap();
    assert_eq!(split.count(), 54);
}

#[test]
fn every_reason_is_counted_as_a_length() {
    let reasons = [NoFit::Mtu, NoFit::MtuTooSmall, NoFit::TooLong, NoFit::TooManyFragments]
        .map(DropReason::from);
    use DropReason::{Mtu, Oversize};
    assert_eq!(reasons, [Mtu, Mtu, Oversize, Oversize]);
}
