//! The command line of `helio mirror`.

use std::fmt;
use std::str::FromStr;

use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Args, Subcommand};
use helio_api::{DestinationEntry, SessionEntry, SessionSettings};
use helio_config::{check_port_name, check_session_name};

use crate::wording::Typed;

#[derive(Debug, Subcommand)]
pub(crate) enum MirrorRequest {
    /// List all mirror sessions, and what became of their copies
    List,
    /// Show all there is to know about a mirror session
    Show(AnyMirror),
    /// Add a mirror session
    ///
    /// It needs a name, at least one source and at least one destination:
    ///
    ///   helio mirror add sql --source-label sql --filter "tcp port 1433" --to-port sniffie
    Add(Box<MirrorAddArgs>),
    /// Change settings of a mirror session while frames flow
    ///
    /// What is not named stays as it is. Sources of one kind take the place of all old ones of that kind, and destinations
    /// that of all old destinations.
    Set(Box<MirrorSetArgs>),
    /// End a mirror session
    Remove(MirrorName),
}

/// A session, also one that has a number.
#[derive(Debug, Args)]
pub(crate) struct AnyMirror {
    /// Name of the session, or its number
    #[arg(value_parser = any_mirror)]
    pub(crate) name: String,
}

/// A session to be.
#[derive(Debug, Args)]
pub(crate) struct NewMirror {
    /// Name of the session
    #[arg(value_parser = mirror_name)]
    pub(crate) name: String,
}

/// A session that has a name.
#[derive(Debug, Args)]
pub(crate) struct MirrorName {
    /// Name of the session
    #[arg(value_parser = known_mirror)]
    pub(crate) name: String,
}

fn mirror_name(text: &str) -> Result<String, String> {
    check_session_name(text).map(|()| text.to_owned())
}

/// The name of a session that is there.
fn known_mirror(text: &str) -> Result<String, String> {
    if text.parse::<u8>().is_ok() {
        return Err(format!(
            "session {text} is what ports make it; write \"helio port set\" with --mirroring and --session {text}"
        ));
    }
    mirror_name(text)
}

fn any_mirror(text: &str) -> Result<String, String> {
    match text.parse::<u64>() {
        Ok(0..=255) => Ok(text.to_owned()),
        Ok(_) => Err(format!("{text} is no session; write a name, or a number from 0 to 255")),
        Err(_) => mirror_name(text),
    }
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("source").multiple(true).required(true)
    .args(["source_port", "source_label", "source_vlan", "source_mac"]))]
#[command(group = ArgGroup::new("destination").multiple(true).required(true)
    .args(["to_port", "to_rspan", "to"]))]
pub(crate) struct MirrorAddArgs {
    #[command(flatten)]
    pub(crate) session: NewMirror,
    #[command(flatten)]
    pub(crate) live: MirrorLiveArgs,
    /// Copy every frame once into private memory, so that all receive identical bytes whatever the sender does
    #[arg(long)]
    pub(crate) exact: bool,
    /// Copy frames that the switch refused, too, when a watched port or address sent them; they belong to no VLAN
    #[arg(long)]
    pub(crate) include_dropped: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MirrorSetArgs {
    #[command(flatten)]
    pub(crate) session: MirrorName,
    #[command(flatten)]
    pub(crate) live: MirrorLiveArgs,
    /// Whether to copy every frame once into private memory
    #[arg(long, value_name = "true|false")]
    pub(crate) exact: Option<bool>,
    /// Whether to copy frames that the switch refused, too, when a watched port or address sent them
    #[arg(long, value_name = "true|false")]
    pub(crate) include_dropped: Option<bool>,
}

/// What a session is told when it is added and when it is changed.
#[derive(Debug, Args)]
pub(crate) struct MirrorLiveArgs {
    /// Port to watch; may be repeated; with "set", "" takes all away, as with the other sources
    #[arg(long, value_name = "NAME")]
    pub(crate) source_port: Vec<String>,
    /// Label of ports to watch, now and later; may be repeated
    #[arg(long, value_name = "LABEL")]
    pub(crate) source_label: Vec<String>,
    /// VLAN to watch; may be repeated
    #[arg(long, value_name = "1..4094", value_parser = number_or_none)]
    pub(crate) source_vlan: Vec<Listed>,
    /// Address to watch, whatever the port; may be repeated
    #[arg(long, value_name = "MAC")]
    pub(crate) source_mac: Vec<String>,
    /// Which way the frames go, seen from the switch: ingress, egress or both [default: both]
    #[arg(long, value_name = "WAY", value_parser = PossibleValuesParser::new(["ingress", "egress", "both"]))]
    pub(crate) direction: Option<String>,
    /// Only frames that this filter of pcap-filter(7) accepts, as "tcp port 1433"; with "set", "" takes it away
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Option<String>,
    /// Most bytes of each copy, 14 or more; with "set", 0 stands for all
    #[arg(long, value_name = "BYTES")]
    pub(crate) snap_len: Option<u64>,
    /// Only one frame in so many, as guests send them: one of TSO counts once, and all its segments are copied
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) sample: Option<u32>,
    /// Most bytes of copies in a second; with "set", 0 stands for no limit
    #[arg(long, value_name = "BYTES", conflicts_with = "rate_frames_per_s")]
    pub(crate) rate_bytes_per_s: Option<u64>,
    /// Bytes that may leave at once after a silence [default: what the rate gives in 10 ms, at least the longest frame]
    #[arg(long, value_name = "BYTES")]
    pub(crate) rate_burst_bytes: Option<u64>,
    /// Most copies in a second; with "set", 0 stands for no limit
    #[arg(long, value_name = "COUNT")]
    pub(crate) rate_frames_per_s: Option<u64>,
    /// Copies that may leave at once after a silence [default: what the rate gives in 10 ms]
    #[arg(long, value_name = "COUNT")]
    pub(crate) rate_burst_frames: Option<u64>,
    /// Port that gets the copies as they are; may be repeated
    #[arg(long, value_name = "PORT", value_parser = port_name)]
    pub(crate) to_port: Vec<String>,
    /// Port that gets the copies on a VLAN of their own (RSPAN); may be repeated
    #[arg(long, value_name = "PORT:VLAN")]
    pub(crate) to_rspan: Vec<RspanArg>,
    /// Collector in an IP network; may be repeated
    ///
    /// With the keys of the configuration file, as
    ///
    ///   --to uplink=uplink0,encapsulation=erspan-2,local=10.0.0.1/24,remote=10.0.0.9,id=7
    ///
    /// encapsulation is erspan-1, erspan-2, erspan-3, gre or vxlan; local is the address of the switch itself there. More
    /// keys: gateway (for a collector in another network), mac, remote-mac, vlan, pcp, mtu, oversize, dscp, ttl; of gre
    /// sequence, of erspan-3 security-group, hardware-id and sub-header, of vxlan udp-port and udp-checksum.
    #[arg(long, value_name = "KEY=VALUE,...")]
    pub(crate) to: Vec<DestinationEntry>,
}

fn port_name(text: &str) -> Result<String, String> {
    check_port_name(text).map(|()| text.to_owned())
}

/// A number of a list, or the word that makes the list empty.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Listed {
    Number(u64),
    Nothing,
}

fn number_or_none(text: &str) -> Result<Listed, String> {
    if text.is_empty() {
        return Ok(Listed::Nothing);
    }
    vlan(text).map(Listed::Number)
}

fn vlan(text: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| (1..=4094).contains(number));
    number.ok_or_else(|| format!("{text:?} is no VLAN; write a number from 1 to 4094"))
}

/// The value of `--to-rspan`.
#[derive(Clone, Debug)]
pub(crate) struct RspanArg {
    port: String,
    vlan: u64,
}

impl fmt::Display for RspanArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.port, self.vlan)
    }
}

impl FromStr for RspanArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("{text:?} is no port with a VLAN; write them with a colon, as in uplink0:99")
        };
        let (port, vlan) = text.split_once(':').ok_or_else(wrong)?;
        check_port_name(port)?;
        Ok(Self { port: port.to_owned(), vlan: self::vlan(vlan)? })
    }
}

impl MirrorLiveArgs {
    /// Ports first, then remote VLANs, then collectors.
    fn destinations(&self) -> Vec<DestinationEntry> {
        let ports = self.to_port.iter().map(|port| (port, None));
        let rspans = self.to_rspan.iter().map(|rspan| (&rspan.port, Some(rspan.vlan)));
        let local = ports.chain(rspans).map(|(port, rspan_vlan)| DestinationEntry {
            port: Some(port.clone()),
            rspan_vlan,
            ..DestinationEntry::default()
        });
        local.chain(self.to.iter().cloned()).collect()
    }

    /// What sentences of the switch are to be said in. The destinations are in the order of [`MirrorLiveArgs::destinations`].
    pub(crate) fn typed(&self) -> Typed {
        let ports = self.to_port.iter().map(|port| format!("--to-port {port}"));
        let rspans = self.to_rspan.iter().map(|rspan| format!("--to-rspan {rspan}"));
        let count = self.to.len();
        let collectors = (1..=count).map(|position| match count {
            1 => "--to".to_owned(),
            _ => format!("--to ({position} of {count})"),
        });
        Typed::of_mirror(ports.chain(rspans).chain(collectors).collect())
    }

    fn vlans(&self) -> Vec<u64> {
        let number = |listed: &Listed| match listed {
            Listed::Number(number) => Some(*number),
            Listed::Nothing => None,
        };
        self.source_vlan.iter().filter_map(number).collect()
    }
}

impl From<MirrorAddArgs> for SessionEntry {
    fn from(args: MirrorAddArgs) -> Self {
        Self {
            destination: args.live.destinations(),
            source_vlans: args.live.vlans(),
            name: args.session.name,
            source_ports: args.live.source_port,
            source_labels: args.live.source_label,
            source_macs: args.live.source_mac,
            direction: args.live.direction,
            filter: args.live.filter,
            snap_len: args.live.snap_len,
            sample: args.live.sample.map(u64::from),
            rate_bytes_per_s: args.live.rate_bytes_per_s,
            rate_burst_bytes: args.live.rate_burst_bytes,
            rate_frames_per_s: args.live.rate_frames_per_s,
            rate_burst_frames: args.live.rate_burst_frames,
            exact: args.exact.then_some(true),
            include_dropped: args.include_dropped.then_some(true),
        }
    }
}

impl From<&MirrorSetArgs> for SessionSettings {
    fn from(args: &MirrorSetArgs) -> Self {
        let live = &args.live;
        let destination = live.destinations();
        Self {
            source_ports: words(&live.source_port),
            source_labels: words(&live.source_label),
            source_vlans: (!live.source_vlan.is_empty()).then(|| live.vlans()),
            source_macs: words(&live.source_mac),
            direction: live.direction.clone(),
            filter: live.filter.clone(),
            snap_len: live.snap_len,
            sample: live.sample.map(u64::from),
            rate_bytes_per_s: live.rate_bytes_per_s,
            rate_burst_bytes: live.rate_burst_bytes,
            rate_frames_per_s: live.rate_frames_per_s,
            rate_burst_frames: live.rate_burst_frames,
            exact: args.exact,
            include_dropped: args.include_dropped,
            destination: (!destination.is_empty()).then_some(destination),
        }
    }
}

/// The new list, or `None` when there is nothing to change. An empty word alone makes it empty.
pub(crate) fn words(words: &[String]) -> Option<Vec<String>> {
    let list = words.iter().filter(|word| !word.is_empty()).cloned().collect();
    (!words.is_empty()).then_some(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command, Request};
    use clap::Parser;

    fn parse(line: &str) -> Result<MirrorRequest, clap::Error> {
        // Two blanks stand for an empty word between them.
        let cli = Cli::try_parse_from(format!("helio mirror {line}").split(' '))?;
        let Command::Ask(Request::Mirror(request)) = cli.command else { panic!("{line}") };
        Ok(request)
    }

    #[test]
    fn a_session_is_added_with_the_settings_it_would_have_in_the_configuration() {
        let line = "add sql --source-port a --source-port b --source-label sql --source-vlan 10 \
            --source-mac 52:54:00:00:00:01 --direction ingress --filter tcp --snap-len 128 --sample 10 \
            --rate-bytes-per-s 5000 --rate-burst-bytes 70000 --exact --include-dropped --to-port sniffie \
            --to-rspan uplink0:99 --to uplink=uplink0,encapsulation=gre,local=10.0.0.1/24,remote=10.0.0.9";
        let line: Vec<_> = line.split_whitespace().collect();
        let Ok(MirrorRequest::Add(args)) = parse(&line.join(" ")) else { panic!("{line:?}") };
        let entry = SessionEntry::from(*args);
        let session = entry.check().unwrap();
        assert_eq!((session.sources.ports.len(), session.sources.vlans.len()), (2, 1));
        assert_eq!((session.snap_len, session.sample.get()), (Some(128), 10));
        assert!(session.exact && session.include_dropped && session.rate.is_some());
        let shown: Vec<_> = session.destinations.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["sniffie", "uplink0 VLAN 99", "10.0.0.9 by uplink0"]);
    }

    #[test]
    fn only_what_is_named_is_changed_and_an_empty_word_takes_away() {
        let Ok(MirrorRequest::Set(args)) = parse("set sql --sample 2 --exact false") else {
            panic!("this is right")
        };
        let settings = SessionSettings::from(&*args);
        let wanted =
            SessionSettings { sample: Some(2), exact: Some(false), ..SessionSettings::default() };
        assert_eq!(settings, wanted);
        let line = "set sql --source-port  --source-vlan  --filter  --to-port sniffie";
        let Ok(MirrorRequest::Set(args)) = parse(line) else { panic!("this is right") };
        let settings = SessionSettings::from(&*args);
        assert_eq!((settings.source_ports, settings.source_vlans), (Some(vec![]), Some(vec![])));
        assert_eq!((settings.filter.as_deref(), settings.source_labels), (Some(""), None));
        assert_eq!(settings.destination.map(|list| list.len()), Some(1));
    }

    #[test]
    fn values_that_cannot_be_right_are_usage_errors() {
        for line in [
            "add sql --source-port a",
            "add sql --to-port sniffie",
            "add 7 --source-port a --to-port sniffie",
            "add sql --source-port a --to-rspan uplink0",
            "add sql --source-port a --to-rspan uplink0:x",
            "add sql --source-port a --to-rspan uplink0:4095",
            "add sql --source-vlan 0 --to-port sniffie",
            "add sql --source-port a --to uplnk=uplink0",
            "add sql --source-vlan ten --to-port sniffie",
            "set sql --direction in",
            "set sql --sample 0",
            "set sql --rate-bytes-per-s 1 --rate-frames-per-s 1",
            "remove 7",
            "show 256",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        for line in ["show 7", "show sql", "list"] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }
}
