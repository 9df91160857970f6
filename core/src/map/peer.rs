//! What a map knows of one peer; all of it belongs to the peer's life (rule R4.4).

use core::hash::{Hash, Hasher};

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
    /// It told us its whole version.
    pub told_version: bool,
    /// The version hash under which it last was equal to us.
    pub equal: Noted,
    /// It said that it has seen our version in this life of ours, and does not write yet.
    pub has_seen: bool,
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

/// A version hash, of which all that follows has been noted: to see it again changes nothing. So it is no part of a state.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(super) struct Noted(pub u64);

impl Hash for Noted {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// Our walk through a peer's change log (rule R5).
#[derive(Clone, Hash, Default, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// We account for every record whose last change there is behind [`low`](Self::low) and at or before this position.
    pub cursor: Option<u64>,
    /// The start of the latest scan that we took part in, zero before the first. Of what is in front of it we know nothing
    /// until the cursor is behind the scan's places; and then there is nothing in front that is not in a place.
    pub low: u64,
    /// The newest head of any packet that moved, or will move, the cursor.
    pub newest_head: u64,
    /// Ranges received behind a gap, to be joined when it closes.
    pub ahead: Vec<(u64, u64), RANGES_AHEAD>,
}

/// A stretch `(from, to]` of a peer's change log, all of whose records came in one packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    pub origin: Origin,
    pub from: u64,
    pub to: u64,
    /// The newest position when it was walked.
    pub head: u64,
}

/// What the start of a stretch takes for granted.
#[derive(Clone, Copy, Hash, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A cursor of the receiver's at the start or behind it.
    Cursor,
    /// Nothing: the start is a checkpoint that the receiver's version covers.
    Base,
    /// Nothing: the start is that of a scan. It claims nothing of what is in front of it.
    Scan,
}

/// What a stretch did to a [`Session`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Advance {
    /// The cursor moved, or a range was kept.
    pub progress: bool,
    /// The stretch follows what was there: we account for everything up to its head.
    pub contiguous: bool,
}

/// A stretch of our change log that a peer asked for.
#[derive(Clone, Copy, Hash, Debug, PartialEq, Eq)]
pub(super) struct Serve {
    pub at: u64,
    /// Where to stop; zero for the head.
    pub until: u64,
    pub packets_left: u16,
    /// What `at` is.
    pub origin: Origin,
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
    /// Whether we account for every record in the stretch `(from, to]`.
    #[inline]
    pub fn has_walked(&self, (from, to): (u64, u64)) -> bool {
        self.low <= from && self.cursor.is_some_and(|cursor| to <= cursor)
    }

    /// Takes account of a packet with all records of a stretch.
    #[inline]
    pub fn advance(&mut self, stretch: Stretch) -> Advance {
        let Stretch { origin, from, to, head } = stretch;
        let (low, mut reached) = match self.cursor {
            // What was overtaken by a scan does not follow it, although its positions are the lesser.
            Some(cursor) if from < self.low => match origin {
                Origin::Base if to >= self.low => (0, cursor.max(to)),
                _ => return Advance::default(),
            },
            Some(cursor) if from <= cursor => (self.low, cursor.max(to)),
            _ => match origin {
                Origin::Cursor => return Advance { progress: self.keep(from, to, head), contiguous: false },
                Origin::Base => (0, to),
                Origin::Scan => (from, to),
            },
        };
        let before = (self.cursor, self.newest_head);
        self.low = low;
        self.ahead.retain(|&(from, _)| from >= low);
        while let Some(i) = self.ahead.iter().position(|&(from, _)| from <= reached) {
            reached = reached.max(self.ahead.swap_remove(i).1);
        }
        self.cursor = Some(reached);
        self.newest_head = self.newest_head.max(head);
        Advance { progress: before != (self.cursor, self.newest_head), contiguous: reached >= head }
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

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    const fn stretch(origin: Origin, from: u64, to: u64, head: u64) -> Stretch {
        Stretch { origin, from, to, head }
    }

    /// A session that has walked to 10.
    fn walked() -> Session {
        let mut session = Session::default();
        let advance = session.advance(stretch(Origin::Base, 0, 10, 50));
        assert_eq!(advance, Advance { progress: true, contiguous: false });
        session
    }

    fn ahead(session: &Session) -> Vec<(u64, u64)> {
        let mut ahead: Vec<_> = session.ahead.iter().copied().collect();
        ahead.sort_unstable();
        ahead
    }

    #[test]
    fn what_follows_moves_the_cursor_and_reaches_the_head_in_the_end() {
        let mut session = walked();
        assert!(session.has_walked((0, 10)) && session.has_walked((9, 10)) && !session.has_walked((10, 11)));
        let advance = session.advance(stretch(Origin::Cursor, 10, 30, 50));
        assert_eq!((advance, session.cursor), (Advance { progress: true, contiguous: false }, Some(30)));
        let again = session.advance(stretch(Origin::Cursor, 10, 30, 50));
        assert_eq!((again, session.cursor), (Advance { progress: false, contiguous: false }, Some(30)));
        let advance = session.advance(stretch(Origin::Cursor, 20, 50, 50));
        assert_eq!((advance, session.cursor), (Advance { progress: true, contiguous: true }, Some(50)));
        // A newer head, and nothing else.
        let advance = session.advance(stretch(Origin::Cursor, 40, 50, 60));
        assert_eq!(advance, Advance { progress: true, contiguous: false });
        assert_eq!((session.cursor, session.newest_head), (Some(50), 60));
    }

    #[test]
    fn what_comes_behind_a_gap_is_kept_until_it_closes() {
        let mut session = walked();
        assert_eq!(session.gap_end(), 0);
        let kept = |session: &mut Session, from, to| session.advance(stretch(Origin::Cursor, from, to, 50));
        assert_eq!(kept(&mut session, 20, 25), Advance { progress: true, contiguous: false });
        assert_eq!(kept(&mut session, 20, 25), Advance::default(), "again");
        assert_eq!(kept(&mut session, 40, 40), Advance::default(), "of nothing");
        assert!(kept(&mut session, 35, 40).progress && kept(&mut session, 25, 30).progress);
        assert_eq!((session.gap_end(), ahead(&session)), (20, [(20, 30), (35, 40)].to_vec()));
        assert!(kept(&mut session, 15, 22).progress, "it begins before one and ends in it");
        assert_eq!((session.gap_end(), session.cursor), (15, Some(10)));
        assert_eq!(kept(&mut session, 10, 15), Advance { progress: true, contiguous: false });
        assert_eq!((session.cursor, session.gap_end()), (Some(30), 35));
        assert_eq!(kept(&mut session, 30, 35), Advance { progress: true, contiguous: false });
        assert_eq!((session.cursor, session.gap_end()), (Some(40), 0));
    }

    #[test]
    fn of_more_gaps_than_are_kept_the_others_are_asked_for_again() {
        let mut session = walked();
        for n in 0..RANGES_AHEAD as u64 {
            assert!(session.advance(stretch(Origin::Cursor, 20 + 10 * n, 25 + 10 * n, 500)).progress);
        }
        let head = session.newest_head;
        assert_eq!(session.advance(stretch(Origin::Cursor, 400, 410, 600)), Advance::default());
        assert_eq!((session.ahead.len(), session.newest_head), (RANGES_AHEAD, head), "as if it had not come");
        assert!(session.advance(stretch(Origin::Cursor, 25, 28, 700)).progress, "one that joins another");
        assert_eq!(session.newest_head, 700);
    }

    #[test]
    fn without_a_cursor_only_a_checkpoint_or_a_scan_begins() {
        let mut session = Session::default();
        assert!(!session.has_walked((0, 0)));
        assert_eq!(session.advance(stretch(Origin::Cursor, 5, 10, 10)), Advance::default());
        assert_eq!(session.cursor, None);
        let advance = session.advance(stretch(Origin::Scan, 5, 10, 10));
        assert_eq!((advance, session.low), (Advance { progress: true, contiguous: true }, 5));
        assert!(
            session.has_walked((5, 10)) && !session.has_walked((4, 10)),
            "of what is in front it knows nothing"
        );
    }

    /// Positions in front of a scan say nothing of it, and what was kept from there is dropped.
    #[test]
    fn what_a_scan_has_overtaken_does_not_count() {
        let mut session = walked();
        assert!(session.advance(stretch(Origin::Cursor, 20, 30, 50)).progress);
        assert!(session.advance(stretch(Origin::Scan, 100, 120, 150)).progress);
        assert_eq!((session.low, session.cursor, session.gap_end()), (100, Some(120), 0));
        assert_eq!(session.advance(stretch(Origin::Cursor, 10, 110, 110)), Advance::default());
        assert_eq!(
            session.advance(stretch(Origin::Base, 10, 99, 150)),
            Advance::default(),
            "it ends in front"
        );
        assert_eq!(session.low, 100);
        assert_eq!(session.advance(stretch(Origin::Scan, 40, 110, 150)), Advance::default());
        assert!(session.advance(stretch(Origin::Cursor, 130, 140, 150)).progress, "behind a gap in the scan");
        let advance = session.advance(stretch(Origin::Base, 50, 130, 150));
        assert_eq!(advance, Advance { progress: true, contiguous: false });
        assert_eq!((session.low, session.cursor), (0, Some(140)), "all from the checkpoint on, and so all");
        let advance = session.advance(stretch(Origin::Base, 50, 100, 150));
        assert_eq!(advance, Advance::default());
    }
}
