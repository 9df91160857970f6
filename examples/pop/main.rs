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
//! | `plan` | what every server knows from the start |
//! | `server` | one server: a driver with a device, and checks, on a thread each |
//! | `pop`, `io` | what can be done to servers, wherever they run; what carries their packets |
//! | `threads` | all servers in this process, with UDP sockets |
//! | `processes` | each server in a process and a network namespace of its own, on any device |
//! | `world`, `propagation` | what is around the servers, and the books that are kept on them |
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
mod io;
mod layout;
mod measure;
mod origins;
mod panel;
mod plan;
mod pop;
mod prober;
mod processes;
mod propagation;
mod report;
mod schedule;
mod secret;
mod server;
mod simulated;
mod stage;
mod stop;
mod storage;
mod story;
mod threads;
mod view;
mod world;

use std::fs::File;
use std::io::ErrorKind;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use clap::Parser;
use popmap_core::Key;
use popmap_core::auth::KeyRing;
use popmap_io::{Pcap, wall_clock};

use args::Args;
use fleet::Fleet;
use health::Health;
use measure::{Clock, Stopwatch};
use origins::Origin;
use plan::Plan;
use pop::READ_AT;
use processes::{Network, Processes, enter, serve};
use report::Report;
use secret::Secret;
use stage::Stage;
use stop::Stop;
use storage::Storage;
use story::{Pace, Story};
use threads::Threads;
use view::{View, count};
use world::World;

/// Servers killed one after another, in the long story and in the quick one.
const KILLS: [usize; 2] = [10, 3];
/// Intervals of steady state.
const INTERVALS: u64 = 3;
/// Files that a run at full size has open at most, sockets among them.
const FILES: u64 = 8_192;

/// Exit codes: a file or a choice that is no good, as for a bad command line; and Ctrl-C, as of a program that the signal
/// ends.
const BAD: u8 = 2;
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    if serve::is_server() {
        raise_file_limit();
        return serve::run();
    }
    match run(&Args::parse()) {
        Ok(code) => code,
        Err(Stop::Interrupted) => {
            eprintln!("interrupted");
            ExitCode::from(INTERRUPTED)
        }
        // Whoever read our output has had enough of it.
        Err(Stop::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(stop @ (Stop::Origins(_) | Stop::Keys(_) | Stop::Capture(..) | Stop::Missing(_))) => {
            eprintln!("error: {stop}");
            ExitCode::from(BAD)
        }
        Err(stop) => {
            eprintln!("error: {stop}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<ExitCode, Stop> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted)).map_err(Stop::Signal)?;
    }
    if args.io.needs_dpdk() && !cfg!(feature = "dpdk") {
        return Err(processes::without_dpdk(args.io));
    }
    let told = play(args, &interrupted);
    // Ctrl-C reaches every process of the terminal, and what comes of that elsewhere is no news.
    if told.is_err() && interrupted.load(Ordering::Relaxed) { Err(Stop::Interrupted) } else { told }
}

fn play(args: &Args, interrupted: &Arc<AtomicBool>) -> Result<ExitCode, Stop> {
    let origins: Arc<[Origin]> = match &args.origins {
        Some(file) => origins::read(file).map_err(Stop::Origins)?,
        None => origins::generated(args.keys()),
    }
    .into();
    let secret = Secret::new(args.key.as_deref())?;
    let ring = secret.ring()?;
    if args.io.is_isolated() {
        if !enter::is_inside() {
            drop(origins);
            return enter::run(args, interrupted);
        }
        enter::end_with_outside(interrupted);
    }
    raise_file_limit();
    let report = tell(args, &origins, (secret, ring), interrupted)?;
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Tells the whole story, and concludes it.
fn tell(
    args: &Args,
    origins: &Arc<[Origin]>,
    (secret, ring): (Secret, KeyRing),
    interrupted: &AtomicBool,
) -> Result<Report, Stop> {
    let stopwatch = Stopwatch::calibrate();
    let kills = KILLS[usize::from(args.quick)];
    let mut report = Report {
        io: args.io,
        servers: args.servers(),
        keys: origins.len(),
        interval_s: args.interval().as_millis() as f64 / 1e3,
        loss_ppm: args.loss_ppm(),
        map_bytes: 8 * Storage::words(origins.len()),
        ..Report::default()
    };
    let mut stage = Stage::new(View::new(args.plain)?, interrupted);
    introduce(&mut stage, args, origins.len())?;
    {
        // Before the origins' server: it answers on the loopback interface of the namespace that it is in.
        let network = match args.io.is_isolated() {
            true => Some(Network::build(args.io, args.servers())?),
            false => None,
        };
        let clock = Clock::start();
        let fleet = Fleet::start(Arc::clone(origins), clock.epoch).map_err(Stop::Fleet)?;
        let (interval, port) = (args.interval(), fleet.port());
        let plan = Plan::new(clock, Arc::clone(origins), interval, args.seed, port, ring.clone());
        let world = &World::new(plan, fleet);
        let pace = Pace { intervals: INTERVALS, kills, loss_ppm: args.loss_ppm() };
        match network {
            Some(network) => thread::scope(|scope| {
                let pop = Processes::start(scope, world, network, in_processes(args, secret))?;
                Story::new(&mut stage, world, pop, &mut report, pace).play()
            })?,
            None => in_threads(args, &mut stage, world, kills, stopwatch, &mut report, pace)?,
        }
    }
    let keys: Arc<[Key]> = origins.iter().map(|origin| origin.key).collect();
    report.simulated = Some(simulated::play(&mut stage, args, (&keys, &ring), stopwatch, &mut report)?);
    report.wall_s = stage.elapsed().as_secs_f64();
    report.judge();
    conclude(&mut stage, args, &report)?;
    Ok(report)
}

fn in_processes(args: &Args, secret: Secret) -> processes::Settings {
    processes::Settings {
        io: args.io,
        servers: args.servers(),
        loss_ppm: args.loss_ppm(),
        seed: args.seed,
        origins: args.origins.clone(),
        secret,
        pcap: args.pcap.clone(),
    }
}

fn in_threads(
    args: &Args,
    stage: &mut Stage<'_>,
    world: &World,
    kills: usize,
    stopwatch: Stopwatch,
    report: &mut Report,
    pace: Pace,
) -> Result<(), Stop> {
    let pcap = args.pcap.as_ref().map(|path| {
        let failed = |error| Stop::Capture(path.clone(), error);
        File::create(path).and_then(|file| Pcap::new(file, wall_clock)).map_err(failed)
    });
    let pcap = pcap.transpose()?;
    let mut storage = Storage::new(args.servers() + kills, world.plan.keys.len());
    let settings = threads::Settings {
        servers: args.servers(),
        loss_ppm: args.loss_ppm(),
        seed: args.seed,
        pcap: pcap.clone(),
        stopwatch,
    };
    thread::scope(|scope| {
        let pop = Threads::start(scope, world, storage.iter_mut(), settings)?;
        Story::new(stage, world, pop, report, pace).play()
    })?;
    if let Some((pcap, path)) = pcap.zip(args.pcap.as_ref()) {
        let packets = pcap.finish().map_err(|error| Stop::Capture(path.clone(), error))?;
        stage.say(format_args!("{} in {}", count(packets as usize, "packet"), path.display()))?;
    }
    Ok(())
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
    let place = match args.io.is_isolated() {
        true => format!(
            "Each server is a process in a network namespace of its own, on a wire to a bridge, over {}, with a gossip \
             thread and a thread of HTTP checks",
            args.io.title()
        ),
        false => "Each server has a UDP socket, a gossip thread and a thread of HTTP checks".to_owned(),
    };
    stage.paragraph(&format!(
        "{place}; the origins answer on addresses of 127.0.0.0/8. A thread of a data plane looks origins up in the map of \
         {READ_AT} all along, at the lowest priority; each {}-byte record proves itself whole. Without --quick this takes \
         two to three minutes.",
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
