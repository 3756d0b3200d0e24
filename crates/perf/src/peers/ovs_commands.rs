//! What Open vSwitch is told, as text: its settings, its ports and its mirrors.

use std::path::Path;

use serde_json::json;

use super::{Machine, Order, Sockets};
use crate::cells::Carried;

/// Settings that must be there before its daemon starts: one polling thread on the core of the worker, huge pages; the
/// exact-match cache is on by default.
pub(super) fn settings(machine: &Machine, order: &Order, prefix: &str) -> Vec<String> {
    let (lcores, pmds) = (1_u64 << machine.other_core, 1_u64 << machine.worker_core);
    let mut settings = vec![
        "other_config:dpdk-init=true".to_owned(),
        "other_config:dpdk-socket-mem=512".to_owned(),
        format!("other_config:dpdk-lcore-mask={lcores:#x}"),
        format!("other_config:pmd-cpu-mask={pmds:#x}"),
        format!(
            "other_config:dpdk-extra=\"--no-pci --no-telemetry --huge-unlink --file-prefix={prefix}\""
        ),
    ];
    if order.carried == Carried::Tso {
        settings.push("other_config:userspace-tso-enable=true".to_owned());
    }
    settings
}

/// What a port is called: on a wire as its interface.
pub(super) fn name(order: &Order, port: usize) -> String {
    order.interface(port).map_or_else(|| format!("vh{port}"), str::to_owned)
}

/// The arguments of one `ovs-vsctl` that makes the bridge and its ports.
pub(super) fn bridge(order: &Order) -> Vec<String> {
    let mut words = split("add-br br0 -- set bridge br0 datapath_type=netdev");
    for port in 0..order.ports {
        let name = name(order, port);
        let socket = order.folder.join(&name);
        let kind = match (order.interface(port), order.sockets) {
            (Some(_), _) => "type=afxdp options:n_rxq=1".to_owned(),
            (None, Sockets::Switch) => "type=dpdkvhostuser mtu_request=1500".to_owned(),
            (None, Sockets::Guests) => format!(
                "type=dpdkvhostuserclient options:vhost-server-path={} mtu_request=1500",
                socket.display()
            ),
        };
        let tag = order.vlan(port).map(|vlan| format!("tag={vlan}")).unwrap_or_default();
        words
            .extend(split(&format!("-- add-port br0 {name} {tag} -- set Interface {name} {kind}")));
    }
    words
}

/// The arguments that mirror all of port 0 to these ports, one mirror for each.
pub(super) fn mirrors(order: &Order, destinations: &[usize]) -> Vec<String> {
    if destinations.is_empty() {
        return split("clear Bridge br0 mirrors");
    }
    let mut words = split(&format!("-- --id=@s get Port {}", name(order, 0)));
    let mut names = Vec::new();
    for port in destinations {
        let destination = name(order, *port);
        words.extend(split(&format!(
            "-- --id=@d{port} get Port {destination} -- --id=@m{port} create Mirror name=m{port} \
             select-src-port=@s select-dst-port=@s output-port=@d{port}"
        )));
        names.push(format!("@m{port}"));
    }
    words.extend(split(&format!("-- set Bridge br0 mirrors={}", names.join(","))));
    words
}

/// The same for one port, as transactions of its database; `source` and `destination` are the rows of the ports. The first
/// makes it, as the configuration of this number; the second waits until the daemon says that it has configured that.
pub(super) fn mirror_transactions(source: &str, destination: &str, number: u64) -> [String; 2] {
    let make = json!([
        "Open_vSwitch",
        { "op": "insert", "table": "Mirror", "uuid-name": "m", "row": {
            "name": "m",
            "select_src_port": ["uuid", source],
            "select_dst_port": ["uuid", source],
            "output_port": ["uuid", destination],
        } },
        { "op": "update", "table": "Bridge", "where": [["name", "==", "br0"]],
          "row": { "mirrors": ["named-uuid", "m"] } },
        { "op": "update", "table": "Open_vSwitch", "where": [], "row": { "next_cfg": number } },
    ]);
    let wait = json!([
        "Open_vSwitch",
        { "op": "wait", "table": "Open_vSwitch", "where": [], "columns": ["cur_cfg"],
          "until": "==", "rows": [{ "cur_cfg": number }] },
    ]);
    [(1, make), (2, wait)]
        .map(|(id, params)| json!({ "id": id, "method": "transact", "params": params }).to_string())
}

/// What makes it forget the flows that are in use, so that it looks up each of them anew.
pub(super) const PURGE: &str = "revalidator/purge";

/// The same as `ovs-appctl` says it.
pub(super) fn purge() -> String {
    json!({ "id": 0, "method": PURGE, "params": [] }).to_string()
}

/// Frames that its polling threads received, in what `dpif-netdev/pmd-stats-show` says. Its main thread serves no guest.
pub(super) fn taken_in(stats: &str) -> Option<u64> {
    let threads = stats.split("pmd thread").skip(1);
    let of_thread = |text: &str| {
        let own = text.split("main thread").next()?;
        let count = own.split("packets received:").nth(1)?.split_whitespace().next()?;
        count.parse::<u64>().ok()
    };
    let counts: Vec<u64> = threads.map(of_thread).collect::<Option<_>>()?;
    (!counts.is_empty()).then(|| counts.iter().sum())
}

/// The options of its daemon.
pub(super) fn daemon(folder: &Path) -> Vec<String> {
    let folder = folder.display();
    split(&format!(
        "unix:{folder}/db.sock --unixctl={folder}/vs.ctl --pidfile={folder}/vs.pid --log-file={folder}/ovs-vswitchd.log"
    ))
}

/// The options of its database.
pub(super) fn database(folder: &Path) -> Vec<String> {
    let folder = folder.display();
    split(&format!(
        "{folder}/conf.db --remote=punix:{folder}/db.sock --unixctl={folder}/db.ctl --pidfile={folder}/db.pid"
    ))
}

fn split(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::Poll;

    fn order(sockets: Sockets, carried: Carried) -> Order {
        Order {
            folder: "/r".into(),
            ports: 1,
            sockets,
            carried,
            macs: 2,
            poll: Poll::Adaptive,
            path: None,
            interfaces: Vec::new(),
            copies: None,
        }
    }

    #[test]
    fn one_thread_polls_on_the_core_of_the_worker() {
        let machine =
            Machine { worker_core: 1, other_core: 0, helio: "/helio".into(), helio2: None };
        let settings = settings(&machine, &order(Sockets::Switch, Carried::Udp), "x").join(" ");
        assert!(settings.contains("dpdk-lcore-mask=0x1 other_config:pmd-cpu-mask=0x2"));
        assert!(!settings.contains("tso"));
        let order = order(Sockets::Switch, Carried::Tso);
        assert!(super::settings(&machine, &order, "x").join(" ").contains("userspace-tso-enable"));
    }

    #[test]
    fn ports_listen_or_connect() {
        let listening = bridge(&order(Sockets::Switch, Carried::Udp)).join(" ");
        assert!(listening.ends_with(
            "add-port br0 vh0 -- set Interface vh0 type=dpdkvhostuser mtu_request=1500"
        ));
        let connecting = bridge(&order(Sockets::Guests, Carried::Udp)).join(" ");
        assert!(connecting.contains("dpdkvhostuserclient options:vhost-server-path=/r/vh0"));
    }

    #[test]
    fn each_destination_has_a_mirror_and_none_clears_them() {
        let words = mirrors(&order(Sockets::Guests, Carried::Udp), &[2, 3]).join(" ");
        assert_eq!(words.matches("create Mirror").count(), 2);
        assert!(words.ends_with("set Bridge br0 mirrors=@m2,@m3"));
        assert_eq!(
            mirrors(&order(Sockets::Guests, Carried::Udp), &[]),
            ["clear", "Bridge", "br0", "mirrors"]
        );
    }

    #[test]
    fn what_its_polling_threads_received_is_what_guests_sent() {
        let stats = "pmd thread numa_id 0 core_id 1:\n  packets received: 12\n  packet recirculations: 3\n\
            main thread:\n  packets received: 5\n  packet recirculations: 0\n";
        assert_eq!(taken_in(stats), Some(12));
        assert_eq!(taken_in("main thread:\n  packets received: 5\n"), None);
    }

    #[test]
    fn ports_on_wires_are_of_af_xdp_and_a_guest_between_them_has_two_vlans() {
        let order = Order {
            ports: 4,
            path: Some(crate::cells::Path::Pvp),
            interfaces: vec![Some("n0".into()), None, None, Some("n1".into())],
            ..order(Sockets::Guests, Carried::Udp)
        };
        let words = bridge(&order).join(" ");
        assert!(words.contains("add-port br0 n0 tag=10 -- set Interface n0 type=afxdp"), "{words}");
        assert!(words.contains("add-port br0 vh2 tag=20 -- set Interface vh2 type=dpdkvhostuser"));
    }
}
