//! The atomic words of the table: core's, or loom's when the lock protocol is model-checked.

#[cfg(not(popmap_loom))]
pub(crate) use core::sync::atomic::{AtomicU64, Ordering, fence};

#[cfg(popmap_loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};
