//! The figures of the documentation: measured on real nodes in virtual time, drawn, and written with their tables.
//!
//! ```text
//! cargo run --release -p popmap-tests --bin figures                   all of them, into core/docs
//! cargo run --release -p popmap-tests --bin figures -- detection      one
//! cargo run --release -p popmap-tests --bin figures -- hours --hours 1000
//! ```
//!
//! A figure is a pure function of its seed and its size ([`Options`]): the same command writes the same bytes. What each
//! shows, and which default follows from it, is said in `core/docs/figures.md`, part of core's documentation; the tables
//! there are replaced by this ([`page`]).
//!
//! Below the figures: [`pop`] drives real nodes, `wakeups` says whom next, [`overload`] blocks some of them, [`ports`] gives links a rate, [`members`]
//! crashes servers and judges who is held dead; [`svg`] draws.

pub mod bytes;
pub mod catch_up;
pub mod detection;
pub mod hours;
pub mod members;
pub mod overload;
pub mod page;
pub mod pop;
pub mod ports;
pub mod propagation;
pub mod redundancy;
pub mod svg;
pub mod swim;
mod wakeups;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use popmap_core::time::Duration;

/// How a figure is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// A version that takes seconds, for tests: the same code at the least size that shows something.
    pub quick: bool,
    /// What everything is drawn from.
    pub seed: u64,
    /// Runs at a time.
    pub threads: usize,
    /// Hours to simulate of each kind, one a seed, for `hours` and `overloaded`.
    pub hours: u64,
    /// Where the files are: `figures.md`, and the folder `figures`.
    pub out: PathBuf,
    /// Tells how far it is.
    pub tell: fn(&str),
}

/// What a figure has come to.
#[derive(Debug)]
pub struct Drawn {
    /// Charts, by the names of their files.
    pub charts: Vec<(&'static str, svg::Chart)>,
    /// The numbers.
    pub table: page::Table,
}

/// A figure that can be made.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Its name.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// Measures and draws it.
    pub draw: fn(&Options) -> Result<Drawn, String>,
    /// Whether it takes hours of many seeds, so that it is only made when it is named.
    pub long: bool,
}

impl Figure {
    /// All figures, in the order of the page.
    pub const ALL: [Self; 8] = [
        Self {
            name: "detection",
            about: "detection latency and false deaths against loss and overload, beside memberlist's constants",
            draw: detection::draw,
            long: false,
        },
        Self {
            name: "swim",
            about: "detection, its spread and its cost against membership's period and fan-out",
            draw: swim::draw,
            long: false,
        },
        Self {
            name: "hours",
            about: "many simulated hours of 64 servers at 5 % loss (--hours); resumed where it was stopped",
            draw: hours::draw,
            long: true,
        },
        Self {
            name: "overloaded",
            about: "the same with 8 servers overloaded, with popmap's and with memberlist's constants",
            draw: hours::draw_overloaded,
            long: true,
        },
        Self {
            name: "propagation",
            about: "time of a write to the other servers, against the delay of pushes and the interval of exchanges",
            draw: propagation::draw,
            long: false,
        },
        Self {
            name: "redundancy",
            about: "records received for each record applied, against loss and the pause between pulls",
            draw: redundancy::draw,
            long: false,
        },
        Self {
            name: "bytes",
            about: "bytes of a server each second, against servers and against keys",
            draw: bytes::draw,
            long: false,
        },
        Self {
            name: "catch_up",
            about: "time in which a fresh server catches up with 50,000 keys at 1 Gbit/s",
            draw: catch_up::draw,
            long: false,
        },
    ];

    /// Returns the figure of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|figure| figure.name == name)
    }
}

/// Runs `of` for each of `items`, some at a time, and returns what came of each in their order.
///
/// # Panics
/// When one of them does.
pub fn each<T: Sync, R: Send>(
    options: &Options,
    what: &str,
    items: &[T],
    of: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let results: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..options.threads.min(items.len()) {
            scope.spawn(|| {
                while let Some((item, result)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    items.get(at).zip(results.get(at))
                } {
                    *result.lock().expect("not poisoned") = Some(of(item));
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    (options.tell)(&format!("{what}: {done} of {} runs", items.len()));
                }
            });
        }
    });
    results.into_iter().map(|result| result.into_inner().expect("not poisoned").expect("was run")).collect()
}

/// Returns the span that `part` of `spans` do not exceed; zero of none. Sorts them.
pub fn quantile(spans: &mut [Duration], part: f64) -> Duration {
    spans.sort_unstable();
    let at = (spans.len() as f64 * part).ceil() as usize;
    spans.get(at.saturating_sub(1)).copied().unwrap_or_default()
}

/// Returns a span in milliseconds.
pub fn millis(span: Duration) -> f64 {
    span.0 as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_spans() {
        let mut spans: Vec<_> = (1..=1_000).rev().map(Duration).collect();
        let at = |spans: &mut Vec<_>, part| quantile(spans, part).0;
        assert_eq!([0.0, 0.5, 0.999, 1.0].map(|part| at(&mut spans, part)), [1, 500, 999, 1_000]);
        assert_eq!(quantile(&mut [], 0.5), Duration::ZERO);
    }

    #[test]
    fn results_come_in_the_order_of_their_items() {
        let options =
            Options { quick: true, seed: 1, threads: 3, hours: 0, out: PathBuf::new(), tell: |_| {} };
        let items: Vec<u64> = (0..100).collect();
        assert_eq!(
            each(&options, "squares", &items, |n| n * n),
            items.iter().map(|n| n * n).collect::<Vec<_>>()
        );
        assert!(each(&options, "nothing", &[], |n: &u64| *n).is_empty());
    }
}
