//! One of the two hosts: a switch in a network namespace of its own with an uplink on the wire, and one guest.

use helio_lab::{
    GuestImage, GuestPlan, LabDir, NetNamespace, PortPlan, Qemu, Switch, SwitchPlan, Vnic,
};

/// The wire's end in each namespace.
pub(crate) const WIRE: &str = "wire";

/// Its MTU.
const MTU: u16 = 9000;

/// VLAN 10 is that of the cards "inside", 20 that of "outside", 30 that of "tagging".
const TRUNK: &str = "trunk=10,20,30";

/// A host. Its fields are dropped in this order: the guest first, and the namespace after the switch.
pub(crate) struct Host {
    pub(crate) guest: Qemu,
    pub(crate) switch: Switch,
    pub(crate) namespace: NetNamespace,
    plan: SwitchPlan,
    tagging: Tagging,
    /// What its addresses end with.
    number: u8,
    dir: LabDir,
}

/// How the card "tagging" is joined to VLAN 30.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tagging {
    /// By the guest, which sends and receives tags.
    Guest,
    /// By the switch, which takes tags out and puts them in.
    Switch,
}

/// The hosts "columbia" and "crusader", with uplinks in mode "auto" on a wire that carries jumbo frames. The guests are still
/// booting.
pub(crate) fn pair() -> [Host; 2] {
    let dirs = [LabDir::new().unwrap(), LabDir::new().unwrap()];
    let [near, far] = dirs.each_ref().map(|dir| NetNamespace::new(dir).unwrap());
    near.lay_wire(&far, WIRE, MTU).unwrap();
    let image = GuestImage::prepare().unwrap();
    let [near_dir, far_dir] = dirs;
    [
        Host::start(&image, near_dir, near, 1, Tagging::Guest),
        Host::start(&image, far_dir, far, 2, Tagging::Switch),
    ]
}

impl Host {
    fn start(
        image: &GuestImage,
        dir: LabDir,
        namespace: NetNamespace,
        number: u8,
        tagging: Tagging,
    ) -> Self {
        let in_30 = match tagging {
            Tagging::Guest => "vlan = { trunk = [30] }",
            Tagging::Switch => "vlan = { access = 30 }",
        };
        let ports = vec![
            PortPlan::new("inside").line("vlan = { access = 10 }"),
            PortPlan::new("outside").line("vlan = { access = 20 }"),
            PortPlan::new("tagging").line(in_30),
            PortPlan::uplink("uplink0", WIRE).line("vlan = { trunk = [10, 20, 30] }"),
        ];
        let plan = SwitchPlan::new(ports);
        let switch = Switch::start_in(&namespace, &dir, &plan).unwrap();
        let card = |port: &str, vlan: u8| {
            let mac = format!("02:00:00:00:{vlan}:0{number}");
            Vnic::new(port, &mac, switch.socket(port)).address(&format!("10.0.{vlan}.{number}/24"))
        };
        let cards = vec![card("inside", 10), card("outside", 20), card("tagging", 30)];
        let name = if number == 1 { "columbia" } else { "crusader" };
        let guest = Qemu::start(&dir, image, &GuestPlan::new(name, cards)).unwrap();
        Self { guest, switch, namespace, plan, tagging, number, dir }
    }

    /// Waits until the guest has booted, and lets it set tags if that is its part.
    pub(crate) fn wait_ready(&mut self) {
        self.guest.wait_ready().unwrap();
        if self.tagging == Tagging::Guest {
            let address = self.address(30);
            let own_tag = format!(
                "ip address flush dev tagging; \
                 ip link add link tagging name tagged type vlan id 30; \
                 ip address add {address}/24 dev tagged; ip link set tagged up"
            );
            self.guest.must(&own_tag).unwrap();
        }
    }

    /// Adds the uplink, a trunk of all VLANs, in `mode`.
    pub(crate) fn add_uplink(&self, mode: &str) {
        let port = ["port", "add", "uplink0", "--interface", WIRE, "--mode", mode];
        self.switch.cli(&[&port[..], &["--vlan", TRUNK]].concat()).unwrap();
    }

    /// Removes the uplink; nothing of it stays on the wire.
    pub(crate) fn remove_uplink(&self) {
        self.switch.cli(&["port", "remove", "uplink0"]).unwrap();
        self.assert_wire_is_free();
    }

    /// Kills the switch, as by `kill -9`.
    pub(crate) fn kill_switch(&mut self) {
        self.switch.kill();
        self.assert_wire_is_free();
    }

    /// Starts it again, as it was configured.
    pub(crate) fn start_switch(&mut self) {
        self.switch = Switch::start_in(&self.namespace, &self.dir, &self.plan).unwrap();
    }

    /// Takes host and wire away, but for the guest, and puts a new host in its place.
    pub(crate) fn replace(&mut self) {
        self.switch.kill();
        self.namespace = NetNamespace::new(&self.dir).unwrap();
    }

    /// Lays a new wire to the other host.
    pub(crate) fn lay_wire(&self, other: &Self) {
        self.namespace.lay_wire(&other.namespace, WIRE, MTU).unwrap();
    }

    #[track_caller]
    fn assert_wire_is_free(&self) {
        let shown = self.namespace.ip(&format!("-d link show {WIRE}")).unwrap();
        assert!(!shown.contains("xdp") && shown.contains("promiscuity 0"), "{shown}");
    }

    /// The address in a VLAN.
    pub(crate) fn address(&self, vlan: u8) -> String {
        format!("10.0.{vlan}.{}", self.number)
    }
}
