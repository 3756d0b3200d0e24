//! Numbers of headers that have fewer bits than an integer of Rust. Any thread.

use std::fmt;

use helio_types::VlanId;

macro_rules! field {
    ($(#[$doc:meta])* $name:ident($int:ty) max $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name($int);

        impl $name {
            /// The highest one.
            pub const MAX: Self = Self($max);

            /// `Some` when the field can hold the number.
            #[must_use]
            pub const fn new(number: $int) -> Option<Self> {
                if number <= $max { Some(Self(number)) } else { None }
            }

            /// The low bits of `number`, as many as the field has.
            #[must_use]
            pub const fn of_low_bits(number: $int) -> Self {
                Self(number & $max)
            }

            /// The number.
            #[must_use]
            pub const fn get(self) -> $int {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

field! {
    /// Class of service of a frame: the priority code point of its tag. IEEE 802.1Q-2018, 9.6; 3 bits.
    Cos(u8) max 7
}

field! {
    /// Differentiated services code point of an outer header. RFC 2474, section 3; 6 bits.
    Dscp(u8) max 63
}

field! {
    /// Number of an ERSPAN session, the same at its source and its collector. draft-foschiano-erspan-03, section 4.2;
    /// 10 bits.
    ErspanSession(u16) max 0x3ff
}

field! {
    /// Which engine of a system made a copy. draft-foschiano-erspan-03, section 4.3; 6 bits.
    HardwareId(u8) max 63
}

field! {
    /// Which source a copy is of: the index of ERSPAN type II, and the source index of platform sub-header 7 of type III.
    /// draft-foschiano-erspan-03, sections 4.2 and 4.3; 20 bits.
    SourceIndex(u32) max 0xf_ffff
}

field! {
    /// A VLAN as an ERSPAN header has it: also 4095, which no VLAN has. 12 bits.
    VlanField(u16) max 0xfff
}

field! {
    /// VXLAN network identifier. RFC 7348, section 5; 24 bits.
    Vni(u32) max 0xff_ffff
}

impl From<VlanId> for VlanField {
    fn from(vlan: VlanId) -> Self {
        Self::of_low_bits(vlan.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_takes_its_highest_number_and_none_above() {
        assert_eq!((Cos::new(7), Cos::new(8)), (Some(Cos::MAX), None));
        assert_eq!((Dscp::new(63), Dscp::new(64)), (Some(Dscp::MAX), None));
        assert_eq!(ErspanSession::new(1023), Some(ErspanSession::MAX));
        assert_eq!(ErspanSession::new(1024), None);
        assert_eq!((HardwareId::new(63), HardwareId::new(64)), (Some(HardwareId::MAX), None));
        assert_eq!(SourceIndex::new(1_048_575), Some(SourceIndex::MAX));
        assert_eq!(SourceIndex::new(1_048_576), None);
        assert_eq!((VlanField::new(4095), VlanField::new(4096)), (Some(VlanField::MAX), None));
        assert_eq!((Vni::new(16_777_215), Vni::new(16_777_216)), (Some(Vni::MAX), None));
    }

    #[test]
    fn bits_above_those_of_a_field_are_left_out() {
        assert_eq!(Cos::of_low_bits(0b1111_1010).get(), 0b010);
        assert_eq!(Vni::of_low_bits(0x0100_0007).get(), 7);
        assert_eq!(VlanField::from(VlanId::new(4094).unwrap()).get(), 4094);
    }
}
