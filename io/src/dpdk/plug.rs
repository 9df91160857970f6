//! The plug: a port that may lose its link, or be gone and found again.
//!
//! Knows when to look. Must not know what frames hold.

#![forbid(unsafe_code)]

use std::mem;

use popmap_core::time::{Duration, Instant};

use super::batch::Batch;
use super::config::DpdkStats;
use super::error::DpdkError;
use super::pool::Pool;
use super::port::{Port, PortConfig};
use crate::address::Mac;
use crate::device::DeviceStats;

/// How often the link is looked at. Some drivers ask the hardware.
const WATCH: Duration = Duration::from_millis(100);
/// How often the port's counters are read. With some drivers that is a message to another one.
const COUNT: Duration = Duration::from_secs(1);
/// How soon a port that is gone is looked for; the wait doubles up to [`REOPEN_MAX`].
const REOPEN: Duration = Duration::from_millis(100);
const REOPEN_MAX: Duration = Duration::from_secs(10);

/// A port, and what it takes to have it again.
#[derive(Debug)]
pub(super) struct Plug {
    /// The device's name and arguments; `None` where they make no port again.
    device: Option<String>,
    config: PortConfig,
    groups: Vec<Mac>,
    pool: Pool,
    /// `None`: it is gone.
    port: Option<Port>,
    is_up: bool,
    watch_at: Instant,
    count_at: Instant,
    reopen_after: Duration,
    /// Why the port was not opened again.
    fault: Option<DpdkError>,
    /// Frames that earlier ports lost for want of room, and those that were damaged.
    lost_before: (u64, u64),
    stats: DpdkStats,
}

impl Plug {
    /// Takes a port, and has it receive frames to these groups. When it is found again it gets the same MAC address.
    pub(super) fn new(
        device: Option<String>,
        config: &PortConfig,
        groups: Vec<Mac>,
        pool: &Pool,
        mut port: Port,
        now: Instant,
    ) -> Self {
        port.join(&groups);
        Self {
            device,
            config: PortConfig { mac: Some(port.mac()), ..*config },
            groups,
            pool: pool.clone(),
            is_up: port.is_up(),
            port: Some(port),
            watch_at: now + WATCH,
            count_at: now + COUNT,
            reopen_after: REOPEN,
            fault: None,
            lost_before: (0, 0),
            stats: DpdkStats::default(),
        }
    }

    pub(super) const fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(super) const fn port(&self) -> Option<&Port> {
        self.port.as_ref()
    }

    pub(super) const fn port_mut(&mut self) -> Option<&mut Port> {
        self.port.as_mut()
    }

    pub(super) const fn fault(&self) -> Option<&DpdkError> {
        self.fault.as_ref()
    }

    /// Returns when to look again.
    pub(super) const fn watch_at(&self) -> Instant {
        self.watch_at
    }

    pub(super) const fn stats(&self) -> DpdkStats {
        self.stats
    }

    /// Takes frames until the batch is full or no more wait.
    pub(super) fn receive(&mut self, batch: &mut Batch) {
        if let Some(port) = &mut self.port {
            port.receive(batch);
        }
    }

    /// Sends frames from the front of the batch; returns how many.
    pub(super) fn send(&mut self, batch: &mut Batch) -> usize {
        self.port.as_mut().map_or(0, |port| port.send(batch))
    }

    /// Whether the link is up now.
    pub(super) fn is_up(&self) -> bool {
        self.port.as_ref().is_some_and(Port::is_up)
    }

    /// Looks at the link if it is time to, and for the port if that is gone. Returns whether the link is back.
    pub(super) fn watch(&mut self, now: Instant, stats: &mut DeviceStats) -> bool {
        if now < self.watch_at {
            return false;
        }
        self.watch_at = now + WATCH;
        let is_gone = self.port.as_ref().is_some_and(Port::is_gone);
        if is_gone {
            self.lose(now, stats);
        } else if self.port.is_none() {
            self.reopen(now);
        } else if now >= self.count_at {
            self.count_at = now + COUNT;
            self.count(stats);
        }
        self.note(stats)
    }

    /// Gives the port up.
    pub(super) fn lose(&mut self, now: Instant, stats: &mut DeviceStats) {
        if self.port.is_some() {
            self.count(stats);
            self.lost_before = (stats.overruns, stats.receive_errors);
            self.port = None;
            self.stats.gone += 1;
            (self.watch_at, self.reopen_after) = (now + REOPEN, REOPEN);
            self.note(stats);
        }
    }

    /// Notes the state of the link. Returns whether it is back.
    fn note(&mut self, stats: &mut DeviceStats) -> bool {
        let is_up = self.is_up();
        match (mem::replace(&mut self.is_up, is_up), is_up) {
            (false, true) => stats.link_returns += 1,
            (true, false) => stats.link_losses += 1,
            _ => return false,
        }
        is_up
    }

    /// Takes over what the port counted.
    fn count(&self, stats: &mut DeviceStats) {
        if let Some(port) = &self.port {
            let counted = port.stats();
            stats.overruns = self.lost_before.0 + counted.missed + counted.no_mbuf;
            stats.receive_errors = self.lost_before.1 + counted.receive_errors;
        }
    }

    fn reopen(&mut self, now: Instant) {
        let Some(device) = self.device.as_deref() else { return };
        match Port::open(self.pool.eal(), device, &self.pool, &self.config) {
            Ok(mut port) => {
                port.join(&self.groups);
                (self.port, self.fault) = (Some(port), None);
                self.stats.reopened += 1;
            }
            Err(error) => {
                self.fault = Some(error);
                self.stats.reopen_errors += 1;
                self.watch_at = now + self.reopen_after;
                self.reopen_after = self.reopen_after.times(2).min(REOPEN_MAX);
            }
        }
    }
}
