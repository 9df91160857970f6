//! The parts of popmap, one by one: `cargo bench -p popmap-bench`.
//!
//! Each file beside this one knows one layer. For what compares, with peers or from one change to the next, use the
//! `ratios` and `instructions` programs: these times are of a machine as busy as it happens to be.

#![forbid(unsafe_code)]

mod clock;
mod map;
mod merge;
mod ownership;
mod wire;

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_main};

/// Packets that are prepared together.
const BURST: usize = 32;

/// Runs `rounds` until `iterations` operations were measured, and returns what these took. A round is told how many
/// operations are left and returns how many it did, and what they took.
fn measured(iterations: u64, mut round: impl FnMut(u64) -> (u64, Duration)) -> Duration {
    let (mut done, mut took) = (0, Duration::ZERO);
    while done < iterations {
        let (more, time) = round(iterations - done);
        done += more;
        took += time;
    }
    // The last round may have done more than there were left.
    took.mul_f64(iterations as f64 / done as f64)
}

/// Returns what `work` took.
fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn benches() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .sample_size(20)
        .configure_from_args();
    wire::benches(&mut criterion);
    clock::benches(&mut criterion);
    map::benches(&mut criterion);
    merge::benches(&mut criterion);
    ownership::benches(&mut criterion);
    criterion.final_summary();
}

criterion_main!(benches);
