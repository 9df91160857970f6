//! The exhaustive search: every state that a scope can reach, depth first, each once.
//!
//! Two states are one when every replica's behaviour, the packets in flight, the history and what may still happen are
//! the same. An action that changes nothing is not followed: all that could come after it can come without it.

use std::rc::Rc;
use std::time::Instant;

use popmap_core::{Map, Phase, Slot};

use super::action::Action;
use super::exchange::pairs;
use super::hash::Seen;
use super::replicas::{Owned, Shared, storages};
use super::scope::{SHAPE, Scope};
use super::settle::{replicas, settle};
use super::trace::{Steps, numbered};
use super::world::{Step, World, first_life};
use crate::checker::Violation;

/// What a search found.
#[derive(Debug)]
pub struct Report {
    /// The scope's name.
    pub name: &'static str,
    /// Distinct states.
    pub states: usize,
    /// Actions tried.
    pub transitions: u64,
    /// States run on to quiescence.
    pub settled: u64,
    /// The most actions in a row.
    pub depth: usize,
    /// How long it took.
    pub seconds: f64,
    /// The bound on states ended the search.
    pub capped: bool,
    /// The property that does not hold, and how to get there.
    pub found: Option<(Violation, Steps)>,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, states, transitions, settled, depth, seconds, capped, .. } = self;
        let end = if *capped { ", CAPPED" } else { "" };
        write!(
            f,
            "{name}: {states} states, {transitions} transitions, {settled} settled, depth {depth}, {seconds:.1} s{end}"
        )
    }
}

struct Search<const N: usize> {
    scope: Rc<Scope>,
    states_max: usize,
    seen: Seen,
    rested: Seen,
    trace: Vec<Action>,
    transitions: u64,
    settled: u64,
    depth: usize,
    spare: Vec<Vec<Vec<u64>>>,
    copies: Vec<Vec<u64>>,
}

/// Explores every state of `scope`, at most `states_max`, and stops at the first violation.
///
/// # Panics
/// When the scope's number of slots is not from 2 to 4, or the code under test panics.
pub fn search(scope: &Scope, states_max: usize) -> Report {
    // One frame of the recursion holds copies of replicas: the depth is bounded, but not by the stack of a test thread.
    let run = || match scope.slots {
        2 => search_here::<2>(scope.clone(), states_max),
        3 => search_here::<3>(scope.clone(), states_max),
        4 => search_here::<4>(scope.clone(), states_max),
        slots => panic!("{slots} slots"),
    };
    std::thread::scope(|threads| {
        let builder = std::thread::Builder::new().stack_size(1 << 30);
        let handle = builder.spawn_scoped(threads, run).expect("a thread");
        handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn search_here<const N: usize>(scope: Scope, states_max: usize) -> Report {
    let started = Instant::now();
    let scope = Rc::new(scope);
    let words = Map::<N>::words(scope.capacity, &SHAPE);
    let mut storage = storages(N + scope.prelude.len(), words);
    let configs: Vec<_> = (0..N).map(|at| scope.config(at, N, first_life(at))).collect();
    let mut maps = Owned::<N>::new(&mut storage, &configs);
    let mut world = World::start(&scope, &mut maps);
    let mut search = Search {
        scope: Rc::clone(&scope),
        states_max,
        seen: Seen::default(),
        rested: Seen::default(),
        trace: Vec::new(),
        transitions: 0,
        settled: 0,
        depth: 0,
        spare: Vec::new(),
        copies: storages(replicas(N, &scope), words),
    };
    let mut result = Ok(());
    for action in &scope.prelude {
        search.trace.push(*action);
        let step = search.trace.len() as u32;
        result = result.and_then(|()| world.apply(&mut maps, action, step).map(|_| ()));
    }
    world.budget = scope.budget;
    search.seen.insert(world.hash());
    let result = result.and_then(|()| search.visit(&world, maps.refs()));
    Report {
        name: scope.name,
        states: search.seen.len(),
        transitions: search.transitions,
        settled: search.settled,
        depth: search.depth,
        seconds: started.elapsed().as_secs_f64(),
        capped: search.seen.len() >= states_max,
        found: result.err().map(|violation| (violation, numbered(&search.trace))),
    }
}

impl<const N: usize> Drop for Search<N> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("panicked in scope {} after {:?}", self.scope.name, numbered(&self.trace));
        }
    }
}

impl<const N: usize> Search<N> {
    fn visit<'w>(&mut self, world: &World<N>, maps: [&'w Map<'w, N>; N]) -> Result<(), Violation> {
        self.depth = self.depth.max(self.trace.len());
        let words = Map::<N>::words(self.scope.capacity, &SHAPE);
        let mut storage = self.spare.pop().unwrap_or_else(|| storages(N, words));
        let at_rest = world.hash_at_rest();
        if (at_rest as u64).is_multiple_of(self.scope.settle_one_in) && self.rested.insert(at_rest) {
            self.settled += 1;
            let mut copies = std::mem::take(&mut self.copies);
            settle(world, &Shared::new(maps, &mut []), &mut copies)?;
            self.copies = copies;
        }
        let step = self.trace.len() as u32 + 1;
        for action in actions(world, maps) {
            let mut next = world.clone();
            let mut copies = Shared::new(maps, &mut storage);
            self.transitions += 1;
            self.trace.push(action);
            let done = next.apply(&mut copies, &action, step)?;
            if done == Step::Done && self.seen.len() < self.states_max && self.seen.insert(next.hash()) {
                self.visit(&next, copies.refs())?;
            }
            self.trace.pop();
        }
        self.spare.push(storage);
        Ok(())
    }
}

/// Returns the actions that may do something in a state, those of packets first.
pub fn actions<const N: usize>(world: &World<N>, maps: [&Map<'_, N>; N]) -> Vec<Action> {
    let mut all: Vec<_> = world.packets.iter().map(|packet| Action::Deliver(packet.label)).collect();
    let budget = &world.budget;
    for (from, to) in pairs::<N>() {
        let (map, peer) = (maps[usize::from(from)], Slot::at(to.into()));
        if budget.serves > 0 && map.owes_delta().contains(peer) {
            all.push(Action::Serve { from, to });
        }
        if budget.pushes > 0 && map.owes_push(peer) {
            all.push(Action::Push { from, to });
        }
        if budget.pings > 0 {
            all.push(Action::Ping { from, to });
        }
        if budget.asks > 0 {
            all.push(Action::Ask { from, to, force: map.phase() == Phase::Starting });
        }
        if budget.requests > 0 {
            all.push(Action::Request { from, to });
        }
        if budget.compares > 0 {
            all.push(Action::Compare { from, to });
        }
        if budget.syncs > 0 {
            all.push(Action::Sync { from, to });
        }
        if budget.forgets > 0 && map.phase() != Phase::Starting && !map.forgotten_slots().contains(peer) {
            all.push(Action::Forget { at: from, of: to });
        }
    }
    for (i, map) in maps.iter().enumerate() {
        let at = u8::try_from(i).expect("few replicas");
        let writes = map.phase() != Phase::Starting;
        for key in 0..u8::try_from(world.scope.keys).expect("few keys") {
            if budget.puts > 0 && writes {
                all.push(Action::Put { at, key });
            }
            if budget.removes > 0
                && writes
                && world.seen[i].table[usize::from(key)].is_some_and(|h| !h.tombstone)
            {
                all.push(Action::Remove { at, key });
            }
        }
        if budget.repairs > 0 && (map.owes_repair().is_some() || map.owes_report().is_some()) {
            all.push(Action::Repair { at });
        }
        if budget.checkpoints > 0 {
            all.push(Action::Checkpoint { at });
        }
        if budget.sweeps > 0 && map.needs_sweep() {
            all.push(Action::Sweep { at });
        }
        if budget.crashes > 0 {
            all.extend(world.scope.restarts.iter().map(|&how| Action::Crash { at, how }));
        }
    }
    if budget.ticks > 0 {
        all.push(Action::Tick);
    }
    if budget.rounds > 0 {
        all.push(Action::Round);
    }
    all
}
