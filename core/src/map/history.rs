//! Our slot's older records, exchanged with each peer that we had not met when we started writing (R4.2).
//!
//! The start deadline expired, or a peer was held dead. We wrote before we had met everyone, so our version may cover writes
//! of our slot's earlier lives that we never saw, and whoever joins our version believes it. We ask each peer for such
//! records and tell them on, stamps unchanged; both sides take them past the skip of R6, by R1 alone.

use super::peer::HistoryServe;
use super::stats::Cause;
use super::write::Merged;
use super::{Map, Phase};
use crate::clock::Dot;
use crate::id::{Slot, SlotSet};
use crate::limits::REPAIR_SCAN_MAX;
use crate::teeth::Tooth;
use crate::wire::{
    Envelope, HistoryAnswer, HistoryAnswerFixed, HistoryAsk, HistoryAskFixed, Kind, MapShape, Reject,
};

impl<const N: usize> Map<'_, N> {
    /// Returns the configured peers that we had not met when we started writing, and have not asked since; of those that were
    /// forgotten, only who is back.
    pub fn history_unmet(&self) -> SlotSet {
        match self.state.phase {
            _ if self.broken(Tooth::HistoryUnasked) => SlotSet::EMPTY,
            Phase::Active { .. } => self.state.unmet.difference(self.forgotten_slots()),
            _ => SlotSet::EMPTY,
        }
    }

    /// Returns the peers that wait for older records: their own that they asked for, or ours.
    pub fn owes_history(&self) -> SlotSet {
        self.state.telling
    }

    /// Fills `frame` with our question to `to`. Returns its header and length, or `None` when none is due.
    pub fn write_history_ask(&self, to: Slot, frame: &mut [u8]) -> Option<(Envelope, usize)> {
        let peer = &self.state.peers[to.index()];
        if !self.history_unmet().contains(to) || !peer.life.is_known() {
            return None;
        }
        let mut writer = self.writer(frame)?;
        if writer.room() < size_of::<HistoryAskFixed>() {
            return None;
        }
        let at = writer.reserve::<HistoryAskFixed>();
        writer.fill(
            at,
            &HistoryAskFixed {
                shape: MapShape::new(&self.shape, 0),
                below: (self.state.life_base + 1).into(),
                resume: peer.history_resume.into(),
                reserved: 0.into(),
            },
        );
        Some((self.envelope(Kind::HistoryAsk, peer.life.id), writer.len()))
    }

    /// Takes a peer's question for its slot's older records.
    pub fn on_history_ask(&mut self, from: Slot, packet: &HistoryAsk<'_>) {
        let serve = HistoryServe { below: packet.fixed.below.get(), at: packet.fixed.resume.get() };
        self.state.peers[from.index()].history_serve = Some(serve);
        self.state.telling.insert(from);
    }

    /// Fills `frame` with older records for `to`. Returns its header and length, or `None` when none are due.
    pub fn write_history_answer(&mut self, to: Slot, frame: &mut [u8]) -> Option<(Envelope, usize)> {
        let me = self.state.slot;
        let peer = &self.state.peers[to.index()];
        let life = peer.life.id;
        let (subject, below, start, flags) = match (peer.history_serve, peer.history_tell) {
            (Some(serve), _) => (to, serve.below, serve.at, 0),
            (None, Some(at)) => (me, self.state.life_base + 1, at, HistoryAnswerFixed::OWN),
            (None, None) => {
                self.state.telling.remove(to);
                return None;
            }
        };
        let mut writer = self.writer(frame)?;
        let record_len = self.shape.record_len();
        if writer.room() < size_of::<HistoryAnswerFixed>() + record_len {
            return None;
        }
        let fixed_at = writer.reserve::<HistoryAnswerFixed>();
        let end = self.table.high_water().min(start.saturating_add(REPAIR_SCAN_MAX as u32));
        let (mut at, mut count) = (start.min(end), 0);
        while at < end && writer.room() >= record_len {
            let is_older = |dot: Dot| dot.slot == subject && dot.counter < below;
            if self.table.mark(at).is_some_and(|mark| is_older(mark.dot)) {
                self.table.copy_out(at, writer.claim(record_len));
                count += 1;
            }
            at += 1;
        }
        let resume = if at < self.table.high_water() { at } else { 0 };
        writer.fill(
            fixed_at,
            &HistoryAnswerFixed {
                shape: MapShape::new(&self.shape, count),
                resume: resume.into(),
                flags: flags.into(),
            },
        );
        let peer = &mut self.state.peers[to.index()];
        if subject == to {
            peer.history_serve = None;
        } else {
            let again = resume == 0 && core::mem::take(&mut peer.history_again);
            peer.history_tell = if again { Some(0) } else { Some(resume).filter(|&resume| resume != 0) };
        }
        if peer.history_serve.is_none() && peer.history_tell.is_none() {
            self.state.telling.remove(to);
        }
        Some((self.envelope(Kind::HistoryAnswer, life), writer.len()))
    }

    /// Takes older records: of our slot from a peer that we asked, or of the sender's own. Returns whether to ask on: there is
    /// more, and this was not an answer that came before.
    ///
    /// # Errors
    /// When we did not ask, or a record is of another slot, or no record of the sender's may be taken
    /// ([`Reject::LacksBuried`]); nothing was changed.
    pub fn on_history_answer(&mut self, from: Slot, packet: &HistoryAnswer<'_>) -> Result<bool, Reject> {
        let me = self.state.slot;
        let own = packet.fixed.flags.get() & HistoryAnswerFixed::OWN != 0;
        let subject = if own { from } else { me };
        if !own && !self.history_unmet().contains(from) {
            return Err(Reject::Unasked);
        }
        let below = if own { u64::MAX } else { self.state.life_base + 1 };
        let is_older = |dot: Dot| dot.slot == subject && dot.counter < below;
        if !packet.records.iter().all(|record| is_older(record.dot())) {
            return Err(Reject::Record);
        }
        if !packet.records.is_empty() {
            self.take_from(from)?;
        }
        let mut learned = false;
        for record in packet.records.iter() {
            if self.merge(&record, None) == Merged::Applied {
                self.stats.count_mend(Cause::StartedUnmet);
                learned = true;
            }
        }
        if own {
            return Ok(false);
        }
        let resume = packet.fixed.resume.get();
        let known = &mut self.state.peers[from.index()].history_resume;
        let goes_on = resume > *known;
        if goes_on || resume == 0 {
            *known = resume;
        }
        if resume == 0 {
            self.state.unmet.remove(from);
            self.tell_history(from);
        }
        if learned {
            // Everyone who joined our version since believes to have these.
            for other in self.state.configured.without(me).iter() {
                self.tell_history(other);
            }
        }
        Ok(goes_on)
    }

    fn tell_history(&mut self, to: Slot) {
        let peer = &mut self.state.peers[to.index()];
        if peer.life.is_known() {
            // A pass under way goes on, or every packet learned would start it anew; what it misses, the next tells.
            peer.history_again = peer.history_tell.is_some_and(|at| at > 0);
            peer.history_tell = peer.history_tell.or(Some(0));
            self.state.telling.insert(to);
        }
    }
}
