//! A collector that is a router away: the wire "near" to a router, and from there a narrower one to "beyond", where the kernel
//! has the addresses of the collector.

use super::collector::{Form, Network, destination};
use super::namespace::Namespace;
use super::wire::{Card, give_address, ip, lay_wire};

/// It forwards, and says of each datagram that it was too long.
const SETTINGS: &str = "for setting in ipv4/ip_forward ipv6/conf/all/forwarding; do \
     echo 1 >/proc/sys/net/$setting; done; \
     for setting in ipv4/icmp_ratelimit ipv6/icmp/ratelimit; do \
     echo 0 >/proc/sys/net/$setting; done";

/// Addresses of the router in the network of the switch and in that of the collector, and of the collector.
const NEAR: [&str; 2] = ["10.9.0.254", "fd09::fe"];
const FAR: [&str; 2] = ["10.8.0.254", "fd08::fe"];
const COLLECTOR: [&str; 2] = ["10.8.0.9", "fd08::9"];
const PREFIXES: [&str; 2] = ["24", "64"];

/// The router, while it is there.
pub struct Router {
    host: Namespace,
}

impl Router {
    /// Lays the wires, the second one for datagrams of at most `mtu` bytes. The card is that of the collector.
    #[track_caller]
    pub fn join(mtu: u32) -> (Self, Card) {
        let host = Namespace::new(SETTINGS);
        for (ours, its, bytes, addresses) in
            [("near", "to-switch", 1500, NEAR), ("beyond", "to-collector", mtu, FAR)]
        {
            lay_wire(ours, its, bytes);
            ip(&format!("link set {its} netns {}", host.id()));
            host.ip(&format!("link set {its} up"));
            for (address, prefix) in addresses.into_iter().zip(PREFIXES) {
                // Nobody asks whether somebody else has one of IPv6.
                let unasked = if address.contains(':') { " nodad" } else { "" };
                host.ip(&format!("addr add {address}/{prefix} dev {its}{unasked}"));
            }
        }
        for (address, prefix) in COLLECTOR.into_iter().zip(PREFIXES) {
            give_address("beyond", &format!("{address}/{prefix}"));
        }
        (Self { host }, Card::on("beyond"))
    }

    /// One `[[mirror.destination]]` for the collector, by this router, with more keys.
    pub fn destination(&self, (network, form): (Network, Form), more: &str) -> String {
        let (gateway, collector) = (NEAR[network as usize], COLLECTOR[network as usize]);
        let text = destination((network, form), more);
        let other = ["remote = \"10.9.0.9\"", "remote = \"fd09::9\""][network as usize];
        text.replace(other, &format!("remote = \"{collector}\"\ngateway = \"{gateway}\""))
    }
}
