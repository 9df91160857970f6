//! Sixty-four servers at 5 % loss: they find each other, nobody is held dead who lives, and whoever dies is found out by
//! all.

use popmap_core::Slot;
use popmap_core::time::Duration;
use popmap_tests::cluster::{Cluster, Restart, Storage};
use popmap_tests::members::{agree, bytes_per_second, deaths, join, losing, pop, storage, swim};
use popmap_tests::scenario::{SHAPE, key, total, value};

const SERVERS: usize = 64;

#[test]
fn deaths_are_detected_by_all() {
    let mut times = Vec::new();
    for seed in 0..6 {
        let mut storage = storage::<64>(SERVERS);
        let mut pop = pop::<64>(&mut storage, SERVERS, seed, losing(50_000));
        join(&mut pop);
        pop.run(Duration::from_secs(2));
        for victim in 0..10 {
            pop.kill(Slot::at(10 + 5 * victim));
            times.push(agree(&mut pop, Duration::from_millis(2_500)).as_millis());
            pop.run(Duration::from_millis(500 + 37 * victim as u64));
        }
        let detected = SERVERS as u64 - 10;
        assert!(deaths(&pop) >= detected && pop.running().len() as u64 == detected);
    }
    times.sort_unstable();
    println!(
        "kill to the last who learns of it: median {} ms, max {} ms",
        times[times.len() / 2],
        times[times.len() - 1]
    );
    println!("{times:?}");
}

#[test]
fn nobody_is_held_dead_who_lives() {
    for seed in 10..12 {
        let mut storage = storage::<64>(SERVERS);
        let mut pop = pop::<64>(&mut storage, SERVERS, seed, losing(50_000));
        let joined = join(&mut pop);
        pop.run(Duration::from_secs(120));
        let sum = |of: fn(&popmap_core::Stats) -> u64| total(&pop, of);
        println!(
            "joined after {} ms; 2 minutes at 5 % loss: {} probes, {} failed, {} suspicions, {} refutations, {} deaths",
            joined.as_millis(),
            sum(|stats| stats.swim.probes),
            sum(|stats| stats.swim.failed_probes),
            sum(|stats| stats.swim.suspicions),
            sum(|stats| stats.swim.refutations),
            deaths(&pop),
        );
        assert_eq!(deaths(&pop), 0);
    }
}

#[test]
fn ten_come_back() {
    let mut storage = storage::<64>(SERVERS + 10);
    let mut pop = pop::<64>(&mut storage, SERVERS, 20, losing(50_000));
    join(&mut pop);
    (10..20).for_each(|victim| pop.kill(Slot::at(victim)));
    let dead = agree(&mut pop, Duration::from_secs(5));
    (10..20).for_each(|victim| pop.restart(Slot::at(victim), Restart::GenerationKept));
    let back = agree(&mut pop, Duration::from_secs(3));
    println!("ten at once: dead after {} ms, back after {} ms", dead.as_millis(), back.as_millis());
}

/// All have written, and enough that the questions of repair are as long as they get.
#[test]
fn an_idle_pop_is_nearly_silent() {
    const CAPACITY: usize = 1_000;
    const KEYS_EACH: u64 = 10;
    let mut storage = Storage::new::<64>(SERVERS, CAPACITY, SHAPE);
    let mut pop = Cluster::<64>::new(&mut storage, SERVERS, CAPACITY, SHAPE, 30, losing(0), swim);
    join(&mut pop);
    for n in 0..KEYS_EACH * SERVERS as u64 {
        pop.put(Slot::at(n as usize % SERVERS), key(n), &value(n)).unwrap();
    }
    let first = bytes_per_second(&mut pop, Duration::from_secs(10));
    pop.run(Duration::from_secs(30));
    let idle = bytes_per_second(&mut pop, Duration::from_secs(60));
    println!("{first} bytes/s a server in the first 10 s, {idle} after half a minute, both ways");
    assert!(pop.is_converged());
    assert!(idle < 4_096, "{idle}");
}
