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
