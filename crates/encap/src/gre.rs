//! The GRE header: written and read. RFC 2784, section 2; RFC 2890, section 2.

use crate::Refusal;
use crate::reader::Reader;

/// GRE in the protocol field of IP.
pub(crate) const GRE: u8 = 47;
/// Flags and type.
pub(crate) const GRE_BYTES: usize = 4;
/// A key, a sequence number, or a checksum with its reserved half.
pub(crate) const GRE_FIELD_BYTES: usize = 4;

/// Type of ERSPAN I and II.
pub(crate) const ERSPAN_I_II: u16 = 0x88be;
/// Type of ERSPAN III.
pub(crate) const ERSPAN_III: u16 = 0x22eb;
/// Type of an Ethernet frame.
pub(crate) const ETHERNET_BRIDGING: u16 = 0x6558;

/// A checksum follows. Bit 0 as the RFC counts.
const CHECKSUM: u16 = 0x8000;
/// A key follows.
pub(crate) const KEY: u16 = 0x2000;
/// A sequence number follows.
pub(crate) const SEQUENCE: u16 = 0x1000;
/// Routing, strict source route and the first bit of the recursion count: who does not know RFC 1701 discards a header
/// with one of them. RFC 2784, section 2.3.
const OF_RFC_1701: u16 = 0x4c00;
/// Must be zero. RFC 2784, section 2.3.1.
const VERSION: u16 = 0x0007;

/// A GRE header as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gre {
    pub(crate) protocol: u16,
    pub(crate) has_checksum: bool,
    pub(crate) key: Option<u32>,
    pub(crate) sequence: Option<u32>,
}

impl Gre {
    /// Reads the header and all fields it announces. A checksum is stepped over: it sums bytes that are not here.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Refusal> {
        let [f0, f1, p0, p1] = reader.take()?;
        let flags = u16::from_be_bytes([f0, f1]);
        if flags & (OF_RFC_1701 | VERSION) != 0 {
            return Err(Refusal::GreFlags);
        }
        let has_checksum = flags & CHECKSUM != 0;
        if has_checksum {
            reader.take::<GRE_FIELD_BYTES>()?;
        }
        let key = field(reader, flags & KEY)?;
        let sequence = field(reader, flags & SEQUENCE)?;
        Ok(Self { protocol: u16::from_be_bytes([p0, p1]), has_checksum, key, sequence })
    }
}

fn field(reader: &mut Reader<'_>, announced: u16) -> Result<Option<u32>, Refusal> {
    if announced == 0 {
        return Ok(None);
    }
    Ok(Some(u32::from_be_bytes(reader.take()?)))
}

/// Flags and type of a header.
pub(crate) const fn first_word(flags: u16, protocol: u16) -> [u8; GRE_BYTES] {
    let ([f0, f1], [p0, p1]) = (flags.to_be_bytes(), protocol.to_be_bytes());
    [f0, f1, p0, p1]
}
