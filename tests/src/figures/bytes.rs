//! Bytes of a server each second, both ways, against the servers of the PoP and the keys of the map.

use popmap_core::time::Duration;
use popmap_core::{Config, Slot, SwimConfig};

use super::detection::add;
use super::page::Table;
use super::pop::{Plan, Pop};
use super::propagation::start;
use super::svg::{Axis, Chart, Scale};
use super::{Drawn, Options, each};
use crate::scenario::{SHAPE, key, value};

/// Servers of the PoPs that differ in them; each has [`KEYS`] keys.
const SERVERS: [usize; 5] = [4, 8, 16, 32, 64];
const KEYS: u64 = 1_000;
/// Keys of the maps that differ in them; each is of [`FEW`] servers. A million on 64 would take 6 GiB of memory.
const MANY_KEYS: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];
const FEW: usize = 4;
/// Between two writes of a server.
const WRITE_EVERY: Duration = Duration::from_millis(100);
/// Bytes of IPv4 and UDP headers of a packet.
const IP_UDP: u64 = 28;
/// From the last write to what counts as idle: exchanges have become rare, and all have heard that all are equal.
const REST: Duration = Duration::from_secs(40);

/// A PoP to weigh.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Servers.
    pub servers: usize,
    /// Keys in the map.
    pub keys: u64,
    /// Packets lost, in parts per million.
    pub loss_ppm: u32,
    /// Membership's times.
    pub swim: SwimConfig,
    /// How long each state is watched.
    pub span: Duration,
}

/// Returns the bytes a second of a server that is idle, and of one that writes ten times a second.
///
/// # Panics
/// When a write is refused, or the keys do not reach all servers within two minutes of virtual time.
pub fn measure(seed: u64, setting: &Setting) -> [f64; 2] {
    let Setting { servers, keys, loss_ppm, swim, span } = *setting;
    let adjust = |config: &mut Config| config.swim = Some(swim);
    let capacity = (keys as usize).max(500) * 5 / 4;
    let plan = Plan { servers, capacity, shape: SHAPE, seed, loss_ppm, rate: None, adjust: &adjust };
    let mut storage = Pop::storage(&plan, servers);
    let mut pop = Pop::new(&mut storage, plan);
    start(&mut pop);
    for n in 0..keys {
        let now = pop.now();
        pop.node_mut(Slot::at(n as usize % servers)).put(now, key(n), &value(n)).expect("room for it");
    }
    let all = pop.running();
    let whole = |pop: &Pop<'_, '_>| all.iter().all(|slot| pop.node(slot).map().len() as u64 == keys);
    pop.run_until(Duration::from_secs(120), Duration::from_millis(50), whole).expect("all keys everywhere");
    pop.run(REST);
    let idle = watched(&mut pop, |pop| pop.run(span));
    let mut write = 0;
    let writing = watched(&mut pop, |pop| {
        for _ in 0..span.0 / WRITE_EVERY.0 {
            for slot in 0..servers as u64 {
                let (now, own) =
                    (pop.now(), slot + servers as u64 * (write % (keys / servers as u64).max(1)));
                pop.node_mut(Slot::at(slot as usize)).put(now, key(own), &value(write)).expect("its own key");
            }
            write += 1;
            pop.run(WRITE_EVERY);
        }
    });
    [idle, writing]
}

/// Returns the bytes a second of a server that is idle.
pub fn idle_bytes(seed: u64, servers: usize, loss_ppm: u32, swim: SwimConfig, quick: bool) -> f64 {
    measure(seed, &Setting { servers, keys: KEYS, loss_ppm, swim, span: span(quick) })[0]
}

fn span(quick: bool) -> Duration {
    Duration::from_secs(if quick { 4 } else { 30 })
}

fn watched(pop: &mut Pop<'_, '_>, act: impl FnOnce(&mut Pop<'_, '_>)) -> f64 {
    let bytes = |pop: &Pop<'_, '_>| {
        let packets = pop.total(|stats| stats.sent.iter().chain(&stats.received).sum());
        pop.total(|stats| stats.sent_bytes + stats.received_bytes) + IP_UDP * packets
    };
    let (before, began) = (bytes(pop), pop.now());
    act(pop);
    (bytes(pop) - before) as f64 * 1e9 / pop.now().since(began).0 as f64 / pop.running().len() as f64
}

/// Measures and draws it.
///
/// # Errors
/// None.
pub fn draw(options: &Options) -> Result<Drawn, String> {
    let quick = options.quick;
    let setting =
        |servers, keys| Setting { servers, keys, loss_ppm: 0, swim: SwimConfig::DEFAULT, span: span(quick) };
    let mut settings: Vec<_> = SERVERS.map(|servers| (true, setting(servers, KEYS))).into();
    settings.extend(MANY_KEYS.map(|keys| (false, setting(FEW, keys))));
    if quick {
        settings.retain(|(_, setting)| setting.servers <= 8 && setting.keys <= 1_000);
    }
    let measured = each(options, "bytes", &settings, |(_, setting)| measure(options.seed, setting));
    let head = vec!["servers", "keys", "idle bytes/s a server", "writing 10/s each, bytes/s a server"];
    let mut table = Table { head, rows: Vec::new() };
    let mut chart = Chart {
        title: "Bytes of a server each second, both ways, headers counted".to_owned(),
        x: Axis { label: "servers", scale: Scale::Log },
        y: Axis { label: "bytes/s", scale: Scale::Log },
        series: Vec::new(),
    };
    for ((drawn, setting), [idle, writing]) in settings.into_iter().zip(measured) {
        let mut row = vec![setting.servers.to_string(), setting.keys.to_string()];
        row.extend([idle, writing].map(|bytes| format!("{bytes:.0}")));
        table.rows.push(row);
        if drawn {
            add(&mut chart, "idle".to_owned(), 0, false, (setting.servers as f64, idle));
            add(&mut chart, "writing, 10/s each".to_owned(), 1, false, (setting.servers as f64, writing));
        }
    }
    Ok(Drawn { charts: vec![("bytes", chart)], table })
}
