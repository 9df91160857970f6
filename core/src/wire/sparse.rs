//! Version vectors on the wire: a bitmap of slots, then a counter for each set bit.

use super::{Reject, Writer};
use crate::clock::VersionVector;
use crate::id::{Slot, SlotSet};

/// A checked version vector inside a packet.
///
/// The sparse form lists the slots with a counter above zero. The exceptions form lists only those above a vector
/// that the receiver is known to have reached; joining it is joining the whole.
#[derive(Clone, Copy)]
pub struct Sparse<'p> {
    slots: SlotSet,
    counters: &'p [u8],
}

impl<'p> Sparse<'p> {
    /// The vector of zeros.
    pub(super) const EMPTY: Self = Self { slots: SlotSet::EMPTY, counters: &[] };

    /// Checks the vector that `bytes` starts with; returns it and the rest.
    pub(super) fn parse(bytes: &'p [u8], slots: usize) -> Result<(Self, &'p [u8]), Reject> {
        let (bitmap, rest) = bytes.split_first_chunk::<8>().ok_or(Reject::Length)?;
        let set = SlotSet::from_bits(u64::from_le_bytes(*bitmap));
        if !set.difference(SlotSet::first(slots)).is_empty() {
            return Err(Reject::Field);
        }
        let (counters, rest) = rest.split_at_checked(8 * set.len()).ok_or(Reject::Length)?;
        Ok((Self { slots: set, counters }, rest))
    }

    /// Returns the slots that are listed.
    pub fn slots(self) -> SlotSet {
        self.slots
    }

    /// Iterates what is listed, in ascending order of slots.
    pub(super) fn iter(self) -> impl Iterator<Item = (Slot, u64)> {
        let counters = self.counters.as_chunks::<8>().0.iter().map(|counter| u64::from_le_bytes(*counter));
        self.slots.iter().zip(counters)
    }

    /// Returns the vector: zero for each slot not listed.
    pub fn to_vector<const N: usize>(self) -> VersionVector<N> {
        let mut vector = VersionVector::new();
        self.iter().for_each(|(slot, counter)| vector.raise(slot, counter));
        vector
    }
}

impl Writer<'_> {
    /// Appends the counters of `slots`: `vector.occupied()` for the sparse form, `vector.exceeding(known)` for the
    /// exceptions form. Returns false, with nothing written, when they do not fit.
    pub fn sparse<const N: usize>(&mut self, vector: &VersionVector<N>, slots: SlotSet) -> bool {
        if self.room() < 8 + 8 * slots.len() {
            return false;
        }
        self.put(&slots.bits().to_le_bytes());
        for slot in slots.iter() {
            self.put(&vector.get(slot).to_le_bytes());
        }
        true
    }
}
