//! Mirror sessions as people read them.

use std::io::{self, Write};

use helio_api::{
    DestinationEntry, MirrorDestinationInfo, MirrorDestinationKind, MirrorInfo, RemoteInfo,
    SessionEntry,
};

use crate::print::{disbelieved, reasons};
use crate::table::Table;

pub(crate) fn mirrors(out: &mut impl Write, mirrors: &[MirrorInfo]) -> io::Result<()> {
    let mut table = Table::new(&[
        "SESSION",
        "EXACT",
        "SOURCES",
        "DESTINATION",
        "WANTED",
        "DELIVERED",
        "DROPPED",
    ]);
    for mirror in mirrors {
        let exact = if mirror.exact { "yes" } else { "no" };
        let head = [mirror.title(), exact.to_owned(), sources(mirror, ",")];
        if mirror.destinations.is_empty() {
            let none = ["none", "-", "-", "-"].map(str::to_owned);
            table.row(head.iter().cloned().chain(none).collect());
        }
        for destination in &mirror.destinations {
            let cells = [
                place_and_form(destination),
                destination.wanted.to_string(),
                destination.delivered.to_string(),
                format!("{}{}", destination.dropped_total(), reasons(&destination.dropped)),
            ];
            table.row(head.iter().cloned().chain(cells).collect());
        }
    }
    table.write(out)
}

/// All there is to know about a session.
pub(crate) fn mirror(out: &mut impl Write, mirror: &MirrorInfo) -> io::Result<()> {
    let title = if mirror.name.is_some() { "name" } else { "session" };
    line(out, title, &mirror.title())?;
    line(out, "sources", &sources(mirror, ", "))?;
    if let Some(settings) = &mirror.settings {
        let now =
            if mirror.sources.is_empty() { "none".to_owned() } else { mirror.sources.join(", ") };
        line(out, "ports now", &now)?;
        for (key, value) in lines(settings) {
            line(out, key, &value)?;
        }
    }
    line(out, "exact", if mirror.exact { "yes" } else { "no" })?;
    // In the same order.
    let mut told = mirror.settings.iter().flat_map(|settings| &settings.destination);
    for destination in &mirror.destinations {
        show_destination(out, destination, told.next())?;
    }
    Ok(())
}

/// What one line says after a session was added or changed.
pub(crate) fn mirror_line(out: &mut impl Write, mirror: &MirrorInfo) -> io::Result<()> {
    let to: Vec<_> = mirror.destinations.iter().map(place_and_form).collect();
    let (title, sources) = (mirror.title(), sources(mirror, ", "));
    writeln!(out, "{title}: sources {sources}{}; to {}", unusual(mirror), to.join(", "))
}

/// `; filter tcp port 1433; sample 1 in 10`: what was told and is not as it would be otherwise.
fn unusual(mirror: &MirrorInfo) -> String {
    let settings = mirror.settings.as_ref().map(lines).into_iter().flatten();
    let told = settings.zip(lines(&SessionEntry::default())).filter(|(told, usual)| told != usual);
    let mut words: String = told.map(|((key, value), _)| format!("; {key} {value}")).collect();
    if mirror.exact {
        words.push_str("; exact");
    }
    words
}

fn line(out: &mut impl Write, key: &str, value: &str) -> io::Result<()> {
    writeln!(out, "{key:<12} {value}")
}

/// What is watched: what a named session was told, or the ports of one with a number.
fn sources(mirror: &MirrorInfo, between: &str) -> String {
    let mut words = Vec::new();
    match &mirror.settings {
        None => words.clone_from(&mirror.sources),
        Some(settings) => {
            words.extend(settings.source_ports.iter().cloned());
            words.extend(settings.source_labels.iter().map(|label| format!("label {label}")));
            words.extend(settings.source_vlans.iter().map(|vlan| format!("VLAN {vlan}")));
            words.extend(settings.source_macs.iter().cloned());
        }
    }
    if words.is_empty() { "none".to_owned() } else { words.join(between) }
}

/// `sniffie`, `uplink0 VLAN 99`, `10.0.0.9 by uplink0`.
fn place(destination: &MirrorDestinationInfo) -> String {
    let port = &destination.port;
    match (destination.kind, destination.vlan, &destination.remote) {
        (MirrorDestinationKind::Rspan, Some(vlan), _) => format!("{port} VLAN {vlan}"),
        (MirrorDestinationKind::Remote, _, Some(remote)) => format!("{} by {port}", remote.remote),
        _ => port.clone(),
    }
}

/// As `place`, and by what a collector can tell the copies from others for the same address.
fn place_and_form(destination: &MirrorDestinationInfo) -> String {
    let place = place(destination);
    destination
        .remote
        .as_ref()
        .map_or(place.clone(), |remote| format!("{place} ({})", form(remote)))
}

/// `erspan-2 id 7`.
fn form(remote: &RemoteInfo) -> String {
    let id = remote.id.map_or_else(String::new, |id| format!(" id {id}"));
    format!("{}{id}", remote.encapsulation)
}

/// What a collector was configured with and no other line shows, as it is written behind `--to`.
fn told(settings: &DestinationEntry) -> String {
    const SHOWN: [&str; 5] = ["uplink", "encapsulation", "id", "local", "remote"];
    let Ok(serde_json::Value::Object(keys)) = serde_json::to_value(settings) else {
        return String::new();
    };
    let others = keys.iter().filter(|(key, _)| !SHOWN.contains(&key.as_str()));
    let written = |(key, value): (&String, &serde_json::Value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{}={value}", key.replace('_', "-"))
    };
    let mut words: Vec<_> = others.map(written).collect();
    words.sort_unstable();
    words.join(",")
}

fn lines(settings: &SessionEntry) -> [(&'static str, String); 6] {
    let or = |value: Option<String>, none: &str| value.unwrap_or_else(|| none.to_owned());
    let burst = |count: Option<u64>| count.unwrap_or(0);
    let rate = match (settings.rate_bytes_per_s, settings.rate_frames_per_s) {
        (Some(rate), _) => {
            format!("{rate} bytes per s, {} at once", burst(settings.rate_burst_bytes))
        }
        (None, Some(rate)) => {
            format!("{rate} frames per s, {} at once", burst(settings.rate_burst_frames))
        }
        (None, None) => "no limit".to_owned(),
    };
    let refused = if settings.include_dropped == Some(true) { "copied too" } else { "not copied" };
    [
        ("direction", or(settings.direction.clone(), "both")),
        ("filter", or(settings.filter.clone(), "none")),
        (
            "snap length",
            or(settings.snap_len.map(|bytes| format!("{bytes} bytes")), "whole frames"),
        ),
        ("sample", format!("1 in {}", settings.sample.unwrap_or(1))),
        ("rate", rate),
        ("refused", refused.to_owned()),
    ]
}

fn show_destination(
    out: &mut impl Write,
    info: &MirrorDestinationInfo,
    settings: Option<&DestinationEntry>,
) -> io::Result<()> {
    line(out, "destination", &place(info))?;
    if let Some(remote) = &info.remote {
        let mac = remote.mac.as_deref().unwrap_or("not known");
        let (form, local, mtu) = (form(remote), &remote.local, remote.path_mtu);
        line(out, "  form", &format!("{form} from {local}, path MTU {mtu} bytes"))?;
        if let Some(settings) = settings {
            line(out, "  told", &told(settings))?;
        }
        line(out, "  next hop", &format!("{mac}: {}", remote.neighbour))?;
        disbelieved(out, "  refused", &remote.neighbour_refused)?;
    }
    if !info.detail.is_empty() {
        line(out, "  detail", &info.detail)?;
    }
    line(out, "  wanted", &format!("{} frames, {} bytes", info.wanted, info.wanted_bytes))?;
    line(
        out,
        "  delivered",
        &format!("{} frames, {} bytes", info.delivered, info.delivered_bytes),
    )?;
    let dropped = info.dropped_total();
    line(out, "  dropped", &format!("{dropped} frames{}", reasons(&info.dropped)))
}
