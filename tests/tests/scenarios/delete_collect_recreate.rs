//! A delete spreads, its tombstone leaves everywhere, and the key can be written again and wins: over late packets,
//! over servers that were away, and over replicas that still hold the tombstone (R2).

use popmap_core::limits::QUARANTINE;
use popmap_core::time::Duration;
use popmap_core::wire::Kind;
use popmap_core::{RemoveError, Slot};
use popmap_io::memory::Faults;
use popmap_tests::cluster::{Cluster, Restart, Storage};
use popmap_tests::scenario::{SHAPE, assert_same_records, key, mends, total, value};

const KEYS: u64 = 50;
const SERVERS: usize = 4;

type Pop<'a> = Cluster<'a, 8>;

/// Starts a PoP in which `KEYS` keys were written and have become equal.
fn written<'a>(storage: &'a mut Storage, seed: u64) -> Pop<'a> {
    let faults = Faults { loss_ppm: 50_000, jitter: Duration::from_millis(1), ..Faults::default() };
    let mut pop = Pop::new(storage, SERVERS, 200, SHAPE, seed, faults, |_| {});
    pop.start_up(Duration::from_secs(6));
    for n in 0..KEYS {
        pop.put(Slot::at((n % 4) as usize), key(n), &value(n)).unwrap();
    }
    pop.settle(Duration::from_secs(5));
    pop
}

fn tombstones(pop: &Pop<'_>) -> usize {
    pop.running().iter().map(|slot| pop.node(slot).map().tombstones()).sum()
}

fn storage() -> Storage {
    Storage::new::<8>(SERVERS + 1, 200, SHAPE)
}

#[test]
fn tombstones_leave_and_the_key_comes_back() {
    let mut storage = storage();
    let mut pop = written(&mut storage, 1);
    let [deleter, writer] = [2, 3].map(Slot::at);
    for n in 0..KEYS {
        pop.remove(deleter, key(n)).unwrap();
        assert_eq!(pop.remove(deleter, key(n)), Err(RemoveError::NotFound));
    }
    pop.settle(Duration::from_secs(5));
    assert_eq!(tombstones(&pop), KEYS as usize * SERVERS);
    let held = pop.run_until(QUARANTINE.times(4), |pop| tombstones(pop) < KEYS as usize * SERVERS);
    let held = held.expect("collection begins");
    assert!(held >= QUARANTINE, "after {} ms", held.as_millis());
    let took = pop.run_until(QUARANTINE.times(4), |pop| tombstones(pop) == 0).expect("all leave");
    assert!(pop.running().iter().all(|slot| pop.node(slot).map().is_empty()));
    assert!(pop.is_converged());

    // Written anew by another server than all of those before, it starts above all of its past.
    let floor = pop.node(writer).map().floor();
    for n in 0..KEYS {
        pop.put(writer, key(n), &value(n + 100)).unwrap();
        assert!(pop.node(writer).map().inspect(key(n)).unwrap().term > floor);
    }
    pop.settle(Duration::from_secs(5));
    assert_eq!(assert_same_records(&pop, pop.running(), (0..KEYS).map(key)) as u64, KEYS);
    assert_eq!(pop.get(deleter, key(7)), Some(value(107).to_vec()));
    assert_eq!(total(&pop, mends), 0);
    println!("held {} ms, all gone {} ms later, floor {floor}", held.as_millis(), took.as_millis());
}

#[test]
fn a_key_written_again_beats_a_tombstone_that_others_still_hold() {
    let mut seen = 0;
    for seed in 0..6 {
        let mut storage = storage();
        let mut pop = written(&mut storage, seed);
        pop.remove(Slot::at(0), key(0)).unwrap();
        let gone = |pop: &Pop<'_>, slot| pop.node(slot).map().tombstones() == 0;
        let some = |pop: &Pop<'_>| pop.running().iter().any(|slot| gone(pop, slot));
        pop.settle(Duration::from_secs(5));
        pop.run_until(QUARANTINE.times(4), some).expect("collected at one");
        let first = pop.running().iter().find(|&slot| gone(&pop, slot)).unwrap();
        let holders = pop.running().iter().filter(|&slot| !gone(&pop, slot)).count();
        pop.put(first, key(0), &value(1)).unwrap();
        pop.settle(Duration::from_secs(5));
        for slot in pop.running().iter() {
            assert_eq!(pop.get(slot, key(0)), Some(value(1).to_vec()), "at {slot}");
        }
        seen += holders;
        println!("seed {seed}: {first} had collected it, {holders} had not");
    }
    assert!(seen > 0, "somewhere the tombstone was still held");
}

#[test]
fn a_configured_server_that_is_down_holds_tombstones() {
    let mut storage = storage();
    let mut pop = written(&mut storage, 2);
    let (all, away) = (pop.running(), Slot::at(3));
    pop.kill(away);
    pop.set_live(all.without(away));
    for n in 0..KEYS / 2 {
        pop.remove(Slot::at(0), key(n)).unwrap();
    }
    pop.settle(Duration::from_secs(5));
    let held = tombstones(&pop);
    assert_eq!(held as u64, KEYS / 2 * 3);
    pop.run(QUARANTINE.times(6));
    assert_eq!(tombstones(&pop), held, "one that may come back with the records needs them");

    pop.restart(away, Restart::GenerationKept);
    pop.set_live(all);
    let took = pop.run_until(QUARANTINE.times(4), |pop| tombstones(pop) == 0).expect("all leave");
    pop.settle(Duration::from_secs(5));
    assert_eq!(assert_same_records(&pop, all, (0..KEYS).map(key)) as u64, KEYS - KEYS / 2);
    assert_eq!(total(&pop, mends), 0);
    println!("{held} tombstones held for a minute, gone {} ms after it came back", took.as_millis());
}

/// That a server once had the tombstones is not enough: its next life starts without them.
#[test]
fn a_server_that_goes_away_during_the_quarantine_holds_tombstones() {
    let mut storage = storage();
    let mut pop = written(&mut storage, 5);
    let (all, away) = (pop.running(), Slot::at(3));
    (0..KEYS).for_each(|n| pop.remove(Slot::at(0), key(n)).unwrap());
    pop.settle(Duration::from_secs(5));
    // The observation that they all cover has been made by now.
    pop.run(QUARANTINE);
    pop.kill(away);
    pop.set_live(all.without(away));
    pop.run(QUARANTINE.times(6));
    assert_eq!(tombstones(&pop) as u64, KEYS * 3);
    pop.restart(away, Restart::GenerationKept);
    pop.set_live(all);
    pop.run_until(QUARANTINE.times(4), |pop| tombstones(pop) == 0).expect("all leave");
    assert!(all.iter().all(|slot| pop.node(slot).map().is_empty()));
}

/// The author's packets name the life that they were made for, so a restarted server drops them whole; to the others
/// they are late, while the tombstone is there and after it has left.
#[test]
fn a_late_record_of_a_deleted_key_does_not_come_back() {
    let mut storage = storage();
    let mut pop = Pop::new(&mut storage, SERVERS, 200, SHAPE, 3, Faults::default(), |_| {});
    let (author, reborn) = (Slot::at(0), Slot::at(1));
    pop.start_up(Duration::from_secs(6));
    pop.watch();
    pop.put(author, key(0), &value(1)).unwrap();
    pop.settle(Duration::from_secs(5));
    let mut late = pop.take_sent();
    let carries = |packet: &[u8]| packet[1] == Kind::Push as u8 || packet[1] == Kind::Delta as u8;
    late.retain(|late| carries(&late.packet));
    assert!(late.iter().any(|late| late.from == author && late.to == reborn));
    let written = pop.now();
    pop.remove(author, key(0)).unwrap();
    pop.settle(Duration::from_secs(5));

    // A packet of its author's arrives within a packet's life, after a restart. It is the first to arrive.
    pop.run(Duration(QUARANTINE.0 / 2));
    let deliver = |pop: &mut Pop<'_>| {
        for late in &late {
            let _ = pop.deliver_to(late.to, late.from, &late.packet);
        }
    };
    pop.kill(reborn);
    pop.restart(reborn, Restart::GenerationKept);
    assert!(pop.now().since(written) < QUARANTINE);
    deliver(&mut pop);
    let there = pop.node(reborn).map().inspect(key(0));
    assert!(there.is_none(), "made for another life, and taken: {there:?}");
    pop.settle(Duration::from_secs(1));
    let gone = |pop: &Pop<'_>| pop.running().iter().all(|slot| pop.get(slot, key(0)).is_none());
    assert!(gone(&pop));

    // And again and again, until the tombstones have left and long after.
    for _ in 0..60 {
        pop.run(Duration::from_secs(1));
        deliver(&mut pop);
        assert!(gone(&pop));
    }
    assert_eq!(tombstones(&pop), 0, "collected meanwhile");
    assert!(pop.is_converged());
    assert_eq!(total(&pop, |stats| mends(stats) + stats.map.reports), 0);
}
