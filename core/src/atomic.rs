//! The atomic words of the table: core's, or loom's when the lock protocol is model-checked.

#[cfg(not(popmap_loom))]
pub(crate) use core::sync::atomic::{AtomicU64, Ordering, fence};

#[cfg(popmap_loom)]
pub(crate) use self::weakened::{AtomicU64, Weakness, fence, with_weakness};
#[cfg(popmap_loom)]
pub(crate) use loom::sync::atomic::Ordering;

/// Loom's atomics with one ordering left out on request: the model must notice, or it proves nothing.
#[cfg(popmap_loom)]
mod weakened {
    use super::Ordering;
    use std::cell::Cell;

    /// An ordering to leave out.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) enum Weakness {
        /// The fence between the busy bit and the data: a reader may see new data under the old stamp.
        ReleaseFence,
        /// The fence between the data and the second look at the stamp.
        AcquireFence,
        /// The release store of the new stamp: a reader may see it before the data.
        ReleaseStore,
        /// The acquire load of the stamp.
        AcquireLoad,
    }

    std::thread_local! {
        // Loom runs all threads of a model on the thread that called it.
        static WEAKNESS: Cell<Option<Weakness>> = const { Cell::new(None) };
    }

    /// Runs `model` with one ordering left out, or with none.
    pub(crate) fn with_weakness(weakness: Option<Weakness>, model: impl FnOnce()) {
        WEAKNESS.set(weakness);
        model();
        WEAKNESS.set(None);
    }

    fn unless(weakness: Weakness, order: Ordering, strong: Ordering) -> Ordering {
        if order == strong && WEAKNESS.get() == Some(weakness) { Ordering::Relaxed } else { order }
    }

    #[derive(Debug)]
    pub(crate) struct AtomicU64(loom::sync::atomic::AtomicU64);

    impl AtomicU64 {
        pub fn new(value: u64) -> Self {
            Self(loom::sync::atomic::AtomicU64::new(value))
        }

        pub fn load(&self, order: Ordering) -> u64 {
            self.0.load(unless(Weakness::AcquireLoad, order, Ordering::Acquire))
        }

        pub fn store(&self, value: u64, order: Ordering) {
            self.0.store(value, unless(Weakness::ReleaseStore, order, Ordering::Release));
        }
    }

    pub(crate) fn fence(order: Ordering) {
        let left_out = match order {
            Ordering::Release => Weakness::ReleaseFence,
            _ => Weakness::AcquireFence,
        };
        if WEAKNESS.get() != Some(left_out) {
            loom::sync::atomic::fence(order);
        }
    }
}
