//! What the benchmarks and instruction counts of popmap share.
//!
//! [`pair`] knows how to bring two replicas into the state in which an operation is worth measuring, [`feed`] how to keep
//! nodes behind any device in it; [`callgrind`] and
//! [`clock`] know how to measure it: in instructions, which do not depend on how busy the machine is, and in time.

#![forbid(unsafe_code)]

pub mod callgrind;
pub mod clock;
pub mod feed;
pub mod pair;
pub mod paths;
