//! What the servers of this process share: the origins, the clock, and the books that are kept on them.
//!
//! Knows who may write down what. Must not know sockets or threads. A real server would have the first half of this to
//! itself; the second is for measuring and nothing that a server acts on.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use popmap_core::time::Duration;
use popmap_core::{Key, Slot, SlotSet};

use crate::fleet::{Fleet, Mood};
use crate::health::Health;
use crate::measure::Clock;
use crate::origins::{Origin, OriginId, Target};
use crate::propagation::Propagation;
use crate::schedule::Calendar;

/// Time between writes that are followed to every server.
const FOLLOW_EVERY: Duration = Duration::from_millis(50);
/// Alarms that are kept; more would say nothing new.
const ALARMS: usize = 8;

/// What all servers share.
pub struct World {
    /// The time that everything is measured in.
    pub clock: Clock,
    /// The origins, by [`OriginId`].
    pub origins: Arc<[Origin]>,
    /// Their keys.
    pub keys: Arc<[Key]>,
    /// When each is checked.
    pub calendar: Arc<Calendar>,
    /// The servers that answer for them.
    pub fleet: Fleet,
    ids: HashMap<Key, OriginId>,
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
    pub fn new(clock: Clock, origins: Arc<[Origin]>, calendar: Calendar, fleet: Fleet) -> Self {
        let keys: Arc<[Key]> = origins.iter().map(|origin| origin.key).collect();
        Self {
            clock,
            ids: (0..).zip(keys.iter()).map(|(id, key)| (*key, id)).collect(),
            found_up: origins.iter().map(|_| AtomicBool::new(true)).collect(),
            checked_ns: origins.iter().map(|_| AtomicU64::new(0)).collect(),
            checks: origins.iter().map(|_| AtomicU32::new(0)).collect(),
            failing: origins.iter().map(|_| AtomicBool::new(false)).collect(),
            origins,
            keys,
            calendar: Arc::new(calendar),
            fleet,
            writes: Propagation::new(),
            failures: Propagation::new(),
            follow: [AtomicBool::new(false), AtomicBool::new(false)],
            next_follow_ns: AtomicU64::new(0),
            deaths: Mutex::default(),
            alarms: Mutex::default(),
        }
    }

    /// Returns the origin of a key; `None` for a key that is no origin's.
    pub fn id(&self, key: Key) -> Option<OriginId> {
        self.ids.get(&key).copied()
    }

    /// Returns the origins that the fleet answers for.
    pub fn in_fleet(&self) -> impl Iterator<Item = OriginId> + '_ {
        let ours =
            |(id, origin): (OriginId, &Origin)| matches!(origin.target, Target::Fleet(_)).then_some(id);
        (0..).zip(self.origins.iter()).filter_map(ours)
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
        self.origins.iter().enumerate().map(asked).collect()
    }

    /// Returns when an origin was asked last, likewise; zero if never.
    pub fn last_check_ns(&self, origin: OriginId) -> u64 {
        match self.origins[origin as usize].target {
            Target::Fleet(_) => self.fleet.last_hit_ns(origin),
            Target::Other(_) => self.checked_ns[origin as usize].load(Ordering::Relaxed),
        }
    }

    /// Whether `health` is what the last check of `origin` found, and how it fares as far as we decide that.
    pub fn is_latest(&self, origin: OriginId, health: &Health) -> bool {
        let at = origin as usize;
        let is_true = match self.origins[at].target {
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

    /// Takes note of a check that ended at `at_ns` and of whom its result has to reach.
    pub fn checked(&self, origin: OriginId, up: bool, at_ns: u64, others: SlotSet) {
        let was_up = self.found_up[origin as usize].swap(up, Ordering::Relaxed);
        self.checked_ns[origin as usize].fetch_max(at_ns, Ordering::Relaxed);
        let [writes, failures] = &self.follow;
        self.checks[origin as usize].fetch_add(1, Ordering::Relaxed);
        let key = self.keys[origin as usize];
        if failures.load(Ordering::Relaxed) && was_up && !up {
            self.failures.follow(key, at_ns, others);
        } else if writes.load(Ordering::Relaxed) {
            let next = self.next_follow_ns.load(Ordering::Relaxed);
            let taken = |next: &AtomicU64, seen| {
                next.compare_exchange(seen, at_ns + FOLLOW_EVERY.0, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok()
            };
            if at_ns >= next && taken(&self.next_follow_ns, next) {
                self.writes.follow(key, at_ns, others);
            }
        }
    }

    // ---- the books ----

    /// Takes note that `by` holds `of` dead.
    pub fn note_death(&self, of: Slot, by: Slot) {
        let at_ns = self.clock.now_ns();
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
    pub fn alarm(&self, what: fmt::Arguments<'_>) {
        let mut alarms = lock(&self.alarms);
        if alarms.len() < ALARMS {
            alarms.push(what.to_string());
        }
    }

    /// Returns what should not have happened, in plain words.
    pub fn alarms(&self) -> Vec<String> {
        lock(&self.alarms).clone()
    }
}

/// Locks what is whole between any two statements that could panic.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
