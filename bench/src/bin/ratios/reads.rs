//! Lookups while another thread writes flat out, beside tables made for that, and beside hashbrown on one thread.

use std::hash::RandomState;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use popmap_bench::contest::{Contest, time};
use popmap_bench::peers::shared::{Value, value};
use popmap_bench::peers::tables::{DashMap, DashMapFoldhash, Locked, Papaya, PapayaFoldhash, Table};
use popmap_bench::stream::{key, replica};
use popmap_core::rng::Rng;
use popmap_core::{Key, Lookup, Map};

use crate::Effort;
use crate::merge::KEYS;
use crate::report::Rows;

/// Lookups of a round.
const READS: usize = 20_000;
/// Writes between two looks at whose turn it is.
const WRITES: usize = 16;
/// A round counts when the writer wrote at least once in so many reads, or it was not running: then the round is tried
/// again, but so often at most.
const READS_PER_WRITE: usize = 8;
const TRIES: usize = 20;
const TABLES: usize = 5;
/// Whose turn it is: a table's number, or one of these.
const OURS: usize = TABLES;
const STOP: usize = OURS + 1;
const ALONE: &str = "hashbrown, one thread";

/// What reader and writer tell each other.
struct Turns {
    /// What the writer is to write to.
    wanted: AtomicUsize,
    /// What it does write to.
    begun: AtomicUsize,
    writes: AtomicUsize,
}

impl Turns {
    /// Has the writer write to a table, and reads it meanwhile: `read` returns nanoseconds of one read.
    fn during(&self, table: usize, mut read: impl FnMut() -> f64) -> f64 {
        self.wanted.store(table, Ordering::Release);
        while self.begun.load(Ordering::Acquire) != table {
            std::hint::spin_loop();
        }
        let mut ns = 0.0;
        for _ in 0..TRIES {
            let before = self.writes.load(Ordering::Relaxed);
            ns = read();
            if self.writes.load(Ordering::Relaxed) - before >= READS / READS_PER_WRITE {
                break;
            }
        }
        ns
    }
}

/// Writes to the table whose turn it is, until told to stop.
fn write(turns: &Turns, keys: &[Key], map: &mut Map<'_>, tables: [&dyn Table; TABLES]) {
    let mut change = 0;
    let mut keys = keys.iter().cycle();
    loop {
        let now = turns.wanted.load(Ordering::Acquire);
        turns.begun.store(now, Ordering::Release);
        turns.writes.fetch_add(WRITES, Ordering::Relaxed);
        if now == STOP {
            return;
        }
        for &key in keys.by_ref().take(WRITES) {
            change += 1;
            match tables.get(now) {
                Some(table) => table.set(key.0, value(change)),
                None => _ = map.put(key, &value(change)),
            }
        }
    }
}

pub fn reads(effort: &Effort, rows: &mut Rows) {
    if !effort.wants(&["read"]) {
        return;
    }
    let (papaya, dashmap, locked) =
        (Papaya::<RandomState>::default(), DashMap::<RandomState>::default(), Locked::default());
    let (papaya_foldhash, dashmap_foldhash) = (PapayaFoldhash::default(), DashMapFoldhash::default());
    let tables: [(&str, &dyn Table); TABLES] = [
        ("papaya", &papaya),
        ("papaya, foldhash", &papaya_foldhash),
        ("dashmap", &dashmap),
        ("dashmap, foldhash", &dashmap_foldhash),
        ("RwLock, foldhash", &locked),
    ];
    let mut map = replica(0, KEYS);
    let mut alone = hashbrown::HashMap::new();
    for i in 0..KEYS as u64 {
        map.put(key(i), &value(i)).expect("the map has room");
        tables.iter().for_each(|(_, table)| table.set(key(i).0, value(i)));
        alone.insert(key(i).0, value(i));
    }
    let reader = map.reader();
    // Long enough that nobody can learn the order.
    let mut rng = Rng::new(3);
    let mut sequence = |len: usize| (0..len).map(|_| key(rng.below(KEYS as u64))).collect::<Vec<_>>();
    let (written, read) = (sequence(1 << 18), sequence(READS));
    let read = &read;
    let (wanted, begun) = (AtomicUsize::new(OURS), AtomicUsize::new(OURS));
    let turns = &Turns { wanted, begun, writes: AtomicUsize::new(0) };
    let mut contest = Contest::new();
    contest.enter("ours", |(): &mut ()| {
        turns.during(OURS, || {
            let (mut found, mut value) = (0, Value::default());
            let ns = time(READS, || {
                for &key in read {
                    found += usize::from(matches!(reader.get(key, &mut value), Lookup::Found(_)));
                    black_box(&value);
                }
            });
            // The writer may keep a slot busy through all tries when the system takes its processor away in the middle.
            assert!(found >= READS - 8, "{found} of {READS} found");
            ns
        })
    });
    // The writer goes on with ours, so that the machine is as busy.
    contest.enter(ALONE, |()| turns.during(OURS, || look_up(|key| alone.get(key).copied(), read)));
    // Each in its own code, not through a table of functions.
    contest.enter(tables[0].0, |()| turns.during(0, || look_up(|key| papaya.get(key), read)));
    contest.enter(tables[1].0, |()| turns.during(1, || look_up(|key| papaya_foldhash.get(key), read)));
    contest.enter(tables[2].0, |()| turns.during(2, || look_up(|key| dashmap.get(key), read)));
    contest.enter(tables[3].0, |()| turns.during(3, || look_up(|key| dashmap_foldhash.get(key), read)));
    contest.enter(tables[4].0, |()| turns.during(4, || look_up(|key| locked.get(key), read)));
    let results = thread::scope(|scope| {
        let tables = tables.map(|(_, table)| table);
        let written = &written;
        scope.spawn(move || write(turns, written, &mut map, tables));
        let results = contest.run(effort.rounds(60), || ());
        turns.wanted.store(STOP, Ordering::Release);
        results
    });
    rows.compare("read", &results, ["ours", ALONE], Some(1.4));
    for (name, _) in tables {
        // Held against the crates as they come; with a faster hasher they are shown, too.
        let as_it_comes = !name.ends_with("foldhash") || name.starts_with("RwLock");
        rows.compare("read", &results, ["ours", name], as_it_comes.then_some(1.0 / 2.0));
    }
}

fn look_up(get: impl Fn(&[u8; 16]) -> Option<Value>, keys: &[Key]) -> f64 {
    time(keys.len(), || {
        for key in keys {
            black_box(&get(&key.0));
        }
    })
}
