//! The bounds of an exploration: how many of what, and how often each thing may happen.

use std::rc::Rc;

use popmap_core::time::{Duration, Instant};
use popmap_core::wire::DELTA_FIXED;
use popmap_core::{Key, Life, MapConfig, Shape, Slot, SlotSet, limits::QUARANTINE};

use super::action::{Action, Budget, Restart};
use super::packet::FRAME_MAX;

/// What all replicas of every world agree on.
pub const SHAPE: Shape = Shape { schema: 7, value_len: 8 };

/// What a delta packet has room for beside its record: with little room windows, truncation and the order of heads all
/// come into play after a few writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Room {
    /// A version, but only in a packet without a record.
    Apart,
    /// The whole version beside the record.
    Beside,
    /// The whole version and a second record.
    Two,
}

/// A bounded world.
#[derive(Clone, Debug)]
pub struct Scope {
    /// For printing.
    pub name: &'static str,
    /// Replicas: 2 to 4.
    pub slots: usize,
    /// Keys that are written.
    pub keys: usize,
    /// Records that a map holds at most.
    pub capacity: usize,
    /// The size of frames.
    pub room: Room,
    /// Packets that a request asks for.
    pub window: u16,
    /// How often each thing may happen.
    pub budget: Budget,
    /// Ticks in a quarantine: packets that old are gone.
    pub ticks_per_quarantine: u8,
    /// The ways to restart.
    pub restarts: &'static [Restart],
    /// Steps before the exploration starts, for worlds that begin at an interesting place.
    pub prelude: Vec<Action>,
    /// Whether replicas that exchange everything become equal; not so when a record does not fit.
    pub converges: bool,
    /// Whether R6 is asked of every state, or only that replicas converge.
    pub checks_r6: bool,
    /// One state in so many is run on to quiescence.
    pub settle_one_in: u64,
    /// The rule to break.
    #[cfg(popmap_teeth)]
    pub tooth: Option<popmap_core::Tooth>,
}

impl Scope {
    /// A scope in which nothing may happen yet.
    pub fn new(name: &'static str, slots: usize, keys: usize) -> Self {
        Self {
            name,
            slots,
            keys,
            capacity: keys + 1,
            room: Room::Apart,
            window: 2,
            budget: Budget::default(),
            ticks_per_quarantine: 1,
            restarts: &[],
            prelude: Vec::new(),
            converges: true,
            checks_r6: true,
            settle_one_in: 1,
            #[cfg(popmap_teeth)]
            tooth: None,
        }
    }

    /// Whether a slot may be forgotten.
    pub fn forgets(&self) -> bool {
        let forgets = |action: &Action| matches!(action, Action::Forget { .. });
        self.budget.forgets > 0 || self.prelude.iter().any(forgets)
    }

    /// Returns the keys.
    pub fn key_names(&self) -> Rc<[Key]> {
        (0..self.keys).map(|i| Key::from_name(format!("k{i}").as_bytes())).collect()
    }

    /// Returns the length of a frame for `slots` slots.
    ///
    /// # Panics
    /// When it is above the longest that the explorer sends.
    pub fn frame_len(&self, slots: usize) -> usize {
        let record = SHAPE.record_len();
        let len = DELTA_FIXED
            + 8
            + match self.room {
                Room::Apart => record,
                Room::Beside => record + 8 * slots,
                Room::Two => 2 * record + 8 * slots,
            };
        // What was forgotten rides beside versions, what left because of that beside records.
        let len = len + if self.forgets() { 8 + 8 * slots } else { 0 };
        assert!(len <= FRAME_MAX, "a frame of {len} bytes");
        len
    }

    /// Returns the span of a tick.
    pub fn tick(&self) -> Duration {
        Duration(QUARANTINE.0.div_ceil(self.ticks_per_quarantine.into()))
    }

    /// Returns the config of the replica `at` of `slots` in `life`.
    pub fn config(&self, at: usize, slots: usize, life: Life) -> MapConfig {
        MapConfig {
            slot: Slot::at(at),
            configured: SlotSet::first(slots),
            life,
            capacity: self.capacity,
            shape: SHAPE,
            start_deadline: Instant::NEVER,
        }
    }
}
