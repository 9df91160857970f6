//! Rendezvous hashing: which server owns a key, and whose write wins between concurrent ones.
//!
//! A pure function of slot and key (Thaler and Ravishankar 1998). Must not know who is alive: callers pass the set.

use crate::id::{Key, Slot, SlotSet};
use crate::limits::SLOTS_MAX;

/// The 32-bit finalizer that priorities are made of (`lowbias32`, Wellons 2018): a bijection with low bias.
const fn mix32(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ x >> 16
}

const SALTS: [u32; SLOTS_MAX] = {
    let mut salts = [0; SLOTS_MAX];
    let mut slot = 0;
    while slot < SLOTS_MAX {
        salts[slot] = mix32((slot as u32 + 1).wrapping_mul(0x9e37_79b9));
        slot += 1;
    }
    salts
};

const fn priority_of_mix(slot: Slot, mix: u64) -> u32 {
    mix32((mix ^ mix >> 32) as u32 ^ SALTS[slot.index()])
}

/// Returns `h(slot, key)`, the unweighted priority of `slot` for `key`.
///
/// Part of the wire version, because rule R1 decides between concurrent writes by it: never of who is alive, never
/// of configured weight. With `x` the two halves of [`Key::mix`] xored and `mix32` the `lowbias32` finalizer,
/// `h = mix32(x ^ mix32((slot + 1) * 0x9e3779b9))`, arithmetic modulo 2^32.
pub const fn priority(slot: Slot, key: Key) -> u32 {
    priority_of_mix(slot, key.mix())
}

/// Returns the owner of `key` among `live`: the member with the highest priority, the higher slot between equals.
/// `None` when no one is live.
pub fn owner(key: Key, live: SlotSet) -> Option<Slot> {
    let mix = key.mix();
    live.iter().max_by_key(|&slot| (priority_of_mix(slot, mix), slot))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Worked out by an independent program from the formulas in the documentation.
    #[test]
    fn golden_priorities() {
        let key = Key(*b"0123456789abcdef");
        assert_eq!(key.mix(), GOLDEN_MIX);
        for (slot, expected) in GOLDEN {
            assert_eq!(priority(Slot::at(slot), key), expected, "slot {slot}");
        }
        assert_eq!(Key::from_name(b""), Key(0x99aa_06d3_0147_98d8_6001_c324_468d_497f_u128.to_le_bytes()));
    }

    #[test]
    fn owners_are_balanced_and_only_the_dead_ones_keys_move() {
        let all = SlotSet::first(64);
        let dead = Slot::at(17);
        let (mut counts, mut moved) = ([0u32; 64], 0);
        for i in 0..50_000u32 {
            let key = Key::from_name(&i.to_le_bytes());
            let before = owner(key, all).unwrap();
            let after = owner(key, all.without(dead)).unwrap();
            counts[before.index()] += 1;
            moved += u32::from(before != after);
            assert!(before == dead || before == after);
        }
        assert_eq!(moved, counts[17]);
        // 781 expected; five standard deviations are 139.
        assert!(counts.iter().all(|&n| n.abs_diff(781) < 140), "{counts:?}");
    }

    const GOLDEN_MIX: u64 = 0xb8e7b6bba0de0338;
    const GOLDEN: [(usize, u32); 3] = [(0, 0x6ad7cbac), (1, 0x086109ff), (63, 0xc2ee5cf1)];
}
