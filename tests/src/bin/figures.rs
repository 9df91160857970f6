//! The figures' command line: names in, files out.
//!
//! Knows arguments, files and progress. Must not know what a figure measures.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use popmap_tests::figures::{Figure, Options, page};

/// Measures the figures of popmap's documentation on real nodes in virtual time, and draws them.
///
/// Writes charts (SVG) and numbers (CSV) into DIR/figures and the tables into DIR/figures.md. The same seed and size give the
/// same bytes. The exit code is 0 when all were written, 1 when one was not, 2 for a bad command line.
#[derive(Parser, Debug)]
#[command(name = "figures", version, max_term_width = 100, after_help = names())]
struct Args {
    /// The figures to make [default: all but hours and overloaded]
    #[arg(value_name = "NAME", value_parser = figure)]
    figures: Vec<Figure>,

    /// Where to write [default: core/docs of this source tree]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// The same figures at the least size, in seconds: to see that they work
    #[arg(long)]
    quick: bool,

    /// What everything is drawn from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Hours to simulate for hours and overloaded, each with a seed of its own, counted from --seed; those that their files
    /// have are not done again
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    hours: u64,

    /// Runs at a time [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_024))]
    threads: Option<u16>,
}

fn figure(name: &str) -> Result<Figure, String> {
    let known = || Figure::ALL.map(|figure| figure.name).join(", ");
    Figure::named(name).ok_or_else(|| format!("no such figure; there are {}", known()))
}

fn names() -> String {
    Figure::ALL
        .iter()
        .fold("Figures:".to_owned(), |text, figure| format!("{text}\n  {:12} {}", figure.name, figure.about))
}

fn main() -> ExitCode {
    let args = Args::parse();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let out = args.out.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/docs"));
    let options = Options {
        quick: args.quick,
        seed: args.seed,
        threads: args.threads.map_or(cores, usize::from),
        hours: args.hours,
        out,
        tell: |text| eprintln!("{text}"),
    };
    let all = || Figure::ALL.into_iter().filter(|figure| !figure.long).collect();
    let figures: Vec<_> = if args.figures.is_empty() { all() } else { args.figures };
    for figure in figures {
        let written = (figure.draw)(&options).and_then(|drawn| page::write(&options.out, &figure, &drawn));
        if let Err(error) = written {
            eprintln!("{}: {error}", figure.name);
            return ExitCode::FAILURE;
        }
        println!("{}: written", figure.name);
    }
    ExitCode::SUCCESS
}
