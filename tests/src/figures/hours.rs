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

const HEAD: &str = "constants,overloaded,seed,crashes,views,views over 1 s,views over 3 s,median ms,99.9 % ms,\
                    longest ms,false deaths,deaths while blocked,suspicions";
/// Loss, in percent.
const LOSS: u32 = 5;

/// Which servers these are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Kind {
    constants: Constants,
    overloaded: usize,
}

impl Kind {
    fn of(constants: Constants, overloaded: usize) -> Self {
        Self { constants, overloaded }
    }

    /// Crashes in an hour: one each ten seconds with popmap's constants, each minute with memberlist's.
    fn crashes(self) -> u32 {
        match self.constants {
            Constants::Popmap => 360,
            Constants::Memberlist => 60,
        }
    }
}

/// What one hour came to. A view is one crash as one other server saw it that was not overloaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hour {
    kind: Kind,
    seed: u64,
    /// Crashes in it.
    crashes: u64,
    /// Views of crashes.
    views: u64,
    /// Those that took over one second.
    over_1s: u64,
    /// Those that took over three.
    over_3s: u64,
    /// The median of them.
    median_ms: u64,
    /// The time that 99.9 % of them did not exceed.
    most_ms: u64,
    longest_ms: u64,
    /// Servers held dead that ran.
    false_deaths: u64,
    /// Servers held dead while they were blocked.
    blocked_deaths: u64,
    /// Members suspected by a server's own probe.
    suspicions: u64,
}

impl Hour {
    fn of(kind: Kind, seed: u64, outcome: &mut Outcome) -> Self {
        let over =
            |limit| outcome.each.iter().filter(|took| **took > Duration::from_secs(limit)).count() as u64;
        let (over_1s, over_3s) = (over(1), over(3));
        let mut within = |part| millis(quantile(&mut outcome.each, part)).ceil() as u64;
        let [median_ms, most_ms, longest_ms] = [within(0.5), within(0.999), within(1.0)];
        Self {
            kind,
            seed,
            crashes: outcome.first.len() as u64,
            views: outcome.each.len() as u64,
            over_1s,
            over_3s,
            median_ms,
            most_ms,
            longest_ms,
            false_deaths: outcome.all_false_deaths(),
            blocked_deaths: outcome.blocked_deaths,
            suspicions: outcome.suspicions,
        }
    }

    fn line(&self) -> String {
        let Self { kind, seed, crashes, views, over_1s, over_3s, .. } = *self;
        let Self { median_ms, most_ms, longest_ms, false_deaths, blocked_deaths, suspicions, .. } = *self;
        let (constants, overloaded) = (kind.constants.name(), kind.overloaded);
        format!(
            "{constants},{overloaded},{seed},{crashes},{views},{over_1s},{over_3s},{median_ms},{most_ms},\
             {longest_ms},{false_deaths},{blocked_deaths},{suspicions}\n"
        )
    }

    fn parse(line: &str) -> Option<Self> {
        let (constants, numbers) = line.split_once(',')?;
        let constants = Constants::ALL.into_iter().find(|known| known.name() == constants)?;
        let numbers: Vec<u64> = numbers.split(',').map(|cell| cell.parse().ok()).collect::<Option<_>>()?;
        let numbers: [u64; 12] = numbers.try_into().ok()?;
        let [overloaded, seed, crashes, views, over_1s, over_3s, times @ ..] = numbers;
        let [median_ms, most_ms, longest_ms, false_deaths, blocked_deaths, suspicions] = times;
        let kind = Kind::of(constants, overloaded as usize);
        Some(Self {
            kind,
            seed,
            crashes,
            views,
            over_1s,
            over_3s,
            median_ms,
            most_ms,
            longest_ms,
            false_deaths,
            blocked_deaths,
            suspicions,
        })
    }
}

/// What was done of each kind, by seed.
type Hours = BTreeMap<(Kind, u64), Hour>;

/// Nobody overloaded, popmap's defaults: false deaths that there must not be.
///
/// # Errors
/// What is wrong with the file.
///
/// # Panics
/// When a run does.
pub fn draw(options: &Options) -> Result<Drawn, String> {
    simulate(options, "hours", &[Kind::of(Constants::Popmap, 0)])
}

/// Eight overloaded servers, with popmap's defaults and with memberlist's constants.
///
/// # Errors
/// What is wrong with the file.
///
/// # Panics
/// When a run does.
pub fn draw_overloaded(options: &Options) -> Result<Drawn, String> {
    let kinds = [Constants::Popmap, Constants::Memberlist].map(|constants| Kind::of(constants, 8));
    simulate(options, "overloaded", &kinds)
}

/// Simulates the hours that the file does not have yet, and sums all up.
fn simulate(options: &Options, name: &str, kinds: &[Kind]) -> Result<Drawn, String> {
    let folder = options.out.join("figures");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let path = folder.join(format!("{name}_by_seed.csv"));
    let mut hours = read(&path)?;
    let seeds = options.seed..options.seed + options.hours;
    let wanted = seeds.flat_map(|seed| kinds.iter().map(move |&kind| (kind, seed)));
    let left: Vec<_> = wanted.filter(|which| !hours.contains_key(which)).collect();
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let file = Mutex::new(file.map_err(|error| format!("{}: {error}", path.display()))?);
    if hours.is_empty() {
        writeln!(file.lock().expect("not poisoned"), "{HEAD}").map_err(|error| error.to_string())?;
    }
    let done = each(options, name, &left, |&(kind, seed)| {
        let crashes = if options.quick { 6 } else { kind.crashes() };
        let trial = kind.constants.trial(seed, LOSS, kind.overloaded, crashes);
        let hour = Hour::of(kind, seed, &mut run(&trial));
        file.lock().expect("not poisoned").write_all(hour.line().as_bytes()).map(|()| hour)
    });
    for hour in done {
        let hour = hour.map_err(|error| format!("{}: {error}", path.display()))?;
        hours.insert((hour.kind, hour.seed), hour);
    }
    let sorted = hours.values().fold(format!("{HEAD}\n"), |text, hour| text + &hour.line());
    fs::write(&path, sorted).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Drawn { charts: Vec::new(), table: table(&hours, kinds) })
}

/// Reads the hours that were done. A line that was cut off by an end of the process is done again.
fn read(path: &Path) -> Result<Hours, String> {
    if !path.exists() {
        return Ok(Hours::new());
    }
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut lines = text.split_inclusive('\n');
    if lines.next().is_some_and(|head| head.trim_end() != HEAD) {
        return Err(format!("{}: another head than {HEAD:?}", path.display()));
    }
    let whole = lines.filter_map(|line| Hour::parse(line.strip_suffix('\n')?));
    Ok(whole.map(|hour| ((hour.kind, hour.seed), hour)).collect())
}

fn table(hours: &Hours, kinds: &[Kind]) -> Table {
    Table {
        head: vec![
            "constants",
            "overloaded",
            "hours",
            "crashes",
            "views of a crash",
            "over 1 s, %",
            "over 3 s, %",
            "largest median of an hour, ms",
            "largest 99.9 %, ms",
            "longest, ms",
            "false deaths",
            "deaths while blocked",
            "suspicions per hour",
        ],
        rows: kinds.iter().map(|&kind| row(hours, kind)).collect(),
    }
}

fn row(hours: &Hours, kind: Kind) -> Vec<String> {
    let of_kind = || hours.values().filter(|hour| hour.kind == kind);
    let sum = |of: fn(&Hour) -> u64| of_kind().map(of).sum::<u64>();
    let most = |of: fn(&Hour) -> u64| of_kind().map(of).max().unwrap_or(0);
    let part = |of: fn(&Hour) -> u64| {
        format!("{:.4}", sum(of) as f64 * 100.0 / sum(|hour| hour.views).max(1) as f64)
    };
    let count = of_kind().count() as u64;
    vec![
        kind.constants.name().to_owned(),
        kind.overloaded.to_string(),
        count.to_string(),
        sum(|hour| hour.crashes).to_string(),
        sum(|hour| hour.views).to_string(),
        part(|hour| hour.over_1s),
        part(|hour| hour.over_3s),
        most(|hour| hour.median_ms).to_string(),
        most(|hour| hour.most_ms).to_string(),
        most(|hour| hour.longest_ms).to_string(),
        sum(|hour| hour.false_deaths).to_string(),
        sum(|hour| hour.blocked_deaths).to_string(),
        (sum(|hour| hour.suspicions) / count.max(1)).to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written_and_half_a_line_is_not() {
        let hour = Hour {
            kind: Kind::of(Constants::Memberlist, 8),
            seed: 7,
            crashes: 60,
            views: 3_240,
            over_1s: 12,
            over_3s: 1,
            median_ms: 640,
            most_ms: 1_400,
            longest_ms: 1_800,
            false_deaths: 0,
            blocked_deaths: 3,
            suspicions: 950,
        };
        assert_eq!(Hour::parse(hour.line().trim_end()), Some(hour));
        assert_eq!(Hour::parse("memberlist,8,7,60,3240"), None);
        assert_eq!(Hour::parse(HEAD), None);
    }
}
