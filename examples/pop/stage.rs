//! The stage: moves virtual time on while it keeps the view fresh and listens for Ctrl-C.
//!
//! Knows how to wait for something and what to show meanwhile. Must not know the story.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use popmap_core::time::{Duration, Instant};
use popmap_core::{ConfigError, RemoveError};

use crate::dataplane::Board;
use crate::measure::Totals;
use crate::pop::{Pop, live_records};
use crate::view::{View, bar, grouped, wrapped};

/// Virtual time between two looks at the view and at Ctrl-C.
const STEP: Duration = Duration::from_millis(10);
/// Virtual time between two looks at what is waited for: how exact such a figure is.
const LOOK: Duration = Duration::from_millis(1);

/// Why the story ended early.
#[derive(Debug)]
pub enum Stop {
    /// Ctrl-C, or a request to terminate.
    Interrupted,
    /// Stdout is gone.
    Output(io::Error),
    /// The system does not let us listen for Ctrl-C.
    Signal(io::Error),
    /// The system does not let us start a thread for the data plane.
    Thread(io::Error),
    /// A node could not be built.
    Config(ConfigError),
    /// An owner refused to delete one of its origins.
    Delete(RemoveError),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<ConfigError> for Stop {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<RemoveError> for Stop {
    fn from(error: RemoveError) -> Self {
        Self::Delete(error)
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted => f.write_str("interrupted"),
            Self::Output(error) => write!(f, "cannot write to stdout: {error}"),
            Self::Signal(error) => write!(f, "cannot listen for Ctrl-C: {error}"),
            Self::Thread(error) => write!(f, "cannot start a thread: {error}"),
            Self::Config(error) => write!(f, "cannot build a node: {error}"),
            Self::Delete(error) => write!(f, "an owner refused to delete an origin: {error}"),
        }
    }
}

impl std::error::Error for Stop {}

/// What the last block showed, for figures per second.
struct Shown {
    wall: std::time::Instant,
    now: Instant,
    totals: Totals,
    lookups: u64,
}

/// A PoP on show.
pub struct Stage<'s, 'a> {
    /// The PoP.
    pub pop: Pop<'a>,
    /// What the data plane is told.
    pub board: &'s Board,
    view: View,
    interrupted: &'s AtomicBool,
    started: std::time::Instant,
    phase: String,
    shown: Shown,
}

impl<'s, 'a> Stage<'s, 'a> {
    /// Puts `pop` on stage.
    pub fn new(pop: Pop<'a>, view: View, board: &'s Board, interrupted: &'s AtomicBool) -> Self {
        let started = std::time::Instant::now();
        let shown = Shown { wall: started, now: Instant::ZERO, totals: Totals::default(), lookups: 0 };
        Self { pop, board, view, interrupted, started, phase: String::new(), shown }
    }

    /// Returns the wall time since the beginning.
    pub fn elapsed(&self) -> std::time::Duration {
        self.started.elapsed()
    }

    // ---- words ----

    /// Begins a phase: its name, what happens, and what to look for.
    pub fn phase(&mut self, name: &str, what: &str) -> Result<(), Stop> {
        self.phase = name.to_owned();
        self.view.line("")?;
        self.view.heading(name)?;
        for line in wrapped(what) {
            self.view.line(&format!("  {line}"))?;
        }
        self.show()
    }

    /// Tells what came of it.
    pub fn say(&mut self, what: fmt::Arguments<'_>) -> Result<(), Stop> {
        Ok(self.view.line(&format!("  -> {what}"))?)
    }

    /// Prints a paragraph.
    pub fn paragraph(&mut self, text: &str) -> Result<(), Stop> {
        wrapped(text).iter().try_for_each(|line| self.line(line))
    }

    /// Prints a line as it is.
    pub fn line(&mut self, line: &str) -> Result<(), Stop> {
        Ok(self.view.line(line)?)
    }

    /// Takes the live block away.
    pub fn end_block(&mut self) -> Result<(), Stop> {
        Ok(self.view.end_block()?)
    }

    // ---- time ----

    /// Runs for `span`.
    pub fn run(&mut self, span: Duration) -> Result<(), Stop> {
        let until = self.pop.now() + span;
        while self.pop.now() < until {
            self.pop.run_to(until.min(self.pop.now() + STEP));
            self.tick()?;
        }
        Ok(())
    }

    /// Runs until `done` holds; returns how long it took, or `None` when it did not within `within`.
    pub fn wait(
        &mut self,
        within: Duration,
        done: impl FnMut(&Pop<'a>) -> bool,
    ) -> Result<Option<Duration>, Stop> {
        self.wait_each(LOOK, within, done)
    }

    /// The same, looking every `look`.
    pub fn wait_each(
        &mut self,
        look: Duration,
        within: Duration,
        mut done: impl FnMut(&Pop<'a>) -> bool,
    ) -> Result<Option<Duration>, Stop> {
        let start = self.pop.now();
        loop {
            let took = self.pop.now().since(start);
            if done(&self.pop) {
                return Ok(Some(took));
            }
            if took >= within {
                return Ok(None);
            }
            self.pop.run_to(self.pop.now() + look);
            self.tick()?;
        }
    }

    fn tick(&mut self) -> Result<(), Stop> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Stop::Interrupted);
        }
        if self.view.wants_block() { self.show() } else { Ok(()) }
    }

    // ---- the live block ----

    fn show(&mut self) -> Result<(), Stop> {
        if !self.view.wants_block() {
            return Ok(());
        }
        let next = Shown {
            wall: std::time::Instant::now(),
            now: self.pop.now(),
            totals: self.pop.totals(),
            lookups: self.board.lookups(),
        };
        let before = std::mem::replace(&mut self.shown, next);
        let shown = &self.shown;
        let virtual_s = shown.now.since(before.now).0 as f64 / 1e9;
        let wall_s = shown.wall.duration_since(before.wall).as_secs_f64();
        let rate = |n: u64, seconds: f64| {
            if seconds > 0.0 { grouped((n as f64 / seconds).round() as u64) } else { "-".to_owned() }
        };
        let moved = shown.totals.since(&before.totals);
        let servers = self.pop.running().len();
        let per_server = moved.bytes / servers.max(1) as u64;
        let (share, equal) = self.progress();
        let block = vec![
            String::new(),
            format!(
                "{:<38} virtual {:>8.2} s  wall {:>5.1} s",
                self.phase,
                shown.now.0 as f64 / 1e9,
                self.elapsed().as_secs_f64()
            ),
            format!("{} {:>5.1} % of all records present", bar(share, 40), share * 100.0),
            format!("{equal} of {servers} servers account for the same writes as the first"),
            format!(
                "a virtual second: {} packets, {} writes, {} bytes a server",
                rate(moved.packets, virtual_s),
                rate(moved.puts, virtual_s),
                rate(per_server, virtual_s)
            ),
            format!(
                "a second on the wall: {} lookups by the data plane, {:.2} virtual seconds",
                rate(shown.lookups - before.lookups, wall_s),
                if wall_s > 0.0 { virtual_s / wall_s } else { 0.0 }
            ),
        ];
        Ok(self.view.block(block)?)
    }

    /// Returns the share of all records that are present, and how many servers are level with the first.
    fn progress(&self) -> (f64, usize) {
        let target = self.pop.fleet.ids().len().max(1);
        let (mut present, mut servers, mut level) = (0, 0, 0);
        let first = self.pop.nodes().next().map(|node| *node.map().version());
        for map in self.pop.nodes().map(popmap_core::Node::map) {
            present += live_records(map).min(target);
            servers += 1;
            level += usize::from(Some(map.version()) == first.as_ref());
        }
        (present as f64 / (servers * target).max(1) as f64, level)
    }
}
