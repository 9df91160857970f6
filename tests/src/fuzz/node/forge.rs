//! Packets forged for a node: valid in form, with any number in any field, many of them numbers that the node knows.
//!
//! Knows the documented layout. Must not use the writers of the code under test.

use std::sync::LazyLock;

use popmap_core::wire::Kind;
use popmap_core::{Key, Life, Node, Slot};

use super::{CONFIGURED, ME, N, PEER, SHAPE, life_of};
use crate::fuzz::bytes::Bytes;
use crate::fuzz::frame::Frame;

/// Keys that scripts use.
pub const KEYS: usize = 16;

/// Returns the `n`-th key.
pub fn key(n: usize) -> Key {
    static ALL: LazyLock<[Key; KEYS]> = LazyLock::new(|| std::array::from_fn(|n| Key::from_name(&[n as u8])));
    ALL[n % KEYS]
}

/// What a forger looks at.
struct Forger<'b, 'i, 'n, 'a> {
    bytes: &'b mut Bytes<'i>,
    node: &'n Node<'a, N>,
    /// The last repair question that the node asked.
    question: u64,
    frame: &'b mut Frame,
}

/// Builds a packet for `node` in `frame`.
pub fn forge(bytes: &mut Bytes<'_>, node: &Node<'_, N>, question: u64, frame: &mut Frame) {
    let mut forger = Forger { bytes, node, question, frame };
    let kind = Kind::ALL[forger.bytes.below(Kind::ALL.len())];
    let who = forger.bytes.byte();
    let slot =
        [PEER, Slot::at(2), PEER, Slot::at(2), PEER, Slot::at(2), ME, Slot::at(3)][usize::from(who & 7)];
    let life = forger.life(slot, who >> 3 & 7);
    let ours = node.map().life().id;
    let to_life = [ours, ours, 0, life.id][usize::from(who >> 6)];
    let flags = forger.bytes.byte();
    forger.frame.start(kind, slot.get(), flags, life, to_life);
    forger.body(kind, slot);
    // The upper bits of the flags mean nothing: they say how many members follow.
    let members = [0, 0, 0, 0, 0, 1, 2, 3][usize::from(flags >> 5)];
    for _ in 0..members {
        forger.member();
    }
    forger.frame.at(23, &[members]);
    forger.frame.seal();
}

impl Forger<'_, '_, '_, '_> {
    /// A number at an edge, one that the node knows or one beside that, or any.
    fn number(&mut self) -> u64 {
        let map = self.node.map();
        let choice = self.bytes.byte();
        let slot = Slot::at(usize::from(choice & 3));
        match choice {
            0..0x40 => u64::from(choice & 0x1f),
            0x40..0x50 => map.version().get(slot).saturating_add(u64::from(choice >> 2 & 3)),
            0x50..0x60 => map.held().get(slot).saturating_add(u64::from(choice >> 2 & 3)),
            0x60..0x70 => map.log_head().saturating_add(2).saturating_sub(u64::from(choice & 7)),
            0x70..0x80 => u64::from(map.life().generation) << 32 | u64::from(choice & 15),
            0x80..0x88 => self.question.wrapping_add(u64::from(choice & 1)),
            0x88..0x90 => map.digest(0, u64::MAX),
            0x90..0xb0 => 3 << 32 | u64::from(choice & 0x1f),
            0xb0..0xc0 => (u64::from(choice & 7) << 32) + u64::from(choice >> 3 & 1),
            0xc0..0xd8 => [
                u64::MAX,
                u64::MAX - 1,
                u64::MAX - 4_096,
                1 << 63,
                (1 << 63) - 1,
                1 << 31,
                1 << 32,
                (1 << 32) - 1,
                (u64::MAX >> 32) << 32,
                u64::from(u32::MAX - 1) << 32 | 1,
                u64::from(u32::MAX - 1) << 32 | 0xffff_ffff,
                map.version_hash(),
            ][usize::from(choice - 0xc0) / 2],
            0xd8..0xf0 => key(usize::from(choice)).mix(),
            _ => self.bytes.word(),
        }
    }

    fn small(&mut self) -> u32 {
        match self.bytes.byte() {
            small @ 0..0xe0 => u32::from(small & 7),
            0xe0..0xe8 => u32::MAX,
            0xe8..0xf0 => u32::MAX - 1,
            0xf0..0xf4 => self.node.map().floor().wrapping_add(1),
            0xf4..0xf8 => 1 << 31,
            _ => self.bytes.word() as u32,
        }
    }

    /// The life that the node knows in a slot, or another.
    fn life(&mut self, slot: Slot, choice: u8) -> Life {
        let map = self.node.map();
        let known = if slot == ME { map.life() } else { map.life_of(slot) };
        let known = if known.is_known() { known } else { life_of(slot) };
        match choice {
            0..=3 => known,
            4 => Life { generation: known.generation.saturating_add(1), ..known },
            5 => Life { id: known.id.wrapping_add(1).max(1), ..known },
            6 => Life { id: 1, ..known },
            _ => Life { generation: self.small(), id: u64::from(self.bytes.byte()) + 1 },
        }
    }

    fn shape(&mut self, count: usize) {
        self.frame.shape(&SHAPE, count);
    }

    fn words(&mut self, words: &[u64]) {
        words.iter().for_each(|word| self.frame.word(*word));
    }

    fn body(&mut self, kind: Kind, from: Slot) {
        match kind {
            Kind::Version => {
                let [cursor, until] = [self.number(), self.number()];
                self.shape(0);
                self.words(&[cursor, until]);
                let (flags, floor) = (self.bytes.byte(), self.small());
                let forgets = self.bytes.once_in(32);
                let unseen = flags << 1 & 16;
                let told = if forgets { 8 } else { 0 };
                self.frame.put(&[flags >> 4, 0, flags & 7 | unseen | told, 0]);
                self.frame.half(floor);
                self.frame.word(0);
                self.version();
                if forgets {
                    self.forgotten();
                }
            }
            Kind::Delta => self.delta(),
            Kind::Push => self.push(from),
            Kind::Digest => {
                let (bits, sum) = (self.bytes.byte(), self.number());
                let count = 1 + usize::from(bits >> 5);
                let (question, first) = (self.number(), self.small());
                self.shape(count);
                self.words(&[question]);
                self.frame.half(first);
                self.frame.put(&[bits & 31, 0, 0, 0]);
                (0..count).for_each(|_| self.frame.word(sum));
            }
            Kind::Repair => {
                let [question, a, b] = [self.number(), self.number(), self.number()];
                let flags = self.small();
                let wide = self.bytes.once_in(2);
                let count = self.bytes.below(4);
                self.shape(count);
                self.words(&[question]);
                self.words(&if wide { [0, u64::MAX] } else { [a.min(b), a.max(b)] });
                self.frame.half(flags);
                self.frame.half(0);
                self.records(count, None, flags & 1 == 0);
            }
            Kind::Report => {
                let count = self.bytes.below(4);
                self.shape(count);
                self.records(count, None, true);
            }
            Kind::HistoryAsk => {
                let (below, resume) = (self.number(), self.small());
                self.shape(0);
                self.words(&[below]);
                self.frame.half(resume);
                self.frame.half(0);
            }
            Kind::HistoryAnswer => {
                let (resume, flags, count) = (self.small(), self.small(), self.bytes.below(4));
                self.shape(count);
                self.frame.half(resume);
                self.frame.half(flags);
                self.records(count, Some(if flags & 1 == 1 { from } else { ME }), false);
            }
            Kind::LifeNotice => {
                let choice = self.bytes.byte();
                let slot = if choice & 0x80 == 0 { ME } else { Slot::at(usize::from(choice & 3)) };
                let life = self.life(slot, choice >> 2 & 7);
                self.frame.half(life.generation);
                let flags = u8::from(self.bytes.once_in(16));
                self.frame.put(&[slot.get(), flags, 0, 0]);
                self.frame.word(life.id);
            }
            Kind::Ping | Kind::PingReq | Kind::Ack => {
                let (number, choice) = (self.small(), self.bytes.byte());
                let version = self.number();
                self.frame.half(number);
                self.frame.put(&[choice & 3, choice >> 2 & 7, 0, 0]);
                self.frame.word(version);
            }
            Kind::Gossip => {}
        }
    }

    fn delta(&mut self) {
        let mut range = [self.number(), self.number(), self.number()];
        let (flags, floor) = (self.bytes.byte(), self.small());
        let buries = self.bytes.once_in(8);
        range.sort_unstable();
        if flags & 2 != 0 {
            range[1] = range[2];
        }
        if flags & 8 != 0 {
            range[0] = 0;
        }
        let count = usize::from(flags >> 5);
        self.shape(count);
        self.words(&range);
        self.frame.half(floor);
        self.frame.half(u32::from(flags & 7) | if buries { 16 } else { 0 });
        self.records(count, None, false);
        self.version();
        if buries {
            self.version();
        }
    }

    fn push(&mut self, from: Slot) {
        let (a, b) = (self.number(), self.number());
        let floor = self.small();
        let count = self.bytes.below(4);
        // A range that records fit in, as often as not.
        let (from_counter, to) =
            if self.bytes.once_in(2) { (a.min(b), u64::MAX >> 1) } else { (a.min(b), a.max(b)) };
        self.shape(count);
        self.words(&[from_counter, to.max(from_counter)]);
        self.frame.half(floor);
        self.frame.half(0);
        self.records(count, Some(from), false);
    }

    /// Appends records: of an author if there is to be one, and only values if they are to be `live`.
    fn records(&mut self, count: usize, author: Option<Slot>, live: bool) {
        for _ in 0..count {
            let (choice, value) = (self.bytes.byte(), self.bytes.byte());
            let (counter, term) = (self.number().max(1), self.small().max(1));
            let slot = author.unwrap_or([PEER, Slot::at(2), PEER, ME][usize::from(choice >> 4 & 3)]);
            let tombstone = choice >= 0xc0 && !live;
            self.frame.put(&key(usize::from(choice)).0);
            self.frame.word(counter);
            self.frame.half(term);
            self.frame.put(&[slot.get(), u8::from(tombstone), 0, 0]);
            self.frame.put(&[if tombstone { 0 } else { value }; 12]);
            self.frame.half(0);
        }
    }

    /// Appends a version vector of the slots that there are.
    fn version(&mut self) {
        let slots = self.bytes.byte() & 15;
        self.frame.word(slots.into());
        for _ in 0..slots.count_ones() {
            let counter = self.number();
            self.frame.word(counter);
        }
    }

    /// Appends lives that were forgotten: all up to a generation each.
    fn forgotten(&mut self) {
        let slots = self.bytes.byte() & 15;
        self.frame.word(slots.into());
        for _ in 0..slots.count_ones() {
            let generation = self.small();
            self.frame.word(u64::from(generation) << 32 | u64::from(u32::MAX));
        }
    }

    /// Appends a member.
    fn member(&mut self) {
        let (choice, more) = (self.bytes.byte(), self.bytes.byte());
        let slot = Slot::at(usize::from(choice & 3) % if more & 0x80 == 0 { CONFIGURED.len() } else { N });
        let known = self.node.member(slot).copied();
        let life = known.map_or(life_of(slot), |member| member.life);
        let incarnation = known.map_or(0, |member| member.incarnation).wrapping_add(u32::from(more & 3));
        let life = if choice >> 4 & 3 == 3 { self.life(slot, more >> 2 & 7) } else { life };
        let incarnation = if choice & 0x80 == 0 { incarnation } else { self.small() };
        self.frame.put(&[slot.get(), 1 + (choice >> 2 & 3), 0, 0]);
        self.frame.half(incarnation);
        self.frame.half(life.generation);
        self.frame.put(&[more >> 5 & 3, more & 1, 0, 0]);
        self.frame.word(life.id);
        self.frame.put(&[more & 2; 24]);
        self.frame.put(&[choice; 16]);
    }
}
