//! No allocation: replicas are built, write, exchange packets of every kind and are read, and the allocator is never
//! called.
//!
//! The counting allocator counts what this test's own thread asks for; the test harness has threads of its own.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use popmap_core::clock::Dot;
use popmap_core::map::Request;
use popmap_core::ownership::owner;
use popmap_core::rng::Rng;
use popmap_core::time::{Duration, Instant};
use popmap_core::wire::{DeltaFixed, Envelope, Kind};
use popmap_core::{Address, Config, ConfigError, Key, Life, Lookup, Map, Node, Reject, Shape, Slot, SlotSet};
use popmap_io::Storage;
use popmap_tests::adversary::Keys;
use popmap_tests::forge::{Delta, Record};
use popmap_tests::link::{config, deliver, pull_all, sealed, started, storage};

struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    CALLS.set(CALLS.get() + 1);
}

// SAFETY: every method passes its arguments on to the system's allocator unchanged and returns what that returned, so
// the contract of `GlobalAlloc` holds because it holds there. Counting neither allocates nor unwinds: the cell is
// constant-initialised and has no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count();
        // SAFETY: `block` came from `alloc` or `realloc` above with `layout`, so from the system's allocator.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: `block` came from `alloc` or `realloc` above with `layout`, and the caller keeps the rest.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SLOTS: usize = 4;
const CAPACITY: usize = 600;
const SHAPE: Shape = Shape { schema: 1, value_len: 24 };
/// Times that the replicas are built anew, and steps of each.
const ROUNDS: u64 = 20;
const STEPS: u64 = 60;
/// A slot that only forged packets come from.
const GHOST: Slot = Slot::at(3);
const GHOST_LIFE: Life = Life { generation: 1, id: 66 };

type Replicas<'a> = [Map<'a, SLOTS>; 3];

fn key(n: u64) -> Key {
    Key::from_name(&n.to_le_bytes())
}

/// Packets of each kind that were written, and those that were handled.
#[derive(Default, Debug)]
struct Tally {
    written: [u64; Kind::ALL.len()],
    handled: [u64; Kind::ALL.len()],
}

impl Tally {
    /// Hands what was written to `map`. Returns whether there was anything.
    fn carry(
        &mut self,
        map: &mut Map<'_, SLOTS>,
        frame: &mut [u8],
        written: Option<(Envelope, usize)>,
    ) -> bool {
        let Some(packet) = sealed(frame, written) else { return false };
        self.written[usize::from(packet[1]) - 1] += 1;
        let delivered = deliver(map, packet).expect("taken");
        self.handled[delivered.kind.index()] += 1;
        // Rejected packets allocate no more than others.
        deliver(map, &packet[..packet.len() - 1]).expect_err("cut short");
        true
    }
}

/// The ghost's write to a key that replica 2 owns.
fn ghost_record() -> Record {
    let key = (1_000_000..).map(key).find(|&key| owner(key, SlotSet::first(SLOTS)) == Some(Slot::at(2)));
    let dot = Dot { slot: GHOST, counter: 1 << 32 | 5 };
    Record { key: key.expect("one in four"), dot, term: 1, value: Some(vec![7; 24]) }
}

/// A delta of the ghost's to `to`, which commits: with its record, or without and claiming to account for it.
fn ghost_delta(to: usize, records: &[Record]) -> Vec<u8> {
    let delta = Delta {
        from: GHOST,
        life: GHOST_LIFE,
        to_life: config(to, SLOTS, CAPACITY, SHAPE).life.id,
        range: (0, 5, 5),
        flags: DeltaFixed::FROM_BASE | DeltaFixed::COMPLETE | DeltaFixed::LAST,
        records,
        version: &[Dot { slot: GHOST, counter: 1 << 32 | 5 }],
    };
    delta.packet(&SHAPE)
}

fn write(map: &mut Map<'_, SLOTS>, rng: &mut Rng) {
    for _ in 0..8 {
        let key = key(rng.below(400));
        if rng.below(4) == 0 {
            let _ = map.remove(key);
        } else {
            map.put(key, &[rng.next_u64() as u8; 24]).expect("there is room");
        }
    }
}

/// One packet of each kind that `from` has for `to`, and what follows from it.
fn exchange(from: &mut Map<'_, SLOTS>, to: &mut Map<'_, SLOTS>, frame: &mut [u8], tally: &mut Tally) {
    let (sender, receiver) = (from.slot(), to.slot());
    let written = from.write_push(receiver, frame);
    tally.carry(to, frame, written);
    let request = Request { window: 4, ..Request::default() };
    let written = to.write_version(sender, &request, frame);
    tally.carry(from, frame, written);
    loop {
        let written = from.write_delta(receiver, frame);
        if !tally.carry(to, frame, written) {
            break;
        }
    }
    let written = from.write_history_ask(receiver, frame);
    tally.carry(to, frame, written);
    let written = to.write_history_answer(sender, frame);
    tally.carry(from, frame, written);
    let written = from.write_digest(receiver, frame);
    tally.carry(to, frame, written);
    while to.owes_repair() == Some(sender) {
        let written = to.write_repair(frame);
        tally.carry(from, frame, written);
    }
    while from.owes_repair() == Some(receiver) {
        let written = from.write_repair(frame);
        tally.carry(to, frame, written);
    }
    let life = Life { generation: 0, id: 1 };
    let written = from.write_life_notice(receiver, life, to.life().id, frame);
    tally.carry(to, frame, written);
}

fn read(map: &Map<'_, SLOTS>) -> u64 {
    let (reader, mut value, mut found) = (map.reader(), [0; 24], 0);
    for n in 0..400 {
        found += u64::from(matches!(reader.get(key(n), &mut value), Lookup::Found(_)));
    }
    let mut records = reader.records();
    while records.next_into(&mut value).is_some() {
        found += 1;
    }
    found
}

fn live_together(maps: &mut Replicas<'_>, round: u64, frame: &mut [u8], tally: &mut Tally) {
    let mut rng = Rng::new(round);
    for step in 0..STEPS {
        for map in maps.iter_mut() {
            map.advance(Instant::ZERO + Duration::from_millis(700 * step));
            write(map, &mut rng);
            map.note_checkpoint();
            map.sweep(100);
            while map.poll_event().is_some() {}
        }
        for (from, to) in [(0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2)] {
            let [from, to] = maps.get_disjoint_mut([from, to]).expect("two of them");
            exchange(from, to, frame, tally);
        }
        while let Some(owner) = maps[0].owes_report() {
            let written = maps[0].write_report(frame);
            tally.carry(&mut maps[owner.index()], frame, written);
        }
        maps.iter().for_each(|map| assert!(read(map) > 0));
    }
    // Twice around, so that what the last one heard reaches the first.
    for (from, to) in [(0, 1), (1, 2), (2, 0), (0, 1), (1, 2)] {
        let [from, to] = maps.get_disjoint_mut([from, to]).expect("two of them");
        pull_all(from, to, frame);
    }
}

#[test]
fn nothing_is_allocated_after_set_up() {
    let mut words = [const { Vec::new() }; 3];
    words.iter_mut().for_each(|words| *words = storage::<SLOTS>(CAPACITY, &SHAPE));
    let (mut frame, mut tally) = (vec![0; 1_400], Tally::default());
    let record = ghost_record();
    let claims = ghost_delta(0, &[]);
    let holds = ghost_delta(1, std::slice::from_ref(&record));
    let before = CALLS.get();
    assert!(before > 0, "the allocator counts");

    for round in 0..ROUNDS {
        let [a, b, c] = &mut words;
        let mut maps = [(0, a), (1, b), (2, c)].map(|(slot, words)| {
            words.fill(0);
            started::<SLOTS>(words, &config(slot, SLOTS, CAPACITY, SHAPE))
        });
        // Replica 0 believes to account for a record that only replica 1 has: repair will report it to replica 2.
        deliver(&mut maps[0], &claims).expect("taken");
        deliver(&mut maps[1], &holds).expect("taken");
        live_together(&mut maps, round, &mut frame, &mut tally);
        assert!(maps[0].inspect(record.key).is_some(), "repair brought it back");
    }

    assert_eq!(CALLS.get(), before, "the allocator was called");
    for kind in Kind::ALL.into_iter().filter(|&kind| kind < Kind::Ping) {
        assert!(tally.written[kind.index()] >= ROUNDS, "{kind:?} was not written: {tally:?}");
        assert!(tally.handled[kind.index()] >= ROUNDS, "{kind:?} was not handled: {tally:?}");
    }
    println!("{tally:?}");
}

#[test]
fn members_allocate_nothing_after_set_up() {
    members_allocate_nothing(Node::new);
}

#[test]
fn authenticated_members_allocate_nothing_after_set_up() {
    for keys in Keys::ALL {
        members_allocate_nothing(|now, words, config| {
            Node::with_keys(now, words, config, keys.ring(config.slot))
        });
    }
}

/// Nodes that find each other, lose one and get it back.
fn members_allocate_nothing<'a>(
    build: impl Fn(Instant, &'a mut [u64], &Config) -> Result<Node<'a, SLOTS>, ConfigError>,
) {
    let config = |slot| {
        let life = Life { generation: 1, id: 70 + slot as u64 };
        let mut config = Config::new(1, Slot::at(slot), life, CAPACITY, SHAPE);
        config.configured = SlotSet::first(3);
        config
    };
    let address = |slot: usize| Address([1 + slot as u8; 24]);
    let mut slot = 0;
    let mut nodes = [(); 3].map(|()| {
        slot += 1;
        let words = Storage::new(Node::<SLOTS>::words(&config(0))).leak();
        build(Instant::ZERO, words, &config(slot - 1)).expect("a valid configuration")
    });
    let (mut frame, mut sent) = (vec![0; 1_400], [0u64; Kind::ALL.len()]);
    let before = CALLS.get();
    nodes.iter_mut().for_each(|node| node.join(Instant::ZERO, &[address(0)]));
    for ms in 0..20_000 {
        let now = Instant::from_millis(ms);
        // For ten seconds nobody hears the third, nor it the others.
        let reached = |slot: usize| slot < 2 || !(4_000..14_000).contains(&ms);
        for from in 0..3 {
            while let Some(transmit) = nodes[from].poll_transmit(now, &mut frame) {
                sent[usize::from(frame[1]) - 1] += 1;
                let to = usize::from(transmit.to.0[0]) - 1;
                if to != from && reached(from) && reached(to) {
                    let taken = nodes[to].handle_packet(now, address(from), &frame[..transmit.len]);
                    // Whoever starts does not know the others' lives.
                    assert!(matches!(taken, Ok(()) | Err(Reject::Unproved)), "{taken:?}");
                }
            }
            while nodes[from].poll_member().is_some() {}
            while nodes[from].poll_event().is_some() {}
        }
    }
    nodes[2].leave(Instant::from_millis(20_000));
    assert!(nodes[2].poll_transmit(Instant::from_millis(20_000), &mut frame).is_some());
    assert_eq!(CALLS.get(), before, "the allocator was called");
    assert!(nodes[..2].iter().any(|node| node.stats().swim.deaths > 0), "the third was missed");
    assert!(nodes[2].stats().swim.deaths > 0, "and missed others");
    assert!(nodes[..2].iter().all(|node| node.map().live() == SlotSet::first(3)), "all are back");
    for kind in Kind::ALL.into_iter().filter(|&kind| kind >= Kind::Ping) {
        assert!(sent[kind.index()] > 0, "{kind:?} was not written: {sent:?}");
    }
}
