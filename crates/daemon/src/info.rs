//! What the running switch says of itself, in the words of the control socket.

use std::collections::BTreeMap;

use helio_api::{
    ConfigInfo, FdbEntryInfo, FdbEntryKind, MemoryInfo, MirrorDestinationInfo, MirrorInfo,
    PortInfo, TurnTimes, WorkerInfo,
};
use helio_config::{Attachment, Config, MirrorConfig, Problem, WorkerConfig};
use helio_counters::{FrameCount, PortCounts};
use helio_switch::{EntryKind, FdbEntry};
use helio_types::{DropReason, Mirroring, SessionId};
use helio_vhost_user::VhostPortHandle;
use helio_worker::{Fleet, UnderlayReport, WorkerReport};

use crate::feature_names::feature_names;
use crate::port_state::{Condition, port_state, why_nothing_arrives};
use crate::ports::{Ports, ServedPort};
use crate::stream_info::describe_streams;

/// What workers know of the networks behind uplinks, if one of `ports` has something to tell of it.
pub(crate) fn underlay_for<'a>(
    mut ports: impl Iterator<Item = &'a ServedPort>,
    fleet: &Fleet,
) -> UnderlayReport {
    let is_decap = |port: &ServedPort| matches!(port.config.attachment, Attachment::Decap(_));
    if ports.any(is_decap) { fleet.report_underlay() } else { UnderlayReport::default() }
}

/// One port with its counters.
pub(crate) fn port_info(
    port: &ServedPort,
    ports: &Ports,
    fleet: &Fleet,
    underlay: &UnderlayReport,
) -> PortInfo {
    let counts = counts(port, fleet);
    let Condition { word: state, detail, .. } = port_state(port, ports);
    let vm = port.handle.vm();
    let mut info = PortInfo {
        state,
        detail,
        ingress_frames: counts.ingress.frames,
        ingress_bytes: counts.ingress.bytes,
        egress_frames: counts.egress.frames,
        egress_bytes: counts.egress.bytes,
        drops: by_reason(&counts.drops()),
        ingress_drops: by_reason(&counts.ingress_drops),
        egress_drops: by_reason(&counts.egress_drops),
        worker: Some(port.worker.index()),
        source_index: Some(port.id.index()),
        queue_pairs_active: vm.map_or(0, VhostPortHandle::active_pairs),
        memory: vm.and_then(VhostPortHandle::memory).map(|memory| MemoryInfo {
            regions: memory.regions,
            bytes: memory.bytes,
            sealed: memory.shrink_sealed,
        }),
        features: vm.map(|vm| feature_names(vm.features())).unwrap_or_default(),
        ..PortInfo::new(&port.config)
    };
    port.handle.describe_interface(&mut info);
    if let Some(decap) = &mut info.decap {
        describe_streams(decap, port, underlay);
    }
    info
}

/// All sessions that have a port or a setting, lowest number first.
pub(crate) fn mirror_infos(
    ports: &Ports,
    mirrors: &[MirrorConfig],
    fleet: &Fleet,
) -> Vec<MirrorInfo> {
    let mut sessions: Vec<SessionId> = ports
        .iter()
        .filter(|port| port.config.mirroring != Mirroring::None)
        .map(|port| port.config.session)
        .chain(mirrors.iter().map(|mirror| mirror.session))
        .collect();
    sessions.sort_unstable();
    sessions.dedup();
    sessions.into_iter().map(|session| mirror_info(session, ports, mirrors, fleet)).collect()
}

fn mirror_info(
    session: SessionId,
    ports: &Ports,
    mirrors: &[MirrorConfig],
    fleet: &Fleet,
) -> MirrorInfo {
    let part = |mirroring| {
        ports.iter().filter(move |port| {
            port.config.session == session && port.config.mirroring == mirroring
        })
    };
    MirrorInfo {
        exact: mirrors.iter().any(|mirror| mirror.session == session && mirror.exact),
        sources: part(Mirroring::Source).map(|port| port.config.name.clone()).collect(),
        destinations: part(Mirroring::Destination)
            .map(|port| destination_info(port, fleet))
            .collect(),
        ..MirrorInfo::numbered(session.0)
    }
}

fn destination_info(port: &ServedPort, fleet: &Fleet) -> MirrorDestinationInfo {
    let counts = counts(port, fleet).mirror;
    MirrorDestinationInfo {
        port: port.config.name.clone(),
        detail: why_nothing_arrives(port).unwrap_or_default(),
        wanted: counts.wanted.frames,
        delivered: counts.delivered.frames,
        dropped: by_reason(&counts.dropped.map(|count| count.frames)),
        wanted_bytes: counts.wanted.bytes,
        delivered_bytes: counts.delivered.bytes,
        dropped_bytes: by_reason(&counts.dropped.map(|count: FrameCount| count.bytes)),
        ..MirrorDestinationInfo::default()
    }
}

fn counts(port: &ServedPort, fleet: &Fleet) -> PortCounts {
    fleet.counts(port.id).since(&port.base)
}

/// The reasons that occurred, by name.
pub(crate) fn by_reason(counts: &[u64; DropReason::COUNT]) -> BTreeMap<String, u64> {
    let reasons = DropReason::ALL.iter().zip(counts);
    reasons
        .filter(|(_, count)| **count > 0)
        .map(|(reason, count)| (reason.name().to_owned(), *count))
        .collect()
}

/// One address.
pub(crate) fn fdb_info(entry: &FdbEntry, ports: &Ports) -> FdbEntryInfo {
    FdbEntryInfo {
        vlan: entry.vlan.get(),
        mac: entry.mac.to_string(),
        port: ports
            .by_id(entry.port)
            .map_or_else(|| entry.port.to_string(), |port| port.config.name.clone()),
        kind: match entry.kind {
            EntryKind::Learned => FdbEntryKind::Learned,
            EntryKind::Static => FdbEntryKind::Static,
        },
        age_s: u64::from(entry.age_s),
    }
}

/// The configuration, and what keeps a switch from starting with it.
pub(crate) fn config_info(config: &Config) -> Result<ConfigInfo, String> {
    let toml = config.to_toml()?;
    let refused = Config::from_str(&toml, "the configuration").err();
    let problems = refused.map(|error| error.problems).unwrap_or_default().into_iter();
    let problems = problems.map(|Problem { key, message, .. }| format!("{key}: {message}"));
    Ok(ConfigInfo { toml, problems: problems.collect() })
}

/// One worker.
pub(crate) fn worker_info(
    index: usize,
    config: &WorkerConfig,
    report: &WorkerReport,
    ports: &Ports,
) -> WorkerInfo {
    let own = ports.iter().filter(|port| port.worker.index() == index);
    WorkerInfo {
        worker: index,
        core: config.core,
        poll: config.poll.name().to_owned(),
        ports: own.map(|port| port.config.name.clone()).collect(),
        turns: report.turns,
        frames: report.frames,
        sleeps: report.sleeps,
        busy_ns: report.busy_ns,
        idle_ns: report.elapsed_ns.saturating_sub(report.busy_ns),
        turn_ns: TurnTimes {
            p50: report.turn_ns.value_at_quantile(0.5),
            p99: report.turn_ns.value_at_quantile(0.99),
            max: report.turn_ns.max(),
        },
    }
}
