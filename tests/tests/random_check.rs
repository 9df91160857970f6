//! Random runs of the real map with all faults, up to four replicas and three keys.
//!
//! `POPMAP_RANDOM_RUNS` sets how many; `cargo run --release -p popmap-tests --bin explore -- random` runs millions.

use popmap_tests::explore::{random, trace};

const RUNS: u64 = 30_000;
/// Not the seeds that a long run starts with.
const FIRST_SEED: u64 = 1 << 40;

#[test]
fn random_runs_hold_every_property() {
    let runs =
        std::env::var("POPMAP_RANDOM_RUNS").map_or(RUNS, |runs| runs.parse().expect("a number of runs"));
    for seed in FIRST_SEED..FIRST_SEED + runs {
        if let Some(found) = random::check(seed) {
            panic!("{found}");
        }
    }
}

/// What a seed does never changes: every failure can be looked at again.
#[test]
fn a_trace_replays_to_the_letter() {
    for seed in 0..20 {
        let scope = random::scope_of(seed, "replayed");
        let steps = random::steps_of(&scope, seed, random::STEPS);
        assert!(!steps.is_empty());
        let [first, second] = [(), ()].map(|()| {
            let mut log = String::new();
            trace::replay(&scope, &steps, Some(&mut log)).expect("no rule is broken");
            log
        });
        assert!(!first.is_empty());
        assert_eq!(first, second);
    }
}
