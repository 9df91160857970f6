//! A map against a model: a script of 50 packets and more with records, versions and lives, between writes, deletes,
//! sweeps and collections. After each step both hold the same at every key, and account for the same.
//!
//! Knows the script. What is to come of each step the model says, which is plain arrays. What only other rules speak of is
//! left out: no packet tells of writes of the map's own slot that it did not make (R4), and there is no repair; the node's
//! target has both.

use std::cell::RefCell;

use popmap_core::clock::Dot;
use popmap_core::map::DeltaOutcome;
use popmap_core::time::{Duration, Instant};
use popmap_core::wire::{DeltaFixed, Kind, PushFixed, VersionFixed};
use popmap_core::{Event, Life, Lookup, Map, MapConfig, Reject, Shape, Slot, SlotSet};

use super::bytes::{Bytes, number};
use super::frame::{Frame, ROOM};
use crate::link::deliver;

mod model;

use model::{Batch, Entry, KEYS, Model, key};

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

    // ---- packets ----

    fn packet(&mut self, what: u8, bytes: &mut Bytes<'_>) {
        let from = peer(bytes.byte());
        match what {
            0 | 1 => self.push(from, bytes),
            2..=4 => self.delta(from, bytes),
            5 => {
                let version = self.claim(bytes);
                let flags = u16::from(bytes.byte() & 7);
                self.version(from, version, flags, u16::from(bytes.byte()));
            }
            6 => self.another_life(from, bytes),
            _ => self.ping(from, bytes),
        }
    }

    fn start(&mut self, kind: Kind, from: Slot) {
        let life = self.model.peers[from.index()].life;
        self.frame.start(kind, from.get(), 0, life, MY_LIFE.id);
    }

    /// Hands the packet over.
    fn deliver(&mut self, from: Slot) -> Option<DeltaOutcome> {
        self.frame.seal();
        let delivered = deliver(&mut self.map, self.frame.bytes()).expect("taken");
        self.model.heard(from);
        delivered.delta
    }

    /// A version vector for a peer to claim: of ours no more than what we wrote.
    fn claim(&mut self, bytes: &mut Bytes<'_>) -> [u64; N] {
        let ours = self.model.version;
        std::array::from_fn(|slot| match bytes.byte() {
            0..0x40 => 0,
            0x40..0xa0 => ours[slot],
            more if slot != ME.index() => ours[slot].max(3 << 32) + u64::from(more & 15),
            _ => ours[slot] / 2,
        })
    }

    /// Appends the slots of a version that have a counter.
    fn put_version(&mut self, version: [u64; N]) {
        let slots = (0..N).filter(|&slot| version[slot] > 0);
        self.frame.word(slots.clone().fold(0, |slots, slot| slots | 1 << slot));
        slots.for_each(|slot| self.frame.word(version[slot]));
    }

    /// Makes records: of one author and in its range of counters, if there is to be one.
    fn batch(&mut self, author: Option<(Slot, u64, u64)>, bytes: &mut Bytes<'_>) -> Batch {
        let mut batch = Batch::default();
        for _ in 0..bytes.below(RECORDS + 1) {
            let [choice, value, counter, term] = std::array::from_fn(|_| bytes.byte());
            let n = usize::from(choice) % KEYS;
            let slot = author.map_or(Slot::at(usize::from(choice >> 4) % N), |(author, ..)| author);
            let ahead = self.model.version[slot.index()].max(3 << 32) + u64::from(counter & 15);
            let counter = match (author, counter) {
                (Some((_, from, to)), any) => (from + 1 + u64::from(any & 7)).min(to),
                // Of ours, only what we wrote ourselves: covered, so skipped.
                (None, any) if slot == ME => {
                    self.model.version[ME.index()].saturating_sub(u64::from(any & 7))
                }
                (None, 0..0x80) => ahead,
                (None, any) => 3 << 32 | u64::from(any & 0x1f),
            };
            let term = match term {
                0xff => u32::MAX,
                0xf0.. => self.model.floor.saturating_add(1),
                some => 1 + u32::from(some & 7),
            };
            if counter > 0 {
                let value = (choice < 0xb0).then_some([value; 5]);
                batch.push(Entry::new(n, Dot { slot, counter }, term, value));
            }
        }
        batch.records().iter().for_each(|entry| self.frame.put(&entry.bytes()));
        batch
    }

    fn floor(&self, bytes: &mut Bytes<'_>) -> u32 {
        match bytes.byte() {
            0..0xc0 => 0,
            0xff => u32::MAX - 1,
            more => self.model.floor.saturating_add(u32::from(more & 3)),
        }
    }

    fn push(&mut self, from: Slot, bytes: &mut Bytes<'_>) {
        let known = self.model.version[from.index()];
        let start = match bytes.byte() {
            0..0xa0 => known,
            0xa0..0xc0 => known / 2,
            gap => known.max(3 << 32) + u64::from(gap & 3),
        };
        let to = start.max(3 << 32) + u64::from(bytes.byte() & 15);
        let floor = self.floor(bytes);
        self.start(Kind::Push, from);
        let fixed_at = self.frame.bytes().len();
        self.frame.put(&[0; size_of::<PushFixed>()]);
        let batch = if to > start { self.batch(Some((from, start, to)), bytes) } else { Batch::default() };
        self.shape_at(fixed_at, batch.records().len());
        self.frame.at(fixed_at + 8, &start.to_le_bytes());
        self.frame.at(fixed_at + 16, &to.to_le_bytes());
        self.frame.at(fixed_at + 24, &floor.to_le_bytes());
        self.deliver(from);
        self.model.push(from, (start, to), floor, &batch);
    }

    fn delta(&mut self, from: Slot, bytes: &mut Bytes<'_>) {
        let flags = u32::from(bytes.byte());
        let (complete, base) = (flags & DeltaFixed::COMPLETE != 0, flags & DeltaFixed::FROM_BASE != 0);
        let seen = self.model.peers[from.index()].newest_head;
        // A walk at an older head, at the newest, or further on.
        let head = (seen + u64::from(bytes.byte() & 7)).saturating_sub(2);
        let start = if base { 0 } else { u64::from(bytes.byte()) % (head + 1) };
        let to = if complete { head } else { start + u64::from(bytes.byte()) % (head - start + 1) };
        let version = if complete { self.claim(bytes) } else { [0; N] };
        let floor = self.floor(bytes);
        self.start(Kind::Delta, from);
        let fixed_at = self.frame.bytes().len();
        self.frame.put(&[0; size_of::<DeltaFixed>()]);
        let batch = self.batch(None, bytes);
        self.shape_at(fixed_at, batch.records().len());
        for (at, word) in [(8, start), (16, to), (24, head)] {
            self.frame.at(fixed_at + at, &word.to_le_bytes());
        }
        self.frame.at(fixed_at + 32, &floor.to_le_bytes());
        self.frame.at(fixed_at + 36, &(flags & 7).to_le_bytes());
        self.put_version(version);
        let outcome = self.deliver(from).expect("a delta");
        let must_commit = base && complete && head >= seen;
        self.model.delta(from, &version, floor, &batch, &outcome);
        assert!(complete || !outcome.committed);
        assert!(outcome.committed || outcome.refused || !must_commit, "whole, and from a base");
        if !outcome.refused {
            let peer = &mut self.model.peers[from.index()];
            peer.newest_head = peer.newest_head.max(head);
        }
    }

    fn shape_at(&mut self, at: usize, count: usize) {
        self.frame.at(at, &SHAPE.schema.to_le_bytes());
        self.frame.at(at + 4, &SHAPE.value_len.to_le_bytes());
        self.frame.at(at + 6, &(count as u16).to_le_bytes());
    }

    fn version(&mut self, from: Slot, version: [u64; N], flags: u16, window: u16) {
        self.start(Kind::Version, from);
        self.frame.shape(&SHAPE, 0);
        self.frame.word(self.map.log_head() / 2);
        self.frame.word(0);
        self.frame.put(&window.to_le_bytes());
        self.frame.put(&flags.to_le_bytes());
        self.frame.half(0);
        self.frame.word(0);
        self.put_version(version);
        self.deliver(from);
        self.model.told(from, &version, 0);
    }

    /// A probe that says that its sender has just what we have, or something else.
    fn ping(&mut self, from: Slot, bytes: &mut Bytes<'_>) {
        let (number, equal) = (bytes.byte(), bytes.once_in(2));
        let hash = self.map.version_hash();
        self.start(Kind::Ping, from);
        self.frame.half(number.into());
        self.frame.put(&[ME.get(), 0, 0, 0]);
        self.frame.word(if equal { hash } else { hash ^ 1 });
        self.deliver(from);
        if equal {
            let ours = self.model.version;
            self.model.told(from, &ours, self.model.floor);
        }
    }

    /// A version of a peer's next life, which begins with nothing known; of one that is over; or for one of ours that is.
    fn another_life(&mut self, from: Slot, bytes: &mut Bytes<'_>) {
        let Life { generation, id } = self.model.peers[from.index()].life;
        let choice = bytes.byte();
        if choice >= 0xc0 {
            self.model.peers[from.index()].life = Life { generation: generation + 1, id: id + 4 };
            self.model.reborn(from);
            return self.version(from, [0; N], 0, 0);
        }
        let is_over = choice & 1 == 0 && self.model.is_known(from);
        let (life, to) = if is_over {
            (Life { generation: generation - 1, id: u64::MAX }, MY_LIFE.id)
        } else {
            (Life { generation, id }, MY_LIFE.id + 1)
        };
        self.frame.start(Kind::Push, from.get(), 0, life, to);
        self.frame.shape(&SHAPE, 0);
        [0, u64::MAX, u64::MAX].into_iter().for_each(|word| self.frame.word(word));
        self.frame.seal();
        let why = if is_over { Reject::OldLife } else { Reject::OtherLife };
        assert_eq!(deliver(&mut self.map, self.frame.bytes()).err(), Some(why));
        // The sender's life is a fact whoever the packet was for; but it is not heard.
        self.model.peers[from.index()].is_known |= !is_over;
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
            let n = (0..KEYS).find(|&n| model::key(n) == key).expect("a key of ours");
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
