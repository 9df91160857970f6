//! The lives of the servers: how one begins, with which generation, and how it ends.
//!
//! Knows configurations and generations. Must not know why a server starts or stops.

use popmap_core::{Config, Life, Meta, Node, SlotSet};

use crate::adversary::Keys;

use super::super::checks::Start;
use super::super::network::Network;
use super::super::plan::Generation;
use super::{CLUSTER, START_WITHIN, World, shape};

/// The wall clock's seconds at the beginning of a run.
const EPOCH_S: u64 = 1_800_000_000;
impl<const N: usize> World<'_, N> {
    /// Starts the server at `end`, unless it runs or there is no memory left.
    ///
    /// # Panics
    /// When the plan's configuration is no good.
    pub fn start(&mut self, end: usize, generation: u32) {
        if self.servers[end].node.is_some() {
            return;
        }
        let Some(block) = self.blocks.pop() else { return };
        let life = Life { generation, id: self.rng.next_u64() | 1 };
        let seed = self.rng.next_u64();
        let server = &mut self.servers[end];
        let clock = server.clock(self.now);
        let mut config = Config::new(CLUSTER, server.slot, life, server.capacity, shape(self.plan));
        config.configured = SlotSet::first(self.plan.servers + self.plan.vacant);
        config.seed = seed;
        config.start_within = START_WITHIN;
        config.payload = self.plan.payload;
        config.meta = Meta::weighted(server.weight);
        (config.budget_bytes, config.budget_interval) = self.plan.budget;
        config.repair = self.plan.repair;
        if seed & 1 == 0 {
            config.address = Network::address(end);
        }
        let node = match self.plan.keyed {
            true => Node::<N>::with_keys(clock, block, &config, Keys::Rows.ring(server.slot)),
            false => Node::<N>::new(clock, block, &config),
        };
        let mut node = node.expect("a valid configuration");
        #[cfg(popmap_teeth)]
        if let Some(tooth) = self.tooth {
            node.break_rule(tooth);
        }
        let seeds: Vec<_> = (0..self.plan.servers.min(3)).map(Network::address).collect();
        node.join(clock, &seeds);
        server.node = Some(node);
        server.saved = generation;
        (server.is_stirred, server.pause, server.told, server.began) = (true, None, clock, self.now);
        let slot = server.slot;
        let (bytes, interval) = self.plan.budget;
        let budget = (bytes, interval, self.plan.payload);
        self.checks.begin(end, &Start { slot, life, deadline: clock + START_WITHIN, budget });
        self.trace.note(self.now, format!("server {end} starts in {slot}, life {life:?}"));
    }

    /// Returns the generation with which the server at `end` starts anew.
    fn next_generation(&mut self, end: usize, how: Generation) -> u32 {
        let saved = self.servers[end].saved;
        let seconds = EPOCH_S + self.days_s + self.now.0 / 1_000_000_000;
        // Servers whose clock is set always use it.
        let clock = if self.plan.generations.contains(&Generation::Clock) { seconds as u32 } else { 0 };
        match how {
            Generation::Kept => saved.max(clock).saturating_add(1),
            Generation::Clock => clock.saturating_add(1),
            Generation::Lost => 1,
            Generation::Restored => saved.saturating_sub(self.rng.below(3) as u32).max(1),
        }
    }

    /// Starts the server at `end` anew, with empty memory.
    pub fn restart(&mut self, end: usize, how: Generation) {
        if self.servers[end].node.is_none() {
            let generation = self.next_generation(end, how);
            self.trace.note(self.now, format!("server {end}: generation {how:?}"));
            self.start(end, generation);
        }
    }

    /// Stops the server at `end`: its memory is gone.
    pub fn crash(&mut self, end: usize) {
        let server = &mut self.servers[end];
        if server.node.take().is_some() {
            for place in server.backlog.drain(..) {
                self.network.drop_packet(place);
            }
            server.pause = None;
            self.checks.end(end);
            self.trace.note(self.now, format!("server {end} stops"));
        }
    }
}
