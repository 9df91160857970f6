//! Shows that the work on one packet does not grow with the map: instruction counts at 1,000 to 1,000,000 keys. And that no
//! record is copied on its way from a device's memory into the map: what the way adds does not grow with the records.
//!
//! Each count comes from a child process under callgrind, so it is the same on a busy machine. Fails when the counts of
//! an operation at different sizes are further apart than [`BOUND`], or when a way adds more than it may.

#![forbid(unsafe_code)]

mod ways;

use std::cmp::Reverse;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use clap::{CommandFactory, Parser};
use popmap_bench::callgrind::{CallgrindError, counted_stretch, run_self};
use popmap_bench::clock::Times;
use popmap_bench::pair::{Operation, Pair, RECORDS};
use popmap_bench::paths::{PACKETS, Way};
use popmap_core::limits::{CAPACITY_MAX, PAYLOAD_DEFAULT, RESERVE_DIVISOR, VALUE_DEFAULT};
use ways::Ways;

/// How far apart the greatest and the least count of an operation may be: their ratio.
const BOUND: f64 = 1.3;
/// Rounds whose mean is a count.
const ROUNDS: u64 = 64;
/// Rounds whose median is a time.
const TIMED_ROUNDS: usize = 1_000;
/// The most keys that a map has room for beside its reserve.
const KEYS_MAX: usize = CAPACITY_MAX - CAPACITY_MAX / RESERVE_DIVISOR;

/// Counts the instructions of building and merging one full delta packet, and of a lookup, in maps of different sizes; and
/// of a packet's ways into the map.
///
/// Exits with 1 when the counts of an operation at different sizes are more than a factor of 1.3 apart, or when a way
/// adds more to the node's own work than it may, or more for many records than for one.
#[derive(Parser)]
#[command(name = "instructions", version)]
struct Arguments {
    /// Sizes of the map, in keys
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1000,10000,100000,1000000")]
    keys: Vec<usize>,
    /// What to count
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_enum, default_values_t = Operation::ALL)]
    operation: Vec<Operation>,
    /// Ways into the map to count; `handle`, which the others are compared with, is always among them
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_enum, default_values_t = Way::ALL)]
    way: Vec<Way>,
    /// Print one JSON object a row instead of a table
    #[arg(long)]
    json: bool,
    /// Measure nanoseconds without valgrind, for orientation: compare within a run only; nothing is asserted
    #[arg(long)]
    time: bool,
    /// Keep callgrind's files in this directory, for callgrind_annotate
    #[arg(long, value_name = "DIRECTORY")]
    profiles: Option<PathBuf>,
    /// The child under callgrind: does one case and prints nothing
    #[arg(long, hide = true)]
    child: bool,
    /// The child's case is a way, with packets of so many records
    #[arg(long, hide = true, value_name = "N")]
    records: Option<usize>,
}

/// One operation at every size.
struct Row {
    operation: Operation,
    figures: Vec<f64>,
}

impl Row {
    fn spread(&self) -> f64 {
        let max = self.figures.iter().copied().fold(f64::MIN, f64::max);
        let min = self.figures.iter().copied().fold(f64::MAX, f64::min);
        max / min
    }

    fn is_flat(&self) -> bool {
        (1.0..=BOUND).contains(&self.spread())
    }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    if let Some(keys) = arguments.keys.iter().find(|keys| !(RECORDS..=KEYS_MAX).contains(keys)) {
        let message = format!("--keys: {keys} given; {RECORDS} to {KEYS_MAX} are possible");
        Arguments::command().error(clap::error::ErrorKind::ValueValidation, message).exit();
    }
    if arguments.child {
        match arguments.records {
            Some(records) => arguments.way[0].run(records, &mut counted_stretch),
            None => work(arguments.keys[0], arguments.operation[0]),
        }
        return ExitCode::SUCCESS;
    }
    if !arguments.way.contains(&Way::Handle) {
        arguments.way.insert(0, Way::Handle);
    }
    let counted = if arguments.time { Ok((time(&arguments), Ways::default())) } else { count(&arguments) };
    match counted {
        Ok((rows, ways)) => {
            print(&arguments, &rows);
            ways.print(arguments.json);
            verdict(&arguments, &rows, &ways)
        }
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What the child does: the rounds, one operation of them counted.
fn work(keys: usize, wanted: Operation) {
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

/// What one child counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Case {
    /// An operation in a map of so many keys.
    Operation(Operation, usize),
    /// A way of packets with so many records, and which attempt at it this is.
    Way(Way, usize, usize),
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
            for records in ways::RECORDS_OF {
                cases.extend((0..ways::attempts(way)).map(|attempt| Self::Way(way, records, attempt)));
            }
        }
        cases
    }

    /// Returns the name of its profile.
    fn name(self) -> String {
        match self {
            Self::Operation(operation, keys) => format!("callgrind.popmap.{}.{keys}", operation.name()),
            Self::Way(way, records, attempt) => {
                format!("callgrind.popmap.{}.{records}.{attempt}", way.name())
            }
        }
    }

    fn child(self) -> Vec<String> {
        let (what, size) = match self {
            Self::Operation(operation, keys) => {
                (format!("--operation={}", operation.name()), format!("--keys={keys}"))
            }
            Self::Way(way, records, _) => (format!("--way={}", way.name()), format!("--records={records}")),
        };
        vec!["--child".into(), what, size]
    }

    /// Returns how many of what it is are counted together.
    fn count(self) -> u64 {
        match self {
            Self::Operation(operation, _) => ROUNDS * operation.per_round() as u64,
            Self::Way(..) => PACKETS as u64,
        }
    }
}

/// Runs a child for every figure, as many at a time as there are processors: counts do not mind.
fn count(arguments: &Arguments) -> Result<(Vec<Row>, Ways), CallgrindError> {
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
    let figure = |case| {
        let found = counted.iter().find(|&&(counted, _)| counted == case);
        found.expect("every case has been counted").1
    };
    let row = |&operation: &Operation| Row {
        operation,
        figures: arguments.keys.iter().map(|&keys| figure(Case::Operation(operation, keys))).collect(),
    };
    let rows = arguments.operation.iter().map(row).collect();
    let ways = Ways::new(&arguments.way, |way, records, attempt| figure(Case::Way(way, records, attempt)));
    Ok((rows, ways))
}

fn count_one(arguments: &Arguments, case: Case) -> Result<f64, CallgrindError> {
    let name = case.name();
    let profile = match &arguments.profiles {
        Some(directory) => directory.join(name),
        None => std::env::temp_dir().join(format!("{name}.{}", std::process::id())),
    };
    let total = run_self(&case.child(), &profile);
    if arguments.profiles.is_none() {
        // It may not even have come to be.
        let _ = std::fs::remove_file(&profile);
    }
    Ok(total? as f64 / case.count() as f64)
}

/// Medians of rounds that take turns between the sizes.
fn time(arguments: &Arguments) -> Vec<Row> {
    let mut pairs: Vec<Pair> = arguments.keys.iter().map(|&keys| Pair::new(keys)).collect();
    let times = || pairs.iter().map(|_| Times::default()).collect();
    let mut rows: Vec<(Operation, Vec<Times>)> =
        arguments.operation.iter().map(|&operation| (operation, times())).collect();
    for _ in 0..TIMED_ROUNDS {
        for (size, pair) in pairs.iter_mut().enumerate() {
            pair.round(&mut |operation, run| match rows.iter_mut().find(|row| row.0 == operation) {
                Some((_, times)) => times[size].measure(run),
                None => run(),
            });
        }
    }
    let figure =
        |operation: Operation, times: &mut Times| times.median_ns() as f64 / operation.per_round() as f64;
    rows.into_iter()
        .map(|(operation, mut times)| Row {
            operation,
            figures: times.iter_mut().map(|times| figure(operation, times)).collect(),
        })
        .collect()
}

fn print(arguments: &Arguments, rows: &[Row]) {
    let what = if arguments.time { "nanoseconds" } else { "instructions" };
    if arguments.json {
        for Row { operation, figures } in rows {
            for (keys, figure) in arguments.keys.iter().zip(figures) {
                println!(
                    r#"{{"operation":"{}","unit":"{}","keys":{keys},"{what}":{figure:.1}}}"#,
                    operation.name(),
                    operation.unit()
                );
            }
        }
        return;
    }
    println!(
        "{what}; a packet is {PAYLOAD_DEFAULT} bytes: {RECORDS} records with {VALUE_DEFAULT}-byte values"
    );
    print!("{:24}", "keys");
    arguments.keys.iter().for_each(|keys| print!("{keys:>10}"));
    println!("{:>10}", "max/min");
    for row in rows {
        print!("{:24}", format!("{}, a {}", row.operation.name(), row.operation.unit()));
        row.figures.iter().for_each(|figure| print!("{figure:>10.0}"));
        println!("{:>10.2}", row.spread());
    }
}

fn verdict(arguments: &Arguments, rows: &[Row], ways: &Ways) -> ExitCode {
    if arguments.time {
        return ExitCode::SUCCESS;
    }
    let mut code = ExitCode::SUCCESS;
    for complaint in ways.complaints() {
        eprintln!("instructions: {complaint}");
        code = ExitCode::FAILURE;
    }
    for row in rows.iter().filter(|row| !row.is_flat()) {
        let (name, spread) = (row.operation.name(), row.spread());
        eprintln!("instructions: {name} depends on the size of the map: {spread:.2} apart, {BOUND} allowed");
        code = ExitCode::FAILURE;
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_with_the_map_is_not_flat() {
        let row = |figures: &[f64]| Row { operation: Operation::Build, figures: figures.to_vec() };
        assert!(row(&[100.0, 129.0, 101.0]).is_flat() && row(&[7.0]).is_flat());
        assert!(!row(&[100.0, 120.0, 131.0]).is_flat());
        assert!(!row(&[f64::NAN]).is_flat() && !row(&[]).is_flat());
    }
}
