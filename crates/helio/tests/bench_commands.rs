//! `helio bench` as people and scripts call it, in front of a whole switch: what it prints, writes and answers. How fast
//! anything was is not judged here.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, also in what it calls"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// One switch at a time: its worker and the guests need both cores.
static ONE_SWITCH: Mutex<()> = Mutex::new(());

const RATE: &str = "rate --window 0.05 --windows 2 --rounds 10";

/// A switch in a process of its own.
struct Lab {
    switch: Child,
    folder: TempDir,
    ports: usize,
    _alone: MutexGuard<'static, ()>,
}

impl Lab {
    /// With one port for each entry, which holds more lines of its configuration.
    fn new(ports: &[&str]) -> Self {
        let alone = ONE_SWITCH.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        let mut text = format!("[switch]\ncontrol = \"{path}/control.sock\"\n");
        for (number, lines) in ports.iter().enumerate() {
            let usual = format!("name = \"p{number}\"\nsocket = \"{path}/{number}.sock\"");
            text.push_str(&format!("[[port]]\n{usual}\n{lines}\n"));
        }
        let config = folder.path().join("switch.toml");
        std::fs::write(&config, text).unwrap();
        let mut command = program();
        command.args(["run", "-c"]).arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let lab =
            Self { switch: command.spawn().unwrap(), folder, ports: ports.len(), _alone: alone };
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::os::unix::net::UnixStream::connect(lab.path("control.sock")).is_err() {
            assert!(Instant::now() < deadline, "the switch does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a subcommand of `helio bench` with guests at all ports; it must succeed.
    fn bench(&self, line: &str) -> String {
        let sockets: Vec<_> =
            (0..self.ports).map(|port| self.path(&format!("{port}.sock"))).collect();
        let output = bench(line, &sockets);
        assert_eq!(output.status.code(), Some(0), "{line}: {}", stderr(&output));
        assert_eq!(stderr(&output), "", "{line}: no bar unless a terminal shows it");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The only cell of a report in JSON.
    fn cell(&self, line: &str) -> Value {
        let report: Value = serde_json::from_str(&self.bench(&format!("{line} --json"))).unwrap();
        assert_eq!(report["schema"], 1);
        assert_eq!(report["cells"].as_array().unwrap().len(), 1);
        let cell = report["cells"][0].clone();
        assert!(number(&cell["self_test"]["alone_ns"]["median"]) > 0.0);
        cell
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.switch.kill().unwrap();
        self.switch.wait().unwrap();
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_helio"));
    command.env_remove("HELIO_CONTROL").env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

fn bench(line: &str, sockets: &[PathBuf]) -> Output {
    let mut command = program();
    command.arg("bench").args(line.split_whitespace());
    sockets.iter().for_each(|socket| {
        command.arg("--socket").arg(socket);
    });
    command.output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Whether it is a table with this heading and so many rows, followed by what the generator costs.
fn assert_table(text: &str, heading: &str, rows: usize) {
    let lines: Vec<_> = text.lines().collect();
    let squeezed = lines[0].split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(squeezed.starts_with(heading), "{text}");
    assert!(lines[1].chars().all(|sign| "|-:".contains(sign)), "{text}");
    let table = lines.iter().take_while(|line| line.starts_with('|'));
    let columns = |line: &str| line.matches('|').count();
    assert!(table.clone().all(|line| columns(line) == columns(lines[0])), "{text}");
    assert_eq!(table.count(), rows + 2, "{text}");
    assert!(text.contains("ns per frame for sending and receiving in one cache"), "{text}");
}

#[test]
fn rate_gives_the_three_figures_together() {
    let lab = Lab::new(&["", ""]);
    assert_table(
        &lab.bench(&format!("{RATE} --frame 64,imix")),
        "| frames | payload | Mpps | quartiles | Gbit/s | lost | service ns | quartiles | busy ns",
        2,
    );
    let cell = lab.cell(RATE);
    let sustained = &cell["rate"]["sustained"];
    assert!(number(&sustained["mpps"]["median"]) > 0.0);
    assert!(number(&sustained["busy_ns"]) > 0.0);
    assert!(sustained["busy_source"].as_str().unwrap().contains("processor time"));
    assert_eq!((&sustained["lost"], &cell["rate"]["drain"]["lost"]), (&0.into(), &0.into()));
    assert_eq!(cell["rate"]["drain"]["service_ns"]["count"], 10);
}

#[test]
fn busy_time_is_what_workers_say_when_they_can_be_asked_or_that_of_a_named_process() {
    let lab = Lab::new(&["", ""]);
    let control = lab.path("control.sock");
    let asked = lab.cell(&format!("{RATE} --control {}", control.display()));
    assert_eq!(asked["rate"]["sustained"]["busy_source"], "what the workers say");
    let named = lab.cell(&format!("{RATE} --pid {}", lab.switch.id()));
    assert!(number(&named["rate"]["sustained"]["busy_ns"]) > 0.0);
}

#[test]
fn drain_prints_saves_and_draws_the_same_figures() {
    let lab = Lab::new(&["", ""]);
    let (json, svg) = (lab.path("drain.json"), lab.path("drain.svg"));
    let line = "drain --rounds 10 --frame 64,1518";
    let text = lab.bench(&format!("{line} --save {} --svg {}", json.display(), svg.display()));
    assert_table(&text, "| frames | payload | service ns |", 2);
    assert!(text.contains("descriptors rewritten,"), "{text}");
    let report: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let names: Vec<_> = (0..2).map(|cell| &report["cells"][cell]["name"]).collect();
    assert_eq!(names, ["64", "1518"]);
    let median = number(&report["cells"][0]["drain"]["service_ns"]["median"]);
    assert!(text.contains(&format!(" {median:.1} |")), "{median}: {text}");
    assert_is_picture(&svg, "64");
}

#[test]
fn a_file_that_cannot_be_written_does_not_lose_the_figures() {
    let lab = Lab::new(&["", ""]);
    let sockets = ["0.sock", "1.sock"].map(|name| lab.path(name));
    let file = lab.path("nowhere/drain.json");
    let output = bench(&format!("drain --rounds 5 --save {}", file.display()), &sockets);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cannot write "), "{}", stderr(&output));
    assert_table(
        &String::from_utf8(output.stdout).unwrap(),
        "| frames | payload | service ns |",
        1,
    );
}

/// Whether it is an SVG that any program can read, with a text like this in it.
fn assert_is_picture(path: &Path, label: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    let picture = roxmltree::Document::parse(&text).unwrap();
    let root = picture.root_element();
    assert_eq!(root.tag_name().name(), "svg");
    assert_eq!(root.tag_name().namespace(), Some("http://www.w3.org/2000/svg"));
    let texts = || picture.descendants().filter_map(|node| node.text());
    assert!(texts().any(|found| found.contains(label)), "{text}");
    for attribute in picture.descendants().flat_map(|node| node.attributes()) {
        assert!(!attribute.value().contains("NaN") && !attribute.value().contains("inf"), "{text}");
    }
}

#[test]
fn every_subcommand_draws_a_picture() {
    let lab = Lab::new(&["", "", ""]);
    let svg = lab.path("picture.svg");
    for line in [
        RATE,
        "drain --rounds 5",
        "latency --load 1000,2000 --duration 0.1",
        "throughput --loss 100 --trial 0.01 --trials 1",
        "learning --max-addresses 100",
    ] {
        lab.bench(&format!("{line} --svg {}", svg.display()));
        assert_is_picture(&svg, "64");
        std::fs::remove_file(&svg).unwrap();
    }
}

#[test]
fn latency_has_two_rows_for_each_load_and_one_for_the_machine() {
    let lab = Lab::new(&["", ""]);
    let line = "latency --load 1k,5% --duration 0.2";
    assert_table(&lab.bench(line), "| frames | Mpps | p50 ns | p90 | p99 | p99.9 | p99.99", 5);
    let latency = &lab.cell(line)["latency"];
    let first = &latency["loads"][0];
    assert_eq!((&first["load"]["frames"], &first["mpps"]), (&1000.0.into(), &0.001.into()));
    let at = |name: &str| number(&first["latency_ns"][name]);
    assert!(at("min") > 0.0 && at("min") <= at("p50") && at("p50") <= at("p999"));
    assert!(at("p999") <= at("max") && at("count") <= 200.0);
    assert_eq!(latency["loads"][1]["load"]["percent"], 5.0);
}

#[test]
fn throughput_searches_once_for_each_loss() {
    let lab = Lab::new(&["", ""]);
    let line = "throughput --loss 0.5%,100 --trial 0.02 --trials 1";
    assert_table(
        &lab.bench(line),
        "| frames | loss allowed | Mpps | Gbit/s | first that failed",
        2,
    );
    let throughput = &lab.cell(line)["throughput"];
    let losses: Vec<_> = (0..2).map(|goal| number(&throughput["found"][goal]["loss"])).collect();
    assert_eq!(losses, [0.005, 1.0]);
    assert!(number(&throughput["found"][1]["mpps"]) > 0.0);
    assert_eq!(throughput["found"][1]["upper_mpps"], Value::Null);
}

#[test]
fn learning_finds_what_a_port_may_learn() {
    let lab = Lab::new(&["mac-limit = 300", "", ""]);
    let control = lab.path("control.sock");
    let line = format!("learning --max-addresses 1000 --control {}", control.display());
    assert_table(&lab.bench(&line), "| frames | addresses | addresses/s | trials |", 1);
    let capacity = number(&lab.cell(&line)["learning"]["capacity"]);
    assert!((295.0..=300.0).contains(&capacity), "{capacity}");
}

#[test]
fn learning_in_front_of_a_mirror_is_refused() {
    let lab = Lab::new(&["mirroring = \"source\"", "", "mirroring = \"destination\""]);
    let sockets: Vec<_> = (0..3).map(|port| lab.path(&format!("{port}.sock"))).collect();
    let output = bench("learning --max-addresses 100", &sockets);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("it must be no mirror destination"), "{}", stderr(&output));
}

#[test]
fn guests_have_the_rings_that_were_asked_for() {
    let lab = Lab::new(&["", ""]);
    let line = format!(
        "{RATE} --mergeable --indirect --event-idx --in-order --queue-pairs 2 --ring 128 --piece 100 \
         --burst 8 --rx-buffer 1600 --header-in-line --rewrite-descriptors --virtio-user-order \
         --frame imix --macs 10 --flows 10 --vlan 10,20 --payload line --core 0"
    );
    let cell = lab.cell(&line);
    let wanted = ["MRG_RXBUF", "MQ", "INDIRECT_DESC", "EVENT_IDX", "VERSION_1", "IN_ORDER"];
    assert_eq!(cell["features"], serde_json::json!(wanted));
    assert_eq!(cell["frames"]["vlans"], serde_json::json!([10, 20]));
    assert_eq!(cell["rate"]["sustained"]["lost"], 0);
    let report: Value =
        serde_json::from_str(&lab.bench("drain --rounds 5 --ring 128 --json")).unwrap();
    assert_eq!(
        (&report["setting"]["ring_size"], &report["setting"]["queue_pairs"]),
        (&128.into(), &1.into())
    );
}

#[test]
fn a_row_is_named_by_the_length_that_was_sent() {
    let lab = Lab::new(&["", ""]);
    // A frame that proves itself has no room for a tag in 64 bytes.
    for (line, name) in [("--frame 64", "64"), ("--frame 64 --vlan 10", "68")] {
        assert_eq!(lab.cell(&format!("drain --rounds 5 {line}"))["name"], name);
    }
}

#[test]
fn tcp_that_is_not_segmented_yet_goes_through() {
    let lab = Lab::new(&["", ""]);
    let cell = lab.cell(&format!("{RATE} --tso --frame 65000 --mergeable --piece 4096"));
    assert_eq!(cell["frames"]["carried"], "tso");
    assert!(cell["features"].as_array().unwrap().contains(&"HOST_TSO4".into()));
    assert_eq!(
        (&cell["rate"]["sustained"]["lost"], &cell["rate"]["drain"]["lost"]),
        (&0.into(), &0.into())
    );
}

#[test]
fn guests_may_live_in_huge_pages() {
    make_huge_pages(32);
    let lab = Lab::new(&["", ""]);
    let text = lab.bench("drain --rounds 5 --ring 128 --pages huge");
    assert!(text.contains("pages 2 MiB."), "{text}");
}

/// Sees that so many pages of 2 MiB are free.
fn make_huge_pages(count: u64) {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let field = |name| -> u64 {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    };
    let (total, free) = (field("HugePages_Total:"), field("HugePages_Free:"));
    if free < count {
        let wanted = (total + count - free).to_string();
        std::fs::write("/proc/sys/vm/nr_hugepages", wanted).unwrap();
    }
}

#[test]
fn a_switch_that_connects_finds_guests_that_listen() {
    let lab = Lab::new(&["mode = \"client\"", "mode = \"client\""]);
    assert_eq!(lab.cell(&format!("{RATE} --listen"))["rate"]["sustained"]["lost"], 0);
}

/// What a command that fails says.
fn complains(line: &str, sockets: &[PathBuf]) -> String {
    let output = bench(line, sockets);
    assert_eq!(output.status.code(), Some(1), "{line}: {}", stderr(&output));
    assert!(output.stdout.is_empty(), "{line}");
    stderr(&output)
}

#[test]
fn who_is_not_there_is_named_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let sockets = ["0.sock", "1.sock"].map(|name| folder.path().join(name));
    let first = sockets[0].display().to_string();
    for (line, advice) in [
        ("rate --patience 0", "start it first, or listen here"),
        ("drain --patience 0", "start it first, or listen here"),
        ("latency --patience 0", "start it first, or listen here"),
        ("throughput --patience 0", "start it first, or listen here"),
        ("rate --listen --patience 0.05", "has it a port that connects to this socket?"),
    ] {
        let said = complains(line, &sockets);
        assert!(said.starts_with("helio: no switch ") && said.contains(&first), "{said}");
        assert!(said.contains(advice), "{said}");
    }
    std::fs::write(&sockets[0], "no socket").unwrap();
    complains("rate --listen --patience 0.05", &sockets);
    assert_eq!(std::fs::read_to_string(&sockets[0]).unwrap(), "no socket");
}

#[test]
fn a_socket_that_is_no_free_port_is_told_from_one_that_is() {
    let lab = Lab::new(&["", "vlan = { access = 10 }"]);
    let [control, zero, one] = ["control.sock", "0.sock", "1.sock"].map(|name| lab.path(name));
    let said = complains("drain", &[control, one.clone()]);
    assert!(said.contains("control.sock does not take a guest"), "{said}");
    assert!(said.contains("is it the socket of a port"), "{said}");
    let said = complains("drain", &[zero.clone(), zero.clone()]);
    assert!(said.contains("has the port no other guest?"), "{said}");
    let said = complains("drain --patience 0.1 --vlan 20", &[zero, one]);
    assert!(said.contains("are both ports in one VLAN"), "{said}");
}

#[test]
fn plans_that_cannot_be_carried_out_are_refused_before_anybody_is_waited_for() {
    let sockets = |count: usize| vec![PathBuf::from("/nonexistent/a.sock"); count];
    for (line, count, advice) in [
        ("rate", 1, "name the sockets of two ports"),
        ("drain --ring 16", 2, "take smaller bursts or larger rings"),
        ("rate --tso --frame 65000 --mergeable --ring 32 --queue-pairs 8", 2, "take larger rings"),
        ("drain --mergeable --rx-buffer 256 --frame 9000 --ring 64", 2, "too few to be drained"),
        ("rate --mergeable --rx-buffer 600 --frame imix", 2, "take longer buffers"),
        ("latency --payload none", 2, "payload \"line\" or \"all\""),
        ("rate --payload none --queue-pairs 2", 2, "has one queue pair"),
        ("learning", 2, "three ports"),
        ("learning --pair 1:0", 3, "leave out pairs"),
        ("learning --macs 5", 3, "leave out pairs"),
        ("learning --payload none", 3, "payload \"line\" or \"all\""),
        ("rate --rx-buffer 128 --frame 1518", 2, "take longer ones"),
        ("rate --pair 0:2", 2, "for which there is no socket"),
        ("rate --pair 1:1", 2, "cannot send to itself"),
        ("rate --core 1023", 2, "run on core 1023 (is there one"),
    ] {
        let said = complains(line, &sockets(count));
        assert!(said.starts_with("helio: ") && said.contains(advice), "{line}: {said}");
    }
}

#[test]
fn values_that_make_no_sense_are_usage_errors() {
    let sockets = vec![PathBuf::from("/nonexistent/a.sock"); 2];
    for line in [
        "",
        "rates",
        "rate --windows 0",
        "rate --window 0",
        "rate --ring 100",
        "rate --frame 63",
        "rate --queue-pairs 0",
        "rate --vlan 0",
        "rate --pages large",
        "drain --pid 1",
        "drain --rounds 0",
        "latency --load 0%",
        "latency --duration 0",
        "throughput --loss 101",
        "throughput --trials 0",
        "learning --max-addresses 0",
    ] {
        let output = bench(line, &sockets);
        assert_eq!(output.status.code(), Some(2), "{line}: {}", stderr(&output));
    }
    for (line, range) in [
        ("rate --frame -5", "64 to 65553 bytes"),
        ("drain --vlan 4095", "1..=4094"),
        ("latency --duration -1", "a number of seconds"),
        ("throughput --loss -1", "0 to 100 percent"),
        ("learning --ageing -1", "a number of seconds"),
    ] {
        let said = stderr(&bench(line, &sockets));
        assert!(said.contains(range), "{line}: {said}");
    }
    assert_eq!(bench("rate", &[]).status.code(), Some(2), "without sockets");
    assert_eq!(bench("rate --help", &[]).status.code(), Some(0));
}
