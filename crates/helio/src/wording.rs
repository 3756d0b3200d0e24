//! Refusals in the words of the command line.
//!
//! The switch names settings as a configuration file spells them: `key = value`. Who typed options gets the same sentence with
//! `--option value`, with `key=value` where keys were typed, and with the option of the destination that it is about.

use helio_api::FaultInfo;

/// Keys of ports and the options that stand for them.
pub(crate) const PORT_OPTIONS: &[(&str, &str)] = &[
    ("socket", "socket"),
    ("interface", "interface"),
    ("tap", "tap"),
    ("decap", "decap"),
    ("mode", "mode"),
    ("queues", "queues"),
    ("pass", "pass"),
    ("mirroring", "mirroring"),
    ("session", "session"),
    ("vlan", "vlan"),
    ("mtu", "mtu"),
    ("receive-only", "receive-only"),
    ("worker", "worker"),
    ("queue-pairs", "queue-pairs"),
    ("mac-limit", "mac-limit"),
    ("static-mac", "static-mac"),
    ("labels", "label"),
];

/// Keys of mirror sessions and the options that stand for them. None of them is a key of a destination.
pub(crate) const MIRROR_OPTIONS: &[(&str, &str)] = &[
    ("source-ports", "source-port"),
    ("source-labels", "source-label"),
    ("source-vlans", "source-vlan"),
    ("source-macs", "source-mac"),
    ("direction", "direction"),
    ("filter", "filter"),
    ("snap-len", "snap-len"),
    ("sample", "sample"),
    ("rate-bytes-per-s", "rate-bytes-per-s"),
    ("rate-burst-bytes", "rate-burst-bytes"),
    ("rate-frames-per-s", "rate-frames-per-s"),
    ("rate-burst-frames", "rate-burst-frames"),
    ("exact", "exact"),
    ("include-dropped", "include-dropped"),
];

/// What was typed, as far as sentences about it need to know.
#[derive(Clone, Debug)]
pub(crate) struct Typed {
    options: &'static [(&'static str, &'static str)],
    /// The option of each destination.
    destinations: Vec<String>,
}

impl Typed {
    /// Options of a port.
    pub(crate) fn of_port() -> Self {
        Self { options: PORT_OPTIONS, destinations: Vec::new() }
    }

    /// Options of a mirror session, with those of its destinations in the order they were sent.
    pub(crate) fn of_mirror(destinations: Vec<String>) -> Self {
        Self { options: MIRROR_OPTIONS, destinations }
    }

    /// One sentence for all of `faults`.
    pub(crate) fn sentence(&self, faults: &[FaultInfo]) -> String {
        let told: Vec<_> = faults.iter().map(|fault| self.fault(fault)).collect();
        told.join("; also, ")
    }

    fn fault(&self, fault: &FaultInfo) -> String {
        let key = fault.key.replace('_', "-");
        let typed = fault.destination.and_then(|position| self.destinations.get(position));
        // Its keys are typed as pairs, also those that ports have, too.
        let options: &[(&str, &'static str)] = if key == "decap" { &[] } else { self.options };
        let text = spell(&fault.message, options);
        match (typed, option_of(&key, self.options)) {
            (Some(typed), _) if typed.starts_with("--to-rspan") => {
                format!("{typed}: {}", text.replace("rspan-vlan=", "VLAN "))
            }
            (Some(typed), _) => format!("{typed}: {text}"),
            (None, Some(option)) if fault.destination.is_none() && !names(&text, option) => {
                format!("--{option}: {text}")
            }
            (None, _) => text,
        }
    }
}

fn option_of(key: &str, options: &[(&str, &'static str)]) -> Option<&'static str> {
    options.iter().find(|(known, _)| *known == key).map(|(_, option)| *option)
}

/// Whether who reads `text` sees by it what it is about.
fn names(text: &str, option: &str) -> bool {
    text.contains("--") || text.split(' ').any(|word| word == option)
}

/// `text` with the spelling of the command line: `key = "value"` becomes `--option value` when the key is in `options`, and
/// otherwise `key=value`, as everywhere between braces, which go.
fn spell(text: &str, options: &[(&str, &'static str)]) -> String {
    let mut spelt = String::with_capacity(text.len());
    let mut rest = text;
    let mut is_in_table = false;
    while let Some((before, key, value, behind)) = next_pair(rest) {
        match before {
            ", " if is_in_table => spelt.push(if key == "native" { ' ' } else { ',' }),
            _ => {
                spelt.push_str(&name_keys(before.strip_prefix(" }").unwrap_or(before), options));
                is_in_table = spelt.ends_with("{ ");
                if is_in_table {
                    spelt.truncate(spelt.len().saturating_sub(2));
                }
            }
        }
        match option_of(key, options).filter(|_| !is_in_table) {
            Some(option) => spelt.push_str(&format!("--{option} {}", bare(value))),
            None => spelt.push_str(&format!("{key}={}", bare(value))),
        }
        rest = behind;
    }
    spelt.push_str(&name_keys(rest.strip_prefix(" }").unwrap_or(rest), options));
    spelt
}

/// The first `key = value` in `text`: what stands before it, the key, the value, and what stands behind.
fn next_pair(text: &str) -> Option<(&str, &str, &str, &str)> {
    let (front, back) = text.split_once(" = ")?;
    let key_start = front.rfind(|letter| !is_of_key(letter)).map_or(0, |before| before + 1);
    let (before, key) = front.split_at_checked(key_start)?;
    let (value, behind) = back.split_at_checked(value_len(back))?;
    (!key.is_empty()).then_some((before, key, value, behind))
}

fn is_of_key(letter: char) -> bool {
    letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-'
}

/// Length of the text in quotes, of the list, or of the word, that `text` begins with.
fn value_len(text: &str) -> usize {
    let mut is_escaped = false;
    let closing = |letter: char| {
        let closes = letter == '"' && !is_escaped;
        is_escaped = letter == '\\' && !is_escaped;
        closes
    };
    let end = match text.chars().next() {
        Some('"') => text.get(1..).and_then(|text| text.find(closing)).map(|end| end + 2),
        Some('[') => text.find(']').map(|end| end + 1),
        _ => text.find([' ', ';', ',']),
    };
    end.unwrap_or(text.len())
}

/// `value` without the quotes and brackets that only a configuration file needs.
fn bare(value: &str) -> String {
    if let Some(list) = value.strip_prefix('[').and_then(|list| list.strip_suffix(']')) {
        return list.split(", ").map(bare).collect::<Vec<_>>().join(",");
    }
    let text = value.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    match text {
        Some(text) if !text.is_empty() && !text.contains([' ', '\\', '"']) => text.to_owned(),
        _ => value.to_owned(),
    }
}

/// `text` with the options instead of the keys that no sentence could have for another reason: those with a dash in them.
fn name_keys(text: &str, options: &[(&str, &str)]) -> String {
    // "A receive-only port" is no option.
    let is_key = |key: &str| key.contains('-') && key != "receive-only";
    let word = |word: &str| {
        let key = word.trim_end_matches([',', ';', ':']);
        let known = options.iter().find(|(known, _)| *known == key && is_key(known));
        known.map_or_else(
            || word.to_owned(),
            |(_, option)| format!("--{option}{}", word.strip_prefix(key).unwrap_or_default()),
        )
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use helio_api::{DestinationEntry, PortEntry, SessionEntry, VlanSetting};

    /// What `helio mirror add` says of `entry` when its destinations were typed as `typed`.
    fn of_session(entry: &SessionEntry, typed: &[&str]) -> String {
        let error = entry.check().unwrap_err();
        let faults: Vec<_> = error.faults.iter().map(FaultInfo::from).collect();
        Typed::of_mirror(typed.iter().map(|&typed| typed.to_owned()).collect()).sentence(&faults)
    }

    fn of_port(entry: &PortEntry) -> String {
        let error = entry.check().unwrap_err();
        let faults: Vec<_> = error.faults.iter().map(FaultInfo::from).collect();
        Typed::of_port().sentence(&faults)
    }

    fn to(port: &str) -> DestinationEntry {
        DestinationEntry { port: Some(port.to_owned()), ..DestinationEntry::default() }
    }

    fn session(destination: Vec<DestinationEntry>) -> SessionEntry {
        let source_ports = vec!["columbia".to_owned()];
        SessionEntry {
            name: "sql".to_owned(),
            source_ports,
            destination,
            ..SessionEntry::default()
        }
    }

    #[test]
    fn a_setting_is_named_by_the_option_that_was_typed() {
        let entry = SessionEntry {
            snap_len: Some(5),
            source_ports: vec!["a".to_owned(), "a".to_owned()],
            source_labels: vec!["b c".to_owned()],
            rate_burst_bytes: Some(1),
            ..session(vec![to("sniffie")])
        };
        assert_eq!(
            of_session(&entry, &["--to-port sniffie"]),
            "--source-port has a twice; keep one of the two; also, \
             --source-label: \"b c\" cannot be a label; write 1 to 63 letters, digits, \"_\", \".\" or \"-\", not beginning with \".\" or \"-\"; also, \
             --snap-len 5 is out of range; write a number from 14 to 65553; also, \
             --rate-burst-bytes is of a rate; write --rate-bytes-per-s too, or leave --rate-burst-bytes out"
        );
    }

    #[test]
    fn a_destination_is_named_by_the_option_that_made_it() {
        let rspan = DestinationEntry { rspan_vlan: Some(10), ..to("uplink0") };
        let far: DestinationEntry =
            "uplink=columbia,encapsulation=erspan-4,local=10.0.0.1/24,remote=192.0.2.9,id=7"
                .parse()
                .unwrap();
        let entry =
            SessionEntry { source_vlans: vec![10], ..session(vec![to("columbia"), rspan, far]) };
        assert_eq!(
            of_session(&entry, &["--to-port columbia", "--to-rspan uplink0:10", "--to"]),
            "--to-port columbia: \"columbia\" is a source of this session too, and its copies would be watched again; \
             write another port, or leave it out of --source-port; also, \
             --to-rspan uplink0:10: VLAN 10 is a source of this session too, and its copies would be watched again; \
             write a VLAN that carries nothing else; also, \
             --to: 192.0.2.9 is not in the network of 10.0.0.1/24; write the router there, as in gateway=10.0.0.254, or its remote-mac; also, \
             --to: encapsulation=erspan-4 is not known; write \"erspan-1\" or \"erspan-2\" or \"erspan-3\" or \"gre\" or \"vxlan\""
        );
    }

    #[test]
    fn advice_for_another_option_names_that_option() {
        let far: DestinationEntry =
            "uplink=columbia,encapsulation=erspan-1,local=10.0.0.1/24,remote=10.0.0.9"
                .parse()
                .unwrap();
        assert!(
            of_session(&session(vec![far]), &["--to"])
                .ends_with("; write --direction ingress, or leave it out of --source-port")
        );
        let nothing = SessionEntry { source_ports: Vec::new(), ..session(vec![to("sniffie")]) };
        assert_eq!(
            of_session(&nothing, &["--to-port sniffie"]),
            "the session watches nothing; write, for example, --source-port columbia, or --source-label, --source-vlan or --source-mac"
        );
    }

    #[test]
    fn advice_for_a_pair_of_a_destination_names_that_and_the_option_beside_it() {
        let far: DestinationEntry =
            "uplink=uplink0,encapsulation=erspan-1,local=10.0.0.1/24,remote=10.0.0.9,vlan=10"
                .parse()
                .unwrap();
        let entry = SessionEntry { source_vlans: vec![10], ..session(vec![far]) };
        assert_eq!(
            of_session(&entry, &["--to"]),
            "--to: vlan=10 is a source of this session too, and copies that come back from there would be watched again; \
             write another VLAN, or leave it out of --source-vlan"
        );
    }

    #[test]
    fn options_of_a_port_are_named_too() {
        let entry = PortEntry {
            mode: Some("skb".to_owned()),
            queue_pairs: Some(129),
            vlan: Some(VlanSetting { native: Some(1), ..VlanSetting::default() }),
            labels: vec![String::new()],
            ..PortEntry::new("columbia", "/run/columbia.sock")
        };
        assert_eq!(
            of_port(&entry),
            "--mode skb is not known; write \"server\" or \"client\"; also, \
             --queue-pairs 129 is out of range; write a number from 1 to 128; also, \
             vlan has native without trunk; write trunk=10,20 native=1, or access=10; also, \
             --label: \"\" cannot be a label; write 1 to 63 letters, digits, \"_\", \".\" or \"-\", not beginning with \".\" or \"-\""
        );
        let decap = "uplink=uplink0,local=10.0.0.0/24,pcp=1".parse().unwrap();
        let entry = PortEntry { name: "r".to_owned(), decap: Some(decap), ..PortEntry::default() };
        assert_eq!(
            of_port(&entry),
            "--decap: local=10.0.0.0 is the first address of its network of 24 bits, which no host has; write another; also, \
             --decap: pcp is of a tag; write its VLAN too, as in vlan=7, or leave pcp out"
        );
    }

    #[test]
    fn text_that_is_no_setting_stays_as_it_is() {
        for text in ["", " = 1", "größe = \"a\\\"b\" c", "a session of a rate"] {
            assert_eq!(spell(text, MIRROR_OPTIONS), text);
        }
        assert_eq!(spell("x = \"a\\\"b\" c", MIRROR_OPTIONS), "x=\"a\\\"b\" c");
        assert_eq!(
            spell("filter = \"tcp port 1\"; x", MIRROR_OPTIONS),
            "--filter \"tcp port 1\"; x"
        );
    }

    #[test]
    fn every_key_of_a_session_and_of_a_port_has_its_option() {
        use clap::CommandFactory;
        let command = crate::args::Cli::command();
        for (group, options) in [("port", PORT_OPTIONS), ("mirror", MIRROR_OPTIONS)] {
            let group = command.find_subcommand(group).unwrap();
            let add = group.find_subcommand("add").unwrap();
            let typed: Vec<_> = add.get_arguments().filter_map(clap::Arg::get_long).collect();
            for (key, option) in options {
                assert!(typed.contains(option), "{key} is no option");
            }
        }
    }
}
