//! Owners among 64 servers, equal and weighted, and after a death.

use std::hint::black_box;

use criterion::Criterion;
use popmap_bench::stream::{SLOTS, key};
use popmap_core::ownership::Owners;
use popmap_core::{Key, Slot, SlotSet};

use crate::{measured, timed};

const KEYS: u64 = 50_000;

pub fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ownership");
    let keys: Vec<Key> = (0..KEYS).map(key).collect();
    let everybody = Owners::equal(SlotSet::first(SLOTS));
    let mut weighted = everybody;
    (0..SLOTS).for_each(|slot| weighted.set_weight(Slot::at(slot), 100 + slot as u16));
    for (name, owners) in [("equal", &everybody), ("weighted", &weighted)] {
        let mut next = keys.iter().cycle();
        let mut next = || *next.next().expect("there are keys");
        group.bench_function(format!("owner, {name}"), |bencher| {
            bencher.iter(|| owners.owner(black_box(next())));
        });
        let mut best = [Slot::at(0); 3];
        group.bench_function(format!("three owners, {name}"), |bencher| {
            bencher.iter(|| owners.owners(black_box(next()), &mut best));
        });
    }
    let mut owned = vec![Slot::at(0); keys.len()];
    everybody.reassign(&Owners::equal(SlotSet::EMPTY), &mut owned, |i| keys[i], |_, _| ());
    let mut dead = 0;
    group.bench_function("50,000 keys after a death", |bencher| {
        bencher.iter_custom(|iterations| {
            measured(iterations, |_| {
                dead = (dead + 1) % SLOTS;
                let rest = Owners::equal(SlotSet::first(SLOTS).without(Slot::at(dead)));
                let took = timed(|| rest.reassign(&everybody, &mut owned, |i| keys[i], |_, _| ()));
                everybody.reassign(&rest, &mut owned, |i| keys[i], |_, _| ());
                (1, took)
            })
        });
    });
    group.finish();
}
