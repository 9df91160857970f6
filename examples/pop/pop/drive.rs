//! The loop that drives the servers from event to event.
//!
//! Knows a server's turn: packets in, checks, timers, packets out, events. Must not know the story.

use std::fmt;

use popmap_core::time::{Duration, Instant};
use popmap_core::wire::{Header, Kind};
use popmap_core::{Event, Node, Slot, SlotSet};
use popmap_io::memory::Network;
use zerocopy::{FromBytes, IntoBytes};

use super::{Pop, Server};
use crate::fleet::OriginId;

/// Virtual time between writes that are followed to every server.
const FOLLOW_EVERY: Duration = Duration::from_millis(10);
/// Of the packets that carry records, one in this many is timed.
const TIME_ONE_IN: u64 = 8;
/// Alarms that are kept; more would say nothing new.
const ALARMS: usize = 8;

impl Pop<'_> {
    /// Runs until `until`.
    pub fn run_to(&mut self, until: Instant) {
        let mut frame = [0; popmap_core::limits::PAYLOAD_DEFAULT];
        loop {
            let timer = self.deadlines.iter().copied().min().unwrap_or(Instant::NEVER);
            let next = self.network.next_arrival().map_or(timer, |arrival| arrival.min(timer));
            if next > until {
                self.now = until;
                return;
            }
            self.now = self.now.max(next);
            let mut touched = self.deliver();
            if timer <= self.now {
                let is_due = |slot: &usize| self.deadlines[*slot] <= self.now;
                touched = touched.union((0..self.deadlines.len()).filter(is_due).map(Slot::at).collect());
            }
            for slot in touched.iter() {
                self.poll(slot, &mut frame);
            }
        }
    }

    /// Hands over every packet that has arrived; returns whom to.
    fn deliver(&mut self) -> SlotSet {
        let mut touched = SlotSet::EMPTY;
        while let Some(arrival) = self.network.receive(self.now) {
            if let Some(node) = &mut self.servers[arrival.to.index()].node {
                let carries_records = matches!(kind(&arrival.packet), Some(Kind::Delta | Kind::Push));
                self.packets_with_records += u64::from(carries_records);
                let timed = carries_records && self.packets_with_records.is_multiple_of(TIME_ONE_IN);
                let from = Network::address(arrival.from);
                let before = node.map().log_head();
                let start = timed.then(std::time::Instant::now);
                // The node counts what it rejects.
                let _ = node.handle_packet(self.now, from, &arrival.packet);
                if let Some(start) = start {
                    self.merge.record(self.stopwatch.since(start));
                }
                if node.map().log_head() != before {
                    self.writes.look(self.now, node.map());
                    self.failures.look(self.now, node.map());
                }
                touched.insert(arrival.to);
            }
            self.network.recycle(arrival);
        }
        touched
    }

    /// One turn of a server's loop: events, checks, timers, packets out.
    fn poll(&mut self, slot: Slot, frame: &mut [u8]) {
        let now = self.now;
        self.make_checks(slot);
        let Server { node: Some(node), .. } = &mut self.servers[slot.index()] else { return };
        node.handle_timeout(now);
        loop {
            let records = node.map().stats().records_sent;
            let Some(transmit) = node.poll_transmit(now, frame) else { break };
            let packet = &frame[..transmit.len];
            if let Some(tally) = self.tally.as_mut().filter(|tally| tally.to == transmit.slot)
                && kind(packet) == Some(Kind::Delta)
            {
                tally.records += node.map().stats().records_sent - records;
            }
            self.network.send(now, slot, transmit.to, packet);
        }
        let deadline = node.poll_timeout();
        while let Some(event) = self.servers[slot.index()].node.as_mut().and_then(Node::poll_event) {
            self.on_event(slot, event);
        }
        let checker = &self.servers[slot.index()].checker;
        self.deadlines[slot.index()] = deadline.min(checker.deadline(self.checks));
    }

    fn make_checks(&mut self, slot: Slot) {
        while let Some(origin) = self.servers[slot.index()].checker.poll(self.now, self.checks) {
            if self.fleet.is_deleted(origin) {
                continue;
            }
            let Some(node) = &mut self.servers[slot.index()].node else { return };
            let key = self.fleet.key(origin);
            let was_up = !self.follow_failures || self.fleet.was_last_up(origin);
            let health = self.fleet.check(origin, self.now);
            match node.put(self.now, key, health.as_bytes()) {
                Ok(dot) => {
                    let others = node.map().live().without(slot);
                    if others.is_empty() {
                        continue;
                    }
                    if self.follow_failures && was_up && !health.is_up() {
                        self.failures.follow(key, dot, self.now, others);
                    } else if self.now >= self.next_follow {
                        self.next_follow = self.now + FOLLOW_EVERY;
                        self.writes.follow(key, dot, self.now, others);
                    }
                }
                Err(error) => self.alarm(format_args!("{slot} could not write origin {origin}: {error}")),
            }
        }
    }

    fn on_event(&mut self, slot: Slot, event: Event) {
        let server = &mut self.servers[slot.index()];
        let (Some(node), checker) = (&server.node, &mut server.checker) else { return };
        match event {
            Event::Started { expired } => {
                let live = node.map().live();
                checker.own(self.now, &self.fleet.owners(live));
                if expired {
                    self.alarm(format_args!("{slot} started before it had met every other server"));
                }
            }
            Event::Superseded { key } => {
                if let Some(origin) = self.fleet.id(key) {
                    checker.recheck(self.now, &[origin]);
                }
            }
            // Among the lost ones may have been a Superseded: look through everything that we own.
            Event::Lagged { .. } => {
                let others = |origin: &OriginId| {
                    node.map().inspect(self.fleet.key(*origin)).is_some_and(|held| held.dot.slot != slot)
                };
                let superseded: Vec<OriginId> = checker.owned().filter(others).collect();
                checker.recheck(self.now, &superseded);
            }
            // A real server would save it.
            Event::GenerationRaised { generation } => server.generation = generation,
            Event::Full => self.alarm(format_args!("{slot}: its map is full")),
            Event::Fenced { by } => self.alarm(format_args!("{slot} is fenced by life {by:?}")),
            Event::SlotConflict { slot: of } => self.alarm(format_args!("{slot} saw two servers in {of}")),
            other => self.alarm(format_args!("{slot}: {other:?}")),
        }
    }

    fn alarm(&mut self, what: fmt::Arguments<'_>) {
        if self.alarms.len() < ALARMS {
            self.alarms.push(what.to_string());
        }
    }
}

fn kind(packet: &[u8]) -> Option<Kind> {
    let (header, _) = Header::ref_from_prefix(packet).ok()?;
    Kind::ALL.into_iter().find(|kind| *kind as u8 == header.kind)
}
