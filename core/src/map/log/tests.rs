//! Walkers that stop anywhere, while records change, come, and go: whoever reaches the head has everything, and whoever is
//! sent the log in packets that are lost, doubled and overtaken knows when it has.

use std::collections::HashMap;
use std::vec;
use std::vec::Vec;

use super::*;
use crate::atomic::AtomicU64;
use crate::clock::Dot;
use crate::id::{Key, Slot};
use crate::map::layout::Layout;
use crate::map::peer::{Origin, Session, Stretch};
use crate::rng::Rng;
use crate::wire::Shape;

const SHAPE: Shape = Shape { schema: 1, value_len: 8 };

/// What a table and its log are in.
struct Storage {
    layout: Layout,
    words: Vec<AtomicU64>,
    ring: Vec<u32>,
}

impl Storage {
    fn new(capacity: usize) -> Self {
        let layout = Layout::new(capacity, &SHAPE);
        let words = (0..layout.table_words()).map(|_| AtomicU64::new(0)).collect();
        Self { layout, words, ring: std::vec![0; layout.ring as usize] }
    }

    fn world(&mut self) -> World<'_> {
        World {
            table: Table::new(&self.words, self.layout),
            log: ChangeLog::new(&mut self.ring, self.layout.capacity as usize),
            written: HashMap::new(),
            changes: 0,
        }
    }
}

/// A table with its log, and what was last written to each key.
struct World<'a> {
    table: Table<'a>,
    log: ChangeLog<'a>,
    written: HashMap<Key, u64>,
    changes: u64,
}

impl World<'_> {
    fn write(&mut self, key: Key) {
        let found = self.table.find_entry(key, key.mix());
        let Some(entry) = found.or_else(|| self.table.insert(key, key.mix())) else { return };
        self.changes += 1;
        let mark = Mark { dot: Dot { slot: Slot::at(1), counter: self.changes }, term: 1, tombstone: false };
        let stamp = Stamp::new(self.log.append(entry.at), 0);
        self.table.write(entry, stamp, false, mark.words(), [self.changes].into_iter());
        self.written.insert(key, self.changes);
    }

    fn remove(&mut self, key: Key) {
        if let Some(at) = self.table.find(key, key.mix()) {
            let stamp = Stamp::new(self.log.append(at), 0);
            self.table.remove(at, key.mix(), stamp);
            self.written.remove(&key);
        }
    }
}

/// Someone who follows the log: where it stands, and what it has seen. `None` before the first step.
#[derive(Default)]
struct Walker {
    cursor: Option<u64>,
    seen: HashMap<Key, u64>,
    scans: usize,
}

impl Walker {
    /// Walks at most so many steps; checks that nothing is missing at the head.
    fn walk(&mut self, world: &mut World<'_>, most: u64) {
        let reached = self.cursor.filter(|&cursor| world.log.reaches(cursor));
        let from = reached.unwrap_or_else(|| {
            self.scans += 1;
            world.log.start_scan()
        });
        let mut steps = world.log.steps(from);
        let mut cursor = from;
        for _ in 0..most {
            let Some((position, record)) = world.log.step(&world.table, &mut steps) else {
                cursor = world.log.head();
                break;
            };
            assert!(position > cursor && position <= world.log.head());
            cursor = position;
            if let Some((at, mark)) = record {
                self.seen.insert(world.table.key(at), mark.dot.counter);
            }
        }
        if cursor == world.log.head() {
            for (key, change) in &world.written {
                assert_eq!(self.seen.get(key), Some(change), "{key:?} is missing, from {from} on");
            }
        }
        self.cursor = Some(cursor);
    }
}

#[test]
fn whoever_reaches_the_head_has_everything() {
    let mut scans = 0;
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let capacity = 1 + rng.below(24) as usize;
        let mut storage = Storage::new(capacity);
        let mut world = storage.world();
        let mut walkers: Vec<_> = (0..4).map(|_| Walker::default()).collect();
        // A few hot keys, or all alike: then nothing stays in the ring for long.
        let hot = 1 + rng.below(capacity as u64 + 4);
        for _ in 0..2_000 {
            let among = if rng.below(4) == 0 { capacity as u64 + 4 } else { hot };
            let key = Key::from_name(&rng.below(among).to_le_bytes());
            match rng.below(8) {
                0 => world.remove(key),
                1..5 => world.write(key),
                _ => {
                    let walker = &mut walkers[rng.below(4) as usize];
                    let most = if rng.below(3) == 0 { u64::MAX } else { 1 + rng.below(6) };
                    walker.walk(&mut world, most);
                }
            }
        }
        for walker in &mut walkers {
            walker.walk(&mut world, u64::MAX);
            assert_eq!(walker.cursor, Some(world.log.head()));
            scans += walker.scans;
        }
    }
    assert!(scans > 10_000, "{scans} scans: the ring seldom wrapped");
}

/// A stretch of the log on its way, with its records, and what everything was when it was walked.
#[derive(Clone)]
struct Sent {
    stretch: Stretch,
    records: Vec<(Key, u64)>,
    written: HashMap<Key, u64>,
}

impl World<'_> {
    /// Walks `most` steps from `cursor`, for a receiver who said to stand there.
    fn send(&mut self, cursor: Option<u64>, most: u64) -> Vec<Sent> {
        let reached = cursor.filter(|&cursor| self.log.reaches(cursor));
        let mut origin = if reached.is_some() { Origin::Cursor } else { Origin::Scan };
        let mut from = reached.unwrap_or_else(|| self.log.start_scan());
        let mut steps = self.log.steps(from);
        let mut sent = Vec::new();
        while from < self.log.head() {
            let (mut to, mut records) = (from, Vec::new());
            for _ in 0..most {
                let Some((position, record)) = self.log.step(&self.table, &mut steps) else {
                    to = self.log.head();
                    break;
                };
                to = position;
                records.extend(record.map(|(at, mark)| (self.table.key(at), mark.dot.counter)));
            }
            let stretch = Stretch { origin, from, to, head: self.log.head() };
            sent.push(Sent { stretch, records, written: self.written.clone() });
            (origin, from) = (Origin::Cursor, to);
        }
        sent
    }
}

#[test]
fn who_follows_to_the_head_has_everything_whatever_the_network_does() {
    let (mut commits, mut scans, mut overtaken) = (0, 0, 0);
    for seed in 0..10_000 {
        let mut rng = Rng::new(seed);
        let capacity = 2 + rng.below(6) as usize;
        let mut storage = Storage::new(capacity);
        let mut world = storage.world();
        let mut receivers: Vec<_> =
            (0..3).map(|_| (Session::default(), HashMap::<Key, u64>::new())).collect();
        let (mut flying, mut asked) = (Vec::new(), Vec::new());
        for _ in 0..400 {
            match rng.below(8) {
                0..3 => world.write(Key::from_name(&rng.below(capacity as u64).to_le_bytes())),
                // A request, which may come late, and come again.
                3 => {
                    let to = rng.below(3) as usize;
                    asked.push((to, receivers[to].0.cursor));
                }
                4 if !asked.is_empty() => {
                    let (to, cursor) = asked[rng.below(asked.len() as u64) as usize];
                    let sent = world.send(cursor, 1 + rng.below(4));
                    scans += usize::from(sent.iter().any(|sent| sent.stretch.origin == Origin::Scan));
                    flying.extend(sent.into_iter().map(|sent| (to, sent)));
                }
                _ if !flying.is_empty() => {
                    let at = if rng.below(2) == 0 { 0 } else { rng.below(flying.len() as u64) as usize };
                    let (to, sent): (usize, Sent) =
                        if rng.below(4) == 0 { flying[at].clone() } else { flying.remove(at) };
                    if rng.below(5) == 0 {
                        continue;
                    }
                    let (session, seen) = &mut receivers[to];
                    for (key, change) in &sent.records {
                        let newest = seen.entry(*key).or_default();
                        *newest = (*newest).max(*change);
                    }
                    let newest_before = session.newest_head;
                    overtaken += usize::from(sent.stretch.from < session.low);
                    let advance = session.advance(sent.stretch);
                    if advance.contiguous && sent.stretch.head >= newest_before {
                        commits += 1;
                        for (key, change) in &sent.written {
                            let newest = seen.get(key).copied().unwrap_or(0);
                            assert!(newest >= *change, "seed {seed}: {key:?} is missing at {session:?}");
                        }
                    }
                }
                _ => {}
            }
            // The oldest are lost.
            flying.drain(..flying.len().saturating_sub(24));
            asked.drain(..asked.len().saturating_sub(8));
        }
    }
    assert!(commits > 10_000 && scans > 10_000, "{commits} commits, {scans} scans");
    assert!(overtaken > 1_000, "{overtaken} packets came behind a scan that they were in front of");
}

#[test]
fn a_log_that_has_not_wrapped_is_never_scanned() {
    let mut storage = Storage::new(10);
    let World { table, mut log, .. } = storage.world();
    assert_eq!((log.start_scan(), log.head()), (0, 0));
    for n in 0..10u64 {
        let key = Key::from_words([n, n]);
        let entry = table.insert(key, key.mix()).unwrap();
        let mark = Mark { dot: Dot { slot: Slot::at(0), counter: n + 1 }, term: 1, tombstone: false };
        let stamp = Stamp::new(log.append(entry.at), 0);
        table.write(entry, stamp, false, mark.words(), [n].into_iter());
        assert_eq!((log.start_scan(), log.head()), (0, n + 1));
    }
    let mut steps = log.steps(0);
    let walked: Vec<_> = core::iter::from_fn(|| log.step(&table, &mut steps)).map(|step| step.0).collect();
    assert_eq!(walked, (1..=10).collect::<Vec<_>>());
    // One more, and the first has left.
    log.append(0);
    assert!(!log.reaches(0) && log.reaches(1) && log.reaches(11) && !log.reaches(12));
    assert_eq!((log.start_scan(), log.head()), (12, 22), "ten places");
    assert_eq!(log.start_scan(), 12, "the same, as long as it serves");
    assert!(log.reaches(1) && log.reaches(11) && log.reaches(12) && log.reaches(17) && log.reaches(22));
    (0..10).for_each(|_| _ = log.append(0));
    assert!(log.reaches(12) && log.reaches(11) && !log.reaches(10));
    log.append(0);
    assert!(!log.reaches(11) && !log.reaches(12) && !log.reaches(21) && !log.reaches(22) && log.reaches(23));
    assert_eq!(log.start_scan(), 34);
}

#[test]
fn the_log_reaches_back_as_far_as_its_ring_and_scans_take_no_entry() {
    let mut ring = [0; 4];
    let mut log = ChangeLog::new(&mut ring, 10);
    let reached = |log: &ChangeLog<'_>| (0..40).filter(|&position| log.reaches(position)).collect::<Vec<_>>();
    assert_eq!((log.start_scan(), reached(&log)), (0, vec![0]));
    for at in 0..4 {
        log.append(at);
    }
    assert_eq!((log.start_scan(), reached(&log)), (0, (0..=4).collect()), "all of it is in the ring");
    log.append(4);
    assert_eq!(reached(&log), (1..=5).collect::<Vec<_>>());
    // Places 7 to 16, behind the start at 6.
    assert_eq!((log.start_scan(), log.head()), (6, 16));
    assert_eq!(reached(&log), (1..=16).collect::<Vec<_>>());
    assert_eq!(log.append(5), 17);
    assert_eq!((log.start_scan(), reached(&log)), (6, (2..=17).collect()), "the same serves everybody");
    for at in 6..9 {
        log.append(at);
    }
    assert_eq!((log.start_scan(), reached(&log)), (6, (5..=20).collect()));
    log.append(9);
    assert_eq!((log.start_scan(), log.head()), (22, 32), "what follows the places has left the ring");
    assert_eq!(reached(&log), (17..=32).collect::<Vec<_>>());
}

#[test]
fn a_piece_ends_at_a_scan_and_at_the_rings_end() {
    let mut ring = [0; 6];
    let mut log = ChangeLog::new(&mut ring, 10);
    let pieces = |log: &ChangeLog<'_>, from| {
        let mut steps = log.steps(from);
        let mut pieces = Vec::new();
        while let Some(Piece { first, entries }) = log.piece(&steps) {
            pieces.push((first, entries.to_vec()));
            steps.pass(first, entries.len());
        }
        pieces
    };
    for at in 1..=8 {
        log.append(at);
    }
    assert_eq!(pieces(&log, 2), [(3, vec![3, 4, 5, 6]), (7, vec![7, 8])], "the seventh is at the beginning");
    assert_eq!(log.start_scan(), 9);
    for at in 9..=10 {
        log.append(at);
    }
    assert_eq!(pieces(&log, 4), [(5, vec![5, 6]), (7, vec![7, 8]), (20, vec![9, 10])]);
    assert_eq!(pieces(&log, 19), [(20, vec![9, 10])]);
    assert_eq!(pieces(&log, 20), [(21, vec![10])]);
    assert!(pieces(&log, 12).is_empty(), "the places come first");
}
