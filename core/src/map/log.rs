//! The change log: the records in the order in which they last changed here.
//!
//! A ring of table positions. Appending gives the record the new log position; an entry whose record has moved on is
//! stale and skipped. A nearly full ring is cleaned a few entries an append: a live record at the tail moves to the
//! head, which only makes a later walk look at it once more. With a ring a quarter larger than the table, cleaning
//! that starts an eighth before the end and takes [`LOG_CLEAN_PER_APPEND`] entries always finds room in time: passing
//! every live record takes an eighth of the capacity in appends.

use super::table::{Mark, Position, Table};
use crate::limits::LOG_CLEAN_PER_APPEND;

pub(super) struct ChangeLog<'a> {
    pub(super) ring: &'a mut [u32],
    pub(super) ends: Ends,
}

/// The log's positions, apart from its entries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(super) struct Ends {
    /// Position of the newest entry; zero when nothing was ever appended.
    pub head: u64,
    /// Everything up to here has left the ring.
    pub tail: u64,
    /// Where in the ring `head` and `tail` are: a step is cheaper than a division.
    head_place: u32,
    tail_place: u32,
}

impl<'a> ChangeLog<'a> {
    pub fn new(ring: &'a mut [u32]) -> Self {
        Self { ring, ends: Ends::default() }
    }

    fn place(&self, position: u64) -> u32 {
        (position % self.ring.len() as u64) as u32
    }

    #[inline]
    fn next_place(&self, place: u32) -> u32 {
        if place + 1 == self.ring.len() as u32 { 0 } else { place + 1 }
    }

    /// Returns the newest log position.
    pub fn head(&self) -> u64 {
        self.ends.head
    }

    /// Appends a change of the record at `at`; returns its log position, which the caller stamps on the record.
    #[inline]
    pub fn append(&mut self, table: &Table<'_>, at: Position) -> u64 {
        let size = self.ring.len() as u64;
        let spare = (size / 10).max(1);
        if self.ends.head - self.ends.tail + spare >= size {
            self.clean(table, at);
            while self.ends.head - self.ends.tail == size {
                self.clean(table, at);
            }
        }
        self.push(at)
    }

    /// Takes [`LOG_CLEAN_PER_APPEND`] entries off the tail. Live ones move to the head, but for that of the record at
    /// `changing`, which is about to be appended.
    #[inline(never)]
    fn clean(&mut self, table: &Table<'_>, changing: Position) {
        let Ends { head, tail, tail_place, .. } = self.ends;
        let count = (head - tail).min(LOG_CLEAN_PER_APPEND as u64);
        let (mut place, mut live) = (tail_place, [0; LOG_CLEAN_PER_APPEND]);
        let mut kept = 0;
        // Looked at all together, so that the cache misses overlap.
        for position in tail + 1..=tail + count {
            place = self.next_place(place);
            let at = self.ring[place as usize];
            live[kept] = at;
            kept += usize::from(table.is_live(at, position) & (at != changing));
        }
        self.ends.tail = tail + count;
        self.ends.tail_place = place;
        for &moved in &live[..kept] {
            let position = self.push(moved);
            table.restamp(moved, position);
        }
    }

    #[inline]
    fn push(&mut self, at: Position) -> u64 {
        self.ends.head += 1;
        self.ends.head_place = self.next_place(self.ends.head_place);
        self.ring[self.ends.head_place as usize] = at;
        self.ends.head
    }

    /// Iterates the live entries behind `from` up to and including `to`: log position, table position and order.
    #[inline]
    pub fn walk<'w>(
        &'w self,
        table: &'w Table<'a>,
        from: u64,
        to: u64,
    ) -> impl Iterator<Item = (u64, Position, Mark)> + 'w {
        let from = from.max(self.ends.tail);
        let mut place = self.place(from);
        (from..to.min(self.ends.head)).filter_map(move |before| {
            place = self.next_place(place);
            let (position, at) = (before + 1, self.ring[place as usize]);
            if table.is_live(at, position) { table.mark(at).map(|mark| (position, at, mark)) } else { None }
        })
    }
}
