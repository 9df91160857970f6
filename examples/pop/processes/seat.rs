//! A server's process as the story sees it: a line to it, and what it said last.
//!
//! Knows who is told of what a server reports. Must not know how a process is started, nor its network.

use std::io::{BufRead, BufReader};
use std::process::{ChildStdin, ChildStdout};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use popmap_core::{Slot, SlotSet};
use serde::Serialize;

use super::message::{self, Counts, Order, Record, Report, SeenCounts, State};
use crate::measure::Totals;
use crate::origins::OriginId;
use crate::schedule::Checks;
use crate::server::Status;
use crate::world::{Followed, World, lock};

/// One life of a server.
pub struct Seat {
    pub slot: Slot,
    orders: Mutex<ChildStdin>,
    /// The last order of checks.
    number: AtomicU64,
    /// Its end is no surprise.
    is_over: AtomicBool,
    said: Mutex<Said>,
    news: Condvar,
}

/// What it said last.
#[derive(Default)]
struct Said {
    is_ready: bool,
    state: Option<Box<State>>,
    records: Option<Vec<Option<Record>>>,
    ended: Option<(Counts, Option<Box<SeenCounts>>)>,
    failure: Option<String>,
    is_gone: bool,
}

/// All seats, to tell some what others report.
#[derive(Default)]
pub struct Seats(Mutex<Vec<Arc<Seat>>>);

impl Seats {
    /// Puts the server of a new life into its place.
    pub fn seat(&self, seat: &Arc<Seat>) {
        let mut seats = lock(&self.0);
        seats.retain(|other| other.slot != seat.slot);
        seats.push(Arc::clone(seat));
    }

    fn watch(&self, slots: SlotSet, how: Followed, origin: OriginId, at_ns: u64) {
        let seats = lock(&self.0).clone();
        seats.iter().filter(|seat| slots.contains(seat.slot)).for_each(|seat| {
            seat.order(&Order::Watch { how, origin, at_ns });
        });
    }
}

impl Seat {
    /// Returns the seat of a process that was just started, with checks made by an order of this number.
    pub fn new(slot: Slot, orders: ChildStdin, number: u64) -> Self {
        Self {
            slot,
            orders: Mutex::new(orders),
            number: AtomicU64::new(number),
            is_over: AtomicBool::new(false),
            said: Mutex::default(),
            news: Condvar::new(),
        }
    }

    /// Tells it something. One that is gone needs no orders: that it is gone shows elsewhere.
    pub fn order(&self, order: &impl Serialize) {
        let _ = message::write(&mut *lock(&self.orders), order);
    }

    /// Says which checks are made from now on.
    pub fn make(&self, checks: Checks, number: u64) {
        self.number.store(number, Ordering::Release);
        self.order(&Order::Make(checks, number));
    }

    /// Its end will be no surprise.
    pub fn expect_end(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    /// Listens to it until its end.
    pub fn listen(&self, reports: ChildStdout, world: &World, seats: &Seats) {
        for line in BufReader::new(reports).lines() {
            // Killed in the middle of a line: its last word is none.
            let Ok(line) = line else { break };
            match serde_json::from_str(&line) {
                Ok(report) => self.take(report, world, seats),
                Err(_) if self.is_over.load(Ordering::Acquire) => break,
                Err(error) => {
                    world.note_alarm(format!("{} said what is no report ({error}): {line:.80}", self.slot));
                }
            }
        }
        let mut said = lock(&self.said);
        said.is_gone = true;
        if !self.is_over.load(Ordering::Acquire) {
            let why = said.failure.as_deref().unwrap_or("its process is gone");
            world.note_alarm(format!("{} ended by itself: {why}", self.slot));
        }
        drop(said);
        self.news.notify_all();
    }

    fn take(&self, report: Report, world: &World, seats: &Seats) {
        match report {
            Report::Checked { origin, up, at_ns, others } => {
                if let Some(how) = world.note_check(origin, up, at_ns, others) {
                    seats.watch(others, how, origin, at_ns);
                }
                return;
            }
            Report::Knows { how, origin, at_ns, now_ns } => {
                let key = world.plan.keys[origin as usize];
                return world.followed(how).knows(self.slot, now_ns, key, at_ns);
            }
            Report::Dead { of, at_ns } => return world.note_death(Slot::at(of.into()), self.slot, at_ns),
            Report::Alarm(what) => return world.note_alarm(what),
            _ => {}
        }
        let mut said = lock(&self.said);
        match report {
            Report::Ready => said.is_ready = true,
            Report::Status(state) => said.state = Some(state),
            Report::Records(records) => said.records = Some(records),
            Report::Failed(why) => said.failure = Some(why),
            Report::Ended { state, merge, seen } => {
                said.state = Some(state);
                said.ended = Some((merge, seen));
            }
            _ => {}
        }
        drop(said);
        self.news.notify_all();
    }

    /// Waits until it has said something.
    ///
    /// # Errors
    /// It is gone, with its last word, or did not say it in time.
    fn await_word<T>(
        &self,
        within: Duration,
        mut word: impl FnMut(&mut Said) -> Option<T>,
    ) -> Result<T, String> {
        let (start, mut said) = (Instant::now(), lock(&self.said));
        loop {
            if let Some(word) = word(&mut said) {
                return Ok(word);
            }
            if said.is_gone {
                return Err(said.failure.clone().unwrap_or_else(|| "its process is gone".to_owned()));
            }
            let left = within.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(format!("it does not answer within {} s", within.as_secs()));
            }
            said = self.news.wait_timeout(said, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until it has a device.
    ///
    /// # Errors
    /// Why it has none.
    pub fn await_ready(&self, within: Duration) -> Result<(), String> {
        self.await_word(within, |said| said.is_ready.then_some(()))
    }

    /// Asks for all its records.
    ///
    /// # Errors
    /// Why it does not tell.
    pub fn records(&self, within: Duration) -> Result<Vec<Option<Record>>, String> {
        self.order(&Order::Tell);
        self.await_word(within, |said| said.records.take())
    }

    /// Has it end in good order; returns how long merging took, and what its data plane saw.
    ///
    /// # Errors
    /// Why it did not.
    pub fn end(&self, within: Duration) -> Result<(Counts, Option<Box<SeenCounts>>), String> {
        self.expect_end();
        self.order(&Order::End);
        self.await_word(within, |said| said.ended.take())
    }

    /// Returns what it was like a moment ago.
    pub fn status(&self) -> Status {
        let nothing = || Status {
            is_active: false,
            live: SlotSet::EMPTY,
            records: 0,
            taken: 0,
            version: Vec::new(),
            totals: Totals::default(),
        };
        lock(&self.said).state.as_ref().map_or_else(nothing, |state| state.status.clone())
    }

    /// Returns what else it said of itself; `None` before it has.
    pub fn state<T>(&self, of: impl FnOnce(&State) -> T) -> Option<T> {
        lock(&self.said).state.as_deref().map(of)
    }

    /// Returns a count of checks, and one more while the last order of checks has not taken effect.
    pub fn count(&self, of: impl FnOnce(&State) -> usize) -> usize {
        let number = self.number.load(Ordering::Acquire);
        self.state(|state| of(state) + usize::from(state.number < number)).unwrap_or(1)
    }
}
