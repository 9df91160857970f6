//! The scoreboard: popmap, the floor and the peers, taking turns in one process.
//!
//! Knows the rows and in which order they come. Each file beside this one measures some of them.

// One exception: `allocations` has to be an allocator to count.
#![deny(unsafe_code)]

mod allocations;
mod authenticated;
mod delta;
mod line;
mod merge;
mod owners;
mod packets;
mod reads;
mod report;
mod swim;
mod vectors;

use std::process::ExitCode;

use clap::Parser;
use report::{Row, Rows};

/// Measures popmap beside the floor and its peers, and prints how they compare.
///
/// All that is compared takes turns in short rounds of this one process, and a ratio is the median of the rounds' own
/// ratios: on a shared machine nanoseconds are for orientation, ratios are what counts. A ratio is ours to the other's, so
/// less is better; a row with a target says whether it is met.
///
/// Merge: full packets of 1,400 bytes with 23 records of 24-byte values, 50,000 keys. The floor and the hand-written table
/// take the very same packets. Peers with packets of their own carry 30 records, and are compared per record (`record`).
/// `64`: all servers but the one that merges write. `warm`: the keys have just been merged once. `cold`: a buffer twice the
/// size of the last-level cache is walked first; the packets alone are read once more, as a network card leaves them in
/// the cache. `random`: any keys, and the caches as they are. `burst`: 32 packets at once. The map is as
/// full as writes make it, 7/8 of its capacity; `roomy`: half full. With huge pages (GLIBC_TUNABLES=glibc.malloc.hugetlb=1)
/// all that is cold is faster.
#[derive(Parser)]
#[command(name = "ratios", version)]
struct Arguments {
    /// Run a tenth of the rounds: for a first look
    #[arg(long)]
    quick: bool,
    /// Measure only rows whose name contains this
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,
    /// Print one JSON object a row instead of a table
    #[arg(long)]
    json: bool,
    /// Exit with 1 when a target is missed
    #[arg(long)]
    check: bool,
}

/// How much to measure, and what of it.
pub struct Effort {
    quick: bool,
    filter: Option<String>,
}

impl Effort {
    /// Returns how many rounds to run instead of so many.
    pub fn rounds(&self, most: usize) -> usize {
        if self.quick { most.div_ceil(10).max(3) } else { most }
    }

    /// Whether one of these rows is wanted.
    pub fn wants(&self, names: &[impl AsRef<str>]) -> bool {
        names.iter().any(|name| self.wants_row(name.as_ref()))
    }

    fn wants_row(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| name.contains(filter))
    }
}

/// What measures some of the rows.
type Section = fn(&Effort, &mut Rows);

const SECTIONS: [Section; 10] = [
    merge::merges,
    authenticated::merges,
    packets::peers,
    vectors::vectors,
    owners::owners,
    owners::deaths,
    delta::deltas,
    swim::pings,
    line::rates,
    reads::reads,
];

fn main() -> ExitCode {
    let Arguments { quick, filter, json, check } = Arguments::parse();
    let effort = Effort { quick, filter };
    let mut missed = 0;
    if !json {
        println!("{}", Row::HEAD);
    }
    for section in SECTIONS {
        let mut rows = Rows::default();
        section(&effort, &mut rows);
        for row in rows.into_iter().filter(|row| effort.wants_row(&row.name)) {
            if json {
                println!("{}", serde_json::to_string(&row).expect("a row can be written"));
            } else {
                println!("{row}");
            }
            missed += usize::from(row.ok == Some(false));
        }
    }
    if missed > 0 {
        eprintln!("ratios: {missed} targets missed");
    }
    if check && missed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
