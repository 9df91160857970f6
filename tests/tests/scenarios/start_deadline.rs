//! A server starts writing before it has met a peer that alone holds records of its earlier life: once they meet, the
//! exchange of older records gives everyone what their versions already claimed (R4.2).

use popmap_core::time::Duration;
use popmap_core::{Config, Event, Phase, Slot, SlotSet};
use popmap_io::memory::Faults;
use popmap_tests::cluster::{Cluster, Restart, Storage};
use popmap_tests::scenario::{SHAPE, assert_same_records, key, mends, total, value};

/// More than fit in one answer.
const KEYS: u64 = 70;
const RESTARTED: Slot = Slot::at(1);
const KEEPER: Slot = Slot::at(3);

/// Repair, the safety net, is left out.
fn without_repair(config: &mut Config) {
    config.repair = Duration::from_secs(100_000);
}

/// Returns the records mended. `told`: the keeper is held dead, so that no deadline expires.
fn run(seed: u64, told: bool, faults: Faults, adjust: fn(&mut Config)) -> u64 {
    let mut storage = Storage::new::<8>(5, 400, SHAPE);
    let mut pop = Cluster::<8>::new(&mut storage, 4, 400, SHAPE, seed, faults, adjust);
    let (all, keeper) = (pop.running(), SlotSet::EMPTY.with(KEEPER));
    pop.start_up(Duration::from_secs(6));
    for n in 0..10 {
        pop.put(RESTARTED, key(n), &value(n)).unwrap();
        pop.put(RESTARTED, key(1_000 + n), &value(n)).unwrap();
    }
    pop.settle(Duration::from_secs(5));

    // Only the keeper gets these, overwriting some that all have. Then it is cut off, and their author starts anew.
    pop.network.partition(keeper.with(RESTARTED));
    for n in 0..KEYS {
        pop.put(RESTARTED, key(n), &value(100 + n)).unwrap();
    }
    pop.run_until(Duration::from_secs(20), |pop| pop.are_equal(keeper.with(RESTARTED)))
        .expect("the keeper has them");
    pop.kill(RESTARTED);
    pop.network.heal();
    pop.network.partition(keeper);
    if told {
        all.without(KEEPER).iter().filter(|&slot| slot != RESTARTED).for_each(|slot| {
            pop.node_mut(slot).set_live(all.without(KEEPER));
        });
    }
    pop.restart(RESTARTED, Restart::GenerationKept);
    if told {
        pop.node_mut(RESTARTED).set_live(all.without(KEEPER));
    }
    let took = pop.start_up(Duration::from_secs(6));
    assert_eq!(pop.node(RESTARTED).map().phase(), Phase::Active { expired: !told });
    assert_eq!(took >= Duration::from_secs(5), !told, "{} ms", took.as_millis());
    assert!(pop.take_events(RESTARTED).contains(&Event::Started { expired: !told }));
    // Its version now covers the earlier life's writes, and so does everyone's who joins it.
    for n in 0..10 {
        pop.put(RESTARTED, key(1_000 + n), &value(200 + n)).unwrap();
    }
    pop.run_until(Duration::from_secs(20), |pop| pop.are_equal(all.without(KEEPER))).expect("equal");
    assert_eq!(pop.get(Slot::at(0), key(KEYS - 1)), None);

    pop.network.heal();
    pop.set_live(all);
    pop.settle(Duration::from_secs(10));
    for slot in all.iter() {
        for n in 0..KEYS {
            assert_eq!(
                pop.get(slot, key(n)),
                Some(value(100 + n).to_vec()),
                "seed {seed}: key {n} at {slot}"
            );
        }
        for n in 0..10 {
            assert_eq!(pop.get(slot, key(1_000 + n)), Some(value(200 + n).to_vec()), "key {n} at {slot}");
        }
    }
    assert_same_records(&pop, all, (0..KEYS).map(key));
    assert_eq!(total(&pop, |stats| stats.map.mends_unknown + stats.map.reports), 0);
    let mended = total(&pop, |stats| stats.map.mends_started_unmet);
    assert!(mended > 0);
    // Once is enough.
    pop.run(Duration::from_secs(10));
    assert_eq!(total(&pop, mends), mended);
    mended
}

#[test]
pub(crate) fn an_expired_deadline() {
    let mended: Vec<_> = (0..10).map(|seed| run(seed, false, Faults::default(), without_repair)).collect();
    println!("mended: {mended:?}");
}

#[test]
fn a_peer_held_dead() {
    let mended: Vec<_> = (0..10).map(|seed| run(seed, true, Faults::default(), without_repair)).collect();
    println!("mended: {mended:?}");
}

/// What is lost of the exchange repair finds, perhaps before it: either way by a known cause, and nothing is buried.
#[test]
fn with_loss_and_repair() {
    let faults = Faults { loss_ppm: 200_000, jitter: Duration::from_millis(5), ..Faults::default() };
    let mended: Vec<_> = (0..100).map(|seed| run(seed, seed % 2 == 0, faults, |_| {})).collect();
    println!("mended: {mended:?}");
}
