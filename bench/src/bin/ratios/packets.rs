//! Decoding and merging packets, beside peers that have packets of their own: nanoseconds of a record.

use std::cell::RefCell;

use popmap_bench::contest::{Contest, time};
use popmap_bench::peers::chitchat::{Agent, Writer};
use popmap_bench::peers::crdts::{MapReader, MapWriter, Registers, register_packet};
use popmap_bench::peers::shared::RECORDS;
use popmap_bench::stream::{Batch, PER_PACKET, Stream};

use crate::Effort;
use crate::merge::{BURST, KEYS, take};
use crate::report::Rows;

/// Packets of the others in a round.
const PACKETS: usize = 8;

/// What a round brings: ours, and the keys of the others' packets.
struct Round {
    /// Merged off the clock: the same keys. The others do so too.
    before: Option<Batch>,
    batch: Batch,
    keys: Vec<u64>,
}

impl Round {
    /// Has a peer make its packets and take them, and returns nanoseconds of a record.
    fn take<P>(&self, mut make: impl FnMut(&[u64]) -> P, mut take: impl FnMut(Vec<P>)) -> f64 {
        let mut packets = || self.keys.chunks_exact(RECORDS).map(&mut make).collect();
        if self.before.is_some() {
            take(packets());
        }
        let packets = packets();
        time(PACKETS * RECORDS, || take(packets))
    }
}

pub fn peers(effort: &Effort, rows: &mut Rows) {
    contest(effort, rows, "record/3/warm", true);
    contest(effort, rows, "record/3/random", false);
}

fn contest(effort: &Effort, rows: &mut Rows, name: &str, warm: bool) {
    if !effort.wants(&[name]) {
        return;
    }
    let stream = RefCell::new(Stream::new(KEYS, 3));
    let mut node = stream.borrow().node();
    let everything: Vec<u64> = (0..KEYS as u64).collect();
    let mut contest = Contest::new();
    contest.enter("ours", |round: &mut Round| {
        if let Some(batch) = &round.before {
            take(&mut node, &batch.full);
            take(&mut node, &batch.rest);
        }
        let before = node.map().stats().records_applied;
        let ns = time(BURST * PER_PACKET, || take(&mut node, &round.batch.full));
        let applied = node.map().stats().records_applied - before;
        assert_eq!(applied, (BURST * PER_PACKET) as u64, "every record is newer");
        take(&mut node, &round.batch.rest);
        ns
    });
    let (mut registers, mut now) = (Registers::default(), 1);
    registers.take(&register_packet(&everything, now, 3));
    contest.enter("std + LWWReg + bincode", move |round| {
        let make = |keys: &[u64]| {
            now += 1;
            register_packet(keys, now, 3)
        };
        let ns = round.take(make, |packets| packets.iter().for_each(|packet| registers.take(packet)));
        assert_eq!(registers.time(round.keys[PACKETS * RECORDS - 1]), Some(now));
        ns
    });
    for (name, actors) in [("crdts, 3 actors", 3), ("crdts, 64 actors", 64)] {
        let (mut writer, mut reader) = (MapWriter::new(actors), MapReader::default());
        everything.chunks(1_000).for_each(|keys| reader.take(&writer.packet(keys)));
        assert_eq!(reader.len(), KEYS);
        contest.enter(name, move |round| {
            let take = |packets: Vec<Vec<u8>>| packets.iter().for_each(|packet| reader.take(packet));
            round.take(|keys| writer.packet(keys), take)
        });
    }
    let (mut writer, agent) = (Writer::new(), Agent::start());
    agent.queue(everything.chunks(100).map(|keys| writer.ack(keys)));
    agent.take();
    assert_eq!(agent.seen(), (KEYS, KEYS as u64));
    let mut version = KEYS as u64;
    contest.enter("chitchat", move |round| {
        let take = |packets| {
            agent.queue(packets);
            agent.take();
        };
        let ns = round.take(|keys| writer.ack(keys), take);
        let packets = if round.before.is_some() { 2 * PACKETS } else { PACKETS };
        version += (packets * RECORDS) as u64;
        assert_eq!(agent.seen().1, version, "every record was applied");
        ns
    });
    let results = contest.run(effort.rounds(200), || {
        let mut stream = stream.borrow_mut();
        let keys = stream.pick(BURST * PER_PACKET);
        let before = warm.then(|| stream.batch(&keys));
        let batch = stream.batch(&keys);
        Round { before, batch, keys: stream.pick(PACKETS * RECORDS) }
    });
    rows.compare(name, &results, ["ours", "chitchat"], Some(1.0 / 70.0));
    rows.compare(name, &results, ["ours", "crdts, 3 actors"], Some(1.0 / 35.0));
    rows.compare(name, &results, ["ours", "crdts, 64 actors"], None);
    rows.compare(name, &results, ["ours", "std + LWWReg + bincode"], None);
}
