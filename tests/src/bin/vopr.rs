//! The simulator's command line: seeds in, one line of findings out.
//!
//! Knows arguments, threads and progress. Must not know what a run does.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration as Real, Instant as Clock};

use clap::Parser;
use popmap_core::time::Duration;
use popmap_tests::vopr::{self, Failure, Options, Scenario, Seeds, Summary, Wishes};

/// Simulates whole PoPs of popmap in virtual time, with every fault at once, and checks every promise at every tick.
///
/// Real nodes with membership on, up to 64 of them, and one seed that decides everything: how many servers, which faults,
/// what is written, every packet's fate. Safety is checked after every packet, timer and write; then the faults end, and
/// the servers must become equal within a bound. A seed that fails prints the violation, what happened last, and the line
/// that replays it. The exit code is 0 when every seed held, 1 when one did not, 2 for a bad command line or file.
#[derive(Parser, Debug)]
#[command(name = "vopr", version, max_term_width = 100)]
struct Args {
    /// Run one seed, and print what it did
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    seed: Option<u64>,

    /// Run the seeds from A to before B, on all cores [default: 0..64]
    #[arg(long, value_name = "A..B")]
    seeds: Option<Seeds>,

    /// The kind of run
    #[arg(long, value_name = "NAME", default_value = "full", value_parser = scenario)]
    scenario: Scenario,

    /// Servers, whatever the seed says: 2 to 64
    #[arg(long, value_name = "N", value_parser = servers)]
    servers: Option<usize>,

    /// How long faults and writes go on in virtual time, whatever the seed says, in seconds: 1 to 100,000, fractions too
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    seconds: Option<Duration>,

    /// Authenticate packets, each server with a key of its own slot
    #[arg(long)]
    key: bool,

    /// Write the seed's packets to this file, for Wireshark; also when the seed fails
    #[arg(long, value_name = "FILE", requires = "seed")]
    pcap: Option<PathBuf>,

    /// Threads [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_024))]
    threads: Option<u16>,

    /// Stop after so many seeds that fail
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    failures: u64,

    /// Lines that are printed of what happened last before a violation: 1 to 2,000
    #[arg(long, value_name = "N", default_value_t = vopr::run::LINES as u64, value_parser = clap::value_parser!(u64).range(1..=2_000))]
    lines: u64,

    /// Break one rule in every node, by its name in core/src/teeth.rs: some seed should fail
    #[cfg(popmap_teeth)]
    #[arg(long, value_name = "NAME", value_parser = tooth)]
    tooth: Option<popmap_core::Tooth>,
}

fn scenario(text: &str) -> Result<Scenario, String> {
    Scenario::named(text).ok_or_else(|| {
        let names: Vec<_> = Scenario::ALL.iter().map(|scenario| scenario.name()).collect();
        format!("{text:?} is no kind of run; there are {}", names.join(", "))
    })
}

fn servers(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (2..=64).contains(number));
    number.ok_or_else(|| format!("{text:?} is no number from 2 to 64"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (1.0..=100_000.0).contains(seconds));
    let seconds = seconds.ok_or_else(|| format!("{text:?} is no number from 1 to 100,000"))?;
    Ok(Duration((seconds * 1e9) as u64))
}

#[cfg(popmap_teeth)]
fn tooth(text: &str) -> Result<popmap_core::Tooth, String> {
    let all = popmap_core::Tooth::ALL;
    all.iter().copied().find(|tooth| format!("{tooth:?}") == text).ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|tooth| format!("{tooth:?}")).collect();
        format!("{text:?} is no rule to break; there are {}", names.join(", "))
    })
}

impl Args {
    fn options(&self) -> Options {
        Options {
            lines: self.lines as usize,
            wishes: Wishes { servers: self.servers, span: self.seconds, keyed: self.key },
            #[cfg(popmap_teeth)]
            tooth: self.tooth,
            ..Options::of(self.scenario)
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let options = args.options();
    // A panic of the code under test is a finding with a seed; its message is told with that.
    std::panic::set_hook(Box::new(|_| {}));
    match args.seed {
        Some(seed) => run_one(seed, &options, &args),
        None => {
            let seeds = args.seeds.clone().map_or(0..64, |seeds| seeds.0);
            run_all(seeds, &options, &args)
        }
    }
}

fn run_one(seed: u64, options: &Options, args: &Args) -> ExitCode {
    let started = Clock::now();
    let result = vopr::run(seed, options);
    println!("plan: {}", vopr::Plan::draw(seed, options.scenario, options.wishes));
    if let Some(path) = &args.pcap {
        match vopr::capture(seed, options, path) {
            Ok(packets) => println!("{packets} packets in {}", path.display()),
            Err(error) => {
                eprintln!("--pcap {}: {error}", path.display());
                return ExitCode::from(2);
            }
        }
    }
    match result {
        Ok(summary) => {
            let mut all = Totals::default();
            all.add(seed, &summary, started.elapsed());
            println!("{all}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// What many seeds did.
#[derive(Default)]
struct Totals {
    seeds: u64,
    large: u64,
    busy: Real,
    slowest: (Real, u64),
    writes: u64,
    packets: u64,
    covered: u64,
    excused: u64,
    mends: (u64, u64),
    waived: u64,
    sweeps: u64,
    virtual_s: f64,
    /// The largest part of each bound that was used, and by which seed.
    used: [(f64, u64); 3],
}

impl Totals {
    fn add(&mut self, seed: u64, summary: &Summary, took: Real) {
        self.seeds += 1;
        self.large += u64::from(summary.servers == 64);
        self.busy += took;
        self.slowest = self.slowest.max((took, seed));
        self.writes += summary.history;
        self.packets += summary.traffic.sent;
        self.covered += summary.looked.covered;
        self.excused += summary.looked.excused;
        self.mends.0 += summary.looked.mends;
        self.mends.1 += summary.looked.mends_forgotten;
        self.waived += u64::from(summary.waived_keys > 0);
        self.sweeps += summary.looked.sweeps;
        self.virtual_s += summary.span.as_millis() as f64 / 1e3;
        let Some(bounds) = summary.took.bounds else { return };
        let took = [summary.took.agreed, summary.took.equal, summary.took.rest];
        for (used, (took, bound)) in
            self.used.iter_mut().zip(took.into_iter().zip([bounds.agreed, bounds.equal, bounds.rest]))
        {
            let part = took.0 as f64 / bound.0 as f64;
            if part > used.0 {
                *used = (part, seed);
            }
        }
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [agreed, equal, rest] =
            self.used.map(|(part, seed)| format!("{:.0} % (seed {seed})", part * 100.0));
        writeln!(
            f,
            "{} seeds held, {} with 64 servers: {:.0} virtual s, {} writes, {} packets; {:.1} s on a core, the slowest {:.1} s (seed {})",
            self.seeds,
            self.large,
            self.virtual_s,
            self.writes,
            self.packets,
            self.busy.as_secs_f64(),
            self.slowest.0.as_secs_f64(),
            self.slowest.1
        )?;
        writeln!(
            f,
            "{} covered writes held against tables, {} of them waived, in {} seeds; {} full sweeps; {} mends, {} of a cause \
             that only the history knew",
            self.covered, self.excused, self.waived, self.sweeps, self.mends.0, self.mends.1
        )?;
        write!(f, "most of a bound used: agreed {agreed}, equal {equal}, at rest {rest}")
    }
}

fn run_all(seeds: std::ops::Range<u64>, options: &Options, args: &Args) -> ExitCode {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = args.threads.map_or(cores, usize::from);
    let (next, stop) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let (results, arrived) = mpsc::channel();
    let (mut totals, mut failed, started) = (Totals::default(), 0, Clock::now());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (results, next, stop, end) = (results.clone(), &next, &stop, seeds.end);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let began = Clock::now();
                    let result = vopr::run(seed, options);
                    if results.send((seed, result, began.elapsed())).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        let mut told = Clock::now();
        let count = seeds.end - seeds.start;
        loop {
            match arrived.recv_timeout(Real::from_secs(1)) {
                Ok((seed, Ok(summary), took)) => totals.add(seed, &summary, took),
                Ok((_, Err(failure), _)) => {
                    failed += 1;
                    tell(&failure);
                    if failed >= args.failures {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if told.elapsed() > Real::from_secs(5) {
                told = Clock::now();
                let (done, seconds) = (totals.seeds + failed, started.elapsed().as_secs_f64());
                let left = seconds / done.max(1) as f64 * (count - done) as f64;
                eprintln!("{done} of {count} seeds, {failed} failed, {seconds:.0} s, {left:.0} s left");
            }
        }
    });
    println!("{totals}");
    if failed == 0 {
        return ExitCode::SUCCESS;
    }
    println!("{failed} seeds failed");
    ExitCode::FAILURE
}

fn tell(failure: &Failure) {
    println!("---- FAILED {failure}\n");
}
