//! Who owns which origin, as one server sees it, kept up to date as servers come and go.
//!
//! Knows whose origins are whose. Must not know when anything is checked.

use std::mem;
use std::sync::Arc;

use popmap_core::ownership::Owners;
use popmap_core::{Key, Slot, SlotSet};

use crate::origins::OriginId;

/// The owner of each origin among the servers that one of them holds live.
#[derive(Clone, Debug)]
pub struct Assignment {
    me: Slot,
    keys: Arc<[Key]>,
    shares: Owners,
    /// By [`OriginId`]; means nothing while nobody is live.
    owners: Vec<Slot>,
}

impl Assignment {
    /// Returns the assignment of `me`, which knows of nobody yet and owns nothing.
    pub fn new(me: Slot, keys: Arc<[Key]>) -> Self {
        let owners = vec![me; keys.len()];
        Self { me, keys, shares: Owners::equal(SlotSet::EMPTY), owners }
    }

    /// Takes over who is live; returns the origins that are ours from now on and were not before.
    pub fn update(&mut self, live: SlotSet) -> Vec<OriginId> {
        let before = mem::replace(&mut self.shares, Owners::equal(live));
        let Self { me, keys, shares, owners } = self;
        let mut moved = Vec::new();
        shares.reassign(&before, owners, |place| keys[place], |place, _| moved.push(place as OriginId));
        if live.is_empty() {
            return Vec::new();
        }
        if before.live().is_empty() {
            // What is ours now may have stood there before, and meant nothing.
            return (0..owners.len() as OriginId).filter(|&origin| owners[origin as usize] == *me).collect();
        }
        moved.retain(|&origin| owners[origin as usize] == *me);
        moved
    }

    /// Returns who is held live.
    pub fn live(&self) -> SlotSet {
        self.shares.live()
    }

    /// Whether an origin is ours.
    pub fn is_ours(&self, origin: OriginId) -> bool {
        !self.live().is_empty() && self.owners.get(origin as usize) == Some(&self.me)
    }
}

#[cfg(test)]
mod tests {
    use popmap_core::ownership::owner;
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
