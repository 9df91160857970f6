//! scratch
use popmap_tests::explore::*;
fn rand(seeds: std::ops::Range<u64>, change: impl Fn(&mut Scope)) -> bool {
        let t = std::time::Instant::now();
        let n = seeds.end - seeds.start;
        for seed in seeds {
            let mut scope = random::scope_of(seed, "random");
            change(&mut scope);
            if let Some((v, trace)) = random::run(&scope, seed, 120) {
                println!("seed {seed}: {v} after {:?}", t.elapsed());
                println!("{}", trace::explain(&scope, trace));
                return true;
            }
        }
        println!("{n} runs {:?}", t.elapsed());
        false
}
fn main() {
    let n: usize = std::env::args().nth(1).map_or(1_000_000, |s| s.parse().unwrap());
    let which = std::env::args().nth(2).unwrap_or_default();
    if which == "r" {
        let base: u64 = std::env::args().nth(3).map_or(0, |s| s.parse().unwrap());
        rand(base..base + n as u64, |_| {});
        return;
    }
    #[cfg(popmap_teeth)]
    {
        for &tooth in popmap_core::Tooth::ALL {
            if !which.is_empty() && !which.contains(&format!("{tooth:?}")) { continue; }
            for mut scope in scopes::all(if std::env::var_os("LONG").is_some() { scopes::Reach::Long } else { scopes::Reach::Short }) {
                scope.tooth = Some(tooth);
                let report = search(&scope, n);
                if let Some((v, t)) = report.found {
                    println!("{tooth:?}: CAUGHT in {}: {v} {} states {:.2}s", scope.name, report.states, report.seconds);
                    println!("{}", trace::explain(&scope, t));
                } else { println!("{tooth:?}: not in {} {:.2}s", scope.name, report.seconds); }
            }
            rand(0..n as u64/20, |scope| scope.tooth = Some(tooth));
        }
        return;
    }
    for scope in scopes::all(if std::env::var_os("LONG").is_some() { scopes::Reach::Long } else { scopes::Reach::Short }) {
        if !which.is_empty() && !scope.name.contains(&which) { continue; }
        let report = search(&scope, n);
        println!("{report}");
        if let Some((v, t)) = report.found {
            println!("{v}");
            println!("{}", trace::explain(&scope, t));
        }
    }
}
