//! What a map is told, and what it says of itself.

use super::*;

/// The configuration of a PoP's only server.
fn alone() -> MapConfig {
    let life = Life { generation: 1, id: 1 };
    MapConfig { configured: SlotSet::first(1), ..config(Slot::at(0), life, 100) }
}

#[test]
fn what_a_map_holds_is_counted() {
    let mut map = replica(0, 100);
    assert!(map.is_empty() && (map.len(), map.tombstones(), map.log_head()) == (0, 0, 0));
    put_all(&mut map, 0..3);
    assert!(!map.is_empty());
    assert_eq!((map.len(), map.tombstones(), map.log_head(), map.capacity()), (3, 0, 3, 100));
    map.remove(key(1)).unwrap();
    assert_eq!((map.len(), map.tombstones(), map.log_head()), (3, 1, 4));
}

#[test]
fn who_is_alive_and_how_much_it_takes_is_as_told() {
    let mut map = replica(0, 100);
    let [me, second, third] = [0, 1, 2].map(Slot::at);
    assert_eq!(map.live(), SlotSet::first(3));
    map.set_live(SlotSet::EMPTY.with(third).with(Slot::at(3)));
    assert_eq!(map.live(), SlotSet::EMPTY.with(me).with(third), "ours is, and no slot that the PoP has not");
    map.set_weight(third, 0);
    assert!((0..100).all(|n| map.owners().owner(key(n)) == Some(me)));
    map.set_configured(SlotSet::EMPTY.with(second));
    assert_eq!(map.live(), SlotSet::EMPTY.with(me));
    assert!(!map.slot_is_bound());
    map.bind_slot(true);
    assert!(map.slot_is_bound());
}

#[test]
fn a_start_that_is_held_waits_for_its_deadline() {
    let start_deadline = Instant::from_millis(10);
    let config = MapConfig { start_deadline, ..alone() };
    let mut map = unstarted(&config);
    map.hold_start(true);
    map.advance(Instant::from_millis(9));
    assert_eq!(map.phase(), Phase::Starting);
    map.hold_start(false);
    assert_eq!(map.phase(), Phase::Active { expired: false }, "alone, it waits for nobody");

    let mut map = unstarted(&config);
    map.hold_start(true);
    map.advance(Instant::from_millis(10));
    assert_eq!(map.phase(), Phase::Active { expired: true });
}

#[test]
fn a_refusal_names_the_field_and_what_would_be_taken() {
    let config = alone();
    let needed = Replica::words(100, &SHAPE);
    let refused = |config: &MapConfig, words: usize, first: u64| {
        let storage = vec![0; words].leak();
        storage[0] = first;
        Replica::new(storage, config).map(|_| ()).map_err(|error| std::format!("{error}"))
    };
    assert_eq!(refused(&config, needed, 0), Ok(()));
    let expected = [
        (MapConfig { slot: Slot::at(1), ..config }, "slot: S1 is not one of the configured slots below 4"),
        (
            MapConfig { configured: SlotSet::first(5), ..config },
            "slot: S0 is not one of the configured slots below 4",
        ),
        (
            MapConfig { life: Life { generation: 1, id: 0 }, ..config },
            "life.id: 0 means no life; give 64 random bits that are not all zero",
        ),
        (MapConfig { capacity: 0, ..config }, "capacity: 0 records; 1 to 4194304 are possible"),
        (
            MapConfig { capacity: CAPACITY_MAX + 1, ..config },
            "capacity: 4194305 records; 1 to 4194304 are possible",
        ),
        (
            MapConfig { shape: Shape { value_len: 513, ..SHAPE }, ..config },
            "value_len: 513 bytes; at most 512 are possible",
        ),
    ];
    for (config, said) in expected {
        assert_eq!(refused(&config, needed, 0), Err(said.into()));
    }
    let short = std::format!("storage: {} words of 8 bytes given, {needed} needed", needed - 1);
    assert_eq!(refused(&config, needed - 1, 0), Err(short));
    let used = "storage: has been used before; a new map starts from all-zero words";
    assert_eq!(refused(&config, needed, 1), Err(used.into()));
}
