//! What an uplink is and does, beside what every port is.

use std::collections::BTreeMap;
use std::fmt;

use helio_config::UplinkInterface;
use serde::{Deserialize, Serialize};

use crate::ChunkInfo;

/// The interface of an uplink: what is asked of it, and what it gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UplinkInfo {
    /// Its name.
    pub interface: String,
    /// The mode that is asked for: `auto`, `zero-copy`, `copy` or `skb`.
    pub wanted_mode: String,
    /// The mode that was got, one of the latter three; `None` while the interface is not open.
    #[serde(default)]
    pub mode: Option<String>,
    /// Queues in use now.
    pub queues: u32,
    /// Bytes of the longest packet that the interface sends; 0 while it is not open.
    pub interface_mtu: u32,
    /// Whether frames longer than 3840 bytes are possible.
    pub multi_buffer: bool,
    /// Whether the frames lie in huge pages of the host.
    #[serde(default)]
    pub huge_pages: bool,
    /// Whether those pages are shared with other uplinks: then a frame from one to another is not copied.
    #[serde(default)]
    pub shared_umem: bool,
    /// Whether the worker makes the driver look for frames, so that the card need not interrupt.
    #[serde(default)]
    pub busy_poll: bool,
    /// Frames for the host, by EtherType or destination.
    #[serde(default)]
    pub pass: Vec<String>,
    /// Frames that the kernel could not bring to the switch, by reason. They are in no other counter.
    #[serde(default)]
    pub kernel_drops: BTreeMap<String, u64>,
    /// Where its chunks are.
    #[serde(default)]
    pub chunks: ChunkInfo,
}

impl UplinkInfo {
    /// An uplink that is not open.
    #[must_use]
    pub fn new(uplink: &UplinkInterface) -> Self {
        Self {
            interface: uplink.name.clone(),
            wanted_mode: uplink.mode.to_string(),
            mode: None,
            queues: 0,
            interface_mtu: 0,
            multi_buffer: false,
            huge_pages: false,
            shared_umem: false,
            busy_poll: false,
            pass: uplink.pass.iter().map(ToString::to_string).collect(),
            kernel_drops: BTreeMap::new(),
            chunks: ChunkInfo::default(),
        }
    }
}

impl fmt::Display for UplinkInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interface, wanted_mode, .. } = self;
        match &self.mode {
            None => write!(f, "{interface} (mode {wanted_mode} wanted)"),
            Some(mode) => {
                let pages = if self.huge_pages { "huge pages" } else { "ordinary pages" };
                let shared = if self.shared_umem { " shared with other uplinks" } else { "" };
                let busy = if self.busy_poll { "; busy polling" } else { "" };
                let many = if self.queues == 1 { "" } else { "s" };
                let jumbo = if self.multi_buffer { "" } else { ", no frames above 3840 bytes" };
                write!(
                    f,
                    "{interface} (mode {mode}, {wanted_mode} wanted; {} queue{many}; MTU {}{jumbo}; {pages}{shared}{busy})",
                    self.queues, self.interface_mtu
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use helio_config::PortEntry;

    #[test]
    fn what_was_got_stands_beside_what_was_wanted() {
        let entry = PortEntry {
            name: "uplink0".to_owned(),
            interface: Some("eth1".to_owned()),
            ..PortEntry::default()
        };
        let port = crate::PortInfo::new(&entry.check().unwrap());
        let mut info = port.uplink.unwrap();
        assert_eq!(info.to_string(), "eth1 (mode auto wanted)");
        info.mode = Some("copy".to_owned());
        (info.queues, info.interface_mtu, info.multi_buffer) = (2, 1500, true);
        let told = "eth1 (mode copy, auto wanted; 2 queues; MTU 1500; ordinary pages)";
        assert_eq!(info.to_string(), told);
        let one = UplinkInfo { queues: 1, ..info.clone() };
        assert_eq!(one.to_string(), told.replace("2 queues", "1 queue"));
        info.huge_pages = true;
        assert_eq!(info.to_string(), told.replace("ordinary", "huge"));
        info.shared_umem = true;
        let shared = "huge pages shared with other uplinks";
        assert_eq!(info.to_string(), told.replace("ordinary pages", shared));
        info.shared_umem = false;
        info.busy_poll = true;
        assert_eq!(info.to_string(), told.replace("ordinary pages", "huge pages; busy polling"));
        let json = serde_json::to_value(&info).unwrap();
        assert_eq!(serde_json::from_value::<UplinkInfo>(json).unwrap(), info);
    }
}
