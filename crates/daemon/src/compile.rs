//! The settings of all ports, compiled into what workers look up.

use helio_config::{Attachment, MirrorConfig, PortConfig};
use helio_mirror::MirrorTable;
use helio_switch::{PortRole, PortSettings, SwitchTable};
use helio_types::{PortId, SessionId, WorkerId};
use helio_worker::Snapshot;

/// The snapshot for these ports and sessions.
pub(crate) fn compile<'a>(
    ports: impl Iterator<Item = (PortId, WorkerId, &'a PortConfig)> + Clone,
    mirrors: &[MirrorConfig],
    workers: usize,
) -> Snapshot {
    let settings: Vec<_> = ports.clone().map(|(id, _, config)| settings(id, config)).collect();
    let parts: Vec<_> =
        ports.clone().map(|(id, _, config)| (id, config.mirroring, config.session)).collect();
    let exact: Vec<SessionId> =
        mirrors.iter().filter(|mirror| mirror.exact).map(|mirror| mirror.session).collect();
    let owner = |port| ports.clone().find(|(id, _, _)| *id == port).map(|(_, worker, _)| worker);
    let mirror = MirrorTable::new(&parts, &exact);
    Snapshot::new(SwitchTable::new(&settings), mirror, workers, owner)
}

fn settings(port: PortId, config: &PortConfig) -> PortSettings {
    // Nothing can be sent to a decap port, so no frame is forwarded or flooded there.
    let takes_none = config.receive_only || matches!(config.attachment, Attachment::Decap(_));
    PortSettings {
        port,
        vlan: config.vlan.clone(),
        mtu: config.mtu,
        role: if takes_none { PortRole::ReceiveOnly } else { PortRole::Ordinary },
    }
}
