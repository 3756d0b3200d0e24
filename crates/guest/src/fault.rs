//! What the back-end did wrong, as the driver saw it. A test asserts that there is nothing.

/// Broken rules, counted. The guest goes on as far as it can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// A used entry with a head that was not offered, or was completed before.
    pub unknown_head: u64,
    /// The used index went further than chains were offered. The ring is not read any more.
    pub used_idx_jump: u64,
    /// With IN_ORDER, a chain was completed before an older one.
    pub out_of_order: u64,
    /// More bytes were said to be written than the buffer has.
    pub len_beyond_buffer: u64,
    /// A received frame that is shorter than its net header.
    pub header_short: u64,
    /// `num_buffers` is 0.
    pub buffer_count: u64,
    /// `num_buffers` is not 1 although mergeable buffers were not negotiated. DPDK breaks this rule.
    pub unmerged_count: u64,
    /// Fewer buffers were completed than `num_buffers` says.
    pub merge_incomplete: u64,
    /// A buffer that is not the last of its frame is not full. VIRTIO 1.2, 5.1.6.4.1.
    pub buffer_not_full: u64,
    /// A received frame longer than any frame can be.
    pub oversize: u64,
    /// A received header asks for an offload that was not negotiated.
    pub offload: u64,
    /// Bytes were said to be written to a transmit chain.
    pub transmit_len: u64,
}

impl Faults {
    /// Number of all broken rules.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.fields().iter().sum()
    }

    /// Counts those of `other` too.
    pub fn add(&mut self, other: &Self) {
        for (own, more) in self.fields_mut().into_iter().zip(other.fields()) {
            *own += more;
        }
    }

    fn fields(&self) -> [u64; 12] {
        let mut copy = *self;
        copy.fields_mut().map(|field| *field)
    }

    fn fields_mut(&mut self) -> [&mut u64; 12] {
        let Self {
            unknown_head,
            used_idx_jump,
            out_of_order,
            len_beyond_buffer,
            header_short,
            buffer_count,
            unmerged_count,
            merge_incomplete,
            buffer_not_full,
            oversize,
            offload,
            transmit_len,
        } = self;
        [
            unknown_head,
            used_idx_jump,
            out_of_order,
            len_beyond_buffer,
            header_short,
            buffer_count,
            unmerged_count,
            merge_incomplete,
            buffer_not_full,
            oversize,
            offload,
            transmit_len,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_several_rings_add_up_by_kind() {
        let mut sum = Faults { unknown_head: 1, transmit_len: 2, ..Faults::default() };
        sum.add(&Faults { unknown_head: 10, oversize: 20, ..Faults::default() });
        assert_eq!(
            sum,
            Faults { unknown_head: 11, transmit_len: 2, oversize: 20, ..Faults::default() }
        );
        assert_eq!(sum.total(), 33);
    }
}
