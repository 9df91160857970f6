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
const ALL: &[Restart] = &[Restart::Kept, Restart::LostGreater, Restart::LostLesser];
fn main() {
    let n: usize = std::env::args().nth(1).map_or(1_000_000, |s| s.parse().unwrap());
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
