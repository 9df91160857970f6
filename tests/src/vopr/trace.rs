//! What happened last, for whoever has to explain a violation.
//!
//! Knows lines of text and which packets concern a key or a server. Must not change anything: a run with a focus is the
//! same run.
//!
//! A run without a focus only notes faults, which are few. When it ends in a violation the same seed is run once more
//! with the focus on the key and the server concerned, and then their packets are noted too.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use popmap_core::time::Instant;
use popmap_core::wire::{Body, Kind, Records, parse};
use popmap_core::{Key, Reject, Shape};

/// Lines that are kept.
const LINES: usize = 2_000;

/// What packets are noted.
#[derive(Clone, Copy, Debug)]
pub struct Focus {
    /// Those that carry this key; without one, all data.
    pub key: Option<Key>,
    /// Of them those from and to this server; without one, all.
    pub server: Option<usize>,
}

#[derive(Default)]
struct Lines {
    lines: VecDeque<(Instant, String)>,
    dropped: u64,
}

/// The latest lines; clones are the same trace, so that it outlives a run that panics.
#[derive(Clone)]
pub struct Trace {
    lines: Arc<Mutex<Lines>>,
    focus: Option<Focus>,
    cluster: u64,
    shape: Shape,
    slots: usize,
}

impl Trace {
    /// Returns an empty trace of packets of this cluster and shape.
    pub fn new(focus: Option<Focus>, cluster: u64, shape: Shape, slots: usize) -> Self {
        Self { lines: Arc::default(), focus, cluster, shape, slots }
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line.
    pub fn note(&self, now: Instant, line: String) {
        let mut lines = self.lock();
        if lines.lines.len() == LINES {
            lines.lines.pop_front();
            lines.dropped += 1;
        }
        lines.lines.push_back((now, line));
    }

    /// Whether anything but faults is noted.
    pub fn is_focused(&self) -> bool {
        self.focus.is_some()
    }

    /// Whether this server is in focus.
    pub fn is_about(&self, server: usize) -> bool {
        self.focus.is_some_and(|focus| focus.server == Some(server))
    }

    /// Whether this key is in focus.
    pub fn concerns(&self, key: Key) -> bool {
        self.focus.is_some_and(|focus| focus.key == Some(key))
    }

    /// Notes a packet that was handed over, if it concerns the focus.
    pub fn arrived(
        &self,
        now: Instant,
        (from, to): (usize, usize),
        bytes: &[u8],
        result: Result<(), Reject>,
    ) {
        let Some(focus) = self.focus else { return };
        if focus.server.is_some_and(|server| server != from && server != to) {
            return;
        }
        let Ok((envelope, body)) = parse(bytes, self.cluster, &self.shape, self.slots) else { return };
        let records = records_of(&body);
        let mut line = match focus.key {
            Some(key) => {
                let found = records.iter().flat_map(Records::iter).find(|record| record.key() == key);
                let Some(record) = found else { return };
                let kind = if record.is_tombstone() { "delete" } else { "put" };
                format!("{kind} {:?} term {} in a", record.dot(), record.term())
            }
            None => {
                let probes = [Kind::Ping, Kind::PingReq, Kind::Ack, Kind::Gossip];
                if probes.contains(&envelope.kind) {
                    return;
                }
                "a".to_owned()
            }
        };
        let _ = write!(line, " {} from {from} to {to}, life {:?}", envelope.kind.name(), envelope.life);
        if let Body::Push(push) = &body {
            let _ = write!(line, ", claims ({:x}, {:x}]", push.fixed.from, push.fixed.to);
        }
        if let Some(records) = records {
            let _ = write!(line, ", {} records", records.len());
        }
        if let Err(why) = result {
            let _ = write!(line, ": rejected, {why}");
        }
        self.note(now, line);
    }

    /// Returns the latest `count` lines, oldest first.
    pub fn text(&self, count: usize) -> String {
        let lines = self.lock();
        let skipped = lines.lines.len().saturating_sub(count);
        let mut text = String::new();
        if lines.dropped > 0 || skipped > 0 {
            let _ = writeln!(text, "  ({} lines before)", lines.dropped + skipped as u64);
        }
        for (at, line) in lines.lines.iter().skip(skipped) {
            let _ = writeln!(text, "  {:>10.3} ms  {line}", at.0 as f64 / 1e6);
        }
        text
    }
}

fn records_of<'p>(body: &Body<'p>) -> Option<Records<'p>> {
    Some(match body {
        Body::Delta(packet) => packet.records,
        Body::Push(packet) => packet.records,
        Body::Repair(packet) => packet.records,
        Body::Report(packet) => packet.records,
        Body::HistoryAnswer(packet) => packet.records,
        _ => return None,
    })
}
