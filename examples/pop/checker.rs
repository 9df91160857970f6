//! A server's health checker: which origin it checks next, and when.
//!
//! Knows the schedule. Must not know what a check finds, nor what becomes of the result.
//!
//! Each origin has a fixed place in the interval, the same on every server, so checks are spread evenly and an origin
//! keeps its rhythm when it changes hands. Beside the rounds there is what cannot wait: an origin that this server has
//! only just come to own, or whose record another server overwrote, is checked within [`CATCH_UP`].

use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

use popmap_core::Slot;
use popmap_core::rng::Rng;
use popmap_core::time::{Duration, Instant};

use crate::fleet::{OriginId, Owners};

/// How often each origin is checked.
pub const INTERVAL: Duration = Duration::from_secs(10);
/// How soon an origin is checked that has changed hands.
pub const CATCH_UP: Duration = Duration::from_secs(1);

/// Which checks are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checks {
    /// None: the story looks at the map alone.
    Paused,
    /// Those of origins that have changed hands.
    Overdue,
    /// Those, and each origin once an interval.
    All,
}

/// The places of all origins in the interval, in order.
pub struct Calendar {
    order: Vec<OriginId>,
}

impl Calendar {
    /// Returns a calendar of origins `0..n`, shuffled by `seed`.
    pub fn new(n: usize, seed: u64) -> Self {
        let mut order: Vec<OriginId> = (0..n as OriginId).collect();
        let mut rng = Rng::new(seed);
        for last in (1..n).rev() {
            order.swap(last, rng.below(last as u64 + 1) as usize);
        }
        Self { order }
    }

    /// Iterates (time in the interval, origin), soonest first.
    fn iter(&self) -> impl Iterator<Item = (Duration, OriginId)> + '_ {
        let n = self.order.len() as u64;
        let place = move |rank: u64| Duration(INTERVAL.0 / n * rank);
        (0..).map(place).zip(self.order.iter().copied())
    }
}

/// The checks that one server has to make.
pub struct Checker {
    me: Slot,
    calendar: Rc<Calendar>,
    owners: Option<Owners>,
    /// What is ours, in the order of the calendar.
    owned: Vec<(Duration, OriginId)>,
    /// The start of the round under way, and the next check in it.
    round: Instant,
    next: usize,
    /// Checks that cannot wait, soonest first.
    overdue: VecDeque<(Instant, OriginId)>,
    queued: HashSet<OriginId>,
}

impl Checker {
    /// Returns a checker that owns nothing yet.
    pub fn new(me: Slot, calendar: Rc<Calendar>) -> Self {
        Self {
            me,
            calendar,
            owners: None,
            owned: Vec::new(),
            round: Instant::ZERO,
            next: 0,
            overdue: VecDeque::new(),
            queued: HashSet::new(),
        }
    }

    /// Returns the calendar it goes by.
    pub fn calendar(&self) -> Rc<Calendar> {
        Rc::clone(&self.calendar)
    }

    /// Takes over what `owners` gives to this server; what it had not owned before is checked within [`CATCH_UP`].
    pub fn own(&mut self, now: Instant, owners: &Owners) {
        let ours = |owners: &Owners, origin: OriginId| owners[origin as usize] == self.me;
        self.owned = self.calendar.iter().filter(|&(_, origin)| ours(owners, origin)).collect();
        let before = self.owners.replace(Rc::clone(owners));
        let is_new = |origin| before.as_ref().is_none_or(|before| before[origin as usize] != self.me);
        let new: Vec<_> = self.owned.iter().map(|&(_, origin)| origin).filter(|&new| is_new(new)).collect();
        let owners = Rc::clone(owners);
        self.overdue.retain(|&(_, origin)| owners[origin as usize] == self.me);
        self.queued.retain(|&origin| owners[origin as usize] == self.me);
        self.recheck(now, &new);
        self.resume(now);
    }

    /// Has `origins` checked within [`CATCH_UP`], spread evenly.
    pub fn recheck(&mut self, now: Instant, origins: &[OriginId]) {
        let n = origins.len() as u64;
        for (i, &origin) in (0..n).zip(origins) {
            if self.queued.insert(origin) {
                let at = now + Duration(CATCH_UP.0 / n * i);
                let place = self.overdue.partition_point(|&(other, _)| other <= at);
                self.overdue.insert(place, (at, origin));
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
        self.round = Instant(now.0 - now.0 % INTERVAL.0);
        let into = now.since(self.round);
        self.next = self.owned.partition_point(|&(place, _)| place < into);
        self.wrap();
    }

    fn wrap(&mut self) {
        if self.next >= self.owned.len() {
            self.next = 0;
            self.round = self.round + INTERVAL;
        }
    }

    /// Returns the origins that this server owns.
    pub fn owned(&self) -> impl ExactSizeIterator<Item = OriginId> + '_ {
        self.owned.iter().map(|&(_, origin)| origin)
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
    use super::*;

    const ME: Slot = Slot::at(0);

    fn drain(checker: &mut Checker, checks: Checks, from: Instant, span: Duration) -> Vec<OriginId> {
        let mut seen = Vec::new();
        while checker.deadline(checks) < from + span {
            seen.extend(checker.poll(checker.deadline(checks), checks));
        }
        seen
    }

    #[test]
    fn checks_each_origin_at_once_and_then_once_an_interval() {
        let owners: Owners = (0..100).map(|id| Slot::at(id % 2)).collect();
        let mut checker = Checker::new(ME, Rc::new(Calendar::new(100, 1)));
        assert_eq!(checker.deadline(Checks::All), Instant::NEVER);
        let start = Instant::from_millis(12_345);
        checker.own(start, &owners);
        let expected: Vec<OriginId> = (0..100).step_by(2).collect();
        let mut first = drain(&mut checker, Checks::Overdue, start, CATCH_UP);
        first.sort_unstable();
        assert_eq!(first, expected);
        checker.resume(start);
        for round in 0..3 {
            let mut seen = drain(&mut checker, Checks::All, start + INTERVAL.times(round), INTERVAL);
            seen.sort_unstable();
            assert_eq!(seen, expected);
        }
    }

    #[test]
    fn only_what_is_new_is_overdue_and_never_twice() {
        let mut checker = Checker::new(ME, Rc::new(Calendar::new(4, 1)));
        let now = Instant::from_millis(1);
        checker.own(now, &[0, 0, 1, 1].map(Slot::at).into_iter().collect());
        assert_eq!(drain(&mut checker, Checks::Overdue, now, CATCH_UP).len(), 2);
        checker.own(now, &[0, 0, 0, 1].map(Slot::at).into_iter().collect());
        checker.recheck(now, &[2]);
        assert_eq!(drain(&mut checker, Checks::Overdue, now, CATCH_UP), [2]);
        checker.recheck(now, &[0]);
        checker.own(now, &[1, 1, 1, 1].map(Slot::at).into_iter().collect());
        assert_eq!(checker.deadline(Checks::All), Instant::NEVER, "what is gone is not checked");
    }
}
