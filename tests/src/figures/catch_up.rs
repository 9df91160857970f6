//! How long a fresh server takes to catch up with 50,000 keys over links of 1 Gbit/s.

use popmap_core::time::Duration;
use popmap_core::{Config, Phase, Slot, SyncConfig};

use super::page::Table;
use super::pop::{PERCENT, Plan, Pop};
use super::ports::Rate;
use super::propagation::start;
use super::svg::{Axis, Chart, Scale, Series};
use super::{Drawn, Options, each, millis};
use crate::scenario::{SHAPE, key, value};

/// Loss, in percent.
const LOSS: [u32; 3] = [0, 5, 20];
/// Keys that the fresh server lacks.
pub const KEYS: u64 = 50_000;
/// Packets that a peer may send in answer to one request, beside the default.
const WINDOWS: [u16; 3] = [8, 32, 64];
const STEP: Duration = Duration::from_millis(1);
/// What has not come by then has not come.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a fresh server meets.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Servers, it among them.
    pub servers: usize,
    /// Packets lost, in percent.
    pub loss: u32,
    /// Keys that it lacks.
    pub keys: u64,
    /// See [`SyncConfig::window`].
    pub window: u16,
}

/// What a fresh server went through.
#[derive(Clone, Debug)]
pub struct CatchUp {
    /// Records that it held, each millisecond from its start.
    pub held: Vec<u64>,
    /// From its start until it held all keys.
    pub whole: Duration,
    /// From its start until it accounted for all that the others do.
    pub equal: Duration,
    /// From its start until it might write.
    pub active: Duration,
    /// Records that came for each that it lacked.
    pub redundancy: f64,
    /// Packets that found a link's buffer full.
    pub dropped: u64,
    /// Requests that were repeated because nothing came.
    pub retries: u64,
}

/// Fills a PoP of `servers` with `keys` keys while one of them is down, and starts that one.
///
/// # Panics
/// When the others do not have all keys within two minutes of virtual time.
pub fn measure(seed: u64, setting: &Setting) -> CatchUp {
    let Setting { servers, loss, keys, window } = *setting;
    let adjust = |config: &mut Config| config.sync.window = window;
    let plan = Plan {
        servers,
        capacity: keys as usize * 5 / 4,
        shape: SHAPE,
        seed,
        loss_ppm: loss * PERCENT,
        rate: Some(Rate::GIGABIT),
        adjust: &adjust,
    };
    let mut storage = Pop::storage(&plan, servers + 1);
    let mut pop = Pop::new(&mut storage, plan);
    start(&mut pop);
    let fresh = Slot::at(servers - 1);
    pop.crash(fresh);
    for n in 0..keys {
        let now = pop.now();
        let author = Slot::at(n as usize % (servers - 1));
        pop.node_mut(author).put(now, key(n), &value(n)).expect("room for it");
    }
    let others = pop.running();
    let settled = |pop: &Pop<'_, '_>| {
        let version = pop.node(Slot::at(0)).map().version();
        others.iter().all(|slot| {
            let map = pop.node(slot).map();
            map.len() as u64 == keys && map.version() == version
        })
    };
    pop.run_until(Duration::from_secs(120), Duration::from_millis(50), settled).expect("the others have all");
    pop.run(Duration::from_secs(5));
    pop.start(fresh);
    let (began, dropped) = (pop.now(), pop.dropped());
    let mut held = Vec::new();
    let (mut whole, mut equal, mut active) = (None, None, None);
    while (whole.is_none() || equal.is_none() || active.is_none()) && pop.now().since(began) < PATIENCE {
        pop.run(STEP);
        let (map, took) = (pop.node(fresh).map(), pop.now().since(began));
        held.push(map.len() as u64);
        if map.len() as u64 == keys {
            whole.get_or_insert(took);
            if map.version() == pop.node(Slot::at(0)).map().version() {
                equal.get_or_insert(took);
            }
        }
        if matches!(map.phase(), Phase::Active { .. }) {
            active.get_or_insert(took);
        }
    }
    let stats = pop.node(fresh).stats();
    CatchUp {
        held,
        whole: whole.unwrap_or(PATIENCE),
        equal: equal.unwrap_or(PATIENCE),
        active: active.unwrap_or(PATIENCE),
        redundancy: stats.map.records_received as f64 / keys as f64,
        dropped: pop.dropped() - dropped,
        retries: stats.sync.retries,
    }
}

/// Measures and draws it.
///
/// # Errors
/// None.
pub fn draw(options: &Options) -> Result<Drawn, String> {
    let window = SyncConfig::DEFAULT.window;
    let usual = Setting { servers: 8, loss: 5, keys: KEYS, window };
    let mut settings: Vec<_> = LOSS.map(|loss| Setting { loss, ..usual }).into();
    settings.extend([3, 64].map(|servers| Setting { servers, ..usual }));
    settings.extend(WINDOWS.map(|window| Setting { window, ..usual }));
    if options.quick {
        settings = vec![Setting { servers: 4, keys: 10_000, ..usual }];
    }
    // Sixty-four servers take half a gigabyte: one seed shows whether they differ.
    let seeds = |setting: &Setting| if options.quick || setting.servers == 64 { 1 } else { 5 };
    let runs: Vec<_> =
        settings.iter().flat_map(|&each| (0..seeds(&each)).map(move |seed| (seed, each))).collect();
    let measured = each(options, "catch_up", &runs, |(seed, setting)| measure(options.seed + seed, setting));
    let head = vec![
        "servers",
        "loss %",
        "keys",
        "window",
        "seed",
        "holds all after ms",
        "equal after ms",
        "may write after ms",
        "redundancy",
        "dropped by the switch",
        "retries",
    ];
    let mut table = Table { head, rows: Vec::new() };
    let mut chart = Chart {
        title: "A fresh server among 8, 1 Gbit/s".to_owned(),
        x: Axis { label: "ms from its start", scale: Scale::Linear },
        y: Axis { label: "keys held", scale: Scale::Linear },
        series: Vec::new(),
    };
    for ((seed, setting), run) in runs.into_iter().zip(measured) {
        let Setting { servers, loss, keys, window: packets } = setting;
        let mut row = vec![servers.to_string(), loss.to_string(), keys.to_string()];
        row.extend([packets.to_string(), (options.seed + seed).to_string()]);
        row.extend([run.whole, run.equal, run.active].map(|span| format!("{:.0}", millis(span))));
        row.extend([format!("{:.3}", run.redundancy), run.dropped.to_string(), run.retries.to_string()]);
        table.rows.push(row);
        if seed == 0 && packets == window && (servers == usual.servers || options.quick) {
            let until = run.held.iter().position(|held| *held == keys).unwrap_or(0) + 10;
            let every = until.div_ceil(100).max(1);
            let points = run.held.iter().enumerate().take(until).step_by(every);
            chart.series.push(Series {
                name: format!("{loss} % loss"),
                points: points.map(|(at, held)| (at as f64 + 1.0, *held as f64)).collect(),
                colour: LOSS.iter().position(|&each| each == loss).unwrap_or(0),
                dashed: false,
            });
        }
    }
    Ok(Drawn { charts: vec![("catch_up", chart)], table })
}
