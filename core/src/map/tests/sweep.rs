//! The sweep: when there is something to find, what leaves, what is adopted (rule R7), what is held.

use super::*;

const ME: Slot = Slot::at(0);
const AUTHOR: Slot = Slot::at(1);
const THIRD: Slot = Slot::at(2);

/// A replica that has 27 records of an author's ahead of its version: those before them were lost. And the author.
fn ahead() -> [Box<Replica>; 2] {
    let [mut map, mut author] = [0, 1].map(|slot| replica(slot, 1_000));
    put_all(&mut author, 0..1);
    pull(&mut author, &mut map);
    put_all(&mut author, 1..60);
    author.remove(key(40)).unwrap();
    ask(&mut author, &map, 64);
    let _lost = written(|frame| author.write_delta(ME, frame)).unwrap();
    let packet = written(|frame| author.write_delta(ME, frame)).unwrap();
    assert!(deliver(&mut map, &packet).unwrap().gap);
    assert_eq!((map.len(), map.tombstones()), (1 + 27, 1));
    [map, author]
}

/// The keys of which the map holds our own records.
fn own(map: &Replica) -> Vec<u64> {
    (0..60).filter(|&n| map.inspect(key(n)).is_some_and(|held| held.dot.slot == ME)).collect()
}

#[test]
fn there_is_something_to_find_while_tombstones_or_records_ahead_are_there() {
    let mut map = replica(0, 100);
    assert!(!map.needs_sweep());
    put_all(&mut map, 0..3);
    assert!(!map.needs_sweep());
    map.remove(key(0)).unwrap();
    assert!(map.needs_sweep());
    let [mut map, _] = ahead();
    map.state.held = map.state.version;
    assert!(map.needs_sweep(), "a tombstone");
    let [mut map, _] = ahead();
    assert!(map.needs_sweep());
    map.sweep(3);
    assert_eq!(map.state.sweep_at, 3);
    assert!(map.needs_sweep(), "it is under way");
    map.sweep(24);
    assert_eq!(map.state.sweep_at, 27);
    map.sweep(1);
    assert_eq!(map.state.sweep_at, 0, "of 28 places");
}

#[test]
fn records_of_a_dead_author_that_nobody_accounts_for_are_written_again_by_whoever_owns_their_keys() {
    let [mut map, _] = ahead();
    map.sweep(1_000);
    assert_eq!(own(&map), [0u64; 0], "the author is alive");
    map.set_live(SlotSet::EMPTY.with(THIRD));
    let there = |n: &u64| *n > 0 && map.inspect(key(*n)).is_some();
    let is_mine = |n: &u64| map.owners().owner(key(*n)) == Some(ME);
    let (mine, theirs): (Vec<_>, Vec<_>) = (0..60).filter(there).partition(is_mine);
    let before = map.inspect(key(mine[0])).unwrap();
    map.sweep(1_000);
    assert_eq!((own(&map), map.stats().orphans_rewritten), (mine.clone(), mine.len() as u64));
    let after = map.inspect(key(mine[0])).unwrap();
    assert_eq!((after.term, after.tombstone), (before.term + 1, before.tombstone));
    assert!(theirs.iter().all(|&n| map.inspect(key(n)).unwrap().dot.slot == AUTHOR));
    map.sweep(1_000);
    assert_eq!(map.stats().orphans_rewritten, mine.len() as u64, "once");

    // Alone we own them all; a delete stays one.
    map.set_live(SlotSet::EMPTY);
    map.sweep(1_000);
    assert_eq!(map.stats().orphans_rewritten, 27);
    assert!(map.inspect(key(40)).unwrap().tombstone && map.inspect(key(40)).unwrap().dot.slot == ME);
    assert_eq!(map.inspect(key(0)).unwrap().dot.slot, AUTHOR, "that one is accounted for");
}

#[test]
fn what_somebody_alive_accounts_for_is_no_orphan() {
    let [mut map, author] = ahead();
    map.set_live(SlotSet::EMPTY.with(THIRD));
    map.set_weight(THIRD, 0);
    map.peer_versions[THIRD.index()] = *author.version();
    map.sweep(1_000);
    assert_eq!(map.stats().orphans_rewritten, 0);
    map.peer_versions[THIRD.index()] = VersionVector::new();
    map.state.phase = Phase::Starting;
    map.sweep(1_000);
    assert_eq!(map.stats().orphans_rewritten, 0, "who starts does not write");
    map.state.phase = Phase::Active { expired: false };
    map.sweep(1_000);
    assert_eq!(map.stats().orphans_rewritten, 27);
}

/// HELD falls back to what is there: what was ahead and has been replaced is not held any more.
#[test]
fn a_whole_sweep_gathers_what_is_held_anew() {
    let [mut map, _] = ahead();
    let held = map.held().get(AUTHOR);
    map.state.held.raise(AUTHOR, held + 1_000);
    map.state.held.raise(THIRD, 7);
    map.sweep(10);
    assert_eq!(map.held().get(AUTHOR), held + 1_000, "not before its end");
    map.sweep(1_000);
    assert_eq!((map.held().get(AUTHOR), map.held().get(THIRD)), (held, 0));
}

#[test]
fn a_tombstone_that_leaves_raises_the_floor_and_makes_room() {
    let mut map = replica(0, 100);
    map.set_configured(SlotSet::EMPTY);
    put_all(&mut map, 0..10);
    map.state.floor = 4;
    for n in [3, 7] {
        map.remove(key(n)).unwrap();
    }
    put_all(&mut map, 7..8);
    map.remove(key(7)).unwrap();
    map.state.full = true;
    map.sweep(100);
    map.advance(Instant::ZERO + crate::limits::QUARANTINE);
    // Deleted after the observation.
    map.remove(key(9)).unwrap();
    let head = map.log_head();
    map.sweep(100);
    assert_eq!((map.len(), map.tombstones(), map.stats().tombstones_collected), (8, 1, 2));
    assert_eq!((map.floor(), map.state.full), (4, false));
    assert_eq!(map.log_head(), head + 2, "readers of the log have to notice");
    put_all(&mut map, 3..4);
    assert_eq!(map.inspect(key(3)).unwrap().term, 5, "above the floor");
}
