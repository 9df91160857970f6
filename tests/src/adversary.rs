//! Somebody on the network who has no key: records all packets, and sends them again, damaged, cut, spliced and renamed.
//!
//! Knows bytes and what went over the wire. Must not know a key.
//!
//! The victim is one of three servers. It was restarted meanwhile, so that there are recordings of an earlier life of its
//! own; of the others none was lost, so whatever the adversary has was delivered or is not for this life.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU8;

use popmap_core::auth::{AuthKey, KeyRing, Row};
use popmap_core::rng::Rng;
use popmap_core::time::Instant;
use popmap_core::wire::HEADER;
use popmap_core::{Address, Config, Key, Life, Node, Reject, Shape, Slot, SlotSet};

use crate::forge::restore_checksum;

/// Servers.
pub const SERVERS: usize = 3;
const N: usize = 4;
const VICTIM: usize = 0;
const SHAPE: Shape = Shape { schema: 1, value_len: 24 };
const CLUSTER: u64 = 7;
const PAYLOAD: usize = 1_400;
/// Between two looks at the victim's state.
const BATCH: u64 = 4_096;

/// How packets are authenticated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keys {
    /// One key for all.
    Shared,
    /// The same, and the bodies are encrypted.
    Encrypted,
    /// A row for each server.
    Rows,
}

impl Keys {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Shared, Self::Encrypted, Self::Rows];

    /// Returns the keys of the server in `slot`.
    ///
    /// # Panics
    /// Never: one key makes a ring.
    pub fn ring(self, slot: Slot) -> KeyRing {
        let (id, secret) = (NonZeroU8::MIN, [0x5e; 32]);
        let key = match self {
            Self::Shared => AuthKey::shared(id, secret),
            Self::Encrypted => AuthKey::shared(id, secret).encrypted(true),
            Self::Rows => AuthKey::row(id, Row::derive(&secret, id, slot)),
        };
        KeyRing::new([key], id).expect("one key")
    }
}

/// What came of an attack.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Packets sent to the victim.
    pub packets: u64,
    /// By the reason of their rejection.
    pub rejected: [u64; Reject::ALL.len()],
    /// Bytes that the victim answered with.
    pub answered: u64,
    /// Bytes of the packets that may be answered.
    pub asked: u64,
    /// The first packet that was taken, or moved state.
    pub broken: Option<String>,
}

fn address(slot: usize) -> Address {
    Address([1 + slot as u8; 24])
}

fn key(n: u64) -> Key {
    Key::from_name(&n.to_le_bytes())
}

struct World<'s> {
    nodes: Vec<Node<'s, N>>,
    /// All that was ever sent.
    recorded: Vec<Vec<u8>>,
    now: Instant,
}

fn node(slot: usize, life: Life, keys: Keys, storage: &mut [u64]) -> Node<'_, N> {
    let mut config = Config::new(CLUSTER, Slot::at(slot), life, 1_000, SHAPE);
    config.configured = SlotSet::first(SERVERS);
    Node::with_keys(Instant::ZERO, storage, &config, keys.ring(Slot::at(slot)))
        .expect("a valid configuration")
}

impl World<'_> {
    fn run(&mut self, ms: u64, writes: bool, rng: &mut Rng) {
        let mut frame = [0; PAYLOAD];
        for _ in 0..ms {
            self.now = Instant(self.now.0 + 1_000_000);
            if writes && rng.below(4) == 0 {
                let author = &mut self.nodes[rng.below(SERVERS as u64) as usize];
                // Refused while it is starting.
                let _ = author.put(self.now, key(rng.below(300)), &[rng.next_u64() as u8; 24]);
            }
            for from in 0..SERVERS {
                while let Some(transmit) = self.nodes[from].poll_transmit(self.now, &mut frame) {
                    let packet = &frame[..transmit.len];
                    self.recorded.push(packet.to_vec());
                    if let Some(to) = usize::from(transmit.to.0[0]).checked_sub(1).filter(|&to| to < SERVERS)
                    {
                        // Whoever starts does not know the others' lives; all else is taken.
                        let _ = self.nodes[to].handle_packet(self.now, address(from), packet);
                    }
                }
                while self.nodes[from].poll_event().is_some() {}
                while self.nodes[from].poll_member().is_some() {}
            }
        }
    }

    fn state(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let victim = &self.nodes[VICTIM];
        victim.map().hash_state(&mut hasher);
        victim.map().live().hash(&mut hasher);
        for (slot, member) in victim.members() {
            (slot, format!("{member:?}")).hash(&mut hasher);
        }
        hasher.finish()
    }

    fn is_equal(&self) -> bool {
        let digest = |node: &Node<'_, N>| node.map().digest(0, u64::MAX);
        self.nodes.iter().all(|node| {
            !node.map().is_empty()
                && digest(node) == digest(&self.nodes[0])
                && node.map().live() == SlotSet::first(SERVERS)
        })
    }
}

/// Bytes that the adversary would like to see taken.
fn forged(recorded: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let any = |rng: &mut Rng| recorded[rng.below(recorded.len() as u64) as usize].clone();
    let mut packet = any(rng);
    let bits = 8 * packet.len() as u64;
    match rng.below(12) {
        // As it was, or with what Ethernet would put behind it.
        0 | 1 => packet.resize(packet.len() + rng.below(3) as usize, 0),
        2 | 3 => {
            for _ in 0..=rng.below(3) {
                let bit = rng.below(bits);
                packet[bit as usize / 8] ^= 1 << (bit % 8);
            }
        }
        4 => packet.truncate(rng.below(packet.len() as u64) as usize),
        // Shorter by its own word.
        5 => {
            let length = HEADER as u64 + rng.below((packet.len() - HEADER) as u64 + 1);
            packet[20..22].copy_from_slice(&(length as u16).to_le_bytes());
        }
        // One's header before another's body.
        6 => {
            let other = any(rng);
            packet.truncate(HEADER);
            packet.extend(&other[HEADER..]);
            let length = packet.len() as u16;
            packet[20..22].copy_from_slice(&length.to_le_bytes());
        }
        7 => packet[8..16].copy_from_slice(&(CLUSTER + rng.below(2)).to_le_bytes()),
        // Without a key, but with a checksum that fits.
        8 => {
            (packet[22], packet[48]) = (0, rng.next_u64() as u8);
            restore_checksum(&mut packet);
        }
        // Another sender, life, receiver's life or number.
        9 => {
            let (at, other) = ([2, 22, 24, 32, 40][rng.below(5) as usize], any(rng));
            packet[at..at + 8].copy_from_slice(&other[at..at + 8]);
        }
        10 => packet[40 + rng.below(8) as usize] = rng.next_u64() as u8,
        _ => packet[48..HEADER].fill_with(|| rng.next_u64() as u8),
    }
    packet
}

/// Attacks a server with `count` packets drawn from `seed`; `prepare` may change it first. Afterwards the three must
/// still find together.
///
/// # Panics
/// When the servers do not come to be equal, before or after.
pub fn attack(keys: Keys, seed: u64, count: u64, prepare: impl FnOnce(&mut Node<'_, N>)) -> Outcome {
    let mut rng = Rng::new(seed);
    let life =
        |generation, slot: usize| Life { generation, id: 0x1000 * u64::from(generation) + 1 + slot as u64 };
    let words = Node::<N>::words(&Config::new(CLUSTER, Slot::at(0), life(1, 0), 1_000, SHAPE));
    let mut storage = vec![vec![0; words]; SERVERS + 1];
    let (last, first) = storage.split_last_mut().expect("one more than servers");
    let nodes =
        first.iter_mut().enumerate().map(|(slot, words)| node(slot, life(1, slot), keys, words)).collect();
    let mut world = World { nodes, recorded: Vec::new(), now: Instant::ZERO };
    let seeds = [address(0), address(1)];
    world.nodes.iter_mut().for_each(|node| node.join(Instant::ZERO, &seeds));
    world.run(3_000, true, &mut rng);
    world.nodes[VICTIM] = node(VICTIM, life(2, VICTIM), keys, last);
    let now = world.now;
    world.nodes[VICTIM].join(now, &seeds);
    world.run(4_000, true, &mut rng);
    world.run(2_000, false, &mut rng);
    assert!(world.is_equal(), "the servers have found each other");
    prepare(&mut world.nodes[VICTIM]);

    let mut outcome =
        Outcome { packets: 0, rejected: [0; Reject::ALL.len()], answered: 0, asked: 0, broken: None };
    let (mut frame, mut before) = ([0; PAYLOAD], world.state());
    while outcome.packets < count && outcome.broken.is_none() {
        for _ in 0..BATCH.min(count - outcome.packets) {
            outcome.packets += 1;
            let packet = forged(&world.recorded, &mut rng);
            let (now, from) = (world.now, address(rng.below(8) as usize));
            match world.nodes[VICTIM].handle_packet(now, from, &packet) {
                Err(reason) => {
                    outcome.rejected[reason.index()] += 1;
                    outcome.asked += if reason == Reject::Unproved { packet.len() as u64 } else { 0 };
                }
                Ok(()) => {
                    outcome.broken = Some(format!("packet {} was taken: {packet:02x?}", outcome.packets));
                }
            }
        }
        // Nothing is due at a moment at which it was all sent, but answers.
        while let Some(transmit) = world.nodes[VICTIM].poll_transmit(world.now, &mut frame) {
            outcome.answered += transmit.len as u64;
        }
        let after = world.state();
        if after != before {
            let what = format!("packets up to {} moved state", outcome.packets);
            outcome.broken = outcome.broken.or(Some(what));
        }
        before = after;
    }
    if outcome.broken.is_none() {
        world.run(1_000, true, &mut rng);
        world.run(2_000, false, &mut rng);
        assert!(world.is_equal(), "and go on as before");
    }
    outcome
}
