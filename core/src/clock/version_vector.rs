//! The version vector: what a replica accounts for, one counter a slot.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Dot;
use crate::arch::pointwise;
use crate::id::{Slot, SlotSet};
use crate::limits::SLOTS_MAX;

/// Per slot, the highest counter whose write this replica accounts for; all zero is empty.
///
/// A join semilattice under the pointwise order (Parker et al. 1983; Mattern 1989): [`join`](Self::join) is the least
/// upper bound. `N` is the number of slots, at most 64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct VersionVector<const N: usize = 64>([u64; N]);

/// How two version vectors relate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// The left accounts for strictly less.
    Before,
    /// The left accounts for strictly more.
    After,
    /// Both account for the same writes.
    Equal,
    /// Each accounts for a write that the other does not.
    Concurrent,
}

impl<const N: usize> Default for VersionVector<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> VersionVector<N> {
    /// Returns the empty vector.
    pub const fn new() -> Self {
        const { assert!(N >= 1 && N <= SLOTS_MAX, "a PoP has 1 to 64 slots") };
        Self([0; N])
    }

    /// Returns the vector with these counters.
    pub const fn from_counters(counters: [u64; N]) -> Self {
        Self(counters)
    }

    /// Returns all counters, one a slot.
    pub const fn counters(&self) -> &[u64; N] {
        &self.0
    }

    /// Returns the counter of `slot`; zero for a slot outside the vector.
    pub fn get(&self, slot: Slot) -> u64 {
        self.0.get(slot.index()).copied().unwrap_or(0)
    }

    /// Whether the write that `dot` names is accounted for.
    pub fn covers(&self, dot: Dot) -> bool {
        dot.counter <= self.get(dot.slot)
    }

    /// Raises the counter of `slot` to at least `counter`. A slot outside the vector is left out.
    pub fn raise(&mut self, slot: Slot, counter: u64) {
        if let Some(mine) = self.0.get_mut(slot.index()) {
            *mine = (*mine).max(counter);
        }
    }

    /// Takes the pointwise maximum with `other`.
    pub fn join(&mut self, other: &Self) {
        pointwise::raise(&mut self.0, &other.0);
    }

    /// Takes the pointwise minimum with `other`.
    pub fn meet(&mut self, other: &Self) {
        pointwise::lower(&mut self.0, &other.0);
    }

    /// Whether this accounts for every write that `other` does.
    pub fn covers_all(&self, other: &Self) -> bool {
        pointwise::at_least(&self.0, &other.0)
    }

    /// Compares pointwise.
    pub fn compare(&self, other: &Self) -> Order {
        match pointwise::compare(&self.0, &other.0) {
            (true, true) => Order::Equal,
            (true, false) => Order::After,
            (false, true) => Order::Before,
            (false, false) => Order::Concurrent,
        }
    }

    /// Returns the slots with a counter above zero: those of the sparse wire form.
    pub fn occupied(&self) -> SlotSet {
        self.exceeding(&Self::new())
    }

    /// Returns the slots whose counter exceeds that of `known`: those of the exceptions form.
    ///
    /// A receiver at or above `known` that joins just these joins the whole vector.
    pub fn exceeding(&self, known: &Self) -> SlotSet {
        SlotSet::from_bits(pointwise::above(&self.0, &known.0))
    }
}

impl<const N: usize> fmt::Debug for VersionVector<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dots = self.occupied().iter().map(|slot| Dot { slot, counter: self.get(slot) });
        f.debug_list().entries(dots).finish()
    }
}
