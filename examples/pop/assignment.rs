//! Who owns which origin, as one server sees it, kept up to date as servers come and go.
//!
//! Knows rendezvous hashing over equal weights. Must not know when anything is checked.
//!
//! Ownership is a pure function of key and live servers, so it could be worked out anew for each change. This does only
//! what a change asks for: a server that leaves gives up what it owned, and one that comes is weighed against each
//! owner.

use std::sync::Arc;

use popmap_core::ownership::{owner, priority};
use popmap_core::{Key, Slot, SlotSet};

use crate::origins::OriginId;

/// The owner of each origin among the servers that one of them holds live.
#[derive(Clone, Debug)]
pub struct Assignment {
    me: Slot,
    keys: Arc<[Key]>,
    live: SlotSet,
    owners: Vec<Slot>,
}

impl Assignment {
    /// Returns the assignment of `me`, which knows of nobody yet and owns nothing.
    pub fn new(me: Slot, keys: Arc<[Key]>) -> Self {
        Self { me, keys, live: SlotSet::EMPTY, owners: Vec::new() }
    }

    /// Takes over who is live; returns the origins that are ours from now on and were not before.
    pub fn update(&mut self, live: SlotSet) -> Vec<OriginId> {
        let before = std::mem::replace(&mut self.live, live);
        let mut gained = Vec::new();
        if live.is_empty() {
            self.owners.clear();
            return gained;
        }
        let is_first = self.owners.is_empty();
        if is_first {
            self.owners.resize(self.keys.len(), self.me);
        }
        let (me, came) = (self.me, live.difference(before));
        for ((id, key), held) in (0..).zip(self.keys.iter()).zip(&mut self.owners) {
            let next = if is_first || !live.contains(*held) {
                owner(*key, live).unwrap_or(me)
            } else {
                let rank = |slot: Slot| (priority(slot, *key), slot);
                came.iter().fold(*held, |best, slot| if rank(slot) > rank(best) { slot } else { best })
            };
            if next == me && (is_first || *held != me) {
                gained.push(id);
            }
            *held = next;
        }
        gained
    }

    /// Returns who is held live.
    pub fn live(&self) -> SlotSet {
        self.live
    }

    /// Whether an origin is ours.
    pub fn is_ours(&self, origin: OriginId) -> bool {
        self.owners.get(origin as usize) == Some(&self.me)
    }
}

#[cfg(test)]
mod tests {
    use popmap_core::rng::Rng;

    use super::*;

    #[test]
    fn agrees_with_rendezvous_whatever_changes_in_whatever_order() {
        let keys: Arc<[Key]> = (0..500u32).map(|id| Key::from_name(&id.to_le_bytes())).collect();
        let (me, mut rng) = (Slot::at(3), Rng::new(7));
        let mut assignment = Assignment::new(me, Arc::clone(&keys));
        let mut ours = vec![false; keys.len()];
        for step in 0..300 {
            let live = SlotSet::from_bits(rng.next_u64() & rng.next_u64()).with(me);
            let live = if step % 50 == 49 { SlotSet::EMPTY } else { live };
            let gained = assignment.update(live);
            for (id, key) in (0..).zip(keys.iter()) {
                let now = owner(*key, live) == Some(me);
                assert_eq!(assignment.is_ours(id), now, "step {step}");
                assert_eq!(gained.contains(&id), now && !ours[id as usize], "step {step}");
                ours[id as usize] = now;
            }
        }
    }
}
