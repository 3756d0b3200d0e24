//! What VPP is told and what it answers, as text: its settings, its ports, its mirrors, and how one speaks to its command
//! line without the program that is made for it.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::path::Path;

use super::{Machine, Order, Sockets};
use crate::cells::Carried;
use crate::peer_name::PeerName;

/// Its file of settings: a worker that polls on the core of workers, only the plugin for ports of VMs, no telemetry.
/// Its files are in `folder` or begin with `prefix`, so that several can run.
pub(super) fn startup(machine: &Machine, folder: &Path, prefix: &str) -> String {
    let (folder, main, worker) = (folder.display(), machine.other_core, machine.worker_core);
    format!(
        "unix {{ nodaemon nosyslog runtime-dir {folder} cli-listen {folder}/cli.sock }}\n\
         memory {{ main-heap-size 256M main-heap-page-size 2M }}\n\
         cpu {{ main-core {main} corelist-workers {worker} }}\n\
         buffers {{ buffers-per-numa 32768 page-size 2M }}\n\
         api-segment {{ prefix {prefix} }}\n\
         statseg {{ socket-name {folder}/stats.sock per-node-counters off }}\n\
         plugins {{ plugin default {{ disable }} plugin vhost_plugin.so {{ enable }} }}\n"
    )
}

/// The lines that make its ports, as one bridge domain that learns as ours does.
pub(super) fn setup(order: &Order) -> String {
    let server = match order.sockets {
        Sockets::Switch => " server",
        Sockets::Guests => "",
    };
    let gso = match order.carried {
        Carried::Udp => "",
        Carried::Tso => " gso",
    };
    let mut lines = String::new();
    for (port, socket) in super::sockets(PeerName::Vpp, order).iter().enumerate() {
        let (name, socket) = (interface(port), socket.display());
        let _ = write!(
            lines,
            "create vhost-user socket {socket}{server}{gso}\n\
             set interface rx-mode {name} polling\n\
             set interface l2 bridge {name} 1\n\
             set interface state {name} up\n"
        );
    }
    lines
}

/// Its name for a port.
pub(super) fn interface(port: usize) -> String {
    format!("VirtualEthernet0/0/{port}")
}

/// Whether copies go to a destination.
#[derive(Clone, Copy, Debug)]
pub(super) enum Span {
    /// Of all that the source sends and receives.
    Both,
    /// None.
    Off,
}

/// The line that mirrors port 0 to `destination`, or no longer.
pub(super) fn span(destination: usize, span: Span) -> String {
    let (source, destination) = (interface(0), interface(destination));
    let what = match span {
        Span::Both => "both",
        Span::Off => "disable",
    };
    format!("set interface span {source} l2 destination {destination} {what}")
}

/// What a line that was obeyed does not say. Failures are told by no other sign.
pub(super) fn complaint(answer: &str) -> Option<&str> {
    let said = answer.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!said.is_empty()).then_some(said)
}

/// Asks which ports are in the bridge domain, and so whether all lines of [`setup`] were obeyed.
pub(super) const MEMBERS: &str = "show bridge-domain 1 detail";

/// The ports of the bridge domain in the answer to [`MEMBERS`], in order.
pub(super) fn members(answer: &str) -> Vec<&str> {
    let lines = answer.lines().skip_while(|line| !line.trim_start().starts_with("Interface"));
    lines.skip(1).filter_map(|line| line.split_whitespace().next()).collect()
}

/// Frames that its interfaces received, in what `show interface` says. One that has counted nothing has no such row.
pub(super) fn taken_in(interfaces: &str) -> Option<u64> {
    let rows = interfaces.split("rx packets").skip(1);
    let count = |rest: &str| rest.split_whitespace().next()?.parse::<u64>().ok();
    let counts: Vec<u64> = rows.map(count).collect::<Option<_>>()?;
    interfaces.contains("Counter").then(|| counts.iter().sum())
}

/// Its version, without who built it where and when.
pub(super) fn version_in(line: &str) -> String {
    let version = line.split_whitespace().nth(1).unwrap_or("?");
    format!("vpp {}", version.trim_start_matches('v'))
}

/// The kind of terminal, in Telnet's words, for which nothing is echoed and no prompt is written.
const NO_TERMINAL: &[u8] = b"\xff\xfa\x18\x00vppctl\xff\xf0";

/// Says over a new connection to its command line that no person sits here, and waits until that is understood: an empty
/// line is answered by a zero, after what the other end asks of terminals.
pub(super) fn introduce(stream: &mut (impl Read + Write)) -> std::io::Result<()> {
    stream.write_all(NO_TERMINAL)?;
    stream.write_all(b"\n")?;
    let mut questions = Questions::default();
    let mut byte = [0_u8];
    loop {
        stream.read_exact(&mut byte)?;
        let [byte] = byte;
        if questions.take(byte) == Taken::AsText && byte == 0 {
            return Ok(());
        }
    }
}

/// Where we are in what the other end asks of terminals (RFC 854, RFC 855).
#[derive(Clone, Copy, Debug, Default)]
enum Questions {
    /// In text.
    #[default]
    Text,
    /// After the byte that announces a command.
    Command,
    /// Before the option of a command of three bytes.
    Option,
    /// In the parameters of an option.
    Parameters,
    /// After the byte that announces their end.
    End,
}

/// What a byte was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    AsText,
    AsQuestion,
}

impl Questions {
    fn take(&mut self, byte: u8) -> Taken {
        let was = *self;
        *self = match (was, byte) {
            (Self::Text, 255) => Self::Command,
            (Self::Command, 250) => Self::Parameters,
            (Self::Command, 251..=254) => Self::Option,
            (Self::Parameters, 255) => Self::End,
            (Self::End, 240) => Self::Text,
            (Self::Parameters | Self::End, _) => Self::Parameters,
            (Self::Text | Self::Command | Self::Option, _) => Self::Text,
        };
        match (was, *self) {
            (Self::Text, Self::Text) => Taken::AsText,
            _ => Taken::AsQuestion,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::cells::Poll;

    fn order(sockets: Sockets, carried: Carried) -> Order {
        let (path, interfaces, copies) = (None, Vec::new(), None);
        let (folder, poll) = ("/r".into(), Poll::Adaptive);
        Order { folder, ports: 2, sockets, carried, macs: 2, poll, path, interfaces, copies }
    }

    #[test]
    fn its_ports_are_one_bridge_domain_and_are_polled() {
        let lines = setup(&order(Sockets::Switch, Carried::Udp));
        let second: Vec<&str> = lines.lines().skip(4).collect();
        assert_eq!(
            second,
            [
                "create vhost-user socket /r/v1 server",
                "set interface rx-mode VirtualEthernet0/0/1 polling",
                "set interface l2 bridge VirtualEthernet0/0/1 1",
                "set interface state VirtualEthernet0/0/1 up",
            ]
        );
    }

    #[test]
    fn it_connects_to_guests_that_listen_and_takes_long_frames_when_asked() {
        let lines = setup(&order(Sockets::Guests, Carried::Tso));
        assert_eq!(lines.lines().next(), Some("create vhost-user socket /r/v0 gso"));
    }

    #[test]
    fn a_mirror_is_of_both_directions_and_is_taken_off_by_name() {
        let line = "set interface span VirtualEthernet0/0/0 l2 destination VirtualEthernet0/0/2";
        assert_eq!(span(2, Span::Both), format!("{line} both"));
        assert_eq!(span(2, Span::Off), format!("{line} disable"));
    }

    #[test]
    fn its_worker_has_the_core_of_workers_and_its_files_one_folder() {
        let machine =
            Machine { worker_core: 1, other_core: 0, helio: "/helio".into(), helio2: None };
        let text = startup(&machine, Path::new("/r"), "x");
        assert!(text.contains("cpu { main-core 0 corelist-workers 1 }"), "{text}");
        for file in [
            "prefix x ",
            "runtime-dir /r ",
            "cli-listen /r/cli.sock ",
            "socket-name /r/stats.sock ",
        ] {
            assert!(text.contains(file), "{text}");
        }
    }

    #[test]
    fn whatever_it_says_to_a_line_that_is_to_be_obeyed_is_a_complaint() {
        assert_eq!(complaint(""), None);
        assert_eq!(complaint("\r\n\0"), None);
        let refused = "set interface span: Invalid input\r\n";
        assert_eq!(complaint(refused), Some("set interface span: Invalid input"));
        assert_eq!(complaint("exec: CLI line error: \r\n"), Some("exec: CLI line error:"));
    }

    #[test]
    fn the_members_of_its_bridge_domain_are_the_rows_of_the_second_table() {
        let answer = "\
  BD-ID   Index   BSN  Age(min)  Learning  U-Forwrd   UU-Flood   Flooding  ARP-Term  arp-ufwd Learn-co Learn-li   BVI-Intf \r
    1       1      0     off        on        on       flood        on       off       off        0    16777216     N/A    \r
span-l2-input l2-input-classify l2-input-feat-arc l2-learn l2-rw l2-fwd l2-flood l2-flood l2-output \r
\r
           Interface           If-idx ISN  SHG  BVI  TxFlood        VLAN-Tag-Rewrite       \r
     VirtualEthernet0/0/0        1     1    0    -      *                 none             \r
     VirtualEthernet0/0/1        2     1    0    -      *                 none             \r
";
        assert_eq!(members(answer), [interface(0), interface(1)]);
        assert!(members("show bridge-domain: No such bridge domain 1\r\n").is_empty());
    }

    #[test]
    fn what_its_interfaces_received_is_what_guests_sent() {
        let said = "\
              Name               Idx    State  MTU (L3/IP4/IP6/MPLS)     Counter          Count     \r
VirtualEthernet0/0/0              1      up          9000/0/0/0     rx packets                  1200\r
                                                                    rx bytes                   72000\r
                                                                    tx packets                    34\r
VirtualEthernet0/0/1              2      up          9000/0/0/0     rx packets                    34\r
                                                                    drops                          1\r
local0                            0     down          0/0/0/0       \r
";
        assert_eq!(taken_in(said), Some(1234));
        assert_eq!(taken_in("show interface: failed"), None);
    }

    #[test]
    fn its_version_says_nothing_of_where_it_was_built() {
        let line = "vpp v26.06-release built by someone on somewhere at 2026-06-24T12:00:00";
        assert_eq!(version_in(line), "vpp 26.06-release");
        assert_eq!(version_in(""), "vpp ?");
    }

    /// One end of a connection: what the other end has said, and what was said to it.
    struct Wire {
        hears: Cursor<Vec<u8>>,
        said: Vec<u8>,
    }

    impl Read for Wire {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            self.hears.read(into)
        }
    }

    impl Write for Wire {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.said.write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn it_is_understood_at_the_first_zero_outside_what_is_asked_of_terminals() {
        // Do the kind of terminal; say which, with a zero in the question; then text, the zero, and what follows it.
        let hears = b"\xff\xfd\x18\xff\xfa\x18\x00\x01\xff\xf0\xff\xfb\x00ok\x00rest".to_vec();
        let mut wire = Wire { hears: Cursor::new(hears), said: Vec::new() };
        introduce(&mut wire).unwrap();
        let mut rest = String::new();
        wire.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "rest");
        assert!(wire.said.starts_with(b"\xff\xfa\x18\x00vppctl"));
    }

    #[test]
    fn a_command_line_that_hangs_up_is_an_error() {
        let mut wire = Wire { hears: Cursor::new(b"\xff\xfd\x18".to_vec()), said: Vec::new() };
        assert!(introduce(&mut wire).is_err());
    }
}
