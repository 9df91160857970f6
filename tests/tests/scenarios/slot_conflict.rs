//! Two servers are configured in one slot: the lesser life is fenced, the greater goes on with dots of its own, and the
//! others become equal (R4.5).

use popmap_core::limits::QUARANTINE;
use popmap_core::time::Duration;
use popmap_core::{Event, Phase, PutError, Slot, SlotSet};
use popmap_io::memory::{Faults, Network};
use popmap_tests::cluster::{Cluster, Restart, Storage};
use popmap_tests::scenario::{SHAPE, assert_same_records, key, mends, total, value};

const SERVERS: usize = 4;
const SHARED: Slot = Slot::at(1);
const KEYS: u64 = 30;

type Pop<'a> = Cluster<'a, 8>;

fn storage() -> Storage {
    Storage::new::<8>(SERVERS + 1, 300, SHAPE)
}

fn is_fenced(pop: &Pop<'_>, server: Slot) -> bool {
    pop.node(server).map().phase() == Phase::Fenced
}

fn raises(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::GenerationRaised { .. })).count()
}

/// Asserts that exactly one of the two is fenced and says so. Returns (winner, loser).
fn outcome(pop: &mut Pop<'_>, beside: Slot) -> (Slot, Slot) {
    let (one, other) = (is_fenced(pop, SHARED), is_fenced(pop, beside));
    assert!(one != other, "fenced: {one} and {other}");
    let (winner, loser) = if one { (beside, SHARED) } else { (SHARED, beside) };
    assert!(pop.node(winner).map().life() > pop.node(loser).map().life(), "the lesser is");
    let winners_life = pop.node(winner).map().life();
    let events = pop.take_events(loser);
    let by = |event: &Event| matches!(event, Event::Fenced { by } if by.id == winners_life.id);
    assert!(events.iter().any(by), "it says so, and by whom: {events:?}");
    assert_eq!(pop.put(loser, key(0), &value(0)), Err(PutError::Fenced));
    (winner, loser)
}

/// A second server starts in a slot whose server runs, in the same generation. Each hears of the other and raises itself
/// above it: the newcomer as it would above its own past, the running one only if its life is the greater.
#[test]
pub(crate) fn a_second_server_starts_beside_a_running_one() {
    for seed in 0..8 {
        let mut storage = storage();
        let mut pop = Pop::new(&mut storage, SERVERS, 300, SHAPE, seed, Faults::default(), |_| {});
        let all = pop.running();
        pop.start_up(Duration::from_secs(6));
        (0..KEYS).for_each(|n| pop.put(SHARED, key(n), &value(n)).unwrap());
        pop.settle(Duration::from_secs(5));

        let beside = pop.start_beside(SHARED, 1);
        let started = pop.now();
        let decided = |pop: &Pop<'_>| is_fenced(pop, SHARED) != is_fenced(pop, beside);
        pop.run_until(Duration::from_secs(6), decided).expect("one is fenced");
        let took = pop.now().since(started);
        let (winner, loser) = outcome(&mut pop, beside);
        pop.start_up(Duration::from_secs(6));
        for n in 0..KEYS / 2 {
            pop.put(winner, key(n), &value(100 + n)).unwrap();
            assert_eq!(pop.put(loser, key(KEYS), &value(0)), Err(PutError::Fenced));
            pop.run(Duration::from_millis(5));
        }
        let rest = all.with(beside).without(loser);
        pop.run_until(Duration::from_secs(5), |pop| pop.are_equal(rest)).expect("the others become equal");
        pop.run(Duration::from_secs(5));
        let raised = raises(&pop.take_events(winner));
        // While the one starts and the other writes, each may raise itself above the other; starting, once for each peer.
        assert!((1..=SERVERS).contains(&raised), "{raised} raises");
        assert_eq!(assert_same_records(&pop, rest, (0..KEYS).map(key)) as u64, KEYS, "nothing is lost");
        for n in 0..KEYS {
            let expected = if n < KEYS / 2 { 100 + n } else { n };
            assert_eq!(pop.get(Slot::at(0), key(n)), Some(value(expected).to_vec()));
        }
        assert_eq!(total(&pop, |stats| stats.map.mends_unknown), 0);
        println!(
            "seed {seed}: {winner} wins after {} ms and {raised} raises, {} mended",
            took.as_millis(),
            total(&pop, mends)
        );
    }
}

/// Both write, each on its own side of a partition, in the same generation: they use the same dots for different writes.
#[test]
fn both_write_with_the_same_dots() {
    let mut fenced = Vec::new();
    for seed in 0..10 {
        let mut storage = storage();
        let mut pop = Pop::new(&mut storage, SERVERS, 300, SHAPE, seed, Faults::default(), |_| {});
        let all = pop.running();
        let beside = pop.start_beside(SHARED, 1);
        let left = SlotSet::first(2);
        let right = all.difference(left).with(beside);
        pop.network.partition(left);
        left.iter().for_each(|slot| pop.node_mut(slot).set_live(left));
        right.iter().for_each(|slot| pop.node_mut(slot).set_live(right.with(SHARED)));
        pop.start_up(Duration::from_secs(6));
        for n in 0..KEYS {
            pop.put(SHARED, key(n), &value(n)).unwrap();
            pop.put(beside, key(KEYS + n), &value(n)).unwrap();
            // A key that both write.
            pop.put(if n % 2 == 0 { SHARED } else { beside }, key(1_000), &value(n)).unwrap();
        }
        pop.run(Duration::from_secs(1));
        assert!(pop.are_equal(left) && pop.are_equal(right));
        all.with(beside).iter().for_each(|slot| drop(pop.take_events(slot)));

        pop.network.heal();
        all.with(beside).iter().for_each(|slot| pop.node_mut(slot).set_live(all));
        let rest = |pop: &Pop<'_>| {
            let loser = if is_fenced(pop, SHARED) { SHARED } else { beside };
            all.with(beside).without(loser)
        };
        let decided =
            |pop: &Pop<'_>| is_fenced(pop, SHARED) != is_fenced(pop, beside) && pop.are_equal(rest(pop));
        let took = pop.run_until(Duration::from_secs(60), decided).expect("decided, and the others equal");
        // Repair finds what the equal versions hide; what it buries is collected in the end.
        pop.run(Duration::from_secs(90));
        let (winner, loser) = outcome(&mut pop, beside);
        let events = pop.take_events(winner);
        assert_eq!(raises(&events), 1, "once: {events:?}");
        assert!(events.contains(&Event::SlotConflict { slot: SHARED }));
        let rest = all.with(beside).without(loser);
        assert!(pop.are_equal(rest));
        let live = assert_same_records(&pop, rest, (0..2 * KEYS).chain([1_000]).map(key)) as u64;
        assert_eq!(total(&pop, |stats| stats.map.mends_unknown), 0, "seed {seed}");
        // What repair found before either server was known of could only be buried; the rest has been kept.
        let buried = total(&pop, |stats| stats.map.reports_buried);
        let redotted = pop.node(winner).stats().map.redotted;
        assert!(redotted > 0 && redotted + buried >= KEYS, "what it wrote has dots of its own: {redotted}");
        assert!(live + buried > KEYS, "{live} keys live, {buried} buried");
        fenced.push(loser);
        let sum = |of: fn(&popmap_core::Stats) -> u64| total(&pop, of);
        println!(
            "seed {seed}: {loser} fenced; equal after {} ms; {live} of {} keys, {} mended, {} reports, {} rewritten, {} buried",
            took.as_millis(),
            2 * KEYS + 1,
            sum(mends),
            sum(|s| s.map.reports),
            sum(|s| s.map.reports_rewritten),
            sum(|s| s.map.reports_buried),
        );
    }
    assert!(fenced.contains(&SHARED), "either may be the lesser");
    assert!(fenced.iter().any(|&loser| loser != SHARED), "either may be the lesser");
}

/// The generations differ: the dots do, too, and the lesser is fenced without a raise.
#[test]
fn a_second_server_with_a_greater_generation() {
    let mut storage = storage();
    let mut pop = Pop::new(&mut storage, SERVERS, 300, SHAPE, 1, Faults::default(), |_| {});
    let all = pop.running();
    pop.start_up(Duration::from_secs(6));
    (0..KEYS).for_each(|n| pop.put(SHARED, key(n), &value(n)).unwrap());
    pop.settle(Duration::from_secs(5));
    let beside = pop.start_beside(SHARED, 7);
    pop.start_up(Duration::from_secs(6));
    (0..KEYS / 2).for_each(|n| pop.put(beside, key(n), &value(100 + n)).unwrap());
    pop.run(Duration::from_secs(3));
    let (winner, loser) = outcome(&mut pop, beside);
    assert_eq!((winner, raises(&pop.take_events(winner))), (beside, 0));
    let rest = all.with(beside).without(loser);
    assert!(pop.are_equal(rest));
    assert_eq!(assert_same_records(&pop, rest, (0..KEYS).map(key)) as u64, KEYS);
    assert_eq!(total(&pop, mends), 0);
}

/// A start meets the fenced server before anybody else, alone with it: that one still has what was deleted since, and nobody
/// waits for it with a tombstone.
#[test]
pub(crate) fn a_start_takes_nothing_from_a_fenced_server() {
    for seed in 0..8 {
        let mut storage = Storage::new::<8>(SERVERS + 2, 300, SHAPE);
        let mut pop = Pop::new(&mut storage, SERVERS, 300, SHAPE, seed, Faults::default(), |_| {});
        let all = pop.running();
        pop.start_up(Duration::from_secs(6));
        (0..KEYS).for_each(|n| pop.put(Slot::at(0), key(n), &value(n)).unwrap());
        pop.settle(Duration::from_secs(5));
        let beside = pop.start_beside(SHARED, 7);
        pop.start_up(Duration::from_secs(6));
        pop.run_until(Duration::from_secs(5), |pop| is_fenced(pop, SHARED)).expect("the lesser is fenced");
        assert_eq!(outcome(&mut pop, beside), (beside, SHARED));

        let rest = all.with(beside).without(SHARED);
        (0..KEYS / 2).for_each(|n| pop.remove(Slot::at(0), key(n)).unwrap());
        let left = |pop: &Pop<'_>| rest.iter().map(|slot| pop.node(slot).map().tombstones()).sum::<usize>();
        pop.run_until(QUARANTINE.times(4), |pop| left(pop) == 0).expect("nobody waits for the fenced one");
        assert!(pop.get(SHARED, key(0)).is_some(), "it heard of no delete");

        let fresh = Slot::at(3);
        pop.kill(fresh);
        pop.restart(fresh, Restart::GenerationKept);
        let others = rest.without(fresh);
        others.iter().for_each(|other| pop.network.cut(other, fresh));
        pop.run(Duration::from_secs(1));
        pop.network.heal();
        pop.node_mut(fresh).set_address(SHARED, Network::address(beside));
        let came_back = |pop: &Pop<'_>| (0..KEYS / 2).any(|n| pop.get(fresh, key(n)).is_some());
        assert!(!came_back(&pop), "seed {seed}: taken from the fenced server");
        let back = pop.run_until(Duration::from_secs(30), came_back);
        assert_eq!(back, None, "seed {seed}: a deleted key is back");
        assert_eq!(pop.node(fresh).map().phase(), Phase::Active { expired: false });
        assert!(pop.are_equal(rest));
        assert_eq!(assert_same_records(&pop, rest, (0..KEYS).map(key)) as u64, KEYS - KEYS / 2);
        assert_eq!(total(&pop, mends), 0);
    }
}
