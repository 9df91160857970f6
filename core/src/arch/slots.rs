//! A search through one byte a record.
//!
//! Knows slots and sets of them. Must not know what the records are.

use super::{Kind, Level, at_level};
use crate::id::{Slot, SlotSet};

/// Records that are searched at once.
pub(crate) const CHUNK: usize = 64;

/// Returns the places whose slot is in `set`: one bit each, the first place in the lowest.
#[inline]
pub(crate) fn places_in(slots: &[Slot; CHUNK], set: SlotSet) -> u64 {
    places_at(Level::best(), slots, set)
}

at_level! {
    fn places_at(slots: &[Slot; CHUNK], set: SlotSet) -> u64, place_by_place
}

#[inline(always)]
fn place_by_place(slots: &[Slot; CHUNK], set: SlotSet) -> u64 {
    let bits = slots.iter().enumerate();
    bits.fold(0, |places, (i, slot)| places | (set.bits() >> (slot.get() % 64) & 1) << i)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn every_level_agrees_with_the_sets_own_answer() {
        let mut rng = Rng::new(4);
        for round in 0..5_000 {
            let slots: [Slot; CHUNK] = std::array::from_fn(|_| Slot::at(rng.next_u64() as usize % 64));
            let set = match round % 4 {
                0 => 1 << (rng.next_u64() % 64),
                1 => rng.next_u64() & rng.next_u64() & rng.next_u64(),
                2 => [0, u64::MAX][round / 4 % 2],
                _ => rng.next_u64(),
            };
            let set = SlotSet::from_bits(set);
            for level in Level::all() {
                let places = places_at(level, &slots, set);
                for (i, &slot) in slots.iter().enumerate() {
                    assert_eq!(places >> i & 1 == 1, set.contains(slot), "{level:?} {i}");
                }
            }
        }
    }
}
