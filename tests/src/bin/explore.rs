//! Long explorations, beyond what a test run can afford.
//!
//! ```text
//! explore exhaustive [states] [scope]   every scope with larger bounds, at most so many states in all (50,000,000)
//! explore short [states] [scope]        the scopes as the tests explore them
//! explore random [runs] [seed]          random runs from a seed on (3,000,000 from 0)
//! explore replay seed                   one random run, printed step by step if it fails
//! ```
//!
//! Ends with status 1 at the first violation, after printing the shortest trace found.

use std::process::ExitCode;
use std::time::Instant;

use popmap_tests::explore::scopes::{self, Reach};
use popmap_tests::explore::{random, search, trace};

/// States in all, unless told otherwise: some 8 minutes on one core.
const STATES: usize = 50_000_000;
/// Random runs, unless told otherwise.
const RUNS: u64 = 3_000_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize| arguments.get(place).map(|text| text.replace(['_', ','], "").parse::<u64>());
    let command = arguments.first().map_or("", String::as_str);
    let holds = match (command, number(1).transpose(), number(2)) {
        ("exhaustive" | "short", Ok(states), _) => {
            let states = states.map_or(STATES, |states| usize::try_from(states).unwrap_or(usize::MAX));
            let reach = if command == "short" { Reach::Short } else { Reach::Long };
            exhaustive(states, arguments.get(2).map_or("", String::as_str), reach)
        }
        ("random", Ok(runs), None) => random_runs(0, runs.unwrap_or(RUNS)),
        ("random", Ok(Some(runs)), Some(Ok(seed))) => random_runs(seed, runs),
        ("replay", Ok(Some(seed)), _) => random_runs(seed, 1),
        _ => {
            eprintln!(
                "usage: explore exhaustive|short [states] [scope] | random [runs] [seed] | replay seed"
            );
            return ExitCode::from(2);
        }
    };
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Spends the states on the scopes one after another: what one leaves, the next ones share.
fn exhaustive(states_max: usize, name: &str, reach: Reach) -> bool {
    let mut scopes = scopes::all(reach);
    scopes.retain(|scope| scope.name.contains(name));
    let (mut left, mut transitions, started) = (states_max, 0, Instant::now());
    let mut waiting = scopes.len();
    for scope in scopes {
        let report = search(&scope, left / waiting);
        println!("{report}");
        left -= report.states.min(left);
        waiting -= 1;
        transitions += report.transitions;
        if let Some((_, steps)) = report.found {
            println!("{}", trace::explain(&scope, steps));
            return false;
        }
    }
    let states = states_max - left;
    println!("in all: {states} states, {transitions} transitions, {:.0} s", started.elapsed().as_secs_f64());
    true
}

fn random_runs(first: u64, runs: u64) -> bool {
    let started = Instant::now();
    for seed in first..first + runs {
        if let Some(found) = random::check(seed) {
            println!("{found}");
            return false;
        }
    }
    println!("{runs} runs from seed {first}, {:.0} s", started.elapsed().as_secs_f64());
    true
}
