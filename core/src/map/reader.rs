//! Reading from any thread while one writes.

use core::fmt;

use super::table::{Copied, Mark, Stamp, Table};
use crate::clock::Dot;
use crate::id::Key;
use crate::limits::READ_TRIES;
use crate::time::{Duration, Instant};
use crate::wire::Shape;

/// A handle on a map's table for the data plane: `Copy`, `Send` and `Sync`, good as long as the storage.
///
/// A read takes no lock, never makes the writer wait, and tries a slot at most [`READ_TRIES`] times. It sees each
/// record whole, as of some moment during the call; a key that is there throughout the call is found.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    table: Table<'a>,
    value_len: usize,
}

/// What is known of a value beside its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Meta {
    /// The write that it comes from.
    pub dot: Dot,
    /// Its term (R1).
    pub term: u32,
    stamp: Stamp,
}

impl Meta {
    fn new(stamp: Stamp, mark: &Mark) -> Self {
        Self { dot: mark.dot, term: mark.term, stamp }
    }

    /// Returns how long ago this replica applied the write, in steps of 16.8 ms; wraps after 2.3 years.
    ///
    /// `now` is on the clock that drives the map; [`Reader::heartbeat`] is its last reading.
    pub fn age(&self, now: Instant) -> Duration {
        Duration(self.stamp.age_ns(now.0))
    }
}

/// What a lookup came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Lookup {
    /// The value has been copied.
    Found(Meta),
    /// There is no such key, or it was deleted.
    Absent,
    /// The writer kept changing the slot through every try. The buffer's contents are of no use; try again.
    Busy,
}

impl<'a> Reader<'a> {
    pub(super) fn new(table: Table<'a>, shape: Shape) -> Self {
        Self { table, value_len: usize::from(shape.value_len) }
    }

    /// Looks `key` up and copies its value, which must have the map's length, into `value`.
    ///
    /// # Panics
    /// When `value` does not have the map's value length.
    #[inline]
    pub fn get(&self, key: Key, value: &mut [u8]) -> Lookup {
        self.get_within(key, value, READ_TRIES)
    }

    #[inline]
    pub(super) fn get_within(&self, key: Key, value: &mut [u8], tries: u32) -> Lookup {
        assert_eq!(value.len(), self.value_len, "the buffer must have the map's value length");
        let words = key.words();
        let found = self.table.search(key.mix(), |position| {
            match self.table.copy(position, Some(&words), value, tries) {
                Copied::Record(_, _, mark) if mark.tombstone => Some(Lookup::Absent),
                Copied::Record(_, stamp, mark) => Some(Lookup::Found(Meta::new(stamp, &mark))),
                Copied::Busy => Some(Lookup::Busy),
                // Another key with this fingerprint, or the key left while we looked.
                Copied::OtherKey | Copied::Empty => None,
            }
        });
        found.unwrap_or(Lookup::Absent)
    }

    /// Iterates the live records in no particular order.
    ///
    /// A record that is there throughout is seen once; one that the writer kept busy through every try is counted in
    /// [`Records::skipped`].
    pub fn records(&self) -> Records<'a> {
        self.records_within(READ_TRIES)
    }

    pub(super) fn records_within(&self, tries: u32) -> Records<'a> {
        Records { reader: *self, tries, next: 0, skipped: 0 }
    }

    /// Returns the time that the writer last told: a reader can see whether it still runs.
    pub fn heartbeat(&self) -> Instant {
        Instant(self.table.heartbeat())
    }

    /// Returns the records in the table, tombstones among them.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether the table holds no record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes of a value.
    pub fn value_len(&self) -> usize {
        self.value_len
    }
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("len", &self.len()).field("value_len", &self.value_len).finish()
    }
}

/// A pass over the live records; see [`Reader::records`].
#[derive(Clone, Debug)]
pub struct Records<'a> {
    reader: Reader<'a>,
    tries: u32,
    next: u32,
    skipped: usize,
}

impl Records<'_> {
    /// Copies the next record's value into `value` and returns its key, or `None` at the end.
    ///
    /// # Panics
    /// When `value` does not have the map's value length.
    pub fn next_into(&mut self, value: &mut [u8]) -> Option<(Key, Meta)> {
        let Reader { table, value_len } = self.reader;
        assert_eq!(value.len(), value_len, "the buffer must have the map's value length");
        while self.next < table.high_water() {
            let position = self.next;
            self.next += 1;
            match table.copy(position, None, value, self.tries) {
                Copied::Record(words, stamp, mark) if !mark.tombstone => {
                    return Some((Key::from_words(words), Meta::new(stamp, &mark)));
                }
                Copied::Busy => self.skipped += 1,
                Copied::Record(..) | Copied::OtherKey | Copied::Empty => {}
            }
        }
        None
    }

    /// Returns the records that the writer kept busy through every try so far.
    pub fn skipped(&self) -> usize {
        self.skipped
    }
}
