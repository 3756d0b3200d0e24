//! How many regions can be guarded. A program of its own: the guard is one for the whole process.
#![cfg(test)]

use std::sync::Arc;

use helio_mem::{MemoryError, MemoryTable};
use vm_memory::{GuestAddress, GuestMemoryMmap};

/// A table of `regions` regions of one page each.
fn table(regions: u64) -> Result<MemoryTable, MemoryError> {
    let ranges: Vec<_> = (0..regions).map(|at| (GuestAddress(at * 0x2000), 0x1000)).collect();
    MemoryTable::new(Arc::new(GuestMemoryMmap::from_ranges(&ranges).unwrap()))
}

#[test]
fn all_slots_can_be_used_one_more_is_refused_and_all_come_back() {
    for _ in 0..3 {
        assert!(matches!(table(32_769), Err(MemoryError::Host(_))));
        let most = table(32_000).unwrap();
        let rest = table(768).unwrap();
        assert_eq!((most.region_count(), rest.region_count()), (32_000, 768));
        assert!(matches!(table(1), Err(MemoryError::Host(_))));
        drop(rest);
        assert!(matches!(table(769), Err(MemoryError::Host(_))));
        drop(table(768).unwrap());
    }
}
