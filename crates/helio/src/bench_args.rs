//! The command line of `helio bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use helio_bench::Load;

/// Measure any vhost-user switch: one thread plays its guests, sends numbered frames and counts what arrives.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) task: BenchTask,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchTask {
    /// Sustained rate, busy time per frame, and service time, always together
    #[command(allow_negative_numbers = true)]
    Rate {
        #[command(flatten)]
        common: CommonArgs,
        #[command(flatten)]
        rate: RateArgs,
    },
    /// Service time per frame: drain a ring that was filled before the switch could see it
    #[command(allow_negative_numbers = true)]
    Drain {
        #[command(flatten)]
        common: CommonArgs,
        /// Pairs of a long and a short ring
        #[arg(long, value_name = "COUNT", default_value_t = 200, value_parser = at_least_one)]
        rounds: usize,
    },
    /// Latency under loads that do not wait, after RFC 2544
    #[command(allow_negative_numbers = true)]
    Latency {
        #[command(flatten)]
        common: CommonArgs,
        /// Loads: frames per second ("10000", "2.5M"), or a part of what goes through ("10%")
        #[arg(long, value_name = "LOAD", value_delimiter = ',', default_value = "10%,50%,90%", value_parser = load)]
        load: Vec<Load>,
        /// Seconds for each load
        #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = some_seconds)]
        duration: f64,
        /// Frames that leave together
        #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
        load_burst: u16,
    },
    /// Highest rate with no more than a given loss, after RFC 2544, searched as MLRsearch does
    #[command(allow_negative_numbers = true)]
    Throughput {
        #[command(flatten)]
        common: CommonArgs,
        /// Loss that is allowed, in percent; one search for each
        #[arg(long, value_name = "PERCENT", value_delimiter = ',', default_value = "0,0.5", value_parser = percent)]
        loss: Vec<f64>,
        /// Seconds of one trial
        #[arg(long, value_name = "SECONDS", default_value_t = 0.5, value_parser = some_seconds)]
        trial: f64,
        /// Most trials of one load; more than half of them decide
        #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = at_least_one)]
        trials: usize,
    },
    /// How many addresses the switch learns, and how fast, after RFC 2889; needs three sockets
    #[command(allow_negative_numbers = true)]
    Learning {
        #[command(flatten)]
        common: CommonArgs,
        /// Most addresses to try
        #[arg(long, value_name = "COUNT", default_value_t = 131_072, value_parser = clap::value_parser!(u32).range(1..=(1 << 23) - 1))]
        max_addresses: u32,
        /// Seconds to wait between trials, when the switch cannot be told to forget (with --control it is)
        #[arg(long, value_name = "SECONDS", default_value_t = 0.0, value_parser = seconds)]
        ageing: f64,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RateArgs {
    /// Send whatever becomes of the frames, instead of keeping no more on the way than the rings hold
    #[arg(long)]
    pub(crate) open_loop: bool,
    /// Windows to measure
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) windows: u16,
    /// Seconds of each window
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = some_seconds)]
    pub(crate) window: f64,
    /// Pairs of rings to drain afterwards, for the service time; 0 for none
    #[arg(long, value_name = "COUNT", default_value_t = 200)]
    pub(crate) rounds: usize,
    /// Process of the switch: its processor time is the busy time [default: with --control, what its workers say; else that of the process at the sockets]
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,
}

/// Guests, frames and rings.
#[derive(Debug, Args)]
pub(crate) struct CommonArgs {
    /// Sockets of the guests, in the order in which they are numbered from 0
    #[arg(short, long, required = true, num_args = 1.., value_delimiter = ',', value_name = "PATH")]
    pub(crate) socket: Vec<PathBuf>,
    /// Listen on the sockets: the switch connects
    #[arg(long)]
    pub(crate) listen: bool,
    /// Who sends to whom; guests in no pair watch, as mirror destinations do [default: 0:1,1:0]
    #[arg(long, value_name = "FROM:TO", value_delimiter = ',', value_parser = pair)]
    pub(crate) pair: Vec<(usize, usize)>,
    /// Lengths of frames on a wire, checksum included, one run for each; "imix" is 64, 594 and 1518 as 7:4:1
    #[arg(long, value_name = "BYTES", value_delimiter = ',', default_value = "64", value_parser = frame_kind)]
    pub(crate) frame: Vec<FrameKind>,
    /// What guests write and read of each frame
    #[arg(long, value_enum, default_value_t = PayloadArg::All)]
    pub(crate) payload: PayloadArg,
    /// Addresses of each guest
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=(1 << 24) - 1))]
    pub(crate) macs: u32,
    /// Flows from each guest, told apart by UDP ports
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) flows: u32,
    /// Tag frames with these VLANs, one after the other
    #[arg(long, value_name = "VLAN", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=4094))]
    pub(crate) vlan: Vec<u16>,
    /// Send TCP that is to be segmented; with --frame 65536 or so
    #[arg(long)]
    pub(crate) tso: bool,
    #[command(flatten)]
    pub(crate) rings: RingArgs,
    /// Core on which the guests are played
    #[arg(long, value_name = "CORE")]
    pub(crate) core: Option<usize>,
    /// Seconds to wait for the switch and for the first frame
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = seconds)]
    pub(crate) patience: f64,
    /// Write the report as JSON to this file too
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
    /// Draw the report to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RingArgs {
    /// Descriptors of each ring, a power of two
    #[arg(long, value_name = "COUNT", default_value_t = 1024, value_parser = ring_size)]
    pub(crate) ring: u16,
    /// Frames that are offered with one store; a drain offers all of a ring
    #[arg(long, value_name = "COUNT", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) burst: u16,
    /// Negotiate mergeable receive buffers
    #[arg(long)]
    pub(crate) mergeable: bool,
    /// Send with indirect descriptors
    #[arg(long)]
    pub(crate) indirect: bool,
    /// Negotiate notifications by index
    #[arg(long)]
    pub(crate) event_idx: bool,
    /// Cut sent frames into descriptors of this length, the net header apart
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(16..))]
    pub(crate) piece: Option<u32>,
    /// Length of receive buffers, net header included [default: as long as the frames, or 1536 when mergeable]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(128..=1 << 20))]
    pub(crate) rx_buffer: Option<u32>,
    /// Put the net header into the cache line of the frame, as Linux does it, not before it, as DPDK does it
    #[arg(long)]
    pub(crate) header_in_line: bool,
    /// Store descriptors again for every frame, as most drivers do it, and not only when they change; a drain always does
    #[arg(long)]
    pub(crate) rewrite_descriptors: bool,
    /// Negotiate that chains are completed in order
    #[arg(long)]
    pub(crate) in_order: bool,
    /// Queue pairs of each guest; frames are spread over all of them
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=128))]
    pub(crate) queue_pairs: u16,
    /// What guest memory is made of
    #[arg(long, value_enum, default_value_t = PagesArg::Usual)]
    pub(crate) pages: PagesArg,
    /// Set rings up in the order of DPDK's virtio-user, not of QEMU
    #[arg(long)]
    pub(crate) virtio_user_order: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PayloadArg {
    /// Nothing
    None,
    /// The first cache line
    Line,
    /// All bytes
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PagesArg {
    /// The pages of the processor
    Usual,
    /// Pages of 2 MiB, out of /proc/sys/vm/nr_hugepages
    Huge,
}

/// Frames of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// All of this length on a wire.
    Bytes(u32),
    /// The mix of the internet.
    Imix,
}

fn frame_kind(text: &str) -> Result<FrameKind, String> {
    if text.eq_ignore_ascii_case("imix") {
        return Ok(FrameKind::Imix);
    }
    match text.parse() {
        Ok(bytes) if (64..=65_553).contains(&bytes) => Ok(FrameKind::Bytes(bytes)),
        _ => Err("a frame has 64 to 65553 bytes, or is \"imix\"".to_owned()),
    }
}

fn pair(text: &str) -> Result<(usize, usize), String> {
    let parsed =
        text.split_once(':').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    parsed.ok_or_else(|| "a pair is two numbers of sockets, as in 0:1".to_owned())
}

fn ring_size(text: &str) -> Result<u16, String> {
    match text.parse::<u16>() {
        Ok(size) if size.is_power_of_two() && (16..=32_768).contains(&size) => Ok(size),
        _ => Err("a ring has a power of two of descriptors, 16 to 32768".to_owned()),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("it must be a number of seconds, up to a day".to_owned()),
    }
}

/// Seconds in which something can be counted.
fn some_seconds(text: &str) -> Result<f64, String> {
    seconds(text).and_then(|seconds| match seconds >= 0.001 {
        true => Ok(seconds),
        false => Err("it must be a millisecond at least".to_owned()),
    })
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "it must be 1 at least".to_owned())
}

/// As a share.
fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("it must be 0 to 100 percent".to_owned()),
    }
}

fn load(text: &str) -> Result<Load, String> {
    let wrong = || "a load is frames per second (10000, 10k, 2.5M) or a part (10%)".to_owned();
    let number =
        |text: &str| text.parse::<f64>().ok().filter(|number| *number > 0.0).ok_or_else(wrong);
    if let Some(part) = text.strip_suffix('%') {
        return Ok(Load::Percent(number(part)?));
    }
    let (digits, factor) = match text.strip_suffix(['M', 'm']) {
        Some(digits) => (digits, 1e6),
        None => text.strip_suffix(['K', 'k']).map_or((text, 1.0), |digits| (digits, 1e3)),
    };
    Ok(Load::Frames(number(digits)? * factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_are_rates_or_parts() {
        assert_eq!(load("10%"), Ok(Load::Percent(10.0)));
        assert_eq!(load("2.5M"), Ok(Load::Frames(2.5e6)));
        assert_eq!(load("10k"), Ok(Load::Frames(1e4)));
        assert_eq!(load("7"), Ok(Load::Frames(7.0)));
        for wrong in ["", "%", "-1", "0", "k", "1G"] {
            assert!(load(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_that_cannot_be_right_are_refused() {
        assert_eq!(frame_kind("IMIX"), Ok(FrameKind::Imix));
        assert!(
            frame_kind("63").is_err() && frame_kind("64").is_ok() && frame_kind("65554").is_err()
        );
        assert!(
            ring_size("32768").is_ok() && ring_size("1000").is_err() && ring_size("65536").is_err()
        );
        assert_eq!(pair("3:14"), Ok((3, 14)));
        assert!(pair("3").is_err() && pair("a:b").is_err());
        assert!(some_seconds("0.0009").is_err() && some_seconds("0.001").is_ok());
        assert!(seconds("0").is_ok() && at_least_one("0").is_err() && at_least_one("1").is_ok());
        assert_eq!(percent("0.5%"), Ok(0.005));
        assert!(percent("101").is_err() && seconds("-1").is_err() && seconds("inf").is_err());
    }
}
