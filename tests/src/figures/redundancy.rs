//! Records received for each record applied, while all servers write, against loss and the pause between pulls.

use popmap_core::time::Duration;
use popmap_core::{Config, Slot, SyncConfig};

use super::detection::add;
use super::page::Table;
use super::pop::{PERCENT, Plan, Pop};
use super::propagation::start;
use super::svg::{Axis, Chart, Scale};
use super::{Drawn, Options, each};
use crate::scenario::{SHAPE, key, value};

/// Pauses between pulls, in milliseconds.
const PAUSES: [u64; 5] = [5, 10, 20, 40, 80];
/// Loss, in percent.
const LOSS: [u32; 3] = [0, 5, 20];
const SERVERS: usize = 64;
/// Keys that each server writes in turn.
const KEYS_EACH: u64 = 50;
/// Between two writes of a server.
const WRITE_EVERY: Duration = Duration::from_millis(40);

/// What the writes cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Records received.
    pub received: u64,
    /// Records that changed something.
    pub applied: u64,
    /// Bytes of payload that a server sent, each second.
    pub sent_per_second: f64,
}

/// Lets each of 64 servers write `writes` times.
///
/// # Panics
/// When a write is refused.
pub fn measure(seed: u64, loss: u32, pause: Duration, writes: u64) -> Cost {
    let adjust = |config: &mut Config| config.sync.pull_pause = pause;
    let plan = Plan {
        servers: SERVERS,
        capacity: 2 * SERVERS * KEYS_EACH as usize,
        shape: SHAPE,
        seed,
        loss_ppm: loss * PERCENT,
        rate: None,
        adjust: &adjust,
    };
    let mut storage = Pop::storage(&plan, SERVERS);
    let mut pop = Pop::new(&mut storage, plan);
    start(&mut pop);
    let total = |pop: &Pop<'_, '_>| {
        [
            pop.total(|stats| stats.map.records_received),
            pop.total(|stats| stats.map.records_applied),
            pop.total(|stats| stats.sent_bytes),
        ]
    };
    let (before, began) = (total(&pop), pop.now());
    for write in 0..writes {
        for slot in 0..SERVERS {
            let (now, own) = (pop.now(), slot as u64 * KEYS_EACH + write % KEYS_EACH);
            pop.node_mut(Slot::at(slot)).put(now, key(own), &value(write)).expect("room for it");
        }
        pop.run(WRITE_EVERY);
    }
    // Until what was lost last is mended.
    pop.run(Duration::from_secs(1));
    let after = total(&pop);
    let [received, applied, sent] = [0, 1, 2].map(|at| after[at] - before[at]);
    let seconds = pop.now().since(began).0 as f64 / 1e9;
    Cost { received, applied, sent_per_second: sent as f64 / SERVERS as f64 / seconds }
}

/// Measures and draws it.
///
/// # Errors
/// None.
pub fn draw(options: &Options) -> Result<Drawn, String> {
    let pauses = PAUSES.map(Duration::from_millis);
    let mut settings: Vec<_> = LOSS.iter().flat_map(|loss| pauses.map(|pause| (*loss, pause))).collect();
    if options.quick {
        settings.retain(|(loss, pause)| *loss == 5 && *pause == SyncConfig::DEFAULT.pull_pause);
    }
    let writes = if options.quick { 10 } else { 100 };
    let costs =
        each(options, "redundancy", &settings, |(loss, pause)| measure(options.seed, *loss, *pause, writes));
    let head = vec!["loss %", "pull pause ms", "applied", "received", "redundancy", "bytes/s sent a server"];
    let mut table = Table { head, rows: Vec::new() };
    let mut chart = Chart {
        title: "Records received for each one applied, 64 servers writing".to_owned(),
        x: Axis { label: "pause between pulls in ms", scale: Scale::Log },
        y: Axis { label: "redundancy", scale: Scale::Linear },
        series: Vec::new(),
    };
    for ((loss, pause), cost) in settings.into_iter().zip(costs) {
        let redundancy = cost.received as f64 / cost.applied.max(1) as f64;
        table.rows.push(vec![
            loss.to_string(),
            pause.as_millis().to_string(),
            cost.applied.to_string(),
            cost.received.to_string(),
            format!("{redundancy:.3}"),
            format!("{:.0}", cost.sent_per_second),
        ]);
        let colour = LOSS.iter().position(|&each| each == loss).unwrap_or(0);
        add(&mut chart, format!("{loss} % loss"), colour, false, (pause.as_millis() as f64, redundancy));
    }
    Ok(Drawn { charts: vec![("redundancy", chart)], table })
}
