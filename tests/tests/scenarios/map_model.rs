//! One map against a `BTreeMap`: put, remove, get, iterate and remote records, with a full table (rule R3).

use std::collections::BTreeMap;

use popmap_core::clock::Dot;
use popmap_core::map::Request;
use popmap_core::wire::DeltaFixed;
use popmap_core::{
    Event, Key, Life, Lookup, Map, MapError, Phase, PutError, RemoveError, Shape, Slot, time::Instant,
};
use popmap_tests::forge::{Delta, Record};
use popmap_tests::link::{config, deliver, pull, sealed, started, storage};
use proptest::prelude::*;

const SHAPE: Shape = Shape { schema: 1, value_len: 5 };
const PEER: Slot = Slot::at(1);
const PEER_LIFE: Life = Life { generation: 1, id: 77 };
const CAPACITY: usize = 17;
/// What only remote records may use: an eighth at least.
const RESERVE: usize = 3;

fn key(n: u8) -> Key {
    Key::from_name(&[n])
}

/// A forged record of the peer's.
fn remote(n: u8, counter: u64, term: u32, value: Option<[u8; 5]>) -> Record {
    let dot = Dot { slot: PEER, counter: 1 << 32 | counter };
    Record { key: key(n), dot, term, value: value.map(Vec::from) }
}

/// Hands `records` to `map` as the peer's whole log, so that a commit follows if there is room.
fn take(map: &mut Map<'_, 2>, records: &[Record]) -> popmap_core::map::DeltaOutcome {
    let newest = records.iter().map(|record| record.dot.counter).max();
    let version: Vec<_> = newest.into_iter().map(|counter| Dot { slot: PEER, counter }).collect();
    // Its log has an entry for each of its writes.
    let head = newest.map_or(0, |counter| counter & u64::from(u32::MAX));
    let packet = Delta {
        from: PEER,
        life: PEER_LIFE,
        to_life: map.life().id,
        range: (0, head, head),
        flags: DeltaFixed::FROM_BASE | DeltaFixed::COMPLETE,
        records,
        version: &version,
    };
    deliver(map, &packet.packet(&SHAPE)).expect("taken").delta.expect("a delta")
}

#[derive(Clone, Debug)]
enum Op {
    Put(u8, [u8; 5]),
    Remove(u8),
    Remote(u8, Option<[u8; 5]>),
}

fn op() -> impl Strategy<Value = Op> {
    let n = 0..26u8;
    prop_oneof![
        4 => (n.clone(), any::<[u8; 5]>()).prop_map(|(n, value)| Op::Put(n, value)),
        2 => n.clone().prop_map(Op::Remove),
        1 => (n, proptest::option::of(any::<[u8; 5]>())).prop_map(|(n, value)| Op::Remote(n, value)),
    ]
}

/// What the map is to hold: `None` is a tombstone.
type Model = BTreeMap<Key, Option<[u8; 5]>>;

fn check(map: &Map<'_, 2>, model: &Model) {
    assert_eq!(map.len(), model.len());
    assert_eq!(map.tombstones(), model.values().filter(|value| value.is_none()).count());
    let (reader, mut value) = (map.reader(), [0; 5]);
    for n in 0..26 {
        let found = matches!(reader.get(key(n), &mut value), Lookup::Found(_)).then_some(value);
        assert_eq!(found, model.get(&key(n)).copied().flatten(), "key {n}");
        assert_eq!(map.inspect(key(n)).map(|held| held.tombstone), model.get(&key(n)).map(Option::is_none));
    }
    let (mut records, mut seen) = (reader.records(), BTreeMap::new());
    while let Some((key, meta)) = records.next_into(&mut value) {
        assert_eq!(seen.insert(key, value), None, "{key:?} came twice");
        let held = map.inspect(key).expect("what is iterated is there");
        assert_eq!((meta.dot, meta.term), (held.dot, held.term));
    }
    assert_eq!(records.skipped(), 0);
    let live = model.iter().filter_map(|(&key, &value)| Some((key, value?)));
    assert_eq!(seen, live.collect());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_btree_map(ops in proptest::collection::vec(op(), 1..90)) {
        let mut words = storage::<2>(CAPACITY, &SHAPE);
        let mut map = started::<2>(&mut words, &config(0, 2, CAPACITY, SHAPE));
        let mut model = Model::new();
        let mut last = 0;
        for (i, op) in (1..).zip(ops) {
            let version = *map.version();
            match op {
                Op::Put(n, value) => {
                    let room = model.contains_key(&key(n)) || model.len() < CAPACITY - RESERVE;
                    match map.put(key(n), &value) {
                        Ok(dot) => {
                            prop_assert!(room && dot.counter > last && dot.slot == map.slot());
                            last = dot.counter;
                            model.insert(key(n), Some(value));
                        }
                        Err(why) => {
                            prop_assert_eq!(why, PutError::Full);
                            prop_assert!(!room);
                        }
                    }
                }
                Op::Remove(n) => match map.remove(key(n)) {
                    Ok(dot) => {
                        prop_assert!(dot.counter > last);
                        last = dot.counter;
                        prop_assert!(matches!(model.insert(key(n), None), Some(Some(_))));
                    }
                    Err(why) => {
                        prop_assert_eq!(why, RemoveError::NotFound);
                        prop_assert!(!matches!(model.get(&key(n)), Some(Some(_))));
                    }
                },
                Op::Remote(n, value) => {
                    let term = map.inspect(key(n)).map_or(1, |held| held.term + 1);
                    let outcome = take(&mut map, &[remote(n, i, term, value)]);
                    if model.contains_key(&key(n)) || model.len() < CAPACITY {
                        prop_assert!(!outcome.refused);
                        let dot = Dot { slot: PEER, counter: 1 << 32 | i };
                        prop_assert!(map.version().covers(dot));
                        model.insert(key(n), value);
                    } else {
                        prop_assert!(outcome.refused && !outcome.committed);
                        prop_assert_eq!(map.version(), &version);
                    }
                }
            }
            check(&map, &model);
        }
    }
}

#[test]
fn the_reserve_is_an_eighth_at_least() {
    for capacity in [1, 2, 3, 7, 8, 9, 15, 16, 17, 100, 1_000] {
        let mut words = storage::<2>(capacity, &SHAPE);
        let mut map = started::<2>(&mut words, &config(0, 2, capacity, SHAPE));
        let key = |n: usize| Key::from_name(&n.to_le_bytes());
        let room = (0..).take_while(|&n| map.put(key(n), &[1; 5]).is_ok()).count();
        // A map of one record has none to spare.
        let reserve = if capacity == 1 { 0 } else { capacity.div_ceil(8) };
        assert_eq!(room, capacity - reserve, "capacity {capacity}");
        assert_eq!(map.put(key(room), &[1; 5]), Err(PutError::Full));
        assert_eq!(map.stats().puts_refused, 2);
        // What is there can be overwritten and deleted, and written again over its tombstone.
        map.put(key(0), &[2; 5]).expect("an overwrite takes no room");
        map.remove(key(0)).expect("a tombstone takes no room");
        map.put(key(0), &[3; 5]).expect("nor does what replaces it");
        assert_eq!(map.len(), room);
    }
}

#[test]
fn a_refused_record_keeps_the_version_where_it_is() {
    let mut words = storage::<2>(CAPACITY, &SHAPE);
    let mut map = started::<2>(&mut words, &config(0, 2, CAPACITY, SHAPE));
    for n in 0..14 {
        map.put(key(n), &[n; 5]).expect("there is room");
    }
    assert_eq!(map.put(key(14), &[14; 5]), Err(PutError::Full));
    while map.poll_event().is_some() {}

    // The reserve takes three of the peer's records.
    let fits: Vec<_> = (14..17).map(|n| remote(n, u64::from(n), 1, Some([n; 5]))).collect();
    assert!(take(&mut map, &fits).committed);
    assert_eq!((map.len(), map.poll_event()), (CAPACITY, None));

    // One more does not fit: what does is applied all the same, nothing is accounted for, and it is told once.
    let version = *map.version();
    let more = [remote(20, 30, 1, Some([1; 5])), remote(0, 31, 9, Some([2; 5]))];
    for round in 1..=3 {
        let outcome = take(&mut map, &more);
        assert!(outcome.refused && !outcome.committed && !outcome.progress);
        assert_eq!(*map.version(), version);
        assert_eq!(map.stats().records_refused, round);
        assert_eq!(map.inspect(key(0)).expect("overwritten").dot.slot, PEER);
        // Who owns the key that was overwritten is none of this test's business.
        let told = std::iter::from_fn(|| map.poll_event());
        let told: Vec<_> = told.filter(|event| !matches!(event, Event::Superseded { .. })).collect();
        assert_eq!(told, [Event::Full][..usize::from(round == 1)]);
        // A packet that brings nothing new resolves nothing.
        assert!(!take(&mut map, &fits).refused);
    }
    // Nothing live was given up for it.
    (1..17).for_each(|n| assert!(map.inspect(key(n)).is_some()));
}

#[test]
fn every_refusal_has_its_name() {
    let mut words = storage::<2>(CAPACITY, &SHAPE);
    let mut waiting = config(0, 2, CAPACITY, SHAPE);
    waiting.start_deadline = Instant::from_millis(1);
    let mut map = started::<2>(&mut words, &waiting);
    assert_eq!(map.phase(), Phase::Starting);
    assert_eq!(map.put(key(1), &[0; 5]), Err(PutError::Starting));
    assert_eq!(map.remove(key(1)), Err(RemoveError::Refused(PutError::Starting)));
    map.advance(Instant::from_millis(1));
    assert_eq!(map.poll_event(), Some(Event::Started { expired: true }));
    assert_eq!(map.put(key(1), &[0; 4]), Err(PutError::ValueLength { given: 4, expected: 5 }));
    assert_eq!(map.remove(key(1)), Err(RemoveError::NotFound));
    map.put(key(1), &[0; 5]).expect("now it may");
    map.remove(key(1)).expect("it is there");
    assert_eq!(map.remove(key(1)), Err(RemoveError::NotFound));

    // At the last term there is no overwriting another slot's record; its own writer may go on.
    take(&mut map, &[remote(2, 1, u32::MAX, Some([7; 5]))]);
    let before = (map.digest(0, u64::MAX), *map.version(), map.log_head());
    assert_eq!(map.put(key(2), &[0; 5]), Err(PutError::TermExhausted));
    assert_eq!(map.remove(key(2)), Err(RemoveError::Refused(PutError::TermExhausted)));
    assert_eq!((map.digest(0, u64::MAX), *map.version(), map.log_head()), before);

    // A greater life in our slot fences us.
    let mut words = storage::<2>(CAPACITY, &SHAPE);
    let mut rival = config(0, 2, CAPACITY, SHAPE);
    rival.life = Life { generation: 2, id: 5 };
    let rival = started::<2>(&mut words, &rival);
    let mut frame = [0; 200];
    let written = rival.write_version(PEER, &Request::default(), &mut frame);
    deliver(&mut map, sealed(&mut frame, written).expect("it fits")).expect_err("a slot conflict");
    assert_eq!(map.phase(), Phase::Fenced);
    assert_eq!(map.put(key(3), &[0; 5]), Err(PutError::Fenced));
    assert_eq!(map.remove(key(3)), Err(RemoveError::Refused(PutError::Fenced)));
}

/// The last counter of a slot can never be written above: its server is fenced before it would run out.
#[test]
fn no_life_can_follow_the_last_counter() {
    let mut words = storage::<2>(CAPACITY, &SHAPE);
    let mut waiting = config(0, 2, CAPACITY, SHAPE);
    waiting.start_deadline = Instant::from_millis(1);
    let mut map = started::<2>(&mut words, &waiting);
    let packet = Delta {
        from: PEER,
        life: PEER_LIFE,
        to_life: map.life().id,
        range: (0, 0, 0),
        flags: DeltaFixed::FROM_BASE | DeltaFixed::COMPLETE,
        records: &[],
        version: &[Dot { slot: map.slot(), counter: u64::MAX }],
    };
    deliver(&mut map, &packet.packet(&SHAPE)).expect("taken");
    map.advance(Instant::from_millis(1));
    assert_eq!(map.phase(), Phase::Fenced);
    assert_eq!(map.poll_event(), Some(Event::Fenced { by: Life::NONE }));
    assert_eq!(map.put(key(1), &[0; 5]), Err(PutError::Fenced));
}

#[test]
fn a_full_map_serves_what_it_has() {
    let (mut words, mut other) = (storage::<2>(CAPACITY, &SHAPE), storage::<2>(40, &SHAPE));
    let mut map = started::<2>(&mut words, &config(0, 2, CAPACITY, SHAPE));
    let mut peer = started::<2>(&mut other, &config(1, 2, 40, SHAPE));
    for n in 0..30 {
        peer.put(key(n), &[n; 5]).expect("there is room");
    }
    let mut frame = [0; 1_400];
    let outcome = pull(&mut peer, &mut map, 8, &mut frame);
    assert!(outcome.refused && !outcome.committed);
    assert_eq!((map.len(), map.version().get(PEER)), (CAPACITY, 0));
    let held = (0..30).filter(|&n| map.inspect(key(n)).is_some()).count();
    assert_eq!(held, CAPACITY);
    // A restart as a new life with more room is the way out.
    let mut roomy = config(0, 2, 40, SHAPE);
    roomy.life = Life { generation: 2, id: 3 };
    let mut words = storage::<2>(40, &SHAPE);
    let mut map = started::<2>(&mut words, &roomy);
    assert!(pull(&mut peer, &mut map, 8, &mut frame).committed);
    assert_eq!((map.len(), map.version()), (30, peer.version()));
}

#[test]
fn a_map_says_why_it_cannot_be_built() {
    let mut words = storage::<2>(4, &SHAPE);
    let good = config(0, 2, 4, SHAPE);
    let needed = words.len();
    let short = Map::<2>::new(&mut words[..needed - 1], &good).err();
    assert_eq!(short, Some(MapError::Storage { needed, given: needed - 1 }));
    for (config, why) in [
        (config(1, 1, 4, SHAPE), MapError::Slot { slot: PEER, slots: 2 }),
        (config(0, 3, 4, SHAPE), MapError::Slot { slot: Slot::at(0), slots: 2 }),
        (popmap_core::MapConfig { life: Life::NONE, ..good }, MapError::Life),
        (config(0, 2, 0, SHAPE), MapError::Capacity(0)),
        (config(0, 2, (1 << 22) + 1, SHAPE), MapError::Capacity((1 << 22) + 1)),
        (config(0, 2, 4, Shape { value_len: 513, ..SHAPE }), MapError::ValueLength(513)),
    ] {
        assert_eq!(Map::<2>::new(&mut words, &config).err(), Some(why));
    }
    started::<2>(&mut words, &good).put(key(1), &[0; 5]).expect("there is room");
    assert_eq!(Map::<2>::new(&mut words, &good).err(), Some(MapError::NotZero));
}
