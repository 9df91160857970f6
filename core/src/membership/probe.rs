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
    Ours,
    Relayed,
    Stale,
}

pub(super) struct Probes<const N: usize> {
    /// The rest of this round.
    round: SlotSet,
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
}

impl<const N: usize> Probes<N> {
    pub(super) fn new() -> Self {
        Self {
            round: SlotSet::EMPTY,
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
        }
    }

    fn next_number(&mut self) -> u32 {
        self.number = self.number.wrapping_add(1);
        self.number
    }

    /// Begins a probe of the next member: random, but each once a round. Returns false when there is nobody.
    pub(super) fn begin(&mut self, help_at: Instant, others: SlotSet, rng: &mut Rng) -> bool {
        self.round = self.round.intersection(others);
        if self.round.is_empty() {
            self.round = others;
        }
        let Some(target) = self.round.nth(rng.below(self.round.len() as u64) as usize) else {
            self.current = None;
            return false;
        };
        self.round.remove(target);
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
            return Acked::Relayed;
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
            || !(self.acks.union(self.passed_on).union(self.helpers).union(self.relays_due)).is_empty()
    }

    /// Returns what is to be sent next: what keeps others from suspecting us first.
    pub(super) fn outgoing(&mut self) -> Option<Outgoing> {
        if let Some(to) = self.acks.iter().next() {
            self.acks.remove(to);
            let number = self.ack_numbers[to.index()];
            // The target of a direct ack is the one who sends it: the caller fills itself in.
            return Some(Outgoing::Ack { to, number, target: None });
        }
        if let Some(to) = self.passed_on.iter().next() {
            self.passed_on.remove(to);
            let relay = self.relays[to.index()].take()?;
            return Some(Outgoing::Ack { to, number: relay.theirs, target: Some(relay.target) });
        }
        if let Some((to, number)) = self.ping.take() {
            return Some(Outgoing::Ping { to, number });
        }
        if let (Some(to), Some(probe)) = (self.helpers.iter().next(), self.current) {
            self.helpers.remove(to);
            return Some(Outgoing::PingReq { to, target: probe.target, number: probe.number });
        }
        if let Some(origin) = self.relays_due.iter().next() {
            self.relays_due.remove(origin);
            let relay = self.relays[origin.index()]?;
            return Some(Outgoing::Ping { to: relay.target, number: relay.ours });
        }
        if core::mem::take(&mut self.retry_due) {
            let (to, number) = self.retry?;
            return Some(Outgoing::Ping { to, number });
        }
        None
    }
}
