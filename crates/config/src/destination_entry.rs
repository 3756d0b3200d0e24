//! A destination of a mirror session as people write it, and the checks that turn it into a [`MirrorDestination`].

use std::net::IpAddr;
use std::num::NonZeroU8;

use helio_encap::{Cos, Dscp, IpVersion, Oversize};
use serde::{Deserialize, Serialize};

use crate::encapsulation_entry::write_encapsulation;
use crate::port::check_port_name;
use crate::port_entry::wrong_word;
use crate::problem::Faults;
use crate::range::within;
use crate::session::{MirrorDestination, RemoteDestination};
use crate::underlay::{card_address, far_address, is_on_link, local_address};
use crate::vlan_setting::vlan_id;

/// A destination as written, in TOML and in JSON: nothing is checked yet, and `None` stands for the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DestinationEntry {
    /// The port that gets the copies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// The VLAN on which it gets them, 1 to 4094; left out, they go as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rspan_vlan: Option<u64>,
    /// The uplink behind which the collector is, instead of a port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink: Option<String>,
    /// `erspan-1`, `erspan-2`, `erspan-3`, `gre` or `vxlan`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encapsulation: Option<String>,
    /// Address of the switch itself and the length of its network, as `10.0.0.1/24`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<String>,
    /// Address of the collector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// The next hop when the collector is in another network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// The session of ERSPAN, the key of GRE, or the network of VXLAN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Whether GRE numbers its copies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<bool>,
    /// Security group tag of ERSPAN type III.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_group: Option<u64>,
    /// Hardware id of ERSPAN type III.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware_id: Option<u64>,
    /// Whether ERSPAN type III tells the source and the whole time stamp in a sub-header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_header: Option<bool>,
    /// UDP port of a VXLAN collector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub udp_port: Option<u64>,
    /// Whether VXLAN copies have a checksum of UDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub udp_checksum: Option<bool>,
    /// Longest datagram that the path takes, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u64>,
    /// `truncate`, `fragment` or `drop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oversize: Option<String>,
    /// Traffic class, 0 to 63.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dscp: Option<u64>,
    /// Time to live, 1 to 255.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
    /// VLAN of the outer tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u64>,
    /// Priority of the outer tag, 0 to 7.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pcp: Option<u64>,
    /// MAC address of the switch itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// MAC address of the next hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_mac: Option<String>,
}

/// The words for what becomes of copies that are longer than their path takes.
const OVERSIZE: [(&str, Oversize); 3] =
    [("truncate", Oversize::Truncate), ("fragment", Oversize::Fragment), ("drop", Oversize::Drop)];

impl DestinationEntry {
    /// The checked destination. Every check is made before the first `?`.
    pub(crate) fn check_into(&self, faults: &mut Faults) -> Option<MirrorDestination> {
        match (&self.port, &self.uplink) {
            (Some(port), None) => self.check_local(port, faults),
            (None, Some(uplink)) => {
                self.check_remote(uplink, faults).map(MirrorDestination::Remote)
            }
            (Some(_), Some(_)) => {
                let text = "copies go to a port, or to a collector behind an uplink; leave one of the two out";
                faults.add("port", text.to_owned());
                None
            }
            (None, None) if self.keys_of_remote().next().is_some() => {
                faults.add("uplink", missing("uplink", "uplink = \"uplink0\""));
                None
            }
            (None, None) => {
                faults.add("port", self.missing_place());
                None
            }
        }
    }

    /// The sentence for a destination that does not say where it is.
    fn missing_place(&self) -> String {
        match self.rspan_vlan {
            Some(_) => "the port is missing; an rspan-vlan is one of a port, as in port = \"uplink0\"",
            None => "the destination is missing; write port = \"sniffie\", or for a collector uplink = \"uplink0\"",
        }
        .to_owned()
    }

    fn check_local(&self, port: &str, faults: &mut Faults) -> Option<MirrorDestination> {
        for key in self.keys_of_remote() {
            let text = format!(
                "{key} is for a collector; write uplink = {port:?} instead of port, or leave {key} out"
            );
            faults.add(key, text);
        }
        let port = faults.keep("port", check_port_name(port).map(|()| port.to_owned()));
        let vlan = self.rspan_vlan.map(|vlan| vlan_id("rspan-vlan", vlan)).transpose();
        let vlan = faults.keep("rspan-vlan", vlan);
        let port = port?;
        Some(match vlan? {
            Some(vlan) => MirrorDestination::Rspan { port, vlan },
            None => MirrorDestination::Port { port },
        })
    }

    /// The keys that are there and are only for collectors.
    fn keys_of_remote(&self) -> impl Iterator<Item = &'static str> + use<> {
        let keys = [
            ("encapsulation", self.encapsulation.is_some()),
            ("local", self.local.is_some()),
            ("remote", self.remote.is_some()),
            ("gateway", self.gateway.is_some()),
            ("id", self.id.is_some()),
            ("sequence", self.sequence.is_some()),
            ("security-group", self.security_group.is_some()),
            ("hardware-id", self.hardware_id.is_some()),
            ("sub-header", self.sub_header.is_some()),
            ("udp-port", self.udp_port.is_some()),
            ("udp-checksum", self.udp_checksum.is_some()),
            ("mtu", self.mtu.is_some()),
            ("oversize", self.oversize.is_some()),
            ("dscp", self.dscp.is_some()),
            ("ttl", self.ttl.is_some()),
            ("vlan", self.vlan.is_some()),
            ("pcp", self.pcp.is_some()),
            ("mac", self.mac.is_some()),
            ("remote-mac", self.remote_mac.is_some()),
        ];
        keys.into_iter().filter(|(_, is_there)| *is_there).map(|(key, _)| key)
    }

    fn check_remote(&self, uplink: &str, faults: &mut Faults) -> Option<RemoteDestination> {
        if self.rspan_vlan.is_some() {
            let text = "rspan-vlan is for a port; write vlan for the tag of the datagrams, or port instead of uplink";
            faults.add("rspan-vlan", text.to_owned());
        }
        let uplink = faults.keep("uplink", check_port_name(uplink).map(|()| uplink.to_owned()));
        let local =
            self.local.as_deref().ok_or_else(|| missing("local", "local = \"10.0.0.1/24\""));
        let local = faults.keep("local", local.and_then(|text| local_address("local", text)));
        let far = local.and_then(|local| self.check_way(local, faults));
        let mac = self.mac.as_deref().map(|mac| card_address("mac", mac)).transpose();
        let mac = faults.keep("mac", mac);
        let remote_mac =
            self.remote_mac.as_deref().map(|mac| card_address("remote-mac", mac)).transpose();
        let remote_mac = faults.keep("remote-mac", remote_mac);
        let (vlan, pcp) = check_tag(self.vlan, self.pcp, faults).unzip();
        let version = match local {
            Some((IpAddr::V6(_), _)) => IpVersion::V6,
            _ => IpVersion::V4,
        };
        let encapsulation = self.check_encapsulation(version, faults);
        // RFC 791, section 3.2; RFC 8200, section 5.
        let shortest = match version {
            IpVersion::V4 => 68,
            IpVersion::V6 => 1280,
        };
        let mtu = self.mtu.unwrap_or(u64::from(RemoteDestination::DEFAULT_MTU));
        let mtu = faults.keep("mtu", within("mtu", mtu, shortest..=65_535));
        let oversize = faults.keep("oversize", oversize(self.oversize.as_deref()));
        let dscp = within("dscp", self.dscp.unwrap_or(0), 0..=63).map(Dscp::of_low_bits);
        let dscp = faults.keep("dscp", dscp);
        let ttl = self.ttl.unwrap_or(u64::from(RemoteDestination::DEFAULT_TTL.get()));
        let ttl = faults.keep("ttl", within::<u8>("ttl", ttl, 1..=255));
        let ((local, prefix_len), (remote, gateway)) = (local?, far?);
        Some(RemoteDestination {
            uplink: uplink?,
            local,
            prefix_len,
            remote,
            gateway,
            mac: mac?,
            remote_mac: remote_mac?,
            vlan: vlan?,
            pcp: pcp?,
            encapsulation: encapsulation?,
            mtu: mtu?,
            oversize: oversize?,
            dscp: dscp?,
            ttl: NonZeroU8::new(ttl?)?,
        })
    }

    /// The collector, and the gateway if there is one.
    fn check_way(
        &self,
        local: (IpAddr, u8),
        faults: &mut Faults,
    ) -> Option<(IpAddr, Option<IpAddr>)> {
        let remote =
            self.remote.as_deref().ok_or_else(|| missing("remote", "remote = \"10.0.0.9\""));
        let remote =
            faults.keep("remote", remote.and_then(|text| far_address("remote", text, local)));
        let gateway =
            self.gateway.as_deref().map(|text| far_address("gateway", text, local)).transpose();
        let gateway = faults.keep("gateway", gateway);
        let (remote, gateway) = (remote?, gateway?);
        faults.keep("gateway", self.check_hop(local, remote, gateway))?;
        Some((remote, gateway))
    }

    /// Whether the next hop is known, once.
    fn check_hop(
        &self,
        (own, length): (IpAddr, u8),
        remote: IpAddr,
        gateway: Option<IpAddr>,
    ) -> Result<(), String> {
        let is_near = is_on_link(remote, own, length);
        match gateway {
            Some(gateway) if is_near => Err(format!(
                "gateway = {gateway} is not needed, as {remote} is in the network of {own}/{length}; leave it out"
            )),
            Some(gateway) if !is_on_link(gateway, own, length) => Err(format!(
                "gateway = {gateway} is not in the network of {own}/{length}; write the address of a router that is"
            )),
            Some(_) if self.remote_mac.is_some() => {
                Err("there is a gateway and a remote-mac, and both name the next hop; leave one of them out".to_owned())
            }
            None if !is_near && self.remote_mac.is_none() => {
                let example = if own.is_ipv4() { "10.0.0.254" } else { "fd00::fe" };
                Err(format!(
                    "{remote} is not in the network of {own}/{length}; write the router there, as in gateway = {example:?}, or its remote-mac"
                ))
            }
            _ => Ok(()),
        }
    }
}

/// The outer tag.
pub(crate) fn check_tag(
    vlan: Option<u64>,
    pcp: Option<u64>,
    faults: &mut Faults,
) -> Option<(Option<helio_types::VlanId>, Cos)> {
    if vlan.is_none() && pcp.is_some() {
        faults.add(
            "pcp",
            "pcp is of a tag; write its VLAN too, as in vlan = 7, or leave pcp out".to_owned(),
        );
    }
    let vlan = faults.keep("vlan", vlan.map(|vlan| vlan_id("vlan", vlan)).transpose());
    let pcp = within("pcp", pcp.unwrap_or(0), 0..=7).map(Cos::of_low_bits);
    let pcp = faults.keep("pcp", pcp);
    Some((vlan?, pcp?))
}

pub(crate) fn missing(key: &str, example: &str) -> String {
    let article = if key.starts_with(['e', 'i', 'u']) { "an" } else { "a" };
    format!("the {key} is missing; a collector needs {article} {key}, as in {example}")
}

fn oversize(word: Option<&str>) -> Result<Oversize, String> {
    let Some(word) = word else { return Ok(Oversize::default()) };
    let known = OVERSIZE.iter().find(|(name, _)| *name == word).map(|(_, oversize)| *oversize);
    known.ok_or_else(|| wrong_word("oversize", word, &OVERSIZE.map(|(name, _)| name)))
}

impl From<&MirrorDestination> for DestinationEntry {
    fn from(destination: &MirrorDestination) -> Self {
        match destination {
            MirrorDestination::Port { port } => {
                Self { port: Some(port.clone()), ..Self::default() }
            }
            MirrorDestination::Rspan { port, vlan } => Self {
                port: Some(port.clone()),
                rspan_vlan: Some(u64::from(vlan.get())),
                ..Self::default()
            },
            MirrorDestination::Remote(remote) => Self::from(remote),
        }
    }
}

impl From<&RemoteDestination> for DestinationEntry {
    fn from(remote: &RemoteDestination) -> Self {
        let oversize = OVERSIZE.iter().find(|(_, oversize)| *oversize == remote.oversize);
        let mut entry = Self {
            uplink: Some(remote.uplink.clone()),
            local: Some(format!("{}/{}", remote.local, remote.prefix_len)),
            remote: Some(remote.remote.to_string()),
            gateway: remote.gateway.map(|gateway| gateway.to_string()),
            mtu: Some(u64::from(remote.mtu)),
            oversize: oversize.map(|(word, _)| (*word).to_owned()),
            dscp: Some(u64::from(remote.dscp.get())),
            ttl: Some(u64::from(remote.ttl.get())),
            vlan: remote.vlan.map(|vlan| u64::from(vlan.get())),
            pcp: remote.vlan.map(|_| u64::from(remote.pcp.get())),
            mac: remote.mac.map(|mac| mac.to_string()),
            remote_mac: remote.remote_mac.map(|mac| mac.to_string()),
            ..Self::default()
        };
        write_encapsulation(&remote.encapsulation, &mut entry);
        entry
    }
}
