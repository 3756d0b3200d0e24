//! The switch's own addresses behind an uplink: what it asks there, what it answers, and what it counts.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU8;
use std::sync::Arc;

use helio_encap::{Dscp, Encapsulation, GreSequence, Oversize};
use helio_mirror::{LegForm, Remote};
use helio_types::MacAddr;
use helio_underlay::{Carrier, Endpoint, EndpointSettings, IpNet};

use crate::sessions::session;
use crate::stage::{Stage, ordinary};

/// The port that plays an uplink.
const UPLINK: usize = 1;
const OWN_MAC: MacAddr = MacAddr([2, 0xaa, 0, 0, 0, 1]);
const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const COLLECTOR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// A collector that is sent GRE from `own_mac`.
fn collector(own_mac: MacAddr, next_hop: Option<MacAddr>, oversize: Oversize) -> LegForm {
    let endpoint = Endpoint::new(&EndpointSettings {
        own_mac,
        own: IpNet::new(IpAddr::V4(OWN), 24).unwrap(),
        tag: None,
        remote: IpAddr::V4(COLLECTOR),
        gateway: None,
        carrier: Carrier::Gre,
        mtu_bytes: 1500,
    });
    LegForm::Remote(Arc::new(Remote {
        number: 1,
        endpoint: endpoint.unwrap(),
        next_hop,
        encapsulation: Encapsulation::Gre { key: None, sequence: GreSequence::Present },
        oversize,
        dscp: Dscp::default(),
        hop_limit: NonZeroU8::new(64).unwrap(),
    }))
}

fn configure(stage: &mut Stage, form: LegForm) {
    let plans = vec![ordinary(); 4];
    stage.configure_sessions(&plans, vec![session(&[0], &[(0, UPLINK, form)])]);
}

/// A stage where what port 0 sends and receives goes to a collector too.
fn stage(form: LegForm) -> Stage {
    let mut stage = Stage::new(1, &vec![ordinary(); 4]);
    configure(&mut stage, form);
    stage
}

#[test]
fn a_question_is_seen_on_the_wire_though_nothing_else_happens() {
    let stage = stage(collector(OWN_MAC, None, Oversize::Truncate));
    let questions = stage.bytes_at(UPLINK);
    assert_eq!(questions.len(), 1);
    assert_eq!(questions[0][12..14], [8, 6]);
}
