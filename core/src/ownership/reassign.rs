//! Owners kept beside their keys, and what a change of the members does to them.
//!
//! Knows which owners a change can move. Must not know why it came, nor what follows from a new owner.

use super::{Key, Owners, SALTS, SLOTS_MAX, Slot, SlotSet, halves_xored};
use crate::arch::rendezvous::outdone;
use crate::arch::slots::{CHUNK, places_in};

impl Owners {
    /// Brings `owners`, which holds the owner of `key(i)` at `i` as `before` had it, up to date with this, and calls
    /// `moved` with each place whose owner changed and with the owner that it had.
    ///
    /// Does only what the change asks for: keys of a member that left or weighs less are assigned anew, found by a
    /// search through `owners`; a member that came or weighs more is weighed against the owner of each key. Calls `key`
    /// for these only, so that after a death all but the dead one's keys stay untouched.
    ///
    /// Before the first call let `before` have no one live; then `owners` may hold anything. While no one is live
    /// nobody owns a key: `owners` is left as it is, and the next call finds its way from there.
    ///
    /// ```
    /// use popmap_core::{Key, Slot, SlotSet, ownership::Owners};
    ///
    /// let keys: Vec<Key> = (0..1_000u32).map(|i| Key::from_name(&i.to_le_bytes())).collect();
    /// let mut owners = vec![Slot::at(0); keys.len()];
    /// let (nobody, all) = (Owners::equal(SlotSet::EMPTY), Owners::equal(SlotSet::first(8)));
    /// all.reassign(&nobody, &mut owners, |i| keys[i], |_, _| {});
    /// assert_eq!(Some(owners[17]), all.owner(keys[17]));
    ///
    /// let rest = Owners::equal(SlotSet::first(8).without(Slot::at(3)));
    /// rest.reassign(&all, &mut owners, |i| keys[i], |_, from| assert_eq!(from, Slot::at(3)));
    /// assert!(!owners.contains(&Slot::at(3)));
    /// ```
    pub fn reassign(
        &self,
        before: &Self,
        owners: &mut [Slot],
        key: impl Fn(usize) -> Key,
        mut moved: impl FnMut(usize, Slot),
    ) {
        if self.live.is_empty() {
            return;
        }
        let slots = || (0..SLOTS_MAX).map(Slot::at);
        let rose: SlotSet = slots().filter(|&slot| self.share(slot) > before.share(slot)).collect();
        let fell = |&slot: &Slot| self.share(slot) < before.share(slot);
        // Also those that had no share before: at first `owners` may name them.
        let lost: SlotSet = slots().filter(|slot| self.share(*slot) == 0 || fell(slot)).collect();
        let all = self.equal.unwrap_or(self.live);

        let mut weigh = |place: usize, owner: &mut Slot| {
            let among = if lost.contains(*owner) { all } else { rose.with(*owner) };
            let Some(next) = self.next_owner(key(place).mix(), among) else { return };
            if next != *owner {
                moved(place, core::mem::replace(owner, next));
            }
        };

        let (chunks, rest) = owners.as_chunks_mut::<CHUNK>();
        let searched = chunks.len() * CHUNK;
        for (number, chunk) in chunks.iter_mut().enumerate() {
            let first = number * CHUNK;
            let mut places = places_in(chunk, lost);
            if !rose.is_empty() {
                places |= self.outdone(chunk, rose, |i| key(first + i));
            }
            while places != 0 {
                let place = places.trailing_zeros() as usize;
                weigh(first + place, &mut chunk[place]);
                places &= places - 1;
            }
        }
        for (place, owner) in rest.iter_mut().enumerate() {
            if !rose.is_empty() || lost.contains(*owner) {
                weigh(searched + place, owner);
            }
        }
    }

    /// Returns the places of `owners` that may go to a member of `rose`, one bit each. Where all weigh the same they
    /// are just those, but when many rose it costs less to weigh each key once than all against each key.
    fn outdone(&self, owners: &[Slot; CHUNK], rose: SlotSet, key: impl Fn(usize) -> Key) -> u64 {
        if self.equal.is_none() || rose.len() > 8 {
            return u64::MAX;
        }
        let xs = core::array::from_fn(|i| halves_xored(key(i).mix()));
        outdone(&xs, &owners.map(|owner| SALTS[owner.index()]), &SALTS, rose.bits())
    }

    /// Returns what a member weighs among those that own anything, zero for the others.
    fn share(&self, slot: Slot) -> u16 {
        match self.equal {
            // All may weigh nothing.
            Some(willing) if willing.contains(slot) => self.weights[slot.index()].max(1),
            None if self.live.contains(slot) => self.weights[slot.index()],
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn keys(count: u64, rng: &mut Rng) -> Vec<Key> {
        (0..count).map(|_| Key::from_words([rng.next_u64(), rng.next_u64()])).collect()
    }

    /// A member that comes, one that leaves, many of either, weights, nobody.
    fn change(owners: &mut Owners, rng: &mut Rng) {
        let slot = Slot::at(rng.below(64) as usize);
        match rng.below(10) {
            0..=2 => owners.set_live(owners.live().without(slot)),
            3..=5 => owners.set_live(owners.live().with(slot)),
            6 => owners.set_live(SlotSet::from_bits(rng.next_u64() & rng.next_u64())),
            7 => owners.set_live(SlotSet::from_bits(rng.next_u64() & 0xff)),
            8 => owners.set_weight(slot, rng.below(4) as u16),
            _ => owners.set_live(SlotSet::from_bits(rng.next_u64() & 3)),
        }
    }

    /// Holds every place against its owner worked out anew, and what was said to have moved against what did.
    fn agrees_over_changes(mut now: Owners, mut change: impl FnMut(&mut Owners, u32, &mut Rng)) {
        let mut rng = Rng::new(21);
        let keys = keys(300, &mut rng);
        // Anything, at first: slots that are live and slots that are not.
        let mut owners: Vec<Slot> = keys.iter().map(|_| Slot::at(rng.below(64) as usize)).collect();
        let mut before = Owners::equal(SlotSet::EMPTY);
        for step in 0..600 {
            let held = owners.clone();
            let mut moved = vec![None; keys.len()];
            now.reassign(
                &before,
                &mut owners,
                |i| keys[i],
                |i, from| {
                    assert_eq!(moved[i].replace(from), None, "step {step}: told twice");
                },
            );
            for (i, &key) in keys.iter().enumerate() {
                if let Some(owner) = now.owner(key) {
                    assert_eq!(owners[i], owner, "step {step}, key {i}, {before:?} -> {now:?}");
                }
                assert_eq!(moved[i], (owners[i] != held[i]).then_some(held[i]), "step {step}, key {i}");
            }
            before = now;
            change(&mut now, step, &mut rng);
        }
    }

    #[test]
    fn agrees_with_owners_worked_out_anew_among_equals() {
        let equal = |live: SlotSet| Owners::equal(live);
        agrees_over_changes(equal(SlotSet::first(64)), |owners, step, rng| {
            change(owners, rng);
            *owners = equal(if step % 40 == 39 { SlotSet::EMPTY } else { owners.live() });
        });
    }

    #[test]
    fn agrees_with_owners_worked_out_anew_whatever_they_weigh() {
        agrees_over_changes(Owners::equal(SlotSet::first(12)), |owners, step, rng| match step % 40 {
            // To and from equal weights, all of them zero now and then.
            39 => {
                let weight = rng.below(2) as u16;
                (0..64).for_each(|slot| owners.set_weight(Slot::at(slot), weight));
            }
            // Weights alone, up and down and to zero.
            8.. => owners.set_weight(Slot::at(rng.below(12) as usize), rng.below(6) as u16),
            _ => change(owners, rng),
        });
    }

    #[test]
    fn only_keys_that_can_move_are_looked_at() {
        let keys = keys(1_000, &mut Rng::new(22));
        let (all, dead) = (Owners::equal(SlotSet::first(64)), Slot::at(17));
        let rest = Owners::equal(SlotSet::first(64).without(dead));
        let mut owners = vec![Slot::at(0); keys.len()];
        all.reassign(&Owners::equal(SlotSet::EMPTY), &mut owners, |i| keys[i], |_, _| {});
        let its = owners.iter().filter(|&&owner| owner == dead).count();
        assert!(its > 0);
        let looked_at = core::cell::Cell::new(0);
        let key = |i: usize| {
            looked_at.set(looked_at.get() + 1);
            keys[i]
        };
        let mut gone = 0;
        rest.reassign(&all, &mut owners, key, |_, from| gone += usize::from(from == dead));
        assert_eq!((looked_at.get(), gone), (its, its));
        rest.reassign(&rest, &mut owners, key, |_, _| unreachable!("nothing changed"));
        assert_eq!(looked_at.get(), its);
        all.reassign(&rest, &mut owners, key, |_, _| gone -= 1);
        assert_eq!(gone, 0);
    }
}
