//! A world: replicas, packets in flight, and what happened so far; one action takes it to the next.
//!
//! The network is a set that only time empties: whatever was sent may arrive at any time, any number of times, in any
//! order, or never, until it is as old as the quarantine. Loss, duplication and reordering need no actions of their own.
//!
//! Knows what an action does. Must not know which action to take.

use std::rc::Rc;

use popmap_core::time::Instant;
use popmap_core::{Key, Life, Phase, Slot, SlotSet};

use super::action::{Action, Budget};
use super::hash::Hash128;
use super::packet::Packet;
use super::replicas::Replicas;
use super::scope::Scope;
use crate::checker::{Ledger, Snapshot, Violation, violated};

/// Life ids of a slot start here, with a gap between slots.
const LIFE_IDS: u64 = 1_000;

/// Everything of a world but its replicas.
#[derive(Clone)]
pub struct World<const N: usize> {
    /// Its bounds.
    pub scope: Rc<Scope>,
    /// What may still happen.
    pub budget: Budget,
    /// What was sent and is not too old.
    pub packets: Vec<Packet>,
    /// What was written.
    pub ledger: Ledger,
    /// What the replicas showed after the last step.
    pub seen: [Snapshot<N>; N],
    pub(super) keys: Rc<[Key]>,
    pub(super) ticks: u8,
    pub(super) puts: [u8; N],
    pub(super) restarts: [u8; N],
}

/// What an action did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Nothing: it was not possible, or made no difference.
    Idle,
    /// Something.
    Done,
}

/// Returns the lives that a world starts with.
pub fn first_life(at: usize) -> Life {
    Life { generation: 1, id: LIFE_IDS * (at as u64 + 1) }
}

/// Returns the replicas whose lives anybody has forgotten, or that take themselves for forgotten, as a bitmap.
pub(super) fn gone<'s, const N: usize>(maps: &impl Replicas<'s, N>) -> u32 {
    let is_gone = |at: usize| {
        let (slot, life) = (Slot::at(at), maps.map(at).life());
        maps.map(at).phase() == Phase::Forgotten || (0..N).any(|by| maps.map(by).is_forgotten(slot, life))
    };
    (0..N).filter(|&at| is_gone(at)).map(|at| 1 << at).sum()
}

impl<const N: usize> World<N> {
    /// Starts every replica and returns the world of all of them.
    pub fn start<'s>(scope: &Rc<Scope>, maps: &mut impl Replicas<'s, N>) -> Self {
        let keys = scope.key_names();
        for at in 0..N {
            let map = maps.map_mut(at);
            #[cfg(popmap_teeth)]
            if let Some(tooth) = scope.tooth {
                map.break_rule(tooth);
            }
            // Nobody was alive before: nothing to wait for.
            map.set_live(SlotSet::EMPTY);
            map.set_live(SlotSet::first(N));
        }
        Self {
            scope: Rc::clone(scope),
            budget: Budget::UNBOUNDED,
            packets: Vec::new(),
            ledger: Ledger::new(Rc::clone(&keys)),
            seen: std::array::from_fn(|at| Snapshot::of(maps.map(at), &keys)),
            keys,
            ticks: 0,
            puts: [0; N],
            restarts: [0; N],
        }
    }

    /// Returns a hash of all that decides what can happen from here on.
    pub fn hash(&self) -> u128 {
        let packets = self.hash_in_flight();
        let rest = (&self.budget, self.ticks, self.puts, self.restarts);
        Hash128::of(&(packets, self.ledger.hash(), self.seen.each_ref().map(|seen| seen.hash), rest))
    }

    fn hash_in_flight(&self) -> u128 {
        let aged = |packet: &Packet| Hash128::of(&(packet.hash, packet.sent));
        self.packets.iter().map(aged).fold(0u128, u128::wrapping_add)
    }

    /// Returns a hash of what decides whether the replicas converge from here on without further packets.
    pub fn hash_at_rest(&self) -> u128 {
        Hash128::of(&(self.ledger.hash(), self.seen.each_ref().map(|seen| seen.hash)))
    }

    /// Does one action, which has the number `step` in its trace, and checks everything.
    ///
    /// # Errors
    /// The first property that does not hold afterwards.
    pub fn apply<'s>(
        &mut self,
        maps: &mut impl Replicas<'s, N>,
        action: &Action,
        step: u32,
    ) -> Result<Step, Violation> {
        if !self.budget.take(action) {
            return Ok(Step::Idle);
        }
        let packets = self.hash_in_flight();
        let Some(touched) = self.act(maps, action, step)? else { return Ok(Step::Idle) };
        let mut done = self.hash_in_flight() != packets;
        let gone = gone(maps);
        for at in (0..N).filter(|at| touched >> at & 1 == 1) {
            let after = Snapshot::of(maps.map(at), &self.keys);
            if after.hash != self.seen[at].hash {
                done = true;
                let stats = maps.map(at).stats();
                if stats.mends_unknown + stats.reports > 0 {
                    return violated!("S{at} mended a record that was never lost, or reports one as absent");
                }
                self.ledger.note(maps.map(at), &self.seen[at], &after, gone >> at & 1 == 1)?;
                self.seen[at] = after;
            }
        }
        if !done && *action != Action::Tick {
            return Ok(Step::Idle);
        }
        if let Some(at) = (0..N).find(|&at| maps.map(at).phase() == Phase::Fenced) {
            return violated!("S{at} is fenced, and there never was another server in its slot");
        }
        for at in (0..N).filter(|&at| maps.map(at).phase() == Phase::Forgotten && self.restarts[at] == 0) {
            let (slot, life) = (Slot::at(at), maps.map(at).life());
            if !(0..N).any(|other| maps.map(other).is_forgotten(slot, life)) {
                return violated!(
                    "S{at} takes itself for forgotten, has been there all along, and nobody forgot it"
                );
            }
        }
        self.check(gone)?;
        Ok(Step::Done)
    }

    /// Checks what must hold of every state; `gone` are the replicas whose lives were forgotten, as a bitmap.
    ///
    /// # Errors
    /// The first property that does not hold.
    pub fn check(&mut self, gone: u32) -> Result<(), Violation> {
        if self.scope.checks_r6 { self.ledger.check(&self.seen, gone) } else { Ok(()) }
    }

    /// Returns the time, as all replicas are told it.
    pub(super) fn now(&self) -> Instant {
        Instant(self.scope.tick().0 * u64::from(self.ticks))
    }
}
