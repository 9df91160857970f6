//! A server's schedule: which origin it checks next, and when.
//!
//! Must not know what a check finds, nor what becomes of the result.
//!
//! Each origin has a fixed place in the interval, the same on every server, so checks are spread evenly and an origin
//! keeps its rhythm when it changes hands. Beside the rounds there is what cannot wait: an origin that this server has
//! only just come to own, or whose record another server overwrote, is checked out of turn, as fast as [`RUSH`] allows.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use popmap_core::rng::Rng;
use popmap_core::time::{Duration, Instant};
use serde::{Deserialize, Serialize};

use crate::assignment::Assignment;
use crate::origins::OriginId;

/// Checks out of turn in a second, by the whole PoP; more where it takes more to check a dead server's share in one.
const RUSH: u64 = 6_000;
/// Of each interval, the last part in so many stays free: late checks of a round do not run into the next.
const BREATH: u64 = 50;

/// Which checks are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Checks {
    /// None: the story looks at the map alone.
    Paused,
    /// Those out of turn.
    Overdue,
    /// Those, and each origin once an interval.
    All,
}

/// The places of all origins in the interval.
#[derive(Debug)]
pub struct Calendar {
    interval: Duration,
    order: Vec<OriginId>,
}

impl Calendar {
    /// Returns a calendar of origins `0..n`, shuffled by `seed`.
    pub fn new(n: usize, interval: Duration, seed: u64) -> Self {
        let mut order: Vec<OriginId> = (0..n as OriginId).collect();
        let mut rng = Rng::new(seed);
        for last in (1..n).rev() {
            order.swap(last, rng.below(last as u64 + 1) as usize);
        }
        Self { interval, order }
    }

    /// Returns how often each origin is checked.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Returns the middle of the free part in front of the round that is next at `now`.
    pub fn next_round(&self, now: Instant) -> Instant {
        let half = Duration(self.interval.0 / BREATH / 2);
        let rounds = (now + half).0 / self.interval.0 + 1;
        Instant(rounds * self.interval.0 - half.0)
    }

    /// Iterates (time in the interval, origin), soonest first.
    fn iter(&self) -> impl Iterator<Item = (Duration, OriginId)> + '_ {
        let busy = self.interval.0 - self.interval.0 / BREATH;
        let n = self.order.len() as u64;
        let place = move |rank: u64| Duration(busy / n * rank);
        (0..).map(place).zip(self.order.iter().copied())
    }
}

/// The checks that one server has to make.
#[derive(Debug)]
pub struct Schedule {
    calendar: Arc<Calendar>,
    /// Checks out of turn in a second, by this server.
    rush: u64,
    /// What is ours, in the order of the calendar.
    owned: Vec<(Duration, OriginId)>,
    /// The start of the round under way, and the next check in it.
    round: Instant,
    next: usize,
    /// Checks that cannot wait, soonest first.
    overdue: VecDeque<(Instant, OriginId)>,
    queued: HashSet<OriginId>,
}

impl Schedule {
    /// Returns a schedule of nothing.
    pub fn new(calendar: Arc<Calendar>) -> Self {
        Self {
            calendar,
            rush: RUSH,
            owned: Vec::new(),
            round: Instant::ZERO,
            next: 0,
            overdue: VecDeque::new(),
            queued: HashSet::new(),
        }
    }

    /// Takes over what is ours; `gained` was not before, and is checked out of turn.
    pub fn own(&mut self, now: Instant, assignment: &Assignment, gained: &[OriginId]) {
        let live = (assignment.live().len() as u64).max(1);
        self.rush = (RUSH.max(self.calendar.order.len() as u64 / live) / live).max(1);
        self.owned = self.calendar.iter().filter(|&(_, origin)| assignment.is_ours(origin)).collect();
        self.overdue.retain(|&(_, origin)| assignment.is_ours(origin));
        self.queued.retain(|&origin| assignment.is_ours(origin));
        self.recheck(now, gained);
        self.start_round(now);
    }

    /// Has `origins` checked out of turn, behind those that wait already.
    pub fn recheck(&mut self, now: Instant, origins: &[OriginId]) {
        let gap = Duration(1_000_000_000 / self.rush);
        let mut at = self.overdue.back().map_or(now, |&(last, _)| now.max(last + gap));
        for &origin in origins {
            if self.queued.insert(origin) {
                self.overdue.push_back((at, origin));
                at = at + gap;
            }
        }
    }

    /// Takes the schedule up at `now`: rounds that were missed are left out, and what could not wait but had to is
    /// spread anew.
    pub fn resume(&mut self, now: Instant) {
        if self.next_overdue() < now {
            let waiting: Vec<_> = self.overdue.drain(..).map(|(_, origin)| origin).collect();
            self.queued.clear();
            self.recheck(now, &waiting);
        }
        self.start_round(now);
    }

    fn start_round(&mut self, now: Instant) {
        self.round = Instant(now.0 - now.0 % self.calendar.interval.0);
        let into = now.since(self.round);
        self.next = self.owned.partition_point(|&(place, _)| place < into);
        self.wrap();
    }

    fn wrap(&mut self) {
        if self.next >= self.owned.len() {
            self.next = 0;
            self.round = self.round + self.calendar.interval;
        }
    }

    /// Returns how many checks cannot wait.
    pub fn overdue(&self) -> usize {
        self.overdue.len()
    }

    fn next_overdue(&self) -> Instant {
        self.overdue.front().map_or(Instant::NEVER, |&(at, _)| at)
    }

    fn next_regular(&self) -> Instant {
        self.owned.get(self.next).map_or(Instant::NEVER, |&(place, _)| self.round + place)
    }

    /// Returns when the next check is due.
    pub fn deadline(&self, checks: Checks) -> Instant {
        match checks {
            Checks::Paused => Instant::NEVER,
            Checks::Overdue => self.next_overdue(),
            Checks::All => self.next_overdue().min(self.next_regular()),
        }
    }

    /// Returns the next origin that is to be checked by `now`.
    pub fn poll(&mut self, now: Instant, checks: Checks) -> Option<OriginId> {
        if self.deadline(checks) > now {
            return None;
        }
        if self.next_overdue() <= now {
            let (_, origin) = self.overdue.pop_front()?;
            self.queued.remove(&origin);
            return Some(origin);
        }
        let (_, origin) = *self.owned.get(self.next)?;
        self.next += 1;
        self.wrap();
        Some(origin)
    }
}

#[cfg(test)]
mod tests {
    use popmap_core::{Key, Slot, SlotSet};

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    struct One {
        assignment: Assignment,
        schedule: Schedule,
    }

    fn one(origins: u32) -> One {
        let keys = (0..origins).map(|id| Key::from_name(&id.to_le_bytes())).collect();
        let calendar = Calendar::new(origins as usize, INTERVAL, 1);
        One { assignment: Assignment::new(Slot::at(0), keys), schedule: Schedule::new(Arc::new(calendar)) }
    }

    impl One {
        fn own(&mut self, now: Instant, live: SlotSet) -> Vec<OriginId> {
            let gained = self.assignment.update(live);
            self.schedule.own(now, &self.assignment, &gained);
            gained
        }

        fn drain(&mut self, checks: Checks, from: Instant, span: Duration) -> Vec<OriginId> {
            let mut seen = Vec::new();
            while self.schedule.deadline(checks) < from + span {
                seen.extend(self.schedule.poll(self.schedule.deadline(checks), checks));
            }
            seen.sort_unstable();
            seen
        }
    }

    #[test]
    fn checks_each_origin_at_once_and_then_once_an_interval() {
        let mut one = one(100);
        assert_eq!(one.schedule.deadline(Checks::All), Instant::NEVER);
        let start = Instant::from_millis(12_345);
        let expected = one.own(start, SlotSet::first(2));
        assert!((30..70).contains(&expected.len()), "{}", expected.len());
        assert_eq!(one.drain(Checks::Overdue, start, Duration::from_secs(1)), expected);
        let start = one.schedule.calendar.next_round(start);
        one.schedule.resume(start);
        for round in 0..3 {
            assert_eq!(one.drain(Checks::All, start + INTERVAL.times(round), INTERVAL), expected);
        }
    }

    #[test]
    fn only_what_is_new_is_overdue_and_never_twice() {
        let (mut one, now) = (one(100), Instant::from_millis(1));
        let first = one.own(now, SlotSet::first(2));
        let second = Duration::from_secs(1);
        assert_eq!(one.drain(Checks::Overdue, now, second), first);
        let gained = one.own(now, SlotSet::first(1));
        one.schedule.recheck(now, &gained);
        assert_eq!(one.schedule.overdue(), gained.len());
        assert_eq!(one.drain(Checks::Overdue, now, second), gained);
        one.schedule.recheck(now, &gained);
        one.own(now, SlotSet::EMPTY);
        assert_eq!(one.schedule.deadline(Checks::All), Instant::NEVER, "what is gone is not checked");
    }

    #[test]
    fn a_round_starts_in_the_free_part() {
        let calendar = Calendar::new(10, INTERVAL, 1);
        for (now, next) in [(0, 9_900), (9_899, 9_900), (9_901, 19_900), (19_900, 29_900)] {
            assert_eq!(calendar.next_round(Instant::from_millis(now)), Instant::from_millis(next), "{now}");
        }
        let last = calendar.iter().map(|(place, _)| place).max().unwrap();
        assert!(last < Duration::from_millis(9_800));
    }
}
