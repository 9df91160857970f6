//! Owners among 64 servers, equal and weighted, and after a death.

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use popmap_bench::kernels::{Deaths, everybody};
use popmap_bench::stream::SLOTS;
use popmap_core::Slot;

use crate::{measured, timed};

pub fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ownership");
    let (mut deaths, everybody) = (Deaths::default(), everybody());
    let mut weighted = everybody;
    (0..SLOTS).for_each(|slot| weighted.set_weight(Slot::at(slot), 100 + slot as u16));
    for (name, owners) in [("equal", &everybody), ("weighted", &weighted)] {
        let mut next = deaths.keys().iter().cycle();
        let mut next = || *next.next().expect("there are keys");
        group.bench_function(format!("owner, {name}"), |bencher| {
            bencher.iter(|| owners.owner(black_box(next())));
        });
        let mut best = [Slot::at(0); 3];
        group.bench_function(format!("three owners, {name}"), |bencher| {
            bencher.iter(|| owners.owners(black_box(next()), &mut best));
        });
    }
    let mut dead = 0;
    group.bench_function("50,000 keys after a death", |bencher| {
        bencher.iter_custom(|iterations| {
            measured(iterations, |_| {
                dead = (dead + 1) % SLOTS;
                let mut took = Duration::ZERO;
                deaths.die(Slot::at(dead), |reassign| took = timed(reassign));
                (1, took)
            })
        });
    });
    group.finish();
}
