//! What a port is attached to.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use helio_types::{Mirroring, PassRule, UplinkMode};

use crate::decap::{DecapEntry, DecapPoint};
use crate::port::SocketMode;
use crate::port_entry::{check_socket_path, wrong_word};
use crate::problem::Faults;
use crate::range::within;
use crate::{PortEntry, VlanSetting};

/// What a port is attached to: a guest, a wire, or the host itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// A guest, by vhost-user.
    Vm(VmSocket),
    /// An interface of the host, by AF_XDP.
    Uplink(UplinkInterface),
    /// The host, by an interface that the switch makes.
    Tap(TapInterface),
    /// Mirror streams that arrive on an uplink.
    Decap(DecapPoint),
}

/// The interface that a TAP port makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapInterface {
    /// Its name, 1 to 15 bytes; unique in the switch.
    pub name: String,
}

/// The socket by which a guest attaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmSocket {
    /// Path of the vhost-user socket, at most 107 bytes; unique in the switch.
    pub path: PathBuf,
    /// Which side of the socket the switch is.
    pub mode: SocketMode,
    /// Queue pairs offered to the front-end, 1 to 128.
    pub queue_pairs: u16,
}

/// The interface of an uplink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UplinkInterface {
    /// Its name, 1 to 15 bytes; unique in the switch.
    pub name: String,
    /// How it is reached.
    pub mode: UplinkMode,
    /// How many of its queues are used, 1 to 64; `None`: all.
    pub queues: Option<u16>,
    /// Frames that go to the host instead of the switch.
    pub pass: Vec<PassRule>,
}

impl Attachment {
    /// The socket of a VM port.
    #[must_use]
    pub fn socket(&self) -> Option<&Path> {
        match self {
            Self::Vm(socket) => Some(&socket.path),
            Self::Uplink(_) | Self::Tap(_) | Self::Decap(_) => None,
        }
    }

    /// The interface of an uplink or a TAP port.
    #[must_use]
    pub fn interface(&self) -> Option<&str> {
        match self {
            Self::Vm(_) | Self::Decap(_) => None,
            Self::Uplink(uplink) => Some(&uplink.name),
            Self::Tap(tap) => Some(&tap.name),
        }
    }

    /// The key by which a configuration names it.
    pub(crate) fn key(&self) -> &'static str {
        match self {
            Self::Vm(_) => "socket",
            Self::Uplink(_) => "interface",
            Self::Tap(_) => "tap",
            Self::Decap(_) => "decap",
        }
    }

    /// Writes the keys that say this into an entry that has none of them.
    pub(crate) fn write_to(self, entry: &mut PortEntry) {
        match self {
            Self::Vm(socket) => {
                entry.socket = socket.path.to_string_lossy().into_owned();
                entry.mode = Some(socket.mode.name().to_owned());
                entry.queue_pairs = Some(u64::from(socket.queue_pairs));
            }
            Self::Uplink(uplink) => {
                entry.interface = Some(uplink.name);
                entry.mode = Some(uplink.mode.name().to_owned());
                entry.queues = uplink.queues.map(u64::from);
                entry.pass = uplink.pass.iter().map(PassRule::to_string).collect();
            }
            Self::Tap(tap) => entry.tap = Some(tap.name),
            Self::Decap(point) => entry.decap = Some(DecapEntry::from(&point)),
        }
    }
}

impl PortEntry {
    /// What the port shall be attached to. Every check is made before the first `?`.
    pub(crate) fn check_attachment(&self, faults: &mut Faults) -> Option<Attachment> {
        if let Some(point) = &self.decap {
            return self.check_decap(point, faults).map(Attachment::Decap);
        }
        match (&self.tap, &self.interface) {
            (Some(name), _) => self.check_tap(name, faults).map(Attachment::Tap),
            (None, Some(name)) => self.check_uplink(name, faults).map(Attachment::Uplink),
            (None, None) => self.check_vm(faults).map(Attachment::Vm),
        }
    }

    fn check_vm(&self, faults: &mut Faults) -> Option<VmSocket> {
        for (key, is_there) in [("queues", self.queues.is_some()), ("pass", !self.pass.is_empty())]
        {
            if is_there {
                let text = format!(
                    "{key} is for uplinks; write interface = \"eth1\" instead of a socket, or leave {key} out"
                );
                faults.add(key, text);
            }
        }
        let path = check_socket_path("socket", &self.socket).map(|()| PathBuf::from(&self.socket));
        let path = faults.keep("socket", path);
        let mode = faults.keep("mode", socket_mode(self.mode.as_deref()));
        let pairs = self.queue_pairs.unwrap_or(u64::from(VmSocket::DEFAULT_QUEUE_PAIRS));
        let queue_pairs = faults.keep("queue-pairs", within("queue-pairs", pairs, 1..=128));
        Some(VmSocket { path: path?, mode: mode?, queue_pairs: queue_pairs? })
    }

    fn check_uplink(&self, name: &str, faults: &mut Faults) -> Option<UplinkInterface> {
        if !self.socket.is_empty() {
            faults.add(
                "interface",
                "a port has a socket or an interface; leave one of them out".to_owned(),
            );
        }
        if self.queue_pairs.is_some() {
            let text = "queue-pairs are those of a guest; leave it out, and all queues of the interface are used";
            faults.add("queue-pairs", text.to_owned());
        }
        let name = faults.keep("interface", check_interface(name));
        let mode = faults.keep("mode", uplink_mode(self.mode.as_deref()));
        let queues = self.queues.map(|count| within("queues", count, 1..=64)).transpose();
        let queues = faults.keep("queues", queues);
        let rules = self.pass.iter().map(|rule| {
            PassRule::from_str(rule).map_err(|error| format!("pass has {rule:?}; {error}"))
        });
        let pass = faults.keep("pass", rules.collect::<Result<Vec<_>, _>>());
        Some(UplinkInterface { name: name?, mode: mode?, queues: queues?, pass: pass? })
    }
}

impl PortEntry {
    fn check_tap(&self, name: &str, faults: &mut Faults) -> Option<TapInterface> {
        if !self.socket.is_empty() || self.interface.is_some() {
            let text = "a port has a socket, an interface or a tap; leave all but one of them out";
            faults.add("tap", text.to_owned());
        }
        self.refuse_keys_of_queues("a TAP", faults);
        // The kernel would put a number there.
        let checked = match name.contains('%') {
            true => Err(format!("{name:?} cannot be a TAP; write a name without %, as \"helio0\"")),
            false => check_interface(name),
        };
        Some(TapInterface { name: faults.keep("tap", checked)? })
    }

    fn check_decap(&self, point: &DecapEntry, faults: &mut Faults) -> Option<DecapPoint> {
        if !self.socket.is_empty() || self.interface.is_some() || self.tap.is_some() {
            let text = "a port that takes mirror streams has decap alone; leave socket, interface and tap out";
            faults.add("decap", text.to_owned());
        }
        self.refuse_keys_of_queues("a port that takes mirror streams", faults);
        // One that went through the checks before has the empty setting.
        if self.vlan.as_ref().is_some_and(|vlan| *vlan != VlanSetting::default()) {
            let text = "frames of a mirror stream have the VLANs they had where they were copied; leave vlan out";
            faults.add("vlan", text.to_owned());
        }
        if self.mirroring.as_deref() == Some(Mirroring::Destination.name()) {
            let text = "nothing can be sent to a port that takes mirror streams; write mirroring = \"source\", or \"none\"";
            faults.add("mirroring", text.to_owned());
        }
        point.check_into(faults)
    }

    fn refuse_keys_of_queues(&self, port: &str, faults: &mut Faults) {
        let of_others = [
            ("mode", self.mode.is_some()),
            ("queue-pairs", self.queue_pairs.is_some()),
            ("queues", self.queues.is_some()),
            ("pass", !self.pass.is_empty()),
        ];
        for (key, _) in of_others.into_iter().filter(|(_, is_there)| *is_there) {
            faults.add(key, format!("{port} has no {key}; leave it out"));
        }
    }
}

impl VmSocket {
    /// Queue pairs that a port offers when it names no number.
    pub const DEFAULT_QUEUE_PAIRS: u16 = 8;
}

fn socket_mode(word: Option<&str>) -> Result<SocketMode, String> {
    match word {
        None | Some("server") => Ok(SocketMode::Server),
        Some("client") => Ok(SocketMode::Client),
        Some(other) => Err(wrong_word("mode", other, &["server", "client"])),
    }
}

fn uplink_mode(word: Option<&str>) -> Result<UplinkMode, String> {
    let word = word.unwrap_or(UplinkMode::Auto.name());
    UplinkMode::from_str(word)
        .map_err(|_| wrong_word("mode", word, &UplinkMode::ALL.map(UplinkMode::name)))
}

/// Whether the kernel could have an interface of that name.
fn check_interface(name: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'/' && byte != b':';
    if (1..=15).contains(&name.len()) && name.bytes().all(allowed) && name != "." && name != ".." {
        return Ok(name.to_owned());
    }
    Err(format!("{name:?} cannot be an interface; write its name, 1 to 15 letters, as \"eth1\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uplink() -> PortEntry {
        PortEntry {
            name: "uplink0".to_owned(),
            interface: Some("eth1".to_owned()),
            ..PortEntry::default()
        }
    }

    fn faulty_keys(entry: &PortEntry) -> Vec<&'static str> {
        entry.check().unwrap_err().faults.iter().map(|fault| fault.key).collect()
    }

    #[test]
    fn an_uplink_needs_a_name_and_an_interface_and_survives_json() {
        let port = uplink().check().unwrap();
        let Attachment::Uplink(interface) = &port.attachment else { panic!("{port:?}") };
        assert_eq!((interface.mode, interface.queues), (UplinkMode::Auto, None));
        let all = PortEntry {
            mode: Some("skb".to_owned()),
            queues: Some(4),
            pass: vec!["0x88cc".to_owned(), "52:54:00:00:00:01".to_owned()],
            ..uplink()
        };
        let port = all.check().unwrap();
        let json = serde_json::to_value(&port).unwrap();
        assert!(json.get("socket").is_none() && json.get("queue_pairs").is_none());
        assert_eq!(serde_json::from_value::<crate::PortConfig>(json).unwrap(), port);
        assert_eq!(port.attachment.interface(), Some("eth1"));
    }

    #[test]
    fn keys_of_the_other_kind_are_refused() {
        let entry =
            PortEntry { socket: "/run/a.sock".to_owned(), queue_pairs: Some(1), ..uplink() };
        assert_eq!(faulty_keys(&entry), ["interface", "queue-pairs"]);
        let entry = PortEntry {
            queues: Some(1),
            pass: vec!["0x88cc".to_owned()],
            ..PortEntry::new("columbia", "/run/a.sock")
        };
        assert_eq!(faulty_keys(&entry), ["queues", "pass"]);
    }

    #[test]
    fn a_tap_needs_a_name_and_an_interface_to_make_and_survives_json() {
        let tap = |name: &str| PortEntry {
            name: "host".to_owned(),
            tap: Some(name.to_owned()),
            ..PortEntry::default()
        };
        let port = tap("helio0").check().unwrap();
        assert_eq!(port.attachment, Attachment::Tap(TapInterface { name: "helio0".to_owned() }));
        assert_eq!((port.attachment.interface(), port.attachment.socket()), (Some("helio0"), None));
        let json = serde_json::to_value(&port).unwrap();
        assert_eq!(serde_json::from_value::<crate::PortConfig>(json).unwrap(), port);
        for name in ["", "sixteen-letters-", "a/b", "helio%d"] {
            assert_eq!(faulty_keys(&tap(name)), ["tap"], "{name}");
        }
        let entry = PortEntry {
            socket: "/run/a.sock".to_owned(),
            mode: Some("server".to_owned()),
            queue_pairs: Some(1),
            queues: Some(1),
            pass: vec!["0x88cc".to_owned()],
            ..tap("helio0")
        };
        assert_eq!(faulty_keys(&entry), ["tap", "mode", "queue-pairs", "queues", "pass"]);
        let entry = PortEntry { interface: Some("eth1".to_owned()), ..tap("helio0") };
        assert_eq!(faulty_keys(&entry), ["tap"]);
    }

    #[test]
    fn wrong_values_of_an_uplink_are_named() {
        for name in ["", "sixteen-letters-", "a b", "a/b", ".."] {
            let entry = PortEntry { interface: Some(name.to_owned()), ..uplink() };
            assert_eq!(faulty_keys(&entry), ["interface"], "{name}");
        }
        let entry = PortEntry {
            mode: Some("zerocopy".to_owned()),
            queues: Some(65),
            pass: vec!["arp".to_owned()],
            ..uplink()
        };
        assert_eq!(faulty_keys(&entry), ["mode", "queues", "pass"]);
        let text = entry.check().unwrap_err().to_string();
        assert!(text.contains("did you mean \"zero-copy\"?"), "{text}");
    }
}
