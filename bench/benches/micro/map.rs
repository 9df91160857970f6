//! The table by way of the map: lookups, inserts, updates and removals at several loads, all warm.
//!
//! An eighth of a map is kept for remote records, so a writer fills it to 0.875.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion};
use popmap_bench::stream::{SHAPE, SLOTS, key, replica_in};
use popmap_core::{Key, Lookup, Map};
use popmap_io::Storage;

use crate::{measured, timed};

/// Records that the map has room for: with these it stays within the second-level cache.
const CAPACITY: usize = 8_000;
/// Keys that are inserted or removed in one go: a hundredth of the map, so that the load hardly moves.
const FEW: usize = CAPACITY / 100;
const LOADS: [f64; 4] = [0.5, 0.6, 0.75, 0.86];

/// Returns a map with these keys.
fn filled<'s>(storage: &'s mut [u64], keys: &[Key]) -> Map<'s> {
    let mut map = replica_in(storage, 0, CAPACITY);
    keys.iter().for_each(|&key| _ = map.put(key, &[7; 24]).expect("the map has room"));
    map
}

pub fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("table");
    let words = Map::<SLOTS>::words(CAPACITY, &SHAPE);
    for load in LOADS {
        let count = (CAPACITY as f64 * load) as usize;
        let keys: Vec<Key> = (0..(count + FEW) as u64).map(key).collect();
        let (present, absent) = keys.split_at(count);
        let value = [7; 24];
        let mut storage = Storage::new(words);
        let id = |operation: &str| BenchmarkId::new(operation, load);
        {
            let mut map = filled(storage.words_mut(), present);
            let reader = map.reader();
            let mut next = present.iter().cycle();
            let mut out = value;
            group.bench_function(id("lookup"), |bencher| {
                bencher.iter(|| {
                    let key = *next.next().expect("there are keys");
                    assert!(matches!(reader.get(black_box(key), &mut out), Lookup::Found(_)));
                });
            });
            let mut next = absent.iter().cycle();
            group.bench_function(id("lookup, absent"), |bencher| {
                bencher.iter(|| {
                    let key = *next.next().expect("there are keys");
                    assert!(matches!(reader.get(black_box(key), &mut out), Lookup::Absent));
                });
            });
            let mut next = present.iter().cycle();
            group.bench_function(id("update"), |bencher| {
                bencher.iter(|| map.put(*next.next().expect("there are keys"), black_box(&value)).is_ok());
            });
        }
        group.bench_function(id("insert"), |bencher| {
            bencher.iter_custom(|iterations| {
                measured(iterations, |left| {
                    storage = Storage::new(words);
                    let mut map = filled(storage.words_mut(), present);
                    let absent = &absent[..FEW.min(left as usize)];
                    let took = timed(|| {
                        absent
                            .iter()
                            .for_each(|&key| _ = map.put(black_box(key), &value).expect("the map has room"));
                    });
                    (absent.len() as u64, took)
                })
            });
        });
        group.bench_function(id("remove"), |bencher| {
            bencher.iter_custom(|iterations| {
                measured(iterations, |left| {
                    storage = Storage::new(words);
                    let mut map = filled(storage.words_mut(), present);
                    let some = &present[..FEW.min(left as usize)];
                    let took = timed(|| {
                        some.iter()
                            .for_each(|&key| _ = map.remove(black_box(key)).expect("the key is there"));
                    });
                    (some.len() as u64, took)
                })
            });
        });
    }
    group.finish();
}
