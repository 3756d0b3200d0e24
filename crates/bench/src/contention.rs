//! Whether the generator had its core for itself: how long its thread was ready to run while somebody else ran there.
//!
//! Called by the thread that plays the guests, before and after a task. Figures of a generator that waits say little of the
//! switch: often it is the switch's own worker that has the core.

/// Of the calling thread so far, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CoreTime {
    ran_ns: u64,
    waited_ns: u64,
}

impl CoreTime {
    /// What the kernel says now; nothing when it does not keep count.
    pub(crate) fn now() -> Self {
        Self::parse(&std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let mut numbers = text.split_whitespace().map(|word| word.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Self { ran_ns: next(), waited_ns: next() }
    }

    /// Since then, the share of its time that the thread was ready to run and waited; `None` when nobody knows.
    pub(crate) fn waited_since(self, before: Self) -> Option<f64> {
        let waited = self.waited_ns.saturating_sub(before.waited_ns);
        let all = waited + self.ran_ns.saturating_sub(before.ran_ns);
        (all > 0).then(|| crate::frame_plan::as_f64(waited) / crate::frame_plan::as_f64(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_waited_is_a_share_of_what_was_ready_to_run() {
        let [before, after] = ["1000 500 3\n", "1300 600 9\n"].map(CoreTime::parse);
        assert_eq!(after.waited_since(before), Some(0.25));
        assert_eq!(after.waited_since(after), None);
        assert_eq!(CoreTime::parse("").waited_since(CoreTime::default()), None);
    }

    #[test]
    fn the_kernel_keeps_count_of_this_thread() {
        let before = CoreTime::now();
        let began = std::time::Instant::now();
        while began.elapsed().as_millis() < 20 {
            std::hint::black_box(began);
        }
        let share = CoreTime::now().waited_since(before).unwrap();
        assert!((0.0..1.0).contains(&share), "{share}");
    }
}
