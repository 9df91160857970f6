//! The change log: the records in the order in which they last changed here.
//!
//! A ring of table positions. Each change takes the next log position, which the record is stamped with, and writes its
//! table position into the ring over the oldest entry there. So a change costs one store, whatever is in the map; an entry
//! whose record has moved on, as its stamp tells, is passed over by walks; and the ring holds the last changes only, as
//! many as the map has room for records.
//!
//! What lies behind the ring is *scanned*: walked in the order of the table. So that a walk can stop anywhere and go on
//! later, and so that what a packet says of a stretch of the log stays true (R5), the places of the table get log
//! positions of their own, which no change has:
//!
//! ```text
//! position   ..., 7, 8 |  9 = start | 10, ... 9 + capacity |  10 + capacity, ...
//!            changes   |            | places of the table  |  changes
//! ```
//!
//! The stretch from `start` is made of the places with the records that last changed before it. A record in one of them
//! that changes moves to a position behind them all, as any record does. So whoever has walked all places, and then the
//! changes behind them, has everything, just as if each of those records had last changed at its place. `start` serves all
//! who scan, until what follows its places leaves the ring; then the next one to scan gets a new one, at the head.
//!
//! A cursor among the places is greater than any position in front of them, but says nothing of those. So the first packet
//! of a scan says that it is, its receiver notes the start ([`Session::low`](super::peer::Session::low)), and takes nothing
//! from in front of that for the next.

use core::hash::{Hash, Hasher};

use super::table::{Mark, Position, Stamp, Table};

pub(super) struct ChangeLog<'a> {
    pub(super) ring: &'a mut [u32],
    pub(super) ends: Ends,
    /// Places of the table.
    places: u64,
}

/// The log's positions, apart from its entries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(super) struct Ends {
    /// The newest position.
    head: u64,
    /// Where in the ring the next entry goes.
    next_place: u32,
    /// Where scans start, and where the places end that they walk. Both zero, where there are none, until one is needed:
    /// before the ring is full everything is in it.
    start: u64,
    scanned: u64,
}

impl<'a> ChangeLog<'a> {
    /// Returns the empty log of a table with so many places.
    pub fn new(ring: &'a mut [u32], places: usize) -> Self {
        Self::at(ring, places as u64, Ends::default())
    }

    /// Returns the log that has these entries, and has come so far.
    pub fn at(ring: &'a mut [u32], places: u64, ends: Ends) -> Self {
        Self { ring, ends, places }
    }

    pub fn places(&self) -> u64 {
        self.places
    }

    /// Returns the newest log position.
    #[inline]
    pub fn head(&self) -> u64 {
        self.ends.head
    }

    /// Appends a change of the record at `at`; returns its log position, which the caller stamps on the slot.
    #[inline]
    pub fn append(&mut self, at: Position) -> u64 {
        let ends = &mut self.ends;
        ends.head += 1;
        let place = ends.next_place as usize;
        self.ring[place] = at;
        ends.next_place = if place + 1 == self.ring.len() { 0 } else { ends.next_place + 1 };
        ends.head
    }

    /// Begins to append at most so many changes, all made at `now_ns`. `None` now and then, where the next positions are not
    /// in one piece: then they are to be appended one by one.
    #[inline]
    pub fn run(&mut self, most: usize, now_ns: u64) -> Option<Run<'_>> {
        let entries = &mut self.ring[self.ends.next_place as usize..];
        let stamp = Stamp::new(self.ends.head, now_ns);
        let in_one_piece = entries.len() > most && stamp.is_far_from_wrapping(most as u32);
        in_one_piece.then_some(Run { entries, len: 0, stamp, ends: &mut self.ends })
    }

    /// Feeds what decides how the log behaves to `hasher`: for model checks.
    pub fn hash_changes(&self, table: &Table<'_>, hasher: &mut impl Hasher) {
        self.ends.hash(hasher);
        for behind in 0..self.len() {
            let at = self.ring[self.place(behind)];
            (at, table.entry(at).stamp().steps_to(self.ends.head) as usize == behind).hash(hasher);
        }
    }

    /// Returns the entries in the ring. Where there was a scan it is full.
    fn len(&self) -> usize {
        self.ring.len().min(self.ends.head as usize)
    }

    /// Returns where in the ring the entry is that so many came after.
    #[inline]
    fn place(&self, behind: usize) -> usize {
        let next = self.ends.next_place as usize;
        if behind < next { next - 1 - behind } else { next + self.ring.len() - 1 - behind }
    }

    /// Whether a walk may go on at `position`: neither has anything behind it left the ring, nor is it in a scan that has
    /// become of no use.
    #[inline]
    pub fn reaches(&self, position: u64) -> bool {
        position <= self.ends.head && self.entries_behind(position) <= self.len() as u64
    }

    /// Returns the entries behind a position.
    #[inline]
    fn entries_behind(&self, position: u64) -> u64 {
        let Ends { head, start, scanned, .. } = self.ends;
        if position >= start {
            head - position.max(scanned)
        } else {
            // Neither the start nor the places have entries.
            head - position - (scanned - start + 1)
        }
    }

    /// Returns where a scan starts.
    ///
    /// A new start is given when what follows the old one has left the ring, and not before: so no place of an old scan is
    /// ever [reached](Self::reaches).
    pub fn start_scan(&mut self) -> u64 {
        if !self.reaches(self.ends.start) {
            let start = self.ends.head + 1;
            let scanned = start + self.places;
            self.ends = Ends { head: scanned, start, scanned, ..self.ends };
        }
        self.ends.start
    }

    /// Returns the way from `from`, which the log must [reach](Self::reaches) for it to be whole, in this order: positions of
    /// a scan, if it is one of them, and those of changes.
    #[inline]
    pub fn steps(&self, from: u64) -> Steps {
        let entries = self.entries_behind(from).min(self.len() as u64);
        let Ends { start, scanned, .. } = self.ends;
        let places = if from >= start { scanned.saturating_sub(from) } else { 0 };
        Steps { next: from + 1, places, entries }
    }

    /// Makes the next step: returns its position, and the record there: where in the table, and its order.
    #[inline]
    pub fn step(&self, table: &Table<'_>, steps: &mut Steps) -> Option<(u64, Option<(Position, Mark)>)> {
        if steps.places > 0 {
            return Some(self.step_in_scan(table, steps));
        }
        let Piece { first, entries } = self.piece(steps)?;
        let at = entries[0];
        steps.pass(first, 1);
        Some((first, table.mark_at(at, first).map(|mark| (at, mark))))
    }

    /// Returns the next steps, as many as are entries in one piece of the ring. `None` in a scan, and when there are none.
    #[inline]
    pub fn piece(&self, steps: &Steps) -> Option<Piece<'_>> {
        let Steps { next, places: 0, entries: 1.. } = *steps else { return None };
        let Ends { start, scanned, .. } = self.ends;
        let first = if next == start { scanned + 1 } else { next };
        let in_one_piece = if next < start { steps.entries.min(start - next) } else { steps.entries };
        let from = &self.ring[self.place(steps.entries as usize - 1)..];
        Some(Piece { first, entries: &from[..from.len().min(in_one_piece as usize)] })
    }

    /// A record that is in the ring behind the scan is left to the rest of the walk.
    fn step_in_scan(&self, table: &Table<'_>, steps: &mut Steps) -> (u64, Option<(Position, Mark)>) {
        let position = steps.next;
        let at = (position - self.ends.start - 1) as Position;
        steps.next += 1;
        steps.places -= 1;
        // What has never been used is passed over at once.
        if at >= table.high_water() {
            steps.next = self.ends.scanned + 1;
            steps.places = 0;
            return (self.ends.scanned, None);
        }
        let found = table.entry(at);
        let record = found.mark().filter(|_| !self.is_behind_scan(at, found.stamp()));
        (position, record.map(|mark| (at, mark)))
    }

    /// Whether the record at `at`, with this stamp, has an entry behind the places of a scan.
    fn is_behind_scan(&self, at: Position, stamp: Stamp) -> bool {
        let behind = stamp.steps_to(self.ends.head) as usize;
        let entries = self.entries_behind(self.ends.scanned) as usize;
        // The stamp tells the low bits of a position only; the entry tells whether it is this one.
        behind < self.len().min(entries) && self.ring[self.place(behind)] == at
    }
}

/// Changes that are being appended together.
pub(super) struct Run<'l> {
    /// Where in the ring they go.
    entries: &'l mut [u32],
    len: usize,
    /// Of the last of them.
    stamp: Stamp,
    ends: &'l mut Ends,
}

impl Run<'_> {
    /// Appends a change of the record at `at`; returns its stamp.
    ///
    /// # Panics
    /// When there are more than was said.
    #[inline(always)]
    pub fn append(&mut self, at: Position) -> Stamp {
        self.entries[self.len] = at;
        self.len += 1;
        self.stamp = self.stamp.next();
        self.stamp
    }

    /// Ends it: not before this does the log have the changes. Returns how many there are.
    pub fn end(self) -> usize {
        self.ends.head += self.len as u64;
        self.ends.next_place += self.len as u32;
        self.len
    }
}

/// Changes that follow one another.
pub(super) struct Piece<'l> {
    /// The position of the first.
    pub first: u64,
    pub entries: &'l [u32],
}

/// How far a walk has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    /// The position to come.
    next: u64,
    /// Places of a scan to come, and after them entries of the ring.
    places: u64,
    entries: u64,
}

impl Steps {
    /// Takes so many steps, of a piece whose first has this position.
    #[inline]
    pub fn pass(&mut self, first: u64, steps: usize) {
        self.entries -= steps as u64;
        self.next = first + steps as u64;
    }
}

#[cfg(all(test, not(popmap_loom)))]
mod tests;
