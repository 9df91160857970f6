//! Memory that is brought closer before it is needed.

use crate::atomic::AtomicU64;

/// Has the cache line of a word brought into the first-level cache, and does not wait for it: what comes after it can
/// end first, other than with a load. Where there is no such instruction to be had the word is loaded, and thrown away.
#[inline(always)]
pub(crate) fn prefetch(word: &AtomicU64) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

        // SAFETY: part of the baseline; it changes nothing that a program sees, whatever the address.
        #[allow(unused_unsafe, reason = "newer compilers know that this is safe")]
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>((&raw const *word).cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    core::hint::black_box(word.load(crate::atomic::Ordering::Relaxed));
}
