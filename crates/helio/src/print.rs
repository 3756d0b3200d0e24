//! Answers of the switch as people read them.

use std::collections::BTreeMap;
use std::io::{self, Write};

use helio_api::{
    DecapInfo, FdbEntryInfo, FragmentInfo, PortInfo, QemuArgs, StaticMacEntry, WorkerInfo,
};

use crate::table::Table;

pub(crate) fn ports(out: &mut impl Write, ports: &[PortInfo]) -> io::Result<()> {
    let mut table = Table::new(&[
        "NAME",
        "STATE",
        "MIRRORING",
        "SESSION",
        "VLAN",
        "WORKER",
        "INGRESS",
        "EGRESS",
        "DROPS",
        "LABELS",
        "DETAIL",
    ]);
    for port in ports {
        table.row(vec![
            port.name.clone(),
            port.state.to_string(),
            mirroring(port),
            port.session.to_string(),
            port.vlan.to_string(),
            number(port.worker),
            port.ingress_frames.to_string(),
            port.egress_frames.to_string(),
            port.drops_total().to_string(),
            labels(port, ","),
            port.detail.clone(),
        ]);
    }
    table.write(out)
}

fn labels(port: &PortInfo, between: &str) -> String {
    if port.labels.is_empty() { "-".to_owned() } else { port.labels.join(between) }
}

/// The part in mirroring, with the mark of a port that may not send.
fn mirroring(port: &PortInfo) -> String {
    let mark = if port.receive_only { ", receive-only" } else { "" };
    format!("{}{mark}", port.mirroring)
}

pub(crate) fn port(out: &mut impl Write, port: &PortInfo) -> io::Result<()> {
    let features = if port.features.is_empty() { "-".to_owned() } else { port.features.join(" ") };
    let lines = [
        ("name", port.name.clone()),
        ("state", format!("{}: {}", port.state, port.detail)),
        far_side(port),
        ("mirroring", format!("{}, session {}", mirroring(port), port.session)),
        ("labels", labels(port, ", ")),
        ("vlan", port.vlan.to_string()),
        ("mtu", format!("{} bytes", port.mtu)),
        ("worker", number(port.worker)),
        ("source index", number(port.source_index)),
        ("queue pairs", format!("{} of {} in use", port.queue_pairs_active, port.queue_pairs)),
        ("memory", port.memory.map_or_else(|| "-".to_owned(), |memory| memory.to_string())),
        ("features", features),
        ("addresses", addresses(port)),
        ("ingress", format!("{} frames, {} bytes", port.ingress_frames, port.ingress_bytes)),
        ("  dropped", frames(&port.ingress_drops)),
        ("egress", format!("{} frames, {} bytes", port.egress_frames, port.egress_bytes)),
        ("  dropped", frames(&port.egress_drops)),
    ];
    // What only a guest has.
    let of_guest = ["queue pairs", "memory", "features"];
    for (key, value) in lines {
        if port.mode.is_some() || !of_guest.contains(&key) {
            writeln!(out, "{key:<12} {value}")?;
        }
    }
    if let Some(uplink) = &port.uplink {
        let pass = if uplink.pass.is_empty() { "-".to_owned() } else { uplink.pass.join(" ") };
        writeln!(out, "{:<12} {}", "kernel drops", frames(&uplink.kernel_drops))?;
        writeln!(out, "{:<12} {}", "chunks", uplink.chunks)?;
        writeln!(out, "{:<12} {pass}", "to the host")?;
    }
    port.decap.as_ref().map_or(Ok(()), |decap| streams(out, decap))
}

/// What may be learned behind a port, and what is known to be there.
fn addresses(port: &PortInfo) -> String {
    let of_port = port.static_mac.iter().map(|entry| match entry {
        StaticMacEntry::Mac(mac) => mac.clone(),
        StaticMacEntry::MacOnVlan { mac, vlan } => format!("{mac} on VLAN {vlan}"),
    });
    let fixed: Vec<_> = of_port.collect();
    let fixed = if fixed.is_empty() { String::new() } else { format!("; {}", fixed.join(", ")) };
    format!("at most {} learned{fixed}", port.mac_limit)
}

/// `8 frames (mtu 7, vlan 1)`.
fn frames(drops: &BTreeMap<String, u64>) -> String {
    let total = drops.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
    format!("{total} frames{}", reasons(drops))
}

/// The mirror streams that a port takes.
fn streams(out: &mut impl Write, decap: &DecapInfo) -> io::Result<()> {
    let total: u64 = decap.refused.values().sum();
    writeln!(out, "{:<12} {total} datagrams{}", "no copies", reasons(&decap.refused))?;
    if let Some(FragmentInfo { joined, datagrams, waiting }) = decap.fragments {
        let made = format!("{datagrams} datagrams of {joined}");
        writeln!(out, "{:<12} {made}, {waiting} waiting for others", "fragments")?;
    }
    for stream in &decap.sessions {
        let id = stream.id.map_or_else(String::new, |id| format!(" id {id}"));
        writeln!(
            out,
            "{:<12} {} {}{id}: {} received, {} lost, {} late, {} duplicates, {} strays, {} restarts",
            "stream",
            stream.source,
            stream.encapsulation,
            stream.received,
            stream.lost,
            stream.late,
            stream.duplicates,
            stream.strays,
            stream.restarts
        )?;
    }
    if decap.unfollowed > 0 {
        writeln!(out, "{:<12} {} copies of more streams", "not followed", decap.unfollowed)?;
    }
    disbelieved(out, "refused", &decap.neighbour_refused)
}

/// What neighbours said that was not believed, if anything.
pub(crate) fn disbelieved(
    out: &mut impl Write,
    key: &str,
    refused: &BTreeMap<String, u64>,
) -> io::Result<()> {
    let total = refused.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
    if total == 0 {
        return Ok(());
    }
    writeln!(out, "{key:<12} {total} frames of neighbours{}", reasons(refused))
}

/// The socket of a VM port, or the interface or address of another one.
fn far_side(port: &PortInfo) -> (&'static str, String) {
    if let Some(decap) = &port.decap {
        return ("streams for", decap.to_string());
    }
    match (&port.uplink, &port.tap, port.mode) {
        (Some(uplink), _, _) => ("interface", uplink.to_string()),
        (None, Some(tap), _) => ("tap", tap.to_string()),
        (None, None, Some(mode)) => ("socket", format!("{} ({mode})", port.socket)),
        (None, None, None) => ("socket", port.socket.clone()),
    }
}

/// What one line says after a port was added or changed.
pub(crate) fn port_line(out: &mut impl Write, port: &PortInfo) -> io::Result<()> {
    let labels = match labels(port, ", ").as_str() {
        "-" => String::new(),
        labels => format!(", labels {labels}"),
    };
    writeln!(
        out,
        "{}: mirroring {}, session {}, vlan {}, mtu {}{labels}; {}: {}",
        port.name,
        mirroring(port),
        port.session,
        port.vlan,
        port.mtu,
        port.state,
        port.detail
    )
}

pub(crate) fn fdb(out: &mut impl Write, entries: &[FdbEntryInfo]) -> io::Result<()> {
    let mut table = Table::new(&["VLAN", "MAC", "PORT", "KIND", "AGE"]);
    for entry in entries {
        table.row(vec![
            entry.vlan.to_string(),
            entry.mac.clone(),
            entry.port.clone(),
            entry.kind.to_string(),
            format!("{} s", entry.age_s),
        ]);
    }
    table.write(out)
}

pub(crate) fn workers(out: &mut impl Write, workers: &[WorkerInfo]) -> io::Result<()> {
    let mut table = Table::new(&[
        "WORKER", "CORE", "POLL", "BUSY", "TURNS", "FRAMES", "SLEEPS", "P50", "P99", "MAX", "PORTS",
    ]);
    for worker in workers {
        let busy = worker.busy_per_mille();
        let ports =
            if worker.ports.is_empty() { "none".to_owned() } else { worker.ports.join(",") };
        table.row(vec![
            worker.worker.to_string(),
            worker.core.to_string(),
            worker.poll.clone(),
            format!("{}.{} %", busy / 10, busy % 10),
            worker.turns.to_string(),
            worker.frames.to_string(),
            worker.sleeps.to_string(),
            micros(worker.turn_ns.p50),
            micros(worker.turn_ns.p99),
            micros(worker.turn_ns.max),
            ports,
        ]);
    }
    table.write(out)
}

/// The options to paste: lines for people, one line for `$(helio qemu-args ...)`.
pub(crate) fn qemu_args(out: &mut impl Write, args: &QemuArgs, lines: LineEnd) -> io::Result<()> {
    let end = match lines {
        LineEnd::Continued => " \\\n",
        LineEnd::Joined => " ",
    };
    writeln!(out, "{}", args.shell_lines().join(end))
}

/// What stands between two options.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LineEnd {
    /// A new line, which the shell takes for a blank.
    Continued,
    /// A blank.
    Joined,
}

fn number(value: Option<usize>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Nanoseconds in microseconds with one decimal, rounded down.
fn micros(ns: u64) -> String {
    format!("{}.{} us", ns / 1000, ns % 1000 / 100)
}

/// ` (mtu 7, vlan 1)`, most frequent first; nothing without reasons.
pub(crate) fn reasons(drops: &BTreeMap<String, u64>) -> String {
    let mut counted: Vec<_> = drops.iter().filter(|(_, count)| **count > 0).collect();
    counted.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let shown: Vec<_> = counted.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    if shown.is_empty() { String::new() } else { format!(" ({})", shown.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use helio_api::PortEntry;

    #[test]
    fn reasons_are_named_most_frequent_first_and_zeros_are_left_out() {
        let drops = [("vlan", 1), ("mtu", 7), ("runt", 0)];
        let drops = drops.map(|(reason, count)| (reason.to_owned(), count)).into();
        assert_eq!(reasons(&drops), " (mtu 7, vlan 1)");
        assert_eq!(reasons(&BTreeMap::new()), "");
    }

    #[test]
    fn a_port_tells_what_was_dropped_on_each_way_and_which_addresses_it_has() {
        let entry: PortEntry = serde_json::from_value(serde_json::json!({
            "name": "columbia", "socket": "/run/columbia.sock", "vlan": {"trunk": [10], "native": 1},
            "static_mac": ["52:54:00:00:00:01", {"mac": "52:54:00:00:00:02", "vlan": 10}]
        }))
        .unwrap();
        let mut info = PortInfo::new(&entry.check().unwrap());
        info.source_index = Some(5);
        info.ingress_drops.insert("runt".to_owned(), 2);
        info.egress_drops.insert("no-rx-buffer".to_owned(), 3);
        let mut out = Vec::new();
        port(&mut out, &info).unwrap();
        let shown = String::from_utf8(out).unwrap();
        assert!(
            shown.ends_with(
                "addresses    at most 4096 learned; 52:54:00:00:00:01, 52:54:00:00:00:02 on VLAN 10\n\
                ingress      0 frames, 0 bytes\n  dropped    2 frames (runt 2)\n\
                egress       0 frames, 0 bytes\n  dropped    3 frames (no-rx-buffer 3)\n"
            ),
            "{shown}"
        );
        assert!(shown.contains("\nsource index 5\n"), "{shown}");
    }

    #[test]
    fn streams_that_a_port_takes_are_shown_with_what_was_lost_of_them() {
        let decap = serde_json::from_value(serde_json::json!({
            "uplink": "uplink0", "local": "10.0.0.2/24", "udp_port": 4789, "refused": {"checksum": 2, "runt": 3},
            "fragments": {"joined": 6, "datagrams": 2, "waiting": 1},
            "sessions": [{"source": "10.0.0.1", "encapsulation": "erspan-2", "id": 7, "received": 90,
                "lost": 5, "late": 4, "duplicates": 3, "strays": 2, "restarts": 1}],
            "unfollowed": 8, "neighbour_refused": {"neighbour-checksum": 1, "neighbour-sender-mac": 6}
        }));
        let mut out = Vec::new();
        streams(&mut out, &decap.unwrap()).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "no copies    5 datagrams (runt 3, checksum 2)\n\
            fragments    2 datagrams of 6, 1 waiting for others\n\
            stream       10.0.0.1 erspan-2 id 7: 90 received, 5 lost, 4 late, 3 duplicates, 2 strays, 1 restarts\n\
            not followed 8 copies of more streams\n\
            refused      7 frames of neighbours (neighbour-sender-mac 6, neighbour-checksum 1)\n"
        );
    }

    #[test]
    fn times_are_shown_in_microseconds() {
        assert_eq!(micros(0), "0.0 us");
        assert_eq!(micros(1999), "1.9 us");
    }
}
