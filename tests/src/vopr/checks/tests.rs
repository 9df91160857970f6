//! Each check is seen to fail: real maps, with forged packets, or shown to the checks in the wrong order.

use popmap_core::clock::Dot;
use popmap_core::limits::QUARANTINE;
use popmap_core::time::{Duration, Instant};
use popmap_core::wire::{DeltaFixed, Envelope, LifeNotice};
use popmap_core::{Key, Life, Map, MapConfig, Slot, SlotSet};

use super::super::violation::{Rule, Violation};
use super::{Checks, Start};
use crate::forge::{Delta, Record};
use crate::link::{deliver, sealed, storage};
use crate::scenario::SHAPE;

const CAPACITY: usize = 32;
const A: usize = 0;
const B: usize = 1;
const BUDGET: (u32, Duration, usize) = (10_000, Duration::from_millis(10), 1_400);

fn key(number: u32) -> Key {
    let mut bytes = [7; 16];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    Key(bytes)
}

fn checks() -> Checks<2> {
    Checks::new(3, (0..8).map(key).collect(), Duration::from_secs(8))
}

fn value(n: u8) -> [u8; 24] {
    [n; 24]
}

fn life(generation: u32, id: u64) -> Life {
    Life { generation, id }
}

/// A map that may write at once, in a PoP of these slots, and is known to the checks as `server`.
fn begin<'a>(
    checks: &mut Checks<2>,
    storage: &'a mut [u64],
    server: usize,
    slot: Slot,
    life: Life,
    configured: SlotSet,
) -> Map<'a, 2> {
    let config =
        MapConfig { slot, configured, life, capacity: CAPACITY, shape: SHAPE, start_deadline: Instant::ZERO };
    let mut map = Map::new(storage, &config).expect("a good configuration");
    // Nobody was alive before: there is nobody to wait for.
    map.set_live(SlotSet::EMPTY);
    map.advance(Instant::ZERO);
    checks.begin(server, &Start { slot, life, deadline: Instant::ZERO, budget: BUDGET });
    map
}

fn pair<'a>(checks: &mut Checks<2>, storage: &'a mut [Vec<u64>; 2]) -> (Map<'a, 2>, Map<'a, 2>) {
    let [a, b] = storage;
    let (all, slots) = (SlotSet::first(2), [A, B].map(Slot::at));
    (begin(checks, a, A, slots[A], life(1, 10), all), begin(checks, b, B, slots[B], life(1, 20), all))
}

fn two() -> [Vec<u64>; 2] {
    [(); 2].map(|()| storage::<2>(CAPACITY, &SHAPE))
}

fn violated<T>(result: Result<T, Violation>) -> Option<Rule> {
    result.err().map(|violation| violation.rule)
}

fn look(checks: &mut Checks<2>, server: usize, map: &Map<'_, 2>) -> Option<Rule> {
    violated(checks.observe(server, map, Instant::ZERO))
}

/// A delta from A that brings `records` and says that A accounts for `version`.
fn forged(to: &Map<'_, 2>, records: &[Record], version: &[Dot]) -> Vec<u8> {
    let (from, life, to_life) = (Slot::at(A), life(1, 10), to.life().id);
    // From a base, complete.
    let flags = DeltaFixed::FROM_BASE | DeltaFixed::COMPLETE;
    Delta { from, life, to_life, range: (0, 1, 1), flags, records, version }.packet(&SHAPE)
}

fn record(number: u32, dot: Dot, term: u32, value: Option<[u8; 24]>) -> Record {
    Record { key: key(number), dot, term, value: value.map(|value| value.to_vec()) }
}

#[test]
fn nothing_is_violated_where_nothing_is_wrong() {
    let (mut checks, mut storage) = (checks(), two());
    let (mut a, mut b) = pair(&mut checks, &mut storage);
    a.put(key(1), &value(1)).expect("written");
    assert_eq!(look(&mut checks, A, &a), None);
    let dot = a.inspect(key(1)).expect("held").dot;
    let packet = forged(&b, &[record(1, dot, 1, Some(value(1)))], &[dot]);
    deliver(&mut b, &packet).expect("taken");
    assert_eq!(look(&mut checks, B, &b), None);
    assert_eq!(violated(checks.sweep([(A, &a), (B, &b)].into_iter())), None);
    assert_eq!(violated(checks.check_rest()), None);
    assert_eq!((checks.looked.changes, checks.history.len()), (2, 1));
}

#[test]
fn a_version_that_covers_what_is_not_held_breaks_r6() {
    let (mut checks, mut storage) = (checks(), two());
    let (mut a, mut b) = pair(&mut checks, &mut storage);
    a.put(key(1), &value(1)).expect("written");
    assert_eq!(look(&mut checks, A, &a), None);
    let dot = a.inspect(key(1)).expect("held").dot;
    let packet = forged(&b, &[], &[dot]);
    deliver(&mut b, &packet).expect("taken");
    assert_eq!(look(&mut checks, B, &b), Some(Rule::Invariant));
    // Whoever misses that finds it in a sweep, and at rest.
    assert_eq!(violated(checks.sweep([(A, &a), (B, &b)].into_iter())), Some(Rule::Invariant));
    assert_eq!(violated(checks.check_rest()), Some(Rule::Invariant));
    // When nobody knows of it any more, nobody is held to it.
    checks.end(A);
    assert_eq!(violated(checks.check_rest()), Some(Rule::Invariant), "B claims it");
    // A waiver excuses it while faults are at work.
    let id = checks.history.all().next().expect("a write");
    checks.history.waive(id);
    assert_eq!(violated(checks.sweep(std::iter::once((B, &b)))), None);
}

#[test]
fn a_record_of_nobodys_is_found() {
    let (mut checks, mut storage) = (checks(), two());
    let (a, mut b) = pair(&mut checks, &mut storage);
    let dot = Dot { slot: a.slot(), counter: 1 << 32 | 5 };
    let packet = forged(&b, &[record(1, dot, 1, Some(value(9)))], &[]);
    deliver(&mut b, &packet).expect("taken");
    assert_eq!(look(&mut checks, B, &b), Some(Rule::Dots));
}

#[test]
fn two_writes_under_one_dot_are_found_unless_the_first_is_lost() {
    for lost in [false, true] {
        let (mut checks, mut storage) = (checks(), two());
        let (mut a, mut b) = pair(&mut checks, &mut storage);
        a.put(key(1), &value(1)).expect("written");
        assert_eq!(look(&mut checks, A, &a), None);
        let dot = a.inspect(key(1)).expect("held").dot;
        if !lost {
            let packet = forged(&b, &[record(1, dot, 1, Some(value(1)))], &[dot]);
            deliver(&mut b, &packet).expect("taken");
            assert_eq!(look(&mut checks, B, &b), None);
        }
        // A's next life believes to be alone, and begins again.
        checks.end(A);
        let mut memory = self::storage::<2>(CAPACITY, &SHAPE);
        let alone = SlotSet::first(1);
        let mut again = begin(&mut checks, &mut memory, A, Slot::at(A), life(1, 11), alone);
        assert_eq!(look(&mut checks, A, &again), None);
        again.put(key(2), &value(2)).expect("written");
        assert_eq!(again.inspect(key(2)).map(|held| held.dot), Some(dot));
        assert_eq!(look(&mut checks, A, &again), (!lost).then_some(Rule::Dots));
    }
}

#[test]
fn a_state_that_falls_is_found() {
    let (mut checks, mut storage) = (checks(), two());
    let (mut a, mut b) = pair(&mut checks, &mut storage);
    a.put(key(1), &value(1)).expect("written");
    assert_eq!(look(&mut checks, A, &a), None);
    let first = a.inspect(key(1)).expect("held");
    let mut memory = self::storage::<2>(CAPACITY, &SHAPE);
    let before = a.fork(&mut memory).expect("room");
    a.put(key(1), &value(2)).expect("written");
    assert_eq!(look(&mut checks, A, &a), None);
    // The same server as it was: its log is behind what was seen, its version too.
    assert_eq!(look(&mut checks, A, &before), Some(Rule::Version));
    // B is shown the newer record, and then another map that holds the older one.
    let newer = a.inspect(key(1)).expect("held");
    let packet = forged(&b, &[record(1, newer.dot, newer.term, Some(value(2)))], &[]);
    let mut other_memory = self::storage::<2>(CAPACITY, &SHAPE);
    let mut other = b.fork(&mut other_memory).expect("room");
    deliver(&mut b, &packet).expect("taken");
    assert_eq!(look(&mut checks, B, &b), None);
    other.put(key(3), &value(3)).expect("written");
    let packet = forged(&other, &[record(1, first.dot, first.term, Some(value(1)))], &[]);
    deliver(&mut other, &packet).expect("taken");
    assert_eq!(look(&mut checks, B, &other), Some(Rule::StateFell));
}

/// Lets a map that is alone in its PoP collect its tombstones.
fn collect(map: &mut Map<'_, 2>) {
    map.sweep(usize::MAX);
    map.advance(Instant::ZERO + QUARANTINE);
    map.sweep(usize::MAX);
    assert_eq!(map.tombstones(), 0);
}

#[test]
fn a_key_that_comes_back_is_found() {
    let (mut checks, mut storage) = (checks(), two());
    let [one, other] = &mut storage;
    let alone = SlotSet::first(1);
    let mut a = begin(&mut checks, one, A, Slot::at(A), life(1, 10), alone);
    let mut b = begin(&mut checks, other, B, Slot::at(B), life(1, 20), SlotSet::first(2));
    a.put(key(1), &value(1)).expect("written");
    assert_eq!(look(&mut checks, A, &a), None);
    let first = a.inspect(key(1)).expect("held");
    a.remove(key(1)).expect("deleted");
    assert_eq!(look(&mut checks, A, &a), None);
    collect(&mut a);
    assert_eq!(look(&mut checks, A, &a), None);
    let packet = forged(&b, &[record(1, first.dot, first.term, Some(value(1)))], &[]);
    deliver(&mut b, &packet).expect("taken");
    assert_eq!(look(&mut checks, B, &b), Some(Rule::Resurrection));
}

#[test]
fn a_tombstone_that_leaves_too_early_is_found() {
    let (mut checks, mut storage) = (checks(), two());
    let [one, other] = &mut storage;
    let mut a = begin(&mut checks, one, A, Slot::at(A), life(1, 10), SlotSet::first(1));
    let mut b = begin(&mut checks, other, B, Slot::at(B), life(1, 20), SlotSet::first(2));
    a.put(key(1), &value(1)).expect("written");
    assert_eq!(look(&mut checks, A, &a), None);
    let first = a.inspect(key(1)).expect("held");
    let packet = forged(&b, &[record(1, first.dot, first.term, Some(value(1)))], &[first.dot]);
    deliver(&mut b, &packet).expect("taken");
    assert_eq!(look(&mut checks, B, &b), None);
    a.remove(key(1)).expect("deleted");
    assert_eq!(look(&mut checks, A, &a), None);
    collect(&mut a);
    assert_eq!(look(&mut checks, A, &a), Some(Rule::Resurrection), "B still shows what was deleted");
}

#[test]
fn a_life_that_is_not_the_one_that_began_is_found() {
    let (mut checks, mut storage) = (checks(), two());
    let (a, b) = pair(&mut checks, &mut storage);
    assert_eq!(look(&mut checks, A, &a), None);
    assert_eq!(look(&mut checks, A, &b), Some(Rule::Generation));
    // The generation of a life never falls either.
    let (slot, deadline) = (Slot::at(B), Instant::ZERO);
    checks.begin(B, &Start { slot, life: life(2, 20), deadline, budget: BUDGET });
    assert_eq!(look(&mut checks, B, &b), Some(Rule::Generation));
}

#[test]
fn a_start_before_its_deadline_is_found() {
    let (mut checks, mut memory) = (checks(), storage::<2>(CAPACITY, &SHAPE));
    let (slot, life, at) = (Slot::at(A), life(1, 10), Instant::from_millis(5_000));
    let config = MapConfig {
        slot,
        configured: SlotSet::first(2),
        life,
        capacity: CAPACITY,
        shape: SHAPE,
        start_deadline: at,
    };
    let mut map = Map::<2>::new(&mut memory, &config).expect("a good configuration");
    map.advance(at);
    for (clock, rule) in [(at, None), (Instant::from_millis(4_999), Some(Rule::Start))] {
        checks.begin(A, &Start { slot, life, deadline: at, budget: BUDGET });
        assert_eq!(violated(checks.observe(A, &map, clock)), rule);
    }
}

#[test]
fn a_fenced_server_that_writes_or_serves_is_found() {
    let (mut checks, mut storage) = (checks(), two());
    let (a, b) = pair(&mut checks, &mut storage);
    assert_eq!(look(&mut checks, A, &a), None);
    let mut memory = self::storage::<2>(CAPACITY, &SHAPE);
    let mut fenced = a.fork(&mut memory).expect("room");
    fenced.on_life_notice(LifeNotice { slot: a.slot(), life: life(2, 1), forgotten: false });
    assert_eq!(violated(checks.sent(A, Instant::ZERO, b.slot(), 1, false)), None);
    assert_eq!(look(&mut checks, A, &fenced), None);
    assert_eq!(violated(checks.sent(A, Instant::ZERO, b.slot(), 1, false)), Some(Rule::Over), "it serves");
    assert_eq!(look(&mut checks, A, &a), Some(Rule::Over), "it is no longer fenced");
    let (mut checks, mut storage) = (self::checks(), two());
    let (mut a, _) = pair(&mut checks, &mut storage);
    assert_eq!(look(&mut checks, A, &a), None);
    assert_eq!(look(&mut checks, A, &fenced), None);
    a.put(key(1), &value(1)).expect("written");
    assert_eq!(look(&mut checks, A, &a), Some(Rule::Over), "it writes");
}

#[test]
fn a_budget_that_is_overdrawn_is_found() {
    let (mut checks, mut storage) = (checks(), two());
    let (_a, _b) = pair(&mut checks, &mut storage);
    let to = Slot::at(B);
    let over =
        (0..100).find(|_| violated(checks.sent(A, Instant::ZERO, to, 1_400, false)) == Some(Rule::Budget));
    assert_eq!(over, Some(15), "twice the budget, and one packet");
}

#[test]
fn answers_that_say_nothing_over_and_over_are_found() {
    let (mut checks, mut storage) = (checks(), two());
    let (_a, _b) = pair(&mut checks, &mut storage);
    let told = |checks: &mut Checks<2>, ms, empty| {
        violated(checks.sent(A, Instant::from_millis(ms), Slot::at(B), 1, empty))
    };
    assert!((0..1_000).all(|n| told(&mut checks, n * 40, true).is_none()), "one that starts asks so often");
    assert!((0..1_000).all(|_| told(&mut checks, 40_000, false).is_none()), "these say something");
    let over = (0..1_000).find(|_| told(&mut checks, 40_000, true) == Some(Rule::EmptyAnswers));
    assert_eq!(over, Some(200));
}

#[test]
fn a_table_that_is_not_what_its_log_says_is_found() {
    let (mut checks, mut storage) = (checks(), two());
    let (mut a, b) = pair(&mut checks, &mut storage);
    assert_eq!(look(&mut checks, A, &a), None);
    a.put(key(1), &value(1)).expect("written");
    assert_eq!(violated(checks.sweep([(A, &a), (B, &b)].into_iter())), Some(Rule::Table));
}

#[test]
fn a_mend_without_a_cause_is_found() {
    let (mut checks, mut storage) = (checks(), two());
    let (mut a, mut b) = pair(&mut checks, &mut storage);
    // B holds an older record and claims the newer one.
    b.put(key(1), &value(1)).expect("written");
    assert_eq!(look(&mut checks, B, &b), None);
    let older = b.inspect(key(1)).expect("held");
    let packet = Delta {
        from: Slot::at(B),
        life: life(1, 20),
        to_life: a.life().id,
        range: (0, 1, 1),
        flags: DeltaFixed::FROM_BASE | DeltaFixed::COMPLETE,
        records: &[record(1, older.dot, older.term, Some(value(1)))],
        version: &[older.dot],
    };
    deliver(&mut a, &packet.packet(&SHAPE)).expect("taken");
    assert_eq!(look(&mut checks, A, &a), None);
    a.put(key(1), &value(2)).expect("written");
    assert_eq!(look(&mut checks, A, &a), None);
    let newer = a.inspect(key(1)).expect("held");
    let packet = forged(&b, &[], &[newer.dot]);
    deliver(&mut b, &packet).expect("taken");
    assert_eq!(look(&mut checks, B, &b), Some(Rule::Invariant));
    // Repair finds it, and the check finds the repair.
    let mut frame = vec![0; 1_400];
    for _ in 0..3 {
        carry(&mut b, &mut a, &mut frame, |map, frame| map.write_digest(Slot::at(A), frame));
        carry(&mut a, &mut b, &mut frame, Map::write_repair);
    }
    assert_eq!(b.stats().mends_unknown + b.stats().mends_started_unmet, 1);
    assert_eq!(look(&mut checks, B, &b), Some(Rule::Mend));
}

fn carry<'m>(
    from: &mut Map<'m, 2>,
    to: &mut Map<'_, 2>,
    frame: &mut [u8],
    write: impl FnOnce(&mut Map<'m, 2>, &mut [u8]) -> Option<(Envelope, usize)>,
) {
    let written = write(from, frame);
    if let Some(packet) = sealed(frame, written) {
        let _ = deliver(to, packet);
    }
}

#[test]
fn held_below_the_version_is_found() {
    let slot = Slot::at(0);
    let (mut low, mut high) =
        (popmap_core::clock::VersionVector::<2>::new(), popmap_core::clock::VersionVector::new());
    low.raise(slot, 1);
    high.raise(slot, 2);
    assert_eq!(violated(super::observe::check_held(0, &high, &low)), None);
    assert_eq!(violated(super::observe::check_held(0, &low, &high)), Some(Rule::Held));
}
