//! Version vectors of 64 slots, beside crdts' vector clocks.

use std::cmp::Ordering;
use std::hint::black_box;

use crdts::{CvRDT, VClock};
use popmap_bench::contest::{Contest, time};
use popmap_bench::peers::crdts::clock;
use popmap_bench::stream::SLOTS;
use popmap_core::clock::{Order, VersionVector};
use popmap_core::rng::Rng;

use crate::Effort;
use crate::report::Rows;

const PAIRS: usize = 64;
const REPEAT: usize = 16;

/// Pairs of counters: a quarter each equal, before, after and concurrent.
fn pairs() -> Vec<[[u64; SLOTS]; 2]> {
    let mut rng = Rng::new(1);
    let pair = |kind: usize| {
        let counter = |_| 1 << 32 | rng.below(1 << 20);
        let a: [u64; SLOTS] = std::array::from_fn(counter);
        let mut b = a;
        if kind & 1 != 0 {
            b[rng.below(SLOTS as u64) as usize] += 1;
        }
        let mut a = a;
        if kind & 2 != 0 {
            let at = (0..SLOTS).filter(|&at| a[at] == b[at]).nth(rng.below(SLOTS as u64 - 1) as usize);
            a[at.expect("all but one are equal")] += 1;
        }
        [a, b]
    };
    (0..PAIRS).map(|n| n % 4).map(pair).collect()
}

pub fn vectors(effort: &Effort, rows: &mut Rows) {
    if !effort.wants(&["vector-compare", "vector-join"]) {
        return;
    }
    let pairs = pairs();
    let ours: Vec<_> = pairs.iter().map(|pair| pair.map(VersionVector::from_counters)).collect();
    let clocks: Vec<_> = pairs.iter().map(|pair| pair.each_ref().map(|counters| clock(counters))).collect();
    for ([a, b], [c, d]) in ours.iter().zip(&clocks) {
        let expected = match c.partial_cmp(d) {
            Some(Ordering::Less) => Order::Before,
            Some(Ordering::Equal) => Order::Equal,
            Some(Ordering::Greater) => Order::After,
            None => Order::Concurrent,
        };
        assert_eq!(a.compare(b), expected);
    }
    let mut contest = Contest::new();
    contest.enter("ours, compare", |(): &mut ()| {
        time(PAIRS * REPEAT, || {
            for [a, b] in (0..REPEAT).flat_map(|_| &ours) {
                black_box(black_box(a).compare(black_box(b)));
            }
        })
    });
    contest.enter("crdts VClock, compare", |()| {
        time(PAIRS, || {
            for [a, b] in &clocks {
                black_box(black_box(a).partial_cmp(black_box(b)));
            }
        })
    });
    contest.enter("ours, join", |()| {
        let mut into: Vec<_> = ours.iter().map(|[a, _]| *a).collect();
        time(PAIRS * REPEAT, || {
            for _ in 0..REPEAT {
                for (a, [_, b]) in into.iter_mut().zip(&ours) {
                    black_box(&mut *a).join(black_box(b));
                }
            }
        })
    });
    contest.enter("crdts VClock, join", |()| {
        // It takes the other by value: copying it is off the clock.
        let mut pairs: Vec<[VClock<u8>; 2]> = clocks.clone();
        let taken: Vec<_> = pairs.iter_mut().map(|[_, b]| std::mem::take(b)).collect();
        time(PAIRS, || {
            for ([a, _], b) in pairs.iter_mut().zip(taken) {
                black_box(&mut *a).merge(black_box(b));
            }
        })
    });
    let results = contest.run(effort.rounds(300), || ());
    rows.compare("vector-compare", &results, ["ours, compare", "crdts VClock, compare"], Some(1.0 / 13.0));
    rows.compare("vector-join", &results, ["ours, join", "crdts VClock, join"], Some(1.0 / 13.0));
}
