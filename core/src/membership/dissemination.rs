//! What to tell of the members on packets with room.
//!
//! News is told a number of times that grows with the logarithm of the PoP, the least often told first, and to nobody
//! twice before everybody has heard it. Who joins is told of all others. Beside that one member after another is told
//! on now and then, for what was lost every time.

use heapless::Vec;

use crate::id::{Slot, SlotSet};

/// Entries that one packet carries at most: with them a probe fits the least payload.
pub(crate) const ENTRIES: usize = 16;

pub(super) struct Dissemination<const N: usize> {
    /// Members with news, how often each has been told, and to whom in this turn.
    fresh: SlotSet,
    told: [u8; N],
    told_to: [SlotSet; N],
    /// For each member, of whom it is still to be told.
    owed: [SlotSet; N],
    rotation: Slot,
}

/// How often news is told: `4 * ceil(log10(n + 1))`, as memberlist does.
pub(super) fn limit(others: usize) -> u8 {
    if others < 10 { 4 } else { 8 }
}

impl<const N: usize> Dissemination<N> {
    pub(super) fn new() -> Self {
        Self {
            fresh: SlotSet::EMPTY,
            told: [0; N],
            told_to: [SlotSet::EMPTY; N],
            owed: [SlotSet::EMPTY; N],
            rotation: Slot::at(0),
        }
    }

    /// There is news of `slot`.
    pub(super) fn renew(&mut self, slot: Slot) {
        self.fresh.insert(slot);
        self.told[slot.index()] = 0;
        self.told_to[slot.index()] = SlotSet::EMPTY;
    }

    /// `to` is to be told of `slot`.
    pub(super) fn owe(&mut self, to: Slot, slot: Slot) {
        self.owed[to.index()].insert(slot);
    }

    /// `to` knows nobody yet: it is to be told of all of `known`.
    pub(super) fn greet(&mut self, to: Slot, known: SlotSet) {
        self.owed[to.index()] = known.without(to);
    }

    /// Whether there is news to tell to any of `others`; a member is not told of itself.
    pub(super) fn has_news(&self, others: SlotSet) -> bool {
        self.fresh.iter().any(|slot| !others.without(slot).is_empty())
    }

    /// Returns how many members `to` has still to be told of.
    pub(super) fn owed(&self, to: Slot) -> u8 {
        self.owed[to.index()].len() as u8
    }

    /// Chooses up to `room` members to be told of in a packet for `to`: `first`, then news, then what `to` is owed,
    /// then the next in rotation of `rotate`.
    pub(super) fn choose(
        &mut self,
        to: Slot,
        first: Option<Slot>,
        rotate: SlotSet,
        room: usize,
        others: SlotSet,
    ) -> Vec<Slot, ENTRIES> {
        let room = room.min(ENTRIES);
        let mut chosen: Vec<Slot, ENTRIES> = first.into_iter().take(room).collect();
        let mut set: SlotSet = chosen.iter().copied().collect();
        while chosen.len() < room
            && let Some(slot) = self.next_news(to, set)
        {
            let _ = chosen.push(slot);
            set.insert(slot);
            self.note_told(slot, to, others);
        }
        while chosen.len() < room
            && let Some(slot) = self.owed[to.index()].difference(set).iter().next()
        {
            let _ = chosen.push(slot);
            set.insert(slot);
        }
        self.owed[to.index()] = self.owed[to.index()].difference(set);
        if chosen.len() < room
            && let Some(next) = rotate.without(to).next_after(self.rotation)
        {
            self.rotation = next;
            if !set.contains(next) {
                let _ = chosen.push(next);
            }
        }
        chosen
    }

    fn next_news(&self, to: Slot, chosen: SlotSet) -> Option<Slot> {
        let news = self.fresh.difference(chosen).without(to).iter();
        news.filter(|slot| !self.told_to[slot.index()].contains(to))
            .min_by_key(|slot| self.told[slot.index()])
    }

    fn note_told(&mut self, slot: Slot, to: Slot, others: SlotSet) {
        let told = &mut self.told[slot.index()];
        *told += 1;
        if *told >= limit(others.len()) {
            self.fresh.remove(slot);
        }
        let told_to = &mut self.told_to[slot.index()];
        told_to.insert(to);
        if others.without(slot).difference(*told_to).is_empty() {
            *told_to = SlotSet::EMPTY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHERS: SlotSet = SlotSet::from_bits(u64::MAX - 1);
    const NONE: SlotSet = SlotSet::EMPTY;

    fn slots(range: core::ops::Range<usize>) -> std::vec::Vec<Slot> {
        range.map(Slot::at).collect()
    }

    #[test]
    fn news_is_told_eight_times_and_to_nobody_twice() {
        let mut spread = Dissemination::<64>::new();
        spread.renew(Slot::at(1));
        assert!(spread.choose(Slot::at(1), None, NONE, 16, OTHERS).is_empty(), "not of itself");
        for to in 2..10 {
            assert!(spread.has_news(OTHERS));
            assert_eq!(spread.choose(Slot::at(to), None, NONE, 16, OTHERS)[..], slots(1..2));
            assert!(spread.choose(Slot::at(to), None, NONE, 16, OTHERS).is_empty(), "not twice");
        }
        assert!(!spread.has_news(OTHERS));
        assert!(spread.choose(Slot::at(10), None, NONE, 16, OTHERS).is_empty());
    }

    #[test]
    fn ten_others_are_told_twice_as_often_as_nine() {
        assert_eq!([0, 1, 9, 10, 63].map(limit), [4, 4, 4, 8, 8]);
    }

    #[test]
    fn in_a_small_pop_news_is_told_again() {
        let (mut spread, others) = (Dissemination::<3>::new(), SlotSet::from_bits(0b110));
        spread.renew(Slot::at(0));
        for _ in 0..2 {
            for to in slots(1..3) {
                assert_eq!(spread.choose(to, None, NONE, 16, others)[..], slots(0..1));
            }
        }
        assert!(!spread.has_news(others));
        // Nobody would hear it.
        spread.renew(Slot::at(1));
        assert!(!spread.has_news(SlotSet::from_bits(0b10)) && !spread.has_news(NONE));
    }

    #[test]
    fn the_least_often_told_goes_first_and_all_get_their_share() {
        let mut spread = Dissemination::<64>::new();
        slots(0..40).into_iter().for_each(|slot| spread.renew(slot));
        let mut told = [0; 64];
        for round in 0..20 {
            for slot in spread.choose(Slot::at(40 + round), None, NONE, 2, OTHERS) {
                told[slot.index()] += 1;
            }
        }
        assert_eq!(told[..40], [1; 40]);
    }

    #[test]
    fn who_joins_is_told_of_all_in_packets_of_sixteen() {
        let mut spread = Dissemination::<64>::new();
        let joiner = Slot::at(5);
        spread.greet(joiner, SlotSet::first(64));
        let mut heard = SlotSet::EMPTY;
        for owed in [63, 47, 31, 15] {
            assert_eq!(spread.owed(joiner), owed);
            heard = heard.union(spread.choose(joiner, None, NONE, usize::MAX, OTHERS).into_iter().collect());
        }
        assert_eq!((spread.owed(joiner), heard), (0, SlotSet::first(64).without(joiner)));
    }

    #[test]
    fn first_then_news_then_owed_then_rotation() {
        let mut spread = Dissemination::<64>::new();
        let to = Slot::at(9);
        spread.renew(Slot::at(3));
        spread.owe(to, Slot::at(2));
        spread.owe(to, Slot::at(3));
        let chosen = spread.choose(to, Some(to), SlotSet::from_bits(0b10), 16, OTHERS);
        assert_eq!(chosen[..], [9, 3, 2, 1].map(Slot::at));
        assert!(spread.choose(to, Some(to), NONE, 0, OTHERS).is_empty(), "no room");
        let turn = SlotSet::from_bits(0b1_0000_0000_0110);
        let round: std::vec::Vec<_> =
            (0..4).flat_map(|_| spread.choose(to, None, turn, 1, OTHERS)).map(Slot::index).collect();
        assert_eq!(round, [2, 12, 1, 2]);
    }
}
