//! A server's health-check thread: HTTP to the origins that it owns, each result written to the map.
//!
//! Knows the schedule and the prober. Must not know how results travel.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use popmap_core::map::TypedReader;
use popmap_core::time::Instant;
use popmap_core::{Key, Slot, SlotSet};
use popmap_io::{Handle, QueueError};
use zerocopy::IntoBytes;

use super::Witness;
use super::status::Shared;
use crate::assignment::Assignment;
use crate::health::Health;
use crate::origins::{Origin, OriginId};
use crate::plan::Plan;
use crate::prober::{Outcome, Prober};
use crate::schedule::{Checks, Schedule};

/// How long an origin may take to answer.
const TIMEOUT: Duration = Duration::from_secs(1);

/// What the check thread is told.
#[derive(Debug)]
pub enum Order {
    /// Who is live, and so who owns what.
    Own(SlotSet),
    /// Origins to check out of turn.
    Recheck(Vec<OriginId>),
    /// Which checks are made from now on.
    Make(Checks),
}

/// Reaches the check thread from others.
#[derive(Clone)]
pub struct Orders {
    sender: Sender<Order>,
    waker: Arc<mio::Waker>,
    /// Orders that have not taken effect yet.
    waiting: Arc<AtomicUsize>,
}

impl Orders {
    /// Tells the thread.
    pub fn send(&self, order: Order) {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        // A thread that has ended needs no orders.
        let _ = self.sender.send(order);
        self.wake();
    }

    /// Returns how many orders have not taken effect yet.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Has the thread look up.
    pub fn wake(&self) {
        // It looks up by itself soon enough.
        let _ = self.waker.wake();
    }
}

/// One server's checks.
pub struct Checker<'w, W> {
    plan: &'w Plan,
    witness: &'w W,
    slot: Slot,
    assignment: Assignment,
    schedule: Schedule,
    checks: Checks,
    prober: Prober,
    orders: Receiver<Order>,
    waiting: Arc<AtomicUsize>,
}

impl<'w, W: Witness> Checker<'w, W> {
    /// Returns the checks of the server in `slot`, with at most `in_flight` under way, and how to reach them.
    ///
    /// # Errors
    /// The system has no means to wait for sockets left.
    pub fn new(
        plan: &'w Plan,
        witness: &'w W,
        slot: Slot,
        checks: Checks,
        in_flight: usize,
    ) -> io::Result<(Self, Orders)> {
        let prober = Prober::new(in_flight, TIMEOUT, plan.clock.epoch)?;
        let (sender, receiver) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let orders = Orders { sender, waker: prober.waker(), waiting: Arc::clone(&waiting) };
        let checker = Self {
            plan,
            witness,
            slot,
            assignment: Assignment::new(slot, Arc::clone(&plan.keys)),
            schedule: Schedule::new(Arc::clone(&plan.calendar)),
            checks,
            prober,
            orders: receiver,
            waiting,
        };
        Ok((checker, orders))
    }

    /// Makes checks until the server's life is over.
    ///
    /// # Errors
    /// The system can wait for sockets no more.
    pub fn run(
        &mut self,
        reader: TypedReader<'_, Health>,
        handle: &Handle,
        shared: &Shared,
    ) -> io::Result<()> {
        while !shared.over.load(Ordering::Acquire) {
            let followed = self.follow_orders(&reader);
            let now = self.now();
            while self.prober.has_room()
                && let Some(origin) = self.schedule.poll(now, self.checks)
            {
                let Plan { origins, port, .. } = self.plan;
                let Origin { name, target, path, .. } = &origins[origin as usize];
                self.prober.start(origin, target.address(*port), name, path);
            }
            shared.overdue.store(self.schedule.overdue(), Ordering::Release);
            shared.in_flight.store(self.prober.in_flight(), Ordering::Release);
            self.waiting.fetch_sub(followed, Ordering::AcqRel);
            let deadline =
                if self.prober.has_room() { self.schedule.deadline(self.checks) } else { Instant::NEVER };
            let left = Duration::from_nanos(deadline.since(self.now()).0);
            let until = (deadline != Instant::NEVER).then_some(left);
            let Self { prober, plan, witness, slot, assignment, schedule, .. } = self;
            prober.wait(until, |origin, outcome| {
                let others = assignment.live().without(*slot);
                if !record((plan, *witness), *slot, others, &reader, (handle, shared), origin, &outcome) {
                    schedule.recheck(now, &[origin]);
                }
            })?;
        }
        Ok(())
    }

    /// Returns how many there were.
    fn follow_orders(&mut self, reader: &TypedReader<'_, Health>) -> usize {
        let (now, mut followed) = (self.now(), 0);
        // Of several views that wait only the last counts.
        let mut live = None;
        while let Ok(order) = self.orders.try_recv() {
            followed += 1;
            match order {
                Order::Own(latest) => live = Some(latest),
                Order::Recheck(origins) => self.schedule.recheck(now, &origins),
                Order::Make(checks) => {
                    self.checks = checks;
                    self.schedule.resume(now);
                }
            }
        }
        if let Some(live) = live {
            let mut gained = self.assignment.update(live);
            gained.retain(|&origin| is_orphan(reader, self.plan.keys[origin as usize], live));
            self.schedule.own(now, &self.assignment, &gained);
        }
        followed
    }

    fn now(&self) -> Instant {
        Instant(self.plan.clock.now_ns())
    }
}

/// Whether nobody who is live has checked an origin: what a live server found can wait for its turn.
pub fn is_orphan(reader: &TypedReader<'_, Health>, key: Key, live: SlotSet) -> bool {
    !reader.get(key).is_ok_and(|(_, meta)| live.contains(meta.dot.slot))
}

/// Writes down what a check found; whether there was anything to write.
fn record<W: Witness>(
    (plan, witness): (&Plan, &W),
    slot: Slot,
    others: SlotSet,
    reader: &TypedReader<'_, Health>,
    (handle, shared): (&Handle, &Shared),
    origin: OriginId,
    outcome: &Outcome,
) -> bool {
    let answer = match outcome.answer {
        Err(failure) if failure.is_about_us() => {
            witness.alarm(format_args!("{slot} could not check an origin: {failure}"));
            return false;
        }
        answer => answer.map_err(|failure| failure as u8 + 1),
    };
    let key = plan.keys[origin as usize];
    let latency_us = u32::try_from(outcome.latency.as_micros()).unwrap_or(u32::MAX);
    let before = reader.get(key).map_or(0, |(health, _)| health.checks());
    let health = Health::new(key, answer, latency_us, outcome.ended, before.wrapping_add(1));
    // First, so that nobody learns of it before it is followed.
    witness.checked(slot, origin, health.is_up(), outcome.ended.0, others);
    // Before it can be taken.
    shared.put.fetch_add(1, Ordering::AcqRel);
    match handle.put(key, health.as_bytes()) {
        // Stopped: its life is over.
        Ok(()) | Err(QueueError::Stopped) => {}
        Err(error) => {
            shared.put.fetch_sub(1, Ordering::AcqRel);
            witness.alarm(format_args!("{slot} could not write: {error}"));
        }
    }
    true
}
