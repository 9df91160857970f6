//! The table: an index of fingerprints over a dense array of records, in words that readers share.
//!
//! Knows how one writer and any number of readers share a slot. Must not know which of two records wins.
//!
//! A slot is a stamp word, then the record as it stands on the wire. The stamp is a sequence lock: the writer sets its
//! busy bit, writes the record and stores the stamp of the new state; a reader copies the record between two loads of
//! the stamp and takes it only if both are equal and not busy (Lameter 2005; Boehm 2012 for the orderings). Every
//! change of a slot takes a new position in the change log, which is the stamp's sequence: 31 bits, so a reader would
//! have to sleep through exactly 2^31 changes to be fooled.
//!
//! Entries of the index never move while their key is present, so a reader never misses a key that stays. A bucket
//! counts the keys that had to go on to the next one; a lookup ends at the first bucket that none passed by.

use super::layout::{BUCKET_ENTRIES, BUCKET_WORDS, Layout, SLOT_WORDS, TABLE_HEADER_WORDS};
use crate::atomic::{AtomicU64, Ordering, fence};
use crate::clock::Dot;
use crate::id::{Key, Slot};
use crate::wire::TOMBSTONE;

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
    header: &'a [AtomicU64],
    index: &'a [AtomicU64],
    slots: &'a [AtomicU64],
    layout: Layout,
    position_bits: u32,
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
        let (header, rest) = words.split_at(TABLE_HEADER_WORDS);
        let (index, slots) = rest.split_at(layout.index_words());
        let position_bits = u32::BITS - layout.capacity.leading_zeros();
        Self { header, index, slots, layout, position_bits }
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
        let words = |table: &Table<'a>| table.header.iter().chain(table.index).chain(table.slots);
        for (to, from) in words(self).zip(other.header.iter().chain(other.index).chain(other.slots)) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    // ---- slots ----

    /// Returns a slot's words: stamp, key, counter and the rest of the mark, and those of the value.
    #[inline]
    fn slot(&self, position: Position) -> (&'a [AtomicU64; SLOT_WORDS], &'a [AtomicU64]) {
        let stride = self.layout.stride as usize;
        let slot = &self.slots[position as usize * stride..][..stride];
        slot.split_first_chunk().expect("a slot has room for more than a value")
    }

    pub fn key(&self, position: Position) -> Key {
        let (slot, _) = self.slot(position);
        Key::from_words([slot[1].load(Ordering::Relaxed), slot[2].load(Ordering::Relaxed)])
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
        self.enter(mix, position);
        self.set_count(header::LEN, self.len() as u64 + 1);
        Some(position)
    }

    /// Empties a slot and takes it out of the index. `stamp` must be new to the slot.
    pub fn remove(&self, position: Position, mix: u64, stamp: Stamp) {
        self.leave(mix, position);
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

    /// Copies a slot's record under its sequence lock, trying at most `tries` times. With `key`, only that key's.
    #[inline]
    pub fn copy(&self, position: Position, key: Option<&[u64; 2]>, value: &mut [u8], tries: u32) -> Copied {
        let (slot, words) = self.slot(position);
        let (whole, rest) = value.as_chunks_mut();
        for _ in 0..tries {
            let before = slot[0].load(Ordering::Acquire);
            if before & BUSY != 0 {
                core::hint::spin_loop();
                continue;
            }
            let found = [slot[1].load(Ordering::Relaxed), slot[2].load(Ordering::Relaxed)];
            let counter = slot[3].load(Ordering::Relaxed);
            let meta = slot[4].load(Ordering::Relaxed);
            let wanted = key.is_none_or(|key| *key == found);
            if wanted {
                copy_words(words, whole);
                if !rest.is_empty() {
                    let last = words[whole.len()].load(Ordering::Relaxed).to_le_bytes();
                    rest.copy_from_slice(&last[..rest.len()]);
                }
            }
            fence(Ordering::Acquire);
            if slot[0].load(Ordering::Relaxed) == before {
                return match counter {
                    0 => Copied::Empty,
                    _ if !wanted => Copied::OtherKey,
                    _ => Copied::Record(found, Stamp(before), Mark::from_words(counter, meta)),
                };
            }
        }
        Copied::Busy
    }

    // ---- index ----

    /// The bucket where a lookup starts; it rises with the mix, so a range of mixes is a range of buckets.
    #[inline]
    fn home(&self, mix: u64) -> usize {
        ((u128::from(mix) * u128::from(self.layout.buckets)) >> 64) as usize
    }

    #[inline]
    fn bucket(&self, bucket: usize) -> &'a [AtomicU64; BUCKET_WORDS] {
        self.index[bucket * BUCKET_WORDS..].first_chunk().expect("a bucket is eight words")
    }

    #[inline]
    fn next_bucket(&self, bucket: usize) -> usize {
        if bucket + 1 == self.layout.buckets as usize { 0 } else { bucket + 1 }
    }

    /// An index entry: fingerprint in the high bits, position + 1 in the low; zero is no entry.
    fn entry(&self, mix: u64, position: Position) -> u32 {
        (mix as u32) << self.position_bits | (position + 1)
    }

    fn position_of(&self, entry: u32) -> Position {
        (entry & ((1 << self.position_bits) - 1)) - 1
    }

    /// Brings the home bucket of `mix` into the cache, without waiting for it.
    #[inline]
    pub fn touch(&self, mix: u64) {
        core::hint::black_box(self.bucket(self.home(mix))[0].load(Ordering::Relaxed));
    }

    /// Returns the position of `key`.
    #[inline]
    pub fn find(&self, key: Key, mix: u64) -> Option<Position> {
        let words = key.words();
        self.search(mix, |position| {
            let (slot, _) = self.slot(position);
            let found = [slot[1].load(Ordering::Relaxed), slot[2].load(Ordering::Relaxed)];
            (found == words).then_some(position)
        })
    }

    /// Shows `visit` the positions whose fingerprint matches `mix`, until it returns something, and returns that.
    ///
    /// Goes from the home bucket on to the next one while keys passed the last by.
    #[inline]
    pub fn search<T>(&self, mix: u64, mut visit: impl FnMut(Position) -> Option<T>) -> Option<T> {
        let position_mask = (1u32 << self.position_bits) - 1;
        let fingerprint = (mix as u32) << self.position_bits;
        let mut at = self.home(mix);
        for _ in 0..self.layout.buckets {
            let bucket = Bucket::load(self.bucket(at));
            for place in bucket.places(fingerprint, !position_mask) {
                // An empty entry has a fingerprint too: zero.
                let position = bucket.entry(place) & position_mask;
                if position != 0
                    && let Some(found) = visit(position - 1)
                {
                    return Some(found);
                }
            }
            if bucket.passed_by() == 0 {
                break;
            }
            at = self.next_bucket(at);
        }
        None
    }

    /// Iterates the positions of all records that may have a mix from `from` to `to`; the caller checks each.
    pub fn range(&self, from: u64, to: u64) -> impl Iterator<Item = Position> + use<'a> {
        let table = *self;
        let (first, last) = (self.home(from), self.home(to));
        let within = first..last;
        // Keys that passed the last bucket of all by are in the first one, which `within` may hold already.
        let mut left = self.layout.buckets - within.len() as u32;
        let mut next = Some(last);
        let beyond = core::iter::from_fn(move || {
            let bucket = next?;
            left -= 1;
            next = (left > 0 && table.passed_by(bucket) > 0).then(|| table.next_bucket(bucket));
            Some(bucket)
        });
        within.chain(beyond).flat_map(move |bucket| {
            let bucket = Bucket::load(table.bucket(bucket));
            let entries = (0..BUCKET_ENTRIES).map(move |place| bucket.entry(place));
            entries.filter(|&entry| entry != 0).map(move |entry| table.position_of(entry))
        })
    }

    fn passed_by(&self, bucket: usize) -> u32 {
        (self.bucket(bucket)[BUCKET_WORDS - 1].load(Ordering::Acquire) >> 32) as u32
    }

    fn set_entry(&self, bucket: usize, place: usize, entry: u32) {
        let word = &self.bucket(bucket)[place / 2];
        let shift = 32 * (place % 2);
        let kept = word.load(Ordering::Relaxed) & !(u64::from(u32::MAX) << shift);
        word.store(kept | u64::from(entry) << shift, Ordering::Release);
    }

    fn enter(&self, mix: u64, position: Position) {
        let mut bucket = self.home(mix);
        loop {
            if let Some(place) = Bucket::load(self.bucket(bucket)).places(0, u32::MAX).next() {
                return self.set_entry(bucket, place, self.entry(mix, position));
            }
            // There are more entries than records, so some bucket has room.
            self.set_entry(bucket, BUCKET_ENTRIES, self.passed_by(bucket) + 1);
            bucket = self.next_bucket(bucket);
        }
    }

    fn leave(&self, mix: u64, position: Position) {
        let wanted = self.entry(mix, position);
        let mut bucket = self.home(mix);
        loop {
            if let Some(place) = Bucket::load(self.bucket(bucket)).places(wanted, u32::MAX).next() {
                return self.set_entry(bucket, place, 0);
            }
            self.set_entry(bucket, BUCKET_ENTRIES, self.passed_by(bucket) - 1);
            bucket = self.next_bucket(bucket);
        }
    }
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

/// The entries of one bucket, loaded at once.
#[derive(Clone, Copy)]
struct Bucket([u64; BUCKET_WORDS]);

impl Bucket {
    #[inline]
    fn load(words: &[AtomicU64; BUCKET_WORDS]) -> Self {
        Self(core::array::from_fn(|i| words[i].load(Ordering::Acquire)))
    }

    /// Returns the number of keys that had to go on to the next bucket.
    #[inline]
    fn passed_by(&self) -> u32 {
        (self.0[BUCKET_WORDS - 1] >> 32) as u32
    }

    #[inline]
    fn entry(&self, place: usize) -> u32 {
        (self.0[place / 2] >> (32 * (place % 2))) as u32
    }

    /// Iterates the places whose entry equals `wanted` in the bits of `mask`.
    ///
    /// All places are compared without a branch, two a word: which one it is cannot be predicted, and a wrong guess
    /// costs more than the whole comparison.
    #[inline]
    fn places(&self, wanted: u32, mask: u32) -> Places {
        const LOW: u64 = 0x7fff_ffff_7fff_ffff;
        let both = |half: u32| u64::from(half) << 32 | u64::from(half);
        let (wanted, mask) = (both(wanted), both(mask));
        let found = self.0.iter().enumerate().fold(0, |found, (i, word)| {
            let difference = (word ^ wanted) & mask;
            // The high bit of each half is clear where the half is zero; no half carries into the other.
            let differs = ((difference & LOW) + LOW) | difference;
            found | (!(differs | LOW)) >> (31 - i)
        });
        Places(found & !(1 << (32 + BUCKET_WORDS - 1)))
    }
}

/// A set of places in a bucket: the low entries of the words from bit 0, the high ones from bit 32.
struct Places(u64);

impl Iterator for Places {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let bit = self.0.trailing_zeros() as usize;
        (self.0 != 0).then(|| {
            self.0 &= self.0 - 1;
            2 * (bit % 32) + bit / 32
        })
    }
}

#[cfg(all(test, not(popmap_loom)))]
mod tests;

#[cfg(all(test, popmap_loom))]
mod loom_tests;
