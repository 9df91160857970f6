//! The main job: one point of presence, from first contact to convergence, over real sockets.
//!
//! Up to 64 servers share the health of 50,000 origins while origins fail, servers die and come back empty, the PoP is cut
//! in two and healed, and packets are lost. Threads of a data plane look origins up all along. See `--help`.
//!
//! | file | knows |
//! |---|---|
//! | `origins`, `fleet` | which origins there are; the servers that answer for them over HTTP |
//! | `health` | the record: 24 bytes through the typed view |
//! | `assignment`, `schedule`, `prober` | what a server owns, when it checks it, and how |
//! | `live` | the servers: a driver with a UDP socket, and checks, on a thread each |
//! | `world`, `propagation` | what all of them share, and the books that are kept on them |
//! | `dataplane` | the readers |
//! | `story` | what happens, in phases |
//! | `simulated` | the servers again, in virtual time |
//! | `stage`, `panel`, `view` | what is told, and what is seen of it |
//! | `measure`, `report`, `layout` | counters and times; the verdict; table and JSON |

#![forbid(unsafe_code)]

mod args;
mod assignment;
mod dataplane;
mod fleet;
mod health;
mod layout;
mod live;
mod measure;
mod origins;
mod panel;
mod prober;
mod propagation;
mod report;
mod schedule;
mod simulated;
mod stage;
mod stop;
mod storage;
mod story;
mod view;
mod world;

use std::fs::File;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use clap::Parser;
use popmap_io::{Pcap, wall_clock};

use args::Args;
use dataplane::{Board, Seen};
use fleet::Fleet;
use health::Health;
use live::{Pop, Setup};
use measure::{Clock, Stopwatch};
use origins::Origin;
use report::Report;
use schedule::Calendar;
use stage::Stage;
use stop::Stop;
use storage::Storage;
use story::{Pace, READ_AT, Story};
use view::{View, count};
use world::World;

/// Servers killed one after another, in the long story and in the quick one.
const KILLS: [usize; 2] = [10, 3];
/// Intervals of steady state.
const INTERVALS: u64 = 3;
/// Files that a run at full size has open at most, sockets among them.
const FILES: u64 = 8_192;

/// Exit codes: a file that is no good, as for a bad command line; and Ctrl-C, as of a program that the signal ends.
const BAD_FILE: u8 = 2;
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
        Err(stop @ (Stop::Origins(_) | Stop::Capture(..))) => {
            eprintln!("error: {stop}");
            ExitCode::from(BAD_FILE)
        }
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
    raise_file_limit();
    let stopwatch = Stopwatch::calibrate();
    let origins: Arc<[Origin]> = match &args.origins {
        Some(file) => origins::read(file).map_err(Stop::Origins)?,
        None => origins::generated(args.keys()),
    }
    .into();
    let pcap = args.pcap.as_ref().map(|path| {
        let failed = |error| Stop::Capture(path.clone(), error);
        File::create(path).and_then(|file| Pcap::new(file, wall_clock)).map_err(failed)
    });
    let pcap = pcap.transpose()?;
    let kills = KILLS[usize::from(args.quick)];
    let mut report = Report {
        servers: args.servers(),
        keys: origins.len(),
        interval_s: args.interval().as_millis() as f64 / 1e3,
        loss_ppm: args.loss_ppm(),
        map_bytes: 8 * Storage::words(origins.len()),
        ..Report::default()
    };
    let mut stage = Stage::new(View::new(args.plain)?, &interrupted);
    introduce(&mut stage, args, origins.len())?;
    {
        let clock = Clock::start();
        let calendar = Calendar::new(origins.len(), args.interval(), args.seed);
        let fleet = Fleet::start(Arc::clone(&origins), clock.epoch).map_err(Stop::Fleet)?;
        let world = World::new(clock, Arc::clone(&origins), calendar, fleet);
        let mut storage = Storage::new(args.servers() + kills, origins.len());
        let setup = Setup {
            servers: args.servers(),
            loss_ppm: args.loss_ppm(),
            seed: args.seed,
            pcap: pcap.clone(),
            stopwatch,
        };
        let pace = Pace { intervals: INTERVALS, kills, loss_ppm: args.loss_ppm() };
        play(&mut stage, &world, &mut storage, setup, pace, &mut report)?;
    }
    if let Some((pcap, path)) = pcap.zip(args.pcap.as_ref()) {
        let packets = pcap.finish().map_err(|error| Stop::Capture(path.clone(), error))?;
        stage.say(format_args!("{} in {}", count(packets as usize, "packet"), path.display()))?;
    }
    let keys: Arc<[popmap_core::Key]> = origins.iter().map(|origin| origin.key).collect();
    report.simulated = Some(simulated::play(&mut stage, args, &keys, stopwatch, &mut report)?);
    report.wall_s = stage.elapsed().as_secs_f64();
    report.judge();
    conclude(&mut stage, args, &report)?;
    Ok(report)
}

/// Plays the story over UDP, with the data plane beside it.
fn play<'env>(
    stage: &mut Stage<'_>,
    world: &'env World,
    storage: &'env mut Storage,
    setup: Setup,
    pace: Pace,
    report: &mut Report,
) -> Result<(), Stop> {
    let (board, stopwatch, seed) = (&Board::default(), setup.stopwatch, setup.seed);
    thread::scope(|scope| {
        let pop = Pop::start(scope, world, storage.iter_mut(), setup)?;
        // However the story ends, even by a panic: the workers must end with it.
        let ending = board.ending();
        let reader = live::typed(pop.reader(READ_AT).expect("it has just been started"));
        let worker = thread::Builder::new().name("dataplane".into());
        let worker = worker
            .spawn_scoped(scope, move || dataplane::work(reader, &world.keys, board, seed, stopwatch))
            .map_err(Stop::Thread)?;
        Story::new(stage, pop, board, report, pace).play()?;
        drop(ending);
        report.reads =
            Some(worker.join().expect("a reader does not panic")).filter(|seen: &Seen| seen.lookups > 0);
        Ok(())
    })
}

/// Raises the limit of open files as far as we need and may. Where that is too low for a check, the check is put off.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(FILES, |most| most.min(FILES));
    if limit.current.is_some_and(|now| now < wanted) {
        limit.current = Some(wanted);
        // Refused: then as before.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

fn introduce(stage: &mut Stage<'_>, args: &Args, origins: usize) -> Result<(), Stop> {
    let (servers, origins, loss, seed) =
        (args.servers(), count(origins, "origin"), args.loss_percent(), args.seed);
    let interval = args.interval().as_millis() as f64 / 1e3;
    stage.line(&format!(
        "popmap: {servers} servers, {origins}, each checked every {interval} s, {loss} % of packets lost, seed {seed}"
    ))?;
    stage.paragraph(&format!(
        "Each server has a UDP socket, a gossip thread and a thread of HTTP checks; the origins answer on addresses of \
         127.0.0.0/8. A thread of a data plane looks origins up in the map of {READ_AT} all along, at the lowest priority; \
         each {}-byte record proves itself whole. At full size this takes about three minutes.",
        size_of::<Health>()
    ))
}

fn conclude(stage: &mut Stage<'_>, args: &Args, report: &Report) -> Result<(), Stop> {
    stage.end_block()?;
    stage.line("")?;
    for row in layout::table(report) {
        stage.line(&row)?;
    }
    stage.line("")?;
    for missed in &report.missed {
        stage.line(&format!("slower here than it should be: {missed}"))?;
    }
    for failure in &report.failures {
        stage.line(&format!("FAILED: {failure}"))?;
    }
    stage.line(&format!("converged: {}", report.converged))?;
    if args.json {
        stage.line(&layout::json(report))?;
    }
    Ok(())
}
