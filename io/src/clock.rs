//! The two clocks a host needs: one that only runs forward, and the time of day in seconds.
//!
//! Knows the operating system's clocks. Must not know what the times are used for: the map's correctness does not
//! depend on either.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A clock that never runs backward, in nanoseconds since it was made.
///
/// One clock drives one node. Two clocks have two origins, so their readings do not compare; copies of one clock
/// share its origin.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock {
    origin: Instant,
}

impl MonotonicClock {
    /// Makes a clock that reads zero now.
    #[must_use]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }

    /// Returns the nanoseconds since the clock was made. It stands still at `u64::MAX`, after 584 years.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Returns the time since the clock was made, as core takes it.
    #[must_use]
    pub fn now(&self) -> popmap_core::time::Instant {
        popmap_core::time::Instant(self.now_ns())
    }
}

impl Default for MonotonicClock {
    fn default() -> Self {
        Self::new()
    }
}

/// The wall clock's seconds since 1970 (UTC) from which on it is taken to be set: the start of 2024. No server that runs
/// this ran before it, so a clock that shows less was never set, or lost what it was set to.
pub const SET_CLOCK_SECONDS: u32 = 1_704_067_200;

/// Returns the wall clock's time since 1970 (UTC), for captures; zero where the clock is set before that.
#[must_use]
pub fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Returns the wall clock's seconds since 1970 (UTC), a floor under a new life's generation (DESIGN R4.1). Below
/// [`SET_CLOCK_SECONDS`] it is a floor that earlier lives may have been above.
///
/// Returns 0, which is no floor, where the clock is set before 1970 or past the year 2106: such a clock knows
/// nothing, and following it to the end of the 32 bits would leave no generation for the next start.
#[must_use]
pub fn wall_clock_seconds() -> u32 {
    seconds_at(SystemTime::now())
}

/// Whether a clock that shows `seconds` was ever set.
pub(crate) fn is_set(seconds: u32) -> bool {
    seconds >= SET_CLOCK_SECONDS
}

fn seconds_at(time: SystemTime) -> u32 {
    let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since_1970.as_secs()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;

    use super::*;

    #[test]
    fn never_runs_backward_and_counts_nanoseconds() {
        let clock = MonotonicClock::new();
        let first = clock.now_ns();
        sleep(Duration::from_millis(2));
        let second = clock.now_ns();
        assert!(second - first >= 2_000_000, "{first} to {second}");
        let mut last = second;
        for _ in 0..1_000 {
            let now = clock.now_ns();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn a_copy_shares_the_origin() {
        let clock = MonotonicClock::new();
        sleep(Duration::from_millis(1));
        let copy = clock;
        assert!(copy.now_ns() >= 1_000_000);
    }

    #[test]
    fn seconds_are_a_floor_only_where_the_clock_is_sane() {
        assert_eq!(seconds_at(UNIX_EPOCH), 0);
        assert_eq!(seconds_at(UNIX_EPOCH + Duration::from_millis(1_999)), 1);
        assert_eq!(seconds_at(UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX))), u32::MAX);
        assert_eq!(seconds_at(UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX) + 1)), 0, "past 2106");
        assert_eq!(seconds_at(UNIX_EPOCH - Duration::from_secs(1)), 0, "before 1970");
        let day = Duration::from_secs(24 * 60 * 60);
        // 54 years of 365 days, and the leap days of 1972 to 2020.
        assert_eq!(seconds_at(UNIX_EPOCH + day * (54 * 365 + 13)), SET_CLOCK_SECONDS, "the first of 2024");
    }
}
