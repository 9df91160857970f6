//! scratch
use popmap_tests::explore::*;
fn main() {
    let n: usize = std::env::args().nth(1).map_or(1_000_000, |s| s.parse().unwrap());
    let mut scope = Scope::new("async", 2);
    scope.budget = Budget { puts: 2, asks: 2, serves: 2, ..Budget::default() };
    let report = search::<3>(&scope, n);
    println!("{report}");
    if let Some((v, t)) = report.found {
        println!("{v}");
        println!("{}", trace::explain::<3>(&scope, trace::numbered(&t)));
    }
}
