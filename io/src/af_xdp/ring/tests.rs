//! Both ends of a ring in one process: the kernel's is ours, mapped a second time.

use std::fs::{self, File};
use std::thread;

use super::*;

const OFFSETS: XdpRingOffset = XdpRingOffset { producer: 0, consumer: 64, flags: Some(128), desc: 192 };

/// A file of which two mappings are one memory. `start`: where both indices are.
fn file(name: &str, len: usize, start: u32) -> File {
    let path = std::env::temp_dir().join(format!("popmap-ring-{name}-{}", std::process::id()));
    let mut bytes = vec![0; OFFSETS.desc as usize + len * 8];
    for at in [0, 64] {
        bytes[at..at + 4].copy_from_slice(&start.to_ne_bytes());
    }
    fs::write(&path, bytes).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    fs::remove_file(path).unwrap();
    file
}

fn ends(name: &str, len: u32, start: u32) -> (Producer<u64>, Consumer<u64>) {
    let file = file(name, len as usize, start);
    (Producer::map(&file, 0, &OFFSETS, len).unwrap(), Consumer::map(&file, 0, &OFFSETS, len).unwrap())
}

#[test]
fn entries_are_seen_when_committed_and_places_when_released() {
    // Indices pass the end of their 32 bits.
    let (mut producer, mut consumer) = ends("seen", 4, u32::MAX - 1);
    (0..4).for_each(|n| producer.push(n));
    assert!(consumer.is_empty() && consumer.pop().is_none());
    producer.commit();
    assert_eq!(producer.pending(), 4);
    assert_eq!(std::iter::from_fn(|| consumer.pop()).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(producer.pending(), 4);
    consumer.release();
    assert_eq!(producer.pending(), 0);
    producer.push(4);
    producer.commit();
    assert_eq!((consumer.pop(), consumer.pop()), (Some(4), None));
}

#[test]
#[should_panic(expected = "a ring is full")]
fn a_full_ring_takes_no_more() {
    let (mut producer, _consumer) = ends("full", 4, 7);
    (0..5).for_each(|n| producer.push(n));
}

#[test]
fn two_threads_pass_everything_on_in_order() {
    const COUNT: u64 = 200_000;
    let (mut producer, mut consumer) = ends("threads", 64, 0);
    thread::scope(|scope| {
        scope.spawn(move || {
            for n in 0..COUNT {
                while producer.pending() == 64 {
                    thread::yield_now();
                }
                producer.push(n);
                producer.commit();
            }
        });
        let mut wrong = None;
        for n in 0..COUNT {
            let entry = loop {
                match consumer.pop() {
                    Some(entry) => break entry,
                    None => thread::yield_now(),
                }
            };
            // A panic in here would leave the other thread waiting.
            wrong = wrong.or((entry != n).then_some((n, entry)));
            consumer.release();
        }
        assert_eq!(wrong, None, "an entry and what came for it");
    });
}

#[test]
fn the_flag_is_the_kernels() {
    let file = file("flag", 4, 0);
    let producer = Producer::<u64>::map(&file, 0, &OFFSETS, 4).unwrap();
    assert!(!producer.needs_wakeup());
    std::os::unix::fs::FileExt::write_all_at(&file, &1u32.to_ne_bytes(), 128).unwrap();
    assert!(producer.needs_wakeup());
}

#[test]
fn a_ring_without_flags_is_too_old() {
    let old = XdpRingOffset { flags: None, ..OFFSETS };
    let error = Producer::<u64>::map(file("old", 4, 0), 0, &old, 4).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
}
