//! The node's counters.

use crate::map::MapStats;
use crate::membership::SwimStats;
use crate::sync::SyncStats;
use crate::wire::{Kind, Reject};

/// Plain counters, all rising from zero at the start of a life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stats {
    /// Packets taken, by kind.
    pub received: [u64; Kind::ALL.len()],
    /// Packets sent, by kind.
    pub sent: [u64; Kind::ALL.len()],
    /// Packets rejected, by reason in the order of [`Reject::ALL`].
    pub rejected: [u64; Reject::ALL.len()],
    /// Bytes of the packets that came, rejected ones too.
    pub received_bytes: u64,
    /// Bytes of the packets sent.
    pub sent_bytes: u64,
    /// Times that the budget held packets back until the next interval.
    pub budget_exhausted: u64,
    /// Frames given to fill that were too short for what was due.
    pub short_frames: u64,
    /// Times that the clock ran backward and was held.
    pub clock_backward: u64,
    /// What happened to the map.
    pub map: MapStats,
    /// What came of probes.
    pub swim: SwimStats,
    /// What came of sessions.
    pub sync: SyncStats,
}

impl Stats {
    pub(super) fn new() -> Self {
        Self {
            received: [0; Kind::ALL.len()],
            sent: [0; Kind::ALL.len()],
            rejected: [0; Reject::ALL.len()],
            received_bytes: 0,
            sent_bytes: 0,
            budget_exhausted: 0,
            short_frames: 0,
            clock_backward: 0,
            map: MapStats::default(),
            swim: SwimStats::default(),
            sync: SyncStats::default(),
        }
    }

    /// Iterates all packets taken: (kind, count).
    pub fn received(&self) -> impl Iterator<Item = (Kind, u64)> + '_ {
        Kind::ALL.into_iter().zip(self.received)
    }

    /// Iterates all packets sent: (kind, count).
    pub fn sent(&self) -> impl Iterator<Item = (Kind, u64)> + '_ {
        Kind::ALL.into_iter().zip(self.sent)
    }

    /// Iterates all packets rejected: (reason, count).
    pub fn rejected(&self) -> impl Iterator<Item = (Reject, u64)> + '_ {
        Reject::ALL.iter().copied().zip(self.rejected)
    }
}
