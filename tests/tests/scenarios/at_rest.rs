//! Sixty-four servers that have all written and are at rest, who tell each other by the version hashes on their probes
//! that they are equal: what was lost last is found soon, and tombstones leave.

use popmap_core::limits::QUARANTINE;
use popmap_core::time::Duration;
use popmap_core::wire::Kind;
use popmap_core::{Slot, SlotSet, SwimConfig, SyncConfig};
use popmap_tests::cluster::{Cluster, Storage};
use popmap_tests::members::{join, losing, pop, storage};
use popmap_tests::scenario::{key, mends, total, value};

const SERVERS: usize = 64;
const AUTHOR: Slot = Slot::at(5);
const SWIM: SwimConfig = SwimConfig::DEFAULT;
const SYNC: SyncConfig = SyncConfig::DEFAULT;
/// In this time each server pings each other; between two pings of one by another lie two such rounds at most.
const ROUND: Duration = SWIM.period.times(SERVERS as u64 - 1);
/// More than a push is delayed, and than a few round trips take.
const MOMENT: Duration = SYNC.push_delay.times(2);

fn sum(spans: &[Duration]) -> Duration {
    Duration(spans.iter().map(|span| span.0).sum())
}

/// A PoP in which each server has written, all are equal, and exchanges have become rare.
fn at_rest(storage: &mut Storage, seed: u64, loss_ppm: u32) -> Cluster<'_, 64> {
    let mut pop = pop::<64>(storage, SERVERS, seed, losing(loss_ppm));
    join(&mut pop);
    for slot in 0..SERVERS {
        pop.put(Slot::at(slot), key(slot as u64), &value(1)).unwrap();
    }
    pop.settle(Duration::from_secs(5));
    rest(&mut pop);
    pop
}

/// Until all have heard from all, and for some of the longest intervals after that.
fn rest(pop: &mut Cluster<'_, 64>) {
    pop.run(ROUND.times(2));
    pop.run(SYNC.exchange_equal.times(2));
    let exchanges = |pop: &Cluster<'_, 64>| total(pop, |stats| stats.sync.exchanges);
    let before = exchanges(pop);
    pop.run(SYNC.exchange_equal.times(4));
    assert!(exchanges(pop) - before <= 5 * SERVERS as u64, "exchanges have become rare");
}

/// Lets the author write while its packets do not reach `victims`; returns how long it then takes until all have it.
fn lose_a_push(pop: &mut Cluster<'_, 64>, number: u64, victims: SlotSet) -> Duration {
    victims.iter().for_each(|victim| pop.network.cut(AUTHOR, victim));
    pop.put(AUTHOR, key(AUTHOR.index() as u64), &value(number)).unwrap();
    pop.run(MOMENT);
    pop.network.heal();
    assert!(!pop.is_converged());
    let took = pop.settle(Duration::from_secs(60));
    assert_eq!(total(pop, mends), 0);
    took
}

/// Who lacks it is told so by the ack to its next ping, and then exchanges with one of those who have it.
#[test]
fn a_push_lost_on_the_way_to_one_is_found_within_a_probe_and_an_exchange() {
    let mut storage = storage::<64>(SERVERS);
    let mut pop = at_rest(&mut storage, 1, 0);
    let bound = sum(&[SWIM.period, SYNC.exchange, MOMENT]);
    for victim in [0, 17, 63] {
        let took = lose_a_push(&mut pop, victim, SlotSet::EMPTY.with(Slot::at(victim as usize)));
        println!("lost on the way to one: found after {} ms", took.as_millis());
        assert!(took <= bound);
        rest(&mut pop);
    }
}

/// Within a probe and an exchange each who has it tells one more, and in the end each who lacks it asks one who has it.
#[test]
fn a_push_lost_on_the_way_to_all_spreads_from_the_author() {
    let mut storage = storage::<64>(SERVERS);
    let mut pop = at_rest(&mut storage, 2, 0);
    let step = sum(&[SWIM.period, SYNC.exchange, MOMENT]);
    let bound = step.times(2 * u64::from(SERVERS.ilog2()));
    for number in 2..5 {
        let took = lose_a_push(&mut pop, number, SlotSet::first(SERVERS).without(AUTHOR));
        println!("lost on the way to all: found after {} ms", took.as_millis());
        assert!(took <= bound);
        rest(&mut pop);
    }
}

/// Deletes one record and returns when its tombstone has left the first server and the last.
fn delete(pop: &mut Cluster<'_, 64>, within: Duration) -> (Duration, Duration) {
    let held = |pop: &Cluster<'_, 64>| -> usize {
        pop.running().iter().map(|slot| pop.node(slot).map().tombstones()).sum()
    };
    let start = pop.now();
    pop.remove(AUTHOR, key(AUTHOR.index() as u64)).unwrap();
    pop.run_until(Duration::from_secs(5), |pop| held(pop) == SERVERS).expect("the tombstone spreads");
    pop.run_until(within, |pop| held(pop) < SERVERS).expect("the first one leaves");
    let first = pop.now().since(start);
    pop.run_until(within, |pop| held(pop) == 0).expect("all leave");
    (first, pop.now().since(start))
}

/// The first observation is made right after the delete and covers nothing yet; its round takes a quarantine, then until
/// every server was heard from, and a pass of the sweep. By then every server has said that it is equal, so the second
/// round collects.
#[test]
fn tombstones_leave_after_two_rounds_of_collection() {
    const SWEEP: Duration = Duration::from_secs(2);
    let mut storage = storage::<64>(SERVERS);
    let mut pop = at_rest(&mut storage, 3, 0);
    let bound = sum(&[QUARANTINE, ROUND, ROUND, SWEEP]).times(2);
    let (first, last) = delete(&mut pop, bound);
    println!("tombstones left after {} to {} ms", first.as_millis(), last.as_millis());
    assert!(first >= QUARANTINE && last <= bound);
    assert!(pop.is_converged());
}

/// Repair asks one question a server and second, of at most 32 digests, and equal servers need not answer.
#[test]
fn repair_costs_an_idle_pop_one_question_a_server_and_second() {
    const SPAN: Duration = Duration::from_secs(60);
    const QUESTION: u64 = 64 + 24 + 8 * 32;
    let mut storage = storage::<64>(SERVERS);
    let mut pop = at_rest(&mut storage, 5, 0);
    let digests = |pop: &Cluster<'_, 64>| total(pop, |stats| stats.sent[Kind::Digest.index()]);
    let answers = |pop: &Cluster<'_, 64>| total(pop, |stats| stats.sent[Kind::Repair.index()]);
    let differing = |pop: &Cluster<'_, 64>| total(pop, |stats| stats.map.buckets_differing);
    let before = (digests(&pop), answers(&pop), differing(&pop));
    pop.watch();
    pop.run(SPAN);
    let asked = digests(&pop) - before.0;
    let sent = pop.take_sent();
    let bytes: u64 = sent.iter().filter(|s| s.kind() == Kind::Digest).map(|s| s.packet.len() as u64).sum();
    let all: u64 = sent.iter().map(|s| s.packet.len() as u64).sum();
    let each = |bytes: u64| bytes / (SERVERS as u64 * 60);
    println!("an idle PoP: repair {} B/s a server, of {} B/s in all", each(bytes), each(all));
    let most = SERVERS as u64 * 61;
    assert!(asked > most / 2 && asked <= most && bytes <= asked * QUESTION);
    assert_eq!((answers(&pop), differing(&pop)), (before.1, before.2), "nobody differs");
}

/// The same with loss, which takes longer: a hash more often has to wait for the next.
#[test]
fn with_loss() {
    let mut storage = storage::<64>(SERVERS);
    let mut pop = at_rest(&mut storage, 4, 50_000);
    let one = lose_a_push(&mut pop, 2, SlotSet::EMPTY.with(Slot::at(9)));
    rest(&mut pop);
    let all = lose_a_push(&mut pop, 3, SlotSet::first(SERVERS).without(AUTHOR));
    rest(&mut pop);
    let (first, last) = delete(&mut pop, Duration::from_secs(120));
    println!(
        "5 % loss: lost on the way to one, {} ms; to all, {} ms; tombstones left after {} to {} ms",
        one.as_millis(),
        all.as_millis(),
        first.as_millis(),
        last.as_millis()
    );
}
