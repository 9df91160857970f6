//! What a server tells the story while it runs, and when it has ended.
//!
//! Must not know who reads it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use popmap_core::clock::VersionVector;
use popmap_core::{Node, Phase, Slot, SlotSet, Stats};

use crate::measure::Times;

/// What the threads of one life and the story share.
#[derive(Debug)]
pub struct Shared {
    pub slot: Slot,
    pub over: AtomicBool,
    /// Checks that cannot wait, and checks under way.
    pub overdue: AtomicUsize,
    pub in_flight: AtomicUsize,
    pub status: Mutex<Status>,
}

/// What a server was like a moment ago.
#[derive(Clone, Debug)]
pub struct Status {
    /// Whether it may write.
    pub phase: Phase,
    /// Whom it holds live.
    pub live: SlotSet,
    /// Records that are no tombstones.
    pub records: usize,
    /// What it accounts for.
    pub version: VersionVector<64>,
    /// Its counters.
    pub stats: Stats,
}

impl Status {
    pub fn of(node: &Node<'_>) -> Self {
        let map = node.map();
        Self {
            phase: map.phase(),
            live: map.live(),
            records: map.len() - map.tombstones(),
            version: *map.version(),
            stats: node.stats(),
        }
    }
}

/// What a life came to.
pub struct Ended {
    pub totals: Stats,
    pub merge: Times,
}
