//! Readers on real threads while one thread writes flat out, slots reused among it: no torn record, none missed.
//!
//! Each value is made of its key and of the counter of its write, so a mixture of two records shows. The loom models in
//! core prove the orderings at small scope; here are real caches, real preemption and real numbers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use popmap_core::limits::QUARANTINE;
use popmap_core::map::Meta;
use popmap_core::rng::Rng;
use popmap_core::time::Instant;
use popmap_core::{Key, Lookup, Map, PutError, Reader, Shape};
use popmap_tests::link::{config, started, storage};

const CAPACITY: usize = 300;
/// Keys that are always there.
const STAYING: u64 = 64;
/// Keys that come and go, beside them: more than there are slots for.
const PASSING: u64 = 400;
const WRITES: u64 = 2_000_000;
const WORDS: usize = 5;
const SHAPE: Shape = Shape { schema: 1, value_len: 8 * WORDS as u16 };

fn key(n: u64) -> Key {
    Key::from_name(&n.to_le_bytes())
}

fn value(key: Key, counter: u64) -> [u8; 8 * WORDS] {
    let mut rng = Rng::new(key.mix() ^ counter);
    let mut bytes = [0; 8 * WORDS];
    bytes.chunks_mut(8).for_each(|word| word.copy_from_slice(&rng.next_u64().to_le_bytes()));
    bytes
}

fn check(key: Key, bytes: &[u8], meta: &Meta) {
    assert_eq!(bytes, value(key, meta.dot.counter), "torn: {key:?} at {:?}", meta.dot);
}

fn put(map: &mut Map<'_, 64>, key: Key) {
    let counter = map.version().get(map.slot()).max(u64::from(map.life().generation) << 32) + 1;
    match map.put(key, &value(key, counter)) {
        Ok(dot) => assert_eq!(dot.counter, counter),
        Err(why) => assert_eq!(why, PutError::Full),
    }
}

/// Writes until the count is reached.
fn write(map: &mut Map<'_, 64>) {
    let (mut rng, mut now) = (Rng::new(5), Instant::ZERO);
    for step in 0..WRITES {
        put(map, key(rng.below(STAYING)));
        let passing = key(STAYING + rng.below(PASSING));
        if step % 2 == 0 {
            put(map, passing);
        } else {
            // Often it is not there.
            let _ = map.remove(passing);
        }
        if step % 64 == 0 {
            // Alone in the PoP: one sweep observes, the next one after the quarantine collects.
            now = now + QUARANTINE;
            map.advance(now);
            map.sweep(CAPACITY);
        }
    }
}

/// What a reader saw.
#[derive(Default, Debug)]
struct Seen {
    found: u64,
    absent: u64,
    busy: u64,
    passes: u64,
}

fn read(reader: Reader<'_>, seed: u64, done: &AtomicBool) -> Seen {
    let (mut rng, mut seen, mut buffer) = (Rng::new(seed), Seen::default(), [0; 8 * WORDS]);
    let staying: HashMap<Key, usize> = (0..STAYING).map(|n| (key(n), n as usize)).collect();
    while !done.load(Ordering::Relaxed) {
        for _ in 0..2_000 {
            let n = rng.below(STAYING + PASSING);
            match reader.get(key(n), &mut buffer) {
                Lookup::Found(meta) => {
                    check(key(n), &buffer, &meta);
                    seen.found += 1;
                }
                Lookup::Absent => {
                    assert!(n >= STAYING, "missed key {n}");
                    seen.absent += 1;
                }
                Lookup::Busy => seen.busy += 1,
            }
        }
        let (mut records, mut times) = (reader.records(), [0; STAYING as usize]);
        while let Some((key, meta)) = records.next_into(&mut buffer) {
            check(key, &buffer, &meta);
            if let Some(&n) = staying.get(&key) {
                times[n] += 1;
            }
        }
        let missed = times.iter().filter(|&&times| times == 0).count();
        assert!(times.iter().all(|&times| times <= 1), "seen twice");
        assert!(missed <= records.skipped(), "{missed} missed, {} skipped", records.skipped());
        seen.passes += 1;
    }
    seen
}

#[test]
pub(crate) fn no_record_is_torn_and_none_that_stays_is_missed() {
    let mut words = storage::<64>(CAPACITY, &SHAPE);
    let mut map = started::<64>(&mut words, &config(0, 1, CAPACITY, SHAPE));
    (0..STAYING).for_each(|n| put(&mut map, key(n)));
    let (reader, done) = (map.reader(), AtomicBool::new(false));
    let seen = thread::scope(|scope| {
        let readers = [11, 12, 13].map(|seed| {
            let done = &done;
            scope.spawn(move || read(reader, seed, done))
        });
        write(&mut map);
        done.store(true, Ordering::Relaxed);
        readers.map(|reader| reader.join().expect("a reader's assertion"))
    });
    let (stats, collected) = (map.stats(), map.stats().tombstones_collected);
    println!("{} puts, {} removes, {collected} slots freed; readers: {seen:?}", stats.puts, stats.removes);
    assert!(collected > 10 * CAPACITY as u64, "slots were reused");
    for Seen { found, absent, busy, passes } in seen {
        assert!(found > 0 && absent > 0 && passes > 0, "each reader had its turn");
        assert!(busy < found, "busy is the exception");
    }
}
