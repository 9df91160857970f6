//! The longer documents: how devices are run.

#[doc = include_str!("../docs/dpdk.md")]
pub mod dpdk {}
