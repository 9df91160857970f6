//! Entrants that take turns in short rounds of one process, and how they compare.
//!
//! Knows medians. Must not know what is measured.
//!
//! Shared machines are noisy, and what disturbs one entrant of a round mostly disturbs the others too. So a ratio is the
//! median of the rounds' own ratios, not a ratio of medians.

use std::hint::black_box;
use std::time::Instant;

type Run<'a, T> = Box<dyn FnMut(&mut T) -> f64 + 'a>;

/// Who takes turns; each is given what the round has prepared and returns nanoseconds of one operation.
pub struct Contest<'a, T> {
    entrants: Vec<(String, Run<'a, T>)>,
}

impl<T> Default for Contest<'_, T> {
    fn default() -> Self {
        Self { entrants: Vec::new() }
    }
}

impl<'a, T> Contest<'a, T> {
    /// Returns a contest without entrants.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entrant.
    pub fn enter(&mut self, name: impl Into<String>, run: impl FnMut(&mut T) -> f64 + 'a) {
        self.entrants.push((name.into(), Box::new(run)));
    }

    /// Has the entrants take turns; nobody always goes first. The first tenth of the rounds warms up.
    pub fn run(mut self, rounds: usize, mut prepare: impl FnMut() -> T) -> Results {
        let mut results = Results {
            names: self.entrants.iter().map(|entrant| entrant.0.clone()).collect(),
            rounds: Vec::new(),
        };
        let (count, warm_up) = (self.entrants.len(), rounds.div_ceil(10));
        for round in 0..rounds + warm_up {
            let mut prepared = prepare();
            let mut ns = vec![0.0; count];
            for n in (0..count).map(|n| (n + round) % count) {
                ns[n] = (self.entrants[n].1)(&mut prepared);
            }
            if round >= warm_up {
                results.rounds.push(ns);
            }
        }
        results
    }
}

/// Nanoseconds of each entrant in each round.
#[derive(Debug)]
pub struct Results {
    names: Vec<String>,
    rounds: Vec<Vec<f64>>,
}

impl Results {
    fn column(&self, name: &str) -> usize {
        self.names.iter().position(|entrant| entrant == name).expect("the entrant took part")
    }

    /// Returns the median of an entrant's nanoseconds.
    ///
    /// # Panics
    /// When nobody of this name took part.
    #[must_use]
    pub fn ns(&self, name: &str) -> f64 {
        let column = self.column(name);
        median(self.rounds.iter().map(|round| round[column]))
    }

    /// Returns the median of the rounds' ratios of two entrants.
    ///
    /// # Panics
    /// When nobody of one of these names took part.
    #[must_use]
    pub fn ratio(&self, name: &str, other: &str) -> f64 {
        let (name, other) = (self.column(name), self.column(other));
        median(self.rounds.iter().map(|round| round[name] / round[other]))
    }
}

/// Returns the median; NaN of nothing.
pub fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Runs `work`, which does `count` operations, and returns nanoseconds of one.
pub fn time<R>(count: usize, work: impl FnOnce() -> R) -> f64 {
    let start = Instant::now();
    black_box(work());
    start.elapsed().as_nanos() as f64 / count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compared_is_of_one_round() {
        let mut contest = Contest::new();
        // The second of three rounds was disturbed: both took longer.
        contest.enter("a", |slow: &mut f64| 10.0 * *slow);
        contest.enter("b", |slow| 20.0 * *slow);
        let mut slow = [1.0, 1.0, 9.0, 1.0].into_iter();
        let results = contest.run(3, || slow.next().unwrap());
        assert_eq!((results.ns("a"), results.ns("b"), results.ratio("a", "b")), (10.0, 20.0, 0.5));
        assert!(median(std::iter::empty()).is_nan());
    }
}
