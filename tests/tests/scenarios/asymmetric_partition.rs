//! Links that carry packets one way only: whoever is reached by way of others is not held dead; whoever is heard by nobody
//! is.

use popmap_core::Slot;
use popmap_core::time::Duration;
use popmap_tests::members::{agree, all_hold_live, deaths, join, losing, pop, storage};
use popmap_tests::scenario::total;

const SERVERS: usize = 8;

#[test]
fn one_way_links_are_no_deaths() {
    for seed in 0..6 {
        let mut storage = storage::<8>(SERVERS);
        let mut pop = pop::<8>(&mut storage, SERVERS, seed, losing(1_000));
        join(&mut pop);
        // One link, then a ring of them, so that some helpers do not reach the target either.
        for links in [1, SERVERS] {
            (0..links).for_each(|from| pop.network.cut(Slot::at(from), Slot::at((from + 1) % SERVERS)));
            pop.run(Duration::from_secs(30));
            assert_eq!(deaths(&pop), 0, "seed {seed}, {links} links");
        }
        let all = pop.running();
        assert!(all_hold_live(&pop, all, all));
        let sum = |of: fn(&popmap_core::Stats) -> u64| total(&pop, of);
        println!(
            "seed {seed}: {} probes, {} asked to help, {} failed, {} suspicions",
            sum(|stats| stats.swim.probes),
            sum(|stats| stats.swim.indirect_probes),
            sum(|stats| stats.swim.failed_probes),
            sum(|stats| stats.swim.suspicions)
        );
        assert!(sum(|stats| stats.swim.indirect_probes) > 100);
    }
}

/// A server hears all the others and nobody hears it.
#[test]
fn whom_nobody_hears_is_dead_until_heard() {
    let mute = Slot::at(3);
    for seed in 0..6 {
        let mut storage = storage::<8>(SERVERS);
        let mut pop = pop::<8>(&mut storage, SERVERS, seed, losing(0));
        join(&mut pop);
        let rest = pop.running().without(mute);
        rest.iter().for_each(|slot| pop.network.cut(mute, slot));
        let dead = pop.run_until(Duration::from_secs(4), |pop| all_hold_live(pop, rest, rest));
        let dead = dead.expect("all hold it dead");
        // It is not brought back and killed again and again.
        let before = deaths(&pop);
        pop.run(Duration::from_secs(20));
        let after: u64 = rest.iter().map(|slot| pop.node(slot).stats().swim.deaths).sum();
        assert!(all_hold_live(&pop, rest, rest));
        assert!(
            after <= before.max(rest.len() as u64),
            "{before}, then {after} deaths declared by the others"
        );
        pop.network.heal();
        let back = agree(&mut pop, Duration::from_secs(3));
        println!(
            "seed {seed}: dead after {} ms, back {} ms after it is heard",
            dead.as_millis(),
            back.as_millis()
        );
    }
}
