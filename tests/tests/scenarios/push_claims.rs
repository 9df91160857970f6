//! A push claims only what its author's present life wrote: a range that an earlier life's writes lie in is not its own
//! to claim, because another slot may have replaced one of them before this life saw it.

use popmap_core::map::Request;
use popmap_core::time::Instant;
use popmap_core::wire::Envelope;
use popmap_core::{Key, Life, Map, MapConfig, Phase, Shape, Slot, SlotSet};
use popmap_tests::link;

const SHAPE: Shape = Shape { schema: 1, value_len: 8 };

fn build(slot: usize, generation: u32, start_deadline: Instant) -> Map<'static, 3> {
    let storage = vec![0; Map::<3>::words(16, &SHAPE)].leak();
    let config = MapConfig {
        slot: Slot::at(slot),
        configured: SlotSet::first(3),
        life: Life { generation, id: u64::from(generation) << 8 | (slot as u64 + 1) },
        capacity: 16,
        shape: SHAPE,
        start_deadline,
    };
    Map::new(storage, &config).unwrap()
}

fn start(mut map: Map<'static, 3>) -> Map<'static, 3> {
    map.set_live(SlotSet::EMPTY);
    map.set_live(SlotSet::first(3));
    map
}

/// Hands over a packet that is due and must be taken.
fn deliver(to: &mut Map<'_, 3>, frame: &mut [u8], written: Option<(Envelope, usize)>) {
    let packet = link::sealed(frame, written).expect("a packet");
    let delivered = link::deliver(to, packet).unwrap();
    assert!(delivered.delta.is_none_or(|delta| delta.committed));
}

/// `to` asks `from` for what it lacks, and commits it.
fn pull(to: &mut Map<'_, 3>, from: &mut Map<'_, 3>) {
    let mut frame = [0; 1_400];
    let request = Request { reply: false, force: true, window: 1 };
    let written = to.write_version(from.slot(), &request, &mut frame);
    deliver(from, &mut frame, written);
    let written = from.write_delta(to.slot(), &mut frame);
    deliver(to, &mut frame, written);
}

fn push(from: &mut Map<'_, 3>, to: &mut Map<'_, 3>) {
    let mut frame = [0; 1_400];
    if let Some(written) = from.write_push(to.slot(), &mut frame) {
        deliver(to, &mut frame, Some(written));
    }
}

/// S1's first life writes two keys; S0 has both and overwrites the first; S2 has nothing.
fn past() -> (Map<'static, 3>, Map<'static, 3>, u64) {
    let late = Instant::from_millis(1);
    let (mut s0, mut s1, s2) = (start(build(0, 1, late)), start(build(1, 1, late)), start(build(2, 1, late)));
    s1.put(Key::from_name(b"first"), &[1; 8]).unwrap();
    let counter = s1.put(Key::from_name(b"second"), &[1; 8]).unwrap().counter;
    pull(&mut s0, &mut s1);
    s0.put(Key::from_name(b"first"), &[2; 8]).unwrap();
    (s0, s2, counter)
}

/// Whether `map`'s version covers the earlier life's first write while the table holds nothing for its key.
fn breaks_r6(map: &Map<'_, 3>, counter: u64) -> bool {
    map.version().get(Slot::at(1)) >= counter && map.len() < 2
}

#[test]
fn while_starting() {
    let (mut s0, mut s2, counter) = past();
    let mut s1 = build(1, 2, Instant::from_millis(1_000));
    // S2 is met before anything of the past is known.
    let mut frame = [0; 1_400];
    let request = Request { reply: false, force: false, window: 1 };
    let written = s2.write_version(s1.slot(), &request, &mut frame);
    deliver(&mut s1, &mut frame, written);
    pull(&mut s1, &mut s0);
    assert_eq!(s1.phase(), Phase::Starting);
    push(&mut s1, &mut s2);
    assert!(!breaks_r6(&s2, counter), "{s2:?}");
}

#[test]
fn after_an_expired_deadline() {
    let (mut s0, mut s2, counter) = past();
    let mut s1 = build(1, 2, Instant::from_millis(1_000));
    s1.advance(Instant::from_millis(1_000));
    assert_eq!(s1.phase(), Phase::Active { expired: true });
    pull(&mut s1, &mut s0);
    push(&mut s1, &mut s2);
    assert!(!breaks_r6(&s2, counter), "{s2:?}");
}
