//! A world: replicas, packets in flight, and what happened so far; one action takes it to the next.
//!
//! The network is a set that only time empties: whatever was sent may arrive at any time, any number of times, in any
//! order, or never, until it is as old as the quarantine. Loss, duplication and reordering need no actions of their own.
//!
//! Knows what an action does. Must not know which action to take.

use std::rc::Rc;

use popmap_core::map::Request;
use popmap_core::time::Instant;
use popmap_core::wire::{Envelope, Reject};
use popmap_core::{Key, Life, Map, Phase, Slot, SlotSet};

use super::action::{Action, Budget, Label, Restart};
use super::hash::Hash128;
use super::packet::{FRAME_MAX, Packet, deliver, seal};
use super::replicas::Replicas;
use super::scope::Scope;
use crate::checker::{Ledger, Snapshot, Violation, violated};

/// Life ids of a slot start here, with a gap between slots.
const LIFE_IDS: u64 = 1_000;
/// Packets that a reliable exchange may take before it counts as endless.
const EXCHANGE_MAX: usize = 64;

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
    keys: Rc<[Key]>,
    ticks: u8,
    puts: [u8; N],
    restarts: [u8; N],
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
        let age = |packet: &Packet| Hash128::of(&(packet.hash, packet.sent));
        let packets = self.packets.iter().map(age).fold(0u128, u128::wrapping_add);
        let rest = (&self.budget, self.ticks, self.puts, self.restarts);
        Hash128::of(&(packets, self.ledger.hash(), self.seen.each_ref().map(|seen| seen.hash), rest))
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
        let packets = self.packets.len();
        let Some(touched) = self.act(maps, action, step)? else { return Ok(Step::Idle) };
        let mut done = self.packets.len() != packets;
        for at in (0..N).filter(|at| touched >> at & 1 == 1) {
            let after = Snapshot::of(maps.map(at), &self.keys);
            if after.hash != self.seen[at].hash {
                done = true;
                self.ledger.note(maps.map(at), &self.seen[at], &after)?;
                self.seen[at] = after;
            }
        }
        if !done && *action != Action::Tick {
            return Ok(Step::Idle);
        }
        if let Some(at) = (0..N).find(|&at| maps.map(at).phase() == Phase::Fenced) {
            return violated!("S{at} is fenced, and there never was another server in its slot");
        }
        self.check()?;
        Ok(Step::Done)
    }

    /// Checks what must hold of every state.
    ///
    /// # Errors
    /// The first property that does not hold.
    pub fn check(&mut self) -> Result<(), Violation> {
        if self.scope.checks_r6 { self.ledger.check(&self.seen) } else { Ok(()) }
    }

    /// Does an action; returns the replicas that it may have changed, or `None` if it was not possible.
    fn act<'s>(
        &mut self,
        maps: &mut impl Replicas<'s, N>,
        action: &Action,
        step: u32,
    ) -> Result<Option<u32>, Violation> {
        let bit = |at: u8| 1u32 << at;
        let slot = |at: u8| Slot::at(at.into());
        let window = self.scope.window;
        Ok(match *action {
            Action::Deliver(label) => {
                let Some(packet) = self.packets.iter().find(|packet| packet.label == label) else {
                    return Ok(None);
                };
                let (to, bytes) = (packet.to, Rc::clone(&packet.bytes));
                let outcome = deliver(maps.map_mut(to.into()), &bytes);
                if outcome.rejected == Some(Reject::OldLife) {
                    self.notify(maps, to, &bytes, outcome.sender, step);
                }
                Some(bit(to))
            }
            Action::Ask { from, to, force } => {
                let request = Request { force, window, ..Request::default() };
                let map = maps.map(from.into());
                self.send(to, step, |frame| map.write_version(slot(to), &request, frame));
                Some(0)
            }
            Action::Serve { from, to } => {
                if !maps.map(from.into()).owes_delta().contains(slot(to)) {
                    return Ok(None);
                }
                let map = maps.map_mut(from.into());
                self.send(to, step, |frame| map.write_delta(slot(to), frame));
                Some(bit(from))
            }
            Action::Push { from, to } => {
                if !maps.map(from.into()).owes_push(slot(to)) {
                    return Ok(None);
                }
                let map = maps.map_mut(from.into());
                self.send(to, step, |frame| map.write_push(slot(to), frame));
                Some(bit(from))
            }
            Action::Request { from, to } => {
                let force = maps.map(from.into()).phase() == Phase::Starting;
                let request = Request { force, window, ..Request::default() };
                exchange_one(&self.scope, maps, from, to, |map, frame| {
                    map.write_version(slot(to), &request, frame)
                });
                Some(bit(to) | bit(from))
            }
            Action::Sync { from, to } => {
                pull(&self.scope, maps, from, to)?;
                Some(bit(from) | bit(to))
            }
            Action::Round => {
                for (from, to) in pairs::<N>() {
                    pull(&self.scope, maps, from, to)?;
                }
                Some(u32::MAX)
            }
            Action::Put { at, key } => {
                let number = u64::from(self.puts[usize::from(at)]) + 1;
                let value = (u64::from(at) << 32 | number).to_le_bytes();
                if maps.map(at.into()).phase() == Phase::Starting
                    || maps.map_mut(at.into()).put(self.keys[usize::from(key)], &value).is_err()
                {
                    return Ok(None);
                }
                self.puts[usize::from(at)] += 1;
                Some(bit(at))
            }
            Action::Remove { at, key } => {
                let key = self.keys[usize::from(key)];
                let is_live = maps.map(at.into()).inspect(key).is_some_and(|held| !held.tombstone);
                if !is_live || maps.map_mut(at.into()).remove(key).is_err() {
                    return Ok(None);
                }
                Some(bit(at))
            }
            Action::Checkpoint { at } => {
                maps.map_mut(at.into()).note_checkpoint();
                Some(bit(at))
            }
            Action::Sweep { at } => {
                if !maps.map(at.into()).needs_sweep() {
                    return Ok(None);
                }
                maps.map_mut(at.into()).sweep(usize::MAX);
                Some(bit(at))
            }
            Action::Tick => {
                self.ticks += 1;
                let (ticks, lasts) = (self.ticks, self.scope.ticks_per_quarantine);
                self.packets.retain(|packet| packet.sent + lasts > ticks);
                for at in 0..N {
                    maps.map_mut(at).advance(self.now());
                }
                Some(u32::MAX)
            }
            Action::Crash { at, how } => {
                self.crash(maps, at.into(), how);
                Some(bit(at))
            }
            Action::Live { at, set } => {
                // To hold a live peer dead before the first write would break R4.2 from outside.
                if maps.map(at.into()).phase() == Phase::Starting {
                    return Ok(None);
                }
                maps.map_mut(at.into()).set_live(SlotSet::from_bits(set.into()));
                Some(bit(at))
            }
        })
    }

    fn now(&self) -> Instant {
        Instant(self.scope.tick().0 * u64::from(self.ticks))
    }

    fn crash<'s>(&mut self, maps: &mut impl Replicas<'s, N>, at: usize, how: Restart) {
        self.restarts[at] += 1;
        let (base, number) = (first_life(at).id, u64::from(self.restarts[at]));
        if how != Restart::Kept {
            self.packets.retain(|packet| usize::from(packet.bytes[2]) != at);
        }
        let life = match how {
            Restart::Kept => Life { generation: maps.map(at).life().generation + 1, id: base + number },
            Restart::LostGreater => Life { generation: 1, id: base + number },
            Restart::LostLesser => Life { generation: 1, id: base - number },
        };
        maps.restart(at, &self.scope.config(at, N, life));
        let map = maps.map_mut(at);
        #[cfg(popmap_teeth)]
        if let Some(tooth) = self.scope.tooth {
            map.break_rule(tooth);
        }
        map.set_live(SlotSet::first(N));
        map.advance(self.now());
    }

    /// Tells the sender of a rejected packet which life its receiver knows in the sender's slot.
    fn notify<'s>(&mut self, maps: &impl Replicas<'s, N>, at: u8, bytes: &[u8], sender: Life, step: u32) {
        let map = maps.map(at.into());
        let slot = bytes[2];
        let known = map.life_of(Slot::at(slot.into()));
        self.send(slot, step, |frame| map.write_life_notice(Slot::at(slot.into()), known, sender.id, frame));
    }

    fn send(&mut self, to: u8, step: u32, write: impl FnOnce(&mut [u8]) -> Option<(Envelope, usize)>) {
        let mut frame = [0; FRAME_MAX];
        let frame = &mut frame[..self.scope.frame_len(N)];
        let Some((envelope, len)) = write(frame) else { return };
        let nth = self.packets.iter().filter(|packet| packet.label.step == step).count();
        let label = Label { step, nth: u8::try_from(nth).expect("few packets a step") };
        let packet = seal(to, self.ticks, label, frame, &envelope, len);
        match self.packets.iter_mut().find(|other| other.hash == packet.hash) {
            Some(same) => same.sent = packet.sent,
            None => self.packets.push(packet),
        }
    }
}

/// Sends one packet from `from` to `to`, and if it is rejected as of an old life, the notice back. Returns why it was
/// rejected.
fn exchange_one<'s, const N: usize>(
    scope: &Scope,
    maps: &mut impl Replicas<'s, N>,
    from: u8,
    to: u8,
    write: impl FnOnce(&mut Map<'s, N>, &mut [u8]) -> Option<(Envelope, usize)>,
) -> Option<Reject> {
    let mut frame = [0; FRAME_MAX];
    let frame = &mut frame[..scope.frame_len(N)];
    let label = Label { step: 0, nth: 0 };
    let Some((envelope, len)) = write(maps.map_mut(from.into()), frame) else { return None };
    let packet = seal(to, 0, label, frame, &envelope, len);
    let outcome = deliver(maps.map_mut(to.into()), &packet.bytes);
    if outcome.rejected == Some(Reject::OldLife) {
        let slot = Slot::at(from.into());
        let receiver = maps.map(to.into());
        let notice = receiver.write_life_notice(slot, receiver.life_of(slot), outcome.sender.id, frame);
        let (envelope, len) = notice.expect("a notice fits any frame");
        let packet = seal(from, 0, label, frame, &envelope, len);
        deliver(maps.map_mut(from.into()), &packet.bytes);
    }
    outcome.rejected
}

/// Every ordered pair of replicas.
pub fn pairs<const N: usize>() -> impl Iterator<Item = (u8, u8)> {
    let n = u8::try_from(N).expect("few replicas");
    (0..n).flat_map(move |a| (0..n).filter(move |&b| a != b).map(move |b| (a, b)))
}

/// Lets `to` pull all that it lacks from `from`, over a network that loses nothing.
///
/// # Errors
/// When it never ends.
pub fn pull<'s, const N: usize>(
    scope: &Scope,
    maps: &mut impl Replicas<'s, N>,
    from: u8,
    to: u8,
) -> Result<(), Violation> {
    let (server, asker) = (Slot::at(from.into()), Slot::at(to.into()));
    let mut packets = 0;
    // The first request may be from a life that the server holds old; the second is then from above it. One that
    // starts asks once more after a notice, and a window may end before the log does.
    loop {
        let before = maps.map(to.into()).life().generation;
        let request = Request { force: true, window: 4, ..Request::default() };
        let write = |map: &mut Map<'s, N>, frame: &mut [u8]| map.write_version(server, &request, frame);
        if exchange_one(scope, maps, to, from, write) == Some(Reject::OtherLife) {
            // The server lives anew and has not spoken yet.
            return Ok(());
        }
        let raised = maps.map(to.into()).life().generation != before;
        let commits = maps.map(to.into()).stats().commits;
        while maps.map(from.into()).owes_delta().contains(asker) {
            exchange_one(scope, maps, from, to, |map, frame| map.write_delta(asker, frame));
            packets += 1;
            if packets > EXCHANGE_MAX {
                return violated!("S{to} pulls from S{from} without end");
            }
        }
        if !raised && (maps.map(to.into()).stats().commits > commits || !scope.converges) {
            return Ok(());
        }
        packets += 1;
        if packets > EXCHANGE_MAX {
            return violated!("S{to} pulls from S{from} and never commits");
        }
    }
}
