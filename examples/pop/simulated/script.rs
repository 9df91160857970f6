//! What is played in virtual time: the phases of the story of which the figures should not hang on this machine.
//!
//! Knows the order of events. Must not know how a node is driven.

use std::sync::Arc;

use popmap_core::auth::KeyRing;
use popmap_core::ownership::owner;
use popmap_core::time::{Duration, Instant};
use popmap_core::{Key, Slot, SlotSet};

use super::Pop;
use crate::args::Args;
use crate::measure::{Stopwatch, Times, Totals};
use crate::report::{Figures, Quantiles, Report};
use crate::schedule::{Calendar, Checks};
use crate::stage::Stage;
use crate::stop::Stop;
use crate::storage::Storage;
use crate::view::millis;

/// Virtual time between two looks at the view and at what is waited for: how exact such a figure is.
const LOOK: Duration = Duration::from_millis(5);
/// Virtual time that anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Servers killed one after another. They stay down.
const KILLS: usize = 5;
/// How long the idle PoP is watched, after it has come to rest.
const IDLE: Duration = Duration::from_secs(15);
const REST: Duration = Duration::from_secs(15);

/// Plays it, and returns what was measured. What does not converge is noted in `report` and no error.
///
/// # Errors
/// Why it ended early.
pub fn play(
    stage: &mut Stage<'_>,
    args: &Args,
    (keys, ring): (&Arc<[Key]>, &KeyRing),
    stopwatch: Stopwatch,
    report: &mut Report,
) -> Result<Figures, Stop> {
    stage.phase(
        "the same in virtual time",
        "The same nodes over a network in memory, 0.1 to 0.2 ms one way, each as if it had a machine of its own: join, one \
         interval, failing origins, killed servers, idle. These times are the protocol's; those above are this machine's \
         too.",
    )?;
    let calendar = Arc::new(Calendar::new(keys.len(), args.interval(), args.seed));
    let mut storage = Storage::new(args.servers(), keys.len());
    let (servers, loss_ppm, seed) = (args.servers(), args.loss_ppm(), args.seed);
    let pop = Pop::start(storage.iter_mut(), servers, (keys, ring), &calendar, loss_ppm, seed, stopwatch)
        .map_err(Stop::Config)?;
    let mut script = Script { stage, report, pop, figures: Figures::default(), interval: args.interval() };
    script.join_and_cover()?;
    script.one_interval()?;
    script.origins_fail()?;
    script.idle()?;
    script.servers_die()?;
    let Script { stage, pop, mut figures, report, .. } = script;
    let totals = pop.totals();
    stage.say(format_args!("{} of virtual time", millis(pop.now.0)))?;
    figures.merge = pop.merge.times.quantiles();
    (figures.mends, figures.mends_unknown) = (totals.mends, totals.mends_unknown);
    pop.alarms.iter().for_each(|alarm| report.fail(format!("in virtual time: {alarm}")));
    Ok(figures)
}

struct Script<'p, 's, 'a> {
    stage: &'p mut Stage<'s>,
    report: &'p mut Report,
    pop: Pop<'a>,
    figures: Figures,
    interval: Duration,
}

impl<'a> Script<'_, '_, 'a> {
    fn join_and_cover(&mut self) -> Result<(), Stop> {
        if self.wait("not every server started and saw all others", Pop::is_agreed)? {
            self.figures.join_ns = Some(self.pop.now.0);
        }
        let keys = self.pop.keys.len();
        if self.wait("not every server learned of every origin", |pop| {
            pop.nodes().all(|node| node.map().len() == keys)
        })? {
            self.figures.coverage_ns = Some(self.pop.now.0);
        }
        Ok(())
    }

    fn one_interval(&mut self) -> Result<(), Stop> {
        self.pop.set_checks(Checks::All);
        self.pop.follow_writes = true;
        let (before, since) = (self.pop.totals(), self.pop.now);
        self.run(self.interval)?;
        let moved = self.pop.totals().since(&before);
        self.pop.follow_writes = false;
        self.figures.redundancy = moved.redundancy();
        self.figures.redundancy_of = moved.applied;
        self.figures.steady_bytes = Some(self.bytes_per_server_per_s(&moved, since));
        self.wait("a result did not reach every server", |pop| pop.writes.pending() == 0)?;
        let (to_one, to_all) = self.pop.writes.take();
        self.figures.to_one = Quantiles::of(&to_one);
        self.figures.to_all = Quantiles::of(&to_all);
        Ok(())
    }

    fn origins_fail(&mut self) -> Result<(), Stop> {
        let n = (self.pop.keys.len() / 100).max(1);
        self.pop.failing[..n].fill(true);
        self.run(self.interval)?;
        self.wait("a failure did not reach every server", |pop| pop.failures.pending() == 0)?;
        self.figures.failure = Quantiles::of(&self.pop.failures.take().1);
        Ok(())
    }

    fn servers_die(&mut self) -> Result<(), Stop> {
        let servers = self.pop.servers.len();
        let kills = KILLS.min(servers - 1);
        let (mut detected, mut taken_over) = (Times::new(), Times::new());
        for kill in 0..kills {
            let victim = Slot::at(1 + kill * (servers - 1) / kills);
            let (before, killed) = (self.pop.running(), self.pop.now);
            let is_orphan = |key: &Key| owner(*key, before) == Some(victim);
            let orphans: Vec<usize> = self
                .pop
                .keys
                .iter()
                .enumerate()
                .filter(|(_, key)| is_orphan(key))
                .map(|(id, _)| id)
                .collect();
            self.pop.kill(victim);
            let survivors = self.pop.running();
            let mut checked = vec![Instant::ZERO; orphans.len()];
            let found =
                self.wait("a killed server was not found out, or its origins not taken over", |pop| {
                    for (at, &id) in checked.iter_mut().zip(&orphans).filter(|(at, _)| **at == Instant::ZERO)
                    {
                        *at = if pop.checked[id] > killed { pop.checked[id] } else { Instant::ZERO };
                    }
                    checked.iter().all(|at| *at > killed) && mourners(pop, victim) == survivors
                })?;
            if found {
                let deaths = self.pop.deaths.iter().filter(|death| death.of == victim);
                detected.record(deaths.map(|death| death.at.since(killed).0).max().unwrap_or(0));
                if let Some(last) = checked.iter().max() {
                    taken_over.record(last.since(killed).0);
                }
            }
        }
        self.figures.detection = Quantiles::of(&detected);
        self.figures.takeover = Quantiles::of(&taken_over);
        let running = self.pop.running();
        self.figures.false_deaths =
            self.pop.deaths.iter().filter(|death| running.contains(death.of)).count() as u64;
        Ok(())
    }

    fn idle(&mut self) -> Result<(), Stop> {
        self.pop.set_checks(Checks::Paused);
        self.wait("in the end the maps are not equal", Pop::is_equal)?;
        self.run(REST)?;
        let (before, since) = (self.pop.totals(), self.pop.now);
        self.run(IDLE)?;
        let moved = self.pop.totals().since(&before);
        self.figures.idle_bytes = Some(self.bytes_per_server_per_s(&moved, since));
        self.pop.set_checks(Checks::All);
        Ok(())
    }

    // ---- time ----

    fn run(&mut self, span: Duration) -> Result<(), Stop> {
        let until = self.pop.now + span;
        while self.pop.now < until {
            self.pop.run_to(until.min(self.pop.now + LOOK));
            self.tick()?;
        }
        Ok(())
    }

    /// Waits until `done` holds; whether it came to that.
    fn wait(&mut self, failure: &str, mut done: impl FnMut(&Pop<'a>) -> bool) -> Result<bool, Stop> {
        let until = self.pop.now + PATIENCE;
        loop {
            if done(&self.pop) {
                return Ok(true);
            }
            if self.pop.now >= until {
                self.report.converged = false;
                self.report
                    .fail(format!("in virtual time: {failure} within {} s", PATIENCE.as_millis() / 1_000));
                return Ok(false);
            }
            self.pop.run_to(self.pop.now + LOOK);
            self.tick()?;
        }
    }

    fn tick(&mut self) -> Result<(), Stop> {
        let Self { stage, pop, .. } = self;
        let elapsed = stage.elapsed().as_secs_f64();
        let now = pop.now.0 as f64 / 1e9;
        stage.tick(|phase| {
            vec![String::new(), format!("{phase:<58} {elapsed:>8.1} s"), format!("virtual time {now:>8.2} s")]
        })
    }

    fn bytes_per_server_per_s(&self, moved: &Totals, since: Instant) -> f64 {
        let seconds = self.pop.now.since(since).0 as f64 / 1e9;
        moved.bytes as f64 / self.pop.running().len() as f64 / seconds
    }
}

/// Returns who holds `victim` dead.
fn mourners(pop: &Pop<'_>, victim: Slot) -> SlotSet {
    pop.deaths
        .iter()
        .filter(|death| death.of == victim)
        .map(|death| death.by)
        .collect::<SlotSet>()
        .intersection(pop.running())
}
