//! Tables on one line, as the command line has them: `uplink=uplink0,local=10.0.0.1/24`, with the keys of the configuration.

use std::str::FromStr;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::nearest::nearest;
use crate::read::{DECAP_KEYS, STATIC_MAC_KEYS};
use crate::read_mirror::DESTINATION_KEYS;
use crate::{DecapEntry, DestinationEntry, StaticMacEntry};

/// Keys of text, in any of the tables. All others but the flags are those of numbers.
const TEXTS: &[&str] = &[
    "port",
    "uplink",
    "encapsulation",
    "local",
    "remote",
    "gateway",
    "oversize",
    "mac",
    "remote-mac",
];

const FLAGS: &[&str] = &["sequence", "sub-header", "udp-checksum"];

impl FromStr for DestinationEntry {
    type Err = String;

    /// As `encapsulation=erspan-2,uplink=uplink0,local=10.0.0.1/24,remote=10.0.0.9,id=7`.
    fn from_str(text: &str) -> Result<Self, String> {
        read(text, DESTINATION_KEYS, &[], WAY)
    }
}

impl FromStr for DecapEntry {
    type Err = String;

    /// As `uplink=uplink0,local=10.0.0.2/24`.
    fn from_str(text: &str) -> Result<Self, String> {
        read(text, DECAP_KEYS, &["uplink", "local"], WAY)
    }
}

impl FromStr for StaticMacEntry {
    type Err = String;

    /// As `52:54:00:12:34:56`, or `mac=52:54:00:12:34:56,vlan=10`.
    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains('=') {
            return Ok(Self::Mac(text.to_owned()));
        }
        read(text, STATIC_MAC_KEYS, STATIC_MAC_KEYS, "mac=52:54:00:12:34:56,vlan=10")
    }
}

/// An example of what says where somebody is in an IP network.
const WAY: &str = "uplink=uplink0,local=10.0.0.1/24";

fn read<T: DeserializeOwned>(
    text: &str,
    known: &[&str],
    needed: &[&str],
    example: &str,
) -> Result<T, String> {
    let mut table = Table::new();
    for pair in text.split(',') {
        let (key, written) = pair.split_once('=').ok_or_else(|| {
            format!("{pair:?} is no key with a value; write, for example, {example}")
        })?;
        if !known.contains(&key) {
            return Err(match nearest(key, known) {
                Some(meant) => format!("there is no key {key:?}; did you mean {meant:?}?"),
                None => format!("there is no key {key:?}; the keys are {}", known.join(", ")),
            });
        }
        if table.insert(key.replace('-', "_"), value(key, written)?).is_some() {
            return Err(format!("{key} is there twice; keep one of the two"));
        }
    }
    if let Some(missing) = needed.iter().find(|key| !table.contains_key(**key)) {
        return Err(format!("the {missing} is missing; write, for example, {example}"));
    }
    table.try_into().map_err(|error: toml::de::Error| error.message().to_owned())
}

fn value(key: &str, written: &str) -> Result<Value, String> {
    if TEXTS.contains(&key) {
        return Ok(Value::String(written.to_owned()));
    }
    if FLAGS.contains(&key) {
        let flag = written.parse().map(Value::Boolean);
        return flag.map_err(|_| format!("{key}={written} is no flag; write true or false"));
    }
    let number = written.parse::<u32>().map(|number| Value::Integer(i64::from(number)));
    number.map_err(|_| format!("{key}={written} is no number; write one from 0 to {}", u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_a_destination_can_stand_on_one_line() {
        let text = "uplink=7,encapsulation=gre,local=10.0.0.1/24,remote=fd00::9,gateway=fd00::1,id=4294967295,\
            sequence=true,security-group=1,hardware-id=2,sub-header=false,udp-port=3,udp-checksum=true,mtu=4,\
            oversize=drop,dscp=5,ttl=6,vlan=7,pcp=8,mac=52:54:00:00:00:01,remote-mac=52:54:00:00:00:02,\
            port=sniffie,rspan-vlan=9";
        assert_eq!(text.split(',').count(), DESTINATION_KEYS.len());
        let entry: DestinationEntry = text.parse().unwrap();
        assert_eq!((entry.uplink.as_deref(), entry.id), (Some("7"), Some(u64::from(u32::MAX))));
        assert_eq!((entry.sequence, entry.sub_header), (Some(true), Some(false)));
        assert_eq!(entry.remote_mac.as_deref(), Some("52:54:00:00:00:02"));
        assert_eq!(entry.rspan_vlan, Some(9));
    }

    #[test]
    fn an_address_of_ours_has_the_keys_it_has_in_the_configuration() {
        let entry: DecapEntry = "uplink=uplink0,local=10.0.0.2/24,vlan=7".parse().unwrap();
        assert_eq!((entry.local.as_str(), entry.vlan, entry.mac), ("10.0.0.2/24", Some(7), None));
        for (text, missing) in [("uplink=uplink0", "local"), ("local=10.0.0.2/24", "uplink")] {
            let refused = text.parse::<DecapEntry>().unwrap_err();
            assert!(refused.starts_with(&format!("the {missing} is missing; write")), "{refused}");
        }
    }

    #[test]
    fn a_static_address_stands_alone_or_with_its_vlan() {
        let alone = "52:54:00:00:00:01".parse();
        assert_eq!(alone, Ok(StaticMacEntry::Mac("52:54:00:00:00:01".to_owned())));
        let on_vlan = "mac=52:54:00:00:00:01,vlan=10".parse();
        let mac = "52:54:00:00:00:01".to_owned();
        assert_eq!(on_vlan, Ok(StaticMacEntry::MacOnVlan { mac, vlan: 10 }));
        let refused = "mac=52:54:00:00:00:01".parse::<StaticMacEntry>().unwrap_err();
        assert_eq!(
            refused,
            "the vlan is missing; write, for example, mac=52:54:00:12:34:56,vlan=10"
        );
    }

    #[test]
    fn mistakes_are_explained() {
        for (text, wanted) in [
            ("", "\"\" is no key with a value"),
            ("uplink", "\"uplink\" is no key with a value"),
            ("uplnk=a", "did you mean \"uplink\"?"),
            ("colour=a", "the keys are port,"),
            ("id=seven", "id=seven is no number"),
            ("id=-1", "id=-1 is no number"),
            ("sequence=yes", "write true or false"),
            ("id=1,id=2", "id is there twice"),
        ] {
            let refused = text.parse::<DestinationEntry>().unwrap_err();
            assert!(refused.contains(wanted), "{text}: {refused}");
        }
    }
}
