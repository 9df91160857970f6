//! How much a server may send: the stated budget of data, seen from outside, and answers that say nothing.
//!
//! Knows amounts and intervals. Must not know what they were for.
//!
//! A node sends at most its budget in an interval, and the last packet may overdraw it, which the next interval pays
//! for. Intervals begin when the node says so, so in any span of length L there are at most `L / interval + 1` new ones,
//! and one that was open before. Data sent in any span is therefore at most `(L / interval + 2) * budget + payload`:
//! a bucket that leaks the budget in each interval never holds more than `2 * budget + payload`.

use popmap_core::time::{Duration, Instant};

/// Deltas without a record that one server may send another in a second: one that starts asks every 40 ms, and whoever has
/// nothing for it says so. Two that ask each other as fast as the network carries it send thousands.
const EMPTY_A_SECOND: u32 = 100;

/// A leaking bucket.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    bytes: u32,
    interval: Duration,
    payload: usize,
    /// Bytes times the interval's nanoseconds, so that nothing is rounded.
    level: u128,
    at: Instant,
}

impl Meter {
    /// Begins empty.
    pub fn new(bytes: u32, interval: Duration, payload: usize) -> Self {
        Self { bytes, interval, payload, level: 0, at: Instant::ZERO }
    }

    /// Begins empty, for [deltas without a record](EMPTY_A_SECOND).
    pub fn of_empty_answers() -> Self {
        Self::new(EMPTY_A_SECOND, Duration::from_secs(1), 0)
    }

    /// So many bytes, or whatever is counted, left at `now`, by the server's clock; one that ran backward is held.
    ///
    /// # Errors
    /// What was sent and what may be, when that is too much.
    pub fn spend(&mut self, now: Instant, bytes: usize) -> Result<(), String> {
        let passed = now.since(self.at);
        self.at = self.at.max(now);
        let interval = u128::from(self.interval.0);
        self.level = self.level.saturating_sub(u128::from(passed.0) * u128::from(self.bytes));
        self.level += bytes as u128 * interval;
        let most = 2 * u128::from(self.bytes) + self.payload as u128;
        let level = self.level / interval;
        if level > most {
            let ms = self.interval.as_millis();
            return Err(format!("{level} beyond {} in each {ms} ms; {most} are possible", self.bytes));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_may_send_passes_and_more_does_not() {
        let interval = Duration::from_millis(10);
        let mut meter = Meter::new(10_000, interval, 1_000);
        // At the end of one interval and the beginning of the next, overdrawn.
        for _ in 0..21 {
            assert_eq!(meter.spend(Instant::from_millis(100), 1_000), Ok(()));
        }
        assert!(meter.spend(Instant::from_millis(100), 1_000).is_err());
        let mut meter = Meter::new(10_000, interval, 1_000);
        for ms in 0..1_000 {
            assert_eq!(meter.spend(Instant::from_millis(ms), 1_000), Ok(()));
        }
        let mut meter = Meter::new(10_000, interval, 1_000);
        assert!((0..1_000).any(|ms| meter.spend(Instant::from_millis(ms), 1_100).is_err()));
        // A clock that runs backward refills nothing.
        let mut meter = Meter::new(10_000, interval, 1_000);
        assert!((0..100).rev().any(|ms| meter.spend(Instant::from_millis(ms), 1_000).is_err()));
    }
}
