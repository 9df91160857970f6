//! The reader's lock under loom: a writer and a reader in every interleaving and every order of memory that C11 allows.
//!
//! Run by `.ci/loom`. Each model starts from a table that was prepared beforehand, and each read goes through the code
//! of [`Reader`](super::super::Reader). Preemptions are bounded: the number of times that a thread is stopped although
//! it could go on. Which value a load sees is never bounded. A reader writes nothing, so one stands for any number.
//!
//! Nearly every key has the mix zero (see [`key`]): same home, same fingerprint, so that a lookup of one meets the
//! slots of all.

use std::sync::{Arc, Mutex};
use std::vec::Vec;

use loom::thread;

use super::*;
use crate::atomic::{Weakness, with_weakness};
use crate::clock::Dot;
use crate::id::Slot;
use crate::map::layout::BUCKET_WORDS;
use crate::map::reader::{Lookup, Reader};
use crate::wire::Shape;

const SHAPE: Shape = Shape { schema: 1, value_len: 8 };
/// Few, because each is a branch of the model: one after the glance.
const TRIES: u32 = 1;
const SPREAD: u64 = 20;

/// A key below [`SPREAD`] has the mix zero; those from there on have mixes, and so fingerprints, of their own.
fn key(n: u64) -> Key {
    if n < SPREAD { Key::from_words([n, 0xd1b5_4a32_d192_ed03]) } else { Key::from_name(&[n as u8]) }
}

fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(model);
}

/// The words of a table of `capacity`, shared by the threads of a model.
#[derive(Clone)]
struct Shared {
    words: Arc<Vec<AtomicU64>>,
    capacity: usize,
}

impl Shared {
    fn table(&self) -> Table<'_> {
        Table::new(&self.words, Layout::new(self.capacity, &SHAPE))
    }

    fn restored(words: &[u64], capacity: usize) -> Self {
        let words = Arc::new(words.iter().map(|&word| AtomicU64::new(word)).collect());
        Self { words, capacity }
    }

    /// Writes `key` as the `change`-th change: slot, counter, term and value are made of the two.
    fn write(&self, n: u64, change: u64) {
        let (table, key) = (self.table(), key(n));
        let found = table.find_entry(key, key.mix()).or_else(|| table.insert(key, key.mix()));
        let dot = Dot { slot: Slot::at(n as usize), counter: change };
        let mark = Mark { dot, term: change as u32, tombstone: false };
        let value = [n << 32 | change].into_iter();
        table.write(found.expect("there is room"), Stamp::new(change, 0), false, mark.words(), value);
    }

    fn find(&self, n: u64) -> Position {
        self.table().find(key(n), key(n).mix()).expect("missed")
    }

    fn remove(&self, n: u64, change: u64) {
        self.table().remove(self.find(n), key(n).mix(), Stamp::new(change, 0));
    }

    /// Looks a key up; returns the change that it was found at. Panics when the record is torn.
    fn read(&self, n: u64) -> Result<u64, Lookup> {
        self.read_within(n, TRIES)
    }

    fn read_within(&self, n: u64, tries: u32) -> Result<u64, Lookup> {
        let mut value = [0; 8];
        let reader = Reader::new(self.table(), SHAPE);
        match reader.get_within(key(n), &mut value, tries) {
            Lookup::Found(meta) => Ok(whole(n, &value, meta.dot, meta.term)),
            nothing => Err(nothing),
        }
    }
}

/// Checks that key, dot, term and value are of one write; returns which.
fn whole(n: u64, value: &[u8; 8], dot: Dot, term: u32) -> u64 {
    let change = dot.counter;
    let expected = (n << 32 | change, n, change);
    assert_eq!((u64::from_le_bytes(*value), dot.slot.index() as u64, u64::from(term)), expected, "torn");
    change
}

/// Runs `change` once on an empty table, outside any interleaving, and returns the words that it leaves.
fn prepared(capacity: usize, change: impl Fn(&Shared) + Sync + Send + 'static) -> Vec<u64> {
    let result = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&result);
    explore(0, move || {
        let count = Layout::new(capacity, &SHAPE).table_words();
        let shared = Shared::restored(&std::vec![0; count], capacity);
        change(&shared);
        *kept.lock().unwrap() = shared.words.iter().map(|word| word.load(Ordering::Relaxed)).collect();
    });
    std::mem::take(&mut *result.lock().unwrap())
}

/// Key 1 is overwritten: a reader finds it, whole, and never goes back from a later write to an earlier one.
fn overwrite(preemptions: usize) {
    let words = prepared(1, |shared| shared.write(1, 1));
    explore(preemptions, move || {
        let shared = Shared::restored(&words, 1);
        let reader = shared.clone();
        let reader = thread::spawn(move || {
            let mut newest = 1;
            for _ in 0..2 {
                match reader.read(1) {
                    Ok(change) => {
                        assert!(change >= newest, "went back");
                        newest = change;
                    }
                    nothing => assert_eq!(nothing, Err(Lookup::Busy), "missed"),
                }
            }
        });
        shared.write(1, 2);
        shared.write(1, 4);
        reader.join().unwrap();
        assert_eq!(shared.read(1), Ok(4));
    });
}

/// Key 1 leaves and key 2 takes its slot and its place in the index, while a reader looks up `wanted`.
fn reuse(preemptions: usize, wanted: u64) {
    let words = prepared(1, |shared| shared.write(1, 1));
    explore(preemptions, move || {
        let shared = Shared::restored(&words, 1);
        let reader = shared.clone();
        let reader = thread::spawn(move || {
            if let Ok(change) = reader.read_within(wanted, 2 * TRIES) {
                assert_eq!(change, 2 * wanted - 1);
            }
        });
        shared.remove(1, 2);
        shared.write(2, 3);
        reader.join().unwrap();
        assert_eq!(shared.read(1), Err(Lookup::Absent));
        assert_eq!(shared.read(2), Ok(3));
    });
}

#[test]
fn an_overwritten_record_is_seen_whole() {
    overwrite(2);
}

#[test]
fn a_reused_slot_is_never_taken_for_its_last_key() {
    // A third preemption takes two minutes more.
    let preemptions = if std::env::var_os("POPMAP_LOOM_DEEP").is_some() { 3 } else { 2 };
    reuse(preemptions, 1);
    reuse(preemptions, 2);
}

/// Keys 1 and 2 leave, and key 3 takes the entry of the one and the slot of the other, while a reader looks up `wanted`:
/// it may see half of an entry of key 1 and half of one of key 3.
fn halves(preemptions: usize, wanted: u64) {
    let words = prepared(2, |shared| {
        shared.write(1, 1);
        shared.write(2, 2);
    });
    explore(preemptions, move || {
        let shared = Shared::restored(&words, 2);
        let reader = shared.clone();
        let reader = thread::spawn(move || {
            if let Ok(change) = reader.read(wanted) {
                assert_eq!(change, [0, 1, 2, 5][wanted as usize]);
            }
        });
        shared.remove(1, 3);
        shared.remove(2, 4);
        shared.write(3, 5);
        reader.join().unwrap();
        assert_eq!(shared.find(3), 1, "the slot of key 2");
    });
}

// Three tests, because they take the longest and run beside each other.
#[test]
fn halves_of_two_entries_lead_to_the_key_that_left_or_to_nothing() {
    halves(2, 1);
}

#[test]
fn halves_of_two_entries_lead_to_the_other_key_that_left_or_to_nothing() {
    halves(2, 2);
}

#[test]
fn halves_of_two_entries_lead_to_the_key_that_came_or_to_nothing() {
    halves(2, 3);
}

/// Returns the key whose entry shares a word of the index with that of key 1, which is the first in the table.
fn neighbour(words: &[u64], mut spread: impl Iterator<Item = u64>) -> u64 {
    // The lower halves of entries: positions, which are given out in order.
    let lower = words[TABLE_HEADER_WORDS + BUCKET_WORDS / 2];
    assert_eq!(lower as u16, 0, "key 1 is entered first");
    let other = (lower >> 16) as u16;
    assert_ne!(other, 0, "the neighbouring entry is in use");
    spread.nth(usize::from(other) - 1).expect("as many as positions")
}

/// Key 1 stays while its neighbour in the same word of the index leaves and another key takes that place.
#[test]
fn a_key_that_stays_is_found() {
    let spread = SPREAD..SPREAD + 12;
    let set_up = spread.clone();
    let words = prepared(13, move |shared| {
        shared.write(1, 1);
        set_up.clone().for_each(|n| shared.write(n, n));
    });
    let leaving = neighbour(&words, spread);
    explore(6, move || {
        let shared = Shared::restored(&words, 13);
        let reader = shared.clone();
        let reader = thread::spawn(move || {
            for _ in 0..2 {
                match reader.read(1) {
                    Ok(change) => assert_eq!(change, 1),
                    nothing => assert_eq!(nothing, Err(Lookup::Busy), "missed"),
                }
            }
        });
        shared.remove(leaving, 50);
        shared.write(2, 52);
        reader.join().unwrap();
        assert_eq!(
            (shared.read(1), shared.read(2), shared.read(leaving)),
            (Ok(1), Ok(52), Err(Lookup::Absent))
        );
    });
}

/// Keys 16 and 17 went on to the second bucket; 16 stays while 17 leaves and a key of the first bucket makes room.
#[test]
fn a_key_that_was_passed_on_is_found() {
    let words = prepared(17, |shared| (1..=17).for_each(|n| shared.write(n, n)));
    explore(6, move || {
        let shared = Shared::restored(&words, 17);
        let reader = shared.clone();
        // One slot at a time would be a model of sixteen slots: the key's own is enough.
        let reader = thread::spawn(move || {
            assert_eq!(reader.find(16), 15);
        });
        shared.remove(17, 20);
        shared.remove(3, 21);
        shared.write(18, 22);
        reader.join().unwrap();
    });
}

/// A pass over the table while a slot is reused: each record at most once, whole, and the one that stays is there.
#[test]
fn a_pass_sees_what_stays() {
    let words = prepared(2, |shared| {
        shared.write(1, 1);
        shared.write(2, 2);
    });
    explore(2, move || {
        let shared = Shared::restored(&words, 2);
        let reader = shared.clone();
        let reader = thread::spawn(move || {
            let mut seen = Vec::new();
            let mut records = Reader::new(reader.table(), SHAPE).records_within(2 * TRIES);
            let mut value = [0; 8];
            while let Some((key, meta)) = records.next_into(&mut value) {
                let n = key.words()[0];
                whole(n, &value, meta.dot, meta.term);
                seen.push(n);
            }
            assert_eq!(seen.iter().filter(|&&n| n == 2).count(), 1, "missed, or seen twice: {seen:?}");
            assert!(seen.len() <= 2);
        });
        shared.remove(1, 3);
        shared.write(3, 4);
        reader.join().unwrap();
    });
}

/// Each ordering of the protocol is needed: with one left out, a model above finds a torn record.
#[test]
fn each_ordering_left_out_is_noticed() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let caught =
        [Weakness::ReleaseFence, Weakness::AcquireFence, Weakness::ReleaseStore, Weakness::AcquireLoad].map(
            |weakness| {
                let run = || with_weakness(Some(weakness), || overwrite(2));
                let caught = std::panic::catch_unwind(run).is_err();
                with_weakness(None, || ());
                (weakness, caught)
            },
        );
    std::panic::set_hook(hook);
    assert!(caught.iter().all(|&(_, caught)| caught), "{caught:?}");
}
