//! The table against a `HashMap`: index with overflow, reuse of slots, ranges, stamps.
//!
//! Keys whose high half is [`FLAT`] all have the mix zero (the product in [`Key::mix`] is zero), so they share a home
//! bucket and a fingerprint: the worst that the index can meet.

use std::collections::{HashMap, HashSet};
use std::vec::Vec;

use super::slot::TIME_SHIFT;
use super::*;
use crate::clock::Dot;
use crate::id::Slot;
use crate::rng::Rng;
use crate::wire::Shape;

const FLAT: u64 = 0xd1b5_4a32_d192_ed03;
const SHAPE: Shape = Shape { schema: 1, value_len: 16 };

fn storage(capacity: usize) -> Vec<AtomicU64> {
    let words = Layout::new(capacity, &SHAPE).table_words();
    (0..words).map(|_| AtomicU64::new(0)).collect()
}

fn flat_key(n: u64) -> Key {
    let key = Key::from_words([n, FLAT]);
    assert_eq!(key.mix(), 0);
    key
}

fn key(n: u64) -> Key {
    Key::from_name(&n.to_le_bytes())
}

/// A table with the model that it must agree with, and the change that numbers stamps and counters.
struct Checked<'a> {
    table: Table<'a>,
    model: HashMap<Key, (Position, Mark, [u64; 2])>,
    change: u64,
}

impl<'a> Checked<'a> {
    fn new(words: &'a [AtomicU64], capacity: usize) -> Self {
        let table = Table::new(words, Layout::new(capacity, &SHAPE));
        Self { table, model: HashMap::new(), change: 0 }
    }

    fn stamp(&self) -> Stamp {
        Stamp::new(self.change, self.change << TIME_SHIFT)
    }

    /// Writes `key`, which may be new; returns whether there was room.
    fn write(&mut self, key: Key, tombstone: bool) -> bool {
        self.change += 1;
        let found = self.table.find(key, key.mix());
        assert_eq!(found, self.model.get(&key).map(|known| known.0));
        let existing = found.map(|at| self.table.entry(at));
        let Some(entry) = existing.or_else(|| self.table.insert(key, key.mix())) else {
            assert_eq!(self.model.len(), self.table.capacity(), "refused before it was full");
            return false;
        };
        let dot = Dot { slot: Slot::at(self.change as usize % 64), counter: self.change };
        let mark = Mark { dot, term: self.change as u32 ^ 0x8000_0000, tombstone };
        let value = [self.change.rotate_left(32), !self.change];
        let was_tombstone = entry.mark().is_some_and(|mark| mark.tombstone);
        let at = entry.at;
        self.table.write(entry, self.stamp(), was_tombstone, mark.words(), value.into_iter());
        self.model.insert(key, (at, mark, value));
        true
    }

    fn remove(&mut self, key: Key) {
        self.change += 1;
        let (at, ..) = self.model.remove(&key).expect("only what is there is removed");
        self.table.remove(at, key.mix(), self.stamp());
        assert_eq!(self.table.mark(at), None);
        assert!(matches!(self.table.try_copy(at, None, &mut [0; 16]), Copied::Empty));
    }

    /// Everything that the model says, and nothing else.
    fn check(&self) {
        assert_eq!(self.table.len(), self.model.len());
        let tombstones = self.model.values().filter(|(_, mark, _)| mark.tombstone).count();
        assert_eq!(self.table.tombstones(), tombstones);
        assert!(self.table.high_water() as usize <= self.table.capacity());
        for (key, (at, mark, value)) in &self.model {
            assert_eq!(self.table.find(*key, key.mix()), Some(*at));
            assert_eq!(self.table.key(*at), *key);
            assert_eq!(self.table.mark(*at), Some(*mark));
            assert_eq!(self.table.value(*at).collect::<Vec<_>>(), value);
            let mut copy = [0; 16];
            let Copied::Record(words, _, copied) = self.table.try_copy(*at, Some(key.words()), &mut copy)
            else {
                panic!("a record that nobody writes to is copied at the first try");
            };
            assert_eq!((words, copied), (key.words(), *mark));
            let expected = if mark.tombstone { [0; 2] } else { *value };
            assert_eq!(copy, *expected.map(u64::to_le_bytes).concat());
        }
        let used = (0..self.table.high_water()).filter(|&at| self.table.mark(at).is_some()).count();
        assert_eq!(used, self.model.len(), "a slot that no key leads to");
        self.check_range(0, u64::MAX);
    }

    /// A range yields every record in it exactly once; what it yields beside them is the caller's to drop.
    fn check_range(&self, from: u64, to: u64) {
        let yielded: Vec<_> = self.table.range(from, to).collect();
        let distinct: HashSet<_> = yielded.iter().copied().collect();
        assert_eq!(distinct.len(), yielded.len(), "a record came twice in {from:#x}..={to:#x}");
        for (key, (at, ..)) in &self.model {
            let inside = (from..=to).contains(&key.mix());
            assert!(!inside || distinct.contains(at), "{key:?} is missing in {from:#x}..={to:#x}");
        }
    }
}

#[test]
fn random_changes_agree_with_a_hash_map() {
    for (capacity, keys, seed) in
        [(1, 2, 1), (2, 5, 2), (13, 16, 3), (14, 30, 4), (100, 130, 5), (700, 900, 6)]
    {
        let words = storage(capacity);
        let mut checked = Checked::new(&words, capacity);
        let mut rng = Rng::new(seed);
        for step in 0..6_000 {
            let n = rng.below(keys);
            // A third of the keys share one home, so that buckets overflow into each other.
            let key = if n.is_multiple_of(3) { flat_key(n) } else { key(n) };
            if checked.model.contains_key(&key) && rng.below(2) == 0 {
                checked.remove(key);
            } else {
                checked.write(key, rng.below(4) == 0);
            }
            if step % 64 == 0 {
                checked.check();
                let (a, b) = (rng.next_u64(), rng.next_u64());
                checked.check_range(a.min(b), a.max(b));
                // Narrow ranges, at the two ends too.
                let width = rng.next_u64() >> 10;
                checked.check_range(a, a.saturating_add(width));
                checked.check_range(0, width);
                checked.check_range(u64::MAX - width, u64::MAX);
            }
        }
        checked.check();
    }
}

#[test]
fn fills_to_capacity_and_empties_again() {
    for capacity in [1, 2, 12, 13, 14, 15, 16, 26, 27, 1_000] {
        let words = storage(capacity);
        let mut checked = Checked::new(&words, capacity);
        for round in 0..3u64 {
            let keys: Vec<_> = (0..capacity as u64).map(|n| key(n + 7 * round)).collect();
            assert!(keys.iter().all(|&key| checked.write(key, false)));
            assert!(!checked.write(key(u64::MAX), false), "one above capacity {capacity}");
            checked.check();
            keys.iter().for_each(|&key| checked.remove(key));
            checked.check();
        }
        assert_eq!(checked.table.high_water() as usize, capacity);
    }
}

/// Every key has the same home and fingerprint: the chain passes through every bucket and wraps at the end.
#[test]
fn one_home_for_all_keys() {
    let capacity = 100;
    let words = storage(capacity);
    let mut checked = Checked::new(&words, capacity);
    (0..100).for_each(|n| assert!(checked.write(flat_key(n), false)));
    assert_eq!(checked.table.index.passed_by(0), 100 - 15);
    checked.check();
    assert_eq!(checked.table.find(flat_key(1_000), 0), None, "a lookup of an absent key ends");
    // Out of the middle of the chain, and in again: what is behind the hole stays within reach.
    for n in (0..100).step_by(3) {
        checked.remove(flat_key(n));
        checked.check();
    }
    (200..234).for_each(|n| assert!(checked.write(flat_key(n), true)));
    checked.check();
    for key in checked.model.keys().copied().collect::<Vec<_>>() {
        checked.remove(key);
    }
    checked.check();
    assert!(checked.table.index.words().iter().all(|word| word.load(Ordering::Relaxed) == 0));
}

/// The last bucket overflows into the first: a range over all must not yield the first bucket again.
#[test]
fn a_range_that_wraps_yields_each_record_once() {
    let capacity = 40;
    let words = storage(capacity);
    let mut checked = Checked::new(&words, capacity);
    let last = checked.table.layout.buckets as usize - 1;
    let mut in_last =
        (0..).map(key).filter(|key| checked.table.index.home(key.mix()) == last).take(20).collect::<Vec<_>>();
    in_last.extend((0..10).map(flat_key));
    in_last.into_iter().for_each(|key| assert!(checked.write(key, false)));
    assert!(checked.table.index.passed_by(last) > 0);
    checked.check();
    checked.check_range(1, u64::MAX);
    checked.check_range(u64::MAX - 1, u64::MAX);
}

#[test]
fn freed_slots_are_used_again_newest_first() {
    let words = storage(8);
    let mut checked = Checked::new(&words, 8);
    (0..6).for_each(|n| assert!(checked.write(key(n), false)));
    let freed = [4, 1, 3].map(|n| checked.model[&key(n)].0);
    [4, 1, 3].into_iter().for_each(|n| checked.remove(key(n)));
    (10..13).for_each(|n| assert!(checked.write(key(n), false)));
    let again = [12, 11, 10].map(|n| checked.model[&key(n)].0);
    assert_eq!(again, freed);
    assert_eq!(checked.table.high_water(), 6, "a fresh slot is taken only when none is free");
    checked.check();
}

#[test]
fn readers_find_a_new_slot_busy_until_it_is_written() {
    let words = storage(1);
    let table = Table::new(&words, Layout::new(1, &SHAPE));
    assert!(table.is_pristine());
    let key = key(1);
    let entry = table.insert(key, key.mix()).unwrap();
    let at = entry.at;
    assert!(matches!(table.try_copy(at, Some(key.words()), &mut [0; 16]), Copied::Busy));
    assert!(matches!(table.copy(at, &mut [0; 16], 3), Copied::Busy));
    assert!(table.insert(key, key.mix()).is_none());
    let mark = Mark { dot: Dot { slot: Slot::at(63), counter: u64::MAX }, term: u32::MAX, tombstone: true };
    table.write(entry, Stamp::new(1, 0), false, mark.words(), [0, 0].into_iter());
    let mut value = [1; 16];
    let Copied::Record(_, stamp, copied) = table.try_copy(at, Some(key.words()), &mut value) else {
        panic!("it has been written")
    };
    assert_eq!((copied, value), (mark, [1; 16]), "a tombstone has no value to copy");
    assert_eq!(stamp.steps_to(1), 0);
    assert!(matches!(table.try_copy(at, Some([1, 2]), &mut value), Copied::OtherKey));
    assert!(matches!(table.try_copy(1, None, &mut value), Copied::Empty), "beyond the table");
    assert!(!table.is_pristine());
}

#[test]
fn marks_survive_their_words() {
    for (slot, counter, term, tombstone) in
        [(0, 1, 1, false), (63, u64::MAX, u32::MAX, true), (31, 1 << 32, 1 << 31, false), (1, 7, 9, true)]
    {
        let mark = Mark { dot: Dot { slot: Slot::at(slot), counter }, term, tombstone };
        let [counter, meta] = mark.words();
        assert_eq!(Mark::from_words(counter, meta), mark);
        // As on the wire: term u32, slot u8, flags u8, reserved u16.
        let bytes = meta.to_le_bytes();
        assert_eq!(bytes[..4], term.to_le_bytes());
        assert_eq!(bytes[4..], [slot as u8, u8::from(tombstone), 0, 0]);
    }
}

#[test]
fn stamps_wrap() {
    let position = (1 << 30) - 1;
    let stamp = Stamp::new(position, 0);
    assert_eq!(stamp.0 & BUSY, 0);
    assert_eq!((stamp.steps_to(position), stamp.steps_to(position + 1)), (0, 1));
    let next = Stamp::new(position + 1, 0);
    assert_eq!((next.steps_to(position + 1), next.steps_to(position + 77), next.steps_to(0)), (0, 76, 0));
    assert_eq!(Stamp(stamp.0 | BUSY).steps_to(position + 5), 5);
    assert_eq!(next.0 & (LIVE | BUSY), 0);
    assert_eq!((stamp.of(true), stamp.of(false).0), (stamp, stamp.0 | LIVE));
    assert_eq!(stamp.of(false).steps_to(position + 5), 5);

    // Positions are told apart over the whole of 30 bits, times over 32 bits of 2^24 ns.
    let second = 1_000_000_000;
    for now in [0, 5 * second, (1 << 56) - second, (1 << 56) + second, u64::MAX - 100 * second] {
        let stamp = Stamp::new(9, now);
        assert_eq!(stamp.of(false).age_ns(now), 0);
        for age in [0, second, 60 * second, 365 * 86_400 * second] {
            let Some(later) = now.checked_add(age) else { continue };
            let error = stamp.age_ns(later).abs_diff(age);
            assert!(error <= 1 << TIME_SHIFT, "age {age} at {now}: {error} ns off");
        }
        // A reader whose clock lags by a step sees no age, and not two years.
        assert_eq!(stamp.age_ns(now.saturating_sub(second)), 0);
    }
}

#[test]
fn a_copy_of_the_table_is_equal() {
    let (words, other) = (storage(50), storage(50));
    let mut checked = Checked::new(&words, 50);
    (0..50).for_each(|n| assert!(checked.write(key(n), n % 5 == 0)));
    (0..20).for_each(|n| checked.remove(key(n)));
    let copy = Table::new(&other, Layout::new(50, &SHAPE));
    copy.copy_from(&checked.table);
    Checked { table: copy, model: checked.model.clone(), change: checked.change }.check();
    let loaded =
        |words: &[AtomicU64]| words.iter().map(|word| word.load(Ordering::Relaxed)).collect::<Vec<_>>();
    assert_eq!(loaded(&words), loaded(&other));
}
