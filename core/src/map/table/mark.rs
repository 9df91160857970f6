//! The mark: what orders a record, as the two words that stand for it in a slot and on the wire.
//!
//! Must not know where records are.

use crate::clock::Dot;
use crate::id::Slot;
use crate::limits::SLOTS_MAX;
use crate::wire::TOMBSTONE;

/// The words of a record that order it: everything but key and value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::map) struct Mark {
    pub dot: Dot,
    pub term: u32,
    pub tombstone: bool,
}

impl Mark {
    #[inline]
    pub fn from_words(counter: u64, meta: u64) -> Self {
        Self { dot: Dot { slot: writer(meta), counter }, term: meta as u32, tombstone: is_tombstone(meta) }
    }

    #[inline]
    pub fn words(&self) -> [u64; 2] {
        let meta =
            u64::from(self.term) | u64::from(self.dot.slot.get()) << 32 | u64::from(self.tombstone) << 40;
        [self.dot.counter, meta]
    }
}

/// Whether a record is a tombstone, by the second word of its mark.
#[inline]
pub(in crate::map) const fn is_tombstone(meta: u64) -> bool {
    meta >> 40 & TOMBSTONE as u64 != 0
}

/// Returns the writer of two values, no tombstones, of which the one with the mark `new` has the term and the writer of the
/// one with the mark `old`, and a greater counter: then it wins (R1), and neither priorities nor values have to be compared
/// for that. `None` in all other cases.
#[inline(always)]
pub(in crate::map) fn next_writer(new: [u64; 2], old: [u64; 2]) -> Option<Slot> {
    // Of a value all bits above the slot are zero.
    let slot = (new[1] >> 32) as usize;
    (new[0] > old[0] && new[1] == old[1] && slot < SLOTS_MAX).then(|| Slot::at(slot))
}

/// Returns the writer's slot, by the second word of a mark.
#[inline]
pub(in crate::map) fn writer(meta: u64) -> Slot {
    Slot::at((meta >> 32) as usize & 63)
}
