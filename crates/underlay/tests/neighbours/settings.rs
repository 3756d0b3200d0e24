//! What an operator may say about the way to a collector.

use std::net::IpAddr;

use helio_types::{MacAddr, VlanId};
use helio_underlay::{Endpoint, EndpointError, EndpointSettings, UnderlayTag};

use crate::world::{settings4, settings6};

fn way(own: &str, remote: &str, gateway: Option<&str>) -> Result<IpAddr, EndpointError> {
    let address = |text: &str| text.parse().unwrap();
    let settings = EndpointSettings {
        own: own.parse().unwrap(),
        remote: address(remote),
        gateway: gateway.map(address),
        ..settings4()
    };
    Endpoint::new(&settings).map(|endpoint| endpoint.next_hop())
}

/// The first words of what is wrong.
fn complaint(own: &str, remote: &str, gateway: Option<&str>) -> String {
    let sentence = way(own, remote, gateway).unwrap_err().to_string();
    assert!(sentence.contains(": give ") || sentence.contains(": name "), "{sentence}");
    sentence.split(':').next().unwrap().to_owned()
}

fn assert_next(own: &str, remote: &str, gateway: Option<&str>, next: &str) {
    assert_eq!(way(own, remote, gateway), Ok(next.parse().unwrap()), "{own} {remote}");
}

#[test]
fn a_collector_in_the_prefix_is_its_own_next_hop_and_one_beyond_has_the_gateway() {
    assert_next("192.0.2.10/24", "192.0.2.254", None, "192.0.2.254");
    assert_next("192.0.2.10/24", "192.0.2.254", Some("192.0.2.1"), "192.0.2.254");
    assert_next("192.0.2.10/24", "192.0.3.1", Some("192.0.2.1"), "192.0.2.1");
    assert_next("192.0.2.10/26", "192.0.2.64", Some("192.0.2.1"), "192.0.2.1");
    assert_next("2001:db8::10/64", "2001:db8::ffff:1", None, "2001:db8::ffff:1");
    assert_next("2001:db8::10/64", "2001:db8:0:1::1", Some("2001:db8::1"), "2001:db8::1");
}

#[test]
fn a_router_of_ipv6_may_be_named_by_its_link_local_address() {
    assert_next("2001:db8::10/64", "2001:db8:0:1::1", Some("fe80::1"), "fe80::1");
    assert_next("fe80::10/64", "fe80::20", None, "fe80::20");
}

#[test]
fn a_prefix_of_31_bits_has_two_hosts_and_one_of_32_none_but_us() {
    assert_next("192.0.2.10/31", "192.0.2.11", None, "192.0.2.11");
    assert_next("192.0.2.11/31", "192.0.2.10", None, "192.0.2.10");
    assert_eq!(
        complaint("192.0.2.10/32", "192.0.2.11", None),
        "192.0.2.11 is not in the network of 192.0.2.10/32"
    );
    assert_eq!(
        complaint("192.0.2.10/30", "192.0.2.11", None),
        "copies cannot be sent to 192.0.2.11"
    );
    assert_eq!(complaint("192.0.2.10/30", "192.0.2.8", None), "copies cannot be sent to 192.0.2.8");
    assert_next("2001:db8::/127", "2001:db8::1", None, "2001:db8::1");
}

#[test]
fn a_collector_that_cannot_be_reached_is_refused() {
    let own = "192.0.2.10/24";
    assert_eq!(
        complaint(own, "192.0.3.1", None),
        "192.0.3.1 is not in the network of 192.0.2.10/24"
    );
    let sentence = way(own, "192.0.3.1", None).unwrap_err().to_string();
    assert!(sentence.ends_with("name the gateway that leads there, or correct the prefix length"));
    assert_eq!(
        complaint(own, "192.0.2.10", None),
        "192.0.2.10 is the address of the switch itself"
    );
}

#[test]
fn an_address_that_no_host_has_is_refused_as_ours_as_remote_and_as_gateway() {
    for special in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "239.1.2.3", "255.255.255.255"] {
        let remote = complaint("192.0.2.10/24", special, Some("192.0.2.1"));
        assert_eq!(remote, format!("copies cannot be sent to {special}"));
        let own = complaint(&format!("{special}/8"), "192.0.2.1", None);
        assert_eq!(own, format!("the switch cannot have the address {special}"));
        let gateway = complaint("192.0.2.10/24", "198.51.100.1", Some(special));
        assert_eq!(gateway, format!("{special} cannot be a gateway"));
    }
    for special in ["::", "::1", "ff02::1", "ff05::2", "::ffff:192.0.2.1"] {
        let printed = special.parse::<IpAddr>().unwrap();
        let complain = |own: &str, remote: &str, gateway| {
            let sentence = way(own, remote, gateway).unwrap_err().to_string();
            sentence.contains(&printed.to_string())
        };
        assert!(complain("2001:db8::10/64", special, Some("2001:db8::1")), "{special}");
        assert!(complain(&format!("{special}/64"), "2001:db8::1", None), "{special}");
        assert!(complain("2001:db8::10/64", "2001:db9::1", Some(special)), "{special}");
    }
}

#[test]
fn the_first_and_the_last_address_of_a_prefix_are_nobodys() {
    assert_eq!(
        complaint("192.0.2.0/24", "192.0.2.20", None),
        "192.0.2.0/24 names the network or its broadcast address"
    );
    assert_eq!(
        complaint("192.0.2.255/24", "192.0.2.20", None),
        "192.0.2.255/24 names the network or its broadcast address"
    );
    assert_next("192.0.2.1/24", "192.0.2.254", None, "192.0.2.254");
    assert_next("192.0.2.255/23", "192.0.3.0", None, "192.0.3.0");
    assert_eq!(
        complaint("192.0.2.1/24", "192.0.2.255", None),
        "copies cannot be sent to 192.0.2.255"
    );
    assert_eq!(
        complaint("192.0.2.1/24", "192.0.3.1", Some("192.0.2.255")),
        "192.0.2.255 cannot be a gateway"
    );
}

#[test]
fn all_addresses_are_of_one_version_and_of_one_scope() {
    for (own, remote) in [("192.0.2.10/24", "2001:db8::1"), ("2001:db8::1/64", "192.0.2.1")] {
        let refused = way(own, remote, None);
        assert!(matches!(refused, Err(EndpointError::RemoteVersion { .. })), "{refused:?}");
    }
    assert!(matches!(
        way("192.0.2.10/24", "192.0.3.1", Some("2001:db8::1")),
        Err(EndpointError::GatewayVersion { .. })
    ));
    for (own, remote, gateway) in [
        ("2001:db8::10/64", "fe80::20", Some("fe80::1")),
        ("fe80::10/64", "2001:db8::20", Some("fe80::1")),
        ("169.254.1.1/16", "192.0.2.1", Some("169.254.0.1")),
        ("192.0.2.1/24", "169.254.1.1", Some("192.0.2.2")),
        // Not on our link, for all that we know, and no router takes it there.
        ("169.254.1.1/24", "169.254.2.1", Some("169.254.1.2")),
    ] {
        let refused = way(own, remote, gateway);
        assert!(matches!(refused, Err(EndpointError::Scope { .. })), "{own} {remote}: {refused:?}");
    }
    assert_next("169.254.1.1/16", "169.254.2.1", None, "169.254.2.1");
}

#[test]
fn a_gateway_is_on_our_link_and_is_not_ourselves_also_when_it_is_not_needed() {
    for remote in ["192.0.2.20", "192.0.3.1"] {
        assert_eq!(
            complaint("192.0.2.10/24", remote, Some("192.0.3.2")),
            "the gateway 192.0.3.2 is not in the network of 192.0.2.10/24"
        );
        assert_eq!(
            complaint("192.0.2.10/24", remote, Some("192.0.2.10")),
            "192.0.2.10 is the address of the switch itself"
        );
    }
    assert!(matches!(
        way("2001:db8::10/64", "2001:db9::1", Some("2001:db9::2")),
        Err(EndpointError::GatewayOffLink { .. })
    ));
}

fn of(change: impl Fn(&mut EndpointSettings)) -> Result<Endpoint, EndpointError> {
    let mut settings = settings4();
    change(&mut settings);
    Endpoint::new(&settings)
}

#[test]
fn frames_come_from_one_card() {
    for mac in [MacAddr::BROADCAST, MacAddr([0; 6]), MacAddr([3, 0, 0, 0, 0, 1])] {
        assert_eq!(of(|it| it.own_mac = mac), Err(EndpointError::OwnMac(mac)));
    }
    assert!(of(|it| it.own_mac = MacAddr([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff])).is_ok());
}

#[test]
fn a_priority_has_three_bits() {
    let tag = |priority| Some(UnderlayTag { vlan: VlanId::new(4094).unwrap(), priority });
    assert!(of(|it| it.tag = tag(7)).is_ok());
    assert_eq!(of(|it| it.tag = tag(8)), Err(EndpointError::Priority(8)));
}

#[test]
fn an_mtu_is_at_least_what_each_link_takes() {
    assert!(of(|it| it.mtu_bytes = 68).is_ok());
    assert_eq!(of(|it| it.mtu_bytes = 67), Err(EndpointError::Mtu { given: 67, least: 68 }));
    let v6 = |mtu_bytes| Endpoint::new(&EndpointSettings { mtu_bytes, ..settings6() });
    assert!(v6(1280).is_ok());
    assert_eq!(v6(1279), Err(EndpointError::Mtu { given: 1279, least: 1280 }));
}

#[test]
fn an_endpoint_tells_what_it_was_made_of() {
    let tag = Some(UnderlayTag { vlan: VlanId::new(7).unwrap(), priority: 5 });
    for settings in [settings4(), settings6()] {
        let endpoint = Endpoint::new(&EndpointSettings { tag, ..settings }).unwrap();
        assert_eq!(endpoint.own_mac(), settings.own_mac);
        assert_eq!(endpoint.own_address(), settings.own.addr());
        assert_eq!((endpoint.remote(), endpoint.next_hop()), (settings.remote, settings.remote));
        assert_eq!((endpoint.tag(), endpoint.mtu_bytes()), (tag, 1500));
    }
}
