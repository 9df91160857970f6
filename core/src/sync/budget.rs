//! How many bytes of data may leave in an interval.

use crate::time::{Duration, Instant};

/// A bucket of bytes, filled anew each interval: bounds what a message storm can make us send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    bytes: u32,
    interval: Duration,
    /// Below zero is owed to the next interval.
    left: i64,
    refill: Instant,
}

impl Budget {
    pub(crate) fn new(bytes: u32, interval: Duration) -> Self {
        Self { bytes, interval, left: i64::from(bytes), refill: Instant::ZERO }
    }

    /// Whether a packet may leave at `now`.
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        if now >= self.refill {
            self.left = self.left.min(0) + i64::from(self.bytes);
            self.refill = now + self.interval;
        }
        self.left > 0
    }

    /// Takes a packet's bytes off; the last one of an interval may overdraw, and the next interval pays for it.
    pub(crate) fn spend(&mut self, bytes: usize) {
        self.left -= bytes as i64;
    }

    /// Returns when there is a budget again.
    pub(crate) fn next_refill(&self) -> Instant {
        if self.left > 0 { Instant::ZERO } else { self.refill }
    }
}
