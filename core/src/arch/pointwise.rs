//! Two arrays of counters, place by place: maximum, minimum and comparison.
//!
//! Knows unsigned 64-bit numbers. Must not know whose counters they are.
//!
//! Straight loops without an exit. SSE2 lacks a comparison of 64-bit numbers and AVX2 one of unsigned numbers: the
//! compiler makes up for it, by two halves here and by a flip of the sign bits there.

use super::{Kind, Level, at_level};

/// Returns the level for arrays of `N`. To choose one and to call it costs more than the few numbers of a short array.
#[inline]
fn level<const N: usize>() -> Level {
    if N < 12 { Level::GENERIC } else { Level::best() }
}

/// Raises each number of `mine` to at least that of `theirs`.
#[inline]
pub(crate) fn raise<const N: usize>(mine: &mut [u64; N], theirs: &[u64; N]) {
    raise_at(level::<N>(), mine, theirs);
}

at_level! {
    fn raise_at[const N](mine: &mut [u64; N], theirs: &[u64; N]), raise_each
}

#[inline(always)]
fn raise_each<const N: usize>(mine: &mut [u64; N], theirs: &[u64; N]) {
    for (mine, theirs) in mine.iter_mut().zip(theirs) {
        *mine = (*mine).max(*theirs);
    }
}

/// Lowers each number of `mine` to at most that of `theirs`.
#[inline]
pub(crate) fn lower<const N: usize>(mine: &mut [u64; N], theirs: &[u64; N]) {
    lower_at(level::<N>(), mine, theirs);
}

at_level! {
    fn lower_at[const N](mine: &mut [u64; N], theirs: &[u64; N]), lower_each
}

#[inline(always)]
fn lower_each<const N: usize>(mine: &mut [u64; N], theirs: &[u64; N]) {
    for (mine, theirs) in mine.iter_mut().zip(theirs) {
        *mine = (*mine).min(*theirs);
    }
}

/// Whether no number of `mine` is below that of `theirs`.
#[inline]
pub(crate) fn at_least<const N: usize>(mine: &[u64; N], theirs: &[u64; N]) -> bool {
    at_least_at(level::<N>(), mine, theirs)
}

at_level! {
    fn at_least_at[const N](mine: &[u64; N], theirs: &[u64; N]) -> bool, at_least_each
}

#[inline(always)]
fn at_least_each<const N: usize>(mine: &[u64; N], theirs: &[u64; N]) -> bool {
    mine.iter().zip(theirs).fold(true, |all, (mine, theirs)| all & (mine >= theirs))
}

/// Whether no number of `mine` is below that of `theirs`, and whether none is above.
#[inline]
pub(crate) fn compare<const N: usize>(mine: &[u64; N], theirs: &[u64; N]) -> (bool, bool) {
    compare_at(level::<N>(), mine, theirs)
}

at_level! {
    fn compare_at[const N](mine: &[u64; N], theirs: &[u64; N]) -> (bool, bool), compare_each
}

#[inline(always)]
fn compare_each<const N: usize>(mine: &[u64; N], theirs: &[u64; N]) -> (bool, bool) {
    let pairs = mine.iter().zip(theirs);
    pairs.fold((true, true), |(least, most), (mine, theirs)| {
        (least & (mine >= theirs), most & (mine <= theirs))
    })
}

/// Returns the places, at most 64, where `mine` is above `theirs`: one bit each, the first place in the lowest.
#[inline]
pub(crate) fn above<const N: usize>(mine: &[u64; N], theirs: &[u64; N]) -> u64 {
    above_at(level::<N>(), mine, theirs)
}

at_level! {
    fn above_at[const N](mine: &[u64; N], theirs: &[u64; N]) -> u64, above_each
}

#[inline(always)]
fn above_each<const N: usize>(mine: &[u64; N], theirs: &[u64; N]) -> u64 {
    let bits = mine.iter().zip(theirs).enumerate();
    bits.fold(0, |set, (i, (mine, theirs))| set | u64::from(mine > theirs) << i)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Numbers that differ little, by the sign bit, in one half only, and not at all.
    fn near(rng: &mut Rng, number: u64) -> u64 {
        match rng.next_u64() % 8 {
            0 => rng.next_u64(),
            1 => number ^ 1 << 63,
            2 => number.wrapping_add(1),
            3 => number.wrapping_sub(1),
            4 => number ^ 1 << 32,
            5 => number ^ 1 << 31,
            _ => number,
        }
    }

    /// Every level against the definitions, one place at a time.
    fn agrees<const N: usize>() {
        let mut rng = Rng::new(N as u64);
        for round in 0..3_000 {
            let mine: [u64; N] = std::array::from_fn(|_| match rng.next_u64() % 4 {
                0 => 0,
                1 => u64::MAX,
                _ => rng.next_u64() >> (rng.next_u64() % 64),
            });
            let mut theirs = mine;
            // From equal arrays over one place that differs to all of them.
            for _ in 0..[0, 1, 2, N][round % 4] {
                let place = rng.next_u64() as usize % N;
                theirs[place] = near(&mut rng, mine[place]);
            }
            let (mut most, mut least, mut set) = (mine, mine, 0u64);
            let (mut no_less, mut no_more) = (true, true);
            for i in 0..N {
                match mine[i].cmp(&theirs[i]) {
                    std::cmp::Ordering::Less => {
                        most[i] = theirs[i];
                        no_less = false;
                    }
                    std::cmp::Ordering::Greater => {
                        least[i] = theirs[i];
                        no_more = false;
                        set |= 1 << i;
                    }
                    std::cmp::Ordering::Equal => {}
                }
            }
            for level in Level::all() {
                let mut joined = mine;
                raise_at(level, &mut joined, &theirs);
                assert_eq!(joined, most, "{level:?}");
                let mut met = mine;
                lower_at(level, &mut met, &theirs);
                assert_eq!(met, least, "{level:?}");
                assert_eq!(at_least_at(level, &mine, &theirs), no_less, "{level:?} {mine:?} {theirs:?}");
                assert_eq!(
                    compare_at(level, &mine, &theirs),
                    (no_less, no_more),
                    "{level:?} {mine:?} {theirs:?}"
                );
                assert_eq!(above_at(level, &mine, &theirs), set, "{level:?} {mine:?} {theirs:?}");
            }
        }
    }

    #[test]
    fn every_level_agrees_with_the_definitions() {
        agrees::<1>();
        agrees::<3>();
        agrees::<8>();
        agrees::<13>();
        agrees::<31>();
        agrees::<64>();
    }
}
