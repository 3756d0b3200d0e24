//! The ERSPAN headers of types II and III, and the platform sub-header: as bytes and as what they mean.
//! draft-foschiano-erspan-03, sections 4.2 and 4.3. Type I has no header of its own (section 4.1).
//!
//! A word is numbered here from its lowest bit, 0, to the first on the wire, 31.

use crate::reader::Reader;
use crate::{
    Cos, Direction, ErspanSession, HardwareId, Refusal, SourceIndex, Timestamp, VlanField,
};

/// Version in the header of type II.
const VERSION_II: u32 = 1;
/// Version in the header of type III.
const VERSION_III: u32 = 2;
/// The payload of type III is an Ethernet frame: the P bit.
const IS_FRAME: u32 = 1 << 15;
/// A sub-header follows: the O bit.
const HAS_SUB_HEADER: u32 = 1;

/// Whether all bytes of a frame are in its copy: the T bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Truncation {
    /// They are.
    #[default]
    Whole,
    /// The last ones were left out.
    Cut,
}

impl Truncation {
    /// Of a copy that was cut on one of two stretches of its way, or on both.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        match self {
            Self::Whole => other,
            Self::Cut => Self::Cut,
        }
    }
}

/// What became of the tag that a frame had: the En field of type II.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OriginalTag {
    /// It had none.
    #[default]
    Absent,
    /// It was encapsulated by Cisco's ISL.
    Isl,
    /// It had one, which is not in the copy: the VLAN and class of service of the header are all that is left of it.
    Removed,
    /// It had one, which is in the copy.
    Kept,
}

impl OriginalTag {
    const fn bits(self) -> u32 {
        match self {
            Self::Absent => 0,
            Self::Isl => 1,
            Self::Removed => 2,
            Self::Kept => 3,
        }
    }

    const fn of_bits(bits: u32) -> Self {
        match bits & 3 {
            0 => Self::Absent,
            1 => Self::Isl,
            2 => Self::Removed,
            _ => Self::Kept,
        }
    }
}

/// Whether a frame was as Ethernet wants it: the BSO field of type III.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Integrity {
    /// Good, or nobody knows.
    #[default]
    GoodOrUnknown,
    /// Shorter than a frame on a wire.
    Short,
    /// Longer than its network allows.
    Oversized,
    /// With a wrong FCS or half a byte.
    Bad,
}

impl Integrity {
    /// Bytes without FCS below which a frame is short. IEEE 802.3-2018, 3.2.8.
    const SHORTEST: u32 = 60;

    /// Of a frame of `frame_bytes` without FCS, in a network where the longest one has `longest_bytes`. Guests do not
    /// pad, so frames between them are often short.
    #[must_use]
    pub const fn of_length(frame_bytes: u32, longest_bytes: u32) -> Self {
        if frame_bytes < Self::SHORTEST {
            Self::Short
        } else if frame_bytes > longest_bytes {
            Self::Oversized
        } else {
            Self::GoodOrUnknown
        }
    }

    const fn bits(self) -> u32 {
        match self {
            Self::GoodOrUnknown => 0,
            Self::Short => 1,
            Self::Oversized => 2,
            Self::Bad => 3,
        }
    }

    const fn of_bits(bits: u32) -> Self {
        match bits & 3 {
            0 => Self::GoodOrUnknown,
            1 => Self::Short,
            2 => Self::Oversized,
            _ => Self::Bad,
        }
    }
}

/// Unit of a stamp: the Gra field of type III.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Granularity {
    /// 100 microseconds.
    HundredMicroseconds,
    /// 100 nanoseconds, the only one we send.
    #[default]
    HundredNanoseconds,
    /// Nanoseconds of IEEE 1588.
    Ieee1588,
    /// What was agreed upon elsewhere.
    Custom,
}

impl Granularity {
    const fn bits(self) -> u32 {
        match self {
            Self::HundredMicroseconds => 0,
            Self::HundredNanoseconds => 1,
            Self::Ieee1588 => 2,
            Self::Custom => 3,
        }
    }

    const fn of_bits(bits: u32) -> Self {
        match bits & 3 {
            0 => Self::HundredMicroseconds,
            1 => Self::HundredNanoseconds,
            2 => Self::Ieee1588,
            _ => Self::Custom,
        }
    }
}

/// What types II and III begin with.
#[derive(Clone, Copy)]
struct FirstWord {
    version: u32,
    vlan: VlanField,
    cos: Cos,
    /// En or BSO.
    pair: u32,
    truncation: Truncation,
    session: ErspanSession,
}

impl FirstWord {
    const fn to_word(self) -> u32 {
        let truncated = match self.truncation {
            Truncation::Whole => 0,
            Truncation::Cut => 1 << 10,
        };
        let first = self.version << 28 | (self.vlan.get() as u32) << 16;
        let second = (self.cos.get() as u32) << 13 | self.pair << 11 | truncated;
        first | second | self.session.get() as u32
    }

    fn of_bytes([a, b, c, d]: [u8; 4]) -> Self {
        let low = u16::from_be_bytes([c, d]);
        Self {
            version: u32::from(a >> 4),
            vlan: VlanField::of_low_bits(u16::from_be_bytes([a, b])),
            cos: Cos::of_low_bits(c >> 5),
            pair: u32::from(c >> 3 & 3),
            truncation: if c & 4 == 0 { Truncation::Whole } else { Truncation::Cut },
            session: ErspanSession::of_low_bits(low),
        }
    }
}

/// The header of ERSPAN type II.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErspanII {
    /// VLAN of the frame.
    pub vlan: VlanField,
    /// Its priority.
    pub cos: Cos,
    /// What became of its tag.
    pub original_tag: OriginalTag,
    /// Whether all of it is here.
    pub truncation: Truncation,
    /// The session.
    pub session: ErspanSession,
    /// Source port; every vendor has a numbering of its own.
    pub index: SourceIndex,
}

impl ErspanII {
    /// Length of the header.
    pub const BYTES: usize = 8;

    /// The header as it is sent; what is reserved is zero.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; Self::BYTES] {
        let Self { vlan, cos, original_tag, truncation, session, index } = self;
        let pair = original_tag.bits();
        let first = FirstWord { version: VERSION_II, vlan, cos, pair, truncation, session };
        let ([a, b, c, d], [e, f, g, h]) =
            (first.to_word().to_be_bytes(), index.get().to_be_bytes());
        [a, b, c, d, e, f, g, h]
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Refusal> {
        let FirstWord { version, vlan, cos, pair, truncation, session } =
            FirstWord::of_bytes(reader.take()?);
        if version != VERSION_II {
            return Err(Refusal::ErspanVersion);
        }
        let index = SourceIndex::of_low_bits(u32::from_be_bytes(reader.take()?));
        let original_tag = OriginalTag::of_bits(pair);
        Ok(Self { vlan, cos, original_tag, truncation, session, index })
    }
}

/// The header of ERSPAN type III around an Ethernet frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErspanIII {
    /// VLAN of the frame.
    pub vlan: VlanField,
    /// Its priority.
    pub cos: Cos,
    /// Whether it was as Ethernet wants it.
    pub integrity: Integrity,
    /// Whether all of it is here.
    pub truncation: Truncation,
    /// The session.
    pub session: ErspanSession,
    /// When the copy was made, or the low half of it.
    pub timestamp: u32,
    /// Security group tag.
    pub security_group: u16,
    /// Which engine made the copy.
    pub hardware: HardwareId,
    /// Which way the frame crossed its port.
    pub direction: Direction,
    /// Unit of the stamp.
    pub granularity: Granularity,
    /// What more the platform tells.
    pub sub_header: Option<SubHeader>,
}

impl ErspanIII {
    /// Length of the header without the sub-header.
    pub const BYTES: usize = 12;

    /// The header as it is sent, marked as one of an Ethernet frame. The sub-header goes behind it.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; Self::BYTES] {
        let Self { vlan, cos, truncation, session, .. } = self;
        let pair = self.integrity.bits();
        let first = FirstWord { version: VERSION_III, vlan, cos, pair, truncation, session };
        let [a, b, c, d] = first.to_word().to_be_bytes();
        let [e, f, g, h] = self.timestamp.to_be_bytes();
        let [i, j, k, l] = self.last_word().to_be_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }

    /// The frame type, between P and the hardware number, is 0: Ethernet.
    const fn last_word(self) -> u32 {
        let direction = match self.direction {
            Direction::Ingress => 0,
            Direction::Egress => 1 << 3,
        };
        let sub_header = if self.sub_header.is_some() { HAS_SUB_HEADER } else { 0 };
        let first = (self.security_group as u32) << 16 | IS_FRAME;
        let second = (self.hardware.get() as u32) << 4 | direction;
        first | second | self.granularity.bits() << 1 | sub_header
    }

    /// Reads the header and its sub-header. The P bit does not matter: not every sender of frames sets it.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Refusal> {
        let FirstWord { version, vlan, cos, pair, truncation, session } =
            FirstWord::of_bytes(reader.take()?);
        if version != VERSION_III {
            return Err(Refusal::ErspanVersion);
        }
        let timestamp = u32::from_be_bytes(reader.take()?);
        let [s0, s1, high, low] = reader.take()?;
        if high >> 2 & 0x1f != 0 {
            return Err(Refusal::NotEthernet);
        }
        let last = u32::from(u16::from_be_bytes([high, low]));
        let has_sub_header = last & HAS_SUB_HEADER != 0;
        Ok(Self {
            vlan,
            cos,
            integrity: Integrity::of_bits(pair),
            truncation,
            session,
            timestamp,
            security_group: u16::from_be_bytes([s0, s1]),
            hardware: HardwareId::of_low_bits(high << 4 | low >> 4),
            direction: if last & 8 == 0 { Direction::Ingress } else { Direction::Egress },
            granularity: Granularity::of_bits(last >> 1),
            sub_header: if has_sub_header { Some(SubHeader::read(reader)?) } else { None },
        })
    }

    /// When the copy was made, if the header tells it to 100 ns and in full.
    #[must_use]
    pub const fn full_timestamp(&self) -> Option<Timestamp> {
        match (self.granularity, self.sub_header) {
            (Granularity::HundredNanoseconds, Some(sub_header)) => match sub_header.platform {
                SubHeader::OLD_SOURCE_INDEX | SubHeader::PORT_INDEX | SubHeader::SOURCE_INDEX => {
                    Some(Timestamp::of_halves(sub_header.word, self.timestamp))
                }
                _ => None,
            },
            _ => None,
        }
    }
}

/// The platform sub-header of ERSPAN type III: 6 bits that say whose, 26 bits and a word of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubHeader {
    /// Whose numbering it is, 0 to 63.
    pub platform: u8,
    /// Below 2^26.
    pub info: u32,
    /// Upper half of the stamp, its seconds, or a port, by `platform`.
    pub word: u32,
}

impl SubHeader {
    /// Length of the sub-header.
    pub const BYTES: usize = 8;
    /// Seen in the place of 7.
    const OLD_SOURCE_INDEX: u8 = 0;
    /// 14 bits of port index, upper half of the stamp.
    const PORT_INDEX: u8 = 3;
    /// 20 bits of source index, upper half of the stamp. The one we send.
    const SOURCE_INDEX: u8 = 7;
    const INFO_BITS: u32 = 26;

    /// Platform 7.
    #[must_use]
    pub const fn of_source(source: SourceIndex, timestamp: Timestamp) -> Self {
        Self { platform: Self::SOURCE_INDEX, info: source.get(), word: timestamp.high() }
    }

    /// Source or port index, where the platform has one in the first word.
    #[must_use]
    pub const fn source(&self) -> Option<u32> {
        match self.platform {
            Self::OLD_SOURCE_INDEX | Self::SOURCE_INDEX => Some(self.info & 0xf_ffff),
            Self::PORT_INDEX => Some(self.info & 0x3fff),
            5 | 6 => Some(self.info & 0xffff),
            _ => None,
        }
    }

    /// The sub-header as it is sent.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; Self::BYTES] {
        let info = self.info & ((1 << Self::INFO_BITS) - 1);
        let first = (self.platform as u32) << Self::INFO_BITS | info;
        let ([a, b, c, d], [e, f, g, h]) = (first.to_be_bytes(), self.word.to_be_bytes());
        [a, b, c, d, e, f, g, h]
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Refusal> {
        let [a, b, c, d] = reader.take()?;
        let info = u32::from_be_bytes([a & 3, b, c, d]);
        let word = u32::from_be_bytes(reader.take()?);
        Ok(Self { platform: a >> 2, info, word })
    }
}
