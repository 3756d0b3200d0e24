//! Addresses of the switch itself in the network behind an uplink, and of those it sends copies to there.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use helio_types::{MacAddr, VlanId};

/// The address and the length of the network in `text`, as in `10.0.0.1/24`.
pub(crate) fn local_address(key: &str, text: &str) -> Result<(IpAddr, u8), String> {
    let wrong = || {
        format!(
            "{key} = {text:?} is no address with the length of its network; write, for example, {key} = \"10.0.0.1/24\""
        )
    };
    let (address, length) = text.split_once('/').ok_or_else(wrong)?;
    let address = IpAddr::from_str(address).map_err(|_| wrong())?;
    let is_plain = length.bytes().all(|digit| digit.is_ascii_digit());
    let length = length.parse::<u8>().ok().filter(|_| is_plain).ok_or_else(wrong)?;
    if !(1..=address_bits(address)).contains(&length) {
        let bits = address_bits(address);
        return Err(format!("{key} = {text:?} has a network of {length} bits; write 1 to {bits}"));
    }
    one_host(key, address)?;
    no_end_of_network(key, address, address, length)?;
    Ok((address, length))
}

/// The address in `text`, when it can be in the network of `local` or be reached from there.
pub(crate) fn far_address(key: &str, text: &str, local: (IpAddr, u8)) -> Result<IpAddr, String> {
    let address = IpAddr::from_str(text).map_err(|_| {
        format!("{key} = {text:?} is no address; write, for example, {key} = \"10.0.0.9\"")
    })?;
    one_host(key, address)?;
    let (own, length) = local;
    if address.is_ipv4() != own.is_ipv4() {
        return Err(format!(
            "{key} = {address} and local = {own} are of two IP versions; write both of one"
        ));
    }
    if address == own {
        return Err(format!(
            "{key} = {address} is the address of the switch itself; write another"
        ));
    }
    no_end_of_network(key, address, own, length)?;
    Ok(address)
}

/// The network behind an uplink that a host without a router is in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network<'a> {
    pub(crate) uplink: &'a str,
    /// `None`: without a tag.
    pub(crate) vlan: Option<VlanId>,
}

impl Network<'_> {
    /// Whether a plan shows that both are not one. What is untagged at one uplink can have a tag at another.
    pub(crate) fn is_apart_from(&self, other: &Self) -> bool {
        let have_tags = self.vlan.is_some() && other.vlan.is_some();
        self.vlan != other.vlan && (have_tags || self.uplink == other.uplink)
    }
}

/// Whether `address` is in the network that the first `length` bits of `own` name.
pub(crate) fn is_on_link(address: IpAddr, own: IpAddr, length: u8) -> bool {
    address.is_ipv4() == own.is_ipv4()
        && (number(address) ^ number(own)) & !host_mask(own, length) == 0
}

/// `text` as the address of one card.
pub(crate) fn card_address(key: &str, text: &str) -> Result<MacAddr, String> {
    let mac = MacAddr::from_str(text).map_err(|error| format!("{key} = {text:?}: {error}"))?;
    if mac.is_group() || mac.to_u64() == 0 {
        return Err(format!("{key} = {mac} is not the address of one card; write one that is"));
    }
    Ok(mac)
}

fn one_host(key: &str, address: IpAddr) -> Result<(), String> {
    let is_one = match address {
        IpAddr::V4(v4) => {
            !v4.is_unspecified() && !v4.is_loopback() && !v4.is_multicast() && !v4.is_broadcast()
        }
        IpAddr::V6(v6) => {
            !v6.is_unspecified()
                && v6 != Ipv6Addr::LOCALHOST
                && !v6.is_multicast()
                && v6.to_ipv4_mapped().is_none()
        }
    };
    if is_one {
        Ok(())
    } else {
        Err(format!("{key} = {address} is not the address of one host; write one that is"))
    }
}

/// The lowest and the highest address of an IPv4 network belong to no host. RFC 1122, section 3.2.1.3; RFC 3021 for 31 bits.
fn no_end_of_network(key: &str, address: IpAddr, own: IpAddr, length: u8) -> Result<(), String> {
    if own.is_ipv6() || length > 30 || !is_on_link(address, own, length) {
        return Ok(());
    }
    let hosts = host_mask(own, length);
    let in_network = number(address) & hosts;
    if in_network == 0 || in_network == hosts {
        let which = if in_network == 0 { "first" } else { "last" };
        return Err(format!(
            "{key} = {address} is the {which} address of its network of {length} bits, which no host has; write another"
        ));
    }
    Ok(())
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn address_bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The bits behind the first `length`.
fn host_mask(own: IpAddr, length: u8) -> u128 {
    let hosts = u32::from(address_bits(own).saturating_sub(length));
    u128::MAX.checked_shl(hosts).map_or(u128::MAX, |network| !network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_own_address_has_the_length_of_its_network() {
        assert_eq!(local_address("local", "10.0.0.1/24"), Ok((ip("10.0.0.1"), 24)));
        assert_eq!(local_address("local", "10.0.0.0/31"), Ok((ip("10.0.0.0"), 31)));
        assert_eq!(local_address("local", "fd00::/64"), Ok((ip("fd00::"), 64)));
        assert_eq!(local_address("local", "fd00::1/128"), Ok((ip("fd00::1"), 128)));
        for text in [
            "",
            "10.0.0.1",
            "10.0.0.1/",
            "10.0.0.1/0",
            "10.0.0.1/33",
            "10.0.0.1/+8",
            "10.0.0.1/24/8",
            "/24",
            "10.0.0.0/24",
            "10.0.0.255/24",
            "127.0.0.1/8",
            "0.0.0.0/8",
            "224.0.0.1/4",
            "::1/64",
            "ff02::1/64",
            "::/64",
            "::ffff:10.0.0.1/120",
            "fd00::1/129",
            "uplink0/24",
        ] {
            let refused = local_address("local", text).unwrap_err();
            assert!(refused.starts_with("local = "), "{text}: {refused}");
        }
    }

    #[test]
    fn a_far_address_is_of_the_same_version_and_another_host() {
        let own = (ip("10.0.0.1"), 24);
        for good in ["10.0.0.9", "10.0.1.0", "10.0.1.255", "192.0.2.1"] {
            assert_eq!(far_address("remote", good, own), Ok(ip(good)));
        }
        for bad in [
            "10.0.0.1",
            "10.0.0.0",
            "10.0.0.255",
            "fd00::9",
            "224.0.0.1",
            "collector",
            "10.0.0.9/24",
        ] {
            assert!(far_address("remote", bad, own).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_network_ends_with_its_last_bit() {
        assert!(is_on_link(ip("10.0.0.254"), ip("10.0.0.1"), 24));
        assert!(!is_on_link(ip("10.0.1.1"), ip("10.0.0.1"), 24));
        assert!(is_on_link(ip("10.0.1.1"), ip("10.0.0.1"), 23));
        assert!(!is_on_link(ip("10.0.0.2"), ip("10.0.0.1"), 32));
        assert!(
            is_on_link(ip("fd00::9"), ip("fd00::1"), 64)
                && !is_on_link(ip("fd00:0:0:1::9"), ip("fd00::1"), 64)
        );
        assert!(!is_on_link(ip("::a00:9"), ip("10.0.0.1"), 24));
    }

    #[test]
    fn a_card_has_an_address_of_its_own() {
        assert!(card_address("mac", "52:54:00:00:00:01").is_ok());
        for bad in ["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "52:54"] {
            assert!(card_address("mac", bad).is_err(), "{bad}");
        }
    }
}
