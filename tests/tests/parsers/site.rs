//! Live maps in every phase, what they do with a packet, and what they do in their own time.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;

use popmap_core::map::{Map, MapConfig, Request};
use popmap_core::time::{Duration, Instant};
use popmap_core::wire::{self, Body, Envelope, HEADER, flag};
use popmap_core::{Life, Phase, Reject, Slot, SlotSet};

use popmap_tests::link;

use crate::packet::{CLUSTER, Fields, Record, SHAPE, idle, key};

const CAPACITY: usize = 24;
const PAYLOAD: usize = 1_400;
pub const ME: usize = 1;
pub const CONFIGURED: usize = 3;

pub fn words<const N: usize>() -> usize {
    Map::<N>::words(CAPACITY, &SHAPE)
}

/// The life in which peers are known at first.
pub fn life_of(slot: u8) -> Life {
    Life { generation: 3, id: 0xa0 + u64::from(slot) }
}

pub const MY_LIFE: u64 = 0xb1;

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

pub fn start_alone<const N: usize>(map: &mut Map<'_, N>) {
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
pub fn scenes<const N: usize>() -> Vec<Map<'static, N>> {
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

/// Gives an admitted packet to its handler; what is for membership alone is no concern of a map's.
pub fn handle<const N: usize>(
    map: &mut Map<'_, N>,
    envelope: &Envelope,
    body: &Body<'_>,
) -> Result<(), Reject> {
    if matches!(body, Body::Gossip) {
        return Ok(());
    }
    link::handle(map, envelope, body).map(|_| ())
}

pub fn hash<const N: usize>(map: &Map<'_, N>) -> u64 {
    let mut hasher = DefaultHasher::new();
    map.hash_state(&mut hasher);
    hasher.finish()
}

/// What no rejected packet may change, not even one whose sender's life is news.
fn contents<const N: usize>(map: &Map<'_, N>) -> impl PartialEq + std::fmt::Debug {
    (map.digest(0, u64::MAX), *map.version(), *map.held(), map.floor(), map.len(), map.log_head(), map.life())
}

/// Hands one packet to a map, and checks what a reject left behind.
pub fn take<const N: usize>(map: &mut Map<'_, N>, bytes: &[u8]) -> Result<(), Reject> {
    let (envelope, body) = wire::parse(bytes, CLUSTER, &SHAPE, N)?;
    let mut spare = vec![0; words::<N>()];
    let before = map.fork(&mut spare).unwrap();
    match map.admit(&envelope) {
        Ok(()) => {}
        Err(Reject::SlotConflict) => return Err(Reject::SlotConflict),
        Err(why) => {
            assert_eq!(contents(map), contents(&before), "{why}");
            let (known, life) = (before.life_of(envelope.slot), envelope.life);
            let news = match why {
                Reject::OldLife => life.generation == known.generation,
                Reject::OtherLife => life.id != known.id || life.generation > known.generation,
                _ => false,
            };
            if !news {
                assert_eq!(hash(map), hash(&before), "{why}");
            }
            return Err(why);
        }
    }
    let admitted = map.fork(&mut spare).unwrap();
    handle(map, &envelope, &body).inspect_err(|why| assert_eq!(hash(map), hash(&admitted), "{why}"))
}

/// Lets a map do everything that it might in its own time. What it writes must be well formed.
pub fn act<const N: usize>(map: &mut Map<'_, N>, later: Duration) {
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
