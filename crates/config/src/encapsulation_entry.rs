//! The form of copies for a collector as people write it: one word, and the keys that go with that word.

use helio_encap::{
    Encapsulation, ErspanSession, GreSequence, HardwareId, IpVersion, SubHeaderChoice, UdpChecksum,
    VXLAN_PORT, Vni,
};

use crate::DestinationEntry;
use crate::destination_entry::missing;
use crate::port_entry::wrong_word;
use crate::problem::Faults;
use crate::range::within;

const WORDS: [&str; 5] = ["erspan-1", "erspan-2", "erspan-3", "gre", "vxlan"];

/// The word for `encapsulation` in configuration, JSON and tables.
#[must_use]
pub const fn encapsulation_name(encapsulation: &Encapsulation) -> &'static str {
    match encapsulation {
        Encapsulation::ErspanI => "erspan-1",
        Encapsulation::ErspanII { .. } => "erspan-2",
        Encapsulation::ErspanIII { .. } => "erspan-3",
        Encapsulation::Gre { .. } => "gre",
        Encapsulation::Vxlan { .. } => "vxlan",
    }
}

impl DestinationEntry {
    /// The form of the copies. Every check is made before the first `?`.
    pub(crate) fn check_encapsulation(
        &self,
        version: IpVersion,
        faults: &mut Faults,
    ) -> Option<Encapsulation> {
        let Some(word) = self.encapsulation.as_deref() else {
            faults.add(
                "encapsulation",
                missing(
                    "encapsulation",
                    &format!(
                        "encapsulation = {}",
                        WORDS.map(|word| format!("{word:?}")).join(" or ")
                    ),
                ),
            );
            return None;
        };
        if !WORDS.contains(&word) {
            faults.add("encapsulation", wrong_word("encapsulation", word, &WORDS));
            return None;
        }
        self.refuse_keys_of_others(word, faults);
        match word {
            "erspan-2" => Some(Encapsulation::ErspanII { session: self.erspan_session(faults)? }),
            "erspan-3" => self.check_erspan_3(faults),
            "gre" => self.check_gre(faults),
            "vxlan" => self.check_vxlan(version, faults),
            _ => Some(Encapsulation::ErspanI),
        }
    }

    fn refuse_keys_of_others(&self, word: &str, faults: &mut Faults) {
        let keys: [(_, _, &[&str]); 7] = [
            ("id", self.id.is_some(), &["erspan-2", "erspan-3", "gre", "vxlan"]),
            ("sequence", self.sequence.is_some(), &["gre"]),
            ("security-group", self.security_group.is_some(), &["erspan-3"]),
            ("hardware-id", self.hardware_id.is_some(), &["erspan-3"]),
            ("sub-header", self.sub_header.is_some(), &["erspan-3"]),
            ("udp-port", self.udp_port.is_some(), &["vxlan"]),
            ("udp-checksum", self.udp_checksum.is_some(), &["vxlan"]),
        ];
        for (key, is_there, owners) in keys {
            if is_there && !owners.contains(&word) {
                let owners = owners.join("\" or \"");
                let text = format!(
                    "{word} has no {key}; leave it out, or write encapsulation = \"{owners}\""
                );
                faults.add(key, text);
            }
        }
    }

    fn needed_id(&self) -> Result<u64, String> {
        self.id.ok_or_else(|| missing("id", "id = 7"))
    }

    fn erspan_session(&self, faults: &mut Faults) -> Option<ErspanSession> {
        let number = self
            .needed_id()
            .and_then(|id| within("id", id, 0..=u64::from(ErspanSession::MAX.get())));
        faults.keep("id", number.map(ErspanSession::of_low_bits))
    }

    fn check_erspan_3(&self, faults: &mut Faults) -> Option<Encapsulation> {
        let session = self.erspan_session(faults);
        let group = within("security-group", self.security_group.unwrap_or(0), 0..=65_535);
        let group = faults.keep("security-group", group);
        let hardware = self.hardware_id.unwrap_or(0);
        let hardware = within("hardware-id", hardware, 0..=u64::from(HardwareId::MAX.get()));
        let hardware = faults.keep("hardware-id", hardware.map(HardwareId::of_low_bits));
        let sub_header = match self.sub_header {
            Some(false) => SubHeaderChoice::Absent,
            None | Some(true) => SubHeaderChoice::SourceIndex,
        };
        Some(Encapsulation::ErspanIII {
            session: session?,
            security_group: group?,
            hardware: hardware?,
            sub_header,
        })
    }

    fn check_gre(&self, faults: &mut Faults) -> Option<Encapsulation> {
        let key = self.id.map(|id| within("id", id, 0..=u64::from(u32::MAX))).transpose();
        let key = faults.keep("id", key);
        let sequence = match self.sequence {
            Some(true) => GreSequence::Present,
            None | Some(false) => GreSequence::Absent,
        };
        Some(Encapsulation::Gre { key: key?, sequence })
    }

    fn check_vxlan(&self, version: IpVersion, faults: &mut Faults) -> Option<Encapsulation> {
        let vni = self.needed_id().and_then(|id| within("id", id, 0..=u64::from(Vni::MAX.get())));
        let vni = faults.keep("id", vni.map(Vni::of_low_bits));
        let port = self.udp_port.unwrap_or(u64::from(VXLAN_PORT));
        let port = faults.keep("udp-port", within("udp-port", port, 1..=65_535));
        let checksum = match self.udp_checksum {
            None => UdpChecksum::default_over(version),
            Some(true) => UdpChecksum::Complete,
            Some(false) => UdpChecksum::Zero,
        };
        Some(Encapsulation::Vxlan { vni: vni?, port: port?, checksum })
    }
}

/// Writes the keys that say `encapsulation` into an entry that has none of them.
pub(crate) fn write_encapsulation(encapsulation: &Encapsulation, entry: &mut DestinationEntry) {
    entry.encapsulation = Some(encapsulation_name(encapsulation).to_owned());
    match *encapsulation {
        Encapsulation::ErspanI => {}
        Encapsulation::ErspanII { session } => entry.id = Some(u64::from(session.get())),
        Encapsulation::ErspanIII { session, security_group, hardware, sub_header } => {
            entry.id = Some(u64::from(session.get()));
            entry.security_group = Some(u64::from(security_group));
            entry.hardware_id = Some(u64::from(hardware.get()));
            entry.sub_header = Some(sub_header == SubHeaderChoice::SourceIndex);
        }
        Encapsulation::Gre { key, sequence } => {
            entry.id = key.map(u64::from);
            entry.sequence = Some(sequence == GreSequence::Present);
        }
        Encapsulation::Vxlan { vni, port, checksum } => {
            entry.id = Some(u64::from(vni.get()));
            entry.udp_port = Some(u64::from(port));
            entry.udp_checksum = Some(checksum == UdpChecksum::Complete);
        }
    }
}
