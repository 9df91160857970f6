//! What the benchmarks and instruction counts of popmap share.
//!
//! [`pair`] knows how to bring two replicas into the state in which an operation is worth measuring, [`feed`] how to keep
//! nodes behind any device in it; [`callgrind`] and
//! [`clock`] know how to measure it: in instructions, which do not depend on how busy the machine is, and in time.
//!
//! [`stream`] makes packets whose records many servers wrote, and [`ping`] such with members; [`kernels`] are what has no map
//! around it. [`peers`] are what popmap is held against; [`contest`] has them take turns, and [`evict`] takes from the caches what they left there.

#![forbid(unsafe_code)]

pub mod callgrind;
pub mod clock;
pub mod contest;
pub mod cpu;
pub mod evict;
pub mod feed;
pub mod kernels;
pub mod pair;
pub mod paths;
pub mod peers;
pub mod ping;
pub mod stream;
