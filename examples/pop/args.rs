//! The command line.

use std::path::PathBuf;

use clap::Parser;
use popmap_core::time::Duration;

use crate::io::Io;
use crate::origins::ORIGINS_MAX as KEYS_MAX;

const SERVERS: std::ops::RangeInclusive<usize> = 2..=64;
const INTERVAL_S: std::ops::RangeInclusive<f64> = 1.0..=10.0;
const LOSS_MAX: f64 = 20.0;

/// One point of presence of popmap: servers share the health of their origins, through loss, failures, crashes and a
/// partition, and end up equal.
///
/// Each server is real: a gossip thread with a UDP socket of its own on loopback (127.0.1.1 and on), a thread that checks
/// over HTTP the origins it owns, and a map. The origins are as real: one listener on the loopback interface answers HTTP
/// for tens of thousands of addresses in 127.0.0.0/8. Needs Linux, and no privileges. Afterwards the same is played in
/// virtual time, where a busy machine does not show. With `--io raw`, `xdp`, `dpdk` or `mixed` each server is a process in
/// a network namespace of its own, on a virtual wire to a bridge; nothing of it is left afterwards. Ends with a table of what was measured; the exit code is 0 when
/// everything converged and every guarantee held, 1 when not, 2 for a bad command line or file, 130 after Ctrl-C.
#[derive(Parser, Clone, Debug)]
#[command(name = "pop", version, max_term_width = 100)]
pub struct Args {
    /// What carries packets between servers
    #[arg(long, value_enum, value_name = "DEVICE", default_value_t = Io::Udp)]
    pub io: Io,

    /// Servers in the PoP: 2 to 64 [default: 64, with --quick 16; 8 on devices other than udp]
    #[arg(long, value_name = "N", value_parser = servers, allow_negative_numbers = true)]
    servers: Option<usize>,

    /// Origins of our own, each a key in the map: 1 to 1,000,000 [default: 50,000, with --quick 5,000; 10,000 and 2,000 on devices other than udp]
    #[arg(long, value_name = "N", value_parser = keys, allow_negative_numbers = true, conflicts_with = "origins")]
    keys: Option<usize>,

    /// Check the origins in this file: lines of name,address[,path]
    ///
    /// The address is an IP address with or without a port. One in 127.0.0.0/8 without a port is answered by ourselves;
    /// any other is somebody else's, at port 80 unless it says another, and is really asked, once an interval. The path
    /// is /health unless it says another. Lines that start with # are left out.
    #[arg(long, value_name = "FILE")]
    pub origins: Option<PathBuf>,

    /// How often each origin is checked, in seconds: 1 to 10, fractions too [default: 10, with --quick 2]
    #[arg(long, value_name = "SECONDS", value_parser = interval, allow_negative_numbers = true)]
    interval: Option<f64>,

    /// Packets lost all along, in percent: 0 to 20, fractions too
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = loss, allow_negative_numbers = true)]
    loss: f64,

    /// What choices are drawn from: lives, faults, the order of checks
    #[arg(long, value_name = "N", default_value = "1", value_parser = seed, allow_negative_numbers = true)]
    pub seed: u64,

    /// Authenticate packets by the keys in this file, as popmap-keys makes them
    ///
    /// Without it a key is made for this run and thrown away.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,

    /// Write every packet to this file, for Wireshark: some 10 MB a second at full size
    ///
    /// On devices other than udp there is a file for each life of each server: out.pcap becomes out-s3-1.pcap, and so on.
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<PathBuf>,

    /// End with one line of JSON on stdout that holds all figures
    #[arg(long)]
    pub json: bool,

    /// Print plain lines even when stdout is a terminal
    #[arg(long)]
    pub plain: bool,

    /// Play a smaller and faster story
    #[arg(long)]
    pub quick: bool,
}

impl Args {
    /// Returns the number of servers.
    pub fn servers(&self) -> usize {
        self.servers.unwrap_or(match (self.io.is_isolated(), self.quick) {
            (true, _) => 8,
            (false, true) => 16,
            (false, false) => 64,
        })
    }

    /// Returns the number of origins.
    pub fn keys(&self) -> usize {
        self.keys.unwrap_or(match (self.io.is_isolated(), self.quick) {
            (true, true) => 2_000,
            (true, false) => 10_000,
            (false, true) => 5_000,
            (false, false) => 50_000,
        })
    }

    /// Returns how often each origin is checked.
    pub fn interval(&self) -> Duration {
        let seconds = self.interval.unwrap_or(if self.quick { 2.0 } else { 10.0 });
        Duration::from_millis((seconds * 1e3).round() as u64)
    }

    /// Returns the packets lost, in percent.
    pub fn loss_percent(&self) -> f64 {
        self.loss
    }

    /// Returns the packets lost, in parts per million.
    pub fn loss_ppm(&self) -> u32 {
        (self.loss * 10_000.0).round() as u32
    }
}

fn servers(given: &str) -> Result<usize, String> {
    let (least, most) = (*SERVERS.start(), *SERVERS.end());
    let parsed = given.parse().ok().filter(|n| SERVERS.contains(n));
    parsed.ok_or_else(|| format!("accepted is a whole number from {least} to {most}"))
}

fn keys(given: &str) -> Result<usize, String> {
    let parsed = given.parse().ok().filter(|n| (1..=KEYS_MAX).contains(n));
    parsed.ok_or_else(|| format!("accepted is a whole number from 1 to {KEYS_MAX}, without separators"))
}

fn interval(given: &str) -> Result<f64, String> {
    let (least, most) = (*INTERVAL_S.start(), *INTERVAL_S.end());
    let parsed = given.parse().ok().filter(|seconds| INTERVAL_S.contains(seconds));
    parsed.ok_or_else(|| format!("accepted is a number of seconds from {least} to {most}, such as 5 or 2.5"))
}

fn loss(given: &str) -> Result<f64, String> {
    let parsed = given.parse().ok().filter(|percent| (0.0..=LOSS_MAX).contains(percent));
    parsed.ok_or_else(|| {
        format!("accepted is a percentage from 0 to {LOSS_MAX}, such as 5 or 0.5, without a sign")
    })
}

fn seed(given: &str) -> Result<u64, String> {
    given.parse().map_err(|_| format!("accepted is a whole number from 0 to {}", u64::MAX))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(args: &[&str]) -> Result<Args, String> {
        Args::try_parse_from(["pop"].iter().chain(args)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn defaults_depend_on_quick() {
        let full = parse(&[]).unwrap();
        assert_eq!((full.servers(), full.keys(), full.loss_ppm(), full.seed), (64, 50_000, 0, 1));
        assert_eq!(full.interval(), Duration::from_secs(10));
        let quick = parse(&["--quick", "--loss", "0.5", "--keys", "7"]).unwrap();
        assert_eq!((quick.servers(), quick.keys(), quick.loss_ppm()), (16, 7, 5_000));
        assert_eq!(quick.interval(), Duration::from_secs(2));
        assert_eq!(parse(&["--interval", "2.5"]).unwrap().interval(), Duration::from_millis(2_500));
    }

    #[test]
    fn a_device_is_chosen_by_name_and_makes_the_pop_smaller() {
        for (name, io) in [("raw", Io::Raw), ("xdp", Io::Xdp), ("dpdk", Io::Dpdk), ("mixed", Io::Mixed)] {
            let args = parse(&["--io", name]).unwrap();
            assert_eq!((args.io, args.io.name(), args.servers(), args.keys()), (io, name, 8, 10_000));
        }
        assert_eq!(parse(&["--io", "raw", "--quick"]).unwrap().keys(), 2_000);
        assert_eq!(parse(&[]).unwrap().io, Io::Udp);
        let error = parse(&["--io", "ether"]).unwrap_err();
        assert!(error.contains("ether") && error.contains("udp, raw, xdp, dpdk, mixed"), "{error}");
    }

    #[test]
    fn origins_are_made_up_or_read_and_not_both() {
        let error = parse(&["--keys", "7", "--origins", "file.csv"]).unwrap_err();
        assert!(error.contains("--keys") && error.contains("--origins"), "{error}");
    }

    #[test]
    fn a_bad_value_names_flag_value_and_what_is_accepted() {
        let bad = [
            ("--servers", "1", "from 2 to 64"),
            ("--servers", "65", "from 2 to 64"),
            ("--servers", "many", "from 2 to 64"),
            ("--keys", "0", "from 1 to 1000000"),
            ("--keys", "50,000", "from 1 to 1000000"),
            ("--keys", "1000001", "from 1 to 1000000"),
            ("--loss", "21", "from 0 to 20"),
            ("--loss", "NaN", "from 0 to 20"),
            ("--loss", "-1", "from 0 to 20"),
            ("--servers", "-2", "from 2 to 64"),
            ("--loss", "5%", "from 0 to 20"),
            ("--interval", "0.5", "from 1 to 10"),
            ("--interval", "11", "from 1 to 10"),
            ("--interval", "10s", "from 1 to 10"),
            ("--interval", "NaN", "from 1 to 10"),
            ("--seed", "x", "from 0 to 18446744073709551615"),
        ];
        for (flag, value, accepted) in bad {
            let error = parse(&[flag, value]).unwrap_err();
            for part in [flag, &format!("'{value}'"), accepted] {
                assert!(error.contains(part), "{part} is not in: {error}");
            }
        }
    }
}
