//! A node and what it is fed: a script of 50 packets and more, with time that runs both ways, writes, and all that it
//! sends taken from it.
//!
//! The node is slot 1 of a PoP of three with room for four. Slot 0 is a real node that it talks to; slot 2 is forged
//! only, and either of them may be impersonated. Knows the script. What must hold is `watch`'s to know, how a packet is
//! forged `forge`'s.

use std::cell::RefCell;

use popmap_core::time::{Duration, Instant};
use popmap_core::{Address, Config, Life, Meta, Node, Shape, Slot, SlotSet, Stats};

use super::bytes::Bytes;
use super::frame::{Frame, ROOM};
use crate::link::CLUSTER;

mod forge;
pub mod keyed;
mod watch;

use forge::{KEYS, forge, key};
use watch::Watch;

/// Slots of the nodes; the last is not configured.
const N: usize = 4;
const PEER: Slot = Slot::at(0);
const ME: Slot = Slot::at(1);
const CONFIGURED: SlotSet = SlotSet::first(3);
const MY_LIFE: u64 = 0xb1;
/// Twelve bytes of value: the last four of a record are padding.
const SHAPE: Shape = Shape { schema: 7, value_len: 12 };
const PAYLOAD: usize = 1_200;
/// The room of a map, and of one that is soon full.
const CAPACITIES: [usize; 2] = [12, 4];
/// Packets of a script: at least, and at most however long the input is.
const PACKETS: usize = 50;
const PACKETS_MOST: usize = 64;
/// Packets that are kept to be repeated.
const KEPT: usize = 8;

/// Returns the life in which a slot is known at first.
const fn life_of(slot: Slot) -> Life {
    Life { generation: 3, id: 0xa0 + slot.get() as u64 }
}

/// Memory that every run uses again.
struct Room {
    storage: [Vec<u64>; 2],
    frame: Frame,
    kept: [Frame; KEPT],
    out: [u8; ROOM],
}

thread_local! {
    static THE_ROOM: RefCell<Room> = RefCell::new(Room {
        storage: [vec![0; words()], vec![0; words()]],
        frame: Frame::new(),
        kept: std::array::from_fn(|_| Frame::new()),
        out: [0; ROOM],
    });
}

fn words() -> usize {
    Node::<N>::words(&config(ME, 5, CAPACITIES[0]))
}

fn config(slot: Slot, generation: u32, capacity: usize) -> Config {
    let id = if slot == ME { MY_LIFE } else { life_of(slot).id };
    let mut config = Config::new(CLUSTER, slot, Life { generation, id }, capacity, SHAPE);
    config.configured = CONFIGURED;
    config.payload = PAYLOAD;
    config.start_within = Duration::from_millis(300);
    config
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

/// Plays a script; returns what the node counted.
fn play(bytes: &mut Bytes<'_>, room: &mut Room) -> Stats {
    let Room { storage: [ours, theirs], frame, kept, out } = room;
    ours.fill(0);
    theirs.fill(0);
    let scene = bytes.byte();
    let generation = [5, 5, u32::MAX - 1, u32::MAX][usize::from(scene & 3)];
    let mut our_config = config(ME, generation, CAPACITIES[usize::from(scene >> 2 & 1)]);
    let mut their_config = config(PEER, 3, CAPACITIES[0]);
    if scene & 8 != 0 {
        (our_config.swim, their_config.swim) = (None, None);
    }
    if scene & 16 != 0 {
        our_config.budget_bytes = PAYLOAD as u32;
    }
    let ours = Node::new(Instant::ZERO, ours, &our_config).expect("a valid configuration");
    let theirs = Node::new(Instant::ZERO, theirs, &their_config).expect("a valid configuration");
    let mut world = World {
        watch: Watch::new(&ours),
        ours,
        theirs,
        now: Instant::ZERO,
        has_swim: scene & 8 == 0,
        frame,
        kept,
        next_kept: 0,
        out,
    };
    world.begin(scene);
    let mut packets = 0;
    while packets < PACKETS || packets < PACKETS_MOST && !bytes.is_over() {
        let op = bytes.byte();
        world.pass_time(op >> 5, bytes);
        world.act(op >> 3 & 3, bytes);
        world.drain();
        world.next_packet(op & 7, bytes);
        world.hand_over();
        packets += 1;
    }
    world.drain();
    world.watch.finish(&world.ours);
    world.ours.stats()
}

struct World<'r, 'a> {
    /// The one that is watched.
    ours: Node<'a, N>,
    theirs: Node<'a, N>,
    watch: Watch,
    now: Instant,
    has_swim: bool,
    /// The packet that is next.
    frame: &'r mut Frame,
    kept: &'r mut [Frame; KEPT],
    next_kept: usize,
    out: &'r mut [u8; ROOM],
}

impl World<'_, '_> {
    fn begin(&mut self, scene: u8) {
        self.kept.iter_mut().for_each(|kept| kept.truncate(0));
        for node in [&mut self.ours, &mut self.theirs] {
            if self.has_swim {
                let seeds = [Address([1; 24]), Address([2; 24])];
                node.join(self.now, if scene & 32 == 0 { &seeds } else { &[] });
            } else {
                node.set_live(CONFIGURED);
            }
        }
    }

    /// Moves time on, or the clock back: what the node makes of that is its own affair.
    fn pass_time(&mut self, how: u8, bytes: &mut Bytes<'_>) {
        let later = |ms| Duration::from_millis(ms);
        let now = self.now;
        self.now = match how {
            0 => now,
            1 => now + later(1),
            2 => now + later(50),
            3 => now + later(200),
            4 => now + later(700),
            5 => now + later(11_000),
            6 => now - later(1_000),
            _ => match bytes.byte() {
                0xf0.. => now + later(1 << 40),
                ms => now + later(u64::from(ms) * 16),
            },
        };
        // Beyond this there is no room for a timer.
        self.now = self.now.min(Instant(1 << 63));
        for node in [&mut self.ours, &mut self.theirs] {
            node.handle_timeout(self.now);
        }
    }

    /// Does something at the node itself.
    fn act(&mut self, what: u8, bytes: &mut Bytes<'_>) {
        let (now, ours) = (self.now, &mut self.ours);
        match what {
            0 => {}
            1 => {
                let (key, value) = (key(bytes.below(KEYS)), [bytes.byte(); 12]);
                self.watch.put(ours, now, key, &value);
            }
            2 => self.watch.remove(ours, now, key(bytes.below(KEYS))),
            _ => match bytes.byte() {
                0..0x60 => {
                    let _ = self.theirs.put(now, key(bytes.below(KEYS)), &[bytes.byte(); 12]);
                }
                0x60..0x80 => {
                    let _ = self.theirs.remove(now, key(bytes.below(KEYS)));
                }
                live @ 0x80..0xc0 if !self.has_swim => ours.set_live(SlotSet::from_bits(live.into())),
                0x80..0xf8 => ours.set_meta(now, Meta::weighted(u16::from(bytes.byte()) << 8)),
                _ => self.watch.leave(ours, now),
            },
        }
    }

    /// Takes all that the node wants to send, and carries to its peer what is for that one.
    fn drain(&mut self) {
        let (ours, theirs) = (&mut self.ours, &mut self.theirs);
        // What is found out while it is polled may be worth telling at once: asked again, it rests.
        for _ in 0..3 {
            let mut sent = 0;
            while let Some(transmit) = ours.poll_transmit(self.now, self.out) {
                let packet = &self.out[..transmit.len];
                self.watch.sent(packet);
                if transmit.slot == PEER || transmit.slot == ME {
                    let _ = theirs.handle_packet(self.now, Address([2; 24]), packet);
                }
                sent += 1;
                assert!(sent < 200, "it does not stop");
            }
            while ours.poll_event().is_some() || ours.poll_member().is_some() {}
            if ours.poll_timeout() > self.now {
                self.watch.rest(ours);
                return;
            }
        }
        // A clock that was set back stands still until it has caught up.
        assert!(self.watch.is_behind(self.now), "it does not rest");
        self.watch.rest(ours);
    }

    /// Makes the packet that is next.
    fn next_packet(&mut self, source: u8, bytes: &mut Bytes<'_>) {
        let (ours, theirs) = (&mut self.ours, &mut self.theirs);
        match source {
            0 | 1 => match theirs.poll_transmit(self.now, self.out) {
                Some(transmit) => self.frame.copy(&self.out[..transmit.len]),
                None => forge(bytes, ours, self.watch.question(), self.frame),
            },
            2..=5 => forge(bytes, ours, self.watch.question(), self.frame),
            6 => self.frame.clone_from(&self.kept[bytes.below(KEPT)]),
            _ => {
                forge(bytes, ours, self.watch.question(), self.frame);
                damage(bytes, self.frame);
                return;
            }
        }
        if source == 1 || source == 5 {
            damage(bytes, self.frame);
            self.frame.seal();
        }
    }

    fn hand_over(&mut self) {
        let from = Address([1; 24]);
        self.watch.hand_over(&mut self.ours, self.now, from, self.frame.bytes());
        self.kept[self.next_kept].clone_from(self.frame);
        self.next_kept = (self.next_kept + 1) % KEPT;
    }
}

/// Overwrites some bytes, cuts some off, or appends some.
fn damage(bytes: &mut Bytes<'_>, frame: &mut Frame) {
    let how = bytes.byte();
    let at = usize::from(bytes.byte()) * if how & 0x40 != 0 { 2 } else { 1 };
    match how & 7 {
        0 => frame.truncate(at),
        1 => frame.put(&[how; 64][..at % 64]),
        2 if how & 0x80 != 0 => (0..20).for_each(|_| frame.put(&[0; 64])),
        2 | 3 => frame.at(at, &[bytes.byte()]),
        4 => frame.at(at & !7, &bytes.word().to_le_bytes()),
        5 => frame.at(at & !3, &[0; 4]),
        6 => frame.at(at & !3, &[0xff; 4]),
        _ => {
            if let Some(byte) = frame.bytes_mut().get_mut(at) {
                *byte ^= 1 << (how >> 3 & 7);
            }
        }
    }
}

/// Returns scripts that get far, each as an input.
pub fn seeds() -> Vec<Vec<u8>> {
    // A calm life: a peer's packets, some time, some writes; then each source and each step of time once.
    let calm: Vec<u8> =
        (0..40u8).flat_map(|n| [[2, 3, 1][usize::from(n % 3)] << 5 | (n % 4) << 3, n, n]).collect();
    let mixed: Vec<u8> = (0..=255u8).collect();
    let scenes = (0..64u8).step_by(5);
    scenes.flat_map(|scene| [&calm, &mixed].map(|script| [&[scene][..], script].concat())).collect()
}

#[cfg(test)]
mod tests {
    use popmap_core::wire::Kind;
    use popmap_core::{Reject, rng::Rng};

    use super::*;

    /// Scripts at random come everywhere: packets of every kind are taken and for every reason rejected, and the rarer
    /// works of a map are done.
    #[test]
    fn scripts_come_everywhere() {
        let mut rng = Rng::new(7);
        let (mut taken, mut rejected) = ([0; Kind::ALL.len()], [0; Reject::ALL.len()]);
        let mut works = [0; 9];
        for _ in 0..3_000 {
            let script: Vec<u8> = (0..400).map(|_| rng.next_u64() as u8).collect();
            let stats = THE_ROOM.with_borrow_mut(|room| play(&mut Bytes::new(&script), room));
            taken.iter_mut().zip(stats.received).for_each(|(sum, count)| *sum += count);
            rejected.iter_mut().zip(stats.rejected).for_each(|(sum, count)| *sum += count);
            let map = stats.map;
            let done = [
                map.commits,
                map.tombstones_collected,
                map.orphans_rewritten,
                map.reasserted,
                map.redotted,
                map.reports_rewritten,
                map.reports_buried,
                map.mends_unknown + map.mends_started_unmet + map.mends_slot_conflict,
                stats.swim.refutations,
            ];
            works.iter_mut().zip(done).for_each(|(sum, count)| *sum += count);
        }
        let seen = format!("taken {taken:?}, rejected {rejected:?}, works {works:?}");
        assert!(taken.iter().all(|count| *count > 100), "{seen}");
        // This node has no keys; for one that has there is `crate::adversary`.
        let keyed =
            [Reject::Unauthenticated, Reject::Mac, Reject::Unproved, Reject::Replay, Reject::OverBudget];
        for (reason, count) in Reject::ALL.iter().zip(rejected) {
            assert_eq!(count == 0, keyed.contains(reason), "{reason:?}: {seen}");
        }
        assert!(works.iter().all(|count| *count > 0), "{seen}");
    }
}
