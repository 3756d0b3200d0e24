//! A plan as text.

use helio_config::{Config, SessionEntry};

/// Settings of every kind, none of them as usual.
const TEXT: &str = r#"[switch]
control = "/run/other/control.sock"
socket-group = 107
socket-mode = "0666"
fdb-size = 64
fdb-ageing-s = 1000000

[[worker]]
core = 3
poll = "busy"

[[worker]]
core = 1
poll = "adaptive"
idle-us = 0

[[port]]
name = "a"
socket = '/run/a "quoted" \.sock'
mode = "client"
mirroring = "destination"
session = 7
vlan = { native = 1, trunk = [10, 20] }
mtu = 68
receive-only = true
worker = 1
queue-pairs = 128
mac-limit = 1
static-mac = ["52:54:00:00:00:01", { mac = "52:54:00:00:00:02", vlan = 20 }]
labels = ["one", "two"]

[[port]]
name = "up"
interface = "eth1"
mode = "skb"
mirroring = "none"
session = 0
mtu = 9000
receive-only = false
queues = 64
pass = ["0x88cc", "52:54:00:00:00:03"]
mac-limit = 4096

[[port]]
name = "far"
mirroring = "none"
session = 0
mtu = 9000
receive-only = false
mac-limit = 4096
decap = { local = "fd00::2/64", mac = "52:54:00:00:00:04", pcp = 3, udp-port = 8472, uplink = "up", vlan = 9 }

[[mirror]]
session = 7
exact = true

[[mirror]]
name = "sql"
source-labels = ["none"]
source-vlans = [10]
direction = "egress"
filter = 'host "a"'
snap-len = 14
sample = 4294967295
rate-frames-per-s = 4294967295000
rate-burst-frames = 1
exact = true
include-dropped = true
[[mirror.destination]]
port = "a"
rspan-vlan = 4094
[[mirror.destination]]
uplink = "up"
encapsulation = "erspan-3"
local = "fd00::1/64"
remote = "fd00::9"
id = 1023
security-group = 65535
hardware-id = 63
sub-header = false
mtu = 1280
oversize = "fragment"
dscp = 63
ttl = 255
vlan = 9
pcp = 7
mac = "52:54:00:00:00:04"
remote-mac = "52:54:00:00:00:05"
"#;

#[test]
fn a_plan_that_names_every_setting_is_written_as_it_was_read() {
    let plan = Config::from_str(TEXT, "text").unwrap();
    assert_eq!(plan.to_toml().unwrap(), TEXT);
}

#[test]
fn what_was_left_out_is_written_as_it_is_by_default() {
    let plan = Config::from_str("[[worker]]\ncore = 0\n", "text").unwrap();
    assert_eq!(
        plan.to_toml().unwrap(),
        "[switch]\ncontrol = \"/run/helio/control.sock\"\nsocket-mode = \"0660\"\nfdb-size = 16384\n\
         fdb-ageing-s = 300\n\n[[worker]]\ncore = 0\npoll = \"adaptive\"\nidle-us = 100\n"
    );
}

#[test]
fn a_session_whose_port_is_gone_is_written_and_refused_when_read() {
    let mut plan = Config::from_str(TEXT, "text").unwrap();
    let session = SessionEntry::from(plan.sessions.remove(0));
    plan.sessions.push(session.check().unwrap());
    plan.ports.retain(|port| port.name != "a");
    let refused = Config::from_str(&plan.to_toml().unwrap(), "written").unwrap_err();
    let keys: Vec<_> = refused.problems.iter().map(|problem| &problem.key).collect();
    assert_eq!(keys, ["mirror.sql.destination[0].port"]);
}
