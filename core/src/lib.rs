#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(
    popmap_loom,
    allow(dead_code, unused_imports, reason = "only the table is built on loom's atomics")
)]
//! placeholder
#[cfg(test)]
extern crate std;

mod atomic;
pub mod clock;
pub mod docs;
pub mod id;
pub mod limits;
pub mod map;
pub mod node;
pub mod ownership;
pub mod rng;
mod sync;
mod teeth;
pub mod time;
pub mod wire;

pub use id::{Address, Key, Life, Slot, SlotSet};
pub use map::{Event, Lookup, Map, MapConfig, MapError, Phase, PutError, Reader, RemoveError};
pub use node::{Config, ConfigError, Node, Stats, Transmit};
pub use sync::{SyncConfig, SyncStats};
#[cfg(popmap_teeth)]
pub use teeth::Tooth;
pub use wire::{Reject, Shape};
