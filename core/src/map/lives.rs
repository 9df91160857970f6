//! Rule R4: who may speak, for which life, and when this one may write.

use super::collect::Collection;
use super::event::Event;
use super::forget::last_counter;
use super::peer::Peer;
use super::repair::Repairs;
use super::{Map, Phase};
use crate::clock::{VersionVector, generation_of};
use crate::id::{Life, Slot, SlotSet};
use crate::limits::{GENERATION_TOLD_MAX, TOLD_INTERVAL};
use crate::teeth::Tooth;
use crate::wire::{Envelope, Kind, LifeNotice, LifeNoticeFixed, Reject, Writer, flag};

/// Times that hearing of another life in our slot raises our generation once we write; after that the lesser is fenced.
/// Before the first write it is once for each peer, because each may know another of our past lives.
const NOTICE_RAISES: u8 = 2;

/// Whether nobody is believed who tells of this generation of a bound slot, but the slot itself (R4.5).
pub(super) const fn is_beyond_belief(generation: u32) -> bool {
    generation > GENERATION_TOLD_MAX
}

impl<const N: usize> Map<'_, N> {
    /// Decides whether a checked packet may reach its handler, and takes note of its sender's life.
    ///
    /// # Errors
    /// Why not. [`Reject::OldLife`], [`Reject::SlotConflict`] and [`Reject::Forgotten`] are worth telling the sender by a life
    /// notice.
    #[inline]
    pub fn admit(&mut self, packet: &Envelope) -> Result<(), Reject> {
        let state = &mut self.state;
        if packet.slot == state.slot {
            if packet.life.id == state.life.id {
                return Err(Reject::OwnPacket);
            }
            self.meet_other_life(packet.life);
            return Err(Reject::SlotConflict);
        }
        if !state.configured.contains(packet.slot) {
            return Err(Reject::Unconfigured);
        }
        let forgotten = self.is_forgotten(packet.slot, packet.life) && !self.broken(Tooth::ForgottenTaken);
        if self.is_over() {
            return Err(Reject::Over);
        }
        if forgotten {
            return Err(Reject::Forgotten);
        }
        let bound = !self.broken(Tooth::AnyLife);
        if bound && packet.kind.is_bound() && packet.to_life == 0 {
            return Err(Reject::NoLife);
        }
        // The sender's life is a fact whoever the packet was for. Two servers that each hold the other's last life
        // would else reject each other for ever.
        let generation = self.state.peers[packet.slot.index()].life.generation;
        let known = self.note_life(packet.slot, packet.life);
        if packet.life.generation > generation && self.state.forgets.any {
            // It may be a later life than the one that was forgotten.
            self.refresh_live();
        }
        let starts_here = self.state.phase == Phase::Starting && packet.to_life == self.state.life.id;
        if known.is_err() && packet.kind == Kind::LifeNotice && starts_here {
            // What it says of our slot is a fact whoever says it. Two servers that lost their generations, and each
            // knows the other's last life, would else never learn that they have to raise them. Once we write it is too
            // late for that, and the word of a life that is over would fence us.
            return Ok(());
        }
        if !(self.broken(Tooth::HashOfOldLife) && packet.kind == Kind::Ping) {
            known?;
        }
        if bound && packet.to_life != 0 && packet.to_life != self.state.life.id {
            return Err(Reject::OtherLife);
        }
        let peer = &mut self.state.peers[packet.slot.index()];
        peer.heard = self.state.now;
        peer.started_unmet |= packet.flags & flag::UNMET != 0;
        peer.active |= packet.flags & flag::SILENT == 0;
        Ok(())
    }

    #[inline]
    fn note_life(&mut self, slot: Slot, life: Life) -> Result<(), Reject> {
        if life == self.state.peers[slot.index()].life { Ok(()) } else { self.note_news(slot, life) }
    }

    #[cold]
    fn note_news(&mut self, slot: Slot, life: Life) -> Result<(), Reject> {
        let counter = self.state.version.get(self.state.slot);
        let known = &mut self.state.peers[slot.index()].life;
        if life.id == known.id {
            // A raised generation does not end a life: the log and the cursors into it go on.
            known.generation = known.generation.max(life.generation);
            return Ok(());
        }
        if known.is_known() && life.generation == known.generation {
            self.state.conflicted.insert(slot);
            self.events.push(Event::SlotConflict { slot });
        }
        if life < *known {
            return if self.broken(Tooth::OldLives) { Ok(()) } else { Err(Reject::OldLife) };
        }
        let mut reborn = Peer::reborn(life, counter);
        if self.broken(Tooth::CursorKept) {
            reborn.session = core::mem::take(&mut self.state.peers[slot.index()].session);
        }
        self.state.peers[slot.index()] = reborn;
        self.peer_versions[slot.index()] = VersionVector::new();
        self.state.forgets.taken.remove(slot);
        Ok(())
    }

    /// Fills `frame` with word of life `other` in `slot`, for the server there whose life id is `to_life`. Returns its
    /// header and length, or `None` if the frame is too short.
    pub fn write_life_notice(
        &self,
        slot: Slot,
        other: Life,
        to_life: u64,
        frame: &mut [u8],
    ) -> Option<(Envelope, usize)> {
        self.fill_notice(Writer::new(frame)?, LifeNotice { slot, life: other, forgotten: false }, to_life)
    }

    pub(super) fn fill_notice(
        &self,
        mut writer: Writer<'_>,
        notice: LifeNotice,
        to_life: u64,
    ) -> Option<(Envelope, usize)> {
        if writer.room() < size_of::<LifeNoticeFixed>() {
            return None;
        }
        let at = writer.reserve::<LifeNoticeFixed>();
        let fixed = LifeNoticeFixed {
            generation: notice.life.generation.into(),
            slot: notice.slot.get(),
            flags: if notice.forgotten { LifeNoticeFixed::FORGOTTEN } else { 0 },
            reserved: [0; 2],
            life: notice.life.id.into(),
        };
        writer.fill(at, &fixed);
        Some((self.envelope(Kind::LifeNotice, to_life), writer.len()))
    }

    /// Takes word of another life in a slot, or that one was forgotten; only our own concerns us.
    pub fn on_life_notice(&mut self, notice: LifeNotice) {
        if notice.slot != self.state.slot {
            return;
        }
        if notice.forgotten {
            let mut lives = VersionVector::new();
            lives.raise(notice.slot, last_counter(notice.life.generation));
            self.learn_forgotten(&lives);
        } else if notice.life.id != self.state.life.id {
            if self.state.bound {
                self.hear_of_other_life(notice.life.generation);
            } else {
                self.meet_other_life(notice.life);
            }
        }
    }

    /// Somebody else says that another life is in our slot, which a key binds: that is no proof (R4.5).
    fn hear_of_other_life(&mut self, generation: u32) {
        let state = &mut self.state;
        if generation < state.life.generation || is_beyond_belief(generation) {
            return;
        }
        if state.phase != Phase::Starting {
            self.hear_word(generation);
        } else if usize::from(state.raised_on_notice) < N {
            state.raised_on_notice += 1;
            state.conflicted.insert(state.slot);
            self.raise_generation(generation + 1);
        }
    }

    /// Others say that our slot, which a key binds, has writes of this generation that are not ours, or a life.
    fn hear_word(&mut self, generation: u32) {
        self.state.told = self.state.told.max(Some(generation));
        self.act_on_word();
    }

    /// Raises our generation above what we were told of, if the last time is long enough ago: a lie costs us what we write
    /// anew then, so not more often than that. Honest word waits, and is not lost.
    pub(super) fn act_on_word(&mut self) {
        let state = &mut self.state;
        if !matches!(state.phase, Phase::Active { .. }) || state.now < state.told_after {
            return;
        }
        let Some(told) = state.told.take().filter(|told| *told >= state.life.generation) else { return };
        state.told_after = state.now + TOLD_INTERVAL;
        self.raise_and_redot(told + 1);
    }

    /// Returns whether what a version says of a slot is believed: all, but of ours what is beyond belief.
    pub(super) fn believes(&self) -> impl Fn(&(Slot, u64)) -> bool + Clone + use<N> {
        let (me, bound) = (self.state.slot, self.state.bound);
        move |&(slot, counter)| !(bound && slot == me && is_beyond_belief(generation_of(counter)))
    }

    /// Returns a version without what it says of our slot, if that is beyond belief.
    pub(super) fn believed(&self, theirs: VersionVector<N>) -> VersionVector<N> {
        let me = self.state.slot;
        if !self.state.bound || !is_beyond_belief(generation_of(theirs.get(me))) {
            return theirs;
        }
        let mut counters = *theirs.counters();
        counters[me.index()] = self.state.version.get(me);
        VersionVector::from_counters(counters)
    }

    /// Whether a counter of our slot is above all that we have written or adopted.
    pub(super) fn is_ahead(&self, counter: u64) -> bool {
        counter > self.state.version.get(self.state.slot).max(self.state.life_base)
    }

    /// Another life was heard in our slot: perhaps a second server, perhaps only our own past (R4.5).
    fn meet_other_life(&mut self, other: Life) {
        let ours = self.state.life;
        let same_generation = other.generation == ours.generation;
        match self.state.phase {
            Phase::Fenced | Phase::Forgotten => {}
            // The other's dots cannot be ours.
            _ if other < ours && !same_generation => {}
            Phase::Active { .. } if other > ours && self.broken(Tooth::NotFenced) => {}
            Phase::Active { .. } if other > ours => {
                self.state.conflicted.insert(self.state.slot);
                self.fence(other);
            }
            phase => {
                let generation = other.generation.max(ours.generation).checked_add(1);
                let most = if phase == Phase::Starting { N as u8 } else { NOTICE_RAISES };
                let may_raise = self.state.raised_on_notice < most;
                let (Some(generation), true) = (generation, may_raise) else {
                    if other > ours {
                        self.fence(other);
                    }
                    return;
                };
                self.state.raised_on_notice += 1;
                if phase == Phase::Starting {
                    // If it is no past of ours it may go on writing what we cover from our first write on.
                    self.state.conflicted.insert(self.state.slot);
                    self.raise_generation(generation);
                } else {
                    self.raise_and_redot(generation);
                }
            }
        }
    }

    /// Takes note of a counter of our own slot, seen in a version or a record (R4.1).
    pub(super) fn witness_own(&mut self, counter: u64) {
        if self.state.bound && is_beyond_belief(generation_of(counter)) {
            return;
        }
        let state = &mut self.state;
        let ours = state.version.get(state.slot).max(state.life_base);
        state.own_seen = state.own_seen.max(counter);
        if counter > state.version.get(state.slot) {
            // Writes of our slot that this life did not make: another slot's record may have replaced some on the way,
            // and others may stand in the table from before a peer was met. No push may claim them.
            state.push_barrier = state.push_barrier.max(counter);
        }
        if counter <= ours || !matches!(state.phase, Phase::Active { .. }) {
            return;
        }
        // Somebody else writes in our slot, or did in a life that we know nothing of.
        if state.bound {
            // Or somebody only says so.
            self.hear_word(generation_of(counter));
            return;
        }
        let generation = generation_of(counter).max(state.life.generation).checked_add(1);
        match generation {
            Some(generation) if !state.raised_on_evidence => {
                state.raised_on_evidence = true;
                self.raise_and_redot(generation);
            }
            _ => self.fence(Life::NONE),
        }
    }

    /// Ends this life: another server, with life `by` or [`Life::NONE`] where only its writes were seen, has our slot.
    ///
    /// It does not serve either: the others talk to the greater life, so this one no longer hears of deletes, nor does anybody
    /// wait for it with a tombstone. A start would take from it what was deleted since.
    fn fence(&mut self, by: Life) {
        self.end_life(Phase::Fenced, Event::Fenced { by });
    }

    /// Whether this life is over ([`Phase::is_over`]).
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.state.phase.is_over() && !(self.state.phase == Phase::Fenced && self.broken(Tooth::FencedServes))
    }

    /// Stops writing, merging and serving.
    pub(super) fn end_life(&mut self, phase: Phase, event: Event) {
        let state = &mut self.state;
        state.phase = phase;
        state.serving = SlotSet::EMPTY;
        state.telling = SlotSet::EMPTY;
        state.repairs = Repairs::default();
        state.collection = Collection::default();
        state.peers.iter_mut().for_each(|peer| peer.serve = None);
        self.events.push(event);
    }

    pub(super) fn raise_generation(&mut self, generation: u32) {
        self.state.life.generation = generation;
        self.events.push(Event::GenerationRaised { generation });
    }

    /// Raises our generation and gives what we wrote in this life new dots under it (R4.5).
    fn raise_and_redot(&mut self, generation: u32) {
        let me = self.state.slot;
        self.state.conflicted.insert(me);
        self.events.push(Event::SlotConflict { slot: me });
        let written = self.state.life_base;
        self.raise_generation(generation);
        self.state.life_base = u64::from(generation) << 32;
        for at in 0..self.table.high_water() {
            let Some(mark) = self.table.mark(at) else { continue };
            if mark.dot.slot != me || mark.dot.counter <= written || mark.dot.counter > self.state.life_base {
                continue;
            }
            let key = self.table.key(at);
            let value = (!mark.tombstone).then(|| self.table.value(at));
            if self.write_own_at(key, key.mix(), Some(at), mark.term, value).is_ok() {
                self.stats.redotted += 1;
            }
        }
        // The other server's writes lie between: nothing of this may be claimed by a push.
        self.state.push_barrier = self.state.version.get(me).max(self.state.life_base);
    }

    /// Whether we have committed from every live peer, once at least.
    pub(super) fn is_caught_up(&self) -> bool {
        self.state.phase != Phase::Starting
            || self.others().all(|slot| self.state.peers[slot.index()].committed)
    }

    /// Returns the live peers that we have not committed from, or only while they were starting themselves, or that may still
    /// take records from a server which we do not wait for because it was forgotten (R4.2).
    pub fn waiting_for(&self) -> SlotSet {
        if self.state.phase != Phase::Starting {
            return SlotSet::EMPTY;
        }
        let counts = |slot: &Slot| self.state.peers[slot.index()].counted && self.refuses_forgotten(*slot);
        self.others().filter(|slot| !counts(slot)).collect()
    }

    fn others(&self) -> impl Iterator<Item = Slot> + use<'_, N> {
        self.state.owners.live().without(self.state.slot).iter()
    }

    /// Starts writing when every live peer has been met, or the deadline has passed (R4.2).
    pub(super) fn try_start(&mut self) {
        let state = &self.state;
        if state.phase != Phase::Starting {
            return;
        }
        let waiting = self.waiting_for();
        let held = state.start_held || !waiting.is_empty();
        if held && state.now < state.start_deadline && !self.broken(Tooth::EarlyWrite) {
            return;
        }
        let expired = held;
        // R4.1: above every counter of our slot that was ever seen.
        if state.own_seen >= u64::from(state.life.generation) << 32
            && !self.broken(Tooth::GenerationNotRaised)
        {
            let Some(generation) = generation_of(state.own_seen).checked_add(1) else {
                return self.fence(Life::NONE);
            };
            self.raise_generation(generation);
        }
        let state = &mut self.state;
        state.life_base = u64::from(state.life.generation) << 32;
        state.phase = Phase::Active { expired };
        state.raised_on_notice = 0;
        if !expired {
            // It says what `clean` has, which does not count from here on.
            state.forgets.taken = SlotSet::EMPTY;
        }
        // What an earlier life wrote is not ours to push: some of it may have been replaced before we saw it.
        let before = state.version.get(state.slot);
        state.peers.iter_mut().for_each(|peer| peer.pushed = before);
        // Whoever was held dead may have been cut off only: it is met later as after an expired deadline.
        let met = |slot: &Slot| state.peers[slot.index()].counted;
        state.unmet = state.configured.without(state.slot).iter().filter(|slot| !met(slot)).collect();
        state.started_unmet = !state.unmet.is_empty();
        self.events.push(Event::Started { expired });
    }
}
