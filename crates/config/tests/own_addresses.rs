//! Addresses of the switch itself behind an uplink: each is at one card, whoever uses it.
#![allow(clippy::expect_used, reason = "a test fails by panicking, also in what it calls")]

use helio_config::{Config, ConfigError};

const PORTS: &str = "[[port]]
name = \"columbia\"
socket = \"/run/columbia.sock\"
[[port]]
name = \"uplink0\"
interface = \"eth1\"
";

const ERSPAN_2: &str = "uplink = \"uplink0\"\nencapsulation = \"erspan-2\"\nlocal = \"10.0.0.1/24\"\nremote = \"10.0.0.9\"\nid = 7\n";

fn load(text: &str) -> Result<Config, ConfigError> {
    Config::from_str(&format!("{PORTS}{text}"), "helio.toml")
}

/// Key and sentence of the one problem.
fn problem(text: &str) -> (String, String) {
    let mut problems = load(text).expect_err(text).problems;
    assert_eq!(problems.len(), 1, "{text}\n{problems:#?}");
    let problem = problems.remove(0);
    (problem.key, problem.message)
}

/// A session with the collector that `lines` say.
fn collector_of(name: &str, lines: &str) -> String {
    format!(
        "[[mirror]]\nname = \"{name}\"\nsource-ports = [\"columbia\"]\n[[mirror.destination]]\n{lines}"
    )
}

#[test]
fn an_address_of_the_switch_has_one_card() {
    let card = |mac: &str| format!("{ERSPAN_2}mac = \"{mac}\"\n");
    let (here, there) = (card("52:54:00:00:00:01"), card("52:54:00:00:00:02"));
    let elsewhere = |lines: &str| lines.replace("10.0.0.9", "10.0.0.8");
    let reason = "hosts that ask for it can be told one of them only; write the same mac for both";
    for (first, second) in [(&here, &there), (&here, &ERSPAN_2.to_owned())] {
        let second = elsewhere(second);
        let sessions = format!("{}{}", collector_of("sql", first), collector_of("web", &second));
        let (key, message) = problem(&sessions);
        assert_eq!(key, "mirror.web.destination[0].mac");
        assert!(message.contains(reason) && message.contains("session \"sql\""), "{message}");
        let one = format!("{first}[[mirror.destination]]\n{second}");
        let (key, message) = problem(&collector_of("sql", &one));
        assert_eq!(key, "mirror.sql.destination[1].mac");
        assert!(message.contains(reason), "{message}");
    }
    for second in [
        elsewhere(&here),
        format!("{}vlan = 7\n", elsewhere(&there)),
        elsewhere(&there).replace("10.0.0.1/", "10.0.0.2/"),
    ] {
        let sessions = format!("{}{}", collector_of("sql", &here), collector_of("web", &second));
        assert!(load(&sessions).is_ok(), "{sessions}");
    }
}

#[test]
fn an_address_of_a_port_that_takes_streams_and_of_a_session_has_one_card() {
    let decap =
        "[[port]]\nname = \"remote0\"\ndecap = { uplink = \"uplink0\", local = \"10.0.0.1/24\" }\n";
    let of_interface = collector_of("sql", ERSPAN_2);
    let other = collector_of("sql", &format!("{ERSPAN_2}mac = \"52:54:00:00:00:01\"\n"));
    assert!(load(&format!("{decap}{of_interface}")).is_ok());
    let (key, message) = problem(&format!("{decap}{other}"));
    assert_eq!(key, "mirror.sql.destination[0].mac");
    assert!(message.contains("at the card of the interface for the port \"remote0\""), "{message}");
    // While the switch runs, the port may come last.
    let port = load(decap).unwrap().ports.pop().expect("it is the last");
    assert_eq!(load(&of_interface).unwrap().check_fits(&port), Ok(()));
    let refused = load(&other).unwrap().check_fits(&port).expect_err("another card has it");
    assert!(refused.to_string().contains("for the session \"sql\""), "{refused}");
}

/// A port with a second address of the switch, and a session that sends what `source` names to `remote`.
const DECAP: &str =
    "[[port]]\nname = \"remote0\"\ndecap = { uplink = \"uplink0\", local = \"10.0.0.9/24\" }\n";

fn relayed(name: &str, source: &str, remote: &str) -> String {
    let lines = ERSPAN_2.replace("10.0.0.9", remote);
    format!("[[mirror]]\nname = \"{name}\"\n{source}\n[[mirror.destination]]\n{lines}")
}

#[test]
fn copies_that_would_arrive_where_their_session_watches_are_refused() {
    let labelled = format!("{DECAP}labels = [\"far\"]\n");
    for source in [
        "source-ports = [\"remote0\"]",
        "source-labels = [\"far\"]",
        "source-labels = [\"far\"]\ndirection = \"ingress\"",
    ] {
        let (key, message) = problem(&format!("{labelled}{}", relayed("a", source, "10.0.0.9")));
        assert_eq!(key, "mirror.a.destination[0].remote");
        assert!(message.contains("\"remote0\" would be watched again"), "{message}");
        let elsewhere = format!("{labelled}{}", relayed("a", source, "10.0.0.8"));
        assert!(load(&elsewhere).is_ok(), "{elsewhere}");
    }
    // Who watches something else may send there, and nothing is ever sent to such a port.
    for source in
        ["source-ports = [\"columbia\"]", "source-ports = [\"remote0\"]\ndirection = \"egress\""]
    {
        let session = format!("{labelled}{}", relayed("a", source, "10.0.0.9"));
        assert!(load(&session).is_ok(), "{session}");
    }
}

/// Another uplink, behind which the switch takes streams at an address that a collector can have.
fn elsewhere(vlan: &str) -> String {
    format!(
        "[[port]]\nname = \"uplink1\"\ninterface = \"eth2\"\n{}",
        DECAP.replace("uplink0", "uplink1").replace("/24\"", &format!("/24\"{vlan}"))
    )
}

#[test]
fn copies_for_an_address_that_is_shown_to_be_elsewhere_do_not_arrive() {
    let copies = |lines: &str| relayed("a", "source-ports = [\"remote0\"]", "10.0.0.9") + lines;
    // Beyond a router it may be anywhere.
    let far = |lines: &str| copies(lines).replace("10.0.0.1/24", "10.0.1.1/24");
    let router = "gateway = \"10.0.1.254\"\n";
    for (decap, session, is_refused) in [
        (elsewhere(""), copies(""), true),
        (elsewhere(", vlan = 7"), copies(""), true),
        (elsewhere(", vlan = 7"), copies("vlan = 7\n"), true),
        (elsewhere(", vlan = 7"), copies("vlan = 8\n"), false),
        (elsewhere(", vlan = 7"), far(&format!("{router}vlan = 8\n")), true),
        (DECAP.to_owned(), copies("vlan = 8\n"), false),
        (DECAP.to_owned(), far(&format!("{router}vlan = 8\n")), true),
    ] {
        let text = format!("{decap}{session}");
        match is_refused {
            true => assert_eq!(problem(&text).0, "mirror.a.destination[0].remote", "{text}"),
            false => assert!(load(&text).is_ok(), "{text}"),
        }
    }
}

#[test]
fn copies_by_vxlan_arrive_at_the_udp_port_that_is_listened_to() {
    let copies = |lines: &str| {
        let session = relayed("a", "source-ports = [\"remote0\"]", "10.0.0.9");
        session.replace("erspan-2", "vxlan") + lines
    };
    let listening = DECAP.replace(" }", ", udp-port = 8472 }");
    for (decap, session) in [
        (DECAP, copies("")),
        (&listening, copies("udp-port = 8472\n")),
        (&listening, copies("").replace("vxlan", "gre")),
    ] {
        let (key, _) = problem(&format!("{decap}{session}"));
        assert_eq!(key, "mirror.a.destination[0].remote");
    }
    for (decap, session) in [(DECAP, copies("udp-port = 8472\n")), (&listening, copies(""))] {
        let text = format!("{decap}{session}");
        assert!(load(&text).is_ok(), "{text}");
    }
}

#[test]
fn copies_that_would_come_back_by_way_of_another_session_are_refused() {
    let second = DECAP.replace("remote0", "remote1").replace("10.0.0.9", "10.0.0.10");
    let source = |port: &str| format!("source-ports = [\"{port}\"]");
    let there = relayed("there", &source("remote0"), "10.0.0.10");
    let back = relayed("back", &source("remote1"), "10.0.0.9");
    assert!(load(&format!("{DECAP}{second}{there}")).is_ok());
    let (key, message) = problem(&format!("{DECAP}{second}{there}{back}"));
    assert_eq!(key, "mirror.back.destination[0].remote");
    assert!(message.contains("\"remote1\" would be watched again"), "{message}");
    // A circle that does not lead through a session is that of others.
    let beside = relayed("beside", &source("columbia"), "10.0.0.9");
    assert!(load(&format!("{DECAP}{second}{there}{beside}")).is_ok());
}

#[test]
fn copies_that_would_come_back_by_way_of_many_others_are_refused_wherever_the_ring_is_closed() {
    const RING: usize = 40;
    let port = |place: usize| {
        let port = DECAP.replace("remote0", &format!("remote{place}"));
        port.replace("10.0.0.9", &format!("10.0.0.{}", 10 + place))
    };
    let ports: String = (0..RING).map(port).collect();
    let session = |place: usize| {
        let next = format!("10.0.0.{}", 10 + (place + 1) % RING);
        relayed(&format!("s{place}"), &format!("source-ports = [\"remote{place}\"]"), &next)
    };
    for last in [0, RING / 2, RING - 1] {
        let before: String = (0..RING).filter(|place| *place != last).map(session).collect();
        assert!(load(&format!("{ports}{before}")).is_ok());
        let (key, message) = problem(&format!("{ports}{before}{}", session(last)));
        assert_eq!(key, format!("mirror.s{last}.destination[0].remote"));
        assert!(message.contains(&format!("\"remote{last}\" would be watched")), "{message}");
    }
}

#[test]
fn a_port_that_would_take_in_what_its_watchers_send_is_refused() {
    let session = relayed("a", "source-labels = [\"far\"]", "10.0.0.9");
    let with_label = format!("{DECAP}labels = [\"far\"]\n");
    let port = |text: &str| load(text).unwrap().ports.pop().expect("it is the last");
    let plan = load(&session).unwrap();
    assert_eq!(plan.check_fits(&port(DECAP)), Ok(()));
    let refused = plan.check_fits(&port(&with_label)).expect_err("a loop");
    assert_eq!(refused.faults.iter().map(|fault| fault.key).collect::<Vec<_>>(), ["decap"]);
    assert!(refused.to_string().contains("in the mirror session \"a\", copies for"), "{refused}");
    // And when it is there already.
    let plan = load(&format!("{DECAP}{session}")).unwrap();
    assert_eq!(plan.check_labels(&port(DECAP)), Ok(()));
    let refused = plan.check_labels(&port(&with_label)).expect_err("a loop");
    assert_eq!(refused.faults.iter().map(|fault| fault.key).collect::<Vec<_>>(), ["labels"]);
}

#[test]
fn a_collector_can_tell_the_numbers_of_sessions_apart() {
    let gre = ERSPAN_2.replace("erspan-2", "gre");
    let numbered = format!("{gre}sequence = true\n");
    let erspan_3 = ERSPAN_2.replace("erspan-2", "erspan-3");
    let reason = "cannot be told apart there; write another id";
    for (first, second) in [
        (ERSPAN_2, format!("{ERSPAN_2}dscp = 46\n")),
        (&erspan_3, format!("{erspan_3}hardware-id = 1\n")),
        (&numbered, numbered.clone()),
        (&numbered.replace("id = 7\n", ""), numbered.replace("id = 7\n", "")),
    ] {
        let sessions = format!("{}{}", collector_of("sql", first), collector_of("web", &second));
        let (key, message) = problem(&sessions);
        assert_eq!(key, "mirror.web.destination[0].id");
        assert!(message.contains(reason) && message.contains("session \"sql\""), "{message}");
        let other = format!("{}id = 8\n", second.replace("id = 7\n", ""));
        let sessions = format!("{}{}", collector_of("sql", first), collector_of("web", &other));
        assert!(load(&sessions).is_ok(), "{sessions}");
    }
    // One address of ours at several uplinks or, beyond a router, in several VLANs is one for a collector.
    let uplink = "[[port]]\nname = \"uplink1\"\ninterface = \"eth2\"\n";
    let beside = |first: &str, second: &str| {
        let (first, second) = (collector_of("sql", first), collector_of("web", second));
        load(&format!("{uplink}{first}{second}"))
    };
    let (tagged, other) = (format!("{ERSPAN_2}vlan = 7\n"), format!("{ERSPAN_2}vlan = 8\n"));
    let by_other = ERSPAN_2.replace("uplink0", "uplink1");
    let far = |lines: &str| lines.replace("10.0.0.9", "192.0.2.9") + "gateway = \"10.0.0.254\"\n";
    assert!(beside(ERSPAN_2, &by_other).is_err() && beside(&tagged, &by_other).is_err());
    assert!(beside(&tagged, &other).is_ok() && beside(&far(&tagged), &far(&other)).is_err());
    // In one session: all else being equal, that is said already.
    let twice = format!("{erspan_3}[[mirror.destination]]\n{erspan_3}hardware-id = 1\n");
    let (key, message) = problem(&collector_of("sql", &twice));
    assert_eq!(key, "mirror.sql.destination[1].id");
    assert!(message.contains(reason), "{message}");
    // What has no numbers, or goes another way, or in another form, is told apart or need not be.
    for (first, second) in [
        (gre.as_str(), gre.clone()),
        (&gre, numbered.clone()),
        (ERSPAN_2, erspan_3.clone()),
        (ERSPAN_2, ERSPAN_2.replace("10.0.0.9", "10.0.0.8")),
        (ERSPAN_2, ERSPAN_2.replace("10.0.0.1/", "10.0.0.2/")),
        (ERSPAN_2, format!("{ERSPAN_2}vlan = 7\n")),
    ] {
        let sessions = format!("{}{}", collector_of("sql", first), collector_of("web", &second));
        assert!(load(&sessions).is_ok(), "{sessions}");
    }
}
