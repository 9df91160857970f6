//! Negative controls: with any one rule broken the explorer finds a violation, and prints how; with none broken the same
//! explorations find nothing. Only under `--cfg popmap_teeth` (.ci/teeth).

#![cfg(popmap_teeth)]

use popmap_core::Tooth;
use popmap_tests::adversary::{Keys, attack};
use popmap_tests::explore::scopes::{self, Reach};
use popmap_tests::explore::{Restart, Scope, random, search, trace};

const STATES_MAX: usize = 20_000_000;
/// Random runs in which each rule's breaking must show, but for those of [`BEYOND_CHANCE`].
const RUNS: u64 = 60_000;
/// For the exhaustive search alone. The order of heads takes two windows whose packets cross in one way out of many; the
/// quarantine takes a restart that a collector has not heard of, and one packet that outlives the collection; a scan taken
/// for the whole takes a second receiver who stands just in front of it (whole PoPs find that too: `vopr`).
const BEYOND_CHANCE: &[Tooth] = &[Tooth::HeadOrder, Tooth::NoQuarantine, Tooth::ScanIsWhole];

/// Of these a bare map knows nothing: an adversary finds them.
const TRUST: &[Tooth] = &[Tooth::MacUnchecked, Tooth::ReplayTaken, Tooth::UnprovedTaken];

fn of_maps() -> impl Iterator<Item = Tooth> {
    Tooth::ALL.iter().copied().filter(|tooth| !TRUST.contains(tooth))
}

#[test]
fn the_adversary_finds_every_broken_rule() {
    for &tooth in TRUST {
        let outcome = attack(Keys::Shared, 1, 200_000, |node| node.break_rule(tooth));
        let broken = outcome.broken.unwrap_or_else(|| panic!("{tooth:?} went unnoticed"));
        println!("---- {tooth:?}: {broken}");
    }
    let outcome = attack(Keys::Shared, 1, 200_000, |_| {});
    assert_eq!(outcome.broken, None);
}

/// The scope in which a broken rule shows.
fn scope_for(tooth: Tooth) -> Scope {
    let scope = match tooth {
        Tooth::PublishedOrder => scopes::circle,
        Tooth::TermNotRaised => scopes::asynchronous,
        Tooth::TermRestarts => scopes::collect,
        Tooth::NoQuarantine => scopes::quarantine,
        Tooth::GenerationNotRaised => scopes::lost_generation,
        Tooth::EarlyWrite | Tooth::AnyLife | Tooth::OldLives => scopes::crashes,
        Tooth::CommitEveryPacket | Tooth::DuplicateByStart => scopes::asynchronous,
        Tooth::CheckpointOfVersion => scopes::checkpoints,
        Tooth::HeadOrder => scopes::windows,
        Tooth::WalkFromTail => scopes::scans,
        Tooth::ScanIsWhole => scopes::overtaken,
        Tooth::HashOfOldLife => scopes::hashes_crash,
        Tooth::HashOmitsSlot => scopes::hashes,
        Tooth::PushTruncated | Tooth::PushSplitBlindly => scopes::push_parts,
        Tooth::PushUnguarded => scopes::push,
        Tooth::MacUnchecked | Tooth::ReplayTaken | Tooth::UnprovedTaken => {
            unreachable!("no map knows of them")
        }
    };
    let mut scope = scope(Reach::Short);
    match tooth {
        Tooth::PublishedOrder => {
            // By its own order a replica may hold what R1 calls less: what must show is that replicas differ for ever.
            scope.checks_r6 = false;
            scope.settle_one_in = 1;
        }
        // With the generation lost a start goes wrong at once; what must show takes longer.
        Tooth::EarlyWrite | Tooth::OldLives => scope.restarts = &[Restart::Kept],
        _ => {}
    }
    scope
}

#[test]
fn the_search_finds_every_broken_rule() {
    for tooth in of_maps() {
        let mut scope = scope_for(tooth);
        scope.tooth = Some(tooth);
        let report = search(&scope, STATES_MAX);
        println!("---- {tooth:?}: {report}");
        let (violation, steps) =
            report.found.unwrap_or_else(|| panic!("{tooth:?} went unnoticed in {}", scope.name));
        println!("{violation}\n{}", trace::explain(&scope, steps));
    }
}

#[test]
fn random_runs_find_every_broken_rule() {
    for tooth in of_maps().filter(|tooth| !BEYOND_CHANCE.contains(tooth)) {
        let found = (0..RUNS).find_map(|seed| {
            let mut scope = random::scope_of(seed, "random");
            scope.tooth = Some(tooth);
            random::run(&scope, seed, random::STEPS).map(|(_, steps)| (seed, scope, steps))
        });
        let (seed, scope, steps) =
            found.unwrap_or_else(|| panic!("{tooth:?} went unnoticed in {RUNS} random runs"));
        println!("---- {tooth:?}: seed {seed}\n{}", trace::explain(&scope, steps));
    }
}

/// The scopes as they are, `model_check` explores; here are those that are bent to show a broken rule.
#[test]
fn without_a_broken_rule_there_is_nothing_to_find() {
    let which = |scope: &Scope| (scope.name, scope.restarts, scope.checks_r6);
    let mut done: Vec<_> = scopes::all(Reach::Short).iter().map(which).collect();
    for scope in of_maps().map(scope_for) {
        if done.contains(&which(&scope)) {
            continue;
        }
        done.push(which(&scope));
        let report = search(&scope, STATES_MAX);
        assert!(report.found.is_none() && !report.capped, "{report}: {:?}", report.found);
    }
}
