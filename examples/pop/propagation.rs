//! How long it takes until a write is known everywhere.
//!
//! Knows some of the writes and which servers still lack them. Each server looks right after packets have changed its
//! map. Must not know how writes travel.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use popmap_core::map::TypedReader;
use popmap_core::{Key, Slot, SlotSet};

use crate::health::Health;
use crate::measure::Times;
use crate::world::lock;

/// A write under way to every server.
#[derive(Debug)]
struct Sample {
    key: Key,
    /// When the check behind it ended.
    at_ns: u64,
    missing: SlotSet,
}

/// Writes followed until every live server has them, or a later one of the same key.
#[derive(Debug)]
pub struct Propagation {
    /// Every server that any write is still missing at: what is not among them need not look.
    wanted: AtomicU64,
    books: Mutex<Books>,
}

#[derive(Debug)]
struct Books {
    pending: Vec<Sample>,
    to_one: Times,
    to_all: Times,
}

impl Books {
    fn wanted(&self) -> u64 {
        self.pending.iter().fold(SlotSet::EMPTY, |all, sample| all.union(sample.missing)).bits()
    }
}

impl Propagation {
    /// Follows nothing yet.
    pub fn new() -> Self {
        let books = Books { pending: Vec::new(), to_one: Times::new(), to_all: Times::new() };
        Self { wanted: AtomicU64::new(0), books: Mutex::new(books) }
    }

    /// Follows the write of a check of `key` that ended at `at_ns`, until all of `others` have it.
    pub fn follow(&self, key: Key, at_ns: u64, others: SlotSet) {
        if others.is_empty() {
            return;
        }
        let mut books = lock(&self.books);
        books.pending.push(Sample { key, at_ns, missing: others });
        self.wanted.store(books.wanted(), Ordering::Relaxed);
    }

    /// Returns how many writes are still under way.
    pub fn pending(&self) -> usize {
        lock(&self.books).pending.len()
    }

    /// Looks for servers that will not hear of anything any more: waits for them no longer.
    pub fn forget(&self, gone: SlotSet) {
        let mut books = lock(&self.books);
        books.pending.iter_mut().for_each(|sample| sample.missing = sample.missing.difference(gone));
        books.pending.retain(|sample| !sample.missing.is_empty());
        self.wanted.store(books.wanted(), Ordering::Relaxed);
    }

    /// Looks at what the server in `slot` knows at `now_ns`.
    pub fn look(&self, slot: Slot, now_ns: u64, reader: &TypedReader<'_, Health>) {
        if !SlotSet::from_bits(self.wanted.load(Ordering::Relaxed)).contains(slot) {
            return;
        }
        self.note(slot, now_ns, |key, at_ns| knows(reader, key, at_ns));
    }

    /// Takes note of a server that looked by itself: at `now_ns` it knew the write of the check of `key` that ended at
    /// `at_ns`.
    pub fn knows(&self, slot: Slot, now_ns: u64, key: Key, at_ns: u64) {
        self.note(slot, now_ns, |of, ended_ns| of == key && ended_ns <= at_ns);
    }

    /// Takes note that the server in `slot` knows those writes, by key and end of their check, of which `knows` is true.
    fn note(&self, slot: Slot, now_ns: u64, knows: impl Fn(Key, u64) -> bool) {
        let books = &mut *lock(&self.books);
        for sample in books.pending.iter_mut().filter(|sample| sample.missing.contains(slot)) {
            if knows(sample.key, sample.at_ns) {
                sample.missing.remove(slot);
                let took = now_ns.saturating_sub(sample.at_ns);
                books.to_one.record(took);
                if sample.missing.is_empty() {
                    books.to_all.record(took);
                }
            }
        }
        books.pending.retain(|sample| !sample.missing.is_empty());
        self.wanted.store(books.wanted(), Ordering::Relaxed);
    }

    /// Returns the times so far, from the check until one server knew (each of them) and until all did, and begins anew.
    pub fn take(&self) -> (Times, Times) {
        let mut books = lock(&self.books);
        let to_one = std::mem::replace(&mut books.to_one, Times::new());
        (to_one, std::mem::replace(&mut books.to_all, Times::new()))
    }
}

/// Whether a map has the write of the check of `key` that ended at `at_ns`, or a later one.
pub fn knows(reader: &TypedReader<'_, Health>, key: Key, at_ns: u64) -> bool {
    reader.get(key).is_ok_and(|(found, _)| found.checked_at().0 >= at_ns)
}
