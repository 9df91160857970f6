//! Packets between packet devices, and between them and a kernel's UDP sockets.

use popmap_core::limits::{PAYLOAD_DEFAULT, PAYLOAD_MAX};
use popmap_io::af_packet::PacketConfig;
use popmap_io::encap::{Checksums, ETHERTYPE_OTHER, EncapConfig, Framing};
use popmap_io::{Device, UdpConfig, UdpDevice, address};
use popmap_tests::netns;

use super::*;

/// Both ways over one wire, in both modes; nothing is lost.
fn exchange(left: &EncapConfig, right: &EncapConfig) {
    netns::veth("left", "right");
    for config in MODES {
        let mut left = PacketDevice::bind("left", left, &config).unwrap();
        let mut right = PacketDevice::bind("right", right, &config).unwrap();
        get_through(&mut left, &mut right);
        get_through(&mut right, &mut left);
        let before = [&left, &right].map(Device::stats);
        both_ways(&mut left, &mut right);
        for (device, before) in [&left, &right].into_iter().zip(before) {
            let stats = device.stats();
            assert_eq!(
                (stats.sent - before.sent, stats.received - before.received),
                (300, 300),
                "{config:?}"
            );
            assert_eq!((stats.lost() - before.lost(), stats.overruns), (0, 0), "{config:?}");
        }
    }
}

fn both_ways<L: Device, R: Device>(left: &mut L, right: &mut R) {
    one_way(left, right);
    one_way(right, left);
}

fn one_way<L: Device, R: Device>(left: &mut L, right: &mut R) {
    let (packets, mut received) = (packets(300), Vec::new());
    // Not all at once: a kernel's socket has no more room than its host grants.
    for some in packets.chunks(50) {
        send(left, right.local(), some);
        received.append(&mut receive(right, some.len()));
    }
    assert_eq!(received.len(), packets.len());
    for (i, ((from, received), sent)) in received.iter().zip(&packets).enumerate() {
        assert_eq!(*from, left.local());
        assert!(received == sent, "packet {i}: {} bytes, {} sent", received.len(), sent.len());
    }
}

#[test]
fn bare() {
    netns::inside(|| exchange(&super::bare(), &super::bare()));
}

#[test]
fn bare_in_a_vlan_under_the_other_ethertype() {
    netns::inside(|| {
        let framing = Framing::Ethernet { ethertype: ETHERTYPE_OTHER };
        let config = EncapConfig { vlan: Some(42), ..EncapConfig::new(framing).insecure(true) };
        exchange(&config, &config);
    });
}

#[test]
fn udp_in_ipv4() {
    netns::inside(|| exchange(&udp("10.0.0.1:7946"), &udp("10.0.0.2:7947")));
}

#[test]
fn udp_in_ipv6_in_a_vlan() {
    netns::inside(|| {
        let config = |local| EncapConfig { vlan: Some(4_094), ..udp(local) };
        exchange(&config("[fd00::1]:7946"), &config("[fd00::2]:7947"));
    });
}

/// Payloads as long as they may be, over the longest frames that most hardware has.
#[test]
fn jumbo_frames() {
    netns::inside(|| {
        netns::veth("left", "right");
        for end in ["left", "right"] {
            netns::ip(&format!("link set {end} mtu 9000"));
        }
        let framings = [
            [super::bare(); 2],
            [udp("10.0.0.1:7946"), udp("10.0.0.2:7946")],
            [udp("[fd00::1]:7946"), udp("[fd00::2]:7946")],
        ];
        for framing in framings {
            // Longer ones are opted for, not had.
            assert_eq!(bind("left", &framing[0]).payload(), PAYLOAD_DEFAULT);
            for config in MODES {
                let [mut left, mut right] =
                    [("left", framing[0]), ("right", framing[1])].map(|(end, encap)| {
                        let jumbo = EncapConfig { payload: PAYLOAD_MAX, ..encap };
                        PacketDevice::bind(end, &jumbo, &config).unwrap()
                    });
                get_through(&mut left, &mut right);
                let packets: Vec<_> = (0..40).map(|i| vec![i; PAYLOAD_MAX - usize::from(i)]).collect();
                send(&mut left, right.local(), &packets);
                let received: Vec<_> =
                    receive(&mut right, 40).into_iter().map(|(_, packet)| packet).collect();
                assert!(received == packets, "{framing:?} {config:?}");
            }
        }
    });
}

#[test]
fn jumbo_frames_with_a_kernel() {
    netns::inside(|| {
        netns::veth("kernel", "ours");
        netns::ip("addr add 10.0.0.1/24 dev kernel");
        for end in ["kernel", "ours"] {
            netns::ip(&format!("link set {end} mtu 9000"));
        }
        for config in MODES {
            let socket = UdpConfig::DEFAULT.insecure(true).payload(PAYLOAD_MAX);
            let mut left = UdpDevice::bind("10.0.0.1:7946".parse().unwrap(), &socket).unwrap();
            let jumbo = EncapConfig { payload: PAYLOAD_MAX, ..udp("10.0.0.2:7946") };
            let mut right = PacketDevice::bind("ours", &jumbo, &config).unwrap();
            netns::ip("neigh flush all");
            send(&mut left, right.local(), &[b"first".to_vec()]);
            until("the kernel finds us", &mut [&mut right], |_, packets| packets == [b"first"]);
            let packets: Vec<_> = (0..10).map(|i| vec![i; PAYLOAD_MAX - usize::from(i % 3)]).collect();
            let (there, back) = (right.local(), left.local());
            send(&mut left, there, &packets);
            assert!(receive(&mut right, 10).iter().map(|(_, packet)| packet).eq(&packets));
            send(&mut right, back, &packets);
            assert!(receive(&mut left, 10).iter().map(|(_, packet)| packet).eq(&packets));
        }
    });
}

/// A kernel's socket sends runs of equal length as one frame where the wire is virtual.
fn with_a_kernel(kernel: &str, ours: &str) {
    netns::veth("kernel", "ours");
    let kernel: std::net::SocketAddr = kernel.parse().unwrap();
    let (prefix, options) = if kernel.is_ipv4() { (24, "") } else { (64, "nodad") };
    netns::ip(&format!("addr add {}/{prefix} dev kernel {options}", kernel.ip()));
    for config in MODES {
        let mut left = UdpDevice::bind(kernel, &UdpConfig::DEFAULT.insecure(true)).unwrap();
        let mut right = PacketDevice::bind("ours", &udp(ours), &config).unwrap();
        // The kernel asks for us, also when the one before us was here.
        netns::ip("neigh flush all");
        send(&mut left, right.local(), &[b"first".to_vec()]);
        until("the kernel finds us", &mut [&mut right], |_, packets| packets == [b"first"]);
        // And we for it: its question has told us.
        both_ways(&mut left, &mut right);
        assert_eq!((left.stats().lost(), right.stats().lost()), (0, 0));
        assert_eq!((right.stats().overruns, right.stats().oversize), (0, 0));
        assert_eq!(right.encap_stats().neighbours.answers, 1);
        let runs: Vec<_> = (0..640).map(|i| vec![i as u8; 1_400]).collect();
        let before = left.udp_stats().sent;
        for (n, run) in runs.chunks(64).enumerate() {
            send(&mut left, right.local(), run);
            let received: Vec<_> = receive(&mut right, 64).into_iter().map(|(_, packet)| packet).collect();
            assert!(received == run, "{config:?}: {} of run {n}", received.len());
        }
        // Where the kernel can at all.
        assert!(!left.udp_stats().can_segment || left.udp_stats().sent >= before + 10);
    }
}

#[test]
fn udp_in_ipv4_with_a_kernel() {
    netns::inside(|| with_a_kernel("10.0.0.1:7946", "10.0.0.2:7946"));
}

#[test]
fn udp_in_ipv6_with_a_kernel() {
    netns::inside(|| with_a_kernel("[fd00::1]:7946", "[fd00::2]:7946"));
}

#[test]
fn checksums_that_the_kernel_leaves_unfilled_pass_without_trust() {
    netns::inside(|| {
        netns::veth("kernel", "ours");
        netns::ip("addr add 10.0.0.1/24 dev kernel");
        let config = udp("10.0.0.2:7946");
        assert!(matches!(config.framing, Framing::Udp(udp) if udp.checksums == Checksums::Verify));
        let mut right = bind("ours", &config);
        let socket = std::net::UdpSocket::bind("10.0.0.1:0").unwrap();
        socket.send_to(b"unfilled", "10.0.0.2:7946").unwrap();
        until("it comes", &mut [&mut right], |_, packets| packets == [b"unfilled"]);
    });
}

#[test]
fn everyone_on_the_segment_hears_a_broadcast() {
    netns::inside(|| {
        let ends = netns::bridge("switch", 3);
        let everyone = [
            (super::bare(), address::BROADCAST),
            (udp("10.0.0.9:7946"), address::from_socket("255.255.255.255:7946".parse().unwrap())),
            (udp("[fd00::9]:7946"), address::from_socket("[ff02::1]:7946".parse().unwrap())),
        ];
        for (config, to) in everyone {
            let mut devices: Vec<_> =
                (1..).zip(&ends).map(|(n, end)| bind(end, &numbered(config, n))).collect();
            let (first, others) = devices.split_first_mut().unwrap();
            send(first, to, &[b"who is there?".to_vec()]);
            for other in others {
                assert_eq!(receive(other, 1), [(first.local(), b"who is there?".to_vec())]);
            }
            assert_eq!(first.receive(|_, _| unreachable!("our own")).unwrap().frames, 0);
        }
    });
}

/// The same with another host's number.
fn numbered(config: EncapConfig, number: u8) -> EncapConfig {
    let Framing::Udp(mut udp) = config.framing else { return config };
    let ip = match udp.local.ip() {
        std::net::IpAddr::V4(ip) => {
            std::net::Ipv4Addr::from_bits(ip.to_bits() - 9 + u32::from(number)).into()
        }
        std::net::IpAddr::V6(ip) => {
            std::net::Ipv6Addr::from_bits(ip.to_bits() - 9 + u128::from(number)).into()
        }
    };
    udp.local.set_ip(ip);
    EncapConfig { framing: Framing::Udp(udp), ..config }
}

#[test]
fn a_flood_is_lost_and_counted_where_the_ring_is_full() {
    netns::inside(|| {
        netns::veth("left", "right");
        for config in MODES {
            let small = PacketConfig { ring_bytes: 512 << 10, ..config };
            let mut left = bind("left", &super::bare());
            let mut right = PacketDevice::bind("right", &super::bare(), &small).unwrap();
            // Twice what the ring holds, and less than what a kernel queues before it is put there.
            send(&mut left, right.local(), &vec![vec![7; 1_400]; 600]);
            until("the rest comes", &mut [&mut left, &mut right], |devices, packets| {
                // Losses show with the next frame that is not lost.
                let [left, right] = devices else { unreachable!() };
                send(&mut **left, right.local(), &[b"next".to_vec()]);
                let received = packets.iter().filter(|packet| packet.len() == 1_400).count() as u64;
                received > 0 && received + right.stats().overruns >= 600
            });
        }
    });
}

/// The socket's own room is short, then the interface's queue. A driver fills nothing meanwhile, and nothing is lost.
#[test]
fn what_an_interface_cannot_take_yet_waits() {
    netns::inside(|| {
        netns::veth("left", "right");
        for (send_buffer, queue) in [(10_000, 1_000_000), (1 << 20, 10_000)] {
            if let Err(why) = netns::throttle("left", 20_000, queue) {
                return netns::skip("what_an_interface_cannot_take_yet_waits", &why);
            }
            let config = PacketConfig { send_buffer, ..PacketConfig::DEFAULT };
            let mut left = PacketDevice::bind("left", &super::bare(), &config).unwrap();
            let mut right = bind("right", &super::bare());
            let (packets, mut waits) = (packets(200), 0);
            let (to, mut left_over, start) = (right.local(), packets.iter(), Instant::now());
            loop {
                let burst = left.send(|frame| {
                    let packet = left_over.next()?;
                    frame[..packet.len()].copy_from_slice(packet);
                    Some((to, packet.len()))
                });
                let burst = burst.unwrap();
                if !burst.more && !burst.blocked {
                    break;
                }
                if burst.blocked {
                    // Ends when it can send again, or it is worth a try; not before.
                    left.wait(Some(LONG)).unwrap();
                    waits += 1;
                }
                assert!(start.elapsed() < LONG);
            }
            let received: Vec<_> = receive(&mut right, 200).into_iter().map(|(_, packet)| packet).collect();
            assert!(received == packets, "{} of them", received.len());
            let stats = left.stats();
            assert_eq!((stats.sent, stats.lost()), (200, 0));
            assert!(stats.blocked > 0 && waits < 2_000, "{waits} waits, {stats:?}");
        }
    });
}
