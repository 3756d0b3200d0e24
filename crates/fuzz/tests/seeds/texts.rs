//! Configurations.

use crate::Seed;

const EVERYTHING: &str = r#"[switch]
control = "/run/h.sock"
fdb-size = 1024
fdb-ageing-s = 60
[[worker]]
core = 1
poll = "busy"
[[worker]]
core = 0
idle-us = 50
[[port]]
name = "a"
socket = "/run/a"
mode = "client"
mirroring = "destination"
session = 7
vlan = { trunk = [10, 20], native = 1 }
mtu = 1500
receive-only = true
worker = 1
queue-pairs = 2
mac-limit = 10
static-mac = ["52:54:00:12:34:56", { mac = "52:54:00:12:34:57", vlan = 10 }]
[[port]]
name = "b"
socket = "/run/b"
vlan = { access = 20 }
[[mirror]]
session = 7
exact = true
"#;

const MISTAKES: &str = r#"[swich]
[switch]
control = 5
[[worker]]
core = 1
[[worker]]
core = 1
poll = "lazy"
[port]
name = "a"
"#;

const PORTS_IN_CONFLICT: &str = r#"[[port]]
name = "a"
socket = "/run/a"
vlan = { access = 4095, native = 1 }
[[port]]
name = "a"
socket = "/run/a"
static-mac = ["01:00:00:00:00:00"]
receive-only = true
[[port]]
name = "-"
socket = ""
mtu = 99999999999999999999
"#;

/// The second entry names the VLAN that the first one stands for.
const STATIC_TWICE: &str = r#"[[port]]
name = "a"
socket = "/run/a"
vlan = { access = 7 }
static-mac = ["52:54:00:12:34:56", { mac = "52:54:00:12:34:56", vlan = 7 }]
"#;

const SOCKET_OF_TWO: &str = r#"[switch]
control = "/run/a"
[[port]]
name = "a"
socket = "/run/a"
"#;

pub(crate) fn seeds() -> Vec<Seed> {
    let seed = |name, text: &str, outcome| Seed::new("config_text", name, text.into(), outcome);
    vec![
        seed("empty.toml", "", [1, 0]),
        seed("everything.toml", EVERYTHING, [1, 0]),
        seed("mistakes.toml", MISTAKES, [0, 1]),
        seed("ports_in_conflict.toml", PORTS_IN_CONFLICT, [0, 1]),
        seed("a_socket_for_port_and_control.toml", SOCKET_OF_TWO, [0, 1]),
        seed("not_toml.toml", "[[port]\nname = \"a\nmtu = 1_\n", [0, 1]),
        seed("one_static_address_twice.toml", STATIC_TWICE, [0, 1]).kept(),
    ]
}
