//! What each action does to a world.

use std::rc::Rc;

use popmap_core::map::Request;
use popmap_core::wire::{Envelope, Kind, Probe};
use popmap_core::{Life, Phase, Slot, SlotSet};

use super::action::{Action, Label, Restart};
use super::exchange::{exchange_one, pairs, pull};
use super::packet::{FRAME_MAX, deliver, seal, write_notice};
use super::replicas::Replicas;
use super::world::{World, first_life};
use crate::checker::Violation;

const fn bit(at: u8) -> u32 {
    1 << at
}

fn slot(at: u8) -> Slot {
    Slot::at(at.into())
}

impl<const N: usize> World<N> {
    /// Does an action; returns the replicas that it may have changed, as a bitmap, or `None` if it was not possible.
    pub(super) fn act<'s>(
        &mut self,
        maps: &mut impl Replicas<'s, N>,
        action: &Action,
        step: u32,
    ) -> Result<Option<u32>, Violation> {
        match *action {
            Action::Sync { from, to } => {
                pull(&self.scope, maps, from, to)?;
                Ok(Some(bit(from) | bit(to)))
            }
            Action::Round => {
                for (from, to) in pairs::<N>() {
                    pull(&self.scope, maps, from, to)?;
                }
                Ok(Some(u32::MAX))
            }
            _ => Ok(self.act_on_network(maps, action, step)?.or_else(|| self.act_locally(maps, action))),
        }
    }

    fn act_on_network<'s>(
        &mut self,
        maps: &mut impl Replicas<'s, N>,
        action: &Action,
        step: u32,
    ) -> Result<Option<u32>, Violation> {
        let window = self.scope.window;
        let touched = match *action {
            Action::Deliver(label) => {
                let Some(packet) = self.packets.iter().find(|packet| packet.label == label) else {
                    return Ok(None);
                };
                let (to, bytes) = (packet.to, Rc::clone(&packet.bytes));
                let outcome = deliver(maps.map_mut(to.into()), &bytes)?;
                if outcome.notice {
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
            Action::Ping { from, to } => {
                let map = maps.map(from.into());
                let probe = Probe { number: 1, target: slot(to), owed: 0, version: map.version_hash() };
                self.send(to, step, |frame| map.write_probe(Kind::Ping, slot(to), &probe, frame));
                Some(0)
            }
            Action::Compare { from, to } => {
                let map = maps.map_mut(from.into());
                self.send(to, step, |frame| map.write_digest(slot(to), frame));
                Some(bit(from))
            }
            Action::Repair { at } => {
                let map = maps.map_mut(at.into());
                if let Some(to) = map.owes_repair() {
                    self.send(to.get(), step, |frame| map.write_repair(frame));
                } else {
                    let Some(to) = map.owes_report() else { return Ok(None) };
                    self.send(to.get(), step, |frame| map.write_report(frame));
                }
                Some(bit(at))
            }
            Action::Request { from, to } => {
                let force = maps.map(from.into()).phase() == Phase::Starting;
                let request = Request { force, window, ..Request::default() };
                exchange_one(&self.scope, maps, from, to, |map, frame| {
                    map.write_version(slot(to), &request, frame)
                })?;
                Some(bit(to) | bit(from))
            }
            _ => None,
        };
        Ok(touched)
    }

    fn act_locally<'s>(&mut self, maps: &mut impl Replicas<'s, N>, action: &Action) -> Option<u32> {
        match *action {
            Action::Put { at, key } => {
                let number = u64::from(self.puts[usize::from(at)]) + 1;
                let value = (u64::from(at) << 32 | number).to_le_bytes();
                if maps.map(at.into()).phase() == Phase::Starting
                    || maps.map_mut(at.into()).put(self.keys[usize::from(key)], &value).is_err()
                {
                    return None;
                }
                self.puts[usize::from(at)] += 1;
                Some(bit(at))
            }
            Action::Remove { at, key } => {
                let key = self.keys[usize::from(key)];
                let is_live = maps.map(at.into()).inspect(key).is_some_and(|held| !held.tombstone);
                if !is_live || maps.map_mut(at.into()).remove(key).is_err() {
                    return None;
                }
                Some(bit(at))
            }
            Action::Checkpoint { at } => {
                maps.map_mut(at.into()).note_checkpoint();
                Some(bit(at))
            }
            Action::Sweep { at } => {
                if !maps.map(at.into()).needs_sweep() {
                    return None;
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
                Some(if self.scope.forgets() { u32::MAX } else { bit(at) })
            }
            Action::Live { at, set } => {
                // To hold a live peer dead before the first write would break R4.2 from outside.
                if maps.map(at.into()).phase() == Phase::Starting {
                    return None;
                }
                maps.map_mut(at.into()).set_live(SlotSet::from_bits(set.into()));
                Some(bit(at))
            }
            Action::Forget { at, of } => {
                let map = maps.map(at.into());
                if !matches!(map.phase(), Phase::Active { .. }) || map.forgotten_slots().contains(slot(of)) {
                    return None;
                }
                let live = map.live().without(slot(of));
                maps.map_mut(at.into()).set_live(live);
                maps.map_mut(at.into()).forget(slot(of)).ok().map(|_| bit(at))
            }
            _ => None,
        }
    }

    pub(super) fn crash<'s>(&mut self, maps: &mut impl Replicas<'s, N>, at: usize, how: Restart) {
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
        // Who joins is told of everybody, and of who joins after it: not to be told before the first write would break R4.2
        // from outside.
        for other in (0..N).filter(|&other| other != at && self.scope.forgets()) {
            let generation = maps.map(other).life().generation;
            maps.map_mut(at).hear_of(Slot::at(other), generation);
            if maps.map(other).phase() == Phase::Starting {
                maps.map_mut(other).hear_of(Slot::at(at), life.generation);
            }
        }
    }

    /// Tells the sender of a rejected packet that its life is over.
    fn notify<'s>(&mut self, maps: &impl Replicas<'s, N>, at: u8, bytes: &[u8], sender: Life, step: u32) {
        let map = maps.map(at.into());
        let slot = bytes[2];
        self.send(slot, step, |frame| write_notice(map, Slot::at(slot.into()), sender, frame));
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
