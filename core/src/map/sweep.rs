//! The sweep: one pass over the table that collects tombstones (R2), rewrites orphans (R7) and gathers HELD anew.

use super::table::{Mark, Position, Stamp};
use super::{Map, Phase};
use crate::id::SlotSet;
use crate::teeth::Tooth;

impl<const N: usize> Map<'_, N> {
    /// Whether a sweep has anything to find: tombstones, or records ahead of the version.
    pub fn needs_sweep(&self) -> bool {
        self.state.sweep_at > 0 || self.tombstones() > 0 || self.state.held != self.state.version
    }

    /// Looks at the next `positions` of the table; a pass that reaches the end starts anew with the next call.
    pub fn sweep(&mut self, positions: usize) {
        if self.state.sweep_at == 0 {
            self.state.held_next = self.state.version;
            self.state.sweep_collects = self.may_collect();
            // Tombstones alone, and none may leave yet: there is nothing to find.
            if !self.state.sweep_collects && self.state.held == self.state.version {
                return;
            }
        }
        let orphaned = self.orphaned();
        let end = self.table.high_water().min(self.state.sweep_at.saturating_add(positions as u32));
        for at in self.state.sweep_at..end {
            let Some(mark) = self.table.mark(at) else { continue };
            if mark.tombstone && self.state.sweep_collects && self.state.collection.stable().covers(mark.dot)
            {
                self.collect(at, &mark);
                continue;
            }
            if orphaned.contains(mark.dot.slot) && !self.state.version.covers(mark.dot) {
                self.adopt_orphan(at, &mark);
            }
            if let Some(mark) = self.table.mark(at) {
                self.state.held_next.raise(mark.dot.slot, mark.dot.counter);
            }
        }
        self.state.sweep_at = end;
        if end >= self.table.high_water() {
            self.state.sweep_at = 0;
            self.state.held = self.state.held_next;
            self.state.held.join(&self.state.version);
            if self.state.sweep_collects {
                self.end_collection();
            }
        }
    }

    fn collect(&mut self, at: Position, mark: &Mark) {
        self.state.floor = self.state.floor.max(mark.term);
        if self.state.collection.leaves_out() {
            self.state.forgets.buried.raise(mark.dot.slot, mark.dot.counter);
            self.state.forgets.any_buried = true;
        }
        let mix = self.table.key(at).mix();
        let position = self.log.append(at);
        self.table.remove(at, mix, Stamp::new(position, self.state.now.0));
        self.stats.tombstones_collected += 1;
        self.state.full = false;
    }

    /// Returns the dead slots whose records may be ahead of every live version.
    fn orphaned(&self) -> SlotSet {
        let state = &self.state;
        if !matches!(state.phase, Phase::Active { .. }) || self.broken(Tooth::OrphansLeft) {
            return SlotSet::EMPTY;
        }
        state.held.exceeding(&state.version).difference(state.owners.live())
    }

    /// Rewrites a record that no live version covers and whose author is dead, if we own its key (R7).
    fn adopt_orphan(&mut self, at: Position, mark: &Mark) {
        let me = self.state.slot;
        let others = self.state.owners.live().without(me);
        let covered = others.iter().any(|slot| self.peer_versions[slot.index()].covers(mark.dot));
        let key = self.table.key(at);
        let Some(term) = mark.term.checked_add(1) else {
            return;
        };
        if covered || self.state.owners.owner(key) != Some(me) {
            return;
        }
        let value = (!mark.tombstone).then(|| self.table.value(at));
        if self.write_own_at(key, key.mix(), Some(at), term, value).is_ok() {
            self.stats.orphans_rewritten += 1;
        }
    }
}
