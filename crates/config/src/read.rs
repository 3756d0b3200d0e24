//! From TOML text to the plan: every table in turn, every problem noted, and the plan only if there is none.

use std::path::PathBuf;
use std::time::Duration;

use helio_types::MAX_WORKERS;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::host::default_core;
use crate::port_entry::{check_socket_path, wrong_word};
use crate::range::within;
use crate::read_mirror::{FilterCheck, read_mirrors};
use crate::socket_access::{group_number, socket_group, socket_mode};
use crate::table::{Problems, Table, whole_number};
use crate::{
    Config, ConfigError, DecapEntry, PollMode, PortConfig, PortEntry, SocketAccess, StaticMacEntry,
    SwitchConfig, VlanSetting, WorkerConfig,
};

const FILE_KEYS: &[&str] = &["switch", "worker", "port", "mirror"];
pub(crate) const SWITCH_KEYS: &[&str] =
    &["control", "socket-group", "socket-mode", "fdb-size", "fdb-ageing-s"];
pub(crate) const WORKER_KEYS: &[&str] = &["core", "poll", "idle-us"];
pub(crate) const DECAP_KEYS: &[&str] = &["uplink", "local", "vlan", "pcp", "mac", "udp-port"];
pub(crate) const STATIC_MAC_KEYS: &[&str] = &["mac", "vlan"];
const VLAN_KEYS: &[&str] = &["access", "trunk", "native"];
pub(crate) const PORT_KEYS: &[&str] = &[
    "name",
    "socket",
    "interface",
    "tap",
    "mode",
    "mirroring",
    "session",
    "vlan",
    "mtu",
    "receive-only",
    "worker",
    "queue-pairs",
    "queues",
    "pass",
    "mac-limit",
    "static-mac",
    "labels",
    "decap",
];

/// The plan in `text`; `file` names it in errors. Filters are taken as they are, but for `check_filter`.
pub(crate) fn read_config(
    text: &str,
    file: &str,
    check_filter: FilterCheck<'_>,
) -> Result<Config, ConfigError> {
    let mut problems = Problems::new(text);
    let (root, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        let offset = error.span().map_or(0, |span| span.start);
        let message = format!("this is not TOML: {}", error.message());
        problems.add_syntax(offset, message);
    }
    // What stands beside a syntax error may be half a line: only a clean text is read for its meaning.
    let config = syntax.is_empty().then(|| read_root(root.get_ref(), check_filter, &mut problems));
    let problems = problems.into_sorted();
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(ConfigError { file: file.to_owned(), problems }),
    }
}

fn read_root(
    root: &DeTable<'_>,
    check_filter: FilterCheck<'_>,
    problems: &mut Problems<'_>,
) -> Config {
    let file = Table::open("", 0, root, FILE_KEYS, problems);
    let mut config = Config {
        switch: read_switch(file.get("switch"), problems),
        workers: read_workers(&file, problems),
        ports: Vec::new(),
        mirrors: Vec::new(),
        sessions: Vec::new(),
    };
    let ports = file.array("port", problems).into_iter().enumerate();
    // What names another port comes after it, wherever it stands in the file.
    let (late, early): (Vec<_>, Vec<_>) = ports.partition(|(_, value)| is_decap(value));
    for (index, value) in early.into_iter().chain(late) {
        config.ports.extend(read_port(index, value, &config, problems));
    }
    read_mirrors(&file, &mut config, check_filter, problems);
    config
}

fn read_switch(value: Option<&Spanned<DeValue<'_>>>, problems: &mut Problems<'_>) -> SwitchConfig {
    let mut switch = SwitchConfig::default();
    let table = value.and_then(|value| Table::of("switch", value, SWITCH_KEYS, problems));
    let Some(table) = table else { return switch };
    let example = "control = \"/run/helio/control.sock\"";
    if let Some(path) = table.string("control", example, problems) {
        match check_socket_path("control", &path) {
            Ok(()) => switch.control = PathBuf::from(path),
            Err(message) => table.note("control", message, problems),
        }
    }
    read_access(&table, &mut switch.access, problems);
    if let Some(size) = limited(&table, "fdb-size", 16_384, 1..=1_048_576, problems) {
        switch.fdb_size = size;
    }
    // The upper end is that of IEEE 802.1Q-2018, table 8-11.
    if let Some(seconds) = limited(&table, "fdb-ageing-s", 300, 1..=1_000_000, problems) {
        switch.fdb_ageing = Duration::from_secs(seconds);
    }
    switch
}

fn read_access(table: &Table<'_, '_>, access: &mut SocketAccess, problems: &mut Problems<'_>) {
    if let Some(text) = table.string("socket-mode", "socket-mode = \"0660\"", problems) {
        match socket_mode(&text) {
            Ok(mode) => access.mode = mode,
            Err(message) => table.note("socket-mode", message, problems),
        }
    }
    let Some(written) = table.get("socket-group") else { return };
    let group = match whole_number(written.get_ref()) {
        Some(number) => group_number(number),
        None => match table.string("socket-group", "socket-group = \"kvm\"", problems) {
            Some(text) => socket_group(&text),
            None => return,
        },
    };
    match group {
        Ok(group) => access.group = Some(group),
        Err(message) => table.note("socket-group", message, problems),
    }
}

/// The number at `key` when it is in `range`; `usual` is shown as an example.
fn limited<T: TryFrom<u64>>(
    table: &Table<'_, '_>,
    key: &str,
    usual: u64,
    range: std::ops::RangeInclusive<u64>,
    problems: &mut Problems<'_>,
) -> Option<T> {
    let number = table.number(key, &format!("{key} = {usual}"), problems)?;
    within(key, number, range).map_err(|message| table.note(key, message, problems)).ok()
}

fn read_workers(file: &Table<'_, '_>, problems: &mut Problems<'_>) -> Vec<WorkerConfig> {
    let written = file.array("worker", problems);
    if written.is_empty() {
        return vec![WorkerConfig { core: default_core(), poll: PollMode::default() }];
    }
    if written.len() > MAX_WORKERS {
        let message = format!("there are {} workers; write at most {MAX_WORKERS}", written.len());
        file.note("worker", message, problems);
    }
    let mut workers = Vec::new();
    for (index, value) in written.into_iter().enumerate() {
        let path = format!("worker[{index}]");
        let Some(table) = Table::of(&path, value, WORKER_KEYS, problems) else { continue };
        let worker = read_worker(&table, problems);
        if let Some(twin) = twin_of(&worker, &workers) {
            let message = format!(
                "core {} belongs to worker {twin} already; write another core",
                worker.core
            );
            table.note("core", message, problems);
        }
        // A worker with a problem keeps its place, so that ports still find the worker they name.
        workers.push(worker);
    }
    workers
}

/// Stands for a core that is missing or wrong, in a plan that is refused for it.
const NO_CORE: usize = usize::MAX;

/// Position of the worker that has the core of `worker` already.
fn twin_of(worker: &WorkerConfig, workers: &[WorkerConfig]) -> Option<usize> {
    let same = |other: &WorkerConfig| other.core == worker.core && other.core != NO_CORE;
    workers.iter().position(same)
}

fn read_worker(table: &Table<'_, '_>, problems: &mut Problems<'_>) -> WorkerConfig {
    if table.get("core").is_none() {
        table.note(
            "core",
            "the core is missing; write, for example, core = 1".to_owned(),
            problems,
        );
    }
    let core = limited(table, "core", 1, 0..=1023, problems).unwrap_or(NO_CORE);
    let idle = limited(table, "idle-us", 100, 0..=10_000_000, problems);
    let word = table.string("poll", "poll = \"adaptive\"", problems);
    let poll = match word.as_deref() {
        None | Some("adaptive") => idle.map_or_else(PollMode::default, |us| PollMode::Adaptive {
            idle: Duration::from_micros(us),
        }),
        Some("busy") => {
            if table.get("idle-us").is_some() {
                let message =
                    "a busy worker never sleeps; leave idle-us out, or write poll = \"adaptive\"";
                table.note("idle-us", message.to_owned(), problems);
            }
            PollMode::Busy
        }
        Some(other) => {
            table.note("poll", wrong_word("poll", other, &["adaptive", "busy"]), problems);
            PollMode::default()
        }
    };
    WorkerConfig { core, poll }
}

/// The port at `value`, if it is right in itself and beside the ports of `config`.
fn read_port(
    index: usize,
    value: &Spanned<DeValue<'_>>,
    config: &Config,
    problems: &mut Problems<'_>,
) -> Option<PortConfig> {
    let path = name_or_position("port", index, value);
    let table = Table::of(&path, value, PORT_KEYS, problems)?;
    let entry = read_port_entry(&table, problems)?;
    let checked = entry.check().and_then(|port| config.check_fits(&port).map(|()| port));
    match checked {
        Ok(port) => Some(port),
        Err(error) => {
            for fault in error.faults {
                table.note(fault.key, fault.message, problems);
            }
            None
        }
    }
}

/// A table goes by its name in problems, or by its position while it has none.
pub(crate) fn name_or_position(kind: &str, index: usize, value: &Spanned<DeValue<'_>>) -> String {
    let name = match value.get_ref() {
        DeValue::Table(entries) => entries.iter().find(|(key, _)| key.get_ref() == "name"),
        _ => None,
    };
    match name.map(|(_, value)| value.get_ref()) {
        Some(DeValue::String(name)) if !name.is_empty() => format!("{kind}.{name}"),
        _ => format!("{kind}[{index}]"),
    }
}

fn read_port_entry(table: &Table<'_, '_>, problems: &mut Problems<'_>) -> Option<PortEntry> {
    let is_uplink = table.get("interface").is_some();
    let has_interface = is_uplink || table.get("tap").is_some() || table.get("decap").is_some();
    let needed = if has_interface { &NEEDED[..1] } else { &NEEDED[..] };
    for (key, example) in needed {
        if table.get(key).is_none() {
            table.note(
                key,
                format!("the {key} is missing; write, for example, {example}"),
                problems,
            );
        }
    }
    let [(_, name_example), (_, socket_example)] = NEEDED;
    let name = table.string("name", name_example, problems);
    let socket = table.string("socket", socket_example, problems);
    let mode = if is_uplink { "mode = \"auto\"" } else { "mode = \"server\"" };
    let entry = PortEntry {
        name: String::new(),
        socket: String::new(),
        interface: table.string("interface", "interface = \"eth1\"", problems),
        tap: table.string("tap", "tap = \"helio0\"", problems),
        mode: table.string("mode", mode, problems),
        mirroring: table.string("mirroring", "mirroring = \"source\"", problems),
        session: table.number("session", "session = 0", problems),
        vlan: table.get("vlan").and_then(|value| read_vlan(table, value, problems)),
        mtu: table.number("mtu", "mtu = 1500", problems),
        receive_only: table.flag("receive-only", problems),
        worker: table.number("worker", "worker = 0", problems),
        queue_pairs: table.number("queue-pairs", "queue-pairs = 8", problems),
        queues: table.number("queues", "queues = 1", problems),
        pass: table.strings("pass", "pass = [\"0x88cc\"]", problems),
        mac_limit: table.number("mac-limit", "mac-limit = 4096", problems),
        static_mac: read_static_macs(table, problems),
        decap: table.get("decap").and_then(|value| read_decap(table, value, problems)),
        labels: table.strings("labels", "labels = [\"sql\"]", problems),
    };
    if has_interface {
        // One that is not text has been noted.
        if entry.decap.is_none() {
            entry.interface.as_ref().or(entry.tap.as_ref())?;
        }
        return Some(PortEntry { name: name?, socket: socket.unwrap_or_default(), ..entry });
    }
    Some(PortEntry { name: name?, socket: socket?, ..entry })
}

const NEEDED: [(&str, &str); 2] =
    [("name", "name = \"columbia\""), ("socket", "socket = \"/run/helio/columbia.sock\"")];

fn is_decap(port: &Spanned<DeValue<'_>>) -> bool {
    match port.get_ref() {
        DeValue::Table(entries) => entries.iter().any(|(key, _)| key.get_ref() == "decap"),
        _ => false,
    }
}

fn read_decap(
    port: &Table<'_, '_>,
    value: &Spanned<DeValue<'_>>,
    problems: &mut Problems<'_>,
) -> Option<DecapEntry> {
    let example = "decap = { uplink = \"uplink0\", local = \"10.0.0.2/24\" }";
    let DeValue::Table(entries) = value.get_ref() else {
        port.note_kind("decap", value, "a table", example, problems);
        return None;
    };
    let path = port.name_of("decap");
    let table = Table::open(&path, value.span().start, entries, DECAP_KEYS, problems);
    for key in ["uplink", "local"] {
        if table.get(key).is_none() {
            table.note(key, format!("the {key} is missing; write {example}"), problems);
        }
    }
    let uplink = table.string("uplink", "uplink = \"uplink0\"", problems);
    let local = table.string("local", "local = \"10.0.0.2/24\"", problems);
    Some(DecapEntry {
        vlan: table.number("vlan", "vlan = 7", problems),
        pcp: table.number("pcp", "pcp = 0", problems),
        mac: table.string("mac", "mac = \"52:54:00:12:34:56\"", problems),
        udp_port: table.number("udp-port", "udp-port = 4789", problems),
        uplink: uplink?,
        local: local?,
    })
}

fn read_vlan(
    port: &Table<'_, '_>,
    value: &Spanned<DeValue<'_>>,
    problems: &mut Problems<'_>,
) -> Option<VlanSetting> {
    let example = "vlan = { access = 10 }";
    let DeValue::Table(entries) = value.get_ref() else {
        port.note_kind("vlan", value, "a table", example, problems);
        return None;
    };
    let path = port.name_of("vlan");
    let table = Table::open(&path, value.span().start, entries, VLAN_KEYS, problems);
    Some(VlanSetting {
        access: table.number("access", "access = 10", problems),
        trunk: table.numbers("trunk", "a list of VLANs", "trunk = [10, 20]", problems),
        native: table.number("native", "native = 1", problems),
    })
}

fn read_static_macs(port: &Table<'_, '_>, problems: &mut Problems<'_>) -> Vec<StaticMacEntry> {
    let example = "static-mac = [\"52:54:00:12:34:56\"]";
    let Some(value) = port.get("static-mac") else { return Vec::new() };
    let DeValue::Array(items) = value.get_ref() else {
        port.note_kind("static-mac", value, "a list of addresses", example, problems);
        return Vec::new();
    };
    let mut macs = Vec::new();
    for item in items.iter() {
        match item.get_ref() {
            DeValue::String(mac) => macs.push(StaticMacEntry::Mac(mac.clone().into_owned())),
            DeValue::Table(_) => macs.extend(read_static_mac(port, item, problems)),
            _ => port.note_kind("static-mac", item, "an address in quotes", example, problems),
        }
    }
    macs
}

fn read_static_mac(
    port: &Table<'_, '_>,
    item: &Spanned<DeValue<'_>>,
    problems: &mut Problems<'_>,
) -> Option<StaticMacEntry> {
    let path = port.name_of("static-mac");
    let table = Table::of(&path, item, STATIC_MAC_KEYS, problems)?;
    let mac = table.string("mac", "mac = \"52:54:00:12:34:56\"", problems);
    if table.get("mac").is_none() {
        let message = "the mac is missing; write { mac = \"52:54:00:12:34:56\", vlan = 10 }";
        table.note("mac", message.to_owned(), problems);
    }
    match table.number("vlan", "vlan = 10", problems) {
        Some(vlan) => Some(StaticMacEntry::MacOnVlan { mac: mac?, vlan }),
        None => Some(StaticMacEntry::Mac(mac?)),
    }
}
