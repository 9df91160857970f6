//! Forgetting a slot (rule R2): tombstones no longer wait for a server that is gone for good.
//!
//! Three things are kept, and all only grow:
//!
//! - *forgotten*: per slot the lives that were forgotten, all up to a generation. It rides in every Version and joins by
//!   maximum.
//! - *buried*: the dots of the tombstones that left while a forgotten slot was not asked. Whose version covers them has no
//!   older record of their keys; who does not may have. It rides in every Delta for a peer that is not known to cover it.
//! - *clean*: what every server whose records we took covered when we took them, until we write. It tells whether what we
//!   hold ahead of our version may be older than something buried that we did not know of.

use core::fmt;

use super::event::Event;
use super::lives::is_beyond_belief;
use super::{Map, Phase, State};
use crate::clock::{VersionVector, generation_of};
use crate::id::{Life, Slot, SlotSet};
use crate::teeth::Tooth;
use crate::wire::{Envelope, LifeNotice, Reject, Writer, flag};

/// Why a slot was not forgotten. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ForgetError {
    /// It is our own.
    Own,
    /// It is not configured here: nothing waits for it.
    NotConfigured(Slot),
    /// It is held live. Stop the server and wait until it is declared dead.
    Alive(Slot),
    /// No server was ever heard in it, and none of its writes is known: there is no life to forget. A slot that is to have
    /// no server is taken out of the configured ones ([`Map::set_configured`]).
    Unknown(Slot),
    /// This life is over itself, fenced or forgotten: it has no say. Start anew.
    Over,
}

impl fmt::Display for ForgetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("slot: our own cannot be forgotten here; ask another server"),
            Self::NotConfigured(slot) => write!(f, "slot: {slot} is not configured, so nothing waits for it"),
            Self::Alive(slot) => write!(f, "slot: {slot} is alive; only a server held dead can be forgotten"),
            Self::Unknown(slot) => {
                write!(f, "slot: no life of {slot} is known; take it out of the configured slots instead")
            }
            Self::Over => f.write_str("this life is over itself: start anew"),
        }
    }
}

impl core::error::Error for ForgetError {}

/// What was forgotten, and what left because of that.
#[derive(Clone, Hash, Debug)]
pub(super) struct Forgets<const N: usize> {
    /// Per slot the highest counter that a forgotten life may have used: all of a generation, or zero.
    pub lives: VersionVector<N>,
    /// Whether there is any: asked for each packet.
    pub any: bool,
    /// The dots of tombstones that left while a forgotten slot was not asked.
    pub buried: VersionVector<N>,
    /// Whether there is any: asked for each packet.
    pub any_buried: bool,
    /// What everyone covered whose records we took; everything while we took none, nothing once that no longer matters.
    pub clean: VersionVector<N>,
    /// It is not nothing.
    pub clean_counts: bool,
    /// Whose records we took in their present life, so that `clean` has what they covered then: they cover no less now.
    pub taken: SlotSet,
    /// The greatest generation of each slot that we were told of without having heard it.
    pub told: [u32; N],
}

impl<const N: usize> Default for Forgets<N> {
    fn default() -> Self {
        Self {
            lives: VersionVector::new(),
            any: false,
            buried: VersionVector::new(),
            any_buried: false,
            clean: VersionVector::from_counters([u64::MAX; N]),
            clean_counts: true,
            taken: SlotSet::EMPTY,
            told: [0; N],
        }
    }
}

/// The highest counter of a generation.
pub(super) const fn last_counter(generation: u32) -> u64 {
    (generation as u64) << 32 | u32::MAX as u64
}

impl<const N: usize> Map<'_, N> {
    /// Forgets the server in `slot`, which is held dead and is not coming back: its lives up to the last one known.
    /// Returns that one's generation; again, and it returns the same and changes nothing.
    ///
    /// From now on tombstones do not wait for the slot, until a later life is heard in it. What it wrote stays, and no
    /// version falls. Packets of the forgotten lives are refused ([`Reject::Forgotten`]), and who sends one is told so. Every
    /// server comes to know of it.
    ///
    /// # Errors
    /// Why it was not forgotten; nothing was changed.
    pub fn forget(&mut self, slot: Slot) -> Result<u32, ForgetError> {
        let state = &self.state;
        if slot == state.slot {
            return Err(ForgetError::Own);
        }
        if !state.configured.contains(slot) {
            return Err(ForgetError::NotConfigured(slot));
        }
        if state.phase.is_over() {
            return Err(ForgetError::Over);
        }
        if self.forgotten_slots().contains(slot) {
            return Ok(generation_of(state.forgets.lives.get(slot)));
        }
        if state.owners.live().contains(slot) {
            return Err(ForgetError::Alive(slot));
        }
        if !state.peers[slot.index()].life.is_known()
            && state.held.get(slot) == 0
            && state.forgets.told[slot.index()] == 0
        {
            return Err(ForgetError::Unknown(slot));
        }
        let generation = self.last_generation(slot);
        let mut lives = VersionVector::new();
        lives.raise(slot, last_counter(generation));
        self.learn_forgotten(&lives);
        Ok(generation)
    }

    /// Returns per slot the highest counter of the lives that were forgotten; zero where none was.
    pub fn forgotten(&self) -> &VersionVector<N> {
        &self.state.forgets.lives
    }

    /// Returns the dots of the tombstones that left while a forgotten slot was not asked, as far as is known here.
    pub fn buried(&self) -> &VersionVector<N> {
        &self.state.forgets.buried
    }

    /// Whether this life of `slot` was forgotten.
    pub fn is_forgotten(&self, slot: Slot, life: Life) -> bool {
        last_counter(life.generation) <= self.state.forgets.lives.get(slot)
    }

    /// Returns the slots of whose lives none is known that was not forgotten: nothing waits for these.
    pub fn forgotten_slots(&self) -> SlotSet {
        let lives = &self.state.forgets.lives;
        let gone = |slot: &Slot| self.last_generation(*slot) <= generation_of(lives.get(*slot));
        lives.occupied().iter().filter(gone).collect()
    }

    /// Takes note that there is, or was, a life of this generation in `slot`, of which we need not have heard ourselves.
    pub fn hear_of(&mut self, slot: Slot, generation: u32) {
        if let Some(told) = self.state.forgets.told.get_mut(slot.index()) {
            *told = (*told).max(generation);
        }
    }

    /// The greatest generation known of `slot`, from its packets, its writes or others' word.
    fn last_generation(&self, slot: Slot) -> u32 {
        let State { ref peers, ref held, ref forgets, .. } = self.state;
        let at = slot.index();
        peers[at].life.generation.max(generation_of(held.get(slot))).max(forgets.told[at])
    }

    /// Takes note of what others say was forgotten.
    pub(super) fn learn_forgotten(&mut self, theirs: &VersionVector<N>) {
        // A lie must not leave a slot without a generation to come back with (R4.5).
        let believes = |counter: u64| !self.state.bound || !is_beyond_belief(generation_of(counter));
        let theirs =
            &VersionVector::from_counters(theirs.counters().map(|c| if believes(c) { c } else { 0 }));
        let news = theirs.exceeding(&self.state.forgets.lives);
        if news.is_empty() {
            return;
        }
        self.state.forgets.lives.join(theirs);
        self.state.forgets.any = true;
        self.state.peers.iter_mut().for_each(|peer| peer.knows_forgotten = false);
        for slot in news.iter() {
            if slot == self.state.slot {
                self.own_life_forgotten(generation_of(theirs.get(slot)));
                continue;
            }
            let gone = self.forgotten_slots().contains(slot);
            if gone {
                let state = &mut self.state;
                state.peers[slot.index()].serve = None;
                state.serving.remove(slot);
                state.telling.remove(slot);
            }
            if self.broken(Tooth::ForgetLowersVersion) {
                let mut counters = *self.state.version.counters();
                counters[slot.index()] = 0;
                self.state.version = VersionVector::from_counters(counters);
            }
        }
        self.refresh_live();
    }

    /// Our own slot was forgotten up to `generation`.
    pub(super) fn own_life_forgotten(&mut self, generation: u32) {
        let State { phase, life, .. } = self.state;
        if life.generation > generation || phase.is_over() {
            return;
        }
        if phase == Phase::Starting && self.broken(Tooth::ForgottenStartStays) {
            return self.raise_generation(generation.saturating_add(1));
        }
        if life.generation < generation {
            // A start that had lost its generation: the next one's is to be above (R4.1).
            self.raise_generation(generation);
        }
        self.end_forgotten();
    }

    /// Takes note of what left while a forgotten slot was not asked, before anything of the same packet is used.
    ///
    /// If our version covers it, we have had it. If not, and we hold records of somebody who did not cover it either, some
    /// may be older than what has left: then this life is over.
    pub(super) fn learn_buried(&mut self, theirs: &VersionVector<N>) {
        let State { ref version, ref forgets, .. } = self.state;
        let news = theirs.exceeding(&forgets.buried);
        let lacking = news.intersection(theirs.exceeding(version));
        let doubtful = lacking.intersection(theirs.exceeding(&forgets.clean));
        if news.is_empty() || self.broken(Tooth::ForgetUnbound) {
            return;
        }
        self.state.forgets.buried.join(theirs);
        self.state.forgets.any_buried = true;
        if !doubtful.is_empty() && !self.broken(Tooth::BuriedLate) {
            self.end_forgotten();
        }
    }

    /// Takes note that records of `from` are taken, if they may be: only if it has had all that is buried.
    ///
    /// # Errors
    /// [`Reject::LacksBuried`]; nothing was changed.
    #[inline]
    pub(super) fn take_from(&mut self, from: Slot) -> Result<(), Reject> {
        if self.state.forgets.any_buried {
            self.check_has_had(&self.peer_versions[from.index()], None, 0)?;
        }
        self.note_taken(from, None);
        Ok(())
    }

    /// Decides whether records may be taken of one with the version `theirs`: only if it has had all that is buried. `told` is
    /// what it says of that itself in a delta, which has these header flags.
    ///
    /// # Errors
    /// [`Reject::LacksBuried`].
    pub(super) fn check_has_had(
        &self,
        theirs: &VersionVector<N>,
        told: Option<&VersionVector<N>>,
        flags: u8,
    ) -> Result<(), Reject> {
        let mut buried = self.state.forgets.buried;
        if let Some(told) = told {
            buried.join(told);
        }
        let writes = flags & flag::SILENT == 0;
        let starting = self.state.phase == Phase::Starting;
        // One that starts knows it too and has taken nothing else, though its version does not show so yet. While we start
        // ourselves we wait for the version of one that writes: it says more.
        let vouches = told.is_some_and(|told| told.covers_all(&buried)) && !(starting && writes);
        if theirs.covers_all(&buried) || vouches || self.broken(Tooth::LacksBuriedTaken) {
            Ok(())
        } else {
            Err(Reject::LacksBuried)
        }
    }

    /// Takes note that records of `from` are taken, who said in their packet that `told` is buried.
    #[inline]
    pub(super) fn note_taken(&mut self, from: Slot, told: Option<&VersionVector<N>>) {
        let State { ref forgets, phase, .. } = self.state;
        let writes = phase == (Phase::Active { expired: false });
        let noted =
            if writes { !forgets.clean_counts } else { forgets.taken.contains(from) && told.is_none() };
        if !noted {
            self.note_first_taken(from, told);
        }
    }

    fn note_first_taken(&mut self, from: Slot, told: Option<&VersionVector<N>>) {
        let State { ref mut forgets, phase, .. } = self.state;
        if phase == Phase::Starting || phase == (Phase::Active { expired: true }) {
            let theirs = &self.peer_versions[from.index()];
            match told {
                None => {
                    forgets.clean.meet(theirs);
                    forgets.taken.insert(from);
                }
                Some(told) => {
                    let mut theirs = *theirs;
                    theirs.join(told);
                    forgets.clean.meet(&theirs);
                }
            }
        } else if forgets.clean_counts {
            // Everybody knew of us before we wrote: nothing is buried that our version does not cover.
            forgets.clean = VersionVector::new();
            forgets.clean_counts = false;
        }
    }

    /// Whether a start may count on `from` (R4.2): it says that it takes nothing from whom we do not wait for.
    pub(super) fn refuses_forgotten(&self, from: Slot) -> bool {
        self.state.peers[from.index()].knows_forgotten || !self.has_forgotten()
    }

    /// Whether any life of any slot is known to be forgotten.
    pub(super) fn has_forgotten(&self) -> bool {
        self.state.forgets.any
    }

    /// Whether `to` may be pushed records: it writes, or has seen our version, or nobody was forgotten. What a start takes of
    /// whose version it has not seen would count as of one that has had nothing of what is buried, and end its life.
    pub(super) fn may_be_pushed_to(&self, to: Slot) -> bool {
        let peer = &self.state.peers[to.index()];
        peer.active || peer.has_seen || !self.has_forgotten()
    }

    /// Whether `to` is known to have had all that is buried.
    pub(super) fn has_had_buried(&self, to: Slot) -> bool {
        let forgets = &self.state.forgets;
        !forgets.any_buried || self.peer_versions[to.index()].covers_all(&forgets.buried)
    }

    /// Ends this life: the PoP has forgotten it, or what it holds came from one.
    fn end_forgotten(&mut self) {
        let generation = self.state.life.generation;
        self.end_life(Phase::Forgotten, Event::Forgotten { generation });
    }

    /// Returns a writer on `frame`; none once this life is over.
    pub(super) fn writer<'f>(&self, frame: &'f mut [u8]) -> Option<Writer<'f>> {
        if self.is_over() { None } else { Writer::new(frame) }
    }

    /// Fills `frame` with word that the life of `slot` with the id `to_life` was forgotten. Returns its header and length,
    /// or `None` if the frame is too short.
    pub fn write_forgotten_notice(
        &self,
        slot: Slot,
        to_life: u64,
        frame: &mut [u8],
    ) -> Option<(Envelope, usize)> {
        let generation = generation_of(self.state.forgets.lives.get(slot));
        let notice = LifeNotice { slot, life: Life { generation, id: to_life }, forgotten: true };
        self.fill_notice(self.writer(frame)?, notice, to_life)
    }
}
