//! The shared map of a PoP: replicated without coordination, read in nanoseconds, without std or an allocator.
//!
//! Up to 64 servers in front of the same origins each hold one [`Node`]. One server owns each key (rendezvous
//! hashing); what it learns spreads as deltas of a CRDT map with version vectors, and the data plane of every server
//! reads it through a [`Reader`] that takes no lock. Packets may be lost, duplicated, reordered and late: the replicas
//! become equal all the same, and rules R1 to R7 say why ([`docs::rules`]).
//!
//! Core is sans-IO: packets and time go in, packets, events and the next deadline come out. Two nodes, any link:
//!
//! ```
//! use popmap_core::{Address, Config, Key, Life, Lookup, Node, Shape, Slot, time::Instant};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let shape = Shape { schema: 1, value_len: 8 };
//! let config = |slot| Config::new(7, Slot::at(slot), Life { generation: 1, id: 40 + slot as u64 }, 1_000, shape);
//! let words = Node::<2>::words(&config(0));
//! let mut storage = vec![0; 2 * words];
//! let (left, right) = storage.split_at_mut(words);
//! let start = Instant::ZERO;
//! let mut nodes = [Node::<2>::new(start, left, &config(0))?, Node::new(start, right, &config(1))?];
//! // Each other's seeds; the addresses of a link with two ends mean nothing to core.
//! nodes.iter_mut().for_each(|node| node.join(start, &[Address([1; 24])]));
//! # let (key, mut frame, mut value) = (Key::from_name(b"origin-17"), [0; 1_400], [0; 8]);
//! for ms in 0..1_000 {
//!     let now = Instant::from_millis(ms);
//!     let _ = nodes[0].put(now, key, &200u64.to_le_bytes()); // refused until both have met: rule R4
//!     for from in [0, 1] {
//!         while let Some(packet) = nodes[from].poll_transmit(now, &mut frame) {
//!             let _ = nodes[1 - from].handle_packet(now, Address([1; 24]), &frame[..packet.len]);
//!         }
//!     }
//! }
//! assert!(matches!(nodes[1].get(key, &mut value), Lookup::Found(_)));
//! assert_eq!(u64::from_le_bytes(value), 200);
//! # Ok(())
//! # }
//! ```
//!
//! # Layers
//!
//! Imports point down; what stands side by side does not import each other.
//!
//! ```text
//!      node           the one public state machine: ingress, egress, timers
//!      membership     who is alive: probes, suspicions, what the members say of each other
//!      sync           whom to pull from, and when
//!      map            table, change log, deltas, commit, collection, lives, repair; Reader
//!      ownership      rendezvous hashing: owners, and priority between concurrent writes
//!      clock          dot, version vector
//!      wire           layouts, checks, checksums: bytes only
//!      auth           keys, ciphers, replay windows: secrets only
//!      arch           the loops that gain by what the CPU has, found at run time: numbers only
//! ```
//!
//! A packet flows one way: [`Node::handle_packet`] checks it once (`wire`), admits its sender's life and hands it to
//! exactly one handler of the map, which marks what is due. [`Node::poll_transmit`] encodes what is due from the state
//! as it is then, straight into the caller's frame, which may be a device's own buffer.
//!
//! # What it promises
//!
//! - **No allocation, no std.** Storage is words of the caller's ([`Node::words`] tells how many), all zero at first:
//!   a static, a zeroed box, huge pages, shared memory. What grows is bounded in [`limits`].
//! - **Network bytes never panic and never move state unless wholly valid.** Each rejection has a [`Reject`] reason
//!   and a counter in [`Stats`].
//! - **Deterministic.** No clock and no randomness but a seed: same inputs, same outputs, so every failure can be
//!   replayed.
//! - **Readers wait for nobody.** A lookup copies one record under a sequence lock, with bounded retries and an
//!   explicit [`Lookup::Busy`].
//! - **Unsafe code in one module**, `arch`: it calls code compiled for AVX2, AVX-512 or PCLMULQDQ where it found them,
//!   so that one build does for all machines, and loads of the table's index that the language has no word for. The dependencies are `zerocopy` (layouts), `crc32fast` (checksums where
//!   `arch` has no kernel), `heapless` (bounded queues), `twox-hash` (names to keys), and for keys `chacha20`,
//!   `poly1305` and `zeroize`. `hashbrown` needs an
//!   allocator, so it has no place in core: the table is our own.
//!
//! Who is alive the servers find out themselves (SWIM): [`Node::join`], [`Node::members`], [`Node::leave`]. An embedder that
//! knows better turns that off ([`Config::swim`]) and tells by [`Node::set_live`].
//!
//! # Reading from other threads
//!
//! [`Node::reader`] returns a [`Reader`]: `Copy + Send + Sync`. Each value comes with the write it stems from, its term
//! and its age ([`map::Meta`]); [`Reader::heartbeat`] shows whether the thread that drives the node still does, and
//! [`Reader::harvest`] how many of the keys were written lately, by servers that are alive.
//!
//! # Keys
//!
//! [`Node::with_keys`] takes a [`KeyRing`](auth::KeyRing): then each packet is authenticated, and nothing else is taken.
//! Without keys, whoever can send this node a packet can write to its map. [`docs::trust`] says what keys protect.
//!
//! # Documents
//!
//! [`docs::rules`] has the rules, [`docs::wire`] the wire format field by field, [`docs::trust`] who can do what,
//! [`docs::operating`] what an operator asks: what is served when, what each event and counter means, and what to do about
//! it, and [`docs::figures`] what all of it takes, with the defaults that follow.

#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]
#![cfg_attr(
    popmap_loom,
    allow(dead_code, unused_imports, reason = "only the table is built on loom's atomics")
)]

#[cfg(any(test, popmap_loom))]
extern crate std;

#[allow(unsafe_code, reason = "functions compiled for CPU features are called, each behind its detection")]
mod arch;
mod atomic;
pub mod auth;
pub mod clock;
pub mod docs;
pub mod id;
pub mod limits;
pub mod map;
pub mod membership;
pub mod node;
pub mod ownership;
pub mod rng;
mod sync;
mod teeth;
pub mod time;
pub mod wire;

pub use id::{Address, Key, Life, Slot, SlotSet};
pub use map::{
    Event, ForgetError, Harvest, Lookup, Map, MapConfig, MapError, Phase, PutError, Reader, RemoveError,
};
pub use membership::{Member, Meta, State, SwimConfig, SwimStats};
pub use node::{Config, ConfigError, Node, Stats, Transmit};
pub use sync::{SyncConfig, SyncStats};
#[cfg(popmap_teeth)]
pub use teeth::{Tooth, break_readers};
pub use wire::{Reject, Shape};
