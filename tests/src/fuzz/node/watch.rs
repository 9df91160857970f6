//! What must hold of a node, whatever it is fed.
//!
//! - A rejected packet has a reason, whose counter alone rises by one. Nothing else moves but what rule R4 makes news of:
//!   word of another life in the node's own slot, and of the sender's life.
//! - A taken packet is one by the documented format. Versions, floor, generation and log only rise, a key moves forward in
//!   the order of R1 only, and the table holds no more than it has room for.
//! - What the node sends is well formed, and its packets are numbered one by one.

use popmap_core::clock::{Dot, VersionVector};
use popmap_core::map::Held;
use popmap_core::ownership::priority;
use popmap_core::time::{Duration, Instant};
use popmap_core::wire::Kind;
use popmap_core::{Address, Key, Life, Lookup, Member, Node, Phase, Reject, Slot, State, Stats};

use super::forge::{KEYS, key};
use super::{CONFIGURED, ME, MY_LIFE, N, PAYLOAD, SHAPE};
use crate::explore::Hash128;
use crate::fuzz::bytes::number;
use crate::fuzz::packets::oracle::judge;
use crate::link::CLUSTER;

/// Packets between two looks at every key.
const LOOK_EVERY: usize = 8;

/// What no rejected packet may change, not even one whose sender's life is news.
#[derive(PartialEq, Eq, Debug)]
struct Contents {
    digest: u64,
    version: VersionVector<N>,
    held: VersionVector<N>,
    floor: u32,
    len: usize,
    tombstones: usize,
    log_head: u64,
    life: Life,
    phase: Phase,
}

impl Contents {
    fn of(node: &Node<'_, N>) -> Self {
        let map = node.map();
        Self {
            digest: map.digest(0, u64::MAX),
            version: *map.version(),
            held: *map.held(),
            floor: map.floor(),
            len: map.len(),
            tombstones: map.tombstones(),
            log_head: map.log_head(),
            life: map.life(),
            phase: map.phase(),
        }
    }
}

type Members = [Option<Member>; N];

fn members(node: &Node<'_, N>) -> Members {
    std::array::from_fn(|slot| node.member(Slot::at(slot)).copied())
}

fn hash(node: &Node<'_, N>) -> u128 {
    let mut hasher = Hash128::default();
    node.map().hash_state(&mut hasher);
    hasher.finish_128()
}

/// What is remembered of the node from one step to the next.
pub struct Watch {
    /// What was there when it last came to rest.
    rest: Contents,
    own: Option<Member>,
    table: [Option<Held>; KEYS],
    /// Tombstones collected when the table was last looked at.
    collected: u64,
    latest: Instant,
    left: bool,
    /// The number of the last packet that it sent.
    number: u64,
    /// The last repair question that it asked.
    question: u64,
    packets: usize,
}

impl Watch {
    pub fn new(node: &Node<'_, N>) -> Self {
        Self {
            rest: Contents::of(node),
            own: node.member(ME).copied(),
            table: [None; KEYS],
            collected: 0,
            latest: Instant::ZERO,
            left: false,
            number: 0,
            question: 0,
            packets: 0,
        }
    }

    /// Returns the last repair question that the node asked.
    pub fn question(&self) -> u64 {
        self.question
    }

    /// Whether the node has seen a later time than `now`.
    pub fn is_behind(&self, now: Instant) -> bool {
        now < self.latest
    }

    // ---- packets ----

    /// Hands a packet to the node, which is at rest.
    pub fn hand_over(&mut self, node: &mut Node<'_, N>, now: Instant, from: Address, packet: &[u8]) {
        let before = Before::of(node);
        match node.handle_packet(now, from, packet) {
            Ok(()) => {
                assert_eq!(judge(packet, CLUSTER, &SHAPE, N), Ok(()), "taken");
                let mut stats = node.stats();
                assert_eq!(stats.rejected, before.stats.rejected);
                stats.received[usize::from(packet[1]) - 1] -= 1;
                assert_eq!(stats.received, before.stats.received);
            }
            Err(why) => {
                self.assert_rejected(node, why, &before, packet);
                if is_of_a_handler(why) {
                    // Its sender is known by now: a second time nothing at all is new.
                    let before = hash(node);
                    assert_eq!(node.handle_packet(now, from, packet), Err(why));
                    assert_eq!(hash(node), before, "{why}");
                }
            }
        }
        self.packets += 1;
        if self.packets.is_multiple_of(LOOK_EVERY) {
            self.look(node);
        }
    }

    fn assert_rejected(&self, node: &Node<'_, N>, why: Reject, before: &Before, packet: &[u8]) {
        let (mut stats, after) = (before.stats, node.stats());
        stats.rejected[why.index()] += 1;
        stats.received_bytes += packet.len() as u64;
        stats.clock_backward = after.clock_backward;
        let sender = packet.get(2).map_or(N, |slot| usize::from(*slot));
        if why == Reject::SlotConflict {
            // A second server in our slot may make us write anew what we wrote, or fence us.
            stats.map.redotted = after.map.redotted;
            assert_eq!(after, stats);
            return;
        }
        assert_eq!(after, stats, "{why}");
        assert_eq!(Contents::of(node), self.rest, "{why}");
        let mut members = members(node);
        if sender < N {
            members[sender] = before.members[sender];
        }
        assert_eq!(members, before.members, "{why}");
        let judged = judge(packet, CLUSTER, &SHAPE, N);
        let (known, life) = match judged {
            Ok(()) => (before.lives[sender], life_in(packet)),
            Err(of_bytes) => {
                assert!(why == of_bytes || packet.len() > PAYLOAD && why == Reject::Oversize);
                (Life::NONE, Life::NONE)
            }
        };
        let is_news = match why {
            Reject::OldLife => life.generation == known.generation,
            Reject::OtherLife => life.id != known.id || life.generation > known.generation,
            _ => judged.is_ok() && is_of_a_handler(why),
        };
        assert!(is_news || hash(node) == before.hash, "{why}");
    }

    /// Takes note of a packet that the node sent.
    pub fn sent(&mut self, packet: &[u8]) {
        assert_eq!(judge(packet, CLUSTER, &SHAPE, N), Ok(()), "sent");
        assert!(packet.len() <= PAYLOAD && packet[2] == ME.get() && packet[23] <= 16);
        self.number += 1;
        assert_eq!(number::<8>(packet, 40), self.number);
        if packet[1] == Kind::Digest as u8 {
            self.question = number::<8>(packet, 72);
        }
    }

    // ---- the node's own time ----

    /// Looks at the node after it said all that it has to say.
    pub fn rest(&mut self, node: &Node<'_, N>) {
        let now = Contents::of(node);
        let was = std::mem::replace(&mut self.rest, now);
        let now = &self.rest;
        assert!(now.version.covers_all(&was.version), "a version never falls");
        assert!(now.held.covers_all(&now.version));
        assert!(now.floor >= was.floor && now.log_head >= was.log_head);
        assert!(now.len <= node.map().capacity() && now.tombstones <= now.len);
        assert!(now.life.generation >= was.life.generation && now.life.id == MY_LIFE);
        let rank = |phase| match phase {
            Phase::Starting => 0,
            Phase::Active { .. } => 1,
            Phase::Fenced => 2,
            Phase::Forgotten => 3,
        };
        assert!(rank(now.phase) >= rank(was.phase));
        self.latest = self.latest.max(node.reader().heartbeat());
        let live = node.map().live();
        assert!(live.contains(ME) && live.difference(CONFIGURED).is_empty());
        if let (Some(own), Some(was)) = (node.member(ME), self.own) {
            let may_leave = self.left || now.phase.is_over();
            assert!(
                own.state == State::Alive || own.state == State::Left && may_leave,
                "only we say what we are"
            );
            assert!((own.life, own.incarnation) >= (was.life, was.incarnation));
            assert_eq!((own.life.id, own.address), (MY_LIFE, was.address));
        }
        self.own = node.member(ME).copied();
        assert!(node.members().all(|(slot, _)| CONFIGURED.contains(slot)));
    }

    /// Looks at every key: each moved forward, or left as a tombstone, which may have come and gone since the last look. Behind
    /// one that left a forged record may stand, however old it says that it is.
    fn look(&mut self, node: &Node<'_, N>) {
        let collected = node.stats().map.tombstones_collected;
        let any_left = std::mem::replace(&mut self.collected, collected) < collected;
        let left = |was: &Held| any_left && node.map().floor() >= was.term;
        let (reader, mut value) = (node.reader(), [0; SHAPE.value_len as usize]);
        for (n, was) in self.table.iter_mut().enumerate() {
            let key = key(n);
            let now = node.map().inspect(key);
            match (*was, now) {
                (Some(was), Some(now)) => {
                    let fell = rank(key, &was) > rank(key, &now);
                    assert!(!fell || was.tombstone && left(&was), "{key:?} fell from {was:?} to {now:?}");
                }
                (Some(was), None) => {
                    assert!(was.tombstone || left(&was), "{key:?} is gone: {was:?}");
                }
                (None, _) => {}
            }
            let found = matches!(reader.get(key, &mut value), Lookup::Found(_));
            assert_eq!(found, now.is_some_and(|held| !held.tombstone));
            *was = now;
        }
    }

    // ---- what is done at the node ----

    pub fn put(&mut self, node: &mut Node<'_, N>, now: Instant, key: Key, value: &[u8]) {
        let before = Contents::of(node);
        match node.put(now, key, value) {
            Ok(dot) => {
                assert!(!self.left && dot.slot == ME && node.map().version().get(ME) == dot.counter);
                let mut found = [0; SHAPE.value_len as usize];
                assert!(matches!(node.get(key, &mut found), Lookup::Found(meta) if meta.dot == dot));
                assert_eq!(found[..], *value);
            }
            Err(_) => assert_eq!(Contents::of(node), before),
        }
    }

    pub fn remove(&mut self, node: &mut Node<'_, N>, now: Instant, key: Key) {
        let before = Contents::of(node);
        match node.remove(now, key) {
            Ok(dot) => {
                assert!(!self.left && dot.slot == ME && node.map().version().get(ME) == dot.counter);
                assert!(node.map().inspect(key).is_some_and(|held| held.tombstone && held.dot == dot));
            }
            Err(_) => assert_eq!(Contents::of(node), before),
        }
    }

    pub fn leave(&mut self, node: &mut Node<'_, N>, now: Instant) {
        self.left = true;
        node.leave(now);
    }

    /// Looks at everything once more.
    pub fn finish(&mut self, node: &Node<'_, N>) {
        self.look(node);
        let (mut records, mut value) = (node.reader().records(), [0; SHAPE.value_len as usize]);
        let mut live = 0;
        while let Some((key, meta)) = records.next_into(&mut value) {
            let held = node.map().inspect(key).expect("what is iterated is there");
            assert_eq!((held.dot, held.term, held.tombstone), (meta.dot, meta.term, false));
            live += 1;
        }
        assert_eq!((records.skipped(), live), (0, node.map().len() - node.map().tombstones()));
        let harvest = node.harvest(self.latest, Duration::from_secs(1));
        assert_eq!((harvest.keys, harvest.fresh + harvest.aged + harvest.orphaned), (live, live));
    }
}

/// What a node was before a packet.
struct Before {
    stats: Stats,
    members: Members,
    lives: [Life; N],
    hash: u128,
}

impl Before {
    fn of(node: &Node<'_, N>) -> Self {
        Self {
            stats: node.stats(),
            members: members(node),
            lives: std::array::from_fn(|slot| node.map().life_of(Slot::at(slot))),
            hash: hash(node),
        }
    }
}

/// A record's place in the order of R1, but for its value.
fn rank(key: Key, held: &Held) -> impl Ord {
    let Dot { slot, counter } = held.dot;
    (held.term, priority(slot, key), slot, counter, held.tombstone)
}

/// Whether this may be the word of a handler: its packet has been admitted, so its sender counts as heard.
fn is_of_a_handler(why: Reject) -> bool {
    matches!(why, Reject::Unasked | Reject::Record | Reject::Field | Reject::LacksBuried)
}

/// Returns the sender's life in a packet.
fn life_in(packet: &[u8]) -> Life {
    Life { generation: number::<4>(packet, 16) as u32, id: number::<8>(packet, 24) }
}
