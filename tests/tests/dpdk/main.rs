//! DPDK without hardware: one process per test, because EAL starts once per process. Conditions are waited for, times
//! never asserted from above.
//!
//! Each test has a process and a network namespace of its own, so `cargo test` runs them as any others:
//! `cargo test -p popmap-tests --features dpdk --test dpdk`. None needs huge pages.

mod af_packet;
mod back_pressure;
mod errors;
mod link;
mod memif;
mod memory;
mod null;
mod peer;
mod pop;
mod rings;
mod threads;
mod waiting;
