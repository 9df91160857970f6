//! What is done to the PoP from outside: faults, operators, writes.
//!
//! Knows how each is carried out. Must not know when or why.

use popmap_core::time::Duration;
use popmap_core::{Meta, Slot};

use super::super::faults::Act;
use super::super::server::Pause;
use super::super::violation::Violation;
use super::super::workload::{Op, Writer};
use super::World;

impl<const N: usize> World<'_, N> {
    pub(super) fn act(&mut self, act: Act) -> Result<(), Violation> {
        match act {
            Act::Start(end, how) => {
                self.restart(end, how);
                return Ok(());
            }
            Act::Crash(end) => {
                self.crash(end);
                return Ok(());
            }
            _ => self.trace.note(self.now, format!("{act:?}")),
        }
        match act {
            Act::Start(..) | Act::Crash(_) => {}
            Act::Link(fault) => self.network.add_fault(fault),
            Act::Pause { server, span, frozen } => {
                let server = &mut self.servers[server];
                if server.is_awake() {
                    let behind = if frozen { span } else { Duration::ZERO };
                    server.pause = Some(Pause { until: self.now + span, behind });
                }
            }
            Act::Leap(server, by) => {
                self.servers[server].ahead += by;
                self.servers[server].is_stirred = true;
            }
            Act::Second(end, beside, above) => {
                if self.servers[end].node.is_none() && self.servers[beside].node.is_some() {
                    let slot = self.servers[beside].slot;
                    self.servers[end].slot = slot;
                    let generation = i64::from(self.servers[beside].saved) + above;
                    self.start(end, u32::try_from(generation.max(1)).unwrap_or(u32::MAX));
                }
            }
            Act::Leave(end) => {
                let server = &mut self.servers[end];
                let clock = server.clock(self.now);
                if let Some(node) = server.node.as_mut().filter(|_| server.pause.is_none()) {
                    node.leave(clock);
                    server.is_stirred = true;
                }
            }
            Act::Reweigh(end, weight) => {
                let server = &mut self.servers[end];
                let clock = server.clock(self.now);
                server.weight = weight;
                if let Some(node) = server.node.as_mut().filter(|_| server.pause.is_none()) {
                    node.set_meta(clock, Meta::weighted(weight));
                    server.is_stirred = true;
                }
            }
            Act::Days(span) => self.pass_days(span),
            Act::Forget(at, of) => {
                self.forget(at, Slot::at(of))?;
            }
        }
        Ok(())
    }

    /// The operator of a server forgets a slot there. Returns whether that is forgotten now.
    ///
    /// # Errors
    /// The violation that it led to.
    pub fn forget(&mut self, at: usize, slot: Slot) -> Result<bool, Violation> {
        let server = &mut self.servers[at];
        let clock = server.clock(self.now);
        let Some(node) = server.node.as_mut().filter(|_| server.pause.is_none()) else { return Ok(false) };
        let outcome = node.forget(clock, slot);
        server.is_stirred = true;
        self.trace.note(self.now, format!("server {at} is told to forget {slot}: {outcome:?}"));
        if let Ok(generation) = outcome {
            self.checks.forget(slot, generation);
        }
        self.checks.observe(at, node.map(), clock)?;
        Ok(outcome.is_ok())
    }

    /// Days pass while nothing is on the way and nobody does anything.
    fn pass_days(&mut self, span: u64) {
        self.network.clear();
        self.days_s += span / 1_000_000_000;
        for server in &mut self.servers {
            for place in server.backlog.drain(..) {
                self.network.drop_packet(place);
            }
            server.ahead += span as i64;
            server.is_stirred = server.node.is_some();
        }
    }

    /// Ends every fault at once: links are mended, everybody who stands still goes on, second servers are stopped.
    pub fn heal(&mut self) {
        self.at_work = false;
        self.network.heal();
        for end in 0..self.servers.len() {
            if let Some(pause) = &mut self.servers[end].pause {
                pause.until = self.now;
            }
            if end >= self.plan.servers {
                self.crash(end);
            }
        }
        self.trace.note(self.now, "the faults are over".to_owned());
    }

    pub(super) fn write_some(&mut self) -> Result<(), Violation> {
        let count = self.writes.due(self.now);
        if count == 0 {
            return Ok(());
        }
        let writer = self.writes.writer();
        if self.writes.is_bulk() {
            for key in 0..self.plan.workload.keys {
                self.write(writer, Op { key, delete: false })?;
            }
        }
        for _ in 0..count {
            let op = self.writes.op();
            self.write(writer, op)?;
        }
        Ok(())
    }

    /// Makes one write; one that is refused is counted.
    ///
    /// # Errors
    /// The violation that it led to.
    pub fn write(&mut self, writer: Writer, op: Op) -> Result<(), Violation> {
        let key = self.keys[op.key as usize];
        let end = match writer {
            Writer::Server(end) => end,
            Writer::OwnerBy(end) => {
                self.servers[end].node.as_ref().map_or(end, |node| node.owner(key).index())
            }
        };
        let mut value = [0; popmap_core::limits::VALUE_MAX];
        let value = &mut value[..usize::from(self.plan.value_len)];
        self.writes.fill(value);
        let Some(server) = self.servers.get_mut(end).filter(|server| server.is_awake()) else {
            self.writes.refused += 1;
            return Ok(());
        };
        let clock = server.clock(self.now);
        let Some(node) = &mut server.node else { return Ok(()) };
        let is_done =
            if op.delete { node.remove(clock, key).is_ok() } else { node.put(clock, key, value).is_ok() };
        server.is_stirred = true;
        self.writes.done += u64::from(is_done);
        self.writes.refused += u64::from(!is_done);
        if self.trace.concerns(key) {
            let what = if op.delete { "deletes" } else { "puts" };
            let held = node.map().inspect(key);
            self.trace.note(self.now, format!("server {end} {what}, done {is_done}: {held:?}"));
        }
        self.checks.observe(end, node.map(), clock)
    }
}
