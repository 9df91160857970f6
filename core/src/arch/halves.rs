//! Loads of 16 bits out of words, one or sixteen at once, while another thread may be changing them.
//!
//! Knows how halves are compared. Must not know what they stand for.

use crate::atomic::AtomicU64;
#[cfg(any(test, popmap_loom, not(target_arch = "x86_64")))]
use crate::atomic::Ordering;

/// Words that are searched at once.
pub(crate) const WORDS: usize = 4;

/// Halves that are searched at once: those of [`WORDS`].
pub(crate) const PLACES: usize = 4 * WORDS;

/// Returns the half at `place` of those from the one numbered `FROM` on, both counted from the lowest of the first word.
/// The load acquires.
#[inline(always)]
pub(crate) fn half_at<const FROM: usize, const N: usize>(words: &[AtomicU64; N], place: usize) -> u32 {
    const { assert!(FROM.is_multiple_of(4) && FROM + PLACES <= 4 * N) };
    let place = place % PLACES;
    #[cfg(all(target_arch = "x86_64", not(popmap_loom)))]
    {
        let half: u32;
        // SAFETY: two of the bytes that `words` borrows are loaded, inside of them by the assertion; there is no other
        // access, and nothing but the register named is changed. The machine loads aligned 16 bits at once, as they were
        // before or after a store of their word, and in the order of its loads: what a load of the word and a shift would
        // give, in one instruction instead of seven.
        unsafe {
            core::arch::asm!(
                "movzx {half:e}, word ptr [{words} + 2 * {place} + {from}]",
                words = in(reg) words,
                place = in(reg) place,
                from = const 2 * FROM,
                half = lateout(reg) half,
                options(nostack, preserves_flags, readonly),
            );
        }
        half
    }
    #[cfg(not(all(target_arch = "x86_64", not(popmap_loom))))]
    shifted(&words[FROM / 4 + place / 4], place)
}

#[cfg(any(test, popmap_loom, not(target_arch = "x86_64")))]
#[inline(always)]
fn shifted(word: &AtomicU64, place: usize) -> u32 {
    u32::from((word.load(Ordering::Acquire) >> (place % 4 * 16)) as u16)
}

/// Returns the places of the halves that are equal to `wanted` in the bits of `mask`, as bits: the lowest half of the
/// first word in the lowest. `wanted` has no bit beside those of the mask.
///
/// What is reached through a place that this returns may be read after it: the loads acquire.
#[inline(always)]
pub(crate) fn places_of(words: &[AtomicU64; WORDS], wanted: u16, mask: u16) -> u32 {
    #[cfg(all(target_arch = "x86_64", not(popmap_loom)))]
    // SAFETY: SSE2 is part of the baseline.
    #[allow(unused_unsafe, reason = "newer compilers know that this is safe")]
    return unsafe { sse2(words, wanted, mask) };
    #[cfg(not(all(target_arch = "x86_64", not(popmap_loom))))]
    word_by_word(words, wanted, mask)
}

#[cfg(all(target_arch = "x86_64", not(popmap_loom)))]
#[target_feature(enable = "sse2")]
#[inline]
fn sse2(words: &[AtomicU64; WORDS], wanted: u16, mask: u16) -> u32 {
    use core::arch::asm;
    use core::arch::x86_64::{
        __m128i, _mm_and_si128, _mm_cmpeq_epi16, _mm_movemask_epi8, _mm_packs_epi16, _mm_set1_epi16,
    };

    let (low, high): (__m128i, __m128i);
    // SAFETY: two loads of 16 bytes each from the 32 that `words` borrows; there is no other access, and no flag or
    // register beside the two named is changed. Written as loads of the machine because there are none of the language
    // that are both this wide and atomic: other threads may store to these words, one at a time, each aligned. For such a
    // store a load of the machine takes a word as it was before or after, and is not moved in front of an earlier load;
    // what depends on the result cannot be moved in front of it. So this does what `word_by_word` does with its loads.
    unsafe {
        asm!(
            "movups {low}, [{words}]",
            "movups {high}, [{words} + 16]",
            words = in(reg) words,
            low = out(xmm_reg) low,
            high = lateout(xmm_reg) high,
            options(nostack, preserves_flags, readonly),
        );
    }
    let (wanted, mask) = (_mm_set1_epi16(wanted as i16), _mm_set1_epi16(mask as i16));
    let low_equal = _mm_cmpeq_epi16(_mm_and_si128(low, mask), wanted);
    let high_equal = _mm_cmpeq_epi16(_mm_and_si128(high, mask), wanted);
    _mm_movemask_epi8(_mm_packs_epi16(low_equal, high_equal)) as u32
}

/// The same by arithmetic on words: what every CPU has, and the oracle.
#[cfg(any(test, popmap_loom, not(target_arch = "x86_64")))]
#[inline(always)]
fn word_by_word(words: &[AtomicU64; WORDS], wanted: u16, mask: u16) -> u32 {
    /// The least bit of each half in a word: as a factor, it copies a half to all of them.
    const HALVES: u64 = 0x0001_0001_0001_0001;
    const BELOW_TOP: u64 = 0x7fff * HALVES;
    let (wanted, mask) = (u64::from(wanted) * HALVES, u64::from(mask) * HALVES);
    let places = words.iter().enumerate().fold(0, |places, (i, word)| {
        let differences = (word.load(Ordering::Acquire) & mask) ^ wanted;
        // The top bit of each half that differs.
        let differ = ((differences & BELOW_TOP) + BELOW_TOP) | differences;
        places | (!differ >> 15 & HALVES) << (WORDS * i)
    });
    // The bits of a half are those of the words; the sum in the top half has those of half 0 lowest, and none carries.
    (places.wrapping_mul(1 << 3 | 1 << (16 + 2) | 1 << (32 + 1) | 1 << 48) >> 48) as u32
}

#[cfg(all(test, not(popmap_loom)))]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn halves_are_counted_from_where_they_are_asked() {
        let words: [AtomicU64; 2 * WORDS] =
            std::array::from_fn(|i| AtomicU64::new(0x0003_0002_0001_0000 + 0x0004_0004_0004_0004 * i as u64));
        for place in 0..PLACES {
            assert_eq!(half_at::<0, { 2 * WORDS }>(&words, place), place as u32);
            assert_eq!(half_at::<PLACES, { 2 * WORDS }>(&words, place), (PLACES + place) as u32);
            assert_eq!(
                half_at::<8, { 2 * WORDS }>(&words, place + PLACES),
                8 + place as u32,
                "modulo the places"
            );
        }
    }

    #[test]
    fn both_ways_find_what_a_look_at_each_half_finds() {
        let mut rng = Rng::new(4);
        for round in 0..20_000 {
            let mask = [0xffff, 0x1fff, 0x03ff, 0x8000, rng.next_u64() as u16][round % 5];
            let wanted = rng.next_u64() as u16 & mask;
            let mut halves: [u16; 16] = std::array::from_fn(|_| rng.next_u64() as u16);
            for half in &mut halves {
                // Equal, equal in the mask, one bit off, or anything.
                *half = match rng.below(5) {
                    0 => wanted,
                    1 => wanted | *half & !mask,
                    2 => (wanted | *half & !mask) ^ 1 << rng.below(16),
                    3 => 0,
                    _ => *half,
                };
            }
            let words: [AtomicU64; WORDS] = std::array::from_fn(|i| {
                let halves = halves[4 * i..4 * i + 4].iter().rev();
                AtomicU64::new(halves.fold(0, |word, &half| word << 16 | u64::from(half)))
            });
            let expected = halves.iter().enumerate().filter(|(_, half)| *half & mask == wanted);
            let expected = expected.fold(0, |places, (i, _)| places | 1 << i);
            assert_eq!(places_of(&words, wanted, mask), expected, "{halves:04x?} {wanted:04x} {mask:04x}");
            assert_eq!(word_by_word(&words, wanted, mask), expected, "{halves:04x?} {wanted:04x} {mask:04x}");
            for (place, &half) in halves.iter().enumerate() {
                assert_eq!(half_at::<0, WORDS>(&words, place), u32::from(half));
                assert_eq!(shifted(&words[place / 4], place), u32::from(half));
            }
        }
    }
}
