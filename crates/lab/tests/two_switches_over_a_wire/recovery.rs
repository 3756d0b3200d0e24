//! A connection between the guests outlives what happens to wire, switches and hosts: nobody does anything about it.

use helio_lab::{GuestJob, MachineLock};

use super::host::{Host, WIRE, pair};
use super::{are_joined, reaches};

/// Pieces of the file that is sent, of 1 MiB: one for each thing that happens, and the first.
const PIECES: u32 = 5;

/// A file on its way from the near guest to the far one, by one connection. A piece goes when it is wanted.
struct Transfer {
    receiving: GuestJob,
    sending: GuestJob,
    wanted: u32,
}

impl Transfer {
    fn begin(near: &mut Host, far: &mut Host) -> Self {
        let receiving = far.guest.spawn("nc -l -p 5001 -e sh -c 'cat >/tmp/got'").unwrap();
        let listens = "netstat -ltn | grep -q :5001";
        let wait =
            format!("for i in $(seq 100); do {listens} && exit 0; usleep 50000; done; exit 1");
        far.guest.must(&wait).unwrap();
        near.guest.must(&format!("dd if=/dev/urandom of=/tmp/data bs=1M count={PIECES}")).unwrap();
        let address = far.address(10);
        let pieces = format!(
            "for i in $(seq {PIECES}); do while [ ! -f /tmp/go.$i ]; do usleep 20000; done; \
             dd if=/tmp/data bs=1M count=1 skip=$((i - 1)) 2>/dev/null; done | nc {address} 5001"
        );
        let sending = near.guest.spawn(&format!("sh -c '{pieces}'")).unwrap();
        Self { receiving, sending, wanted: 0 }
    }

    /// Lets the next piece go.
    fn want_piece(&mut self, near: &mut Host) {
        self.wanted += 1;
        near.guest.must(&format!("touch /tmp/go.{}", self.wanted)).unwrap();
    }

    /// Waits until all pieces that were wanted have arrived.
    fn arrives(&self, far: &mut Host) {
        let bytes = self.wanted << 20;
        let have = format!("[ $(wc -c </tmp/got) -ge {bytes} ]");
        let wait = format!("for i in $(seq 500); do {have} && exit 0; usleep 100000; done; exit 1");
        far.guest.must(&wait).unwrap();
    }

    /// The connection ends, and what arrived is what was sent.
    fn end(self, near: &mut Host, far: &mut Host) {
        near.guest.job_ends(self.sending).unwrap();
        far.guest.job_ends(self.receiving).unwrap();
        let sent = near.guest.must("md5sum </tmp/data").unwrap();
        assert_eq!(far.guest.must("md5sum </tmp/got").unwrap(), sent);
    }
}

fn says_that_it_waits(host: &Host) {
    host.switch.wait_port("uplink0", "no wire", |port| port.state == "waiting").unwrap();
}

#[test]
fn a_connection_survives_a_pulled_wire_a_killed_switch_and_a_new_host() {
    let _lock = MachineLock::take().unwrap();
    let [mut near, mut far] = pair();
    for host in [&mut near, &mut far] {
        host.wait_ready();
    }
    are_joined([&near, &far], "copy");
    reaches(&mut near, &far, 10);
    let mut transfer = Transfer::begin(&mut near, &mut far);
    transfer.want_piece(&mut near);
    transfer.arrives(&mut far);

    transfer.want_piece(&mut near);
    far.namespace.ip(&format!("link set {WIRE} down")).unwrap();
    says_that_it_waits(&near);
    far.namespace.ip(&format!("link set {WIRE} up")).unwrap();
    transfer.arrives(&mut far);

    // The other one has its link all the time: the wire is still there.
    transfer.want_piece(&mut near);
    near.kill_switch();
    near.start_switch();
    transfer.arrives(&mut far);

    transfer.want_piece(&mut near);
    far.kill_switch();
    far.start_switch();
    transfer.arrives(&mut far);

    transfer.want_piece(&mut near);
    far.replace();
    says_that_it_waits(&near);
    near.lay_wire(&far);
    far.start_switch();
    transfer.arrives(&mut far);
    are_joined([&near, &far], "copy");
    transfer.end(&mut near, &mut far);
}
