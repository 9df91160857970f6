//! Packets: checking and filling them.

use std::hint::black_box;

use criterion::Criterion;
use popmap_bench::stream::{CLUSTER, PER_PACKET, SHAPE, SLOTS, Stream, replica, sealed};
use popmap_core::Slot;
use popmap_core::map::Request;
use popmap_core::wire;

pub fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wire");
    let mut stream = Stream::new(1_000, 3);
    let keys = stream.pick(PER_PACKET);
    let mut delta = stream.batch(&keys).full.remove(0);
    group.bench_function("decode/delta", |bencher| {
        bencher.iter(|| wire::parse(black_box(&delta), CLUSTER, &SHAPE, SLOTS).is_ok());
    });
    let map = replica(0, 1_000);
    let mut frame = [0; 1_400];
    let mut number = 0;
    group.bench_function("encode/version", |bencher| {
        bencher.iter(|| {
            let written = map.write_version(Slot::at(1), &Request::default(), black_box(&mut frame));
            let (envelope, len) = written.expect("a version fits");
            sealed(&mut frame[..len], &envelope, &mut number);
        });
    });
    let (envelope, _) = wire::parse(&delta, CLUSTER, &SHAPE, SLOTS).expect("the packet is valid");
    group.bench_function("encode/header and CRC of a delta", |bencher| {
        bencher.iter(|| sealed(black_box(&mut delta), &envelope, &mut number));
    });
    group.bench_function("CRC/crc32fast", |bencher| bencher.iter(|| crc32fast::hash(black_box(&delta))));
    group.finish();
}
