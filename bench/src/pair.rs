//! Two replicas that are in sync: one writes, the other follows by deltas.
//!
//! Knows which operations are measured and what stands around them. Must not know how they are measured.

use std::hint::black_box;

use popmap_core::limits::{PAYLOAD_DEFAULT, VALUE_DEFAULT};
use popmap_core::map::Request;
use popmap_core::rng::Rng;
use popmap_core::wire::{self, Body, DELTA_FIXED, Envelope, seal};
use popmap_core::{Config, Key, Lookup, Map, Slot, SlotSet};

use crate::stream::{CLUSTER, capacity, key, life, replica};
pub use crate::stream::{SHAPE, SLOTS};

/// Bytes of the writer's version in a delta: the bitmap and one counter.
const VERSION_LEN: usize = 16;

/// Records that fill a packet beside the writer's version.
pub const RECORDS: usize = (PAYLOAD_DEFAULT - DELTA_FIXED - VERSION_LEN) / SHAPE.record_len();

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Operation {
    /// Building a full delta packet from the change log, checksum included
    Build,
    /// Checking and merging that packet; every record in it is newer
    Update,
    /// Checking and merging the same packet once more
    Duplicate,
    /// Reading one value by its key
    Lookup,
}

impl Operation {
    /// Every operation, in the order in which a round goes through them.
    pub const ALL: [Self; 4] = [Self::Build, Self::Update, Self::Duplicate, Self::Lookup];

    /// Returns the operation's name in tables and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Update => "update",
            Self::Duplicate => "duplicate",
            Self::Lookup => "lookup",
        }
    }

    /// Returns what one of it is.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Build | Self::Update | Self::Duplicate => "packet",
            Self::Lookup => "key",
        }
    }

    /// Returns how many of it one round does.
    pub const fn per_round(self) -> usize {
        match self {
            Self::Build | Self::Update | Self::Duplicate => 1,
            Self::Lookup => RECORDS,
        }
    }
}

/// A writer and a follower of one map, equal but for what a round changes.
pub struct Pair {
    writer: Map<'static>,
    follower: Map<'static>,
    keys: u64,
    rng: Rng,
    packets: u64,
}

impl Pair {
    /// Builds both replicas with `keys` records, and overwrites as many at random, so that the change log has gone
    /// round, as it will have for the rest of its life. The maps hold as many keys as their capacity lets
    /// be put. Their storage is never given back.
    ///
    /// # Panics
    /// When `keys` is less than a packet's records, or a replica does not do as it should.
    pub fn new(keys: usize) -> Self {
        Self::overheard(keys, &mut |_| ())
    }

    /// The same; `each` is given every packet that the follower takes.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn overheard(keys: usize, each: &mut dyn FnMut(&[u8])) -> Self {
        assert!(keys >= RECORDS, "keys: {keys} given; a packet alone holds {RECORDS}");
        let mut pair = Self {
            writer: replica(0, keys),
            follower: replica(1, keys),
            keys: keys as u64,
            rng: Rng::new(keys as u64),
            packets: 0,
        };
        for i in 0..pair.keys {
            pair.write(i);
        }
        pair.catch_up(each);
        // No more at once than a delta may walk, or the follower would be sent back to a checkpoint.
        for chunk in 0..pair.keys.div_ceil(1_000) {
            for _ in 0..(pair.keys - 1_000 * chunk).min(1_000) {
                let i = pair.rng.below(pair.keys);
                pair.write(i);
            }
            pair.catch_up(each);
        }
        pair
    }

    /// Returns the configuration of a node that takes the same packets as the follower: it has the follower's life. It
    /// knows nobody but the writer, and nobody tells it who is alive.
    pub fn follower_config(keys: usize) -> Config {
        let life = life(1);
        let config = Config::new(CLUSTER, Slot::at(1), life, capacity(keys), SHAPE);
        Config { configured: SlotSet::first(2), swim: None, ..config }
    }

    /// Changes so many records, a packet's worth at most, has the follower take them, and returns the length of the delta
    /// packet in `frame` that brought them: every record in it is newer for whoever took what the follower took before.
    ///
    /// # Panics
    /// When a replica does not do as it should.
    pub fn packet(&mut self, records: usize, frame: &mut [u8]) -> usize {
        for &i in &self.distinct()[..records] {
            self.write(i);
        }
        self.ask(1);
        let len = self.build(frame).expect("a delta is due");
        assert!(self.merge(&frame[..len]), "it is whole");
        len
    }

    /// Changes a packet's worth of records and does each operation once; `measure` is given each and must run it.
    ///
    /// # Panics
    /// When a replica does not do as it should: what was measured would not be what it is called.
    pub fn round(&mut self, measure: &mut dyn FnMut(Operation, &mut dyn FnMut())) {
        for i in self.distinct() {
            self.write(i);
        }
        let mut frame = [0; PAYLOAD_DEFAULT];
        self.ask(1);
        let mut len = None;
        measure(Operation::Build, &mut || len = self.build(&mut frame));
        let packet = &frame[..len.expect("a delta is due")];

        let before = *self.follower.stats();
        let mut committed = false;
        measure(Operation::Update, &mut || committed = self.merge(packet));
        let applied = self.follower.stats().records_applied - before.records_applied;
        assert_eq!((applied, committed), (RECORDS as u64, true));
        measure(Operation::Duplicate, &mut || {
            self.merge(packet);
        });
        let covered = self.follower.stats().records_covered - before.records_covered;
        assert_eq!(covered, RECORDS as u64);

        let keys = self.distinct().map(key);
        let mut found = 0;
        measure(Operation::Lookup, &mut || found = self.look_up(&keys));
        assert_eq!(found, keys.len());
    }

    /// Picks the numbers of a packet's worth of different keys.
    fn distinct(&mut self) -> [u64; RECORDS] {
        let mut picked = [u64::MAX; RECORDS];
        for i in 0..RECORDS {
            picked[i] = loop {
                let candidate = self.rng.below(self.keys);
                if !picked.contains(&candidate) {
                    break candidate;
                }
            };
        }
        picked
    }

    fn write(&mut self, i: u64) {
        let mut value = [0; VALUE_DEFAULT];
        value[..8].copy_from_slice(&self.rng.next_u64().to_le_bytes());
        self.writer.put(key(i), &value).expect("the map has room");
    }

    fn catch_up(&mut self, each: &mut dyn FnMut(&[u8])) {
        while self.follower.version() != self.writer.version() {
            self.ask(64);
            let mut frame = [0; PAYLOAD_DEFAULT];
            while let Some(len) = self.build(&mut frame) {
                self.merge(&frame[..len]);
                each(&frame[..len]);
            }
        }
    }

    /// Lets the follower send its version, and with it ask for up to `window` packets.
    fn ask(&mut self, window: u16) {
        let request = Request { window, force: true, ..Request::default() };
        let mut frame = [0; PAYLOAD_DEFAULT];
        let (envelope, len) =
            self.follower.write_version(self.writer.slot(), &request, &mut frame).expect("a version fits");
        let packet = self.seal(&mut frame[..len], &envelope);
        let (envelope, body) = wire::parse(packet, CLUSTER, &SHAPE, SLOTS).expect("the packet is valid");
        self.writer.admit(&envelope).expect("the follower is known");
        let Body::Version(version) = body else { unreachable!("a version was sent") };
        self.writer.on_version(envelope.slot, &version);
    }

    fn seal<'f>(&mut self, packet: &'f mut [u8], envelope: &Envelope) -> &'f [u8] {
        self.packets += 1;
        seal(packet, envelope, CLUSTER, self.packets);
        packet
    }

    /// Fills `frame` with the next delta that the follower asked for, and returns its length.
    fn build(&mut self, frame: &mut [u8]) -> Option<usize> {
        let (envelope, len) = self.writer.write_delta(self.follower.slot(), frame)?;
        self.seal(&mut frame[..len], &envelope);
        Some(len)
    }

    fn merge(&mut self, packet: &[u8]) -> bool {
        let (envelope, body) = wire::parse(packet, CLUSTER, &SHAPE, SLOTS).expect("the packet is valid");
        self.follower.admit(&envelope).expect("the writer is known");
        let Body::Delta(delta) = body else { unreachable!("a delta was sent") };
        self.follower.on_delta(&envelope, &delta).expect("nothing was forgotten").committed
    }

    fn look_up(&self, keys: &[Key]) -> usize {
        let reader = self.follower.reader();
        let mut value = [0; VALUE_DEFAULT];
        let found = |&key: &Key| {
            let found = matches!(reader.get(key, &mut value), Lookup::Found(_));
            black_box(&value);
            found
        };
        keys.iter().copied().filter(found).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_does_every_operation_once() {
        let mut pair = Pair::new(500);
        for _ in 0..3 {
            let mut done = Vec::new();
            pair.round(&mut |operation, run| {
                run();
                done.push(operation);
            });
            assert_eq!(done, Operation::ALL);
        }
    }
}
