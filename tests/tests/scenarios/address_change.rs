//! A slot's next life is at another address: the others find it there, and it takes part.

use popmap_core::Slot;
use popmap_core::time::Duration;
use popmap_io::memory::Network;
use popmap_tests::members::{join, losing, pop, storage};
use popmap_tests::scenario::{key, value};

const MOVED: Slot = Slot::at(3);

#[test]
fn a_slot_moves_to_another_address() {
    for (seed, wait_ms) in (0..8).flat_map(|seed| [(seed, 0), (seed, 4_000)]) {
        let mut storage = storage::<8>(7);
        let mut pop = pop::<8>(&mut storage, 6, seed, losing(10_000));
        join(&mut pop);
        pop.put(Slot::at(0), key(1), &value(1)).expect("written");
        pop.settle(Duration::from_secs(2));
        let all = pop.running();
        pop.kill(MOVED);
        // Before anybody found out, and after all did.
        pop.run(Duration::from_millis(wait_ms));
        let there = pop.start_beside(MOVED, 2);
        assert_ne!(there, MOVED);
        let moved = pop.run_until(Duration::from_secs(4), |pop| {
            let life = pop.node(there).map().life();
            pop.running().without(there).iter().all(|of| {
                let member = pop.node(of).member(MOVED).expect("known");
                (member.life, member.address) == (life, Network::address(there))
            }) && pop.running().iter().all(|of| pop.node(of).map().live() == all)
        });
        let moved = moved.expect("all know the new address");
        pop.start_up(Duration::from_secs(5));
        pop.put(there, key(2), &value(2)).expect("written");
        pop.settle(Duration::from_secs(3));
        assert_eq!(pop.get(there, key(1)), Some(value(1).to_vec()));
        assert_eq!(pop.get(Slot::at(5), key(2)), Some(value(2).to_vec()));
        println!("seed {seed}, {wait_ms} ms after its death: known to all after {} ms", moved.as_millis());
    }
}
