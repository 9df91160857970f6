//! Writes what each fuzz target starts from, to a folder with one for each target in it.
//!
//! ```text
//! fuzz_seeds tests/corpora
//! ```
//!
//! A file is named by a hash of its bytes, so that nothing is written twice; what is there already stays.

use std::path::Path;
use std::process::ExitCode;
use std::{fs, io};

use popmap_tests::explore::Hash128;
use popmap_tests::fuzz::{TARGETS, seeds};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder] = &arguments[..] else {
        eprintln!("usage: fuzz_seeds FOLDER, for example tests/corpora");
        return ExitCode::from(2);
    };
    match write_all(Path::new(folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("FOLDER: {folder}: {why}");
            ExitCode::FAILURE
        }
    }
}

fn write_all(folder: &Path) -> io::Result<()> {
    for target in TARGETS {
        let corpus = folder.join(target.name);
        fs::create_dir_all(&corpus)?;
        let inputs = seeds::of(target.name);
        for input in &inputs {
            fs::write(corpus.join(format!("seed-{:032x}", Hash128::of(input))), input)?;
        }
        println!("{}: {} seeds", target.name, inputs.len());
    }
    Ok(())
}
