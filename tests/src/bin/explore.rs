//! scratch
use popmap_tests::explore::*;
fn run<const N: usize>(scope: &Scope, n: usize) {
    let report = search::<N>(scope, n);
    println!("{report}");
    if let Some((v, t)) = report.found {
        println!("{v}");
        println!("{}", trace::explain::<N>(scope, trace::numbered(&t)));
    }
}
#[cfg(popmap_teeth)]
fn teeth(n: u64) {
    for &tooth in popmap_core::Tooth::ALL {
        let t = std::time::Instant::now();
        let mut found = 0;
        for seed in 0..n {
            let mut scope = random::scope_of(seed, "random");
            scope.tooth = Some(tooth);
            if let Some((v, trace)) = random::run::<4>(&scope, seed, 120) {
                if found == 0 {
                println!("{tooth:?} seed {seed}: {v} after {:?}", t.elapsed());
                println!("{}", trace::explain::<4>(&scope, trace)); }
                found += 1;
                if found > 20 { break; }
            }
        }
        println!("{tooth:?} {found} of {n} {:?}", t.elapsed());
    }
}
const ALL: &[Restart] = &[Restart::Kept, Restart::LostGreater, Restart::LostLesser];
fn main() {
    let n: usize = std::env::args().nth(1).map_or(1_000_000, |s| s.parse().unwrap());
    if std::env::args().nth(2).is_some_and(|w| w == "r") {
        let t = std::time::Instant::now();
        let base: u64 = std::env::args().nth(3).map_or(0, |s| s.parse().unwrap());
        for seed in base..base + n as u64 {
            let scope = random::scope_of(seed, "random");
            if let Some((v, trace)) = random::run::<4>(&scope, seed, 120) {
                println!("seed {seed}: {v} after {:?}", t.elapsed());
                println!("{}", trace::explain::<4>(&scope, trace));
                return;
            }
        }
        println!("{n} runs {:?}", t.elapsed());
        return;
    }
    #[cfg(popmap_teeth)]
    if std::env::args().nth(2).is_some_and(|w| w == "t") { teeth(n as u64); return; }
    let which = std::env::args().nth(2).unwrap_or_default();
    let mut scope = Scope::new("async", 2);
    scope.budget = Budget { puts: 3, asks: 2, serves: 3, ..Budget::default() };
    if which.is_empty() || which == "1" {
        run::<3>(&scope, n);
    }
    let mut scope = Scope::new("requested", 2);
    scope.budget = Budget { puts: 3, requests: 2, serves: 3, syncs: 1, checkpoints: 1, ..Budget::default() };
    if which.is_empty() || which == "2" {
        run::<3>(&scope, n);
    }
    let mut scope = Scope::new("push", 2);
    scope.budget = Budget { puts: 3, pushes: 3, syncs: 2, ..Budget::default() };
    if which.is_empty() || which == "3" {
        run::<3>(&scope, n);
    }
    let mut scope = Scope::new("crash", 2);
    scope.restarts = ALL;
    scope.budget =
        Budget { puts: 3, asks: 1, serves: 1, pushes: 1, syncs: 3, crashes: 2, ..Budget::default() };
    if which.is_empty() || which == "4" {
        run::<3>(&scope, n);
    }
    let mut scope = Scope::new("collect", 1);
    scope.restarts = ALL;
    scope.budget = Budget {
        puts: 2,
        removes: 1,
        serves: 1,
        requests: 1,
        syncs: 5,
        sweeps: 3,
        ticks: 2,
        crashes: 0,
        ..Budget::default()
    };
    if which.is_empty() || which == "5" {
        run::<3>(&scope, n);
    }
    let mut scope = Scope::new("collect2", 1);
    scope.restarts = ALL;
    scope.budget = Budget {
        puts: 2,
        removes: 1,
        serves: 1,
        requests: 1,
        syncs: 5,
        sweeps: 3,
        ticks: 2,
        crashes: 1,
        ..Budget::default()
    };
    if which.is_empty() || which == "6" {
        run::<2>(&scope, n);
    }
}
