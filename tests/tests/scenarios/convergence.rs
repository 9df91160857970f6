//! Nodes become equal over networks that lose, duplicate and reorder.

use popmap_core::time::Duration;
use popmap_core::{Key, Shape, Slot, SlotSet};
use popmap_io::memory::Faults;
use popmap_tests::cluster::{Cluster, Storage};

const SHAPE: Shape = Shape { schema: 1, value_len: 24 };

fn value(n: u64) -> [u8; 24] {
    let mut value = [0; 24];
    value[..8].copy_from_slice(&n.to_le_bytes());
    value
}

#[test]
fn two_nodes_exchange_a_value() {
    let mut storage = Storage::new::<2>(2, 100, SHAPE);
    let mut pop = Cluster::<2>::new(&mut storage, 2, 100, SHAPE, 1, Faults::default(), |_| {});
    pop.run(Duration::from_secs(1));
    let key = Key::from_name(b"origin-1");
    pop.put(Slot::at(0), key, &value(7)).unwrap();
    let took = pop.settle(Duration::from_secs(1));
    assert_eq!(pop.get(Slot::at(1), key), Some(value(7).to_vec()));
    println!("{} ms", took.as_millis());
}

#[test]
fn five_nodes_under_every_fault() {
    for seed in 0..20 {
        let faults = Faults {
            loss_ppm: 200_000,
            duplicate_ppm: 100_000,
            delay: Duration::from_micros(100),
            jitter: Duration::from_millis(30),
        };
        let mut storage = Storage::new::<8>(5, 200, SHAPE);
        let mut pop = Cluster::<8>::new(&mut storage, 5, 200, SHAPE, seed, faults, |_| {});
        pop.run(Duration::from_secs(6));
        for i in 0..500u64 {
            let slot = Slot::at((i * 7 % 5) as usize);
            let key = Key::from_name(&(i % 60).to_le_bytes());
            if i % 11 == 10 {
                let now = pop.now();
                let _ = pop.node_mut(slot).remove(now, key);
            } else {
                pop.put(slot, key, &value(i)).unwrap();
            }
            if i == 200 {
                pop.network.partition(SlotSet::first(2));
            }
            if i == 400 {
                pop.network.heal();
            }
            pop.run(Duration::from_millis(5));
        }
        let took = pop.settle(Duration::from_secs(20));
        println!("seed {seed}: {} ms", took.as_millis());
    }
}
