//! The laws of version vectors, and both wire forms by way of real packets.

use popmap_core::clock::{Dot, Order, VersionVector};
use popmap_core::map::Request;
use popmap_core::wire::{Body, DeltaFixed, parse};
use popmap_core::{Life, Map, Shape, Slot, SlotSet, time::Instant};
use popmap_tests::forge;
use popmap_tests::link::{CLUSTER, config, deliver, sealed, storage};
use proptest::prelude::*;

const SHAPE: Shape = Shape { schema: 1, value_len: 8 };

/// Few slots with small counters, so that vectors meet in equal places often; sometimes all slots and any counter.
fn vector<const N: usize>() -> impl Strategy<Value = VersionVector<N>> {
    let counter = prop_oneof![4 => 0..4u64, 1 => any::<u64>()];
    proptest::collection::vec(counter, N)
        .prop_map(|counters| VersionVector::from_counters(counters.try_into().expect("N counters")))
}

fn joined<const N: usize>(a: &VersionVector<N>, b: &VersionVector<N>) -> VersionVector<N> {
    let mut joined = *a;
    joined.join(b);
    joined
}

fn met<const N: usize>(a: &VersionVector<N>, b: &VersionVector<N>) -> VersionVector<N> {
    let mut met = *a;
    met.meet(b);
    met
}

fn dots<const N: usize>(vector: &VersionVector<N>, slots: SlotSet) -> Vec<Dot> {
    slots.iter().map(|slot| Dot { slot, counter: vector.get(slot) }).collect()
}

fn quiet() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, cases: 1_000, ..ProptestConfig::default() }
}

/// A replica that accounts for exactly `version`: told by a forged delta of slot 1, before any write is allowed.
fn holder<'a, const N: usize>(storage: &'a mut [u64], version: &VersionVector<N>) -> Map<'a, N> {
    let mut config = config(0, N, 4, SHAPE);
    config.start_deadline = Instant::NEVER;
    let mut map = Map::new(storage, &config).expect("valid");
    let packet = forge::Delta {
        from: Slot::at(1),
        life: PEER,
        to_life: config.life.id,
        range: (0, 0, 0),
        flags: DeltaFixed::FROM_BASE | DeltaFixed::COMPLETE | DeltaFixed::LAST,
        records: &[],
        version: &dots(version, version.occupied()),
    };
    let delivered = deliver(&mut map, &packet.packet(&SHAPE)).expect("taken");
    assert!(delivered.delta.expect("a delta").committed);
    map
}

const PEER: Life = Life { generation: 1, id: 77 };

fn both_wire_forms<const N: usize>(ours: &VersionVector<N>, theirs: &VersionVector<N>) {
    let mut words = storage::<N>(4, &SHAPE);
    let mut map = holder(&mut words, ours);
    assert_eq!(map.version(), ours);
    let mut frame = [0; 1_400];

    // The sparse form: the whole vector.
    let written = map.write_version(Slot::at(1), &Request::default(), &mut frame);
    let packet = sealed(&mut frame, written).expect("a full vector fits any frame");
    assert_eq!(packet.len(), 64 + 40 + 8 + 8 * ours.occupied().len());
    let Ok((_, Body::Version(version))) = parse(packet, CLUSTER, &SHAPE, N) else { panic!("a version") };
    assert_eq!(version.version.to_vector::<N>(), *ours);
    let asked = deliver_version(&mut map, theirs);

    // The exceptions form: what exceeds the receiver's vector, and with that joins to the whole.
    if !asked {
        assert!(theirs.covers_all(ours));
        return;
    }
    let written = map.write_delta(Slot::at(1), &mut frame);
    let packet = sealed(&mut frame, written).expect("an answer is due");
    let Ok((_, Body::Delta(delta))) = parse(packet, CLUSTER, &SHAPE, N) else { panic!("a delta") };
    let known = joined(ours, theirs);
    let exceptions = delta.version.to_vector::<N>();
    assert_eq!(joined(theirs, &exceptions), joined(theirs, ours));
    assert!(known.covers_all(&exceptions));
}

/// Hands the map slot 1's version, which forgets what the forged delta said of it: a new life. Returns whether the map
/// owes it a delta.
fn deliver_version<const N: usize>(map: &mut Map<'_, N>, theirs: &VersionVector<N>) -> bool {
    let mut words = storage::<N>(4, &SHAPE);
    let mut other = config(1, N, 4, SHAPE);
    other.life = Life { generation: 2, id: 78 };
    other.start_deadline = Instant::NEVER;
    let mut peer = Map::<N>::new(&mut words, &other).expect("valid");
    let packet = forge::Delta {
        from: Slot::at(0),
        life: map.life(),
        to_life: other.life.id,
        range: (0, 0, 0),
        flags: DeltaFixed::FROM_BASE | DeltaFixed::COMPLETE,
        records: &[],
        version: &dots(theirs, theirs.occupied()),
    };
    deliver(&mut peer, &packet.packet(&SHAPE)).expect("taken");
    let mut frame = [0; 1_400];
    let written = peer.write_version(Slot::at(0), &Request::default(), &mut frame);
    deliver(map, sealed(&mut frame, written).expect("it fits")).expect("taken");
    map.owes_delta().contains(Slot::at(1))
}

proptest! {
    #![proptest_config(quiet())]

    #[test]
    fn join_is_the_least_upper_bound(a in vector::<5>(), b in vector::<5>(), c in vector::<5>()) {
        prop_assert_eq!(joined(&a, &b), joined(&b, &a));
        prop_assert_eq!(joined(&joined(&a, &b), &c), joined(&a, &joined(&b, &c)));
        prop_assert_eq!(joined(&a, &a), a);
        prop_assert_eq!(joined(&a, &VersionVector::new()), a);
        let join = joined(&a, &b);
        prop_assert!(join.covers_all(&a) && join.covers_all(&b));
        if c.covers_all(&a) && c.covers_all(&b) {
            prop_assert!(c.covers_all(&join));
        }
    }

    #[test]
    fn meet_is_the_greatest_lower_bound(a in vector::<5>(), b in vector::<5>(), c in vector::<5>()) {
        prop_assert_eq!(met(&a, &b), met(&b, &a));
        prop_assert_eq!(met(&met(&a, &b), &c), met(&a, &met(&b, &c)));
        prop_assert_eq!(met(&a, &joined(&a, &b)), a);
        prop_assert_eq!(joined(&a, &met(&a, &b)), a);
        let meet = met(&a, &b);
        prop_assert!(a.covers_all(&meet) && b.covers_all(&meet));
        if a.covers_all(&c) && b.covers_all(&c) {
            prop_assert!(meet.covers_all(&c));
        }
    }

    #[test]
    fn compare_follows_from_join(a in vector::<3>(), b in vector::<3>()) {
        let join = joined(&a, &b);
        let expected = match (join == a, join == b) {
            (true, true) => Order::Equal,
            (true, false) => Order::After,
            (false, true) => Order::Before,
            (false, false) => Order::Concurrent,
        };
        prop_assert_eq!(a.compare(&b), expected);
        prop_assert_eq!(a.covers_all(&b), join == a);
        prop_assert_eq!(a == b, a.compare(&b) == Order::Equal);
    }

    #[test]
    fn covers_is_what_raise_reaches(a in vector::<5>(), slot in 0..5usize, counter: u64) {
        let dot = Dot { slot: Slot::at(slot), counter };
        prop_assert_eq!(a.covers(dot), counter <= a.get(dot.slot));
        let mut raised = a;
        raised.raise(dot.slot, counter);
        prop_assert!(raised.covers(dot) && raised.covers_all(&a));
        prop_assert_eq!(raised == a, a.covers(dot));
        for other in SlotSet::first(5).without(dot.slot).iter() {
            prop_assert_eq!(raised.get(other), a.get(other));
        }
    }

    #[test]
    fn exceptions_are_what_the_other_lacks(a in vector::<7>(), known in vector::<7>()) {
        let exceeding = a.exceeding(&known);
        for slot in SlotSet::first(7).iter() {
            prop_assert_eq!(exceeding.contains(slot), a.get(slot) > known.get(slot));
            prop_assert_eq!(a.occupied().contains(slot), a.get(slot) > 0);
        }
        prop_assert_eq!(exceeding.is_empty(), known.covers_all(&a));
        let mut patched = known;
        exceeding.iter().for_each(|slot| patched.raise(slot, a.get(slot)));
        prop_assert_eq!(patched, joined(&known, &a));
    }

    #[test]
    fn packets_carry_them_whole(a in vector::<64>(), b in vector::<64>()) {
        both_wire_forms(&a, &b);
    }

    #[test]
    fn packets_of_a_small_pop_carry_them_whole(a in vector::<2>(), b in vector::<2>()) {
        both_wire_forms(&a, &b);
    }
}

#[test]
fn a_slot_outside_is_zero_and_left_out() {
    let mut vector = VersionVector::<2>::new();
    vector.raise(Slot::at(2), 9);
    assert_eq!(vector, VersionVector::new());
    assert_eq!(vector.get(Slot::at(63)), 0);
    assert!(!vector.covers(Dot { slot: Slot::at(63), counter: 1 }));
}
