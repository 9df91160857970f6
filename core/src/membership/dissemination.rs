//! What to tell of the members on packets with room.
//!
//! News is told a number of times that grows with the logarithm of the PoP, the least often told first. A member that
//! is new to us, or back, is told of all others. Beside that one member after another is told on now and then, for
//! what was lost every time.

use heapless::Vec;

use crate::id::{Slot, SlotSet};

/// Entries that one packet carries at most: a fair share, so that members never crowd out data.
pub(crate) const ENTRIES: usize = 6;

pub(super) struct Dissemination<const N: usize> {
    /// Members with news, and how often each has been told.
    fresh: SlotSet,
    told: [u8; N],
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
        Self { fresh: SlotSet::EMPTY, told: [0; N], owed: [SlotSet::EMPTY; N], rotation: Slot::at(0) }
    }

    /// There is news of `slot`.
    pub(super) fn renew(&mut self, slot: Slot) {
        self.fresh.insert(slot);
        self.told[slot.index()] = 0;
    }

    /// `to` knows nobody yet: it is to be told of all of `known`.
    pub(super) fn greet(&mut self, to: Slot, known: SlotSet) {
        self.owed[to.index()] = known.without(to);
    }

    /// Chooses up to `room` members to be told of in a packet for `to`: `first`, then news, then what `to` is owed,
    /// then the next in rotation of `rotate`.
    pub(super) fn choose(
        &mut self,
        to: Slot,
        first: Option<Slot>,
        rotate: Option<SlotSet>,
        room: usize,
        limit: u8,
    ) -> Vec<Slot, ENTRIES> {
        let room = room.min(ENTRIES);
        let mut chosen: Vec<Slot, ENTRIES> = Vec::new();
        let mut set = SlotSet::EMPTY;
        if let Some(first) = first.filter(|_| room > 0) {
            let _ = chosen.push(first);
            set.insert(first);
        }
        while chosen.len() < room
            && let Some(slot) = self.fresh.difference(set).iter().min_by_key(|slot| self.told[slot.index()])
        {
            let _ = chosen.push(slot);
            set.insert(slot);
            self.told[slot.index()] += 1;
            if self.told[slot.index()] >= limit {
                self.fresh.remove(slot);
            }
        }
        while chosen.len() < room
            && let Some(slot) = self.owed[to.index()].difference(set).iter().next()
        {
            let _ = chosen.push(slot);
            set.insert(slot);
        }
        self.owed[to.index()] = self.owed[to.index()].difference(set);
        if chosen.len() < room
            && let Some(next) = rotate.and_then(|known| known.next_after(self.rotation))
        {
            self.rotation = next;
            if !set.contains(next) {
                let _ = chosen.push(next);
            }
        }
        chosen
    }
}
