//! The slot: the words of one record, and the sequence lock that is the first of them.
//!
//! Knows how one writer and any number of readers share it. Must not know where in the table it is.

use super::Position;
use super::mark::Mark;
use crate::atomic::{AtomicU64, Ordering, fence};
use crate::limits::VALUE_DEFAULT;
use crate::map::layout::SLOT_WORDS;

/// The state of a slot in one word: `live:1 | busy:1 | log position:30 | time:32`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::map) struct Stamp(pub(in crate::map::table) u64);

/// A value is there, and the writer is not: neither a tombstone nor nothing.
pub(super) const LIVE: u64 = 1 << 63;
/// The writer is there.
pub(super) const BUSY: u64 = 1 << 62;
const POSITION_MASK: u64 = (1 << 30) - 1;
/// Nanoseconds in a unit of a stamp's time are 2^24: 16.8 ms, and 2.3 years before it wraps.
pub(super) const TIME_SHIFT: u32 = 24;

impl Stamp {
    #[inline]
    pub fn new(position: u64, now_ns: u64) -> Self {
        Self((position & POSITION_MASK) << 32 | now_ns >> TIME_SHIFT & u64::from(u32::MAX))
    }

    /// Returns the stamp of the next position, of the same time.
    #[inline(always)]
    pub fn next(self) -> Self {
        Self(self.0 + (1 << 32))
    }

    /// Whether the low bits of so many further positions go on rising.
    #[inline]
    pub fn is_far_from_wrapping(self, further: u32) -> bool {
        (self.0 >> 32 & POSITION_MASK) + u64::from(further) <= POSITION_MASK
    }

    /// Returns how many positions of the change log lie between this one and `head`, which is less than 2^30 further.
    #[inline]
    pub fn steps_to(self, head: u64) -> u32 {
        (head.wrapping_sub(self.0 >> 32) & POSITION_MASK) as u32
    }

    /// Returns the state during the write that ends in this one.
    #[inline]
    pub(super) fn busy(self) -> Self {
        Self(self.0 | BUSY)
    }

    /// Returns the state after the write of a value, or of a tombstone.
    #[inline]
    pub(super) fn of(self, is_tombstone: bool) -> Self {
        Self(self.0 | u64::from(!is_tombstone) << LIVE.trailing_zeros())
    }

    /// Nanoseconds between the change and `now_ns`, in steps of 16.8 ms.
    pub fn age_ns(self, now_ns: u64) -> u64 {
        let units = ((now_ns >> TIME_SHIFT) as u32).wrapping_sub(self.0 as u32);
        // A reader's clock may lag the writer's by a step: that is no age, not 2.3 years.
        if units > u32::MAX - 64 { 0 } else { u64::from(units) << TIME_SHIFT }
    }
}

/// A slot that a record is in, or is about to be written to.
#[derive(Clone, Copy)]
pub(in crate::map) struct Entry<'a> {
    pub at: Position,
    pub(super) slot: &'a [AtomicU64; SLOT_WORDS],
    pub(super) value: &'a [AtomicU64],
}

impl<'a> Entry<'a> {
    /// Returns the state of the slot.
    #[inline]
    pub fn stamp(&self) -> Stamp {
        Stamp(self.slot[0].load(Ordering::Relaxed))
    }

    /// Returns the record's order, or `None` when the slot is free.
    #[inline]
    pub fn mark(&self) -> Option<Mark> {
        let [counter, meta] = self.mark_words();
        (counter != 0).then(|| Mark::from_words(counter, meta))
    }

    /// Returns the words of the record's order as it stands, all zero counter when the slot is free; see [`Mark`].
    #[inline]
    pub fn mark_words(&self) -> [u64; 2] {
        [self.slot[3].load(Ordering::Relaxed), self.slot[4].load(Ordering::Relaxed)]
    }

    /// Returns the words of the value.
    #[inline]
    pub fn value(&self) -> impl Iterator<Item = u64> + use<'a> {
        self.value.iter().map(|word| word.load(Ordering::Relaxed))
    }

    #[inline]
    pub(super) fn has(&self, key: [u64; 2]) -> bool {
        // Word by word, which takes fewer instructions than arrays do.
        let found = key_words(self.slot);
        key[0] == found[0] && key[1] == found[1]
    }
}

/// The words of a value that is to be written.
pub(in crate::map) trait Words {
    fn store_in(self, words: &[AtomicU64]);
}

/// Any words; what they do not reach stays as it is.
impl<I: Iterator<Item = u64>> Words for I {
    #[inline]
    fn store_in(self, words: &[AtomicU64]) {
        words.iter().zip(self).for_each(|(word, value)| word.store(value, Ordering::Relaxed));
    }
}

/// Words as they stand in a packet.
#[derive(Clone, Copy)]
pub(in crate::map) struct Packed<'p>(pub &'p [[u8; 8]]);

impl Words for Packed<'_> {
    #[inline]
    fn store_in(self, words: &[AtomicU64]) {
        let store = |(word, bytes): (&AtomicU64, &[u8; 8])| {
            word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
        };
        // As many as a value has by default: a loop over so few words costs more than they do.
        let packed = <&[_; VALUE_DEFAULT / 8]>::try_from(self.0);
        match (<&[_; VALUE_DEFAULT / 8]>::try_from(words), packed) {
            (Ok(words), Ok(packed)) => words.iter().zip(packed).for_each(store),
            _ => words.iter().zip(self.0).for_each(store),
        }
    }
}

#[inline]
pub(super) fn key_words(slot: &[AtomicU64; SLOT_WORDS]) -> [u64; 2] {
    [slot[1].load(Ordering::Relaxed), slot[2].load(Ordering::Relaxed)]
}

#[inline]
pub(super) fn lock(slot: &[AtomicU64; SLOT_WORDS]) {
    let stamp = slot[0].load(Ordering::Relaxed);
    slot[0].store(stamp & !LIVE | BUSY, Ordering::Relaxed);
    fence(Ordering::Release);
}

#[inline(always)]
pub(super) fn copy_words(words: &[AtomicU64], bytes: &mut [[u8; 8]]) {
    for (bytes, word) in bytes.iter_mut().zip(words) {
        *bytes = word.load(Ordering::Relaxed).to_le_bytes();
    }
}
