//! The PoP: real nodes and their health checkers over the in-memory network, in virtual time.
//!
//! Knows how to start, kill and drive servers. Must not know the story that is played, nor what is shown of it.
//!
//! Each server is what a real one would be: a [`Node`], a [`Checker`] that says which origin is next, and a loop that
//! feeds packets and time in and packets out. What is simulated is the wire between them and the clock. Who is alive is
//! told to the servers from outside.

mod drive;

use std::rc::Rc;

use popmap_core::map::TypedReader;
use popmap_core::rng::Rng;
use popmap_core::time::Instant;
use popmap_core::{Config, ConfigError, Life, Node, Phase, RemoveError, Slot, SlotSet};
use popmap_io::memory::{Faults, Network};

use crate::checker::{Calendar, Checker, Checks};
use crate::fleet::{Fleet, OriginId};
use crate::health::{Health, SHAPE};
use crate::measure::{Stopwatch, Times, Totals};
use crate::propagation::Propagation;
use crate::storage::{Storage, capacity};

const CLUSTER: u64 = 0x504f_5001;

/// One server.
struct Server<'a> {
    /// `None` while it is down.
    node: Option<Node<'a>>,
    checker: Checker,
    generation: u32,
}

/// Records sent to one server in answer to its pulls.
#[derive(Clone, Copy, Debug)]
struct Tally {
    to: Slot,
    records: u64,
}

/// A point of presence.
pub struct Pop<'a> {
    servers: Vec<Server<'a>>,
    /// When each server is to be polled next.
    deadlines: Vec<Instant>,
    storage: Vec<&'a mut [u64]>,
    capacity: usize,
    network: Network,
    /// What the servers check.
    pub fleet: Fleet<'a>,
    /// Which checks are made; see [`Pop::set_checks`].
    checks: Checks,
    rng: Rng,
    now: Instant,
    /// Counters of the lives that have ended.
    past: Totals,
    tally: Option<Tally>,
    stopwatch: Stopwatch,
    packets_with_records: u64,
    /// Wall time of taking one packet that carries records.
    pub merge: Times,
    next_follow: Instant,
    /// Some of the writes in ordinary operation.
    pub writes: Propagation,
    /// The first write that says of an origin that it fails.
    pub failures: Propagation,
    follow_failures: bool,
    alarms: Vec<String>,
}

impl<'a> Pop<'a> {
    /// Starts all servers at once, empty, each knowing the others' addresses and holding them live.
    ///
    /// # Errors
    /// When a node cannot be built.
    pub fn start(
        storage: &'a mut Storage,
        servers: usize,
        fleet: Fleet<'a>,
        faults: Faults,
        seed: u64,
        stopwatch: Stopwatch,
    ) -> Result<Self, ConfigError> {
        let mut rng = Rng::new(seed);
        let calendar = Rc::new(Calendar::new(fleet.len(), rng.next_u64()));
        let server = |slot| Server {
            node: None,
            checker: Checker::new(Slot::at(slot), Rc::clone(&calendar)),
            generation: 0,
        };
        let mut pop = Self {
            servers: (0..servers).map(server).collect(),
            deadlines: vec![Instant::NEVER; servers],
            storage: storage.iter_mut().collect(),
            capacity: capacity(fleet.len()),
            network: Network::new(rng.next_u64(), faults),
            fleet,
            checks: Checks::Overdue,
            rng,
            now: Instant::ZERO,
            past: Totals::default(),
            tally: None,
            stopwatch,
            packets_with_records: 0,
            merge: Times::new(),
            next_follow: Instant::NEVER,
            writes: Propagation::new(),
            failures: Propagation::new(),
            follow_failures: false,
            alarms: Vec::new(),
        };
        for slot in pop.all().iter() {
            pop.boot(slot)?;
        }
        Ok(pop)
    }

    // ---- servers ----

    /// Starts the server in `slot` with empty memory and the generation after its last.
    ///
    /// # Errors
    /// When the node cannot be built.
    ///
    /// # Panics
    /// When there is no memory for one more life.
    pub fn boot(&mut self, slot: Slot) -> Result<(), ConfigError> {
        let all = self.all();
        let server = &mut self.servers[slot.index()];
        server.generation += 1;
        let life = Life { generation: server.generation, id: self.rng.next_u64() | 1 };
        let mut config = Config::new(CLUSTER, slot, life, self.capacity, SHAPE);
        config.swim = None;
        config.configured = all;
        let block = self.storage.pop().expect("memory for one more life");
        let mut node = Node::new(self.now, block, &config)?;
        for peer in all.iter() {
            node.set_address(peer, Network::address(peer));
        }
        node.set_live(all);
        server.node = Some(node);
        self.deadlines[slot.index()] = self.now;
        Ok(())
    }

    /// Stops the server in `slot`: its memory and all packets on the way from or to it are gone.
    pub fn kill(&mut self, slot: Slot) {
        self.network.forget(slot);
        let server = &mut self.servers[slot.index()];
        if let Some(node) = server.node.take() {
            self.past.add(&node.stats());
        }
        let calendar = server.checker.calendar();
        server.checker = Checker::new(slot, calendar);
        self.deadlines[slot.index()] = Instant::NEVER;
    }

    /// Tells `whom` that `live` are alive and no one else, as their failure detector would.
    pub fn tell_live(&mut self, whom: SlotSet, live: SlotSet) {
        for slot in whom.intersection(self.running()).iter() {
            let server = &mut self.servers[slot.index()];
            let Some(node) = &mut server.node else { continue };
            node.set_live(live);
            // One that is still starting learns what it owns once it may write.
            if matches!(node.map().phase(), Phase::Active { .. }) {
                server.checker.own(self.now, &self.fleet.owners(node.map().live()));
            }
            self.deadlines[slot.index()] = self.now;
        }
    }

    /// Cuts every link between `side` and the others.
    pub fn partition(&mut self, side: SlotSet) {
        self.network.partition(side);
    }

    /// Mends every link.
    pub fn heal(&mut self) {
        self.network.heal();
    }

    /// Says which checks are made from now on.
    pub fn set_checks(&mut self, checks: Checks) {
        self.checks = checks;
        for (server, deadline) in self.servers.iter_mut().zip(&mut self.deadlines) {
            if server.node.is_some() {
                server.checker.resume(self.now);
                *deadline = self.now;
            }
        }
    }

    /// Deletes the last `n` origins: each one's owner removes it from the map.
    ///
    /// # Errors
    /// The first refusal.
    pub fn delete(&mut self, n: usize) -> Result<usize, RemoveError> {
        let owners = self.fleet.owners(self.running());
        let deleted = self.fleet.delete(n);
        let count = deleted.len();
        for origin in deleted {
            let owner = owners[origin as usize];
            if let Some(node) = &mut self.servers[owner.index()].node {
                node.remove(self.now, self.fleet.key(origin))?;
                self.deadlines[owner.index()] = self.now;
            }
        }
        Ok(count)
    }

    // ---- what is followed ----

    /// Follows some of the writes, in ordinary operation, to every server.
    pub fn follow_writes(&mut self, on: bool) {
        self.next_follow = if on { self.now } else { Instant::NEVER };
    }

    /// Follows the first write that says of an origin that it fails.
    pub fn follow_failures(&mut self, on: bool) {
        self.follow_failures = on;
    }

    /// Counts records that are sent to `slot` in answer to its pulls.
    pub fn tally(&mut self, to: Slot) {
        self.tally = Some(Tally { to, records: 0 });
    }

    /// Ends the count and returns it.
    pub fn end_tally(&mut self) -> u64 {
        self.tally.take().map_or(0, |tally| tally.records)
    }

    // ---- what it is like ----

    /// Returns the virtual time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Returns every slot of the PoP.
    pub fn all(&self) -> SlotSet {
        SlotSet::first(self.servers.len())
    }

    /// Returns the slots whose servers run.
    pub fn running(&self) -> SlotSet {
        self.nodes().map(|node| node.map().slot()).collect()
    }

    /// Iterates the running nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &Node<'a>> {
        self.servers.iter().filter_map(|server| server.node.as_ref())
    }

    /// Returns a handle on the map of `slot` for other threads; good even after that server has died.
    ///
    /// # Errors
    /// When the map's values are not health records.
    ///
    /// # Panics
    /// When the server does not run.
    pub fn reader(&self, slot: Slot) -> Result<TypedReader<'a, Health>, ConfigError> {
        let node = self.node(slot).expect("a running server");
        Ok(node.reader().typed::<Health>()?)
    }

    /// Returns the node in `slot`, if it runs.
    pub fn node(&self, slot: Slot) -> Option<&Node<'a>> {
        self.servers[slot.index()].node.as_ref()
    }

    /// Whether every running server may write.
    pub fn all_active(&self) -> bool {
        self.nodes().all(|node| matches!(node.map().phase(), Phase::Active { .. }))
    }

    /// Returns how many checks cannot wait, on all servers.
    pub fn overdue(&self) -> usize {
        self.servers.iter().map(|server| server.checker.overdue()).sum()
    }

    /// Whether all running servers have equal versions, and equal live records by their digests.
    pub fn is_equal(&self) -> bool {
        let mut nodes = self.nodes().map(Node::map);
        let Some(first) = nodes.next() else { return true };
        let same =
            nodes.all(|map| map.version() == first.version() && live_records(map) == live_records(first));
        same && {
            let digest = first.digest(0, u64::MAX);
            self.nodes().all(|node| node.map().digest(0, u64::MAX) == digest)
        }
    }

    /// Returns how many (server, origin) pairs do not hold what the origin's last check found.
    pub fn wrong(&self) -> usize {
        self.nodes()
            .map(|node| match node.reader().typed::<Health>() {
                Ok(reader) => {
                    let right = |origin: OriginId| {
                        let found = reader.get(self.fleet.key(origin));
                        found.is_ok_and(|(health, _)| self.fleet.is_latest(origin, &health))
                    };
                    let kept = self.fleet.ids();
                    kept.len() - kept.filter(|&origin| right(origin)).count()
                }
                Err(_) => self.fleet.len(),
            })
            .sum()
    }

    /// Returns all counters, of ended lives too.
    pub fn totals(&self) -> Totals {
        let mut totals = self.past;
        self.nodes().for_each(|node| totals.add(&node.stats()));
        totals
    }

    /// Returns what should not have happened, in plain words.
    pub fn alarms(&self) -> &[String] {
        &self.alarms
    }
}

/// Returns the records of a map that are not tombstones.
pub fn live_records(map: &popmap_core::Map<'_>) -> usize {
    map.len() - map.tombstones()
}
