//! Longest datagram of a path: what is configured, and what a router has said since. RFC 1191, RFC 8201. Owned by the
//! worker that sends the copies.

use std::time::{Duration, Instant};

use thiserror::Error;

/// How long a router's word counts. RFC 1191, section 6.3; RFC 8201, section 5.3.
const MEMORY: Duration = Duration::from_secs(600);
/// Time between two falls. Each router of a path that is narrower than the one before it is heard in its turn; who forges
/// what routers say does not make the length of copies dance.
const BETWEEN_FALLS: Duration = Duration::from_secs(1);
/// Least that a router of IPv4 is believed. What is shorter would be an attack rather than a network.
const LEAST_V4: u16 = 576;
/// Least that each link of IPv6 takes. RFC 8200, section 5.
const LEAST_V6: u16 = 1280;

/// Longest datagram of a path, IP header included. Never above the configured one, never raised by a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathMtu {
    bytes: u16,
    configured: u16,
    least: u16,
    /// When a router has said so.
    learned: Option<Instant>,
    /// When it became less last.
    fell: Option<Instant>,
}

/// Why a router is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PathMtuError {
    /// It said something that cannot be.
    #[error("a path MTU of {given} is not between {least} and {configured}")]
    Bounds {
        /// What it said.
        given: u32,
        /// Least that is believed.
        least: u16,
        /// What is configured.
        configured: u16,
    },
    /// The path MTU fell less than a second ago.
    #[error("a path MTU that has just become less does not become less again within a second")]
    TooSoon,
}

impl PathMtu {
    /// Of an IPv4 path that begins with a link of `configured` bytes.
    #[must_use]
    pub const fn v4(configured: u16) -> Self {
        Self { bytes: configured, configured, least: LEAST_V4, learned: None, fell: None }
    }

    /// Of an IPv6 path that begins with a link of `configured` bytes.
    #[must_use]
    pub const fn v6(configured: u16) -> Self {
        Self { bytes: configured, configured, least: LEAST_V6, learned: None, fell: None }
    }

    /// What copies must fit into.
    #[inline]
    #[must_use]
    pub const fn bytes(&self) -> u16 {
        self.bytes
    }

    /// What is configured.
    #[must_use]
    pub const fn configured(&self) -> u16 {
        self.configured
    }

    /// Heeds a router. `true` when it said what counts from now on, if only for longer than before; `false` when it
    /// allows more than what counts already.
    ///
    /// # Errors
    ///
    /// When no path has such an MTU, the first link takes less, or it fell within the last second already.
    pub fn learn(&mut self, bytes: u32, now: Instant) -> Result<bool, PathMtuError> {
        let Self { least, configured, .. } = *self;
        let bounded =
            u16::try_from(bytes).ok().filter(|bytes| (least..=configured).contains(bytes));
        let bytes = bounded.ok_or(PathMtuError::Bounds { given: bytes, least, configured })?;
        if bytes > self.bytes || bytes == configured {
            return Ok(false);
        }
        if bytes < self.bytes {
            let has_just_fallen =
                self.fell.is_some_and(|then| now.saturating_duration_since(then) < BETWEEN_FALLS);
            if has_just_fallen {
                return Err(PathMtuError::TooSoon);
            }
            self.fell = Some(now);
        }
        self.bytes = bytes;
        self.learned = Some(now);
        Ok(true)
    }

    /// Forgets what a router said ten minutes ago.
    #[inline]
    pub fn age(&mut self, now: Instant) {
        if self.learned.is_some_and(|since| now.saturating_duration_since(since) >= MEMORY) {
            self.bytes = self.configured;
            self.learned = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_is_believed_from_the_least_on_and_up_to_what_is_configured() {
        let now = Instant::now();
        for (path, least) in [(PathMtu::v4(1500), 576), (PathMtu::v6(1500), 1280)] {
            for wrong in [0, least - 1, 1501, 0x1_0000 + 1400] {
                let mut path = path;
                assert!(path.learn(wrong, now).is_err(), "{wrong}");
                assert_eq!(path.bytes(), 1500);
            }
            for right in [least, 1499] {
                let mut path = path;
                assert_eq!(path.learn(right, now), Ok(true));
                assert_eq!(u32::from(path.bytes()), right);
            }
            let mut path = path;
            assert_eq!((path.learn(1500, now), path.bytes()), (Ok(false), 1500));
        }
    }

    #[test]
    fn a_router_never_raises_what_another_has_lowered() {
        let mut path = PathMtu::v4(9000);
        let now = Instant::now();
        assert_eq!((path.learn(1400, now), path.bytes()), (Ok(true), 1400));
        assert_eq!((path.learn(1401, now), path.bytes()), (Ok(false), 1400));
        let later = now + BETWEEN_FALLS;
        assert_eq!((path.learn(1399, later), path.bytes()), (Ok(true), 1399));
        assert_eq!(path.configured(), 9000);
    }

    #[test]
    fn it_falls_once_in_a_second_and_what_counts_may_be_said_again_meanwhile() {
        let mut path = PathMtu::v4(9000);
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        assert_eq!(path.learn(1400, at(0)), Ok(true));
        assert_eq!(path.learn(1300, at(999)), Err(PathMtuError::TooSoon));
        assert_eq!((path.learn(1400, at(999)), path.bytes()), (Ok(true), 1400));
        assert_eq!((path.learn(1300, at(1000)), path.bytes()), (Ok(true), 1300));
        assert_eq!(path.learn(1299, at(1999)), Err(PathMtuError::TooSoon));
        // Also when it has risen in between.
        path.age(at(601_000));
        assert_eq!((path.bytes(), path.learn(576, at(601_000))), (9000, Ok(true)));
        assert_eq!(path.learn(575, at(601_000)).map_err(|_| path.bytes()), Err(576));
    }

    #[test]
    fn what_a_router_said_counts_for_ten_minutes_after_it_said_so_last() {
        let mut path = PathMtu::v6(1500);
        let start = Instant::now();
        let minute = |minutes: u64| start + Duration::from_secs(60 * minutes);
        assert_eq!(path.learn(1300, start), Ok(true));
        assert_eq!(path.learn(1300, minute(5)), Ok(true));
        // Of no news: it must not count longer.
        assert_eq!(path.learn(1400, minute(6)), Ok(false));
        path.age(minute(15) - Duration::from_millis(1));
        assert_eq!(path.bytes(), 1300);
        path.age(minute(15));
        assert_eq!(path.bytes(), 1500);
        // It may say so again.
        assert_eq!(path.learn(1400, minute(16)), Ok(true));
    }

    #[test]
    fn a_link_narrower_than_the_least_stays_as_it_is_configured() {
        let mut path = PathMtu::v4(300);
        assert!(path.learn(576, Instant::now()).is_err());
        assert!(path.learn(300, Instant::now()).is_err());
        assert_eq!(path.bytes(), 300);
    }
}
