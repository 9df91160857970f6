//! One server: its node, its clock, its saved generation, and what it cannot do for a while.
//!
//! Knows one node. Must not know the others, the network or any check.

use popmap_core::time::{Duration, Instant};
use popmap_core::{Node, Slot};

/// A process that stands still.
#[derive(Clone, Copy, Debug)]
pub struct Pause {
    /// When it goes on.
    pub until: Instant,
    /// How far its clock will be behind then.
    pub behind: Duration,
}

/// One end of the network, and the server there if one runs.
pub struct Server<'a, const N: usize> {
    /// The node, while it runs.
    pub node: Option<Node<'a, N>>,
    /// The slot that it is configured in.
    pub slot: Slot,
    /// Records that its next life has room for.
    pub capacity: usize,
    /// Its share of the keys.
    pub weight: u16,
    /// The generation on its disk.
    pub saved: u32,
    /// How far its clock is ahead of the true time, in nanoseconds.
    pub ahead: i64,
    /// When its node wants to be polled, by its clock.
    pub deadline: Instant,
    /// Something has come for it: it is polled at once.
    pub is_stirred: bool,
    /// While it stands still.
    pub pause: Option<Pause>,
    /// What has arrived for it meanwhile, by the network's places.
    pub backlog: Vec<usize>,
    /// The latest time that its node was told.
    pub told: Instant,
    /// When its present life began.
    pub began: Instant,
}

impl<const N: usize> Server<'_, N> {
    /// A server that does not run yet.
    pub fn new(slot: Slot, capacity: usize, weight: u16, ahead: i64) -> Self {
        Self {
            node: None,
            slot,
            capacity,
            weight,
            saved: 0,
            ahead,
            deadline: Instant::NEVER,
            is_stirred: false,
            pause: None,
            backlog: Vec::new(),
            told: Instant::ZERO,
            began: Instant::ZERO,
        }
    }

    /// What its clock shows at `now`.
    pub fn clock(&self, now: Instant) -> Instant {
        Instant(now.0.saturating_add_signed(self.ahead))
    }

    /// Whether it runs and does not stand still.
    pub fn is_awake(&self) -> bool {
        self.node.is_some() && self.pause.is_none()
    }

    /// When it is to be polled next, in true time.
    pub fn due(&self) -> Instant {
        match (&self.node, self.pause) {
            (None, _) => Instant::NEVER,
            (_, Some(pause)) => pause.until,
            _ if self.is_stirred => Instant::ZERO,
            _ => Instant(self.deadline.0.saturating_add_signed(-self.ahead)),
        }
    }
}
