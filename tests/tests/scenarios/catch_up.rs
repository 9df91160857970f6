//! A node that starts empty catches up with 50,000 keys over a link that loses 5 %.

use popmap_core::time::Duration;
use popmap_core::{Key, Shape, Slot};
use popmap_io::memory::Faults;
use popmap_tests::cluster::{Cluster, Restart, Storage};

const SHAPE: Shape = Shape { schema: 1, value_len: 24 };
const KEYS: u64 = 50_000;
const CAPACITY: usize = 60_000;

#[test]
fn fifty_thousand_keys_at_five_percent_loss() {
    let faults = Faults { loss_ppm: 50_000, ..Faults::default() };
    let mut storage = Storage::new::<64>(3, CAPACITY, SHAPE);
    let mut pop = Cluster::<64>::new(&mut storage, 2, CAPACITY, SHAPE, 5, faults, |_| {});
    let [full, fresh] = [0, 1].map(Slot::at);
    assert!(
        pop.run_until(Duration::from_secs(5), |pop| pop.node(full).map().phase()
            != popmap_core::Phase::Starting)
            .is_some()
    );
    pop.kill(fresh);
    for i in 0..KEYS {
        pop.put(full, Key::from_name(&i.to_le_bytes()), &[i as u8; 24]).unwrap();
    }
    pop.run(Duration::from_secs(1));
    let bytes_before = pop.network.traffic().sent_bytes;
    pop.restart(fresh, Restart::GenerationKept);
    let took = pop.settle(Duration::from_secs(30));

    let stats = pop.node(fresh).stats();
    let bytes = pop.network.traffic().sent_bytes - bytes_before;
    let sent = pop.node(full).stats().map.records_sent;
    let per_record = sent as f64 / KEYS as f64;
    println!(
        "{KEYS} keys in {} ms, each record sent {per_record:.3} times, received {:.3} times, {:.1} bytes a record, {} retries",
        took.as_millis(),
        stats.map.records_received as f64 / KEYS as f64,
        bytes as f64 / KEYS as f64,
        stats.sync.retries,
    );
    assert!(per_record <= 1.3, "each record sent {per_record:.3} times");
    assert_eq!(pop.node(fresh).map().len() as u64, KEYS);
}
