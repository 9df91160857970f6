//! What a map is told when it is built, and why it could not be.

use core::fmt;

use crate::id::{Life, Slot, SlotSet};
use crate::limits::{CAPACITY_MAX, VALUE_MAX};
use crate::time::Instant;
use crate::wire::Shape;

/// What a map is built for.
#[derive(Clone, Copy, Debug)]
pub struct MapConfig {
    /// Our slot.
    pub slot: Slot,
    /// Every slot of the PoP, ours among them: tombstones wait for all of these (R2).
    pub configured: SlotSet,
    /// This life: a generation above every earlier one as far as is known, and 64 fresh random bits (R4).
    pub life: Life,
    /// Records that the map holds, tombstones and the reserve among them.
    pub capacity: usize,
    /// What all servers agree on.
    pub shape: Shape,
    /// When writing starts even if a live peer has not been met (R4.2).
    pub start_deadline: Instant,
}

/// Why a map could not be built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum MapError {
    /// The slot is not among the configured ones, or these are beyond the map's number of slots.
    Slot {
        /// The slot.
        slot: Slot,
        /// The map's number of slots.
        slots: usize,
    },
    /// The life id is zero.
    Life,
    /// The capacity is not from 1 to [`CAPACITY_MAX`].
    Capacity(usize),
    /// The value length is above [`VALUE_MAX`].
    ValueLength(u16),
    /// The storage has too few words.
    Storage {
        /// Words needed: [`Map::words`](super::Map::words).
        needed: usize,
        /// Words given.
        given: usize,
    },
    /// The storage has been used: it must be all zero.
    NotZero,
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot { slot, slots } => {
                write!(f, "slot: {slot} is not one of the configured slots below {slots}")
            }
            Self::Life => f.write_str("life.id: 0 means no life; give 64 random bits that are not all zero"),
            Self::Capacity(given) => write!(f, "capacity: {given} records; 1 to {CAPACITY_MAX} are possible"),
            Self::ValueLength(given) => {
                write!(f, "value_len: {given} bytes; at most {VALUE_MAX} are possible")
            }
            Self::Storage { needed, given } => {
                write!(f, "storage: {given} words of 8 bytes given, {needed} needed")
            }
            Self::NotZero => {
                f.write_str("storage: has been used before; a new map starts from all-zero words")
            }
        }
    }
}

impl core::error::Error for MapError {}
