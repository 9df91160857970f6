//! The command line.

use clap::Parser;

/// Origins that the maps are built for at most: with 64 servers a little under 6 GiB.
const KEYS_MAX: usize = 1_000_000;
const SERVERS: std::ops::RangeInclusive<usize> = 2..=64;
const LOSS_MAX: f64 = 20.0;

/// One point of presence of popmap: servers in one process share the health of their origins, through loss, failures,
/// a crash, a partition and deletes, and end up equal.
///
/// Every server is a real node with a real map; the network between them is in memory and runs in virtual time, so
/// delays are exact and CPU figures are of the wall clock. Needs no privileges and no network. Ends with a table of what
/// was measured; the exit code is 0 when everything converged and every guarantee held, 1 when not, 2 for a bad command
/// line, 130 after Ctrl-C.
#[derive(Parser, Clone, Debug)]
#[command(name = "pop", version, max_term_width = 100)]
pub struct Args {
    /// Servers in the PoP: 2 to 64 [default: 64, with --quick 16]
    #[arg(long, value_name = "N", value_parser = servers, allow_negative_numbers = true)]
    servers: Option<usize>,

    /// Origins, each a key in the map: 1 to 1,000,000 [default: 50,000, with --quick 5,000]
    #[arg(long, value_name = "N", value_parser = keys, allow_negative_numbers = true)]
    keys: Option<usize>,

    /// Packets lost on their way, in percent: 0 to 20, fractions too
    #[arg(long, value_name = "PERCENT", default_value = "2", value_parser = loss, allow_negative_numbers = true)]
    loss: f64,

    /// What every choice is drawn from: the same seed plays the same story in virtual time
    #[arg(long, value_name = "N", default_value = "1", value_parser = seed, allow_negative_numbers = true)]
    pub seed: u64,

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
        self.servers.unwrap_or(if self.quick { 16 } else { 64 })
    }

    /// Returns the number of origins.
    pub fn keys(&self) -> usize {
        self.keys.unwrap_or(if self.quick { 5_000 } else { 50_000 })
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
        assert_eq!((full.servers(), full.keys(), full.loss_ppm(), full.seed), (64, 50_000, 20_000, 1));
        let quick = parse(&["--quick", "--loss", "0.5", "--keys", "7"]).unwrap();
        assert_eq!((quick.servers(), quick.keys(), quick.loss_ppm()), (16, 7, 5_000));
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
