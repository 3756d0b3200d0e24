//! The QEMU options that attach a guest to a port.

use serde::{Deserialize, Serialize};

use crate::{PortInfo, SocketMode, StaticMacEntry};

/// What the guest shall have; `None` stands for the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QemuRequest {
    /// Queue pairs, at most as many as the port offers; default: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_pairs: Option<u16>,
    /// Memory of the guest in MiB; default 1024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
}

/// Options for `qemu-system-*`, and what to know about them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QemuArgs {
    /// The options, one word each, as a program would pass them.
    pub args: Vec<String>,
    /// Sentences for the person who pastes them.
    pub notes: Vec<String>,
}

const DEFAULT_MEMORY_MIB: u64 = 1024;

impl QemuArgs {
    /// The options for a guest on `port`.
    ///
    /// # Errors
    ///
    /// A sentence: the port has no socket, or the request asks for no queue pair or for more than the port offers, or for no memory.
    pub fn for_port(port: &PortInfo, request: &QemuRequest) -> Result<Self, String> {
        let Some(mode) = port.mode else {
            return Err(format!(
                "port {} has no socket, by which a guest could attach; name one that has",
                port.name
            ));
        };
        let offered = port.queue_pairs;
        let pairs = request.queue_pairs.unwrap_or(offered);
        if pairs == 0 || pairs > offered {
            return Err(format!(
                "port {} offers {offered} queue pairs; ask for 1 to {offered}, not {pairs}",
                port.name
            ));
        }
        let memory = request.memory_mib.unwrap_or(DEFAULT_MEMORY_MIB);
        if memory == 0 {
            return Err("a guest needs memory; ask for at least 1 MiB".to_owned());
        }
        let mut args = memory_args(memory);
        args.extend(card_args(port, mode, pairs));
        Ok(Self { args, notes: notes(mode) })
    }

    /// The options as a shell reads them: one option with its value in each line.
    #[must_use]
    pub fn shell_lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for word in &self.args {
            match lines.last_mut() {
                Some(line) if !word.starts_with('-') => {
                    line.push(' ');
                    line.push_str(&shell_word(word));
                }
                _ => lines.push(shell_word(word)),
            }
        }
        lines
    }
}

/// Memory that the switch can map: without `share=on` QEMU keeps it to itself.
fn memory_args(memory_mib: u64) -> Vec<String> {
    [
        "-m",
        &format!("{memory_mib}M"),
        "-object",
        &format!("memory-backend-memfd,id=mem,size={memory_mib}M,share=on"),
        "-machine",
        "memory-backend=mem",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn card_args(port: &PortInfo, mode: SocketMode, pairs: u16) -> Vec<String> {
    let name = &port.name;
    // QEMU takes a comma for the end of a value unless it is doubled.
    let path = port.socket.replace(',', ",,");
    let role = match mode {
        SocketMode::Server => "reconnect=1",
        SocketMode::Client => "server=on,wait=off",
    };
    // One vector for each queue, one for the control queue and one for configuration changes.
    let multi_queue = if pairs > 1 {
        format!(",mq=on,vectors={}", u32::from(pairs) * 2 + 2)
    } else {
        String::new()
    };
    vec![
        "-chardev".to_owned(),
        format!("socket,id=char-{name},path={path},{role}"),
        "-netdev".to_owned(),
        format!("vhost-user,id=net-{name},chardev=char-{name},queues={pairs}"),
        "-device".to_owned(),
        format!(
            "virtio-net-pci,netdev=net-{name},mac={}{multi_queue},rx_queue_size=1024,tx_queue_size=1024",
            mac(port)
        ),
    ]
}

/// The first static address of the port; otherwise one of QEMU's that follows from the name, because QEMU
/// itself would give the same address to every guest.
fn mac(port: &PortInfo) -> String {
    if let Some(StaticMacEntry::Mac(mac) | StaticMacEntry::MacOnVlan { mac, .. }) =
        port.static_mac.first()
    {
        return mac.clone();
    }
    // FNV-1a: the same address at every call, and different ones for different names as far as 24 bits go.
    let hash = port
        .name
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let [_, a, b, c] = (hash ^ (hash >> 24)).to_be_bytes();
    format!("52:54:00:{a:02x}:{b:02x}:{c:02x}")
}

fn notes(mode: SocketMode) -> Vec<String> {
    let mut notes = vec![
        "The memory lines are needed once for each guest; \"share=on\" lets the switch read it, and the sizes of -m and -object must agree.".to_owned(),
        "QEMU 7.2 under \"-accel tcg\" crashes with MSI-X here; write vectors=0 on the -device line then.".to_owned(),
    ];
    match mode {
        SocketMode::Server => notes.extend([
            "From QEMU 9.2 on, \"reconnect=1\" is spelt \"reconnect-ms=1000\".".to_owned(),
            "QEMU must be in the group of the socket: where libvirt starts it, write socket-group = \"kvm\" under [switch].".to_owned(),
        ]),
        SocketMode::Client => notes.push(
            "QEMU owns the socket; the switch connects by itself, also after QEMU was restarted."
                .to_owned(),
        ),
    }
    notes
}

/// `word` as a shell takes it for one word.
fn shell_word(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=,./:+@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use helio_config::PortConfig;

    fn port(name: &str) -> PortInfo {
        PortInfo::new(&PortConfig::new(name, &format!("/run/helio/{name}.sock")).unwrap())
    }

    fn text(port: &PortInfo, queue_pairs: Option<u16>) -> String {
        let request = QemuRequest { queue_pairs, memory_mib: None };
        QemuArgs::for_port(port, &request).unwrap().shell_lines().join("\n")
    }

    #[test]
    fn the_options_share_memory_and_meet_at_the_socket() {
        assert_eq!(
            text(&port("columbia"), Some(2)),
            "-m 1024M\n\
             -object memory-backend-memfd,id=mem,size=1024M,share=on\n\
             -machine memory-backend=mem\n\
             -chardev socket,id=char-columbia,path=/run/helio/columbia.sock,reconnect=1\n\
             -netdev vhost-user,id=net-columbia,chardev=char-columbia,queues=2\n\
             -device virtio-net-pci,netdev=net-columbia,mac=52:54:00:75:04:70,mq=on,vectors=6,rx_queue_size=1024,tx_queue_size=1024"
        );
    }

    #[test]
    fn qemu_listens_when_the_switch_connects() {
        let mut client = port("columbia");
        client.mode = Some(SocketMode::Client);
        let text = text(&client, None);
        assert!(text.contains("server=on,wait=off") && !text.contains("reconnect"), "{text}");
    }

    #[test]
    fn one_queue_pair_needs_no_multi_queue_option() {
        assert!(!text(&port("columbia"), Some(1)).contains("mq=on"));
        assert!(text(&port("columbia"), None).contains("queues=8"));
    }

    #[test]
    fn a_guest_cannot_have_more_queue_pairs_than_offered() {
        let ask = |queue_pairs| {
            let request = QemuRequest { queue_pairs: Some(queue_pairs), memory_mib: None };
            QemuArgs::for_port(&port("columbia"), &request)
        };
        assert!(ask(8).is_ok());
        assert!(ask(9).is_err());
        assert!(ask(0).is_err());
    }

    #[test]
    fn guests_get_different_addresses_and_a_static_one_wins() {
        assert_ne!(mac(&port("columbia")), mac(&port("crusader")));
        let mut known = port("columbia");
        known.static_mac = vec![StaticMacEntry::Mac("52:54:00:12:34:56".to_owned())];
        assert_eq!(mac(&known), "52:54:00:12:34:56");
    }

    #[test]
    fn a_path_with_a_comma_or_a_blank_stays_one_value() {
        let mut odd = port("columbia");
        odd.socket = "/run/my vms/a,b.sock".to_owned();
        assert!(
            text(&odd, None)
                .contains("'socket,id=char-columbia,path=/run/my vms/a,,b.sock,reconnect=1'")
        );
    }
}
