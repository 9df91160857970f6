//! A server with a small budget never sends more than it in an interval, and shares it between its peers.

use popmap_core::time::{Duration, Instant};
use popmap_core::wire::Kind;
use popmap_core::{Config, Slot, SlotSet};
use popmap_io::memory::Faults;
use popmap_tests::cluster::{Cluster, Restart, Sent, Storage};
use popmap_tests::scenario::{SHAPE, assert_same_records, key, value};

const KEYS: u64 = 4_000;
const CAPACITY: usize = 5_000;
const SERVERS: usize = 5;
const SOURCE: Slot = Slot::at(0);
const BUDGET: u32 = 4_000;
const INTERVAL: Duration = Duration::from_millis(10);
const PACKET: usize = popmap_core::limits::PAYLOAD_DEFAULT;

/// Returns the bytes that `from` sent in each interval that its budget was filled for.
fn intervals(sent: &[Sent], from: Slot) -> Vec<usize> {
    let (mut intervals, mut refill) = (Vec::new(), Instant::ZERO);
    let exempt = |sent: &Sent| sent.kind() == Kind::LifeNotice;
    for sent in sent.iter().filter(|sent| sent.from == from && !exempt(sent)) {
        if sent.at >= refill || intervals.is_empty() {
            refill = sent.at + INTERVAL;
            intervals.push(0);
        }
        *intervals.last_mut().expect("just pushed") += sent.packet.len();
    }
    intervals
}

#[test]
fn peers_that_catch_up_at_once_share_a_small_budget() {
    let mut storage = Storage::new::<8>(2 * SERVERS - 1, CAPACITY, SHAPE);
    let small = |config: &mut Config| {
        config.budget_bytes = BUDGET;
        config.budget_interval = INTERVAL;
    };
    let mut pop = Cluster::<8>::new(&mut storage, SERVERS, CAPACITY, SHAPE, 1, Faults::default(), small);
    let (all, peers) = (pop.running(), pop.running().without(SOURCE));
    pop.start_up(Duration::from_secs(6));
    peers.iter().for_each(|peer| pop.kill(peer));
    pop.set_live(SlotSet::EMPTY.with(SOURCE));
    (0..KEYS).for_each(|n| pop.put(SOURCE, key(n), &value(n)).unwrap());
    pop.run(Duration::from_secs(1));

    pop.set_live(all);
    pop.watch();
    let start = pop.now();
    peers.iter().for_each(|peer| pop.restart(peer, Restart::GenerationKept));
    let most = |pop: &Cluster<'_, 8>| peers.iter().map(|peer| pop.node(peer).map().len()).max().unwrap_or(0);
    pop.run_until(Duration::from_secs(30), |pop| most(pop) > KEYS as usize / 2).expect("half of it");
    let lens: Vec<_> = peers.iter().map(|peer| pop.node(peer).map().len()).collect();
    let least = *lens.iter().min().expect("peers");
    let took = pop.settle(Duration::from_secs(60));
    assert_same_records(&pop, all, (0..KEYS).map(key));

    let sent = pop.take_sent();
    for server in all.iter() {
        let intervals = intervals(&sent, server);
        let (most, sum) = (intervals.iter().max().expect("sent something"), intervals.iter().sum::<usize>());
        // The last packet may overdraw, and the next interval pays for it.
        assert!(*most < BUDGET as usize + PACKET, "{server} sent {most} bytes in an interval");
        let elapsed = pop.now().since(start).0 / INTERVAL.0 + 1;
        assert!(
            sum < elapsed as usize * BUDGET as usize + PACKET,
            "{server} sent {sum} bytes in {elapsed} intervals"
        );
        if server == SOURCE {
            let full = intervals.iter().filter(|&&bytes| bytes + PACKET > BUDGET as usize).count();
            let mean = sum as f64 / intervals.len() as f64;
            println!(
                "{server}: {full} of {} intervals full, at most {most} bytes, {mean:.0} on average",
                intervals.len()
            );
            assert!(
                pop.node(SOURCE).stats().budget_exhausted > 0 && full > intervals.len() / 2,
                "the budget was what held"
            );
            assert!(mean <= f64::from(BUDGET), "{mean:.0} bytes an interval on average");
        }
    }
    println!("records at each peer when the first had half: {lens:?}; equal {} ms later", took.as_millis());
    assert!(least as u64 > KEYS / 4, "one starved: {lens:?}");
}
