//! The lives of a cluster's servers: their memory, and how the next one begins.

use popmap_core::Shape;

/// The memory of a cluster's nodes: one zeroed block for each life, untouched until it is used.
pub struct Storage {
    pub(crate) blocks: Vec<Vec<u64>>,
}

impl Storage {
    /// Returns memory for `lives` lives of nodes of `capacity` records.
    pub fn new<const N: usize>(lives: usize, capacity: usize, shape: Shape) -> Self {
        let words = popmap_core::Map::<N>::words(capacity, &shape);
        Self { blocks: (0..lives).map(|_| vec![0; words]).collect() }
    }
}

/// How a slot's next life begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Restart {
    /// With the generation after the saved one.
    GenerationKept,
    /// With generation 1, as if nothing had ever been saved.
    GenerationLost,
}
