//! What a server tells the story while it runs, and when it has ended.
//!
//! Must not know who reads it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use popmap_core::{Node, Phase, Slot, SlotSet};
use serde::{Deserialize, Serialize};

use crate::measure::{Times, Totals};

/// What the threads of one life and the story share.
#[derive(Debug)]
pub struct Shared {
    pub slot: Slot,
    /// Bytes of headers that each packet has on its wire.
    pub headers: u64,
    pub over: AtomicBool,
    /// Checks that cannot wait, and checks under way.
    pub overdue: AtomicUsize,
    pub in_flight: AtomicUsize,
    /// Results given to the driver.
    pub put: AtomicU64,
    pub status: Mutex<Status>,
}

/// What a server was like a moment ago.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Whether it may write.
    pub is_active: bool,
    /// Whom it holds live.
    #[serde(with = "bits")]
    pub live: SlotSet,
    /// Records that are no tombstones.
    pub records: usize,
    /// Results that the driver took from its queue.
    pub taken: u64,
    /// What it accounts for, by slot.
    pub version: Vec<u64>,
    /// Its counters.
    pub totals: Totals,
}

impl Status {
    /// Returns what a node is like whose driver has taken so many results, on a wire where packets have so many bytes of
    /// headers.
    pub fn of(node: &Node<'_>, taken: u64, headers: u64) -> Self {
        let map = node.map();
        Self {
            is_active: matches!(map.phase(), Phase::Active { .. }),
            live: map.live(),
            records: map.len() - map.tombstones(),
            taken,
            version: map.version().counters().to_vec(),
            totals: Totals::of(&node.stats(), headers),
        }
    }
}

/// What a life came to.
pub struct Ended {
    pub totals: Totals,
    pub merge: Times,
}

/// A set of slots as a number.
pub mod bits {
    use popmap_core::SlotSet;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(slots: &SlotSet, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(slots.bits())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SlotSet, D::Error> {
        u64::deserialize(deserializer).map(SlotSet::from_bits)
    }
}
