//! Local health: how much this server should doubt its own probes (Lifeguard, section IV-A).

use crate::time::Duration;

/// The highest score.
const MAX: u8 = 8;

/// Rises when our probes fail, when we are suspected and when we were late ourselves; falls when our probes succeed:
/// perhaps it is us who are slow.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_stretch_up_to_nine_times_and_come_back() {
        let (mut health, span) = (Health::new(), Duration::from_millis(10));
        for times in [1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9] {
            assert_eq!(health.stretch(span), span.times(times));
            health.worsen();
        }
        (0..20).for_each(|_| health.improve());
        assert_eq!(health.stretch(span), span);
        assert_eq!(Health(MAX).stretch(Duration(u64::MAX)), Duration(u64::MAX));
    }
}
