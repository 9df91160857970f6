//! Random runs beyond the scope of the exhaustive search: a seed decides the bounds, the mix of actions and each step.
//!
//! Each run draws how likely each kind of action is, zero among the choices: a run in which some things never happen
//! reaches states that an even mix hardly ever does (swarm testing, Groce et al. 2012).

use std::rc::Rc;

use popmap_core::Map;
use popmap_core::rng::Rng;

use super::action::{Action, Budget, Restart};
use super::replicas::{Owned, storages};
use super::scope::{Room, SHAPE, Scope};
use super::settle::{replicas, settle};
use super::trace::{Steps, explain};
use super::world::{Step, World, first_life};
use crate::checker::Violation;

/// Crashes in one run, at most.
const CRASHES_MAX: usize = 6;
/// Steps of a run.
pub const STEPS: u32 = 120;
/// Steps between two looks at whether the replicas would converge from here.
const SETTLE_EVERY: u32 = 25;

/// How likely each kind of action is, relative to the others.
#[derive(Clone, Debug)]
struct Mix([u64; 19]);

/// The weights of an even mix, in the order of [`pick`].
const EVEN: [u64; 19] = [20, 20, 10, 14, 8, 4, 4, 10, 4, 3, 4, 2, 1, 1, 2, 4, 1, 6, 2];

impl Mix {
    fn draw(rng: &mut Rng) -> Self {
        Self(EVEN.map(|weight| weight * [0, 1, 1, 1, 2, 4][rng.below(6) as usize]))
    }
}

/// Draws the bounds of the run of `seed`.
pub fn scope_of(seed: u64, name: &'static str) -> Scope {
    let mut rng = Rng::new(seed ^ 0x5c09e);
    let mut scope = Scope::new(name, [2, 3, 4, 4][rng.below(4) as usize], 1 + rng.below(3) as usize);
    scope.room = [Room::Apart, Room::Beside, Room::Two][rng.below(3) as usize];
    scope.window = 1 + rng.below(4) as u16;
    scope.ticks_per_quarantine = 1 + rng.below(3) as u8;
    if scope.keys > 1 && rng.below(16) == 0 {
        // Too small for what is written: versions stand still, and nothing else may go wrong (R3).
        scope.capacity = scope.keys - 1;
        scope.converges = false;
    }
    scope.budget = Budget::UNBOUNDED;
    // Two that have forgotten each other need a third to tell one of them.
    scope.budget.forgets = if scope.slots > 2 { [0, 0, 1, 2][rng.below(4) as usize] } else { 0 };
    // And a third that had lost its generation, and could not hear one of them say so, would tell nobody.
    let every = &[Restart::Kept, Restart::LostGreater, Restart::LostLesser];
    scope.restarts = if scope.budget.forgets > 1 { &every[..1] } else { every };
    scope
}

/// Runs [`STEPS`] steps of `seed` in its own scope. Returns the violation with its shrunk trace in words, if there was one.
///
/// # Panics
/// When the code under test does, after telling the seed.
pub fn check(seed: u64) -> Option<String> {
    let _told = Told(seed);
    let scope = scope_of(seed, "random");
    let (violation, steps) = run(&scope, seed, STEPS)?;
    Some(format!(
        "seed {seed}, to be replayed with `explore replay {seed}`: {violation}\n{}",
        explain(&scope, steps)
    ))
}

/// Tells the seed of a run that panics.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the random run of seed {} panicked", self.0);
        }
    }
}

/// Returns the steps that a run of `seed` in `scope` takes.
///
/// # Panics
/// When they end in a violation.
pub fn steps_of(scope: &Scope, seed: u64, steps: u32) -> Steps {
    let (violation, trace) = run_any(scope, seed, steps);
    assert!(violation.is_none(), "{violation:?}");
    trace
}

/// Runs `steps` random steps of `seed` in `scope`. Returns the violation and how it came about, if there was one.
///
/// # Panics
/// When the code under test does.
pub fn run(scope: &Scope, seed: u64, steps: u32) -> Option<(Violation, Steps)> {
    let (violation, trace) = run_any(scope, seed, steps);
    violation.map(|violation| (violation, trace))
}

fn run_any(scope: &Scope, seed: u64, steps: u32) -> (Option<Violation>, Steps) {
    match scope.slots {
        2 => run_here::<2>(scope, seed, steps),
        3 => run_here::<3>(scope, seed, steps),
        _ => run_here::<4>(scope, seed, steps),
    }
}

fn run_here<const N: usize>(scope: &Scope, seed: u64, steps: u32) -> (Option<Violation>, Steps) {
    let mut rng = Rng::new(seed);
    let mix = Mix::draw(&mut rng);
    let words = Map::<N>::words(scope.capacity, &SHAPE);
    let mut storage = storages(N + CRASHES_MAX, words);
    let mut copies = storages(replicas(N, scope), words);
    let scope = Rc::new(scope.clone());
    let configs: Vec<_> = (0..N).map(|at| scope.config(at, N, first_life(at))).collect();
    let mut maps = Owned::<N>::new(&mut storage, &configs);
    let mut world = World::start(&scope, &mut maps);
    world.budget = scope.budget;
    world.budget.crashes = world.budget.crashes.min(CRASHES_MAX as u8);
    let mut trace = Steps::new();
    for step in 1..=steps {
        let Some(action) = pick(&world, &mix, &mut rng) else { continue };
        let result = world.apply(&mut maps, &action, step);
        if !matches!(result, Ok(Step::Idle)) {
            trace.push((step, action));
        }
        let mut result = result.map(|_| ());
        if step % SETTLE_EVERY == 0 || step == steps {
            result = result.and_then(|()| settle(&world, &maps, &mut copies));
        }
        if let Err(violation) = result {
            return (Some(violation), trace);
        }
    }
    (None, trace)
}

fn pick<const N: usize>(world: &World<N>, mix: &Mix, rng: &mut Rng) -> Option<Action> {
    let total: u64 = mix.0.iter().sum();
    let mut left = rng.below(total);
    let kind = mix.0.iter().position(|&weight| {
        let here = left < weight;
        left = left.saturating_sub(weight);
        here
    })?;
    let n = N as u64;
    let at = rng.below(n) as u8;
    let to = ((u64::from(at) + 1 + rng.below(n - 1)) % n) as u8;
    let key = rng.below(world.scope.keys as u64) as u8;
    let packets = world.packets.len() as u64;
    let deliver = |place: u64| world.packets.get(place as usize).map(|packet| Action::Deliver(packet.label));
    Some(match kind {
        0 => deliver(rng.below(packets))?,
        // A fresh one more often than chance would have it.
        1 => deliver(packets.saturating_sub(1 + rng.below(3)))?,
        2 => Action::Ask { from: at, to, force: rng.below(2) == 0 },
        3 => Action::Serve { from: at, to },
        4 => Action::Push { from: at, to },
        5 => Action::Request { from: at, to },
        6 => Action::Sync { from: at, to },
        7 => Action::Put { at, key },
        8 => Action::Remove { at, key },
        9 => Action::Checkpoint { at },
        10 => Action::Sweep { at },
        11 => Action::Tick,
        12 => Action::Crash {
            at,
            how: world.scope.restarts[rng.below(world.scope.restarts.len() as u64) as usize],
        },
        13 => Action::Round,
        14 => Action::Compare { from: at, to },
        15 => Action::Repair { at },
        16 => Action::Live { at, set: rng.below(1 << N) as u8 },
        17 => Action::Ping { from: at, to },
        _ => Action::Forget { at, of: to },
    })
}
