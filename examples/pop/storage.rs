//! The memory of the maps.
//!
//! Knows how much a map needs. Must not know what is kept there.

use crate::health::SHAPE;

/// The memory of all lives of all servers: a zeroed block each, which the system provides as it is first used.
pub struct Storage {
    blocks: Vec<popmap_io::Storage>,
}

impl Storage {
    /// Returns memory for `lives` nodes of `keys` records each.
    pub fn new(lives: usize, keys: usize) -> Self {
        Self { blocks: (0..lives).map(|_| popmap_io::Storage::new(Self::words(keys))).collect() }
    }

    /// Returns the words of one node's map.
    pub fn words(keys: usize) -> usize {
        popmap_core::Map::<64>::words(capacity(keys), &SHAPE)
    }

    /// Iterates the blocks.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut [u64]> {
        self.blocks.iter_mut().map(popmap_io::Storage::words_mut)
    }
}

/// Returns the capacity with which a map takes `keys` records before it refuses a write (R3 keeps an eighth back).
pub fn capacity(keys: usize) -> usize {
    (keys * 8).div_ceil(7) + 8
}
