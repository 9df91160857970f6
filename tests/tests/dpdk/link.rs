//! A link that goes down, and a port that goes away.

use std::time::Duration;

use popmap_io::Device;
use popmap_io::dpdk::DpdkDevice;
use popmap_io::encap::EncapConfig;
use popmap_tests::netns;

use super::pop::{LONG, bare_pair, config, eal, receive, send, wait_for};

#[test]
fn a_link_that_comes_and_goes_is_counted() {
    netns::inside(|| {
        let eal = eal(64);
        let [mut left, mut right] = bare_pair(&eal);
        let losses = |device: &DpdkDevice| (device.stats().link_losses, device.stats().link_returns);
        left.wait(Some(Duration::from_millis(250))).unwrap();
        assert_eq!(losses(&left), (0, 0));
        for round in 1..=2 {
            left.port_mut().unwrap().set_link(false).unwrap();
            wait_for("the loss is noticed while waiting", || {
                left.wait(Some(Duration::from_millis(10))).unwrap();
                losses(&left) == (round, round - 1)
            });
            left.port_mut().unwrap().set_link(true).unwrap();
            wait_for("the return is noticed without any wait", || {
                let _ = left.receive(|_, _| ()).unwrap();
                losses(&left) == (round, round)
            });
        }
        // What no port takes while the link is down is lost, not kept until nobody wants it.
        let to = right.local();
        let mut numbers = 0..10_000;
        while !send(&mut left, to, &mut numbers).blocked {}
        left.port_mut().unwrap().set_link(false).unwrap();
        let burst = send(&mut left, to, &mut numbers);
        assert!(!burst.blocked);
        assert!(left.stats().unreachable > 0);
        left.port_mut().unwrap().set_link(true).unwrap();
        let mut seen = Vec::new();
        while receive(&mut right, &mut seen).frames > 0 {}
        assert_eq!(left.stats().sent, seen.len() as u64);
    });
}

#[test]
fn a_port_that_is_gone_is_found_again() {
    netns::inside(|| {
        let eal = eal(64);
        let mut device = DpdkDevice::open(&eal, "net_ring0", &config(EncapConfig::ethernet(), 1)).unwrap();
        let (local, to) = (device.local(), popmap_io::address::from_mac(super::pop::mac(9)));
        for round in 1..=3 {
            device.unplug();
            assert!(device.port().is_none());
            assert_eq!(device.stats().link_losses, round);
            // Everything goes on, into nothing.
            let before = device.stats();
            let burst = send(&mut device, to, &mut (0..10));
            assert_eq!((burst.frames, burst.blocked), (10, false));
            assert_eq!(device.stats().unreachable, before.unreachable + 10);
            assert_eq!(device.receive(|_, _| ()).unwrap().frames, 0);
            assert_eq!(device.port_stats().sent, 0);
            wait_for("it is found", || {
                device.wait(Some(Duration::from_millis(10))).unwrap();
                device.port().is_some()
            });
            assert_eq!((device.stats().link_returns, device.dpdk_stats().reopened), (round, round));
            assert_eq!((device.local(), device.mac()), (local, super::pop::mac(1)));
            let _ = send(&mut device, to, &mut (0..10));
            assert_eq!(device.port_stats().sent, 10);
        }
    });
}

/// Somebody else has the device meanwhile.
#[test]
fn a_port_that_cannot_be_had_is_asked_for_less_and_less() {
    netns::inside(|| {
        let eal = eal(64);
        let config = config(EncapConfig::ethernet(), 1);
        let mut device = DpdkDevice::open(&eal, "net_ring0", &config).unwrap();
        device.unplug();
        let thief = DpdkDevice::open(&eal, "net_ring0", &config).unwrap();
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_secs(2) {
            device.wait(Some(Duration::from_millis(10))).unwrap();
        }
        let errors = device.dpdk_stats().reopen_errors;
        // After 100, 200, 400 and 800 ms, and the first at once.
        assert!((1..=6).contains(&errors), "{errors}");
        let fault = device.fault().unwrap().to_string();
        assert_eq!(fault, "device: net_ring0 is in use in this process already");
        drop(thief);
        let start = std::time::Instant::now();
        while device.port().is_none() {
            assert!(start.elapsed() < LONG);
            device.wait(Some(Duration::from_millis(10))).unwrap();
        }
        assert!(device.fault().is_none());
    });
}
