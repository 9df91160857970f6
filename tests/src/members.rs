//! A PoP whose servers find out themselves who is alive.
//!
//! Knows what the members are to think of each other, and what they cost. Must not know how they find out.

use popmap_core::time::Duration;
use popmap_core::{Config, Slot, SlotSet, State, SwimConfig};
use popmap_io::memory::Faults;

use crate::cluster::{Cluster, Storage};
use crate::scenario::{SHAPE, total};

/// Records that each server has room for.
const CAPACITY: usize = 300;
/// Bytes of IPv4 and UDP headers of one packet.
const IP_UDP: u64 = 28;

/// Turns membership on.
pub fn swim(config: &mut Config) {
    config.swim = Some(SwimConfig::DEFAULT);
}

/// Returns memory for `lives` lives.
pub fn storage<const N: usize>(lives: usize) -> Storage {
    Storage::new::<N>(lives, CAPACITY, SHAPE)
}

/// Returns a PoP of `servers` that find each other through the first three.
pub fn pop<const N: usize>(
    storage: &mut Storage,
    servers: usize,
    seed: u64,
    faults: Faults,
) -> Cluster<'_, N> {
    Cluster::new(storage, servers, CAPACITY, SHAPE, seed, faults, swim)
}

/// Loses packets at random, in parts per million, on an otherwise usual LAN.
pub fn losing(loss_ppm: u32) -> Faults {
    Faults { loss_ppm, ..Faults::default() }
}

/// Whether each of `among` holds exactly these live.
pub fn all_hold_live<const N: usize>(pop: &Cluster<'_, N>, among: SlotSet, live: SlotSet) -> bool {
    among.iter().all(|slot| pop.node(slot).map().live() == live)
}

/// Runs until all running servers know each other and write.
///
/// # Panics
/// When that takes over 5 seconds.
pub fn join<const N: usize>(pop: &mut Cluster<'_, N>) -> Duration {
    let all = pop.running();
    let known = pop.run_until(Duration::from_secs(5), |pop| all_hold_live(pop, all, all));
    let known = known.expect("all know all");
    let started = pop.start_up(Duration::from_secs(5));
    Duration(known.0 + started.0)
}

/// Runs until every running server holds exactly the running ones live; returns how long it took.
///
/// # Panics
/// When that takes longer than `within`.
pub fn agree<const N: usize>(pop: &mut Cluster<'_, N>, within: Duration) -> Duration {
    let running = pop.running();
    let took = pop.run_until(within, |pop| all_hold_live(pop, running, running));
    took.unwrap_or_else(|| {
        panic!("no agreement within {} ms: {}", within.as_millis(), disagreement(pop, running))
    })
}

fn disagreement<const N: usize>(pop: &Cluster<'_, N>, running: SlotSet) -> String {
    let lines = running.iter().filter(|&slot| pop.node(slot).map().live() != running).map(|slot| {
        let live = pop.node(slot).map().live();
        format!(
            "\n  {slot} misses {:?} and has {:?} beside",
            running.difference(live),
            live.difference(running)
        )
    });
    lines.collect()
}

/// Returns how often any running server declared another dead.
pub fn deaths<const N: usize>(pop: &Cluster<'_, N>) -> u64 {
    total(pop, |stats| stats.swim.deaths)
}

/// Whether any running server holds `slot` in this state.
pub fn anyone_holds<const N: usize>(pop: &Cluster<'_, N>, slot: Slot, state: State) -> bool {
    pop.running().iter().any(|of| pop.node(of).member(slot).is_some_and(|member| member.state == state))
}

/// Runs for `span` and returns the bytes that a server sent and received in a second of it, IP and UDP headers counted.
pub fn bytes_per_second<const N: usize>(pop: &mut Cluster<'_, N>, span: Duration) -> u64 {
    let bytes = |pop: &Cluster<'_, N>| {
        let packets = total(pop, |stats| stats.sent.iter().chain(&stats.received).sum());
        total(pop, |stats| stats.sent_bytes + stats.received_bytes) + IP_UDP * packets
    };
    let before = bytes(pop);
    pop.run(span);
    (bytes(pop) - before) * 1_000 / span.as_millis() / pop.running().len() as u64
}
