//! Crashes, loss and overload among the members: how soon a death is known, and who is held dead who lives.

use std::collections::HashMap;

use popmap_core::rng::Rng;
use popmap_core::time::{Duration, Instant};
use popmap_core::{Config, Shape, Slot, SlotSet, SwimConfig};

use super::pop::{Condition, Plan, Pop, SLOTS, Verdict};

/// From the start to the first thing that counts: by then all know each other, and the overload has begun.
const WARM_UP: Duration = Duration::from_secs(20);
/// From the start to the overload.
const CALM: Duration = Duration::from_secs(8);
/// The servers that the others join through are never crashed or overloaded.
const SEEDS: usize = 3;

/// What one run is made of.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// Servers.
    pub servers: usize,
    /// What the run is drawn from.
    pub seed: u64,
    /// Packets lost, in parts per million.
    pub loss_ppm: u32,
    /// Servers that are overloaded.
    pub overloaded: usize,
    /// The protocol's times and counts.
    pub swim: SwimConfig,
    /// One server crashes in each of these, at a random time.
    pub cycle: Duration,
    /// How long it is down: a death that is not known by then counts as known then.
    pub down: Duration,
    /// Crashes.
    pub crashes: u32,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// For each crash, the time until the first server held it dead.
    pub first: Vec<Duration>,
    /// For each crash, the time until the last server did that was neither overloaded nor crashed.
    pub last: Vec<Duration>,
    /// For each crash and each such server, the time until it did.
    pub each: Vec<Duration>,
    /// Incarnations that were first held dead while their server ran; those of servers that were overloaded apart.
    pub false_deaths: [u64; 2],
    /// Servers that came to hold one of these dead.
    pub misled: u64,
    /// Incarnations that were first held dead while their server was blocked.
    pub blocked_deaths: u64,
    /// Members suspected by a server's own probe.
    pub suspicions: u64,
    /// Virtual time that this is of.
    pub span: Duration,
}

impl Outcome {
    /// Adds what came of another run.
    pub fn add(&mut self, other: &Self) {
        self.first.extend(&other.first);
        self.last.extend(&other.last);
        self.each.extend(&other.each);
        self.false_deaths[0] += other.false_deaths[0];
        self.false_deaths[1] += other.false_deaths[1];
        self.misled += other.misled;
        self.blocked_deaths += other.blocked_deaths;
        self.suspicions += other.suspicions;
        self.span = Duration(self.span.0 + other.span.0);
    }

    /// Returns all false deaths.
    pub fn all_false_deaths(&self) -> u64 {
        self.false_deaths.iter().sum()
    }

    /// For each crash, returns the time from the first server that held it dead to the last, shortest first.
    pub fn spread(&self) -> Vec<Duration> {
        let mut spread: Vec<_> = self
            .first
            .iter()
            .zip(&self.last)
            .map(|(first, last)| Duration(last.0.saturating_sub(first.0)))
            .collect();
        spread.sort_unstable();
        spread
    }

    /// Returns `count` for each hour of virtual time.
    pub fn per_hour(&self, count: u64) -> f64 {
        count as f64 * 3.6e12 / self.span.0 as f64
    }
}

/// Runs it.
///
/// # Panics
/// When nobody is left to crash: the seeds and the overloaded never do.
pub fn run(trial: &Trial) -> Outcome {
    let adjust = |config: &mut Config| {
        config.swim = Some(trial.swim);
        // Membership alone: with nothing in the map there is nothing to exchange or to repair.
        config.sync.exchange_idle = Duration::from_secs(3_600);
        config.sync.exchange_equal = Duration::from_secs(3_600);
        config.repair = Duration::from_secs(3_600);
    };
    let plan = Plan {
        servers: trial.servers,
        capacity: 8,
        shape: Shape { schema: 1, value_len: 24 },
        seed: trial.seed,
        loss_ppm: trial.loss_ppm,
        rate: None,
        adjust: &adjust,
    };
    let mut storage = Pop::storage(&plan, trial.servers + trial.crashes as usize);
    let mut pop = Pop::new(&mut storage, plan);
    let mut rng = Rng::new(trial.seed ^ 0x6372_6173);
    let others = trial.servers - SEEDS;
    let overloaded: SlotSet =
        (0..trial.overloaded).map(|n| Slot::at(SEEDS + n * others / trial.overloaded)).collect();
    overloaded.iter().for_each(|slot| pop.overload(slot, Instant::ZERO + CALM));
    pop.run(WARM_UP);
    let mut judge = Judge { overloaded, held: HashMap::new(), outcome: Outcome::default() };
    judge.note(&pop.take_verdicts());
    judge.outcome = Outcome::default();
    let suspicions = pop.total(|stats| stats.swim.suspicions);
    let mut lost = 0;
    for _ in 0..trial.crashes {
        let calm = Duration(rng.below(trial.cycle.0 - trial.down.0));
        pop.run(calm);
        judge.note(&pop.take_verdicts());
        let candidates =
            SlotSet::first(trial.servers).difference(overloaded).difference(SlotSet::first(SEEDS));
        let victim = candidates.nth(rng.below(candidates.len() as u64) as usize).expect("a healthy server");
        let at = pop.now();
        lost += pop.node(victim).stats().swim.suspicions;
        let life = pop.node(victim).map().life();
        pop.crash(victim);
        pop.run(trial.down);
        let verdicts = pop.take_verdicts();
        judge.note(&verdicts);
        let observers = pop.running().difference(overloaded);
        judge.detected(at, trial.down, &verdicts, life.id, observers);
        pop.start(victim);
        pop.run(Duration(trial.cycle.0 - trial.down.0 - calm.0));
    }
    judge.note(&pop.take_verdicts());
    judge.outcome.suspicions = pop.total(|stats| stats.swim.suspicions) + lost - suspicions;
    judge.outcome.span = pop.now().since(Instant::ZERO + WARM_UP);
    judge.outcome
}

/// Sorts verdicts.
struct Judge {
    overloaded: SlotSet,
    /// The incarnations that were ever held dead, and whether falsely.
    held: HashMap<(Slot, u64, u32), bool>,
    outcome: Outcome,
}

impl Judge {
    fn note(&mut self, verdicts: &[Verdict]) {
        for verdict in verdicts {
            let (outcome, overloaded) = (&mut self.outcome, self.overloaded.contains(verdict.of));
            let key = (verdict.of, verdict.life.id, verdict.incarnation);
            let falsely = *self.held.entry(key).or_insert_with(|| {
                match verdict.was {
                    Condition::Running => outcome.false_deaths[usize::from(overloaded)] += 1,
                    Condition::Blocked => outcome.blocked_deaths += 1,
                    Condition::Crashed => {}
                }
                verdict.was == Condition::Running
            });
            outcome.misled += u64::from(falsely);
        }
    }

    /// Notes when the life that crashed at `at` was held dead by whom of `observers`.
    fn detected(&mut self, at: Instant, down: Duration, verdicts: &[Verdict], life: u64, observers: SlotSet) {
        let mut took = [down; SLOTS];
        for verdict in verdicts.iter().rev().filter(|verdict| verdict.life.id == life) {
            took[verdict.by.index()] = verdict.at.since(at);
        }
        let first = took.iter().min().copied();
        self.outcome.first.extend(first);
        let observed = || observers.iter().map(|slot| took[slot.index()]);
        self.outcome.last.extend(observed().max());
        self.outcome.each.extend(observed());
    }
}
