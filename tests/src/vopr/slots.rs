//! Which lives each slot had, and when a slot is contested.
//!
//! Knows starts, ends and generations. Must not know what anybody wrote.

use popmap_core::time::{Duration, Instant};
use popmap_core::{Life, Slot};

/// One life of a server in a slot.
#[derive(Clone, Copy, Debug)]
struct Span {
    server: usize,
    slot: Slot,
    life: Life,
    /// It may write, or could.
    active: bool,
    /// It had met every configured server when it began to write.
    met: bool,
    began: Instant,
    /// When it stopped writing for good: it crashed, or was fenced.
    ended: Option<Instant>,
}

/// All lives of a run.
pub struct Slots {
    spans: Vec<Span>,
    packet_life: Duration,
}

impl Slots {
    /// No life yet. `packet_life`: the longest that a packet is under way.
    pub fn new(packet_life: Duration) -> Self {
        Self { spans: Vec::new(), packet_life }
    }

    /// A life begins.
    pub fn begin(&mut self, now: Instant, server: usize, slot: Slot, life: Life) {
        self.spans.push(Span { server, slot, life, active: false, met: false, began: now, ended: None });
    }

    /// The present life of `server` may write from now on, having `met` every configured server or not.
    pub fn activate(&mut self, server: usize, met: bool) {
        if let Some(span) = self.present(server) {
            (span.active, span.met) = (true, met);
        }
    }

    /// The present life of `server` has raised its generation.
    pub fn raise(&mut self, server: usize, generation: u32) {
        if let Some(span) = self.present(server) {
            span.life.generation = generation;
        }
    }

    /// The present life of `server` ends, or is fenced.
    pub fn end(&mut self, now: Instant, server: usize) {
        if let Some(span) = self.present(server) {
            span.ended = Some(now);
        }
    }

    fn present(&mut self, server: usize) -> Option<&mut Span> {
        self.spans.iter_mut().rev().find(|span| span.server == server && span.ended.is_none())
    }

    fn latest(&self, server: usize) -> Option<&Span> {
        self.spans.iter().rev().find(|span| span.server == server)
    }

    /// Whether the slot in which `server` writes is contested: what it writes, and what it does not hold, may be claimed
    /// wrongly.
    pub fn is_contested(&self, now: Instant, server: usize) -> bool {
        let Some(mine) = self.latest(server) else { return false };
        let others =
            self.spans.iter().filter(|other| other.slot == mine.slot && other.life.id != mine.life.id);
        others.filter(|other| other.active).any(|other| {
            let beside = other.ended.is_none_or(|ended| ended > mine.began);
            let lately = other.ended.is_none_or(|ended| now <= ended + self.packet_life);
            beside && lately || !mine.met && other.life.generation >= mine.life.generation
        })
    }

    /// Whether a life is there in `slot` all of whose counters are above `counter`.
    pub fn has_later(&self, slot: Slot, counter: u64) -> bool {
        let is_later = |span: &Span| u64::from(span.life.generation) << 32 > counter;
        self.spans.iter().any(|span| span.slot == slot && span.ended.is_none() && is_later(span))
    }

    /// Whether another life of its slot is greater than the present one of `server`.
    pub fn is_outlived(&self, server: usize) -> bool {
        let Some(mine) = self.latest(server) else { return false };
        self.spans.iter().any(|other| other.slot == mine.slot && other.life > mine.life)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: Slot = Slot::at(3);

    fn life(generation: u32, id: u64) -> Life {
        Life { generation, id }
    }

    #[test]
    fn a_slot_is_contested_while_two_write_and_for_a_packets_life_after() {
        let at = Instant::from_millis;
        let mut slots = Slots::new(Duration::from_millis(100));
        slots.begin(at(0), 0, SLOT, life(1, 1));
        slots.activate(0, true);
        assert!(!slots.is_contested(at(1), 0));
        slots.begin(at(10), 7, SLOT, life(2, 2));
        assert!(!slots.is_contested(at(11), 0), "the second does not write yet");
        slots.activate(7, true);
        assert!(slots.is_contested(at(12), 0) && slots.is_contested(at(12), 7));
        slots.end(at(50), 0);
        assert!(slots.is_contested(at(150), 7));
        assert!(!slots.is_contested(at(151), 7));
    }

    #[test]
    fn a_restart_contests_nothing_unless_its_generation_is_lost() {
        let at = Instant::from_millis;
        let mut slots = Slots::new(Duration::from_millis(100));
        slots.begin(at(0), 0, SLOT, life(5, 1));
        slots.activate(0, true);
        slots.end(at(10), 0);
        slots.begin(at(20), 0, SLOT, life(6, 2));
        slots.activate(0, true);
        assert!(!slots.is_contested(at(21), 0));
        slots.end(at(30), 0);
        slots.begin(at(40), 0, SLOT, life(1, 3));
        assert!(slots.is_contested(at(10_000), 0), "until it is raised");
        assert!(slots.is_outlived(0));
        slots.activate(0, true);
        assert!(!slots.is_contested(at(10_000), 0), "those it has met would have told it");
        slots.activate(0, false);
        assert!(slots.is_contested(at(10_000), 0));
        slots.raise(0, 7);
        assert!(!slots.is_contested(at(10_000), 0) && !slots.is_outlived(0));
    }
}
