//! CRC-32 (IEEE 802.3, reflected) by carry-less multiplication.
//!
//! Knows polynomials over GF(2). Must not know packets.
//!
//! Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction" (Intel 2009): a message is
//! a polynomial, its first bit the highest power. What stands d bits before the end may be replaced by its product with
//! `x^d mod P`, which is short enough to be added to what stands there: so the message folds up to 16 bytes, and those
//! are divided by P at last. Everything is reflected: the lowest bit of the first byte is the highest power.
//!
//! `crc32fast` is the oracle, and the path for machines without the instruction and for less than 16 bytes.

use super::{Kind, Level};

/// Returns the CRC-32 of a message that begins with bytes whose CRC-32 is `crc` and goes on with `bytes`; zero is that
/// of no bytes.
#[inline]
pub(crate) fn continued(crc: u32, bytes: &[u8]) -> u32 {
    continued_at(Level::best(), crc, bytes)
}

#[inline]
fn continued_at(level: Level, crc: u32, bytes: &[u8]) -> u32 {
    match level.kind() {
        // SAFETY: a level of this kind exists only where CPU and operating system have these features.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 if bytes.len() >= clmul::LONG => unsafe { clmul::by_64(crc, bytes) },
        // SAFETY: as above, this kind too.
        #[cfg(target_arch = "x86_64")]
        Kind::Vpclmul if bytes.len() >= clmul::LONG => unsafe { clmul::by_32(crc, bytes) },
        // SAFETY: as above: the first of these kinds has all of them, and the others have what it has.
        #[cfg(target_arch = "x86_64")]
        Kind::Clmul | Kind::Avx2 | Kind::Vpclmul | Kind::Avx512 if bytes.len() >= 16 => unsafe {
            clmul::by_16(crc, bytes)
        },
        Kind::Generic => by_table(crc, bytes),
        // Too short for the instruction.
        #[cfg(target_arch = "x86_64")]
        _ => by_table(crc, bytes),
    }
}

fn by_table(crc: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(crc);
    hasher.update(bytes);
    hasher.finalize()
}

#[cfg(target_arch = "x86_64")]
mod clmul {
    use core::arch::x86_64::*;

    /// The shortest message for [`by_32`] and [`by_64`].
    pub(super) const LONG: usize = 256;

    /// P reflected, without its highest power.
    const P: u32 = 0xedb8_8320;

    /// P reflected, with its highest power.
    const WHOLE: i64 = (P as i64) << 1 | 1;

    /// Returns `x^n mod P` reflected, and shifted by the one place that a product of reflected numbers is off.
    const fn power(n: usize) -> i64 {
        let (mut rest, mut i) = (1u32 << 31, 0);
        while i < n {
            rest = rest >> 1 ^ if rest & 1 == 1 { P } else { 0 };
            i += 1;
        }
        (rest as i64) << 1
    }

    /// Returns the quotient of `x^64` and P, reflected.
    const fn quotient() -> i64 {
        let divisor = 1 << 32 | P.reverse_bits() as u128;
        let (mut rest, mut quotient, mut n) = (1u128 << 64, 0, 64);
        while n >= 32 {
            if rest >> n & 1 == 1 {
                rest ^= divisor << (n - 32);
                quotient |= 1 << (64 - n);
            }
            n -= 1;
        }
        quotient
    }

    /// What moves 16 bytes on by `bits`: a factor for their first half and one for their last, which is 64 bits nearer
    /// to the end. 32 bits are added because factors are that long.
    const fn distance(bits: usize) -> [i64; 2] {
        [power(bits + 32), power(bits - 32)]
    }

    /// The distances over so many pieces of `BITS` each, from none to six; over none there is nothing to be moved.
    const fn distances<const BITS: usize>() -> [[i64; 2]; 7] {
        let (mut distances, mut n) = ([[0; 2]; 7], 1);
        while n < distances.len() {
            distances[n] = distance(n * BITS);
            n += 1;
        }
        distances
    }

    const _: () = {
        // As published.
        assert!(distance(512)[0] == 0x1_5444_2bd4 && distance(512)[1] == 0x1_c6e4_1596);
        assert!(distance(128)[0] == 0x1_7519_97d0 && distance(128)[1] == 0x0_ccaa_009e);
        assert!(power(64) == 0x1_63cd_6124 && quotient() == 0x1_f701_1641 && WHOLE == 0x1_db71_0641);
    };

    // The functions below are safe to call wherever their features are. They load through references only.

    #[inline]
    #[target_feature(enable = "sse2")]
    fn load_16(bytes: &[u8; 16]) -> __m128i {
        // SAFETY: the reference is good for 16 bytes, and this load asks for no alignment.
        unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx")]
    fn load_32(bytes: &[u8; 32]) -> __m256i {
        // SAFETY: the reference is good for 32 bytes, and this load asks for no alignment.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load_64(bytes: &[u8; 64]) -> __m512i {
        // SAFETY: the reference is good for 64 bytes, and this load asks for no alignment.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }

    /// Moves `x` on by a distance, to be added to what stands there.
    #[inline]
    #[target_feature(enable = "pclmulqdq,sse2")]
    fn fold(x: __m128i, [first, last]: [i64; 2]) -> __m128i {
        let factors = _mm_set_epi64x(last, first);
        _mm_xor_si128(_mm_clmulepi64_si128::<0x00>(x, factors), _mm_clmulepi64_si128::<0x11>(x, factors))
    }

    /// The same for the two lanes of `x`, to which `next` is added.
    #[inline]
    #[target_feature(enable = "avx2,vpclmulqdq")]
    fn fold_32(x: __m256i, [first, last]: [i64; 2], next: __m256i) -> __m256i {
        let factors = _mm256_set_epi64x(last, first, last, first);
        let firsts = _mm256_clmulepi64_epi128::<0x00>(x, factors);
        let lasts = _mm256_clmulepi64_epi128::<0x11>(x, factors);
        _mm256_xor_si256(_mm256_xor_si256(firsts, lasts), next)
    }

    /// The same for the four lanes of `x`.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    fn fold_64(x: __m512i, [first, last]: [i64; 2], next: __m512i) -> __m512i {
        let factors = _mm512_set_epi64(last, first, last, first, last, first, last, first);
        let firsts = _mm512_clmulepi64_epi128::<0x00>(x, factors);
        let lasts = _mm512_clmulepi64_epi128::<0x11>(x, factors);
        _mm512_ternarylogic_epi64::<0x96>(firsts, lasts, next)
    }

    /// The CRC-32 by 16 bytes at a time, from four places at once.
    ///
    /// # Panics
    /// When there are less than 16 bytes.
    #[target_feature(enable = "pclmulqdq,sse2,ssse3,sse4.1")]
    pub(super) fn by_16(crc: u32, bytes: &[u8]) -> u32 {
        let start = _mm_cvtsi32_si128((!crc).cast_signed());
        let (blocks, _) = bytes.as_chunks::<64>();
        let Some((first, blocks)) = blocks.split_first() else {
            let (first, rest) = bytes.split_first_chunk().expect("16 bytes at least");
            let zero = _mm_setzero_si128();
            return finish([zero, zero, zero, _mm_xor_si128(load_16(first), start)], rest, bytes);
        };
        let quarters = |block: &[u8; 64]| {
            let (quarters, _) = block.as_chunks::<16>();
            [load_16(&quarters[0]), load_16(&quarters[1]), load_16(&quarters[2]), load_16(&quarters[3])]
        };
        let [mut a, mut b, mut c, mut d] = quarters(first);
        a = _mm_xor_si128(a, start);
        for block in blocks {
            let next = quarters(block);
            a = _mm_xor_si128(fold(a, const { distance(512) }), next[0]);
            b = _mm_xor_si128(fold(b, const { distance(512) }), next[1]);
            c = _mm_xor_si128(fold(c, const { distance(512) }), next[2]);
            d = _mm_xor_si128(fold(d, const { distance(512) }), next[3]);
        }
        finish([a, b, c, d], &bytes[64 + 64 * blocks.len()..], bytes)
    }

    /// The CRC-32 by 32 bytes at a time, from four places at once.
    ///
    /// # Panics
    /// When there are less than [`LONG`] bytes.
    #[target_feature(enable = "avx2,vpclmulqdq,pclmulqdq,ssse3,sse4.1")]
    pub(super) fn by_32(crc: u32, bytes: &[u8]) -> u32 {
        let quarters = |block: &[u8; 128]| {
            let (quarters, _) = block.as_chunks::<32>();
            [load_32(&quarters[0]), load_32(&quarters[1]), load_32(&quarters[2]), load_32(&quarters[3])]
        };
        let (blocks, rest) = bytes.as_chunks::<128>();
        let (first, blocks) = blocks.split_first().expect("a block at least");
        let [mut a, mut b, mut c, mut d] = quarters(first);
        a = _mm256_xor_si256(a, _mm256_zextsi128_si256(_mm_cvtsi32_si128((!crc).cast_signed())));
        for block in blocks {
            let next = quarters(block);
            a = fold_32(a, const { distance(1024) }, next[0]);
            b = fold_32(b, const { distance(1024) }, next[1]);
            c = fold_32(c, const { distance(1024) }, next[2]);
            d = fold_32(d, const { distance(1024) }, next[3]);
        }
        const SINGLES: &[[i64; 2]; 7] = &distances::<256>();
        let (singles, rest) = rest.as_chunks::<32>();
        let more = singles.len();
        let mut x = fold_32(b, SINGLES[2 + more], fold_32(a, SINGLES[3 + more], _mm256_setzero_si256()));
        x = fold_32(c, SINGLES[1 + more], x);
        let mut last = d;
        for (n, single) in singles.iter().enumerate() {
            x = fold_32(last, SINGLES[more - n], x);
            last = load_32(single);
        }
        let x = _mm256_xor_si256(x, last);
        let zero = _mm_setzero_si128();
        finish([zero, zero, _mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x)], rest, bytes)
    }

    /// The CRC-32 by 64 bytes at a time, from four places at once.
    ///
    /// # Panics
    /// When there are less than [`LONG`] bytes.
    #[target_feature(enable = "avx512f,vpclmulqdq,pclmulqdq,ssse3,sse4.1")]
    pub(super) fn by_64(crc: u32, bytes: &[u8]) -> u32 {
        let quarters = |block: &[u8; LONG]| {
            let (quarters, _) = block.as_chunks::<64>();
            [load_64(&quarters[0]), load_64(&quarters[1]), load_64(&quarters[2]), load_64(&quarters[3])]
        };
        let (blocks, rest) = bytes.as_chunks::<LONG>();
        let (first, blocks) = blocks.split_first().expect("a block at least");
        let [mut a, mut b, mut c, mut d] = quarters(first);
        a = _mm512_xor_si512(a, _mm512_zextsi128_si512(_mm_cvtsi32_si128((!crc).cast_signed())));
        for block in blocks {
            let next = quarters(block);
            a = fold_64(a, const { distance(2048) }, next[0]);
            b = fold_64(b, const { distance(2048) }, next[1]);
            c = fold_64(c, const { distance(2048) }, next[2]);
            d = fold_64(d, const { distance(2048) }, next[3]);
        }
        const SINGLES: &[[i64; 2]; 7] = &distances::<512>();
        let (singles, rest) = rest.as_chunks::<64>();
        let more = singles.len();
        let mut x = fold_64(b, SINGLES[2 + more], fold_64(a, SINGLES[3 + more], _mm512_setzero_si512()));
        x = fold_64(c, SINGLES[1 + more], x);
        let mut last = d;
        for (n, single) in singles.iter().enumerate() {
            x = fold_64(last, SINGLES[more - n], x);
            last = load_64(single);
        }
        let x = _mm512_xor_si512(x, last);
        let lanes = [
            _mm512_extracti32x4_epi32::<0>(x),
            _mm512_extracti32x4_epi32::<1>(x),
            _mm512_extracti32x4_epi32::<2>(x),
            _mm512_extracti32x4_epi32::<3>(x),
        ];
        finish(lanes, rest, bytes)
    }

    /// Folds four pieces of 16 bytes and the `rest` that follows them, less than 64 bytes and the end of `bytes`, and divides
    /// by P. Each piece goes where the last one is by itself: one after the other would each wait for the one before.
    #[inline]
    #[target_feature(enable = "pclmulqdq,sse2,ssse3,sse4.1")]
    fn finish([a, b, c, d]: [__m128i; 4], rest: &[u8], bytes: &[u8]) -> u32 {
        const BLOCKS: &[[i64; 2]; 7] = &distances::<128>();
        let (blocks, rest) = rest.as_chunks::<16>();
        let more = blocks.len();
        let mut x = _mm_xor_si128(fold(a, BLOCKS[3 + more]), fold(b, BLOCKS[2 + more]));
        x = _mm_xor_si128(fold(c, BLOCKS[1 + more]), x);
        let mut last = d;
        for (n, block) in blocks.iter().enumerate() {
            x = _mm_xor_si128(fold(last, BLOCKS[more - n]), x);
            last = load_16(block);
        }
        x = _mm_xor_si128(x, last);
        if !rest.is_empty() {
            let (front, back) = around(x, rest.len(), bytes.last_chunk().expect("16 bytes at least"));
            x = _mm_xor_si128(fold(front, const { distance(128) }), back);
        }
        divide(x)
    }

    /// Cuts `x` and the `more` bytes, 1 to 15, that end `last` into two pieces of 16 bytes, the first with as many zero
    /// bytes before it as it lacks.
    #[inline]
    #[target_feature(enable = "sse2,ssse3,sse4.1")]
    fn around(x: __m128i, more: usize, last: &[u8; 16]) -> (__m128i, __m128i) {
        /// Byte numbers between two stretches of the number that stands for a zero byte.
        const WINDOW: [u8; 48] = {
            let (mut window, mut i) = ([0x80; 48], 0);
            while i < 16 {
                window[16 + i] = i as u8;
                i += 1;
            }
            window
        };
        let at = |start: usize| load_16(WINDOW[start..].first_chunk().expect("`start` is at most 31"));
        let (later, earlier) = (at(more), at(16 + more));
        // The blend takes its second argument where the number is that of a zero byte: before the `more` last.
        let back = _mm_blendv_epi8(load_16(last), _mm_shuffle_epi8(x, earlier), later);
        (_mm_shuffle_epi8(x, later), back)
    }

    /// Divides 128 bits by P and returns the CRC-32: folds them to 64, then Barrett's reduction (step 3 on in the
    /// paper).
    #[inline]
    #[target_feature(enable = "pclmulqdq,sse2,sse4.1")]
    fn divide(x: __m128i) -> u32 {
        let low = _mm_set_epi32(0, 0, 0, !0);
        let [_, last] = const { distance(128) };
        let x =
            _mm_xor_si128(_mm_clmulepi64_si128::<0x00>(x, _mm_set_epi64x(0, last)), _mm_srli_si128::<8>(x));
        let shorter =
            _mm_clmulepi64_si128::<0x00>(_mm_and_si128(x, low), _mm_set_epi64x(0, const { power(64) }));
        let x = _mm_xor_si128(shorter, _mm_srli_si128::<4>(x));
        let divisor = _mm_set_epi64x(const { quotient() }, WHOLE);
        let times = _mm_clmulepi64_si128::<0x10>(_mm_and_si128(x, low), divisor);
        let whole = _mm_clmulepi64_si128::<0x00>(_mm_and_si128(times, low), divisor);
        !_mm_extract_epi32::<1>(_mm_xor_si128(whole, x)).cast_unsigned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn every_level_agrees_with_crc32fast_at_every_length_and_offset() {
        let mut rng = Rng::new(6);
        let bytes: Vec<u8> = (0..2_100).map(|_| rng.next_u64() as u8).collect();
        for length in 0..2_000 {
            // Every offset at short lengths, where paths change; one of 64 at the others.
            let offsets = if length < 80 { 0..64 } else { length % 64..length % 64 + 1 };
            for offset in offsets {
                let (crc, bytes) = (rng.next_u64() as u32, &bytes[offset..offset + length]);
                let expected = by_table(crc, bytes);
                for level in Level::all() {
                    assert_eq!(continued_at(level, crc, bytes), expected, "{level:?} {length} {offset}");
                }
            }
        }
    }

    #[test]
    fn one_bit_anywhere_counts_and_parts_make_the_whole() {
        let mut rng = Rng::new(8);
        for level in Level::all() {
            assert_eq!(continued_at(level, 0, b""), 0);
            assert_eq!(continued_at(level, 0, b"123456789"), 0xcbf4_3926);
            for _ in 0..2_000 {
                let mut bytes = [0; 1_500];
                bytes[rng.below(1_500) as usize] = 1 << rng.below(8);
                let cut = rng.below(1_501) as usize;
                let whole = by_table(0, &bytes);
                let front = continued_at(level, 0, &bytes[..cut]);
                assert_eq!(continued_at(level, front, &bytes[cut..]), whole, "{level:?} {cut}");
            }
        }
    }
}
