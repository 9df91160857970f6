//! A server leaves: nobody suspects it, its keys move at once, and it comes back as a new life, with its generation kept
//! or lost.

use popmap_core::time::Duration;
use popmap_core::{Config, PutError, RemoveError, Slot, SlotSet, State};
use popmap_io::memory::Faults;
use popmap_tests::cluster::{Cluster, Restart};
use popmap_tests::members::{agree, all_hold_live, anyone_holds, join, losing, pop, storage, swim};
use popmap_tests::scenario::{SHAPE, key, state_hash, total, value};

const LEAVER: Slot = Slot::at(2);

#[test]
fn leaves_and_comes_back() {
    for (seed, how) in
        (0..10).flat_map(|seed| [(seed, Restart::GenerationKept), (seed, Restart::GenerationLost)])
    {
        let mut storage = storage::<8>(8);
        let mut pop = pop::<8>(&mut storage, 6, seed, losing(20_000));
        join(&mut pop);
        for round in 0..2 {
            let rest = pop.running().without(LEAVER);
            let now = pop.now();
            pop.node_mut(LEAVER).leave(now);
            let gone = pop.run_until(Duration::from_secs(1), |pop| all_hold_live(pop, rest, rest));
            let gone = gone.expect("all know that it left");
            assert!(
                rest.iter().all(|slot| pop.node(slot).member(LEAVER).is_some_and(|m| m.state == State::Left))
            );
            pop.kill(LEAVER);
            pop.run(Duration::from_secs(5));
            assert_eq!(total(&pop, |stats| stats.swim.deaths), 0, "who left is not mourned");
            assert!(!anyone_holds(&pop, LEAVER, State::Dead));
            pop.put(Slot::at(0), key(round), &value(round)).expect("written");

            pop.restart(LEAVER, how);
            let back = agree(&mut pop, Duration::from_secs(3));
            let writes = pop.start_up(Duration::from_secs(5));
            pop.put(LEAVER, key(100 + round), &value(round)).expect("written");
            pop.settle(Duration::from_secs(3));
            println!(
                "seed {seed}: gone after {} ms, back after {} ms, writes after {} ms",
                gone.as_millis(),
                back.as_millis(),
                back.as_millis() + writes.as_millis()
            );
        }
        let life = pop.node(LEAVER).map().life();
        assert!(life.generation >= 2 && pop.node(Slot::at(0)).member(LEAVER).is_some_and(|m| m.life == life));
    }
}

/// Every seed says goodbye and comes back at once: they know only each other then, and nobody tries again who left. The others
/// ask their seeds.
#[test]
fn seeds_that_all_left_and_came_back_are_found_again() {
    let seeds = SlotSet::first(3);
    for seed in 0..10 {
        let mut storage = storage::<8>(9);
        let mut pop = pop::<8>(&mut storage, 6, seed, losing(20_000));
        join(&mut pop);
        let rest = pop.running().difference(seeds);
        let now = pop.now();
        seeds.iter().for_each(|slot| pop.node_mut(slot).leave(now));
        pop.run_until(Duration::from_secs(1), |pop| all_hold_live(pop, rest, rest)).expect("all know");
        seeds.iter().for_each(|slot| pop.kill(slot));
        pop.run(Duration::from_secs(2));
        seeds.iter().for_each(|slot| pop.restart(slot, Restart::GenerationKept));
        let back = agree(&mut pop, Duration::from_secs(5));
        pop.start_up(Duration::from_secs(5));
        println!("seed {seed}: one PoP again after {} ms", back.as_millis());
    }
}

/// Whoever has left writes no more, whether it told the others itself or somebody else did. What it wrote before gets out,
/// and until it ends it reads and merges as always.
#[test]
fn who_has_left_is_refused_writes_and_reads_on() {
    const OTHER: Slot = Slot::at(0);
    let alone: fn(&mut Config) = |_| ();
    for (told, adjust) in [("by itself", swim as fn(&mut Config)), ("by others", alone)] {
        let mut storage = storage::<8>(4);
        let mut pop = Cluster::<8>::new(&mut storage, 3, 300, SHAPE, 1, Faults::default(), adjust);
        pop.start_up(Duration::from_secs(6));
        pop.put(LEAVER, key(1), &value(1)).unwrap();
        pop.settle(Duration::from_secs(3));
        // The last write, and at once the word.
        pop.put(LEAVER, key(2), &value(2)).unwrap();
        let now = pop.now();
        pop.node_mut(LEAVER).leave(now);

        let before = state_hash(&pop, LEAVER);
        assert_eq!(pop.put(LEAVER, key(1), &value(9)), Err(PutError::Left), "{told}");
        assert_eq!(pop.put(LEAVER, key(3), &value(9)), Err(PutError::Left), "{told}");
        assert_eq!(pop.remove(LEAVER, key(1)), Err(RemoveError::Refused(PutError::Left)), "{told}");
        assert_eq!(state_hash(&pop, LEAVER), before, "{told}: the map is as it was");

        pop.put(OTHER, key(4), &value(4)).unwrap();
        pop.settle(Duration::from_secs(3));
        for n in [1, 2, 4] {
            assert_eq!(pop.get(LEAVER, key(n)), Some(value(n).to_vec()), "{told}");
            assert_eq!(pop.get(OTHER, key(n)), Some(value(n).to_vec()), "{told}");
        }
        assert_eq!(pop.put(LEAVER, key(3), &value(9)), Err(PutError::Left), "{told}: for good");

        pop.kill(LEAVER);
        pop.restart(LEAVER, Restart::GenerationKept);
        pop.run_until(Duration::from_secs(6), |pop| {
            let all = SlotSet::first(3);
            all_hold_live(pop, all, all)
        })
        .expect("it is back");
        pop.start_up(Duration::from_secs(6));
        pop.put(LEAVER, key(3), &value(3)).expect("a new life writes");
    }
}
