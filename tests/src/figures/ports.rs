//! Links with a rate: each server has one to a switch, full duplex, and the switch a buffer for each.
//!
//! Knows when a packet has left its sender and when it has reached its receiver. Must not know what is lost or delayed
//! elsewhere: that is the network's between.

use std::collections::VecDeque;

use popmap_core::Slot;
use popmap_core::limits::SLOTS_MAX;
use popmap_core::time::{Duration, Instant};
use popmap_io::memory::Arrival;

/// Bytes of a packet on the wire beside its payload: UDP 8, IPv4 20, Ethernet 18, preamble and gap 20.
pub const WIRE_OVERHEAD: u64 = 66;

/// What the links of all servers carry.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Bits a second, each way.
    pub bits_per_second: u64,
    /// Bytes that the switch holds for one server; what comes beyond is dropped.
    pub buffer_bytes: u64,
}

impl Rate {
    /// A gigabit, and half a megabyte of buffer.
    pub const GIGABIT: Self = Self { bits_per_second: 1_000_000_000, buffer_bytes: 512 << 10 };

    fn span(&self, payload: usize) -> Duration {
        Duration((payload as u64 + WIRE_OVERHEAD) * 8 * 1_000_000_000 / self.bits_per_second)
    }
}

/// The links of a PoP.
#[derive(Debug)]
pub struct Ports {
    rate: Rate,
    /// Until when each server's link is busy, out and in.
    sending: [Instant; SLOTS_MAX],
    receiving: [Instant; SLOTS_MAX],
    /// On the way from the switch to each server: when it has arrived, earliest first.
    queues: Vec<VecDeque<(Instant, Arrival)>>,
    dropped: u64,
}

impl Ports {
    /// Returns idle links.
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            sending: [Instant::ZERO; SLOTS_MAX],
            receiving: [Instant::ZERO; SLOTS_MAX],
            queues: (0..SLOTS_MAX).map(|_| VecDeque::new()).collect(),
            dropped: 0,
        }
    }

    /// Puts a packet of `len` bytes on its sender's link; returns when its last bit has left.
    pub fn send(&mut self, now: Instant, from: Slot, len: usize) -> Instant {
        let link = &mut self.sending[from.index()];
        *link = (*link).max(now) + self.rate.span(len);
        *link
    }

    /// Takes a packet that has reached the switch. Gives it back when the buffer is full, and counts that.
    ///
    /// # Errors
    /// The packet, which is lost.
    pub fn forward(&mut self, now: Instant, packet: Arrival) -> Result<(), Arrival> {
        let to = packet.to.index();
        let link = &mut self.receiving[to];
        let waiting = u128::from(link.since(now).0) * u128::from(self.rate.bits_per_second) / 8_000_000_000;
        if waiting + packet.packet.len() as u128 > u128::from(self.rate.buffer_bytes) {
            self.dropped += 1;
            return Err(packet);
        }
        *link = (*link).max(now) + self.rate.span(packet.packet.len());
        self.queues[to].push_back((*link, packet));
        Ok(())
    }

    /// Returns when the next packet has reached its server.
    pub fn next_arrival(&self) -> Option<Instant> {
        self.queues.iter().filter_map(|queue| Some(queue.front()?.0)).min()
    }

    /// Returns a packet that has reached its server by `now`.
    pub fn receive(&mut self, now: Instant) -> Option<Arrival> {
        let due = |queue: &&mut VecDeque<(Instant, Arrival)>| queue.front().is_some_and(|(at, _)| *at <= now);
        self.queues.iter_mut().find(due)?.pop_front().map(|(_, packet)| packet)
    }

    /// Returns how many packets found the switch's buffer full.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use popmap_io::memory::{Faults, Network};

    #[test]
    fn a_link_carries_its_rate_and_its_buffer_what_it_holds() {
        let (from, to) = (Slot::at(0), Slot::at(1));
        let mut network = Network::new(1, Faults { jitter: Duration::ZERO, ..Faults::default() });
        let mut ports = Ports::new(Rate { buffer_bytes: 10_000, ..Rate::GIGABIT });
        let mut left = Instant::ZERO;
        for _ in 0..100 {
            left = ports.send(Instant::ZERO, from, 1_184);
            network.send(left, from, Network::address(to), &[0; 1_184]);
        }
        // 1,250 bytes on the wire are 10,000 bits: 10 microseconds each.
        assert_eq!(left, Instant::ZERO + Duration::from_micros(1_000));
        // At the rate at which they left, the switch holds no more than one.
        let mut last = Instant::ZERO;
        while let Some(at) = network.next_arrival() {
            let packet = network.receive(at).expect("due");
            assert!(ports.forward(at, packet).is_ok());
            last = ports.next_arrival().expect("on its way");
            assert!(ports.receive(last).is_some() && ports.receive(last).is_none());
        }
        assert_eq!(last, left + Duration::from_micros(110));
        // All at once, it holds eight of them.
        (0..100).for_each(|_| network.send(left, from, Network::address(to), &[0; 1_184]));
        let taken = (0..100).filter_map(|_| network.receive(Instant::NEVER));
        let taken = taken.filter_map(|packet| ports.forward(last, packet).ok()).count() as u64;
        assert_eq!((taken, ports.dropped()), (8, 92));
    }
}
