//! Benchmarks and instruction counts of popmap.
//!
//! Nothing is shared between them yet: each benchmark and each binary stands on its own.

#![forbid(unsafe_code)]
