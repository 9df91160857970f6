//! A suspicion: how long its subject has to refute.

use crate::id::{Slot, SlotSet};
use crate::time::{Duration, Instant};

/// Independent confirmations that bring the deadline to its minimum.
const CONFIRMATIONS: usize = 3;
/// `log(1 + c) / log(1 + CONFIRMATIONS)` in thousandths, for `c` confirmations (Lifeguard, section IV-B).
const SHORTENED: [u64; CONFIRMATIONS + 1] = [0, 500, 792, 1_000];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Suspicion {
    since: Instant,
    by: SlotSet,
}

impl Suspicion {
    pub(super) fn new(now: Instant, by: Slot) -> Self {
        Self { since: now, by: SlotSet::EMPTY.with(by) }
    }

    /// Notes that `by` suspects too; returns whether that is news and still counts.
    pub(super) fn confirm(&mut self, by: Slot) -> bool {
        let news = !self.by.contains(by) && self.by.len() <= CONFIRMATIONS;
        self.by.insert(by);
        news
    }

    /// When the subject is declared dead: from `max` with nobody else's word down to `min` with three. In a PoP of so
    /// few others that three cannot confirm, all of them count for three.
    pub(super) fn deadline(&self, min: Duration, max: Duration, others: usize) -> Instant {
        let confirmed = self.by.len() - 1;
        let possible = others.saturating_sub(1).min(CONFIRMATIONS);
        let shortened = if confirmed >= possible { 1_000 } else { SHORTENED[confirmed.min(CONFIRMATIONS)] };
        self.since + Duration(max.0 - max.0.saturating_sub(min.0) / 1_000 * shortened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confirmations_shorten_the_deadline_to_its_minimum() {
        let (min, max) = (Duration::from_millis(500), Duration::from_secs(2));
        let mut suspicion = Suspicion::new(Instant::ZERO, Slot::at(0));
        let mut deadlines = std::vec![suspicion.deadline(min, max, 63)];
        for by in [1, 1, 2, 3, 4] {
            let counted = suspicion.confirm(Slot::at(by));
            assert_eq!(counted, deadlines.len() < 4 && !(by == 1 && deadlines.len() > 1));
            if counted {
                deadlines.push(suspicion.deadline(min, max, 63));
            }
        }
        assert_eq!(deadlines.iter().map(|at| at.0 / 1_000_000).collect::<std::vec::Vec<_>>(), [2_000, 1_250, 812, 500]);
        // With one other server there is nobody to confirm.
        assert_eq!(Suspicion::new(Instant::ZERO, Slot::at(0)).deadline(min, max, 1), Instant::from_millis(500));
    }
}
