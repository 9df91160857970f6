//! Two sides write the same keys while they cannot hear each other, or only one way; healed, all hold at every key the
//! greatest of what either side held (R1), with equal versions, digests and tables.

use popmap_core::rng::Rng;
use popmap_core::time::Duration;
use popmap_core::{Slot, SlotSet};
use popmap_io::memory::Faults;
use popmap_tests::cluster::{Cluster, Storage};
use popmap_tests::scenario::{SHAPE, assert_same_records, greater, key, mends, total, value};

const SERVERS: usize = 5;
const KEYS: u64 = 60;
const SEEDS: u64 = 5;

type Pop<'a> = Cluster<'a, 8>;

/// Writes and deletes anywhere in `side`, at random.
fn write(pop: &mut Pop<'_>, rng: &mut Rng, side: SlotSet, writes: u64) {
    for i in 0..writes {
        let slot = side.nth(rng.below(side.len() as u64) as usize).expect("a server");
        let key = key(rng.below(KEYS));
        if rng.below(6) == 0 {
            // The key may be absent here: then nothing is written.
            let _ = pop.remove(slot, key);
        } else {
            pop.put(slot, key, &value(i)).unwrap();
        }
        pop.run(Duration::from_millis(2));
    }
}

/// Cuts with `cut`, lets both sides write, heals, and checks that the outcome is the join of what all held before.
fn run(seed: u64, told: bool, cut: fn(&mut Pop<'_>, SlotSet, SlotSet)) -> String {
    let faults = Faults {
        loss_ppm: 50_000,
        duplicate_ppm: 50_000,
        jitter: Duration::from_millis(3),
        ..Faults::default()
    };
    let mut storage = Storage::new::<8>(SERVERS, 200, SHAPE);
    let mut pop = Pop::new(&mut storage, SERVERS, 200, SHAPE, seed, faults, |_| {});
    let (all, mut rng) = (pop.running(), Rng::new(seed));
    let left = SlotSet::first(2);
    let right = all.difference(left);
    pop.start_up(Duration::from_secs(6));
    write(&mut pop, &mut rng, all, 100);
    pop.settle(Duration::from_secs(5));

    cut(&mut pop, left, right);
    if told {
        left.iter().for_each(|slot| pop.node_mut(slot).set_live(left));
        right.iter().for_each(|slot| pop.node_mut(slot).set_live(right));
    }
    for _ in 0..10 {
        write(&mut pop, &mut rng, left, 15);
        write(&mut pop, &mut rng, right, 15);
    }
    pop.run(Duration::from_secs(2));
    assert!(!pop.is_converged(), "the sides differ");
    let join = |n| {
        let held = all.iter().filter_map(|slot| pop.node(slot).map().inspect(key(n)));
        held.reduce(|a, b| greater(key(n), a, b))
    };
    let expected: Vec<_> = (0..KEYS).map(join).collect();

    pop.network.heal();
    pop.set_live(all);
    let took = pop.settle(Duration::from_secs(5));
    let live = assert_same_records(&pop, all, (0..KEYS).map(key));
    for (n, expected) in (0..).zip(&expected) {
        assert_eq!(
            pop.node(Slot::at(0)).map().inspect(key(n)),
            *expected,
            "key {n} is not the join of both sides"
        );
    }
    let conflicts = total(&pop, |stats| stats.map.conflicts);
    assert!(conflicts > 0, "rendezvous had to decide");
    assert_eq!(total(&pop, mends), 0);
    format!("equal {} ms after healing, {live} keys live, {conflicts} conflicts", took.as_millis())
}

#[test]
fn both_ways() {
    for seed in 0..SEEDS {
        let told = seed % 2 == 0;
        println!("seed {seed}, told {told}: {}", run(seed, told, |pop, left, _| pop.network.partition(left)));
    }
}

#[test]
fn one_way() {
    for seed in 0..SEEDS {
        let cut = |pop: &mut Pop<'_>, left: SlotSet, right: SlotSet| {
            for from in left.iter() {
                right.iter().for_each(|to| pop.network.cut(from, to));
            }
        };
        println!("seed {seed}: {}", run(seed, false, cut));
    }
}
