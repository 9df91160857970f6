//! All servers restart, at once and one at a time under writes: they find each other again, nothing is lost that anybody
//! kept, and nobody is held dead who lives.

use popmap_core::Slot;
use popmap_core::time::Duration;
use popmap_tests::cluster::Restart;
use popmap_tests::members::{agree, deaths, join, losing, pop, storage};
use popmap_tests::scenario::{assert_same_records, key, mends, total, value};

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
        let mut write = |pop: &mut popmap_tests::cluster::Cluster<'_, 16>, but: Option<Slot>| {
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
