//! Many simulated hours of 64 servers at 5 % loss, a seed each: kept in a file, and resumed where they were stopped.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use popmap_core::time::Duration;

use super::detection::Constants;
use super::members::{Outcome, run};
use super::page::Table;
use super::{Drawn, Options, each, millis, quantile};

/// The file of the hours that were done: one line a seed.
const FILE: &str = "hours_by_seed.csv";
const HEAD: &str =
    "seed,crashes,views,views over 1 s,views over 3 s,median ms,longest ms,false deaths,suspicions";
/// Crashes in an hour: one each ten seconds.
const CRASHES: u32 = 360;

/// What one hour came to. A view is one crash as one other server saw it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hour {
    /// The seed.
    pub seed: u64,
    /// Crashes in it.
    pub crashes: u64,
    /// Views of crashes.
    pub views: u64,
    /// Those that took over one second.
    pub over_1s: u64,
    /// Those that took over three.
    pub over_3s: u64,
    /// The median of them, in milliseconds.
    pub median_ms: u64,
    /// The longest, in milliseconds.
    pub longest_ms: u64,
    /// Servers held dead that were not.
    pub false_deaths: u64,
    /// Members suspected by a server's own probe.
    pub suspicions: u64,
}

impl Hour {
    fn of(seed: u64, outcome: &mut Outcome) -> Self {
        let over =
            |limit| outcome.each.iter().filter(|took| **took > Duration::from_secs(limit)).count() as u64;
        let (over_1s, over_3s) = (over(1), over(3));
        Self {
            seed,
            crashes: outcome.first.len() as u64,
            views: outcome.each.len() as u64,
            over_1s,
            over_3s,
            median_ms: quantile(&mut outcome.each, 0.5).as_millis(),
            longest_ms: millis(quantile(&mut outcome.each, 1.0)).ceil() as u64,
            false_deaths: outcome.all_false_deaths(),
            suspicions: outcome.suspicions,
        }
    }

    fn numbers(&self) -> [u64; 9] {
        let Self { seed, crashes, views, over_1s, over_3s, median_ms, longest_ms, false_deaths, suspicions } =
            *self;
        [seed, crashes, views, over_1s, over_3s, median_ms, longest_ms, false_deaths, suspicions]
    }

    fn line(&self) -> String {
        self.numbers().map(|number| number.to_string()).join(",") + "\n"
    }

    fn parse(line: &str) -> Option<Self> {
        let numbers: Vec<u64> = line.split(',').map(|cell| cell.parse().ok()).collect::<Option<_>>()?;
        let [seed, crashes, views, over_1s, over_3s, median_ms, longest_ms, false_deaths, suspicions] =
            numbers.try_into().ok()?;
        Some(Self { seed, crashes, views, over_1s, over_3s, median_ms, longest_ms, false_deaths, suspicions })
    }
}

/// Simulates the hours that the file does not have yet, and sums all up.
///
/// # Errors
/// What is wrong with the file.
///
/// # Panics
/// When a run does.
pub fn draw(options: &Options) -> Result<Drawn, String> {
    let folder = options.out.join("figures");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let path = folder.join(FILE);
    let mut hours = read(&path)?;
    let wanted = options.seed..options.seed + options.hours;
    let left: Vec<u64> = wanted.filter(|seed| !hours.contains_key(seed)).collect();
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let file = Mutex::new(file.map_err(|error| format!("{}: {error}", path.display()))?);
    if hours.is_empty() {
        writeln!(file.lock().expect("not poisoned"), "{HEAD}").map_err(|error| error.to_string())?;
    }
    let crashes = if options.quick { 6 } else { CRASHES };
    let done = each(options, "hours", &left, |&seed| {
        let hour = Hour::of(seed, &mut run(&Constants::Popmap.trial(seed, 5, 0, crashes)));
        file.lock().expect("not poisoned").write_all(hour.line().as_bytes()).map(|()| hour)
    });
    for hour in done {
        let hour = hour.map_err(|error| format!("{}: {error}", path.display()))?;
        hours.insert(hour.seed, hour);
    }
    let sorted = hours.values().fold(format!("{HEAD}\n"), |text, hour| text + &hour.line());
    fs::write(&path, sorted).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Drawn { charts: Vec::new(), table: table(hours.values()) })
}

/// Reads the hours that were done. A line that was cut off by an end of the process is done again.
fn read(path: &Path) -> Result<BTreeMap<u64, Hour>, String> {
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut lines = text.split_inclusive('\n');
    if lines.next().is_some_and(|head| head.trim_end() != HEAD) {
        return Err(format!("{}: another head than {HEAD:?}", path.display()));
    }
    let whole = lines.filter_map(|line| Hour::parse(line.strip_suffix('\n')?));
    Ok(whole.map(|hour| (hour.seed, hour)).collect())
}

fn table<'a>(hours: impl Iterator<Item = &'a Hour> + Clone) -> Table {
    let sum = |of: fn(&Hour) -> u64| hours.clone().map(of).sum::<u64>();
    let most = |of: fn(&Hour) -> u64| hours.clone().map(of).max().unwrap_or(0);
    let part = |of: fn(&Hour) -> u64| {
        format!("{:.4}", sum(of) as f64 * 100.0 / sum(|hour| hour.views).max(1) as f64)
    };
    Table {
        head: vec![
            "hours",
            "crashes",
            "views of a crash",
            "over 1 s, %",
            "over 3 s, %",
            "largest median of an hour, ms",
            "longest, ms",
            "false deaths",
            "suspicions per hour",
        ],
        rows: vec![vec![
            hours.clone().count().to_string(),
            sum(|hour| hour.crashes).to_string(),
            sum(|hour| hour.views).to_string(),
            part(|hour| hour.over_1s),
            part(|hour| hour.over_3s),
            most(|hour| hour.median_ms).to_string(),
            most(|hour| hour.longest_ms).to_string(),
            sum(|hour| hour.false_deaths).to_string(),
            (sum(|hour| hour.suspicions) / (hours.clone().count() as u64).max(1)).to_string(),
        ]],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written_and_half_a_line_is_not() {
        let hour = Hour {
            seed: 7,
            crashes: 360,
            views: 22_680,
            over_1s: 12,
            over_3s: 1,
            median_ms: 640,
            longest_ms: 1_800,
            false_deaths: 0,
            suspicions: 950,
        };
        assert_eq!(Hour::parse(hour.line().trim_end()), Some(hour));
        assert_eq!(Hour::parse("7,360,22680"), None);
        assert_eq!(Hour::parse(HEAD), None);
    }
}
