//! How long it takes until a write is known everywhere.
//!
//! Knows some of the writes and which servers still lack them; looks at each server's map right after a packet has
//! changed it, so the figures are exact in virtual time. Must not know how writes travel.

use std::collections::HashMap;

use popmap_core::clock::Dot;
use popmap_core::time::Instant;
use popmap_core::{Key, Map, Slot, SlotSet};

use crate::health::Health;
use crate::measure::Times;
use crate::pop::Pop;

/// A write under way to every server.
struct Sample {
    key: Key,
    dot: Dot,
    at: Instant,
    missing: SlotSet,
}

/// Writes followed until every live server has them.
pub struct Propagation {
    pending: Vec<Sample>,
    /// From the write until one server had it, for each server.
    pub to_one: Times,
    /// From the write until the last server had it.
    pub to_all: Times,
}

impl Propagation {
    /// Follows nothing yet.
    pub fn new() -> Self {
        Self { pending: Vec::new(), to_one: Times::new(), to_all: Times::new() }
    }

    /// Follows the write `dot` of `key`, made at `at`, until all of `others` have it.
    pub fn follow(&mut self, key: Key, dot: Dot, at: Instant, others: SlotSet) {
        self.pending.push(Sample { key, dot, at, missing: others });
    }

    /// Returns how many writes are still under way.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Looks at what `map` holds after a packet.
    pub fn look(&mut self, now: Instant, map: &Map<'_>) {
        let slot = map.slot();
        let mut some_done = false;
        for sample in self.pending.iter_mut().filter(|sample| sample.missing.contains(slot)) {
            let knows = map.inspect(sample.key).is_some_and(|held| {
                held.dot == sample.dot
                    || held.dot.slot == sample.dot.slot && held.dot.counter > sample.dot.counter
            });
            if knows {
                sample.missing.remove(slot);
                let took = now.since(sample.at).0;
                self.to_one.record(took);
                if sample.missing.is_empty() {
                    self.to_all.record(took);
                    some_done = true;
                }
            }
        }
        if some_done {
            self.pending.retain(|sample| !sample.missing.is_empty());
        }
    }
}

/// Waits for every server to hold, for each of some origins, a check made by the expected owner after some time.
pub struct Takeover {
    expected: Vec<(Key, Slot)>,
    since: Instant,
    /// For each server, how many of `expected` it has been seen to hold.
    seen: HashMap<Slot, usize>,
}

impl Takeover {
    /// Waits for checks of these origins, each by its expected owner and made at `since` or later.
    pub fn new(expected: Vec<(Key, Slot)>, since: Instant) -> Self {
        Self { expected, since, seen: HashMap::new() }
    }

    /// Whether every running server now knows.
    pub fn is_known(&mut self, pop: &Pop<'_>) -> bool {
        let (expected, since) = (&self.expected, self.since);
        let seen = &mut self.seen;
        pop.nodes().all(|node| {
            let seen = seen.entry(node.map().slot()).or_default();
            let reader = node.reader().typed::<Health>();
            let known = |&(key, owner): &(Key, Slot)| {
                let found = reader.as_ref().ok().and_then(|reader| reader.get(key).ok());
                found.is_some_and(|(health, meta)| meta.dot.slot == owner && health.checked_at() >= since)
            };
            *seen += expected[*seen..].iter().take_while(|entry| known(entry)).count();
            *seen == expected.len()
        })
    }
}
