//! Servers that are overloaded: blocked for a while, running for a moment, and so on.
//!
//! The model of the Lifeguard paper (Dadgar, Phillips, Currey 2018, section V): a process is blocked for D, runs for I, is
//! blocked again. What arrives meanwhile waits in its socket's buffer, as far as that has room.

use popmap_core::rng::Rng;
use popmap_core::time::{Duration, Instant};

/// The shortest and the longest time for which an overloaded server is blocked; the logarithm is evenly distributed.
pub const BLOCKED: [Duration; 2] = [Duration::from_millis(128), Duration::from_millis(32_768)];
/// The shortest and the longest time for which it runs between; the logarithm is evenly distributed.
pub const RUNNING: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(1_024)];
/// Packets that wait for a blocked process; more are lost. About what Linux holds by default (`rmem_default`, 212,992
/// bytes, of which a short packet takes 768).
pub const SOCKET_PACKETS: usize = 277;

/// When one server is blocked and when it runs.
#[derive(Debug)]
pub struct Pauses {
    rng: Rng,
    blocked: bool,
    until: Instant,
}

impl Pauses {
    /// Returns the pauses of a server that runs until `first` and is overloaded from then on.
    pub const fn new(seed: u64, first: Instant) -> Self {
        Self { rng: Rng::new(seed), blocked: false, until: first }
    }

    /// Whether the server is blocked.
    pub const fn blocked(&self) -> bool {
        self.blocked
    }

    /// Returns when that changes.
    pub const fn until(&self) -> Instant {
        self.until
    }

    /// Changes it, when it is time to.
    pub fn advance(&mut self, now: Instant) {
        while now >= self.until {
            self.blocked = !self.blocked;
            let [least, most] = if self.blocked { BLOCKED } else { RUNNING };
            self.until = self.until + log_uniform(&mut self.rng, least, most);
        }
    }
}

/// Draws a span whose logarithm is evenly distributed.
fn log_uniform(rng: &mut Rng, least: Duration, most: Duration) -> Duration {
    let part = rng.below(1 << 53) as f64 / (1_u64 << 53) as f64;
    Duration((least.0 as f64 * (most.0 as f64 / least.0 as f64).powf(part)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_in_range_and_half_of_them_below_the_geometric_mean() {
        let mut pauses = Pauses::new(7, Instant::ZERO);
        let (mut spans, mut below) = ([0_u32; 2], [0_u32; 2]);
        for _ in 0..20_000 {
            let now = pauses.until();
            pauses.advance(now);
            let span = pauses.until().since(now);
            let [least, most] = if pauses.blocked() { BLOCKED } else { RUNNING };
            assert!((least..=most).contains(&span), "{span:?}");
            let at = usize::from(pauses.blocked());
            spans[at] += 1;
            below[at] += u32::from(u128::from(span.0).pow(2) < u128::from(least.0) * u128::from(most.0));
        }
        assert_eq!(spans, [10_000; 2]);
        assert!(below.iter().all(|below| (4_800..5_200).contains(below)), "{below:?}");
    }
}
