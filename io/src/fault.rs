//! Faults on purpose: a device that loses, doubles, delays, reorders and damages what another sends.
//!
//! Knows packets and a seed. Must not know what is in a packet; the time it is given, so that the same seed, packets and
//! times give the same faults.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use popmap_core::Address;
use popmap_core::rng::Rng;
use popmap_core::time::Instant;

use crate::delegate_device;
use crate::device::{BURST, Burst, Device};
use crate::memory::{Faults, Traffic};

/// Packets that may be on the way at once; what is sent beyond that is lost.
const ON_THE_WAY: usize = 65_536;

/// A [`Device`] that sends through another with [`Faults`]. What that one receives it passes on as it is: faults between
/// two servers are those of the sender.
///
/// A packet that nothing delays is left where it was filled, in the other's own frame: without faults this costs a count.
#[derive(Debug)]
pub struct FaultDevice<D, C> {
    device: D,
    clock: C,
    rules: Rules,
    /// Which rules these are.
    version: u64,
    control: FaultControl,
    way: Way,
    /// The other cannot send for now: what is due does not end a wait.
    blocked: bool,
}

/// What happens to packets.
#[derive(Clone, Debug, Default)]
struct Rules {
    faults: Faults,
    corrupt_ppm: u32,
    cut: Vec<Address>,
}

/// Packets between the two ends.
#[derive(Debug)]
struct Way {
    rng: Rng,
    packets: BinaryHeap<Reverse<Held>>,
    spare: Vec<Vec<u8>>,
    order: u64,
    traffic: Traffic,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    at: Instant,
    order: u64,
    to: [u8; 24],
    packet: Vec<u8>,
}

/// Changes the faults of a [`FaultDevice`] while it runs, from any thread. Clones change the same one.
#[derive(Clone, Debug)]
pub struct FaultControl {
    rules: Arc<(AtomicU64, Mutex<Rules>)>,
}

impl FaultControl {
    /// Sets what may happen to a packet on its way.
    pub fn set_faults(&self, faults: Faults) {
        self.change(|rules| rules.faults = faults);
    }

    /// Sets how many packets arrive with one bit flipped, in parts per million.
    pub fn set_corruption(&self, ppm: u32) {
        self.change(|rules| rules.corrupt_ppm = ppm);
    }

    /// Loses all packets to these addresses, and to no others. Empty to heal it.
    ///
    /// What comes from there still arrives: for a partition each side cuts the other's addresses, and one side alone makes
    /// a link that works in one direction.
    pub fn cut(&self, to: &[Address]) {
        self.change(|rules| rules.cut = to.to_vec());
    }

    fn change(&self, change: impl FnOnce(&mut Rules)) {
        let (version, rules) = &*self.rules;
        change(&mut rules.lock().unwrap_or_else(PoisonError::into_inner));
        version.fetch_add(1, Ordering::Release);
    }
}

impl<D: Device, C: FnMut() -> Instant> FaultDevice<D, C> {
    /// Wraps `device`. Delays are measured on `clock`: a copy of a [`MonotonicClock`](crate::MonotonicClock), or the
    /// virtual time of a test.
    pub fn new(device: D, seed: u64, faults: Faults, clock: C) -> Self {
        let rules = Rules { faults, ..Rules::default() };
        let control = FaultControl { rules: Arc::new((AtomicU64::new(0), Mutex::new(rules.clone()))) };
        let way = Way {
            rng: Rng::new(seed),
            packets: BinaryHeap::new(),
            spare: Vec::new(),
            order: 0,
            traffic: Traffic::default(),
        };
        Self { device, clock, rules, version: 0, control, way, blocked: false }
    }

    /// Returns what changes the faults while the device runs.
    pub fn control(&self) -> FaultControl {
        self.control.clone()
    }

    /// Returns what has been carried so far.
    pub fn traffic(&self) -> Traffic {
        self.way.traffic
    }

    fn refresh(&mut self) {
        let (version, rules) = &*self.control.rules;
        let version = version.load(Ordering::Acquire);
        if version != self.version {
            self.version = version;
            self.rules.clone_from(&rules.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl Way {
    fn chance(&mut self, ppm: u32) -> bool {
        ppm > 0 && self.rng.below(1_000_000) < u64::from(ppm)
    }

    /// Decides what becomes of a packet, when all that was to have left by `now` has. Returns whether it leaves at once.
    fn enter(&mut self, now: Instant, rules: &Rules, to: Address, packet: &mut [u8]) -> bool {
        self.traffic.sent += 1;
        self.traffic.sent_bytes += packet.len() as u64;
        if rules.cut.contains(&to) {
            self.traffic.cut += 1;
            return false;
        }
        if self.chance(rules.faults.loss_ppm) || self.packets.len() >= ON_THE_WAY {
            self.traffic.lost += 1;
            return false;
        }
        if self.chance(rules.corrupt_ppm) && !packet.is_empty() {
            let bit = self.rng.below(packet.len() as u64 * 8) as usize;
            packet[bit / 8] ^= 1 << (bit % 8);
            self.traffic.corrupted += 1;
        }
        let at = self.arrival(now, &rules.faults);
        let at_once = at <= now;
        if !at_once {
            self.hold(at, to, packet);
        }
        if self.chance(rules.faults.duplicate_ppm) {
            self.traffic.duplicated += 1;
            let at = self.arrival(now, &rules.faults);
            self.hold(at, to, packet);
        }
        at_once
    }

    fn arrival(&mut self, now: Instant, faults: &Faults) -> Instant {
        let jitter = match faults.jitter.0 {
            0 => 0,
            jitter => self.rng.below(jitter.saturating_add(1)),
        };
        Instant((now + faults.delay).0.saturating_add(jitter))
    }

    fn hold(&mut self, at: Instant, to: Address, packet: &[u8]) {
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(packet);
        self.order += 1;
        self.packets.push(Reverse(Held { at, order: self.order, to: to.0, packet: bytes }));
    }

    /// Returns the next packet that has come to the other end.
    fn leave(&mut self, now: Instant, frame: &mut [u8]) -> Option<(Address, usize)> {
        if self.next()? > now {
            return None;
        }
        let Reverse(Held { to, packet, .. }) = self.packets.pop()?;
        let len = packet.len();
        frame[..len].copy_from_slice(&packet);
        self.spare.push(packet);
        Some((Address(to), len))
    }

    fn next(&self) -> Option<Instant> {
        self.packets.peek().map(|Reverse(held)| held.at)
    }
}

impl<D: Device, C: FnMut() -> Instant> Device for FaultDevice<D, C> {
    fn send(&mut self, mut fill: impl FnMut(&mut [u8]) -> Option<(Address, usize)>) -> io::Result<Burst> {
        self.refresh();
        let now = (self.clock)();
        let Self { device, rules, way, .. } = self;
        let (mut entered, mut dry) = (0, false);
        let burst = device.send(|frame| {
            loop {
                if let Some(left) = way.leave(now, frame) {
                    return Some(left);
                }
                if dry || entered == BURST {
                    return None;
                }
                match fill(frame) {
                    Some((to, len)) => {
                        entered += 1;
                        if way.enter(now, rules, to, &mut frame[..len]) {
                            return Some((to, len));
                        }
                    }
                    None => dry = true,
                }
            }
        })?;
        self.blocked = burst.blocked;
        Ok(Burst { frames: entered, more: burst.more || (!dry && !burst.blocked), ..burst })
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let next = self.way.next().filter(|_| !self.blocked);
        let Some(next) = next else { return self.device.wait(timeout) };
        let next = Duration::from_nanos(next.since((self.clock)()).0);
        self.device.wait(Some(timeout.map_or(next, |timeout| timeout.min(next))))
    }

    delegate_device!(device: receive, waker, payload, local, stats);
}

#[cfg(test)]
mod tests;
