//! A server restarts with its generation saved: its old records survive, and what it writes next beats them.

use popmap_core::time::Duration;
use popmap_core::{Event, PutError, Slot};
use popmap_io::memory::Faults;
use popmap_tests::cluster::{Cluster, Restart, Storage};
use popmap_tests::scenario::{SHAPE, assert_same_records, key, mends, total, value};

const KEYS: u64 = 40;
const RESTARTS: u64 = 4;

#[test]
fn old_records_survive_and_new_ones_win() {
    for seed in 0..5 {
        let faults = Faults { loss_ppm: 100_000, jitter: Duration::from_millis(2), ..Faults::default() };
        let mut storage = Storage::new::<8>(4 + RESTARTS as usize, 200, SHAPE);
        let mut pop = Cluster::<8>::new(&mut storage, 4, 200, SHAPE, seed, faults, |_| {});
        let (all, restarted, other) = (pop.running(), Slot::at(1), Slot::at(2));
        pop.start_up(Duration::from_secs(6));
        for n in 0..KEYS {
            pop.put(restarted, key(n), &value(n)).unwrap();
        }
        pop.settle(Duration::from_secs(5));

        let mut longest = Duration::ZERO;
        for round in 1..=RESTARTS {
            let before = pop.node(restarted).map().life();
            pop.kill(restarted);
            pop.set_live(all.without(restarted));
            pop.run(Duration::from_secs(1));
            // A stand-in writes and deletes meanwhile.
            pop.put(other, key(1), &value(1_000 + round)).unwrap();
            pop.remove(other, key(2)).unwrap();
            pop.settle(Duration::from_secs(5));

            pop.take_events(restarted);
            pop.restart(restarted, Restart::GenerationKept);
            pop.set_live(all);
            assert_eq!(pop.put(restarted, key(0), &value(0)), Err(PutError::Starting), "R4.2");
            longest = longest.max(pop.start_up(Duration::from_secs(4)));
            assert!(pop.take_events(restarted).contains(&Event::Started { expired: false }));
            assert!(pop.node(restarted).map().life() > before);

            // What this life writes first comes after all that it wrote before, and after the stand-in.
            pop.put(restarted, key(0), &value(2_000 + round)).unwrap();
            pop.put(restarted, key(1), &value(3_000 + round)).unwrap();
            pop.put(restarted, key(2), &value(4_000 + round)).unwrap();
            pop.settle(Duration::from_secs(5));
            for slot in all.iter() {
                let read = |n| pop.get(slot, key(n));
                assert_eq!(read(0), Some(value(2_000 + round).to_vec()), "its own overwrite, at {slot}");
                assert_eq!(read(1), Some(value(3_000 + round).to_vec()), "over the stand-in's, at {slot}");
                assert_eq!(read(2), Some(value(4_000 + round).to_vec()), "over the tombstone, at {slot}");
                for n in 3..KEYS {
                    assert_eq!(read(n), Some(value(n).to_vec()), "an earlier life's record, at {slot}");
                }
            }
        }
        assert_eq!(assert_same_records(&pop, all, (0..KEYS).map(key)) as u64, KEYS);
        assert_eq!(total(&pop, mends), 0);
        assert_eq!(
            u64::from(pop.node(restarted).map().life().generation),
            1 + RESTARTS,
            "no raise was needed"
        );
        println!("seed {seed}: {RESTARTS} restarts, each writing again within {} ms", longest.as_millis());
    }
}
