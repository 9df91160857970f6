//! Attacks a server with forged packets, as many as one likes: see `popmap_tests::adversary`.

use std::process::ExitCode;

use clap::Parser;
use popmap_core::Reject;
use popmap_tests::adversary::{Keys, attack};

/// Attacks a server that has keys with replayed, mutated, truncated, spliced and foreign packets, by somebody who has
/// recorded all there was but has no key. Exits with 1 when one of them was taken or moved state.
#[derive(Parser)]
struct Args {
    /// Packets of each attack
    #[arg(long, default_value_t = 1_000_000)]
    packets: u64,
    /// Attacks with each sort of key
    #[arg(long, default_value_t = 1)]
    attacks: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let Args { packets, attacks, seed } = Args::parse();
    let mut sent = 0;
    for seed in seed..seed + attacks {
        for keys in Keys::ALL {
            let outcome = attack(keys, seed, packets, |_| {});
            if let Some(broken) = outcome.broken {
                println!("{keys:?}, seed {seed}: {broken}");
                return ExitCode::FAILURE;
            }
            sent += outcome.packets;
            let reasons = Reject::ALL.iter().zip(outcome.rejected).filter(|(_, count)| *count > 0);
            let reasons: Vec<_> =
                reasons.map(|(reason, count)| format!("{} {count}", reason.name())).collect();
            println!(
                "{keys:?}, seed {seed}: {} packets, none taken: {}",
                outcome.packets,
                reasons.join(", ")
            );
        }
    }
    println!("{sent} packets, none taken");
    ExitCode::SUCCESS
}
