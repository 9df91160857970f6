//! A PoP of real nodes with membership on, driven from event to event: what the figures are measured on.
//!
//! Knows when each server is to be polled, which are blocked or crashed, and who comes to hold whom dead. Must not know what
//! is drawn. Unlike [`Cluster`](crate::cluster::Cluster) it is made to run for thousands of hours, and has no clocks to set.

use std::collections::VecDeque;

use popmap_core::rng::Rng;
use popmap_core::time::{Duration, Instant};
use popmap_core::{Config, Life, Node, Shape, Slot, SlotSet, State, Stats};
use popmap_io::memory::{Arrival, Faults, Network};

use super::overload::{Pauses, SOCKET_PACKETS};
use super::ports::{Ports, Rate};
use super::wakeups::Wakeups;
use crate::cluster::Storage;

/// Slots of every node.
pub const SLOTS: usize = 64;
/// Loss of a packet, in parts per million, for each percent.
pub const PERCENT: u32 = 10_000;

/// What a PoP is made of.
pub struct Plan<'c> {
    /// Servers, in the first slots.
    pub servers: usize,
    /// Records that each has room for.
    pub capacity: usize,
    /// Records' shape.
    pub shape: Shape,
    /// What everything is drawn from.
    pub seed: u64,
    /// Packets lost, in parts per million.
    pub loss_ppm: u32,
    /// The links' rate; `None` for no limit.
    pub rate: Option<Rate>,
    /// Changes each server's configuration.
    pub adjust: &'c dyn Fn(&mut Config),
}

/// A server came to hold another dead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// When.
    pub at: Instant,
    /// Who holds it.
    pub by: Slot,
    /// Of whom.
    pub of: Slot,
    /// The life that is held dead, and the incarnation.
    pub life: Life,
    /// See [`Member::incarnation`](popmap_core::Member::incarnation).
    pub incarnation: u32,
    /// How the one was who is held dead.
    pub was: Condition,
}

/// How a server is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// It runs.
    Running,
    /// It is overloaded, and blocked.
    Blocked,
    /// It does not run.
    Crashed,
}

struct Server<'a> {
    node: Option<Node<'a, SLOTS>>,
    generation: u32,
    pauses: Option<Pauses>,
    /// What arrived while it was blocked.
    waiting: VecDeque<Arrival>,
}

/// The PoP.
pub struct Pop<'a, 'c> {
    plan: Plan<'c>,
    servers: Vec<Server<'a>>,
    /// When each is to be polled next.
    wakeups: Wakeups,
    blocks: Vec<&'a mut [u64]>,
    /// The network between them.
    pub network: Network,
    ports: Option<Ports>,
    rng: Rng,
    now: Instant,
    verdicts: Vec<Verdict>,
    frame: Vec<u8>,
}

impl<'a, 'c> Pop<'a, 'c> {
    /// Returns memory for `lives` lives.
    pub fn storage(plan: &Plan<'_>, lives: usize) -> Storage {
        Storage::new::<SLOTS>(lives, plan.capacity, plan.shape)
    }

    /// Starts the servers; they join through the first three.
    pub fn new(storage: &'a mut Storage, plan: Plan<'c>) -> Self {
        let faults = Faults { loss_ppm: plan.loss_ppm, ..Faults::default() };
        let mut pop = Self {
            servers: Vec::new(),
            wakeups: Wakeups::new(),
            blocks: storage.blocks.iter_mut().map(Vec::as_mut_slice).collect(),
            network: Network::new(plan.seed ^ 0x006e_6574, faults),
            ports: plan.rate.map(Ports::new),
            rng: Rng::new(plan.seed),
            now: Instant::ZERO,
            verdicts: Vec::new(),
            frame: vec![0; 9_000],
            plan,
        };
        for slot in 0..pop.plan.servers {
            pop.servers.push(Server { node: None, generation: 0, pauses: None, waiting: VecDeque::new() });
            pop.start(Slot::at(slot));
        }
        pop
    }

    /// Starts `slot`, with empty memory and the generation after its last.
    ///
    /// # Panics
    /// When the storage has no room for one more life.
    pub fn start(&mut self, slot: Slot) {
        let server = &mut self.servers[slot.index()];
        server.generation += 1;
        let life = Life { generation: server.generation, id: self.rng.next_u64() | 1 };
        let mut config = Config::new(0xf16, slot, life, self.plan.capacity, self.plan.shape);
        config.configured = SlotSet::first(self.plan.servers);
        (self.plan.adjust)(&mut config);
        let block = self.blocks.pop().expect("storage for one more life");
        let mut node = Node::new(self.now, block, &config).expect("a valid configuration");
        node.join(self.now, &[0, 1, 2].map(|seed| Network::address(Slot::at(seed))));
        server.node = Some(node);
        self.wakeups.set(slot.index(), self.now);
    }

    /// Crashes `slot`: its memory, and what is on its way from or to it, are gone.
    pub fn crash(&mut self, slot: Slot) {
        self.network.forget(slot);
        let server = &mut self.servers[slot.index()];
        server.node = None;
        server.waiting.clear();
        self.wakeups.set(slot.index(), Instant::NEVER);
    }

    /// Overloads `slot` from `first` on.
    pub fn overload(&mut self, slot: Slot, first: Instant) {
        let seed = self.rng.next_u64();
        self.servers[slot.index()].pauses = Some(Pauses::new(seed, first));
        self.wakeups.set(slot.index(), self.now);
    }

    /// Returns the time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Returns the servers that have not crashed.
    pub fn running(&self) -> SlotSet {
        let runs = |slot: &Slot| self.servers[slot.index()].node.is_some();
        (0..self.servers.len()).map(Slot::at).filter(runs).collect()
    }

    /// Returns the node in `slot`.
    ///
    /// # Panics
    /// When it has crashed.
    pub fn node(&self, slot: Slot) -> &Node<'a, SLOTS> {
        self.servers[slot.index()].node.as_ref().expect("a running node")
    }

    /// Returns the node in `slot` to be changed; it is polled when time next moves.
    ///
    /// # Panics
    /// When it has crashed.
    pub fn node_mut(&mut self, slot: Slot) -> &mut Node<'a, SLOTS> {
        self.wakeups.set(slot.index(), self.now);
        self.servers[slot.index()].node.as_mut().expect("a running node")
    }

    /// Returns the sum of a counter over all servers that have not crashed.
    pub fn total(&self, counter: impl Fn(&Stats) -> u64) -> u64 {
        self.running().iter().map(|slot| counter(&self.node(slot).stats())).sum()
    }

    /// Returns who came to hold whom dead since the last call, in the order in which they did.
    pub fn take_verdicts(&mut self) -> Vec<Verdict> {
        std::mem::take(&mut self.verdicts)
    }

    /// Returns how many packets found a link's buffer full.
    pub fn dropped(&self) -> u64 {
        self.ports.as_ref().map_or(0, Ports::dropped)
    }

    /// How the server in `slot` is, if it is still in this life; one that has another has crashed.
    fn condition(&self, slot: Slot, life: Life) -> Condition {
        match &self.servers[slot.index()] {
            Server { node: None, .. } => Condition::Crashed,
            Server { node: Some(node), .. } if node.map().life().id != life.id => Condition::Crashed,
            Server { pauses: Some(pauses), .. } if pauses.blocked() => Condition::Blocked,
            _ => Condition::Running,
        }
    }

    /// Runs for `span`.
    pub fn run(&mut self, span: Duration) {
        let until = self.now + span;
        while self.step(until) {}
    }

    /// Runs until `done` holds, which is asked after `every` and each such span, or `within` has passed. Returns how long it
    /// took.
    pub fn run_until(
        &mut self,
        within: Duration,
        every: Duration,
        mut done: impl FnMut(&Self) -> bool,
    ) -> Option<Duration> {
        let start = self.now;
        while !done(self) {
            if self.now.since(start) >= within {
                return None;
            }
            self.run(every);
        }
        Some(self.now.since(start))
    }

    /// Moves time on to the next event and does what is due then; returns whether that was before `until`.
    fn step(&mut self, until: Instant) -> bool {
        let ports = self.ports.as_ref().and_then(Ports::next_arrival);
        let arrival = self.network.next_arrival().into_iter().chain(ports);
        let next = arrival.fold(self.wakeups.earliest(), Instant::min);
        if next >= until {
            self.now = until;
            return false;
        }
        self.now = self.now.max(next);
        self.receive();
        let mut from = 0;
        while let Some(slot) = self.wakeups.due(from, self.now) {
            self.wake(slot);
            from = slot + 1;
        }
        true
    }

    fn receive(&mut self) {
        while let Some(arrival) = self.network.receive(self.now) {
            match &mut self.ports {
                None => self.hand(arrival),
                Some(ports) => {
                    if let Err(lost) = ports.forward(self.now, arrival) {
                        self.network.recycle(lost);
                    }
                }
            }
        }
        while let Some(arrival) = self.ports.as_mut().and_then(|ports| ports.receive(self.now)) {
            self.hand(arrival);
        }
    }

    fn hand(&mut self, arrival: Arrival) {
        let server = &mut self.servers[arrival.to.index()];
        if server.pauses.as_ref().is_some_and(Pauses::blocked) && server.waiting.len() < SOCKET_PACKETS {
            server.waiting.push_back(arrival);
            return;
        }
        if let Some(node) =
            server.node.as_mut().filter(|_| !server.pauses.as_ref().is_some_and(Pauses::blocked))
        {
            // A reject is counted by the node.
            let _ = node.handle_packet(self.now, Network::address(arrival.from), &arrival.packet);
            self.wakeups.set(arrival.to.index(), self.now);
        }
        self.network.recycle(arrival);
    }

    /// Lets `slot` do what is due, if it runs.
    fn wake(&mut self, slot: usize) {
        let server = &mut self.servers[slot];
        if let Some(pauses) = &mut server.pauses {
            pauses.advance(self.now);
            if pauses.blocked() {
                self.wakeups.set(slot, pauses.until());
                return;
            }
            while let Some(arrival) = self.servers[slot].waiting.pop_front() {
                self.hand(arrival);
            }
        }
        self.poll(slot);
    }

    fn poll(&mut self, slot: usize) {
        let Server { node: Some(node), pauses, .. } = &mut self.servers[slot] else {
            self.wakeups.set(slot, Instant::NEVER);
            return;
        };
        let from = Slot::at(slot);
        node.handle_timeout(self.now);
        while let Some(transmit) = node.poll_transmit(self.now, &mut self.frame) {
            let at = self.ports.as_mut().map_or(self.now, |ports| ports.send(self.now, from, transmit.len));
            self.network.send(at, from, transmit.to, &self.frame[..transmit.len]);
        }
        while node.poll_event().is_some() {}
        let overloaded = pauses.as_ref().map_or(Instant::NEVER, Pauses::until);
        self.wakeups.set(slot, node.poll_timeout().min(overloaded));
        let mut dead = SlotSet::EMPTY;
        while let Some((of, state)) = node.poll_member() {
            if state == State::Dead {
                dead.insert(of);
            }
        }
        for of in dead.iter() {
            let member = self.node(from).member(of).expect("held dead");
            let (life, incarnation) = (member.life, member.incarnation);
            let verdict =
                Verdict { at: self.now, by: from, of, life, incarnation, was: self.condition(of, life) };
            self.verdicts.push(verdict);
        }
    }
}
