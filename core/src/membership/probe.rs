//! Probes: whom to ping next, what is under way, and the acks that are due.

use crate::id::{Slot, SlotSet};
use crate::rng::Rng;
use crate::time::Instant;

use super::Outgoing;

/// Our own probe of this period.
#[derive(Clone, Copy, Debug)]
struct Probe {
    target: Slot,
    number: u32,
    /// When others are asked to help; never, once they have been.
    help_at: Instant,
    acked: bool,
}

/// A ping that we send for another server; the latest of each.
#[derive(Clone, Copy, Debug)]
struct Relay {
    target: Slot,
    /// The number of the one who asked.
    theirs: u32,
    /// The number of our ping.
    ours: u32,
}

/// What an ack answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Acked {
    /// Our probe of this period.
    Ours,
    /// Our ping to one of the dead.
    Retried,
    /// A ping that we sent for another.
    Relayed,
    /// Nothing that is under way.
    Stale,
}

pub(super) struct Probes<const N: usize> {
    /// Who had its turn in this round.
    pinged: SlotSet,
    current: Option<Probe>,
    number: u32,
    /// Our ping, and a ping to one of the dead, that wait to be sent.
    ping: Option<(Slot, u32)>,
    retry: Option<(Slot, u32)>,
    retry_due: bool,
    /// Members to be asked for help.
    helpers: SlotSet,
    /// Members whose ping is to be acked, and the number of the latest.
    acks: SlotSet,
    ack_numbers: [u32; N],
    /// Pings to send for others, and acks to pass on to them.
    relays: [Option<Relay>; N],
    relays_due: SlotSet,
    passed_on: SlotSet,
    /// Members to be told what is new.
    gossips: SlotSet,
    /// Suspects to be pinged once more.
    looks: SlotSet,
}

impl<const N: usize> Probes<N> {
    pub(super) fn new() -> Self {
        Self {
            pinged: SlotSet::EMPTY,
            current: None,
            number: 0,
            ping: None,
            retry: None,
            retry_due: false,
            helpers: SlotSet::EMPTY,
            acks: SlotSet::EMPTY,
            ack_numbers: [0; N],
            relays: [None; N],
            relays_due: SlotSet::EMPTY,
            passed_on: SlotSet::EMPTY,
            gossips: SlotSet::EMPTY,
            looks: SlotSet::EMPTY,
        }
    }

    /// Every ping has a number of its own, so that no ack is taken for another's; zero is for those that ask for none.
    fn next_number(&mut self) -> u32 {
        self.number = self.number.wrapping_add(1).max(1);
        self.number
    }

    /// Returns the number of the latest ping.
    pub(super) fn newest(&self) -> u32 {
        self.number
    }

    /// Begins a probe of the next member: random, but each once a round. Who comes in the middle of a round takes part in
    /// it (SWIM, section 4.3): the rounds of all may have begun together, and nobody would look at it for the rest of them.
    /// Returns false when there is nobody.
    pub(super) fn begin(&mut self, help_at: Instant, others: SlotSet, rng: &mut Rng) -> bool {
        let mut left = others.difference(self.pinged);
        if left.is_empty() {
            (self.pinged, left) = (SlotSet::EMPTY, others);
        }
        let Some(target) = left.nth(rng.below(left.len() as u64) as usize) else {
            self.current = None;
            return false;
        };
        self.pinged.insert(target);
        let number = self.next_number();
        self.current = Some(Probe { target, number, help_at, acked: false });
        self.ping = Some((target, number));
        true
    }

    /// Pings one of the dead, outside of any probe: if it is back, it learns what is said of it and refutes.
    pub(super) fn retry(&mut self, dead: SlotSet, rng: &mut Rng) {
        if let Some(target) = dead.nth(rng.below(dead.len() as u64) as usize) {
            self.retry = Some((target, self.next_number()));
            self.retry_due = true;
        }
    }

    /// Pings a suspect, outside of any probe.
    pub(super) fn look(&mut self, suspect: Slot) {
        self.looks.insert(suspect);
    }

    /// Tells `count` of `others` what is new.
    pub(super) fn gossip(&mut self, others: SlotSet, count: u8, rng: &mut Rng) {
        self.gossips = SlotSet::EMPTY;
        let mut left = others;
        for _ in 0..count {
            if let Some(to) = left.nth(rng.below(left.len() as u64) as usize) {
                left.remove(to);
                self.gossips.insert(to);
            }
        }
    }

    /// Whether it is time to ask others to ping the member that did not answer.
    pub(super) fn wants_help(&self, now: Instant) -> bool {
        self.current.is_some_and(|probe| !probe.acked && now >= probe.help_at)
    }

    pub(super) fn help_at(&self) -> Instant {
        self.current.filter(|probe| !probe.acked).map_or(Instant::NEVER, |probe| probe.help_at)
    }

    /// Asks up to `count` of `others` for help; returns how many.
    pub(super) fn ask_help(&mut self, others: SlotSet, count: u8, rng: &mut Rng) -> u64 {
        let Some(probe) = &mut self.current else { return 0 };
        probe.help_at = Instant::NEVER;
        let mut from = others.without(probe.target);
        while self.helpers.len() < usize::from(count)
            && let Some(helper) = from.nth(rng.below(from.len() as u64) as usize)
        {
            from.remove(helper);
            self.helpers.insert(helper);
        }
        self.helpers.len() as u64
    }

    /// Ends the probe of this period; returns its target if it was never acked.
    pub(super) fn unanswered(&mut self) -> Option<Slot> {
        self.helpers = SlotSet::EMPTY;
        self.current.take().filter(|probe| !probe.acked).map(|probe| probe.target)
    }

    /// Ends the probe of this period without a verdict.
    pub(super) fn abandon(&mut self) {
        self.helpers = SlotSet::EMPTY;
        self.current = None;
    }

    pub(super) fn owe_ack(&mut self, to: Slot, number: u32) {
        self.acks.insert(to);
        self.ack_numbers[to.index()] = number;
    }

    /// Pings `target` for `origin`; its latest request replaces an earlier one.
    pub(super) fn relay(&mut self, origin: Slot, target: Slot, theirs: u32) {
        let ours = self.next_number();
        self.relays[origin.index()] = Some(Relay { target, theirs, ours });
        self.relays_due.insert(origin);
        self.passed_on.remove(origin);
    }

    /// Returns the number of the ping whose ack is waited for.
    pub(super) fn awaited(&self) -> Option<u32> {
        self.current.as_ref().map(|probe| probe.number)
    }

    pub(super) fn on_ack(&mut self, from: Slot, target: Slot, number: u32) -> Acked {
        if let Some(probe) = &mut self.current
            && probe.target == target
            && probe.number == number
        {
            probe.acked = true;
            self.helpers = SlotSet::EMPTY;
            return Acked::Ours;
        }
        if self.retry == Some((target, number)) {
            self.retry = None;
            return Acked::Retried;
        }
        let mut known = false;
        for origin in (0..N).map(Slot::at) {
            if self.relays[origin.index()].is_some_and(|relay| relay.target == from && relay.ours == number) {
                self.passed_on.insert(origin);
                known = true;
            }
        }
        if known { Acked::Relayed } else { Acked::Stale }
    }

    pub(super) fn is_due(&self) -> bool {
        self.ping.is_some()
            || self.retry_due
            || [self.acks, self.passed_on, self.helpers, self.relays_due, self.gossips, self.looks]
                .iter()
                .any(|due| !due.is_empty())
    }

    /// Returns what is to be sent next: what keeps others from suspecting us first.
    pub(super) fn outgoing(&mut self) -> Option<Outgoing> {
        while self.is_due() {
            if let Some(outgoing) = self.next_outgoing() {
                return Some(outgoing);
            }
        }
        None
    }

    /// Takes one thing off what is due; `None` when it was no longer of use.
    fn next_outgoing(&mut self) -> Option<Outgoing> {
        if let Some(to) = self.acks.iter().next() {
            self.acks.remove(to);
            let number = self.ack_numbers[to.index()];
            // The target of a direct ack is the one who sends it: the caller fills itself in.
            return Some(Outgoing::Ack { to, number, target: None });
        }
        if let Some(to) = self.passed_on.iter().next() {
            self.passed_on.remove(to);
            if let Some(relay) = self.relays[to.index()].take() {
                return Some(Outgoing::Ack { to, number: relay.theirs, target: Some(relay.target) });
            }
        }
        if let Some((to, number)) = self.ping.take() {
            return Some(Outgoing::Ping { to, number });
        }
        if let Some(to) = self.helpers.iter().next() {
            self.helpers.remove(to);
            if let Some(probe) = self.current {
                return Some(Outgoing::PingReq { to, target: probe.target, number: probe.number });
            }
        }
        if let Some(origin) = self.relays_due.iter().next() {
            self.relays_due.remove(origin);
            if let Some(relay) = self.relays[origin.index()] {
                return Some(Outgoing::Ping { to: relay.target, number: relay.ours });
            }
        }
        if let Some(to) = self.looks.iter().next() {
            self.looks.remove(to);
            return Some(Outgoing::Ping { to, number: self.next_number() });
        }
        if let Some(to) = self.gossips.iter().next() {
            self.gossips.remove(to);
            return Some(Outgoing::Gossip { to });
        }
        if core::mem::take(&mut self.retry_due)
            && let Some((to, number)) = self.retry
        {
            return Some(Outgoing::Ping { to, number });
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_has_everyone_once_and_whoever_comes_in_its_middle() {
        let (mut probes, mut rng) = (Probes::<16>::new(), Rng::new(5));
        let mut ping = |others| {
            assert!(probes.begin(Instant::NEVER, others, &mut rng));
            probes.ping.take().unwrap().0
        };
        let (first, all) = (SlotSet::first(8), SlotSet::first(10));
        for _ in 0..20 {
            let mut pinged: SlotSet = (0..3).map(|_| ping(first)).collect();
            // Two more come: the round goes on with them.
            pinged = pinged.union((0..7).map(|_| ping(all)).collect());
            assert_eq!(pinged, all);
        }
    }

    /// However many come and go: a round ends when nobody is left who had no turn in it.
    #[test]
    fn those_who_stay_are_pinged_though_others_come_and_go() {
        let (mut probes, mut rng) = (Probes::<16>::new(), Rng::new(6));
        let stay = SlotSet::first(2);
        let mut since = [0; 16];
        for period in 0..2_000 {
            let others = stay.with(Slot::at(2 + period % 8));
            assert!(probes.begin(Instant::NEVER, others, &mut rng));
            let pinged = probes.ping.take().unwrap().0;
            assert!(others.contains(pinged));
            stay.iter().for_each(|slot| since[slot.index()] += 1);
            since[pinged.index()] = 0;
            // Each of the ten once a round, so a turn is at most two rounds away.
            assert!(stay.iter().all(|slot| since[slot.index()] < 20), "period {period}: {since:?}");
        }
    }
}
