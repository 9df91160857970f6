//! The data plane: threads that look origins up, flat out, as a proxy's workers would for each request.
//!
//! Knows readers and what they must never see. Must not know nodes or packets.
//!
//! For each batch of lookups in the map, which a server is writing to all the while, a batch is made in a `hashbrown`
//! table of the same keys and values that nobody writes to, on the same thread: what else the machine does weighs on
//! both, and of time only that counts which the thread had on a core. The threads run at the lowest priority, so that on few cores they take what the servers leave.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use popmap_core::map::TypedReader;
use popmap_core::rng::Rng;
use popmap_core::time::Duration as Span;
use popmap_core::{Key, Lookup, Reader, SlotSet};

use crate::health::Health;
use crate::measure::{Stopwatch, Times};
use crate::plan::Plan;

/// Lookups of a batch. One more is timed by itself.
const BATCH: u64 = 1_024;
/// A record is fresh for so many parts in two of an interval.
const FRESH_HALVES: u64 = 3;
/// The niceness of the lowest priority.
const NICE: i32 = 19;

/// What the story and the workers tell each other.
#[derive(Default, Debug)]
pub struct Board {
    stop: AtomicBool,
    filled: AtomicBool,
    lookups: AtomicU64,
}

impl Board {
    /// Tells the workers that the map is filled, and from now on every origin must be found.
    pub fn filled(&self) {
        self.filled.store(true, Ordering::SeqCst);
    }

    /// Ends the workers.
    pub fn end(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Returns the lookups in the map so far.
    pub fn lookups(&self) -> u64 {
        self.lookups.load(Ordering::Relaxed)
    }
}

/// What a worker has seen since the map was filled.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Lookups in the map.
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
    /// The thread's time on a core in all batches in the map.
    pub span: Duration,
    /// The same in as many lookups in the idle table.
    pub idle_span: Duration,
}

impl Seen {
    /// Has seen nothing yet.
    pub fn new() -> Self {
        Self {
            lookups: 0,
            busy: 0,
            torn: 0,
            missing: 0,
            times: Times::new(),
            span: Duration::ZERO,
            idle_span: Duration::ZERO,
        }
    }

    /// Takes note of a lookup that did not bring a whole value.
    #[cold]
    fn note<M>(&mut self, outcome: &Result<(Health, M), Lookup>) {
        match outcome {
            Ok(_) => self.torn += 1,
            Err(Lookup::Busy) => self.busy += 1,
            Err(_) => self.missing += 1,
        }
    }

    /// Returns lookups per second of a thread's time on a core; `None` when there were none.
    pub fn per_second(&self) -> Option<f64> {
        let seconds = self.span.as_secs_f64();
        (seconds > 0.0).then(|| self.lookups as f64 / seconds)
    }

    /// Returns the rate of the idle table over that of the map; `None` when there were no lookups.
    pub fn idle_ratio(&self) -> Option<f64> {
        let idle = self.idle_span.as_secs_f64();
        (idle > 0.0).then(|| self.span.as_secs_f64() / idle)
    }

    /// Returns the fraction of lookups that were answered: the yield.
    pub fn answered(&self) -> Option<f64> {
        (self.lookups > 0).then(|| 1.0 - (self.busy + self.missing) as f64 / self.lookups as f64)
    }
}

/// Returns the fraction of all origins whose record is fresh and whose author is live.
pub fn harvest(reader: &Reader<'_>, live: SlotSet, plan: &Plan) -> f64 {
    let max_age = Span(plan.calendar.interval().0 / 2 * FRESH_HALVES);
    let harvest = reader.harvest(reader.heartbeat(), max_age, live);
    harvest.fraction().map_or(0.0, |fraction| fraction * harvest.keys as f64 / plan.keys.len() as f64)
}

/// Looks up origins, drawn at random, until the board says stop. Figures are kept once the map has been filled.
pub fn work(
    reader: TypedReader<'_, Health>,
    keys: &[Key],
    board: &Board,
    seed: u64,
    stopwatch: Stopwatch,
) -> Seen {
    // Where that is refused it runs at the priority of the others, and is in their way.
    let _ = rustix::process::setpriority_process(None, NICE);
    let mut seen = Seen::new();
    let mut rng = Rng::new(seed);
    let mut idle: Option<HashMap<Key, Health>> = None;
    while !board.stop.load(Ordering::Relaxed) {
        if idle.is_none() && board.filled.load(Ordering::SeqCst) {
            idle = Some(keys.iter().filter_map(|&key| Some((key, reader.get(key).ok()?.0))).collect());
            seen = Seen::new();
        }
        let start = cpu_time();
        let mut whole = 0;
        for _ in 0..BATCH {
            let key = draw(keys, &mut rng);
            match reader.get(key) {
                Ok((health, _)) if health.is_whole(key) => whole += 1,
                other => seen.note(&other),
            }
        }
        std::hint::black_box(whole);
        seen.span += cpu_time().saturating_sub(start);
        if let Some(idle) = &idle {
            let start = cpu_time();
            let mut whole = 0;
            for _ in 0..BATCH {
                let key = draw(keys, &mut rng);
                whole += u64::from(idle.get(&key).copied().is_some_and(|health| health.is_whole(key)));
            }
            std::hint::black_box(whole);
            seen.idle_span += cpu_time().saturating_sub(start);
        }
        let key = draw(keys, &mut rng);
        let start = Instant::now();
        let _ = std::hint::black_box(reader.get(key));
        seen.times.record(stopwatch.since(start));
        seen.lookups += BATCH;
        board.lookups.fetch_add(BATCH, Ordering::Relaxed);
    }
    if idle.is_none() {
        // Never filled: nothing that was seen means anything.
        return Seen::new();
    }
    seen
}

/// Returns how long this thread was on a core so far.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn draw(keys: &[Key], rng: &mut Rng) -> Key {
    keys[rng.below(keys.len() as u64) as usize]
}
