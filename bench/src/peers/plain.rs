//! What one would write by hand: crc32fast and a hashbrown table, record by record.

use hashbrown::HashMap;

use super::floor::check;
use crate::stream::{RECORD, SLOTS, records};

/// Bytes of a record behind its key.
const REST: usize = RECORD - 16;

/// A hash table of records, with hashbrown's own hasher.
pub struct Plain {
    records: HashMap<[u8; 16], [u8; REST]>,
    version: [u64; SLOTS],
    changes: u64,
}

impl Plain {
    /// Returns a table with room for so many keys.
    #[must_use]
    pub fn new(keys: usize) -> Self {
        Self { records: HashMap::with_capacity(keys), version: [0; SLOTS], changes: 0 }
    }

    /// Returns the changes made so far.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Merges one packet.
    ///
    /// # Panics
    /// When its checksum is wrong.
    pub fn merge(&mut self, packet: &[u8]) {
        check(packet);
        for record in records(packet) {
            let (key, rest) = record.split_first_chunk().expect("a key has 16 bytes");
            let rest: &[u8; REST] = rest.first_chunk().expect("a record is longer than that");
            if counter(rest) <= self.version[usize::from(rest[12]) % SLOTS] {
                continue;
            }
            match self.records.get_mut(key) {
                Some(mine) => {
                    if counter(mine) < counter(rest) {
                        *mine = *rest;
                        self.changes += 1;
                    }
                }
                None => {
                    self.records.insert(*key, *rest);
                    self.changes += 1;
                }
            }
        }
    }
}

fn counter(rest: &[u8; REST]) -> u64 {
    u64::from_le_bytes(*rest.first_chunk().expect("a counter has 8 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Stream;

    #[test]
    fn takes_every_packet() {
        let stream = Stream::new(500, 3);
        let mut plain = Plain::new(500);
        stream.history().iter().for_each(|packet| plain.merge(packet));
        assert_eq!(plain.records.len(), 500);
        let expected: usize = stream.history().iter().map(|packet| records(packet).len()).sum();
        assert_eq!(plain.changes(), expected as u64);
    }
}
