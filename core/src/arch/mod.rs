//! Kernels that use what the CPU has: one build for all machines, the choice made at run time.
//!
//! Knows CPU features and the loops that gain by them. Must not know what the numbers mean, nor decide anything: every
//! level returns the same.
//!
//! Most kernels are a plain loop that is compiled once for each level, so that the code of the baseline is the oracle
//! of the others. The one place in core with unsafe code: calls of functions that need a level which [`Level`] found,
//! the loads of [`crc32`] and of [`halves`], and [`prefetch`].

pub(crate) mod crc32;
pub(crate) mod halves;
mod level;
pub(crate) mod pointwise;
pub(crate) mod prefetch;
pub(crate) mod rendezvous;
pub(crate) mod slots;

use level::{Kind, Level};

/// Defines `$name`, which takes a [`Level`] before its own arguments and runs `$body`, an `#[inline(always)]` loop,
/// compiled for that level.
macro_rules! at_level {
    ($(#[$doc:meta])* fn $name:ident $([const $n:ident])? ($($arg:ident: $type:ty),*) $(-> $ret:ty)?, $body:ident) => {
        $(#[$doc])*
        #[inline]
        fn $name $(<const $n: usize>)? (level: Level, $($arg: $type),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2 $(<const $n: usize>)? ($($arg: $type),*) $(-> $ret)? {
                $body($($arg),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
            fn avx512 $(<const $n: usize>)? ($($arg: $type),*) $(-> $ret)? {
                $body($($arg),*)
            }

            match level.kind() {
                // SAFETY: a level of this kind exists only where CPU and operating system have these features.
                #[cfg(target_arch = "x86_64")]
                Kind::Avx512 => unsafe { avx512($($arg),*) },
                // SAFETY: as above, for AVX2.
                #[cfg(target_arch = "x86_64")]
                Kind::Avx2 | Kind::Vpclmul => unsafe { avx2($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                Kind::Clmul => $body($($arg),*),
                Kind::Generic => $body($($arg),*),
            }
        }
    };
}
use at_level;
