//! An in-memory network in virtual time, with faults drawn from a seed.
//!
//! Knows packets, delays and faults. Must not know what is in a packet, nor what time it really is: whoever drives the
//! nodes pops the packets that are due and moves the time on. The same seed and calls give the same run.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use popmap_core::rng::Rng;
use popmap_core::time::{Duration, Instant};
use popmap_core::{Address, Slot, SlotSet};

/// What may happen to a packet on its way.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Packets lost, in parts per million.
    pub loss_ppm: u32,
    /// Packets that arrive twice, in parts per million.
    pub duplicate_ppm: u32,
    /// The least delay.
    pub delay: Duration,
    /// Added to the least delay at random, evenly, so that packets overtake each other.
    pub jitter: Duration,
}

impl Default for Faults {
    /// A LAN: 100 to 200 microseconds, nothing lost.
    fn default() -> Self {
        Self {
            loss_ppm: 0,
            duplicate_ppm: 0,
            delay: Duration::from_micros(100),
            jitter: Duration::from_micros(100),
        }
    }
}

/// A packet that has arrived.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival {
    /// When.
    pub at: Instant,
    order: u64,
    /// Whom it was sent to.
    pub to: Slot,
    /// Who sent it.
    pub from: Slot,
    /// The packet.
    pub packet: Vec<u8>,
}

/// What the network has carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets given to send.
    pub sent: u64,
    /// Bytes of these.
    pub sent_bytes: u64,
    /// Packets lost by chance.
    pub lost: u64,
    /// Packets lost because the link was cut.
    pub cut: u64,
    /// Packets that arrived twice.
    pub duplicated: u64,
    /// Packets that arrived with a bit flipped. This network never does that;
    /// [`FaultDevice`](crate::FaultDevice) can.
    pub corrupted: u64,
}

/// A network between the servers of one PoP.
///
/// An endpoint is named like the slot of the server there. A second server in the same slot, by mistake, is at an
/// endpoint with the name of a slot that nobody has.
#[derive(Debug)]
pub struct Network {
    on_the_way: BinaryHeap<Reverse<Arrival>>,
    spare: Vec<Vec<u8>>,
    rng: Rng,
    order: u64,
    /// For each sender, whom its packets do not reach.
    cut: [SlotSet; 64],
    /// For each server, what is added to the delay of its packets, at least and at most.
    slow: [(Duration, Duration); 64],
    /// The faults in force.
    pub faults: Faults,
    traffic: Traffic,
}

impl Network {
    /// Returns an empty network whose faults are drawn from `seed`.
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self {
            on_the_way: BinaryHeap::new(),
            spare: Vec::new(),
            rng: Rng::new(seed),
            order: 0,
            cut: [SlotSet::EMPTY; 64],
            slow: [(Duration::ZERO, Duration::ZERO); 64],
            faults,
            traffic: Traffic::default(),
        }
    }

    /// Returns the address of `slot` in this network.
    pub fn address(slot: Slot) -> Address {
        let mut address = Address::default();
        address.0[0] = slot.get() + 1;
        address
    }

    /// Returns the slot that an address of this network stands for.
    pub fn slot(address: Address) -> Option<Slot> {
        Slot::new(address.0[0].checked_sub(1)?)
    }

    /// Sends a packet; faults decide what becomes of it. One to an address outside the network is lost.
    pub fn send(&mut self, now: Instant, from: Slot, to: Address, packet: &[u8]) {
        self.traffic.sent += 1;
        self.traffic.sent_bytes += packet.len() as u64;
        let Some(to) = Self::slot(to).filter(|&to| !self.cut[from.index()].contains(to)) else {
            self.traffic.cut += 1;
            return;
        };
        if self.chance(self.faults.loss_ppm) {
            self.traffic.lost += 1;
            return;
        }
        self.carry(now, from, to, packet);
        if self.chance(self.faults.duplicate_ppm) {
            self.traffic.duplicated += 1;
            self.carry(now, from, to, packet);
        }
    }

    fn chance(&mut self, ppm: u32) -> bool {
        ppm > 0 && self.rng.below(1_000_000) < u64::from(ppm)
    }

    fn carry(&mut self, now: Instant, from: Slot, to: Slot, packet: &[u8]) {
        let jitter = Duration(self.rng.below(self.faults.jitter.0.saturating_add(1)));
        let mut at = now + self.faults.delay + jitter;
        for end in [from, to] {
            let (least, most) = self.slow[end.index()];
            if most > Duration::ZERO {
                at = at + least + Duration(self.rng.below(most.0 - least.0 + 1));
            }
        }
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(packet);
        self.order += 1;
        self.on_the_way.push(Reverse(Arrival { at, order: self.order, to, from, packet: bytes }));
    }

    /// Returns when the next packet arrives.
    pub fn next_arrival(&self) -> Option<Instant> {
        self.on_the_way.peek().map(|Reverse(arrival)| arrival.at)
    }

    /// Returns the next packet that has arrived by `now`.
    pub fn receive(&mut self, now: Instant) -> Option<Arrival> {
        if self.next_arrival()? > now {
            return None;
        }
        self.on_the_way.pop().map(|Reverse(arrival)| arrival)
    }

    /// Takes an arrival's memory back.
    pub fn recycle(&mut self, arrival: Arrival) {
        if self.spare.len() < 4_096 {
            self.spare.push(arrival.packet);
        }
    }

    /// Cuts the link from `from` to `to`, in that direction only. What is on the way still arrives.
    pub fn cut(&mut self, from: Slot, to: Slot) {
        self.cut[from.index()].insert(to);
    }

    /// Cuts every link between `side` and the others, in both directions.
    pub fn partition(&mut self, side: SlotSet) {
        for (from, cut) in self.cut.iter_mut().enumerate() {
            let across =
                if side.contains(Slot::at(from)) { SlotSet::first(64).difference(side) } else { side };
            *cut = cut.union(across);
        }
    }

    /// Adds from `least` to `most` to the delay of every packet from and to `server`; nothing more once `most` is zero.
    ///
    /// # Panics
    /// When `least` is above `most`.
    pub fn slow(&mut self, server: Slot, least: Duration, most: Duration) {
        assert!(least <= most);
        self.slow[server.index()] = (least, most);
    }

    /// Mends every link.
    pub fn heal(&mut self) {
        self.cut = [SlotSet::EMPTY; 64];
    }

    /// Loses every packet on the way to or from `slot`.
    pub fn forget(&mut self, slot: Slot) {
        self.on_the_way.retain(|Reverse(arrival)| arrival.to != slot && arrival.from != slot);
    }

    /// Returns what has been carried so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_run() {
        let run = || {
            let faults = Faults { loss_ppm: 200_000, duplicate_ppm: 100_000, ..Faults::default() };
            let mut network = Network::new(7, faults);
            for i in 0..100u8 {
                network.send(Instant(u64::from(i)), Slot::at(0), Network::address(Slot::at(1)), &[i]);
            }
            let mut seen = Vec::new();
            while let Some(arrival) = network.receive(Instant::NEVER) {
                seen.push((arrival.at, arrival.packet[0]));
            }
            (seen, network.traffic())
        };
        let (seen, traffic) = run();
        assert_eq!((seen.clone(), traffic), run());
        assert!(traffic.lost > 0 && traffic.duplicated > 0);
        assert_eq!(seen.len() as u64, traffic.sent - traffic.lost + traffic.duplicated);
        assert!(seen.windows(2).all(|pair| pair[0].0 <= pair[1].0));
        assert!(seen.windows(2).any(|pair| pair[0].1 > pair[1].1), "jitter reorders");
    }

    #[test]
    fn a_partition_cuts_both_ways_until_healed() {
        let mut network = Network::new(1, Faults::default());
        let [a, b, c] = [0, 1, 2].map(Slot::at);
        network.partition(SlotSet::EMPTY.with(a));
        let reaches = |network: &mut Network, from, to| {
            network.send(Instant::ZERO, from, Network::address(to), b"x");
            network.receive(Instant::NEVER).is_some()
        };
        assert!(!reaches(&mut network, a, b) && !reaches(&mut network, b, a) && reaches(&mut network, b, c));
        network.heal();
        assert!(reaches(&mut network, a, b));
        assert_eq!(network.traffic().cut, 2);
    }
}
