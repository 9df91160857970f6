//! Clocks that run backward are held at what they showed last: nothing about correctness depends on them.

use popmap_core::Slot;
use popmap_core::rng::Rng;
use popmap_core::time::{Duration, Instant};
use popmap_io::memory::Faults;
use popmap_tests::cluster::{Cluster, Restart, Storage};
use popmap_tests::scenario::{SHAPE, assert_same_records, key, mends, total, value};

const KEYS: u64 = 50;
const MS: i64 = 1_000_000;

/// Clocks jump to and fro by up to two seconds while servers write, delete and restart.
#[test]
fn clocks_that_jump() {
    for seed in 0..8 {
        let faults = Faults { loss_ppm: 50_000, jitter: Duration::from_millis(1), ..Faults::default() };
        let mut storage = Storage::new::<8>(5, 200, SHAPE);
        let mut pop = Cluster::<8>::new(&mut storage, 4, 200, SHAPE, seed, faults, |_| {});
        let (all, mut rng) = (pop.running(), Rng::new(seed));
        pop.start_up(Duration::from_secs(6));
        let mut versions: Vec<_> = all.iter().map(|slot| *pop.node(slot).map().version()).collect();
        let mut heartbeats = [Instant::ZERO; 4];
        for i in 0..600 {
            let slot = Slot::at(rng.below(4) as usize);
            if rng.below(10) == 0 {
                pop.set_clock(slot, rng.below(4_000) as i64 * MS - 2_000 * MS);
            }
            if i == 300 {
                pop.kill(Slot::at(1));
                pop.restart(Slot::at(1), Restart::GenerationKept);
                pop.start_up(Duration::from_secs(15));
                heartbeats[1] = Instant::ZERO;
                versions[1] = *pop.node(Slot::at(1)).map().version();
            }
            let key = key(rng.below(KEYS));
            if rng.below(6) == 0 {
                let _ = pop.remove(slot, key);
            } else {
                pop.put(slot, key, &value(i)).unwrap();
            }
            pop.run(Duration::from_millis(10));
            for slot in all.iter() {
                let (heartbeat, shown) = (&mut heartbeats[slot.index()], pop.node(slot).reader().heartbeat());
                assert!(shown >= *heartbeat, "the time that readers of {slot} see fell");
                *heartbeat = shown;
                let (before, after) = (&mut versions[slot.index()], pop.node(slot).map().version());
                assert!(after.covers_all(before), "the version of {slot} fell");
                *before = *after;
            }
        }
        let held = total(&pop, |stats| stats.clock_backward);
        assert!(held > 0);
        let took = pop.settle(Duration::from_secs(20));
        assert_same_records(&pop, all, (0..KEYS).map(key));
        assert_eq!(total(&pop, mends), 0);
        println!("seed {seed}: held {held} times; equal {} ms after the last write", took.as_millis());
    }
}

/// While its clock is held a server sends nothing of its own accord, but it answers and takes what comes; then it goes on.
#[test]
fn a_held_clock_does_not_keep_others_from_it() {
    let mut storage = Storage::new::<8>(3, 200, SHAPE);
    let mut pop = Cluster::<8>::new(&mut storage, 3, 200, SHAPE, 1, Faults::default(), |_| {});
    let (all, held) = (pop.running(), Slot::at(0));
    pop.start_up(Duration::from_secs(6));
    pop.set_clock(held, 60_000 * MS);
    pop.run(Duration::from_secs(1));
    pop.set_clock(held, 0);
    pop.run(Duration::from_secs(1));
    for n in 0..KEYS {
        pop.put(held, key(n), &value(n)).unwrap();
        pop.put(Slot::at(1), key(100 + n), &value(n)).unwrap();
    }
    let before = pop.node(held).stats().sent.iter().sum::<u64>();
    let took = pop.settle(Duration::from_secs(20));
    let sent = pop.node(held).stats().sent.iter().sum::<u64>() - before;
    assert_same_records(&pop, all, (0..KEYS).chain(100..100 + KEYS).map(key));
    println!("equal after {} ms with {sent} packets of the held server's", took.as_millis());
    assert!(pop.node(held).stats().clock_backward > 0);
    assert!(sent < 100, "no busy loop: {sent} packets");
    // A minute of true time later everything of its own goes on, the repair questions and the sweeps among them.
    let asked = pop.node(held).stats().map.repair_questions;
    pop.run(Duration::from_secs(70));
    assert!(pop.node(held).stats().map.repair_questions > asked);
    assert!(pop.is_converged());
}
