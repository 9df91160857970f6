//! A record of our slot's earlier life beats what this life wrote at the same key: our value stands, as a new write above it
//! (R4.3).

use popmap_core::clock::Dot;
use popmap_core::wire::Kind;
use popmap_core::{Key, Life, Lookup, Phase, Slot};
use popmap_tests::forge::{Record, packet};
use popmap_tests::link::{config, deliver, started, storage};
use popmap_tests::scenario::{SHAPE, value};

const ME: Slot = Slot::at(1);
const PEER: Slot = Slot::at(2);

#[test]
pub(crate) fn what_this_life_wrote_stands() {
    let mut words = storage::<4>(16, &SHAPE);
    let mut config = config(ME.index(), 4, 16, SHAPE);
    config.life.generation = 5;
    let mut map = started::<4>(&mut words, &config);
    assert_eq!(map.phase(), Phase::Active { expired: true }, "it wrote before it had met anybody");
    let key = Key::from_name(b"k");
    let ours = map.put(key, &value(1)).unwrap();

    // What a peer that is met later still has of the life before: changed hands often, so of a high term.
    let dot = Dot { slot: ME, counter: 3 << 32 | 7 };
    let earlier = Record { key, dot, term: 4, value: Some(value(2).to_vec()) };
    let shape =
        [&SHAPE.schema.to_le_bytes()[..], &SHAPE.value_len.to_le_bytes(), &1u16.to_le_bytes()].concat();
    let body = [&shape[..], &[0; 8], &earlier.bytes(&SHAPE)].concat();
    let life = Life { generation: 1, id: 9 };
    deliver(&mut map, &packet(Kind::HistoryAnswer, PEER, life, config.life.id, &body)).expect("asked for");

    let mut found = value(0);
    assert!(matches!(map.reader().get(key, &mut found), Lookup::Found(_)));
    assert_eq!(found, value(1), "an earlier life's value is back");
    let held = map.inspect(key).unwrap();
    assert!(held.dot.slot == ME && held.dot.counter > ours.counter && held.term == 4, "{held:?}");
    assert_eq!(map.stats().reasserted, 1);
}
