//! The same seed gives the same run, byte for byte: every failure can be run again.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use popmap_core::rng::Rng;
use popmap_core::time::Duration;
use popmap_core::wire::Kind;
use popmap_core::{Slot, SlotSet, Stats};
use popmap_io::memory::Faults;
use popmap_tests::cluster::{Cluster, Restart, Storage};
use popmap_tests::scenario::{SHAPE, key, value};

/// Runs a PoP through faults, a partition, a restart and deletes; returns the packets sent, their hash with times, and
/// the counters in the end.
fn run(seed: u64) -> (usize, u64, Vec<Stats>) {
    let faults = Faults {
        loss_ppm: 100_000,
        duplicate_ppm: 50_000,
        jitter: Duration::from_millis(2),
        ..Faults::default()
    };
    let mut storage = Storage::new::<8>(7, 300, SHAPE);
    let mut pop = Cluster::<8>::new(&mut storage, 6, 300, SHAPE, seed, faults, |_| {});
    let mut rng = Rng::new(seed);
    pop.watch();
    pop.start_up(Duration::from_secs(6));
    for i in 0..600 {
        match i {
            200 => pop.network.partition(SlotSet::first(2)),
            300 => pop.network.heal(),
            400 => {
                pop.kill(Slot::at(3));
                pop.restart(Slot::at(3), Restart::GenerationLost);
                pop.start_up(Duration::from_secs(6));
            }
            _ => {}
        }
        let (slot, key) = (Slot::at(rng.below(6) as usize), key(rng.below(100)));
        if rng.below(5) == 0 {
            let _ = pop.remove(slot, key);
        } else {
            pop.put(slot, key, &value(i)).unwrap();
        }
        pop.run(Duration::from_millis(3));
    }
    pop.settle(Duration::from_secs(20));
    pop.run(Duration::from_secs(30));
    let sent = pop.take_sent();
    let mut hasher = DefaultHasher::new();
    sent.hash(&mut hasher);
    (sent.len(), hasher.finish(), pop.stats())
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let mut hashes = Vec::new();
    for seed in 0..4 {
        let first = run(seed);
        let (packets, hash, stats) = &first;
        println!("seed {seed}: {packets} packets, hash {hash:016x}");
        assert_eq!(first, run(seed));
        for kind in [Kind::Version, Kind::Delta, Kind::Push, Kind::Digest] {
            assert!(stats.iter().all(|stats| stats.sent[kind.index()] > 0), "{} was among them", kind.name());
        }
        hashes.push(*hash);
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 4, "another seed gives another run");
}
