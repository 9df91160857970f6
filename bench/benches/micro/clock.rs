//! Version vectors of 64 slots.

use std::hint::black_box;

use criterion::Criterion;
use popmap_core::clock::VersionVector;
use popmap_core::rng::Rng;

pub fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("version vector");
    let mut rng = Rng::new(1);
    let mut vector =
        || VersionVector::<64>::from_counters(std::array::from_fn(|_| 1 << 32 | rng.below(1 << 20)));
    let (mut a, b) = (vector(), vector());
    group.bench_function("compare", |bencher| bencher.iter(|| black_box(&a).compare(black_box(&b))));
    group.bench_function("covers", |bencher| bencher.iter(|| black_box(&a).covers_all(black_box(&a))));
    group.bench_function("exceeding", |bencher| bencher.iter(|| black_box(&a).exceeding(black_box(&b))));
    group.bench_function("join", |bencher| bencher.iter(|| black_box(&mut a).join(black_box(&b))));
    group.finish();
}
