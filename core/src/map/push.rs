//! The author's push: fresh writes of our own, unasked (DESIGN section 3).

use heapless::Deque;

use super::table::Position;
use super::{Map, Phase};
use crate::id::Slot;
use crate::limits::FRESH;
use crate::teeth::Tooth;
use crate::wire::{Envelope, Kind, MapShape, Push, PushFixed, Reject, Writer};

/// Our latest writes, oldest first, each with its counter and where it was put.
///
/// A push could find them in the change log; but there they stand between every other server's, and between records that
/// the log itself has moved: the busier the PoP, the longer the walk, just when nobody has time for it.
#[derive(Clone, Default)]
pub(super) struct Fresh {
    writes: Deque<(u64, Position), FRESH>,
    /// The counter of the latest write that is here no more: what lies behind it cannot be pushed from here.
    lost: u64,
}

impl Fresh {
    /// Takes note of a write.
    pub fn note(&mut self, counter: u64, at: Position) {
        if self.writes.is_full()
            && let Some((counter, _)) = self.writes.pop_front()
        {
            self.lost = counter;
        }
        let pushed = self.writes.push_back((counter, at));
        debug_assert!(pushed.is_ok(), "there is room");
    }

    /// Returns what decides whether a push can be made: where the writes lie follows from the table.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Returns how many writes came after `counter`, at most: those that are here.
    fn count_since(&self, counter: u64) -> usize {
        self.writes.iter().rev().take_while(|write| write.0 > counter).count()
    }

    /// Iterates the writes after `counter`, oldest first.
    fn since(&self, counter: u64) -> impl Iterator<Item = (u64, Position)> {
        self.writes.iter().skip(self.writes.len() - self.count_since(counter)).copied()
    }
}

/// Own writes that fit a packet.
struct Batch {
    /// The counter of the last one that is claimed.
    to: u64,
    count: usize,
}

impl<const N: usize> Map<'_, N> {
    /// Whether `to` has not been pushed our newest writes. Who may not write has none: what rises in its slot's counter
    /// are writes of an earlier life, or of another server in the slot. A peer never heard is pushed nothing: a push
    /// names its receiver's life (R4.4), or one of a life of ours that is over could reach a new life of the peer's that
    /// does not know so.
    pub fn owes_push(&self, to: Slot) -> bool {
        let peer = &self.state.peers[to.index()];
        matches!(self.state.phase, Phase::Active { .. })
            && peer.life.is_known()
            && peer.pushed < self.state.version.get(self.state.slot)
    }

    /// Returns how many of our own writes `to` has not been pushed, at most [`FRESH`].
    pub fn push_backlog(&self, to: Slot) -> usize {
        self.fresh.count_since(self.state.peers[to.index()].pushed)
    }

    /// Fills `frame` with our writes that `to` has not been pushed, oldest first, and as many as fit: what is left is
    /// owed still. Returns its header and length, or `None` when there are none.
    ///
    /// A range is claimed only if all of it is here, all of it is of this life, and none of it was replaced by another
    /// slot's record, or by a later write of ours that is not among it: whoever's version covers a write must have at
    /// least that write (R6). Otherwise the push carries no record and only announces how far we are, so that the peer
    /// pulls.
    pub fn write_push(&mut self, to: Slot, frame: &mut [u8]) -> Option<(Envelope, usize)> {
        let me = self.state.slot;
        let newest = self.state.version.get(me);
        let peer = &self.state.peers[to.index()];
        let (pushed, life) = (peer.pushed, peer.life.id);
        if !self.owes_push(to) {
            return None;
        }
        let mut writer = self.writer(frame)?;
        if writer.room() < size_of::<PushFixed>() {
            return None;
        }
        let fixed_at = writer.reserve::<PushFixed>();
        let is_whole = pushed >= self.fresh.lost
            && self.has_had_buried(to)
            && self.may_be_pushed_to(to)
            && (pushed >= self.state.push_barrier || self.broken(Tooth::PushUnguarded));
        let batch = if is_whole { self.fill_push(pushed, newest, &mut writer) } else { None };
        let len = if batch.is_some() { writer.len() } else { fixed_at + size_of::<PushFixed>() };
        let (from, Batch { to: claimed, count }) = match batch {
            Some(batch) => (pushed, batch),
            None => {
                self.stats.pushes_announced += 1;
                (newest, Batch { to: newest, count: 0 })
            }
        };
        self.stats.records_sent += count as u64;
        writer.fill(
            fixed_at,
            &PushFixed {
                shape: MapShape::new(&self.shape, count),
                from: from.into(),
                to: claimed.into(),
                floor: self.state.floor.into(),
                reserved: 0.into(),
            },
        );
        self.state.peers[to.index()].pushed = claimed;
        Some((self.envelope(Kind::Push, life), len))
    }

    /// Writes our records after `pushed`, oldest first, until there are no more or no room. Returns what may be claimed
    /// with them; `None` when nothing may.
    fn fill_push(&self, pushed: u64, newest: u64, writer: &mut Writer<'_>) -> Option<Batch> {
        let me = self.state.slot;
        let record_len = self.shape.record_len();
        let mut batch = Batch { to: pushed, count: 0 };
        // The latest of our writes that has replaced one in the range.
        let mut replaced_by = 0;
        for (counter, at) in self.fresh.since(pushed) {
            match self.table.mark(at) {
                Some(mark) if mark.dot.slot == me && mark.dot.counter == counter => {
                    if writer.room() < record_len {
                        if self.broken(Tooth::PushTruncated) {
                            batch.to = newest;
                        }
                        let splits = batch.count > 0
                            && (replaced_by <= batch.to || self.broken(Tooth::PushSplitBlindly));
                        return splits.then_some(batch);
                    }
                    self.table.copy_out(at, writer.claim(record_len));
                    batch.count += 1;
                }
                Some(mark) if mark.dot.slot == me => replaced_by = replaced_by.max(mark.dot.counter),
                // Another slot's record is what the barrier is for. A tombstone that has left was everywhere.
                _ => {}
            }
            batch.to = counter;
        }
        Some(Batch { to: newest, ..batch })
    }

    /// Takes an author's push. Returns whether something before it was missed, so that a pull is due.
    ///
    /// # Errors
    /// When a record is not the author's, or outside the range, or none of the author's may be taken
    /// ([`Reject::LacksBuried`]); nothing was changed.
    pub fn on_push(&mut self, from: Slot, packet: &Push<'_>) -> Result<bool, Reject> {
        let (start, to) = (packet.fixed.from.get(), packet.fixed.to.get());
        let fits = |dot: crate::clock::Dot| dot.slot == from && dot.counter > start && dot.counter <= to;
        if !packet.records.iter().all(|record| fits(record.dot())) {
            return Err(Reject::Record);
        }
        if !packet.records.is_empty() {
            self.take_from(from)?;
        }
        self.join_floor(packet.fixed.floor.get());
        self.peer_versions[from.index()].raise(from, to);
        let room = self.merge_all(&packet.records, from);
        let known = self.state.version.get(from);
        let gap = known < start;
        if gap {
            self.stats.push_gaps += 1;
        } else if room && known < to {
            self.stats.pushes_taken += 1;
            self.state.version.raise(from, to);
            self.state.held.raise(from, to);
            self.state.held_next.raise(from, to);
        }
        Ok(gap)
    }
}
