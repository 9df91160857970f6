//! Rule R1: records are totally ordered and merging takes the maximum, whatever the order, grouping or number of copies.

use std::cmp::Ordering;

use popmap_core::clock::Dot;
use popmap_core::map::Held;
use popmap_core::ownership::priority;
use popmap_core::rng::Rng;
use popmap_core::{Key, Life, Map, Shape, Slot};
use popmap_tests::forge::{Delta, Record};
use popmap_tests::link::{config, deliver, pull_all, sealed, started, storage};
use proptest::prelude::*;

const SLOTS: usize = 6;
/// The replicas that merge what slots 0 to 4 wrote.
const OBSERVER: usize = 5;
const SHAPE: Shape = Shape { schema: 1, value_len: 9 };
const KEYS: u64 = 3;

fn key(n: u64) -> Key {
    Key::from_name(&n.to_le_bytes())
}

/// Small ranges, so that every tie-break of the order is reached: term, slot, counter, kind and value.
fn record() -> impl Strategy<Value = Record> {
    let value = proptest::option::weighted(0.8, proptest::array::uniform9(0..3u8));
    (0..KEYS, 0..OBSERVER, 1..4u64, 1..4u32, value).prop_map(|(n, slot, counter, term, value)| Record {
        key: key(n),
        dot: Dot { slot: Slot::at(slot), counter: 1 << 32 | counter },
        term,
        value: value.map(Vec::from),
    })
}

/// R1, said a second time: (term, priority, slot, counter, tombstone, value bytes).
fn order(a: &Record, b: &Record) -> Ordering {
    let rank = |r: &Record| (r.term, priority(r.dot.slot, r.key), r.dot.slot, r.dot.counter);
    rank(a).cmp(&rank(b)).then_with(|| match (&a.value, &b.value) {
        (Some(a), Some(b)) => a.cmp(b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    })
}

/// Merges `records` in packets of `group`, none of which moves the version, so that nothing is skipped unread (R6).
fn merge(map: &mut Map<'_, SLOTS>, records: &[Record], group: usize) {
    for chunk in records.chunks(group) {
        let from = Slot::at(0);
        let packet = Delta {
            from,
            life: Life { generation: 1, id: 9 },
            to_life: map.life().id,
            range: (7, 8, 9),
            flags: 0,
            records: chunk,
            version: &[],
        };
        let outcome = deliver(map, &packet.packet(&SHAPE)).expect("taken").delta.expect("a delta");
        assert!(!outcome.committed && !outcome.refused);
    }
}

/// Everything that a replica holds: digest, records with their stamps, values.
type Contents = (u64, Vec<Option<Held>>, Vec<Option<Vec<u8>>>);

fn contents(map: &Map<'_, SLOTS>) -> Contents {
    let held = (0..KEYS).map(|n| map.inspect(key(n))).collect();
    let values = (0..KEYS).map(|n| {
        let mut value = vec![0; SHAPE.value_len.into()];
        matches!(map.reader().get(key(n), &mut value), popmap_core::Lookup::Found(_)).then_some(value)
    });
    (map.digest(0, u64::MAX), held, values.collect())
}

fn shuffled<T: Clone>(items: &[T], seed: u64) -> Vec<T> {
    let (mut items, mut rng) = (items.to_vec(), Rng::new(seed));
    for i in (1..items.len()).rev() {
        items.swap(i, rng.below(i as u64 + 1) as usize);
    }
    items
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn merging_takes_the_maximum(records in proptest::collection::vec(record(), 1..24), seed: u64) {
        let mut expected = None;
        for (round, group) in [(0, 1), (1, 24), (2, 3), (3, 2)] {
            let mut words = storage::<SLOTS>(8, &SHAPE);
            let mut map = started(&mut words, &config(OBSERVER, SLOTS, 8, SHAPE));
            merge(&mut map, &shuffled(&records, seed ^ round), group);
            if round > 1 {
                // Duplicates, in yet another order: nothing moves any more.
                let before = (contents(&map), map.log_head());
                merge(&mut map, &shuffled(&records, !seed), group);
                prop_assert_eq!((contents(&map), map.log_head()), before);
            }
            let held = contents(&map);
            for n in 0..KEYS {
                let best = records.iter().filter(|r| r.key == key(n)).max_by(|a, b| order(a, b));
                let stamp = best.map(|r| (r.dot, r.term, r.value.is_none()));
                let found = held.1[n as usize].map(|h| (h.dot, h.term, h.tombstone));
                prop_assert_eq!(found, stamp);
                prop_assert_eq!(&held.2[n as usize], &best.and_then(|r| r.value.clone()));
            }
            prop_assert_eq!(expected.get_or_insert_with(|| held.clone()), &held);
        }
    }

    #[test]
    fn the_order_is_total(a in record(), b in record(), c in record()) {
        let (b, c) = (Record { key: a.key, ..b }, Record { key: a.key, ..c });
        let wins = |a: &Record, b: &Record| {
            let mut words = storage::<SLOTS>(2, &SHAPE);
            let mut map = started(&mut words, &config(OBSERVER, SLOTS, 2, SHAPE));
            merge(&mut map, std::slice::from_ref(a), 1);
            let before = contents(&map);
            merge(&mut map, std::slice::from_ref(b), 1);
            contents(&map) == before
        };
        // Antisymmetric: both stand against each other only if they are the same record.
        prop_assert!(wins(&a, &b) || wins(&b, &a));
        prop_assert_eq!(wins(&a, &b) && wins(&b, &a), a == b);
        if wins(&a, &b) && wins(&b, &c) {
            prop_assert!(wins(&a, &c), "not transitive");
        }
    }

    #[test]
    fn replicas_that_saw_the_same_writes_are_equal(
        steps in proptest::collection::vec((0..3usize, 0..6u8, 0..KEYS), 1..40),
        seed: u64,
    ) {
        let (packets, writers) = (&mut Vec::new(), &mut [const { Vec::new() }; 3]);
        let [a, b, c] = writers;
        let mut maps = [(0, a), (1, b), (2, c)].map(|(slot, words)| {
            *words = storage::<SLOTS>(16, &SHAPE);
            started::<SLOTS>(words, &config(slot, SLOTS, 16, SHAPE))
        });
        let mut frame = [0; 1_400];
        for (step, &(writer, action, n)) in steps.iter().enumerate() {
            match action {
                0..=2 => assert!(maps[writer].put(key(n), &[step as u8; 9]).is_ok()),
                3 => {
                    // Often there is nothing to remove.
                    let _ = maps[writer].remove(key(n));
                }
                _ => {
                    let other = (writer + 1 + n as usize % 2) % 3;
                    let [writer, other] = maps.get_disjoint_mut([writer, other]).expect("two of them");
                    pull_all(other, writer, &mut frame);
                }
            }
            let written = maps[writer].write_push(Slot::at(OBSERVER), &mut frame);
            packets.extend(sealed(&mut frame, written).map(<[u8]>::to_vec));
        }
        let mut first = None;
        for round in 0..3 {
            let mut words = storage::<SLOTS>(16, &SHAPE);
            let mut observer = config(OBSERVER, SLOTS, 16, SHAPE);
            // A life of its own: the writers know what the last one had.
            observer.life = Life { generation: 1 + round as u32, id: 100 + round };
            let mut observer = started(&mut words, &observer);
            let twice = [shuffled(packets, seed ^ round), shuffled(packets, seed.rotate_left(9) ^ round)].concat();
            let half = twice.len() / 2;
            twice[..half].iter().for_each(|packet| assert!(deliver(&mut observer, packet).is_ok()));
            // Then each writer's whole log, in some order: pushes may have been announcements only.
            shuffled(&[0, 1, 2], seed ^ round).into_iter().for_each(|i: usize| pull_all(&mut maps[i], &mut observer, &mut frame));
            twice[half..].iter().for_each(|packet| assert!(deliver(&mut observer, packet).is_ok()));
            let seen = (contents(&observer), *observer.version());
            prop_assert_eq!(first.get_or_insert_with(|| seen.clone()), &seen);
        }
        // The writers too, once they have heard of each other.
        for _ in 0..2 {
            for (i, j) in [(0, 1), (1, 2), (2, 0)] {
                let [left, right] = maps.get_disjoint_mut([i, j]).expect("two of them");
                pull_all(left, right, &mut frame);
                pull_all(right, left, &mut frame);
            }
        }
        let (observed, version) = first.expect("three rounds");
        for map in &maps {
            prop_assert_eq!(&contents(map), &observed);
            prop_assert_eq!(map.version(), &version);
        }
    }
}
