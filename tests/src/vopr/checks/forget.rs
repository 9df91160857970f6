//! What a slot that was forgotten changes (R2): who no longer counts, and who may still show what was deleted.
//!
//! Knows which lives operators had forgotten, and which tombstones left without asking a slot. Must not know who told whom.
//!
//! A tombstone that left while a forgotten slot was not asked is *buried*. The forgotten server may show what it deleted, and
//! so may a server that has started since and met that one first. But nobody may whose version covers the tombstone, or who
//! was told that it is buried, unless its life is over.

use popmap_core::clock::VersionVector;
use popmap_core::{Map, Phase, Slot};

use super::super::history::WriteId;
use super::super::violation::{Rule, Violation};
use super::{Checks, Replica};

impl<const N: usize> Replica<N> {
    /// Whether its life is over, or was forgotten: nobody who knows takes anything from it.
    pub(super) fn is_refused(&self, forgotten: &VersionVector<N>) -> bool {
        let last = u64::from(self.life.generation) << 32 | u64::from(u32::MAX);
        self.phase == Phase::Forgotten || last <= forgotten.get(self.slot)
    }
}

impl<const N: usize> Checks<N> {
    /// Some server was told to forget the lives of `slot` up to `generation`.
    pub fn forget(&mut self, slot: Slot, generation: u32) {
        self.forgotten.raise(slot, u64::from(generation) << 32 | u64::from(u32::MAX));
        self.lose();
    }

    /// Notes what a server has buried when it collects a tombstone.
    pub(super) fn note_buried(&mut self, map: &Map<'_, N>, id: WriteId) {
        if map.buried().covers(self.history.write(id).dot()) {
            self.unasked.insert(id);
        }
    }

    /// Returns the greatest tombstone that was collected, is above what a server shows, and which it has to know of. One in whose
    /// slot there is a greater life is told nothing any more (R4.5), and nobody takes anything from it.
    pub(super) fn deleted(&self, server: usize, replica: &Replica<N>, shown: WriteId) -> Option<WriteId> {
        if shown == 0 || self.slots.is_outlived(server) {
            return None;
        }
        let write = self.history.write(shown);
        let above = |&&id: &&WriteId| self.history.rank(id) > write.rank && !self.may_lack(replica, id);
        self.history.all_collected(write.key).iter().rev().find(above).copied()
    }

    fn may_lack(&self, replica: &Replica<N>, id: WriteId) -> bool {
        let dot = self.history.write(id).dot();
        let knows = replica.version.covers(dot) || replica.buried.covers(dot);
        self.unasked.contains(&id) && (replica.phase == Phase::Forgotten || !knows)
    }

    /// Nobody may come to know of a tombstone that is buried, and show what it deleted, unless that was created by somebody who
    /// could not know (waived): `before` is what was known.
    pub(super) fn check_buried(
        &mut self,
        server: usize,
        replica: &Replica<N>,
        (before, after): (&VersionVector<N>, &VersionVector<N>),
    ) -> Result<(), Violation> {
        if self.unasked.is_empty() {
            return Ok(());
        }
        for slot in after.exceeding(before).iter() {
            let known: Vec<_> = self.history.between(slot, before.get(slot), after.get(slot)).collect();
            for id in known {
                let key = self.history.write(id).key;
                let Some(deleted) = self.deleted(server, replica, replica.shown(key)) else { continue };
                if self.history.write(replica.shown(key)).blind {
                    self.history.waive(deleted);
                }
                if deleted == id && !self.history.is_waived(key, self.history.rank(id)) {
                    let (old, new) = (self.history.show(id), self.history.show(replica.shown(key)));
                    let text = format!("server {server} shows {new} and has come to know of {old}");
                    return Err(Violation::at(Rule::Resurrection, server, text).key(key));
                }
            }
        }
        Ok(())
    }
}
