//! A PoP of real nodes over the in-memory network, in virtual time.
//!
//! Knows how to start, kill and drive nodes, and when they are equal. Who is alive is told to all nodes at once, as a
//! membership protocol would in time. Can watch what is sent, deliver a packet again, and set a server's clock wrong.
//!
//! A server is named by the slot that it is configured in. Only one that [`Cluster::start_beside`] put in a slot that
//! has a server already is named by a slot which nobody else has.

use popmap_core::auth::KeyRing;
use popmap_core::rng::Rng;
use popmap_core::time::{Duration, Instant};
use popmap_core::wire::Kind;
use popmap_core::{
    Config, Event, Key, Life, Lookup, Node, Phase, PutError, Reject, RemoveError, Shape, Slot, SlotSet, Stats,
};
use popmap_io::memory::{Arrival, Faults, Network};

pub use crate::lives::{Restart, Storage};

/// One server of the cluster.
struct Server<'a, const N: usize> {
    node: Option<Node<'a, N>>,
    /// The slot that it is configured in.
    slot: Slot,
    deadline: Instant,
    /// How far its clock is ahead, in nanoseconds.
    ahead: i64,
    generation: u32,
    /// Events since they were last taken.
    events: Vec<Event>,
    /// Until when the process stands still, and what has arrived for it meanwhile.
    stalled: Instant,
    backlog: Vec<Arrival>,
}

/// A packet as it left its sender.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Sent {
    /// When.
    pub at: Instant,
    /// The server that sent it.
    pub from: Slot,
    /// The server that it was sent to.
    pub to: Slot,
    /// The packet.
    pub packet: Vec<u8>,
}

impl Sent {
    /// Returns the packet's kind.
    ///
    /// # Panics
    /// When it has none: it was made by a node.
    pub fn kind(&self) -> Kind {
        Kind::ALL[usize::from(self.packet[1]) - 1]
    }
}

impl<const N: usize> Server<'_, N> {
    fn new(slot: Slot) -> Self {
        Self {
            node: None,
            slot,
            deadline: Instant::ZERO,
            ahead: 0,
            generation: 0,
            events: Vec::new(),
            stalled: Instant::ZERO,
            backlog: Vec::new(),
        }
    }

    /// What the server's clock shows at `now`.
    fn clock(&self, now: Instant) -> Instant {
        clock(self.ahead, now)
    }
}

fn clock(ahead: i64, now: Instant) -> Instant {
    Instant(now.0.saturating_add_signed(ahead))
}

/// A PoP of `servers` nodes in virtual time.
pub struct Cluster<'a, const N: usize = 64> {
    servers: Vec<Server<'a, N>>,
    blocks: Vec<&'a mut [u64]>,
    /// The network between them.
    pub network: Network,
    rng: Rng,
    now: Instant,
    live: SlotSet,
    slots: usize,
    capacity: usize,
    shape: Shape,
    /// Changes the configuration of each life as it starts.
    pub adjust: fn(&mut Config),
    /// The keys of each life as it starts, by its slot.
    pub keys: Option<fn(Slot) -> KeyRing>,
    /// What was sent since [`watch`](Self::watch).
    sent: Option<Vec<Sent>>,
}

impl<'a, const N: usize> Cluster<'a, N> {
    /// Starts `servers` nodes, each knowing the others' addresses and holding them live. `adjust` may change their
    /// configuration.
    pub fn new(
        storage: &'a mut Storage,
        servers: usize,
        capacity: usize,
        shape: Shape,
        seed: u64,
        faults: Faults,
        adjust: fn(&mut Config),
    ) -> Self {
        let plan = (servers, capacity, shape);
        Self::with_keys(storage, plan, seed, faults, adjust, None)
    }

    /// The same with a key ring for each life, by its slot; `plan` is servers, capacity and shape.
    pub fn with_keys(
        storage: &'a mut Storage,
        plan: (usize, usize, Shape),
        seed: u64,
        faults: Faults,
        adjust: fn(&mut Config),
        keys: Option<fn(Slot) -> KeyRing>,
    ) -> Self {
        let (servers, capacity, shape) = plan;
        let mut cluster = Self {
            servers: Vec::new(),
            blocks: storage.blocks.iter_mut().map(Vec::as_mut_slice).collect(),
            network: Network::new(seed ^ 0x006e_6574, faults),
            rng: Rng::new(seed),
            now: Instant::ZERO,
            live: SlotSet::first(servers),
            slots: servers,
            capacity,
            shape,
            adjust,
            keys,
            sent: None,
        };
        for slot in 0..servers {
            cluster.servers.push(Server::new(Slot::at(slot)));
            cluster.start(Slot::at(slot), 1);
        }
        cluster
    }

    fn start(&mut self, server: Slot, generation: u32) {
        let id = self.rng.next_u64() | 1;
        let server = &mut self.servers[server.index()];
        let life = Life { generation, id };
        let mut config = Config::new(0x00c1, server.slot, life, self.capacity, self.shape);
        config.configured = SlotSet::first(self.slots);
        config.swim = None;
        (self.adjust)(&mut config);
        let block = self.blocks.pop().expect("storage for one more life");
        let now = server.clock(self.now);
        let node = match self.keys {
            Some(keys) => Node::with_keys(now, block, &config, keys(server.slot)),
            None => Node::new(now, block, &config),
        };
        let mut node = node.expect("a valid configuration");
        #[cfg(popmap_teeth)]
        if let Some(tooth) = crate::teeth::broken() {
            node.break_rule(tooth);
        }
        for peer in config.configured.iter() {
            node.set_address(peer, Network::address(peer));
        }
        if config.swim.is_some() {
            node.join(self.now, &[0, 1, 2].map(|seed| Network::address(Slot::at(seed))));
        } else {
            node.set_live(self.live);
        }
        server.node = Some(node);
        server.deadline = self.now;
        server.generation = generation;
    }

    /// Starts a second server in `slot`, by mistake, and returns the name that it goes by here.
    pub fn start_beside(&mut self, slot: Slot, generation: u32) -> Slot {
        let name = Slot::at(self.servers.len());
        self.servers.push(Server::new(slot));
        self.start(name, generation);
        name
    }

    /// Returns the time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Returns the slots whose nodes run.
    pub fn running(&self) -> SlotSet {
        (0..self.servers.len())
            .map(Slot::at)
            .filter(|slot| self.servers[slot.index()].node.is_some())
            .collect()
    }

    /// Returns the node in `slot`.
    ///
    /// # Panics
    /// When it does not run.
    pub fn node(&self, slot: Slot) -> &Node<'a, N> {
        self.servers[slot.index()].node.as_ref().expect("a running node")
    }

    /// Returns the node in `slot` to be changed; it is polled at once when time next moves.
    ///
    /// # Panics
    /// When it does not run.
    pub fn node_mut(&mut self, slot: Slot) -> &mut Node<'a, N> {
        let server = &mut self.servers[slot.index()];
        server.deadline = self.now;
        server.node.as_mut().expect("a running node")
    }

    /// Writes at `slot`.
    ///
    /// # Errors
    /// Why the node refused.
    pub fn put(&mut self, slot: Slot, key: Key, value: &[u8]) -> Result<(), PutError> {
        let now = self.servers[slot.index()].clock(self.now);
        self.node_mut(slot).put(now, key, value).map(|_| ())
    }

    /// Deletes at `slot`.
    ///
    /// # Errors
    /// Why the node refused.
    pub fn remove(&mut self, slot: Slot, key: Key) -> Result<(), RemoveError> {
        let now = self.servers[slot.index()].clock(self.now);
        self.node_mut(slot).remove(now, key).map(|_| ())
    }

    /// Sets the clock of `slot` ahead of the true time by so many nanoseconds, or behind it.
    pub fn set_clock(&mut self, slot: Slot, ahead: i64) {
        let server = &mut self.servers[slot.index()];
        server.ahead = ahead;
        server.deadline = self.now;
    }

    /// Begins to keep a copy of every packet sent.
    pub fn watch(&mut self) {
        self.sent = Some(Vec::new());
    }

    /// Returns the packets sent since [`watch`](Self::watch) or the last call, oldest first.
    pub fn take_sent(&mut self) -> Vec<Sent> {
        self.sent.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Hands a packet to `to` at once, as if it came from the address of `from`.
    ///
    /// # Errors
    /// Why it was rejected.
    pub fn deliver_to(&mut self, to: Slot, from: Slot, packet: &[u8]) -> Result<(), Reject> {
        let now = self.servers[to.index()].clock(self.now);
        self.node_mut(to).handle_packet(now, Network::address(from), packet)
    }

    /// Returns what `slot` reads under `key`.
    pub fn get(&self, slot: Slot, key: Key) -> Option<Vec<u8>> {
        let mut value = vec![0; usize::from(self.shape.value_len)];
        matches!(self.node(slot).get(key, &mut value), Lookup::Found(_)).then_some(value)
    }

    /// Lets the process in `slot` stand still for `span`: what arrives waits, and is handed over first.
    pub fn stall(&mut self, slot: Slot, span: Duration) {
        let server = &mut self.servers[slot.index()];
        server.stalled = self.now + span;
        server.deadline = server.stalled;
    }

    /// Stops the node in `slot`; its memory and what is on the way from or to it are gone.
    pub fn kill(&mut self, slot: Slot) {
        self.network.forget(slot);
        let server = &mut self.servers[slot.index()];
        (server.node, server.stalled) = (None, Instant::ZERO);
        server.backlog.clear();
    }

    /// Starts `slot` anew, with empty memory.
    pub fn restart(&mut self, slot: Slot, how: Restart) {
        let generation = match how {
            Restart::GenerationKept => self.servers[slot.index()].generation + 1,
            Restart::GenerationLost => 1,
        };
        self.start(slot, generation);
    }

    /// Tells all nodes who is alive.
    pub fn set_live(&mut self, live: SlotSet) {
        self.live = live;
        for slot in self.running().iter() {
            self.node_mut(slot).set_live(live);
        }
    }

    /// Returns the events of `slot` since the last call.
    pub fn take_events(&mut self, slot: Slot) -> Vec<Event> {
        std::mem::take(&mut self.servers[slot.index()].events)
    }

    /// Runs until every running node may write, or is fenced.
    ///
    /// # Panics
    /// When one is still starting after `within`.
    pub fn start_up(&mut self, within: Duration) -> Duration {
        let started = |pop: &Self| pop.running().iter().all(|s| pop.node(s).map().phase() != Phase::Starting);
        self.run_until(within, started).expect("every node starts")
    }

    /// Runs for `span`.
    pub fn run(&mut self, span: Duration) {
        let until = self.now + span;
        self.run_while(until, |_| true);
    }

    /// Runs until `done` holds, which is asked every 10 ms, or `within` has passed. Returns how long it took.
    pub fn run_until(&mut self, within: Duration, mut done: impl FnMut(&Self) -> bool) -> Option<Duration> {
        let start = self.now;
        let mut ask = self.now;
        let mut met = false;
        self.run_while(start + within, |cluster| {
            if cluster.now >= ask {
                ask = cluster.now + Duration::from_millis(10);
                met = done(cluster);
            }
            !met
        });
        (met || done(self)).then(|| self.now.since(start))
    }

    fn run_while(&mut self, until: Instant, mut go_on: impl FnMut(&Self) -> bool) {
        let mut frame = [0; 9_000];
        while go_on(self) {
            let timers = self.servers.iter().filter(|s| s.node.is_some()).map(|server| server.deadline).min();
            let next = timers.into_iter().chain(self.network.next_arrival()).min().unwrap_or(until);
            if next >= until {
                self.now = until;
                return;
            }
            self.now = self.now.max(next);
            self.deliver();
            for slot in 0..self.servers.len() {
                self.poll(slot, &mut frame);
            }
        }
    }

    fn deliver(&mut self) {
        let awake = |server: &&mut Server<'_, N>| server.stalled <= self.now && !server.backlog.is_empty();
        let mut waited: Vec<_> =
            self.servers.iter_mut().filter(awake).flat_map(|s| s.backlog.drain(..)).collect();
        waited.reverse();
        while let Some(arrival) = waited.pop().or_else(|| self.network.receive(self.now)) {
            let server = &mut self.servers[arrival.to.index()];
            if server.stalled > self.now {
                server.backlog.push(arrival);
                continue;
            }
            if let Some(node) = &mut server.node {
                // A reject is counted by the node; scenarios look at its counters.
                let now = clock(server.ahead, self.now);
                let _ = node.handle_packet(now, Network::address(arrival.from), &arrival.packet);
                server.deadline = self.now;
            }
            self.network.recycle(arrival);
        }
    }

    fn poll(&mut self, slot: usize, frame: &mut [u8]) {
        let Server { node: Some(node), deadline, ahead, events, .. } = &mut self.servers[slot] else {
            return;
        };
        if *deadline > self.now {
            return;
        }
        let now = clock(*ahead, self.now);
        node.handle_timeout(now);
        while let Some(transmit) = node.poll_transmit(now, frame) {
            let (from, packet) = (Slot::at(slot), &frame[..transmit.len]);
            if let (Some(sent), Some(to)) = (&mut self.sent, Network::slot(transmit.to)) {
                sent.push(Sent { at: self.now, from, to, packet: packet.to_vec() });
            }
            self.network.send(self.now, from, transmit.to, packet);
        }
        events.extend(std::iter::from_fn(|| node.poll_event()));
        *deadline = clock(-*ahead, node.poll_timeout());
    }

    /// Whether all running nodes have equal versions and equal live records.
    pub fn is_converged(&self) -> bool {
        self.are_equal(self.running())
    }

    /// Whether these nodes have equal versions and equal live records.
    pub fn are_equal(&self, among: SlotSet) -> bool {
        let mut nodes = among.iter().map(|slot| self.node(slot).map());
        let Some(first) = nodes.next() else { return true };
        nodes.all(|map| map.version() == first.version() && map.len() == first.len()) && {
            let digest = first.digest(0, u64::MAX);
            among.iter().all(|slot| self.node(slot).map().digest(0, u64::MAX) == digest)
        }
    }

    /// Runs until the nodes are equal.
    ///
    /// # Panics
    /// When they are not within `within`.
    pub fn settle(&mut self, within: Duration) -> Duration {
        match self.run_until(within, Self::is_converged) {
            Some(took) => took,
            None => panic!("not converged within {} ms: {}", within.as_millis(), self.differences()),
        }
    }

    fn differences(&self) -> String {
        let lines = self.running().iter().map(|slot| {
            let map = self.node(slot).map();
            format!("\n  {map:?} digest {:016x}", map.digest(0, u64::MAX))
        });
        lines.collect()
    }

    /// Returns the counters of all running nodes.
    pub fn stats(&self) -> Vec<Stats> {
        self.running().iter().map(|slot| self.node(slot).stats()).collect()
    }
}
