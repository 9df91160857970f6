//! The model check of the real map: every state of every short scope (`explore::scopes`), on every test run.
//!
//! R6 against the history of writes, no resurrection, unique dots and rising versions are checked in every state;
//! convergence to equal versions, tables and digests, and silence after it, in one of every few. `--nocapture` prints the
//! number of states, transitions and seconds. `cargo run --release -p popmap-tests --bin explore -- exhaustive` goes on
//! to 50 million states.

use popmap_tests::explore::scopes::{self, Reach};
use popmap_tests::explore::{Scope, search, trace};

/// Far above what any short scope has: each is explored to its end.
const STATES_MAX: usize = 20_000_000;

fn explore(scope: &Scope, at_least: usize) {
    let report = search(scope, STATES_MAX);
    println!("{report}");
    if let Some((violation, steps)) = report.found {
        panic!("{violation}\n{}", trace::explain(scope, steps));
    }
    assert!(!report.capped, "{} is larger than it was meant to be", scope.name);
    assert!(
        report.states >= at_least,
        "{} has only {} states: it no longer reaches much",
        scope.name,
        report.states
    );
}

macro_rules! scopes {
    ($($name:ident: $at_least:literal,)+) => {
        $(
            #[test]
            fn $name() {
                explore(&scopes::$name(Reach::Short), $at_least);
            }
        )+

        /// States that every test run visits, at least.
        const STATES: usize = 0 $(+ $at_least)+;
    };
}

scopes! {
    asynchronous: 200_000,
    windows: 100_000,
    gaps: 100_000,
    checkpoints: 600_000,
    ring: 150_000,
    scans: 150_000,
    overtaken: 50_000,
    push: 40_000,
    push_parts: 1_000_000,
    crash: 1_500_000,
    crashes: 3_000_000,
    lost_generation: 15_000,
    lost_generation_bound: 15_000,
    crash_bound: 20_000,
    collect: 1_500_000,
    collect_crash: 400_000,
    quarantine: 200_000,
    stale_observation: 1_000,
    floor: 50,
    hashes: 300_000,
    hashes_crash: 700_000,
    hashes_collect: 800_000,
    repair: 100_000,
    forget: 100_000,
    forget_crash: 90_000,
    circle: 150_000,
}

const _: () = assert!(STATES >= 1_000_000);
