//! What of the CPU decides which kernels run, and so how many instructions they take.
//!
//! Knows CPU features. Must not know the kernels.

use std::env::consts::ARCH;

/// Whether kernels for AVX2 or more can run.
#[must_use]
pub fn has_avx2() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// Returns the architecture and what tells the levels apart that there are under valgrind, which hides AVX-512.
#[must_use]
pub fn level() -> String {
    let level = match (ARCH, has_avx2()) {
        ("x86_64", true) => " avx2",
        ("x86_64", false) => " without avx2",
        _ => "",
    };
    format!("{ARCH}{level}")
}
