//! What has no map around it: owners, version vectors, the checksum; and a ping with members.
//!
//! Knows the work and what stands around it. Must not know how it is measured.

use std::hint::black_box;

use popmap_core::clock::VersionVector;
use popmap_core::limits::PAYLOAD_DEFAULT;
use popmap_core::ownership::Owners;
use popmap_core::rng::Rng;
use popmap_core::wire::{Envelope, Kind};
use popmap_core::{Key, Slot, SlotSet};

use crate::ping;
use crate::stream::{SLOTS, key, life, sealed};

/// Keys whose owners are found in a round.
pub const KEYS: usize = 1_000;
/// Owners that are asked for together.
const TOP: usize = 3;
/// Pairs of version vectors.
pub const PAIRS: usize = 64;
/// Keys that a death may move.
const DEATH_KEYS: u64 = 50_000;
/// Packets that are sealed in a round.
const SEALS: usize = 64;
/// Pings that are taken in a round.
const PINGS: usize = 8;

/// A kernel, or what little more of the node it takes to call one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Kernel {
    /// Finding the owner of a key among 64 servers
    Owner,
    /// Finding the first three owners of a key among 64 servers
    Owners,
    /// Comparing two version vectors of 64 slots
    VectorCompare,
    /// Joining two version vectors of 64 slots
    VectorJoin,
    /// Finding the new owners of 50,000 keys after a death
    Death,
    /// Writing the header and checksum of a packet of 1,400 bytes
    Seal,
    /// A node takes a ping with 30 members that all change, and answers
    Swim,
}

impl Kernel {
    /// Every kernel.
    pub const ALL: [Self; 7] = [
        Self::Owner,
        Self::Owners,
        Self::VectorCompare,
        Self::VectorJoin,
        Self::Death,
        Self::Seal,
        Self::Swim,
    ];

    /// Returns the kernel's name in tables and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Owners => "owners",
            Self::VectorCompare => "vector-compare",
            Self::VectorJoin => "vector-join",
            Self::Death => "death",
            Self::Seal => "seal",
            Self::Swim => "swim",
        }
    }

    /// Returns what one call of it is for.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Owner | Self::Owners => "key",
            Self::VectorCompare | Self::VectorJoin => "pair",
            Self::Death => "death",
            Self::Seal | Self::Swim => "packet",
        }
    }

    /// Returns how many of it one round does.
    #[must_use]
    pub const fn per_round(self) -> usize {
        match self {
            Self::Owner | Self::Owners => KEYS,
            Self::VectorCompare | Self::VectorJoin => PAIRS,
            Self::Death => 1,
            Self::Seal => SEALS,
            Self::Swim => PINGS,
        }
    }

    /// Does so many rounds; `count` is given the work of each and must do it.
    ///
    /// # Panics
    /// When something is not done as it should be: what was counted would not be what it is called.
    pub fn run(self, rounds: usize, count: &mut dyn FnMut(&mut dyn FnMut())) {
        match self {
            Self::Owner | Self::Owners => {
                let (everybody, keys) = (everybody(), keys(KEYS as u64));
                let find = if self == Self::Owner { find_owner } else { find_owners };
                (0..rounds).for_each(|_| count(&mut || find(&everybody, &keys)));
            }
            Self::VectorCompare => {
                let pairs = vectors(&counters());
                (0..rounds).for_each(|_| count(&mut || compare(&pairs)));
            }
            Self::VectorJoin => {
                let pairs = vectors(&counters());
                for _ in 0..rounds {
                    let mut into = firsts(&pairs);
                    count(&mut || join(&mut into, &pairs));
                }
            }
            Self::Death => {
                let mut deaths = Deaths::default();
                for round in 0..rounds {
                    deaths.die(Slot::at(round % SLOTS), |reassign| count(reassign));
                }
            }
            Self::Seal => seals(rounds, count),
            Self::Swim => pings(rounds, count),
        }
    }
}

/// Returns keys.
#[must_use]
pub fn keys(count: u64) -> Vec<Key> {
    (0..count).map(key).collect()
}

/// Returns the owners when all 64 servers are live.
#[must_use]
pub const fn everybody() -> Owners {
    Owners::equal(SlotSet::first(SLOTS))
}

/// Finds the owner of each key.
#[inline]
pub fn find_owner(owners: &Owners, keys: &[Key]) {
    for &key in keys {
        black_box(black_box(owners).owner(black_box(key)));
    }
}

fn find_owners(owners: &Owners, keys: &[Key]) {
    let mut best = [Slot::at(0); TOP];
    for &key in keys {
        black_box(black_box(owners).owners(black_box(key), &mut best));
        black_box(&best);
    }
}

/// The counters of two version vectors.
pub type Counters = [[u64; SLOTS]; 2];
/// Two version vectors.
pub type Vectors = [VersionVector<SLOTS>; 2];

/// Returns [`PAIRS`] pairs of counters: a quarter each equal, before, after and concurrent.
#[must_use]
pub fn counters() -> Vec<Counters> {
    let mut rng = Rng::new(1);
    let pair = |kind: usize| {
        let counter = |_| 1 << 32 | rng.below(1 << 20);
        let a: [u64; SLOTS] = std::array::from_fn(counter);
        let (mut a, mut b, mut changed) = (a, a, SLOTS);
        if kind & 1 != 0 {
            changed = rng.below(SLOTS as u64) as usize;
            b[changed] += 1;
        }
        if kind & 2 != 0 {
            let at = rng.below(SLOTS as u64 - 1) as usize;
            a[at + usize::from(at >= changed)] += 1;
        }
        [a, b]
    };
    (0..PAIRS).map(|n| n % 4).map(pair).collect()
}

/// Returns version vectors with these counters.
#[must_use]
pub fn vectors(counters: &[Counters]) -> Vec<Vectors> {
    counters.iter().map(|pair| pair.map(VersionVector::from_counters)).collect()
}

/// Returns the first of each pair, for [`join`].
#[must_use]
pub fn firsts(pairs: &[Vectors]) -> Vec<VersionVector<SLOTS>> {
    pairs.iter().map(|[a, _]| *a).collect()
}

/// Compares the vectors of each pair.
#[inline]
pub fn compare(pairs: &[Vectors]) {
    for [a, b] in pairs {
        black_box(black_box(a).compare(black_box(b)));
    }
}

/// Joins the second of each pair into one of `into`.
#[inline]
pub fn join(into: &mut [VersionVector<SLOTS>], pairs: &[Vectors]) {
    for (a, [_, b]) in into.iter_mut().zip(pairs) {
        black_box(&mut *a).join(black_box(b));
    }
}

/// 50,000 keys with their owners among 64 servers, who die and come back.
pub struct Deaths {
    keys: Vec<Key>,
    everybody: Owners,
    owned: Vec<Slot>,
}

impl Default for Deaths {
    fn default() -> Self {
        let (keys, everybody) = (keys(DEATH_KEYS), everybody());
        let mut owned = vec![Slot::at(0); keys.len()];
        everybody.reassign(&Owners::equal(SlotSet::EMPTY), &mut owned, |i| keys[i], |_, _| ());
        Self { keys, everybody, owned }
    }
}

impl Deaths {
    /// Returns the keys.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Has a server die and come back; `measure` is given the search for the new owners and must run it once.
    ///
    /// # Panics
    /// When other keys move than the dead one's.
    pub fn die(&mut self, dead: Slot, measure: impl FnOnce(&mut dyn FnMut())) {
        let Self { keys, everybody, owned } = self;
        let rest = Owners::equal(SlotSet::first(SLOTS).without(dead));
        let expected = owned.iter().filter(|&&owner| owner == dead).count();
        let mut moved = 0;
        measure(&mut || rest.reassign(everybody, owned, |i| keys[i], |_, _| moved += 1));
        assert!(
            moved == expected && !owned.contains(&dead),
            "only the dead one's keys move, and all of them"
        );
        everybody.reassign(&rest, owned, |i| keys[i], |_, _| ());
    }
}

fn seals(rounds: usize, count: &mut dyn FnMut(&mut dyn FnMut())) {
    let slot = Slot::at(1);
    let envelope = Envelope { kind: Kind::Delta, slot, flags: 0, life: life(slot.index()), to_life: 0 };
    let mut packet = [7; PAYLOAD_DEFAULT];
    let mut number = 0;
    for _ in 0..rounds {
        count(&mut || {
            for _ in 0..SEALS {
                sealed(black_box(&mut packet), black_box(&envelope), &mut number);
            }
        });
    }
}

fn pings(rounds: usize, count: &mut dyn FnMut(&mut dyn FnMut())) {
    let mut node = ping::node();
    for round in 0..rounds {
        let incarnations = (1 + round * PINGS)..=((round + 1) * PINGS);
        let packets: Vec<_> = incarnations.map(|incarnation| ping::packet(incarnation as u32)).collect();
        let mut sent = 0;
        count(&mut || sent = ping::take(&mut node, &packets));
        assert!(sent >= PINGS, "every ping is answered");
        assert_eq!(ping::incarnation(&node), Some(((round + 1) * PINGS) as u32), "every member changed");
    }
}

#[cfg(test)]
mod tests {
    use popmap_core::clock::Order;

    use super::*;

    #[test]
    fn every_kernel_does_its_rounds() {
        for kernel in Kernel::ALL {
            let mut parts = 0;
            kernel.run(3, &mut |work| {
                work();
                parts += 1;
            });
            assert_eq!(parts, 3, "{kernel:?}");
        }
    }

    #[test]
    fn pairs_are_of_every_order() {
        let orders = [Order::Equal, Order::Before, Order::After, Order::Concurrent];
        for (n, [a, b]) in vectors(&counters()).iter().enumerate() {
            assert_eq!(a.compare(b), orders[n % 4], "pair {n}");
        }
    }

    #[test]
    fn what_dies_comes_back() {
        let mut deaths = Deaths::default();
        let before = deaths.owned.clone();
        deaths.die(Slot::at(3), |reassign| reassign());
        assert_eq!(deaths.owned, before);
    }
}
