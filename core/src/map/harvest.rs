//! Harvest: how much of the map is fresh, from servers that are alive.
//!
//! Knows the author and the age of each record, and who is alive as far as it is told. Must not know who found that out,
//! nor what a value means.
//!
//! Harvest is the fraction of the data that an answer reflects, yield the fraction of the requests that are answered
//! (Fox and Brewer 1999). Harvest is counted here. Yield is for whoever looks up: of its lookups, those that did not
//! end in [`Lookup::Busy`](super::Lookup::Busy).

use super::Reader;
use crate::id::SlotSet;
use crate::time::{Duration, Instant};

/// What a pass over the keys has found: see [`Reader::harvest`]. Deleted keys count for nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[must_use]
pub struct Harvest {
    /// Keys looked at: the fresh, the aged and the orphaned.
    pub keys: usize,
    /// Keys whose author is live and whose last write was applied here at most `max_age` ago.
    pub fresh: usize,
    /// Keys whose author is live and whose last write was applied here longer ago.
    pub aged: usize,
    /// Keys whose author is not live, whatever their age: nobody has taken them over yet.
    pub orphaned: usize,
    /// Slots that the writer kept busy through every try: not known to hold a key, and not among `keys`.
    pub skipped: usize,
}

impl Harvest {
    /// Returns the fresh keys over all keys, 0 to 1, or `None` when there are no keys: nothing is neither all nor none.
    pub fn fraction(&self) -> Option<f64> {
        (self.keys > 0).then(|| self.fresh as f64 / self.keys as f64)
    }
}

impl Reader<'_> {
    /// Counts the keys by whether their author, the server that wrote what stands there, is one of `live`, and by
    /// whether this replica applied that write at most `max_age` before `now`.
    ///
    /// Age is counted from the moment at which the write was applied *here* ([`Meta::age`](super::Meta::age), in steps
    /// of 16.8 ms): a server that has just caught up has only young records, however old the writes are. And a key is
    /// young only if it is written: `max_age` below the interval at which owners write their keys anew, changed or
    /// not, finds them aged.
    ///
    /// `now` is on the clock that drives the map, and counts as [`heartbeat`](Self::heartbeat) where it is behind that.
    /// Give the clock and not the heartbeat: while the writing thread stands still so does the heartbeat, and what does
    /// not age stays fresh.
    ///
    /// It may be called on any thread and makes the writer wait no more than a lookup does. It reads a few words of
    /// each slot that was ever used, which costs about as much as looking every key up once: something for every second
    /// or so, not for every request.
    pub fn harvest(&self, now: Instant, max_age: Duration, live: SlotSet) -> Harvest {
        let now = now.max(self.heartbeat());
        let (mut harvest, mut records) = (Harvest::default(), self.records());
        while let Some(meta) = records.next_meta() {
            harvest.keys += 1;
            if !live.contains(meta.dot.slot) {
                harvest.orphaned += 1;
            } else if meta.age(now) > max_age {
                harvest.aged += 1;
            } else {
                harvest.fresh += 1;
            }
        }
        Harvest { skipped: records.skipped(), ..harvest }
    }
}

#[cfg(all(test, not(popmap_loom)))]
mod tests {
    use std::vec::Vec;

    use super::super::layout::Layout;
    use super::super::table::{Mark, Stamp, Table};
    use super::*;
    use crate::atomic::AtomicU64;
    use crate::clock::Dot;
    use crate::id::{Key, Slot};
    use crate::wire::Shape;

    const SHAPE: Shape = Shape { schema: 1, value_len: 20 };
    const CAPACITY: usize = 40;
    const MAX_AGE: Duration = Duration::from_secs(10);

    /// A table written as the map writes it, and what was written.
    struct Written<'a> {
        table: Table<'a>,
        writes: u64,
    }

    impl<'a> Written<'a> {
        fn new(words: &'a [AtomicU64]) -> Self {
            Self { table: Table::new(words, Layout::new(CAPACITY, &SHAPE)), writes: 0 }
        }

        fn write(&mut self, key: Key, author: usize, at: Instant, tombstone: bool) {
            self.writes += 1;
            let found = self.table.find_entry(key, key.mix()).or_else(|| self.table.insert(key, key.mix()));
            let entry = found.unwrap();
            let mark = Mark { dot: Dot { slot: Slot::at(author), counter: self.writes }, term: 1, tombstone };
            let was_tombstone = entry.mark().is_some_and(|mark| mark.tombstone);
            let stamp = Stamp::new(self.writes, at.0);
            self.table.write(entry, stamp, was_tombstone, mark.words(), core::iter::repeat(7));
        }

        fn reader(&self) -> Reader<'a> {
            Reader::new(self.table, SHAPE)
        }
    }

    fn words() -> Vec<AtomicU64> {
        (0..Layout::new(CAPACITY, &SHAPE).table_words()).map(|_| AtomicU64::new(0)).collect()
    }

    fn key(n: u64) -> Key {
        Key::from_name(&n.to_le_bytes())
    }

    #[test]
    fn each_key_is_fresh_aged_or_orphaned_and_the_deleted_are_none() {
        let words = words();
        let mut map = Written::new(&words);
        let now = Instant::from_millis(60_000);
        let live = SlotSet::first(2);
        let count = |map: &Written<'_>| map.reader().harvest(now, MAX_AGE, live);
        assert_eq!(count(&map), Harvest::default());
        assert_eq!(count(&map).fraction(), None, "nothing is neither all nor none");

        (0..6).for_each(|n| map.write(key(n), n as usize % 2, now - Duration::from_secs(1), false));
        let fresh = Harvest { keys: 6, fresh: 6, ..Harvest::default() };
        assert_eq!((count(&map), count(&map).fraction()), (fresh, Some(1.0)));

        // Old ones, and one of a server that is not live: whether old or not, that is what counts.
        (6..9).for_each(|n| map.write(key(n), 0, now - Duration::from_secs(11), false));
        map.write(key(9), 2, now, false);
        map.write(key(10), 2, now - Duration::from_secs(30), false);
        // Deleted ones, of either age, and of the dead.
        map.write(key(11), 0, now, true);
        map.write(key(12), 1, now - Duration::from_secs(30), true);
        map.write(key(13), 2, now, true);
        let all = Harvest { keys: 11, fresh: 6, aged: 3, orphaned: 2, skipped: 0 };
        assert_eq!(count(&map), all);
        assert_eq!(all.fraction(), Some(6.0 / 11.0));

        // A write, or its author's return, makes a key fresh; a delete takes it out of the count.
        map.write(key(6), 1, now, false);
        map.write(key(10), 1, now, false);
        map.write(key(0), 0, now, true);
        assert_eq!(count(&map), Harvest { keys: 10, fresh: 7, aged: 2, orphaned: 1, skipped: 0 });
        let more = map.reader().harvest(now, MAX_AGE, live.with(Slot::at(2)));
        assert_eq!(more, Harvest { keys: 10, fresh: 8, aged: 2, orphaned: 0, skipped: 0 });
    }

    #[test]
    fn exactly_as_old_as_allowed_is_fresh_and_a_clock_behind_the_writers_is_no_age() {
        let words = words();
        let mut map = Written::new(&words);
        // A whole number of the steps in which ages are kept.
        let step = Duration(1 << 24);
        let written = Instant(step.times(1_000).0);
        map.write(key(1), 0, written, false);
        let live = SlotSet::first(1);
        let fresh = |steps, max_age| map.reader().harvest(written + step.times(steps), max_age, live).fresh;
        assert_eq!((fresh(3, step.times(3)), fresh(4, step.times(3)), fresh(0, Duration::ZERO)), (1, 0, 1));

        map.table.set_heartbeat(written.0);
        assert_eq!(map.reader().harvest(Instant::ZERO, step, live).fresh, 1, "now is at least the heartbeat");
        map.table.set_heartbeat((written + step.times(9)).0);
        assert_eq!(map.reader().harvest(written, step, live).aged, 1);
    }

    #[test]
    fn a_slot_that_is_being_written_is_skipped_and_counted() {
        let words = words();
        let mut map = Written::new(&words);
        map.write(key(1), 0, Instant::ZERO, false);
        // Taken and not written yet: as a reader sees it while the writer is in the middle.
        map.table.insert(key(2), key(2).mix()).unwrap();
        let harvest = map.reader().harvest(Instant::ZERO, MAX_AGE, SlotSet::first(1));
        assert_eq!(harvest, Harvest { keys: 1, fresh: 1, skipped: 1, ..Harvest::default() });
        assert_eq!(map.reader().get(key(2), &mut [0; 20]), super::super::Lookup::Busy);
    }
}
