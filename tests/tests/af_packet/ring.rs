//! The ring at its edges: where it begins anew, and where it goes while frames come.

use std::sync::atomic::{AtomicBool, Ordering};

use popmap_io::af_packet::Mode;
use popmap_io::{UdpConfig, UdpDevice};
use popmap_tests::netns;

use super::*;

/// Many times around a small ring: each packet once, whole and in order.
#[test]
fn a_ring_begins_anew_with_every_turn() {
    const COUNT: u32 = 5_000;
    netns::inside(|| {
        netns::veth("left", "right");
        // Each burst begins a block, and a slow machine's burst more than one: there are eight, for 20 ms each.
        let blocks = Mode::Bulk { block_timeout_ms: 20 };
        for (mode, ring_bytes) in [(Mode::Latency, 512 << 10), (blocks, 2 << 20)] {
            let small = PacketConfig { mode, ring_bytes, ..PacketConfig::DEFAULT };
            let mut left = bind("left", &bare());
            let mut right = PacketDevice::bind("right", &bare(), &small).unwrap();
            let packet = |n: u32| {
                let mut packet = vec![n as u8; 4 + (n * 37 % 1_397) as usize];
                packet[..4].copy_from_slice(&n.to_le_bytes());
                packet
            };
            let mut next = 0;
            while next < COUNT {
                // No more than a ring holds, and not so many that a turn is a whole number of these.
                let packets: Vec<_> = (next..COUNT.min(next + 77)).map(packet).collect();
                send(&mut left, right.local(), &packets);
                let received = receive(&mut right, packets.len());
                assert!(received.iter().map(|(_, packet)| packet).eq(&packets), "{mode:?} from {next}");
                next += packets.len() as u32;
            }
            assert_eq!((right.stats().received, right.stats().overruns), (COUNT.into(), 0));
        }
    });
}

/// Dropped with frames in the ring, and with series that wait beside it, while more come.
#[test]
fn a_device_may_go_while_frames_come() {
    netns::inside(|| {
        netns::veth("kernel", "ours");
        netns::ip("addr add 10.0.0.1/24 dev kernel");
        let socket = "10.0.0.1:7946".parse().unwrap();
        let mut kernel = UdpDevice::bind(socket, &UdpConfig::DEFAULT.insecure(true)).unwrap();
        let (over, start) = (AtomicBool::new(false), Instant::now());
        let ours = || udp("10.0.0.2:7946");
        let to = popmap_io::address::from_socket("10.0.0.2:7946".parse().unwrap());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Also when the other side has failed.
                while !over.load(Ordering::Relaxed) && start.elapsed() < LONG {
                    send(&mut kernel, to, &vec![vec![7; 1_400]; 64]);
                }
            });
            for config in MODES.into_iter().cycle().take(20) {
                let small = PacketConfig { ring_bytes: 512 << 10, ..config };
                let mut right = PacketDevice::bind("ours", &ours(), &small).unwrap();
                // It is found, and some are read; the rest is left where it is.
                until("some come", &mut [&mut right], |_, packets| {
                    packets.iter().for_each(|packet| assert!(*packet == [7; 1_400]));
                    packets.len() >= 64
                });
            }
            over.store(true, Ordering::Relaxed);
        });
    });
}
