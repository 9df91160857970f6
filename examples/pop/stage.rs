//! The stage: what is told and shown of a story, and Ctrl-C.
//!
//! Knows the view and the phase. Must not know servers, nor how time passes.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::stop::Stop;
use crate::view::{View, wrapped};

/// Where a story is told.
pub struct Stage<'s> {
    view: View,
    interrupted: &'s AtomicBool,
    started: Instant,
    phase: String,
}

impl<'s> Stage<'s> {
    /// Returns an empty stage; it ends the story when `interrupted` becomes true.
    pub fn new(view: View, interrupted: &'s AtomicBool) -> Self {
        Self { view, interrupted, started: Instant::now(), phase: String::new() }
    }

    /// Returns the wall time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Begins a phase: its name, what happens, and what to look for.
    pub fn phase(&mut self, name: &str, what: &str) -> Result<(), Stop> {
        self.phase = name.to_owned();
        self.view.line("")?;
        self.view.heading(name)?;
        for line in wrapped(what) {
            self.view.line(&format!("  {line}"))?;
        }
        Ok(())
    }

    /// Tells what came of it.
    pub fn say(&mut self, what: fmt::Arguments<'_>) -> Result<(), Stop> {
        for (i, line) in wrapped(&what.to_string()).iter().enumerate() {
            self.view.line(&format!("  {} {line}", if i == 0 { "->" } else { "  " }))?;
        }
        Ok(())
    }

    /// Prints a paragraph.
    pub fn paragraph(&mut self, text: &str) -> Result<(), Stop> {
        wrapped(text).iter().try_for_each(|line| self.line(line))
    }

    /// Prints a line as it is.
    pub fn line(&mut self, line: &str) -> Result<(), Stop> {
        Ok(self.view.line(line)?)
    }

    /// Listens for Ctrl-C, and draws a new block if it is time for one.
    pub fn tick(&mut self, block: impl FnOnce(&str) -> Vec<String>) -> Result<(), Stop> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Stop::Interrupted);
        }
        if self.view.wants_block() {
            let lines = block(&self.phase);
            self.view.block(lines)?;
        }
        Ok(())
    }

    /// Takes the live block away.
    pub fn end_block(&mut self) -> Result<(), Stop> {
        Ok(self.view.end_block()?)
    }
}
