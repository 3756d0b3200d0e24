//! Atomics of the model checker that show it every access as a possible race.
//!
//! loom 0.7 remembers one last access per atomic. When one thread loads, and another loads and then stores, the
//! second load hides the first, and the interleaving in which the store comes before the first load is never
//! tried. All that the FDB does is load and then exchange, so whole models would run just once. Here each
//! access first changes a probe beside the atomic. A relaxed change orders nothing, so the loads still see all
//! the old values that they may see.

use loom::sync::atomic::Ordering;

macro_rules! probed {
    ($name:ident, $number:ty) => {
        #[derive(Debug)]
        pub(crate) struct $name {
            probe: loom::sync::atomic::AtomicU32,
            inner: loom::sync::atomic::$name,
        }

        #[allow(dead_code, reason = "both types offer the same; not all of it is used of each")]
        impl $name {
            pub(crate) fn new(number: $number) -> Self {
                let probe = loom::sync::atomic::AtomicU32::new(0);
                Self { probe, inner: loom::sync::atomic::$name::new(number) }
            }

            fn touched(&self) -> &loom::sync::atomic::$name {
                self.probe.fetch_add(1, Ordering::Relaxed);
                &self.inner
            }

            pub(crate) fn load(&self, order: Ordering) -> $number {
                self.touched().load(order)
            }

            pub(crate) fn store(&self, number: $number, order: Ordering) {
                self.touched().store(number, order);
            }

            pub(crate) fn compare_exchange(
                &self,
                old: $number,
                new: $number,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$number, $number> {
                self.touched().compare_exchange(old, new, success, failure)
            }

            pub(crate) fn fetch_add(&self, number: $number, order: Ordering) -> $number {
                self.touched().fetch_add(number, order)
            }

            pub(crate) fn fetch_sub(&self, number: $number, order: Ordering) -> $number {
                self.touched().fetch_sub(number, order)
            }

            pub(crate) fn fetch_update(
                &self,
                set: Ordering,
                fetch: Ordering,
                mut update: impl FnMut($number) -> Option<$number>,
            ) -> Result<$number, $number> {
                let mut old = self.load(fetch);
                while let Some(new) = update(old) {
                    match self.compare_exchange(old, new, set, fetch) {
                        Ok(old) => return Ok(old),
                        Err(changed) => old = changed,
                    }
                }
                Err(old)
            }
        }
    };
}

probed!(AtomicU32, u32);
probed!(AtomicU64, u64);
