//! The command line.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Args, Parser, Subcommand};
use helio_api::{DEFAULT_CONTROL, DecapEntry, StaticMacEntry};
use helio_config::check_port_name;

use crate::bench_args::BenchArgs;
use crate::mirror_args::MirrorRequest;
use crate::vlan_arg::VlanPart;

/// Where helps list what every command takes, behind what is its own.
const EVERYWHERE: &str = "Options of every command";

/// A virtual switch for people who want to see their traffic.
#[derive(Debug, Parser)]
#[command(name = "helio", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Control socket of the switch [default: /run/helio/control.sock; for "run", what the configuration
    /// says]
    #[arg(long, global = true, env = "HELIO_CONTROL", value_name = "PATH", help_heading = EVERYWHERE)]
    pub(crate) control: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) form: Form,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Form {
    /// Print JSON instead of tables
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(crate) json: bool,
}

/// The control socket when nobody names one.
pub(crate) fn default_control() -> PathBuf {
    PathBuf::from(DEFAULT_CONTROL)
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the switch in the foreground
    Run(RunArgs),
    /// Check a configuration file against itself, and the cores and the group of this machine
    Check(CheckArgs),
    /// Measure any vhost-user switch: play its guests, send, receive and count
    Bench(Box<BenchArgs>),
    #[command(flatten)]
    Ask(Request),
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Configuration file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// What to log to stderr: error, warn, info, debug or trace, or a filter as in RUST_LOG [default:
    /// RUST_LOG, or else info]
    #[arg(long, value_name = "LEVEL", value_parser = log_filter)]
    pub(crate) log: Option<String>,
}

fn log_filter(text: &str) -> Result<String, String> {
    match text.parse::<tracing_subscriber::EnvFilter>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Configuration file
    pub(crate) file: PathBuf,
}

/// What a running switch is asked.
#[derive(Debug, Subcommand)]
pub(crate) enum Request {
    /// List, show, add, change and remove ports
    #[command(subcommand)]
    Port(PortRequest),
    /// List, show, add, change and remove mirror sessions
    #[command(subcommand)]
    Mirror(MirrorRequest),
    /// List and flush the addresses that the switch knows
    #[command(subcommand)]
    Fdb(FdbRequest),
    /// Show the configuration as it is now
    #[command(subcommand)]
    Config(ConfigRequest),
    /// List workers
    #[command(subcommand)]
    Worker(WorkerRequest),
    /// Print the QEMU options that attach a guest to a port
    QemuArgs(QemuArgsArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum PortRequest {
    /// List all ports
    List,
    /// Show all there is to know about a port
    Show(PortName),
    /// Add a port
    Add(Box<AddArgs>),
    /// Change settings of a port while frames flow
    Set(SetArgs),
    /// Remove a port
    Remove(PortName),
}

#[derive(Debug, Args)]
pub(crate) struct PortName {
    /// Name of the port
    #[arg(value_parser = port_name)]
    pub(crate) name: String,
}

fn port_name(text: &str) -> Result<String, String> {
    check_port_name(text).map(|()| text.to_owned())
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("attachment").required(true).args(["socket", "interface", "tap", "decap"]))]
pub(crate) struct AddArgs {
    #[command(flatten)]
    pub(crate) port: PortName,
    /// Path of the vhost-user socket of a VM port
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Interface of the host, for an uplink
    #[arg(long, value_name = "NAME")]
    pub(crate) interface: Option<String>,
    /// Interface to make, for the host itself
    #[arg(long, value_name = "NAME")]
    pub(crate) tap: Option<String>,
    /// Address on an uplink that takes mirror streams of ERSPAN, GRE and VXLAN, as uplink=uplink0,local=10.0.0.2/24; also with
    /// vlan, pcp, mac and udp-port (of VXLAN)
    #[arg(long, value_name = "KEY=VALUE,...")]
    pub(crate) decap: Option<DecapEntry>,
    /// "server": the switch listens; "client": QEMU listens [default: server]. Of an uplink: "auto", "zero-copy", "copy" or "skb" [default: auto]
    #[arg(long, value_name = "MODE", value_parser = PossibleValuesParser::new(["server", "client", "auto", "zero-copy", "copy", "skb"]))]
    pub(crate) mode: Option<String>,
    /// Queues of the interface to use; the host has what arrives on others [default: all]
    #[arg(long, value_name = "COUNT", requires = "interface")]
    pub(crate) queues: Option<u64>,
    /// Frames of the interface that go to the host: an EtherType, as 0x88cc, or a destination; may be repeated
    #[arg(long, value_name = "WHICH", requires = "interface")]
    pub(crate) pass: Vec<String>,
    #[command(flatten)]
    pub(crate) live: LiveArgs,
    /// Give the port mirror copies and nothing else, and refuse what it sends
    #[arg(long)]
    pub(crate) receive_only: bool,
    /// Worker to serve the port [default: the switch chooses]
    #[arg(long, value_name = "INDEX")]
    pub(crate) worker: Option<u64>,
    /// Queue pairs to offer [default: 8]
    #[arg(long, value_name = "COUNT")]
    pub(crate) queue_pairs: Option<u64>,
    /// Most addresses to learn behind the port [default: 4096]
    #[arg(long, value_name = "COUNT")]
    pub(crate) mac_limit: Option<u64>,
    /// Address that is behind the port without being learned, alone or as mac=52:54:00:12:34:56,vlan=10; may be repeated
    #[arg(long, value_name = "MAC")]
    pub(crate) static_mac: Vec<StaticMacEntry>,
    /// Label by which mirror sessions may call the port; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) label: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    #[command(flatten)]
    pub(crate) port: PortName,
    #[command(flatten)]
    pub(crate) live: LiveArgs,
    /// Whether to refuse frames that the port sends; only for a mirror destination
    #[arg(long, value_name = "true|false")]
    pub(crate) receive_only: Option<bool>,
    /// Label by which mirror sessions may call the port, instead of all it had; may be repeated; "" takes all away
    #[arg(long, value_name = "NAME")]
    pub(crate) label: Vec<String>,
}

/// Settings that can change while frames flow.
#[derive(Debug, Args)]
pub(crate) struct LiveArgs {
    /// Part in mirroring: none, source or destination
    #[arg(long, value_name = "PART", value_parser = PossibleValuesParser::new(["none", "source", "destination"]))]
    pub(crate) mirroring: Option<String>,
    /// Mirror session
    #[arg(long, value_name = "0..255")]
    pub(crate) session: Option<u8>,
    /// VLAN membership: "access=10", "trunk=10,20", "trunk=10,20 native=1", or "all"
    #[arg(long, value_name = "VLAN", num_args = 1..=2)]
    pub(crate) vlan: Vec<VlanPart>,
    /// MTU in bytes
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(68..))]
    pub(crate) mtu: Option<u16>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FdbRequest {
    /// List the addresses
    List(FdbArgs),
    /// Forget learned addresses; static ones stay
    Flush(FdbArgs),
}

#[derive(Debug, Args)]
pub(crate) struct FdbArgs {
    /// Only those behind this port
    #[arg(long, value_name = "NAME", value_parser = port_name)]
    pub(crate) port: Option<String>,
    /// Only those of this VLAN; 0 for frames without one
    #[arg(long, value_name = "0..4094", value_parser = clap::value_parser!(u16).range(..=4094))]
    pub(crate) vlan: Option<u16>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigRequest {
    /// Print the configuration as it is now, with all that was added, changed and removed: a file that "helio run" takes
    Show,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WorkerRequest {
    /// List all workers, and what they do with their time
    List,
}

#[derive(Debug, Args)]
pub(crate) struct QemuArgsArgs {
    #[command(flatten)]
    pub(crate) port: PortName,
    /// Queue pairs of the guest [default: all that the port offers]
    #[arg(long, value_name = "COUNT")]
    pub(crate) queue_pairs: Option<u16>,
    /// Memory of the guest in MiB [default: 1024]
    #[arg(long, value_name = "MIB")]
    pub(crate) memory: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_free_of_contradictions() {
        Cli::command().debug_assert();
    }

    #[test]
    fn control_and_json_may_stand_before_and_after_the_command() {
        for line in ["helio --control /s --json port list", "helio port list --json --control /s"] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert!(cli.form.json && cli.control == Some(PathBuf::from("/s")), "{line}");
        }
    }

    #[test]
    fn a_vlan_may_be_written_as_one_word_or_two() {
        for line in [
            "helio port set a --vlan trunk=10,20 native=1 --mtu 68",
            "helio port set a --vlan trunk=10,20 --vlan native=1 --mtu 68",
        ] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            let Command::Ask(Request::Port(PortRequest::Set(set))) = cli.command else {
                panic!("{line}")
            };
            assert_eq!((set.live.vlan.len(), set.live.mtu), (2, Some(68)), "{line}");
        }
    }

    #[test]
    fn values_that_cannot_be_right_are_usage_errors() {
        for line in [
            "helio port set a --mirroring sorce",
            "helio port set a --session 256",
            "helio port set a --mtu 67",
            "helio port set a --vlan 10",
            "helio port show a/b",
            "helio port add a",
            "helio port add a --decap uplink0",
            "helio port add a --decap uplink=u,local=10.0.0.2/24 --tap t",
            "helio port add a --socket s --interface e",
            "helio port add a --interface e --tap t",
            "helio fdb list --vlan 4095",
            "helio run",
            "helio run -c f --log in=fo=x",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
