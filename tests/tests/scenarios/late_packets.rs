//! Packets that arrive long after they were sent: those of an earlier life of the sender or the receiver are refused by
//! name and change nothing, those of the same lives are harmless however often and in whatever order they come.

use std::collections::BTreeMap;

use popmap_core::rng::Rng;
use popmap_core::time::Duration;
use popmap_core::{Reject, Slot};
use popmap_io::memory::Faults;
use popmap_tests::cluster::{Cluster, Restart, Sent, Storage};
use popmap_tests::scenario::{SHAPE, assert_same_records, key, mends, rejected, state_hash, total, value};

const KEYS: u64 = 60;
const SERVERS: usize = 4;

type Pop<'a> = Cluster<'a, 8>;

/// Starts a PoP that is watched from the start, with long deltas, pushes, repair and deletes among what it sends.
fn busy<'a>(storage: &'a mut Storage, seed: u64) -> (Pop<'a>, Vec<Sent>) {
    let faults = Faults { loss_ppm: 100_000, jitter: Duration::from_millis(1), ..Faults::default() };
    let mut pop = Pop::new(storage, SERVERS, 300, SHAPE, seed, faults, |_| {});
    pop.watch();
    pop.start_up(Duration::from_secs(6));
    write(&mut pop, seed, 400);
    pop.settle(Duration::from_secs(5));
    pop.run(Duration::from_secs(3));
    let sent = pop.take_sent();
    (pop, sent)
}

fn write(pop: &mut Pop<'_>, seed: u64, writes: u64) {
    let mut rng = Rng::new(seed);
    for i in 0..writes {
        let (slot, key) = (Slot::at(rng.below(SERVERS as u64) as usize), key(rng.below(KEYS)));
        if rng.below(5) == 0 {
            let _ = pop.remove(slot, key);
        } else {
            pop.put(slot, key, &value(i)).unwrap();
        }
        pop.run(Duration::from_millis(1));
    }
}

#[test]
fn of_an_earlier_life_of_the_sender() {
    let mut storage = Storage::new::<8>(SERVERS + 1, 300, SHAPE);
    let (mut pop, sent) = busy(&mut storage, 1);
    let sender = Slot::at(1);
    pop.kill(sender);
    pop.restart(sender, Restart::GenerationKept);
    pop.start_up(Duration::from_secs(4));
    write(&mut pop, 2, 100);
    pop.settle(Duration::from_secs(5));

    let mut refused = 0;
    for late in sent.iter().filter(|late| late.from == sender) {
        // Moves its time on, so that only the packet can make a difference.
        let now = pop.now();
        pop.node_mut(late.to).handle_timeout(now);
        let before = (state_hash(&pop, late.to), pop.node(late.to).stats().map);
        assert_eq!(
            pop.deliver_to(late.to, late.from, &late.packet),
            Err(Reject::OldLife),
            "{:?}",
            late.kind()
        );
        assert_eq!((state_hash(&pop, late.to), pop.node(late.to).stats().map), before);
        refused += 1;
    }
    assert!(refused > 100);
    assert!(total(&pop, |stats| rejected(stats, Reject::OldLife)) >= refused, "counted by name");
    assert!(pop.is_converged());
    pop.run(Duration::from_secs(2));
    assert_eq!(
        pop.node(sender).map().life().generation,
        2,
        "notices of its past change nothing for the new life"
    );
    assert!(pop.is_converged());
    assert_eq!(total(&pop, mends), 0);
    println!("{refused} late packets, each refused as of an old life");
}

#[test]
fn for_an_earlier_life_of_the_receiver() {
    let mut storage = Storage::new::<8>(SERVERS + 1, 300, SHAPE);
    let (mut pop, sent) = busy(&mut storage, 3);
    let receiver = Slot::at(1);
    let late: Vec<_> = sent.iter().filter(|late| late.to == receiver).collect();
    pop.kill(receiver);
    pop.run(Duration::from_secs(1));
    pop.restart(receiver, Restart::GenerationKept);
    // Into the empty table: before anything else has reached it.
    let mut outcomes = BTreeMap::<_, u64>::new();
    for late in &late {
        let outcome = pop.deliver_to(receiver, late.from, &late.packet);
        *outcomes.entry((late.kind().name(), outcome.err().map_or("taken", Reject::name))).or_default() += 1;
        if late.kind().is_bound() {
            assert_eq!(outcome, Err(Reject::OtherLife), "{:?}", late.kind());
        }
    }
    let stats = pop.node(receiver).stats();
    assert!(rejected(&stats, Reject::OtherLife) > 20, "counted by name: {outcomes:?}");
    let took = pop.settle(Duration::from_secs(5));
    assert_same_records(&pop, pop.running(), (0..KEYS).map(key));
    assert_eq!(total(&pop, mends), 0);
    println!("{outcomes:?}; equal after {} ms", took.as_millis());
}

#[test]
fn of_the_same_lives_in_any_order_and_often() {
    for seed in 4..8 {
        let mut storage = Storage::new::<8>(SERVERS, 300, SHAPE);
        let (mut pop, mut sent) = busy(&mut storage, seed);
        write(&mut pop, seed + 1, 100);
        pop.settle(Duration::from_secs(5));
        let table = |pop: &Pop<'_>| -> Vec<_> {
            let at = |slot: Slot| (0..KEYS).map(move |n| (slot, n));
            pop.running().iter().flat_map(at).map(|(slot, n)| pop.node(slot).map().inspect(key(n))).collect()
        };
        let versions = |pop: &Pop<'_>| -> Vec<_> {
            pop.running().iter().map(|slot| *pop.node(slot).map().version()).collect()
        };
        let before = (table(&pop), versions(&pop));
        let (mut rng, mut delivered) = (Rng::new(seed), 0);
        for _ in 0..3 {
            for i in (1..sent.len()).rev() {
                sent.swap(i, rng.below(i as u64 + 1) as usize);
            }
            for late in &sent {
                // Answers to old questions are refused; anything else is taken.
                let outcome = pop.deliver_to(late.to, late.from, &late.packet);
                assert!(matches!(outcome, Ok(()) | Err(Reject::Unasked)), "{:?}: {outcome:?}", late.kind());
                delivered += 1;
            }
            assert!((table(&pop), versions(&pop)) == before, "records or versions changed");
            // What the old packets asked for goes out.
            pop.run(Duration::from_millis(300));
        }
        pop.run(Duration::from_secs(3));
        assert!((table(&pop), versions(&pop)) == before, "records or versions changed afterwards");
        write(&mut pop, seed + 2, 100);
        let took = pop.settle(Duration::from_secs(5));
        assert_same_records(&pop, pop.running(), (0..KEYS).map(key));
        assert_eq!(total(&pop, mends), 0);
        println!(
            "seed {seed}: {delivered} late packets; new writes equal {} ms afterwards",
            took.as_millis()
        );
    }
}
