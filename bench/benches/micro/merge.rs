//! Whole packets: merging deltas of every kind, building them, and a node that takes one and sends what is due.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion};
use popmap_bench::ping;
use popmap_bench::stream::{
    Batch, CLUSTER, FOLLOWER, NOW, PER_PACKET, Packet, SHAPE, SLOTS, Stream, WRITERS_MAX, ask, build,
    capacity, key, merge, records, replica,
};
use popmap_core::time::Duration;
use popmap_core::{Address, Config, Life, Map, Node, Slot};
use popmap_io::Storage;

use crate::{BURST, measured, timed};

const KEYS: usize = 50_000;
/// Keys of the maps that are filled anew again and again.
const FEW_KEYS: usize = BURST * PER_PACKET;

fn take(node: &mut Node<'_, SLOTS>, packets: &[Packet]) {
    for packet in packets {
        node.handle_packet(NOW, Address::default(), black_box(packet)).expect("the packet is valid");
    }
}

pub fn benches(criterion: &mut Criterion) {
    newer(criterion);
    from_nothing(criterion);
    delta(criterion);
    swim(criterion);
}

/// Packets whose records are newer than those in the map, and the same once more.
fn newer(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("merge a packet");
    for (keys, writers) in [(1_000, 3), (KEYS, 3), (KEYS, WRITERS_MAX), (1_000_000, 3)] {
        let mut stream = Stream::new(keys, writers);
        let mut node = stream.node();
        let id = |kind: &str| BenchmarkId::new(kind, format!("{keys} keys, {writers} writers"));
        let mut again = None;
        group.bench_function(id("newer"), |bencher| {
            bencher.iter_custom(|iterations| {
                measured(iterations, |_| {
                    let Batch { full, rest } = next(&mut stream);
                    let took = timed(|| take(&mut node, &full));
                    take(&mut node, &rest);
                    let count = full.len() as u64;
                    again = Some(full);
                    (count, took)
                })
            });
        });
        if let Some(packets) = again {
            let mut packets = packets.iter().cycle();
            group.bench_function(id("duplicate"), |bencher| {
                bencher.iter(|| {
                    let packet = packets.next().expect("there are packets");
                    node.handle_packet(NOW, Address::default(), black_box(packet)).is_ok()
                });
            });
        }
        if keys == KEYS && writers == 3 {
            let mut frame = [0; 1_400];
            group.bench_function("newer, and sending what is due", |bencher| {
                bencher.iter_custom(|iterations| {
                    measured(iterations, |_| {
                        let Batch { full, rest } = next(&mut stream);
                        let took = timed(|| {
                            for packet in &full {
                                node.handle_packet(NOW, Address::default(), black_box(packet))
                                    .expect("the packet is valid");
                                while node.poll_transmit(NOW, black_box(&mut frame)).is_some() {}
                            }
                        });
                        take(&mut node, &rest);
                        (full.len() as u64, took)
                    })
                });
            });
        }
    }
    group.finish();
}

fn next(stream: &mut Stream) -> Batch {
    let packets = BURST.min(stream.keys() / PER_PACKET);
    let keys = stream.pick(packets * PER_PACKET);
    stream.batch(&keys)
}

/// Packets of records that a follower does not have yet, and of records that were written concurrently to those it has.
fn from_nothing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("merge a packet");
    // Two servers that wrote the same keys, unaware of each other: equal terms, and rendezvous decides.
    let packets = [0, 1].map(|writer| {
        let mut map = replica(writer, FEW_KEYS);
        let mut follower = replica(FOLLOWER, FEW_KEYS);
        (0..FEW_KEYS as u64)
            .for_each(|i| _ = map.put(key(i), &[writer as u8; 24]).expect("the map has room"));
        packets(&mut map, &mut follower)
    });
    let life = Life { generation: 1, id: FOLLOWER as u64 + 1 };
    let config = Config::new(CLUSTER, Slot::at(FOLLOWER), life, capacity(FEW_KEYS), SHAPE);
    let config = Config { swim: None, start_within: Duration::ZERO, ..config };
    for (kind, before, measured_ones) in [("new", None, 0), ("concurrent", Some(0), 1)] {
        group.bench_function(kind, |bencher| {
            bencher.iter_custom(|iterations| {
                measured(iterations, |_| {
                    let mut storage = Storage::new(Node::<SLOTS>::words(&config));
                    let mut node = Box::new(
                        Node::new(NOW, storage.words_mut(), &config).expect("the configuration is valid"),
                    );
                    if let Some(before) = before {
                        take(&mut node, &packets[before]);
                    }
                    let conflicts = node.map().stats().conflicts;
                    let took = timed(|| take(&mut node, &packets[measured_ones]));
                    let expected = if before.is_some() { FEW_KEYS as u64 } else { 0 };
                    assert_eq!(node.map().stats().conflicts - conflicts, expected);
                    (packets[measured_ones].len() as u64, took)
                })
            });
        });
    }
    group.finish();
}

/// Returns the full packets that bring `follower` what `map` has.
fn packets(map: &mut Map<'_>, follower: &mut Map<'_>) -> Vec<Packet> {
    let (mut packets, mut number) = (Vec::<Packet>::new(), 0);
    while follower.version() != map.version() {
        ask(follower, map, u16::MAX, &mut number);
        let mut frame = [0; 1_400];
        while let Some(len) = build(map, follower.slot(), &mut frame, &mut number) {
            merge(follower, &frame[..len]);
            if records(&frame[..len]).len() >= PER_PACKET - 1 {
                packets.push(frame[..len].into());
            }
        }
    }
    packets
}

fn delta(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("build a delta packet");
    for (name, checksum) in [("without checksum", false), ("with checksum", true)] {
        for keys in [1_000, KEYS] {
            let mut stream = Stream::new(keys, 1);
            group.bench_function(BenchmarkId::new(name, keys), |bencher| {
                bencher.iter_custom(|iterations| {
                    measured(iterations, |_| {
                        let changed = stream.pick(BURST * PER_PACKET);
                        let mut took = std::time::Duration::ZERO;
                        stream.build(&changed, checksum, |build| took = timed(build));
                        (BURST as u64, took)
                    })
                });
            });
        }
    }
    group.finish();
}

fn swim(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("swim");
    let (mut node, mut incarnation) = (ping::node(), 0);
    group.bench_function("a ping with 30 changes, and the ack", |bencher| {
        bencher.iter_custom(|iterations| {
            measured(iterations, |_| {
                let packets: Vec<_> = (1..=BURST as u32).map(|n| ping::packet(incarnation + n)).collect();
                incarnation += BURST as u32;
                (BURST as u64, timed(|| _ = ping::take(&mut node, &packets)))
            })
        });
    });
    group.finish();
}
