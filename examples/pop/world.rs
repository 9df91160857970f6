//! The world around the servers: the origins, how they fare, and the books that are kept on who knows what.
//!
//! Knows who may write down what. Must not know sockets or threads. It is for measuring, and nothing in it is acted on
//! by a server.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use popmap_core::map::TypedReader;
use popmap_core::time::Duration;
use popmap_core::{Slot, SlotSet};
use serde::{Deserialize, Serialize};

use crate::fleet::{Fleet, Mood};
use crate::health::Health;
use crate::origins::{Origin, OriginId, Target};
use crate::plan::Plan;
use crate::propagation::Propagation;
use crate::server::Witness;

/// Time between writes that are followed to every server.
const FOLLOW_EVERY: Duration = Duration::from_millis(50);
/// Alarms that are kept; more would say nothing new.
const ALARMS: usize = 8;

/// What is around the servers.
pub struct World {
    /// What every server knows.
    pub plan: Plan,
    /// The servers that answer for the origins.
    pub fleet: Fleet,
    /// What the last check of each found, by whomever, and when it ended.
    found_up: Vec<AtomicBool>,
    checked_ns: Vec<AtomicU64>,
    checks: Vec<AtomicU32>,
    /// Origins of the fleet that were made to fail.
    failing: Vec<AtomicBool>,
    /// Writes followed to every server.
    pub writes: Propagation,
    /// First writes that say of an origin that it fails, followed likewise.
    pub failures: Propagation,
    /// Whether any are: of writes and of failures.
    follow: [AtomicBool; 2],
    next_follow_ns: AtomicU64,
    deaths: Mutex<Vec<Death>>,
    alarms: Mutex<Vec<String>>,
}

/// How a write is followed to every server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Followed {
    /// As one of some, in ordinary operation.
    Write,
    /// As the first that says of an origin that it fails.
    Failure,
}

/// One server holds another dead.
#[derive(Clone, Copy, Debug)]
pub struct Death {
    /// Who is held dead.
    pub of: Slot,
    /// By whom.
    pub by: Slot,
    /// Since when, in nanoseconds of the world's clock.
    pub at_ns: u64,
}

impl World {
    /// Returns a world in which nothing has happened yet.
    pub fn new(plan: Plan, fleet: Fleet) -> Self {
        let origins = &plan.origins;
        Self {
            found_up: origins.iter().map(|_| AtomicBool::new(true)).collect(),
            checked_ns: origins.iter().map(|_| AtomicU64::new(0)).collect(),
            checks: origins.iter().map(|_| AtomicU32::new(0)).collect(),
            failing: origins.iter().map(|_| AtomicBool::new(false)).collect(),
            plan,
            fleet,
            writes: Propagation::new(),
            failures: Propagation::new(),
            follow: [AtomicBool::new(false), AtomicBool::new(false)],
            next_follow_ns: AtomicU64::new(0),
            deaths: Mutex::default(),
            alarms: Mutex::default(),
        }
    }

    /// Returns the origins that the fleet answers for.
    pub fn in_fleet(&self) -> impl Iterator<Item = OriginId> + '_ {
        let ours =
            |(id, origin): (OriginId, &Origin)| matches!(origin.target, Target::Fleet(_)).then_some(id);
        (0..).zip(self.plan.origins.iter()).filter_map(ours)
    }

    /// Has an origin of the fleet fail, each in one of three ways, or do well again.
    pub fn set_failing(&self, origin: OriginId, failing: bool) {
        let ways = [Mood::Failing503, Mood::HangingUp, Mood::Silent];
        self.fleet.set_mood(origin, if failing { ways[origin as usize % ways.len()] } else { Mood::Well });
        self.failing[origin as usize].store(failing, Ordering::Relaxed);
    }

    /// Returns how often each origin was asked so far: where it arrived, if that is our fleet, and else where it ended.
    pub fn checks(&self) -> Vec<u32> {
        let hits = self.fleet.hits();
        let asked = |(at, origin): (usize, &Origin)| match origin.target {
            Target::Fleet(_) => hits[at],
            Target::Other(_) => self.checks[at].load(Ordering::Relaxed),
        };
        self.plan.origins.iter().enumerate().map(asked).collect()
    }

    /// Returns when an origin was asked last, likewise; zero if never.
    pub fn last_check_ns(&self, origin: OriginId) -> u64 {
        match self.plan.origins[origin as usize].target {
            Target::Fleet(_) => self.fleet.last_hit_ns(origin),
            Target::Other(_) => self.checked_ns[origin as usize].load(Ordering::Relaxed),
        }
    }

    /// Whether `health` is what the last check of `origin` found, and how it fares as far as we decide that.
    pub fn is_latest(&self, origin: OriginId, health: &Health) -> bool {
        let at = origin as usize;
        let is_true = match self.plan.origins[at].target {
            Target::Fleet(_) => health.is_up() != self.failing[at].load(Ordering::Relaxed),
            Target::Other(_) => health.is_up() == self.found_up[at].load(Ordering::Relaxed),
        };
        is_true && health.checked_at().0 == self.checked_ns[at].load(Ordering::Relaxed)
    }

    // ---- what is followed ----

    /// Follows some of the writes, in ordinary operation, to every server, or no more.
    pub fn follow_writes(&self, on: bool) {
        self.follow[0].store(on, Ordering::Relaxed);
    }

    /// Follows the first write that says of an origin that it fails, or no more.
    pub fn follow_failures(&self, on: bool) {
        self.follow[1].store(on, Ordering::Relaxed);
    }

    /// Takes note of a check that ended at `at_ns` and of whom its result has to reach; returns how it is followed there,
    /// if it is.
    pub fn note_check(&self, origin: OriginId, up: bool, at_ns: u64, others: SlotSet) -> Option<Followed> {
        let was_up = self.found_up[origin as usize].swap(up, Ordering::Relaxed);
        self.checked_ns[origin as usize].fetch_max(at_ns, Ordering::Relaxed);
        let [writes, failures] = &self.follow;
        self.checks[origin as usize].fetch_add(1, Ordering::Relaxed);
        let key = self.plan.keys[origin as usize];
        if failures.load(Ordering::Relaxed) && was_up && !up {
            self.failures.follow(key, at_ns, others);
            return Some(Followed::Failure);
        }
        if writes.load(Ordering::Relaxed) {
            let next = self.next_follow_ns.load(Ordering::Relaxed);
            let taken = |next: &AtomicU64, seen| {
                next.compare_exchange(seen, at_ns + FOLLOW_EVERY.0, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok()
            };
            if at_ns >= next && taken(&self.next_follow_ns, next) {
                self.writes.follow(key, at_ns, others);
                return Some(Followed::Write);
            }
        }
        None
    }

    /// Returns the books of those that are followed so.
    pub fn followed(&self, how: Followed) -> &Propagation {
        match how {
            Followed::Write => &self.writes,
            Followed::Failure => &self.failures,
        }
    }

    /// Waits no longer for the server in `slot` to learn of anything: it is gone.
    pub fn forget(&self, slot: Slot) {
        let gone = SlotSet::EMPTY.with(slot);
        self.writes.forget(gone);
        self.failures.forget(gone);
    }

    // ---- the books ----

    /// Takes note that `by` holds `of` dead since `at_ns`.
    pub fn note_death(&self, of: Slot, by: Slot, at_ns: u64) {
        lock(&self.deaths).push(Death { of, by, at_ns });
    }

    /// Returns all deaths that were noted so far.
    pub fn deaths(&self) -> Vec<Death> {
        lock(&self.deaths).clone()
    }

    /// Returns when the last of `others` held `victim` dead, which was killed at `since_ns`; `None` until all do.
    pub fn known_dead_ns(&self, victim: Slot, since_ns: u64, others: SlotSet) -> Option<u64> {
        let deaths = lock(&self.deaths);
        let told = |by: Slot| deaths.iter().find(|d| d.of == victim && d.by == by && d.at_ns >= since_ns);
        others.iter().try_fold(0, |last, by| Some(told(by)?.at_ns.max(last)))
    }

    /// Takes note of what should not have happened.
    pub fn note_alarm(&self, what: String) {
        let mut alarms = lock(&self.alarms);
        if alarms.len() < ALARMS {
            alarms.push(what);
        }
    }

    /// Returns what should not have happened, in plain words.
    pub fn alarms(&self) -> Vec<String> {
        lock(&self.alarms).clone()
    }
}

/// Servers in this process tell it themselves.
impl Witness for World {
    fn checked(&self, _: Slot, origin: OriginId, up: bool, at_ns: u64, others: SlotSet) {
        self.note_check(origin, up, at_ns, others);
    }

    fn changed(&self, slot: Slot, now_ns: u64, reader: &TypedReader<'_, Health>) {
        self.writes.look(slot, now_ns, reader);
        self.failures.look(slot, now_ns, reader);
    }

    fn holds_dead(&self, by: Slot, of: Slot) {
        self.note_death(of, by, self.plan.clock.now_ns());
    }

    fn alarm(&self, what: fmt::Arguments<'_>) {
        self.note_alarm(what.to_string());
    }
}

/// Locks what is whole between any two statements that could panic.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
