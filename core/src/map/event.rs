//! What the map has to tell its embedder.

use heapless::Deque;

use crate::id::{Key, Life, Slot};
use crate::limits::EVENTS;

/// Something the embedder may want to act on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum Event {
    /// Writing is allowed from now on. `expired`: the start deadline passed before every live peer was met (R4.2).
    Started {
        /// Whether the deadline broke the wait.
        expired: bool,
    },
    /// Our generation rose: save it, so that the next life starts above it (R4.1).
    GenerationRaised {
        /// The generation now in force.
        generation: u32,
    },
    /// Another server with a greater life has our slot, and this life is over (R4.5): nothing is written, merged or served any
    /// more. If that is its own past, because the generation was lost, the way back is a new life, with a generation above
    /// this one and empty storage.
    Fenced {
        /// The other's life; [`Life::NONE`] when only its writes were seen.
        by: Life,
    },
    /// This life is over: the PoP has forgotten it, or we took records from a server that it has forgotten, before we were
    /// told (R2). Nothing is written, merged or served any more. Discard the table and start a new life, with a greater
    /// generation and empty storage; it pulls what it needs.
    Forgotten {
        /// Our generation, raised to the last one that was forgotten.
        generation: u32,
    },
    /// Two servers claim a slot.
    SlotConflict {
        /// The slot.
        slot: Slot,
    },
    /// A record of ours was replaced by another writer's while we own its key: write again (R1).
    Superseded {
        /// The key.
        key: Key,
    },
    /// A remote record did not fit: versions stand still until there is room (R3). Told once until it is resolved.
    Full,
    /// Events were lost because nobody polled.
    Lagged {
        /// How many.
        missed: u64,
    },
}

/// A bounded queue: full, it gives up the oldest and says how many.
pub(crate) struct Events {
    queue: Deque<Event, EVENTS>,
    missed: u64,
}

impl Events {
    pub(crate) const fn new() -> Self {
        Self { queue: Deque::new(), missed: 0 }
    }

    pub(crate) fn push(&mut self, event: Event) {
        if self.queue.iter().any(|waiting| *waiting == event) {
            return;
        }
        if self.queue.is_full() {
            self.queue.pop_front();
            self.missed += 1;
        }
        // There is room: one was just given up if need be.
        let _ = self.queue.push_back(event);
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        match core::mem::take(&mut self.missed) {
            0 => self.queue.pop_front(),
            missed => Some(Event::Lagged { missed }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn superseded(key: u8) -> Event {
        Event::Superseded { key: Key([key; 16]) }
    }

    #[test]
    fn events_come_in_order_and_once() {
        let mut events = Events::new();
        assert_eq!(events.pop(), None);
        for event in [superseded(1), Event::Full, superseded(1), superseded(2), Event::Full] {
            events.push(event);
        }
        assert_eq!(
            [(); 4].map(|()| events.pop()),
            [Some(superseded(1)), Some(Event::Full), Some(superseded(2)), None]
        );
        events.push(superseded(1));
        assert_eq!(events.pop(), Some(superseded(1)), "told before, and again");
    }

    #[test]
    fn a_full_queue_gives_up_the_oldest_and_says_how_many() {
        let mut events = Events::new();
        let kept = EVENTS as u8;
        for key in 0..kept + 3 {
            events.push(superseded(key));
        }
        assert_eq!(events.pop(), Some(Event::Lagged { missed: 3 }));
        for key in 3..kept + 3 {
            assert_eq!(events.pop(), Some(superseded(key)));
        }
        assert_eq!(events.pop(), None, "it is said once");
    }
}
