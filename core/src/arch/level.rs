//! Which kernels this machine can run.
//!
//! Knows CPUID and what the operating system saves of a thread. Must not know the kernels.

use core::sync::atomic::{AtomicU8, Ordering};

/// The instructions that a kernel may count on; each kind has those of the kinds above it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    /// What the target's baseline has: SSE2 on x86-64, NEON on aarch64.
    Generic = 1,
    /// SSSE3, SSE4.1 and PCLMULQDQ: Westmere, Bulldozer and later.
    #[cfg(target_arch = "x86_64")]
    Clmul,
    /// AVX2: Haswell, Zen and later.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX2 and VPCLMULQDQ: Alder Lake, Zen 3.
    #[cfg(target_arch = "x86_64")]
    Vpclmul,
    /// AVX-512 F, BW, DQ and VL, and VPCLMULQDQ: Ice Lake, Zen 4 and later. Earlier parts with AVX-512 lower their clock
    /// for it.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// A kind that this machine was found to have: the proof that its kernels may be called.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Level(Kind);

/// The level as its number, zero until it is known. Every thread finds the same, so a race does no harm.
static FOUND: AtomicU8 = AtomicU8::new(0);

impl Level {
    /// The level that every machine of this target has.
    pub(super) const GENERIC: Self = Self(Kind::Generic);

    /// Returns the best level that this machine has.
    #[inline]
    pub(super) fn best() -> Self {
        match FOUND.load(Ordering::Relaxed) {
            #[cfg(target_arch = "x86_64")]
            5 => Self(Kind::Avx512),
            #[cfg(target_arch = "x86_64")]
            4 => Self(Kind::Vpclmul),
            #[cfg(target_arch = "x86_64")]
            3 => Self(Kind::Avx2),
            #[cfg(target_arch = "x86_64")]
            2 => Self(Kind::Clmul),
            1 => Self(Kind::Generic),
            _ => Self::find(),
        }
    }

    #[cold]
    fn find() -> Self {
        let level = Self(detect());
        FOUND.store(level.0 as u8, Ordering::Relaxed);
        level
    }

    /// Returns the kernels to call.
    #[inline]
    pub(super) const fn kind(self) -> Kind {
        self.0
    }

    /// Every level that this machine has, so that a test can hold each against the oracle.
    #[cfg(test)]
    pub(super) fn all() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let kinds = [Kind::Generic, Kind::Clmul, Kind::Avx2, Kind::Vpclmul, Kind::Avx512];
        #[cfg(not(target_arch = "x86_64"))]
        let kinds = [Kind::Generic];
        kinds.into_iter().map(Self).filter(|&level| level <= Self::best())
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Kind {
    Kind::Generic
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Kind {
    x86::Cpu::read().kind()
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::{__cpuid_count, _xgetbv, CpuidResult};

    use super::Kind;

    /// What the CPU says of itself, and what the operating system saves of a thread.
    pub(super) struct Cpu {
        /// ECX of CPUID leaf 1.
        pub(super) basic: u32,
        /// EBX and ECX of CPUID leaf 7; zero without it.
        pub(super) extended: [u32; 2],
        /// Register XCR0; zero where it cannot be read.
        pub(super) saved: u64,
    }

    // Bits as Intel numbers them: Software Developer's Manual, volume 1, section 13.3 (XCR0); volume 2, CPUID.
    const CLMUL: u32 = 1 << 1 | 1 << 9 | 1 << 19; // PCLMULQDQ, SSSE3, SSE4.1
    const XSAVE: u32 = 1 << 26 | 1 << 27; // XSAVE, OSXSAVE
    /// AVX, and what the compiler takes for granted with AVX2 and AVX-512: SSE3, FMA, SSE4.2, POPCNT, F16C.
    const AVX: u32 = 1 << 28 | 1 | 1 << 12 | 1 << 20 | 1 << 23 | 1 << 29;
    const AVX2: u32 = 1 << 5;
    const AVX512: u32 = 1 << 16 | 1 << 17 | 1 << 30 | 1 << 31; // F, DQ, BW, VL
    const VPCLMULQDQ: u32 = 1 << 10;
    const YMM: u64 = 1 << 1 | 1 << 2; // XMM, upper halves of YMM
    const ZMM: u64 = YMM | 1 << 5 | 1 << 6 | 1 << 7; // opmask, upper halves of ZMM0-15, ZMM16-31

    const fn has(word: u32, bits: u32) -> bool {
        word & bits == bits
    }

    #[allow(unused_unsafe, reason = "newer compilers know that this is safe")]
    fn cpuid(leaf: u32) -> CpuidResult {
        // SAFETY: every x86-64 has the instruction, and it changes nothing.
        unsafe { __cpuid_count(leaf, 0) }
    }

    /// Returns XCR0. May be called only where CPUID shows OSXSAVE.
    #[target_feature(enable = "xsave")]
    fn xcr0() -> u64 {
        // SAFETY: the register exists wherever the instruction does.
        unsafe { _xgetbv(0) }
    }

    impl Cpu {
        pub(super) fn read() -> Self {
            let basic = cpuid(1).ecx;
            let extended =
                if cpuid(0).eax >= 7 { cpuid(7) } else { CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 } };
            // SAFETY: CPUID shows that the CPU has XGETBV, and by OSXSAVE that it may be executed.
            let saved = if has(basic, XSAVE) { unsafe { xcr0() } } else { 0 };
            Self { basic, extended: [extended.ebx, extended.ecx], saved }
        }

        pub(super) const fn kind(&self) -> Kind {
            let [ebx, ecx] = self.extended;
            if !has(self.basic, CLMUL) {
                Kind::Generic
            } else if !has(self.basic, XSAVE | AVX) || self.saved & YMM != YMM || !has(ebx, AVX2) {
                Kind::Clmul
            } else if !has(ecx, VPCLMULQDQ) {
                Kind::Avx2
            } else if self.saved & ZMM != ZMM || !has(ebx, AVX512) {
                Kind::Vpclmul
            } else {
                Kind::Avx512
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_arch = "x86_64")]
    fn expected() -> Kind {
        use std::arch::is_x86_feature_detected as has;

        let wide = has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
        let steps = [
            (Kind::Clmul, has!("pclmulqdq") && has!("ssse3") && has!("sse4.1")),
            (Kind::Avx2, has!("avx2")),
            (Kind::Vpclmul, has!("vpclmulqdq")),
            (Kind::Avx512, wide),
        ];
        let had = steps.into_iter().take_while(|&(_, has)| has);
        had.last().map_or(Kind::Generic, |(kind, _)| kind)
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn expected() -> Kind {
        Kind::Generic
    }

    #[test]
    fn finds_what_the_standard_library_finds() {
        assert_eq!(Level::best(), Level(expected()));
        // The second time as it was remembered.
        assert_eq!(Level::best(), Level(expected()));
        assert_eq!(Level::all().next(), Some(Level::GENERIC));
        assert_eq!(Level::all().last(), Some(Level::best()));
    }

    /// A CPU with just the bits that are asked for, then without any one of them.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn each_bit_is_asked_for() {
        const EBX: usize = 0;
        const ECX: usize = 1;
        let full = || x86::Cpu { basic: 0x3c98_1203, extended: [0xc003_0020, 0x400], saved: 0xe6 };
        assert_eq!(full().kind(), Kind::Avx512);
        for (bit, kind) in [1, 9, 19]
            .map(|bit| (bit, Kind::Generic))
            .into_iter()
            .chain([0, 12, 20, 23, 26, 27, 28, 29].map(|bit| (bit, Kind::Clmul)))
        {
            let mut cpu = full();
            cpu.basic &= !(1 << bit);
            assert_eq!(cpu.kind(), kind, "leaf 1, bit {bit}");
        }
        let wide = [16, 17, 30, 31].map(|bit| (EBX, bit, Kind::Vpclmul));
        for (word, bit, kind) in [(EBX, 5, Kind::Clmul), (ECX, 10, Kind::Avx2)].into_iter().chain(wide) {
            let mut cpu = full();
            cpu.extended[word] &= !(1 << bit);
            assert_eq!(cpu.kind(), kind, "leaf 7, word {word}, bit {bit}");
        }
        for (bit, kind) in
            [1, 2].map(|bit| (bit, Kind::Clmul)).into_iter().chain([5, 6, 7].map(|bit| (bit, Kind::Vpclmul)))
        {
            let mut cpu = full();
            cpu.saved &= !(1 << bit);
            assert_eq!(cpu.kind(), kind, "XCR0, bit {bit}");
        }
        let all_but = x86::Cpu { basic: !0x3c98_1203, extended: [!0xc003_0020, !0x400], saved: !0xe6 };
        assert_eq!(all_but.kind(), Kind::Generic);
    }
}
