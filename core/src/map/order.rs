//! Rule R1: of two records for a key, which one wins.

use core::cmp::Ordering;

use super::table::Mark;
use crate::id::Key;
use crate::ownership::priority;

/// Compares two records of `key` in the total order of rule R1: term, priority of the writer, slot, counter, then the
/// bytes of the value (a tombstone above any value). The order extends causality, so merging is taking the maximum.
///
/// Priority is computed only for equal terms of different slots.
#[inline]
pub(super) fn compare(
    key: Key,
    left: (&Mark, impl Iterator<Item = u64>),
    right: (&Mark, impl Iterator<Item = u64>),
) -> Ordering {
    let ((a, a_value), (b, b_value)) = (left, right);
    if a.term != b.term {
        return a.term.cmp(&b.term);
    }
    if a.dot.slot != b.dot.slot {
        let weight = |mark: &Mark| (priority(mark.dot.slot, key), mark.dot.slot);
        return weight(a).cmp(&weight(b));
    }
    if a.dot.counter != b.dot.counter {
        return a.dot.counter.cmp(&b.dot.counter);
    }
    // Little-endian words, compared as the bytes they stand for.
    let values = || a_value.map(u64::swap_bytes).cmp(b_value.map(u64::swap_bytes));
    a.tombstone.cmp(&b.tombstone).then_with(values)
}
