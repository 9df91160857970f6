//! The network between the servers, in virtual time, with every fault that a packet can meet.
//!
//! Knows packets, links and chance. Must not know what is in a packet, nor who is alive.
//!
//! Beside `popmap_io::memory::Network`, which the scenarios use, this one loses and delays by link and damages and
//! repeats packets; packets outlive their sender, and none is under way for longer than its bound, waiting included,
//! whatever happens: that is the one thing that the protocol asks of a network (R2).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;

use popmap_core::Address;
use popmap_core::rng::Rng;
use popmap_core::time::{Duration, Instant};
use popmap_core::wire::Kind;
use popmap_io::address;

use super::plan::Noise;

/// The grain of virtual time: whatever happens, happens at a multiple of it.
pub const TICK: Duration = Duration::from_micros(250);
/// The port of every server.
const PORT: u16 = 7_946;
/// Parts per million.
const MILLION: u64 = 1_000_000;
/// Packets kept to be sent once more.
const KEPT: usize = 256;

/// A packet under way.
#[derive(Clone, Debug, Default)]
pub struct Packet {
    /// Who sent it.
    pub from: usize,
    /// Whom to.
    pub to: usize,
    /// When it was first sent.
    pub sent: Instant,
    /// What arrives.
    pub bytes: Vec<u8>,
}

/// What the network has carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets given to send.
    pub sent: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// The same packets by kind, in the order of [`Kind::ALL`].
    pub kinds: [u64; Kind::ALL.len()],
    /// Lost.
    pub lost: u64,
    /// Sent twice.
    pub duplicated: u64,
    /// Late by more than the rest.
    pub late: u64,
    /// Damaged.
    pub damaged: u64,
    /// Sent once more, later.
    pub replayed: u64,
    /// Too old to arrive.
    pub expired: u64,
}

/// What is wrong with a link, for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkFault {
    /// From these ends, a bit each.
    pub from: u128,
    /// To these.
    pub to: u128,
    /// Packets lost, in parts per million.
    pub loss_ppm: u32,
    /// Added to the delay, at most.
    pub delay: Duration,
    /// When it ends.
    pub until: Instant,
}

/// The network.
pub struct Network {
    ends: usize,
    /// When each packet arrives, the order in which they were sent, and its place.
    on_the_way: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    packets: Vec<Packet>,
    free: Vec<usize>,
    faults: Vec<LinkFault>,
    /// For each link, by its two ends, the loss and the delay of all faults together.
    links: Vec<(u32, Duration)>,
    noise: Noise,
    packet_life: Duration,
    kept: Vec<Packet>,
    rng: Rng,
    order: u64,
    traffic: Traffic,
}

impl Network {
    /// Returns an empty network between `ends` servers.
    ///
    /// # Panics
    /// With more than 128.
    pub fn new(seed: u64, ends: usize, noise: Noise, packet_life: Duration) -> Self {
        assert!(ends <= 128);
        Self {
            ends,
            on_the_way: BinaryHeap::new(),
            packets: Vec::new(),
            free: Vec::new(),
            faults: Vec::new(),
            links: vec![(0, Duration::ZERO); ends * ends],
            noise,
            packet_life,
            kept: Vec::new(),
            rng: Rng::new(seed ^ 0x006e_6574),
            order: 0,
            traffic: Traffic::default(),
        }
    }

    /// Returns the address of an end.
    ///
    /// # Panics
    /// When there are not as many.
    pub fn address(end: usize) -> Address {
        let host = u8::try_from(end + 1).expect("few ends");
        address::from_socket(SocketAddr::from(([10, 0, 0, host], PORT)))
    }

    /// Returns the end that an address stands for.
    fn end(&self, address: Address) -> Option<usize> {
        let socket = address::to_socket(address)?;
        let SocketAddr::V4(socket) = socket else { return None };
        let end = usize::from(socket.ip().octets()[3]).checked_sub(1)?;
        (end < self.ends).then_some(end)
    }

    /// Sends a packet; chance and the faults of its link decide what becomes of it.
    pub fn send(&mut self, now: Instant, from: usize, to: Address, bytes: &[u8]) {
        self.traffic.sent += 1;
        self.traffic.bytes += bytes.len() as u64;
        self.traffic.kinds[usize::from(bytes[1]) - 1] += 1;
        let Some(to) = self.end(to) else { return };
        if self.noise.replay_ppm > 0 {
            self.keep(now, from, to, bytes);
        }
        let loss = self.noise.loss_ppm.max(self.links[from * self.ends + to].0);
        if self.chance(loss) {
            self.traffic.lost += 1;
            return;
        }
        self.carry(now, now, from, to, bytes);
        if self.chance(self.noise.duplicate_ppm) {
            self.traffic.duplicated += 1;
            self.carry(now, now, from, to, bytes);
        }
    }

    /// Keeps some packets, and sends an earlier one again now and then.
    fn keep(&mut self, now: Instant, from: usize, to: usize, bytes: &[u8]) {
        if self.rng.below(8) == 0 {
            let packet = Packet { from, to, sent: now, bytes: bytes.to_vec() };
            if self.kept.len() < KEPT {
                self.kept.push(packet);
            } else {
                let place = self.rng.below(KEPT as u64) as usize;
                self.kept[place] = packet;
            }
        }
        if self.chance(self.noise.replay_ppm) && !self.kept.is_empty() {
            let place = self.rng.below(self.kept.len() as u64) as usize;
            let Packet { from, to, sent, bytes } = self.kept.swap_remove(place);
            self.traffic.replayed += 1;
            self.carry(now, sent, from, to, &bytes);
        }
    }

    fn chance(&mut self, ppm: u32) -> bool {
        ppm > 0 && self.rng.below(MILLION) < u64::from(ppm)
    }

    fn carry(&mut self, now: Instant, sent: Instant, from: usize, to: usize, bytes: &[u8]) {
        let mut at = now + TICK + Duration(self.rng.below(self.noise.jitter.0.max(TICK.0) + 1));
        let slow = self.links[from * self.ends + to].1;
        if slow > Duration::ZERO {
            at = at + Duration(slow.0 / 2 + self.rng.below(slow.0 / 2 + 1));
        }
        if self.chance(self.noise.late_ppm) {
            self.traffic.late += 1;
            at = at + Duration(self.rng.below(self.noise.late.0));
        }
        let at = Instant(at.0.next_multiple_of(TICK.0));
        if at.since(sent) > self.packet_life {
            self.traffic.expired += 1;
            return;
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.packets.push(Packet::default());
            self.packets.len() - 1
        });
        let packet = &mut self.packets[place];
        (packet.from, packet.to, packet.sent) = (from, to, sent);
        packet.bytes.clear();
        packet.bytes.extend_from_slice(bytes);
        if self.chance(self.noise.damage_ppm) {
            self.traffic.damaged += 1;
            damage(&mut self.packets[place].bytes, &mut self.rng);
        }
        self.order += 1;
        self.on_the_way.push(Reverse((at, self.order, place)));
    }

    /// Returns when the next packet arrives.
    pub fn next_arrival(&self) -> Option<Instant> {
        self.on_the_way.peek().map(|Reverse((at, ..))| *at)
    }

    /// Returns the place of the next packet that has arrived by `now`. It stays there until it is dropped.
    pub fn receive(&mut self, now: Instant) -> Option<usize> {
        if self.next_arrival()? > now {
            return None;
        }
        self.on_the_way.pop().map(|Reverse((_, _, place))| place)
    }

    /// Returns the packet at a place.
    pub fn packet(&self, place: usize) -> &Packet {
        &self.packets[place]
    }

    /// Whether a packet that waited for its receiver is too old to be handed over.
    pub fn is_expired(&self, now: Instant, place: usize) -> bool {
        now.since(self.packets[place].sent) > self.packet_life
    }

    /// Takes a packet off the network.
    pub fn drop_packet(&mut self, place: usize) {
        self.free.push(place);
    }

    /// Loses everything on the way and everything kept.
    pub fn clear(&mut self) {
        let places: Vec<_> = self.on_the_way.drain().map(|Reverse((_, _, place))| place).collect();
        self.traffic.lost += places.len() as u64;
        self.free.extend(places);
        self.kept.clear();
    }

    /// Begins a fault of some links.
    pub fn add_fault(&mut self, fault: LinkFault) {
        self.faults.push(fault);
        self.combine();
    }

    /// Ends the faults whose time is over.
    pub fn end_faults(&mut self, now: Instant) {
        let before = self.faults.len();
        self.faults.retain(|fault| fault.until > now);
        if self.faults.len() != before {
            self.combine();
        }
    }

    /// Returns when the next fault ends.
    pub fn next_end(&self) -> Option<Instant> {
        self.faults.iter().map(|fault| fault.until).min()
    }

    /// Ends every fault: from now on nothing is lost, damaged, repeated or late. What is on the way arrives.
    pub fn heal(&mut self) {
        self.faults.clear();
        self.noise = Noise::default();
        self.kept.clear();
        self.combine();
    }

    fn combine(&mut self) {
        self.links.fill((0, Duration::ZERO));
        for fault in &self.faults {
            for from in (0..self.ends).filter(|end| fault.from >> end & 1 == 1) {
                for to in (0..self.ends).filter(|&to| to != from && fault.to >> to & 1 == 1) {
                    let (loss, delay) = &mut self.links[from * self.ends + to];
                    *loss = (*loss).max(fault.loss_ppm);
                    *delay = (*delay).max(fault.delay);
                }
            }
        }
    }

    /// Returns what has been carried so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }
}

/// Flips bits, cuts short, or appends.
fn damage(bytes: &mut Vec<u8>, rng: &mut Rng) {
    match rng.below(8) {
        0 => bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize),
        1 => bytes.extend((0..1 + rng.below(64)).map(|_| rng.next_u64() as u8)),
        _ => {
            for _ in 0..=rng.below(8) {
                let place = rng.below(bytes.len() as u64) as usize;
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= 1 << rng.below(8);
                }
            }
        }
    }
}
