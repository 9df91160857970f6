//! Hostile packets: whatever arrives, nothing panics, and what is rejected changes nothing.
//!
//! Knows the wire format's layout and builds packets from it by hand, with numbers at the edges of their ranges and
//! with bytes overwritten, under a checksum that is right. They go through `parse`, `admit` and their handler into
//! live maps in every phase; then the maps write packets of every kind, which must be well formed.
//!
//! Some rejects are news all the same, by rule R4, and are compared less strictly: word of another life in our own slot
//! ([`Reject::SlotConflict`]) may raise our generation or fence us; the sender's life is noted whoever the packet was
//! for ([`Reject::OtherLife`]), and a lesser life under the same generation ([`Reject::OldLife`]) marks the slot as
//! claimed twice. A packet that its *handler* rejects has been admitted before, so its sender counts as heard.

mod members;
mod packet;
mod site;
mod strategy;

use popmap_core::map::{Map, MapConfig};
use popmap_core::time::{Duration, Instant};
use popmap_core::wire::{self, HEADER, Kind};
use popmap_core::{Key, Life, Reject, Shape, Slot, SlotSet};
use proptest::prelude::*;
use proptest::test_runner::Config;

use packet::{CLUSTER, Fields, SHAPE, idle, restore};
use site::{CONFIGURED, ME, MY_LIFE, act, handle, hash, scenes, start_alone, take, words};
use strategy::{fields, step};

fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

/// Counts what became of packets, so that a generator which no longer reaches the handlers is noticed.
#[derive(Default)]
struct Tally {
    taken: u32,
    rejected: [u32; Reject::ALL.len()],
}

fn run<const N: usize>(cases: u32) -> Tally {
    let scenes = scenes::<N>();
    let tally = std::cell::RefCell::new(Tally::default());
    let strategy = (0..scenes.len(), prop::collection::vec(step(), 1..5));
    let mut runner = proptest::test_runner::TestRunner::new(config(cases));
    let outcome = runner.run(&strategy, |(scene, steps)| {
        let mut storage = vec![0; words::<N>()];
        let mut map = scenes[scene].fork(&mut storage).unwrap();
        for step in steps {
            let mut tally = tally.borrow_mut();
            match take(&mut map, &step.bytes()) {
                Ok(()) => tally.taken += 1,
                Err(why) => tally.rejected[why.index()] += 1,
            }
            if let Some(later_s) = step.later_s {
                act(&mut map, Duration::from_secs(later_s));
            }
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    let tally = tally.into_inner();
    eprintln!("{} {:?}", tally.taken, tally.rejected);
    tally
}

/// Every reason that a packet can earn behind a right checksum was earned, and plenty of packets were taken.
fn assert_reached(tally: &Tally, cases: u32) {
    assert!(tally.taken > cases, "only {} packets taken", tally.taken);
    for why in [
        Reject::Length,
        Reject::Header,
        Reject::Field,
        Reject::Record,
        Reject::OwnPacket,
        Reject::SlotConflict,
        Reject::OldLife,
        Reject::OtherLife,
        Reject::NoLife,
        Reject::Unasked,
    ] {
        assert!(tally.rejected[why.index()] > 0, "no packet was rejected for {why}");
    }
}

#[test]
fn hostile_packets_into_a_map_of_3() {
    let tally = run::<3>(60_000);
    assert_reached(&tally, 60_000);
}

#[test]
fn hostile_packets_into_a_map_of_64() {
    let tally = run::<64>(20_000);
    assert_reached(&tally, 20_000);
    assert!(tally.rejected[Reject::Unconfigured.index()] > 0);
}

/// The one reason of `on_digest` needs a map that holds more than an answer may read.
#[test]
fn a_question_about_too_much_changes_nothing() {
    const MANY: usize = 6_000;
    let mut storage = vec![0; Map::<3>::words(MANY, &SHAPE)];
    let config = MapConfig {
        slot: Slot::at(ME),
        configured: SlotSet::first(CONFIGURED),
        life: Life { generation: 5, id: MY_LIFE },
        capacity: MANY,
        shape: SHAPE,
        start_deadline: Instant::ZERO,
    };
    let mut map = Map::<3>::new(&mut storage, &config).unwrap();
    start_alone(&mut map);
    for n in 0..4_097_u32 {
        map.put(Key::from_name(&n.to_le_bytes()), &[1; 12]).unwrap();
    }
    let ask = |bits: u32, number: u64| Fields {
        kind: 4,
        to_life: MY_LIFE,
        numbers: [number, 1, 0],
        small: [0, bits],
        ..idle()
    };
    let mut take = |packet: Fields| {
        let packet = packet.bytes();
        let (envelope, body) = wire::parse(&packet, CLUSTER, &SHAPE, 3).unwrap();
        map.admit(&envelope).unwrap();
        let before = hash(&map);
        (handle(&mut map, &envelope, &body), before == hash(&map))
    };
    assert_eq!(take(ask(1, 1)), (Ok(()), false));
    assert_eq!(take(ask(0, 2)), (Err(Reject::Field), true));
}

proptest! {
    #![proptest_config(config(8_000))]

    #[test]
    fn arbitrary_bytes_are_rejected(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(wire::parse(&bytes, CLUSTER, &SHAPE, 64).is_err());
    }

    /// A header that passes, and anything for a body.
    #[test]
    fn arbitrary_bodies_do_not_panic(
        kind in 1..14_u8,
        body in prop::collection::vec(any::<u8>(), 0..300),
        shaped in any::<bool>(),
        count in 0..8_u16,
    ) {
        let mut packet = Fields { kind, ..idle() }.bytes();
        packet.truncate(HEADER);
        packet.extend(&body);
        if shaped && body.len() >= 8 {
            packet[HEADER..HEADER + 4].copy_from_slice(&SHAPE.schema.to_le_bytes());
            packet[HEADER + 4..HEADER + 6].copy_from_slice(&SHAPE.value_len.to_le_bytes());
            packet[HEADER + 6..HEADER + 8].copy_from_slice(&count.to_le_bytes());
        }
        restore(&mut packet);
        for (shape, slots) in [(SHAPE, 64), (SHAPE, 3), (Shape { schema: 7, value_len: 512 }, 64)] {
            let _ = wire::parse(&packet, CLUSTER, &shape, slots);
        }
    }

    /// One bit flipped anywhere is caught by the checksum, or by a check before it.
    #[test]
    fn a_flipped_bit_is_rejected(fields in fields(), bit in any::<prop::sample::Index>()) {
        let mut packet = Fields { slot: fields.slot % 3, ..fields }.bytes();
        let bit = bit.index(8 * packet.len());
        packet[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(wire::parse(&packet, CLUSTER, &SHAPE, 64).is_err());
    }

    /// A packet cut short anywhere is rejected.
    #[test]
    fn a_truncated_packet_is_rejected(fields in fields(), keep in any::<prop::sample::Index>()) {
        let packet = fields.bytes();
        let keep = keep.index(packet.len());
        prop_assert_eq!(
            wire::parse(&packet[..keep], CLUSTER, &SHAPE, 64).map(|_| ()),
            Err(Reject::Truncated)
        );
    }
}

#[test]
fn every_kind_is_built_right() {
    for kind in Kind::ALL {
        let fields = Fields { kind: kind as u8, numbers: [1, 2, 3], small: [1, 5], ..idle() };
        let packet = fields.bytes();
        let parsed = wire::parse(&packet, CLUSTER, &SHAPE, 3).map(|(envelope, _)| envelope.kind);
        assert_eq!(parsed, Ok(kind));
    }
}
