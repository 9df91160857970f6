//! Traces: replayed, made as short as they go, and printed.

use std::fmt::Write as _;
use std::rc::Rc;

use popmap_core::Map;

use super::action::{Action, Budget};
use super::packet::Described;
use super::replicas::{Owned, Replicas, storages};
use super::scope::{SHAPE, Scope};
use super::settle::{replicas, settle};
use super::world::{Step, World, first_life};
use crate::checker::Violation;

/// A sequence of actions with their numbers, from the start of a world.
pub type Steps = Vec<(u32, Action)>;

/// Numbers actions from one on, as the search does.
pub fn numbered(actions: &[Action]) -> Steps {
    (1..).zip(actions.iter().copied()).collect()
}

/// Runs `steps`; the budget does not bind them.
///
/// # Errors
/// The violation, on the way or when the replicas settle at the end.
pub fn replay(scope: &Scope, steps: &[(u32, Action)], log: Option<&mut String>) -> Result<(), Violation> {
    match scope.slots {
        2 => replay_here::<2>(scope, steps, log),
        3 => replay_here::<3>(scope, steps, log),
        _ => replay_here::<4>(scope, steps, log),
    }
}

fn replay_here<const N: usize>(
    scope: &Scope,
    steps: &[(u32, Action)],
    log: Option<&mut String>,
) -> Result<(), Violation> {
    let words = Map::<N>::words(scope.capacity, &SHAPE);
    let crashes = steps.iter().filter(|(_, action)| matches!(action, Action::Crash { .. })).count();
    let mut storage = storages(N + crashes, words);
    let scope = Rc::new(scope.clone());
    let configs: Vec<_> = (0..N).map(|at| scope.config(at, N, first_life(at))).collect();
    let mut maps = Owned::<N>::new(&mut storage, &configs);
    let mut world = World::start(&scope, &mut maps);
    world.budget = Budget::UNBOUNDED;
    let mut log = log;
    for (step, action) in steps {
        let packets = world.packets.len();
        let result = world.apply(&mut maps, action, *step);
        if let Some(log) = &mut log
            && matches!(result, Ok(Step::Done) | Err(_))
        {
            print_step(log, &world, &maps, *step, action, packets);
        }
        result?;
    }
    settle(&world, &maps, &mut storages(replicas(N, &scope), words))
}

fn print_step<const N: usize>(
    log: &mut String,
    world: &World<N>,
    maps: &Owned<'_, N>,
    step: u32,
    action: &Action,
    packets: usize,
) {
    // Writing to a string does not fail.
    let _ = writeln!(log, "{step:4}. {action}");
    if let Action::Deliver(label) = action
        && let Some(packet) = world.packets.iter().find(|packet| packet.label == *label)
    {
        let _ = writeln!(log, "        = {}", Described::<N> { packet, shape: SHAPE });
    }
    for packet in world.packets.get(packets..).unwrap_or_default() {
        let _ = writeln!(log, "        sent {}", Described::<N> { packet, shape: SHAPE });
    }
    for at in 0..N {
        let map = maps.map(at);
        let _ = write!(
            log,
            "        S{at} {:?} {:?} V {:?} held {:?} floor {}",
            map.life(),
            map.phase(),
            map.version(),
            map.held(),
            map.floor()
        );
        for (key, name) in world.scope.key_names().iter().enumerate() {
            if let Some(held) = map.inspect(*name) {
                let kind = if held.tombstone { "deleted " } else { "" };
                let _ = write!(log, " k{key}={kind}{:?}/{}", held.dot, held.term);
            }
        }
        let _ = writeln!(log);
    }
}

/// Leaves out every step that the violation does not need, and returns what is left with the violation it ends in.
pub fn shrink(scope: &Scope, steps: Steps) -> (Steps, Violation) {
    let mut steps = steps;
    let mut violation = replay(scope, &steps, None).expect_err("a trace that ends in a violation");
    let mut span = steps.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        let mut shorter = false;
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + span).min(steps.len()));
            match replay(scope, &fewer, None) {
                Err(other) => (steps, violation, shorter) = (fewer, other, true),
                Ok(()) => at += span,
            }
        }
        if span > 1 {
            span = span.div_ceil(2);
        } else if !shorter {
            return (steps, violation);
        }
    }
}

/// Returns a shrunk trace in words: each step, what it sent, and what every replica then holds.
pub fn explain(scope: &Scope, steps: Steps) -> String {
    let (steps, violation) = shrink(scope, steps);
    let mut log = String::new();
    let _ = replay(scope, &steps, Some(&mut log));
    format!("{violation}\nin {} steps of scope {}:\n{log}\n{steps:?}", steps.len(), scope.name)
}
