//! The model: what the map is to hold and account for, worked out from the rules with plain arrays.
//!
//! - R1: of two records the greater by (term, priority, slot, counter, tombstone, value) stands.
//! - R2: a delete is a tombstone, which may leave once every peer has told, in its present life, of a version that covers
//!   it, and was heard again a quarantine later; the floor is the greatest term of those that left anywhere.
//! - R3: a new key of ours leaves an eighth of the room; what does not fit keeps the version where it is.
//! - R6: a record that the version covers is skipped, and so are those of a stretch of the log that was told before (R5).
//! - R7: a record ahead of every live version whose author is dead is written anew by its key's owner.

use std::cmp::Ordering;

use popmap_core::clock::Dot;
use popmap_core::limits::QUARANTINE;
use popmap_core::map::{DeltaOutcome, Held};
use popmap_core::ownership::owner;
use popmap_core::time::Instant;
use popmap_core::{Event, Life, Map, PutError, RemoveError, Slot, SlotSet};

use super::record::{Batch, Entry, key};
use super::{ME, MY_LIFE, N, Value};

/// Keys that scripts use.
pub const KEYS: usize = 16;

/// What a peer told, and when it was heard.
#[derive(Clone, Debug)]
pub struct Peer {
    pub life: Life,
    /// Whether the map has heard of this life.
    pub is_known: bool,
    /// The newest head of its deltas.
    pub newest_head: u64,
    heard: Instant,
    /// The versions that it told of in this life, each joined with those before it.
    told: Vec<(Instant, [u64; N])>,
    /// The stretches of its log in this life whose records were all merged.
    walked: Vec<(u64, u64)>,
}

impl Peer {
    /// When it first told of a version that covers `dot`.
    fn covered_at(&self, dot: Dot) -> Option<Instant> {
        let told = self.told.iter().find(|(_, told)| told[dot.slot.index()] >= dot.counter);
        told.map(|(when, _)| *when)
    }

    /// Whether each position of a stretch was in one that was merged.
    fn has_told_all_of(&self, (from, to): (u64, u64)) -> bool {
        let mut reached = from;
        while reached < to {
            let further = self.walked.iter().filter(|&&(from, to)| from <= reached && reached < to);
            let Some(&(_, end)) = further.max_by_key(|stretch| stretch.1) else { return false };
            reached = end;
        }
        true
    }
}

/// The map's own counters of records.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub received: u64,
    pub covered: u64,
    pub applied: u64,
    pub superseded: u64,
    pub duplicate: u64,
    pub refused: u64,
    pub puts_refused: u64,
}

/// What the map is to be.
#[derive(Clone, Debug)]
pub struct Model {
    table: [Option<(Entry, Held)>; KEYS],
    capacity: usize,
    pub version: [u64; N],
    pub floor: u32,
    pub now: Instant,
    pub live: SlotSet,
    pub peers: [Peer; N],
    pub stats: Counts,
    full: bool,
    events: Vec<Event>,
}

impl Model {
    pub fn new(capacity: usize) -> Self {
        let peer = |slot: usize| Peer {
            life: Life { generation: 3, id: 0xa0 + slot as u64 },
            is_known: false,
            newest_head: 0,
            heard: Instant::ZERO,
            told: Vec::new(),
            walked: Vec::new(),
        };
        Self {
            table: [None; KEYS],
            capacity,
            version: [0; N],
            floor: 0,
            now: Instant::ZERO,
            live: SlotSet::first(N),
            peers: std::array::from_fn(peer),
            stats: Counts::default(),
            full: false,
            events: Vec::new(),
        }
    }

    /// Starts anew, in the same memory.
    pub fn clear(&mut self, capacity: usize) {
        let fresh = Self::new(capacity);
        let memory = std::mem::replace(self, fresh);
        for (peer, old) in self.peers.iter_mut().zip(memory.peers) {
            (peer.told, peer.walked) = (old.told, old.walked);
            peer.told.clear();
            peer.walked.clear();
        }
        self.events = memory.events;
        self.events.clear();
    }

    // ---- what is there ----

    /// Returns the records, and the tombstones among them.
    pub fn len(&self) -> (usize, usize) {
        let entries = self.table.iter().flatten();
        (entries.clone().count(), entries.filter(|(entry, _)| entry.value.is_none()).count())
    }

    pub fn held(&self, n: usize) -> Option<Held> {
        self.table[n].map(|(_, held)| held)
    }

    pub fn value(&self, n: usize) -> Option<Value> {
        self.table[n]?.0.value
    }

    /// Whether these bytes are the record at a key.
    pub fn is_record(&self, n: usize, bytes: &[u8]) -> bool {
        self.table[n].is_some_and(|(entry, _)| entry.bytes() == *bytes)
    }

    pub fn digest(&self, from: u64, to: u64) -> u64 {
        let live = self.table.iter().flatten().filter(|(entry, _)| entry.value.is_some());
        let inside = live.filter(|(entry, _)| (from..=to).contains(&key(entry.n).mix()));
        inside.fold(0, |sum, (_, held)| sum.wrapping_add(held.hash))
    }

    fn covers(&self, dot: Dot) -> bool {
        dot.counter <= self.version[dot.slot.index()]
    }

    fn place(&mut self, entry: Entry) {
        let Entry { n, dot, term, value } = entry;
        let held = Held { dot, term, tombstone: value.is_none(), hash: entry.hash() };
        self.table[n] = Some((entry, held));
    }

    // ---- own writes ----

    pub fn put(&mut self, n: usize, value: Value) -> Result<Dot, PutError> {
        let reserve = self.capacity.div_ceil(8).min(self.capacity - 1);
        if self.table[n].is_none() && self.len().0 >= self.capacity - reserve {
            self.stats.puts_refused += 1;
            return Err(PutError::Full);
        }
        self.write(n, Some(value))
    }

    pub fn remove(&mut self, n: usize) -> Result<Dot, RemoveError> {
        if self.value(n).is_none() {
            return Err(RemoveError::NotFound);
        }
        self.write(n, None).map_err(RemoveError::Refused)
    }

    fn write(&mut self, n: usize, value: Option<Value>) -> Result<Dot, PutError> {
        let term = match &self.table[n] {
            None => self.floor.checked_add(1),
            Some((old, _)) if old.dot.slot == ME && old.value.is_some() => Some(old.term),
            Some((old, _)) => old.term.checked_add(1),
        };
        let term = term.ok_or(PutError::TermExhausted)?;
        let base = u64::from(MY_LIFE.generation) << 32;
        let dot = Dot { slot: ME, counter: self.version[ME.index()].max(base) + 1 };
        self.version[ME.index()] = dot.counter;
        self.place(Entry::new(n, dot, term, value));
        Ok(dot)
    }

    // ---- packets ----

    /// A packet of a peer was taken.
    pub fn heard(&mut self, from: Slot) {
        let peer = &mut self.peers[from.index()];
        (peer.is_known, peer.heard) = (true, self.now);
    }

    /// Whether the map knows the peer's life.
    pub fn is_known(&self, peer: Slot) -> bool {
        self.peers[peer.index()].is_known
    }

    /// A peer begins another life: nothing is known of it.
    pub fn reborn(&mut self, peer: Slot) {
        let peer = &mut self.peers[peer.index()];
        (peer.is_known, peer.newest_head) = (false, 0);
        peer.told.clear();
        peer.walked.clear();
    }

    /// A peer told of what it accounts for.
    pub fn told(&mut self, from: Slot, version: &[u64; N], floor: u32) {
        self.floor = self.floor.max(floor);
        let told = &mut self.peers[from.index()].told;
        let before = told.last().map_or([0; N], |(_, told)| *told);
        told.push((self.now, std::array::from_fn(|slot| before[slot].max(version[slot]))));
    }

    pub fn push(&mut self, from: Slot, (start, to): (u64, u64), floor: u32, batch: &Batch) {
        let mut told = [0; N];
        told[from.index()] = to;
        self.told(from, &told, floor);
        let fits = self.merge(batch);
        let known = &mut self.version[from.index()];
        if fits && *known >= start {
            *known = to.max(*known);
        }
    }

    pub fn delta(
        &mut self,
        from: Slot,
        stretch: (u64, u64),
        version: &[u64; N],
        floor: u32,
        batch: &Batch,
        outcome: &DeltaOutcome,
    ) {
        self.told(from, version, floor);
        let fits = if outcome.duplicate {
            assert!(self.peers[from.index()].has_told_all_of(stretch), "{stretch:?} is new");
            self.stats.received += batch.records().len() as u64;
            self.stats.covered += batch.records().len() as u64;
            true
        } else {
            self.merge(batch)
        };
        assert_eq!(outcome.refused, !fits);
        if fits {
            self.peers[from.index()].walked.push(stretch);
        }
        if outcome.committed {
            assert!(fits, "what did not fit is not accounted for");
            self.version = std::array::from_fn(|slot| self.version[slot].max(version[slot]));
        }
    }

    /// Merges the records of a packet; returns whether all of them fit.
    fn merge(&mut self, batch: &Batch) -> bool {
        let mut fits = true;
        for entry in batch.records() {
            self.stats.received += 1;
            if self.covers(entry.dot) {
                self.stats.covered += 1;
                continue;
            }
            let Some((old, _)) = self.table[entry.n] else {
                if self.len().0 == self.capacity {
                    self.stats.refused += 1;
                    fits = false;
                } else {
                    self.stats.applied += 1;
                    self.place(*entry);
                }
                continue;
            };
            match entry.compare(&old) {
                Ordering::Less => self.stats.superseded += 1,
                Ordering::Equal => self.stats.duplicate += 1,
                Ordering::Greater => {
                    self.stats.applied += 1;
                    self.place(*entry);
                    if old.dot.slot == ME && owner(key(entry.n), self.live) == Some(ME) {
                        self.events.push(Event::Superseded { key: key(entry.n) });
                    }
                }
            }
        }
        if !fits && !self.full {
            self.full = true;
            self.events.push(Event::Full);
        }
        fits
    }

    /// Whether a peer may lack what stands at a key, as far as it has told.
    pub fn lacks(&self, peer: Slot, n: usize) -> bool {
        self.table[n].is_some_and(|(entry, _)| self.peers[peer.index()].covered_at(entry.dot).is_none())
    }

    // ---- events ----

    /// Takes an event off those that are due; returns whether it was.
    pub fn expected(&mut self, event: &Event) -> bool {
        let at = self.events.iter().position(|due| due == event);
        at.map(|at| self.events.remove(at)).is_some()
    }

    pub fn has_no_event(&self) -> bool {
        self.events.is_empty()
    }

    // ---- sweeps ----

    /// Takes what a sweep did: it may have collected tombstones and rewritten orphans, and nothing else.
    pub fn swept(&mut self, map: &Map<'_, N>) {
        let mut written = 0;
        for n in 0..KEYS {
            let Some((old, held)) = self.table[n] else { continue };
            match map.inspect(key(n)) {
                None => self.collected(&old),
                Some(now) if now == held => {}
                Some(now) => {
                    written += 1;
                    self.rewritten(&old, now.dot);
                }
            }
        }
        self.version[ME.index()] = map.version().get(ME);
        let newest = self.table.iter().flatten().filter(|(entry, _)| entry.dot.slot == ME);
        assert!(
            written == 0
                || newest.map(|(entry, _)| entry.dot.counter).max() == Some(self.version[ME.index()])
        );
    }

    /// A tombstone has left: it may (R2).
    fn collected(&mut self, old: &Entry) {
        assert!(old.value.is_none(), "{old:?} was live");
        assert!(self.covers(old.dot));
        let others = || self.peers.iter().enumerate().filter(|(slot, _)| *slot != ME.index());
        let known = others().map(|(_, peer)| peer.covered_at(old.dot).expect("every peer has it")).max();
        let seen = known.expect("there are peers");
        for (_, peer) in others() {
            assert!(peer.heard >= seen + QUARANTINE, "not heard since");
        }
        self.floor = self.floor.max(old.term);
        self.table[old.n] = None;
        self.full = false;
    }

    /// A record was written anew by us: it was an orphan (R7).
    fn rewritten(&mut self, old: &Entry, dot: Dot) {
        let author = old.dot.slot;
        assert!(author != ME && !self.live.contains(author) && !self.covers(old.dot));
        assert_eq!(owner(key(old.n), self.live), Some(ME));
        for slot in self.live.without(ME).iter() {
            assert_eq!(self.peers[slot.index()].covered_at(old.dot), None, "{slot} will tell");
        }
        let term = old.term.checked_add(1).expect("there is a term above");
        assert!(dot.slot == ME && dot.counter > self.version[ME.index()]);
        self.place(Entry::new(old.n, dot, term, old.value));
    }
}
