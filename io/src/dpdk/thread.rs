//! Threads as DPDK knows them: each has a number, and with it caches of its own.
//!
//! Knows this thread's number. Must not know what the thread does.
//!
//! A thread without a number may do everything, at 2.6 times the price for mbufs.

use std::cell::{Cell, RefCell};
use std::sync::Weak;

use popmap_dpdk_sys as sys;

use super::eal::Inner;

thread_local! {
    /// Whether this thread was looked at.
    static SEEN: Cell<bool> = const { Cell::new(false) };
    static REGISTRATION: RefCell<Option<Registration>> = const { RefCell::new(None) };
}

/// A number that is given back when its thread ends.
struct Registration(Weak<Inner>);

impl Drop for Registration {
    fn drop(&mut self) {
        // Else EAL is gone, and the numbers with it. While this one is held, it stays.
        if let Some(eal) = self.0.upgrade() {
            // SAFETY: EAL runs, for `eal` is held, and this thread was registered.
            unsafe { sys::rte_thread_unregister() };
            drop(eal);
        }
    }
}

/// Gives this thread a number if it has none. Where there are none left (DPDK has 128, less the processors it was
/// started on), it goes without.
#[inline]
pub(super) fn register(eal: &super::Eal) {
    if !SEEN.get() {
        register_new(eal);
    }
}

#[cold]
fn register_new(eal: &super::Eal) {
    SEEN.set(true);
    // SAFETY: reads a variable of this thread.
    let lcore = unsafe { sys::popmap_lcore_id() };
    // The thread that started EAL has one.
    if lcore != sys::POPMAP_LCORE_ID_ANY {
        return;
    }
    // SAFETY: EAL runs, for `eal` is held, and this thread is not registered.
    let refused = unsafe { sys::rte_thread_register() };
    if refused == 0 {
        // Fails only in a thread that ends, whose number is lost then.
        let _ = REGISTRATION.try_with(|slot| *slot.borrow_mut() = Some(Registration(eal.downgrade())));
    }
}

/// Whether this thread has a number.
pub(super) fn is_registered() -> bool {
    // SAFETY: reads a variable of this thread.
    let lcore = unsafe { sys::popmap_lcore_id() };
    lcore != sys::POPMAP_LCORE_ID_ANY
}
