//! The highest of 64 mixed numbers.
//!
//! Knows the mix and the search. Must not know keys, nor what stands for a server.

use super::{Kind, Level, at_level};

/// The 32-bit finalizer that priorities are made of (`lowbias32`, Wellons 2018): a bijection with low bias.
#[inline(always)]
pub(crate) const fn mix32(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ x >> 16
}

/// Returns the place among the bits of `places` where `mix32(x ^ salts[place])` is highest, or `None` without a bit.
///
/// The salts must differ, and then no two places are equal, because the mix is a bijection.
#[inline]
pub(crate) fn highest(x: u32, salts: &[u32; 64], places: u64) -> Option<u32> {
    highest_at(Level::best(), x, salts, places)
}

#[inline]
fn highest_at(level: Level, x: u32, salts: &[u32; 64], places: u64) -> Option<u32> {
    // So many are done one by one in the time of all.
    let few = match level.kind() {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 | Kind::Vpclmul | Kind::Avx512 => 4,
        _ => 40,
    };
    if places.count_ones() <= few {
        one_by_one(x, salts, places)
    } else {
        Some(highest_of_all(level, x, salts, places))
    }
}

/// The same by its definition, whatever the salts: the higher place between equals.
#[inline]
fn one_by_one(x: u32, salts: &[u32; 64], mut places: u64) -> Option<u32> {
    let mut best = None;
    while places != 0 {
        let place = places.trailing_zeros();
        best = best.max(Some((mix32(x ^ salts[place as usize]), place)));
        places &= places - 1;
    }
    best.map(|(_, place)| place)
}

at_level! {
    /// The same for two places or more: of their different mixes one is above the zero that others count as.
    fn highest_of_all(x: u32, salts: &[u32; 64], places: u64) -> u32, all_at_once
}

#[inline(always)]
fn all_at_once(x: u32, salts: &[u32; 64], places: u64) -> u32 {
    let mut mixes = [0; 64];
    for half in 0..2 {
        let bits = (places >> (32 * half)) as u32;
        for i in 0..32 {
            // All ones where the place has a bit: a shift of 32 bits, which vectors have for each lane.
            let mask = ((bits << (31 - i)).cast_signed() >> 31).cast_unsigned();
            mixes[32 * half + i] = mix32(x ^ salts[32 * half + i]) & mask;
        }
    }
    let highest = mixes.iter().fold(0, |highest, &mix| mix.max(highest));
    let mut place = 0;
    for (i, &mix) in mixes.iter().enumerate() {
        place = place.max(if mix == highest { i as u32 } else { 0 });
    }
    place
}

/// Returns the `i` where `mix32(xs[i] ^ salt)` is above `mix32(xs[i] ^ held[i])` for any of the salts at the bits of
/// `places`: one bit each, the first in the lowest.
#[inline]
pub(crate) fn outdone(xs: &[u32; 64], held: &[u32; 64], salts: &[u32; 64], places: u64) -> u64 {
    outdone_at(Level::best(), xs, held, salts, places)
}

at_level! {
    fn outdone_at(xs: &[u32; 64], held: &[u32; 64], salts: &[u32; 64], places: u64) -> u64, outdone_each
}

#[inline(always)]
fn outdone_each(xs: &[u32; 64], held: &[u32; 64], salts: &[u32; 64], mut places: u64) -> u64 {
    let mut highest = [0; 64];
    while places != 0 {
        let salt = salts[places.trailing_zeros() as usize];
        for (highest, x) in highest.iter_mut().zip(xs) {
            *highest = mix32(x ^ salt).max(*highest);
        }
        places &= places - 1;
    }
    let mut set = 0;
    for i in 0..64 {
        set |= u64::from(highest[i] > mix32(xs[i] ^ held[i])) << i;
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Differ, as they must.
    fn salts(rng: &mut Rng) -> [u32; 64] {
        let start = rng.next_u64() as u32;
        std::array::from_fn(|i| mix32(start.wrapping_add(i as u32)))
    }

    #[test]
    fn every_level_agrees_with_the_definition() {
        let mut rng = Rng::new(3);
        for round in 0..20_000 {
            let (x, salts) = (rng.next_u64() as u32, salts(&mut rng));
            let any = rng.next_u64();
            let places = match round % 8 {
                0 => u64::MAX,
                1 => any & rng.next_u64() & rng.next_u64() & rng.next_u64(),
                2 => any & 0xffff,
                3 => any & 0xff,
                4 => any | rng.next_u64(),
                5 => any & 0xffff << (any >> 58),
                6 => 1 << (any >> 58) | 1 << (any >> 52 & 63),
                _ => any,
            };
            let expected = one_by_one(x, &salts, places);
            for level in Level::all() {
                assert_eq!(highest_at(level, x, &salts, places), expected, "{level:?} {places:#x}");
                if places.count_ones() >= 2 {
                    let of_all = highest_of_all(level, x, &salts, places);
                    assert_eq!(Some(of_all), expected, "{level:?} {places:#x}");
                }
            }
        }
    }

    #[test]
    fn every_level_finds_the_outdone() {
        let mut rng = Rng::new(7);
        for round in 0..3_000 {
            let salts = salts(&mut rng);
            let xs: [u32; 64] = std::array::from_fn(|_| rng.next_u64() as u32);
            let held: [u32; 64] = std::array::from_fn(|_| salts[rng.next_u64() as usize % 64]);
            let places = match round % 4 {
                0 => 1 << (rng.next_u64() % 64),
                1 => rng.next_u64() & rng.next_u64() & rng.next_u64(),
                2 => 0,
                _ => rng.next_u64(),
            };
            let others = || (0..64).filter(|place| places >> place & 1 == 1).map(|place| salts[place]);
            for level in Level::all() {
                let set = outdone_at(level, &xs, &held, &salts, places);
                for (i, (x, held)) in xs.iter().zip(&held).enumerate() {
                    let outdone = others().any(|salt| mix32(x ^ salt) > mix32(x ^ held));
                    assert_eq!(set >> i & 1 == 1, outdone, "{level:?} {places:#x} {i}");
                }
            }
        }
    }

    #[test]
    fn a_place_that_mixes_to_zero_still_counts() {
        // The mix maps zero to zero.
        let mut salts = salts(&mut Rng::new(5));
        salts[9] = 77;
        for level in Level::all() {
            assert_eq!(highest_at(level, 77, &salts, 1 << 9), Some(9));
            for other in (0..64).filter(|&other| other != 9) {
                assert_eq!(highest_at(level, 77, &salts, 1 << 9 | 1 << other), Some(other));
                assert_eq!(highest_of_all(level, 77, &salts, 1 << 9 | 1 << other), other);
            }
            assert_eq!(highest_at(level, 77, &salts, 0), None);
        }
    }
}
