//! One run: from a seed to what came of it.
//!
//! Knows the phases of a run, and how a failure is told. Must not know any property.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use popmap_core::time::{Duration, Instant};

use super::capture::Capture;
use super::checks::Looked;
use super::network::Traffic;
use super::plan::{Plan, Wishes};
use super::scenario::Scenario;
use super::settle::{Took, span_of};
use super::trace::{Focus, Trace};
use super::violation::{Rule, Violation};
use super::workload::{Writes, keys};
use super::world::{CLUSTER, Memory, World, shape};

/// Full sweeps while faults are at work.
const SWEEPS: u64 = 4;
/// Writes begin when servers usually have started.
const FIRST_WRITE: Instant = Instant::from_millis(1_200);
/// Lines of a trace that are printed, unless more are asked for.
pub const LINES: usize = 60;

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The kind of run.
    pub scenario: Scenario,
    /// What the command line asks for beside the seed.
    pub wishes: Wishes,
    /// Lines of a trace that are told.
    pub lines: usize,
    /// A rule that every node breaks.
    #[cfg(popmap_teeth)]
    pub tooth: Option<popmap_core::Tooth>,
}

impl Options {
    /// A run of this kind with nothing else asked for.
    pub fn of(scenario: Scenario) -> Self {
        Self {
            scenario,
            wishes: Wishes::default(),
            lines: LINES,
            #[cfg(popmap_teeth)]
            tooth: None,
        }
    }
}

/// What a run did.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Servers.
    pub servers: usize,
    /// Writes made by the workload.
    pub writes: u64,
    /// Writes refused: nobody there, starting, fenced, full.
    pub refused: u64,
    /// Writes in the history, those that the protocol itself makes among them.
    pub history: u64,
    /// Keys with a waived write.
    pub waived_keys: u64,
    /// Kinds of fault.
    pub kinds: u64,
    /// Packets.
    pub traffic: Traffic,
    /// What was looked at.
    pub looked: Looked,
    /// How long it took to become equal.
    pub took: Took,
    /// Virtual time in all.
    pub span: Duration,
    /// A hash of what all servers hold in the end, and of what was carried: equal for equal runs.
    pub hash: u64,
}

/// A run that ended in a violation.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What was violated.
    pub violation: Violation,
    /// What the seed means.
    pub plan: String,
    /// The command that replays it.
    pub replay: String,
    /// What happened last.
    pub trace: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {}", self.seed, self.violation)?;
        writeln!(f, "plan: {}", self.plan)?;
        writeln!(f, "replay: {}", self.replay)?;
        write!(f, "what happened last:\n{}", self.trace)
    }
}

/// Runs a seed; when that ends in a violation, runs it once more with an eye on what is concerned.
///
/// # Errors
/// The violation, with how it came about.
pub fn run(seed: u64, options: &Options) -> Result<Summary, Box<Failure>> {
    let plan = Plan::draw(seed, options.scenario, options.wishes);
    let (result, _) = run_once(&plan, options, None, None);
    let violation = match result {
        Ok(summary) => return Ok(summary),
        Err(violation) => violation,
    };
    let key = violation.key.map(|key| keys(&plan)[key as usize]);
    let focus = Focus { key, server: violation.server };
    let (again, trace) = run_once(&plan, options, Some(focus), None);
    let violation = match again {
        Err(again) if again.rule == violation.rule => again,
        other => Violation { text: format!("{} (and another time {other:?})", violation.text), ..violation },
    };
    Err(Box::new(Failure {
        seed,
        violation,
        plan: plan.to_string(),
        replay: replay(seed, options),
        trace: trace.text(options.lines),
    }))
}

/// Runs a seed and writes its traffic to a file, for a seed that failed too. Returns the packets in the file.
///
/// # Errors
/// The file's.
pub fn capture(seed: u64, options: &Options, path: &Path) -> io::Result<u64> {
    let plan = Plan::draw(seed, options.scenario, options.wishes);
    let capture = Capture::create(path)?;
    // Whatever comes of it, it was told by the run before.
    let _ = run_once(&plan, options, None, Some(capture.clone()));
    capture.finish()
}

fn replay(seed: u64, options: &Options) -> String {
    let mut line = "cargo run --release -p popmap-tests --bin vopr --".to_owned();
    line += &format!(" --seed {seed}");
    if options.scenario != Scenario::Full {
        line += &format!(" --scenario {}", options.scenario);
    }
    if let Some(servers) = options.wishes.servers {
        line += &format!(" --servers {servers}");
    }
    if options.wishes.keyed {
        line += " --key";
    }
    if let Some(span) = options.wishes.span {
        line += &format!(" --seconds {}", span.as_millis() as f64 / 1e3);
    }
    #[cfg(popmap_teeth)]
    if let Some(tooth) = options.tooth {
        line = format!("RUSTFLAGS='--cfg popmap_teeth' {line} --tooth {tooth:?}");
    }
    line
}

fn run_once(
    plan: &Plan,
    options: &Options,
    focus: Option<Focus>,
    capture: Option<Capture>,
) -> (Result<Summary, Violation>, Trace) {
    if plan.servers + plan.vacant <= 8 {
        run_caught::<8>(plan, options, focus, capture)
    } else {
        run_caught::<64>(plan, options, focus, capture)
    }
}

fn run_caught<const N: usize>(
    plan: &Plan,
    options: &Options,
    focus: Option<Focus>,
    capture: Option<Capture>,
) -> (Result<Summary, Violation>, Trace) {
    let trace = Trace::new(focus, CLUSTER, shape(plan), N);
    let here = trace.clone();
    let run = AssertUnwindSafe(|| run_here::<N>(plan, options, here, capture));
    let result = catch_unwind(run).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Violation::of(Rule::Panic, text.unwrap_or_else(|| "without a message".to_owned())))
    });
    (result, trace)
}

fn run_here<const N: usize>(
    plan: &Plan,
    options: &Options,
    trace: Trace,
    capture: Option<Capture>,
) -> Result<Summary, Violation> {
    let mut memory = Memory::new::<N>(plan);
    let (first, end) = span_of(plan);
    let writes = Writes::new(plan, FIRST_WRITE.min(end), end);
    let mut world = World::<N>::new(plan, &mut memory, trace, capture, first, writes);
    #[cfg(popmap_teeth)]
    {
        world.tooth = options.tooth;
    }
    let _ = options;
    for server in 0..plan.servers {
        world.restart(server, super::plan::Generation::Kept);
    }
    let every = Duration(plan.span.0 / (SWEEPS + 1) + 1);
    world.run(end, every, |world| world.sweep().map(|()| false))?;
    world.sweep()?;
    let took = world.settle()?;
    Ok(summary(&world, took))
}

fn summary<const N: usize>(world: &World<'_, N>, took: Took) -> Summary {
    let traffic = world.network.traffic();
    let digests = world.running().map(|(_, node)| node.map().digest(0, u64::MAX));
    let hash = digests
        .chain([traffic.sent, traffic.bytes, traffic.lost])
        .fold(0u64, |hash, word| (hash.rotate_left(7) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    Summary {
        servers: world.plan.servers,
        writes: world.writes.done,
        refused: world.writes.refused,
        history: world.checks.history.len() as u64,
        waived_keys: world.checks.history.waived_keys() as u64,
        kinds: world.plan.kinds() as u64,
        traffic,
        looked: world.checks.looked,
        took,
        span: world.now().since(Instant::ZERO),
        hash,
    }
}
