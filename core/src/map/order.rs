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

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::clock::Dot;
    use crate::id::Slot;

    /// A record: its mark and the words of its value.
    type Record = (Mark, [u64; 2]);

    fn record(term: u32, slot: usize, counter: u64, tombstone: bool, value: [u64; 2]) -> Record {
        (Mark { dot: Dot { slot: Slot::at(slot), counter }, term, tombstone }, value)
    }

    fn compared(key: Key, left: &Record, right: &Record) -> Ordering {
        compare(key, (&left.0, left.1.into_iter()), (&right.0, right.1.into_iter()))
    }

    /// The rule as a key to sort by.
    fn rank(key: Key, (mark, value): &Record) -> impl Ord + use<> {
        let bytes: Vec<u8> = value.iter().flat_map(|word| word.to_le_bytes()).collect();
        let Mark { dot, term, tombstone } = *mark;
        (term, priority(dot.slot, key), dot.slot, dot.counter, tombstone, bytes)
    }

    #[test]
    fn the_order_is_the_rules_for_every_pair() {
        let mut records = Vec::new();
        for term in [1, 2, u32::MAX] {
            for slot in [0, 1, 63] {
                for counter in [1, 2, 1 << 40] {
                    for value in [[0, 0], [1, 0], [256, 0], [0, 1], [u64::MAX, 0]] {
                        records.push(record(term, slot, counter, false, value));
                    }
                    records.push(record(term, slot, counter, true, [0, 0]));
                }
            }
        }
        for key in [0, 1, 7, 200].map(|byte| Key([byte; 16])) {
            for left in &records {
                for right in &records {
                    let expected = rank(key, left).cmp(&rank(key, right));
                    assert_eq!(compared(key, left, right), expected, "{left:?} and {right:?}");
                }
            }
        }
    }

    #[test]
    fn values_compare_as_bytes_and_not_as_numbers() {
        let key = Key([1; 16]);
        let with = |value| record(1, 1, 1, false, value);
        // 01 00 .. is above 00 01 .., which is 256.
        assert_eq!(compared(key, &with([1, 0]), &with([256, 0])), Ordering::Greater);
        assert_eq!(compared(key, &with([0, 1]), &with([1, 0])), Ordering::Less);
    }
}
