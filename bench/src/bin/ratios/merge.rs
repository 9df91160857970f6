//! Merging full delta packets, beside the floor and a hand-written table that take the same ones.

use std::cell::RefCell;
use std::hint::black_box;

use popmap_bench::contest::{Contest, time};
use popmap_bench::evict::Evictor;
use popmap_bench::peers::floor::{Floor, duplicate};
use popmap_bench::peers::plain::Plain;
use popmap_bench::stream::{Batch, NOW, PER_PACKET, Packet, SLOTS, Stream, WRITERS_MAX};
use popmap_core::{Address, Node};

use crate::report::Rows;
use crate::{Effort, allocations};

pub const KEYS: usize = 50_000;
/// Packets of a round, and of a burst.
pub const BURST: usize = 32;

/// Has a node merge packets, one after the other.
pub fn take(node: &mut Node<'_, SLOTS>, packets: &[Packet]) {
    for packet in packets {
        let taken = node.handle_packet(NOW, Address::default(), black_box(packet));
        debug_assert!(taken.is_ok());
    }
}

/// The same for packets that came as one burst.
fn take_burst(node: &mut Node<'_, SLOTS>, packets: &[Packet]) {
    take(node, packets);
}

/// Reads packets, as they are in the cache when a network card has just written them.
pub fn touch(packets: &[Packet]) {
    for packet in packets {
        black_box(packet.iter().step_by(64).fold(0, |sum, byte| sum ^ byte));
    }
}

/// What a round brings.
pub struct Round {
    /// Merged off the clock: the same keys.
    pub before: Option<Batch>,
    pub batch: Batch,
}

impl Round {
    fn packets(&self) -> &[Packet] {
        &self.batch.full
    }
}

/// One who merges.
pub trait Merger {
    fn take(&mut self, packets: &[Packet]);
    fn take_burst(&mut self, packets: &[Packet]) {
        self.take(packets);
    }
    fn changes(&self) -> u64;
}

impl Merger for Box<Node<'static, SLOTS>> {
    fn take(&mut self, packets: &[Packet]) {
        take(self, packets);
    }
    fn take_burst(&mut self, packets: &[Packet]) {
        take_burst(self, packets);
    }
    fn changes(&self) -> u64 {
        self.map().stats().records_applied
    }
}

impl Merger for Floor {
    fn take(&mut self, packets: &[Packet]) {
        packets.iter().for_each(|packet| self.merge(black_box(packet)));
    }
    fn take_burst(&mut self, packets: &[Packet]) {
        self.merge_burst(black_box(packets));
    }
    fn changes(&self) -> u64 {
        Floor::changes(self)
    }
}

impl Merger for Plain {
    fn take(&mut self, packets: &[Packet]) {
        packets.iter().for_each(|packet| self.merge(black_box(packet)));
    }
    fn changes(&self) -> u64 {
        Plain::changes(self)
    }
}

/// Merges a round's packets and returns nanoseconds of one.
pub fn merge(merger: &mut impl Merger, round: &Round, evictor: Option<&Evictor>, burst: bool) -> f64 {
    if let Some(before) = &round.before {
        merger.take(&before.full);
        merger.take(&before.rest);
    }
    if let Some(evictor) = evictor {
        evictor.evict();
    }
    touch(round.packets());
    let before = merger.changes();
    let ns = if burst {
        time(BURST, || merger.take_burst(round.packets()))
    } else {
        time(BURST, || merger.take(round.packets()))
    };
    assert_eq!(merger.changes() - before, (BURST * PER_PACKET) as u64, "every record is newer");
    merger.take(&round.batch.rest);
    ns
}

/// Returns the next round of a stream.
pub fn next_round(stream: &RefCell<Stream>, cold: bool) -> Round {
    let mut stream = stream.borrow_mut();
    let keys = stream.pick(BURST * PER_PACKET);
    let before = (!cold).then(|| stream.batch(&keys));
    Round { before, batch: stream.batch(&keys) }
}

pub fn merges(effort: &Effort, rows: &mut Rows) {
    // Everyone but the follower: as many as can write.
    for (name, writers) in [("3", 3), ("64", WRITERS_MAX)] {
        for cold in [false, true] {
            contest(effort, rows, name, writers, cold);
        }
    }
}

fn contest(effort: &Effort, rows: &mut Rows, name: &str, writers: usize, cold: bool) {
    let heat = if cold { "cold" } else { "warm" };
    let named = |what: &str| format!("{what}/{name}/{heat}");
    let (single, burst) = (named("merge"), named("merge-burst"));
    let (again, allocated) = (named("duplicate"), named("merge-alloc"));
    let roomy = named("merge-roomy");
    if !effort.wants(&[&single, &burst, &roomy, &again, &allocated]) {
        return;
    }
    let stream = RefCell::new(Stream::new(KEYS, writers));
    let evictor = cold.then(Evictor::new);
    let evictor = evictor.as_ref();
    let mut ours = [(); 3].map(|()| stream.borrow().node());
    // In a map that is not as full hardly a key had to go on to a second bucket.
    let mut ours_roomy = stream.borrow().node_of(2 * KEYS);
    let mut floors = [(); 2].map(|()| Floor::new(KEYS));
    let mut plain = Plain::new(KEYS);
    for packet in stream.borrow().history() {
        floors.iter_mut().for_each(|floor| floor.merge(packet));
        plain.merge(packet);
    }
    let mut contest = Contest::new();
    let [ours_single, ours_burst, ours_again] = &mut ours;
    let [floor_single, floor_burst] = &mut floors;
    contest.enter("ours", |round: &mut Round| merge(ours_single, round, evictor, false));
    contest.enter("floor", |round| merge(floor_single, round, evictor, false));
    contest.enter("crc32fast + hashbrown", |round| merge(&mut plain, round, evictor, false));
    contest.enter("ours, roomy", |round| merge(&mut ours_roomy, round, evictor, false));
    contest.enter("ours, burst", |round| merge(ours_burst, round, evictor, true));
    contest.enter("floor, burst", |round| merge(floor_burst, round, evictor, true));
    if !cold {
        contest.enter("ours, again", |round| {
            for batch in round.before.iter().chain([&round.batch]) {
                ours_again.take(&batch.full);
                ours_again.take(&batch.rest);
            }
            let before = ours_again.map().stats().records_covered;
            let ns = time(BURST, || ours_again.take(round.packets()));
            let covered = ours_again.map().stats().records_covered - before;
            assert_eq!(covered, (BURST * PER_PACKET) as u64, "nothing is new");
            ns
        });
        contest.enter("CRC + compares", |round| {
            touch(round.packets());
            // Which covers everything.
            let version = [u64::MAX; SLOTS];
            time(BURST, || {
                let new = |packet: &Packet| duplicate(black_box(packet), black_box(&version));
                round.packets().iter().map(new).sum::<usize>()
            })
        });
    }
    let results = contest.run(effort.rounds(if cold { 60 } else { 200 }), || next_round(&stream, cold));
    rows.compare(&single, &results, ["ours", "floor"], Some(1.5));
    let times = if cold { 1.0 / 2.5 } else { 1.0 };
    rows.compare(&single, &results, ["ours", "crc32fast + hashbrown"], Some(times));
    rows.compare(&roomy, &results, ["ours, roomy", "floor"], None);
    rows.compare(&burst, &results, ["ours, burst", "floor, burst"], Some(1.5));
    let times = if cold { Some(1.0 / 4.0) } else { None };
    rows.compare(&burst, &results, ["ours, burst", "crc32fast + hashbrown"], times);
    if !cold {
        rows.compare(&again, &results, ["ours, again", "CRC + compares"], Some(1.5));
        let mut node = stream.borrow().node();
        // Its history is behind: what counts is that nothing allocates, whatever it does.
        let keys = stream.borrow_mut().pick(BURST * PER_PACKET);
        let batch = stream.borrow_mut().batch(&keys);
        let before = node.map().stats().records_applied;
        rows.allocations(&allocated, allocations::count(|| take(&mut node, &batch.full)));
        assert_eq!(node.map().stats().records_applied - before, (BURST * PER_PACKET) as u64);
    }
}
