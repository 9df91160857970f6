//! The dot: the identity of one write.

use core::fmt;

use crate::id::Slot;

/// The identity of one write: who wrote, and the writer's counter.
///
/// The counter is `generation << 32 | sequence`, so it never repeats and never falls across restarts (rule R4); an
/// exhausted sequence carries into the generation. A counter of zero is no write.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dot {
    /// The writer.
    pub slot: Slot,
    /// The writer's counter, never zero.
    pub counter: u64,
}

impl Dot {
    /// Returns the generation of the life that wrote.
    pub const fn generation(self) -> u32 {
        generation_of(self.counter)
    }
}

/// Returns the generation of a counter.
pub(crate) const fn generation_of(counter: u64) -> u32 {
    (counter >> 32) as u32
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}.{}", self.slot, self.counter >> 32, self.counter as u32)
    }
}
