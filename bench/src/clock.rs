//! Wall-clock time of short stretches: medians of interleaved runs.
//!
//! Shared machines are noisy: only the ratio of figures from one run means anything.

use std::time::Instant;

/// The times of one operation, in nanoseconds.
#[derive(Default, Debug)]
pub struct Times(Vec<u64>);

impl Times {
    /// Runs `work` and notes how long it took.
    pub fn measure(&mut self, work: &mut dyn FnMut()) {
        let start = Instant::now();
        work();
        self.0.push(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }

    /// Returns the median, zero when nothing was measured.
    pub fn median_ns(&mut self) -> u64 {
        self.0.sort_unstable();
        self.0.get(self.0.len() / 2).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(Times::default().median_ns(), 0);
        assert_eq!(Times(vec![9, 1, 5, 7, 3]).median_ns(), 5);
    }
}
