//! The main job: one point of presence, from first contact to convergence.
//!
//! Up to 64 real nodes share the health of 50,000 origins while packets are lost, origins fail, a server dies and comes
//! back empty, and the PoP is cut in two and healed. Threads of a data plane look origins up all along. See `--help`.
//!
//! | file | knows |
//! |---|---|
//! | `health` | the record: 24 bytes through the typed view |
//! | `fleet` | the origins, and the truth about them |
//! | `checker` | which origin a server checks next |
//! | `pop`, `storage` | the servers: node, checker and loop, over the in-memory network; their memory |
//! | `propagation` | how long until a write is known everywhere |
//! | `dataplane` | the readers |
//! | `story` | what happens, in phases |
//! | `stage`, `view` | time moving on, and what is seen of it |
//! | `measure`, `report` | counters and times; the table, JSON and verdict |

#![forbid(unsafe_code)]

mod args;
mod checker;
mod dataplane;
mod fleet;
mod health;
mod measure;
mod pop;
mod propagation;
mod report;
mod stage;
mod storage;
mod story;
mod view;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use clap::Parser;
use popmap_core::Slot;
use popmap_io::memory::Faults;

use args::Args;
use dataplane::{Board, Seen};
use fleet::Fleet;
use health::Health;
use measure::Stopwatch;
use pop::Pop;
use report::Report;
use stage::{Stage, Stop};
use storage::Storage;
use story::Pace;
use view::{View, count};

/// Lives that one story needs beside the first of each server: one server returns.
const EXTRA_LIVES: usize = 1;
/// Wall time that the data plane reads at least.
const READ_FOR: Duration = Duration::from_millis(500);
/// The server whose map the data plane reads. It is never killed.
const READ_AT: Slot = Slot::at(0);

/// Exit code after Ctrl-C, as of a program that the signal ends.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(report) if report.is_good() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(Stop::Interrupted) => {
            eprintln!("interrupted");
            ExitCode::from(INTERRUPTED)
        }
        // Whoever read our output has had enough of it.
        Err(Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(stop) => {
            eprintln!("error: {stop}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<Report, Stop> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted)).map_err(Stop::Signal)?;
    }
    let stopwatch = Stopwatch::calibrate();
    let keys = fleet::keys(args.keys());
    let mut storage = Storage::new(args.servers() + EXTRA_LIVES, keys.len());
    let board = Board::default();
    let readers = thread::available_parallelism().map_or(1, |n| n.get().saturating_sub(1).clamp(1, 2));

    let faults = Faults { loss_ppm: args.loss_ppm(), ..Faults::default() };
    let fleet = Fleet::new(&keys, args.seed);
    let pop = Pop::start(&mut storage, args.servers(), fleet, faults, args.seed, stopwatch)?;
    let reader = pop.reader(READ_AT)?;
    let mut stage = Stage::new(pop, View::new(args.plain)?, &board, &interrupted);
    introduce(&mut stage, args, readers)?;

    let mut report = Report {
        servers: args.servers(),
        keys: keys.len(),
        map_bytes: 8 * Storage::words(keys.len()),
        ..Report::default()
    };
    let pace = Pace { intervals: if args.quick { 1 } else { 3 } };
    report.reads = thread::scope(|scope| {
        // However the story ends, even by a panic: the workers must end with it.
        let ending = board.ending();
        let start = |n: u64| {
            let (keys, board) = (&keys, &board);
            let named = thread::Builder::new().name(format!("dataplane-{n}"));
            named.spawn_scoped(scope, move || dataplane::work(reader, keys, board, n, stopwatch))
        };
        let workers = (0..readers as u64).map(start).collect::<io::Result<Vec<_>>>().map_err(Stop::Thread)?;
        story::play(&mut stage, pace, &mut report)?;
        // A story of few origins is over before the workers have got going.
        thread::sleep(READ_FOR.saturating_sub(stage.elapsed()));
        drop(ending);
        let seen = workers.into_iter().map(|worker| worker.join().expect("a reader does not panic"));
        Ok::<_, Stop>(seen.reduce(Seen::together))
    })?;
    report.judge();
    conclude(&mut stage, args, &report)?;
    Ok(report)
}

fn introduce(stage: &mut Stage<'_, '_>, args: &Args, readers: usize) -> Result<(), Stop> {
    let (servers, keys, loss) = (args.servers(), count(args.keys(), "origin"), args.loss_percent());
    let threads = if readers == 1 { "one thread looks origins up" } else { "two threads look origins up" };
    let bytes = size_of::<Health>();
    let seed = args.seed;
    stage.line(&format!("popmap: {servers} servers, {keys}, {loss} % of all packets lost, seed {seed}"))?;
    stage.paragraph(
        "Delays, traffic and convergence are in virtual time: the network is in memory, 0.1 to 0.2 ms one way. Merging \
         and lookups are the real code, timed by the wall clock: figures marked * are, and a busy machine shows in them.",
    )?;
    stage.paragraph(&format!(
        "All along {threads} in the map of {READ_AT}, flat out; each {bytes}-byte record proves itself whole."
    ))
}

fn conclude(stage: &mut Stage<'_, '_>, args: &Args, report: &Report) -> Result<(), Stop> {
    stage.end_block()?;
    stage.line("")?;
    stage.line("measured (in virtual time; * by the wall clock; traffic both ways, with headers)")?;
    for row in report.table() {
        stage.line(&row)?;
    }
    stage.line("")?;
    for failure in &report.failures {
        stage.line(&format!("FAILED: {failure}"))?;
    }
    stage.line(&format!("converged: {}", report.converged))?;
    if args.json {
        stage.line(&report.json())?;
    }
    Ok(())
}
