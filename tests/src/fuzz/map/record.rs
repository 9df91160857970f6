//! One record of the model, its bytes by the documented layout, and its place in the order of R1.

use std::cmp::Ordering;
use std::sync::LazyLock;

use popmap_core::Key;
use popmap_core::clock::Dot;
use popmap_core::ownership::priority;

use super::model::KEYS;
use super::{ME, RECORDS, Value};

/// Bytes of a record.
const RECORD: usize = 40;

/// Returns the `n`-th key.
pub fn key(n: usize) -> Key {
    static ALL: LazyLock<[Key; KEYS]> = LazyLock::new(|| std::array::from_fn(|n| Key::from_name(&[n as u8])));
    ALL[n % KEYS]
}

/// One record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    pub n: usize,
    pub dot: Dot,
    pub term: u32,
    /// None for a tombstone.
    pub value: Option<Value>,
}

impl Default for Entry {
    fn default() -> Self {
        Self::new(0, Dot { slot: ME, counter: 0 }, 0, None)
    }
}

impl Entry {
    pub fn new(n: usize, dot: Dot, term: u32, value: Option<Value>) -> Self {
        Self { n, dot, term, value }
    }

    /// Returns the record by the documented layout.
    pub fn bytes(&self) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        bytes[..16].copy_from_slice(&key(self.n).0);
        bytes[16..24].copy_from_slice(&self.dot.counter.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.term.to_le_bytes());
        bytes[28..30].copy_from_slice(&[self.dot.slot.get(), u8::from(self.value.is_none())]);
        bytes[32..37].copy_from_slice(&self.value.unwrap_or_default());
        bytes
    }

    /// Returns the documented hash of a record.
    pub fn hash(&self) -> u64 {
        self.bytes().as_chunks::<8>().0.iter().fold(0x9e37_79b9_7f4a_7c15, |x, word| {
            let word = u64::from_le_bytes(*word);
            let product = u128::from(x ^ word) * 0xd1b5_4a32_d192_ed03;
            product as u64 ^ (product >> 64) as u64 ^ word.rotate_left(32)
        })
    }

    /// Compares two records of one key (R1).
    pub fn compare(&self, other: &Self) -> Ordering {
        let rank = |entry: &Self| {
            let Dot { slot, counter } = entry.dot;
            (entry.term, priority(slot, key(entry.n)), slot, counter, entry.value.is_none(), entry.value)
        };
        rank(self).cmp(&rank(other))
    }
}

/// The records of a packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Batch {
    records: [Entry; RECORDS],
    len: usize,
}

impl Batch {
    pub fn push(&mut self, entry: Entry) {
        self.records[self.len] = entry;
        self.len += 1;
    }

    pub fn records(&self) -> &[Entry] {
        &self.records[..self.len]
    }
}
