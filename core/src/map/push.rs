//! The author's push: fresh writes of our own, unasked (DESIGN section 3).

use heapless::Vec;

use super::table::Position;
use super::{Map, Phase};
use crate::clock::VersionVector;
use crate::id::Slot;
use crate::limits::{PAYLOAD_MAX, RECORD_OVERHEAD, WALK_MAX};
use crate::teeth::Tooth;
use crate::wire::{Envelope, Kind, MapShape, Push, PushFixed, Reject, Writer};

/// Own writes to be pushed: a memory of the last walk, derived from the log.
#[derive(Default)]
pub(super) struct Fresh {
    /// Behind which (counter, log position), and up to which log position.
    range: ((u64, u64), u64),
    records: Vec<Position, { PAYLOAD_MAX / RECORD_OVERHEAD + 1 }>,
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
            && peer.pushed.0 < self.state.version.get(self.state.slot)
    }

    /// Returns how many of our own writes `to` has not been pushed, at most: an upper bound from counters.
    pub fn push_backlog(&self, to: Slot) -> u64 {
        let (counter, head) = self.state.peers[to.index()].pushed;
        let behind = self.state.version.get(self.state.slot).saturating_sub(counter);
        behind.min(self.log.head().saturating_sub(head))
    }

    /// Fills `frame` with our writes that `to` has not been pushed. Returns its header and length, or `None` when
    /// there are none.
    ///
    /// The range is claimed only if all of it fits, all of it is of this life, and none of it was replaced here by
    /// another slot's record; otherwise the push carries no record and only announces how far we are, so that the peer
    /// pulls.
    pub fn write_push(&mut self, to: Slot, frame: &mut [u8]) -> Option<(Envelope, usize)> {
        let me = self.state.slot;
        let newest = self.state.version.get(me);
        let peer = &self.state.peers[to.index()];
        let ((pushed, pushed_head), life) = (peer.pushed, peer.life.id);
        if !self.owes_push(to) {
            return None;
        }
        let mut writer = Writer::new(frame)?;
        if writer.room() < size_of::<PushFixed>() {
            return None;
        }
        let fixed_at = writer.reserve::<PushFixed>();
        let record_len = self.shape.record_len();
        let head = self.log.head();
        let mut complete = (pushed >= self.state.push_barrier || self.broken(Tooth::PushUnguarded))
            && head - pushed_head <= WALK_MAX;
        let mut count = 0;
        if complete {
            self.gather_fresh((pushed, pushed_head), head);
            for &at in &self.fresh.records {
                if writer.room() < record_len || self.broken(Tooth::PushTruncated) && count == 1 {
                    complete = self.broken(Tooth::PushTruncated);
                    break;
                }
                self.table.copy_out(at, writer.claim(record_len));
                count += 1;
            }
        }
        if !complete {
            self.stats.pushes_announced += 1;
            count = 0;
        }
        self.stats.records_sent += count as u64;
        writer.fill(
            fixed_at,
            &PushFixed {
                shape: MapShape::new(&self.shape, count),
                from: if complete { pushed } else { newest }.into(),
                to: newest.into(),
                floor: self.state.floor.into(),
                reserved: 0.into(),
            },
        );
        let len = if complete { writer.len() } else { fixed_at + size_of::<PushFixed>() };
        self.state.peers[to.index()].pushed = (newest, head);
        Some((self.envelope(Kind::Push, life), len))
    }

    /// Finds our own writes behind `from`: once for all the peers that have been pushed as much.
    ///
    /// The walk passes every server's changes to find ours, so without this a push to 63 peers would cost 63 walks. One
    /// record more than fits a packet is enough to see that it does not. Every change moves the head, so while the head
    /// stands the records are where they were.
    fn gather_fresh(&mut self, from: (u64, u64), head: u64) {
        if self.fresh.range == (from, head) {
            return;
        }
        let me = self.state.slot;
        self.fresh.range = (from, head);
        self.fresh.records.clear();
        for (_, at, mark) in self.log.walk(&self.table, from.1, head) {
            if mark.dot.slot == me && mark.dot.counter > from.0 && self.fresh.records.push(at).is_err() {
                break;
            }
        }
    }

    /// Takes an author's push. Returns whether something before it was missed, so that a pull is due.
    ///
    /// # Errors
    /// When a record is not the author's, or outside the range; nothing was changed.
    pub fn on_push(&mut self, from: Slot, packet: &Push<'_>) -> Result<bool, Reject> {
        let (start, to) = (packet.fixed.from.get(), packet.fixed.to.get());
        let fits = |dot: crate::clock::Dot| dot.slot == from && dot.counter > start && dot.counter <= to;
        if !packet.records.iter().all(|record| fits(record.dot())) {
            return Err(Reject::Record);
        }
        self.state.floor = self.state.floor.max(packet.fixed.floor.get());
        self.peer_versions[from.index()].raise(from, to);
        let mut theirs = VersionVector::new();
        theirs.raise(from, to);
        let room = self.merge_all(&packet.records, &theirs);
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
