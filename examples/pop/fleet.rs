//! The origins: which there are, how they really fare, and what a check of one finds.
//!
//! Knows the truth that the PoP is to find out. Must not know servers, other than to say who owns what.

use std::collections::HashMap;
use std::rc::Rc;

use popmap_core::ownership;
use popmap_core::rng::Rng;
use popmap_core::time::Instant;
use popmap_core::{Key, Slot, SlotSet};

use crate::health::Health;

/// An origin's place in the fleet.
pub type OriginId = u32;

/// Returns the keys of `n` origins, by [`OriginId`].
pub fn keys(n: usize) -> Vec<Key> {
    (0..n).map(|id| Key::from_name(format!("origin-{id:06}.example.net").as_bytes())).collect()
}

/// Who owns each origin while one set of servers is live, by [`OriginId`].
pub type Owners = Rc<[Slot]>;

/// The origins behind the PoP.
pub struct Fleet<'a> {
    keys: &'a [Key],
    ids: HashMap<Key, OriginId>,
    down: Vec<bool>,
    /// What the last check of each found.
    found_up: Vec<bool>,
    /// Origins from here on have been deleted.
    kept: usize,
    checks: Vec<u32>,
    /// Ownership is a pure function of key and live servers: worked out once for each set, whoever asks.
    owners: HashMap<u64, Owners>,
    rng: Rng,
}

impl<'a> Fleet<'a> {
    /// Returns a fleet that is up, and was never checked.
    pub fn new(keys: &'a [Key], seed: u64) -> Self {
        Self {
            keys,
            ids: (0..).zip(keys).map(|(id, key)| (*key, id)).collect(),
            down: vec![false; keys.len()],
            found_up: vec![true; keys.len()],
            kept: keys.len(),
            checks: vec![0; keys.len()],
            owners: HashMap::new(),
            rng: Rng::new(seed),
        }
    }

    /// Returns the key of an origin.
    pub fn key(&self, origin: OriginId) -> Key {
        self.keys[origin as usize]
    }

    /// Returns the origin of a key; `None` for a key that is no origin's.
    pub fn id(&self, key: Key) -> Option<OriginId> {
        self.ids.get(&key).copied()
    }

    /// Returns the origins that have not been deleted.
    pub fn ids(&self) -> std::ops::Range<OriginId> {
        0..self.kept as OriginId
    }

    /// Returns the number of origins that there ever were.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Checks an origin: what a request to it finds at `now`.
    pub fn check(&mut self, origin: OriginId, now: Instant) -> Health {
        let at = origin as usize;
        self.checks[at] += 1;
        self.found_up[at] = !self.down[at];
        // Half a millisecond to about ten, most of them short.
        let latency_us = 500 + (self.rng.below(100) * self.rng.below(100)) as u32;
        Health::new(self.keys[at], !self.down[at], latency_us, now, self.checks[at])
    }

    /// Whether the last check of `origin`, if there was any, found it up.
    pub fn was_last_up(&self, origin: OriginId) -> bool {
        self.found_up[origin as usize]
    }

    /// Returns how often each origin was checked so far.
    pub fn checks(&self) -> &[u32] {
        &self.checks[..self.kept]
    }

    /// Whether `health` is what the last check of `origin` found, and that is how it fares.
    pub fn is_latest(&self, origin: OriginId, health: &Health) -> bool {
        let at = origin as usize;
        health.is_whole(self.keys[at])
            && health.checks() == self.checks[at]
            && health.is_up() != self.down[at]
    }

    /// Takes origins down: from now on a check finds them failing.
    pub fn fail(&mut self, origins: impl Iterator<Item = OriginId>) {
        origins.for_each(|origin| self.down[origin as usize] = true);
    }

    /// Deletes the last `n` origins and returns them.
    pub fn delete(&mut self, n: usize) -> std::ops::Range<OriginId> {
        let until = self.kept;
        self.kept = until.saturating_sub(n);
        self.kept as OriginId..until as OriginId
    }

    /// Whether an origin has been deleted.
    pub fn is_deleted(&self, origin: OriginId) -> bool {
        origin as usize >= self.kept
    }

    /// Returns who owns what while `live` are alive.
    ///
    /// # Panics
    /// When `live` is empty: then nobody asks.
    pub fn owners(&mut self, live: SlotSet) -> Owners {
        let keys = self.keys;
        let work_out = || {
            let owner = |key: &Key| ownership::owner(*key, live).expect("whoever asks is live");
            keys.iter().map(owner).collect()
        };
        Rc::clone(self.owners.entry(live.bits()).or_insert_with(work_out))
    }
}
