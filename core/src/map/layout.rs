//! How a map's storage is cut up.
//!
//! Storage is 8-byte words of the caller's. All zero is a valid empty map. No part holds a pointer, so the words may
//! live in a static, a zeroed box, huge pages or shared memory.

use crate::limits::{CAPACITY_MAX, CHECKPOINTS};
use crate::wire::Shape;

/// Words of an index bucket: one cache line, of fifteen entries.
pub(super) const BUCKET_WORDS: usize = 8;
/// Records a bucket is sized for: a load of 12/15 when the map is full.
const BUCKET_RECORDS: usize = 12;
/// Words of a slot beside its value: stamp, key (2), counter, term and slot and flags.
pub(super) const SLOT_WORDS: usize = 5;
/// Words before the index.
pub(super) const TABLE_HEADER_WORDS: usize = 8;

/// The sizes of a map's parts, from its capacity, value length and number of slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Layout {
    pub capacity: u32,
    pub buckets: u32,
    /// Bytes of a value.
    pub value_len: u32,
    /// Entries of the change log's ring: as many changes as there may be records.
    pub ring: u32,
}

impl Layout {
    pub const fn new(capacity: usize, shape: &Shape) -> Self {
        assert!(capacity >= 1 && capacity <= CAPACITY_MAX, "a map holds 1 to 4,194,304 records");
        Self {
            capacity: capacity as u32,
            buckets: capacity.div_ceil(BUCKET_RECORDS) as u32,
            value_len: shape.value_len as u32,
            ring: capacity as u32,
        }
    }

    /// Words of a slot.
    #[inline]
    pub const fn stride(&self) -> usize {
        SLOT_WORDS + (self.value_len as usize).div_ceil(8)
    }

    pub const fn index_words(&self) -> usize {
        self.buckets as usize * BUCKET_WORDS
    }

    /// Words that readers share with the writer.
    pub const fn table_words(&self) -> usize {
        // Slots start on a cache line when the storage does.
        TABLE_HEADER_WORDS + self.index_words() + self.capacity as usize * self.stride()
    }

    pub const fn ring_words(&self) -> usize {
        (self.ring as usize).div_ceil(2)
    }

    /// Words of the versions: each peer's, and each checkpoint's.
    pub const fn version_words(slots: usize) -> usize {
        (slots + CHECKPOINTS) * slots
    }

    pub const fn words(&self, slots: usize) -> usize {
        self.table_words() + self.ring_words() + Self::version_words(slots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn layout(capacity: usize, value_len: u16) -> Layout {
        Layout::new(capacity, &Shape { schema: 1, value_len })
    }

    #[test]
    fn parts_have_room_for_what_is_promised() {
        for (capacity, buckets) in [(1, 1), (12, 1), (13, 2), (50_000, 4_167)] {
            for (value_len, stride) in [(0, 5), (1, 6), (8, 6), (9, 7), (24, 8)] {
                let layout = layout(capacity, value_len);
                assert_eq!((layout.buckets, layout.stride()), (buckets, stride));
                assert_eq!(layout.index_words(), buckets as usize * 8, "a cache line each");
                assert_eq!(layout.table_words(), 8 + buckets as usize * 8 + capacity * stride);
                assert_eq!(layout.ring_words(), capacity.div_ceil(2), "four bytes a change");
                let versions = (64 + CHECKPOINTS) * 64;
                assert_eq!(layout.words(64), layout.table_words() + layout.ring_words() + versions);
            }
        }
    }

    #[test]
    fn the_greatest_capacity_is_possible_and_no_other_above_or_none() {
        assert_eq!(layout(CAPACITY_MAX, 8).capacity as usize, CAPACITY_MAX);
        for capacity in [0, CAPACITY_MAX + 1] {
            assert!(std::panic::catch_unwind(|| layout(capacity, 8)).is_err(), "{capacity}");
        }
    }
}
