//! A PoP of 64 is cut in two: each side comes to hold the other dead; healed, all hold all live within seconds. So do two
//! parts that never met.

use popmap_core::time::Duration;
use popmap_core::{Slot, SlotSet};
use popmap_tests::members::{agree, all_hold_live, bytes_per_second, join, losing, pop, storage};

const SERVERS: usize = 64;

#[test]
fn all_are_live_again() {
    for (seed, side) in [(0, 1), (1, 8), (2, 20), (3, 20), (4, 32), (5, 63)] {
        let mut storage = storage::<64>(SERVERS);
        let mut pop = pop::<64>(&mut storage, SERVERS, seed, losing(50_000));
        join(&mut pop);
        let (all, left) = (pop.running(), SlotSet::first(side));
        let right = all.difference(left);
        pop.network.partition(left);
        // Whoever is in the minority doubts itself first: a server alone takes minutes.
        let parted = pop.run_until(Duration::from_secs(180), |pop| {
            all_hold_live(pop, left, left) && all_hold_live(pop, right, right)
        });
        let parted = parted.expect("each side holds the other dead");
        let cost = bytes_per_second(&mut pop, Duration::from_secs(10));
        pop.network.heal();
        let healed = agree(&mut pop, Duration::from_secs(3));
        println!(
            "{side} of 64 cut off: dead on both sides after {} ms; {cost} bytes/s while parted; healed after {} ms",
            parted.as_millis(),
            healed.as_millis()
        );
    }
}

/// Both sides have a seed, and start while they cannot reach each other.
#[test]
fn parts_that_never_met() {
    let mut storage = storage::<8>(8);
    let mut pop = pop::<8>(&mut storage, 8, 1, losing(10_000));
    // Slots 0 and 1 are seeds of the one, slot 2 of the other.
    let left = SlotSet::EMPTY.with(Slot::at(0)).with(Slot::at(1)).with(Slot::at(5));
    let right = pop.running().difference(left);
    pop.network.partition(left);
    pop.run(Duration::from_secs(10));
    assert!(all_hold_live(&pop, left, left) && all_hold_live(&pop, right, right));
    pop.network.heal();
    let met = agree(&mut pop, Duration::from_secs(5));
    println!("never met before: all live {} ms after they can", met.as_millis());
}
