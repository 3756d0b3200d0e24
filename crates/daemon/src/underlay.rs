//! The switch's own addresses in the networks behind its uplinks.

use std::sync::Arc;

use helio_config::{Attachment, DecapPoint as DecapConfig, RemoteDestination};
use helio_encap::Encapsulation;
use helio_mirror::DecapPoint;
use helio_underlay::{Carrier, Endpoint, EndpointError, EndpointSettings, IpNet, UnderlayTag};
use helio_worker::DecapShelf;

use crate::cards::Cards;
use crate::ports::{Ports, ServedPort};

/// The name of the interface of the uplink `name`.
pub(crate) fn uplink_of<'a>(ports: &'a Ports, name: &str) -> Option<&'a str> {
    match &ports.find(name)?.config.attachment {
        Attachment::Uplink(uplink) => Some(&uplink.name),
        Attachment::Vm(_) | Attachment::Tap(_) | Attachment::Decap(_) => None,
    }
}

/// The way to a collector behind `interface`.
pub(crate) fn endpoint(
    remote: &RemoteDestination,
    interface: &str,
    cards: &Cards,
) -> Result<Endpoint, EndpointError> {
    // Where it is known which card the copies are handed to, no network has to tell who is reached without a router.
    let prefix_len = if remote.remote_mac.is_some() { 0 } else { remote.prefix_len };
    Endpoint::new(&EndpointSettings {
        own_mac: remote.mac.unwrap_or_else(|| cards.address(interface)),
        own: IpNet::new_assert(remote.local, prefix_len),
        tag: remote.vlan.map(|vlan| UnderlayTag { vlan, priority: remote.pcp.get() }),
        remote: remote.remote,
        gateway: remote.gateway,
        carrier: carrier(remote.encapsulation),
        mtu_bytes: remote.mtu,
    })
}

/// What tells copies of this form from all else that our address sends.
fn carrier(encapsulation: Encapsulation) -> Carrier {
    let key = match encapsulation {
        Encapsulation::Vxlan { port, .. } => return Carrier::Udp { port },
        Encapsulation::Gre { key, .. } => key,
        _ => None,
    };
    let first_word = encapsulation.gre_first_word();
    first_word.map_or(Carrier::Nothing, |first_word| Carrier::Gre { first_word, key })
}

/// The decap ports whose uplinks are there, with their shelves.
pub(crate) fn decap_points(ports: &Ports, cards: &Cards) -> Vec<(DecapPoint, Arc<DecapShelf>)> {
    let point = |port: &ServedPort| match &port.config.attachment {
        Attachment::Decap(config) => {
            let shelf = Arc::clone(port.handle.shelf()?);
            Some((decap_point(port, config, ports, cards)?, shelf))
        }
        Attachment::Vm(_) | Attachment::Uplink(_) | Attachment::Tap(_) => None,
    };
    ports.iter().filter_map(point).collect()
}

fn decap_point(
    port: &ServedPort,
    config: &DecapConfig,
    ports: &Ports,
    cards: &Cards,
) -> Option<DecapPoint> {
    let interface = uplink_of(ports, &config.uplink)?;
    let own_mac = config.mac.unwrap_or_else(|| cards.address(interface));
    let own = IpNet::new_assert(config.local, config.prefix_len);
    let tag = config.vlan.map(|vlan| UnderlayTag { vlan, priority: config.pcp.get() });
    match Endpoint::listening(own_mac, own, tag) {
        Ok(endpoint) => Some(DecapPoint {
            number: port.number,
            port: port.id,
            uplink: ports.find(&config.uplink)?.id,
            endpoint,
            vxlan_port: config.udp_port,
        }),
        Err(error) => {
            tracing::warn!("port {} takes nothing: {error}", port.config.name);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use helio_encap::{GreSequence, UdpChecksum, Vni};

    /// The way to the first destination of the first session of a configuration.
    fn way_to(destination: &str) -> Result<Endpoint, EndpointError> {
        let text = format!(
            "[[worker]]\ncore = 0\n[[port]]\nname = \"up\"\ninterface = \"helio-none\"\n\
             [[mirror]]\nname = \"far\"\nsource-vlans = [10]\n[[mirror.destination]]\nuplink = \"up\"\n\
             encapsulation = \"gre\"\nlocal = \"10.0.0.1/24\"\n{destination}\n"
        );
        let config = helio_config::Config::from_str(&text, "a test").unwrap();
        match &config.sessions[0].destinations[0] {
            helio_config::MirrorDestination::Remote(remote) => {
                endpoint(remote, "helio-none", &Cards::default())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_collector_elsewhere_is_reached_by_a_router_or_by_the_address_of_its_card() {
        let way = way_to("remote = \"192.0.2.9\"\ngateway = \"10.0.0.254\"").unwrap();
        assert_eq!(way.next_hop().to_string(), "10.0.0.254");
        let way = way_to("remote = \"192.0.2.9\"\nremote-mac = \"52:54:00:12:34:57\"").unwrap();
        assert_eq!(way.remote().to_string(), "192.0.2.9");
        assert_eq!(way.own_address().to_string(), "10.0.0.1");
    }

    #[test]
    fn copies_are_told_from_all_else_by_what_each_of_them_begins_with() {
        let key = Some(7);
        let keyed = Encapsulation::Gre { key, sequence: GreSequence::Present };
        for (form, first_word, key) in [
            (Encapsulation::ErspanI, [0, 0, 0x88, 0xbe], None),
            (keyed, [0x30, 0, 0x65, 0x58], key),
        ] {
            assert_eq!(carrier(form), Carrier::Gre { first_word, key });
        }
        let (vni, checksum) = (Vni::of_low_bits(7), UdpChecksum::Zero);
        let vxlan = Encapsulation::Vxlan { vni, port: 8472, checksum };
        assert_eq!(carrier(vxlan), Carrier::Udp { port: 8472 });
    }
}
