//! A suspicion: who holds it, and how long its subject has to refute.

use crate::id::{Slot, SlotSet};
use crate::time::{Duration, Instant};

/// Independent confirmations that bring the deadline to its minimum.
const CONFIRMATIONS: usize = 3;
/// Those who suspect that are counted, and told to others: the first and the confirmations.
pub(crate) const SUSPECTORS: usize = CONFIRMATIONS + 1;
/// `log(1 + c) / log(1 + CONFIRMATIONS)` in thousandths, for `c` confirmations (Lifeguard, section IV-B).
const SHORTENED: [u64; SUSPECTORS] = [0, 500, 792, 1_000];
/// Looks in the last moment before the deadline, beside those that are spaced evenly.
const LAST_LOOKS: u8 = 3;

/// When everyone who holds a member suspect pings it, before declaring it dead: who missed the refutation hears it then, and
/// whom it does not answer has a word of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Looks {
    /// So often, evenly spaced from the start; with zero never at all.
    pub(super) evenly: u8,
    /// In this time before the deadline three times more. A member that was blocked may run again by then, and the ack that
    /// it sends each of us at once may be lost.
    pub(super) last: Duration,
}

impl Looks {
    fn all(self) -> u8 {
        if self.evenly == 0 { 0 } else { self.evenly.saturating_add(LAST_LOOKS) }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Suspicion {
    since: Instant,
    /// Those whose own pings the subject did not answer; [`SUSPECTORS`] at most.
    by: SlotSet,
    /// The number of our latest ping of anybody when this began: an ack of a later one is fresh word.
    before: u32,
    /// Times that we have looked for ourselves since.
    looks: u8,
    /// Until when the latest look may be answered.
    look_until: Option<Instant>,
    /// The deadline is not before this: a confirmation that shortens it leaves the time for the last looks.
    not_before: Instant,
}

impl Suspicion {
    /// Begins a suspicion on the word of `by`; `before` is the number of our latest ping.
    pub(super) fn new(now: Instant, by: SlotSet, before: u32) -> Self {
        let mut suspicion = Self {
            since: now,
            by: SlotSet::EMPTY,
            before,
            looks: 0,
            look_until: None,
            not_before: Instant::ZERO,
        };
        suspicion.add(by);
        suspicion
    }

    /// Begins one because of our own probe: the first look has just been.
    pub(super) fn ours(now: Instant, me: Slot, before: u32) -> Self {
        Self { looks: 1, ..Self::new(now, SlotSet::EMPTY.with(me), before) }
    }

    /// Returns those who suspect, as far as they count.
    pub(super) fn by(&self) -> SlotSet {
        self.by
    }

    /// Notes that these suspect by their own pings; returns whether that is news and still counts.
    pub(super) fn confirm(&mut self, now: Instant, by: SlotSet, looks: Looks) -> bool {
        let news = self.add(by);
        if news && looks.evenly > 0 {
            self.not_before = now + looks.last;
        }
        news
    }

    fn add(&mut self, by: SlotSet) -> bool {
        let before = self.by;
        for slot in by.difference(before).iter().take(SUSPECTORS - before.len()) {
            self.by.insert(slot);
        }
        self.by != before
    }

    /// When we next look for ourselves; never, once we have.
    fn next_look(&self, deadline: Instant, looks: Looks) -> Instant {
        let left = looks.all().saturating_sub(self.looks);
        if left == 0 {
            return Instant::NEVER;
        }
        if self.looks >= looks.evenly {
            return deadline - Duration(looks.last.0 / u64::from(LAST_LOOKS) * u64::from(left));
        }
        let step = deadline.since(self.since).0 / u64::from(looks.evenly);
        self.since + Duration(step * u64::from(self.looks))
    }

    /// When the suspicion has something to do next.
    pub(super) fn next(&self, deadline: Instant, looks: Looks) -> Instant {
        deadline.min(self.next_look(deadline, looks)).min(self.look_until.unwrap_or(Instant::NEVER))
    }

    /// Returns whether we are to look now, and notes that we do; the answer is awaited until `until`.
    pub(super) fn look(&mut self, now: Instant, deadline: Instant, until: Instant, looks: Looks) -> bool {
        let due = now >= self.next_look(deadline, looks);
        if due {
            // A shorter deadline may have left several behind: they are one.
            while now >= self.next_look(deadline, looks) {
                self.looks += 1;
            }
            self.look_until.get_or_insert(until);
        }
        due
    }

    /// Returns, once, that a look was not answered in time.
    pub(super) fn look_failed(&mut self, now: Instant) -> bool {
        self.look_until.take_if(|until| now >= *until).is_some()
    }

    /// Takes an ack of the subject's with this number, `newest` being that of our latest ping. When we asked after the
    /// suspicion began, the subject is there, and deserves the time to refute. Returns whether we did.
    pub(super) fn answered(&mut self, now: Instant, number: u32, newest: u32) -> bool {
        let (asked, all) = (number.wrapping_sub(self.before), newest.wrapping_sub(self.before));
        let fresh = (1..=all).contains(&asked);
        if fresh {
            self.since = now;
            self.looks = 1;
            self.look_until = None;
        }
        fresh
    }

    /// We could do nothing for this long: it counts for nothing.
    pub(super) fn postpone(&mut self, span: Duration) {
        self.since = self.since + span;
        self.not_before = self.not_before + span;
        self.look_until = self.look_until.map(|until| until + span);
    }

    /// When the subject is declared dead: from `max` with nobody else's word down to `min` with three. In a PoP of so
    /// few others that three cannot confirm, all of them count for three.
    pub(super) fn deadline(&self, min: Duration, max: Duration, others: usize) -> Instant {
        let confirmed = self.by.len().saturating_sub(1);
        let possible = others.saturating_sub(1).min(CONFIRMATIONS);
        let shortened = if confirmed >= possible { 1_000 } else { SHORTENED[confirmed] };
        let deadline = self.since + Duration(max.0 - max.0.saturating_sub(min.0) / 1_000 * shortened);
        deadline.max(self.not_before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(500);
    const MAX: Duration = Duration::from_secs(2);
    const LOOKS: Looks = Looks { evenly: 3, last: Duration::from_millis(60) };

    fn by(slots: impl IntoIterator<Item = usize>) -> SlotSet {
        slots.into_iter().map(Slot::at).collect()
    }

    #[test]
    fn confirmations_shorten_the_deadline_to_its_minimum() {
        let mut suspicion = Suspicion::new(Instant::ZERO, by([0]), 0);
        let mut deadlines = std::vec![suspicion.deadline(MIN, MAX, 63)];
        for (next, counts) in [(1, true), (1, false), (2, true), (0, false), (3, true), (4, false)] {
            assert_eq!(suspicion.confirm(Instant::ZERO, by([next]), LOOKS), counts);
            if counts {
                deadlines.push(suspicion.deadline(MIN, MAX, 63));
            }
        }
        let millis = deadlines.iter().map(|at| at.0 / 1_000_000).collect::<Vec<_>>();
        assert_eq!(millis, [2_000, 1_250, 812, 500]);
        assert_eq!(suspicion.by(), by(0..4), "no more are counted");
        // With one other server there is nobody to confirm; with two, one is all.
        assert_eq!(
            Suspicion::new(Instant::ZERO, by([0]), 0).deadline(MIN, MAX, 1),
            Instant::from_millis(500)
        );
        assert_eq!(Suspicion::new(Instant::ZERO, by([0]), 0).deadline(MIN, MAX, 2), Instant::ZERO + MAX);
        assert_eq!(
            Suspicion::new(Instant::ZERO, by([0, 1]), 0).deadline(MIN, MAX, 2),
            Instant::from_millis(500)
        );
        // Nobody's word at all is no confirmation either.
        assert_eq!(Suspicion::new(Instant::ZERO, by([]), 0).deadline(MIN, MAX, 63), Instant::ZERO + MAX);
    }

    #[test]
    fn looks_are_spaced_evenly_from_the_start_and_three_are_in_the_last_moment() {
        let mut suspicion = Suspicion::new(Instant::ZERO, by([0]), 0);
        let deadline = suspicion.deadline(MIN, MAX, 63);
        let mut at = Vec::new();
        for ms in 0..2_000 {
            let now = Instant::from_millis(ms);
            if suspicion.look(now, deadline, now + Duration::from_millis(60), LOOKS) {
                at.push(ms);
            }
            // What is asked while an answer is awaited does not make that wait longer.
            let failed = at.iter().take(4).any(|look| look + 60 == ms);
            assert_eq!(suspicion.look_failed(now), failed, "{ms}");
        }
        assert_eq!(at, [0, 667, 1_334, 1_940, 1_960, 1_980]);
        assert_eq!(suspicion.next(deadline, LOOKS), Instant::ZERO + MAX);
        let ours = Suspicion::ours(Instant::ZERO, Slot::at(0), 0);
        assert_eq!(ours.next(deadline, LOOKS), Instant(666_666_666));
        // With none there are none.
        let none = Looks { evenly: 0, ..LOOKS };
        assert_eq!(ours.next(deadline, none), deadline);
        assert!(!Suspicion::new(Instant::ZERO, by([0]), 0).look(deadline, deadline, deadline, none));
    }

    #[test]
    fn a_confirmation_that_ends_the_time_leaves_the_last_looks() {
        let mut suspicion = Suspicion::ours(Instant::ZERO, Slot::at(0), 0);
        let now = Instant::from_millis(900);
        assert!(suspicion.confirm(now, by([1, 2, 3]), LOOKS));
        let deadline = suspicion.deadline(MIN, MAX, 63);
        assert_eq!(deadline, Instant::from_millis(960), "and not 500");
        let looked = |ms| {
            let now = Instant::from_millis(ms);
            suspicion.look(now, deadline, now, LOOKS).then_some(ms)
        };
        assert_eq!((900..960).filter_map(looked).collect::<Vec<_>>(), [900, 920, 940]);
        // Without looks there is nothing to wait for.
        let mut suspicion = Suspicion::ours(Instant::ZERO, Slot::at(0), 0);
        assert!(suspicion.confirm(now, by([1, 2, 3]), Looks { evenly: 0, ..LOOKS }));
        assert_eq!(suspicion.deadline(MIN, MAX, 63), Instant::ZERO + MIN);
    }

    #[test]
    fn an_ack_counts_when_it_was_asked_for_since() {
        let began = Instant::ZERO;
        let mut suspicion = Suspicion::new(began, by([0]), u32::MAX - 1);
        let now = Instant::from_millis(100);
        for (number, counts) in
            [(u32::MAX - 1, false), (5, false), (0, true), (u32::MAX, true), (3, true), (4, false)]
        {
            assert_eq!(suspicion.answered(now, number, 3), counts, "{number}");
        }
        assert_eq!(suspicion.deadline(MIN, MAX, 63), now + MAX, "the time begins anew");
        suspicion.postpone(Duration::from_secs(1));
        assert_eq!(suspicion.deadline(MIN, MAX, 63), now + MAX + Duration::from_secs(1));
    }
}
