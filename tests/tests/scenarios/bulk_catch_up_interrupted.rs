//! The server that serves a long delta dies in the middle of it: another takes over, and nothing is lost.

use popmap_core::time::Duration;
use popmap_core::wire::Kind;
use popmap_core::{Phase, Slot, SlotSet};
use popmap_io::memory::Faults;
use popmap_tests::cluster::{Cluster, Restart, Storage};
use popmap_tests::scenario::{SHAPE, assert_same_records, key, mends, total, value};

const KEYS: u64 = 20_000;
const CAPACITY: usize = 24_000;
/// How long it takes until everyone is told that the server is dead.
const DETECTION: Duration = Duration::from_secs(1);

#[test]
fn another_peer_takes_over() {
    let [fresh, others] = [SlotSet::EMPTY.with(Slot::at(2)), SlotSet::first(2)];
    let fresh = fresh.nth(0).expect("a slot");
    for (seed, loss_ppm) in [(1, 0), (2, 50_000)] {
        let faults = Faults { loss_ppm, delay: Duration::from_millis(1), ..Faults::default() };
        let mut storage = Storage::new::<8>(4, CAPACITY, SHAPE);
        let mut pop = Cluster::<8>::new(&mut storage, 3, CAPACITY, SHAPE, seed, faults, |_| {});
        pop.start_up(Duration::from_secs(6));
        pop.kill(fresh);
        pop.set_live(others);
        for n in 0..KEYS {
            pop.put(Slot::at((n % 2) as usize), key(n), &value(n)).unwrap();
        }
        pop.settle(Duration::from_secs(10));

        pop.set_live(others.with(fresh));
        pop.watch();
        pop.restart(fresh, Restart::GenerationKept);
        let part = |pop: &Cluster<'_, 8>| pop.node(fresh).map().len() as u64 > KEYS / 3;
        pop.run_until(Duration::from_secs(5), part).expect("a third of the keys");
        let sent = pop.take_sent();
        let deltas = |from| {
            let is_delta = |packet: &[u8]| packet[1] == Kind::Delta as u8;
            sent.iter().filter(|sent| sent.from == from && sent.to == fresh && is_delta(&sent.packet)).count()
        };
        let server = others.iter().max_by_key(|&slot| deltas(slot)).expect("a server");
        let got = pop.node(fresh).map().len();
        pop.kill(server);
        assert_eq!(
            pop.node(fresh).map().version().occupied(),
            SlotSet::EMPTY,
            "nothing was committed half-way"
        );
        assert_eq!(pop.node(fresh).map().phase(), Phase::Starting);

        pop.run(DETECTION);
        pop.set_live(others.with(fresh).without(server));
        let took = pop.settle(Duration::from_secs(10));
        let live = assert_same_records(&pop, pop.running(), (0..KEYS).map(key));
        assert_eq!(live as u64, KEYS, "nothing is lost");
        pop.put(fresh, key(0), &value(1)).expect("caught up, so it may write");
        pop.settle(Duration::from_secs(1));
        assert_eq!(total(&pop, mends), 0);

        let stats = pop.node(fresh).stats();
        let received = stats.map.records_received as f64 / KEYS as f64;
        println!(
            "seed {seed}: {server} died with {got} of {KEYS} records sent, {} deltas; equal {} ms after it was told dead, each record received {received:.3} times",
            deltas(server),
            took.as_millis(),
        );
        // The first server's part is sent again by the second: its log is another.
        let once_more = got as f64 / KEYS as f64;
        assert!(received < 1.3 + once_more, "each record received {received:.3} times");
    }
}
