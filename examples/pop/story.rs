//! The story: what happens to the PoP, in phases, and what is measured in each.
//!
//! Knows the order of events. Must not know how anything is simulated or shown.

use popmap_core::map::Phase;
use popmap_core::time::{Duration, Instant};
use popmap_core::{Key, Slot, SlotSet};

use crate::checker::{CATCH_UP, Checks, INTERVAL};
use crate::measure::Totals;
use crate::pop::{Pop, live_records};
use crate::propagation::Takeover;
use crate::report::{Quantiles, Report};
use crate::stage::{Stage, Stop};
use crate::view::{count, grouped, millis};

/// Virtual time that anything may take to become equal or known.
const PATIENCE: Duration = Duration::from_secs(60);
/// Virtual time that collecting tombstones may take: at rest a server hears of each other's version but rarely.
const PATIENCE_COLLECT: Duration = Duration::from_secs(1_800);
/// From a server's last sign of life until the others are told that it is dead.
const DETECTION: Duration = Duration::from_secs(1);
/// How long the PoP stays cut in two.
const PARTITION: Duration = Duration::from_secs(3);
/// How long the idle PoP is watched.
const IDLE: Duration = Duration::from_secs(30);

/// How long the story takes its time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Intervals of steady state.
    pub intervals: u64,
}

/// Plays the story to its end.
///
/// # Errors
/// Why it ended early. What does not converge or hold is noted in `report` and no error.
pub fn play(stage: &mut Stage<'_, '_>, pace: Pace, report: &mut Report) -> Result<(), Stop> {
    report.converged = true;
    let mut story = Story { stage, report };
    story.join()?;
    story.first_coverage()?;
    story.steady(pace.intervals)?;
    story.origins_fail()?;
    story.server_dies_and_returns()?;
    story.partition()?;
    story.deletes()?;
    story.idle()?;
    story.end()
}

struct Story<'r, 's, 'a> {
    stage: &'r mut Stage<'s, 'a>,
    report: &'r mut Report,
}

impl<'a> Story<'_, '_, 'a> {
    // ---- phases ----

    fn join(&mut self) -> Result<(), Stop> {
        let servers = self.pop().all().len();
        self.stage.phase(
            "1/9 join",
            "All servers start at the same moment, empty. None may write before it has met every other \
             one, so that no new life overwrites what an earlier one of its own left behind.",
        )?;
        let took = self.stage.wait(PATIENCE, Pop::all_active)?;
        self.report.join_ns = self.converges("not every server started", took);
        if let Some(took) = self.report.join_ns {
            self.stage.say(format_args!("all {servers} may write after {}", millis(took)))?;
        }
        Ok(())
    }

    fn first_coverage(&mut self) -> Result<(), Stop> {
        let keys = self.pop().fleet.len();
        self.stage.phase(
            "2/9 first full coverage",
            "Each origin has one owner, by rendezvous hashing. The owners check their origins, spread \
             over the first second, and write what they find. Look for the bar: every server comes to \
             know every origin.",
        )?;
        // Equality alone would also hold before the first write.
        let full = |pop: &Pop<'_>| pop.nodes().all(|node| node.map().len() == keys) && pop.is_equal();
        let took = self.stage.wait(PATIENCE, full)?;
        if self.converges("the maps did not become full and equal", took).is_some() {
            let now = self.pop().now().0;
            self.report.coverage_ns = Some(now);
            self.stage.board.expect(keys as u32);
            let servers = self.pop().all().len();
            self.stage.say(format_args!(
                "{} on {servers} servers, versions and digests equal, {} after the start",
                count(keys, "origin"),
                millis(now)
            ))?;
        }
        Ok(())
    }

    fn steady(&mut self, intervals: u64) -> Result<(), Stop> {
        self.stage.phase(
            "3/9 steady state",
            "Every origin is checked once in 10 s, by its owner only, and every result is written. Look \
             for redundancy: how many records a server receives for each one that tells it anything new.",
        )?;
        self.stage.pop.follow_writes(true);
        self.stage.pop.set_checks(Checks::All);
        let (before, checks, started) =
            (self.pop().totals(), self.pop().fleet.checks().to_vec(), self.pop().now());
        // Short of the moment at which the next round begins.
        self.stage.run(Duration(INTERVAL.times(intervals).0 - 1))?;
        self.stage.pop.follow_writes(false);
        let moved = self.pop().totals().since(&before);
        let made = self.pop().fleet.checks().iter().zip(&checks).map(|(after, before)| after - before);
        let per_interval = |n: u32| f64::from(n) / intervals as f64;
        let (least, most, sum) =
            made.fold((u32::MAX, 0, 0), |(least, most, sum), n| (n.min(least), n.max(most), sum + n));
        let mean = per_interval(sum) / checks.len() as f64;
        self.report.checks = Some((per_interval(least), mean, per_interval(most)));
        self.report.redundancy = moved.redundancy();
        self.report.redundancy_of = moved.applied;
        self.report.steady_bytes = Some(self.bytes_per_server_per_s(&moved, started));
        self.everyone_learns("a write did not reach every server", |pop| pop.writes.pending() == 0)?;
        self.report.to_all = Quantiles::of(&self.pop().writes.to_all);
        self.report.to_one = Quantiles::of(&self.pop().writes.to_one);
        let writes = count(moved.puts as usize, "write");
        let redundancy = moved.redundancy().unwrap_or(0.0);
        let bytes = grouped(self.report.steady_bytes.unwrap_or(0.0).round() as u64);
        self.stage.say(format_args!(
            "{writes} in {} s: redundancy {redundancy:.3}, {bytes} bytes/s a server",
            10 * intervals
        ))?;
        if let Some(Quantiles { p50, p99, .. }) = self.report.to_all {
            let (p50, p99) = (millis(p50), millis(p99));
            self.stage
                .say(format_args!("a write is known to every server after {p50} (p50), {p99} (p99)"))?;
        }
        Ok(())
    }

    fn origins_fail(&mut self) -> Result<(), Stop> {
        let n = self.part(100);
        self.stage.phase(
            "4/9 a group of origins fails",
            "One origin in a hundred goes down. Its owner finds out with the next check, and writes it. \
             Look for the time from that check until the last server knows and sends no more requests \
             there.",
        )?;
        self.stage.pop.fleet.fail(0..n as u32);
        self.stage.pop.follow_failures(true);
        self.stage.run(INTERVAL)?;
        self.stage.pop.follow_failures(false);
        self.everyone_learns("a failure did not reach every server", |pop| pop.failures.pending() == 0)?;
        let known = Quantiles::of(&self.pop().failures.to_all);
        self.report.failure = known;
        match known {
            Some(known) if known.count == n as u64 => {
                let (p50, p99, max) = (millis(known.p50), millis(known.p99), millis(known.max));
                self.stage.say(format_args!(
                    "{} known to every server after {p50} (p50), {p99} (p99), {max} at most",
                    count(n, "failure")
                ))?;
            }
            _ => self.diverged(format!("not all of {n} failures were found and known to every server")),
        }
        Ok(())
    }

    fn server_dies_and_returns(&mut self) -> Result<(), Stop> {
        let all = self.pop().all();
        let victim = Slot::at(all.len() - 1);
        self.stage.phase(
            "5/9 a server is killed",
            "It falls silent; a second later the others are told that it is dead. For each of its origins \
             the next owner in rendezvous order takes over; no other origin moves. Look for the time \
             until every server has fresh news.",
        )?;
        self.stage.pop.kill(victim);
        self.stage.run(DETECTION)?;
        let moves = self.moves(all, all.without(victim));
        let moving = moves.len();
        let since = self.pop().now();
        self.stage.pop.tell_live(all, all.without(victim));
        let took = self.takeover(moves, since)?;
        self.report.takeover_ns = took;
        if let Some(took) = took {
            self.stage.say(format_args!(
                "{victim} was the owner of {}: checked anew, and known everywhere, {} after it was told dead",
                count(moving, "origin"),
                millis(took)
            ))?;
        }
        self.return_of(victim)
    }

    fn return_of(&mut self, slot: Slot) -> Result<(), Stop> {
        let all = self.pop().all();
        let keys = self.pop().fleet.len();
        self.stage.phase(
            "6/9 the server returns",
            "It starts with an empty map and a new generation, while the others go on. It has to pull \
             every record before it may write; then it has its origins back. Look for how often each \
             record is sent to it: once is ideal.",
        )?;
        let moves = self.moves(all.without(slot), all);
        let since = self.pop().now();
        self.stage.pop.boot(slot)?;
        self.stage.pop.tally(slot);
        self.stage.pop.tell_live(all, all);
        let caught_up = |pop: &Pop<'_>| {
            pop.node(slot).is_some_and(|node| {
                matches!(node.map().phase(), Phase::Active { .. }) && node.map().len() == keys
            })
        };
        let took = self.stage.wait(PATIENCE, caught_up)?;
        let sent = self.stage.pop.end_tally() as f64 / keys as f64;
        let took = self.converges("the server that returned did not catch up", took);
        self.report.catch_up_ns = took;
        self.report.catch_up_sent = took.map(|_| sent);
        if let Some(took) = took {
            let records = count(keys, "record");
            self.stage.say(format_args!(
                "{slot} has all of {records} after {}; each was sent {sent:.2} times",
                millis(took)
            ))?;
        }
        let moving = count(moves.len(), "origin");
        if let Some(took) = self.takeover(moves, since)? {
            self.stage.say(format_args!(
                "{moving} checked by it again, and known everywhere, {} after its start",
                millis(took)
            ))?;
        }
        Ok(())
    }

    fn partition(&mut self) -> Result<(), Stop> {
        let all = self.pop().all();
        let (left, right): (SlotSet, SlotSet) = (
            all.iter().filter(|s| s.get() % 2 == 0).collect(),
            all.iter().filter(|s| s.get() % 2 == 1).collect(),
        );
        self.stage.phase(
            "7/9 the PoP is cut in two, and healed",
            "Servers of even and of odd slots no longer hear each other, and take each other for dead. \
             Both sides take over all origins and write them. Then the cut is mended, and checks pause so \
             that it shows: both become equal.",
        )?;
        let before = self.pop().totals();
        self.stage.pop.partition(left);
        self.stage.run(DETECTION)?;
        self.stage.pop.tell_live(left, left);
        self.stage.pop.tell_live(right, right);
        self.stage.run(PARTITION)?;
        let writes = count(self.pop().totals().since(&before).puts as usize, "write");
        self.stage.pop.set_checks(Checks::Paused);
        // What each side wrote last has reached all of that side.
        self.stage.run(DETECTION)?;
        let differing = usize::from(!self.pop().is_equal());
        self.stage.pop.heal();
        self.stage.pop.tell_live(all, all);
        let took = self.stage.wait(PATIENCE, Pop::is_equal)?;
        self.report.heal_ns = self.converges("the two sides did not become equal", took);
        if let Some(took) = self.report.heal_ns {
            let sides = if differing == 1 { "both sides" } else { "the sides, which happened to be equal," };
            self.stage.say(format_args!(
                "{writes} on {sides}; all equal {} after the cut was mended",
                millis(took)
            ))?;
        }
        // The rightful owners now check what others wrote meanwhile.
        self.stage.pop.set_checks(Checks::Overdue);
        self.settle("the rightful owners did not settle")
    }

    fn deletes(&mut self) -> Result<(), Stop> {
        let n = self.part(50);
        let kept = self.pop().fleet.ids().len() - n;
        self.stage.phase(
            "8/9 origins are deleted",
            "One origin in fifty is taken out of service. A delete is a write like any other; what it \
             leaves, a tombstone, may go once every server has it and no packet from before can still be \
             on its way. Look: nothing comes back.",
        )?;
        self.stage.board.expect(kept as u32);
        let n = self.stage.pop.delete(n)?;
        let gone = |pop: &Pop<'_>| pop.nodes().all(|node| live_records(node.map()) == kept);
        let known = self.stage.wait(PATIENCE, gone)?;
        let known = self.converges("not every server learned of the deletes", known);
        let collected = |pop: &Pop<'_>| pop.nodes().all(|node| node.map().len() == kept) && pop.is_equal();
        let look = Duration::from_millis(100);
        let took = self.stage.wait_each(look, PATIENCE_COLLECT, collected)?;
        let took = self.converges("tombstones were not collected everywhere", took);
        self.report.collect_ns = took;
        if let (Some(known), Some(took)) = (known, took) {
            self.stage.say(format_args!(
                "{} known everywhere after {}, gone from every table after {}",
                count(n, "delete"),
                millis(known),
                millis(took)
            ))?;
        }
        Ok(())
    }

    fn idle(&mut self) -> Result<(), Stop> {
        self.stage.phase(
            "9/9 idle",
            "Nobody writes. Servers still compare versions and digests now and then, so that nothing \
             could go unnoticed. Look for how little that takes.",
        )?;
        let (before, started) = (self.pop().totals(), self.pop().now());
        self.stage.run(IDLE)?;
        let moved = self.pop().totals().since(&before);
        let bytes = self.bytes_per_server_per_s(&moved, started);
        self.report.idle_bytes = Some(bytes);
        self.stage.say(format_args!("{} bytes/s a server, sent and received", grouped(bytes.round() as u64)))
    }

    /// Looks at everything once more.
    fn end(&mut self) -> Result<(), Stop> {
        if !self.pop().is_equal() {
            self.diverged("in the end the maps are not equal".to_owned());
        }
        let wrong = self.pop().wrong();
        if wrong > 0 {
            self.diverged(format!(
                "in the end {wrong} records do not say what their origin's last check found"
            ));
        }
        let totals = self.pop().totals();
        self.report.mends = totals.mends;
        self.report.mends_unknown = totals.mends_unknown;
        let merge = &self.stage.pop.merge;
        let quantile = |q| merge.quantile(q);
        self.report.merge =
            quantile(0.5).zip(quantile(0.99)).zip(quantile(0.999)).map(|((p50, p99), p999)| (p50, p99, p999));
        for alarm in self.stage.pop.alarms() {
            self.report.fail(alarm.clone());
        }
        self.report.wall_s = self.stage.elapsed().as_secs_f64();
        Ok(())
    }

    // ---- what phases share ----

    fn pop(&self) -> &Pop<'a> {
        &self.stage.pop
    }

    /// One origin in `n`, at least one.
    fn part(&self, n: usize) -> usize {
        (self.pop().fleet.ids().len() / n).max(1)
    }

    /// Returns what has to move when the live servers change: each key with its new owner.
    fn moves(&mut self, from: SlotSet, to: SlotSet) -> Vec<(Key, Slot)> {
        let fleet = &mut self.stage.pop.fleet;
        let (before, after) = (fleet.owners(from), fleet.owners(to));
        let moved = fleet.ids().filter(|&origin| before[origin as usize] != after[origin as usize]);
        moved.map(|origin| (fleet.key(origin), after[origin as usize])).collect()
    }

    /// Waits until every server knows a check of each of these origins by its new owner. Returns the time since `since`.
    fn takeover(&mut self, moves: Vec<(Key, Slot)>, since: Instant) -> Result<Option<u64>, Stop> {
        let mut takeover = Takeover::new(moves, since);
        let took = self.stage.wait(PATIENCE, |pop| takeover.is_known(pop))?;
        let known = self.converges("not every server knows the checks of the new owners", took);
        Ok(known.map(|_| self.pop().now().since(since).0))
    }

    fn everyone_learns(&mut self, failure: &str, done: impl FnMut(&Pop<'a>) -> bool) -> Result<(), Stop> {
        let took = self.stage.wait(PATIENCE, done)?;
        self.converges(failure, took);
        Ok(())
    }

    /// Waits until no check is overdue and all servers are equal.
    fn settle(&mut self, failure: &str) -> Result<(), Stop> {
        self.stage.run(CATCH_UP)?;
        let took = self.stage.wait(PATIENCE, |pop| pop.overdue() == 0 && pop.is_equal())?;
        self.converges(failure, took);
        Ok(())
    }

    fn bytes_per_server_per_s(&self, moved: &Totals, since: Instant) -> f64 {
        let seconds = self.pop().now().since(since).0 as f64 / 1e9;
        moved.bytes as f64 / self.pop().running().len() as f64 / seconds
    }

    /// Passes on how long something took, in nanoseconds, or notes that it did not happen.
    fn converges(&mut self, failure: &str, took: Option<Duration>) -> Option<u64> {
        if took.is_none() {
            self.diverged(format!("{failure} within the time allowed"));
        }
        took.map(|took| took.0)
    }

    fn diverged(&mut self, failure: String) {
        self.report.converged = false;
        self.report.fail(failure);
    }
}
