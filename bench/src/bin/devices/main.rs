//! What packet IO costs: each device bare and under a driver that merges, side by side in one run, and the time that a
//! packet takes.
//!
//! Knows what is asked for and in which order it is measured. Must not know devices.

#![forbid(unsafe_code)]

mod cost;
#[cfg(feature = "dpdk")]
mod dpdk;
mod kinds;
mod latency;
mod lent;
mod namespace;
mod plain;
mod report;

use std::iter;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use popmap_bench::feed::Feed;
use popmap_io::BURST;

use cost::{Effort, Figures};
use kinds::Kind;
use latency::Path;
use namespace::Veth;
use report::{CostRow, LatencyRow};

/// Measures what a packet costs at each device, and how long it takes over a wire.
///
/// Runs in a network namespace of its own, as root or through a user namespace, and leaves nothing behind. A kind that
/// is forbidden or not built says so and the others go on.
///
/// Figures are from a shared machine: compare those of one row of one run. Each row's loops take turns, round by round.
/// On the packets of a round, in nanoseconds per packet:
///
/// plain: system calls, or DPDK's ports, without any device of popmap's; a byte of each packet is looked at.
///
/// device: the same through the device. The sender is the device, too, but for DPDK, where it is the port.
///
/// driver: the same sender; a driver takes the packets, and its node merges them. All their records are newer.
///
/// merge: a node takes the same packets from memory.
///
/// +device, +plain: what the driver costs beyond device and merge, or plain and merge.
///
/// ratio: driver to device; w.merge: driver to device and merge together.
///
/// packet-bulk hands frames over in blocks: those of a round's last block, which waits for a time-out, are not counted.
#[derive(Parser)]
#[command(name = "devices", version)]
struct Arguments {
    /// Seconds for each kind's costs, and for each path's latency
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    /// Kinds to measure; may be repeated [default: all]
    #[arg(long, value_name = "NAME", value_enum)]
    device: Vec<Kind>,
    /// Packets of a round
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=1_024))]
    packets: u64,
    /// Packets of a burst
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=BURST as u64))]
    burst: u64,
    /// Records of the maps
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    keys: u64,
    /// Print one JSON object as the last line, too
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err("0 to 600 are possible".into()),
    }
}

/// What kinds have in common.
struct Host {
    /// Why there is no network of our own.
    network: Result<(), String>,
    #[cfg(feature = "dpdk")]
    eal: Option<Result<popmap_io::dpdk::Eal, String>>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let network = namespace::enter();
    let kinds = if arguments.device.is_empty() { Kind::value_variants() } else { &arguments.device };
    let effort = Effort {
        duration: Duration::from_secs_f64(arguments.seconds),
        packets: arguments.packets as usize,
        burst: arguments.burst as usize,
    };
    let mut host = Host {
        network,
        #[cfg(feature = "dpdk")]
        eal: None,
    };
    let keys = arguments.keys as usize;
    let cost = |&kind: &Kind| {
        let effort = Effort { packets: effort.packets.max(kind.packets_min()), ..effort };
        CostRow { kind, figures: host.cost(kind, &mut Feed::new(keys), &effort) }
    };
    let costs: Vec<_> = kinds.iter().map(cost).collect();
    report::print_costs(&costs, &effort);
    let latencies = host.latencies(kinds, effort.duration);
    if !latencies.is_empty() {
        println!();
        report::print_latencies(&latencies);
    }
    if arguments.json {
        println!("{}", report::json(&costs, &latencies, &effort));
    }
    ExitCode::SUCCESS
}

impl Host {
    fn cost(&mut self, kind: Kind, feed: &mut Feed, effort: &Effort) -> Result<Figures, String> {
        if kind.is_on_wire() {
            self.network.clone().map_err(|why| format!("no network namespace: {why}"))?;
        }
        match kind {
            #[cfg(feature = "dpdk")]
            Kind::DpdkRing | Kind::DpdkPacket => dpdk::open(self.eal()?, kind, feed, effort.burst),
            _ => kinds::open(kind, feed, effort.burst),
        }?
        .contest
        .run(feed, effort)
    }

    #[cfg(feature = "dpdk")]
    fn eal(&mut self) -> Result<&popmap_io::dpdk::Eal, String> {
        self.eal.get_or_insert_with(dpdk::start).as_ref().map_err(Clone::clone)
    }

    fn latencies(&mut self, kinds: &[Kind], duration: Duration) -> Vec<LatencyRow> {
        let kinds: Vec<_> = kinds.iter().copied().filter(|kind| kind.is_on_wire()).collect();
        if kinds.is_empty() {
            return Vec::new();
        }
        let names = iter::once(None).chain(kinds.into_iter().map(Some));
        let mut opened: Vec<_> = names.enumerate().map(|(n, kind)| (kind, self.open_path(kind, n))).collect();
        let mut paths: Vec<_> = opened.iter_mut().filter_map(|(_, path)| path.as_mut().ok()).collect();
        let measured = latency::measure(&mut paths, duration).map_err(|error| error.to_string());
        let mut next = 0;
        let mut rows: Vec<LatencyRow> = Vec::new();
        for (kind, path) in opened {
            let latency =
                path.and_then(|_| measured.as_ref().map(|measured| measured[next]).map_err(Clone::clone));
            next += usize::from(latency.is_ok());
            rows.push(LatencyRow::new(kind, latency, rows.first()));
        }
        rows
    }

    /// Opens a wire and the two ends of a path over it; without a kind those of plain sockets.
    fn open_path(&mut self, kind: Option<Kind>, number: usize) -> Result<Path, String> {
        self.network.clone().map_err(|why| format!("no network namespace: {why}"))?;
        let wire = Veth::new(&format!("wire{number}"))?;
        match kind {
            None => Path::plain(wire),
            Some(kind @ (Kind::Packet | Kind::PacketBulk)) => {
                Ok(Path::between(kinds::packet_pair(kind, &wire)?, wire))
            }
            Some(kind @ (Kind::XdpGeneric | Kind::XdpDriver)) => {
                Ok(Path::between(kinds::xdp_pair(kind, &wire)?, wire))
            }
            #[cfg(feature = "dpdk")]
            Some(Kind::DpdkPacket) => Ok(Path::between(dpdk::packet_pair(self.eal()?, &wire)?, wire)),
            Some(_) => Err(kinds::NOT_BUILT.into()),
        }
    }
}
