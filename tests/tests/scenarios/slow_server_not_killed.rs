//! A server that is slow, or stands still for a while, is not held dead for it and holds nobody dead for it.

use popmap_core::time::Duration;
use popmap_core::{Slot, State};
use popmap_tests::members::{agree, anyone_holds, deaths, join, losing, pop, storage};
use popmap_tests::scenario::total;

const SERVERS: usize = 16;
const SLOW: Slot = Slot::at(5);

/// Every packet from and to it takes 100 to 300 ms, and so a ping more than a period.
#[test]
fn packets_delayed_by_hundreds_of_milliseconds() {
    for seed in 0..6 {
        let mut storage = storage::<16>(SERVERS);
        let mut pop = pop::<16>(&mut storage, SERVERS, seed, losing(10_000));
        join(&mut pop);
        pop.network.slow(SLOW, Duration::from_millis(100), Duration::from_millis(300));
        pop.run(Duration::from_secs(20));
        let suspicions = total(&pop, |stats| stats.swim.suspicions);
        assert_eq!(deaths(&pop), 0, "seed {seed}: {suspicions} suspicions");
        pop.network.slow(SLOW, Duration::ZERO, Duration::ZERO);
        let calm = pop.run_until(Duration::from_secs(3), |pop| {
            pop.running().iter().all(|slot| !anyone_holds(pop, slot, State::Suspect))
        });
        assert!(calm.is_some(), "fast again, nobody suspects it");
        println!("seed {seed}: {suspicions} suspicions in 20 s, no death");
    }
}

/// A process that stands still for three seconds may be held dead meanwhile. It itself judges nobody by that time.
#[test]
fn a_process_that_stands_still() {
    for seed in 0..6 {
        let mut storage = storage::<16>(SERVERS);
        let mut pop = pop::<16>(&mut storage, SERVERS, seed, losing(10_000));
        join(&mut pop);
        for span in [100, 300, 3_000] {
            pop.stall(SLOW, Duration::from_millis(span));
            pop.run(Duration::from_millis(span));
            let back = agree(&mut pop, Duration::from_secs(2));
            assert_eq!(pop.node(SLOW).stats().swim.deaths, 0, "seed {seed}, {span} ms");
            println!("seed {seed}: all live {} ms after {span} ms", back.as_millis());
            pop.run(Duration::from_secs(5));
        }
        assert!(pop.node(SLOW).stats().swim.stalls > 0);
    }
}
