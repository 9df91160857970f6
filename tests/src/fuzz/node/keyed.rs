//! A node with keys and what it is fed: packets of a real peer, of whoever holds a key, repeated, and damaged behind their
//! code.
//!
//! Knows which packets some server made, and which were taken. What they say is `node`'s to judge.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::num::NonZeroU8;

use popmap_core::auth::{AuthKey, KeyRing, Row};
use popmap_core::time::{Duration, Instant};
use popmap_core::wire::{HEADER, Kind, numbered};
use popmap_core::{Address, Life, Node, Phase, Reject, Slot, Stats};

use super::forge::{KEYS, forge, key};
use super::{CAPACITIES, CONFIGURED, ME, N, PACKETS, PEER, config, damage, words};
use crate::explore::Hash128;
use crate::fuzz::bytes::{Bytes, number};
use crate::fuzz::frame::{Frame, ROOM};

const ID: NonZeroU8 = NonZeroU8::MIN;
const SECRET: [u8; 32] = [0x5e; 32];
/// Far above what the real peer counts.
const FIRST: u64 = 1 << 30;

/// Memory that every run uses again.
struct Room {
    storage: [Vec<u64>; 2],
    frame: Frame,
}

thread_local! {
    static THE_ROOM: RefCell<Room> =
        RefCell::new(Room { storage: [vec![0; words()], vec![0; words()]], frame: Frame::new() });
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

/// Returns the key of the server in `slot`, of the sort that a scene has.
fn key_of(scene: u8, slot: Slot) -> AuthKey {
    let key = match scene & 1 {
        0 => AuthKey::row(ID, Row::derive(&SECRET, ID, slot)),
        _ => AuthKey::shared(ID, SECRET),
    };
    key.encrypted(scene & 2 != 0)
}

struct World<'r, 'a> {
    scene: u8,
    ours: Node<'a, N>,
    theirs: Node<'a, N>,
    now: Instant,
    frame: &'r mut Frame,
    /// Packets handed over before: what was made, and when it was taken: after how many changes of its slot's life.
    kept: Vec<(Vec<u8>, Option<u64>)>,
    /// The last life of each slot in a packet that was made, and how often it changed. Whoever has a slot's key may come
    /// back to a life that was over, and then its packets count anew: an honest server draws a new one.
    lives: [(u64, u64); N],
    count: u64,
    /// Numbers of packets that the node has sent.
    numbers: BTreeSet<u64>,
    /// A server with our key was heard in our slot.
    met: bool,
}

fn play(bytes: &mut Bytes<'_>, room: &mut Room) -> Stats {
    let Room { storage: [ours, theirs], frame } = room;
    ours.fill(0);
    theirs.fill(0);
    let scene = bytes.byte();
    let node = |slot, generation, storage| {
        let mut config = config(slot, generation, CAPACITIES[0]);
        if scene & 4 != 0 {
            config.swim = None;
        }
        let ring = KeyRing::new([key_of(scene, slot)], ID).expect("one key");
        Node::<N>::with_keys(Instant::ZERO, storage, &config, ring).expect("a valid configuration")
    };
    let mut world = World {
        scene,
        ours: node(ME, 5, ours),
        theirs: node(PEER, 3, theirs),
        now: Instant::ZERO,
        frame,
        kept: Vec::new(),
        lives: [(0, 0); N],
        count: FIRST,
        numbers: BTreeSet::new(),
        met: false,
    };
    for node in [&mut world.ours, &mut world.theirs] {
        if scene & 4 == 0 {
            node.join(Instant::ZERO, &[Address([1; 24]), Address([2; 24])]);
        } else {
            node.set_live(CONFIGURED);
        }
    }
    for _ in 0..PACKETS {
        let op = bytes.byte();
        let ms = [0, 1, 50, 400][usize::from(op >> 6)];
        world.now = world.now + Duration::from_millis(ms);
        world.ours.handle_timeout(world.now);
        world.theirs.handle_timeout(world.now);
        if op & 0x20 != 0 {
            // Refused while it is starting.
            let _ = world.ours.put(world.now, key(bytes.below(KEYS)), &[bytes.byte(); 12]);
            let _ = world.theirs.put(world.now, key(bytes.below(KEYS)), &[bytes.byte(); 12]);
        }
        world.drain();
        world.step(op & 7, bytes);
    }
    world.drain();
    world.ours.stats()
}

impl World<'_, '_> {
    /// Takes all that the node wants to send, each under a number of its own, and carries it to its peer.
    fn drain(&mut self) {
        let mut out = [0; ROOM];
        let mut sent = 0;
        while let Some(transmit) = self.ours.poll_transmit(self.now, &mut out) {
            let packet = &out[..transmit.len];
            assert_eq!((packet[22], &packet[4..8]), (ID.get(), &[0; 4][..]), "it names the key");
            assert!(self.numbers.insert(number::<8>(packet, 40)), "a nonce is used once");
            let _ = self.theirs.handle_packet(self.now, Address([2; 24]), packet);
            sent += 1;
            assert!(sent < 1_000, "it does not stop");
        }
        while self.ours.poll_event().is_some() || self.ours.poll_member().is_some() {}
    }

    fn step(&mut self, source: u8, bytes: &mut Bytes<'_>) {
        let mut out = [0; ROOM];
        let made = match source {
            0 | 1 => {
                self.theirs.poll_transmit(self.now, &mut out).map(|transmit| out[..transmit.len].to_vec())
            }
            6 if !self.kept.is_empty() => {
                let (packet, taken) = self.kept[bytes.below(self.kept.len())].clone();
                let before = self.hash();
                let outcome = self.hand_over(&packet, true);
                let again = taken == Some(self.lives[usize::from(packet[2])].1);
                if again && outcome.is_ok() {
                    // A life that is over may have told one that starts of its slot: what it says stays the same.
                    let (slot, life) = (Slot::at(packet[2].into()), number::<8>(&packet, 24));
                    let is_notice =
                        packet[1] == Kind::LifeNotice as u8 && self.ours.map().life_of(slot).id != life;
                    assert!(is_notice && self.hash() == before, "taken twice: {packet:02x?}");
                }
                return;
            }
            _ => None,
        };
        let made = made.unwrap_or_else(|| self.sealed(bytes));
        if matches!(source, 5 | 7) {
            self.frame.copy(&made);
            damage(bytes, self.frame);
            let damaged = self.frame.bytes().to_vec();
            // What stands behind the length that it states is no part of it.
            let is_whole = damaged.len() >= made.len() && damaged[..made.len()] == made[..];
            let _ = self.hand_over(&damaged, is_whole);
            if is_whole {
                return;
            }
        }
        let outcome = self.hand_over(&made, true);
        let taken = outcome.is_ok().then(|| self.lives[usize::from(made[2])].1);
        self.kept.push((made, taken));
    }

    /// A packet that somebody with a key made: the server in its slot, whichever that is.
    fn sealed(&mut self, bytes: &mut Bytes<'_>) -> Vec<u8> {
        forge(bytes, &self.ours, 1, self.frame);
        let mut packet = self.frame.bytes().to_vec();
        self.count += 1;
        let (slot, life, to_life) =
            (Slot::at(packet[2].into()), number::<8>(&packet, 24), number::<8>(&packet, 32));
        let receiver = (to_life != 0).then_some(ME);
        let number = numbered(self.count, receiver);
        let key = key_of(self.scene, slot);
        packet[4..8].fill(0);
        packet[22] = ID.get();
        packet[40..48].copy_from_slice(&number.to_le_bytes());
        let subkey = key.subkey(slot, life, receiver);
        let (header, body) = packet.split_at_mut(HEADER);
        let (head, code) = header.split_first_chunk_mut().expect("a header");
        let tag = match key.encrypts() {
            true => key.cipher().encrypt(subkey.bytes(), number, head, body),
            false => key.cipher().tag(subkey.bytes(), number, head, body),
        };
        code.copy_from_slice(&tag);
        packet
    }

    /// Returns a hash of what decides how the node's map behaves.
    fn hash(&self) -> u128 {
        let mut hasher = Hash128::default();
        self.ours.map().hash_state(&mut hasher);
        hasher.finish_128()
    }

    /// Hands a packet over that some server made as it is, or none did.
    fn hand_over(&mut self, packet: &[u8], is_made: bool) -> Result<(), Reject> {
        let (before, stats) = (self.hash(), self.ours.stats());
        if is_made {
            let (life, changes) = &mut self.lives[usize::from(packet[2])];
            let of_packet = number::<8>(packet, 24);
            *changes += u64::from(*life != of_packet);
            *life = of_packet;
        }
        let outcome = self.ours.handle_packet(self.now, Address([1; 24]), packet);
        let after = self.ours.stats();
        let rejected: u64 = after.rejected.iter().sum::<u64>() - stats.rejected.iter().sum::<u64>();
        assert_eq!(rejected, u64::from(outcome.is_err()));
        if let Err(reason) = outcome {
            assert_eq!(after.rejected[reason.index()], stats.rejected[reason.index()] + 1);
        }
        if !is_made {
            assert!(outcome.is_err(), "nobody made it: {packet:02x?}");
        }
        let code_is_right = !matches!(
            outcome,
            Err(Reject::Mac | Reject::Unproved | Reject::Replay | Reject::OverBudget | Reject::KeyId)
        );
        if !is_made || !code_is_right {
            assert_eq!(self.hash(), before, "{outcome:?} moves nothing: {packet:02x?}");
        }
        self.met |= outcome == Err(Reject::SlotConflict);
        let Life { id, .. } = self.ours.map().life();
        assert_eq!(id, super::MY_LIFE);
        // Word of others does not fence a row (R4.5).
        assert!(self.met || self.scene & 1 != 0 || self.ours.map().phase() != Phase::Fenced);
        outcome
    }
}

/// Returns scripts that get far, each as an input.
pub fn seeds() -> Vec<Vec<u8>> {
    let calm: Vec<u8> = (0..60u8).flat_map(|n| [(n % 3) << 6 | (n % 2) << 5 | (n % 8), n, n]).collect();
    let mixed: Vec<u8> = (0..=255u8).collect();
    (0..8).flat_map(|scene| [&calm, &mixed].map(|script| [&[scene][..], script].concat())).collect()
}

#[cfg(test)]
mod tests {
    use popmap_core::rng::Rng;

    use super::*;

    /// Scripts at random are taken, and refused for every reason that keys have.
    #[test]
    fn scripts_come_everywhere() {
        let mut rng = Rng::new(7);
        let (mut taken, mut rejected) = (0, [0; Reject::ALL.len()]);
        for _ in 0..1_000 {
            let script: Vec<u8> = (0..400).map(|_| rng.next_u64() as u8).collect();
            let stats = THE_ROOM.with_borrow_mut(|room| play(&mut Bytes::new(&script), room));
            taken += stats.received.iter().sum::<u64>();
            rejected.iter_mut().zip(stats.rejected).for_each(|(sum, count)| *sum += count);
        }
        // Who is fenced takes nothing any more.
        assert!(taken > 9_000, "{taken}");
        // What names another life is unproved before anybody asks for which it was.
        use Reject::{
            Forgotten, KeyId, Mac, OldLife, Over, Record, Replay, SlotConflict, Unauthenticated, Unproved,
        };
        for reason in
            [Forgotten, KeyId, Mac, OldLife, Over, Record, Replay, SlotConflict, Unauthenticated, Unproved]
        {
            assert!(rejected[reason.index()] > 0, "{reason:?}: {rejected:?}");
        }
    }
}
