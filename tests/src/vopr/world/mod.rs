//! A PoP of real nodes in virtual time: moves time on, carries packets, does what the adversary says, and shows every
//! change to the checks.
//!
//! Knows the order of things within a tick. Must not know what is checked, nor what a seed means.
//!
//! The cluster of the scenarios (`crate::cluster`) is not used here: it polls all servers at each arrival, loses what is
//! under way when a server is killed, and shows nobody what changed. In a tick of this world only those servers are
//! touched for which something is due, packets outlive their senders, and each packet, timer and write is followed by a
//! look at the one server that it concerned.

mod acts;
mod lives;

use popmap_core::limits::PAYLOAD_MAX;
use popmap_core::rng::Rng;
use popmap_core::time::{Duration, Instant};
use popmap_core::wire::{DeltaFixed, HEADER, Header, Kind};
use popmap_core::{Event, Key, Map, Node, Phase, Shape, Slot};
use zerocopy::FromBytes;

use super::capture::Capture;
use super::checks::Checks;
use super::faults::{Adversary, SECONDS, View};
use super::network::{Network, TICK};
use super::plan::Plan;
use super::server::Server;
use super::trace::Trace;
use super::violation::Violation;
use super::workload::{Writes, keys};

/// The cluster of all runs.
pub const CLUSTER: u64 = 0x766f_7072;
/// Clocks begin between one and two hours after their origin, so that they can leap back.
const HOUR: u64 = 3_600_000_000_000;
/// How long the first write may wait for every live peer.
pub const START_WITHIN: Duration = Duration::from_secs(5);
/// Lives beside the first ones for which there is memory, of which each server may need some at the end.
const SPARE_LIVES: usize = 100;
const LIVES_AT_END: usize = 4;

/// The memory of all lives of a run: zeroed blocks, untouched until used.
pub struct Memory(Vec<Vec<u64>>);

impl Memory {
    /// Returns memory for a run of `plan`.
    pub fn new<const N: usize>(plan: &Plan) -> Self {
        let most = plan.capacities.iter().copied().max().unwrap_or(1).max(plan.room());
        let words = Map::<N>::words(most, &shape(plan));
        let lives = plan.servers * (1 + LIVES_AT_END) + SPARE_LIVES;
        Self((0..lives).map(|_| vec![0; words]).collect())
    }
}

/// Returns what the servers of a run agree on.
pub fn shape(plan: &Plan) -> Shape {
    Shape { schema: 7, value_len: plan.value_len }
}

/// A PoP under test.
pub struct World<'a, const N: usize> {
    /// What the seed means.
    pub plan: &'a Plan,
    /// The servers, by their ends of the network; the last two are for second servers in a slot.
    pub servers: Vec<Server<'a, N>>,
    blocks: Vec<&'a mut [u64]>,
    /// The network.
    pub network: Network,
    adversary: Adversary,
    /// What is written.
    pub writes: Writes,
    /// The checks.
    pub checks: Checks<N>,
    /// What happened last.
    pub trace: Trace,
    capture: Option<Capture>,
    rng: Rng,
    now: Instant,
    /// Seconds by which days that passed at once have moved the wall clock.
    days_s: u64,
    /// Whether the adversary and the writers are at work.
    pub at_work: bool,
    keys: Vec<Key>,
    frame: Vec<u8>,
    /// Breaks a rule of every node.
    #[cfg(popmap_teeth)]
    pub tooth: Option<popmap_core::Tooth>,
}

impl<'a, const N: usize> World<'a, N> {
    /// A PoP in which nobody runs yet.
    pub fn new(
        plan: &'a Plan,
        memory: &'a mut Memory,
        trace: Trace,
        capture: Option<Capture>,
        first_fault: Instant,
        writes: Writes,
    ) -> Self {
        let mut rng = Rng::new(plan.seed);
        let keys = keys(plan);
        let ends = plan.servers + SECONDS;
        let server = |end: usize| {
            let ahead = (HOUR + rng.below(HOUR)) as i64;
            let (slot, capacity) = (Slot::at(end % plan.servers), plan.capacities[end % plan.servers]);
            Server::new(slot, capacity, plan.weights[end % plan.servers], ahead)
        };
        Self {
            servers: (0..ends).map(server).collect(),
            blocks: memory.0.iter_mut().map(Vec::as_mut_slice).collect(),
            network: Network::new(plan.seed, ends, plan.noise, plan.packet_life),
            adversary: Adversary::new(plan, first_fault),
            writes,
            checks: Checks::new(ends, keys.clone(), plan.packet_life),
            trace,
            capture,
            rng,
            now: Instant::ZERO,
            days_s: 0,
            at_work: true,
            keys,
            frame: vec![0; PAYLOAD_MAX],
            plan,
            #[cfg(popmap_teeth)]
            tooth: None,
        }
    }

    /// Returns the time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Returns the servers that run, by their ends.
    pub fn running(&self) -> impl Iterator<Item = (usize, &Node<'a, N>)> + Clone {
        self.servers.iter().enumerate().filter_map(|(end, server)| Some((end, server.node.as_ref()?)))
    }

    /// Returns how many lives there is memory for, beside those that the end may need.
    fn lives_left(&self) -> usize {
        self.blocks.len().saturating_sub(self.plan.servers * LIVES_AT_END)
    }

    /// Runs until `until`, or until `done` holds, which is asked every so often. Returns whether it did.
    ///
    /// # Errors
    /// The first violation.
    pub fn run(
        &mut self,
        until: Instant,
        every: Duration,
        mut done: impl FnMut(&mut Self) -> Result<bool, Violation>,
    ) -> Result<bool, Violation> {
        let mut ask = self.now + every;
        loop {
            let next = self.next_due().min(ask);
            let next = Instant(next.0.next_multiple_of(TICK.0)).max(self.now + TICK);
            if next >= until {
                self.now = until.max(self.now);
                self.checks.now = self.now;
                return done(self);
            }
            self.now = next;
            self.checks.now = next;
            self.tick()?;
            if self.now >= ask {
                ask = self.now + every;
                if done(self)? {
                    return Ok(true);
                }
            }
        }
    }

    fn next_due(&self) -> Instant {
        let servers = self.servers.iter().map(Server::due).min().unwrap_or(Instant::NEVER);
        let network = self.network.next_arrival().unwrap_or(Instant::NEVER);
        let faults = self.network.next_end().unwrap_or(Instant::NEVER);
        let work = if self.at_work { self.adversary.next().min(self.writes.next()) } else { Instant::NEVER };
        servers.min(network).min(faults).min(work)
    }

    fn tick(&mut self) -> Result<(), Violation> {
        if self.at_work && self.adversary.next() <= self.now {
            let view = self.view();
            while let Some(act) = self.adversary.act(self.now, &view) {
                self.act(act)?;
            }
        }
        self.network.end_faults(self.now);
        self.wake();
        while let Some(place) = self.network.receive(self.now) {
            self.hand_over(place)?;
        }
        for end in 0..self.servers.len() {
            if self.servers[end].due() <= self.now {
                self.poll(end)?;
            }
        }
        if self.at_work {
            self.write_some()?;
        }
        Ok(())
    }

    fn view(&self) -> View {
        let running = self.running().fold(0, |bits, (end, _)| bits | 1 << end);
        View { running, lives_left: self.lives_left() }
    }

    /// Those whose pause is over go on; what has arrived meanwhile is handed over first.
    fn wake(&mut self) {
        for server in &mut self.servers {
            let Some(pause) = server.pause.filter(|pause| pause.until <= self.now) else { continue };
            server.pause = None;
            server.ahead -= pause.behind.0 as i64;
            server.is_stirred = true;
        }
    }

    fn hand_over(&mut self, place: usize) -> Result<(), Violation> {
        let end = self.network.packet(place).to;
        let server = &mut self.servers[end];
        if server.node.is_none() {
            self.network.drop_packet(place);
            return Ok(());
        }
        if server.pause.is_some() || !server.backlog.is_empty() {
            server.backlog.push(place);
            return Ok(());
        }
        self.deliver(end, place)
    }

    fn deliver(&mut self, end: usize, place: usize) -> Result<(), Violation> {
        let server = &mut self.servers[end];
        let clock = server.clock(self.now);
        let packet = self.network.packet(place);
        if let Some(node) = server.node.as_mut().filter(|_| !self.network.is_expired(self.now, place)) {
            let commits = node.map().stats().commits;
            // A reject is counted by the node.
            let result = node.handle_packet(clock, Network::address(packet.from), &packet.bytes);
            server.is_stirred = true;
            if self.trace.is_focused() {
                self.trace.arrived(self.now, (packet.from, packet.to), &packet.bytes, result);
                if self.trace.is_about(end) && node.map().stats().commits != commits {
                    self.trace
                        .note(self.now, format!("server {end} commits what {} accounts for", packet.from));
                }
            }
            self.checks.observe(end, node.map(), clock)?;
        }
        self.network.drop_packet(place);
        Ok(())
    }

    /// Lets a server do what is due, and takes what it sends.
    fn poll(&mut self, end: usize) -> Result<(), Violation> {
        for place in std::mem::take(&mut self.servers[end].backlog) {
            self.deliver(end, place)?;
        }
        let server = &mut self.servers[end];
        let clock = server.clock(self.now);
        let Some(node) = &mut server.node else { return Ok(()) };
        server.told = server.told.max(clock);
        let told = server.told;
        while let Some(transmit) = node.poll_transmit(clock, &mut self.frame) {
            let packet = &self.frame[..transmit.len];
            if !is_exempt(packet) {
                self.checks.sent(end, told, transmit.slot, packet.len(), is_empty_delta(packet))?;
            }
            if let Some(capture) = &self.capture {
                capture.record(self.now, Network::address(end), transmit.to, packet);
            }
            self.network.send(self.now, end, transmit.to, packet);
        }
        server.deadline = node.poll_timeout();
        server.is_stirred = false;
        self.checks.observe(end, node.map(), clock)?;
        while let Some(event) = node.poll_event() {
            match event {
                Event::GenerationRaised { generation } => server.saved = server.saved.max(generation),
                Event::Fenced { .. } | Event::Forgotten { .. } => {
                    self.trace.note(self.now, format!("server {end} is over: {event:?}"));
                    if let Event::Fenced { by } = event {
                        // What a driver would save: the next life is to be the greater one.
                        server.saved = server.saved.max(by.generation);
                    }
                    self.adversary.over(self.now, end);
                }
                Event::Started { expired: true } => {
                    self.trace
                        .note(self.now, format!("server {end} starts to write, not having met everyone"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Looks at every server in full.
    ///
    /// # Errors
    /// The first violation.
    pub fn sweep(&mut self) -> Result<(), Violation> {
        let Self { servers, checks, .. } = self;
        let maps = servers.iter().enumerate();
        checks.sweep(maps.filter_map(|(end, server)| Some((end, server.node.as_ref()?.map()))))?;
        super::owners::check(self.running(), &self.keys)
    }

    /// Whether a server of its own slot may write.
    pub fn is_active(&self, end: usize) -> bool {
        let node = self.servers[end].node.as_ref();
        node.is_some_and(|node| matches!(node.map().phase(), Phase::Active { .. }))
    }
}

/// Whether this is a delta without a record, as far as can be seen.
fn is_empty_delta(packet: &[u8]) -> bool {
    let Some((header, body)) = packet.split_at_checked(HEADER) else { return false };
    let is_plain_delta = |header: &Header| header.key_id == 0 && header.kind == Kind::Delta as u8;
    Header::ref_from_bytes(header).is_ok_and(is_plain_delta)
        && DeltaFixed::ref_from_prefix(body).is_ok_and(|(fixed, _)| fixed.shape.count.get() == 0)
}

/// Whether packets of this kind leave outside the budget: they keep members alive, or lives apart.
fn is_exempt(packet: &[u8]) -> bool {
    let kinds = [Kind::Ping, Kind::PingReq, Kind::Ack, Kind::Gossip, Kind::LifeNotice];
    kinds.iter().any(|kind| packet.get(1) == Some(&(*kind as u8)))
}
