//! A file of random bytes that goes from one guest to another by TCP, and its digest on both sides.

use crate::error::LabError;
use crate::qemu::Qemu;

/// Sends `mib` MiB by TCP to `address` of the other guest, and waits until all is there. The same bytes must be.
///
/// # Errors
///
/// When a guest does not answer, nobody listens, or other bytes arrive than were sent.
pub fn transfer(from: &mut Qemu, to: &mut Qemu, address: &str, mib: u32) -> Result<(), LabError> {
    let make = format!("dd if=/dev/urandom of=/tmp/data bs=1M count={mib} 2>/dev/null");
    let sent = from.must(&format!("{make}; md5sum </tmp/data"))?;
    let receiving = to.spawn("nc -l -p 5001 -e sh -c 'cat >/tmp/got'")?;
    let listens = "netstat -ltn | grep -q :5001";
    to.must(&format!("for i in $(seq 100); do {listens} && exit 0; usleep 50000; done; exit 1"))?;
    from.must(&format!("nc {address} 5001 </tmp/data"))?;
    to.job_ends(receiving)?;
    let got = to.must("md5sum </tmp/got")?;
    if got == sent {
        return Ok(());
    }
    let answer = format!("sent {sent}got {got}");
    Err(LabError::Refused { command: format!("a transfer to {address}"), answer })
}
