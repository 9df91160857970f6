//! Every input in the corpora, through its target: what fuzzing once reached holds in every build.

use std::fs;
use std::path::PathBuf;

use popmap_tests::fuzz::{TARGETS, Target, seeds, target};

/// The least inputs of a corpus: fewer, and it is not the one that was kept.
const LEAST: usize = 10;

fn corpora() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpora")
}

fn inputs(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = corpora().join(target.name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files.into_iter().map(|file| (file.clone(), fs::read(&file).expect("a file"))).collect()
}

#[test]
fn every_kept_input_holds() {
    for target in TARGETS {
        let inputs = inputs(&target);
        assert!(inputs.len() >= LEAST, "{}: only {} inputs", target.name, inputs.len());
        for (file, input) in inputs {
            assert!(input.len() <= 1_000, "{}: {} bytes", file.display(), input.len());
            // Where something does not hold, its test says so: which file it was is told here.
            let outcome = std::panic::catch_unwind(|| (target.run)(&input));
            assert!(outcome.is_ok(), "{}; .ci/fuzz {} --replay tells more", file.display(), target.name);
        }
    }
}

#[test]
fn every_corpus_is_of_a_target() {
    for entry in fs::read_dir(corpora()).expect("the corpora") {
        let name = entry.expect("an entry").file_name().into_string().expect("a target's name");
        assert!(target(&name).is_some(), "corpora/{name} is of no target");
    }
}

/// Inputs as they are without a corpus: what nodes and stations send, and scripts that get far.
#[test]
fn every_seed_holds() {
    for target in TARGETS {
        let seeds = seeds::of(target.name);
        assert!(!seeds.is_empty());
        seeds.iter().for_each(|seed| (target.run)(seed));
        [&[][..], &[0], &[0xff; 300]].into_iter().for_each(target.run);
    }
}

/// The engine's script and the table of targets name the same ones.
#[test]
fn the_script_knows_every_target() {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../.ci/fuzz");
    let script = fs::read_to_string(script).expect("the script");
    let names = TARGETS.map(|target| target.name).join(" ");
    assert!(script.contains(&format!("readonly targets=({names})")));
    TARGETS
        .iter()
        .for_each(|target| assert!(script.contains(&format!("[{}]=", target.name)), "{}", target.name));
}
