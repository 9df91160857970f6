//! All servers restart, at once and one at a time under writes: they find each other again, nothing is lost that anybody
//! kept, and nobody is held dead who lives.

use popmap_core::Slot;
use popmap_core::time::Duration;
use popmap_core::wire::Kind;
use popmap_core::{Phase, SlotSet};
use popmap_io::memory::Faults;
use popmap_tests::cluster::{Cluster, Restart, Storage};
use popmap_tests::members::{agree, deaths, join, losing, pop, storage};
use popmap_tests::scenario::{SHAPE, assert_same_records, key, mends, total, value};

const SERVERS: usize = 16;

#[test]
fn all_at_once() {
    for (seed, how) in
        (0..4).flat_map(|seed| [(seed, Restart::GenerationKept), (seed, Restart::GenerationLost)])
    {
        let mut storage = storage::<16>(2 * SERVERS);
        let mut pop = pop::<16>(&mut storage, SERVERS, seed, losing(10_000));
        join(&mut pop);
        let all = pop.running();
        for slot in all.iter() {
            pop.put(slot, key(slot.index() as u64), &value(1)).expect("written");
        }
        pop.settle(Duration::from_secs(2));
        all.iter().for_each(|slot| pop.kill(slot));
        all.iter().for_each(|slot| pop.restart(slot, how));
        let back = join(&mut pop);
        pop.run(Duration::from_secs(10));
        assert_eq!(deaths(&pop), 0, "seed {seed}");
        for slot in all.iter() {
            pop.put(slot, key(slot.index() as u64), &value(2)).expect("written");
        }
        pop.settle(Duration::from_secs(2));
        assert_eq!(assert_same_records(&pop, all, (0..SERVERS as u64).map(key)), SERVERS);
        println!("seed {seed}: all at once, {how:?}: writing again after {} ms", back.as_millis());
    }
}

/// All but two restart, one of these is silent, and packets of the other come again, late: each looks like the start of
/// something long. That is no reason to ask everybody once more.
#[test]
fn who_waits_for_a_silent_one_asks_at_leisure() {
    let (writer, silent, starts) = (Slot::at(0), Slot::at(1), Slot::at(2));
    let (mut storage, all) = (Storage::new::<16>(2 * SERVERS, 400, SHAPE), SlotSet::first(SERVERS));
    let mut pop = Cluster::<16>::new(&mut storage, SERVERS, 400, SHAPE, 3, Faults::default(), |_| {});
    pop.start_up(Duration::from_secs(6));
    pop.settle(Duration::from_secs(2));
    let starting = all.without(writer).without(silent);
    all.without(writer).iter().for_each(|slot| pop.kill(slot));
    starting.iter().for_each(|slot| pop.restart(slot, Restart::GenerationKept));
    pop.set_live(all);
    pop.watch();
    pop.put(writer, key(0), &value(0)).expect("written");
    pop.run(Duration::from_millis(200));
    let sent = pop.take_sent().into_iter();
    let mut deltas = sent.filter(|sent| sent.to == starts && sent.kind() == Kind::Delta);
    let late = deltas.find(|sent| starting.contains(sent.from)).expect("it asks all that start");
    for n in 0..1_000 {
        pop.put(writer, key(n % 200), &value(n)).expect("written");
        pop.run(Duration::from_millis(1));
        pop.deliver_to(starts, late.from, &late.packet).expect("a packet of this life");
    }
    assert!(starting.iter().all(|slot| pop.node(slot).map().phase() == Phase::Starting));
    let mut asked = [0; SERVERS];
    for sent in pop.take_sent() {
        if sent.from == starts && sent.kind() == Kind::Version {
            asked[sent.to.index()] += 1;
        }
    }
    println!("in a second it asked {asked:?} times");
    let others = starting.without(starts).without(late.from);
    // Each 40 ms; without a pause it is for each packet that comes late.
    assert!(others.iter().all(|slot| (20..=30).contains(&asked[slot.index()])));
    pop.restart(silent, Restart::GenerationKept);
    pop.start_up(Duration::from_secs(2));
    pop.settle(Duration::from_secs(2));
    assert_eq!(total(&pop, |stats| stats.map.mends_unknown), 0);
}

#[test]
fn one_at_a_time_under_writes() {
    for (seed, how) in
        (0..3).flat_map(|seed| [(seed, Restart::GenerationKept), (seed, Restart::GenerationLost)])
    {
        let mut storage = storage::<16>(2 * SERVERS);
        let mut pop = pop::<16>(&mut storage, SERVERS, seed, losing(10_000));
        join(&mut pop);
        let all = pop.running();
        let mut written = 0;
        let mut write = |pop: &mut Cluster<'_, 16>, but: Option<Slot>| {
            for slot in all.iter().filter(|&slot| Some(slot) != but) {
                pop.put(slot, key(written % 200), &value(written)).expect("written");
                written += 1;
            }
            pop.run(Duration::from_millis(20));
        };
        for slot in all.iter() {
            (0..5).for_each(|_| write(&mut pop, None));
            pop.kill(slot);
            // Sooner than anybody notices, or later.
            let away = if slot.index() % 2 == 0 { 2 } else { 100 };
            (0..away).for_each(|_| write(&mut pop, Some(slot)));
            pop.restart(slot, how);
            (0..5).for_each(|_| write(&mut pop, Some(slot)));
            agree(&mut pop, Duration::from_secs(3));
            pop.start_up(Duration::from_secs(6));
        }
        pop.settle(Duration::from_secs(3));
        let live = assert_same_records(&pop, all, (0..200).map(key));
        assert_eq!(live, 200, "every key");
        assert_eq!(total(&pop, |stats| stats.map.mends_unknown), 0);
        let (declared, mended) = (deaths(&pop), total(&pop, mends));
        println!(
            "seed {seed}: one at a time, {how:?}: {written} writes, {declared} deaths declared, {mended} mended"
        );
    }
}
