//! The story: what happens to the PoP, in phases, and what is measured in each.
//!
//! Knows the order of events and how to wait for them. Must not know how a server works.

mod phases;

use std::thread::sleep;
use std::time::Duration;

use popmap_core::SlotSet;
use popmap_core::time::Duration as Span;

use crate::measure::Totals;
use crate::panel::Panel;
use crate::pop::Pop;
use crate::report::{Quantiles, Report};
use crate::schedule::Checks;
use crate::stage::Stage;
use crate::stop::Stop;
use crate::view::millis;
use crate::world::World;

/// How often is looked at what is waited for: how exact such a figure is.
const LOOK: Duration = Duration::from_millis(2);
/// How long anything may take to become equal or known.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the PoP stays cut in two once both sides have noticed.
const PARTITION: Duration = Duration::from_secs(3);
/// How long the idle PoP is watched, after it has come to rest.
const IDLE: Duration = Duration::from_secs(15);
const REST: Duration = Duration::from_secs(15);
/// How long a link is gone: long enough for the others to hold its server dead.
const UNPLUGGED: Duration = Duration::from_secs(3);
/// Phases, without the one of links.
const PHASES: usize = 8;
/// Packets lost in the phase of that name, in parts per million.
const LOSSY_PPM: u32 = 100_000;

/// How long the story takes its time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Intervals of steady state.
    pub intervals: u64,
    /// Servers killed one after another.
    pub kills: usize,
    /// Packets lost all along, in parts per million.
    pub loss_ppm: u32,
}

/// The story as it is played.
pub struct Story<'p, 's, 'w, P> {
    /// Where it is told.
    pub stage: &'p mut Stage<'s>,
    /// What is around those whom it is about.
    pub world: &'w World,
    /// Whom it is about.
    pub pop: P,
    /// What is shown beside it.
    pub panel: Panel,
    /// What came of it.
    pub report: &'p mut Report,
    pace: Pace,
    /// Phases so far.
    told: usize,
    /// Who may be held dead, from when to when: killed, or cut off.
    excused: Vec<(SlotSet, u64, u64)>,
}

impl<'p, 's, 'w, P: Pop> Story<'p, 's, 'w, P> {
    /// Returns the story before its first phase.
    pub fn new(
        stage: &'p mut Stage<'s>,
        world: &'w World,
        pop: P,
        report: &'p mut Report,
        pace: Pace,
    ) -> Self {
        Self { stage, world, pop, panel: Panel::default(), report, pace, told: 0, excused: Vec::new() }
    }

    /// Plays it to its end.
    ///
    /// # Errors
    /// Why it ended early. What does not converge or hold is noted in the report and no error.
    pub fn play(&mut self) -> Result<(), Stop> {
        self.report.converged = true;
        self.join()?;
        self.first_coverage()?;
        self.steady()?;
        self.origins_fail()?;
        self.servers_die_and_return()?;
        self.partition()?;
        if self.pop.has_links() {
            self.links_go()?;
        }
        self.lossy()?;
        self.idle()?;
        self.end()
    }

    /// Begins a phase.
    fn phase(&mut self, name: &str, what: &str) -> Result<(), Stop> {
        self.told += 1;
        let phases = PHASES + usize::from(self.pop.has_links());
        self.stage.phase(&format!("{}/{phases} {name}", self.told), what)
    }

    // ---- time ----

    fn run(&mut self, span: Duration) -> Result<(), Stop> {
        self.run_to(self.world.plan.clock.now_ns() + span.as_nanos() as u64)
    }

    fn run_to(&mut self, until_ns: u64) -> Result<(), Stop> {
        loop {
            let left = Duration::from_nanos(until_ns.saturating_sub(self.world.plan.clock.now_ns()));
            if left.is_zero() {
                return Ok(());
            }
            sleep(left.min(Duration::from_millis(20)));
            self.tick()?;
        }
    }

    /// Waits until `done` holds; returns how long it took, or `None` when it did not within `within`.
    fn wait(&mut self, within: Duration, mut done: impl FnMut(&P) -> bool) -> Result<Option<u64>, Stop> {
        let start_ns = self.world.plan.clock.now_ns();
        loop {
            let took = self.world.plan.clock.now_ns() - start_ns;
            if done(&self.pop) {
                return Ok(Some(took));
            }
            if took >= within.as_nanos() as u64 {
                return Ok(None);
            }
            sleep(LOOK);
            self.tick()?;
        }
    }

    fn tick(&mut self) -> Result<(), Stop> {
        let Self { stage, pop, panel, .. } = self;
        let elapsed = stage.elapsed();
        stage.tick(|phase| panel.draw(phase, elapsed, pop))
    }

    // ---- what phases share ----

    fn interval(&self) -> Duration {
        Duration::from_nanos(self.world.plan.calendar.interval().0)
    }

    /// Ends the checks, and waits for those under way.
    fn pause_checks(&mut self) -> Result<(), Stop> {
        self.pop.set_checks(Checks::Paused);
        // Every check ends within its time-out, and what it wrote is on its way.
        let took = self.wait(PATIENCE, |pop| pop.in_flight() == 0)?;
        self.converges("a check did not end", took);
        Ok(())
    }

    /// Waits for equal versions, and looks at every record then; whether all are equal.
    fn become_equal(&mut self, failure: &str, mut also: impl FnMut(&P) -> bool) -> Result<bool, Stop> {
        let level = self.wait(PATIENCE, |pop| {
            pop.statuses().all(|(_, status)| status.is_active) && pop.is_level() && also(pop)
        })?;
        if self.converges(failure, level).is_none() {
            return Ok(false);
        }
        let differing = self.pop.differing()?;
        if differing > 0 {
            self.diverged(format!("{failure}: versions are equal, {differing} records are not"));
        }
        Ok(differing == 0)
    }

    fn everyone_learns(&mut self, failure: &str, done: impl FnMut(&P) -> bool) -> Result<(), Stop> {
        let took = self.wait(PATIENCE, done)?;
        self.converges(failure, took);
        Ok(())
    }

    fn bytes_per_server_per_s(&self, moved: &Totals, since_ns: u64) -> f64 {
        let seconds = Span(self.world.plan.clock.now_ns() - since_ns).0 as f64 / 1e9;
        moved.bytes as f64 / self.pop.running().len() as f64 / seconds
    }

    fn say_spread(&mut self, what: &str, spread: Option<Quantiles>) -> Result<(), Stop> {
        let Some(Quantiles { p50, p99, max, count }) = spread else { return Ok(()) };
        let (p50, p99, max) = (millis(p50), millis(p99), millis(max));
        self.stage.say(format_args!("{what} p50 {p50}, p99 {p99}, max {max} ({count} measured)"))
    }

    /// Passes on how long something took, in nanoseconds, or notes that it did not happen.
    fn converges(&mut self, failure: &str, took: Option<u64>) -> Option<u64> {
        if took.is_none() {
            self.diverged(format!("{failure} within {} s", PATIENCE.as_secs()));
        }
        took
    }

    fn diverged(&mut self, failure: String) {
        self.report.converged = false;
        self.report.fail(failure);
    }
}
