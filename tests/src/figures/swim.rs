//! Detection, its spread and its cost against membership's times and counts.

use popmap_core::SwimConfig;
use popmap_core::time::Duration;

use super::bytes::idle_bytes;
use super::detection::{Constants, add};
use super::members::{Outcome, Trial, run};
use super::page::Table;
use super::pop::PERCENT;
use super::svg::{Axis, Chart, Scale};
use super::{Drawn, Options, each, millis, quantile};

/// Periods, in milliseconds; the time-out is two fifths of each, as in the default.
const PERIODS: [u64; 5] = [75, 150, 300, 600, 1_000];
/// Members told of news each time, and how often, in milliseconds.
const FANOUTS: [u8; 4] = [1, 2, 3, 5];
const GOSSIP: [u64; 3] = [20, 50, 200];
/// Loss, in percent.
const LOSS: u32 = 5;

/// Measures and draws it.
///
/// # Errors
/// None.
pub fn draw(options: &Options) -> Result<Drawn, String> {
    let quick = options.quick;
    let default = SwimConfig::DEFAULT;
    let periods = PERIODS.map(Duration::from_millis).map(|period| SwimConfig {
        period,
        timeout: Duration(period.0 * default.timeout.0 / default.period.0),
        ..default
    });
    let mut settings: Vec<_> = periods.into_iter().map(|swim| (true, swim)).collect();
    for gossip in GOSSIP {
        let gossip = Duration::from_millis(gossip);
        settings.extend(FANOUTS.map(|fanout| (false, SwimConfig { gossip, fanout, ..default })));
    }
    if quick {
        settings.retain(|(period, swim)| {
            if *period {
                swim.period == default.period
            } else {
                (swim.gossip, swim.fanout) == (default.gossip, default.fanout)
            }
        });
    }
    let crashes = if quick { 4 } else { 40 };
    let outcomes = each(options, "swim", &settings, |(period, swim)| {
        let trial = Trial { swim: *swim, ..Constants::Popmap.trial(options.seed, LOSS, 0, crashes) };
        let cost = if *period { idle_bytes(options.seed, 64, LOSS * PERCENT, *swim, quick) } else { 0.0 };
        (run(&trial), cost)
    });
    let mut table = Table {
        head: vec![
            "period ms",
            "gossip ms",
            "fan-out",
            "median s",
            "99.9 % s",
            "first to last, median ms",
            "99 % ms",
            "false deaths",
            "suspicions per hour",
            "idle bytes/s a server",
        ],
        rows: Vec::new(),
    };
    let axis = |label, scale| Axis { label, scale };
    let mut periods = Chart {
        title: "Detection against the period of probes, at 5 % loss".to_owned(),
        x: axis("period in ms", Scale::Log),
        y: axis("seconds", Scale::Log),
        series: Vec::new(),
    };
    let mut spread = Chart {
        title: "From the first server that knows of a death to the last".to_owned(),
        x: axis("members told each time", Scale::Linear),
        y: axis("ms", Scale::Linear),
        series: Vec::new(),
    };
    for ((period, swim), (mut outcome, cost)) in settings.into_iter().zip(outcomes) {
        let row = row(swim, &mut outcome, cost, period);
        table.rows.push(row.0);
        let [median, most, spread_median, spread_most] = row.1;
        let (x, gossip) = (millis(swim.period), swim.gossip.as_millis());
        if period {
            add(&mut periods, "median".to_owned(), 0, false, (x, median));
            add(&mut periods, "99.9 %".to_owned(), 1, false, (x, most));
        } else {
            let (x, colour) = (f64::from(swim.fanout), GOSSIP.iter().position(|&g| g == gossip).unwrap_or(0));
            add(&mut spread, format!("median, each {gossip} ms"), colour, false, (x, spread_median));
            add(&mut spread, format!("99 %, each {gossip} ms"), colour, true, (x, spread_most));
        }
    }
    Ok(Drawn { charts: vec![("period", periods), ("fanout", spread)], table })
}

fn row(swim: SwimConfig, outcome: &mut Outcome, cost: f64, period: bool) -> (Vec<String>, [f64; 4]) {
    let [median, most] = [0.5, 0.999].map(|part| millis(quantile(&mut outcome.each, part)) / 1e3);
    let mut spread = outcome.spread();
    let [middle, slowest] = [0.5, 0.99].map(|part| millis(quantile(&mut spread, part)));
    let cells = vec![
        swim.period.as_millis().to_string(),
        swim.gossip.as_millis().to_string(),
        swim.fanout.to_string(),
        format!("{median:.2}"),
        format!("{most:.2}"),
        format!("{middle:.0}"),
        format!("{slowest:.0}"),
        outcome.all_false_deaths().to_string(),
        format!("{:.0}", outcome.per_hour(outcome.suspicions)),
        if period { format!("{cost:.0}") } else { "as above".to_owned() },
    ];
    (cells, [median, most, middle, slowest])
}
