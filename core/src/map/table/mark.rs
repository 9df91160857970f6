//! The mark: what orders a record, as the two words that stand for it in a slot and on the wire.
//!
//! Must not know where records are.

use crate::clock::Dot;
use crate::id::Slot;
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

/// Whether of two values, no tombstones, the one with the first mark has the term and the writer of the one with the
/// second, and a greater counter: then it wins (R1), and neither priorities nor values have to be compared for that.
#[inline]
pub(in crate::map) fn is_next(new: [u64; 2], old: [u64; 2]) -> bool {
    new[1] == old[1] && new[0] > old[0] && !is_tombstone(new[1])
}

/// Returns the writer's slot, by the second word of a mark.
#[inline]
pub(in crate::map) fn writer(meta: u64) -> Slot {
    Slot::at((meta >> 32) as usize & 63)
}
