//! Local health: how much this server should doubt its own probes (Lifeguard, section IV-A).

use crate::time::Duration;

/// The highest score.
const MAX: u8 = 8;

/// Rises when our probes fail or we are suspected, falls when they succeed: perhaps it is us who are slow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Health(u8);

impl Health {
    pub(super) const fn new() -> Self {
        Self(0)
    }

    pub(super) fn worsen(&mut self) {
        self.0 = (self.0 + 1).min(MAX);
    }

    pub(super) fn improve(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }

    /// Returns `span`, longer the worse the health.
    pub(super) fn stretch(self, span: Duration) -> Duration {
        span.times(1 + u64::from(self.0))
    }
}
