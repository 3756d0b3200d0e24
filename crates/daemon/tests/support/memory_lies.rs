//! Memory tables that cannot be.

use std::sync::Arc;

use helio_guest::{GuestMemory, MemoryRegion, PAGE_BYTES, RegionPlan, Sealing};

/// Two regions of one page each, in files of their own.
pub fn two_pages() -> Arc<GuestMemory> {
    let plan = |guest_addr| RegionPlan {
        guest_addr,
        size_bytes: PAGE_BYTES,
        file_offset: 0,
        sealing: Sealing::Open,
    };
    GuestMemory::new(&[plan(0), plan(PAGE_BYTES)]).unwrap()
}

/// What is wrong with a table, and the table.
pub type Lie = (&'static str, Vec<MemoryRegion>);

/// Tables that cannot be, made from one that can.
pub fn tables(honest: &[MemoryRegion]) -> Vec<Lie> {
    let [first, second] = [honest[0], honest[1]];
    vec![
        ("no region", vec![]),
        ("no bytes", vec![MemoryRegion { size_bytes: 0, ..first }, second]),
        ("overlap", vec![first, MemoryRegion { guest_addr: PAGE_BYTES - 1, ..second }]),
        ("the same twice", vec![first, first]),
        (
            "a wrapping guest address",
            vec![first, MemoryRegion { guest_addr: u64::MAX - 10, ..second }],
        ),
        ("a file too short", vec![first, MemoryRegion { size_bytes: 1 << 20, ..second }]),
        ("a size beyond everything", vec![first, MemoryRegion { size_bytes: 1 << 62, ..second }]),
        ("an offset past the end", vec![first, MemoryRegion { file_offset: 1 << 20, ..second }]),
        ("a wrapping offset", vec![first, MemoryRegion { file_offset: u64::MAX - 4095, ..second }]),
    ]
}
