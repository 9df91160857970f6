//! The panel: what the terminal shows beside the story while it runs.
//!
//! Knows how to look at a PoP without being in its way. Must not know the story.

use std::time::{Duration, Instant};

use crate::measure::Totals;
use crate::pop::{Pop, READ_AT};
use crate::view::{bar, grouped};

/// What the last panel showed, for figures per second.
#[derive(Debug)]
struct Shown {
    at: Instant,
    totals: Totals,
    checks: u64,
    lookups: u64,
}

/// The live block's content, and what it needs to remember.
#[derive(Default, Debug)]
pub struct Panel {
    shown: Option<Shown>,
}

impl Panel {
    /// Returns the panel's lines.
    pub fn draw(&mut self, phase: &str, elapsed: Duration, pop: &impl Pop) -> Vec<String> {
        let next = Shown {
            at: Instant::now(),
            totals: pop.totals(),
            checks: pop.world().checks().iter().map(|&n| u64::from(n)).sum(),
            lookups: pop.lookups(),
        };
        let before = self.shown.replace(next);
        let Some((shown, before)) = self.shown.as_ref().zip(before) else { return Vec::new() };
        let seconds = shown.at.duration_since(before.at).as_secs_f64().max(1e-3);
        let rate = |n: u64| grouped((n as f64 / seconds).round() as u64);
        let moved = shown.totals.since(&before.totals);
        let servers = pop.running().len();
        let keys = pop.world().plan.keys.len();
        let present: usize = pop.records().into_iter().map(|records| records.min(keys)).sum();
        let share = present as f64 / (servers * keys).max(1) as f64;
        vec![
            String::new(),
            format!("{phase:<58} {:>8.1} s", elapsed.as_secs_f64()),
            format!("{} {:>5.1} % of all records present", bar(share, 40), share * 100.0),
            faces(pop),
            format!(
                "each second: {} checks arrive at the origins, {} packets, {} bytes a server",
                rate(shown.checks - before.checks),
                rate(moved.packets),
                rate(moved.bytes / servers.max(1) as u64)
            ),
            format!(
                "             {} lookups by the data plane at {READ_AT}; harvest there {:.1} %",
                rate(shown.lookups - before.lookups),
                pop.harvest() * 100.0
            ),
        ]
    }
}

/// Returns a character for each server.
fn faces(pop: &impl Pop) -> String {
    let running = pop.running();
    let face = |slot| match pop.status(slot) {
        None => '.',
        Some(status) if !status.is_active => 's',
        // Somebody is held dead or not known yet.
        Some(status) if status.live != running => '+',
        Some(_) => '#',
    };
    let faces: String = pop.all().iter().map(face).collect();
    format!("{faces}  # sees all, + sees some, s starts, . down")
}
