//! How soon a write is at the other servers, against the delay of pushes and the interval of exchanges.

use popmap_core::rng::Rng;
use popmap_core::time::Duration;
use popmap_core::{Config, Lookup, Phase, Slot, SlotSet, SyncConfig};

use super::detection::add;
use super::page::Table;
use super::pop::{PERCENT, Plan, Pop};
use super::svg::{Axis, Chart, Scale};
use super::{Drawn, Options, each, millis, quantile};
use crate::scenario::{SHAPE, key, value};

/// Delays of pushes, in milliseconds.
const PUSH_DELAYS: [u64; 5] = [0, 2, 5, 10, 50];
/// Intervals of exchanges, in milliseconds.
const EXCHANGES: [u64; 5] = [50, 100, 250, 500, 1_000];
/// Loss, in percent.
const LOSS: [u32; 3] = [0, 5, 20];
/// How often the servers are looked at for a write.
const STEP: Duration = Duration::from_micros(250);
/// What is not everywhere by then counts as that long.
const PATIENCE: Duration = Duration::from_secs(10);
const SERVERS: usize = 64;

/// One run's settings.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Packets lost, in percent.
    pub loss: u32,
    /// When to exchange and push.
    pub sync: SyncConfig,
    /// Writes, one after another.
    pub writes: u32,
}

/// For each write, the time until each of the others had it, and until the last one did.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// Of each write and server.
    pub each: Vec<Duration>,
    /// Of each write.
    pub last: Vec<Duration>,
}

/// Starts a PoP that is at rest and may write.
///
/// # Panics
/// When it does not come to that within 10 seconds.
pub fn start(pop: &mut Pop<'_, '_>) {
    let all = pop.running();
    let ready = |pop: &Pop<'_, '_>| {
        all.iter().all(|slot| {
            let map = pop.node(slot).map();
            map.live() == all && matches!(map.phase(), Phase::Active { .. })
        })
    };
    pop.run_until(Duration::from_secs(10), Duration::from_millis(10), ready).expect("a PoP that has started");
}

/// Measures one setting.
///
/// # Panics
/// When a write is refused.
pub fn measure(seed: u64, setting: &Setting) -> Times {
    let adjust = |config: &mut Config| config.sync = setting.sync;
    let plan = Plan {
        servers: SERVERS,
        capacity: 2_000,
        shape: SHAPE,
        seed,
        loss_ppm: setting.loss * PERCENT,
        rate: None,
        adjust: &adjust,
    };
    let mut storage = Pop::storage(&plan, SERVERS);
    let mut pop = Pop::new(&mut storage, plan);
    start(&mut pop);
    let mut rng = Rng::new(seed ^ 0x7072_6f70);
    let mut times = Times::default();
    for write in 0..u64::from(setting.writes) {
        pop.run(Duration(rng.below(200_000_000)));
        let author = Slot::at(rng.below(SERVERS as u64) as usize);
        let (at, mut lack) = (pop.now(), SlotSet::first(SERVERS).without(author));
        pop.node_mut(author).put(at, key(write), &value(write)).expect("room for it");
        let mut last = PATIENCE;
        while !lack.is_empty() && pop.now().since(at) < PATIENCE {
            pop.run(STEP);
            let mut held = [0; 24];
            let has = |slot: &Slot| matches!(pop.node(*slot).get(key(write), &mut held), Lookup::Found(_));
            let have: SlotSet = lack.iter().filter(has).collect();
            lack = lack.difference(have);
            last = pop.now().since(at);
            times.each.extend(have.iter().map(|_| last));
        }
        times.each.extend(lack.iter().map(|_| PATIENCE));
        times.last.push(last);
    }
    times
}

/// Measures and draws it.
///
/// # Errors
/// None.
pub fn draw(options: &Options) -> Result<Drawn, String> {
    let writes = if options.quick { 10 } else { 100 };
    let default = SyncConfig::DEFAULT;
    let mut settings = Vec::new();
    for loss in LOSS {
        let delays = PUSH_DELAYS.map(|ms| SyncConfig { push_delay: Duration::from_millis(ms), ..default });
        settings.extend(delays.map(|sync| (true, Setting { loss, sync, writes })));
        let exchanges = EXCHANGES.map(|ms| SyncConfig { exchange: Duration::from_millis(ms), ..default });
        settings.extend(exchanges.map(|sync| (false, Setting { loss, sync, writes })));
    }
    if options.quick {
        settings.retain(|(delay, setting)| {
            *delay && setting.loss == 5 && setting.sync.push_delay == default.push_delay
        });
    }
    let measured = each(options, "propagation", &settings, |(_, setting)| measure(options.seed, setting));
    let head = vec![
        "loss %",
        "push delay ms",
        "exchange ms",
        "median ms",
        "99 % ms",
        "99.9 % ms",
        "last server, median ms",
        "last server, longest ms",
    ];
    let mut table = Table { head, rows: Vec::new() };
    let chart = |title: &str, label, scale| Chart {
        title: title.to_owned(),
        x: Axis { label, scale },
        y: Axis { label: "ms from the write", scale: Scale::Log },
        series: Vec::new(),
    };
    let mut delays =
        chart("A write at the other servers, against the delay of pushes", "push delay in ms", Scale::Linear);
    let mut exchanges = chart("The same against the interval of exchanges", "exchange in ms", Scale::Log);
    for ((delay, Setting { loss, sync, .. }), mut times) in settings.into_iter().zip(measured) {
        let [median, most, nearly] = [0.5, 0.99, 0.999].map(|part| millis(quantile(&mut times.each, part)));
        let [last, longest] = [0.5, 1.0].map(|part| millis(quantile(&mut times.last, part)));
        let (push, exchange) = (millis(sync.push_delay), millis(sync.exchange));
        let cells = [push, exchange].map(|ms| format!("{ms:.0}"));
        let mut row = vec![loss.to_string()];
        row.extend(cells);
        row.extend([median, most, nearly, last, longest].map(|ms| format!("{ms:.1}")));
        table.rows.push(row);
        let colour = LOSS.iter().position(|&each| each == loss).unwrap_or(0);
        if delay {
            add(&mut delays, format!("median, {loss} % loss"), colour, false, (push, median));
            add(&mut delays, format!("last server, {loss} % loss"), colour, true, (push, last));
        } else {
            add(&mut exchanges, format!("99 %, {loss} % loss"), colour, false, (exchange, most));
            add(&mut exchanges, format!("last server, {loss} % loss"), colour, true, (exchange, last));
        }
    }
    Ok(Drawn { charts: vec![("push_delay", delays), ("exchange", exchanges)], table })
}
