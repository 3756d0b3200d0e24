//! Ports that take mirror streams, and labels of ports: how they are written, and what is answered to mistakes.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, also in what it calls"
)]

use helio_config::{Attachment, Config};

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
";

/// Key and sentence of the one problem.
fn problem(text: &str) -> (String, String) {
    let error = Config::from_str(&format!("{PORTS}{text}"), "helio.toml").expect_err(text);
    assert_eq!(error.problems.len(), 1, "{error}");
    let problem = error.problems.into_iter().next().expect("there is one");
    (problem.key, problem.message)
}

const DECAP: &str = "[[port]]\nname = \"remote0\"\ndecap = { uplink = \"uplink0\", local = \"10.0.0.2/24\", vlan = 7 }\n";

#[test]
fn a_port_that_takes_mirror_streams_names_an_uplink_wherever_that_stands() {
    let config = Config::from_str(&format!("{DECAP}{PORTS}"), "helio.toml").unwrap();
    let port = config.ports.last().expect("there are ports");
    let Attachment::Decap(point) = &port.attachment else { panic!("{port:?}") };
    assert_eq!((point.uplink.as_str(), point.prefix_len), ("uplink0", 24));
    assert_eq!(point.vlan.map(|vlan| vlan.get()), Some(7));
    let json = serde_json::to_value(port).unwrap();
    assert_eq!(json["decap"]["local"], "10.0.0.2/24");
    assert_eq!(&serde_json::from_value::<helio_config::PortConfig>(json).unwrap(), port);
}

#[test]
fn mistakes_in_a_port_that_takes_mirror_streams_are_explained() {
    for (from, to, key, wanted) in [
        ("uplink0", "sniffie", "decap", "the port \"sniffie\" is no uplink"),
        ("uplink0", "nobody", "decap", "there is no port \"nobody\""),
        ("10.0.0.2/24", "10.0.0.2", "decap", "write, for example, local = \"10.0.0.1/24\""),
        ("vlan = 7", "udp-port = 0", "decap", "from 1 to 65535"),
        ("vlan = 7", "vlan = 0", "decap", "from 1 to 4094"),
        ("vlan = 7", "vlann = 7", "decap.vlann", "did you mean \"vlan\"?"),
        ("uplink = \"uplink0\",", "", "decap.uplink", "the uplink is missing"),
        (
            "{ uplink = \"uplink0\", local = \"10.0.0.2/24\", vlan = 7 }",
            "1",
            "decap",
            "write a table, as in decap =",
        ),
        ("7 }\n", "7 }\nvlan = { access = 10 }\n", "vlan", "leave vlan out"),
        (
            "7 }\n",
            "7 }\nmirroring = \"destination\"\n",
            "mirroring",
            "nothing can be sent to a port",
        ),
        ("7 }\n", "7 }\nqueues = 1\n", "queues", "has no queues; leave it out"),
        (
            "7 }\n",
            "7 }\nsocket = \"/run/a.sock\"\n",
            "decap",
            "leave socket, interface and tap out",
        ),
    ] {
        let (name, message) = problem(&DECAP.replace(from, to));
        assert_eq!(name, format!("port.remote0.{key}"));
        assert!(message.contains(wanted), "{message}");
    }
    let twice = format!("{DECAP}{}", DECAP.replace("remote0", "remote1"));
    assert!(problem(&twice).1.contains("10.0.0.2 belongs to port \"remote0\" already"));
    let session = "[[mirror]]\nname = \"sql\"\nsource-ports = [\"columbia\"]\n";
    let to_it = format!("{DECAP}{session}[[mirror.destination]]\nport = \"remote0\"\n");
    assert!(problem(&to_it).1.contains("nothing can be sent to it"));
}

#[test]
fn a_port_has_labels() {
    let config = Config::from_str(PORTS, "helio.toml").unwrap();
    assert_eq!(config.ports[0].labels, ["sql"]);
    let with = |labels: &str| {
        problem(&format!("[[port]]\nname = \"a\"\nsocket = \"/s\"\nlabels = {labels}\n"))
    };
    assert_eq!(with("[\"a b\"]").0, "port.a.labels");
    assert!(with("[\"x\", \"x\"]").1.contains("labels has x twice"));
    assert!(with("\"x\"").1.contains("write a list, as in labels = [\"sql\"]"));
}
