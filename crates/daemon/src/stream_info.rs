//! What the running switch says of the mirror streams that a decap port takes.

use helio_api::{DecapInfo, FragmentInfo, RemoteSessionInfo};
use helio_encap::{FragmentCounts, Refusal, RemoteSession, SequenceCounts, StreamKind};
use helio_worker::UnderlayReport;

use crate::ports::ServedPort;
use crate::session_info::disbelieved;

/// Adds what was seen: by the worker of the uplink, or by the last one while there is none.
pub(crate) fn describe_streams(info: &mut DecapInfo, port: &ServedPort, report: &UnderlayReport) {
    let served = report.decaps.iter().find(|decap| decap.port == port.id).cloned();
    let shelved = || port.handle.shelf().and_then(|shelf| shelf.report());
    let Some(decap) = served.or_else(shelved) else { return };
    let refused = Refusal::ALL.iter().zip(decap.refused).filter(|(_, count)| *count > 0);
    info.refused = refused.map(|(why, count)| (why.name().to_owned(), count)).collect();
    info.fragments = fragment_info(&decap.fragments);
    info.neighbour_refused = disbelieved(&decap.neighbour_refused);
    info.sessions = decap.sessions.iter().map(session_info).collect();
    info.unfollowed = decap.unfollowed;
}

fn fragment_info(counts: &FragmentCounts) -> Option<FragmentInfo> {
    let FragmentCounts { joined, datagrams, waiting } = *counts;
    (joined + waiting > 0).then_some(FragmentInfo { joined, datagrams, waiting })
}

fn session_info((session, counts): &(RemoteSession, SequenceCounts)) -> RemoteSessionInfo {
    RemoteSessionInfo {
        source: session.source.to_string(),
        encapsulation: kind_name(session.kind).to_owned(),
        id: session.session,
        received: counts.received,
        lost: counts.lost(),
        late: counts.late,
        duplicates: counts.duplicates,
        strays: counts.strays,
        restarts: counts.restarts,
    }
}

/// The word of configuration for a form.
const fn kind_name(kind: StreamKind) -> &'static str {
    match kind {
        StreamKind::ErspanI => "erspan-1",
        StreamKind::ErspanII => "erspan-2",
        StreamKind::ErspanIII => "erspan-3",
        StreamKind::Gre => "gre",
        StreamKind::Vxlan => "vxlan",
    }
}
