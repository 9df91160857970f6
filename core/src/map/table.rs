//! The table: an index of fingerprints over a dense array of records, in words that readers share.
//!
//! Knows how one writer and any number of readers share a slot. Must not know which of two records wins.
//!
//! A slot is a stamp word, then the record as it stands on the wire. The stamp is a sequence lock: the writer sets its
//! busy bit, writes the record and stores the stamp of the new state; a reader copies the record between two loads of
//! the stamp and takes it only if both are equal and not busy (Lameter 2005; Boehm 2012 for the orderings). Every
//! change of a slot takes a new position in the change log, which is the stamp's sequence: 31 bits, so a reader would
//! have to sleep through exactly 2^31 changes to be fooled.

pub(super) use self::index::Guess;
use self::index::Index;
use super::layout::{Layout, SLOT_WORDS, TABLE_HEADER_WORDS};
use crate::atomic::{AtomicU64, Ordering, fence};
use crate::clock::Dot;
use crate::id::{Key, Slot};
use crate::wire::TOMBSTONE;

mod index;

/// The state of a slot in one word: `busy:1 | log position:31 | time:32`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp(u64);

const BUSY: u64 = 1 << 63;
const POSITION_MASK: u64 = (1 << 31) - 1;
/// Nanoseconds in a unit of a stamp's time are 2^24: 16.8 ms, and 2.3 years before it wraps.
const TIME_SHIFT: u32 = 24;

impl Stamp {
    #[inline]
    pub fn new(position: u64, now_ns: u64) -> Self {
        Self((position & POSITION_MASK) << 32 | now_ns >> TIME_SHIFT & u64::from(u32::MAX))
    }

    #[inline]
    pub fn is_at(self, position: u64) -> bool {
        self.0 >> 32 & POSITION_MASK == position & POSITION_MASK
    }

    #[inline]
    pub fn moved_to(self, position: u64) -> Self {
        Self((position & POSITION_MASK) << 32 | self.0 & u64::from(u32::MAX))
    }

    /// Nanoseconds between the change and `now_ns`, in steps of 16.8 ms.
    pub fn age_ns(self, now_ns: u64) -> u64 {
        let units = ((now_ns >> TIME_SHIFT) as u32).wrapping_sub(self.0 as u32);
        // A reader's clock may lag the writer's by a step: that is no age, not 2.3 years.
        if units > u32::MAX - 64 { 0 } else { u64::from(units) << TIME_SHIFT }
    }
}

/// The words of a record that order it: everything but key and value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    pub dot: Dot,
    pub term: u32,
    pub tombstone: bool,
}

impl Mark {
    #[inline]
    pub fn from_words(counter: u64, meta: u64) -> Self {
        Self {
            dot: Dot { slot: Slot::at((meta >> 32) as usize & 63), counter },
            term: meta as u32,
            tombstone: meta >> 40 & u64::from(TOMBSTONE) != 0,
        }
    }

    #[inline]
    pub fn words(&self) -> [u64; 2] {
        let meta =
            u64::from(self.term) | u64::from(self.dot.slot.get()) << 32 | u64::from(self.tombstone) << 40;
        [self.dot.counter, meta]
    }
}

/// A position in the record array.
pub(super) type Position = u32;

#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    header: &'a [AtomicU64; TABLE_HEADER_WORDS],
    index: Index<'a>,
    slots: &'a [AtomicU64],
    layout: Layout,
}

/// Words of the header.
mod header {
    pub const LEN: usize = 0;
    pub const TOMBSTONES: usize = 1;
    pub const HIGH_WATER: usize = 2;
    pub const FREE: usize = 3;
    pub const HEARTBEAT: usize = 4;
}

/// What a copy of a slot under its sequence lock came to.
pub(super) enum Copied {
    Record([u64; 2], Stamp, Mark),
    Empty,
    OtherKey,
    Busy,
}

impl<'a> Table<'a> {
    pub fn new(words: &'a [AtomicU64], layout: Layout) -> Self {
        let (header, rest) = words.split_first_chunk().expect("a table has a header");
        let (index, slots) = rest.split_at(layout.index_words());
        Self { header, index: Index::new(index, layout.capacity), slots, layout }
    }

    fn count(&self, word: usize) -> u64 {
        self.header[word].load(Ordering::Relaxed)
    }

    fn set_count(&self, word: usize, value: u64) {
        self.header[word].store(value, Ordering::Relaxed);
    }

    /// Records in the table, tombstones among them.
    pub fn len(&self) -> usize {
        self.count(header::LEN) as usize
    }

    pub fn tombstones(&self) -> usize {
        self.count(header::TOMBSTONES) as usize
    }

    /// Returns the bytes of a value.
    #[inline]
    pub fn value_len(&self) -> usize {
        self.layout.value_len as usize
    }

    pub fn capacity(&self) -> usize {
        self.layout.capacity as usize
    }

    /// Positions that have ever been used: the bound of a sweep.
    pub fn high_water(&self) -> Position {
        self.count(header::HIGH_WATER) as Position
    }

    pub fn heartbeat(&self) -> u64 {
        self.header[header::HEARTBEAT].load(Ordering::Acquire)
    }

    pub fn set_heartbeat(&self, now_ns: u64) {
        self.header[header::HEARTBEAT].store(now_ns, Ordering::Release);
    }

    /// Whether the words are those of a table that was never used.
    pub fn is_pristine(&self) -> bool {
        self.header.iter().all(|word| word.load(Ordering::Relaxed) == 0)
    }

    /// Takes the contents of a table of the same layout.
    pub fn copy_from(&self, other: &Table<'_>) {
        for (to, from) in self.words().zip(other.words()) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    fn words(&self) -> impl Iterator<Item = &'a AtomicU64> + use<'a> {
        self.header.iter().chain(self.index.words()).chain(self.slots)
    }

    // ---- slots ----

    /// Returns a slot's words: stamp, key, counter and the rest of the mark, and those of the value.
    #[inline]
    fn slot(&self, position: Position) -> (&'a [AtomicU64; SLOT_WORDS], &'a [AtomicU64]) {
        self.slot_if_any(position).expect("the index leads its writer to slots only")
    }

    /// Returns the same, or `None` where the table has no such slot.
    #[inline]
    fn slot_if_any(&self, position: Position) -> Option<(&'a [AtomicU64; SLOT_WORDS], &'a [AtomicU64])> {
        let stride = self.layout.stride();
        let start = position as usize * stride;
        self.slots.get(start..start + stride)?.split_first_chunk()
    }

    pub fn key(&self, position: Position) -> Key {
        Key::from_words(key_words(self.slot(position).0))
    }

    /// Returns the record's order, or `None` when the slot is free.
    #[inline]
    pub fn mark(&self, position: Position) -> Option<Mark> {
        let (slot, _) = self.slot(position);
        let counter = slot[3].load(Ordering::Relaxed);
        (counter != 0).then(|| Mark::from_words(counter, slot[4].load(Ordering::Relaxed)))
    }

    /// Whether a record is there that last changed at `log_position`.
    #[inline]
    pub fn is_live(&self, position: Position, log_position: u64) -> bool {
        let (slot, _) = self.slot(position);
        let stamp = Stamp(slot[0].load(Ordering::Relaxed));
        stamp.is_at(log_position) & (slot[3].load(Ordering::Relaxed) != 0)
    }

    /// Returns the words of the value.
    #[inline]
    pub fn value(&self, position: Position) -> impl Iterator<Item = u64> + use<'a> {
        self.slot(position).1.iter().map(|word| word.load(Ordering::Relaxed))
    }

    /// Returns the words of the record as they stand on the wire.
    #[inline]
    pub fn record(&self, position: Position) -> impl Iterator<Item = u64> + use<'a> {
        let (slot, value) = self.slot(position);
        slot[1..].iter().chain(value).map(|word| word.load(Ordering::Relaxed))
    }

    /// Copies the record into `bytes`, as it stands on the wire.
    #[inline]
    pub fn copy_out(&self, position: Position, bytes: &mut [u8]) {
        let (slot, value) = self.slot(position);
        let (bytes, _) = bytes.as_chunks_mut();
        let (head, tail) = bytes.split_at_mut((SLOT_WORDS - 1).min(bytes.len()));
        copy_words(&slot[1..], head);
        copy_words(value, tail);
    }

    /// Overwrites everything of a slot but its key.
    #[inline]
    pub fn write(&self, position: Position, stamp: Stamp, mark: &Mark, value: impl Iterator<Item = u64>) {
        let (slot, words) = self.slot(position);
        let was_tombstone = self.mark(position).is_some_and(|mark| mark.tombstone);
        lock(slot);
        let [counter, meta] = mark.words();
        slot[3].store(counter, Ordering::Relaxed);
        slot[4].store(meta, Ordering::Relaxed);
        for (word, value) in words.iter().zip(value) {
            word.store(value, Ordering::Relaxed);
        }
        slot[0].store(stamp.0, Ordering::Release);
        if was_tombstone != mark.tombstone {
            let now = self.tombstones() as u64;
            self.set_count(header::TOMBSTONES, if mark.tombstone { now + 1 } else { now - 1 });
        }
    }

    /// Gives a record another log position; the record stays as it is.
    #[inline]
    pub fn restamp(&self, position: Position, log_position: u64) {
        let word = &self.slot(position).0[0];
        word.store(Stamp(word.load(Ordering::Relaxed)).moved_to(log_position).0, Ordering::Release);
    }

    /// Takes a slot for `key` and enters it in the index. The slot stays empty to readers until it is written.
    ///
    /// Returns `None` when every slot is taken.
    pub fn insert(&self, key: Key, mix: u64) -> Option<Position> {
        let free = self.count(header::FREE);
        let position = if free != 0 {
            let position = (free - 1) as Position;
            self.set_count(header::FREE, self.slot(position).0[1].load(Ordering::Relaxed));
            position
        } else {
            let position = self.high_water();
            if position == self.layout.capacity {
                return None;
            }
            self.set_count(header::HIGH_WATER, u64::from(position) + 1);
            position
        };
        let (slot, _) = self.slot(position);
        // Busy until the first write: the caller's next call.
        lock(slot);
        let [low, high] = key.words();
        slot[1].store(low, Ordering::Relaxed);
        slot[2].store(high, Ordering::Relaxed);
        self.index.enter(mix, position);
        self.set_count(header::LEN, self.len() as u64 + 1);
        Some(position)
    }

    /// Empties a slot and takes it out of the index. `stamp` must be new to the slot.
    pub fn remove(&self, position: Position, mix: u64, stamp: Stamp) {
        self.index.leave(mix, position);
        if self.mark(position).is_some_and(|mark| mark.tombstone) {
            self.set_count(header::TOMBSTONES, self.tombstones() as u64 - 1);
        }
        let (slot, _) = self.slot(position);
        lock(slot);
        slot[3].store(0, Ordering::Relaxed);
        slot[1].store(self.count(header::FREE), Ordering::Relaxed);
        slot[0].store(stamp.0, Ordering::Release);
        self.set_count(header::FREE, u64::from(position) + 1);
        self.set_count(header::LEN, self.len() as u64 - 1);
    }

    /// Brings what leads to `mix` into the cache, without waiting for it.
    #[inline]
    pub fn touch(&self, mix: u64) {
        self.index.touch(mix);
    }

    /// Returns what the index tells of a key with this mix at the first look, without one at the record.
    #[inline]
    pub fn guess(&self, mix: u64) -> Guess {
        self.index.guess(mix)
    }

    /// Returns the position of `key`.
    #[inline]
    pub fn find(&self, key: Key, mix: u64) -> Option<Position> {
        match self.guess(mix) {
            Guess::At(at) if self.is_at(at, key) => Some(at),
            Guess::Nowhere => None,
            Guess::At(_) | Guess::Further => self.search(key, mix),
        }
    }

    /// Returns the position of `key` when a guess was wrong.
    #[inline(never)]
    pub fn search(&self, key: Key, mix: u64) -> Option<Position> {
        self.index.search(mix, |at| self.is_at(at, key))
    }

    #[inline]
    fn is_at(&self, position: Position, key: Key) -> bool {
        self.slot_if_any(position).is_some_and(|(slot, _)| key_words(slot) == key.words())
    }

    /// Iterates the positions of all records that may have a mix from `from` to `to`; the caller checks each.
    pub fn range(&self, from: u64, to: u64) -> impl Iterator<Item = Position> + use<'a> {
        self.index.range(from, to)
    }

    /// Copies a slot's record under its sequence lock, trying at most `tries` times.
    pub fn copy(&self, position: Position, value: &mut [u8], tries: u32) -> Copied {
        for _ in 0..tries {
            let copied = self.try_copy(position, None, value);
            if !matches!(copied, Copied::Busy) {
                return copied;
            }
            core::hint::spin_loop();
        }
        Copied::Busy
    }

    /// Copies a slot's record under its sequence lock, unless the writer is busy there. With `key`, only that key's.
    ///
    /// A position beyond the table is as good as an empty slot.
    #[inline]
    pub fn try_copy(&self, position: Position, key: Option<[u64; 2]>, value: &mut [u8]) -> Copied {
        let Some((slot, words)) = self.slot_if_any(position) else {
            return Copied::Empty;
        };
        let before = slot[0].load(Ordering::Acquire);
        let found = key_words(slot);
        // A record never moves: whatever the writer is doing here, it is not doing it to the record of `key`. Compared
        // word by word, which takes fewer instructions than arrays do.
        if key.is_some_and(|key| key[0] != found[0] || key[1] != found[1]) {
            return Copied::OtherKey;
        }
        if before & BUSY != 0 {
            return Copied::Busy;
        }
        let [counter, meta] = [slot[3].load(Ordering::Relaxed), slot[4].load(Ordering::Relaxed)];
        let (whole, rest) = value.as_chunks_mut();
        copy_words(words, whole);
        if !rest.is_empty() {
            let last = words[whole.len()].load(Ordering::Relaxed).to_le_bytes();
            rest.copy_from_slice(&last[..rest.len()]);
        }
        fence(Ordering::Acquire);
        if slot[0].load(Ordering::Relaxed) != before {
            return Copied::Busy;
        }
        match counter {
            0 => Copied::Empty,
            _ => Copied::Record(found, Stamp(before), Mark::from_words(counter, meta)),
        }
    }
}

#[inline]
fn key_words(slot: &[AtomicU64; SLOT_WORDS]) -> [u64; 2] {
    [slot[1].load(Ordering::Relaxed), slot[2].load(Ordering::Relaxed)]
}

#[inline]
fn lock(slot: &[AtomicU64; SLOT_WORDS]) {
    let stamp = slot[0].load(Ordering::Relaxed);
    slot[0].store(stamp | BUSY, Ordering::Relaxed);
    fence(Ordering::Release);
}

#[inline]
fn copy_words(words: &[AtomicU64], bytes: &mut [[u8; 8]]) {
    for (bytes, word) in bytes.iter_mut().zip(words) {
        *bytes = word.load(Ordering::Relaxed).to_le_bytes();
    }
}

#[cfg(all(test, not(popmap_loom)))]
mod tests;

#[cfg(all(test, popmap_loom))]
mod loom_tests;
