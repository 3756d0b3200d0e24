//! The `[[mirror]]` tables of a configuration: sessions with a number, which ports take part in by their own setting, and
//! sessions with a name, which say everything themselves.

use crate::port_entry::session_id;
use crate::read::name_or_position;
use crate::table::{Problems, Table};
use crate::{Config, DestinationEntry, MirrorConfig, SessionConfig, SessionEntry, SessionError};

pub(crate) const MIRROR_KEYS: &[&str] = &[
    "session",
    "name",
    "source-ports",
    "source-labels",
    "source-vlans",
    "source-macs",
    "direction",
    "filter",
    "snap-len",
    "sample",
    "rate-bytes-per-s",
    "rate-burst-bytes",
    "rate-frames-per-s",
    "rate-burst-frames",
    "exact",
    "include-dropped",
    "destination",
];

const NUMBERED_KEYS: &[&str] = &["session", "exact"];

pub(crate) const DESTINATION_KEYS: &[&str] = &[
    "port",
    "rspan-vlan",
    "uplink",
    "encapsulation",
    "local",
    "remote",
    "gateway",
    "id",
    "sequence",
    "security-group",
    "hardware-id",
    "sub-header",
    "udp-port",
    "udp-checksum",
    "mtu",
    "oversize",
    "dscp",
    "ttl",
    "vlan",
    "pcp",
    "mac",
    "remote-mac",
];

/// Says why the text of a filter cannot be used, if it cannot.
pub type FilterCheck<'c> = &'c dyn Fn(&str) -> Result<(), String>;

/// Reads all sessions into `config`, whose ports must be there.
pub(crate) fn read_mirrors(
    file: &Table<'_, '_>,
    config: &mut Config,
    check_filter: FilterCheck<'_>,
    problems: &mut Problems<'_>,
) {
    for (index, value) in file.array("mirror", problems).into_iter().enumerate() {
        let path = name_or_position("mirror", index, value);
        let Some(table) = Table::of(&path, value, MIRROR_KEYS, problems) else { continue };
        if table.get("name").is_none() {
            config.mirrors.extend(read_numbered(&table, &config.mirrors, problems));
        } else if let Some(session) = read_named(&table, config, check_filter, problems) {
            config.sessions.push(session);
        }
    }
}

fn read_numbered(
    table: &Table<'_, '_>,
    others: &[MirrorConfig],
    problems: &mut Problems<'_>,
) -> Option<MirrorConfig> {
    let has_number = table.get("session").is_some();
    for key in MIRROR_KEYS.iter().filter(|key| !NUMBERED_KEYS.contains(key)) {
        if table.get(key).is_some() {
            let instead = if has_number { "session" } else { "no name" };
            let text = format!(
                "{key} is for sessions with a name; write, for example, name = \"sql\" instead of {instead}"
            );
            table.note(key, text, problems);
        }
    }
    let number = table.number("session", "session = 0", problems).unwrap_or(0);
    let session = match session_id(number) {
        Ok(session) => session,
        Err(message) => {
            table.note("session", message, problems);
            return None;
        }
    };
    if others.iter().any(|other| other.session == session) {
        let message = format!("session {session} has a [[mirror]] already; keep one of the two");
        table.note("session", message, problems);
    }
    let exact = table.flag("exact", problems).unwrap_or(false);
    Some(MirrorConfig { session, exact })
}

/// The named session in `table`, if it is right in itself and beside what `config` holds.
fn read_named(
    table: &Table<'_, '_>,
    config: &Config,
    check_filter: FilterCheck<'_>,
    problems: &mut Problems<'_>,
) -> Option<SessionConfig> {
    if table.get("session").is_some() {
        let text = "a session has a name or a number; leave one of the two out";
        table.note("session", text.to_owned(), problems);
    }
    let entry = read_session_entry(table, problems);
    let values = table.array_called("destination", "mirror.destination", problems);
    let mut destinations = Vec::with_capacity(values.len());
    for (index, value) in values.into_iter().enumerate() {
        let path = table.name_of(&format!("destination[{index}]"));
        destinations.extend(Table::of(&path, value, DESTINATION_KEYS, problems));
    }
    let destination = destinations.iter().map(|table| read_destination(table, problems)).collect();
    let entry = SessionEntry { destination, ..entry };
    if let Some(Err(message)) = entry.filter.as_deref().map(check_filter) {
        table.note("filter", message, problems);
    }
    let checked = entry.check().and_then(|session| {
        let fits = config.check_session_fits(&session);
        // A port that is wrong in itself is not in the plan, and was complained of already.
        let fits = if problems.is_about("port") { without_ports(fits) } else { fits };
        fits.map(|()| session)
    });
    checked.map_err(|error| note_faults(table, &destinations, error, problems)).ok()
}

/// `fits` without the faults that ports of other names would mend.
fn without_ports(fits: Result<(), SessionError>) -> Result<(), SessionError> {
    let Err(SessionError { mut faults }) = fits else { return Ok(()) };
    faults.retain(|fault| !["source-ports", "port", "uplink"].contains(&fault.key));
    if faults.is_empty() { Ok(()) } else { Err(SessionError { faults }) }
}

/// Notes the faults that do not come from a value which could not be read, for which there is a problem already.
fn note_faults(
    table: &Table<'_, '_>,
    destinations: &[Table<'_, '_>],
    error: SessionError,
    problems: &mut Problems<'_>,
) {
    let sources = ["source-ports", "source-labels", "source-vlans", "source-macs"];
    let unread_source = sources.iter().any(|key| problems.is_about(&table.name_of(key)));
    for fault in error.faults {
        let place = fault.destination.and_then(|index| destinations.get(index)).unwrap_or(table);
        let is_known = problems.is_about(&place.name_of(fault.key))
            || unread_source && sources.contains(&fault.key);
        if !is_known {
            place.note(fault.key, fault.message, problems);
        }
    }
}

fn read_session_entry(table: &Table<'_, '_>, problems: &mut Problems<'_>) -> SessionEntry {
    SessionEntry {
        name: table.string("name", "name = \"sql\"", problems).unwrap_or_default(),
        source_ports: table.strings("source-ports", "source-ports = [\"columbia\"]", problems),
        source_labels: table.strings("source-labels", "source-labels = [\"sql\"]", problems),
        source_vlans: table
            .numbers("source-vlans", "a list of VLANs", "source-vlans = [10, 20]", problems)
            .unwrap_or_default(),
        source_macs: table.strings(
            "source-macs",
            "source-macs = [\"52:54:00:12:34:56\"]",
            problems,
        ),
        direction: table.string("direction", "direction = \"both\"", problems),
        filter: table.string("filter", "filter = \"tcp port 1433\"", problems),
        snap_len: table.number("snap-len", "snap-len = 128", problems),
        sample: table.number("sample", "sample = 10", problems),
        rate_bytes_per_s: table.number("rate-bytes-per-s", "rate-bytes-per-s = 12500000", problems),
        rate_burst_bytes: table.number("rate-burst-bytes", "rate-burst-bytes = 125000", problems),
        rate_frames_per_s: table.number("rate-frames-per-s", "rate-frames-per-s = 5000", problems),
        rate_burst_frames: table.number("rate-burst-frames", "rate-burst-frames = 50", problems),
        exact: table.flag("exact", problems),
        include_dropped: table.flag("include-dropped", problems),
        destination: Vec::new(),
    }
}

fn read_destination(table: &Table<'_, '_>, problems: &mut Problems<'_>) -> DestinationEntry {
    DestinationEntry {
        port: table.string("port", "port = \"sniffie\"", problems),
        rspan_vlan: table.number("rspan-vlan", "rspan-vlan = 99", problems),
        uplink: table.string("uplink", "uplink = \"uplink0\"", problems),
        encapsulation: table.string("encapsulation", "encapsulation = \"erspan-2\"", problems),
        local: table.string("local", "local = \"10.0.0.1/24\"", problems),
        remote: table.string("remote", "remote = \"10.0.0.9\"", problems),
        gateway: table.string("gateway", "gateway = \"10.0.0.254\"", problems),
        id: table.number("id", "id = 7", problems),
        sequence: table.flag("sequence", problems),
        security_group: table.number("security-group", "security-group = 0", problems),
        hardware_id: table.number("hardware-id", "hardware-id = 0", problems),
        sub_header: table.flag("sub-header", problems),
        udp_port: table.number("udp-port", "udp-port = 4789", problems),
        udp_checksum: table.flag("udp-checksum", problems),
        mtu: table.number("mtu", "mtu = 1500", problems),
        oversize: table.string("oversize", "oversize = \"truncate\"", problems),
        dscp: table.number("dscp", "dscp = 0", problems),
        ttl: table.number("ttl", "ttl = 64", problems),
        vlan: table.number("vlan", "vlan = 7", problems),
        pcp: table.number("pcp", "pcp = 0", problems),
        mac: table.string("mac", "mac = \"52:54:00:12:34:56\"", problems),
        remote_mac: table.string("remote-mac", "remote-mac = \"52:54:00:12:34:56\"", problems),
    }
}
