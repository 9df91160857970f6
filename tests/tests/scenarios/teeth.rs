//! Negative controls: with any one rule broken a check finds a violation, and says how; with none broken the same checks
//! find nothing. Only under `--cfg popmap_teeth` (.ci/teeth). `tests/README.md` has them as a table.

use std::panic::{AssertUnwindSafe, catch_unwind};

use popmap_core::Tooth;
use popmap_tests::adversary::{Keys, attack};
use popmap_tests::explore::scopes::{self, Reach};
use popmap_tests::explore::{Restart, Scope, random, search, trace};
use popmap_tests::teeth::with_broken;

use super::{
    false_suspicion_refuted, forget, late_acks, orphans, own_past, repair, slot_conflict, start_deadline,
    torn_reads,
};

const STATES_MAX: usize = 20_000_000;
/// Random runs in which each rule's breaking must show that is looked for there.
const RUNS: u64 = 2_000;

/// What catches a broken rule.
enum Catch {
    /// The exhaustive search of a scope.
    Search(fn(Reach) -> Scope),
    /// That and random runs.
    Both(fn(Reach) -> Scope),
    /// A scenario, by its name.
    Scenario(&'static str, fn()),
    /// An adversary with every packet at hand and no key.
    Adversary,
}

/// What catches each. For the search alone are: the order of heads, which takes two windows whose packets cross in one way out
/// of many; a scan taken for the whole, which takes a second receiver that stands just in front of it; the quarantine and the
/// stale observation, which take a restart that a collector has not heard of.
fn catch(tooth: Tooth) -> Catch {
    use Catch::{Adversary, Both, Scenario, Search};
    match tooth {
        Tooth::PublishedOrder => Both(scopes::circle),
        Tooth::TieUnbroken => Both(scopes::asynchronous),
        Tooth::TermNotRaised => Both(scopes::asynchronous),
        Tooth::TermRestarts => Search(scopes::collect),
        Tooth::NoQuarantine => Search(scopes::quarantine),
        Tooth::StaleObservation => Search(scopes::stale_observation),
        Tooth::FloorNotJoined => Search(scopes::floor),
        Tooth::ForgottenTaken => Both(scopes::forget),
        Tooth::ForgetLowersVersion => Both(scopes::forget),
        Tooth::ForgottenStartStays => Scenario("forget", forget::a_start_that_was_forgotten_is_over),
        Tooth::ServedUnseen => Scenario("forget", forget::a_start_sees_a_version_before_records),
        Tooth::ReplyAnswered => Scenario("forget", forget::two_that_start_do_not_answer_answers),
        Tooth::ForgetUnbound | Tooth::BuriedLate | Tooth::LacksBuriedTaken => {
            Scenario("forget", forget::a_new_server_that_met_the_old_one_first_begins_again)
        }
        Tooth::GenerationNotRaised => Search(scopes::lost_generation),
        Tooth::EarlyWrite | Tooth::AnyLife | Tooth::OldLives => Both(scopes::crashes),
        Tooth::HistoryUnasked => Scenario("start_deadline", start_deadline::an_expired_deadline),
        Tooth::NotReasserted => Scenario("own_past", own_past::what_this_life_wrote_stands),
        Tooth::CursorKept => Search(scopes::crashes),
        Tooth::NotFenced => {
            Scenario("slot_conflict", slot_conflict::a_second_server_starts_beside_a_running_one)
        }
        Tooth::FencedServes => {
            Scenario("slot_conflict", slot_conflict::a_start_takes_nothing_from_a_fenced_server)
        }
        Tooth::CursorPastGap => Both(scopes::gaps),
        Tooth::CommitEveryPacket => Both(scopes::asynchronous),
        Tooth::DuplicateByStart => Search(scopes::asynchronous),
        Tooth::CheckpointOfVersion => Both(scopes::checkpoints),
        Tooth::HeadOrder => Search(scopes::windows),
        Tooth::WalkFromTail => Both(scopes::scans),
        Tooth::ScanIsWhole => Search(scopes::overtaken),
        Tooth::OrphansLeft => Scenario("orphans", orphans::records_behind_a_lost_push_are_adopted),
        Tooth::HashOfOldLife => Both(scopes::hashes_crash),
        Tooth::HashOmitsSlot => Both(scopes::hashes),
        Tooth::PushTruncated | Tooth::PushSplitBlindly => Both(scopes::push_parts),
        Tooth::PushUnguarded => Both(scopes::push),
        Tooth::DigestWithoutValue => {
            Scenario("repair", repair::values_that_differ_under_one_dot_become_equal)
        }
        Tooth::RepairAdopts => Scenario("repair", repair::an_absent_record_is_reported_to_its_owner),
        Tooth::NotRefuted | Tooth::IncarnationIgnored => {
            Scenario("false_suspicion_refuted", false_suspicion_refuted::a_moment_out_of_reach)
        }
        Tooth::StaleAckTaken => Scenario("late_acks", late_acks::repeated_acks_keep_nobody_alive),
        Tooth::MacUnchecked | Tooth::ReplayTaken | Tooth::UnprovedTaken => Adversary,
        Tooth::StampUnchecked => {
            Scenario("torn_reads", torn_reads::no_record_is_torn_and_none_that_stays_is_missed)
        }
    }
}

/// The scope in which a broken rule shows, if it is the search that finds it.
fn scope_for(tooth: Tooth) -> Option<Scope> {
    let (Catch::Search(scope) | Catch::Both(scope)) = catch(tooth) else { return None };
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
    Some(scope)
}

#[test]
fn the_adversary_finds_every_broken_rule() {
    for &tooth in Tooth::ALL.iter().filter(|&&tooth| matches!(catch(tooth), Catch::Adversary)) {
        let outcome = attack(Keys::Shared, 1, 200_000, |node| node.break_rule(tooth));
        let broken = outcome.broken.unwrap_or_else(|| panic!("{tooth:?} went unnoticed"));
        println!("---- {tooth:?}: {broken}");
    }
    let outcome = attack(Keys::Shared, 1, 200_000, |_| {});
    assert_eq!(outcome.broken, None);
}

#[test]
fn the_search_finds_every_broken_rule() {
    let mut unnoticed = Vec::new();
    for &tooth in Tooth::ALL {
        let Some(mut scope) = scope_for(tooth) else { continue };
        scope.tooth = Some(tooth);
        let report = search(&scope, STATES_MAX);
        println!("---- {tooth:?}: {report}");
        match report.found {
            Some((violation, steps)) => println!("{violation}\n{}", trace::explain(&scope, steps)),
            None => unnoticed.push((tooth, scope.name)),
        }
    }
    assert!(unnoticed.is_empty(), "went unnoticed in the search: {unnoticed:?}");
}

#[test]
fn random_runs_find_every_broken_rule() {
    let mut unnoticed = Vec::new();
    for &tooth in Tooth::ALL.iter().filter(|&&tooth| matches!(catch(tooth), Catch::Both(_))) {
        let found = (0..RUNS).find_map(|seed| {
            let mut scope = random::scope_of(seed, "random");
            scope.tooth = Some(tooth);
            random::run(&scope, seed, random::STEPS).map(|(_, steps)| (seed, scope, steps))
        });
        match found {
            Some((seed, scope, steps)) => {
                println!("---- {tooth:?}: seed {seed}\n{}", trace::explain(&scope, steps));
            }
            None => unnoticed.push(tooth),
        }
    }
    assert!(unnoticed.is_empty(), "went unnoticed in {RUNS} random runs: {unnoticed:?}");
}

/// The scenarios run with nothing broken as tests of their own.
#[test]
fn scenarios_find_every_broken_rule() {
    for &tooth in Tooth::ALL {
        let Catch::Scenario(name, scenario) = catch(tooth) else { continue };
        let outcome = with_broken(tooth, || catch_unwind(AssertUnwindSafe(scenario)));
        let panic = outcome.expect_err(&format!("{tooth:?} went unnoticed in {name}"));
        let text =
            panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        println!("---- {tooth:?}: caught by {name}: {}", text.unwrap_or("a panic"));
    }
}

/// The scopes as they are, `model_check` explores; here are those that are bent to show a broken rule.
#[test]
fn without_a_broken_rule_there_is_nothing_to_find() {
    let which = |scope: &Scope| (scope.name, scope.restarts, scope.checks_r6);
    let mut done: Vec<_> = scopes::all(Reach::Short).iter().map(which).collect();
    for scope in Tooth::ALL.iter().filter_map(|&tooth| scope_for(tooth)) {
        if done.contains(&which(&scope)) {
            continue;
        }
        done.push(which(&scope));
        let report = search(&scope, STATES_MAX);
        assert!(report.found.is_none() && !report.capped, "{report}: {:?}", report.found);
    }
}
