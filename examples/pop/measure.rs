//! What is counted and timed.
//!
//! Knows how to add up nodes' counters and how to read the wall clock without counting the reading. Must not know what
//! is a good figure.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use popmap_core::Stats;
use popmap_core::wire::{Header, Kind};
use serde::{Deserialize, Serialize};
use zerocopy::FromBytes;

/// Bytes of the IPv4 and UDP headers that a packet has.
pub const UDP_HEADERS: u64 = 28;

/// Counters of lives of servers, added up.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct Totals {
    /// Records that came in deltas and pushes.
    pub received: u64,
    /// Records that changed a table.
    pub applied: u64,
    /// Values written.
    pub puts: u64,
    /// Packets sent.
    pub packets: u64,
    /// Bytes sent and received, headers included: each byte that arrives counts at both ends.
    pub bytes: u64,
    /// Records mended by repair with a known cause.
    pub mends: u64,
    /// Records mended by repair with none.
    pub mends_unknown: u64,
}

impl Totals {
    /// Returns those of a node whose packets have so many bytes of headers.
    pub fn of(stats: &Stats, headers: u64) -> Self {
        let sent: u64 = stats.sent.iter().sum();
        let rejected: u64 = stats.rejected.iter().sum();
        let taken: u64 = stats.received.iter().sum();
        Self {
            received: stats.map.records_received,
            applied: stats.map.records_applied,
            puts: stats.map.puts,
            packets: sent,
            bytes: stats.sent_bytes + stats.received_bytes + headers * (sent + taken + rejected),
            mends: stats.map.mends_started_unmet + stats.map.mends_slot_conflict,
            mends_unknown: stats.map.mends_unknown,
        }
    }

    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.applied += other.applied;
        self.puts += other.puts;
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.mends += other.mends;
        self.mends_unknown += other.mends_unknown;
    }

    /// Returns what was added since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            received: self.received - earlier.received,
            applied: self.applied - earlier.applied,
            puts: self.puts - earlier.puts,
            packets: self.packets - earlier.packets,
            bytes: self.bytes - earlier.bytes,
            mends: self.mends - earlier.mends,
            mends_unknown: self.mends_unknown - earlier.mends_unknown,
        }
    }

    /// Returns records received over records applied; `None` when nothing was applied.
    pub fn redundancy(&self) -> Option<f64> {
        (self.applied > 0).then(|| self.received as f64 / self.applied as f64)
    }
}

/// A distribution of times in nanoseconds, to three digits.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

impl Times {
    /// Returns an empty distribution.
    pub fn new() -> Self {
        const HOUR_NS: u64 = 3_600_000_000_000;
        Self(Histogram::new_with_bounds(1, HOUR_NS, 3).expect("the bounds are valid"))
    }

    /// Adds one time.
    pub fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    /// Iterates the times, to three digits, with how often each was recorded.
    pub fn counts(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value()))
    }

    /// Returns the distribution with these counts.
    pub fn from_counts(counts: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut times = Self::new();
        counts.into_iter().for_each(|(ns, count)| times.0.saturating_record_n(ns, count));
        times
    }

    /// Adds all of another distribution.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all distributions have the same bounds");
    }

    /// Returns how many times there are.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Returns the time that the fraction `q` do not exceed; `None` when there is none.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(q))
    }

    /// Returns the median and the times that 99 and 99.9 of 100 do not exceed; `None` when there is none.
    pub fn quantiles(&self) -> Option<(u64, u64, u64)> {
        Some((self.quantile(0.5)?, self.quantile(0.99)?, self.quantile(0.999)?))
    }

    /// Returns the longest; `None` when there is none.
    pub fn max(&self) -> Option<u64> {
        (!self.0.is_empty()).then(|| self.0.max())
    }
}

/// The time that a whole run is measured in: nanoseconds since its beginning.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The beginning.
    pub epoch: Instant,
}

impl Clock {
    /// Begins now.
    pub fn start() -> Self {
        Self { epoch: Instant::now() }
    }

    /// Returns the clock that [`reading`](Self::reading) was asked of, in this or another process of the machine.
    pub fn from_reading(reading_ns: u64) -> Self {
        let since = monotonic_ns().saturating_sub(reading_ns);
        Self { epoch: Instant::now() - Duration::from_nanos(since) }
    }

    /// Returns when the beginning was, on the machine's monotonic clock.
    pub fn reading(&self) -> u64 {
        monotonic_ns() - nanos(self.epoch.elapsed())
    }

    /// Returns the time now.
    pub fn now_ns(&self) -> u64 {
        self.at(Instant::now())
    }

    /// Returns the time at `instant`; never zero, which stands for never.
    pub fn at(&self, instant: Instant) -> u64 {
        nanos(instant.saturating_duration_since(self.epoch)).max(1)
    }
}

/// The wall clock, with the cost of reading it.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    overhead_ns: u64,
}

impl Stopwatch {
    /// Finds out what reading the clock twice in a row costs.
    pub fn calibrate() -> Self {
        let mut times = Times::new();
        for _ in 0..10_000 {
            let start = Instant::now();
            times.record(nanos(start.elapsed()));
        }
        Self { overhead_ns: times.quantile(0.5).unwrap_or(0) }
    }

    /// Returns the nanoseconds since `start`, less what reading the clock costs.
    pub fn since(&self, start: Instant) -> u64 {
        nanos(start.elapsed()).saturating_sub(self.overhead_ns)
    }
}

/// How long nodes take to take packets that carry records.
#[derive(Clone, Debug)]
pub struct MergeTimes {
    stopwatch: Stopwatch,
    with_records: u64,
    /// One in [`TIME_ONE_IN`](Self::TIME_ONE_IN) of them.
    pub times: Times,
}

impl MergeTimes {
    /// Of the packets that carry records, one in this many is timed.
    const TIME_ONE_IN: u64 = 8;

    /// Has timed nothing yet.
    pub fn new(stopwatch: Stopwatch) -> Self {
        Self { stopwatch, with_records: 0, times: Times::new() }
    }

    /// Takes a packet, and the time if it is its turn.
    pub fn time(&mut self, packet: &[u8], take: impl FnOnce()) {
        let carries_records = matches!(kind(packet), Some(Kind::Delta | Kind::Push));
        self.with_records += u64::from(carries_records);
        if carries_records && self.with_records.is_multiple_of(Self::TIME_ONE_IN) {
            let start = Instant::now();
            take();
            self.times.record(self.stopwatch.since(start));
        } else {
            take();
        }
    }
}

/// Returns the kind of a packet, if it says a known one.
fn kind(packet: &[u8]) -> Option<Kind> {
    let (header, _) = Header::ref_from_prefix(packet).ok()?;
    Kind::ALL.into_iter().find(|kind| *kind as u8 == header.kind)
}

fn monotonic_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    nanos(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_the_same_in_another_process() {
        let clock = Clock::start();
        let other = Clock::from_reading(clock.reading());
        let (before, between, after) = (clock.now_ns(), other.now_ns(), clock.now_ns());
        // Two readings of each, a system call apart.
        assert!(between + 1_000_000 > before && between < after + 1_000_000);
    }

    #[test]
    fn counts_make_the_same_distribution() {
        let mut times = Times::new();
        (1..=5_000).for_each(|n| times.record(n * n));
        let copy = Times::from_counts(times.counts());
        assert_eq!((copy.quantiles(), copy.len()), (times.quantiles(), times.len()));
        assert_eq!(copy.counts().collect::<Vec<_>>(), times.counts().collect::<Vec<_>>());
    }

    #[test]
    fn quantiles_of_known_times() {
        let mut times = Times::new();
        assert_eq!((times.quantile(0.5), times.max()), (None, None));
        (1..=1_000).for_each(|ns| times.record(ns));
        assert_eq!(
            (times.quantile(0.5), times.quantile(0.99), times.max()),
            (Some(500), Some(990), Some(1_000))
        );
    }
}
