//! The data plane: threads that look origins up, flat out, as a proxy's workers would for each request.
//!
//! Knows readers and what they must never see. Must not know nodes, packets or virtual time: these are real threads of
//! the operating system, and their figures are of the wall clock.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use popmap_core::map::TypedReader;
use popmap_core::rng::Rng;
use popmap_core::{Key, Lookup};

use crate::health::Health;
use crate::measure::{Stopwatch, Times};

/// Lookups between two looks at the board; one of them is timed.
const BATCH: u64 = 64;

/// What the story and the workers tell each other.
#[derive(Default, Debug)]
pub struct Board {
    stop: AtomicBool,
    filled: AtomicBool,
    /// Origins below this must be found.
    expected: AtomicU32,
    lookups: AtomicU64,
}

impl Board {
    /// Tells the workers that the map is filled, and from now on every origin below `n` must be found.
    pub fn expect(&self, n: u32) {
        self.expected.store(n, Ordering::SeqCst);
        self.filled.store(true, Ordering::SeqCst);
    }

    /// Returns what ends the workers when it is dropped.
    pub fn ending(&self) -> Ending<'_> {
        Ending(self)
    }

    /// Returns the lookups so far.
    pub fn lookups(&self) -> u64 {
        self.lookups.load(Ordering::Relaxed)
    }
}

/// Ends the workers when it is dropped.
#[derive(Debug)]
pub struct Ending<'b>(&'b Board);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

/// What a worker has seen since the map was filled.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Lookups.
    pub lookups: u64,
    /// Lookups that ran out of tries: the system took the writer off its core in the middle of a write. A proxy goes on
    /// with what it knew, or looks again.
    pub busy: u64,
    /// Values that were not one write's.
    pub torn: u64,
    /// Origins that were there and not found.
    pub missing: u64,
    /// Wall time of single lookups, sampled.
    pub times: Times,
    /// Wall time of all.
    pub span: Duration,
}

impl Seen {
    fn new() -> Self {
        Self { lookups: 0, busy: 0, torn: 0, missing: 0, times: Times::new(), span: Duration::ZERO }
    }

    /// Returns what this worker and another have seen at the same time.
    pub fn together(mut self, other: Self) -> Self {
        self.lookups += other.lookups;
        self.busy += other.busy;
        self.torn += other.torn;
        self.missing += other.missing;
        self.times.add(&other.times);
        self.span = self.span.max(other.span);
        self
    }

    /// Returns lookups per second of wall time; `None` when no time has passed.
    pub fn per_second(&self) -> Option<f64> {
        let seconds = self.span.as_secs_f64();
        (seconds > 0.0).then(|| self.lookups as f64 / seconds)
    }
}

/// Looks up origins, drawn at random, until the board says stop. Figures are kept once the map has been filled.
pub fn work(
    reader: TypedReader<'_, Health>,
    keys: &[Key],
    board: &Board,
    seed: u64,
    stopwatch: Stopwatch,
) -> Seen {
    let mut seen = Seen::new();
    let mut rng = Rng::new(seed);
    let mut filled = None;
    while !board.stop.load(Ordering::Relaxed) {
        let expected = board.expected.load(Ordering::SeqCst);
        if filled.is_none() && board.filled.load(Ordering::SeqCst) {
            filled = Some(Instant::now());
            seen = Seen::new();
        }
        for i in 0..BATCH {
            let id = rng.below(keys.len() as u64) as usize;
            let key = keys[id];
            let start = (i == 0).then(Instant::now);
            let outcome = reader.get(key);
            if let Some(start) = start {
                seen.times.record(stopwatch.since(start));
            }
            match outcome {
                Ok((health, _)) => seen.torn += u64::from(!health.is_whole(key)),
                Err(Lookup::Busy) => seen.busy += 1,
                // It may have been deleted since this batch began.
                Err(_) => {
                    let still = board.expected.load(Ordering::SeqCst).min(expected);
                    seen.missing += u64::from((id as u64) < u64::from(still));
                }
            }
        }
        seen.lookups += BATCH;
        board.lookups.fetch_add(BATCH, Ordering::Relaxed);
    }
    seen.span = filled.map_or(Duration::ZERO, |start| start.elapsed());
    seen
}
