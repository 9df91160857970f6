//! What time does: periods, gossip, retries, and the end of suspicions.

use super::suspicion::Suspicion;
use super::{Membership, RETRY_ON, State};
use crate::id::SlotSet;
use crate::rng::Rng;
use crate::time::{Duration, Instant};

impl<const N: usize> Membership<N> {
    /// Moves the protocol on.
    pub(crate) fn tick(&mut self, now: Instant, rng: &mut Rng) {
        if now < self.next_tick() {
            return;
        }
        let late = now.since(self.next_period);
        if late > self.config.timeout {
            self.catch_up(late);
        }
        if self.probes.wants_help(now) {
            let helpers = self.others();
            self.stats.indirect_probes += self.probes.ask_help(helpers, self.config.indirect, rng);
        }
        if now >= self.next_period {
            self.end_probe(now);
            self.next_period = now + self.health.stretch(self.config.period);
            let timeout = self.health.stretch(self.config.timeout);
            if self.probes.begin(now + timeout, self.others(), rng) {
                self.stats.probes += 1;
            }
        }
        if now >= self.next_gossip && self.has_news() {
            self.next_gossip = now + self.config.gossip;
            self.probes.gossip(self.others(), self.config.fanout, rng);
        }
        if now >= self.next_retry {
            self.next_retry = now + if now < self.retry_on_until { RETRY_ON } else { self.config.retry_dead };
            self.probes.retry(self.members.those(State::Dead), rng);
        }
        self.end_suspicions(now);
    }

    /// We are late ourselves: answers may be waiting to be read, so nobody is judged by the time that passed.
    fn catch_up(&mut self, late: Duration) {
        self.stats.stalls += 1;
        self.health.worsen();
        self.probes.abandon();
        self.suspicions.iter_mut().flatten().for_each(|suspicion| suspicion.postpone(late));
    }

    /// The period is over: a member that did not answer in it is suspected.
    fn end_probe(&mut self, now: Instant) {
        let Some(target) = self.probes.unanswered() else { return };
        self.stats.failed_probes += 1;
        self.health.worsen();
        match self.member(target).state {
            State::Alive => {
                self.members.set_state(target, State::Suspect);
                self.stats.suspicions += 1;
                self.changed.insert(target);
                self.spread.renew(target);
                let before = self.probes.newest();
                self.suspect(target, Some(Suspicion::ours(now, self.me, before)));
            }
            State::Suspect => self.confirm(now, target, SlotSet::EMPTY.with(self.me)),
            State::Unknown | State::Dead | State::Left => {}
        }
    }

    fn end_suspicions(&mut self, now: Instant) {
        let timeout = self.health.stretch(self.config.timeout);
        for slot in self.suspects.iter() {
            let Some(suspicion) = &mut self.suspicions[slot.index()] else { continue };
            if suspicion.look_failed(now) {
                self.confirm(now, slot, SlotSet::EMPTY.with(self.me));
            }
            let Some(mut suspicion) = self.suspicions[slot.index()] else { continue };
            let deadline = self.deadline(&suspicion);
            if now < deadline {
                if suspicion.look(now, deadline, now + timeout, self.looks()) {
                    self.probes.look(slot);
                    self.suspicions[slot.index()] = Some(suspicion);
                }
                continue;
            }
            self.suspect(slot, None);
            self.members.set_state(slot, State::Dead);
            self.stats.deaths += 1;
            self.changed.insert(slot);
            self.spread.renew(slot);
        }
    }

    /// Not stretched by our health: that makes us slow to suspect, and an ack begins the time anew.
    fn deadline(&self, suspicion: &Suspicion) -> Instant {
        suspicion.deadline(self.config.suspicion_min, self.config.suspicion_max, self.others().len())
    }

    /// Returns when [`tick`](Self::tick) has something to do next.
    pub(crate) fn next_tick(&self) -> Instant {
        if self.has_left() {
            return Instant::NEVER;
        }
        let suspicions = self.suspects.iter().filter_map(|slot| self.suspicions[slot.index()].as_ref());
        let suspicions = suspicions.map(|suspicion| suspicion.next(self.deadline(suspicion), self.looks()));
        let gossip = if self.has_news() { self.next_gossip } else { Instant::NEVER };
        let timers = self.next_period.min(gossip).min(self.next_retry).min(self.probes.help_at());
        suspicions.fold(timers, Instant::min)
    }
}
