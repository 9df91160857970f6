//! The index: from the mix of a key to the positions where its record may be.
//!
//! Knows fingerprints and positions. Must not know what stands at a position: whoever looks up compares the keys.
//!
//! A bucket is a cache line: fifteen entries, and a count of the keys that had to go on to the next bucket. A lookup
//! ends at the first bucket that none passed by. An entry never moves while its key is present, so a reader never
//! misses a key that stays.
//!
//! An entry is cut into halves of 16 bits. The upper halves fill the first four words of a bucket, so that a lookup
//! compares all fingerprints at once; the lower halves fill the last four:
//!
//! ```text
//! upper   position from bit 16 : what it needs | present : 1 | fingerprint : the rest, 9 to 15
//! lower   position below bit 16 : 16
//! ```
//!
//! A reader may see halves of two entries where one leaves and another comes. They lead it to a record that it does not
//! look for, or beyond the table, as any false match of fingerprints may do.

use super::Position;
use crate::arch::halves;
use crate::arch::prefetch::prefetch;
use crate::atomic::{AtomicU64, Ordering};
use crate::limits::CAPACITY_MAX;
use crate::map::layout::BUCKET_WORDS;

/// Words of a bucket with upper halves.
const UPPER_WORDS: usize = halves::WORDS;

/// What the first look for a key comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::map) enum Guess {
    /// Some key with the same fingerprint is there: nearly always the one looked for. A reader may be led beyond the
    /// table.
    At(Position),
    /// The key is not present.
    Nowhere,
    /// If it is present, it had to go on to another bucket.
    Further,
}

/// Beyond every table.
const NOWHERE: Position = Position::MAX;

#[derive(Clone, Copy)]
pub(super) struct Index<'a> {
    buckets: &'a [[AtomicU64; BUCKET_WORDS]],
    /// The bit of an upper half that says present. Those below it are the fingerprint.
    present: u16,
    /// The first bit of an upper half that belongs to the position; 16 where none does.
    position_from: u32,
}

impl<'a> Index<'a> {
    /// Returns the index in `words`, for positions below `capacity`.
    pub fn new(words: &'a [AtomicU64], capacity: u32) -> Self {
        let upper_bits = (u32::BITS - (capacity - 1).leading_zeros()).saturating_sub(16);
        let position_from = 16 - upper_bits;
        Self { buckets: words.as_chunks().0, present: 1 << (position_from - 1), position_from }
    }

    pub fn words(&self) -> &'a [AtomicU64] {
        self.buckets.as_flattened()
    }

    /// The bucket where a lookup starts; it rises with the mix, so a range of mixes is a range of buckets.
    #[inline]
    pub fn home(&self, mix: u64) -> usize {
        ((u128::from(mix) * self.buckets.len() as u128) >> 64) as usize
    }

    #[inline]
    fn next(&self, at: usize) -> usize {
        if at + 1 == self.buckets.len() { 0 } else { at + 1 }
    }

    #[inline]
    fn bucket(&self, at: usize) -> Bucket<'a> {
        Bucket(&self.buckets[at])
    }

    /// Returns the number of keys that had to go on from this bucket to the next.
    pub fn passed_by(&self, at: usize) -> u16 {
        self.bucket(at).passed_by()
    }

    /// Brings a bucket into the cache, without waiting for it.
    #[inline]
    pub fn touch(&self, at: usize) {
        if let Some(bucket) = self.buckets.get(at) {
            prefetch(&bucket[0]);
        }
    }

    /// Returns the first position whose fingerprint matches `mix` from a bucket on, or [`NOWHERE`].
    #[inline]
    pub fn guess_from(&self, at: usize, mix: u64) -> Position {
        let bucket = self.bucket(at);
        self.matching(bucket, mix).next().unwrap_or_else(|| self.guess_behind(at, mix))
    }

    /// The same in the buckets behind one that has no such fingerprint.
    #[cold]
    fn guess_behind(&self, mut at: usize, mix: u64) -> Position {
        for _ in 1..self.buckets.len() {
            if self.passed_by(at) == 0 {
                break;
            }
            at = self.next(at);
            if let Some(position) = self.matching(self.bucket(at), mix).next() {
                return position;
            }
        }
        NOWHERE
    }

    /// Returns what the home bucket tells of a key with this mix.
    #[inline]
    pub fn guess(&self, mix: u64) -> Guess {
        let bucket = self.bucket(self.home(mix));
        match self.matching(bucket, mix).next() {
            Some(position) => Guess::At(position),
            None if bucket.passed_by() == 0 => Guess::Nowhere,
            None => Guess::Further,
        }
    }

    /// Returns the first position that `is_wanted` among those whose fingerprint matches `mix`. A reader may be led
    /// beyond the table.
    ///
    /// Goes from the home bucket on to the next one while keys passed the last by.
    #[inline]
    pub fn search(&self, mix: u64, is_wanted: impl Fn(Position) -> bool) -> Option<Position> {
        let mut at = self.home(mix);
        for _ in 0..self.buckets.len() {
            let bucket = self.bucket(at);
            if let Some(found) = self.matching(bucket, mix).find(|&position| is_wanted(position)) {
                return Some(found);
            }
            if bucket.passed_by() == 0 {
                break;
            }
            at = self.next(at);
        }
        None
    }

    /// Iterates the positions of all records that may have a mix from `from` to `to`; the caller checks each.
    pub fn range(&self, from: u64, to: u64) -> impl Iterator<Item = Position> + use<'a> {
        let index = *self;
        let (first, last) = (self.home(from), self.home(to));
        let within = first..last;
        // Keys that passed the last bucket of all by are in the first one, which `within` may hold already.
        let mut left = self.buckets.len() - within.len();
        let mut next = Some(last);
        let beyond = core::iter::from_fn(move || {
            let at = next?;
            left -= 1;
            next = (left > 0 && index.passed_by(at) > 0).then(|| index.next(at));
            Some(at)
        });
        within.chain(beyond).flat_map(move |at| {
            let bucket = index.bucket(at);
            let taken = Places::all().filter(move |&place| bucket.upper(place) != 0);
            taken.map(move |place| index.position(bucket, place))
        })
    }

    /// Enters a position that is not in the index.
    pub fn enter(&self, mix: u64, position: Position) {
        let mut at = self.home(mix);
        loop {
            let bucket = self.bucket(at);
            if let Some(place) = Places::all().find(|&place| bucket.upper(place) == 0) {
                // The lower half first: a reader that matches the upper one finds it there.
                bucket.set_half(place, UPPER_WORDS, position as u16);
                return bucket.set_half(place, 0, self.upper(mix, position));
            }
            // There are more entries than records, so some bucket has room.
            bucket.set_passed_by(bucket.passed_by().saturating_add(1));
            at = self.next(at);
        }
    }

    /// Takes out a position that was entered with this mix.
    pub fn leave(&self, mix: u64, position: Position) {
        let mut at = self.home(mix);
        loop {
            let bucket = self.bucket(at);
            let is_there = |&place: &Place| {
                bucket.upper(place) == u32::from(self.upper(mix, position))
                    && bucket.lower(place) == position & 0xffff
            };
            if let Some(place) = Places::all().find(is_there) {
                bucket.set_half(place, 0, 0);
                return bucket.set_half(place, UPPER_WORDS, 0);
            }
            // A count that has come to its end stands for that many or more: it stays.
            if bucket.passed_by() != u16::MAX {
                bucket.set_passed_by(bucket.passed_by() - 1);
            }
            at = self.next(at);
        }
    }

    /// Iterates the positions in `bucket` whose fingerprint matches `mix`.
    ///
    /// All fingerprints are compared without a branch: which one it is cannot be predicted, and a wrong prediction
    /// costs more than the whole comparison.
    #[inline]
    fn matching(&self, bucket: Bucket<'a>, mix: u64) -> impl Iterator<Item = Position> + use<'a> {
        let index = *self;
        let mask = self.present | self.fingerprint();
        let uppers = bucket.0.first_chunk().expect("a bucket has upper halves");
        let places = halves::places_of(uppers, self.present | mix as u16 & self.fingerprint(), mask);
        Places(places).map(move |place| index.position(bucket, place))
    }

    /// The bits of an upper half that are the fingerprint.
    #[inline]
    fn fingerprint(&self) -> u16 {
        self.present - 1
    }

    /// Returns the upper half of an entry.
    fn upper(&self, mix: u64, position: Position) -> u16 {
        let position = position >> 16 << self.position_from;
        position as u16 | self.present | mix as u16 & self.fingerprint()
    }

    /// Returns the position in an entry.
    #[inline]
    fn position(&self, bucket: Bucket<'_>, place: Place) -> Position {
        let lower = bucket.lower(place);
        if self.position_from == 16 { lower } else { bucket.upper(place) >> self.position_from << 16 | lower }
    }
}

#[derive(Clone, Copy)]
struct Bucket<'a>(&'a [AtomicU64; BUCKET_WORDS]);

impl Bucket<'_> {
    /// Changes a half of the entry at `place`: it lies `further` words behind the upper one.
    fn set_half(self, place: Place, further: usize, half: u16) {
        let (word, shift) = (&self.0[place.0 / 4 + further], place.0 % 4 * 16);
        let kept = word.load(Ordering::Relaxed) & !(u64::from(u16::MAX) << shift);
        word.store(kept | u64::from(half) << shift, Ordering::Release);
    }

    #[inline]
    fn upper(self, place: Place) -> u32 {
        halves::half_at::<0, BUCKET_WORDS>(self.0, place.0)
    }

    #[inline]
    fn lower(self, place: Place) -> u32 {
        halves::half_at::<{ halves::PLACES }, BUCKET_WORDS>(self.0, place.0)
    }

    /// Returns the number of keys that had to go on to the next bucket: the lower half of the sixteenth place.
    #[inline]
    fn passed_by(self) -> u16 {
        self.lower(Place::SIXTEENTH) as u16
    }

    fn set_passed_by(self, count: u16) {
        self.set_half(Place::SIXTEENTH, UPPER_WORDS, count);
    }
}

/// The number of an entry in its bucket.
#[derive(Clone, Copy)]
struct Place(usize);

impl Place {
    /// No entry is there, and its upper half stays zero.
    const SIXTEENTH: Self = Self(halves::PLACES - 1);
}

/// A set of places, as bits.
struct Places(u32);

impl Places {
    /// The places of entries.
    const fn all() -> Self {
        Self((1 << Place::SIXTEENTH.0) - 1)
    }
}

impl Iterator for Places {
    type Item = Place;

    #[inline]
    fn next(&mut self) -> Option<Place> {
        let place = Place(self.0.trailing_zeros() as usize);
        (self.0 != 0).then(|| {
            self.0 &= self.0 - 1;
            place
        })
    }
}

const _: () = assert!(
    // Two halves for each entry, and a fingerprint that is worth its name in the largest table.
    BUCKET_WORDS == 2 * UPPER_WORDS && CAPACITY_MAX <= 1 << (16 + 16 - 9 - 1)
);

#[cfg(all(test, not(popmap_loom)))]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::rng::Rng;

    fn storage(buckets: usize) -> Vec<AtomicU64> {
        (0..buckets * BUCKET_WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    fn is_zero(index: &Index<'_>) -> bool {
        index.words().iter().all(|word| word.load(Ordering::Relaxed) == 0)
    }

    #[test]
    fn positions_of_any_width_come_back() {
        for capacity in [1, 2, 1 << 16, (1 << 16) + 1, 1 << 19, (1 << 19) + 1, 1_000_000, CAPACITY_MAX as u32]
        {
            let words = storage(8);
            let index = Index::new(&words, capacity);
            let mut rng = Rng::new(u64::from(capacity));
            let mut entered: Vec<(u64, Position)> = Vec::new();
            let corners = [0, capacity - 1, capacity / 2, 0xfffe, 0xffff, 0x1_0000, 0x7_ffff, 0x8_0000];
            let drawn = (0..80).map(|_| rng.below(u64::from(capacity)) as Position).collect::<Vec<_>>();
            for position in corners.into_iter().chain(drawn) {
                if position < capacity && entered.iter().all(|&(_, other)| other != position) {
                    let mix = rng.next_u64();
                    index.enter(mix, position);
                    entered.push((mix, position));
                }
            }
            let find = |mix, wanted| index.search(mix, |position| position == wanted);
            for &(mix, position) in &entered {
                assert_eq!(find(mix, position), Some(position), "capacity {capacity}");
            }
            let guessed =
                entered.iter().filter(|&&(mix, position)| index.guess(mix) == Guess::At(position)).count();
            assert!(guessed * 10 >= entered.len() * 9, "capacity {capacity}: {guessed} of {}", entered.len());
            assert_eq!(index.range(0, u64::MAX).count(), entered.len());
            for (mix, position) in entered.drain(..) {
                index.leave(mix, position);
                assert_eq!(find(mix, position), None);
            }
            assert!(is_zero(&index));
        }
    }

    #[test]
    fn a_fingerprint_matches_itself_only() {
        let words = storage(1);
        let index = Index::new(&words, 1 << 16);
        for mix in [0, 1, 0x3ff, 0x400, 0x7fff] {
            index.enter(mix, 77);
            let matching: Vec<_> =
                (0..1 << 15).filter(|&other| index.guess(other) == Guess::At(77)).collect();
            assert_eq!(matching, [mix]);
            index.leave(mix, 77);
        }
    }

    #[test]
    fn a_count_at_its_end_stays() {
        let words = storage(2);
        let index = Index::new(&words, 30);
        index.bucket(0).set_passed_by(u16::MAX - 1);
        (0..17).for_each(|position| index.enter(0, position));
        (0..17).for_each(|position| index.leave(0, position));
        assert_eq!(index.passed_by(0), u16::MAX);
        index.bucket(0).set_passed_by(0);
        assert!(is_zero(&index));
    }
}
