//! A server dies right after its writes have reached one peer only: the present owners of the keys adopt what no
//! version covers (R7), all become equal, and nothing is sent again and again.

use popmap_core::time::Duration;
use popmap_core::{Key, Slot, SlotSet};
use popmap_io::memory::Faults;
use popmap_tests::cluster::{Cluster, Restart, Storage};
use popmap_tests::scenario::{SHAPE, assert_same_records, key, mends, total, value};

/// Fits one push.
const KEYS: u64 = 20;
const AUTHOR: Slot = Slot::at(3);
const WITNESS: Slot = Slot::at(0);
const DETECTION: Duration = Duration::from_secs(1);

type Pop<'a> = Cluster<'a, 8>;

fn start(storage: &mut Storage, seed: u64) -> Pop<'_> {
    let mut pop = Pop::new(storage, 4, 200, SHAPE, seed, Faults::default(), |_| {});
    pop.start_up(Duration::from_secs(6));
    for n in 0..KEYS {
        pop.put(Slot::at((n % 4) as usize), key(100 + n), &value(n)).unwrap();
    }
    pop.settle(Duration::from_secs(5));
    pop
}

/// Lets packets through from the author to the witness, none to the author, and none from the witness to the others.
fn only_the_witness_hears(pop: &mut Pop<'_>) {
    pop.network.heal();
    for peer in SlotSet::first(3).iter() {
        pop.network.cut(peer, AUTHOR);
        if peer != WITNESS {
            pop.network.cut(AUTHOR, peer);
            pop.network.cut(WITNESS, peer);
        }
    }
}

fn keys() -> impl Iterator<Item = Key> {
    (0..KEYS).map(key)
}

/// Kills the author, tells it dead in time, and runs until the others are equal; returns how long that took.
fn lose_the_author(pop: &mut Pop<'_>) -> Duration {
    let holds = |slot| keys().all(|key| pop.node(slot).map().inspect(key).is_some());
    assert!(holds(WITNESS) && !holds(Slot::at(1)) && !holds(Slot::at(2)), "one peer only");
    pop.kill(AUTHOR);
    pop.network.heal();
    pop.run(DETECTION);
    pop.set_live(SlotSet::first(3));
    let told = pop.now();
    let adopted = |pop: &Pop<'_>| {
        let covered = |slot, key| {
            let map = pop.node(slot).map();
            map.inspect(key).is_some_and(|held| map.version().covers(held.dot))
        };
        pop.is_converged() && pop.running().iter().all(|slot| keys().all(|key| covered(slot, key)))
    };
    pop.run_until(Duration::from_secs(10), adopted).expect("adopted by a live author");
    pop.now().since(told)
}

/// Asserts that nothing more is sent once all are equal, and that the author can come back.
fn nothing_is_sent_again(pop: &mut Pop<'_>) {
    let sent = |pop: &Pop<'_>| total(pop, |stats| stats.map.records_sent);
    pop.run(Duration::from_secs(3));
    let before = sent(pop);
    pop.run(Duration::from_secs(60));
    assert_eq!(sent(pop) - before, 0, "records sent again in a minute");
    pop.restart(AUTHOR, Restart::GenerationKept);
    pop.set_live(SlotSet::first(4));
    pop.settle(Duration::from_secs(5));
    assert_eq!(assert_same_records(pop, pop.running(), keys()) as u64, KEYS);
    assert_eq!(total(pop, mends), 0);
}

#[test]
pub(crate) fn records_behind_a_lost_push_are_adopted() {
    for seed in 0..6 {
        let mut storage = Storage::new::<8>(5, 200, SHAPE);
        let mut pop = start(&mut storage, seed);
        // This one reaches nobody: what follows it is ahead of every version.
        pop.network.partition(SlotSet::EMPTY.with(AUTHOR));
        pop.put(AUTHOR, key(1_000), &value(0)).unwrap();
        pop.run(Duration::from_millis(30));
        only_the_witness_hears(&mut pop);
        for n in 0..KEYS {
            pop.put(AUTHOR, key(n), &value(n)).unwrap();
        }
        pop.run(Duration::from_millis(30));
        let ahead = pop.node(WITNESS).map().inspect(key(0)).expect("pushed").dot;
        assert!(!pop.node(WITNESS).map().version().covers(ahead));

        let took = lose_the_author(&mut pop);
        for slot in pop.running().iter() {
            for n in 0..KEYS {
                let held = pop.node(slot).map().inspect(key(n)).unwrap();
                assert_eq!(pop.get(slot, key(n)), Some(value(n).to_vec()));
                assert_eq!(held.dot.slot, pop.node(slot).owner(key(n)), "rewritten by its present owner");
            }
        }
        let rewritten = total(&pop, |stats| stats.map.orphans_rewritten);
        println!("seed {seed}: {rewritten} orphans rewritten within {} ms", took.as_millis());
        assert_eq!(rewritten, KEYS, "each once");
        nothing_is_sent_again(&mut pop);
    }
}

#[test]
fn records_that_one_version_covers_need_no_adoption() {
    for seed in 0..6 {
        let mut storage = Storage::new::<8>(5, 200, SHAPE);
        let mut pop = start(&mut storage, seed);
        only_the_witness_hears(&mut pop);
        for n in 0..KEYS {
            pop.put(AUTHOR, key(n), &value(n)).unwrap();
        }
        pop.run(Duration::from_millis(30));
        let took = lose_the_author(&mut pop);
        assert_eq!(total(&pop, |stats| stats.map.orphans_rewritten), 0);
        assert!(keys().all(|key| pop.node(WITNESS).map().inspect(key).unwrap().dot.slot == AUTHOR));
        println!("seed {seed}: equal within {} ms", took.as_millis());
        nothing_is_sent_again(&mut pop);
    }
}
