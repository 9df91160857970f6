//! The record: the same layout on the wire and in the table.

use super::Reject;
use crate::clock::Dot;
use crate::id::{Key, Slot};
use crate::limits::{RECORD_OVERHEAD, VALUE_MAX};

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
pub struct RecordRef<'p>(&'p [u8]);

impl<'p> RecordRef<'p> {
    #[inline]
    fn word(&self, index: usize) -> u64 {
        let bytes = &self.0[8 * index..8 * index + 8];
        u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
    }

    /// Returns the key.
    #[inline]
    pub fn key(&self) -> Key {
        Key::from_words([self.word(0), self.word(1)])
    }

    /// Returns the identity of the write.
    #[inline]
    pub fn dot(&self) -> Dot {
        Dot { slot: Slot::at(usize::from(self.0[28])), counter: self.word(2) }
    }

    /// Returns the term (rule R1).
    #[inline]
    pub fn term(&self) -> u32 {
        self.word(3) as u32
    }

    /// Whether the write was a delete.
    #[inline]
    pub fn is_tombstone(&self) -> bool {
        self.0[29] & TOMBSTONE != 0
    }

    /// Returns the value with its padding.
    #[inline]
    pub fn value(&self) -> &'p [u8] {
        &self.0[RECORD_OVERHEAD..]
    }

    /// Returns the words of the value, as the table holds them.
    #[inline]
    pub(crate) fn value_words(&self) -> impl Iterator<Item = u64> + Clone + use<'p> {
        self.value().as_chunks().0.iter().copied().map(u64::from_le_bytes)
    }

    /// Returns the `index`-th 8-byte word of the record, as the table holds it.
    pub(crate) fn raw_word(&self, index: usize) -> u64 {
        self.word(index)
    }

    fn is_valid(&self, shape: &Shape, slots: usize) -> bool {
        let value_len = usize::from(shape.value_len);
        let (value, padding) = self.value().split_at(value_len);
        let flags = self.0[29];
        usize::from(self.0[28]) < slots
            && self.word(2) != 0
            && self.term() != 0
            && flags & !TOMBSTONE == 0
            && self.0[30..32] == [0, 0]
            && padding.iter().all(|&byte| byte == 0)
            && (flags == 0 || value.iter().all(|&byte| byte == 0))
    }
}

/// The checked records of a packet.
#[derive(Clone, Copy)]
pub struct Records<'p> {
    bytes: &'p [u8],
    record_len: usize,
}

impl<'p> Records<'p> {
    /// Checks that `bytes` starts with `count` records, each in range.
    pub(super) fn parse(bytes: &'p [u8], count: usize, shape: &Shape, slots: usize) -> Result<Self, Reject> {
        let record_len = shape.record_len();
        let bytes = bytes.get(..count * record_len).ok_or(Reject::Length)?;
        let records = Self { bytes, record_len };
        if records.iter().all(|record| record.is_valid(shape, slots)) {
            Ok(records)
        } else {
            Err(Reject::Record)
        }
    }

    /// Returns the number of records.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.record_len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Iterates the records in the order of the packet.
    pub fn iter(&self) -> impl Iterator<Item = RecordRef<'p>> + Clone + use<'p> {
        self.bytes.chunks_exact(self.record_len).map(RecordRef)
    }
}
