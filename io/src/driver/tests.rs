//! A start whose generation is in doubt: silent for the life of a packet, then like any other.
//!
//! The wall clock is an argument and time is told, so nothing waits.

use std::fs;
use std::path::PathBuf;

use popmap_core::{Config, Event, Life, Phase, Shape, Slot, SlotSet};

use super::*;
use crate::clock::SET_CLOCK_SECONDS;
use crate::loopback::{Loopback, LoopbackDevice};
use crate::storage::Storage;

const SHAPE: Shape = Shape { schema: 1, value_len: 8 };
/// A wall clock that counts from the power-on.
const UNSET: u32 = 300;
const SET: u32 = SET_CLOCK_SECONDS + 1;

fn config(slot: usize, seeds: &[Address]) -> DriverConfig {
    let mut node = Config::new(7, Slot::at(slot), Life::NONE, 100, SHAPE);
    node.configured = SlotSet::first(2);
    DriverConfig { seeds: seeds.to_vec(), ..DriverConfig::new(node) }
}

fn start(config: &DriverConfig, network: &Loopback, clock: u32) -> Driver<'static, LoopbackDevice, 2> {
    let storage = Storage::new(Node::<2>::words(&config.node)).leak();
    Driver::start_at(config, storage, network.device(), clock).unwrap()
}

/// Polls two drivers each millisecond; returns the news of the second.
fn run(drivers: &mut [Driver<'_, LoopbackDevice, 2>; 2], from_ms: u64, to_ms: u64) -> Vec<News> {
    let mut news = Vec::new();
    for ms in from_ms..to_ms {
        let now = Instant::from_millis(ms);
        drivers[0].poll_at(now, |_| ()).unwrap();
        drivers[1].poll_at(now, |told| news.push(told)).unwrap();
    }
    news
}

/// Starts a server that is known for certain, and one in slot 1 that joins through it.
fn pair(clock: u32) -> [Driver<'static, LoopbackDevice, 2>; 2] {
    let network = Loopback::new();
    let first = start(&config(0, &[]), &network, SET);
    let seeds = [first.device().local()];
    [first, start(&config(1, &seeds), &network, clock)]
}

#[test]
fn in_doubt_it_sends_nothing_and_takes_nothing_for_the_life_of_a_packet() {
    let mut drivers = pair(UNSET);
    let key = Key([1; 16]);
    // The other knows its address, from the last life, and goes on sending there.
    let address = drivers[1].device().local();
    drivers[0].node_mut().set_address(Slot::at(1), address);
    drivers[0].node_mut().set_live(SlotSet::first(2));
    drivers[1].handle().put(key, &[1; 8]).unwrap();
    let news = run(&mut drivers, 0, 9_990);
    let in_doubt = |news: &&News| matches!(news, News::GenerationInDoubt);
    assert_eq!(news.iter().filter(in_doubt).count(), 1, "told once: {news:?}");
    let refused = |news: &News| matches!(news, News::PutRefused { error: PutError::Starting, .. });
    assert!(news.iter().any(refused), "{news:?}");
    let silent = &mut drivers[1];
    assert_eq!(silent.put(key, &[1; 8]), Err(PutError::Starting));
    assert_eq!(silent.device().stats().sent, 0);
    assert!(silent.device().stats().received > 0, "it was spoken to");
    assert_eq!(silent.node().stats().received_bytes, 0, "and did not listen");
    let snapshot = silent.handle().snapshot();
    assert!(snapshot.phase == Phase::Starting && snapshot.at >= Instant::from_millis(9_800));
    assert!(silent.reader().heartbeat() >= Instant::from_millis(9_980), "it is not dead");

    let news = run(&mut drivers, 9_990, 13_000);
    assert!(!news.iter().any(|news| in_doubt(&news)));
    let started = |news: &News| matches!(news, News::Map(Event::Started { expired: false }));
    assert!(news.iter().any(started), "then it joins: {news:?}");
    drivers[1].put(key, &[1; 8]).unwrap();
    assert!(drivers.iter().all(|driver| driver.node().map().live() == SlotSet::first(2)));
}

#[test]
fn without_doubt_it_speaks_at_once() {
    let mut drivers = pair(SET);
    let news = run(&mut drivers, 0, 2_000);
    assert!(drivers[1].device().stats().sent > 0);
    assert!(!news.iter().any(|news| matches!(news, News::GenerationInDoubt)));
    assert!(matches!(drivers[1].node().map().phase(), Phase::Active { expired: false }));
}

#[test]
fn the_start_deadline_runs_from_the_end_of_the_silence() {
    let network = Loopback::new();
    // Who was to be met does not exist.
    let nowhere = network.device().local();
    let mut driver = start(&config(0, &[nowhere]), &network, UNSET);
    let phase = |driver: &mut Driver<'_, LoopbackDevice, 2>, ms| {
        driver.poll_at(Instant::from_millis(ms), |_| ()).unwrap();
        driver.node().map().phase()
    };
    for ms in (0..14_900).step_by(10) {
        assert_eq!(phase(&mut driver, ms), Phase::Starting, "after {ms} ms");
    }
    assert_eq!(phase(&mut driver, 15_100), Phase::Active { expired: true });
}

#[test]
fn silence_holds_what_the_node_would_send_and_sleeps() {
    let network = Loopback::new();
    let mut alone = config(0, &[]);
    // It holds another live, and has something to send it at once and always.
    alone.node.swim = None;
    let mut driver = start(&alone, &network, UNSET);
    for ms in (0..9_900).step_by(100) {
        let now = Instant::from_millis(ms);
        assert!(driver.poll_at(now, |_| ()).unwrap() > now, "at {ms} ms");
    }
    let end = driver.silence.as_ref().unwrap().until;
    assert_eq!(driver.poll_at(Instant(end.0 - 1), |_| ()).unwrap(), end);
    let sent = |driver: &Driver<'_, LoopbackDevice, 2>| {
        let stats = driver.device().stats();
        stats.sent + stats.lost()
    };
    assert_eq!(sent(&driver), 0);
    driver.poll_at(end, |_| ()).unwrap();
    assert!(sent(&driver) > 0);
}

#[test]
fn a_pop_of_its_own_begins_after_the_silence_too() {
    let mut driver = start(&config(0, &[]), &Loopback::new(), UNSET);
    let mut put = |ms| {
        driver.poll_at(Instant::from_millis(ms), |_| ()).unwrap();
        driver.node_mut().put(Instant::from_millis(ms), Key([1; 16]), &[1; 8])
    };
    assert_eq!(put(1), Err(PutError::Starting));
    assert_eq!(put(9_900), Err(PutError::Starting));
    assert!(put(10_100).is_ok());
}

#[test]
fn what_a_start_rests_on() {
    let directory = std::env::temp_dir().join(format!("popmap-io-doubt-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let file_of = |name: &str, content: Option<&str>| {
        let path: PathBuf = directory.join(name);
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
        Some(GenerationFile::new(path))
    };
    // A directory in the place of the temporary file: it cannot be saved.
    ["stuck.tmp", "ahead.tmp"].iter().for_each(|name| fs::create_dir(directory.join(name)).unwrap());
    let ahead = (SET + 1_000_000).to_string();
    let cases = [
        ("no file", None, false, true),
        ("a missing one", file_of("missing", None), false, true),
        ("nonsense", file_of("nonsense", Some("seven")), false, true),
        ("one that cannot be saved", file_of("stuck", Some("5\n")), false, true),
        ("the same, ahead of any clock", file_of("ahead", Some(&ahead)), true, true),
        ("a good one", file_of("good", Some("5\n")), false, false),
    ];
    for (what, generation, set, unset) in cases {
        for (clock, expected) in [(UNSET, unset), (SET_CLOCK_SECONDS - 1, unset), (SET, set)] {
            // Saved by the last one.
            let _ = fs::remove_file(directory.join("missing"));
            let config = DriverConfig { generation: generation.clone(), ..config(0, &[]) };
            let beginning = config.begin(clock).unwrap();
            assert_eq!(beginning.in_doubt, expected, "{what}, clock at {clock}");
        }
    }
    fs::remove_dir_all(&directory).unwrap();

    // Who brings a life answers for it.
    let mut given = config(0, &[]);
    given.node.life = Life { generation: 1, id: 1 };
    assert!(!given.begin(UNSET).unwrap().in_doubt);
}
