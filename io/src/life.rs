//! The life id: 64 random bits, drawn at each start from the operating system.
//!
//! Knows where randomness comes from. Must not know what a life is compared with.

use std::io;
use std::num::NonZeroU64;

/// Draws the random half of a life (generation, life id) (DESIGN, terms and R4).
///
/// Zero is never returned, so it is free to mean "no life known". Two lives draw the same id with a probability of
/// 2^-64.
///
/// # Errors
///
/// The operating system has no randomness to give; nothing was drawn. A node must not start with a made-up id: two
/// servers in one slot would pass for one.
pub fn life_id() -> io::Result<NonZeroU64> {
    first_nonzero(|| Ok(getrandom::u64()?))
}

fn first_nonzero(mut draw: impl FnMut() -> io::Result<u64>) -> io::Result<NonZeroU64> {
    loop {
        if let Some(id) = NonZeroU64::new(draw()?) {
            return Ok(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differs_at_each_draw() {
        let ids: std::collections::HashSet<_> = (0..1_000).map(|_| life_id().unwrap()).collect();
        assert_eq!(ids.len(), 1_000);
    }

    #[test]
    fn zero_is_drawn_again() {
        let mut draws = [0, 0, 7, 8].into_iter();
        assert_eq!(first_nonzero(|| Ok(draws.next().unwrap())).unwrap().get(), 7);
        assert_eq!(draws.next(), Some(8), "one draw too many");
    }

    #[test]
    fn an_error_is_passed_on() {
        let error = first_nonzero(|| Err(io::Error::other("no entropy"))).unwrap_err();
        assert_eq!(error.to_string(), "no entropy");
    }
}
