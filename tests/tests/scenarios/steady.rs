//! 64 nodes that all write steadily at 5 % loss: how often records cross the wire, and how soon they are everywhere.

use popmap_core::time::Duration;
use popmap_core::wire::Kind;
use popmap_core::{Key, Phase, Shape, Slot, SlotSet};
use popmap_io::memory::Faults;
use popmap_tests::cluster::{Cluster, Storage};

const SHAPE: Shape = Shape { schema: 1, value_len: 24 };
const SERVERS: usize = 64;
const KEYS_EACH: usize = 100;
const CAPACITY: usize = 8_000;
/// One round: a push delay, a pull pause, and the exchange interval of a PoP that has changes.
const ROUND: Duration = Duration::from_millis(250);
const ROUNDS: u64 = 8;

fn key(slot: usize, i: usize) -> Key {
    Key::from_name(&((slot * KEYS_EACH + i) as u64).to_le_bytes())
}

#[test]
fn redundancy_propagation_and_idle() {
    let faults = Faults { loss_ppm: 50_000, ..Faults::default() };
    let mut storage = Storage::new::<64>(SERVERS, CAPACITY, SHAPE);
    let mut pop = Cluster::<64>::new(&mut storage, SERVERS, CAPACITY, SHAPE, 11, faults, |_| {});
    let started =
        |pop: &Cluster<'_>| pop.running().iter().all(|slot| pop.node(slot).map().phase() != Phase::Starting);
    let took = pop.run_until(Duration::from_secs(5), started).expect("all start before the deadline");
    println!("mass start: {} ms", took.as_millis());

    // Each node writes a key of its own every 40 ms: 25 a second, 1,600 in the PoP.
    let totals = |pop: &Cluster<'_>| {
        let stats = pop.stats();
        let sum = |of: fn(&popmap_core::Stats) -> u64| stats.iter().map(of).sum::<u64>();
        (sum(|s| s.map.records_received), sum(|s| s.map.records_applied), sum(|s| s.sent_bytes))
    };
    let steps = 500;
    for step in 0..steps {
        for slot in 0..SERVERS {
            let value = [step as u8; 24];
            pop.put(Slot::at(slot), key(slot, step % KEYS_EACH), &value).unwrap();
        }
        pop.run(Duration::from_millis(40));
    }
    let took = pop.settle(ROUND.times(ROUNDS));
    let (received, applied, sent) = totals(&pop);
    let redundancy = received as f64 / applied as f64;
    let rate = sent as f64 / SERVERS as f64 / (steps as f64 * 0.04);
    println!(
        "{} writes, each applied by 63 peers: {applied} applied, {received} received, redundancy {redundancy:.3}; everywhere {} ms after the last write; {rate:.0} bytes/s sent per node",
        steps * SERVERS,
        took.as_millis(),
    );
    for (kind, n) in pop.node(Slot::at(0)).stats().sent() {
        println!("  {} {n}", kind.name());
    }
    println!("  {:?}", pop.node(Slot::at(0)).stats().sync);
    println!("  {:?}", pop.node(Slot::at(0)).stats().map);
    assert!(redundancy <= 2.0, "redundancy {redundancy:.3}");

    // Idle, both directions, with 28 bytes of IPv4 and UDP headers a packet.
    pop.run(Duration::from_secs(5));
    let bytes = |pop: &Cluster<'_>| {
        let stats = pop.stats();
        let packets: u64 =
            stats.iter().map(|s| s.sent.iter().sum::<u64>() + s.received.iter().sum::<u64>()).sum();
        stats.iter().map(|s| s.sent_bytes + s.received_bytes).sum::<u64>() + 28 * packets
    };
    let before = bytes(&pop);
    pop.run(Duration::from_secs(20));
    let idle = (bytes(&pop) - before) as f64 / 20.0 / SERVERS as f64;
    println!("idle: {idle:.0} bytes/s per node, sent and received, headers included");
    assert!(idle < 4096.0, "idle {idle:.0} bytes/s");
    let stats = pop.stats();
    assert_eq!(stats.iter().map(|s| s.map.mends_unknown).sum::<u64>(), 0);
}

/// A slot that is held live and was never heard is pushed nothing. That its writes pile up is no reason to hurry the others'.
#[test]
fn writes_wait_for_company_though_one_was_never_heard() {
    let (silent, writer, reader) = (Slot::at(0), Slot::at(1), Slot::at(2));
    let mut storage = Storage::new::<64>(3, CAPACITY, SHAPE);
    let mut pop = Cluster::<64>::new(&mut storage, 3, CAPACITY, SHAPE, 1, Faults::default(), |_| {});
    pop.kill(silent);
    pop.set_live(SlotSet::first(3));
    pop.start_up(Duration::from_secs(6));
    pop.watch();
    for n in 0..500 {
        pop.put(writer, key(1, n), &[1; 24]).unwrap();
        pop.run(Duration::from_millis(1));
    }
    let sent = pop.take_sent();
    let pushes = sent.iter().filter(|sent| sent.to == reader && sent.kind() == Kind::Push).count();
    println!("{pushes} pushes carried 500 writes in 500 ms");
    // One each 10 ms.
    assert!((40..=60).contains(&pushes));
    assert!(sent.iter().all(|sent| sent.to != silent || sent.kind() != Kind::Push));
}
