//! What a map knows of one peer; all of it belongs to the peer's life (rule R4.4).

use heapless::Vec;

use crate::id::Life;
use crate::limits::RANGES_AHEAD;
use crate::time::Instant;

#[derive(Clone, Hash, Default, Debug)]
pub(super) struct Peer {
    pub life: Life,
    /// When a valid packet of this life last came.
    pub heard: Instant,
    /// It started writing before it had met every configured server (header flag).
    pub started_unmet: bool,
    /// It was heard when it wrote already, so that the flag is known.
    pub active: bool,
    /// We committed from it at least once.
    pub committed: bool,
    /// We committed from it when it had itself committed from all others (rule R4.2).
    pub counted: bool,
    /// It said that it knows of all that we know to be forgotten.
    pub knows_forgotten: bool,
    /// How far we have come in its change log.
    pub session: Session,
    /// What it asked of ours.
    pub serve: Option<Serve>,
    /// Our counter up to which it has been pushed our writes.
    pub pushed: u64,
    /// Where to ask on for our older records, and where its own request for its older records stands.
    pub history_resume: u32,
    pub history_serve: Option<HistoryServe>,
    /// Where telling it our older records has come to.
    pub history_tell: Option<u32>,
    /// More was learned meanwhile: tell once more from the start.
    pub history_again: bool,
}

/// Our walk through a peer's change log (rule R5).
#[derive(Clone, Hash, Default, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// We account for every record whose last change there is at or before this position.
    pub cursor: Option<u64>,
    /// The newest head of any packet that moved, or will move, the cursor.
    pub newest_head: u64,
    /// Ranges received behind a gap, to be joined when it closes.
    pub ahead: Vec<(u64, u64), RANGES_AHEAD>,
}

/// A stretch of our change log that a peer asked for.
#[derive(Clone, Copy, Hash, Debug, PartialEq, Eq)]
pub(super) struct Serve {
    pub at: u64,
    /// Where to stop; zero for the head.
    pub until: u64,
    pub packets_left: u16,
    /// `at` is a checkpoint that the peer's version covers.
    pub from_base: bool,
}

#[derive(Clone, Copy, Hash, Debug, PartialEq, Eq)]
pub(super) struct HistoryServe {
    pub below: u64,
    pub at: u32,
}

impl Peer {
    /// A peer in another life: what was known of the old one is forgotten. Our writes so far are not fresh to it.
    pub fn reborn(life: Life, counter: u64) -> Self {
        Self { life, pushed: counter, ..Self::default() }
    }
}

impl Session {
    /// Takes account of a packet with the records of the range `(from, to]`, whose start needs no cursor when it is a
    /// base. Returns whether the cursor moved or a range was kept.
    pub fn advance(&mut self, from: u64, to: u64, head: u64, from_base: bool) -> bool {
        let reached = match self.cursor {
            Some(cursor) if from <= cursor => cursor,
            _ if from_base => from,
            _ => return self.keep(from, to, head),
        };
        let moved = self.cursor.is_none_or(|cursor| to > cursor) || head > self.newest_head;
        let mut cursor = reached.max(to);
        while let Some(i) = self.ahead.iter().position(|&(from, _)| from <= cursor) {
            cursor = cursor.max(self.ahead.swap_remove(i).1);
        }
        self.cursor = Some(cursor);
        self.newest_head = self.newest_head.max(head);
        moved
    }

    /// Keeps a range that starts behind a gap.
    fn keep(&mut self, from: u64, to: u64, head: u64) -> bool {
        if self.cursor.is_none() || from == to {
            return false;
        }
        if let Some(range) = self.ahead.iter_mut().find(|range| range.0 <= to && from <= range.1) {
            let joined = (range.0.min(from), range.1.max(to));
            let grew = *range != joined;
            *range = joined;
            self.newest_head = self.newest_head.max(head);
            return grew;
        }
        let kept = self.ahead.push((from, to)).is_ok();
        if kept {
            self.newest_head = self.newest_head.max(head);
        }
        kept
    }

    /// Where the first gap behind the cursor ends; zero when there is none.
    pub fn gap_end(&self) -> u64 {
        self.ahead.iter().map(|&(from, _)| from).min().unwrap_or(0)
    }
}
