//! The record: the same layout on the wire and in the table.

use super::Reject;
use crate::clock::Dot;
use crate::id::{Key, Slot};
use crate::limits::{RECORD_OVERHEAD, VALUE_DEFAULT, VALUE_MAX};

/// Bit of a record's flags: the write was a delete, and the value is zero.
pub const TOMBSTONE: u8 = 1;

/// What the servers of a PoP must agree on to share a map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Names the meaning of the values, so that servers which would misread each other reject each other.
    pub schema: u32,
    /// Bytes of a value, at most [`VALUE_MAX`].
    pub value_len: u16,
}

impl Shape {
    /// Returns the 8-byte words that a value takes.
    pub const fn value_words(&self) -> usize {
        (self.value_len as usize).div_ceil(8)
    }

    /// Returns the bytes of a record, a multiple of 8.
    pub const fn record_len(&self) -> usize {
        RECORD_OVERHEAD + 8 * self.value_words()
    }

    pub(crate) const fn is_valid(&self) -> bool {
        self.value_len as usize <= VALUE_MAX
    }
}

/// One checked record inside a packet.
///
/// Layout, little-endian: key 16 bytes; counter u64; term u32; slot u8; flags u8; reserved u16, zero; value,
/// zero-padded to a multiple of 8 bytes.
#[derive(Clone, Copy)]
pub struct RecordRef<'p> {
    /// Key, counter, and the word of the rest.
    head: &'p [[u8; 8]; HEAD_WORDS],
    value: &'p [[u8; 8]],
}

/// Bytes of a record whose value has the default length.
pub(crate) const RECORD_DEFAULT: usize = RECORD_OVERHEAD + VALUE_DEFAULT;

/// Words of a record before its value.
const HEAD_WORDS: usize = RECORD_OVERHEAD / 8;

impl<'p> RecordRef<'p> {
    /// Returns the record that these bytes are: a multiple of eight, and [`RECORD_OVERHEAD`] or more.
    ///
    /// # Panics
    /// When they are fewer.
    #[inline(always)]
    pub(crate) fn new(bytes: &'p [u8]) -> Self {
        let (head, value) = bytes.as_chunks().0.split_first_chunk().expect("a record has a head");
        Self { head, value }
    }

    #[inline]
    fn word(&self, index: usize) -> u64 {
        u64::from_le_bytes(self.head[index])
    }

    /// Returns the key.
    #[inline]
    pub fn key(&self) -> Key {
        Key::from_words([self.word(0), self.word(1)])
    }

    /// Returns the identity of the write.
    #[inline]
    pub fn dot(&self) -> Dot {
        Dot { slot: Slot::at(usize::from(self.head[3][4])), counter: self.word(2) }
    }

    /// Returns the term (rule R1).
    #[inline]
    pub fn term(&self) -> u32 {
        self.word(3) as u32
    }

    /// Whether the write was a delete.
    #[inline]
    pub fn is_tombstone(&self) -> bool {
        self.head[3][5] & TOMBSTONE != 0
    }

    /// Returns the value with its padding.
    #[inline]
    pub fn value(&self) -> &'p [u8] {
        self.value.as_flattened()
    }

    /// Returns the words of counter, term, slot and flags, as the table holds them.
    #[inline]
    pub(crate) fn mark_words(&self) -> [u64; 2] {
        [self.word(2), self.word(3)]
    }

    /// Returns the bytes of the words of the value.
    #[inline]
    pub(crate) const fn packed_value(&self) -> &'p [[u8; 8]] {
        self.value
    }

    /// Returns the words of the value, as the table holds them.
    #[inline]
    pub(crate) fn value_words(&self) -> impl Iterator<Item = u64> + Clone + use<'p> {
        self.value.iter().copied().map(u64::from_le_bytes)
    }

    /// Returns the `index`-th 8-byte word of the record, as the table holds it.
    pub(crate) fn raw_word(&self, index: usize) -> u64 {
        u64::from_le_bytes(if index < HEAD_WORDS { self.head[index] } else { self.value[index - HEAD_WORDS] })
    }

    /// `used` is the bits of the value's last word that are a value; zero for all of them.
    #[inline(always)]
    fn is_valid(&self, used: u32, slots: u64) -> bool {
        let [counter, meta] = self.mark_words();
        // Slot, flags and reserved bytes as one number: where there is a value, that of the slot.
        let slot = meta >> 32;
        let is_value = || slot < slots && (used == 0 || self.is_padded(used));
        // Of the flags and the reserved bytes only one bit may be set, and then there is no value.
        let is_tombstone =
            || slot ^ u64::from(TOMBSTONE) << 8 < slots && self.value.iter().all(|word| *word == [0; 8]);
        counter != 0 && meta as u32 != 0 && (is_value() || is_tombstone())
    }

    /// Whether the last word of the value is zero where it is no value.
    #[inline]
    fn is_padded(&self, used: u32) -> bool {
        self.value.last().is_none_or(|word| u64::from_le_bytes(*word) >> used == 0)
    }
}

/// The checked records of a packet.
#[derive(Clone, Copy)]
pub struct Records<'p> {
    bytes: &'p [u8],
    record_len: usize,
    count: usize,
}

impl<'p> Records<'p> {
    /// Checks that `bytes` starts with `count` records, each in range.
    #[inline(always)]
    pub(super) fn parse(bytes: &'p [u8], count: usize, shape: &Shape, slots: usize) -> Result<Self, Reject> {
        let record_len = shape.record_len();
        let bytes = bytes.get(..count * record_len).ok_or(Reject::Length)?;
        let records = Self { bytes, record_len, count };
        if records.are_valid(shape, slots) { Ok(records) } else { Err(Reject::Record) }
    }

    #[inline(never)]
    fn are_valid(&self, shape: &Shape, slots: usize) -> bool {
        let (used, slots) = (u32::from(shape.value_len % 8) * 8, slots as u64);
        // Of one length the compiler knows strides and bounds.
        if self.record_len == RECORD_DEFAULT && used == 0 {
            let (records, _) = self.bytes.as_chunks::<RECORD_DEFAULT>();
            let is_valid = |record: &[u8; RECORD_DEFAULT]| RecordRef::new(record).is_valid(0, slots);
            let (fours, rest) = records.as_chunks::<4>();
            fours.iter().all(|[a, b, c, d]| is_valid(a) && is_valid(b) && is_valid(c) && is_valid(d))
                && rest.iter().all(is_valid)
        } else {
            self.iter().all(|record| record.is_valid(used, slots))
        }
    }

    /// Returns the number of records.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns the bytes of one of the records.
    #[inline]
    pub(crate) const fn record_len(&self) -> usize {
        self.record_len
    }

    /// Iterates the bytes of so many records at a time, or as many as are left.
    pub(crate) fn batches(&self, most: usize) -> impl Iterator<Item = &'p [u8]> + use<'p> {
        self.bytes.chunks(most * self.record_len)
    }

    /// Iterates the records in the order of the packet.
    pub fn iter(&self) -> impl Iterator<Item = RecordRef<'p>> + Clone + use<'p> {
        self.bytes.chunks_exact(self.record_len).map(RecordRef::new)
    }
}
