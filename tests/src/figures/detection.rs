//! Detection latency and false deaths against loss and overload, beside memberlist's constants.

use popmap_core::SwimConfig;
use popmap_core::time::Duration;

use super::members::{Outcome, Trial, run};
use super::page::Table;
use super::pop::PERCENT;
use super::svg::{Axis, Chart, Scale, Series};
use super::{Drawn, Options, each, millis, quantile};

/// Loss, in percent.
const LOSS: [u32; 3] = [0, 5, 20];
/// Overloaded servers.
const OVERLOADED: [usize; 6] = [0, 1, 2, 4, 8, 16];

/// The constants of memberlist's `DefaultLANConfig`, as far as this protocol has them, for 64 servers.
///
/// The suspicion's time is `SuspicionMult * max(1, log10(n)) * ProbeInterval` = 4 * 1.806 * 1 s, and at most
/// `SuspicionMaxTimeoutMult` = 6 times that. Suspects are left to refute, as there. `retry_dead` has no counterpart and is
/// left as it is.
pub const MEMBERLIST: SwimConfig = SwimConfig {
    period: Duration::from_secs(1),
    timeout: Duration::from_millis(500),
    indirect: 3,
    suspicion_min: Duration::from_millis(7_225),
    suspicion_max: Duration::from_millis(43_350),
    looks: 0,
    gossip: Duration::from_millis(200),
    fanout: 3,
    retry_dead: SwimConfig::DEFAULT.retry_dead,
};

/// Whose constants a run has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Constants {
    /// popmap's defaults.
    Popmap,
    /// [`MEMBERLIST`].
    Memberlist,
}

impl Constants {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Popmap, Self::Memberlist];

    /// Returns their name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Popmap => "popmap",
            Self::Memberlist => "memberlist",
        }
    }

    /// Returns a run of `crashes` crashes with these constants. memberlist's need a minute for each.
    pub fn trial(self, seed: u64, loss_percent: u32, overloaded: usize, crashes: u32) -> Trial {
        let (swim, cycle, down) = match self {
            Self::Popmap => (SwimConfig::DEFAULT, 10, 7),
            Self::Memberlist => (MEMBERLIST, 60, 50),
        };
        Trial {
            servers: 64,
            seed,
            loss_ppm: loss_percent * PERCENT,
            overloaded,
            swim,
            cycle: Duration::from_secs(cycle),
            down: Duration::from_secs(down),
            crashes,
        }
    }
}

struct Cell {
    constants: Constants,
    loss: u32,
    overloaded: usize,
    /// Seed and crashes of each run.
    runs: Vec<(u64, u32)>,
}

/// Measures and draws it.
///
/// # Errors
/// None.
pub fn draw(options: &Options) -> Result<Drawn, String> {
    let (losses, overloads): (&[u32], &[usize]) =
        if options.quick { (&[5], &[0, 4]) } else { (&LOSS, &OVERLOADED) };
    let mut cells = Vec::new();
    for constants in Constants::ALL {
        for &loss in losses {
            for &overloaded in overloads {
                // The same span of virtual time for both, as their crashes need it.
                let crashes = match (constants, options.quick) {
                    (Constants::Popmap, true) => 6,
                    (Constants::Memberlist, true) => 1,
                    (Constants::Popmap, false) => 120,
                    (Constants::Memberlist, false) => 20,
                };
                cells.push(Cell { constants, loss, overloaded, runs: vec![(options.seed, crashes)] });
            }
        }
    }
    let outcomes = each(options, "detection", &cells, |cell| {
        let mut all = Outcome::default();
        for &(seed, crashes) in &cell.runs {
            all.add(&run(&cell.constants.trial(seed, cell.loss, cell.overloaded, crashes)));
        }
        all
    });
    let mut table = Table {
        head: vec![
            "constants",
            "loss %",
            "overloaded",
            "crashes",
            "median s",
            "99.9 % s",
            "longest s",
            "false deaths per hour",
            "of healthy servers",
            "deaths while blocked per hour",
            "suspicions per hour",
        ],
        rows: Vec::new(),
    };
    let chart = |title: &str, label, scale| Chart {
        title: title.to_owned(),
        x: Axis { label: "overloaded servers of 64", scale: Scale::Linear },
        y: Axis { label, scale },
        series: Vec::new(),
    };
    let mut latency = chart("From a crash to a server that holds it dead", "seconds", Scale::Log);
    let mut deaths = chart("Servers held dead that ran", "false deaths an hour", Scale::Linear);
    for (cell, mut outcome) in cells.iter().zip(outcomes) {
        let [median, most] = [0.5, 0.999].map(|part| millis(quantile(&mut outcome.each, part)) / 1e3);
        let longest = millis(quantile(&mut outcome.last, 1.0)) / 1e3;
        let falsely = outcome.per_hour(outcome.all_false_deaths());
        table.rows.push(vec![
            cell.constants.name().to_owned(),
            cell.loss.to_string(),
            cell.overloaded.to_string(),
            outcome.first.len().to_string(),
            format!("{median:.2}"),
            format!("{most:.2}"),
            format!("{longest:.2}"),
            format!("{falsely:.1}"),
            format!("{:.1}", outcome.per_hour(outcome.false_deaths[0])),
            format!("{:.0}", outcome.per_hour(outcome.blocked_deaths)),
            format!("{:.0}", outcome.per_hour(outcome.suspicions)),
        ]);
        let x = cell.overloaded as f64;
        let of = |what: &str| format!("{}{what}, {} %", cell.constants.name(), cell.loss);
        let colour = LOSS.iter().position(|&loss| loss == cell.loss).unwrap_or(0);
        let dashed = cell.constants == Constants::Memberlist;
        add(&mut latency, of(" median"), colour, dashed, (x, median));
        add(&mut latency, of(" 99.9 %"), colour + 3, dashed, (x, most));
        add(&mut deaths, of(""), colour, dashed, (x, falsely));
    }
    Ok(Drawn { charts: vec![("detection", latency), ("false_deaths", deaths)], table })
}

/// Adds a point to the line of this name.
pub fn add(chart: &mut Chart, name: String, colour: usize, dashed: bool, point: (f64, f64)) {
    match chart.series.iter_mut().find(|series| series.name == name) {
        Some(series) => series.points.push(point),
        None => chart.series.push(Series { name, points: vec![point], colour, dashed }),
    }
}
