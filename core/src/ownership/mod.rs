//! Rendezvous hashing: which server owns a key, and whose write wins between concurrent ones.
//!
//! A pure function of slot and key (Thaler and Ravishankar 1998). Must not know who is alive: callers pass the set.

mod reassign;

use crate::arch::rendezvous::{highest, mix32};
use crate::id::{Key, Slot, SlotSet};
use crate::limits::SLOTS_MAX;

const SALTS: [u32; SLOTS_MAX] = {
    let mut salts = [0; SLOTS_MAX];
    let mut slot = 0;
    while slot < SLOTS_MAX {
        salts[slot] = mix32((slot as u32 + 1).wrapping_mul(0x9e37_79b9));
        slot += 1;
    }
    salts
};

// Then no two slots have the same priority for a key, because the mix is a bijection.
const _: () = {
    let mut i = 0;
    while i < SLOTS_MAX * SLOTS_MAX {
        assert!(i / SLOTS_MAX == i % SLOTS_MAX || SALTS[i / SLOTS_MAX] != SALTS[i % SLOTS_MAX]);
        i += 1;
    }
};

const fn halves_xored(mix: u64) -> u32 {
    (mix ^ mix >> 32) as u32
}

const fn priority_of_mix(slot: Slot, mix: u64) -> u32 {
    mix32(halves_xored(mix) ^ SALTS[slot.index()])
}

/// Returns the member of `among` with the highest priority.
#[inline]
fn highest_among(mix: u64, among: SlotSet) -> Option<Slot> {
    highest(halves_xored(mix), &SALTS, among.bits()).map(|slot| Slot::at(slot as usize))
}

/// Returns `h(slot, key)`, the unweighted priority of `slot` for `key`.
///
/// Part of the wire version, because rule R1 decides between concurrent writes by it: never of who is alive, never
/// of configured weight. With `x` the two halves of [`Key::mix`] xored and `mix32` the `lowbias32` finalizer,
/// `h = mix32(x ^ mix32((slot + 1) * 0x9e3779b9))`, arithmetic modulo 2^32.
pub const fn priority(slot: Slot, key: Key) -> u32 {
    priority_of_mix(slot, key.mix())
}

/// Returns the owner of `key` among `live`: the member with the highest priority, of which no two have the same.
/// `None` when no one is live.
pub fn owner(key: Key, live: SlotSet) -> Option<Slot> {
    highest_among(key.mix(), live)
}

/// Returns `-log2(x / 2^32)` for a priority, in units of 2^-16: from 0 for the highest to 32 * 2^16 and a bit.
///
/// Integer arithmetic only, so every server gets the same number: the whole part from the leading zeros, then one bit
/// of the fraction for each squaring.
const fn depth(priority: u32) -> u64 {
    let x = priority as u64 + 1;
    let whole = 63 - x.leading_zeros() as u64;
    // x / 2^whole in [1, 2), with 31 bits behind the point.
    let mut mantissa = if whole > 31 { x >> (whole - 31) } else { x << (31 - whole) };
    let mut log = whole;
    let mut bit = 0;
    while bit < 16 {
        mantissa = (mantissa * mantissa) >> 31;
        log <<= 1;
        if mantissa >> 32 != 0 {
            log |= 1;
            mantissa >>= 1;
        }
        bit += 1;
    }
    (32 << 16) - log
}

/// Who shares the keys, and how.
///
/// Weighted rendezvous (Schindelhauer and Schomaker 2005): the owner is the live member with the least
/// `-log2(h / 2^32) / weight`, so each owns a share in proportion to its weight, and a change of one member's weight or
/// life moves only keys from or to that member. With equal weights it is the highest `h`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Owners {
    live: SlotSet,
    weights: [u16; SLOTS_MAX],
    /// Live members that own anything, when these all weigh the same.
    equal: Option<SlotSet>,
}

impl Owners {
    /// Returns the owners among `live`, all of equal weight.
    pub const fn equal(live: SlotSet) -> Self {
        Self { live, weights: [1; SLOTS_MAX], equal: Some(live) }
    }

    /// Returns who is live.
    pub const fn live(&self) -> SlotSet {
        self.live
    }

    /// Tells who is live.
    pub fn set_live(&mut self, live: SlotSet) {
        self.live = live;
        self.compare_weights();
    }

    /// Tells a member's weight; with zero it owns nothing, unless all weigh nothing.
    pub fn set_weight(&mut self, slot: Slot, weight: u16) {
        self.weights[slot.index()] = weight;
        self.compare_weights();
    }

    fn compare_weights(&mut self) {
        let weight = |slot: Slot| self.weights[slot.index()];
        let willing: SlotSet = self.live.iter().filter(|&slot| weight(slot) > 0).collect();
        let willing = if willing.is_empty() { self.live } else { willing };
        let first = willing.iter().next().map(weight);
        self.equal = willing.iter().all(|slot| Some(weight(slot)) == first).then_some(willing);
    }

    /// Returns the live member that owns `key`, or `None` when no one is live.
    pub fn owner(&self, key: Key) -> Option<Slot> {
        match self.equal {
            Some(willing) => owner(key, willing),
            None => self.next_owner(key.mix(), self.live),
        }
    }

    /// Fills `slots` with the owners of `key` in order of priority, and returns how many there are.
    ///
    /// When the first fails the second owns the key, and so on.
    pub fn owners(&self, key: Key, slots: &mut [Slot]) -> usize {
        let mix = key.mix();
        let mut left = self.equal.unwrap_or(self.live);
        let mut count = 0;
        for place in slots {
            let Some(next) = self.next_owner(mix, left) else { break };
            left.remove(next);
            *place = next;
            count += 1;
        }
        count
    }

    fn next_owner(&self, mix: u64, among: SlotSet) -> Option<Slot> {
        if self.equal.is_some() {
            return highest_among(mix, among);
        }
        let candidates = among.iter().filter(|slot| self.weights[slot.index()] > 0).map(|slot| {
            let priority = priority_of_mix(slot, mix);
            (slot, priority, depth(priority), u64::from(self.weights[slot.index()]))
        });
        // depth / weight compared across: both below 2^22 and 2^16. Equal quotients are decided as between equals.
        let best = candidates.reduce(|best, next| {
            let (a, b) = (next.2 * best.3, best.2 * next.3);
            if a < b || a == b && (next.1, next.0) > (best.1, best.0) { next } else { best }
        });
        best.map(|(slot, ..)| slot)
    }
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
    fn the_owner_has_the_highest_priority() {
        let mut rng = crate::rng::Rng::new(11);
        for _ in 0..5_000 {
            let (key, mut live) = (Key::from_words([rng.next_u64(), rng.next_u64()]), rng.next_u64());
            for _ in 0..8 {
                let live_set = SlotSet::from_bits(live);
                let expected = live_set.iter().max_by_key(|&slot| (priority(slot, key), slot));
                assert_eq!(owner(key, live_set), expected);
                assert_eq!(Owners::equal(live_set).owner(key), expected);
                live &= rng.next_u64();
            }
        }
        assert_eq!(owner(Key::default(), SlotSet::EMPTY), None);
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

    #[test]
    fn depth_is_a_falling_logarithm() {
        assert_eq!(depth(u32::MAX), 0);
        assert_eq!(depth((1 << 31) - 1), 1 << 16);
        assert_eq!(depth(0), 32 << 16);
        for (low, high) in [(0, 1), (1000, 1001), (1 << 20, 1 << 21), (u32::MAX - 1_000_000, u32::MAX)] {
            assert!(depth(low) >= depth(high));
        }
        let exact = |p: u32| -((f64::from(p) + 1.0) / 4_294_967_296.0).log2() * 65_536.0;
        for i in 0..1_000u32 {
            let p = mix32(i);
            assert!((depth(p) as f64 - exact(p)).abs() < 1.5, "{p}");
        }
    }

    #[test]
    fn shares_follow_weights_and_only_what_must_move_does() {
        let mut owners = Owners::equal(SlotSet::first(8));
        for slot in 0..8 {
            owners.set_weight(Slot::at(slot), 100 * (1 + slot as u16 % 4));
        }
        let keys = || (0..50_000u32).map(|i| Key::from_name(&i.to_le_bytes()));
        let mut counts = [0f64; 8];
        keys().for_each(|key| counts[owners.owner(key).unwrap().index()] += 1.0);
        for (slot, count) in counts.iter().enumerate() {
            let share = 50_000.0 * (1 + slot % 4) as f64 / 20.0;
            assert!((count - share).abs() < 5.0 * share.sqrt(), "slot {slot}: {count} of {share}");
        }
        let mut heavier = owners;
        heavier.set_weight(Slot::at(2), 600);
        let mut without = owners;
        without.set_live(SlotSet::first(8).without(Slot::at(5)));
        let (mut to, mut from) = (0, 0);
        for key in keys() {
            let before = owners.owner(key).unwrap();
            let after = heavier.owner(key).unwrap();
            assert!(before == after || after == Slot::at(2));
            to += u32::from(before != after);
            let after = without.owner(key).unwrap();
            assert_eq!(before != after, before == Slot::at(5));
            from += u32::from(before != after);
            let mut order = [Slot::at(0); 8];
            assert_eq!(owners.owners(key, &mut order), 8);
            assert_eq!(order[0], before);
            assert!(before != Slot::at(5) || order[1] == after);
        }
        assert!(to > 0 && f64::from(from) == counts[5]);
    }

    #[test]
    fn who_weighs_nothing_owns_nothing_unless_all_do() {
        let mut owners = Owners::equal(SlotSet::first(2));
        owners.set_weight(Slot::at(1), 0);
        let key = |i: u32| Key::from_name(&i.to_le_bytes());
        assert!((0..100).all(|i| owners.owner(key(i)) == Some(Slot::at(0))));
        assert_eq!(owners.owners(key(1), &mut [Slot::at(0); 2]), 1);
        assert_eq!(owners.equal, Some(SlotSet::first(1)), "those that own anything weigh the same");
        owners.set_weight(Slot::at(0), 0);
        assert!((0..100).any(|i| owners.owner(key(i)) == Some(Slot::at(1))));
        assert_eq!(owners.equal, Some(SlotSet::first(2)));

        let mut owners = Owners::equal(SlotSet::first(3));
        owners.set_weight(Slot::at(1), 0);
        owners.set_weight(Slot::at(2), 2);
        assert_eq!(owners.equal, None);
        let mut slots = [Slot::at(7); 3];
        assert_eq!(owners.owners(key(1), &mut slots), 2);
        assert!(!slots[..2].contains(&Slot::at(1)));
    }

    /// The quotients are of logarithms to 16 bits behind the point, so some are equal.
    #[test]
    fn of_equal_quotients_the_higher_priority_decides() {
        let live = SlotSet::first(64);
        let mut owners = Owners::equal(live);
        owners.set_weight(Slot::at(9), 2);
        let mut ties = 0;
        for i in 0..20_000u32 {
            let key = Key::from_name(&i.to_le_bytes());
            let quotient = |slot: &Slot| depth(priority(*slot, key)) * if slot.get() == 9 { 1 } else { 2 };
            let least = live.iter().map(|slot| quotient(&slot)).min().unwrap();
            let among = || live.iter().filter(|slot| quotient(slot) == least);
            ties += u32::from(among().count() > 1);
            assert_eq!(owners.owner(key), among().max_by_key(|&slot| priority(slot, key)), "key {i}");
        }
        assert!(ties >= 5, "{ties}");
    }

    const GOLDEN_MIX: u64 = 0x171f37e038d4f5b2;
    const GOLDEN: [(usize, u32); 3] = [(0, 0x5b4a0fef), (1, 0x968c2731), (63, 0x2d640048)];
}
