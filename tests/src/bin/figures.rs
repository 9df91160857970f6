use popmap_core::SwimConfig;
use popmap_core::time::Duration;
use popmap_tests::figures::members::{run, Trial};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let n = |i: usize| a.get(i).map_or(0, |s| s.parse::<u64>().unwrap());
    let memberlist = SwimConfig {
        period: Duration::from_secs(1),
        timeout: Duration::from_millis(500),
        indirect: 3,
        suspicion_min: Duration::from_millis(7_225),
        suspicion_max: Duration::from_millis(43_350),
        gossip: Duration::from_millis(200),
        fanout: 3,
        ..SwimConfig::DEFAULT
    };
    let swim = if a[1] == "m" { memberlist } else { SwimConfig::DEFAULT };
    let t = std::time::Instant::now();
    let mut o = run(&Trial { servers: 64, seed: n(5), loss_ppm: n(2) as u32 * 10_000, overloaded: n(3) as usize, swim, minutes: n(4) as u32 });
    let real = t.elapsed().as_secs_f64();
    for v in [&mut o.first, &mut o.last, &mut o.each] { v.sort_unstable(); let q = |p: f64| v[((v.len() - 1) as f64 * p) as usize].as_millis(); println!("  p50 {} p90 {} p99 {} p99.9 {} max {}", q(0.5), q(0.9), q(0.99), q(0.999), q(1.0)); }
    println!("{:?} false {:?} misled {} blocked {} susp {} span {} s in {real:.1} s", a, o.false_deaths, o.misled, o.blocked_deaths, o.suspicions, o.span.as_millis() / 1000);
}
