//! Nodes whose maps live in a `static`: no allocator and no unsafe code.
//!
//! Knows where a node's memory comes from. Must not know what is exchanged: two nodes in virtual time hand each other
//! their packets, as the front page of `popmap-core` has it.
//!
//! The size of a map is known at compile time, and all zero is an empty one: nothing is built on the stack, the statics
//! take no room in the program's file, and the system maps them as they are first used. What remains of a node, its timers
//! and bounded queues, is a plain value: 10 KB here, 40 KB with 64 slots. A counting allocator watches that nothing else
//! is asked for; with `no_std` there would be none to ask.
//!
//! `cargo run --release --example static_storage`; it ends with an error if anything is not as it says.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::error::Error;
use std::sync::Mutex;

use popmap_core::time::Instant;
use popmap_core::{Address, Config, Key, Life, Lookup, Node, Shape, Slot, SlotSet};

const SLOTS: usize = 2;
const CAPACITY: usize = 10_000;
const SHAPE: Shape = Shape { schema: 1, value_len: 24 };

/// A real server brings a life of its own (`own_loop`); the size depends on neither slot nor life.
const fn config(slot: usize) -> Config {
    let life = Life { generation: 1, id: 40 + slot as u64 };
    let mut config = Config::new(7, Slot::at(slot), life, CAPACITY, SHAPE);
    config.configured = SlotSet::first(SLOTS);
    config
}

const WORDS: usize = Node::<SLOTS>::words(&config(0));

/// From the start of a cache line: that is fastest.
#[repr(align(64))]
struct Words([u64; WORDS]);

/// A mutex is how safe code gets at a static to change it. It is locked once, for as long as the node lives, and a second
/// node that wanted the same memory would find it locked, or used. Readers on other threads borrow from the node: run
/// them in a `std::thread::scope`. Where there is no std, the crates `static_cell` and `cortex_m` hand out a static once
/// for ever.
static STORAGE: [Mutex<Words>; SLOTS] = [const { Mutex::new(Words([0; WORDS])) }; SLOTS];

/// Hands over all packets that are due.
fn carry(now: Instant, from: &mut Node<'_, SLOTS>, to: &mut Node<'_, SLOTS>, frame: &mut [u8]) {
    while let Some(packet) = from.poll_transmit(now, frame) {
        let _ = to.handle_packet(now, Address([1; 24]), &frame[..packet.len]);
    }
    while from.poll_event().is_some() {}
}

fn show() -> Result<(), Box<dyn Error>> {
    let at_start = CALLS.get();
    let lock = |slot: usize| STORAGE[slot].try_lock().map_err(|_| "the storage is taken");
    let (mut first, mut second) = (lock(0)?, lock(1)?);
    let start = Instant::ZERO;
    let mut left = Node::<SLOTS>::new(start, &mut first.0, &config(0))?;
    let mut right = Node::<SLOTS>::new(start, &mut second.0, &config(1))?;
    // Each other's seeds; the addresses of a link with two ends mean nothing to core.
    left.join(start, &[Address([1; 24])]);
    right.join(start, &[Address([1; 24])]);

    let key = |n: u64| Key::from_name(&n.to_le_bytes());
    let (mut frame, mut value, mut written) = ([0; 1_400], [0; 24], 0);
    for ms in 0..5_000 {
        let now = Instant::from_millis(ms);
        // Refused until both have met: then one key a millisecond.
        written += u64::from(left.put(now, key(written), &[written as u8; 24]).is_ok());
        carry(now, &mut left, &mut right, &mut frame);
        carry(now, &mut right, &mut left, &mut frame);
    }
    // What was written in the last milliseconds is still under way.
    let there = (0..written - 100)
        .filter(|&n| matches!(right.get(key(n), &mut value), Lookup::Found(_)) && value == [n as u8; 24]);
    let there = there.count() as u64;
    // Before anything is printed: that allocates.
    let calls = CALLS.get() - at_start;

    println!("{WORDS} words, {} KiB, for {CAPACITY} records, known when this was compiled.", WORDS / 128);
    println!(
        "{written} keys were written at one node, and {there} of all but the last 100 read at the other."
    );
    println!(
        "Calls of the allocator meanwhile: {calls}. (Calls before, by the start of the program: {at_start}.)"
    );
    if written < 1_000 || there != written - 100 || calls != 0 || at_start == 0 {
        return Err("that is not what this shows".into());
    }
    Ok(())
}

/// The system's allocator, counting what this thread asks of it.
struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: both methods pass their arguments on to the system's allocator unchanged and return what that returned; the
// others of the trait are made of these. Counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `block` came from `alloc` above with `layout`, so from the system's allocator.
        unsafe { System.dealloc(block, layout) }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    show()
}

#[cfg(test)]
#[test]
fn nothing_is_allocated() {
    show().unwrap();
}
