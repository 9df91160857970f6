//! How much work each source may be in an interval.
//!
//! Knows slots and kinds. Must not know what a packet says.
//!
//! Whoever holds a key can send valid packets as fast as the network carries them. Each costs a code and its handler, and
//! some kinds make us read much, so one server could take all of another's time. A source has twice the packets per
//! interval that an honest one with our budget may send to all others together: what is above is dropped before its code is
//! computed. Only packets that were proved to be of a source are taken off its share, so nobody can use up another's.

use crate::id::Slot;
use crate::time::{Duration, Instant};
use crate::wire::Kind;

/// The least share, however small the budget: joins, probes and answers of a quiet PoP are far below.
const LEAST: u32 = 64;
/// What a packet takes off the share that makes us read up to [`REPAIR_SCAN_MAX`](crate::limits::REPAIR_SCAN_MAX) records.
const SCAN: u32 = 32;

/// What is left to each source of this interval.
pub(super) struct Shares<const N: usize> {
    share: u32,
    interval: Duration,
    refill: Instant,
    left: [u32; N],
}

impl<const N: usize> Shares<N> {
    /// For a budget of `bytes` in each `interval` and packets of up to `payload` bytes.
    pub(super) fn new(bytes: u32, interval: Duration, payload: usize) -> Self {
        let packets = u64::from(bytes) * 2 / payload as u64;
        let share = u32::try_from(packets).unwrap_or(u32::MAX).max(LEAST);
        Self { share, interval, refill: Instant::ZERO, left: [share; N] }
    }

    /// Whether a packet that says it is of `slot` may be looked at.
    pub(super) fn allows(&mut self, now: Instant, slot: Slot) -> bool {
        if now >= self.refill {
            self.refill = now + self.interval;
            self.left = [self.share; N];
        }
        self.left[slot.index()] > 0
    }

    /// Takes a packet off the share of `slot`, which made it.
    pub(super) fn spend(&mut self, slot: Slot, kind: Kind) {
        let units = if matches!(kind, Kind::Digest) { SCAN } else { 1 };
        let left = &mut self.left[slot.index()];
        *left = left.saturating_sub(units);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_uses_up_its_own_share_only() {
        let (interval, slots) = (Duration::from_millis(10), [0, 1].map(Slot::at));
        let mut shares = Shares::<2>::new(140_000, interval, 1_400);
        for start in [0, 10, 25] {
            let now = Instant::from_millis(start);
            for _ in 0..200 {
                assert!(shares.allows(now, slots[0]));
                shares.spend(slots[0], Kind::Push);
            }
            assert!(
                !shares.allows(Instant::from_millis(start + 9), slots[0]) && shares.allows(now, slots[1])
            );
        }
        let later = Instant::from_millis(40);
        (0..7).for_each(|_| {
            assert!(shares.allows(later, slots[1]));
            shares.spend(slots[1], Kind::Digest);
        });
        assert!(!shares.allows(later, slots[1]) && shares.allows(later, slots[0]));
        assert_eq!(Shares::<1>::new(1_400, interval, 1_400).share, LEAST);
    }
}
