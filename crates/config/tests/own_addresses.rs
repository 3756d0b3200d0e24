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
