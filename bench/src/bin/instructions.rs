//! Shows that the work on one packet does not grow with the map: instruction counts at 1,000 to 1,000,000 keys.
//!
//! Each count comes from a child process under callgrind, so it is the same on a busy machine. Fails when the counts of
//! an operation at different sizes are further apart than [`BOUND`].

#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use clap::{CommandFactory, Parser};
use popmap_bench::callgrind::{CallgrindError, counted_stretch, run_self};
use popmap_bench::clock::Times;
use popmap_bench::pair::{Operation, Pair, RECORDS};
use popmap_core::limits::{CAPACITY_MAX, PAYLOAD_DEFAULT, RESERVE_DIVISOR, VALUE_DEFAULT};

/// How far apart the greatest and the least count of an operation may be: their ratio.
const BOUND: f64 = 1.3;
/// Rounds whose mean is a count.
const ROUNDS: u64 = 64;
/// Rounds whose median is a time.
const TIMED_ROUNDS: usize = 1_000;
/// The most keys that a map has room for beside its reserve.
const KEYS_MAX: usize = CAPACITY_MAX - CAPACITY_MAX / RESERVE_DIVISOR;

/// Counts the instructions of building and merging one full delta packet, and of a lookup, in maps of different sizes.
///
/// Exits with 1 when the counts of an operation at different sizes are more than a factor of 1.3 apart.
#[derive(Parser)]
#[command(name = "instructions", version)]
struct Arguments {
    /// Sizes of the map, in keys
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1000,10000,100000,1000000")]
    keys: Vec<usize>,
    /// What to count
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_enum, default_values_t = Operation::ALL)]
    operation: Vec<Operation>,
    /// Print one JSON object a row instead of a table
    #[arg(long)]
    json: bool,
    /// Measure nanoseconds without valgrind, for orientation: compare within a run only; nothing is asserted
    #[arg(long)]
    time: bool,
    /// Keep callgrind's files in this directory, for callgrind_annotate
    #[arg(long, value_name = "DIRECTORY")]
    profiles: Option<PathBuf>,
    /// The child under callgrind: does the operations and prints nothing
    #[arg(long, hide = true)]
    child: bool,
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
    let arguments = Arguments::parse();
    if let Some(keys) = arguments.keys.iter().find(|keys| !(RECORDS..=KEYS_MAX).contains(keys)) {
        let message = format!("--keys: {keys} given; {RECORDS} to {KEYS_MAX} are possible");
        Arguments::command().error(clap::error::ErrorKind::ValueValidation, message).exit();
    }
    if arguments.child {
        work(arguments.keys[0], arguments.operation[0]);
        return ExitCode::SUCCESS;
    }
    let rows = if arguments.time { Ok(time(&arguments)) } else { count(&arguments) };
    match rows {
        Ok(rows) => {
            print(&arguments, &rows);
            verdict(&arguments, &rows)
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

/// Runs a child for every figure, as many at a time as there are processors: counts do not mind.
fn count(arguments: &Arguments) -> Result<Vec<Row>, CallgrindError> {
    let mut cases = Vec::new();
    for &operation in &arguments.operation {
        cases.extend(arguments.keys.iter().map(|&keys| (operation, keys)));
    }
    // The longest first, so that none is left for the end.
    cases.sort_by_key(|&(_, keys)| Reverse(keys));
    let next = AtomicUsize::new(0);
    let one_after_another = || -> Result<Vec<_>, CallgrindError> {
        let mut counted = Vec::new();
        while let Some(&(operation, keys)) = cases.get(next.fetch_add(1, Relaxed)) {
            counted.push((operation, keys, count_one(arguments, operation, keys)?));
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
    let figure = |operation, keys| {
        let found = counted.iter().find(|&&(o, k, _)| (o, k) == (operation, keys));
        found.expect("every case has been counted").2
    };
    let row = |&operation: &Operation| Row {
        operation,
        figures: arguments.keys.iter().map(|&keys| figure(operation, keys)).collect(),
    };
    Ok(arguments.operation.iter().map(row).collect())
}

fn count_one(arguments: &Arguments, operation: Operation, keys: usize) -> Result<f64, CallgrindError> {
    let name = format!("callgrind.popmap.{}.{keys}", operation.name());
    let profile = match &arguments.profiles {
        Some(directory) => directory.join(name),
        None => std::env::temp_dir().join(format!("{name}.{}", std::process::id())),
    };
    let child = ["--child".into(), format!("--keys={keys}"), format!("--operation={}", operation.name())];
    let total = run_self(&child, &profile);
    if arguments.profiles.is_none() {
        // It may not even have come to be.
        let _ = std::fs::remove_file(&profile);
    }
    Ok(total? as f64 / (ROUNDS * operation.per_round() as u64) as f64)
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

fn verdict(arguments: &Arguments, rows: &[Row]) -> ExitCode {
    if arguments.time {
        return ExitCode::SUCCESS;
    }
    let mut code = ExitCode::SUCCESS;
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
