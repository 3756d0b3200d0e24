//! Commands arrive on a guest's serial line byte by byte, while what was started earlier comes to its end.
#![cfg(test)]

use helio_lab::{GuestImage, GuestPlan, LabDir, MachineLock, Qemu};

#[test]
fn a_command_is_read_whole_while_background_commands_end() {
    let _lock = MachineLock::take().unwrap();
    let dir = LabDir::new().unwrap();
    let image = GuestImage::prepare().unwrap();
    let mut guest = Qemu::start(&dir, &image, &GuestPlan::new("columbia", vec![])).unwrap();
    guest.wait_ready().unwrap();
    // Nobody waits for these: the guest's first process inherits them and is told of each end.
    guest.must("for i in $(seq 300); do usleep $((i * 10000)) & done").unwrap();
    let long = "x".repeat(200);
    for _ in 0..100 {
        assert_eq!(guest.must(&format!("echo {long}")).unwrap(), format!("{long}\n"));
    }
}
