//! Writes: what is refused, which term and counter a write gets (rule R1), and what a merge counts.

use super::*;
use crate::clock::Dot;

const ME: Slot = Slot::at(0);
const PEER: Slot = Slot::at(1);

#[test]
fn refusals_say_why_and_change_nothing() {
    let mut map = replica(0, 100);
    put_all(&mut map, 0..1);
    let phases = [
        (Phase::Starting, PutError::Starting, "still starting: not every live peer has been committed from"),
        (Phase::Fenced, PutError::Fenced, "fenced: another server claims this slot"),
        (Phase::Forgotten, PutError::Forgotten, "forgotten: the PoP goes on without this life"),
    ];
    for (phase, error, text) in phases {
        map.state.phase = phase;
        assert_eq!(map.put(key(0), &[0; 8]), Err(error));
        assert_eq!(map.remove(key(0)), Err(RemoveError::Refused(error)));
        assert_eq!(
            (std::format!("{error}"), std::format!("{}", RemoveError::Refused(error))),
            (text.into(), text.into())
        );
    }
    map.state.phase = Phase::Active { expired: true };
    let short = PutError::ValueLength { given: 7, expected: 8 };
    assert_eq!(map.put(key(0), &[0; 7]), Err(short));
    assert_eq!(std::format!("{short}"), "value: 7 bytes given; this map's values have 8");
    assert_eq!(map.remove(key(1)), Err(RemoveError::NotFound));
    assert_eq!(std::format!("{}", RemoveError::NotFound), "the key is absent");
    assert_eq!((map.log_head(), map.stats().puts, map.stats().removes), (1, 1, 0));

    assert!(map.remove(key(0)).is_ok());
    assert_eq!(map.remove(key(0)), Err(RemoveError::NotFound), "deleted already");
    assert_eq!((map.log_head(), map.stats().puts, map.stats().removes), (2, 1, 1));
    for (error, text) in [
        (PutError::Left, "left: this server has said that it leaves"),
        (PutError::Full, "the table is full but for its reserve for remote records"),
        (PutError::TermExhausted, "the key's term is at its maximum"),
        (PutError::CounterExhausted, "the slot's counter is at its maximum"),
    ] {
        assert_eq!(std::format!("{error}"), text);
    }
}

#[test]
fn new_keys_leave_an_eighth_to_others() {
    for (capacity, ours) in [(1, 1), (2, 1), (8, 7), (9, 7), (16, 14), (17, 14), (100, 87)] {
        let mut map = replica(0, capacity);
        put_all(&mut map, 0..ours);
        assert_eq!(map.put(key(ours), &[0; 8]), Err(PutError::Full), "{ours} of {capacity}");
        assert_eq!((map.len(), map.stats().puts_refused, map.stats().puts), (ours as usize, 1, ours));
        put_all(&mut map, 0..ours);
        map.remove(key(0)).unwrap();
        assert_eq!(map.len(), ours as usize, "which are there already has room");
    }
}

#[test]
fn a_write_has_the_next_counter_and_a_term_above_what_it_does_not_follow() {
    let [mut map, mut peer] = [0, 1].map(|slot| replica(slot, 100));
    let stamp = |map: &Replica, n| {
        let held = map.inspect(key(n)).unwrap();
        (held.dot.slot.index(), held.dot.counter as u32, held.term, held.tombstone)
    };
    put_all(&mut map, 0..1);
    assert_eq!(stamp(&map, 0), (0, 1, 1, false));
    put_all(&mut map, 0..1);
    assert_eq!(stamp(&map, 0), (0, 2, 1, false), "its own write before");
    map.remove(key(0)).unwrap();
    assert_eq!(stamp(&map, 0), (0, 3, 1, true));
    put_all(&mut map, 0..1);
    assert_eq!(stamp(&map, 0), (0, 4, 2, false), "a delete");
    pull(&mut map, &mut peer);
    put_all(&mut peer, 0..1);
    assert_eq!(stamp(&peer, 0), (1, 1, 3, false), "another's");
    peer.remove(key(0)).unwrap();
    assert_eq!(stamp(&peer, 0), (1, 2, 3, true));
    map.state.floor = 6;
    put_all(&mut map, 1..2);
    assert_eq!(stamp(&map, 1), (0, 5, 7, false), "above the floor");
    // Its own, with a counter that somebody claimed in its name.
    let at = map.table.find(key(1), key(1).mix()).unwrap();
    let mark = table::Mark { dot: Dot { slot: ME, counter: 1 << 40 }, ..map.table.mark(at).unwrap() };
    let stamp_there = table::Stamp::new(map.log.append(at), 0);
    map.table.write(map.table.entry(at), stamp_there, false, mark.words(), core::iter::once(0));
    put_all(&mut map, 1..2);
    assert_eq!(stamp(&map, 1), (0, 6, 8, false));
}

#[test]
fn at_the_end_of_terms_and_counters_writes_are_refused() {
    let mut map = replica(0, 100);
    map.state.floor = u32::MAX;
    assert_eq!(map.put(key(0), &[0; 8]), Err(PutError::TermExhausted));
    assert!(map.is_empty());
    map.state.floor = 0;
    map.state.version.raise(ME, u64::MAX);
    assert_eq!(map.put(key(0), &[0; 8]), Err(PutError::CounterExhausted));
    assert!(map.is_empty());
}

/// The counter is the generation and a sequence: where that is at its end the next write is of the next generation.
#[test]
fn a_sequence_at_its_end_carries_into_the_generation() {
    let mut map = replica(0, 100);
    events(&mut map);
    map.state.version.raise(ME, (1 << 32) + u64::from(u32::MAX) - 1);
    assert_eq!(map.put(key(0), &[0; 8]).unwrap().counter, (1 << 32) + u64::from(u32::MAX));
    assert_eq!((map.life().generation, events(&mut map)), (1, vec![]));
    assert_eq!(map.put(key(0), &[0; 8]).unwrap().counter, 2 << 32);
    assert_eq!(
        (map.life().generation, events(&mut map)),
        (2, vec![Event::GenerationRaised { generation: 2 }])
    );
    assert_eq!(map.put(key(0), &[0; 8]).unwrap().counter, (2 << 32) + 1);
    assert_eq!(events(&mut map), []);
}

#[test]
fn what_a_merge_does_is_counted_and_its_owner_is_told_when_it_lost() {
    let [mut map, mut other] = [0, 1].map(|slot| replica(slot, 100));
    // One key that each of the two owns: of two first writes the owner's wins (R1).
    map.set_live(SlotSet::EMPTY.with(PEER));
    let owned_by = |slot| (0..).find(|&n| map.owners().owner(key(n)) == Some(slot)).unwrap();
    let (mine, theirs) = (owned_by(ME), owned_by(PEER));
    for map in [&mut map, &mut other] {
        put_all(map, [mine, theirs].into_iter());
        events(map);
    }
    pull(&mut other, &mut map);
    let stats = *map.stats();
    assert_eq!((stats.records_received, stats.conflicts), (2, 2));
    assert_eq!((stats.records_superseded, stats.records_applied), (1, 1));
    assert_eq!(events(&mut map), [], "it was not the owner of what it lost");
    assert_eq!(map.inspect(key(theirs)).unwrap().dot.slot, PEER);
    assert_eq!(map.inspect(key(mine)).unwrap().dot.slot, ME);

    // A later write of the peer's beats the owner's.
    pull(&mut map, &mut other);
    put_all(&mut other, [mine, theirs].into_iter());
    pull(&mut other, &mut map);
    assert_eq!(events(&mut map), [Event::Superseded { key: key(mine) }]);
    let later = *map.stats();
    assert_eq!((later.conflicts, later.records_applied), (2, 3), "no conflict: one follows the other");
    assert_eq!(later.records_duplicate, 0);

    // The same once more, as if neither the version nor the cursor had told.
    map.state.version = VersionVector::new();
    map.state.peers[PEER.index()].session = peer::Session::default();
    let third = replica_that_knows_nothing(&mut other);
    ask(&mut other, &third, 1);
    let frame = written(|frame| other.write_delta(Slot::at(2), frame)).unwrap();
    let (envelope, Body::Delta(delta)) = parse(&frame, CLUSTER, &SHAPE, 4).unwrap() else { unreachable!() };
    map.on_delta(&envelope, &delta).unwrap();
    assert_eq!(map.stats().records_duplicate, 2);
    assert_eq!((map.stats().records_applied, map.stats().conflicts), (3, 2));
}

/// Somebody in the third slot whom `peer` knows.
fn replica_that_knows_nothing(peer: &mut Replica) -> Box<Replica> {
    let mut third = replica(2, 100);
    tell(&third, peer);
    tell(peer, &mut third);
    third
}

#[test]
fn values_of_any_length_come_back_whole() {
    for value_len in [0u16, 1, 5, 8, 9, 24, 500, 512] {
        let shape = Shape { schema: 1, value_len };
        let life = Life { generation: 1, id: 1 };
        let mut map = built(&MapConfig { shape, ..config(ME, life, 10) });
        let value: Vec<u8> = (0..value_len).map(|n| n as u8 ^ 0xa5).collect();
        map.put(key(1), &value).unwrap();
        let mut found = vec![0; usize::from(value_len)];
        assert!(matches!(map.reader().get(key(1), &mut found), Lookup::Found(_)));
        assert_eq!(found, value);
        let at = map.table.find(key(1), key(1).mix()).unwrap();
        let copy = map.copy_value(at);
        assert_eq!(
            (&copy[..value.len()], copy[value.len()..].iter().any(|&byte| byte != 0)),
            (&value[..], false)
        );
    }
}

#[test]
fn typed_views_are_of_the_maps_length_or_none() {
    let mut map = replica(0, 100);
    assert_eq!(map.typed::<[u8; 7]>().map(|_| ()), Err(MapError::ValueLength(7)));
    assert_eq!(map.reader().typed::<[u8; 9]>().map(|_| ()), Err(MapError::ValueLength(9)));
    let reader = map.reader().typed::<[u8; 8]>().unwrap();
    assert_eq!(reader.get(key(1)).map(|(value, _)| value), Err(Lookup::Absent));
    for n in 0..50 {
        map.typed::<[u8; 8]>().unwrap().put(key(n), &n.to_le_bytes()).unwrap();
    }
    for n in 0..50 {
        let (value, meta) = reader.get(key(n)).unwrap();
        assert_eq!((u64::from_le_bytes(value), meta.dot.counter as u32, meta.term), (n, n as u32 + 1, 1));
    }
    map.remove(key(3)).unwrap();
    assert_eq!(reader.get(key(3)).map(|(value, _)| value), Err(Lookup::Absent));
}

/// A bucket tells sixteen bits of each key: where two have the same, the first that is there may be the other.
#[test]
fn keys_that_look_alike_are_told_apart() {
    let mut map = replica(0, 12);
    let alike = |a: u64, b: u64| key(a).mix() as u16 == key(b).mix() as u16;
    let (a, b) = (0..2_000).find_map(|a| (0..a).find(|&b| alike(a, b)).map(|b| (a, b))).unwrap();
    put_all(&mut map, [a, b].into_iter());
    let reader = map.reader();
    let read = |n| {
        let mut value = [0; 8];
        matches!(reader.get(key(n), &mut value), Lookup::Found(_)).then_some(u64::from_le_bytes(value))
    };
    assert_eq!((read(a), read(b)), (Some(a), Some(b)));
    map.remove(key(a)).unwrap();
    assert_eq!((read(a), read(b)), (None, Some(b)));
    put_all(&mut map, [a].into_iter());
    map.remove(key(b)).unwrap();
    assert_eq!((read(a), read(b)), (Some(a), None));
}

#[test]
fn a_pass_ends_with_the_last_place() {
    let mut map = replica(0, 1);
    put_all(&mut map, 0..1);
    let mut records = map.reader().records();
    assert_eq!(records.next_into(&mut [0; 8]).map(|(found, _)| found), Some(key(0)));
    assert_eq!(records.next_into(&mut [0; 8]).map(|(found, _)| found), None);
}

#[test]
fn readers_see_what_stands_there_and_since_when() {
    let mut map = replica(0, 100);
    let reader = map.reader();
    assert!(reader.is_empty() && reader.value_len() == 8);
    map.advance(Instant::from_millis(5_000));
    assert_eq!(reader.heartbeat(), Instant::from_millis(5_000));
    put_all(&mut map, 0..10);
    map.remove(key(4)).unwrap();
    assert!(!reader.is_empty() && reader.len() == 10);
    let mut records = reader.records();
    let mut seen = Vec::new();
    let mut value = [0; 8];
    while let Some((found, meta)) = records.next_into(&mut value) {
        assert_eq!(found, key(u64::from_le_bytes(value)));
        let age = meta.age(Instant::from_millis(6_000)).as_millis();
        assert!((980..=1_020).contains(&age), "{age}");
        seen.push(u64::from_le_bytes(value));
    }
    seen.sort_unstable();
    assert_eq!((seen, records.skipped()), ((0..10).filter(|&n| n != 4).collect::<Vec<_>>(), 0));
}

#[test]
fn changes_are_told_since_any_position() {
    let mut map = replica(0, 20);
    put_all(&mut map, (0..5).chain(0..2));
    let since = |map: &Replica, position| {
        let keys = map
            .changed_since(position)
            .map(|(found, held)| (u64::from_le_bytes(found.0[..8].try_into().unwrap()), held));
        keys.map(|(n, held)| {
            assert_eq!(map.inspect(key(n)), Some(held));
            n
        })
        .collect::<Vec<_>>()
    };
    assert_eq!(since(&map, 0), [2, 3, 4, 0, 1], "each once, the latest change last");
    assert_eq!(since(&map, 4), [4, 0, 1]);
    assert_eq!((since(&map, 6), since(&map, 7), since(&map, 8)), (vec![1], vec![], vec![]));
    // More changes than the log remembers: then all of them, in no order.
    put_all(&mut map, core::iter::repeat_n(4, 20));
    let mut all = since(&map, 0);
    all.sort_unstable();
    assert_eq!((all, since(&map, 7)), (vec![0, 1, 2, 3, 4], vec![4]));
    assert_eq!(since(&map, 28), [0u64; 0]);
}
