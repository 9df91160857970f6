//! After the faults: everybody starts, agrees on who is alive, becomes equal and falls silent, each within a bound.
//!
//! Knows the bounds, derived from the protocol's own times, and what to wait for. Must not know what went wrong before.
//!
//! All spans are of a network without loss whose packets take a millisecond or less. Named constants without a field are
//! private to core; the names are those of `node::swim`, `sync` and `node`.
//!
//! **Started and agreed** ([`Bounds::agreed`]), counted from the last start. A starting server writes at its deadline at the
//! latest: `start_within`. Beside that, in the order in which one thing may wait for the other:
//! - a probe begun under the worst health ends, and then suspicions run out: 9 periods + `suspicion_max`;
//! - of the dead one is tried every `retry_dead`, and once one answers another every 20 ms (`RETRY_ON`): after the first
//!   all are through within servers * 20 ms, or are refuted by gossip before;
//! - seeds are asked once a second where parts never met (`JOIN_LATER`);
//! - news that missed somebody reaches it when the subject itself probes it: within two rounds, because it may be the first
//!   of one and the last of the next; a round is servers * period, stretched while health recovers by one with each answer:
//!   9 + 8 + .. + 1 periods more.
//!
//! A clock that was set back holds its node's time until it has caught up: that much is added to all.
//!
//! **Equal** ([`Bounds::equal`]), counted from the last of the closing writes, one by each server, by which versions come to
//! cover all that earlier lives left:
//! - hashes that differ make an exchange come within `exchange`; each is with a random peer and goes both ways, and a rumour
//!   so spread reaches all of n in log2(n) + ln(n) rounds, with 8 more for the unlucky (Karp et al. 2000); a round is
//!   `exchange` + `pull_pause` and a session's retry;
//! - a session that waits in vain ends after 40 + 40 + 80 + 160 + 320 + 640 ms (`retry`, `TRIES`), one that met a full table
//!   after `FULL_PAUSE_MAX`: 10 s, only where tables were full;
//! - what is to be sent leaves within the budget: at worst every record from one server to each other, times two;
//! - older records are asked for every 100 ms (`MAINTAIN`) and told a packet at a time; sweeps of the table take 20 steps
//!   of those (`SWEEP_PARTS`).
//!
//! Where something was waived, repair has to mend it: each server asks a random peer about 32 buckets of 16 records
//! (`DIGESTS`, `BUCKET_RECORDS`) each `repair`, of which 4 that differ are answered (`ANSWERS`). A pass over the table is
//! buckets / 32 questions, and the mend spreads like a rumour, a round being a pass, or more where more buckets differ than
//! are answered. What an owner writes anew on a report follows the way of every write.
//!
//! **At rest** ([`Bounds::rest`]): tombstones are gone where every configured slot has a server. A round of collection that
//! began before the last tombstone was known everywhere ends first; then one begins that covers all. Each is the quarantine and two rounds of probes, in which each
//! server hears each other; and two rounds before the first, in which hashes tell that all are equal. Sweeps come on top.

use popmap_core::limits::QUARANTINE;
use popmap_core::time::{Duration, Instant};
use popmap_core::{Slot, SlotSet, SwimConfig, SyncConfig};

use super::plan::{Generation, Plan};
use super::violation::{Rule, Violation};
use super::workload::{Op, Writer};
use super::world::{START_WITHIN, World};

/// How often convergence is asked for.
const ASK: Duration = Duration::from_millis(25);
const RETRY_ON: Duration = Duration::from_millis(20);
const JOIN_LATER: Duration = Duration::from_secs(1);
const FULL_PAUSE_MAX: Duration = Duration::from_secs(10);
const MAINTAIN: Duration = Duration::from_millis(100);
const SWEEP_PARTS: u64 = 20;
/// The worst health stretches a span so many times.
const HEALTH: u64 = 9;
/// Rounds for the unlucky.
const UNLUCKY: u64 = 8;
const BUCKET_RECORDS: u64 = 16;
const DIGESTS: u64 = 32;
const ANSWERS: u64 = 4;
/// Times that an operator starts those anew whose life is over before it counts as a fault of theirs.
const RESTARTS: usize = 3;

/// How long each part may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Until all have started and agree on who is alive.
    pub agreed: Duration,
    /// Until versions and tables are equal.
    pub equal: Duration,
    /// Until tombstones are gone.
    pub rest: Duration,
}

impl Bounds {
    /// Derives the bounds. `held`: the time for which the slowest clock's node stands still; `waived`: keys to be mended.
    pub fn of(plan: &Plan, held: Duration, waived: usize) -> Self {
        let (swim, sync) = (SwimConfig::DEFAULT, SyncConfig::DEFAULT);
        let servers = plan.servers as u64;
        let sum = |spans: &[Duration]| Duration(spans.iter().map(|span| span.0).sum());
        let rounds = swim.period.times(2 * servers);
        let recovery = swim.period.times(HEALTH * (HEALTH + 1) / 2);
        let agreed = sum(&[
            held,
            START_WITHIN,
            swim.period.times(HEALTH),
            swim.suspicion_max,
            swim.retry_dead,
            RETRY_ON.times(servers),
            JOIN_LATER,
            rounds,
            recovery,
        ]);
        let sweep = MAINTAIN.times(SWEEP_PARTS);
        let rumour = rumour(servers);
        let retries = sync.retry.times(1 + 1 + 2 + 4 + 8 + 16);
        let full = if plan.small_tables { FULL_PAUSE_MAX } else { Duration::ZERO };
        let equal = sum(&[
            held,
            Duration(sync.exchange.0 + sync.pull_pause.0 + sync.retry.0).times(rumour),
            retries,
            full,
            transfer(plan),
            sweep.times(2),
            mending(plan, waived),
        ]);
        let collection = Duration(QUARANTINE.0 + rounds.0);
        let rest = sum(&[held, recovery, rounds, collection.times(2), sweep.times(2)]);
        Self { agreed, equal, rest }
    }
}

/// Rounds in which a rumour that is told both ways reaches all.
fn rumour(servers: u64) -> u64 {
    let log2 = u64::from(servers.next_power_of_two().ilog2());
    // ln(n) is below log2(n).
    2 * log2 + UNLUCKY
}

/// How long all records take to leave one server for each other, twice, within its budget.
fn transfer(plan: &Plan) -> Duration {
    let shape = super::world::shape(plan);
    let bytes = u64::from(plan.workload.keys) * shape.record_len() as u64 * plan.servers as u64;
    let (budget, interval) = plan.budget;
    interval.times(2 * bytes.div_ceil(u64::from(budget)))
}

fn mending(plan: &Plan, waived: usize) -> Duration {
    if waived == 0 {
        return Duration::ZERO;
    }
    let buckets = (u64::from(plan.workload.keys) / BUCKET_RECORDS).max(1);
    let pass = buckets.div_ceil(DIGESTS);
    let crowd = (waived as u64).min(DIGESTS).div_ceil(ANSWERS);
    plan.repair.times(pass * crowd * rumour(plan.servers as u64))
}

/// How long each part took.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Took {
    /// Until all had started and agreed on who is alive.
    pub agreed: Duration,
    /// Until versions and tables were equal.
    pub equal: Duration,
    /// Until tombstones were gone.
    pub rest: Duration,
    /// The bounds.
    pub bounds: Option<Bounds>,
}

impl<const N: usize> World<'_, N> {
    /// Ends the faults and waits for everything to become equal.
    ///
    /// # Errors
    /// What did not come about in time, or was violated on the way.
    pub fn settle(&mut self) -> Result<Took, Violation> {
        self.heal();
        let held = self.held();
        let bounds = Bounds::of(self.plan, held, 0);
        let began = self.now();
        if let Some(gone) = self.plan.gone {
            self.crash(gone);
        }
        let mut restarts = RESTARTS;
        let (agreed, waits, bounds, equal) = loop {
            self.start_all()?;
            let agreed = self.agree(bounds.agreed, &mut restarts)?;
            let waits = !self.forget_the_gone()?;
            for end in self.ends() {
                let op = Op { key: end as u32 % self.plan.workload.keys, delete: false };
                self.write(Writer::Server(end), op)?;
            }
            let bounds = Bounds::of(self.plan, self.held(), self.checks.history.waived_keys());
            let written = self.now();
            let done =
                self.run(written + bounds.equal, ASK, |world| Ok(world.is_any_over() || world.are_equal()))?;
            if done && !self.is_any_over() {
                break (agreed, waits, bounds, self.now().since(written));
            }
            if !done || restarts == 0 {
                return Err(self.not_in_time("equal", bounds.equal, &self.differences()));
            }
            // One that has taken records from a forgotten server may be told only now.
            restarts -= 1;
        };
        self.sweep()?;
        self.checks.check_rest()?;
        let rest = if waits { Duration::ZERO } else { self.rest(bounds.rest)? };
        self.trace
            .note(self.now(), format!("at rest {} ms after the faults", self.now().since(began).as_millis()));
        Ok(Took { agreed, equal, rest, bounds: Some(bounds) })
    }

    /// The longest time for which a node's time stands still because its clock was set back.
    fn held(&self) -> Duration {
        let now = self.now();
        let behind = |server: &super::server::Server<'_, N>| server.told.since(server.clock(now));
        self.servers.iter().filter(|server| server.node.is_some()).map(behind).max().unwrap_or(Duration::ZERO)
    }

    /// The operator starts everybody: who is down, with room for all; who has no room; who is fenced, once no packet of a
    /// second server is under way.
    fn start_all(&mut self) -> Result<(), Violation> {
        let room = self.plan.room();
        let servers = self.plan.servers;
        let has_ended = |world: &Self, end: usize| {
            world.servers[end].node.as_ref().is_some_and(|node| node.map().phase().is_over())
        };
        if (0..servers).any(|end| has_ended(self, end)) || self.plan.is_conflicting() {
            self.run(self.now() + self.plan.packet_life, ASK, |_| Ok(false))?;
        }
        for end in self.ends() {
            let node = self.servers[end].node.as_ref();
            let has_left = node.is_some_and(|node| !node.map().live().is_empty() && self.has_left(end));
            if has_ended(self, end) || has_left || self.servers[end].capacity < room {
                self.crash(end);
                self.servers[end].capacity = self.servers[end].capacity.max(room);
            }
            self.restart(end, Generation::Kept);
        }
        Ok(())
    }

    /// Where a server is gone for good, an operator forgets it at one of the others. Returns whether tombstones wait for nobody
    /// now: they do where nobody knows any more that there ever was one.
    fn forget_the_gone(&mut self) -> Result<bool, Violation> {
        let Some(gone) = self.plan.gone else { return Ok(true) };
        for end in self.ends() {
            if self.forget(end, Slot::at(gone))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn has_left(&self, end: usize) -> bool {
        let server = &self.servers[end];
        let own = server.node.as_ref().and_then(|node| node.member(server.slot));
        own.is_some_and(|member| member.state == popmap_core::State::Left)
    }

    fn agree(&mut self, within: Duration, restarts: &mut usize) -> Result<Duration, Violation> {
        loop {
            let began = self.now();
            let done =
                self.run(began + within, ASK, |world| Ok(world.is_any_over() || world.have_agreed()))?;
            if done && !self.is_any_over() {
                return Ok(self.now().since(began));
            }
            if !done || *restarts == 0 {
                return Err(self.not_in_time("agreed on who is alive", within, &self.disagreement()));
            }
            // One that lost its generation writes alone, and is fenced when it meets the others; one that was forgotten, or has
            // taken records from such a one, is told so: it starts once more.
            *restarts -= 1;
            self.start_all()?;
        }
    }

    /// Whether a life is over, so that its operator has to start another.
    fn is_any_over(&self) -> bool {
        self.running().any(|(_, node)| node.map().phase().is_over())
    }

    /// The servers that there are in the end, by their ends.
    fn ends(&self) -> impl Iterator<Item = usize> + use<N> {
        let gone = self.plan.gone;
        (0..self.plan.servers).filter(move |&end| Some(end) != gone)
    }

    fn all(&self) -> SlotSet {
        self.ends().map(Slot::at).collect()
    }

    fn have_agreed(&self) -> bool {
        self.ends().all(|end| {
            let live = self.servers[end].node.as_ref().map(|node| node.map().live());
            self.is_active(end) && live == Some(self.all())
        })
    }

    fn are_equal(&self) -> bool {
        let mut maps = self.running().map(|(_, node)| node.map());
        let Some(first) = maps.next() else { return true };
        let equal = maps.clone().all(|map| map.version() == first.version());
        equal && {
            let digest = first.digest(0, u64::MAX);
            maps.all(|map| map.digest(0, u64::MAX) == digest)
        }
    }

    /// Waits until tombstones are gone, if they can go at all, and looks once more.
    fn rest(&mut self, within: Duration) -> Result<Duration, Violation> {
        let began = self.now();
        let left = |world: &Self| world.running().map(|(_, node)| node.map().tombstones()).sum::<usize>();
        if self.plan.vacant > 0 || left(self) == 0 {
            return Ok(Duration::ZERO);
        }
        if !self.run(began + within, ASK, |world| Ok(left(world) == 0))? {
            let text = self.tombstones();
            return Err(self.not_in_time("rid of tombstones", within, &text));
        }
        if !self.are_equal() {
            return Err(Violation::of(Rule::Convergence, "no longer equal without tombstones"));
        }
        self.sweep()?;
        self.checks.check_rest()?;
        Ok(self.now().since(began))
    }

    fn tombstones(&self) -> String {
        let kept = self.running().filter(|(_, node)| node.map().tombstones() > 0);
        let line = |(end, node): (usize, &popmap_core::Node<'_, N>)| {
            let map = node.map();
            let own = map.version();
            let unsure = |slot: &Slot| !map.version_of(*slot).covers_all(own);
            let unsure: SlotSet = self.all().without(map.slot()).iter().filter(unsure).collect();
            let unheard: SlotSet = self.all().iter().filter(|slot| !map.life_of(*slot).is_known()).collect();
            format!(
                "\n  server {end} keeps {}, floor {}, not known to be equal {unsure:?}, never heard {unheard:?}",
                map.tombstones(),
                map.floor()
            )
        };
        kept.map(line).take(8).collect()
    }

    fn not_in_time(&self, what: &str, within: Duration, why: &str) -> Violation {
        let text = format!("not {what} within {} ms: {why}", within.as_millis());
        Violation { key: self.differing_key(), ..Violation::of(Rule::Convergence, text) }
    }

    fn differing_key(&self) -> Option<u32> {
        let (_, first) = self.running().next()?;
        let keys = (0..).zip(self.checks.history.keys());
        let mut differing = keys.filter(|(_, key)| {
            let held = first.map().inspect(**key);
            self.running().any(|(_, node)| node.map().inspect(**key) != held)
        });
        differing.next().map(|(number, _)| number)
    }

    fn disagreement(&self) -> String {
        let all = self.all();
        let lines = self.running().filter(|(end, node)| !self.is_active(*end) || node.map().live() != all);
        let line = |(end, node): (usize, &popmap_core::Node<'_, N>)| {
            let map = node.map();
            let waits = map.waiting_for();
            let of =
                |slot| node.member(slot).map(|member| (slot, member.state, member.life, member.incarnation));
            let missed: Vec<_> = all.difference(map.live()).iter().map(of).collect();
            format!(
                "\n  server {end} is {:?} in life {:?}, misses {missed:?}, waits for {waits:?}",
                map.phase(),
                map.life()
            )
        };
        lines.map(line).take(8).collect()
    }

    fn differences(&self) -> String {
        let Some((_, first)) = self.running().next() else { return String::new() };
        let lines = self.running().map(|(end, node)| {
            let (map, digest) = (node.map(), node.map().digest(0, u64::MAX));
            let more = map.version().exceeding(first.map().version());
            let less = first.map().version().exceeding(map.version());
            format!(
                "\n  server {end}: {} records, digest {digest:016x}, version above {more:?} below {less:?}",
                map.len()
            )
        });
        lines.take(8).collect()
    }
}

/// When the faults begin and when they end, from the start of a run.
pub fn span_of(plan: &Plan) -> (Instant, Instant) {
    let first = if plan.from_start { Instant::ZERO } else { Instant::from_millis(2_500) };
    (first, Instant::ZERO + plan.span)
}
