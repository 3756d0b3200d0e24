//! Named mirror sessions as they are written, and what is answered to the mistakes in them.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, also in what it calls"
)]

use helio_config::{
    Config, ConfigError, MirrorDestination, MirrorDirection, MirrorRate, RemoteDestination,
    SessionConfig,
};
use helio_encap::{Encapsulation, GreSequence, Oversize, SubHeaderChoice, UdpChecksum};

/// Twelve lines: a session begins at line 13.
const PORTS: &str = "[[port]]
name = \"columbia\"
socket = \"/run/columbia.sock\"
labels = [\"sql\"]
[[port]]
name = \"sniffie\"
socket = \"/run/sniffie.sock\"
[[port]]
name = \"uplink0\"
interface = \"eth1\"
pass = []

";

const HEAD: &str = "[[mirror]]\nname = \"sql\"\n";
const SOURCE: &str = "source-ports = [\"columbia\"]\n";
const TO_PORT: &str = "[[mirror.destination]]\nport = \"sniffie\"\n";

fn load(text: &str) -> Result<Config, ConfigError> {
    Config::from_str(&format!("{PORTS}{text}"), "helio.toml")
}

fn session(text: &str) -> SessionConfig {
    let config = load(text).unwrap_or_else(|error| panic!("{text}\n{error}"));
    config.sessions.into_iter().next().expect("there is one")
}

/// Line, key and sentence of each problem.
fn problems(text: &str) -> Vec<(usize, String, String)> {
    let error = load(text).expect_err(text);
    let shown = |problem: helio_config::Problem| {
        (problem.line.expect("a line"), problem.key, problem.message)
    };
    error.problems.into_iter().map(shown).collect()
}

/// The one problem of a text.
fn problem(text: &str) -> (usize, String, String) {
    let mut problems = problems(text);
    assert_eq!(problems.len(), 1, "{text}\n{problems:#?}");
    problems.remove(0)
}

/// A session with `line` among its settings, which is line 16 of the file.
fn with_line(line: &str) -> String {
    format!("{HEAD}{SOURCE}{line}\n{TO_PORT}")
}

/// A session with a collector that has `lines`, of which the first is line 17 of the file.
fn with_collector(lines: &str) -> String {
    format!("{HEAD}{SOURCE}[[mirror.destination]]\n{lines}\n")
}

const ERSPAN_2: &str = "uplink = \"uplink0\"\nencapsulation = \"erspan-2\"\nlocal = \"10.0.0.1/24\"\nremote = \"10.0.0.9\"\nid = 7\n";

fn remote(lines: &str) -> RemoteDestination {
    match session(&with_collector(lines)).destinations.remove(0) {
        MirrorDestination::Remote(remote) => remote,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_session_needs_a_name_a_source_and_a_destination_and_has_defaults_for_the_rest() {
    let session = session(&format!("{HEAD}{SOURCE}{TO_PORT}"));
    assert_eq!((session.name.as_str(), session.direction), ("sql", MirrorDirection::Both));
    assert_eq!(session.sources.ports, ["columbia"]);
    assert_eq!((session.filter, session.snap_len, session.rate), (None, None, None));
    assert_eq!((session.sample.get(), session.exact, session.include_dropped), (1, false, false));
    assert_eq!(session.destinations, [MirrorDestination::Port { port: "sniffie".to_owned() }]);
}

#[test]
fn every_setting_of_a_session_is_read_and_survives_json() {
    let session = session(&format!(
        "{HEAD}{SOURCE}source-labels = [\"sql\", \"rack7\"]\nsource-vlans = [10, 20]\n\
        source-macs = [\"52:54:00:00:00:01\"]\ndirection = \"ingress\"\nfilter = \"tcp port 1433\"\n\
        snap-len = 128\nsample = 10\nrate-frames-per-s = 5000\nrate-burst-frames = 100\nexact = true\n\
        include-dropped = true\n{TO_PORT}[[mirror.destination]]\nport = \"uplink0\"\nrspan-vlan = 99\n\
        [[mirror.destination]]\n{ERSPAN_2}"
    ));
    assert_eq!(session.sources.labels, ["sql", "rack7"]);
    assert_eq!(session.sources.vlans.iter().map(|vlan| vlan.get()).collect::<Vec<_>>(), [10, 20]);
    assert_eq!(session.sources.macs[0].to_string(), "52:54:00:00:00:01");
    assert_eq!(session.direction, MirrorDirection::Ingress);
    assert_eq!(session.filter.as_deref(), Some("tcp port 1433"));
    assert_eq!((session.snap_len, session.sample.get()), (Some(128), 10));
    assert!(session.exact && session.include_dropped);
    let Some(MirrorRate::FramesPerSecond { rate, burst_frames }) = session.rate else {
        panic!("{:?}", session.rate)
    };
    assert_eq!((rate.get(), burst_frames.get()), (5000, 100));
    let shown: Vec<_> = session.destinations.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["sniffie", "uplink0 VLAN 99", "10.0.0.9 by uplink0"]);
    let json = serde_json::to_value(&session).unwrap();
    assert_eq!(json["source_ports"], serde_json::json!(["columbia"]));
    assert_eq!(json["destination"][2]["encapsulation"], "erspan-2");
    assert_eq!(serde_json::from_value::<SessionConfig>(json).unwrap(), session);
}

#[test]
fn a_burst_that_is_left_out_is_what_the_rate_gives_in_10_ms_and_a_longest_frame_at_least() {
    for (lines, burst) in [
        ("rate-bytes-per-s = 12500000", 125_000),
        ("rate-bytes-per-s = 1000", 65_553),
        ("rate-bytes-per-s = 1000\nrate-burst-bytes = 1", 1),
    ] {
        match session(&with_line(lines)).rate {
            Some(MirrorRate::BytesPerSecond { burst_bytes, .. }) => assert_eq!(burst_bytes, burst),
            other => panic!("{other:?}"),
        }
    }
    for (rate, burst) in [(5000, 50), (99, 1)] {
        match session(&with_line(&format!("rate-frames-per-s = {rate}"))).rate {
            Some(MirrorRate::FramesPerSecond { burst_frames, .. }) => {
                assert_eq!(burst_frames.get(), burst);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_collector_has_an_address_of_ours_and_one_of_its_own() {
    let near = remote(ERSPAN_2);
    assert_eq!((near.local.to_string(), near.prefix_len), ("10.0.0.1".to_owned(), 24));
    assert_eq!((near.mtu, near.ttl.get(), near.dscp.get()), (1500, 64, 0));
    assert_eq!((near.oversize, near.vlan, near.mac), (Oversize::Truncate, None, None));
    let far = remote(
        "uplink = \"uplink0\"\nencapsulation = \"gre\"\nlocal = \"10.0.0.1/24\"\nremote = \"192.0.2.9\"\n\
        gateway = \"10.0.0.254\"\nmtu = 9000\noversize = \"fragment\"\ndscp = 8\nttl = 1\nvlan = 7\npcp = 5\n\
        mac = \"52:54:00:00:00:0a\"",
    );
    assert_eq!(far.gateway.map(|gateway| gateway.to_string()).as_deref(), Some("10.0.0.254"));
    assert_eq!(
        (far.mtu, far.oversize, far.dscp.get(), far.ttl.get()),
        (9000, Oversize::Fragment, 8, 1)
    );
    assert_eq!((far.vlan.map(|vlan| vlan.get()), far.pcp.get()), (Some(7), 5));
}

#[test]
fn each_encapsulation_has_its_word_and_its_keys() {
    let form = |lines: &str| {
        let way = "uplink = \"uplink0\"\nlocal = \"10.0.0.1/24\"\nremote = \"10.0.0.9\"\n";
        remote(&format!("{way}{lines}")).encapsulation
    };
    assert_eq!(form("encapsulation = \"erspan-1\""), Encapsulation::ErspanI);
    let Encapsulation::ErspanII { session } = form("encapsulation = \"erspan-2\"\nid = 1023")
    else {
        panic!("ERSPAN type II is asked for")
    };
    assert_eq!(session.get(), 1023);
    let type_3 = form(
        "encapsulation = \"erspan-3\"\nid = 1\nsecurity-group = 9\nhardware-id = 63\nsub-header = false",
    );
    let Encapsulation::ErspanIII { security_group: 9, hardware, sub_header, .. } = type_3 else {
        panic!("{type_3:?}")
    };
    assert_eq!((hardware.get(), sub_header), (63, SubHeaderChoice::Absent));
    assert_eq!(
        form("encapsulation = \"gre\""),
        Encapsulation::Gre { key: None, sequence: GreSequence::Absent }
    );
    assert_eq!(
        form("encapsulation = \"gre\"\nid = 4294967295\nsequence = true"),
        Encapsulation::Gre { key: Some(u32::MAX), sequence: GreSequence::Present }
    );
    let vxlan = form("encapsulation = \"vxlan\"\nid = 16777215");
    let Encapsulation::Vxlan { port: 4789, checksum: UdpChecksum::Zero, .. } = vxlan else {
        panic!("{vxlan:?}")
    };
    let over_v6 = remote(
        "uplink = \"uplink0\"\nlocal = \"fd00::1/64\"\nremote = \"fd00::9\"\nencapsulation = \"vxlan\"\nid = 1\nudp-port = 8472",
    );
    let Encapsulation::Vxlan { port: 8472, checksum: UdpChecksum::Complete, .. } =
        over_v6.encapsulation
    else {
        panic!("{over_v6:?}")
    };
}

#[test]
fn wrong_values_of_a_session_are_answered_with_line_key_and_what_to_write() {
    for (line, key, wanted) in [
        ("filtr = \"tcp\"", "filtr", "did you mean \"filter\"?"),
        ("source-vlans = [4095]", "source-vlans", "from 1 to 4094"),
        ("source-vlans = [\"20-30\"]", "source-vlans", "for example, source-vlans = [10, 20]"),
        ("source-vlans = [10, 10]", "source-vlans", "source-vlans has 10 twice"),
        (
            "source-labels = [\"a b\"]",
            "source-labels",
            "\"a b\" cannot be a label; write 1 to 63 letters",
        ),
        (
            "source-labels = \"sql\"",
            "source-labels",
            "write a list, as in source-labels = [\"sql\"]",
        ),
        ("source-macs = [\"01:00:5e:00:00:01\"]", "source-macs", "is not the address of one card"),
        ("direction = \"ingres\"", "direction", "did you mean \"ingress\"?"),
        ("filter = \" \"", "filter", "filter is empty; leave it out"),
        ("snap-len = 13", "snap-len", "write a number from 14 to 65553"),
        ("sample = 0", "sample", "from 1 to 4294967295"),
        ("rate-bytes-per-s = 0", "rate-bytes-per-s", "from 1 to"),
        ("rate-burst-frames = 5", "rate-burst-frames", "write rate-frames-per-s too"),
        (
            "rate-frames-per-s = 5\nrate-burst-bytes = 5",
            "rate-burst-bytes",
            "write rate-bytes-per-s too",
        ),
        ("exact = 1", "exact", "write true or false"),
        ("session = 3", "session", "a name or a number; leave one of the two out"),
    ] {
        let (at, name, message) = problem(&with_line(line));
        let last = 15 + line.lines().count();
        assert_eq!((at, name), (last, format!("mirror.sql.{key}")), "{line}");
        assert!(message.contains(wanted), "{line}: {message}");
    }
    let both = with_line("rate-bytes-per-s = 5\nrate-frames-per-s = 5");
    assert!(problem(&both).2.contains("leave rate-bytes-per-s or rate-frames-per-s out"));
    let long = with_line(&format!("filter = \"{}\"", "x".repeat(8193)));
    assert!(problem(&long).2.contains("a text of 8193 bytes; write at most 8192"));
    assert!(load(&with_line(&format!("filter = \"{}\"", "x".repeat(8192)))).is_ok());
}

#[test]
fn what_a_session_lacks_is_named() {
    let (line, key, message) = problem(&format!("{HEAD}{TO_PORT}"));
    assert_eq!((line, key.as_str()), (13, "mirror.sql.source-ports"));
    assert!(message.contains("the session watches nothing; write, for example, source-ports"));
    let (line, key, message) = problem(&format!("{HEAD}{SOURCE}"));
    assert_eq!((line, key.as_str()), (13, "mirror.sql.destination"));
    assert!(message.contains("write [[mirror.destination]]"), "{message}");
    let (line, key, message) = problem(&format!("[[mirror]]\n{SOURCE}"));
    assert_eq!((line, key.as_str()), (14, "mirror[0].source-ports"));
    assert!(message.contains("write, for example, name = \"sql\" instead of no name"), "{message}");
    let (_, _, message) = problem(&format!("{HEAD}{SOURCE}[mirror.destination]\n"));
    assert!(message.contains("write [[mirror.destination]], with two brackets"), "{message}");
}

#[test]
fn a_name_is_that_of_a_port_and_no_number() {
    for (name, wanted) in [
        ("12", "numbers are those of sessions made by the setting of ports"),
        ("a b", "\"a b\" cannot be the name of a session; write 1 to 63 letters"),
    ] {
        let (line, _, message) =
            problem(&format!("[[mirror]]\nname = \"{name}\"\n{SOURCE}{TO_PORT}"));
        assert_eq!(line, 14);
        assert!(message.contains(wanted), "{message}");
    }
    let twice = format!("{HEAD}{SOURCE}{TO_PORT}").repeat(2);
    let (line, key, message) = problem(&twice);
    assert_eq!((line, key.as_str()), (19, "mirror.sql.name"));
    assert!(message.contains("there is a session \"sql\" already"), "{message}");
}

#[test]
fn wrong_values_of_a_destination_are_answered_with_line_key_and_what_to_write() {
    for (from, to, key, wanted) in [
        ("", "prt = 1\n", "prt", "did you mean \"port\"?"),
        ("", "port = \"sniffie\"\n", "port", "leave one of the two out"),
        ("", "rspan-vlan = 7\n", "rspan-vlan", "rspan-vlan is for a port; write vlan"),
        ("", "gateway = \"10.0.0.254\"\n", "gateway", "is not needed, as 10.0.0.9 is in"),
        ("", "mac = \"ff:ff:ff:ff:ff:ff\"\n", "mac", "is not the address of one card"),
        ("", "vlan = 4095\n", "vlan", "from 1 to 4094"),
        ("", "pcp = 5\n", "pcp", "pcp is of a tag; write its VLAN too, as in vlan"),
        ("", "mtu = 67\n", "mtu", "from 68 to 65535"),
        ("", "oversize = \"truncat\"\n", "oversize", "did you mean \"truncate\"?"),
        ("", "dscp = 64\n", "dscp", "from 0 to 63"),
        ("", "ttl = 0\n", "ttl", "from 1 to 255"),
        (
            "",
            "sequence = true\n",
            "sequence",
            "erspan-2 has no sequence; leave it out, or write encapsulation = \"gre\"",
        ),
        ("", "udp-port = 1\n", "udp-port", "encapsulation = \"vxlan\""),
        ("id = 7", "id = 1024", "id", "from 0 to 1023"),
        ("id = 7", "", "id", "the id is missing; a collector needs an id, as in id = 7"),
        ("erspan-2", "erspan2", "encapsulation", "did you mean \"erspan-2\"?"),
        ("\"erspan-2\"", "2", "encapsulation", "found a number; write text in quotes"),
        ("erspan-2", "erspan-1", "id", "erspan-1 has no id"),
        (
            "local = \"10.0.0.1/24\"\n",
            "",
            "local",
            "a collector needs a local, as in local = \"10.0.0.1/24\"",
        ),
        ("10.0.0.1/24", "10.0.0.1", "local", "write, for example, local = \"10.0.0.1/24\""),
        ("10.0.0.9", "fd00::9", "remote", "are of two IP versions"),
        ("10.0.0.9", "10.0.0.1", "remote", "is the address of the switch itself"),
        (
            "10.0.0.9",
            "10.0.1.9",
            "gateway",
            "write the router there, as in gateway = \"10.0.0.254\", or its remote-mac",
        ),
        (
            "uplink0",
            "sniffie",
            "uplink",
            "\"sniffie\" is no uplink; write the name of a port that has an interface",
        ),
        (
            "uplink0",
            "uplink1",
            "uplink",
            "there is no port \"uplink1\"; write the name of an uplink",
        ),
        ("uplink = \"uplink0\"\n", "", "uplink", "the uplink is missing"),
        (
            "encapsulation = \"erspan-2\"\n",
            "",
            "encapsulation",
            "as in encapsulation = \"erspan-1\" or",
        ),
    ] {
        let lines = match from {
            "" => format!("{to}{ERSPAN_2}"),
            _ => ERSPAN_2.replace(from, to),
        };
        let (_, name, message) = problem(&with_collector(&lines));
        assert_eq!(name, format!("mirror.sql.destination[0].{key}"), "{lines}");
        assert!(message.contains(wanted), "{lines}: {message}");
    }
    let both = "gateway = \"10.0.0.254\"\nremote-mac = \"52:54:00:00:00:09\"\n";
    let lines = format!("{both}{}", ERSPAN_2.replace("10.0.0.9", "192.0.2.9"));
    assert!(problem(&with_collector(&lines)).2.contains("both name the next hop"));
    let lines = lines.replace("gateway = \"10.0.0.254\"\n", "");
    assert!(load(&with_collector(&lines)).is_ok());
    let lines = lines.replace("remote-mac", "gateway = \"10.0.1.254\"\nremote-mac");
    assert!(problem(&with_collector(&lines)).2.contains("10.0.1.254 is not in the network"));
}

#[test]
fn keys_of_a_collector_are_refused_at_a_port() {
    let (line, key, message) = problem(&with_collector("port = \"sniffie\"\nmtu = 1500"));
    assert_eq!((line, key.as_str()), (18, "mirror.sql.destination[0].mtu"));
    assert!(message.contains("mtu is for a collector; write uplink"), "{message}");
    let (_, _, message) = problem(&with_collector(""));
    assert!(message.ends_with("or for a collector uplink = \"uplink0\""), "{message}");
    let (_, _, message) = problem(&with_collector("rspan-vlan = 99"));
    assert!(message.contains("an rspan-vlan is one of a port"), "{message}");
}

#[test]
fn copies_that_would_be_watched_again_are_refused_with_the_reason() {
    for (settings, destination, key, wanted) in [
        ("", "port = \"columbia\"", "port", "\"columbia\" is a source of this session too"),
        ("", "port = \"columbia\"\nrspan-vlan = 9", "port", "its copies would be watched again"),
        (
            "source-vlans = [10]\n",
            "port = \"uplink0\"\nrspan-vlan = 10",
            "rspan-vlan",
            "write a VLAN that carries nothing else",
        ),
    ] {
        let text = format!("{HEAD}{SOURCE}{settings}[[mirror.destination]]\n{destination}\n");
        let (_, name, message) = problem(&text);
        assert_eq!(name, format!("mirror.sql.destination[0].{key}"));
        assert!(message.contains(wanted), "{message}");
    }
    let of_vlans = "source-vlans = [10, 20]\n";
    for (vlan, is_watched) in [("", false), ("vlan = 19\n", false), ("vlan = 20\n", true)] {
        let text = format!("{HEAD}{of_vlans}[[mirror.destination]]\n{ERSPAN_2}{vlan}");
        assert_eq!(load(&text).is_err(), is_watched, "{vlan}");
        if is_watched {
            let (_, name, message) = problem(&text);
            assert_eq!(name, "mirror.sql.destination[0].vlan");
            assert!(message.starts_with("vlan = 20 is a source of this session too"), "{message}");
        }
    }
    let uplink = "source-ports = [\"uplink0\"]\n";
    let text = format!("{HEAD}{uplink}[[mirror.destination]]\n{ERSPAN_2}");
    let (_, name, message) = problem(&text);
    assert_eq!(name, "mirror.sql.destination[0].uplink");
    assert!(message.contains("write direction = \"ingress\""), "{message}");
    let text = format!("{HEAD}{uplink}direction = \"ingress\"\n[[mirror.destination]]\n{ERSPAN_2}");
    assert!(load(&text).is_ok());
}

#[test]
fn copies_that_would_be_watched_again_by_a_label_are_refused_with_the_reason() {
    let labels = "source-labels = [\"sql\"]\n";
    for (to, wanted) in [
        ("port = \"columbia\"\n", "the label \"sql\" makes \"columbia\" a source too"),
        ("port = \"columbia\"\nrspan-vlan = 9\n", "take the label from that one"),
    ] {
        let (_, name, message) = problem(&format!("{HEAD}{labels}[[mirror.destination]]\n{to}"));
        assert_eq!(name, "mirror.sql.destination[0].port");
        assert!(message.contains(wanted), "{message}");
    }
    let far = format!("{HEAD}{labels}[[mirror.destination]]\n{ERSPAN_2}");
    let mut config = load(&far).unwrap();
    let mut uplink = config.ports.remove(2);
    assert_eq!(config.check_labels(&uplink), Ok(()));
    uplink.labels.push("sql".to_owned());
    let told = config.check_labels(&uplink).unwrap_err().to_string();
    assert!(
        told.starts_with("in the mirror session \"sql\", copies leave by \"uplink0\""),
        "{told}"
    );
    assert_eq!(config.check_fits(&uplink).unwrap_err().to_string(), told);
    config.ports.push(uplink);
    // It is watched only now.
    let watching = config.sessions[0].clone();
    let mut before = watching.clone();
    before.sources.labels.clear();
    assert!(config.check_session_change(&watching, &before).is_err());
    let ingress = SessionConfig { direction: MirrorDirection::Ingress, ..watching };
    assert_eq!(config.check_session_change(&ingress, &before), Ok(()));
}

#[test]
fn a_destination_is_there_once_and_16_of_them_are_enough() {
    let (line, key, message) = problem(&format!("{HEAD}{SOURCE}{TO_PORT}{TO_PORT}"));
    assert_eq!((line, key.as_str()), (19, "mirror.sql.destination[1].port"));
    assert!(message.contains("sniffie is a destination of this session already"), "{message}");
    // Another length of the path is no other collector.
    let twice = format!("{ERSPAN_2}[[mirror.destination]]\n{ERSPAN_2}mtu = 9000\n");
    assert!(problem(&with_collector(&twice)).2.contains("10.0.0.9 by uplink0 is a destination"));
    let another = format!("{ERSPAN_2}[[mirror.destination]]\n{}", ERSPAN_2.replace("= 7", "= 8"));
    assert!(load(&with_collector(&another)).is_ok());
    let rspans = |count: usize| -> String {
        let rspan = |n| format!("[[mirror.destination]]\nport = \"uplink0\"\nrspan-vlan = {n}\n");
        (1..=count).map(rspan).collect()
    };
    assert!(load(&format!("{HEAD}{SOURCE}{}", rspans(16))).is_ok());
    let (line, _, message) = problem(&format!("{HEAD}{SOURCE}{}", rspans(17)));
    assert!(message.contains("17 destinations; write at most 16"), "{line}: {message}");
    let sessions = |count: usize| -> String {
        let named = |n| format!("[[mirror]]\nname = \"s{n}\"\n{SOURCE}{}", rspans(16));
        (0..count).map(named).collect()
    };
    assert_eq!(load(&sessions(4)).unwrap().sessions.len(), 4);
    let over = format!("{}{HEAD}{SOURCE}{TO_PORT}", sessions(4));
    assert!(problem(&over).2.contains("more than 64 destinations"));
}

#[test]
fn ports_must_be_there_and_labels_need_not() {
    let text =
        format!("{HEAD}source-ports = [\"nobody\"]\nsource-labels = [\"nobody\"]\n{TO_PORT}");
    let (line, key, message) = problem(&text);
    assert_eq!((line, key.as_str()), (15, "mirror.sql.source-ports"));
    assert!(message.contains("there is no port \"nobody\""), "{message}");
    let text = format!("{HEAD}{SOURCE}{TO_PORT}").replace("sniffie", "nobody");
    assert_eq!(problem(&text).1, "mirror.sql.destination[0].port");
    // One complaint for a port that is wrong in itself, and none for those who name it.
    let bad =
        format!("{HEAD}{SOURCE}{TO_PORT}[[port]]\nname = \"late\"\nsocket = \"/s\"\nmtu = 1\n");
    let bad = bad.replace("sniffie", "late");
    assert_eq!(problem(&bad).1, "port.late.mtu");
}

#[test]
fn all_problems_of_a_session_are_named_in_the_order_of_their_lines() {
    let text = format!(
        "{HEAD}source-ports = [1]\nsample = 0\nsnap = 1\n[[mirror.destination]]\nport = \"a b\"\n\
        [[mirror.destination]]\n{}",
        ERSPAN_2.replace("10.0.0.9", "10.0.0.256").replace("id = 7", "id = 7\nmtu = 1")
    );
    let lines: Vec<_> = problems(&text).iter().map(|(line, ..)| *line).collect();
    assert_eq!(lines, [15, 16, 17, 19, 24, 26]);
}

#[test]
fn a_filter_is_shown_to_who_can_compile_it() {
    let text = format!("{PORTS}{}", with_line("filter = \"tcp prt 1\""));
    let refuse = |text: &str| Err(format!("{text:?} is no filter"));
    let error = Config::from_str_with(&text, "helio.toml", &refuse).expect_err("it is refused");
    assert_eq!(error.to_string(), "helio.toml:16: mirror.sql.filter: \"tcp prt 1\" is no filter");
    assert!(Config::from_str_with(&text, "helio.toml", &|_| Ok(())).is_ok());
}

#[test]
fn sessions_with_a_number_stay_as_they_were() {
    let config = load("[[mirror]]\nsession = 3\nexact = true\n").unwrap();
    assert_eq!((config.mirrors.len(), config.sessions.len()), (1, 0));
    let (line, key, message) = problem("[[mirror]]\nsession = 3\nfilter = \"tcp\"\n");
    assert_eq!((line, key.as_str()), (15, "mirror[0].filter"));
    assert!(message.contains("write, for example, name = \"sql\" instead of session"), "{message}");
}
