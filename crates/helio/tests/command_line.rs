//! The program as people and scripts call it, in front of a switch that is only its tables.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in what it calls"
)]

#[path = "../../control/tests/fake_switch/mod.rs"]
mod fake_switch;

use std::io::{BufRead, BufReader};
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

    fn helio(&self, line: &str) -> Output {
        helio(self.server.path(), line)
    }

    /// What a command that succeeds prints.
    fn says(&self, line: &str) -> String {
        let output = self.helio(line);
        assert_eq!(output.status.code(), Some(0), "{line}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.says(&format!("{line} --json"))).expect(line)
    }

    /// What a command that is refused complains.
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

fn helio(control: &Path, line: &str) -> Output {
    program().env("HELIO_CONTROL", control).args(line.split(' ')).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn every_list_and_show_has_a_table_and_a_json_form() {
    let lab = Lab::new();
    for (line, heading) in [
        ("port list", "NAME      STATE"),
        ("mirror list", "SESSION  EXACT"),
        ("fdb list", "VLAN  MAC"),
        ("worker list", "WORKER  CORE"),
    ] {
        assert!(lab.says(line).starts_with(heading), "{}", lab.says(line));
        assert!(lab.json(line).is_array(), "{line}");
    }
    assert!(lab.says("port show columbia").starts_with("name         columbia\n"));
    assert_eq!(lab.json("port show columbia")["drops"], json!({"no-rx-buffer": 3}));
}

#[test]
fn a_configuration_is_printed_as_it_is_and_what_is_wrong_with_it_goes_to_stderr() {
    let lab = Lab::new();
    let text = "# the ports columbia crusader sniffie\n";
    assert_eq!(lab.says("config show"), text);
    lab.says("mirror add sql --source-port columbia --to-port sniffie");
    let output = lab.helio("config show");
    assert_eq!(output.stdout, text.as_bytes());
    let note = "note: \"helio run\" would refuse this: sql is only a fake\n";
    assert_eq!(stderr(&output), note);
    assert_eq!(lab.json("config show")["problems"], json!(["sql is only a fake"]));
}

#[test]
fn a_table_shows_what_a_port_waits_for() {
    let table = Lab::new().says("port list");
    let sniffie = table.lines().find(|line| line.starts_with("sniffie")).unwrap();
    let words: Vec<_> = sniffie.split_whitespace().collect();
    assert_eq!(words[..6], ["sniffie", "waiting", "destination", "0", "all", "-"]);
    assert!(sniffie.ends_with("waiting for a front-end to connect to /run/helio/sniffie.sock"));
}

#[test]
fn mirroring_is_switched_on_and_off() {
    let lab = Lab::new();
    assert!(
        lab.says("port set columbia --mirroring source --session 3")
            .starts_with("columbia: mirroring source, session 3, vlan all, mtu 9000; waiting: ")
    );
    assert!(
        lab.says("port set columbia --label web --label sql")
            .contains(", labels web, sql; waiting: ")
    );
    assert_eq!(lab.json("mirror list")[0]["sources"], json!(["columbia"]));
    lab.says("port set columbia --mirroring none");
    assert_eq!(lab.json("mirror list")[0]["sources"], json!([]));
    assert!(lab.says("mirror list").contains("sniffie"));
}

#[test]
fn a_port_is_added_with_all_its_settings_and_removed() {
    let lab = Lab::new();
    let line = "port add pegasus --socket relative.sock --mode client --mirroring destination \
        --session 7 --vlan trunk=10,20 native=1 --mtu 1500 --worker 0 --receive-only \
        --queue-pairs 4 --mac-limit 16 --static-mac 52:54:00:00:00:01 --static-mac mac=52:54:00:00:00:02,vlan=20";
    let port = lab.json(&line.split_whitespace().collect::<Vec<_>>().join(" "));
    assert!(port["socket"].as_str().unwrap().starts_with('/'), "{port}");
    for (key, value) in [
        ("mode", json!("client")),
        ("mirroring", json!("destination")),
        ("session", json!(7)),
        ("vlan", json!({"trunk": [10, 20], "native": 1})),
        ("mtu", json!(1500)),
        ("worker", json!(0)),
        ("receive_only", json!(true)),
        ("queue_pairs", json!(4)),
        ("mac_limit", json!(16)),
        ("static_mac", json!(["52:54:00:00:00:01", {"mac": "52:54:00:00:00:02", "vlan": 20}])),
    ] {
        assert_eq!(port[key], value, "{key}");
    }
    assert_eq!(lab.says("port remove pegasus"), "");
    assert!(lab.complains("port show pegasus").contains("there is no port \"pegasus\""));
}

#[test]
fn a_vlan_can_be_taken_back() {
    let lab = Lab::new();
    assert_eq!(lab.json("port set columbia --vlan access=10")["vlan"], json!({"access": 10}));
    assert_eq!(lab.json("port set columbia --vlan all")["vlan"], json!({}));
}

#[test]
fn fdb_lists_and_flushes_only_what_is_asked_for() {
    let lab = Lab::new();
    assert_eq!(lab.json("fdb list --vlan 0")[0]["port"], "columbia");
    assert_eq!(lab.says("fdb flush --port crusader --vlan 10"), "1 address forgotten\n");
    assert_eq!(lab.json("fdb flush"), json!({"removed": 2}));
}

#[test]
fn qemu_options_can_be_taken_by_a_shell() {
    let lab = Lab::new();
    let line = "qemu-args columbia --queue-pairs 2 --memory 512";
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("printf '%s\\n' {}", lab.says(line)));
    let words = String::from_utf8(shell.output().unwrap().stdout).unwrap();
    let args: Vec<_> = words.lines().collect();
    assert_eq!(json!(args), lab.json(line)["args"]);
    assert!(args.contains(&"memory-backend-memfd,id=mem,size=512M,share=on"), "{args:?}");
    assert!(stderr(&lab.helio(line)).contains("note: The memory lines"));
}

#[test]
fn refusals_are_one_sentence_with_advice_and_exit_with_1() {
    let lab = Lab::new();
    assert_eq!(
        lab.complains("port show nobody"),
        "helio: there is no port \"nobody\"; \"helio port list\" names all ports\n"
    );
    assert!(lab.complains("port set columbia").contains("changes nothing"));
    assert_eq!(
        lab.complains("port set columbia --vlan access=4095"),
        "helio: --vlan: access=4095 is out of range; write a number from 1 to 4094\n"
    );
    assert!(lab.complains("port add columbia --socket /s").contains("already"));
    assert!(lab.complains("qemu-args columbia --queue-pairs 9").contains("offers 8 queue pairs"));
}

#[test]
fn usage_errors_exit_with_2_and_help_with_0() {
    let nowhere = Path::new("/nonexistent/control.sock");
    for line in ["port", "port lst", "port set columbia --mirroring sorce", "run", "port show a/b"]
    {
        let output = helio(nowhere, line);
        assert_eq!(output.status.code(), Some(2), "{line}: {}", stderr(&output));
    }
    assert!(stderr(&helio(nowhere, "port lst")).contains("list"), "a suggestion is expected");
    assert_eq!(helio(nowhere, "--help").status.code(), Some(0));
    assert_eq!(helio(nowhere, "--version").status.code(), Some(0));
}

#[test]
fn a_switch_that_is_not_there_is_told_from_one_that_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let output = helio(&path, "port list");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        format!(
            "helio: cannot reach the switch at {}: no such file; is \"helio run\" running, or is it another --control PATH?\n",
            path.display()
        )
    );
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(stderr(&helio(&path, "port list")).contains("nobody listens"));
    assert!(stderr(&helio(folder.path(), "port list")).contains("it is no socket"));
}

#[test]
fn nothing_panics_when_nobody_reads_the_output() {
    let lab = Lab::new();
    for line in ["port list", "port list --json", "--help", "qemu-args columbia", "port lst"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = program();
        command.env("HELIO_CONTROL", lab.server.path()).args(line.split(' '));
        command.stdout(writer.try_clone().unwrap()).stderr(writer);
        let code = command.status().unwrap().code();
        let expected = if line == "port lst" { 2 } else { 0 };
        assert_eq!(code, Some(expected), "{line}");
    }
    let closed = format!("exec {} port list >&- 2>&-", env!("CARGO_BIN_EXE_helio"));
    let mut shell = Command::new("sh");
    shell.env("HELIO_CONTROL", lab.server.path()).arg("-c").arg(closed);
    let code = shell.status().unwrap().code();
    assert!(code.is_some_and(|code| code < 2), "{code:?}");
}

#[test]
fn check_accepts_what_is_shipped_and_names_what_is_wrong() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/three-guests.toml");
    let good = program().arg("check").arg(&shipped).output().unwrap();
    assert_eq!(good.status.code(), Some(0), "{}", stderr(&good));
    let said = String::from_utf8(good.stdout).unwrap();
    assert!(said.contains(": good, 3 ports, 1 worker, control socket"), "{said}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.toml");
    std::fs::write(&file, "[switch]\nfdb-size = 0\nfdb-agein-s = 3\n").unwrap();
    for command in [vec!["check"], vec!["run", "-c"]] {
        let bad = program().args(&command).arg(&file).output().unwrap();
        assert_eq!(bad.status.code(), Some(1));
        let complaint = stderr(&bad);
        let name = file.display();
        assert!(complaint.contains(&format!("{name}:2: switch.fdb-size: ")), "{complaint}");
        assert!(complaint.contains(&format!("{name}:3: switch.fdb-agein-s: ")), "{complaint}");
    }
}

#[test]
fn a_worker_on_a_core_that_is_not_there_is_refused_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("core.toml");
    std::fs::write(&file, "[[worker]]\ncore = 1023\n").unwrap();
    for command in [vec!["check"], vec!["run", "-c"]] {
        let output = program().args(&command).arg(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("worker 0 is to run on core 1023"), "{}", stderr(&output));
    }
}

#[test]
fn the_control_socket_of_the_command_line_is_checked_as_it_would_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let (file, socket) = (folder.path().join("lab.toml"), folder.path().join("a.sock"));
    let socket = socket.display();
    std::fs::write(&file, format!("[[port]]\nname = \"a\"\nsocket = \"{socket}\"\n")).unwrap();
    for command in [vec!["check"], vec!["run", "-c"]] {
        let output = program()
            .args(&command)
            .arg(&file)
            .env("HELIO_CONTROL", socket.to_string())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("is the socket of port"), "{}", stderr(&output));
    }
}

#[test]
fn a_start_that_fails_tells_the_folder_and_who_chose_the_control_socket() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lab.toml");
    std::fs::write(&file, "[[port]]\nname = \"a\"\nsocket = \"/dev/null/x/a.sock\"\n").unwrap();
    let mut command = program();
    command.env("HELIO_CONTROL", folder.path().join("other.sock")).args(["run", "-c"]).arg(&file);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains("other.sock, by --control or HELIO_CONTROL, and not /run/helio/control.sock"),
        "{said}"
    );
    assert!(said.contains("helio: the folder /dev/null/x of a socket cannot be made: "), "{said}");
    let output = command.args(["--control", "/dev/null/option.sock"]).output().unwrap();
    let said = stderr(&output);
    assert!(said.contains("/dev/null/option.sock, by --control") && !said.contains("other.sock"));
}

#[test]
fn what_commands_change_stands_in_the_log_of_the_switch() {
    let folder = tempfile::tempdir().unwrap();
    let control = folder.path().join("control.sock");
    let file = folder.path().join("lab.toml");
    std::fs::write(&file, "").unwrap();
    let mut switch = program();
    switch.args(["run", "-c"]).arg(&file).arg("--control").arg(&control).stderr(Stdio::piped());
    let mut switch = switch.spawn().unwrap();
    let mut log = BufReader::new(switch.stderr.take().unwrap()).lines().map(Result::unwrap);
    log.find(|line| line.ends_with("helio is ready")).expect("the switch starts");
    let socket = folder.path().join("a.sock");
    for line in [
        &format!("port add a --socket {}", socket.display()),
        "mirror add sql --source-port a --source-vlan 10 --to-port nobody",
        "mirror add sql --source-vlan 10 --to-port a",
        "mirror set sql --sample 7",
        "mirror remove sql",
        "port set a --mtu 1500",
        "port remove a",
    ] {
        helio(&control, line);
    }
    let id = rustix::process::Pid::from_child(&switch);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    let log: Vec<_> = log.collect();
    assert!(switch.wait().unwrap().success());
    let told = log
        .iter()
        .filter(|line| [" added", " changed", " removed"].iter().any(|word| line.contains(word)));
    let told: Vec<_> = told.filter_map(|line| Some(line.split_once("INFO ")?.1)).collect();
    assert_eq!(told.len(), 6, "{log:?}");
    assert!(told[0].starts_with("port a added: {\"name\":\"a\","), "{told:?}");
    assert!(told[1].starts_with("mirror session sql added: {"), "{told:?}");
    assert_eq!(
        told[2..],
        [
            "mirror session sql changed: {\"sample\":7}",
            "mirror session sql removed",
            "port a changed: {\"mtu\":1500}",
            "port a removed"
        ]
    );
}
