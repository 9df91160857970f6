//! A server leaves: nobody suspects it, its keys move at once, and it comes back as a new life, with its generation kept
//! or lost.

use popmap_core::time::Duration;
use popmap_core::{Slot, State};
use popmap_tests::cluster::Restart;
use popmap_tests::members::{agree, all_hold_live, anyone_holds, join, losing, pop, storage};
use popmap_tests::scenario::{key, total, value};

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
