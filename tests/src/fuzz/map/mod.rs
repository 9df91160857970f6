//! A map against a model: a script of 50 packets and more with records, versions and lives, between writes, deletes,
//! sweeps and collections. After each step both hold the same at every key, and account for the same.
//!
//! Knows the script. What is to come of each step the model says, which is plain arrays. What only other rules speak of is
//! left out: no packet tells of writes of the map's own slot that it did not make (R4), and there is no repair; the node's
//! target has both.

use std::cell::RefCell;

use popmap_core::time::{Duration, Instant};
use popmap_core::wire::{DeltaFixed, VersionFixed};
use popmap_core::{Event, Life, Lookup, Map, MapConfig, Shape, Slot, SlotSet};

use super::bytes::{Bytes, number};
use super::frame::{Frame, ROOM};

mod model;
mod packets;
mod record;

use model::{KEYS, Model};
use record::key;

/// Slots of the map, all of them configured.
const N: usize = 3;
const ME: Slot = Slot::at(1);
const MY_LIFE: Life = Life { generation: 5, id: 0xb1 };
/// Five bytes of value: the last three of a record are padding.
const SHAPE: Shape = Shape { schema: 1, value_len: 5 };
/// The room of a map, and of one that is soon full.
const CAPACITIES: [usize; 2] = [14, 6];
/// Packets of a script: at least, and at most however long the input is.
const PACKETS: usize = 50;
const PACKETS_MOST: usize = 64;
/// Records of a packet, at most.
const RECORDS: usize = 3;

type Value = [u8; SHAPE.value_len as usize];

/// Memory that every run uses again.
struct Room {
    storage: Vec<u64>,
    frame: Frame,
    out: [u8; ROOM],
    model: Model,
}

thread_local! {
    static THE_ROOM: RefCell<Room> = RefCell::new(Room {
        storage: vec![0; Map::<N>::words(CAPACITIES[0], &SHAPE)],
        frame: Frame::new(),
        out: [0; ROOM],
        model: Model::new(CAPACITIES[0]),
    });
}

/// Does what the bytes say.
///
/// # Panics
/// When something does not hold.
pub fn run(input: &[u8]) {
    THE_ROOM.with_borrow_mut(|room| {
        play(&mut Bytes::new(input), room);
    });
}

/// Plays a script; returns how many tombstones were collected, orphans rewritten and versions committed.
fn play(bytes: &mut Bytes<'_>, room: &mut Room) -> [u64; 3] {
    let Room { storage, frame, out, model } = room;
    storage.fill(0);
    let capacity = CAPACITIES[usize::from(bytes.byte() & 1)];
    model.clear(capacity);
    let config = MapConfig {
        slot: ME,
        configured: SlotSet::first(N),
        life: MY_LIFE,
        capacity,
        shape: SHAPE,
        start_deadline: Instant::ZERO,
    };
    let mut map = Map::new(storage, &config).expect("a valid configuration");
    map.advance(Instant::ZERO);
    assert_eq!(map.poll_event(), Some(Event::Started { expired: true }));
    let mut world = World { map, model, frame, out, now: Instant::ZERO };
    let mut packets = 0;
    while packets < PACKETS || packets < PACKETS_MOST && !bytes.is_over() {
        let op = bytes.byte();
        world.pass_time(op >> 5);
        world.act(op >> 3 & 3, bytes);
        world.packet(op & 7, bytes);
        world.check();
        packets += 1;
    }
    world.check_all();
    let stats = world.map.stats();
    [stats.tombstones_collected, stats.orphans_rewritten, stats.commits]
}

struct World<'r, 'a> {
    map: Map<'a, N>,
    model: &'r mut Model,
    frame: &'r mut Frame,
    out: &'r mut [u8; ROOM],
    now: Instant,
}

impl World<'_, '_> {
    fn pass_time(&mut self, how: u8) {
        let ms = [0, 0, 1, 50, 1_000, 6_000, 11_000, 0][usize::from(how)];
        self.now = self.now + Duration::from_millis(ms);
        // A clock that runs backward changes nothing.
        let told = if how == 7 { self.now - Duration::from_millis(20_000) } else { self.now };
        self.map.advance(told);
        self.model.now = self.now;
    }

    // ---- at the map itself ----

    fn act(&mut self, what: u8, bytes: &mut Bytes<'_>) {
        match what {
            0 => {}
            1 => {
                let (n, value) = (bytes.below(KEYS), [bytes.byte(); 5]);
                let expected = self.model.put(n, value);
                assert_eq!(self.map.put(key(n), &value), expected);
            }
            2 => {
                let n = bytes.below(KEYS);
                let expected = self.model.remove(n);
                assert_eq!(self.map.remove(key(n)), expected);
            }
            _ => match bytes.byte() {
                0..0x80 => self.sweep(),
                0x80..0xc0 => self.map.note_checkpoint(),
                0xc0..0xe0 => self.serve(bytes),
                live => {
                    self.model.live = SlotSet::from_bits(u64::from(live & 7)).with(ME);
                    self.map.set_live(SlotSet::from_bits(live.into()));
                }
            },
        }
    }

    /// Sweeps the whole table, from wherever the last sweep stopped to the end of the next.
    fn sweep(&mut self) {
        for _ in 0..2 {
            self.map.sweep(CAPACITIES[0]);
            self.model.swept(&self.map);
        }
    }

    /// Answers a peer that asks from nowhere: every record that it may lack is sent.
    fn serve(&mut self, bytes: &mut Bytes<'_>) {
        let peer = peer(bytes.byte());
        if !self.model.is_known(peer) {
            return;
        }
        self.version(peer, [0; N], VersionFixed::FORCE, 64);
        let mut sent = [false; KEYS];
        let mut is_whole = false;
        while let Some((_, len)) = self.map.write_delta(peer, &mut self.out[..]) {
            let (count, flags) = (number::<2>(self.out, 70) as usize, number::<4>(self.out, 100));
            let records = &self.out[104..len][..count * SHAPE.record_len()];
            for record in records.chunks(SHAPE.record_len()) {
                let n = (0..KEYS).find(|&n| key(n).0 == record[..16]).expect("a key of ours");
                sent[n] = true;
                assert!(self.model.is_record(n, record));
            }
            is_whole |= flags & u64::from(DeltaFixed::COMPLETE) != 0;
        }
        assert!(is_whole, "the walk reaches the head");
        for (n, sent) in sent.iter().enumerate() {
            assert!(*sent || !self.model.lacks(peer, n), "{peer} lacks key {n}");
        }
    }

    // ---- what must be ----

    /// Compares what each step may change.
    fn check(&mut self) {
        let (map, model) = (&mut self.map, &mut *self.model);
        while let Some(event) = map.poll_event() {
            assert!(model.expected(&event), "{event:?} for nothing");
        }
        assert!(model.has_no_event(), "an event is missing");
        assert_eq!(map.version().counters(), &model.version);
        assert!(map.held().covers_all(map.version()));
        assert_eq!((map.floor(), map.life()), (model.floor, MY_LIFE));
        assert_eq!((map.len(), map.tombstones()), model.len());
        assert!(map.len() <= map.capacity());
        let (ours, theirs) = (map.stats(), &model.stats);
        assert_eq!(
            [ours.records_received, ours.records_covered, ours.records_refused, ours.puts_refused],
            [theirs.received, theirs.covered, theirs.refused, theirs.puts_refused]
        );
        assert_eq!(
            [ours.records_applied, ours.records_superseded, ours.records_duplicate],
            [theirs.applied, theirs.superseded, theirs.duplicate]
        );
        for n in 0..KEYS {
            assert_eq!(map.inspect(key(n)), model.held(n), "key {n}");
        }
    }

    /// Compares everything that can be read.
    fn check_all(&self) {
        let (reader, mut value, mut live) = (self.map.reader(), Value::default(), 0);
        for n in 0..KEYS {
            let found = matches!(reader.get(key(n), &mut value), Lookup::Found(_)).then_some(value);
            assert_eq!(found, self.model.value(n), "key {n}");
            live += usize::from(found.is_some());
        }
        let mut records = reader.records();
        while let Some((key, meta)) = records.next_into(&mut value) {
            let n = (0..KEYS).find(|&n| record::key(n) == key).expect("a key of ours");
            assert_eq!(
                (self.model.value(n), self.model.held(n).map(|held| held.dot)),
                (Some(value), Some(meta.dot))
            );
            live -= 1;
        }
        assert_eq!((live, records.skipped()), (0, 0));
        // By halves, as a repair question would ask.
        for (from, to) in [(0, u64::MAX), (0, u64::MAX >> 1), (1 << 63, u64::MAX)] {
            assert_eq!(self.map.digest(from, to), self.model.digest(from, to));
        }
    }
}

/// Returns one of the two peers.
fn peer(choice: u8) -> Slot {
    Slot::at(usize::from(choice & 1) * 2)
}

/// Returns scripts that get far, each as an input.
pub fn seeds() -> Vec<Vec<u8>> {
    let mixed: Vec<u8> = (0..=255u8).collect();
    // Deletes that everybody hears of, and time to collect them: push, remove, version, ping, sweep.
    let collect: Vec<u8> = (0..30u8)
        .flat_map(|n| [1 << 5 | 1 << 3 | 7, n, n, n & 1, 0, 1, 6 << 5 | 3 << 3 | 7, 0, n & 1, 0, 1])
        .collect();
    [0, 1]
        .into_iter()
        .flat_map(|first| [&mixed, &collect].map(|script| [&[first][..], script].concat()))
        .collect()
}

#[cfg(test)]
mod tests {
    use popmap_core::rng::Rng;

    use super::*;

    /// Scripts at random: what the model has to explain happens.
    #[test]
    fn all_that_the_model_explains_happens() {
        let mut rng = Rng::new(7);
        let mut sums = [0; 3];
        for _ in 0..400 {
            let script: Vec<u8> = (0..500).map(|_| rng.next_u64() as u8).collect();
            let counts = THE_ROOM.with_borrow_mut(|room| play(&mut Bytes::new(&script), room));
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        let [collected, rewritten, committed] = sums;
        assert!(collected > 50 && rewritten > 50 && committed > 1_000, "{sums:?}");
    }
}
