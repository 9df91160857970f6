//! A look at single records, stamps and tombstones among them, for checkers and debugging.

use super::Map;
use super::repair::record_hash;
use crate::clock::Dot;
use crate::id::Key;

/// What the table holds at a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Held {
    /// The write that it comes from.
    pub dot: Dot,
    /// Its term (R1).
    pub term: u32,
    /// Whether the write was a delete.
    pub tombstone: bool,
    /// A hash over key, stamp and value: the one that digests sum up.
    pub hash: u64,
}

impl<const N: usize> Map<'_, N> {
    /// Returns what stands at `key`, a tombstone too, or `None` when nothing does.
    pub fn inspect(&self, key: Key) -> Option<Held> {
        let at = self.table.find(key, key.mix())?;
        let mark = self.table.mark(at)?;
        Some(Held {
            dot: mark.dot,
            term: mark.term,
            tombstone: mark.tombstone,
            hash: record_hash(self.table.record(at)),
        })
    }
}
