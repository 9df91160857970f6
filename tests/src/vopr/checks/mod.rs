//! The safety checks, and what each server was last seen to hold.
//!
//! Knows the properties, and costs in proportion to what changed. Must not know why anything changed, how anything
//! travels, or what the faults are: it is told of starts, ends and bytes, and looks at maps.
//!
//! [`Checks::observe`] is called after every packet, timer and write of a server, [`Checks::sweep`] now and then and at
//! the end. The module documentation says what is checked when, and why that is all of R6.

mod forget;
mod observe;
mod sweep;

use std::collections::HashSet;

use popmap_core::clock::VersionVector;
use popmap_core::time::{Duration, Instant};
use popmap_core::{Key, Life, Phase, Slot};

use super::budget::Meter;
use super::history::{History, WriteId};
use super::slots::Slots;
use super::violation::{Rule, Violation};

/// Marks the state at a key whose tombstone this server collected.
const COLLECTED: WriteId = 1 << 31;

/// What a server was last seen to hold, in its present life.
struct Replica<const N: usize> {
    slot: Slot,
    life: Life,
    phase: Phase,
    log_head: u64,
    version: VersionVector<N>,
    /// What it knows to have left without a forgotten slot.
    buried: VersionVector<N>,
    /// It began to write when it had met every configured server, those apart that it knew to be forgotten.
    has_met: bool,
    /// At each key the write that it holds; or the tombstone that it collected there, marked.
    table: Vec<WriteId>,
    /// Keys that hold a tombstone, or did.
    tombstones: Vec<u32>,
    collected: u64,
    mends: u64,
    mends_unknown: u64,
    reports: u64,
    /// When its start deadline is over, by its clock.
    start_deadline: Instant,
    meter: Meter,
    /// Per slot the deltas without a record that were sent there.
    empty: [Meter; N],
}

impl<const N: usize> Replica<N> {
    /// The write that it holds or has held at a key, whether or not it was collected.
    fn state(&self, key: u32) -> WriteId {
        self.table[key as usize] & !COLLECTED
    }

    /// The write that its table shows at a key, or zero.
    fn shown(&self, key: u32) -> WriteId {
        let state = self.table[key as usize];
        if state & COLLECTED == 0 { state } else { 0 }
    }
}

/// What a life is told at its start.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Its slot.
    pub slot: Slot,
    /// The life.
    pub life: Life,
    /// When it may write at the latest, by its clock.
    pub deadline: Instant,
    /// Bytes of data that it may send in each interval, the interval, and bytes of its longest packet.
    pub budget: (u32, Duration, usize),
}

/// How often things were looked at.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Looked {
    /// Observations of a server.
    pub observations: u64,
    /// Times that a version came to cover a write, each held against the state at its key.
    pub covered: u64,
    /// Those of them that were excused by a waiver.
    pub excused: u64,
    /// Changes of a table.
    pub changes: u64,
    /// Full sweeps of all tables against all writes.
    pub sweeps: u64,
    /// Records mended, by the servers' own counters.
    pub mends: u64,
    /// Those of them for which a server knew no cause, and the history did.
    pub mends_forgotten: u64,
}

/// Everything that was seen, and the properties that must hold of it.
pub struct Checks<const N: usize> {
    /// What was written.
    pub history: History,
    /// Which lives there were.
    pub slots: Slots,
    replicas: Vec<Option<Replica<N>>>,
    /// Per slot the highest counter of the lives that some server was told to forget.
    forgotten: VersionVector<N>,
    /// Tombstones that left somewhere while a forgotten slot was not asked.
    unasked: HashSet<WriteId>,
    /// A life is over since it was last worked out what nobody knows of.
    is_over: bool,
    /// The time.
    pub now: Instant,
    /// How often things were looked at.
    pub looked: Looked,
}

impl<const N: usize> Checks<N> {
    /// Nothing was seen yet of any of `servers`.
    pub fn new(servers: usize, keys: Vec<Key>, packet_life: Duration) -> Self {
        Self {
            history: History::new(keys),
            slots: Slots::new(packet_life),
            replicas: (0..servers).map(|_| None).collect(),
            forgotten: VersionVector::new(),
            unasked: HashSet::new(),
            is_over: false,
            now: Instant::ZERO,
            looked: Looked::default(),
        }
    }

    /// A life begins, with nothing in its memory.
    pub fn begin(&mut self, server: usize, start: &Start) {
        let Start { slot, life, deadline, budget: (bytes, interval, payload) } = *start;
        self.slots.begin(self.now, server, slot, life);
        self.replicas[server] = Some(Replica {
            slot,
            life,
            phase: Phase::Starting,
            log_head: 0,
            version: VersionVector::new(),
            buried: VersionVector::new(),
            has_met: false,
            table: vec![0; self.history.keys().len()],
            tombstones: Vec::new(),
            collected: 0,
            mends: 0,
            mends_unknown: 0,
            reports: 0,
            start_deadline: deadline,
            meter: Meter::new(bytes, interval, payload),
            empty: [Meter::of_empty_answers(); N],
        });
        self.lose();
    }

    /// A life ends, and its memory is gone.
    pub fn end(&mut self, server: usize) {
        self.slots.end(self.now, server);
        self.replicas[server] = None;
        self.lose();
    }

    /// Notes what nobody knows of any more: no table shows it and no version covers it. What only a server knows in whose
    /// slot there is a greater life counts as gone, and what only one knows whose life was forgotten: nobody has to take its
    /// packets.
    fn lose(&mut self) {
        let Self { history, slots, replicas, forgotten, .. } = self;
        let heard = |(server, replica): (usize, &'_ Option<Replica<N>>)| {
            let replica = replica.as_ref()?;
            (!slots.is_outlived(server) && !replica.is_refused(forgotten)).then_some(server)
        };
        let heard: Vec<usize> = replicas.iter().enumerate().filter_map(heard).collect();
        let replicas: Vec<_> = heard.into_iter().filter_map(|server| replicas[server].as_ref()).collect();
        let mut known = VersionVector::<N>::new();
        replicas.iter().for_each(|replica| known.join(&replica.version));
        let shown = |key, id| replicas.iter().any(|replica| replica.shown(key) == id);
        for slot in (0..N).map(Slot::at) {
            let unknown: Vec<WriteId> = history.between(slot, known.get(slot), u64::MAX).collect();
            for id in unknown.into_iter().filter(|&id| !shown(history.write(id).key, id)).collect::<Vec<_>>()
            {
                history.set_lost(id, true);
            }
        }
        history.forget_collected(&known, shown);
    }

    /// A packet of budgeted data left a server for the one in slot `to`: so many bytes, and whether it says that there is
    /// nothing.
    ///
    /// # Errors
    /// When that is more than the budget allows, or too often nothing, or the server's life is over.
    pub fn sent(
        &mut self,
        server: usize,
        clock: Instant,
        to: Slot,
        bytes: usize,
        empty: bool,
    ) -> Result<(), Violation> {
        let Some(replica) = self.replicas[server].as_mut() else { return Ok(()) };
        if replica.phase.is_over() {
            let text =
                format!("server {server} is {:?} and sent {bytes} bytes of data to {to}", replica.phase);
            return Err(Violation::at(Rule::Over, server, text));
        }
        let spent = |text| Violation::at(Rule::Budget, server, format!("bytes of data: {text}"));
        replica.meter.spend(clock, bytes).map_err(spent)?;
        let told = |text| Violation::at(Rule::EmptyAnswers, server, format!("empty deltas to {to}: {text}"));
        replica.empty[to.index()].spend(clock, usize::from(empty)).map_err(told)
    }

    /// Returns the servers but for `server` that know of a write: its record is in their table, or their version covers it.
    fn known_to(&self, id: WriteId, server: usize) -> Vec<usize> {
        let write = self.history.write(id);
        let knows = |(other, replica): (usize, &Option<Replica<N>>)| {
            let replica = replica.as_ref().filter(|_| other != server && !self.slots.is_outlived(other))?;
            if replica.is_refused(&self.forgotten) {
                return None;
            }
            (replica.shown(write.key) == id || replica.version.covers(write.dot())).then_some(other)
        };
        self.replicas.iter().enumerate().filter_map(knows).collect()
    }

    /// Whether a server that covers a write has what R6 asks for, or is excused.
    fn is_held(&self, replica: &Replica<N>, id: WriteId) -> bool {
        let write = self.history.write(id);
        self.holds(replica, id) || self.history.is_waived(write.key, write.rank)
    }

    /// Whether a server has a write, or what beats it; or nobody has to.
    fn holds(&self, replica: &Replica<N>, id: WriteId) -> bool {
        let write = self.history.write(id);
        let at_least = |other| self.history.rank(other) >= write.rank;
        write.lost || at_least(replica.state(write.key)) || at_least(self.history.collected(write.key))
    }

    fn broken(&self, server: usize, replica: &Replica<N>, id: WriteId) -> Violation {
        let key = self.history.write(id).key;
        let (write, held) = (self.history.show(id), self.history.show(replica.shown(key)));
        let known = self.known_to(id, server);
        let text =
            format!("the version of server {server} covers {write}, and it holds {held}; known to {known:?}");
        Violation::at(Rule::Invariant, server, text).key(key)
    }
}

/// Returns the number of a key of a run: its first four bytes.
pub fn number(key: &Key) -> u32 {
    let [a, b, c, d, ..] = key.0;
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests;
