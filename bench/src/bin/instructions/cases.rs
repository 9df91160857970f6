//! What is counted, each by a child of its own.
//!
//! Knows how a child is told its case, and what it does then. Must not know what the counts are held against.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use popmap_bench::callgrind::{CallgrindError, counted_stretch, run_self};
use popmap_bench::kernels::Kernel;
use popmap_bench::pair::{Operation, Pair};
use popmap_bench::paths::{PACKETS, Way};

use crate::{Arguments, ways};

/// Rounds of an operation whose mean is a count.
const ROUNDS: u64 = 64;
/// Rounds of a kernel whose mean is a count: one more is one per cent more.
const KERNEL_ROUNDS: usize = 100;

/// What one child counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Case {
    /// An operation in a map of so many keys.
    Operation(Operation, usize),
    /// A way of packets with so many records.
    Way(Way, usize),
    /// A kernel.
    Kernel(Kernel),
}

impl Case {
    /// Returns every case. The longest come first, so that none is left for the end.
    fn all(arguments: &Arguments) -> Vec<Self> {
        let mut cases = Vec::new();
        for &operation in &arguments.operation {
            cases.extend(arguments.keys.iter().map(|&keys| Self::Operation(operation, keys)));
        }
        cases.sort_by_key(|case| Reverse(if let Self::Operation(_, keys) = case { *keys } else { 0 }));
        for &way in &arguments.way {
            cases.extend(ways::RECORDS_OF.map(|records| Self::Way(way, records)));
        }
        cases.extend(arguments.kernel.iter().copied().map(Self::Kernel));
        cases
    }

    /// Returns the name of its profile.
    fn name(self) -> String {
        match self {
            Self::Operation(operation, keys) => format!("callgrind.popmap.{}.{keys}", operation.name()),
            Self::Way(way, records) => format!("callgrind.popmap.{}.{records}", way.name()),
            Self::Kernel(kernel) => format!("callgrind.popmap.{}", kernel.name()),
        }
    }

    /// Returns the arguments of its child.
    fn child(self, slow: usize) -> Vec<String> {
        let (what, size) = match self {
            Self::Operation(operation, keys) => {
                (format!("--operation={}", operation.name()), format!("--keys={keys}"))
            }
            Self::Way(way, records) => (format!("--way={}", way.name()), format!("--records={records}")),
            Self::Kernel(kernel) => (format!("--kernel={}", kernel.name()), format!("--slow={slow}")),
        };
        vec!["--child".into(), what, size]
    }

    /// Returns how many of what it is are counted together.
    fn count(self) -> u64 {
        match self {
            Self::Operation(operation, _) => ROUNDS * operation.per_round() as u64,
            Self::Way(..) => PACKETS as u64,
            Self::Kernel(kernel) => (KERNEL_ROUNDS * kernel.per_round()) as u64,
        }
    }
}

/// What the child does: its case, and nothing else counted.
pub fn work(arguments: &Arguments) {
    if let Some(kernel) = arguments.kernel.first() {
        kernel.run(KERNEL_ROUNDS + KERNEL_ROUNDS * arguments.slow / 100, &mut counted_stretch);
    } else if let Some(way) = arguments.way.first() {
        way.run(arguments.records, &mut counted_stretch);
    } else {
        operate(arguments.keys[0], arguments.operation[0]);
    }
}

/// Does the rounds, one operation of them counted.
fn operate(keys: usize, wanted: Operation) {
    let mut pair = Pair::new(keys);
    for _ in 0..ROUNDS {
        pair.round(&mut |operation, run| {
            if operation == wanted {
                counted_stretch(run);
            } else {
                run();
            }
        });
    }
}

/// Instructions of each case.
pub struct Counted(Vec<(Case, f64)>);

impl Counted {
    /// Returns the instructions of a case.
    pub fn of(&self, case: Case) -> f64 {
        let found = self.0.iter().find(|&&(counted, _)| counted == case);
        found.expect("every case has been counted").1
    }
}

/// Runs a child for every case, as many at a time as there are processors: counts do not mind.
pub fn count(arguments: &Arguments) -> Result<Counted, CallgrindError> {
    let cases = Case::all(arguments);
    let next = AtomicUsize::new(0);
    let one_after_another = || -> Result<Vec<_>, CallgrindError> {
        let mut counted = Vec::new();
        while let Some(&case) = cases.get(next.fetch_add(1, Relaxed)) {
            counted.push((case, count_one(arguments, case)?));
        }
        Ok(counted)
    };
    let mut counted = Vec::new();
    thread::scope(|scope| -> Result<(), CallgrindError> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(one_after_another)).collect();
        for thread in threads {
            counted.extend(thread.join().expect("counting does not panic")?);
        }
        Ok(())
    })?;
    Ok(Counted(counted))
}

fn count_one(arguments: &Arguments, case: Case) -> Result<f64, CallgrindError> {
    let name = case.name();
    let profile = match &arguments.profiles {
        Some(directory) => directory.join(name),
        None => std::env::temp_dir().join(format!("{name}.{}", std::process::id())),
    };
    let total = run_self(&case.child(arguments.slow), &profile);
    if arguments.profiles.is_none() {
        // It may not even have come to be.
        let _ = std::fs::remove_file(&profile);
    }
    Ok(total? as f64 / case.count() as f64)
}
