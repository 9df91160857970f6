//! The memory of the maps.
//!
//! Knows how much a map needs and where it should start. Must not know what is kept there.

use crate::health::SHAPE;

/// A cache line: storage that starts on one is fastest.
const LINE: usize = 64;

/// The memory of all lives of all servers: a zeroed block each, which the system maps when it is first used.
pub struct Storage {
    blocks: Vec<Vec<u64>>,
}

impl Storage {
    /// Returns memory for `lives` nodes of `keys` records each.
    pub fn new(lives: usize, keys: usize) -> Self {
        let words = Self::words(keys) + LINE / 8;
        Self { blocks: (0..lives).map(|_| vec![0; words]).collect() }
    }

    /// Returns the words of one node's map.
    pub fn words(keys: usize) -> usize {
        popmap_core::Map::<64>::words(capacity(keys), &SHAPE)
    }

    /// Iterates the blocks, each from the start of a cache line.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut [u64]> {
        self.blocks.iter_mut().map(|block| {
            let skip = block.as_ptr().align_offset(LINE).min(LINE / 8);
            &mut block[skip..]
        })
    }
}

/// Returns the capacity with which a map takes `keys` records before it refuses a write (R3 keeps an eighth back).
pub fn capacity(keys: usize) -> usize {
    (keys * 8).div_ceil(7) + 8
}
