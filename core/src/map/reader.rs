//! Reading from any thread while one writes.

use core::fmt;

use super::table::{Copied, Entry, Guess, Mark, Stamp, Table};
use crate::clock::Dot;
use crate::id::Key;
use crate::limits::READ_TRIES;
use crate::time::{Duration, Instant};
use crate::wire::Shape;

/// A handle on a map's table for the data plane: `Copy`, `Send` and `Sync`, good as long as the storage.
///
/// A read takes no lock, never makes the writer wait, and after its first try makes at most [`READ_TRIES`] more. It sees
/// each record whole, as of some moment during the call; a key that is there throughout the call is found.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    table: Table<'a>,
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
        debug_assert_eq!(table.value_len(), usize::from(shape.value_len));
        Self { table }
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
        let mix = key.mix();
        match self.glance(key, mix, value) {
            Some(lookup) => lookup,
            None => self.search(u128::from_le_bytes(key.0), mix, value, tries),
        }
    }

    /// Looks `key` up at the first position where it may be, which nearly always settles it. Returns `None` where it does
    /// not: there is another key, or a tombstone, or the writer.
    ///
    /// Inlined, so that where the compiler knows the length of `value`, it knows strides and bounds too.
    #[inline(always)]
    pub(super) fn glance(&self, key: Key, mix: u64, value: &mut [u8]) -> Option<Lookup> {
        assert!(value.len() == self.value_len(), "the buffer must have the map's value length");
        let at = match self.table.guess(mix) {
            Guess::At(at) => at,
            Guess::Nowhere => return Some(Lookup::Absent),
            Guess::Further => return None,
        };
        let (stamp, mark) = self.table.copy_live(at, key.words(), value)?;
        Some(Lookup::Found(Meta::new(stamp, &mark)))
    }

    /// Looks a key up at every position where it may be, trying at most `tries` times.
    ///
    /// The key is given as a number because that is passed in registers: for a reference it would have to be in memory
    /// at every [`glance`](Self::glance).
    #[cold]
    #[inline(never)]
    pub(super) fn search(&self, key: u128, mix: u64, value: &mut [u8], tries: u32) -> Lookup {
        let key = Key(key.to_le_bytes());
        for _ in 0..tries {
            let Some(Entry { at, .. }) = self.table.search(key, mix) else {
                return Lookup::Absent;
            };
            match self.table.try_copy(at, Some(key.words()), value) {
                Copied::Record(_, _, mark) if mark.tombstone => return Lookup::Absent,
                Copied::Record(_, stamp, mark) => return Lookup::Found(Meta::new(stamp, &mark)),
                Copied::Busy => core::hint::spin_loop(),
                // The key left while we looked.
                Copied::OtherKey | Copied::Empty => {}
            }
        }
        Lookup::Busy
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
    #[inline]
    pub fn value_len(&self) -> usize {
        self.table.value_len()
    }
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("len", &self.len()).field("value_len", &self.value_len()).finish()
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
        assert_eq!(value.len(), self.reader.value_len(), "the buffer must have the map's value length");
        self.next_prefix(value)
    }

    /// Returns what is known of the next record beside its value, which is not read.
    pub(super) fn next_meta(&mut self) -> Option<Meta> {
        self.next_prefix(&mut []).map(|(_, meta)| meta)
    }

    /// Copies as much of the next record's value as `value` has room for.
    fn next_prefix(&mut self, value: &mut [u8]) -> Option<(Key, Meta)> {
        let table = self.reader.table;
        while self.next < table.high_water() {
            let position = self.next;
            self.next += 1;
            match table.copy(position, value, self.tries) {
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
