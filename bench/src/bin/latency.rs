//! How long merging one packet takes: not the mean of many, but each.
//!
//! Knows histograms and how they are shown. What is merged: `popmap_bench::stream`.

#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{Ordering, fence};

use clap::Parser;
use hdrhistogram::Histogram;
use popmap_bench::evict::{Evictor, llc};
use popmap_bench::peers::floor::{Floor, KEYS_MAX};
use popmap_bench::stream::{NOW, PER_PACKET, Packet, SLOTS, Stream, WRITERS_MAX};
use popmap_core::limits::PAYLOAD_DEFAULT;
use popmap_core::{Address, Node};
use quanta::Clock;

/// Measures how long merging each of many full delta packets takes, beside the floor: the same checksum, lookups and bytes
/// without a protocol.
///
/// Times are read from the time-stamp counter where it runs at one rate, and what reading it costs is taken off. `warm`: the
/// packet's keys have just been merged once. `cold`: a buffer twice the size of the last-level cache is walked before each
/// 16 packets; the packets alone are read once more, as a network card leaves them in the cache.
#[derive(Parser)]
#[command(name = "latency", version, after_long_help = ISOLATION)]
struct Arguments {
    /// Keys in the map
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1_000..=KEYS_MAX as i64))]
    keys: u32,
    /// Servers that write
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=WRITERS_MAX as i64))]
    writers: u8,
    /// Warm packets to measure
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    warm: u32,
    /// Cold packets to measure; some thousand take seconds
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    cold: u32,
    /// Run on this processor only
    #[arg(long, value_name = "N")]
    core: Option<usize>,
    /// Print one JSON object a row instead of a table
    #[arg(long)]
    json: bool,
    /// Also draw the distributions
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

const ISOLATION: &str = "\
On a machine that does other things the tail shows those. For figures of the machine alone:
  - Keep the scheduler, its timer and callbacks off one processor: boot with
    isolcpus=N nohz_full=N rcu_nocbs=N, move interrupts elsewhere
    (/proc/irq/*/smp_affinity), and run with --core N.
  - Hold the clock: cpupower frequency-set -g performance, and no turbo (for example
    echo 1 > /sys/devices/system/cpu/intel_pstate/no_turbo,
    or 0 > /sys/devices/system/cpu/cpufreq/boost).
  - Let nothing run on the other half of the core:
    echo off > /sys/devices/system/cpu/smt/control.
  - Keep deep sleep states out: /dev/cpu_dma_latency, or boot with idle=poll.
  - Huge pages take page walks off what is cold: GLIBC_TUNABLES=glibc.malloc.hugetlb=1.
In a virtual machine the host can stop a processor at any time: its maximum says nothing.";

/// Packets of a round.
const BURST: usize = 32;
/// Cold packets between two walks.
const COLD_TOGETHER: usize = 16;
/// Nanoseconds that are counted as that many if they were more.
const TIME_MAX: u64 = 10_000_000_000;
/// Percentiles of the table.
const PERCENTILES: [(&str, f64); 4] = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p999", 99.9)];

/// The times of one who merges.
struct Series {
    name: &'static str,
    ns: Histogram<u64>,
}

/// One who merges a packet.
type Merger<'m> = &'m mut dyn FnMut(&[u8]);

/// Reads the time, and knows what that costs.
struct Watch {
    clock: Clock,
    overhead: u64,
}

impl Watch {
    fn new() -> Self {
        let mut watch = Self { clock: Clock::new(), overhead: 0 };
        let mut nothing: Vec<u64> = (0..10_001).map(|_| watch.time(|| ())).collect();
        nothing.sort_unstable();
        watch.overhead = nothing[nothing.len() / 2];
        watch
    }

    fn time(&self, work: impl FnOnce()) -> u64 {
        let start = self.read();
        work();
        let end = self.read();
        self.clock.delta_as_nanos(start, end).saturating_sub(self.overhead)
    }

    /// Reads the counter when all that came before is done: the processor might read it early.
    fn read(&self) -> u64 {
        fence(Ordering::SeqCst);
        let now = self.clock.raw();
        fence(Ordering::SeqCst);
        now
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let pinned = arguments.core.map_or(Ok(()), pin);
    if let Err(error) = pinned {
        eprintln!("latency: --core {}: {error}", arguments.core.unwrap_or(0));
        return ExitCode::FAILURE;
    }
    let all = measure(&arguments);
    if arguments.json {
        all.iter().for_each(|series| println!("{}", json(series)));
    } else {
        print!("{}", table(&all, &arguments));
    }
    if let Some(file) = &arguments.svg
        && let Err(error) = std::fs::write(file, svg(&all))
    {
        eprintln!("latency: --svg {}: {error}", file.display());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Keeps this thread on one processor.
fn pin(core: usize) -> rustix::io::Result<()> {
    if core >= rustix::thread::CpuSet::MAX_CPU {
        return Err(rustix::io::Errno::INVAL);
    }
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(core);
    rustix::thread::sched_setaffinity(None, &cores)
}

fn measure(arguments: &Arguments) -> [Series; 4] {
    let keys = arguments.keys as usize;
    let mut stream = Stream::new(keys, arguments.writers.into());
    let mut node = stream.node();
    let mut floor = Floor::new(keys);
    stream.history().iter().for_each(|packet| floor.merge(packet));
    let (watch, evictor) = (Watch::new(), Evictor::new());
    let series = |name| Series {
        name,
        ns: Histogram::new_with_bounds(1, TIME_MAX, 3).expect("the bounds and three digits are possible"),
    };
    let mut all = ["popmap, warm", "floor, warm", "popmap, cold", "floor, cold"].map(series);
    let [warm, floor_warm, cold, floor_cold] = &mut all;
    // No more than there are keys for.
    let burst = BURST.min(keys / PER_PACKET);
    while warm.ns.len() < arguments.warm.into() {
        let keys = stream.pick(burst * PER_PACKET);
        let [before, batch] = [(); 2].map(|()| stream.batch(&keys));
        let before = [before.full, before.rest].concat();
        let take = |merge: Merger<'_>, series: &mut Series| {
            before.iter().for_each(|packet| merge(packet));
            time_each(&watch, &batch.full, merge, series);
            batch.rest.iter().for_each(|packet| merge(packet));
        };
        take(&mut |packet| handle(&mut node, packet), warm);
        take(&mut |packet| floor.merge(packet), floor_warm);
    }
    while cold.ns.len() < arguments.cold.into() {
        let keys = stream.pick(burst * PER_PACKET);
        let batch = stream.batch(&keys);
        let take = |merge: Merger<'_>, series: &mut Series| {
            for packets in batch.full.chunks(COLD_TOGETHER) {
                evictor.evict();
                time_each(&watch, packets, merge, series);
            }
            batch.rest.iter().for_each(|packet| merge(packet));
        };
        take(&mut |packet| handle(&mut node, packet), cold);
        take(&mut |packet| floor.merge(packet), floor_cold);
    }
    all
}

fn handle(node: &mut Node<'_, SLOTS>, packet: &[u8]) {
    node.handle_packet(NOW, Address::default(), packet).expect("the packet is valid");
}

fn time_each(watch: &Watch, packets: &[Packet], merge: Merger<'_>, series: &mut Series) {
    for packet in packets {
        black_box(packet.iter().step_by(64).fold(0, |sum, byte| sum ^ byte));
    }
    for packet in packets {
        series.ns.saturating_record(watch.time(|| merge(black_box(packet))));
    }
}

fn table(all: &[Series], arguments: &Arguments) -> String {
    let mut table = format!(
        "nanoseconds a packet of {PAYLOAD_DEFAULT} bytes with {PER_PACKET} records; {} keys, {} writers, {} MiB of last-level \
         cache\n{:14}{:>10}",
        arguments.keys,
        arguments.writers,
        llc() >> 20,
        "",
        "packets"
    );
    PERCENTILES.iter().for_each(|(name, _)| _ = write!(table, "{name:>10}"));
    let _ = writeln!(table, "{:>10}", "max");
    for Series { name, ns } in all {
        let _ = write!(table, "{name:14}{:>10}", ns.len());
        PERCENTILES.iter().for_each(|&(_, at)| _ = write!(table, "{:>10}", ns.value_at_percentile(at)));
        let _ = writeln!(table, "{:>10}", ns.max());
    }
    table
}

fn json(Series { name, ns }: &Series) -> String {
    let mut row =
        serde_json::json!({"name": name, "packets": ns.len(), "max_ns": ns.max(), "mean_ns": ns.mean()});
    for (percentile, at) in PERCENTILES {
        row[format!("{percentile}_ns")] = ns.value_at_percentile(at).into();
    }
    row.to_string()
}

// ---- the plot ----

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 140.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 50.0;
const COLORS: [&str; 4] = ["#c0392b", "#e6a49c", "#1f5fa8", "#9dbfe3"];
/// The rarest that is drawn: one packet in 10,000.
const RAREST: f64 = 4.0;

/// Draws percentiles, by the logarithm of how rare they are, against the logarithm of the time.
fn svg(all: &[Series]) -> String {
    let at = |percentile: f64| move |series: &Series| series.ns.value_at_percentile(percentile).max(1) as f64;
    let least = all.iter().map(at(1.0)).fold(f64::INFINITY, f64::min);
    let most = all.iter().map(at(100.0 - 100.0 / 10f64.powf(RAREST))).fold(10.0, f64::max);
    let (bottom, top) = (least.log10().floor(), most.log10().ceil().max(least.log10().floor() + 1.0));
    let x = |rarity: f64| LEFT + rarity / RAREST * (WIDTH - LEFT - RIGHT);
    let y =
        |ns: f64| HEIGHT - BOTTOM - (ns.max(1.0).log10() - bottom) / (top - bottom) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"18\">Merging one packet of {PER_PACKET} records: nanoseconds</text>\n"
    );
    let mut line = |[x1, y1, x2, y2]: [f64; 4], text: [f64; 2], anchor: &str, label: &str| {
        let [x, y] = text;
        let _ = writeln!(
            svg,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{label}</text>"
        );
    };
    for decade in bottom as i32..=top as i32 {
        for step in [1.0, 2.0, 5.0] {
            let ns = step * 10f64.powi(decade);
            if ns.log10() <= top {
                let y = y(ns);
                line([LEFT, y, WIDTH - RIGHT, y], [LEFT - 6.0, y + 4.0], "end", &ns.to_string());
            }
        }
    }
    for (rarity, label) in
        [(2f64.log10(), "50 %"), (1.0, "90 %"), (2.0, "99 %"), (3.0, "99.9 %"), (4.0, "99.99 %")]
    {
        let x = x(rarity);
        line([x, TOP, x, HEIGHT - BOTTOM], [x, HEIGHT - BOTTOM + 18.0], "middle", label);
    }
    for (n, (Series { name, ns }, color)) in all.iter().zip(COLORS).enumerate() {
        let _ = write!(svg, "<polyline fill=\"none\" stroke=\"{color}\" stroke-width=\"2\" points=\"");
        for step in 0..=200 {
            let rarity = RAREST * f64::from(step) / 200.0;
            let time = ns.value_at_percentile(100.0 - 100.0 / 10f64.powf(rarity)) as f64;
            let _ = write!(svg, "{:.1},{:.1} ", x(rarity), y(time));
        }
        let at = TOP + 20.0 * (n as f64 + 1.0);
        let _ = writeln!(
            svg,
            "\"/>\n<text x=\"{:.1}\" y=\"{at:.1}\" fill=\"{color}\">{name}</text>",
            WIDTH - RIGHT + 10.0
        );
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn few() -> Arguments {
        Arguments::parse_from(["latency", "--keys=1000", "--warm=40", "--cold=1"])
    }

    #[test]
    fn every_packet_is_in_the_table_and_the_plot() {
        let arguments = few();
        let all = measure(&arguments);
        assert_eq!(all.each_ref().map(|series| series.ns.len()), [64, 64, 32, 32]);
        let table = table(&all, &arguments);
        assert_eq!(table.lines().count(), 6);
        let plot = svg(&all);
        assert_eq!(plot.matches("<polyline").count(), 4);
        assert!(plot.ends_with("</svg>\n") && !plot.contains("NaN"), "{plot}");
        let row: serde_json::Value = serde_json::from_str(&json(&all[0])).unwrap();
        assert_eq!(row["packets"], 64);
        assert!(row["p50_ns"].as_u64() <= row["max_ns"].as_u64());
    }
}
