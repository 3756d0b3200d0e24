//! Learned entries per port, and their limits. A place under the limit is reserved before an entry is made, so
//! no port is above it for even a moment.

use crate::sync::{AtomicU32, AtomicU64, Ordering, PORTS};
use helio_types::PortId;

struct PortAccount {
    limit: AtomicU32,
    learned: AtomicU32,
    limit_hits: AtomicU64,
}

pub(super) struct Ports {
    accounts: Box<[PortAccount]>,
}

impl Ports {
    pub(super) fn new(limit: u32) -> Self {
        let account = || PortAccount {
            limit: AtomicU32::new(limit),
            learned: AtomicU32::new(0),
            limit_hits: AtomicU64::new(0),
        };
        Self { accounts: std::iter::repeat_with(account).take(PORTS).collect() }
    }

    fn account(&self, port: PortId) -> Option<&PortAccount> {
        self.accounts.get(port.index())
    }

    /// Reserves a place for one more entry of `port`; `false`, and counted, when its limit is reached.
    pub(super) fn reserve(&self, port: PortId) -> bool {
        let Some(account) = self.account(port) else { return false };
        let limit = account.limit.load(Ordering::Relaxed);
        let one_more = |learned| (learned < limit).then_some(learned + 1);
        let reserved =
            account.learned.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok();
        if !reserved {
            account.limit_hits.fetch_add(1, Ordering::Relaxed);
        }
        reserved
    }

    /// Gives back the place of one entry of `port`.
    pub(super) fn release(&self, port: PortId) {
        if let Some(account) = self.account(port) {
            account.learned.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn set_limit(&self, port: PortId, limit: u32) {
        if let Some(account) = self.account(port) {
            account.limit.store(limit, Ordering::Relaxed);
        }
    }

    pub(super) fn learned(&self, port: PortId) -> u32 {
        self.account(port).map_or(0, |account| account.learned.load(Ordering::Relaxed))
    }

    pub(super) fn limit_hits(&self, port: PortId) -> u64 {
        self.account(port).map_or(0, |account| account.limit_hits.load(Ordering::Relaxed))
    }

    pub(super) fn learned_on_all(&self) -> u64 {
        self.accounts.iter().map(|port| u64::from(port.learned.load(Ordering::Relaxed))).sum()
    }

    pub(super) fn limit_hits_on_all(&self) -> u64 {
        self.accounts.iter().map(|port| port.limit_hits.load(Ordering::Relaxed)).sum()
    }
}
