//! The table: an index of fingerprints over a dense array of records, in words that readers share.
//!
//! Knows how one writer and any number of readers share a slot. Must not know which of two records wins.
//!
//! A slot is a stamp word, then the record as it stands on the wire. The stamp is a sequence lock: the writer sets its
//! busy bit, writes the record and stores the stamp of the new state; a reader copies the record between two loads of
//! the stamp and takes it only if both are equal and not busy (Lameter 2005; Boehm 2012 for the orderings). One bit,
//! set where a value stands and the writer does not, tells a reader of values all that it asks. Every change of a slot
//! takes a new position in the change log, which is the stamp's sequence: 30 bits, so a reader would have to sleep
//! through exactly 2^30 changes to be fooled.

use core::hash::{Hash, Hasher};

pub(super) use self::index::Guess;
use self::index::Index;
pub(super) use self::mark::{Mark, is_tombstone, next_writer, writer};
use self::slot::{BUSY, LIVE, copy_words, key_words, lock};
pub(super) use self::slot::{Entry, Packed, Stamp, Words};
use super::layout::{Layout, SLOT_WORDS, TABLE_HEADER_WORDS};
use crate::arch::prefetch::prefetch;
use crate::atomic::{AtomicU64, Ordering, fence};
use crate::id::Key;
use crate::limits::VALUE_DEFAULT;

mod index;
mod mark;
mod slot;

/// A position in the record array.
pub(super) type Position = u32;

#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    header: &'a [AtomicU64; TABLE_HEADER_WORDS],
    index: Index<'a>,
    slots: &'a [AtomicU64],
    /// Words of a slot.
    stride: usize,
    layout: Layout,
}

/// Words of a slot whose value has the default length.
const STRIDE_DEFAULT: usize = SLOT_WORDS + VALUE_DEFAULT / 8;
/// How far ahead of a walk its records are brought into the cache.
const LOOK_AHEAD: usize = 8;

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
        Self { header, index: Index::new(index, layout.capacity), slots, stride: layout.stride(), layout }
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

    /// Feeds what stands at which place, and which places will be taken next, to `hasher`.
    pub fn hash_places(&self, hasher: &mut impl Hasher) {
        self.header.iter().take(header::HEARTBEAT).for_each(|word| word.load(Ordering::Relaxed).hash(hasher));
        for at in 0..self.high_water() {
            self.record(at).for_each(|word| word.hash(hasher));
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
        self.slot_with(position, self.stride)
    }

    #[inline]
    fn slot_with(
        &self,
        position: Position,
        stride: usize,
    ) -> Option<(&'a [AtomicU64; SLOT_WORDS], &'a [AtomicU64])> {
        let start = position as usize * stride;
        self.slots.get(start..start + stride)?.split_first_chunk()
    }

    /// Returns the slot at a position that the index leads to.
    #[inline]
    pub fn entry(&self, at: Position) -> Entry<'a> {
        let (slot, value) = self.slot(at);
        Entry { at, slot, value }
    }

    pub fn key(&self, position: Position) -> Key {
        Key::from_words(key_words(self.slot(position).0))
    }

    /// Returns the record's order, or `None` when the slot is free.
    #[inline]
    pub fn mark(&self, position: Position) -> Option<Mark> {
        self.entry(position).mark()
    }

    /// Returns the order of the record that last changed at this position of the change log, or `None` when it has changed
    /// since, or is gone. What the log has entries for is less than 2^30 changes ago.
    #[inline]
    pub fn mark_at(&self, position: Position, log_position: u64) -> Option<Mark> {
        let entry = self.entry(position);
        if entry.stamp().steps_to(log_position) == 0 { entry.mark() } else { None }
    }

    /// Returns the words of the value.
    #[inline]
    pub fn value(&self, position: Position) -> impl Iterator<Item = u64> + use<'a> {
        self.entry(position).value()
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
        let Some((head, tail)) = bytes.split_first_chunk_mut::<{ SLOT_WORDS - 1 }>() else { return };
        copy_words(&slot[1..], head);
        // As many as a value has by default: a loop over so few words costs more than they do.
        match (
            <&[_; VALUE_DEFAULT / 8]>::try_from(value),
            <&mut [_; VALUE_DEFAULT / 8]>::try_from(&mut *tail),
        ) {
            (Ok(value), Ok(tail)) => copy_words(value, tail),
            _ => copy_words(value, tail),
        }
    }

    /// Copies of the records at `entries`, which changed at positions of the change log from `first` on, those into `to` that
    /// have not changed since and whose mark is wanted, as they stand on the wire. Ends early when there is no room for one
    /// that is. Returns how many it has looked at, and how many it copied.
    #[inline(never)]
    pub fn copy_changed(
        &self,
        entries: &[Position],
        first: u64,
        is_wanted: impl Fn([u64; 2]) -> bool,
        to: &mut [u8],
    ) -> (usize, usize) {
        // Of one length the compiler knows strides and bounds.
        match self.stride {
            STRIDE_DEFAULT => self.copy_changed_of(STRIDE_DEFAULT, entries, first, is_wanted, to),
            stride => self.copy_changed_of(stride, entries, first, is_wanted, to),
        }
    }

    #[inline(always)]
    fn copy_changed_of(
        &self,
        stride: usize,
        entries: &[Position],
        first: u64,
        is_wanted: impl Fn([u64; 2]) -> bool,
        to: &mut [u8],
    ) -> (usize, usize) {
        let mut frames = to.chunks_exact_mut(8 * (stride - 1));
        let (mut expected, room) = (first, frames.len());
        for (n, &at) in entries.iter().enumerate() {
            if let Some(&ahead) = entries.get(n + LOOK_AHEAD) {
                self.touch_slot(ahead);
            }
            let (slot, value) = self.slot_with(at, stride).expect("the log leads to slots only");
            let entry = Entry { at, slot, value };
            let mark = entry.mark_words();
            // A slot that was emptied has no counter.
            if entry.stamp().steps_to(expected) == 0 && mark[0] != 0 && is_wanted(mark) {
                let Some(bytes) = frames.next() else {
                    return (n, room - frames.len());
                };
                let (head, tail) = bytes.as_chunks_mut().0.split_at_mut(SLOT_WORDS - 1);
                copy_words(&slot[1..], head);
                copy_words(value, tail);
            }
            expected += 1;
        }
        (entries.len(), room - frames.len())
    }

    /// Overwrites everything of a slot but its key, with the words of a [`Mark`] and of a value. `was_tombstone` says
    /// whether a tombstone is there.
    #[inline]
    pub fn write(
        &self,
        entry: Entry<'_>,
        stamp: Stamp,
        was_tombstone: bool,
        [counter, meta]: [u64; 2],
        value: impl Words,
    ) {
        let Entry { slot, value: words, .. } = entry;
        debug_assert_eq!(was_tombstone, entry.mark().is_some_and(|mark| mark.tombstone));
        slot[0].store(stamp.busy().0, Ordering::Relaxed);
        fence(Ordering::Release);
        slot[3].store(counter, Ordering::Relaxed);
        slot[4].store(meta, Ordering::Relaxed);
        value.store_in(words);
        let is_tombstone = is_tombstone(meta);
        slot[0].store(stamp.of(is_tombstone).0, Ordering::Release);
        if was_tombstone != is_tombstone {
            let now = self.tombstones() as u64;
            self.set_count(header::TOMBSTONES, if is_tombstone { now + 1 } else { now - 1 });
        }
    }

    /// Overwrites a value with another of the same writer and term.
    #[inline(always)]
    pub fn overwrite(&self, entry: Entry<'_>, stamp: Stamp, counter: u64, value: impl Words) {
        let Entry { slot, value: words, .. } = entry;
        slot[0].store(stamp.busy().0, Ordering::Relaxed);
        fence(Ordering::Release);
        slot[3].store(counter, Ordering::Relaxed);
        value.store_in(words);
        slot[0].store(stamp.of(false).0, Ordering::Release);
    }

    /// Takes a slot for `key` and enters it in the index. The slot stays empty to readers until it is written.
    ///
    /// Returns `None` when every slot is taken.
    pub fn insert(&self, key: Key, mix: u64) -> Option<Entry<'a>> {
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
        let entry = self.entry(position);
        // Busy until the first write: the caller's next call.
        lock(entry.slot);
        let [low, high] = key.words();
        entry.slot[1].store(low, Ordering::Relaxed);
        entry.slot[2].store(high, Ordering::Relaxed);
        self.index.enter(mix, position);
        self.set_count(header::LEN, self.len() as u64 + 1);
        Some(entry)
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

    /// Returns the bucket of the index that a lookup begins with.
    #[inline]
    pub fn home(&self, mix: u64) -> u32 {
        self.index.home(mix) as u32
    }

    /// Brings a bucket of the index into the cache, without waiting for it.
    #[inline]
    pub fn touch_home(&self, home: u32) {
        self.index.touch(home as usize);
    }

    /// Returns the position that the [home](Self::home) of `mix` tells of a key with this mix at the first look, without one
    /// at the record; one beyond every table when it tells of none.
    #[inline]
    pub fn guess_in(&self, home: u32, mix: u64) -> Position {
        self.index.guess_in(home as usize, mix)
    }

    /// Returns what the index tells of a key with this mix at the first look, without one at the record.
    #[inline]
    pub fn guess(&self, mix: u64) -> Guess {
        self.index.guess(mix)
    }

    /// Returns the position of `key`.
    #[inline]
    pub fn find(&self, key: Key, mix: u64) -> Option<Position> {
        self.find_entry(key, mix).map(|entry| entry.at)
    }

    /// Returns the slot of `key`.
    #[inline]
    pub fn find_entry(&self, key: Key, mix: u64) -> Option<Entry<'a>> {
        let words = key.words();
        match self.guess(mix) {
            Guess::At(at) => match self.entry_of(at, words) {
                None => self.search(key, mix),
                found => found,
            },
            Guess::Nowhere => None,
            Guess::Further => self.search(key, mix),
        }
    }

    /// Returns the slot of `key` when a guess was wrong.
    #[inline(never)]
    pub fn search(&self, key: Key, mix: u64) -> Option<Entry<'a>> {
        let words = key.words();
        let at = self.index.search(mix, |at| self.entry_of(at, words).is_some())?;
        self.entry_of(at, words)
    }

    /// Brings a slot into the cache, without waiting for it.
    #[inline]
    pub fn touch_slot(&self, at: Position) {
        if let Some(word) = self.slots.get(at as usize * self.stride) {
            prefetch(word);
        }
    }

    /// Returns the slot at `position` if it is `key`'s. A reader may be led beyond the table.
    #[inline]
    pub fn entry_of(&self, position: Position, key: [u64; 2]) -> Option<Entry<'a>> {
        self.entry_with(position, key, self.stride)
    }

    /// The same where the compiler may know the words of a slot.
    #[inline(always)]
    pub fn entry_with(&self, position: Position, key: [u64; 2], stride: usize) -> Option<Entry<'a>> {
        debug_assert_eq!(stride, self.stride);
        let (slot, value) = self.slot_with(position, stride)?;
        Some(Entry { at: position, slot, value }).filter(|entry| entry.has(key))
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

    /// Copies the value of `key`'s record under its sequence lock if it stands at `position`, and the writer does not.
    /// `None` says nothing but that: see [`try_copy`](Self::try_copy).
    ///
    /// Inlined, so that where the compiler knows the length of `value`, it knows strides and bounds too.
    #[inline(always)]
    pub fn copy_live(&self, position: Position, key: [u64; 2], value: &mut [u8]) -> Option<(Stamp, Mark)> {
        let (slot, words) = self.slot_with(position, self.layout.stride())?;
        let before = slot[0].load(Ordering::Acquire);
        let found = key_words(slot);
        // Word by word, which takes fewer instructions than arrays do.
        if key[0] != found[0] || key[1] != found[1] || before & LIVE == 0 {
            return None;
        }
        copy_under(before, slot, words, value).map(|mark| (Stamp(before), mark))
    }

    /// Copies a slot's record under its sequence lock, unless the writer is busy there. With `key`, only that key's.
    ///
    /// A position beyond the table is as good as an empty slot. Of a tombstone there is no value to copy.
    pub fn try_copy(&self, position: Position, key: Option<[u64; 2]>, value: &mut [u8]) -> Copied {
        let Some((slot, words)) = self.slot_if_any(position) else {
            return Copied::Empty;
        };
        let before = slot[0].load(Ordering::Acquire);
        let found = key_words(slot);
        // A record never moves: whatever the writer is doing here, it is not doing it to the record of `key`.
        if key.is_some_and(|key| key != found) {
            return Copied::OtherKey;
        }
        if before & BUSY != 0 {
            return Copied::Busy;
        }
        let value = if before & LIVE == 0 { &mut [] } else { value };
        match copy_under(before, slot, words, value) {
            None => Copied::Busy,
            Some(mark) if mark.dot.counter == 0 => Copied::Empty,
            Some(mark) => Copied::Record(found, Stamp(before), mark),
        }
    }
}

/// Copies a slot's value, and returns the mark that goes with it, unless the slot is no longer as `before`.
#[inline(always)]
fn copy_under(
    before: u64,
    slot: &[AtomicU64; SLOT_WORDS],
    words: &[AtomicU64],
    value: &mut [u8],
) -> Option<Mark> {
    let [counter, meta] = [slot[3].load(Ordering::Relaxed), slot[4].load(Ordering::Relaxed)];
    let (whole, rest) = value.as_chunks_mut();
    copy_words(words, whole);
    if !rest.is_empty() {
        let last = words[whole.len()].load(Ordering::Relaxed).to_le_bytes();
        rest.copy_from_slice(&last[..rest.len()]);
    }
    fence(Ordering::Acquire);
    let is_whole = slot[0].load(Ordering::Relaxed) == before || crate::teeth::stamp_unchecked();
    is_whole.then(|| Mark::from_words(counter, meta))
}

#[cfg(all(test, not(popmap_loom)))]
mod tests;

#[cfg(all(test, popmap_loom))]
mod loom_tests;
