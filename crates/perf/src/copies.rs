//! What a mirror session does to its copies, as a table of our configuration: for measuring what each way costs.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// The form of the copies that a session makes of what port 0 receives and sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Copies {
    /// As they are.
    Whole,
    /// As they are, if a filter wants them, which it does.
    Filtered,
    /// The first 128 bytes.
    Truncated,
    /// For a collector, by ERSPAN of type I.
    #[serde(rename = "erspan-1")]
    Erspan1,
    /// The same, of type II.
    #[serde(rename = "erspan-2")]
    Erspan2,
    /// The same, of type III.
    #[serde(rename = "erspan-3")]
    Erspan3,
    /// The same, by GRE.
    Gre,
    /// The same, by VXLAN.
    Vxlan,
}

impl Copies {
    /// The session that sends them by the port at `destination`.
    pub(crate) fn table(self, destination: usize) -> String {
        let session = match self {
            Self::Filtered => "filter = \"udp dst port 4096\"\n",
            Self::Truncated => "snap-len = 128\n",
            _ => "",
        };
        let mut text =
            format!("\n[[mirror]]\nname = \"copies\"\nsource-ports = [\"p0\"]\n{session}");
        text.push_str("[[mirror.destination]]\n");
        let Some((word, id)) = self.encapsulation() else {
            // Writing to text cannot fail.
            let _ = writeln!(text, "port = \"p{destination}\"");
            return text;
        };
        let _ = write!(
            text,
            "uplink = \"p{destination}\"\nencapsulation = \"{word}\"\n{id}local = \"10.9.0.1/24\"\n\
             remote = \"10.9.0.9\"\nremote-mac = \"52:54:00:09:00:09\"\n"
        );
        text
    }

    fn encapsulation(self) -> Option<(&'static str, &'static str)> {
        let id = "id = 7\n";
        match self {
            Self::Whole | Self::Filtered | Self::Truncated => None,
            Self::Erspan1 => Some(("erspan-1", "")),
            Self::Erspan2 => Some(("erspan-2", id)),
            Self::Erspan3 => Some(("erspan-3", id)),
            Self::Gre => Some(("gre", "")),
            Self::Vxlan => Some(("vxlan", id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_go_to_a_port_or_to_a_collector() {
        let whole = Copies::Whole.table(2);
        assert!(whole.ends_with("[[mirror.destination]]\nport = \"p2\"\n"), "{whole}");
        let far = Copies::Vxlan.table(2);
        assert!(far.contains("uplink = \"p2\"\nencapsulation = \"vxlan\"\nid = 7\nlocal"), "{far}");
    }
}
