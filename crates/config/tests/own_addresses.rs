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
