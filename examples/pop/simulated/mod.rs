//! The same PoP in virtual time: where sixty-four servers on two cores would be in each other's way, the clock waits.
//!
//! Knows how to drive nodes, from event to event, over a network in memory. Must not know the script that is played.
//!
//! Nodes, membership, schedule and ownership are those of the real servers. What is simulated is the wire, the clock and
//! the origins.

mod script;

use std::sync::Arc;

use popmap_core::auth::KeyRing;
use popmap_core::rng::Rng;
use popmap_core::time::{Duration, Instant};
use popmap_core::{Config, ConfigError, Event, Key, Life, Node, Phase, Slot, SlotSet, State};
use popmap_io::memory::{Faults, Network};
use zerocopy::IntoBytes;

use crate::assignment::Assignment;
use crate::health::{Health, SHAPE};
use crate::measure::{MergeTimes, Stopwatch, Totals, UDP_HEADERS};
use crate::propagation::Propagation;
use crate::schedule::{Calendar, Checks, Schedule};
use crate::server::{CLUSTER, PUSH_DELAY, is_orphan, typed};
use crate::storage::capacity;
pub use script::play;

/// Virtual time between writes that are followed to every server.
const FOLLOW_EVERY: Duration = Duration::from_millis(20);

/// One server.
struct Server<'a> {
    /// `None` when it is down.
    node: Option<Node<'a>>,
    assignment: Assignment,
    schedule: Schedule,
    head: u64,
    /// When it is to be polled next.
    deadline: Instant,
}

/// One server holds another dead.
struct Death {
    of: Slot,
    by: Slot,
    at: Instant,
}

/// A point of presence in virtual time.
struct Pop<'a> {
    servers: Vec<Server<'a>>,
    network: Network,
    keys: Arc<[Key]>,
    now: Instant,
    checks: Checks,
    rng: Rng,
    failing: Vec<bool>,
    found_up: Vec<bool>,
    checked: Vec<Instant>,
    writes: Propagation,
    failures: Propagation,
    follow_writes: bool,
    next_follow: Instant,
    deaths: Vec<Death>,
    /// Counters of the servers that are down.
    past: Totals,
    alarms: Vec<String>,
    merge: MergeTimes,
}

impl<'a> Pop<'a> {
    /// Starts all servers at once, empty.
    fn start(
        storage: impl Iterator<Item = &'a mut [u64]>,
        servers: usize,
        (keys, ring): (&Arc<[Key]>, &KeyRing),
        calendar: &Arc<Calendar>,
        loss_ppm: u32,
        seed: u64,
        stopwatch: Stopwatch,
    ) -> Result<Self, ConfigError> {
        let mut rng = Rng::new(seed);
        let network = Network::new(rng.next_u64(), Faults { loss_ppm, ..Faults::default() });
        let seeds: Vec<_> = (0..servers.min(8)).map(|slot| Network::address(Slot::at(slot))).collect();
        let boot = |(slot, block): (usize, &'a mut [u64])| {
            let slot = Slot::at(slot);
            let life = Life { generation: 1, id: rng.next_u64() | 1 };
            let mut config = Config::new(CLUSTER, slot, life, capacity(keys.len()), SHAPE);
            config.configured = SlotSet::first(servers);
            config.address = Network::address(slot);
            config.sync.push_delay = PUSH_DELAY;
            let mut node = Node::with_keys(Instant::ZERO, block, &config, ring.clone())?;
            node.join(Instant::ZERO, &seeds);
            Ok(Server {
                node: Some(node),
                assignment: Assignment::new(slot, Arc::clone(keys)),
                schedule: Schedule::new(Arc::clone(calendar)),
                head: 0,
                deadline: Instant::ZERO,
            })
        };
        let servers = storage.take(servers).enumerate().map(boot).collect::<Result<_, ConfigError>>()?;
        Ok(Self {
            servers,
            network,
            keys: Arc::clone(keys),
            now: Instant::ZERO,
            checks: Checks::Overdue,
            rng,
            failing: vec![false; keys.len()],
            found_up: vec![true; keys.len()],
            checked: vec![Instant::ZERO; keys.len()],
            writes: Propagation::new(),
            failures: Propagation::new(),
            follow_writes: false,
            next_follow: Instant::ZERO,
            deaths: Vec::new(),
            past: Totals::default(),
            alarms: Vec::new(),
            merge: MergeTimes::new(stopwatch),
        })
    }

    /// Ends a server without a word; what is on its way from or to it is lost.
    fn kill(&mut self, slot: Slot) {
        self.network.forget(slot);
        let server = &mut self.servers[slot.index()];
        server.deadline = Instant::NEVER;
        if let Some(node) = server.node.take() {
            self.past.add(&Totals::of(&node.stats(), UDP_HEADERS));
        }
        let gone = SlotSet::EMPTY.with(slot);
        self.writes.forget(gone);
        self.failures.forget(gone);
    }

    /// Says which checks are made from now on.
    fn set_checks(&mut self, checks: Checks) {
        self.checks = checks;
        for server in self.servers.iter_mut().filter(|server| server.node.is_some()) {
            server.schedule.resume(self.now);
            server.deadline = self.now;
        }
    }

    // ---- time ----

    /// Runs until `until`.
    fn run_to(&mut self, until: Instant) {
        let mut frame = [0; popmap_core::limits::PAYLOAD_DEFAULT];
        loop {
            let timer = self.servers.iter().map(|server| server.deadline).min().unwrap_or(Instant::NEVER);
            let next = self.network.next_arrival().map_or(timer, |arrival| arrival.min(timer));
            if next > until {
                self.now = until;
                return;
            }
            self.now = self.now.max(next);
            while let Some(arrival) = self.network.receive(self.now) {
                let server = &mut self.servers[arrival.to.index()];
                if let Some(node) = &mut server.node {
                    let (now, from) = (self.now, Network::address(arrival.from));
                    // What is rejected is counted by the node.
                    self.merge.time(&arrival.packet, || {
                        let _ = node.handle_packet(now, from, &arrival.packet);
                    });
                    server.deadline = self.now;
                }
                self.network.recycle(arrival);
            }
            for slot in 0..self.servers.len() {
                if self.servers[slot].deadline <= self.now {
                    self.poll(Slot::at(slot), &mut frame);
                }
            }
        }
    }

    /// One turn of a server's loop: timers, events, checks, packets out.
    fn poll(&mut self, slot: Slot, frame: &mut [u8]) {
        let now = self.now;
        let Server { node: Some(node), assignment, schedule, head, .. } = &mut self.servers[slot.index()]
        else {
            return;
        };
        node.handle_timeout(now);
        if node.map().log_head() != *head {
            *head = node.map().log_head();
            let reader = typed(node.reader());
            self.writes.look(slot, now.0, &reader);
            self.failures.look(slot, now.0, &reader);
        }
        while let Some(event) = node.poll_event() {
            match event {
                Event::Superseded { key } => {
                    let id = self.keys.iter().position(|known| *known == key);
                    schedule.recheck(now, id.map(|id| id as u32).as_slice());
                }
                Event::Started { expired: false } | Event::GenerationRaised { .. } => {}
                other => self.alarms.push(format!("{slot}: {other:?}")),
            }
        }
        while let Some((of, state)) = node.poll_member() {
            if state == State::Dead {
                self.deaths.push(Death { of, by: slot, at: now });
            }
        }
        if matches!(node.map().phase(), Phase::Active { .. }) && node.map().live() != assignment.live() {
            let live = node.map().live();
            let mut gained = assignment.update(live);
            let reader = typed(node.reader());
            gained.retain(|&origin| is_orphan(&reader, self.keys[origin as usize], live));
            schedule.own(now, assignment, &gained);
        }
        self.make_checks(slot);
        let server = &mut self.servers[slot.index()];
        let Some(node) = &mut server.node else { return };
        while let Some(transmit) = node.poll_transmit(now, frame) {
            self.network.send(now, slot, transmit.to, &frame[..transmit.len]);
        }
        server.deadline = node.poll_timeout().min(server.schedule.deadline(self.checks));
    }

    fn make_checks(&mut self, slot: Slot) {
        let Server { node: Some(node), assignment, schedule, .. } = &mut self.servers[slot.index()] else {
            return;
        };
        while let Some(origin) = schedule.poll(self.now, self.checks) {
            let at = origin as usize;
            let (key, up) = (self.keys[at], !self.failing[at]);
            // Half a millisecond to about ten, most of them short.
            let latency_us = 500 + (self.rng.below(100) * self.rng.below(100)) as u32;
            let health = Health::new(key, Ok(if up { 200 } else { 503 }), latency_us, self.now, 1);
            self.checked[at] = self.now;
            let others = assignment.live().without(slot);
            if std::mem::replace(&mut self.found_up[at], up) && !up {
                self.failures.follow(key, self.now.0, others);
            } else if self.follow_writes && self.now >= self.next_follow {
                self.next_follow = self.now + FOLLOW_EVERY;
                self.writes.follow(key, self.now.0, others);
            }
            if let Err(error) = node.put(self.now, key, health.as_bytes()) {
                self.alarms.push(format!("{slot} could not write origin {origin}: {error}"));
            }
        }
    }

    // ---- what it is like ----

    fn nodes(&self) -> impl Iterator<Item = &Node<'a>> {
        self.servers.iter().filter_map(|server| server.node.as_ref())
    }

    fn running(&self) -> SlotSet {
        self.nodes().map(|node| node.map().slot()).collect()
    }

    /// Whether all servers that run may write, and hold live who runs and nobody else.
    fn is_agreed(&self) -> bool {
        let running = self.running();
        self.nodes()
            .all(|node| matches!(node.map().phase(), Phase::Active { .. }) && node.map().live() == running)
    }

    /// Whether all running servers have equal versions and equal digests.
    fn is_equal(&self) -> bool {
        let Some(first) = self.nodes().next().map(Node::map) else { return true };
        let same_version = self.nodes().all(|node| node.map().version() == first.version());
        same_version && {
            let digest = first.digest(0, u64::MAX);
            self.nodes().all(|node| node.map().digest(0, u64::MAX) == digest)
        }
    }

    /// Returns all counters, of servers that are down too.
    fn totals(&self) -> Totals {
        let mut totals = self.past;
        self.nodes().for_each(|node| totals.add(&Totals::of(&node.stats(), UDP_HEADERS)));
        totals
    }
}
