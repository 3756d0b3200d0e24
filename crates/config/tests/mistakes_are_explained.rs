//! Each mistake in a configuration file is answered with file, line, key, and what to write instead.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, also in what it calls"
)]

use helio_config::{Config, ConfigError, PollMode, SocketAccess, SocketGroup};
use std::time::Duration;

fn refuse(text: &str) -> ConfigError {
    Config::from_str(text, "helio.toml").expect_err(text)
}

/// The whole answer to a text with one mistake.
fn answer(text: &str) -> String {
    let error = refuse(text);
    assert_eq!(error.problems.len(), 1, "{error}");
    error.to_string()
}

const COLUMBIA: &str = "[[port]]\nname = \"columbia\"\nsocket = \"/run/columbia.sock\"\n";

fn columbia_with(line: &str) -> String {
    format!("{COLUMBIA}{line}\n")
}

#[test]
fn an_unknown_key_gets_the_nearest_known_one() {
    assert_eq!(
        answer(&columbia_with("miroring = \"source\"")),
        "helio.toml:4: port.columbia.miroring: there is no such key; did you mean \"mirroring\"?"
    );
    assert_eq!(
        answer("[swich]\n"),
        "helio.toml:1: swich: there is no such key; did you mean \"switch\"?"
    );
    assert!(
        answer("[[worker]]\ncore = 0\ncolour = 1\n")
            .contains("the keys here are core, poll, idle-us")
    );
}

#[test]
fn a_wrong_word_gets_the_nearest_known_one_or_all_of_them() {
    assert_eq!(
        answer(&columbia_with("mode = \"sever\"")),
        "helio.toml:4: port.columbia.mode: mode = \"sever\" is not known; did you mean \"server\"?"
    );
    assert!(
        answer(&columbia_with("mirroring = \"both\""))
            .ends_with("write \"none\" or \"source\" or \"destination\"")
    );
    assert!(
        answer("[[worker]]\ncore = 0\npoll = \"adaptiv\"\n").contains("did you mean \"adaptive\"?")
    );
}

#[test]
fn a_table_with_the_wrong_brackets_is_answered_with_the_right_ones() {
    assert_eq!(
        answer("[[switch]]\n"),
        "helio.toml:1: switch: found a list where a table belongs; write [switch], with one bracket, above its settings"
    );
    assert!(
        answer("port = [\"columbia\"]\n")
            .ends_with("; write [[port]], with two brackets, above the settings of each port")
    );
    let inner = answer(&columbia_with("static-mac = [[1]]"));
    assert!(!inner.contains("bracket"), "{inner}");
}

#[test]
fn a_value_of_the_wrong_kind_is_answered_with_an_example() {
    for (line, wanted) in [
        ("mtu = \"9000\"", "found text; write a whole number from 0 up, as in mtu = 1500"),
        ("mtu = -1", "found a negative number"),
        ("mtu = 1.5", "found a number with a decimal point"),
        ("mode = 1", "found a number; write text in quotes, as in mode = \"server\""),
        ("receive-only = \"yes\"", "found text; write true or false, without quotes"),
        ("vlan = 10", "found a number; write a table, as in vlan = { access = 10 }"),
        ("vlan = { trunk = 10 }", "write a list of VLANs, as in trunk = [10, 20]"),
        ("vlan = { trunk = [10, \"20\"] }", "found something else than whole numbers from 0 up"),
        ("vlan = { trunk = [10, -1] }", "found something else than whole numbers from 0 up"),
        ("static-mac = \"52:54:00:12:34:56\"", "write a list of addresses"),
        ("session = 2026-01-01", "found a date"),
    ] {
        let answer = answer(&columbia_with(line));
        assert!(
            answer.contains(wanted) && answer.starts_with("helio.toml:4: "),
            "{line}: {answer}"
        );
    }
}

#[test]
fn a_number_out_of_range_is_answered_with_the_range() {
    for (line, range) in [
        ("mtu = 67", "from 68 to 65535"),
        ("session = 256", "from 0 to 255"),
        ("queue-pairs = 0", "from 1 to 128"),
        ("vlan = { access = 4095 }", "from 1 to 4094"),
    ] {
        assert!(answer(&columbia_with(line)).contains(range), "{line}");
    }
    assert!(
        answer("[switch]\nfdb-size = 0\n")
            .contains("switch.fdb-size: fdb-size = 0 is out of range")
    );
}

#[test]
fn c162_a_socket_path_over_107_bytes_is_named_with_its_length() {
    let long = format!("/{}", "x".repeat(107));
    let answer = answer(&format!("[[port]]\nname = \"a\"\nsocket = \"{long}\"\n"));
    assert!(
        answer.contains("helio.toml:3: port.a.socket: socket is a path of 108 bytes"),
        "{answer}"
    );
    let control = refuse(&format!("[switch]\ncontrol = \"{long}\"\n")).to_string();
    assert!(control.contains("switch.control: control is a path of 108 bytes"), "{control}");
}

#[test]
fn all_problems_are_named_in_the_order_of_their_lines() {
    let text = format!(
        "[switch]\nfdb-size = 0\n{}[[mirror]]\nsession = 0\nexact = 1\n",
        columbia_with("mtu = 1\nspeed = 10")
    );
    let lines: Vec<_> = refuse(&text).problems.iter().filter_map(|problem| problem.line).collect();
    assert_eq!(lines, [2, 6, 7, 10]);
}

#[test]
fn text_that_is_no_toml_is_answered_with_its_line_and_column() {
    let error = refuse("[switch]\n# größe\nsocket-group = \"größe\" kvm\n");
    assert_eq!(error.problems[0].line, Some(3));
    assert!(error.to_string().starts_with("helio.toml:3:24: this is not TOML: "), "{error}");
    assert!(answer("[switch]\nfdb-size = 1\nfdb-size = 2\n").starts_with("helio.toml:3:1: "));
}

#[test]
fn mode_and_group_of_the_sockets_are_read_and_mistakes_in_them_are_explained() {
    let text = "[switch]\nsocket-group = \"kvm\"\nsocket-mode = \"0666\"\n";
    let access = Config::from_str(text, "helio.toml").unwrap().switch.access;
    assert_eq!(access, SocketAccess { mode: 0o666, group: Some(SocketGroup::Name("kvm".into())) });
    for (line, wanted) in [
        ("socket-mode = 660", "found a number; write text in quotes, as in socket-mode = \"0660\""),
        ("socket-mode = \"0777\"", "socket-mode = \"0777\" is no mode of a socket; write \"0600\""),
        ("socket-group = \"k v m\"", "write one that \"getent group\" lists"),
        ("socket-group = -1", "found a negative number; write text in quotes"),
        ("socket-group = 4294967295", "write a number from 0 to 4294967294"),
        ("socket-gruop = \"kvm\"", "did you mean \"socket-group\"?"),
    ] {
        let answer = answer(&format!("[switch]\n{line}\n"));
        assert!(answer.starts_with("helio.toml:2: switch.socket-"), "{answer}");
        assert!(answer.contains(wanted), "{answer}");
    }
}

#[test]
fn ports_do_not_share_a_name_a_socket_or_a_static_address() {
    let mac = "static-mac = [\"52:54:00:12:34:56\"]\n";
    let twice = format!("{COLUMBIA}{mac}{COLUMBIA}{mac}");
    let error = refuse(&twice);
    let keys: Vec<_> = error.problems.iter().map(|p| (p.line, p.key.as_str())).collect();
    assert_eq!(
        keys,
        [
            (Some(6), "port.columbia.name"),
            (Some(7), "port.columbia.socket"),
            (Some(8), "port.columbia.static-mac")
        ]
    );
}

#[test]
fn the_control_socket_cannot_be_the_socket_of_a_port() {
    let text = format!("[switch]\ncontrol = \"/run/columbia.sock\"\n{COLUMBIA}");
    assert!(answer(&text).contains("is the control socket"));
    let mut config = Config::from_str(COLUMBIA, "helio.toml").unwrap();
    assert!(config.set_control("/run/columbia.sock".as_ref()).is_err());
    assert!(config.set_control("x".repeat(108).as_ref()).is_err());
    assert_eq!(config.set_control("/run/other.sock".as_ref()), Ok(()));
    assert_eq!(config.switch.control, std::path::Path::new("/run/other.sock"));
}

#[test]
fn a_port_needs_a_name_and_a_socket() {
    let error = refuse("\n[[port]]\nmtu = 1500\n").to_string();
    assert!(
        error.contains("helio.toml:2: port[0].name: the name is missing; write, for example, name = \"columbia\""),
        "{error}"
    );
    assert!(error.contains("helio.toml:2: port[0].socket: the socket is missing"), "{error}");
}

#[test]
fn a_port_names_a_worker_that_exists() {
    let text = format!("[[worker]]\ncore = 0\n{}", columbia_with("worker = 1"));
    assert!(answer(&text).contains("worker = 1, but the last worker is 0"));
    let text = format!("[[worker]]\ncore = 0\n{}", columbia_with("worker = 0"));
    assert!(Config::from_str(&text, "helio.toml").is_ok());
}

#[test]
fn workers_have_a_core_each() {
    assert!(answer("[[worker]]\npoll = \"busy\"\n").contains("write, for example, core = 1"));
    assert!(
        answer("[[worker]]\ncore = 1\n[[worker]]\ncore = 1\n")
            .contains("belongs to worker 0 already")
    );
    assert_eq!(refuse("[[worker]]\n[[worker]]\n").problems.len(), 2);
    let many: String = (0..65).map(|core| format!("[[worker]]\ncore = {core}\n")).collect();
    assert!(answer(&many).contains("there are 65 workers; write at most 64"));
}

#[test]
fn a_busy_worker_has_no_idle_time() {
    assert!(
        answer("[[worker]]\ncore = 0\npoll = \"busy\"\nidle-us = 5\n")
            .contains("leave idle-us out")
    );
    let config = Config::from_str("[[worker]]\ncore = 0\nidle-us = 5\n", "helio.toml").unwrap();
    assert_eq!(config.workers[0].poll, PollMode::Adaptive { idle: Duration::from_micros(5) });
}

#[test]
fn a_table_written_with_single_brackets_is_explained() {
    let answer = answer("[port]\nname = \"columbia\"\n");
    assert!(answer.contains("write [[port]], with two brackets"), "{answer}");
}

#[test]
fn the_256th_port_is_accepted_and_the_257th_is_refused() {
    let port = |n: usize| format!("[[port]]\nname = \"p{n}\"\nsocket = \"/run/p{n}.sock\"\n");
    let full: String = (0..256).map(port).collect();
    assert_eq!(Config::from_str(&full, "helio.toml").unwrap().ports.len(), 256);
    let over: String = (0..257).map(port).collect();
    assert!(answer(&over).contains("at most 256 ports"));
}

#[test]
fn a_mirror_session_is_described_once() {
    let text = "[[mirror]]\nsession = 3\nexact = true\n";
    let config = Config::from_str(text, "helio.toml").unwrap();
    assert!(config.mirrors[0].exact && config.mirrors[0].session.0 == 3);
    assert!(answer(&format!("{text}{text}")).contains("session 3 has a [[mirror]] already"));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = Config::load("/nonexistent/helio.toml".as_ref()).unwrap_err();
    assert!(
        error.to_string().starts_with("/nonexistent/helio.toml: the configuration cannot be read"),
        "{error}"
    );
}

const UPLINK: &str = "[[port]]\nname = \"uplink0\"\ninterface = \"eth1\"\n";

#[test]
fn an_uplink_is_a_port_with_an_interface_instead_of_a_socket() {
    let text = format!("{UPLINK}mode = \"skb\"\nqueues = 2\npass = [\"0x88cc\"]\n{COLUMBIA}");
    let config = Config::from_str(&text, "helio.toml").expect("it is right");
    assert_eq!(config.ports[0].attachment.interface(), Some("eth1"));
    assert_eq!(
        answer(&format!("{UPLINK}socket = \"/run/a.sock\"\n")),
        "helio.toml:3: port.uplink0.interface: a port has a socket or an interface; leave one of them out"
    );
    assert_eq!(
        answer(&format!("{UPLINK}mode = \"natve\"\n")),
        "helio.toml:4: port.uplink0.mode: mode = \"natve\" is not known; write \"auto\" or \"zero-copy\" or \"copy\" or \"skb\""
    );
    assert_eq!(
        answer(&format!("{UPLINK}pass = [1]\n")),
        "helio.toml:4: port.uplink0.pass: found something else than text in quotes; write, for example, pass = [\"0x88cc\"]"
    );
    assert_eq!(
        answer("[[port]]\nname = \"uplink0\"\ninterface = 1\n"),
        "helio.toml:3: port.uplink0.interface: found a number; write text in quotes, as in interface = \"eth1\""
    );
    let twice = format!("{UPLINK}[[port]]\nname = \"uplink1\"\ninterface = \"eth1\"\n");
    assert_eq!(
        answer(&twice),
        "helio.toml:6: port.uplink1.interface: eth1 is the interface of port \"uplink0\"; write another one"
    );
}
