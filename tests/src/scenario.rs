//! What the scenarios write, and what they look at in the end.
//!
//! Knows keys and values by number, and rule R1 as an oracle of its own. Must not know how nodes are driven.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;

use popmap_core::map::Held;
use popmap_core::ownership::priority;
use popmap_core::{Key, Reject, Shape, Slot, SlotSet, Stats};

use crate::cluster::Cluster;

/// The shape of the scenarios' maps.
pub const SHAPE: Shape = Shape { schema: 1, value_len: 24 };

/// Returns the `n`-th key.
pub fn key(n: u64) -> Key {
    Key::from_name(&n.to_le_bytes())
}

/// Returns the `n`-th value.
pub fn value(n: u64) -> [u8; 24] {
    let mut value = [0; 24];
    value[..8].copy_from_slice(&n.to_le_bytes());
    value
}

/// Returns the first `count` keys that `slot` owns among `live`.
pub fn owned_by(slot: Slot, live: SlotSet, count: usize) -> Vec<Key> {
    let owns = |key: &Key| popmap_core::ownership::owner(*key, live) == Some(slot);
    (0..).map(key).filter(owns).take(count).collect()
}

/// Returns the greater of two records of `key` by rule R1.
pub fn greater(key: Key, a: Held, b: Held) -> Held {
    let rank = |held: &Held| {
        let slot = held.dot.slot;
        (held.term, priority(slot, key), slot, held.dot.counter, held.tombstone, held.hash)
    };
    if rank(&a) < rank(&b) { b } else { a }
}

/// Asserts that all of `among` show the same at each of `keys`, tombstones too, and that their versions cover it.
/// Returns how many of the keys are live.
///
/// # Panics
/// When they do not.
pub fn assert_same_records<const N: usize>(
    pop: &Cluster<'_, N>,
    among: SlotSet,
    keys: impl Iterator<Item = Key>,
) -> usize {
    let at = |slot, key| pop.node(slot).map().inspect(key);
    let first = among.iter().next().expect("a server to compare with");
    let mut live = 0;
    for key in keys {
        let held = at(first, key);
        for slot in among.iter() {
            assert_eq!(at(slot, key), held, "{key:?} at {slot} and at {first}");
            let covers = |held: Held| pop.node(slot).map().version().covers(held.dot);
            assert!(held.is_none_or(covers), "{key:?} at {slot} is ahead of the version: {held:?}");
        }
        live += usize::from(held.is_some_and(|held| !held.tombstone));
    }
    live
}

/// Returns the sum of a counter over all running nodes.
pub fn total<const N: usize>(pop: &Cluster<'_, N>, counter: impl Fn(&Stats) -> u64) -> u64 {
    pop.stats().iter().map(counter).sum()
}

/// Returns the packets that were rejected for `reason`.
pub fn rejected(stats: &Stats, reason: Reject) -> u64 {
    stats.rejected[reason.index()]
}

/// Returns records mended by repair or the exchange of older records, whatever the cause.
pub fn mends(stats: &Stats) -> u64 {
    stats.map.mends_unknown + stats.map.mends_started_unmet + stats.map.mends_slot_conflict
}

/// Returns the hash of everything that decides how the node in `slot` behaves.
pub fn state_hash<const N: usize>(pop: &Cluster<'_, N>, slot: Slot) -> u64 {
    let mut hasher = DefaultHasher::new();
    pop.node(slot).map().hash_state(&mut hasher);
    hasher.finish()
}
