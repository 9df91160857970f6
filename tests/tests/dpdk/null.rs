//! A port that never runs dry: nothing waits for the end of what it has.

use std::time::Duration;

use popmap_io::Device;
use popmap_io::dpdk::DpdkDevice;
use popmap_io::encap::EncapConfig;
use popmap_tests::netns;

use super::pop::{Server, config, driver_config, eal, send, wait_for};

#[test]
fn an_endless_port_hangs_nothing() {
    netns::inside(|| {
        let eal = eal(64);
        let mut device = DpdkDevice::open(&eal, "net_null0", &config(EncapConfig::ethernet(), 1)).unwrap();
        assert_eq!(device.port().unwrap().driver(), "net_null");
        for _ in 0..100 {
            // Its frames are 64 bytes of zeros.
            let burst = device.receive(|_, _| panic!("a packet")).unwrap();
            assert!(burst.more && burst.frames == 0);
        }
        assert_eq!(device.stats().ignored, 6_400);
        // A frame waits, so no wait takes long, whatever its limit.
        device.wait(None).unwrap();
        let to = popmap_io::address::from_mac(super::pop::mac(9));
        let mut numbers = 0..1_000;
        while !numbers.is_empty() {
            let _ = send(&mut device, to, &mut numbers);
        }
        assert_eq!(device.stats().sent, 1_000);
        // A driver goes on, is told to stop and does.
        let server = Server::spawn(&driver_config(0, 1, &[]), device);
        wait_for("it may write", || server.is_active());
        server.write(0);
        wait_for("it wrote", || server.has(0, 0));
        server.running.stop().unwrap();
    });
}

/// Its copying mode, and frames without end on one side only.
#[test]
fn a_silent_port_naps() {
    netns::inside(|| {
        let eal = eal(64);
        let mut device =
            DpdkDevice::open(&eal, "net_null0,no-rx=1", &config(EncapConfig::ethernet(), 1)).unwrap();
        device.wait(Some(Duration::from_millis(50))).unwrap();
        let naps = device.dpdk_stats().naps;
        assert!((1..100).contains(&naps), "{naps} naps in 50 ms");
    });
}
