//! The history of all writes of a run, and what may be broken from outside the protocol.
//!
//! Knows what was written, in which order R1 puts it, and which writes are waived. Must not know what any replica holds.
//!
//! **Order.** A write's rank is its term, the priority of its slot for the key and its counter, in one number: no two
//! slots have the same priority for a key, so that is the order of R1, worked out anew. Two writes that differ in nothing
//! else than their value have one dot, and are a violation or waived.
//!
//! **Waivers.** Some failures from outside the protocol break R6 (core/docs/rules.md, R4.2, R4.5 and "Repair"). The
//! writes that they break it for are *waived* one by one:
//!
//! - a life starts to write though a configured server was not met (its deadline passed, or it was held dead): what its
//!   slot wrote before and this life has not seen;
//! - such a life creates a key below a tombstone that it has not seen, not knowing the floor either (R2): that tombstone,
//!   once it is collected;
//! - a life starts to write in a *contested* slot, the same; and everything written in a slot while it is contested.
//!
//! A slot is contested while two servers write in it, for a packet's life after one of them stopped, and while the one
//! that writes has no greater generation than some other life of the slot had: its generation was lost, it had not met
//! everyone when it began to write, and nobody has told it yet.
//!
//! A waived write excuses its key up to its own rank: who leaves it out because a version claims it leaves out all that
//! it beats. Nothing above that rank and no other key is excused; no write made after the cause ended is waived.

use std::collections::HashMap;

use popmap_core::clock::{Dot, VersionVector};
use popmap_core::map::Held;
use popmap_core::ownership::priority;
use popmap_core::time::Instant;
use popmap_core::{Key, Slot};

/// The number of a write in a history; zero is none.
pub type WriteId = u32;

/// A write that was made.
#[derive(Clone, Copy, Debug)]
pub struct Write {
    /// Its place in the order of R1 among the writes of its key.
    pub rank: u128,
    /// A hash of key, stamp and value.
    pub hash: u64,
    /// When it was first seen at its author.
    pub at: Instant,
    /// The key's number.
    pub key: u32,
    /// The server that made it.
    pub by: u16,
    /// Its slot.
    pub slot: Slot,
    /// Whether it was a delete.
    pub tombstone: bool,
    /// Its author created the key without having met everyone: it may not have known of a tombstone there, nor the floor.
    pub blind: bool,
    /// A failure from outside the protocol may have broken R6 for it.
    pub waived: bool,
    /// Nobody knew of it any more: no table showed it and no version covered it.
    pub lost: bool,
}

impl Write {
    /// Returns its counter.
    pub fn counter(&self) -> u64 {
        self.rank as u64
    }

    /// Returns its dot.
    pub fn dot(&self) -> Dot {
        Dot { slot: self.slot, counter: self.counter() }
    }

    /// Returns its term.
    pub fn term(&self) -> u32 {
        (self.rank >> 96) as u32
    }

    fn is(&self, key: u32, held: &Held) -> bool {
        self.key == key
            && self.hash == held.hash
            && self.tombstone == held.tombstone
            && self.term() == held.term
    }
}

/// Returns the place of a record of `key` in the order of R1.
pub fn rank(key: Key, held: &Held) -> u128 {
    let high = u128::from(held.term) << 32 | u128::from(priority(held.dot.slot, key));
    high << 64 | u128::from(held.dot.counter)
}

/// The writes of one slot by generation, and within it by sequence.
#[derive(Default)]
struct SlotWrites(Vec<(u32, Vec<WriteId>)>);

impl SlotWrites {
    fn get(&self, counter: u64) -> WriteId {
        let (generation, sequence) = split(counter);
        let writes = self.0.iter().find(|(of, _)| *of == generation);
        writes.and_then(|(_, writes)| writes.get(sequence)).copied().unwrap_or(0)
    }

    fn set(&mut self, counter: u64, id: WriteId) {
        let (generation, sequence) = split(counter);
        let place = self.0.partition_point(|(of, _)| *of < generation);
        if self.0.get(place).is_none_or(|(of, _)| *of != generation) {
            self.0.insert(place, (generation, Vec::new()));
        }
        let writes = &mut self.0[place].1;
        if writes.len() <= sequence {
            writes.resize(sequence + 1, 0);
        }
        writes[sequence] = id;
    }

    /// Iterates the writes with a counter above `after` and up to `to`.
    fn between(&self, after: u64, to: u64) -> impl Iterator<Item = WriteId> + '_ {
        let ((first, from), (last, end)) = (split(after), split(to));
        let generations = self.0.iter().filter(move |(of, _)| (first..=last).contains(of));
        generations.flat_map(move |(of, writes)| {
            let start = if *of == first { (from + 1).min(writes.len()) } else { 0 };
            let stop = if *of == last { (end + 1).min(writes.len()) } else { writes.len() };
            writes[start..stop.max(start)].iter().copied().filter(|&id| id != 0)
        })
    }
}

/// Sequences are dense: a life counts its writes from one on.
fn split(counter: u64) -> (u32, usize) {
    ((counter >> 32) as u32, counter as u32 as usize)
}

/// The history of a run.
pub struct History {
    keys: Vec<Key>,
    writes: Vec<Write>,
    slots: Vec<SlotWrites>,
    /// Writes that share the dot of another: only in contested slots.
    clashes: HashMap<Dot, Vec<WriteId>>,
    /// For each key the tombstones that were collected somewhere and that somebody still knows of, ascending.
    collected: Vec<Vec<WriteId>>,
    /// For each key the greatest write that is waived.
    waived: Vec<WriteId>,
    waived_keys: usize,
}

impl History {
    /// A history of these keys in which nothing was written yet.
    pub fn new(keys: Vec<Key>) -> Self {
        let nothing = Write {
            rank: 0,
            hash: 0,
            at: Instant::ZERO,
            key: 0,
            by: 0,
            slot: Slot::at(0),
            tombstone: false,
            blind: false,
            waived: false,
            lost: false,
        };
        Self {
            collected: vec![Vec::new(); keys.len()],
            waived: vec![0; keys.len()],
            waived_keys: 0,
            keys,
            writes: vec![nothing],
            slots: (0..64).map(|_| SlotWrites::default()).collect(),
            clashes: HashMap::new(),
        }
    }

    /// Returns the keys.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Returns how many writes were made.
    pub fn len(&self) -> usize {
        self.writes.len() - 1
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns a write.
    pub fn write(&self, id: WriteId) -> &Write {
        &self.writes[id as usize]
    }

    /// Returns the rank of a write; zero of none.
    pub fn rank(&self, id: WriteId) -> u128 {
        self.writes[id as usize].rank
    }

    /// Iterates all writes in the order in which they were seen.
    pub fn all(&self) -> impl Iterator<Item = WriteId> + use<> {
        1..self.writes.len() as WriteId
    }

    /// Iterates the writes of `slot` with a counter above `after` and up to `to`.
    pub fn between(&self, slot: Slot, after: u64, to: u64) -> impl Iterator<Item = WriteId> + '_ {
        self.slots[slot.index()].between(after, to)
    }

    /// Returns the write that a record comes from.
    pub fn find(&self, key: u32, held: &Held) -> Option<WriteId> {
        let first = self.slots[held.dot.slot.index()].get(held.dot.counter);
        if first == 0 {
            return None;
        }
        if self.write(first).is(key, held) {
            return Some(first);
        }
        let clashes = self.clashes.get(&held.dot)?;
        clashes.iter().copied().find(|&id| self.write(id).is(key, held))
    }

    /// Notes a new write. One whose dot another has is kept beside it: the caller decides whether that may be.
    ///
    /// # Panics
    /// With more servers than a PoP has.
    pub fn add(&mut self, at: Instant, by: usize, key: u32, held: &Held, blind: bool) -> WriteId {
        let id = self.writes.len() as WriteId;
        let rank = rank(self.keys[key as usize], held);
        let Held { dot, tombstone, hash, .. } = *held;
        let by = u16::try_from(by).expect("few servers");
        let write =
            Write { rank, hash, at, key, by, slot: dot.slot, tombstone, blind, waived: false, lost: false };
        self.writes.push(write);
        if self.slots[dot.slot.index()].get(dot.counter) != 0 {
            self.clashes.entry(dot).or_default().push(id);
        } else {
            self.slots[dot.slot.index()].set(dot.counter, id);
        }
        id
    }

    // ---- what may be broken ----

    /// Waives a write, and those that it beats.
    pub fn waive(&mut self, id: WriteId) {
        let write = &mut self.writes[id as usize];
        write.waived = true;
        let (key, rank) = (write.key as usize, write.rank);
        if self.waived[key] == 0 {
            self.waived_keys += 1;
        }
        if self.rank(self.waived[key]) < rank {
            self.waived[key] = id;
        }
    }

    /// Waives every write with this dot.
    pub fn waive_dot(&mut self, dot: Dot) {
        let first = self.slots[dot.slot.index()].get(dot.counter);
        let others = self.clashes.get(&dot).cloned().unwrap_or_default();
        for id in std::iter::once(first).chain(others).filter(|&id| id != 0) {
            self.waive(id);
        }
    }

    /// Whether R6 may be broken at `key` up to this rank.
    pub fn is_waived(&self, key: u32, rank: u128) -> bool {
        rank <= self.rank(self.waived[key as usize]) && self.waived[key as usize] != 0
    }

    /// Returns how many keys have a waived write.
    pub fn waived_keys(&self) -> usize {
        self.waived_keys
    }

    /// Gives up the place of a write that nobody knows of: another has its dot now.
    pub fn replace_lost(&mut self, id: WriteId) {
        let dot = self.write(id).dot();
        self.set_lost(id, true);
        self.slots[dot.slot.index()].set(dot.counter, 0);
    }

    /// Notes whether nobody knows of a write any more.
    pub fn set_lost(&mut self, id: WriteId, lost: bool) {
        self.writes[id as usize].lost = lost;
    }

    // ---- tombstones that were collected ----

    /// Returns the greatest tombstone of `key` that was collected anywhere, or zero.
    pub fn collected(&self, key: u32) -> WriteId {
        self.collected[key as usize].last().copied().unwrap_or(0)
    }

    /// Returns the tombstones of `key` that were collected anywhere, ascending.
    pub fn all_collected(&self, key: u32) -> &[WriteId] {
        &self.collected[key as usize]
    }

    /// Notes that a tombstone was collected; returns whether none as great was before.
    pub fn collect(&mut self, id: WriteId) -> bool {
        let write = *self.write(id);
        let is_news = self.rank(self.collected(write.key)) < write.rank;
        if is_news {
            self.collected[write.key as usize].push(id);
        }
        is_news
    }

    /// Forgets the collected tombstones that nobody knows of: no version covers them, and no table shows them.
    pub fn forget_collected<const N: usize>(
        &mut self,
        versions: &VersionVector<N>,
        shown: impl Fn(u32, WriteId) -> bool,
    ) {
        let Self { collected, writes, .. } = self;
        for (key, tombstones) in (0..).zip(collected) {
            tombstones.retain(|&id| versions.covers(writes[id as usize].dot()) || shown(key, id));
        }
    }

    /// Says what a write was.
    pub fn show(&self, id: WriteId) -> String {
        if id == 0 {
            return "nothing".to_owned();
        }
        let write = self.write(id);
        let kind = if write.tombstone { "delete" } else { "put" };
        let waived = if write.waived { ", waived" } else { "" };
        let lost = if write.lost { ", lost" } else { "" };
        format!(
            "{kind} of key {} {:?} term {} by server {} at {} ms{waived}{lost}",
            write.key,
            write.dot(),
            write.term(),
            write.by,
            write.at.0 / 1_000_000
        )
    }
}
