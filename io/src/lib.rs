//! What [popmap-core] leaves to its host, for hosts with std.
//!
//! The core reads no clock, opens no file and draws no randomness. This crate does:
//!
//! - [`MonotonicClock`]: the nanoseconds that a node is driven with, and [`wall_clock_seconds`], the floor under a
//!   new generation;
//! - [`GenerationFile`]: the number that rises each time the server in a slot starts, kept across restarts;
//! - [`life_id`]: the 64 random bits that tell two lives apart even where the generation does not;
//! - [`memory`]: a network in memory and in virtual time, with faults drawn from a seed.
//!
//! Devices and the driver loop join them later.
//!
//! A start, all three together (DESIGN R4):
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = std::env::temp_dir().join(format!("popmap-io-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&directory)?;
//! let file = popmap_io::GenerationFile::new(directory.join("generation"));
//! let start = file.start(popmap_io::wall_clock_seconds())?;
//! if let Some(warning) = &start.warning {
//!     eprintln!("generation {} is not saved: {warning}", start.generation);
//! }
//! let life = popmap_io::life_id()?;
//! let clock = popmap_io::MonotonicClock::new();
//! println!("life ({}, {life:016x}) at {} ns", start.generation, clock.now_ns());
//! # std::fs::remove_dir_all(&directory)?;
//! # Ok(())
//! # }
//! ```
//!
//! [popmap-core]: https://docs.rs/popmap-core

#![forbid(unsafe_code)]

mod clock;
mod generation;
mod life;
pub mod memory;

pub use clock::{MonotonicClock, wall_clock_seconds};
pub use generation::{GenerationError, GenerationFile, Start, WriteStep};
pub use life::life_id;
