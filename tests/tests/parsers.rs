//! Hostile packets: whatever arrives, nothing panics, and what is rejected changes nothing.
//!
//! Knows the wire format's layout and builds packets from it by hand, with numbers at the edges of their ranges and
//! with bytes overwritten, under a checksum that is right. They go through `parse`, `admit` and their handler into
//! live maps in every phase; then the maps write packets of every kind, which must be well formed.
//!
//! Three reasons to reject leave a mark, by rule R4, and are compared less strictly: word of another life in our own
//! slot ([`Reject::SlotConflict`]) may raise our generation or fence us; a lesser life under a known generation
//! ([`Reject::OldLife`]) marks the slot as claimed twice; and a packet that its *handler* rejects has been admitted
//! before, so its sender counts as heard.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;

use popmap_core::map::{Map, MapConfig, Request};
use popmap_core::time::{Duration, Instant};
use popmap_core::wire::{self, Body, Envelope, HEADER, Kind, VERSION, flag};
use popmap_core::{Key, Life, Phase, Reject, Shape, Slot, SlotSet};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::Config;

const CLUSTER: u64 = 0xc1a5;
/// Twelve bytes of value: the last four of a record are padding.
const SHAPE: Shape = Shape { schema: 7, value_len: 12 };
const CAPACITY: usize = 24;
const PAYLOAD: usize = 1_400;
const ME: usize = 1;
const CONFIGURED: usize = 3;

// ---- packets by hand ----

/// The fields of a packet; which are used depends on the kind.
#[derive(Clone, Debug)]
struct Fields {
    kind: u8,
    slot: u8,
    flags: u8,
    generation: u32,
    life: u64,
    to_life: u64,
    numbers: [u64; 3],
    small: [u32; 2],
    body_flags: u32,
    records: Vec<Record>,
    version: (u64, Vec<u64>),
}

#[derive(Clone, Debug)]
struct Record {
    key: u8,
    counter: u64,
    term: u32,
    slot: u8,
    tombstone: bool,
    value: u8,
}

fn key(n: u8) -> Key {
    Key::from_name(&[n])
}

impl Record {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = key(self.key).0.to_vec();
        bytes.extend(self.counter.to_le_bytes());
        bytes.extend(self.term.to_le_bytes());
        bytes.extend([self.slot, u8::from(self.tombstone), 0, 0]);
        bytes.extend([if self.tombstone { 0 } else { self.value }; 12]);
        bytes.extend([0; 4]);
        bytes
    }
}

impl Fields {
    fn bytes(&self) -> Vec<u8> {
        let mut packet = vec![0; HEADER];
        packet[0] = VERSION;
        packet[1] = self.kind;
        packet[2] = self.slot;
        packet[3] = self.flags;
        packet[8..16].copy_from_slice(&CLUSTER.to_le_bytes());
        packet[16..20].copy_from_slice(&self.generation.to_le_bytes());
        packet[24..32].copy_from_slice(&self.life.to_le_bytes());
        packet[32..40].copy_from_slice(&self.to_life.to_le_bytes());
        let records: Vec<u8> = self.records.iter().flat_map(Record::bytes).collect();
        let count = self.records.len() as u16;
        let [a, b, c] = self.numbers;
        let [small, other] = self.small;
        let shape = |packet: &mut Vec<u8>, count: u16| {
            packet.extend(SHAPE.schema.to_le_bytes());
            packet.extend(SHAPE.value_len.to_le_bytes());
            packet.extend(count.to_le_bytes());
        };
        let version = |packet: &mut Vec<u8>| {
            let (bitmap, counters) = &self.version;
            packet.extend(bitmap.to_le_bytes());
            let listed = bitmap.count_ones() as usize;
            counters.iter().cycle().take(listed).for_each(|counter| packet.extend(counter.to_le_bytes()));
        };
        match self.kind {
            1 => {
                shape(&mut packet, 0);
                packet.extend(a.to_le_bytes());
                packet.extend(b.to_le_bytes());
                packet.extend((other as u16).to_le_bytes());
                packet.extend((self.body_flags as u16).to_le_bytes());
                packet.extend(small.to_le_bytes());
                packet.extend([0; 8]);
                version(&mut packet);
            }
            2 => {
                shape(&mut packet, count);
                let mut range = [a, b, c];
                range.sort_unstable();
                if self.body_flags & 2 != 0 {
                    range[1] = range[2];
                }
                range.iter().for_each(|number| packet.extend(number.to_le_bytes()));
                packet.extend(small.to_le_bytes());
                packet.extend(self.body_flags.to_le_bytes());
                packet.extend(records);
                version(&mut packet);
            }
            3 => {
                shape(&mut packet, count);
                packet.extend(a.min(b).to_le_bytes());
                packet.extend(a.max(b).to_le_bytes());
                packet.extend(small.to_le_bytes());
                packet.extend([0; 4]);
                packet.extend(records);
            }
            4 => {
                let bits = (other % 34) as u8;
                let listed = (c % 40 + 1) as u16;
                shape(&mut packet, listed);
                packet.extend(a.to_le_bytes());
                packet.extend(small.to_le_bytes());
                packet.extend([bits, 0, 0, 0]);
                (0..listed).for_each(|_| packet.extend(b.to_le_bytes()));
            }
            5 => {
                shape(&mut packet, count);
                packet.extend(a.to_le_bytes());
                packet.extend(b.min(c).to_le_bytes());
                packet.extend(b.max(c).to_le_bytes());
                packet.extend(self.body_flags.to_le_bytes());
                packet.extend([0; 4]);
                packet.extend(records);
            }
            6 => {
                shape(&mut packet, count);
                packet.extend(records);
            }
            7 => {
                shape(&mut packet, 0);
                packet.extend(a.to_le_bytes());
                packet.extend(small.to_le_bytes());
                packet.extend([0; 4]);
            }
            8 => {
                shape(&mut packet, count);
                packet.extend(small.to_le_bytes());
                packet.extend(self.body_flags.to_le_bytes());
                packet.extend(records);
            }
            _ => {
                packet.extend(small.to_le_bytes());
                packet.extend([other as u8 % 4, 0, 0, 0]);
                packet.extend(a.to_le_bytes());
            }
        }
        restore(&mut packet);
        packet
    }
}

/// Gives a packet the length and the checksum that fit its bytes.
fn restore(packet: &mut [u8]) {
    let length = packet.len() as u16;
    packet[20..22].copy_from_slice(&length.to_le_bytes());
    packet[22] = 0;
    let mut crc = u32::MAX;
    for &byte in packet[..4].iter().chain(&packet[8..]) {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ 0xedb8_8320 * (crc & 1);
        }
    }
    packet[4..8].copy_from_slice(&(!crc).to_le_bytes());
}

// ---- maps ----

fn words<const N: usize>() -> usize {
    Map::<N>::words(CAPACITY, &SHAPE)
}

/// The life in which peers are known at first.
fn life_of(slot: u8) -> Life {
    Life { generation: 3, id: 0xa0 + u64::from(slot) }
}

const MY_LIFE: u64 = 0xb1;

fn build<const N: usize>(generation: u32, capacity: usize) -> Map<'static, N> {
    let storage = vec![0; words::<N>()].leak();
    let config = MapConfig {
        slot: Slot::at(ME),
        configured: SlotSet::first(CONFIGURED),
        life: Life { generation, id: MY_LIFE },
        capacity,
        shape: SHAPE,
        start_deadline: Instant::from_millis(1_000),
    };
    Map::new(storage, &config).unwrap()
}

fn start_alone<const N: usize>(map: &mut Map<'_, N>) {
    map.set_live(SlotSet::EMPTY);
    map.set_live(SlotSet::first(CONFIGURED));
    assert_eq!(map.phase(), Phase::Active { expired: false });
}

fn start_late<const N: usize>(map: &mut Map<'_, N>) {
    map.advance(Instant::from_millis(1_000));
    assert_eq!(map.phase(), Phase::Active { expired: true });
}

/// Sessions, serves and exchanges under way with both peers, and some records of everyone's.
fn involve<const N: usize>(map: &mut Map<'_, N>) {
    for n in 0..4 {
        let _ = map.put(key(n), &[n; 12]);
    }
    let _ = map.remove(key(1));
    map.note_checkpoint();
    for slot in [0, 2] {
        let Life { generation, id: life } = life_of(slot);
        let record = |key, counter, tombstone| Record {
            key,
            counter: (3_u64 << 32) + counter,
            term: 2,
            slot,
            tombstone,
            value: 9,
        };
        let plain = Fields {
            kind: 2,
            slot,
            flags: flag::CAUGHT_UP,
            generation,
            life,
            to_life: MY_LIFE,
            numbers: [0, 4, 4],
            small: [1, 0],
            body_flags: 1 | 2,
            records: vec![record(6 + slot, 1, false), record(1, 2, true)],
            version: (1 << slot, vec![(3_u64 << 32) + 2]),
        };
        let ahead = Fields {
            numbers: [8, 9, 12],
            body_flags: 0,
            version: (0, vec![]),
            records: vec![record(8, 5, false)],
            ..plain.clone()
        };
        let version =
            Fields { kind: 1, numbers: [1, 3, 0], small: [1, 5], body_flags: 2 | 4, ..plain.clone() };
        let question = Fields { kind: 4, numbers: [5, 1, 0], small: [0, 0], ..plain.clone() };
        let history = Fields { kind: 7, numbers: [4 << 32, 0, 0], ..plain.clone() };
        for packet in [&plain, &ahead, &version, &question, &history] {
            take(map, &packet.bytes()).unwrap();
        }
    }
    map.write_digest(Slot::at(0), &mut [0; PAYLOAD]).unwrap();
}

/// Maps in every phase, at usual and at extreme generations, roomy and full.
fn scenes<const N: usize>() -> Vec<Map<'static, N>> {
    let mut maps = Vec::new();
    for (generation, capacity) in [(5, CAPACITY), (u32::MAX - 1, CAPACITY), (u32::MAX, CAPACITY), (5, 5)] {
        let mut starting = build(generation, capacity);
        involve(&mut starting);
        maps.push(starting);
        let mut active = build(generation, capacity);
        start_alone(&mut active);
        involve(&mut active);
        maps.push(active);
        let mut expired = build(generation, capacity);
        start_late(&mut expired);
        involve(&mut expired);
        maps.push(expired);
    }
    let mut fenced = build(5, CAPACITY);
    start_alone(&mut fenced);
    involve(&mut fenced);
    let twin = Fields { slot: ME as u8, generation: 6, life: 0xbad, ..idle() };
    assert_eq!(take(&mut fenced, &twin.bytes()), Err(Reject::SlotConflict));
    assert_eq!(fenced.phase(), Phase::Fenced);
    maps.push(fenced);
    maps
}

fn idle() -> Fields {
    Fields {
        kind: 1,
        slot: 0,
        flags: 0,
        generation: 3,
        life: 0xa0,
        to_life: 0,
        numbers: [0; 3],
        small: [0; 2],
        body_flags: 0,
        records: vec![],
        version: (0, vec![]),
    }
}

fn handle<const N: usize>(map: &mut Map<'_, N>, envelope: &Envelope, body: &Body<'_>) -> Result<(), Reject> {
    let from = envelope.slot;
    match body {
        Body::Version(packet) => {
            map.on_version(from, packet);
        }
        Body::Delta(packet) => {
            map.on_delta(envelope, packet);
        }
        Body::Push(packet) => {
            map.on_push(from, packet)?;
        }
        Body::Digest(packet) => map.on_digest(from, packet)?,
        Body::Repair(packet) => map.on_repair(from, packet)?,
        Body::Report(packet) => map.on_report(packet),
        Body::HistoryAsk(packet) => map.on_history_ask(from, packet),
        Body::HistoryAnswer(packet) => map.on_history_answer(from, packet)?,
        Body::LifeNotice(notice) => map.on_life_notice(*notice),
    }
    Ok(())
}

fn hash<const N: usize>(map: &Map<'_, N>) -> u64 {
    let mut hasher = DefaultHasher::new();
    map.hash_state(&mut hasher);
    hasher.finish()
}

/// What no rejected packet may change, not even one that marks a slot as claimed twice.
fn contents<const N: usize>(map: &Map<'_, N>) -> impl PartialEq + std::fmt::Debug {
    (map.digest(0, u64::MAX), *map.version(), *map.held(), map.floor(), map.len(), map.log_head(), map.life())
}

/// Hands one packet to a map, and checks what a reject left behind.
fn take<const N: usize>(map: &mut Map<'_, N>, bytes: &[u8]) -> Result<(), Reject> {
    let (envelope, body) = wire::parse(bytes, CLUSTER, &SHAPE, N)?;
    let mut spare = vec![0; words::<N>()];
    let before = map.fork(&mut spare).unwrap();
    match map.admit(&envelope) {
        Ok(()) => {}
        Err(Reject::SlotConflict) => return Err(Reject::SlotConflict),
        Err(why) => {
            assert_eq!(contents(map), contents(&before), "{why}");
            if why != Reject::OldLife {
                assert_eq!(hash(map), hash(&before), "{why}");
            }
            return Err(why);
        }
    }
    let admitted = map.fork(&mut spare).unwrap();
    handle(map, &envelope, &body).inspect_err(|why| assert_eq!(hash(map), hash(&admitted), "{why}"))
}

/// Lets a map do everything that it might in its own time. What it writes must be well formed.
fn act<const N: usize>(map: &mut Map<'_, N>, later: Duration) {
    let now = Instant::from_millis(1_000) + later;
    map.advance(now);
    let mut frame = [0; PAYLOAD];
    let check = |map: &Map<'_, N>, written: Option<(Envelope, usize)>, frame: &mut [u8]| {
        let Some((envelope, len)) = written else { return false };
        let packet = &mut frame[..len];
        wire::seal(packet, &envelope, CLUSTER, 1);
        let parsed = wire::parse(packet, CLUSTER, map.shape(), N);
        assert_eq!(parsed.map(|(envelope, _)| envelope), Ok(envelope));
        true
    };
    let _ = map.put(key(3), &[1; 12]);
    let _ = map.put(key(20), &[2; 12]);
    let _ = map.remove(key(6));
    for to in [0, 2].map(Slot::at) {
        let request = Request { reply: false, force: true, window: 4 };
        let written = map.write_version(to, &request, &mut frame);
        check(map, written, &mut frame);
        // A frame with room for two records, so that ranges are cut.
        for len in [HEADER + 40 + 8 + 96, PAYLOAD, PAYLOAD] {
            let written = map.write_delta(to, &mut frame[..len]);
            check(map, written, &mut frame);
        }
        let _ = map.push_backlog(to);
        let written = map.write_push(to, &mut frame);
        check(map, written, &mut frame);
        let written = map.write_history_ask(to, &mut frame);
        check(map, written, &mut frame);
        for _ in 0..2 {
            let written = map.write_history_answer(to, &mut frame);
            check(map, written, &mut frame);
        }
        let written = map.write_digest(to, &mut frame);
        check(map, written, &mut frame);
    }
    for _ in 0..4 {
        let written = map.write_repair(&mut frame[..HEADER + 40 + 96]);
        check(map, written, &mut frame);
        let written = map.write_report(&mut frame);
        check(map, written, &mut frame);
    }
    map.note_checkpoint();
    // With the others dead, what they wrote ahead of every version is ours to rewrite.
    map.set_live(SlotSet::EMPTY);
    map.sweep(CAPACITY);
    map.set_live(SlotSet::first(CONFIGURED));
    map.sweep(CAPACITY);
    while map.poll_event().is_some() {}
}

// ---- strategies ----

/// Numbers at the edges, near what the maps hold, and any.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..16_u64,
        3 => (select(vec![3, 4, 5, 6, 7, u32::MAX - 2, u32::MAX - 1, u32::MAX]), 0..6_u64)
            .prop_map(|(generation, sequence)| u64::from(generation) << 32 | sequence),
        3 => select(vec![
            u64::MAX,
            u64::MAX - 1,
            u64::MAX - 4_096,
            1 << 63,
            (1 << 63) - 1,
            1 << 31,
            1 << 32,
            (1 << 32) - 1,
            (u64::MAX >> 32) << 32,
        ]),
        1 => any::<u64>(),
    ]
}

fn small() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0..8_u32, 2 => select(vec![u32::MAX, u32::MAX - 1, 1 << 31, 4_096]), 1 => any::<u32>()]
}

fn record() -> impl Strategy<Value = Record> {
    (0..30_u8, number(), small(), 0..4_u8, any::<bool>(), any::<u8>()).prop_map(
        |(key, counter, term, slot, tombstone, value)| Record {
            key,
            counter,
            term: term.max(u32::from(value > 9)),
            slot: slot % CONFIGURED as u8,
            tombstone,
            value,
        },
    )
}

fn fields() -> impl Strategy<Value = Fields> {
    let sender = (
        1..10_u8,
        prop_oneof![8 => select(vec![0_u8, 2]), 1 => 0..6_u8],
        any::<u8>(),
        prop_oneof![10 => Just(0_u8), 2 => 1..7_u8],
        prop_oneof![18 => Just(MY_LIFE), 1 => Just(0), 1 => any::<u64>()],
    );
    let numbers = ([number(), number(), number()], [small(), small()], small());
    let lists = (
        prop::collection::vec(record(), 0..4),
        prop_oneof![20 => 0..8_u64, 1 => any::<u64>()],
        prop::collection::vec(number(), 1..4),
    );
    (sender, numbers, lists).prop_map(|(sender, numbers, (records, bitmap, counters))| {
        let (kind, slot, flags, life, to_life) = sender;
        let (numbers, small, body_flags) = numbers;
        let known = life_of(slot);
        let (generation, life) = match life {
            0 => (known.generation, known.id),
            1 => (known.generation + 1, known.id),
            2 => (known.generation, known.id + 1),
            3 => (known.generation, 1),
            4 => (u32::MAX, 0xfff),
            5 => (5, MY_LIFE),
            _ => (0, 0xfff),
        };
        let records = records
            .into_iter()
            .map(|record| Record {
                // A push is of the author's own records, an answer about older ones of its subject's.
                slot: if kind == 3 || kind == 8 && body_flags & 1 != 0 { slot } else { record.slot },
                ..record
            })
            .collect();
        Fields {
            kind,
            slot,
            flags,
            generation,
            life,
            to_life,
            numbers,
            small,
            body_flags,
            records,
            version: (bitmap, counters),
        }
    })
}

/// Bytes to overwrite: where (modulo the packet's length), how many, and with what.
fn mutation() -> impl Strategy<Value = (usize, usize, u64)> {
    (0..400_usize, select(vec![1, 2, 4, 8]), number())
}

#[derive(Clone, Debug)]
struct Step {
    fields: Fields,
    mutations: Vec<(usize, usize, u64)>,
    cut: Option<usize>,
    later_s: Option<u64>,
}

fn step() -> impl Strategy<Value = Step> {
    (
        fields(),
        prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(mutation(), 1..4)],
        prop::option::weighted(0.05, 0..200_usize),
        prop::option::weighted(0.5, prop_oneof![0..30_u64, Just(u64::MAX)]),
    )
        .prop_map(|(fields, mutations, cut, later_s)| Step { fields, mutations, cut, later_s })
}

impl Step {
    fn bytes(&self) -> Vec<u8> {
        let mut packet = self.fields.bytes();
        for &(at, width, value) in &self.mutations {
            let at = at % packet.len();
            let end = (at + width).min(packet.len());
            packet[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
        }
        if let Some(cut) = self.cut {
            packet.truncate(HEADER + cut);
        }
        restore(&mut packet);
        packet
    }
}

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
        kind in 1..10_u8,
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
