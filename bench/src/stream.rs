//! Full delta packets whose records many servers wrote, and what follows them.
//!
//! Knows how the records of many writers come to one relay, which sends them on. Must not know who merges the packets,
//! nor what is measured.

use popmap_core::limits::{PAYLOAD_DEFAULT, RESERVE_DIVISOR, VALUE_DEFAULT};
use popmap_core::map::Request;
use popmap_core::rng::Rng;
use popmap_core::time::{Duration, Instant};
use popmap_core::wire::{self, Body, DELTA_FIXED, Envelope, seal};
use popmap_core::{Address, Config, Key, Life, Map, MapConfig, Node, Phase, Shape, Slot, SlotSet};
use popmap_io::Storage;

/// Slots of the PoP.
pub const SLOTS: usize = 64;
/// What the maps hold.
pub const SHAPE: Shape = Shape { schema: 1, value_len: VALUE_DEFAULT as u16 };
/// Bytes of a record.
pub const RECORD: usize = SHAPE.record_len();
/// Where the records of a delta packet begin.
pub const RECORDS_AT: usize = DELTA_FIXED;
/// Records of a full packet: eight bytes stay for an empty version.
pub const PER_PACKET: usize = (PAYLOAD_DEFAULT - DELTA_FIXED - 8) / RECORD;
/// Writers that a PoP has at most beside the follower: all other servers.
pub const WRITERS_MAX: usize = SLOTS - 1;

/// The cluster of all packets.
pub const CLUSTER: u64 = 0x706f_706d_6170;
/// The follower's slot, which writes nothing.
pub const FOLLOWER: usize = SLOTS - 1;
/// Keys that are written before the follower catches up: fewer than one delta may walk.
const CHUNK: u64 = 1_000;

/// One packet.
pub type Packet = Box<[u8]>;

/// Some servers that write, one of them the relay that sends everything on, and a follower.
pub struct Stream {
    /// The relay first.
    writers: Vec<Map<'static>>,
    follower: Map<'static>,
    keys: u64,
    rng: Rng,
    number: u64,
    history: Vec<Packet>,
}

/// Packets to be taken in this order.
pub struct Batch {
    /// Full ones: each brings [`PER_PACKET`] records, newer than all before.
    pub full: Vec<Packet>,
    /// What commits them.
    pub rest: Vec<Packet>,
}

impl Stream {
    /// Builds `writers` servers that have written `keys` records between them, twice, at random. Their memory is never
    /// given back.
    ///
    /// # Panics
    /// When there are no writers or more than [`WRITERS_MAX`], or a replica does not do as it should.
    #[must_use]
    pub fn new(keys: usize, writers: usize) -> Self {
        assert!((1..=WRITERS_MAX).contains(&writers), "1 to {WRITERS_MAX} writers are possible");
        let share = keys.div_ceil(writers);
        let size = |writer| if writer == 0 { keys } else { share };
        let mut stream = Self {
            writers: (0..writers).map(|writer| replica(writer, size(writer))).collect(),
            follower: replica(FOLLOWER, keys),
            keys: keys as u64,
            rng: Rng::new(keys as u64 ^ writers as u64),
            number: 0,
            history: Vec::new(),
        };
        let mut history = Vec::new();
        for first in (0..stream.keys).step_by(CHUNK as usize) {
            (first..stream.keys.min(first + CHUNK)).for_each(|i| stream.write(i));
            stream.catch_up(&mut history);
        }
        // Once more, so that the change log has gone round.
        for _ in 0..stream.keys.div_ceil(CHUNK) {
            for _ in 0..CHUNK.min(stream.keys) {
                let i = stream.rng.below(stream.keys);
                stream.write(i);
            }
            stream.catch_up(&mut history);
        }
        stream.history = history;
        stream
    }

    /// Returns the number of keys.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.keys as usize
    }

    /// Returns what brings a new follower to where the first [`batch`](Self::batch) begins.
    #[must_use]
    pub fn history(&self) -> &[Packet] {
        &self.history
    }

    /// Returns the configuration of the node that the packets are for.
    #[must_use]
    pub fn config(&self) -> Config {
        let config =
            Config::new(CLUSTER, Slot::at(FOLLOWER), life(FOLLOWER), capacity(self.keys as usize), SHAPE);
        // It has started: waiting for others is not what is measured.
        Config { swim: None, start_within: Duration::ZERO, ..config }
    }

    /// Returns a new node that has taken the history; its memory is never given back. It is as full as writes make it.
    ///
    /// # Panics
    /// When it rejects a packet.
    #[must_use]
    pub fn node(&self) -> Box<Node<'static, SLOTS>> {
        self.node_of(capacity(self.keys()))
    }

    /// The same with room for so many records.
    ///
    /// # Panics
    /// When it rejects a packet.
    #[must_use]
    pub fn node_of(&self, capacity: usize) -> Box<Node<'static, SLOTS>> {
        let config = Config { capacity, ..self.config() };
        let storage = Storage::new(Node::<SLOTS>::words(&config)).leak();
        let mut node = Box::new(Node::new(NOW, storage, &config).expect("the configuration is valid"));
        for packet in &self.history {
            node.handle_packet(NOW, Address::default(), packet).expect("the packet is valid");
        }
        assert_eq!(node.map().len(), self.keys());
        assert!(matches!(node.map().phase(), Phase::Active { .. }), "it has started");
        node
    }

    /// Picks so many different keys, by their numbers.
    ///
    /// # Panics
    /// When there are not so many.
    pub fn pick(&mut self, count: usize) -> Vec<u64> {
        assert!(count <= self.keys(), "more keys than there are");
        let mut taken = vec![false; self.keys()];
        let mut pick = || loop {
            let i = self.rng.below(self.keys);
            if !std::mem::replace(&mut taken[i as usize], true) {
                return i;
            }
        };
        (0..count).map(|_| pick()).collect()
    }

    /// Writes these keys and returns the packets that bring them.
    ///
    /// # Panics
    /// When they do not fill whole packets, or a replica does not do as it should.
    pub fn batch(&mut self, keys: &[u64]) -> Batch {
        assert!(keys.len().is_multiple_of(PER_PACKET), "full packets");
        keys.iter().for_each(|&i| self.write(i));
        let mut full = Vec::new();
        self.catch_up(&mut full);
        let rest = full.split_off(keys.len() / PER_PACKET);
        assert!(full.iter().all(|packet| records(packet).len() == PER_PACKET), "full packets come first");
        Batch { full, rest }
    }

    /// Writes these keys, has the relay build the full packets that bring them, and the follower take them. `measure` is
    /// given the building, with the checksum or without, and must run it.
    ///
    /// # Panics
    /// When the keys do not fill whole packets, or a replica does not do as it should.
    pub fn build(&mut self, keys: &[u64], checksum: bool, measure: impl FnOnce(&mut dyn FnMut())) {
        assert!(keys.len().is_multiple_of(PER_PACKET), "full packets");
        keys.iter().for_each(|&i| self.write(i));
        let Self { writers, follower, number, .. } = self;
        let (relay, to) = (&mut writers[0], follower.slot());
        ask(follower, relay, u16::MAX, number);
        let mut built: Vec<_> = (0..keys.len() / PER_PACKET).map(|_| ([0; PAYLOAD_DEFAULT], None)).collect();
        measure(&mut || {
            for (frame, packet) in &mut built {
                let written = relay.write_delta(to, frame);
                if let Some((envelope, len)) = written.filter(|_| checksum) {
                    sealed(&mut frame[..len], &envelope, number);
                }
                *packet = written;
            }
        });
        for (frame, packet) in &mut built {
            let (envelope, len) = packet.expect("a delta is due");
            sealed(&mut frame[..len], &envelope, number);
            assert_eq!(records(frame).len(), PER_PACKET, "full packets come first");
            merge(follower, &frame[..len]);
        }
        self.catch_up(&mut Vec::new());
    }

    fn write(&mut self, i: u64) {
        let mut value = [0; VALUE_DEFAULT];
        value[..8].copy_from_slice(&self.rng.next_u64().to_le_bytes());
        let author = (i % self.writers.len() as u64) as usize;
        self.writers[author].put(key(i), &value).expect("the map has room");
        if author == 0 {
            return;
        }
        let (relay, others) = self.writers.split_first_mut().expect("there is a relay");
        let author = &mut others[author - 1];
        ask(relay, author, 4, &mut self.number);
        let mut frame = [0; PAYLOAD_DEFAULT];
        while let Some(len) = build(author, relay.slot(), &mut frame, &mut self.number) {
            merge(relay, &frame[..len]);
        }
        assert_eq!(relay.version().get(author.slot()), author.version().get(author.slot()));
    }

    /// Has the follower take all that the relay has, and adds the packets to `packets`.
    fn catch_up(&mut self, packets: &mut Vec<Packet>) {
        let relay = &mut self.writers[0];
        while self.follower.version() != relay.version() {
            ask(&self.follower, relay, u16::MAX, &mut self.number);
            let mut frame = [0; PAYLOAD_DEFAULT];
            while let Some(len) = build(relay, self.follower.slot(), &mut frame, &mut self.number) {
                merge(&mut self.follower, &frame[..len]);
                packets.push(frame[..len].into());
            }
        }
    }
}

/// The time at which everything happens.
pub const NOW: Instant = Instant::from_millis(1);

/// Returns the records of a delta packet, as bytes.
#[inline]
#[must_use]
pub fn records(packet: &[u8]) -> &[[u8; RECORD]] {
    // The count stands in the last two bytes of the shape that begins the body.
    let count = usize::from(u16::from_le_bytes([packet[wire::HEADER + 6], packet[wire::HEADER + 7]]));
    packet[RECORDS_AT..RECORDS_AT + count * RECORD].as_chunks().0
}

/// Returns the key of the record with this number.
#[must_use]
pub fn key(i: u64) -> Key {
    Key::from_name(&i.to_le_bytes())
}

/// Lets `to` tell its version to `from`, and with it ask for up to `window` packets. `number` counts packets.
///
/// # Panics
/// When a replica does not do as it should.
pub fn ask(to: &Map<'_>, from: &mut Map<'_>, window: u16, number: &mut u64) {
    let request = Request { window, force: true, ..Request::default() };
    let mut frame = [0; PAYLOAD_DEFAULT];
    let (envelope, len) = to.write_version(from.slot(), &request, &mut frame).expect("a version fits");
    sealed(&mut frame[..len], &envelope, number);
    let (envelope, body) = wire::parse(&frame[..len], CLUSTER, &SHAPE, SLOTS).expect("the packet is valid");
    from.admit(&envelope).expect("the sender is known");
    let Body::Version(version) = body else { unreachable!("a version was sent") };
    from.on_version(envelope.slot, &version);
}

/// Fills `frame` with the next delta packet that `to` asked `map` for, and returns its length.
pub fn build(map: &mut Map<'_>, to: Slot, frame: &mut [u8], number: &mut u64) -> Option<usize> {
    let (envelope, len) = map.write_delta(to, frame)?;
    sealed(&mut frame[..len], &envelope, number);
    Some(len)
}

/// Has `map` take a delta packet.
///
/// # Panics
/// When it is not valid.
pub fn merge(map: &mut Map<'_>, packet: &[u8]) {
    let (envelope, body) = wire::parse(packet, CLUSTER, &SHAPE, SLOTS).expect("the packet is valid");
    map.admit(&envelope).expect("the sender is known");
    let Body::Delta(delta) = body else { unreachable!("a delta was sent") };
    map.on_delta(&envelope, &delta).expect("nothing was forgotten");
}

/// Completes a packet of this PoP.
pub fn sealed(packet: &mut [u8], envelope: &Envelope, number: &mut u64) {
    *number += 1;
    seal(packet, envelope, CLUSTER, *number);
}

/// Returns the life of the server in a slot.
pub(crate) fn life(slot: usize) -> Life {
    Life { generation: 1, id: slot as u64 + 1 }
}

/// Returns the capacity with which a map lets so many keys be put: a part of it is kept for remote records.
#[must_use]
pub fn capacity(keys: usize) -> usize {
    (keys * RESERVE_DIVISOR).div_ceil(RESERVE_DIVISOR - 1)
}

/// Returns an empty map that may write; its memory is never given back.
///
/// # Panics
/// When `slot` is not below [`SLOTS`] or `keys` is more than a map has room for.
#[must_use]
pub fn replica(slot: usize, keys: usize) -> Map<'static> {
    replica_in(Storage::new(Map::<SLOTS>::words(capacity(keys), &SHAPE)).leak(), slot, capacity(keys))
}

/// Returns an empty map in `storage` that may write.
///
/// # Panics
/// When `slot` is not below [`SLOTS`], the storage is not zero or too small.
pub fn replica_in(storage: &mut [u64], slot: usize, capacity: usize) -> Map<'_> {
    let mut map = Map::new(
        storage,
        &MapConfig {
            slot: Slot::at(slot),
            configured: SlotSet::first(SLOTS),
            life: life(slot),
            capacity,
            shape: SHAPE,
            start_deadline: Instant::ZERO,
        },
    )
    .expect("the configuration is valid");
    // The deadline has come: it may write.
    map.advance(NOW);
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_newer_and_of_many_writers() {
        for writers in [1, 3, WRITERS_MAX] {
            let mut stream = Stream::new(1_000, writers);
            let mut node = stream.node();
            for _ in 0..3 {
                let before = *node.map().stats();
                let keys = stream.pick(4 * PER_PACKET);
                let Batch { full, rest } = stream.batch(&keys);
                assert_eq!(full.len(), 4);
                let mut authors = SlotSet::EMPTY;
                for packet in full.iter().chain(&rest) {
                    node.handle_packet(NOW, Address::default(), packet).unwrap();
                    records(packet).iter().for_each(|record| authors.insert(Slot::at(record[28].into())));
                }
                let applied = node.map().stats().records_applied - before.records_applied;
                assert_eq!(applied, 4 * PER_PACKET as u64);
                assert!(node.map().stats().commits > before.commits);
                assert!(authors.len() >= writers.min(30), "{authors:?}");
                // All of them again are covered.
                full.iter().for_each(|packet| node.handle_packet(NOW, Address::default(), packet).unwrap());
                let covered = node.map().stats().records_covered - before.records_covered;
                assert_eq!(covered, 4 * PER_PACKET as u64);
            }
        }
    }
}
