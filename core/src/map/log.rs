//! The change log: the records in the order in which they last changed here.
//!
//! A ring of table positions. Appending gives the record the new log position; an entry whose record has moved on is
//! stale and skipped. A nearly full ring is cleaned a few entries an append: a live record at the tail moves to the
//! head, which only makes a later walk look at it once more. With a ring a quarter larger than the table, cleaning
//! that starts an eighth before the end and takes [`LOG_CLEAN_PER_APPEND`] entries always finds room in time: passing
//! every live record takes an eighth of the capacity in appends.

use super::table::{Position, Table};
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
}

impl<'a> ChangeLog<'a> {
    pub fn new(ring: &'a mut [u32]) -> Self {
        Self { ring, ends: Ends::default() }
    }

    fn place(&self, position: u64) -> usize {
        (position % self.ring.len() as u64) as usize
    }

    /// Returns the newest log position.
    pub fn head(&self) -> u64 {
        self.ends.head
    }

    /// Whether the entry at `position` is where its record last changed; returns the record's table position.
    fn live(&self, table: &Table<'_>, position: u64) -> Option<Position> {
        let at = self.ring[self.place(position)];
        (table.stamp(at).is_at(position) && table.mark(at).is_some()).then_some(at)
    }

    /// Appends a change of the record at `at`; returns its log position, which the caller stamps on the record.
    pub fn append(&mut self, table: &Table<'_>, at: Position) -> u64 {
        let size = self.ring.len() as u64;
        let mut steps = 0;
        loop {
            let used = self.ends.head - self.ends.tail;
            let spare = (size / 10).max(1);
            if used + spare < size || used < size && steps >= LOG_CLEAN_PER_APPEND {
                break;
            }
            steps += 1;
            self.ends.tail += 1;
            if let Some(moved) = self.live(table, self.ends.tail)
                && moved != at
            {
                let position = self.push(moved);
                table.restamp(moved, position);
            }
        }
        self.push(at)
    }

    fn push(&mut self, at: Position) -> u64 {
        self.ends.head += 1;
        let place = self.place(self.ends.head);
        self.ring[place] = at;
        self.ends.head
    }

    /// Iterates the live entries behind `from` up to and including `to`: (log position, table position).
    pub fn walk<'w>(
        &'w self,
        table: &'w Table<'a>,
        from: u64,
        to: u64,
    ) -> impl Iterator<Item = (u64, Position)> + 'w {
        let first = from.max(self.ends.tail) + 1;
        (first..=to.min(self.ends.head)).filter_map(move |p| self.live(table, p).map(|at| (p, at)))
    }
}
