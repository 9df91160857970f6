//! Shows that the work on one packet does not grow with the map: instruction counts at 1,000 to 1,000,000 keys. And that no
//! record is copied on its way from a device's memory into the map: what the way adds does not grow with the records. And,
//! held against a file, that none of these counts, nor those of single kernels, has grown from one change to the next.
//!
//! Each count comes from a child process under callgrind, so it is the same on a busy machine. Fails when the counts of
//! an operation at different sizes are further apart than [`BOUND`], when a way adds more than it may, or when a figure
//! is more than the file allows.

#![forbid(unsafe_code)]

mod baseline;
mod cases;
mod ways;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use baseline::{Baseline, Comparison, Figure, TOLERANCE};
use cases::{Case, Counted};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use popmap_bench::clock::Times;
use popmap_bench::kernels::Kernel;
use popmap_bench::pair::{Operation, Pair, RECORDS};
use popmap_bench::paths::Way;
use popmap_core::limits::{CAPACITY_MAX, PAYLOAD_DEFAULT, RESERVE_DIVISOR, VALUE_DEFAULT};
use ways::Ways;

/// How far apart the greatest and the least count of an operation may be: their ratio.
const BOUND: f64 = 1.3;
/// Rounds whose median is a time.
const TIMED_ROUNDS: usize = 1_000;
/// The most keys that a map has room for beside its reserve.
const KEYS_MAX: usize = CAPACITY_MAX - CAPACITY_MAX / RESERVE_DIVISOR;
/// The sizes of a full run.
const KEYS: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// Counts the instructions of building and merging one full delta packet, and of a lookup, in maps of different sizes; of
/// a packet's ways into the map; and of single kernels.
///
/// Counts everything, or with --operation, --way or --kernel only what these name.
///
/// Exits with 1 when the counts of an operation at different sizes are more than a factor of 1.3 apart, when a way
/// adds more to the node's own work than it may, or more for many records than for one, or when a figure has grown by
/// more than 3 % since the baseline was written.
#[derive(Parser)]
#[command(name = "instructions", version)]
struct Arguments {
    /// Sizes of the map, in keys
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = KEYS)]
    keys: Vec<usize>,
    /// Operations to count
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_enum)]
    operation: Vec<Operation>,
    /// Ways into the map to count; `handle`, which the others are compared with, is always among them
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_enum)]
    way: Vec<Way>,
    /// Kernels to count
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_enum)]
    kernel: Vec<Kernel>,
    /// Fail when a figure is more than 3 % above that in this file, or one of the two is missing; compares nothing when
    /// the file was written by another compiler or for another level of CPU
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write everything that was counted into this file, whatever --baseline finds
    #[arg(long, value_name = "FILE", conflicts_with_all = ["keys", "operation", "way", "kernel"])]
    write_baseline: Option<PathBuf>,
    /// Print one JSON object a row instead of a table
    #[arg(long)]
    json: bool,
    /// Measure nanoseconds of the operations without valgrind, for orientation: compare within a run only; nothing is
    /// asserted
    #[arg(long, conflicts_with_all = ["way", "kernel", "baseline", "write_baseline"])]
    time: bool,
    /// Keep callgrind's files in this directory, for callgrind_annotate
    #[arg(long, value_name = "DIRECTORY")]
    profiles: Option<PathBuf>,
    /// The child under callgrind: does one case and prints nothing
    #[arg(long, hide = true)]
    child: bool,
    /// The child's case is a way with packets of so many records
    #[arg(long, hide = true, value_name = "N", default_value_t = RECORDS)]
    records: usize,
    /// Have the kernels do so many per cent more work, to see that --baseline finds it
    #[arg(long, hide = true, value_name = "PERCENT", default_value_t = 0, requires = "kernel")]
    slow: usize,
}

impl Arguments {
    fn read() -> Self {
        let mut arguments = Self::parse();
        if let Some(keys) = arguments.keys.iter().find(|keys| !(RECORDS..=KEYS_MAX).contains(keys)) {
            refuse(&format!("--keys: {keys} given; {RECORDS} to {KEYS_MAX} are possible"));
        }
        if cfg!(debug_assertions) && (arguments.baseline.is_some() || arguments.write_baseline.is_some()) {
            refuse("--baseline and --write-baseline are for builds with --release: others count much more");
        }
        let Self { operation, way, kernel, child, .. } = &mut arguments;
        if operation.is_empty() && way.is_empty() && kernel.is_empty() {
            (*operation, *way, *kernel) = (Operation::ALL.to_vec(), Way::ALL.to_vec(), Kernel::ALL.to_vec());
        }
        if !*child && !way.is_empty() && !way.contains(&Way::Handle) {
            way.insert(0, Way::Handle);
        }
        arguments
    }

    /// Whether nothing is left out of what a full run counts.
    fn everything(&self) -> bool {
        KEYS.iter().all(|keys| self.keys.contains(keys))
            && Operation::ALL.iter().all(|operation| self.operation.contains(operation))
            && Way::ALL.iter().all(|way| self.way.contains(way))
            && Kernel::ALL.iter().all(|kernel| self.kernel.contains(kernel))
    }
}

fn refuse(why: &str) -> ! {
    Arguments::command().error(ErrorKind::ValueValidation, why).exit()
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

/// What a run has found.
#[derive(Default)]
struct Results {
    rows: Vec<Row>,
    ways: Ways,
    kernels: Vec<(Kernel, f64)>,
}

impl Results {
    fn new(arguments: &Arguments, counted: &Counted) -> Self {
        let row = |&operation: &Operation| Row {
            operation,
            figures: arguments
                .keys
                .iter()
                .map(|&keys| counted.of(Case::Operation(operation, keys)))
                .collect(),
        };
        let kernel = |&kernel: &Kernel| (kernel, counted.of(Case::Kernel(kernel)));
        Self {
            rows: arguments.operation.iter().map(row).collect(),
            ways: Ways::new(&arguments.way, |way, records| counted.of(Case::Way(way, records))),
            kernels: arguments.kernel.iter().map(kernel).collect(),
        }
    }

    /// Returns every count under its name in a baseline.
    fn figures(&self, arguments: &Arguments) -> Vec<Figure> {
        let mut figures = Vec::new();
        for Row { operation, figures: counts } in &self.rows {
            figures.extend(arguments.keys.iter().zip(counts).map(|(keys, &instructions)| Figure {
                name: format!("{}/{keys}", operation.name()),
                instructions,
            }));
        }
        figures.extend(self.ways.figures());
        let kernel =
            |&(kernel, instructions): &(Kernel, f64)| Figure { name: kernel.name().into(), instructions };
        figures.extend(self.kernels.iter().map(kernel));
        figures
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::read();
    if arguments.child {
        cases::work(&arguments);
        return ExitCode::SUCCESS;
    }
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let of = |path: &Path| format!("{}: ", path.display());
    // Before what takes minutes.
    let baseline = match &arguments.baseline {
        Some(path) => Some((path, Baseline::read(path).map_err(|error| of(path) + &error.to_string())?)),
        None => None,
    };
    if arguments.time {
        print(arguments, &time(arguments));
        return Ok(ExitCode::SUCCESS);
    }
    let counted = cases::count(arguments).map_err(|error| error.to_string())?;
    let results = Results::new(arguments, &counted);
    print(arguments, &results.rows);
    results.ways.print(arguments.json);
    print_kernels(&results.kernels, arguments.json);

    let mut good = is_good(&results);
    let now = Baseline::new(results.figures(arguments));
    if let Some((path, baseline)) = baseline {
        good &= has_not_grown(path, &baseline.compare(&now, arguments.everything()));
    }
    if let Some(path) = &arguments.write_baseline {
        now.write(path).map_err(|error| of(path) + &error.to_string())?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
    if rows.is_empty() {
        return;
    }
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

fn print_kernels(kernels: &[(Kernel, f64)], json: bool) {
    if !json && !kernels.is_empty() {
        println!("\ninstructions of single kernels");
    }
    for &(kernel, count) in kernels {
        let (name, unit) = (kernel.name(), kernel.unit());
        if json {
            println!(r#"{{"kernel":"{name}","unit":"{unit}","instructions":{count:.1}}}"#);
        } else {
            println!("{:24}{count:>10.1}", format!("{name}, a {unit}"));
        }
    }
}

/// Says what is not as it must be, whatever it was before.
fn is_good(results: &Results) -> bool {
    let mut complaints = results.ways.complaints();
    for row in results.rows.iter().filter(|row| !row.is_flat()) {
        let (name, spread) = (row.operation.name(), row.spread());
        complaints.push(format!("{name} depends on the size of the map: {spread:.2} apart, {BOUND} allowed"));
    }
    complaints.iter().for_each(|complaint| eprintln!("instructions: {complaint}"));
    complaints.is_empty()
}

/// Says how the figures compare with those of the baseline.
fn has_not_grown(path: &Path, comparison: &Comparison) -> bool {
    let path = path.display();
    match comparison {
        Comparison::NotComparable(why) => {
            eprintln!("instructions: NOT COMPARED with {path}: {why}");
            true
        }
        Comparison::Compared { complaints, shrunk } => {
            for line in complaints.iter().chain(shrunk) {
                eprintln!("instructions: {path}: {line}");
            }
            if complaints.is_empty() {
                eprintln!("instructions: {path}: no figure has grown by more than {TOLERANCE} %");
            }
            if !shrunk.is_empty() {
                eprintln!("instructions: {path}: out of date; --write-baseline renews it");
            }
            complaints.is_empty()
        }
    }
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
