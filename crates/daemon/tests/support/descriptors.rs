//! Descriptors in few words.

use helio_guest::{Descriptor, descriptor_flags};

/// The last buffer of a chain, for the device to read.
pub fn last(addr: u64, len: u32) -> Descriptor {
    Descriptor { addr, len, flags: 0, next: 0 }
}

/// A buffer for the device to read, after which the chain goes on.
pub fn linked(addr: u64, len: u32, next: u16) -> Descriptor {
    Descriptor { addr, len, flags: descriptor_flags::NEXT, next }
}

/// A table of descriptors.
pub fn table(addr: u64, len: u32) -> Descriptor {
    Descriptor { addr, len, flags: descriptor_flags::INDIRECT, next: 0 }
}

/// The same with one more flag.
pub fn flagged(descriptor: Descriptor, flag: u16) -> Descriptor {
    Descriptor { flags: descriptor.flags | flag, ..descriptor }
}

/// The same, for the device to write.
pub fn writable(descriptor: Descriptor) -> Descriptor {
    flagged(descriptor, descriptor_flags::WRITE)
}

/// As it lies in an indirect table.
pub fn to_bytes(descriptor: Descriptor) -> [u8; 16] {
    let Descriptor { addr, len, flags, next } = descriptor;
    let both = u128::from(addr)
        | u128::from(len) << 64
        | u128::from(flags) << 96
        | u128::from(next) << 112;
    both.to_le_bytes()
}
