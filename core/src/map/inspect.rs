//! Replicas as simulators, model checks and checkers see them: copies, state hashes, and single records with their
//! stamps, tombstones among them.

use core::hash::{Hash, Hasher};

use super::checkpoint::Checkpoints;
use super::log::ChangeLog;
use super::repair::record_hash;
use super::table::{Mark, Position};
use super::{Events, Map, MapError, MapStats, Parts};
use crate::clock::Dot;
use crate::id::Key;

/// What the table holds at a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Held {
    /// The write that it comes from.
    pub dot: Dot,
    /// Its term (R1).
    pub term: u32,
    /// Whether the write was a delete.
    pub tombstone: bool,
    /// A hash over key, stamp and value: the one that digests sum up.
    pub hash: u64,
}

impl<const N: usize> Map<'_, N> {
    /// Returns a copy of this replica in other storage, for simulators and model checks: the same inputs make both do
    /// the same. What `storage` held before is overwritten. Counters start from zero and no event waits.
    ///
    /// # Errors
    /// [`MapError::Storage`] when `storage` is too small.
    // A model check makes tens of millions: built where it is to be, not moved there.
    #[inline(always)]
    pub fn fork<'b>(&self, storage: &'b mut [u64]) -> Result<Map<'b, N>, MapError> {
        let Parts { table, ring, peer_versions, checkpoints } = Parts::carve(storage, self.layout)?;
        table.copy_from(&self.table);
        ring.copy_from_slice(self.log.ring);
        peer_versions.copy_from_slice(self.peer_versions);
        checkpoints.copy_from_slice(self.checkpoints.held);
        Ok(Map {
            table,
            log: ChangeLog::at(ring, self.log.places(), self.log.ends),
            checkpoints: Checkpoints { held: checkpoints, positions: self.checkpoints.positions },
            peer_versions,
            state: self.state.clone(),
            layout: self.layout,
            shape: self.shape,
            stats: MapStats::default(),
            fresh: self.fresh.clone(),
            events: Events::new(),
            #[cfg(popmap_teeth)]
            tooth: self.tooth,
        })
    }

    /// Feeds everything that decides how this replica behaves to `hasher`, for model checks: replicas that hash alike
    /// do alike. The counters and the waiting events are left out.
    pub fn hash_state(&self, hasher: &mut impl Hasher) {
        self.state.hash(hasher);
        self.fresh.lost().hash(hasher);
        self.log.hash_changes(&self.table, hasher);
        // Scans walk the table in the order of its places.
        self.table.hash_places(hasher);
        self.peer_versions.iter().for_each(|version| version.hash(hasher));
        self.checkpoints.iter().for_each(|checkpoint| checkpoint.hash(hasher));
    }

    /// Returns what stands at `key`, a tombstone too, or `None` when nothing does.
    pub fn inspect(&self, key: Key) -> Option<Held> {
        let at = self.table.find(key, key.mix())?;
        Some(self.held_at(at, &self.table.mark(at)?))
    }

    /// Iterates the keys that changed after the log position `since`, each once and with what stands there now, the latest
    /// change last; none when it is beyond the head. Where the log no longer reaches back so far these are all keys, in no
    /// order. Keys whose tombstone was collected are not among them.
    pub fn changed_since(&self, since: u64) -> impl Iterator<Item = (Key, Held)> + '_ {
        let reached = self.log.reaches(since);
        let mut steps = reached.then(|| self.log.steps(since));
        let changed = core::iter::from_fn(move || self.log.step(&self.table, steps.as_mut()?));
        let all = if reached || since > self.log.head() { 0 } else { self.table.high_water() };
        let all = (0..all).filter_map(|at| self.table.mark(at).map(|mark| (at, mark)));
        let records = changed.filter_map(|(_, record)| record).chain(all);
        records.map(|(at, mark)| (self.table.key(at), self.held_at(at, &mark)))
    }

    fn held_at(&self, at: Position, mark: &Mark) -> Held {
        Held {
            dot: mark.dot,
            term: mark.term,
            tombstone: mark.tombstone,
            hash: record_hash(self.table.record(at)),
        }
    }
}
