//! Rule R2: when a tombstone may leave.

use super::{Map, State};
use crate::clock::VersionVector;
use crate::id::SlotSet;
use crate::limits::QUARANTINE;
use crate::teeth::Tooth;
use crate::time::Instant;

/// One round of collection: an observation, and the wait until it is safe to act on it.
#[derive(Clone, Hash, Debug)]
pub(super) struct Collection<const N: usize> {
    /// When the observation was made; `None` between rounds.
    since: Option<Instant>,
    /// (1) What every configured slot's version covered then.
    stable: VersionVector<N>,
    /// (3) What each slot's version said of the slot itself.
    said: VersionVector<N>,
    /// The life of each slot then.
    lives: [u64; N],
    /// Configured slots that were not asked, because they were forgotten.
    left_out: SlotSet,
}

impl<const N: usize> Default for Collection<N> {
    fn default() -> Self {
        Self {
            since: None,
            stable: VersionVector::new(),
            said: VersionVector::new(),
            lives: [0; N],
            left_out: SlotSet::EMPTY,
        }
    }
}

impl<const N: usize> Collection<N> {
    /// Returns what every slot's version covered at the observation.
    pub fn stable(&self) -> &VersionVector<N> {
        &self.stable
    }

    /// Whether a configured slot was not asked, because it was forgotten.
    pub fn leaves_out(&self) -> bool {
        !self.left_out.is_empty()
    }
}

impl<const N: usize> Map<'_, N> {
    /// Drives collection on; returns whether tombstones that the observation covers may leave now.
    ///
    /// A packet heard at least [`QUARANTINE`] after the observation was sent after it, so hearing every slot that late,
    /// in the life observed, is both halves of condition (2).
    pub(super) fn may_collect(&mut self) -> bool {
        if self.is_over() {
            return false;
        }
        let Some(since) = self.state.collection.since else {
            self.observe();
            return false;
        };
        let State { slot, configured, now, .. } = self.state;
        let collection = &self.state.collection;
        let asked = configured.without(slot).difference(collection.left_out);
        let quarantine =
            if self.broken(Tooth::NoQuarantine) { crate::time::Duration::ZERO } else { QUARANTINE };
        let (mut ready, mut stale) = (now >= since + quarantine, self.left_out() != collection.left_out);
        for other in asked.iter() {
            let peer = &self.state.peers[other.index()];
            stale |= peer.life.id != collection.lives[other.index()];
            ready &= peer.heard >= since + quarantine;
            ready &= self.state.version.get(other) >= collection.said.get(other);
        }
        stale &= !self.broken(Tooth::StaleObservation);
        if stale {
            self.state.collection = Collection::default();
        }
        ready && !stale
    }

    /// Begins a round, if every configured slot is known that was not forgotten.
    fn observe(&mut self) {
        let State { slot, configured, now, version, .. } = self.state;
        if self.tombstones() == 0 {
            return;
        }
        let left_out = self.left_out();
        let mut next = Collection { since: Some(now), stable: version, left_out, ..Collection::default() };
        for other in configured.without(slot).difference(left_out).iter() {
            let life = self.state.peers[other.index()].life;
            if !life.is_known() {
                return;
            }
            let version = &self.peer_versions[other.index()];
            next.lives[other.index()] = life.id;
            next.stable.meet(version);
            next.said.raise(other, version.get(other));
        }
        self.state.collection = next;
    }

    /// Returns the configured slots that are not asked, because they were forgotten.
    fn left_out(&self) -> SlotSet {
        self.forgotten_slots().intersection(self.state.configured)
    }

    /// Ends a round whose tombstones have left.
    pub(super) fn end_collection(&mut self) {
        self.state.collection = Collection::default();
    }
}
