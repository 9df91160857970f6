//! Checkpoints of the change log: log positions with what a peer must have to have everything up to there.

use crate::clock::VersionVector;
use crate::limits::CHECKPOINTS;

/// A bounded history of (log position, HELD).
///
/// HELD is the version joined with the dots of all records in the table, those applied ahead of the version among
/// them: a checkpoint of the version alone would let a walk skip such a record (DESIGN section 3). The spacing of what
/// is kept doubles with age, so that a few cover the whole past.
pub(super) struct Checkpoints<'a, const N: usize> {
    pub(super) held: &'a mut [VersionVector<N>],
    pub(super) positions: Positions,
}

/// Log positions, oldest first, apart from the versions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(super) struct Positions {
    positions: [u64; CHECKPOINTS],
    len: usize,
}

impl<'a, const N: usize> Checkpoints<'a, N> {
    pub fn new(held: &'a mut [VersionVector<N>]) -> Self {
        Self { held, positions: Positions::default() }
    }

    /// Returns the newest log position behind which `version` may miss something, of those that a walk can start from.
    pub fn newest_covered_by(
        &self,
        version: &VersionVector<N>,
        is_reached: impl Fn(u64) -> bool,
    ) -> Option<u64> {
        let newest_first = (0..self.positions.len).rev().map(|i| (self.positions.positions[i], i));
        let mut reached = newest_first.take_while(|&(position, _)| is_reached(position));
        reached.find(|&(_, i)| version.covers_all(&self.held[i])).map(|(position, _)| position)
    }

    /// Notes that what is held at `position` is `held`.
    pub fn note(&mut self, position: u64, held: &VersionVector<N>) {
        let Positions { positions, len } = &mut self.positions;
        if *len > 0 && positions[*len - 1] == position {
            self.held[*len - 1] = *held;
            return;
        }
        if *len == CHECKPOINTS {
            // Leave out the one whose neighbours are closest relative to its age: the spacing stays exponential.
            let cost =
                |i: usize| (positions[i + 1] - positions[i - 1]) as f32 / (position - positions[i]) as f32;
            let victim = (1..*len - 1).min_by(|&a, &b| cost(a).total_cmp(&cost(b))).unwrap_or(0);
            positions.copy_within(victim + 1.., victim);
            self.held.copy_within(victim + 1.., victim);
            *len -= 1;
        }
        positions[*len] = position;
        self.held[*len] = *held;
        *len += 1;
    }

    /// Returns the position of the newest checkpoint, zero when there is none.
    pub fn newest(&self) -> u64 {
        self.positions.len.checked_sub(1).map_or(0, |i| self.positions.positions[i])
    }

    pub fn iter(&self) -> impl Iterator<Item = (u64, &VersionVector<N>)> {
        self.positions.positions.iter().copied().zip(self.held.iter()).take(self.positions.len)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    const N: usize = 4;

    /// A version that covers so many writes of slot 0.
    fn version(writes: u64) -> VersionVector<N> {
        VersionVector::from_counters([writes, 0, 0, 0])
    }

    fn storage() -> [VersionVector<N>; CHECKPOINTS] {
        [VersionVector::new(); CHECKPOINTS]
    }

    /// Notes a checkpoint at each position; what is held there has as many writes.
    fn noted<'a>(
        held: &'a mut [VersionVector<N>],
        positions: impl IntoIterator<Item = u64>,
    ) -> Checkpoints<'a, N> {
        let mut checkpoints = Checkpoints::new(held);
        for position in positions {
            checkpoints.note(position, &version(position));
        }
        checkpoints
    }

    fn kept(checkpoints: &Checkpoints<'_, N>) -> Vec<u64> {
        for (position, held) in checkpoints.iter() {
            assert_eq!(*held, version(position), "a position and its version stay together");
        }
        checkpoints.iter().map(|(position, _)| position).collect()
    }

    #[test]
    fn the_newest_that_a_version_covers_is_found() {
        let mut held = storage();
        let checkpoints = noted(&mut held, [10, 20, 30]);
        let covered_by = |writes| checkpoints.newest_covered_by(&version(writes), |_| true);
        assert_eq!(
            [9, 10, 19, 20, 29, 30, 99].map(covered_by),
            [None, Some(10), Some(10), Some(20), Some(20), Some(30), Some(30)]
        );
    }

    #[test]
    fn one_that_no_walk_can_start_from_hides_those_before_it() {
        let mut held = storage();
        let checkpoints = noted(&mut held, [10, 20, 30]);
        let from = |oldest| checkpoints.newest_covered_by(&version(25), |position| position >= oldest);
        assert_eq!([10, 20, 21, 31].map(from), [Some(20), Some(20), None, None]);
        let only_the_first = |position| position == 10;
        assert_eq!(checkpoints.newest_covered_by(&version(25), only_the_first), None);
    }

    #[test]
    fn a_second_one_at_a_position_takes_the_place_of_the_first() {
        let mut held = storage();
        let mut checkpoints = noted(&mut held, [10, 20]);
        checkpoints.note(20, &version(25));
        assert_eq!(checkpoints.iter().map(|(position, _)| position).collect::<Vec<_>>(), [10, 20]);
        assert_eq!(checkpoints.newest_covered_by(&version(24), |_| true), Some(10));
        assert_eq!(checkpoints.newest_covered_by(&version(25), |_| true), Some(20));
    }

    #[test]
    fn the_newest_position_is_that_of_the_last_note() {
        let mut held = storage();
        assert_eq!(noted(&mut held, []).newest(), 0);
        assert_eq!(noted(&mut held, [7]).newest(), 7);
        assert_eq!(noted(&mut held, (1..100).map(|i| i * 3)).newest(), 297);
    }

    /// Of two that are close together one goes, and not a neighbour of both.
    #[test]
    fn the_one_that_tells_least_leaves() {
        let positions = || [100, 200, 300, 400, 410].into_iter().chain((6..=16).map(|n| n * 100));
        assert_eq!(positions().count(), CHECKPOINTS);
        let mut held = storage();
        let checkpoints = noted(&mut held, positions().chain([1_700]));
        // What lies between its neighbours, in proportion to its age: 110 of 1,300.
        let expected: Vec<_> = positions().chain([1_700]).filter(|&position| position != 400).collect();
        assert_eq!(kept(&checkpoints), expected);
    }

    /// With a checkpoint at every position, the spacing at an age is a fixed part of the age, and the first stays.
    #[test]
    fn spacing_grows_with_age() {
        for last in [100, 1_000, 5_000] {
            let mut held = storage();
            let kept = kept(&noted(&mut held, 1..=last));
            assert_eq!(kept.len(), CHECKPOINTS);
            assert_eq!((kept[0], kept[CHECKPOINTS - 1]), (1, last));
            for pair in kept.windows(2) {
                let (age, gap) = (last - pair[0], pair[1] - pair[0]);
                assert!(pair[0] < pair[1] && gap <= 1 + age * 2 / 3, "{gap} at the age of {age}: {kept:?}");
            }
        }
    }
}
