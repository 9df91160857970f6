//! The packets of a script: made by hand, handed to the map, and told to the model.
//!
//! Knows the documented layout. What comes of a packet the model says.

use popmap_core::clock::Dot;
use popmap_core::map::DeltaOutcome;
use popmap_core::wire::{DeltaFixed, Kind, PushFixed};
use popmap_core::{Life, Reject, Slot};

use super::model::KEYS;
use super::record::{Batch, Entry};
use super::{ME, MY_LIFE, N, RECORDS, SHAPE, World, peer};
use crate::fuzz::bytes::Bytes;
use crate::link::deliver;

impl World<'_, '_> {
    /// Hands over the packet that the bytes say.
    pub(super) fn packet(&mut self, what: u8, bytes: &mut Bytes<'_>) {
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
        self.model.delta(from, (start, to), &version, floor, &batch, &outcome);
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

    /// Hands over a version.
    pub(super) fn version(&mut self, from: Slot, version: [u64; N], flags: u16, window: u16) {
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
}
