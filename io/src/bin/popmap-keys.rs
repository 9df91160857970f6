//! Makes and checks the key files that servers authenticate their packets by.

use std::error::Error;
use std::fs::DirBuilder;
use std::io::Write;
use std::num::NonZeroU8;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use popmap_core::Slot;
use popmap_core::auth::Aead;
use popmap_io::keys;

/// Makes and checks the key files that the servers of a PoP authenticate their packets by.
///
/// One key for all servers: `popmap-keys new pop.keys --send`, and copy the file to each of them. A key for each
/// server, so that a stolen one cannot speak for others: `popmap-keys new pop.master --master` on a machine that is not
/// a server, `popmap-keys rows pop.master DIRECTORY`, and copy to each server the file of its slot.
///
/// Exchange keys in three steps, each on every server before the next: add the line of the new key; move `send` to it;
/// remove the line of the old one.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes a new key to a new file.
    New {
        /// The file; it must not be there yet. Only its owner will be able to read it.
        file: PathBuf,
        /// The key's id, 1 to 255: another than those of the keys that are in use.
        #[arg(long, default_value = "1")]
        id: NonZeroU8,
        /// The algorithm: aes-128-gcm, or aegis-128l for CPUs with AES instructions.
        #[arg(long, default_value = "aes-128-gcm", value_parser = algorithm)]
        algorithm: &'static dyn Aead,
        /// Encrypt packets behind their headers, and not only authenticate them.
        #[arg(long)]
        encrypt: bool,
        /// Mark the key for sending.
        #[arg(long, conflicts_with = "master")]
        send: bool,
        /// Make a master, which rows are derived from.
        #[arg(long)]
        master: bool,
    },
    /// Derives each server's row from the masters in a file, and writes a key file for each.
    Rows {
        /// The file with one or more masters.
        masters: PathBuf,
        /// The directory for the files, slot-0.keys to slot-63.keys; it is made if it is not there, but none of them may be.
        directory: PathBuf,
        /// How many slots, from 0 on.
        #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u8).range(1..=64))]
        slots: u8,
        /// The id of the key that is marked for sending. Default: the first in the file.
        #[arg(long)]
        send: Option<NonZeroU8>,
    },
    /// Says what is in key files, or what is wrong with them; secrets are not shown.
    Check {
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

fn algorithm(name: &str) -> Result<&'static dyn Aead, String> {
    let names: Vec<_> = keys::ALGORITHMS.iter().map(|algorithm| algorithm.name()).collect();
    keys::algorithm(name).ok_or_else(|| format!("{} are known", names.join(" and ")))
}

fn rows(masters: &Path, directory: &Path, slots: u8, send: Option<NonZeroU8>) -> Result<(), Box<dyn Error>> {
    let all = keys::read_masters(masters)?;
    let sending = send.unwrap_or(all[0].id);
    if all.iter().all(|master| master.id != sending) {
        return Err(format!("--send {sending}: no key of {} has this id", masters.display()).into());
    }
    // What is in it is for its owner alone.
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|error| format!("{}: cannot be made: {error}", directory.display()))?;
    for slot in 0..slots {
        let slot = Slot::at(usize::from(slot));
        let lines = all.iter().map(|master| {
            let (sends, row) = (master.id == sending, master.row(slot));
            keys::format_row(master.id, master.algorithm, master.encrypts, sends, &row)
        });
        let mut content = zeroize::Zeroizing::new(String::with_capacity(all.len() * 4_400));
        lines.for_each(|line| content.push_str(&line));
        keys::write_new(&directory.join(format!("slot-{}.keys", slot.get())), &content)?;
    }
    Ok(())
}

fn check(file: &Path, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let ring = keys::read(file)?;
    for key in ring.keys() {
        write!(out, "{}: key {}, {}", file.display(), key.id(), key.cipher().name())?;
        if key.encrypts() {
            write!(out, ", encrypts")?;
        }
        if let Some(slot) = key.slot() {
            write!(out, ", of slot {}", slot.get())?;
        }
        writeln!(out, "{}", if key.id() == ring.sending().id() { ", is sent with" } else { "" })?;
    }
    Ok(())
}

fn run() -> Result<(), Box<dyn Error>> {
    match Args::parse().command {
        Command::New { file, id, algorithm, encrypt, send, master } => {
            let secret = keys::secret()?;
            let line = match master {
                true => keys::format_master(id, algorithm, encrypt, &secret),
                false => keys::format_shared(id, algorithm, encrypt, send, &secret),
            };
            keys::write_new(&file, &line)?;
        }
        Command::Rows { masters, directory, slots, send } => rows(&masters, &directory, slots, send)?,
        Command::Check { files } => {
            let mut out = std::io::stdout().lock();
            files.iter().try_for_each(|file| check(file, &mut out))?;
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("popmap-keys: {error}");
            ExitCode::FAILURE
        }
    }
}
