//! The PoP: real nodes and their health checkers over the in-memory network, in virtual time.
//!
//! Knows how to start, kill and drive servers. Must not know the story that is played, nor what is shown of it.
//!
//! Each server is what a real one would be: a [`Node`], a [`Checker`] that says which origin is next, and a loop that
//! feeds packets and time in and packets out. What is simulated is the wire between them and the clock. Who is alive is
//! told to the servers from outside.

use std::fmt;
use std::rc::Rc;

use popmap_core::map::TypedReader;
use popmap_core::rng::Rng;
use popmap_core::time::{Duration, Instant};
use popmap_core::wire::{Header, Kind};
use popmap_core::{Config, ConfigError, Event, Life, Node, Phase, RemoveError, Slot, SlotSet};
use popmap_io::memory::{Faults, Network};
use zerocopy::{FromBytes, IntoBytes};

use crate::checker::{Calendar, Checker, Checks};
use crate::fleet::{Fleet, OriginId};
use crate::health::{Health, SHAPE};
use crate::measure::{Stopwatch, Times, Totals};
use crate::propagation::Propagation;

const CLUSTER: u64 = 0x504f_5001;
/// Virtual time between writes that are followed to every server.
const FOLLOW_EVERY: Duration = Duration::from_millis(10);
/// Of the packets that carry records, one in this many is timed.
const TIME_ONE_IN: u64 = 8;
/// Alarms that are kept; more would say nothing new.
const ALARMS: usize = 8;
/// A cache line: storage that starts on one is fastest.
const LINE: usize = 64;

/// The memory of all lives of all servers: a zeroed block each, which the system maps when it is first used.
pub struct Storage {
    blocks: Vec<Vec<u64>>,
}

impl Storage {
    /// Returns memory for `lives` nodes of `keys` records each.
    pub fn new(lives: usize, keys: usize) -> Self {
        let words = Self::words(keys) + LINE / 8;
        Self { blocks: (0..lives).map(|_| vec![0; words]).collect() }
    }

    /// Returns the words of one node's map.
    pub fn words(keys: usize) -> usize {
        popmap_core::Map::<64>::words(capacity(keys), &SHAPE)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut [u64]> {
        self.blocks.iter_mut().map(|block| {
            let skip = block.as_ptr().align_offset(LINE).min(LINE / 8);
            &mut block[skip..]
        })
    }
}

/// Returns the capacity with which a map takes `keys` records before it refuses a write (R3 keeps an eighth back).
pub fn capacity(keys: usize) -> usize {
    (keys * 8).div_ceil(7) + 8
}

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

    fn alarm(&mut self, what: fmt::Arguments<'_>) {
        if self.alarms.len() < ALARMS {
            self.alarms.push(what.to_string());
        }
    }

    // ---- time ----

    /// Runs until `until`.
    pub fn run_to(&mut self, until: Instant) {
        let mut frame = [0; popmap_core::limits::PAYLOAD_DEFAULT];
        loop {
            let timer = self.deadlines.iter().copied().min().unwrap_or(Instant::NEVER);
            let next = self.network.next_arrival().map_or(timer, |arrival| arrival.min(timer));
            if next > until {
                self.now = until;
                return;
            }
            self.now = self.now.max(next);
            let mut touched = self.deliver();
            if timer <= self.now {
                let is_due = |slot: &usize| self.deadlines[*slot] <= self.now;
                touched = touched.union((0..self.deadlines.len()).filter(is_due).map(Slot::at).collect());
            }
            for slot in touched.iter() {
                self.poll(slot, &mut frame);
            }
        }
    }

    /// Hands over every packet that has arrived; returns whom to.
    fn deliver(&mut self) -> SlotSet {
        let mut touched = SlotSet::EMPTY;
        while let Some(arrival) = self.network.receive(self.now) {
            if let Some(node) = &mut self.servers[arrival.to.index()].node {
                let carries_records = matches!(kind(&arrival.packet), Some(Kind::Delta | Kind::Push));
                self.packets_with_records += u64::from(carries_records);
                let timed = carries_records && self.packets_with_records % TIME_ONE_IN == 0;
                let from = Network::address(arrival.from);
                let before = node.map().log_head();
                let start = timed.then(std::time::Instant::now);
                // The node counts what it rejects.
                let _ = node.handle_packet(self.now, from, &arrival.packet);
                if let Some(start) = start {
                    self.merge.record(self.stopwatch.since(start));
                }
                if node.map().log_head() != before {
                    self.writes.look(self.now, node.map());
                    self.failures.look(self.now, node.map());
                }
                touched.insert(arrival.to);
            }
            self.network.recycle(arrival);
        }
        touched
    }

    /// One turn of a server's loop: events, checks, timers, packets out.
    fn poll(&mut self, slot: Slot, frame: &mut [u8]) {
        let now = self.now;
        self.make_checks(slot);
        let Server { node: Some(node), .. } = &mut self.servers[slot.index()] else { return };
        node.handle_timeout(now);
        loop {
            let records = node.map().stats().records_sent;
            let Some(transmit) = node.poll_transmit(now, frame) else { break };
            let packet = &frame[..transmit.len];
            if let Some(tally) = self.tally.as_mut().filter(|tally| tally.to == transmit.slot)
                && kind(packet) == Some(Kind::Delta)
            {
                tally.records += node.map().stats().records_sent - records;
            }
            self.network.send(now, slot, transmit.to, packet);
        }
        let deadline = node.poll_timeout();
        while let Some(event) = self.servers[slot.index()].node.as_mut().and_then(Node::poll_event) {
            self.on_event(slot, event);
        }
        let checker = &self.servers[slot.index()].checker;
        self.deadlines[slot.index()] = deadline.min(checker.deadline(self.checks));
    }

    fn make_checks(&mut self, slot: Slot) {
        while let Some(origin) = self.servers[slot.index()].checker.poll(self.now, self.checks) {
            if self.fleet.is_deleted(origin) {
                continue;
            }
            let Some(node) = &mut self.servers[slot.index()].node else { return };
            let key = self.fleet.key(origin);
            let was_up = !self.follow_failures || self.fleet.was_last_up(origin);
            let health = self.fleet.check(origin, self.now);
            match node.put(self.now, key, health.as_bytes()) {
                Ok(dot) => {
                    let others = node.map().live().without(slot);
                    if others.is_empty() {
                        continue;
                    }
                    if self.follow_failures && was_up && !health.is_up() {
                        self.failures.follow(key, dot, self.now, others);
                    } else if self.now >= self.next_follow {
                        self.next_follow = self.now + FOLLOW_EVERY;
                        self.writes.follow(key, dot, self.now, others);
                    }
                }
                Err(error) => self.alarm(format_args!("{slot} could not write origin {origin}: {error}")),
            }
        }
    }

    fn on_event(&mut self, slot: Slot, event: Event) {
        let server = &mut self.servers[slot.index()];
        let (Some(node), checker) = (&server.node, &mut server.checker) else { return };
        match event {
            Event::Started { expired } => {
                let live = node.map().live();
                checker.own(self.now, &self.fleet.owners(live));
                if expired {
                    self.alarm(format_args!("{slot} started before it had met every other server"));
                }
            }
            Event::Superseded { key } => {
                if let Some(origin) = self.fleet.id(key) {
                    checker.recheck(self.now, &[origin]);
                }
            }
            // Among the lost ones may have been a Superseded: look through everything that we own.
            Event::Lagged { .. } => {
                let others = |origin: &OriginId| {
                    node.map().inspect(self.fleet.key(*origin)).is_some_and(|held| held.dot.slot != slot)
                };
                let superseded: Vec<OriginId> = checker.owned().filter(others).collect();
                checker.recheck(self.now, &superseded);
            }
            // A real server would save it.
            Event::GenerationRaised { generation } => server.generation = generation,
            Event::Full => self.alarm(format_args!("{slot}: its map is full")),
            Event::Fenced { by } => self.alarm(format_args!("{slot} is fenced by life {by:?}")),
            Event::SlotConflict { slot: of } => self.alarm(format_args!("{slot} saw two servers in {of}")),
            other => self.alarm(format_args!("{slot}: {other:?}")),
        }
    }
}

/// Returns the records of a map that are not tombstones.
pub fn live_records(map: &popmap_core::Map<'_>) -> usize {
    map.len() - map.tombstones()
}

fn kind(packet: &[u8]) -> Option<Kind> {
    let (header, _) = Header::ref_from_prefix(packet).ok()?;
    Kind::ALL.into_iter().find(|kind| *kind as u8 == header.kind)
}
