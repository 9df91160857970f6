//! The health record: what the PoP knows of one origin, as 24 bytes in the map.
//!
//! Knows its fields and how to tell a whole record from a torn one. Must not know who checks or when.

use popmap_core::time::Instant;
use popmap_core::{Key, Shape};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What all servers of this PoP agree on: the schema of [`Health`], and its length.
pub const SHAPE: Shape = Shape { schema: 0x4845_0001, value_len: size_of::<Health>() as u16 };

/// The outcome of the last check of one origin; little-endian, no padding, any bytes valid.
///
/// The checksum is over the other fields and the key. The map needs none: it is here so that the readers can prove
/// that they never saw half a record, nor another origin's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Health {
    /// [`UP`](Self::UP) or [`DOWN`](Self::DOWN).
    status: u8,
    /// Why there was no answer; zero when there was one.
    cause: u8,
    /// The HTTP status that the origin answered with; zero when it did not.
    http: U16,
    /// How long the answer took, in microseconds.
    latency_us: U32,
    /// When the check ended, in nanoseconds on the PoP's clock.
    checked_at_ns: U64,
    /// The number of this check among all of its origin, by anyone.
    checks: U32,
    checksum: U32,
}

const _: () = assert!(size_of::<Health>() == 24 && align_of::<Health>() == 1);

impl Health {
    const DOWN: u8 = 0;
    const UP: u8 = 1;

    /// Returns the record of a check of `key` that ended at `checked_at`. `answer` is the HTTP status, or a number other
    /// than zero for why there was none; an origin is up when it answers with success or a redirection.
    pub fn new(key: Key, answer: Result<u16, u8>, latency_us: u32, checked_at: Instant, checks: u32) -> Self {
        let up = matches!(answer, Ok(200..=399));
        let mut health = Self {
            status: if up { Self::UP } else { Self::DOWN },
            cause: answer.err().unwrap_or(0),
            http: answer.unwrap_or(0).into(),
            latency_us: latency_us.into(),
            checked_at_ns: checked_at.0.into(),
            checks: checks.into(),
            checksum: U32::ZERO,
        };
        health.checksum = health.sum(key).into();
        health
    }

    /// Whether the origin answered as it should.
    pub fn is_up(&self) -> bool {
        self.status == Self::UP
    }

    /// Returns when the check ended.
    pub fn checked_at(&self) -> Instant {
        Instant(self.checked_at_ns.get())
    }

    /// Returns the number of this check among all of its origin.
    pub fn checks(&self) -> u32 {
        self.checks.get()
    }

    /// Whether these are the bytes of one write under `key`, and not parts of two.
    pub fn is_whole(&self, key: Key) -> bool {
        self.checksum.get() == self.sum(key)
    }

    fn sum(&self, key: Key) -> u32 {
        let head = u64::from(self.status) | u64::from(self.cause) << 8 | u64::from(self.http.get()) << 16;
        let words = [
            head | u64::from(self.latency_us.get()) << 32,
            self.checked_at_ns.get(),
            u64::from(self.checks.get()),
        ];
        let sum = words.into_iter().fold(key.mix(), |sum, word| {
            let wide = u128::from(sum ^ word) * 0x9e37_79b9_7f4a_7c15;
            wide as u64 ^ (wide >> 64) as u64
        });
        (sum ^ sum >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_bit_or_other_key_shows() {
        let key = Key::from_name(b"origin");
        let health = Health::new(key, Ok(204), 1_234, Instant(5_678), 9);
        assert!(health.is_whole(key) && health.is_up() && health.checks() == 9);
        assert!(!health.is_whole(Key::from_name(b"another")));
        for bit in 0..8 * size_of::<Health>() {
            let mut torn = health;
            torn.as_mut_bytes()[bit / 8] ^= 1 << (bit % 8);
            assert!(!torn.is_whole(key), "bit {bit}");
        }
    }

    #[test]
    fn up_is_an_answer_that_is_no_error() {
        let key = Key::from_name(b"origin");
        let up = |answer| Health::new(key, answer, 1, Instant(1), 1).is_up();
        let answers = [Ok(200), Ok(302), Ok(404), Ok(503), Ok(100), Err(1)];
        assert_eq!(answers.map(up), [true, true, false, false, false, false]);
    }
}
