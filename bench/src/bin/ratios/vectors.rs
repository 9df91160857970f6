//! Version vectors of 64 slots, beside crdts' vector clocks.

use std::cmp::Ordering;
use std::hint::black_box;

use crdts::{CvRDT, VClock};
use popmap_bench::contest::{Contest, time};
use popmap_bench::kernels::{self, PAIRS};
use popmap_bench::peers::crdts::clock;
use popmap_core::clock::Order;

use crate::Effort;
use crate::report::Rows;

const REPEAT: usize = 16;

pub fn vectors(effort: &Effort, rows: &mut Rows) {
    if !effort.wants(&["vector-compare", "vector-join"]) {
        return;
    }
    let pairs = kernels::counters();
    let ours = kernels::vectors(&pairs);
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
        time(PAIRS * REPEAT, || (0..REPEAT).for_each(|_| kernels::compare(&ours)))
    });
    contest.enter("crdts VClock, compare", |()| {
        time(PAIRS, || {
            for [a, b] in &clocks {
                black_box(black_box(a).partial_cmp(black_box(b)));
            }
        })
    });
    contest.enter("ours, join", |()| {
        let mut into = kernels::firsts(&ours);
        time(PAIRS * REPEAT, || (0..REPEAT).for_each(|_| kernels::join(&mut into, &ours)))
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
