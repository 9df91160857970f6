//! The plan: what every server knows from the start.
//!
//! Knows the origins, when each is checked, and the time that everything is measured in. Must not know what a check
//! finds, nor which servers there are.

use std::collections::HashMap;
use std::sync::Arc;

use popmap_core::Key;
use popmap_core::auth::KeyRing;
use popmap_core::time::Duration;

use crate::measure::Clock;
use crate::origins::{Origin, OriginId};
use crate::schedule::Calendar;

/// What every server knows.
pub struct Plan {
    /// The time that everything is measured in.
    pub clock: Clock,
    /// The origins, by [`OriginId`].
    pub origins: Arc<[Origin]>,
    /// Their keys.
    pub keys: Arc<[Key]>,
    /// When each is checked.
    pub calendar: Arc<Calendar>,
    /// The port of the origins of our own fleet.
    pub port: u16,
    /// What packets are authenticated by.
    pub ring: KeyRing,
    ids: HashMap<Key, OriginId>,
}

impl Plan {
    /// Returns the plan that each origin is checked once an interval, in an order drawn from `seed`.
    pub fn new(
        clock: Clock,
        origins: Arc<[Origin]>,
        interval: Duration,
        seed: u64,
        port: u16,
        ring: KeyRing,
    ) -> Self {
        let keys: Arc<[Key]> = origins.iter().map(|origin| origin.key).collect();
        Self {
            clock,
            ids: (0..).zip(keys.iter()).map(|(id, key)| (*key, id)).collect(),
            calendar: Arc::new(Calendar::new(origins.len(), interval, seed)),
            origins,
            keys,
            port,
            ring,
        }
    }

    /// Returns the origin of a key; `None` for a key that is no origin's.
    pub fn id(&self, key: Key) -> Option<OriginId> {
        self.ids.get(&key).copied()
    }
}
