//! What the running switch says of its named mirror sessions.

use std::collections::BTreeMap;

use helio_api::{MirrorDestinationInfo, MirrorInfo, RemoteInfo};
use helio_config::MirrorDestination;
use helio_underlay::{NeighbourState, RefusalCounts};
use helio_worker::{CollectorReport, Fleet, UnderlayReport};

use crate::info::by_reason;
use crate::port_state::why_nothing_arrives;
use crate::ports::Ports;
use crate::sessions::{ServedLeg, ServedSession, source_ports};
use crate::underlay::uplink_of;

/// One session with its counters.
pub(crate) fn session_info(
    session: &ServedSession,
    ports: &Ports,
    fleet: &Fleet,
    underlay: &UnderlayReport,
) -> MirrorInfo {
    let watched = source_ports(&session.config, ports);
    let sources = ports.iter().filter(|port| watched.contains(port.id));
    let destination = |leg| destination_info(leg, ports, fleet, underlay);
    MirrorInfo {
        sources: sources.map(|port| port.config.name.clone()).collect(),
        destinations: session.legs.iter().map(destination).collect(),
        ..MirrorInfo::named(&session.config)
    }
}

fn destination_info(
    leg: &ServedLeg,
    ports: &Ports,
    fleet: &Fleet,
    underlay: &UnderlayReport,
) -> MirrorDestinationInfo {
    let counts = fleet.leg_counts(leg.id).since(&leg.base);
    let known = underlay.collectors.iter().find(|collector| collector.leg == leg.id);
    let base = MirrorDestinationInfo::new(&leg.destination);
    let remote = base.remote.clone().map(|remote| match known {
        Some(known) => remote_info(remote, known),
        None => remote,
    });
    MirrorDestinationInfo {
        remote,
        detail: detail(leg, ports),
        wanted: counts.wanted.frames,
        delivered: counts.delivered.frames,
        dropped: by_reason(&counts.dropped.map(|count| count.frames)),
        wanted_bytes: counts.wanted.bytes,
        delivered_bytes: counts.delivered.bytes,
        dropped_bytes: by_reason(&counts.dropped.map(|count| count.bytes)),
        ..base
    }
}

fn remote_info(remote: RemoteInfo, known: &CollectorReport) -> RemoteInfo {
    let path_mtu = known.mtu_bytes;
    let neighbour_refused = disbelieved(&known.refused);
    // A next hop that was configured need not be asked for.
    if remote.mac.is_some() {
        let neighbour = "the next hop is as configured".to_owned();
        return RemoteInfo { neighbour, path_mtu, neighbour_refused, ..remote };
    }
    let neighbour = match known.state {
        NeighbourState::Incomplete => "the next hop is asked where it is",
        NeighbourState::Reachable => "the next hop has answered lately",
        NeighbourState::Stale => "the next hop is known from before",
        NeighbourState::Probe => "the next hop is asked whether it is still there",
        NeighbourState::Failed => "the next hop does not answer; it is asked again every 30 s",
    };
    let mac = known.next_hop.map(|mac| mac.to_string());
    RemoteInfo { neighbour: neighbour.to_owned(), mac, path_mtu, neighbour_refused, ..remote }
}

/// What neighbours said that was not believed, by the name of the reason.
pub(crate) fn disbelieved(refused: &RefusalCounts) -> BTreeMap<String, u64> {
    refused.iter().map(|(reason, count)| (reason.name().to_owned(), count)).collect()
}

/// Why no copies can go there, whatever comes.
fn detail(leg: &ServedLeg, ports: &Ports) -> String {
    let name = leg.destination.port();
    let Some(port) = ports.find(name) else {
        return format!("there is no port {name:?}; copies go there once there is one");
    };
    match &leg.destination {
        MirrorDestination::Remote(_) if uplink_of(ports, name).is_none() => {
            format!("port {name:?} is no uplink; name the one behind which the collector is")
        }
        _ => why_nothing_arrives(port).unwrap_or_default(),
    }
}
