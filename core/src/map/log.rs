//! The change log: the records in the order in which they last changed here.
//!
//! A ring of table positions. Appending gives the record the new log position, and strikes out the entry that it had: its
//! stamp tells where that is. So each record has one entry, and neither walks nor cleaning look at a record to find that
//! it has moved on. A ring that is filling up is cleaned: a record at the tail moves to the head, which only makes a later
//! walk look at it once more.
//!
//! Cleaning is gentle at first: four entries or more for each append, [`LOG_CLEAN_TOGETHER`] at a time. In a map that is
//! as full as puts make it (R3) and whose records change in turn or at random, that is enough: most of the oldest entries
//! are struck out. Where it is not, the ring goes on filling, and in its last eleventh each append takes
//! [`LOG_CLEAN_PER_APPEND`] entries. With a ring 7/16 larger than the table that always finds room in time: passing every
//! record takes an eighth of the capacity in appends, and an eleventh of the ring is more.

use super::table::{Mark, Position, Stamp, Table};
use crate::limits::{LOG_CLEAN_PER_APPEND, LOG_CLEAN_TOGETHER};

/// An entry whose record has moved on, or is gone.
const STRUCK_OUT: Position = Position::MAX;

pub(super) struct ChangeLog<'a> {
    pub(super) ring: &'a mut [u32],
    pub(super) ends: Ends,
    /// Entries from which on the ring is cleaned now and then, and at each append.
    gently_from: u64,
    always_from: u64,
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
        Self::at(ring, Ends::default())
    }

    /// Returns the log that has these entries, and has come so far.
    pub fn at(ring: &'a mut [u32], ends: Ends) -> Self {
        let size = ring.len() as u64;
        let (gently_from, always_from) = (size - (size / 8).max(1), size - (size / 11).max(1));
        Self { ring, ends, gently_from, always_from }
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

    /// Appends a change of the record at `at`, which has this stamp if it was there before; returns its log position, which
    /// the caller stamps on the record.
    #[inline]
    pub fn append(&mut self, table: &Table<'_>, at: Position, before: Option<Stamp>) -> u64 {
        if let Some(before) = before {
            self.strike_out(before);
        }
        let Ends { head, tail, .. } = self.ends;
        let used = head - tail;
        if used >= self.gently_from {
            if used >= self.always_from {
                self.make_room(table);
            } else if head.is_multiple_of(LOG_CLEAN_TOGETHER as u64 / 4) {
                self.clean(table, LOG_CLEAN_TOGETHER as u64);
            }
        }
        self.push(at)
    }

    /// Appends that a record with this stamp is gone; returns a log position that no record has.
    pub fn append_removal(&mut self, table: &Table<'_>, before: Stamp) -> u64 {
        self.append(table, STRUCK_OUT, Some(before))
    }

    #[inline]
    fn strike_out(&mut self, stamp: Stamp) {
        let behind = stamp.steps_to(self.ends.head);
        debug_assert!(u64::from(behind) < self.ends.head - self.ends.tail, "every record has an entry");
        let head_place = self.ends.head_place;
        let place =
            if behind <= head_place { head_place } else { head_place + self.ring.len() as u32 } - behind;
        self.ring[place as usize] = STRUCK_OUT;
    }

    #[inline(never)]
    fn make_room(&mut self, table: &Table<'_>) {
        let size = self.ring.len() as u64;
        self.clean(table, LOG_CLEAN_PER_APPEND as u64);
        while self.ends.head - self.ends.tail == size {
            self.clean(table, LOG_CLEAN_PER_APPEND as u64);
        }
    }

    /// Takes some entries off the tail, at most [`LOG_CLEAN_TOGETHER`]. Those that are not struck out move to the head.
    #[inline(never)]
    fn clean(&mut self, table: &Table<'_>, count: u64) {
        let Ends { head, tail, tail_place, .. } = self.ends;
        let count = (head - tail).min(count) as usize;
        debug_assert!(count > 0, "a ring that is filling up has entries");
        let start = self.next_place(tail_place) as usize;
        let first = count.min(self.ring.len() - start);
        let (mut moved, mut kept) = ([0; LOG_CLEAN_TOGETHER], 0);
        let mut look = |entries: &[Position]| {
            for &at in entries {
                moved[kept % LOG_CLEAN_TOGETHER] = at;
                kept += usize::from(at != STRUCK_OUT);
            }
        };
        look(&self.ring[start..start + first]);
        look(&self.ring[..count - first]);
        self.ends.tail = tail + count as u64;
        // Where the last of them was, not the place behind it.
        let behind = if count > first { count - first } else { start + first };
        self.ends.tail_place = behind as u32 - 1;
        for &at in &moved[..kept] {
            let position = self.push(at);
            table.restamp(at, position);
        }
        // Those that moved have not changed for long: the next ones are not in the cache either.
        let next = behind + count;
        for &at in self.ring.get(behind..next).unwrap_or_default() {
            table.touch_slot(at);
        }
    }

    #[inline]
    fn push(&mut self, at: Position) -> u64 {
        self.ends.head += 1;
        self.ends.head_place = self.next_place(self.ends.head_place);
        self.ring[self.ends.head_place as usize] = at;
        self.ends.head
    }

    /// Iterates the entries behind `from` up to and including `to`: log position, table position and order.
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
            let at = self.ring[place as usize];
            if at == STRUCK_OUT { None } else { table.mark(at).map(|mark| (before + 1, at, mark)) }
        })
    }
}
