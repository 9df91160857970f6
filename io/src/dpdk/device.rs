//! The DPDK device: a port, a pool and an encapsulation behind the [`Device`] trait.
//!
//! Knows bursts, back-pressure, and waiting without a file descriptor. Must not know what is in a packet, nor how DPDK is
//! called.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::task::Waker;
use std::time::Duration;

use popmap_core::Address;
use popmap_core::time::{Duration as Span, Instant};

use super::batch::Batch;
use super::config::{DpdkConfig, DpdkStats};
use super::eal::Eal;
use super::error::DpdkError;
use super::idle::Idle;
use super::plug::Plug;
use super::pool::Pool;
use super::port::{Port, PortConfig, PortStats};
use super::thread;
use crate::address::Mac;
use crate::clock::MonotonicClock;
use crate::device::{BURST, Burst, Device, DeviceStats};
use crate::encap::{Encap, EncapStats, Ignored, Stripped, Unsent};

/// Calls of receive between two looks at the clock, for a driver that never waits.
const CALLS: u32 = 256;

/// A [`Device`] over one port of DPDK's.
///
/// A port that is gone is looked for again, in the driver's thread and ever less often, up to every 10 s; meanwhile what
/// is sent is counted as [`unreachable`](DeviceStats::unreachable), and so is what a port does not take because its link
/// is down. Questions for neighbours and answers to theirs count as [`sent`](DeviceStats::sent), too.
pub struct DpdkDevice {
    /// Taken from the port and not handed over yet. Before the port, so that it is dropped first: a driver may have lent
    /// frames memory of its own.
    received: Batch,
    /// To be filled.
    blank: Batch,
    /// Filled and not sent yet.
    filled: Batch,
    plug: Plug,
    encap: Encap,
    mac: Mac,
    clock: MonotonicClock,
    idle: Idle,
    spin: Span,
    never_naps: bool,
    /// The port did not take all that was filled.
    is_blocked: bool,
    calls: u32,
    stats: DeviceStats,
    counters: DpdkStats,
}

impl DpdkDevice {
    /// Opens a device (a PCI address that EAL was started for, or a virtual device with its arguments, as in
    /// `net_af_packet0,iface=eth1`) with a pool of its own.
    ///
    /// # Errors
    /// Why not. The pool, if that was made, remains until EAL ends.
    pub fn open(eal: &Eal, device: &str, config: &DpdkConfig) -> Result<Self, DpdkError> {
        let pool = Self::pool(eal, config)?;
        Self::open_with(eal, device, &pool, config)
    }

    /// The same with a pool that is there already.
    ///
    /// # Errors
    /// Why not.
    pub fn open_with(eal: &Eal, device: &str, pool: &Pool, config: &DpdkConfig) -> Result<Self, DpdkError> {
        let port_config = port_config(config)?;
        let port = Port::open(eal, device, pool, &port_config)?;
        Self::new(Some(device.to_owned()), port, pool, config, &port_config)
    }

    /// Makes two devices that are joined by rings in memory. Both need a MAC address in their configuration.
    ///
    /// # Errors
    /// Why not.
    pub fn pair(eal: &Eal, configs: [&DpdkConfig; 2]) -> Result<[Self; 2], DpdkError> {
        let [left, right] = configs;
        let pools = [Self::pool(eal, left)?, Self::pool(eal, right)?];
        let port_configs = [port_config(left)?, port_config(right)?];
        let [port, other] = Port::pair(eal, pools.each_ref(), port_configs.each_ref())?;
        let left = Self::new(None, port, &pools[0], left, &port_configs[0])?;
        Ok([left, Self::new(None, other, &pools[1], right, &port_configs[1])?])
    }

    /// Makes a pool for devices of this configuration.
    ///
    /// # Errors
    /// Why not.
    pub fn pool(eal: &Eal, config: &DpdkConfig) -> Result<Pool, DpdkError> {
        Pool::new(eal, config.mbufs, port_config(config)?.frame_len())
    }

    fn new(
        device: Option<String>,
        port: Port,
        pool: &Pool,
        config: &DpdkConfig,
        port_config: &PortConfig,
    ) -> Result<Self, DpdkError> {
        let (mac, clock) = (port.mac(), MonotonicClock::new());
        let encap = Encap::new(mac, &config.encap)?;
        let groups = encap.groups().filter(|&group| group != Mac::BROADCAST).collect();
        let making_waker = |source| DpdkError::System { step: "making the waker", source };
        Ok(Self {
            plug: Plug::new(device, port_config, groups, pool, port, clock.now()),
            encap,
            mac,
            clock,
            idle: Idle::new(config.nap).map_err(making_waker)?,
            spin: span(config.spin),
            never_naps: config.nap.is_zero(),
            received: Batch::new(pool.eal()),
            blank: Batch::new(pool.eal()),
            filled: Batch::new(pool.eal()),
            is_blocked: false,
            calls: 0,
            stats: DeviceStats::default(),
            counters: DpdkStats::default(),
        })
    }

    /// Returns the port; `None` while it is gone.
    #[must_use]
    pub const fn port(&self) -> Option<&Port> {
        self.plug.port()
    }

    /// Returns the port, to change what this device has no call for.
    pub const fn port_mut(&mut self) -> Option<&mut Port> {
        self.plug.port_mut()
    }

    /// Returns the MAC address.
    #[must_use]
    pub const fn mac(&self) -> Mac {
        self.mac
    }

    /// Gives the port up, as if the card had been taken out; it is looked for again soon.
    pub fn unplug(&mut self) {
        self.received.clear();
        self.plug.lose(self.clock.now(), &mut self.stats);
        self.flush();
    }

    /// Returns why the port could not be opened again, while it is gone.
    #[must_use]
    pub const fn fault(&self) -> Option<&DpdkError> {
        self.plug.fault()
    }

    /// Returns the counters that other devices do not have.
    #[must_use]
    pub const fn dpdk_stats(&self) -> DpdkStats {
        let DpdkStats { naps, no_mbuf, .. } = self.counters;
        DpdkStats { naps, no_mbuf, ..self.plug.stats() }
    }

    /// Returns the encapsulation's counters.
    #[must_use]
    pub fn encap_stats(&self) -> EncapStats {
        self.encap.stats()
    }

    /// Returns the port's own counters, which begin anew when it is opened again.
    #[must_use]
    pub fn port_stats(&self) -> PortStats {
        self.port().map(Port::stats).unwrap_or_default()
    }

    /// Does what is due beside packets.
    fn tend(&mut self, now: Instant) {
        // The port is not given up under frames that were taken from it: they are handed over first.
        if self.received.is_empty() && self.plug.watch(now, &mut self.stats) {
            // Others may have taken us for another station meanwhile.
            self.encap.announce(now);
        }
        self.resolve(now);
    }

    /// Takes frames from the port, unless some wait to be handed over. Returns whether there are any.
    fn take(&mut self) -> bool {
        if self.received.is_empty() {
            self.plug.receive(&mut self.received);
        }
        !self.received.is_empty()
    }

    /// Sends what was filled; returns whether some of it has to wait.
    fn flush(&mut self) -> bool {
        self.is_blocked = false;
        while !self.filled.is_empty() {
            let sent = self.plug.send(&mut self.filled);
            self.stats.sent += sent as u64;
            if sent > 0 {
                continue;
            }
            self.is_blocked = self.plug.is_up();
            if self.is_blocked {
                self.stats.blocked += 1;
                break;
            }
            // A link that is down takes nothing for as long as it likes, and what waits is soon too old.
            self.stats.unreachable += self.filled.len() as u64;
            self.filled.clear();
        }
        self.is_blocked
    }

    /// Makes sure that there is a blank mbuf.
    fn has_blank(&mut self) -> bool {
        let has = !self.blank.is_empty() || self.blank.fill_up(self.plug.pool());
        self.counters.no_mbuf += u64::from(!has);
        has
    }

    /// Sends the requests, answers and announcements that are due.
    fn resolve(&mut self, now: Instant) {
        if self.encap.poll_timeout().is_none_or(|due| due > now) {
            return;
        }
        while !self.flush() && self.has_blank() {
            let Some(frame) = self.blank.last_mut(self.encap.frame_len()) else { return };
            let Some(len) = self.encap.poll_transmit(now, frame) else { return };
            self.blank.set_last_len(len);
            self.blank.move_last(&mut self.filled);
        }
    }

    fn count_unsent(&mut self, reason: Unsent) {
        let counter = match reason {
            Unsent::NoRoute => &mut self.stats.no_route,
            Unsent::Unresolved | Unsent::NeighboursFull => &mut self.stats.unreachable,
            Unsent::TooLong => &mut self.stats.too_long,
        };
        *counter += 1;
    }
}

impl Device for DpdkDevice {
    fn receive(&mut self, mut sink: impl FnMut(Address, &[u8])) -> io::Result<Burst> {
        thread::register(self.plug.pool().eal());
        self.calls = self.calls.wrapping_add(1);
        if self.calls.is_multiple_of(CALLS) {
            self.tend(self.clock.now());
        }
        if !self.take() {
            return Ok(Burst::default());
        }
        self.idle.reset();
        let now = self.clock.now();
        let (mut frames, mut heard) = (0, false);
        for (frame, offload) in self.received.frames() {
            match self.encap.strip_offloaded(now, frame, offload) {
                Stripped::Payload { from, bytes } => {
                    frames += 1;
                    sink(from, bytes);
                }
                Stripped::Resolution => heard = true,
                Stripped::Ignored(Ignored::Oversize) => self.stats.oversize += 1,
                Stripped::Ignored(_) => self.stats.ignored += 1,
            }
        }
        // As many as fit: there may be more. Not until there are none, for some ports never run dry.
        let more = self.received.is_full();
        self.received.clear();
        self.stats.received += frames as u64;
        if heard {
            self.resolve(now);
        }
        Ok(Burst { frames, more, blocked: false })
    }

    fn send(&mut self, mut fill: impl FnMut(&mut [u8]) -> Option<(Address, usize)>) -> io::Result<Burst> {
        thread::register(self.plug.pool().eal());
        if self.flush() {
            return Ok(Burst { blocked: true, ..Burst::default() });
        }
        let (start, payload, frame_len) =
            (self.encap.headroom(), self.encap.payload(), self.encap.frame_len());
        // The clock is read only if there is something to send.
        let (mut frames, mut more, mut has_mbufs, mut now) = (0, true, true, None);
        while frames < BURST {
            has_mbufs = self.has_blank();
            if !has_mbufs {
                // Not for ever: they are in queues, and come back.
                break;
            }
            let Some(frame) = self.blank.last_mut(frame_len) else { break };
            let Some((to, len)) = fill(&mut frame[start..start + payload]) else {
                more = false;
                break;
            };
            assert!(len <= payload, "a packet of {len} bytes in a frame of {payload}");
            frames += 1;
            let now = *now.get_or_insert_with(|| self.clock.now());
            match self.encap.prepend(now, to, frame, len) {
                Ok(len) => {
                    self.blank.set_last_len(len);
                    self.blank.move_last(&mut self.filled);
                }
                Err(reason) => self.count_unsent(reason),
            }
        }
        let blocked = self.flush() || !has_mbufs;
        if let Some(now) = now {
            // What could not be sent for want of a neighbour's address asks for it.
            self.resolve(now);
        }
        Ok(Burst { frames, more: more && !blocked, blocked })
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        thread::register(self.plug.pool().eal());
        let began = self.clock.now();
        let until = timeout.map_or(Instant::NEVER, |timeout| began + span(timeout));
        let spin_until = began + self.spin;
        let mut now = began;
        loop {
            self.tend(now);
            if self.take() || self.idle.is_woken() || (self.is_blocked && !self.flush()) {
                return Ok(());
            }
            if now >= until {
                return Ok(());
            }
            if now < spin_until || self.never_naps {
                std::hint::spin_loop();
            } else {
                // What is overdue waits for the port, as we do.
                let dues = [Some(until), Some(self.plug.watch_at()), self.encap.poll_timeout()];
                let next = dues.into_iter().flatten().filter(|&due| due > now).min().unwrap_or(until);
                self.counters.naps += 1;
                self.idle.nap(Duration::from_nanos(next.since(now).0))?;
            }
            now = self.clock.now();
        }
    }

    fn waker(&self) -> Waker {
        self.idle.waker()
    }

    fn payload(&self) -> usize {
        self.encap.payload()
    }

    fn needs_keys(&self) -> bool {
        self.encap.needs_keys()
    }

    fn local(&self) -> Address {
        self.encap.local()
    }

    fn stats(&self) -> DeviceStats {
        self.stats
    }
}

impl fmt::Debug for DpdkDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DpdkDevice")
            .field("plug", &self.plug)
            .field("mac", &self.mac)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

/// Returns how a port for a device is set up.
fn port_config(config: &DpdkConfig) -> Result<PortConfig, DpdkError> {
    // Any station's frames are as long as ours.
    let encap = Encap::new(Mac([2, 0, 0, 0, 0, 0]), &config.encap)?;
    let (mac, receive_queue, send_queue) = (config.mac, config.receive_queue, config.send_queue);
    Ok(PortConfig { mtu: encap.mtu(), mac, receive_queue, send_queue })
}

fn span(time: Duration) -> Span {
    Span(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}
