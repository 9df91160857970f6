//! An upgrade, a new server and one that goes for good: each server is restarted in its turn while the others write, by the
//! steps that the README gives, and nothing is lost, refused or mended.

use popmap_core::time::Duration;
use popmap_core::{Config, Phase, Reject, Slot, SlotSet, State, SwimConfig};
use popmap_io::memory::Faults;
use popmap_tests::cluster::{Cluster, Restart, Storage};
use popmap_tests::members::{all_hold_live, losing};
use popmap_tests::scenario::{SHAPE, assert_same_records, key, mends, rejected, total, value};

const SERVERS: usize = 5;
const CAPACITY: usize = 600;
const LAST: Slot = Slot::at(SERVERS - 1);

type Pop<'a> = Cluster<'a, 8>;

/// Every server knows of the same `slots` slots, and the last one of itself.
fn know(config: &mut Config, slots: usize) {
    config.configured = SlotSet::first(slots).with(config.slot);
    config.swim = Some(SwimConfig::DEFAULT);
}

fn know_all(config: &mut Config) {
    know(config, SERVERS);
}

fn know_four(config: &mut Config) {
    know(config, SERVERS - 1);
}

fn storage() -> Storage {
    Storage::new::<8>(3 * SERVERS, CAPACITY, SHAPE)
}

fn pop(storage: &mut Storage, seed: u64, knows: fn(&mut Config)) -> Pop<'_> {
    let faults: Faults = losing(10_000);
    Pop::new(storage, SERVERS, CAPACITY, SHAPE, seed, faults, knows)
}

/// Whether `slot` is through with its start, and all agree that these are the servers: what an operator waits for.
fn is_ready(pop: &Pop<'_>, slot: Slot, servers: SlotSet) -> bool {
    let life = pop.node(slot).map().life();
    pop.node(slot).map().phase() == Phase::Active { expired: false }
        && all_hold_live(pop, servers, servers)
        && servers.iter().all(|of| pop.node(of).member(slot).is_some_and(|member| member.life == life))
}

fn wait_until_ready(pop: &mut Pop<'_>, slot: Slot, servers: SlotSet) -> u64 {
    let took = pop.run_until(Duration::from_secs(20), |pop| is_ready(pop, slot, servers));
    took.unwrap_or_else(|| panic!("{slot} is not ready")).as_millis()
}

/// Writes keys from `from` on, one at a server that runs, and returns the key after the last.
fn write(pop: &mut Pop<'_>, among: SlotSet, from: u64) -> u64 {
    for (n, slot) in (from..).zip(among.iter()) {
        pop.put(slot, key(n), &value(n)).expect("no server that is through with its start refuses");
        pop.run(Duration::from_millis(20));
    }
    from + among.len() as u64
}

/// Stops a server in good order: it says that it leaves.
fn stop(pop: &mut Pop<'_>, slot: Slot) {
    let now = pop.now();
    pop.node_mut(slot).leave(now);
    let rest = pop.running().without(slot);
    let left = |pop: &Pop<'_>| {
        rest.iter().all(|of| pop.node(of).member(slot).is_some_and(|member| member.state == State::Left))
    };
    pop.run_until(Duration::from_secs(2), left).expect("all know that it left");
    pop.kill(slot);
}

/// Restarts each of `servers` in its turn; the others write meanwhile. Returns the key after the last, and the longest
/// restart in milliseconds.
fn restart_each(pop: &mut Pop<'_>, servers: SlotSet, from: u64) -> (u64, u64) {
    let (mut next, mut longest) = (from, 0);
    for slot in servers.iter() {
        let before = next;
        stop(pop, slot);
        next = write(pop, servers.without(slot), next);
        pop.restart(slot, Restart::GenerationKept);
        longest = longest.max(wait_until_ready(pop, slot, servers));
        // All that was there before it came: that is what it waited for.
        let lacking = (0..before).filter(|&n| pop.get(slot, key(n)).is_none()).count();
        assert_eq!(lacking, 0, "{slot} is ready and lacks something");
        next = write(pop, servers, next);
    }
    (next, longest)
}

fn nothing_is_lost(pop: &mut Pop<'_>, servers: SlotSet, keys: u64) {
    pop.run_until(Duration::from_secs(5), |pop| pop.are_equal(servers)).expect("equal");
    assert_eq!(assert_same_records(pop, servers, (0..keys).map(key)) as u64, keys);
    assert_eq!(total(pop, |stats| mends(stats) + stats.map.reports + stats.map.puts_refused), 0);
}

#[test]
fn an_upgrade_loses_nothing() {
    for seed in 0..4 {
        let mut storage = storage();
        let mut pop = pop(&mut storage, seed, know_all);
        let all = pop.running();
        wait_until_ready(&mut pop, LAST, all);
        pop.start_up(Duration::from_secs(5));
        let first = write(&mut pop, all, 0);
        let (keys, longest) = restart_each(&mut pop, all, first);
        nothing_is_lost(&mut pop, all, keys);
        println!("seed {seed}: {keys} keys; a server is ready {longest} ms after its start at most");
    }
}

/// A slot that the others are not configured for is no server to them; once all have been restarted with it, it is one.
#[test]
fn a_server_is_added() {
    for seed in 0..4 {
        let mut storage = storage();
        let mut pop = pop(&mut storage, seed, know_four);
        let (all, four) = (pop.running(), SlotSet::first(SERVERS - 1));
        wait_until_ready(&mut pop, Slot::at(0), four);
        pop.start_up(Duration::from_secs(6));
        let keys = write(&mut pop, four, 0);
        // It has found nobody: it waited for its deadline, and is alone.
        assert_eq!(pop.node(LAST).map().phase(), Phase::Active { expired: true });
        assert!(total(&pop, |stats| rejected(stats, Reject::Unconfigured)) > 0, "the seeds say why");
        assert!(all_hold_live(&pop, four, four) && pop.get(LAST, key(0)).is_none());
        pop.kill(LAST);

        pop.adjust = know_all;
        let (keys, _) = restart_each(&mut pop, four, keys);
        pop.restart(LAST, Restart::GenerationKept);
        let took = wait_until_ready(&mut pop, LAST, all);
        let keys = write(&mut pop, all, keys);
        nothing_is_lost(&mut pop, all, keys);
        println!("seed {seed}: {keys} keys; the new server is ready {took} ms after its start");
    }
}

/// A server that goes for good holds every tombstone until no server is configured for its slot. Its records stay.
#[test]
fn a_server_is_removed() {
    for seed in 0..4 {
        let mut storage = storage();
        let mut pop = pop(&mut storage, seed, know_all);
        let (all, rest) = (pop.running(), SlotSet::first(SERVERS - 1));
        wait_until_ready(&mut pop, LAST, all);
        pop.start_up(Duration::from_secs(5));
        let keys = write(&mut pop, all, 0);
        let (its, deleted) = (key(1_000_001), key(1_000_002));
        [its, deleted].iter().for_each(|&key| pop.put(LAST, key, &value(7)).expect("written"));
        pop.settle(Duration::from_secs(5));
        stop(&mut pop, LAST);
        pop.remove(Slot::at(0), deleted).expect("deleted");
        pop.run(Duration::from_secs(120));
        let tombstones = |pop: &Pop<'_>| -> usize {
            pop.running().iter().map(|slot| pop.node(slot).map().tombstones()).sum()
        };
        assert_eq!(tombstones(&pop), rest.len(), "held for the one that left");

        pop.adjust = know_four;
        let (keys, _) = restart_each(&mut pop, rest, keys);
        let took = pop.run_until(Duration::from_secs(60), |pop| tombstones(pop) == 0).expect("collected");
        assert!(rest.iter().all(|slot| pop.get(slot, its) == Some(value(7).to_vec())), "its records stay");
        let orphaned =
            |pop: &Pop<'_>| pop.node(Slot::at(1)).harvest(pop.now(), Duration::from_secs(3_600)).orphaned;
        // Its own key, and one of the first round.
        assert_eq!(orphaned(&pop), 2);
        let owner = pop.node(Slot::at(0)).owner(its);
        pop.put(owner, its, &value(8)).expect("written");
        nothing_is_lost(&mut pop, rest, keys);
        assert_eq!(orphaned(&pop), 1, "they are orphaned until their owners write");
        println!(
            "seed {seed}: {keys} keys; the tombstone left {} ms after the last restart",
            took.as_millis()
        );
    }
}
