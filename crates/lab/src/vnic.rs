//! The network cards of a QEMU guest, each the far side of one port of the switch.

use std::path::PathBuf;

/// Who listens on the socket of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketRole {
    /// The switch listens and the guest connects, again and again until it succeeds.
    GuestConnects,
    /// The guest listens and the switch connects.
    GuestListens,
}

/// One network card of a guest.
#[derive(Clone, Debug)]
pub struct Vnic {
    name: String,
    mac: String,
    address: String,
    socket: PathBuf,
    role: SocketRole,
    queue_pairs: u16,
    device_options: String,
}

impl Vnic {
    /// A card that connects to the port at `socket`; `name` is what the guest calls it, at most 15 characters.
    #[must_use]
    pub fn new(name: &str, mac: &str, socket: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            mac: mac.to_owned(),
            address: String::new(),
            socket,
            role: SocketRole::GuestConnects,
            queue_pairs: 1,
            device_options: String::new(),
        }
    }

    /// The IP address with its prefix length; without it the card is up but has none.
    #[must_use]
    pub fn address(mut self, address: &str) -> Self {
        address.clone_into(&mut self.address);
        self
    }

    /// Who listens on the socket.
    #[must_use]
    pub fn role(mut self, role: SocketRole) -> Self {
        self.role = role;
        self
    }

    /// How many queue pairs the card has.
    #[must_use]
    pub fn queue_pairs(mut self, count: u16) -> Self {
        self.queue_pairs = count;
        self
    }

    /// Switches off properties of QEMU's `virtio-net-pci`, for example `guest_csum` or `mrg_rxbuf`.
    #[must_use]
    pub fn without(mut self, properties: &[&str]) -> Self {
        for property in properties {
            self.device_options.push_str(&format!(",{property}=off"));
        }
        self
    }

    /// The word on the kernel command line by which the guest sets this card up.
    pub(crate) fn kernel_word(&self) -> String {
        format!("helio.nic={},{},{}", self.mac, self.name, self.address)
    }

    /// QEMU's options for the card; `index` makes their names unique.
    pub(crate) fn qemu_options(&self, index: usize) -> Vec<String> {
        let role = match self.role {
            SocketRole::GuestConnects => "reconnect=1",
            SocketRole::GuestListens => "server=on,wait=off",
        };
        let multi_queue = if self.queue_pairs > 1 { ",mq=on" } else { "" };
        vec![
            "-chardev".to_owned(),
            format!("socket,id=char{index},path={},{role}", self.socket.display()),
            "-netdev".to_owned(),
            format!("vhost-user,id=net{index},chardev=char{index},queues={}", self.queue_pairs),
            "-device".to_owned(),
            // vectors=0: QEMU 7.2 crashes under TCG when MSI-X and vhost-user meet.
            format!(
                "virtio-net-pci,netdev=net{index},mac={},vectors=0,romfile={multi_queue}{}",
                self.mac, self.device_options
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> Vnic {
        Vnic::new("sniffie", "02:00:00:00:00:03", PathBuf::from("/s"))
    }

    #[test]
    fn a_card_without_address_has_an_empty_third_field() {
        assert_eq!(card().kernel_word(), "helio.nic=02:00:00:00:00:03,sniffie,");
    }

    #[test]
    fn properties_and_queue_pairs_reach_the_device() {
        let options = card().queue_pairs(4).without(&["csum", "mrg_rxbuf"]).qemu_options(1);
        assert_eq!(options[3], "vhost-user,id=net1,chardev=char1,queues=4");
        assert!(options[5].ends_with("romfile=,mq=on,csum=off,mrg_rxbuf=off"), "{}", options[5]);
    }

    #[test]
    fn the_guest_listens_when_the_switch_connects() {
        let options = card().role(SocketRole::GuestListens).qemu_options(0);
        assert_eq!(options[1], "socket,id=char0,path=/s,server=on,wait=off");
    }
}
