//! Which address stands for the card of each uplink. The host is asked once for all that is put in place together.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;

use helio_host::{Interface, Interfaces};
use helio_types::MacAddr;

use crate::ports::Ports;
use crate::underlay::uplink_of;

/// The interfaces of uplinks, each with the address that stands for its card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cards(Vec<(String, MacAddr)>);

impl Cards {
    /// As they are now.
    ///
    /// # Errors
    ///
    /// When the host does not tell.
    pub(crate) fn of_uplinks(ports: &Ports) -> io::Result<Self> {
        let interfaces = Interfaces::new()?;
        let uplinks = ports.iter().filter_map(|port| uplink_of(ports, &port.config.name));
        Self::look_up(uplinks, |name| interfaces.find(name))
    }

    fn look_up<'a>(
        names: impl Iterator<Item = &'a str>,
        mut find: impl FnMut(&str) -> io::Result<Option<Interface>>,
    ) -> io::Result<Self> {
        let card = |name: &str| Ok((name.to_owned(), address_of(find(name)?, name)));
        names.map(card).collect::<io::Result<_>>().map(Self)
    }

    /// One card, for tests.
    #[cfg(test)]
    pub(crate) fn one(interface: &str, mac: MacAddr) -> Self {
        Self(vec![(interface.to_owned(), mac)])
    }

    /// The address of the card of an interface. While that is not there, or has none, one that is made from its name: the same
    /// each time, locally administered, and nobody's group.
    pub(crate) fn address(&self, interface: &str) -> MacAddr {
        let known = self.0.iter().find(|(name, _)| name == interface);
        known.map_or_else(|| made_up_address(interface), |(_, mac)| *mac)
    }
}

/// The address that stands for the card of the interface `name`, which was `found`.
fn address_of(found: Option<Interface>, name: &str) -> MacAddr {
    let own = found.map(|interface| interface.mac).filter(|mac| *mac != MacAddr([0; 6]));
    own.unwrap_or_else(|| made_up_address(name))
}

fn made_up_address(interface: &str) -> MacAddr {
    let mut hasher = DefaultHasher::new();
    interface.hash(&mut hasher);
    let [_, _, a, b, c, d, e, f] = hasher.finish().to_be_bytes();
    MacAddr([a & 0xfc | 2, b, c, d, e, f])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_made_up_is_local_and_no_groups_and_always_the_same() {
        let [a, b] = ["eth1", "eth2"].map(made_up_address);
        assert_eq!(a, made_up_address("eth1"));
        assert_ne!(a, b);
        for address in [a, b] {
            assert_eq!(address.0[0] & 3, 2);
        }
    }

    #[test]
    fn the_host_is_asked_once_for_each_interface_however_often_its_address_is_used() {
        let mut asked = Vec::new();
        let cards = Cards::look_up(["eth1", "lo", "gone"].into_iter(), |name| {
            asked.push(name.to_owned());
            Interfaces::new()?.find(if name == "lo" { "lo" } else { "helio-none" })
        })
        .unwrap();
        for name in ["eth1", "lo", "gone", "not an uplink"] {
            // The loopback interface is there, and its card has no address.
            assert_eq!([0; 5].map(|_| cards.address(name)), [made_up_address(name); 5]);
        }
        assert_eq!(asked, ["eth1", "lo", "gone"]);
    }

    #[test]
    fn a_card_that_is_known_has_its_own_address() {
        let mac = MacAddr([2, 0, 0, 0, 0, 7]);
        let cards = Cards::one("eth1", mac);
        assert_eq!(cards.address("eth1"), mac);
        assert_eq!(cards.address("eth2"), made_up_address("eth2"));
    }
}
