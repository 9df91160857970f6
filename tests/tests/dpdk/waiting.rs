//! Waiting without a file descriptor: what ends a wait.

use std::time::{Duration, Instant};

use popmap_io::Device;
use popmap_io::dpdk::{DpdkConfig, DpdkDevice};
use popmap_io::encap::EncapConfig;
use popmap_tests::netns;

use super::pop::{bare_pair, config, eal, receive, send};

#[test]
fn a_packet_a_wake_or_the_time_ends_a_wait() {
    netns::inside(|| {
        let eal = eal(64);
        let [mut left, mut right] = bare_pair(&eal);
        let to = right.local();

        // A wake before the wait, and during it; many count as one.
        let waker = right.waker();
        waker.wake_by_ref();
        waker.wake_by_ref();
        right.wait(None).unwrap();
        std::thread::scope(|scope| {
            let waker = right.waker();
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(5));
                waker.wake();
            });
            right.wait(None).unwrap();
        });

        // A packet before the wait, and during it.
        let _ = send(&mut left, to, &mut (1..2));
        right.wait(None).unwrap();
        let mut seen = Vec::new();
        let _ = receive(&mut right, &mut seen);
        std::thread::scope(|scope| {
            let left = &mut left;
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(5));
                let _ = send(left, to, &mut (2..3));
            });
            right.wait(None).unwrap();
        });
        let _ = receive(&mut right, &mut seen);
        assert_eq!(seen, [1, 2]);

        // The time, not before it is over.
        for ms in [0, 1, 20] {
            let start = Instant::now();
            right.wait(Some(Duration::from_millis(ms))).unwrap();
            assert!(start.elapsed() >= Duration::from_millis(ms), "{ms} ms");
        }
        // What a wait took from the port is not lost to the next one.
        let _ = send(&mut left, to, &mut (3..4));
        right.wait(None).unwrap();
        right.wait(None).unwrap();
        let _ = receive(&mut right, &mut seen);
        assert_eq!(seen, [1, 2, 3]);
    });
}

#[test]
fn an_idle_device_sleeps() {
    netns::inside(|| {
        let eal = eal(64);
        let [mut left, _right] = bare_pair(&eal);
        // As a driver waits: again and again, for less than a nap's bound and for more.
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(200) {
            left.wait(Some(Duration::from_millis(10))).unwrap();
        }
        let naps = left.dpdk_stats().naps;
        // One a millisecond, and shorter ones at the ends of waits.
        assert!((1..500).contains(&naps), "{naps} naps in 200 ms");
    });
}

/// A core of its own: no naps, and a wake ends the wait all the same.
#[test]
fn a_device_that_never_naps_is_woken() {
    netns::inside(|| {
        let eal = eal(64);
        let busy = |station| DpdkConfig { nap: Duration::ZERO, ..config(EncapConfig::ethernet(), station) };
        let configs = [busy(1), DpdkConfig { spin: Duration::MAX, ..busy(2) }];
        for mut device in DpdkDevice::pair(&eal, configs.each_ref()).unwrap() {
            std::thread::scope(|scope| {
                let waker = device.waker();
                scope.spawn(move || {
                    std::thread::sleep(Duration::from_millis(5));
                    waker.wake();
                });
                device.wait(None).unwrap();
            });
            device.wait(Some(Duration::from_millis(5))).unwrap();
            assert_eq!(device.dpdk_stats().naps, 0);
        }
    });
}
