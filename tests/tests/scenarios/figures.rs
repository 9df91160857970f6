//! The figures of the documentation, at their least size: that they can be made, are the same each time, and show what is
//! promised. In virtual time, so whatever the machine is.

use std::path::{Path, PathBuf};

use popmap_core::time::Duration;
use popmap_core::{SwimConfig, SyncConfig};
use popmap_tests::figures::catch_up::{self, KEYS};
use popmap_tests::figures::detection::{Constants, MEMBERLIST};
use popmap_tests::figures::members::{Outcome, run};
use popmap_tests::figures::propagation::{Setting, measure};
use popmap_tests::figures::{Figure, Options, page, quantile};

/// Returns a folder of this test's own, empty.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("figures").join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).unwrap();
    }
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn quick(out: &Path) -> Options {
    Options { quick: true, seed: 1, threads: 2, hours: 2, out: out.to_owned(), tell: |_| {} }
}

/// Writes every figure, and returns the files' names and contents.
fn all(out: &Path) -> Vec<(String, Vec<u8>)> {
    for figure in Figure::ALL {
        let drawn = (figure.draw)(&quick(out)).unwrap();
        assert!(!drawn.table.rows.is_empty(), "{}", figure.name);
        for row in &drawn.table.rows {
            assert_eq!(row.len(), drawn.table.head.len(), "{}: {row:?}", figure.name);
        }
        page::write(out, &figure, &drawn).unwrap();
    }
    let entries =
        [out.to_owned(), out.join("figures")].into_iter().flat_map(|at| std::fs::read_dir(at).unwrap());
    let files = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let mut files: Vec<_> = files
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn the_same_seed_gives_the_same_files() {
    let first = all(&folder("first"));
    // The second time with the hours done already, as after an interruption.
    let out = folder("second");
    let hours = "hours_by_seed.csv";
    let (_, text) = first.iter().find(|(name, _)| name == hours).unwrap();
    let text = std::str::from_utf8(text).unwrap();
    std::fs::create_dir(out.join("figures")).unwrap();
    // The second of two lines was cut off.
    std::fs::write(out.join("figures").join(hours), &text[..text.len() - 3]).unwrap();
    let second = all(&out);
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|file| file.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(&first), names(&second));
    for (first, second) in first.iter().zip(&second) {
        assert!(first == second, "{} differs", first.0);
    }
}

fn trial(overloaded: usize, seeds: u64, crashes: u32) -> Outcome {
    let mut all = Outcome::default();
    for seed in 100..100 + seeds {
        all.add(&run(&Constants::Popmap.trial(seed, 5, overloaded, crashes)));
    }
    all
}

#[test]
fn at_five_percent_loss_deaths_are_known_soon_and_nobody_is_held_dead_who_lives() {
    let mut outcome = trial(0, 4, 15);
    let [median, most] = [0.5, 0.999].map(|part| quantile(&mut outcome.each, part));
    println!(
        "{} crashes in {} s: median {} ms, 99.9 % {} ms, {} suspicions",
        outcome.first.len(),
        outcome.span.as_millis() / 1_000,
        median.as_millis(),
        most.as_millis(),
        outcome.suspicions
    );
    assert_eq!((outcome.all_false_deaths(), outcome.blocked_deaths), (0, 0));
    assert!(median < Duration::from_secs(1) && most < Duration::from_secs(3), "{median:?} {most:?}");
}

#[test]
fn overloaded_servers_hold_no_healthy_one_dead_and_deaths_are_known_no_later_than_with_memberlists_constants()
{
    let mut popmap = trial(8, 2, 12);
    let mut memberlist = run(&Constants::Memberlist.trial(100, 5, 8, 2));
    assert_eq!(popmap.false_deaths[0], 0);
    assert!(popmap.blocked_deaths > 0, "the overload was one");
    let median = |outcome: &mut Outcome| quantile(&mut outcome.each, 0.5);
    let [popmap, memberlist] = [median(&mut popmap), median(&mut memberlist)];
    println!("median {} ms, with memberlist's constants {} ms", popmap.as_millis(), memberlist.as_millis());
    assert!(popmap < memberlist && memberlist >= MEMBERLIST.suspicion_min);
    assert!(popmap >= SwimConfig::DEFAULT.suspicion_min);
}

/// Issue 6, done when 5.
#[test]
fn a_fresh_server_catches_up_within_a_second() {
    for seed in 1..6 {
        let setting =
            catch_up::Setting { servers: 4, loss: 5, keys: KEYS, window: SyncConfig::DEFAULT.window };
        let run = catch_up::measure(seed, &setting);
        println!("{KEYS} keys in {} ms, redundancy {:.3}", run.equal.as_millis(), run.redundancy);
        assert!(run.equal < Duration::from_secs(1), "{:?}", run.equal);
        assert!(run.redundancy < 1.1, "{}", run.redundancy);
    }
}

/// A push takes its delay and one way; what is lost waits for an exchange or a probe.
#[test]
fn half_of_the_servers_have_a_write_as_soon_as_it_is_pushed() {
    let sync = SyncConfig::DEFAULT;
    let mut times = measure(1, &Setting { loss: 5, sync, writes: 20 });
    let median = quantile(&mut times.each, 0.5);
    let late = median.0.checked_sub(sync.push_delay.0).map(Duration);
    assert!(late.is_some_and(|late| late < Duration::from_millis(1)), "{median:?}");
}
