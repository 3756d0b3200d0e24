//! What a `dpdk-testpmd` is like: its virtio-user ports and its way of forwarding.

use std::path::PathBuf;

use crate::vnic::SocketRole;

/// Whether a feature of a port is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// The port offers it.
    On,
    /// It does not.
    Off,
}

impl Feature {
    fn digit(self) -> u8 {
        match self {
            Self::On => 1,
            Self::Off => 0,
        }
    }
}

/// What testpmd does with frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardMode {
    /// Sends the same frame as fast as it can, receives nothing.
    TxOnly,
    /// Receives and discards.
    RxOnly,
    /// Sends what it received as it is, on the next port.
    Io,
    /// Sends what it received with new addresses, on the next port.
    Mac,
    /// Sends frames of 1024 flows and discards what it receives.
    FlowGen,
}

impl ForwardMode {
    fn name(self) -> &'static str {
        match self {
            Self::TxOnly => "txonly",
            Self::RxOnly => "rxonly",
            Self::Io => "io",
            Self::Mac => "mac",
            Self::FlowGen => "flowgen",
        }
    }
}

/// One virtio-user port of testpmd, the far side of one port of the switch.
#[derive(Clone, Debug)]
pub struct VirtioUser {
    /// Socket of the port.
    pub socket: PathBuf,
    /// Who listens on it.
    pub role: SocketRole,
    /// Address of the port.
    pub mac: String,
    /// Number of queue pairs.
    pub queue_pairs: u16,
    /// Entries of each ring.
    pub queue_size: u16,
    /// Whether one frame may lie in several receive buffers.
    pub mergeable: Feature,
    /// Whether buffers are used in the order in which they were offered.
    pub in_order: Feature,
}

impl VirtioUser {
    /// A port with one queue pair of 256 entries, mergeable and not in order, that connects to the switch.
    #[must_use]
    pub fn new(mac: &str, socket: PathBuf) -> Self {
        Self {
            socket,
            role: SocketRole::GuestConnects,
            mac: mac.to_owned(),
            queue_pairs: 1,
            queue_size: 256,
            mergeable: Feature::On,
            in_order: Feature::Off,
        }
    }

    fn device(&self, index: usize) -> String {
        let server = match self.role {
            SocketRole::GuestConnects => 0,
            SocketRole::GuestListens => 1,
        };
        format!(
            "net_virtio_user{index},path={},server={server},mac={},queues={},queue_size={},mrg_rxbuf={},in_order={}",
            self.socket.display(),
            self.mac,
            self.queue_pairs,
            self.queue_size,
            self.mergeable.digit(),
            self.in_order.digit()
        )
    }
}

/// What a testpmd is like.
#[derive(Clone, Debug)]
pub struct TestpmdPlan {
    /// Name; also the prefix of DPDK's own files, so it must be unique on the machine.
    pub name: String,
    /// DPDK's devices, one `--vdev` each.
    pub(crate) devices: Vec<String>,
    /// The sockets on which testpmd itself listens.
    pub(crate) own_sockets: Vec<PathBuf>,
    /// The core both of its threads run on.
    pub core: usize,
    /// What it does with frames once it is started.
    pub mode: ForwardMode,
    /// Destination address of frames it makes, by port.
    pub peers: Vec<String>,
    /// Length of frames it makes, in bytes.
    pub frame_bytes: u16,
    /// Frames per burst.
    pub burst_frames: u16,
    queue_pairs: u16,
    queue_size: u16,
}

impl TestpmdPlan {
    /// A testpmd on core 0 with these ports; all must have as many queue pairs and entries as the first.
    #[must_use]
    pub fn new(name: &str, mode: ForwardMode, ports: &[VirtioUser]) -> Self {
        let listening = ports.iter().filter(|port| port.role == SocketRole::GuestListens);
        Self {
            name: name.to_owned(),
            own_sockets: listening.map(|port| port.socket.clone()).collect(),
            devices: ports.iter().enumerate().map(|(index, port)| port.device(index)).collect(),
            core: 0,
            mode,
            peers: vec![],
            frame_bytes: 64,
            burst_frames: 32,
            queue_pairs: ports.first().map_or(1, |port| port.queue_pairs),
            queue_size: ports.first().map_or(256, |port| port.queue_size),
        }
    }

    /// A testpmd that is itself a switch of ports which listen on `sockets`: the stand-in for ours.
    #[must_use]
    pub fn vhost(name: &str, mode: ForwardMode, sockets: &[PathBuf]) -> Self {
        let mut plan = Self::new(name, mode, &[]);
        let devices = sockets.iter().enumerate();
        plan.devices = devices
            .map(|(index, socket)| format!("net_vhost{index},iface={}", socket.display()))
            .collect();
        plan
    }

    /// Options for DPDK, then those of testpmd.
    pub(crate) fn options(&self) -> Vec<String> {
        // --in-memory leaves no files in the hugepage mount, --single-file-segments keeps the number of regions that a
        // front-end must announce small.
        let core = self.core;
        let mut options = words(&format!(
            "--lcores 0@{core},1@{core} --socket-mem 128 --in-memory --single-file-segments --no-pci --no-telemetry \
             --file-prefix {}",
            self.name
        ));
        for device in &self.devices {
            options.extend(["--vdev".to_owned(), device.clone()]);
        }
        options.extend(words(&format!(
            "-- -i --nb-cores=1 --total-num-mbufs=16384 --forward-mode={} --burst={} --rxq={2} --txq={2} --rxd={3} --txd={3}",
            self.mode.name(), self.burst_frames, self.queue_pairs, self.queue_size
        )));
        if self.devices.len() != 2 || self.mode == ForwardMode::FlowGen {
            options.push("--port-topology=loop".to_owned());
        }
        if matches!(self.mode, ForwardMode::TxOnly | ForwardMode::FlowGen) {
            options.push(format!("--txpkts={}", self.frame_bytes));
        }
        for (index, peer) in self.peers.iter().enumerate() {
            options.push(format!("--eth-peer={index},{peer}"));
        }
        options
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_features_of_a_port_reach_its_device() {
        let mut port = VirtioUser::new("02:00:00:00:00:01", PathBuf::from("/s"));
        port.role = SocketRole::GuestListens;
        port.mergeable = Feature::Off;
        port.in_order = Feature::On;
        let device = port.device(3);
        assert_eq!(
            device,
            "net_virtio_user3,path=/s,server=1,mac=02:00:00:00:00:01,queues=1,queue_size=256,mrg_rxbuf=0,in_order=1"
        );
    }

    #[test]
    fn only_a_sender_is_told_the_length_of_frames() {
        let sender = TestpmdPlan::new("a", ForwardMode::TxOnly, &[]).options();
        let receiver = TestpmdPlan::new("b", ForwardMode::RxOnly, &[]).options();
        assert!(sender.contains(&"--txpkts=64".to_owned()));
        assert!(!receiver.iter().any(|option| option.starts_with("--txpkts")));
    }
}
