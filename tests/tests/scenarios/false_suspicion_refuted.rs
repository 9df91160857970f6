//! A server that nobody reaches for a moment is suspected, refutes, and is not held dead.

use popmap_core::time::Duration;
use popmap_core::{Slot, SlotSet, State};
use popmap_tests::members::{agree, anyone_holds, deaths, join, losing, pop, storage};
use popmap_tests::scenario::total;

const SUSPECT: Slot = Slot::at(4);

#[test]
pub(crate) fn a_moment_out_of_reach() {
    for seed in 0..20 {
        let mut storage = storage::<8>(8);
        let mut pop = pop::<8>(&mut storage, 8, seed, losing(0));
        join(&mut pop);
        let before = pop.node(SUSPECT).member(SUSPECT).expect("itself").incarnation;
        pop.network.partition(SlotSet::EMPTY.with(SUSPECT));
        let suspected = pop.run_until(Duration::from_secs(2), |pop| {
            pop.running()
                .without(SUSPECT)
                .iter()
                .all(|of| pop.node(of).member(SUSPECT).is_some_and(|member| member.state == State::Suspect))
        });
        assert!(suspected.is_some(), "all others suspect it");
        assert!(pop.node(Slot::at(0)).map().live().contains(SUSPECT), "a suspect still owns its keys");
        pop.network.heal();
        let refuted =
            pop.run_until(Duration::from_secs(2), |pop| !anyone_holds(pop, SUSPECT, State::Suspect));
        let refuted = refuted.expect("refuted at all");
        agree(&mut pop, Duration::from_millis(1));
        assert_eq!(deaths(&pop), 0, "seed {seed}");
        assert!(total(&pop, |stats| stats.swim.refutations) > 0);
        for of in pop.running().iter() {
            let member = pop.node(of).member(SUSPECT).expect("known");
            assert!(member.state == State::Alive && member.incarnation > before);
        }
        println!("seed {seed}: all alive again {} ms after it was reached", refuted.as_millis());
    }
}
