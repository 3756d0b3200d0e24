//! `helio mirror` as people and scripts call it, in front of a switch that is only its tables; and filters in `helio check`.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in what it calls"
)]

#[path = "../../control/tests/fake_switch/mod.rs"]
mod fake_switch;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use fake_switch::FakeSwitch;
use helio_control::{ControlServer, serve};
use serde_json::{Value, json};

struct Lab {
    server: ControlServer,
    _folder: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let server = serve(Arc::new(FakeSwitch::three_guests()), &path).unwrap();
        Self { server, _folder: folder }
    }

    /// Runs `helio` with the words of `line`; `_` stands for a blank inside of a word, and `''` for an empty word.
    fn helio(&self, line: &str) -> Output {
        let words = line.split(' ').map(|word| word.replace('_', " ").replace("''", ""));
        program().env("HELIO_CONTROL", self.server.path()).args(words).output().unwrap()
    }

    fn says(&self, line: &str) -> String {
        let output = self.helio(line);
        assert_eq!(output.status.code(), Some(0), "{line}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.says(&format!("{line} --json"))).expect(line)
    }

    fn complains(&self, line: &str) -> String {
        let output = self.helio(line);
        assert_eq!(output.status.code(), Some(1), "{line}");
        stderr(&output)
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_helio"));
    command.env_remove("HELIO_CONTROL").env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

const ADD: &str = "mirror add sql --source-port columbia --source-label sql --source-vlan 10 \
--filter tcp_port_1433 --sample 10 --to-port sniffie --to-rspan uplink0:99 \
--to uplink=uplink0,encapsulation=erspan-2,local=10.0.0.1/24,remote=10.0.0.9,id=7";

#[test]
fn a_session_is_added_changed_and_removed() {
    let lab = Lab::new();
    assert_eq!(
        lab.says(ADD),
        "sql: sources columbia, label sql, VLAN 10; filter tcp port 1433; sample 1 in 10; to sniffie, uplink0 VLAN 99, 10.0.0.9 by uplink0 (erspan-2 id 7)\n"
    );
    assert_eq!(
        lab.says("mirror set sql --to-port sniffie --filter '' --sample 1 --exact true"),
        "sql: sources columbia, label sql, VLAN 10; exact; to sniffie\n"
    );
    lab.says("mirror remove sql");
    lab.says(ADD);
    let session = lab.json("mirror show sql");
    assert_eq!(session["settings"]["filter"], "tcp port 1433");
    assert_eq!(session["destinations"][2]["remote"]["encapsulation"], "erspan-2");
    let line = "mirror set sql --filter '' --source-vlan '' --direction ingress --exact true --to-port crusader";
    let session = lab.json(line);
    assert_eq!(session["settings"].get("filter"), None);
    assert_eq!(session["settings"].get("source_vlans"), None);
    assert_eq!((&session["exact"], &session["settings"]["sample"]), (&json!(true), &json!(10)));
    assert_eq!(session["destinations"].as_array().unwrap().len(), 1);
    assert_eq!(lab.says("mirror remove sql"), "");
    assert!(lab.complains("mirror show sql").contains("there is no mirror session \"sql\""));
}

#[test]
fn a_list_has_sessions_with_a_number_and_with_a_name() {
    let lab = Lab::new();
    lab.says(ADD);
    let table = lab.says("mirror list");
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("SESSION  EXACT  SOURCES"), "{table}");
    assert!(lines[1].starts_with("0        no     none"), "{table}");
    assert!(lines[2].starts_with("sql      no     columbia,label sql,VLAN 10"), "{table}");
    assert!(lines[2].contains("sniffie") && lines[2].ends_with("3 (rate-limit 2, no-neighbour 1)"));
    assert!(lines[4].contains("  10.0.0.9 by uplink0 (erspan-2 id 7)  "), "{table}");
    assert_eq!(lab.json("mirror list")[0]["session"], 0);
    assert_eq!(lab.json("mirror list")[1]["name"], "sql");
}

#[test]
fn a_session_is_shown_with_its_settings_and_what_became_of_its_copies() {
    let lab = Lab::new();
    lab.says(ADD);
    let shown = lab.says("mirror show sql");
    for line in [
        "name         sql",
        "sources      columbia, label sql, VLAN 10",
        "ports now    columbia",
        "direction    both",
        "filter       tcp port 1433",
        "snap length  whole frames",
        "sample       1 in 10",
        "rate         no limit",
        "refused      not copied",
        "exact        no",
        "destination  10.0.0.9 by uplink0",
        "  form       erspan-2 id 7 from 10.0.0.1/24, path MTU 1500 bytes",
        "  told       dscp=0,mtu=1500,oversize=truncate,ttl=64",
        "  next hop   not known: the next hop has not been asked for",
        "  detail     this is only a fake",
        "  wanted     7 frames, 0 bytes",
        "  dropped    3 frames (rate-limit 2, no-neighbour 1)",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
    let far = "uplink=uplink0,encapsulation=gre,local=10.0.0.1/24,remote=192.0.2.9,gateway=10.0.0.254,sequence=true,\
        mac=52:54:00:00:00:07,vlan=30,pcp=5,dscp=10,oversize=fragment";
    lab.says(&format!("mirror set sql --to {far}"));
    let told = "  told       dscp=10,gateway=10.0.0.254,mac=52:54:00:00:00:07,mtu=1500,oversize=fragment,pcp=5,\
        sequence=true,ttl=64,vlan=30";
    let shown = lab.says("mirror show sql");
    assert!(shown.lines().any(|shown| shown == told), "{told}\n{shown}");
    let shown = lab.says("mirror show 0");
    assert!(shown.starts_with("session      0\nsources      none\nexact        no\n"), "{shown}");
    assert!(shown.contains("destination  sniffie\n"), "{shown}");
}

#[test]
fn refusals_are_one_sentence_with_what_to_write() {
    let lab = Lab::new();
    lab.says(ADD);
    assert!(lab.complains(ADD).contains("there is a session \"sql\""));
    assert!(lab.complains("mirror set sql").contains("changes nothing"));
    assert!(lab.complains("mirror set nobody --sample 2").contains("no mirror session"));
    let loops = "mirror add a --source-port b --to-port b";
    assert!(lab.complains(loops).contains("its copies would be watched again"));
    assert!(!lab.complains(loops).contains("not understood"), "it was, and is refused");
    let far = ADD.replace("10.0.0.9", "192.0.2.9").replace("add sql", "add far");
    assert_eq!(
        lab.complains(&far),
        "helio: --to: 192.0.2.9 is not in the network of 10.0.0.1/24; write the router there, as in gateway=10.0.0.254, or its remote-mac\n"
    );
    assert_eq!(
        lab.complains("mirror set sql --snap-len 5"),
        "helio: --snap-len 5 is out of range; write a number from 14 to 65553\n"
    );
    for line in ["mirror add a --to-port b", "mirror remove 0", "mirror add a --to uplnk=b"] {
        assert_eq!(lab.helio(line).status.code(), Some(2), "{line}");
    }
    let numbered = lab.helio("mirror set 0 --sample 2");
    assert!(
        stderr(&numbered).contains("write \"helio port set\" with --mirroring"),
        "{numbered:?}"
    );
    let help = String::from_utf8(lab.helio("mirror add --help").stdout).unwrap();
    let (own, of_all) = help.split_once("Options of every command:").unwrap();
    assert!(
        own.contains("--to-port") && !own.contains("--json") && of_all.contains("--json"),
        "{help}"
    );
    assert!(help.contains("encapsulation=erspan-2") && help.contains("pcap-filter(7)"), "{help}");
}

#[test]
fn labels_are_given_to_ports_and_taken_away() {
    let lab = Lab::new();
    let port = lab.json("port add pegasus --socket /s --label sql --label rack7");
    assert_eq!(port["labels"], json!(["sql", "rack7"]));
    assert!(lab.says("port list").contains("sql,rack7"));
    assert!(lab.says("port show pegasus").contains("labels       sql, rack7\n"));
    assert_eq!(lab.json("port set pegasus --label web")["labels"], json!(["web"]));
    assert_eq!(lab.json("port set pegasus --label ''").get("labels"), None);
    let port = lab.json("port add remote0 --decap uplink=uplink0,local=10.0.0.2/24,vlan=7");
    let decap = &port["decap"];
    assert_eq!((&decap["uplink"], &decap["vlan"]), (&json!("uplink0"), &json!(7)));
    assert_eq!(decap["local"], "10.0.0.2/24");
    let shown = lab.says("port show remote0");
    assert!(
        shown.contains("streams for  10.0.0.2/24 by uplink0 VLAN 7, VXLAN port 4789\n"),
        "{shown}"
    );
}

#[test]
fn check_compiles_filters_and_names_file_line_and_key_of_a_wrong_one() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/sessions.toml");
    let good = program().arg("check").arg(&shipped).output().unwrap();
    assert_eq!(good.status.code(), Some(0), "{}", stderr(&good));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.toml");
    let text = std::fs::read_to_string(&shipped).unwrap();
    let right = "filter = \"tcp port 1433\"";
    let line = text.lines().position(|line| line.starts_with(right)).expect("it has one") + 1;
    std::fs::write(&file, text.replacen(right, "filter = \"tcp prt 1433\"", 1)).unwrap();
    for command in [vec!["check"], vec!["run", "-c"]] {
        let bad = program().args(&command).arg(&file).output().unwrap();
        assert_eq!(bad.status.code(), Some(1));
        let complaint = stderr(&bad);
        let wanted = format!("{}:{line}: mirror.sql.filter: ", file.display());
        assert!(complaint.contains(&wanted) && complaint.contains("tcp prt 1433"), "{complaint}");
    }
}
