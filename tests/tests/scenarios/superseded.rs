//! A stand-in writes while the owner is cut off; the owner is told that its record was replaced, and writes again.

use popmap_core::time::Duration;
use popmap_core::{Event, Key, Slot, SlotSet};
use popmap_io::memory::Faults;
use popmap_tests::cluster::{Cluster, Storage};
use popmap_tests::scenario::{SHAPE, assert_same_records, mends, owned_by, total, value};

const OWNER: Slot = Slot::at(2);

fn superseded(events: &[Event]) -> Vec<Key> {
    let key = |event: &Event| if let Event::Superseded { key } = event { Some(*key) } else { None };
    events.iter().filter_map(key).collect()
}

#[test]
fn the_owner_learns_of_a_stand_in_and_writes_again() {
    for seed in 0..5 {
        let faults = Faults { loss_ppm: 50_000, ..Faults::default() };
        let mut storage = Storage::new::<8>(3, 200, SHAPE);
        let mut pop = Cluster::<8>::new(&mut storage, 3, 200, SHAPE, seed, faults, |_| {});
        let (all, stand_ins) = (pop.running(), SlotSet::first(2));
        let keys = owned_by(OWNER, all, 30);
        let (old, fresh) = keys.split_at(20);
        pop.start_up(Duration::from_secs(6));
        old.iter().for_each(|&key| pop.put(OWNER, key, &value(1)).unwrap());
        pop.settle(Duration::from_secs(5));

        pop.network.partition(stand_ins);
        stand_ins.iter().for_each(|slot| pop.node_mut(slot).set_live(stand_ins));
        for &key in &keys {
            // Both write: over a record of the owner's the stand-in's term is the greater, for a new key they are equal
            // and the owner's priority is.
            let stand_in = pop.node(Slot::at(0)).owner(key);
            pop.put(stand_in, key, &value(2)).unwrap();
            pop.put(OWNER, key, &value(3)).unwrap();
        }
        pop.run(Duration::from_secs(1));
        all.iter().for_each(|slot| drop(pop.take_events(slot)));
        pop.network.heal();
        pop.set_live(all);
        pop.settle(Duration::from_secs(5));

        let mut told = superseded(&pop.take_events(OWNER));
        let mut expected = old.to_vec();
        told.sort_unstable();
        expected.sort_unstable();
        assert_eq!(told, expected, "each record that was replaced, and no other");
        for slot in stand_ins.iter() {
            assert_eq!(superseded(&pop.take_events(slot)), [], "only the owner is asked to write again");
        }
        for slot in all.iter() {
            assert!(old.iter().all(|&key| pop.get(slot, key) == Some(value(2).to_vec())));
            assert!(fresh.iter().all(|&key| pop.get(slot, key) == Some(value(3).to_vec())));
        }

        told.iter().for_each(|&key| pop.put(OWNER, key, &value(4)).unwrap());
        let took = pop.settle(Duration::from_secs(5));
        for slot in all.iter() {
            assert!(old.iter().all(|&key| pop.get(slot, key) == Some(value(4).to_vec())));
            assert_eq!(superseded(&pop.take_events(slot)), []);
        }
        assert_same_records(&pop, all, keys.iter().copied());
        assert_eq!(total(&pop, mends), 0);
        println!(
            "seed {seed}: told of {} of {} keys; its values everywhere {} ms later",
            told.len(),
            keys.len(),
            took.as_millis()
        );
    }
}
