//! Seeds of the simulator (`popmap_tests::vopr`): some of each kind of run, and some of the full mix.
//!
//! The latter are always the same, or those that `POPMAP_VOPR_SEEDS` says (`A..B`); they are printed, and every failure has
//! its own replay line. `cargo run --release -p popmap-tests --bin vopr` runs as many seeds as wanted.

use std::sync::atomic::{AtomicU64, Ordering};

use popmap_tests::vopr::{self, Options, Plan, Scenario, Seeds, Summary, Wishes};

/// Seeds of each kind of run.
const EACH: u64 = 4;
/// Seeds of the full mix, some with 64 servers.
const FULL: std::ops::Range<u64> = 0..12;

/// Seeds that once found something: a full table that was asked again and again, starts that answered each other's answers, and
/// a check that held a fenced server to what nobody tells it.
const FOUND: [u64; 3] = [116, 888, 4442];

/// Runs seeds on all cores; the first that fails ends the test.
fn run(seeds: std::ops::Range<u64>, scenario: Scenario, wishes: Wishes) -> Vec<Summary> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let options = Options { wishes, ..Options::of(scenario) };
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mut done = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return done;
            }
            match vopr::run(seed, &options) {
                Ok(summary) => done.push(summary),
                Err(failure) => panic!("{failure}"),
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let results = threads.into_iter().map(|thread| match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        results.flatten().collect()
    })
}

/// A few servers, whatever the seed says: each kind of run in a second or two.
#[test]
fn every_kind_of_run_holds() {
    for &scenario in Scenario::ALL {
        let wishes = Wishes { servers: Some(6), ..Wishes::default() };
        let done = run(0..EACH, scenario, wishes);
        assert_eq!(done.len() as u64, EACH);
        let writes: u64 = done.iter().map(|summary| summary.history).sum();
        println!("{scenario}: {EACH} seeds, {writes} writes");
        // A kind of run that does nothing shows nothing.
        assert!(writes > 1_000);
        assert!(done.iter().all(|summary| summary.looked.covered > 0 && summary.looked.sweeps >= 5));
    }
}

/// The same with packets that are authenticated, each server with a row of its own.
#[test]
fn every_kind_of_run_holds_with_keys() {
    for &scenario in Scenario::ALL {
        let done = run(0..EACH, scenario, Wishes { servers: Some(6), keyed: true, span: None });
        assert!(done.iter().map(|summary| summary.history).sum::<u64>() > 1_000);
    }
}

#[test]
fn seeds_of_the_full_mix_hold() {
    let seeds = match std::env::var("POPMAP_VOPR_SEEDS") {
        Ok(text) => text.parse::<Seeds>().unwrap_or_else(|why| panic!("POPMAP_VOPR_SEEDS: {why}")).0,
        Err(_) => FULL,
    };
    println!("POPMAP_VOPR_SEEDS={}..{}", seeds.start, seeds.end);
    let done = run(seeds.clone(), Scenario::Full, Wishes::default());
    assert_eq!(done.len() as u64, seeds.end - seeds.start);
}

#[test]
fn seeds_that_once_found_something_hold() {
    for seed in FOUND {
        assert_eq!(run(seed..seed + 1, Scenario::Full, Wishes::default()).len(), 1);
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let wishes = Wishes { servers: Some(5), ..Wishes::default() };
    for seed in 0..6 {
        let [first, second] = [(), ()].map(|()| run(seed..seed + 1, Scenario::Full, wishes));
        assert_eq!(first, second, "seed {seed}");
    }
    // Another seed is another run.
    let [first, second] = [1, 2].map(|seed| run(seed..seed + 1, Scenario::Full, wishes));
    assert_ne!(first, second);
}

/// What a capture holds is what the run without one sent.
#[test]
fn a_capture_is_of_the_same_run() {
    let path = std::env::temp_dir().join(format!("popmap-vopr-{}.pcap", std::process::id()));
    let options =
        Options { wishes: Wishes { servers: Some(4), ..Wishes::default() }, ..Options::of(Scenario::Noise) };
    let summary = vopr::run(3, &options).unwrap_or_else(|failure| panic!("{failure}"));
    let packets = vopr::capture(3, &options, &path).expect("a file");
    let bytes = std::fs::metadata(&path).expect("written").len();
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(packets, summary.traffic.sent);
    // A header of the file, one of each record, and those of IP and UDP.
    assert_eq!(bytes, 24 + packets * (16 + 28) + summary.traffic.bytes);
}

/// What the documentation promises of any range of seeds.
#[test]
fn one_seed_in_four_is_large() {
    for from in [0, 1, 2, 3, 1_000_003] {
        let plans = (from..from + 400).map(|seed| Plan::draw(seed, Scenario::Full, Wishes::default()));
        let is_large = |plan: &Plan| {
            plan.servers == 64
                && plan.span.as_millis() >= 60_000
                && plan.workload.writes >= 10_000
                && plan.kinds() >= 3
        };
        let large = plans.filter(is_large).count();
        assert!(large >= 100, "{large} of 400 from {from} on");
    }
}
