//! The floor: what no protocol can do without on the same packet, and nothing else.
//!
//! The same checksum, as many lookups in a table of the same size, a version check, and the same bytes written. The
//! table has 16-bit fingerprints, sixteen to a cache line, and is walked in passes so that cache misses overlap. There
//! is no order of records beyond the counter, no log, no commit, no reader to be kept from seeing half a record.

use prefetch_index::prefetch_index;

use crate::stream::{RECORD, RECORDS_AT, SLOTS, capacity, records};

const WAYS: usize = 16;
const WORDS: usize = WAYS / 4;
/// The least bit of each fingerprint in a word: as a factor, it copies a fingerprint to all of them.
const QUARTERS: u64 = 0x0001_0001_0001_0001;
/// Records a line is sized for: as popmap's, a load of 12 in a full table.
const LINE_RECORDS: usize = 12;
/// Records of the longest packet.
const BATCH: usize = 32;
/// Records that 16 bits tell apart.
pub const KEYS_MAX: usize = 56_000;

#[derive(Clone)]
#[repr(align(64))]
struct Line {
    /// Four to a word; zero for none.
    fingerprints: [u64; WORDS],
    at: [u16; WAYS],
}

#[derive(Clone)]
#[repr(align(64))]
struct Place {
    stamp: u64,
    record: [u8; RECORD],
}

/// The floor's table.
pub struct Floor {
    lines: Vec<Line>,
    places: Vec<Place>,
    version: [u64; SLOTS],
    changes: u64,
}

/// What is known of a packet's records between the passes.
struct Pass<'p> {
    records: &'p [[u8; RECORD]],
    /// A bit for each that is new.
    new: u32,
    /// Where each may be.
    at: [u16; BATCH],
}

impl Pass<'_> {
    fn new() -> Self {
        Self { records: &[], new: 0, at: [0; BATCH] }
    }
}

const _: () = assert!(BATCH == u32::BITS as usize);

impl Floor {
    /// Returns a table for so many keys.
    ///
    /// # Panics
    /// When those are more than [`KEYS_MAX`].
    #[must_use]
    pub fn new(keys: usize) -> Self {
        assert!(keys <= KEYS_MAX, "positions have 16 bits");
        let line = Line { fingerprints: [0; WORDS], at: [0; WAYS] };
        let lines = vec![line; capacity(keys).div_ceil(LINE_RECORDS)];
        Self { lines, places: Vec::with_capacity(capacity(keys)), version: [0; SLOTS], changes: 0 }
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
        let mut pass = Pass::new();
        self.first(packet, &mut pass);
        self.second(&mut pass);
        self.third(&pass);
    }

    /// Merges packets as one pipeline: while one waits for the cache, the next two go on.
    ///
    /// # Panics
    /// When a checksum is wrong.
    pub fn merge_burst<P: AsRef<[u8]>>(&mut self, packets: &[P]) {
        let mut passes = [Pass::new(), Pass::new(), Pass::new()];
        for n in 0..packets.len() + 2 {
            if let Some(packet) = packets.get(n) {
                self.first(packet.as_ref(), &mut passes[n % 3]);
            }
            if (1..=packets.len()).contains(&n) {
                self.second(&mut passes[(n - 1) % 3]);
            }
            if n >= 2 {
                self.third(&passes[(n - 2) % 3]);
            }
        }
    }

    /// Checks the sum, leaves out what the version covers, and prefetches the lines of the rest.
    #[inline]
    fn first<'p>(&self, packet: &'p [u8], pass: &mut Pass<'p>) {
        check(packet);
        (pass.records, pass.new) = (records(packet), 0);
        for (n, record) in pass.records.iter().take(BATCH).enumerate() {
            if counter(record) > self.version[slot(record)] {
                prefetch_index(&self.lines, self.home(hash(record)));
                pass.new |= 1 << n;
            }
        }
    }

    /// Finds where the records are by their fingerprints, and prefetches those places.
    #[inline]
    fn second(&self, pass: &mut Pass<'_>) {
        for (n, (record, at)) in pass.records.iter().zip(&mut pass.at).enumerate() {
            if pass.new >> n & 1 != 0 {
                let hash = hash(record);
                let line = &self.lines[self.home(hash)];
                *at = line.at[first_way(matching(&line.fingerprints, fingerprint(hash)))];
                prefetch_index(&self.places, usize::from(*at));
            }
        }
    }

    /// Writes the records.
    #[inline]
    fn third(&mut self, pass: &Pass<'_>) {
        for (n, (record, &at)) in pass.records.iter().zip(&pass.at).enumerate() {
            if pass.new >> n & 1 == 0 {
                continue;
            }
            self.changes += 1;
            let place = match self.places.get_mut(usize::from(at)) {
                Some(place) if key(&place.record) == key(record) => place,
                _ => {
                    let at = self.find_or_insert(record);
                    &mut self.places[at]
                }
            };
            if counter(&place.record) < counter(record) {
                place.stamp = self.changes;
                place.record = *record;
            }
        }
    }

    #[inline]
    fn home(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.lines.len() as u128) >> 64) as usize
    }

    /// What a wrong guess, or a new key, comes to.
    #[cold]
    fn find_or_insert(&mut self, record: &[u8; RECORD]) -> usize {
        let hash = hash(record);
        let mut line = self.home(hash);
        loop {
            let mut found = matching(&self.lines[line].fingerprints, fingerprint(hash));
            while found != 0 {
                let at = usize::from(self.lines[line].at[first_way(found)]);
                if self.places[at].record[..16] == record[..16] {
                    return at;
                }
                found &= found - 1;
            }
            let free = matching(&self.lines[line].fingerprints, 0);
            if free != 0 {
                let way = first_way(free);
                self.lines[line].fingerprints[way / 4] |= u64::from(fingerprint(hash)) << (16 * (way % 4));
                self.lines[line].at[way] = self.places.len() as u16;
                let mut fresh = [0; RECORD];
                fresh[..16].copy_from_slice(&record[..16]);
                self.places.push(Place { stamp: 0, record: fresh });
                return self.places.len() - 1;
            }
            line = (line + 1) % self.lines.len();
        }
    }
}

/// Checks a packet's sum, as popmap does: without the four bytes of the sum itself.
///
/// # Panics
/// When it is wrong.
#[inline]
pub fn check(packet: &[u8]) {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&packet[..4]);
    crc.update(&packet[8..]);
    let expected = u32::from_le_bytes([packet[4], packet[5], packet[6], packet[7]]);
    assert!(crc.finalize() == expected, "the sum is right");
}

/// What a packet costs of which nothing is new: its checksum and one compare a record. Returns how many were new.
#[inline]
#[must_use]
pub fn duplicate(packet: &[u8], version: &[u64; SLOTS]) -> usize {
    check(packet);
    records(packet).iter().filter(|record| counter(record) > version[slot(record)]).count()
}

/// Copies the records at these positions one after the other: what a delta packet cannot do without.
pub struct Copier {
    places: Vec<Place>,
}

impl Copier {
    /// Returns a table of so many records.
    #[must_use]
    pub fn new(keys: usize) -> Self {
        Self { places: vec![Place { stamp: 0, record: [0; RECORD] }; keys] }
    }

    /// Changes the records at these positions, so that they are as warm as what was just written.
    pub fn write(&mut self, positions: &[u32]) {
        for &at in positions {
            let place = &mut self.places[at as usize];
            place.stamp += 1;
            place.record = [place.stamp as u8; RECORD];
        }
    }

    /// Copies the records to where those of a delta packet stand.
    #[inline]
    pub fn copy(&self, positions: &[u32], frame: &mut [u8]) {
        let room = frame[RECORDS_AT..].as_chunks_mut().0;
        for (place, &at) in room.iter_mut().zip(positions) {
            *place = self.places[at as usize].record;
        }
    }
}

#[inline]
fn key(record: &[u8; RECORD]) -> u128 {
    u128::from_le_bytes(*record.first_chunk().expect("a key has 16 bytes"))
}

#[inline]
fn hash(record: &[u8; RECORD]) -> u64 {
    // Keys are hashes already.
    u64::from_le_bytes(*record.first_chunk().expect("a key has 16 bytes"))
}

#[inline]
fn fingerprint(hash: u64) -> u16 {
    (hash as u16).max(1)
}

#[inline]
fn counter(record: &[u8; RECORD]) -> u64 {
    u64::from_le_bytes(*record[16..].first_chunk().expect("a counter has 8 bytes"))
}

#[inline]
fn slot(record: &[u8; RECORD]) -> usize {
    usize::from(record[28]) % SLOTS
}

/// Returns a bit for each way whose fingerprint is this one, and perhaps for some that are not; the lowest is right.
#[inline]
fn matching(fingerprints: &[u64; WORDS], wanted: u16) -> u64 {
    let wanted = u64::from(wanted) * QUARTERS;
    let mut matching = 0;
    for (word, fingerprints) in fingerprints.iter().enumerate() {
        // The borrow of a zero runs upward only.
        let x = fingerprints ^ wanted;
        let zero = x.wrapping_sub(QUARTERS) & !x & (QUARTERS << 15);
        matching |= zero >> (15 - word);
    }
    matching
}

/// Returns the first way of those that match; some way when none does.
#[inline]
fn first_way(matching: u64) -> usize {
    let bit = matching.trailing_zeros() as usize;
    (bit % 16 * 4 + bit / 16) % WAYS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{self, Batch, PER_PACKET, Stream};

    #[test]
    fn takes_what_the_map_takes() {
        let mut stream = Stream::new(1_000, 3);
        let mut floors = [Floor::new(1_000), Floor::new(1_000)];
        for packet in stream.history() {
            floors.iter_mut().for_each(|floor| floor.merge(packet));
        }
        let mut node = stream.node();
        let keys = stream.pick(5 * PER_PACKET);
        let Batch { full, rest } = stream.batch(&keys);
        let before = floors[0].changes();
        full.iter().for_each(|packet| floors[0].merge(packet));
        floors[1].merge_burst(&full);
        for packet in full.iter().chain(&rest) {
            node.handle_packet(stream::NOW, popmap_core::Address::default(), packet).unwrap();
        }
        for floor in &mut floors {
            assert_eq!(floor.changes() - before, 5 * PER_PACKET as u64);
            assert_eq!(floor.places.len(), 1_000);
            for i in 0..1_000 {
                let mut record = [0; RECORD];
                record[..16].copy_from_slice(&stream::key(i).0);
                let at = floor.find_or_insert(&record);
                let mut value = [0; 24];
                assert!(matches!(node.get(stream::key(i), &mut value), popmap_core::Lookup::Found(_)));
                assert_eq!(floor.places[at].record[32..], value);
            }
        }
        let version = node.map().version().counters();
        assert!(full.iter().all(|packet| duplicate(packet, version) == 0));
        assert_eq!(duplicate(&full[0], &[0; SLOTS]), PER_PACKET);
    }

    #[test]
    fn fingerprints_are_found() {
        let mut fingerprints = [0; WORDS];
        for way in 0..WAYS {
            fingerprints[way / 4] |= (way as u64 / 2 + 1) << (16 * (way % 4));
        }
        for wanted in 1..=8 {
            assert_eq!(first_way(matching(&fingerprints, wanted)), 2 * (usize::from(wanted) - 1));
        }
        assert_eq!(matching(&fingerprints, 9), 0);
    }
}
