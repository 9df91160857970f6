//! Two servers of one process over a pair of rings, in each framing.

use std::net::SocketAddr;

use popmap_io::Device;
use popmap_io::dpdk::DpdkDevice;
use popmap_io::encap::EncapConfig;
use popmap_tests::netns;

use super::pop::{Server, bare_pair, config, converge, driver_config, eal, receive, send, wait_for};

fn two_converge(encaps: [EncapConfig; 2]) {
    let eal = eal(64);
    let configs = [config(encaps[0], 1), config(encaps[1], 2)];
    let devices = DpdkDevice::pair(&eal, configs.each_ref()).unwrap();
    let seed = devices[0].local();
    // The first begins the PoP: itself it does not reach.
    let seeds = |slot| if slot == 0 { vec![] } else { vec![seed] };
    let spawn = |(slot, device)| Server::spawn(&driver_config(slot, 2, &seeds(slot)), device);
    let servers: Vec<_> = devices.into_iter().enumerate().map(spawn).collect();
    converge(&servers);
    for server in servers {
        let stats = server.running.handle().snapshot().device;
        assert_eq!((stats.oversize, stats.no_route, stats.too_long, stats.send_errors), (0, 0, 0, 0));
        assert!(stats.received > 0 && stats.sent > 0, "{stats:?}");
        server.running.stop().unwrap();
    }
}

fn udp(address: &str, prefix_len: u8) -> EncapConfig {
    EncapConfig::udp(address.parse::<SocketAddr>().unwrap(), prefix_len)
}

#[test]
fn two_converge_with_bare_frames() {
    netns::inside(|| two_converge([EncapConfig::ethernet(); 2]));
}

#[test]
fn two_converge_in_a_vlan() {
    let tagged = EncapConfig { vlan: Some(42), ..EncapConfig::ethernet() };
    netns::inside(|| two_converge([tagged; 2]));
}

#[test]
fn two_find_each_other_by_arp() {
    netns::inside(|| {
        two_converge([udp("10.0.0.1:7946", 24), udp("10.0.0.2:7946", 24)]);
    });
}

#[test]
fn two_find_each_other_by_neighbour_discovery() {
    netns::inside(|| {
        two_converge([udp("[2001:db8::1]:7946", 64), udp("[2001:db8::2]:7946", 64)]);
    });
}

/// Neither sends anything of its own: what is asked is answered while waiting, and announced when it is due.
#[test]
fn questions_are_answered_without_a_packet_to_send() {
    netns::inside(|| {
        let eal = eal(64);
        let configs = [config(udp("10.0.0.1:7946", 24), 1), config(udp("10.0.0.2:7946", 24), 2)];
        let [mut left, mut right] = DpdkDevice::pair(&eal, configs.each_ref()).unwrap();
        let to = right.local();
        // Lost, and asks.
        let _ = send(&mut left, to, &mut (0..1));
        assert_eq!((left.stats().unreachable, left.encap_stats().neighbours.requests), (1, 1));
        let mut none = Vec::new();
        wait_for("the answer", || {
            right.wait(Some(std::time::Duration::ZERO)).unwrap();
            let _ = receive(&mut right, &mut none);
            let _ = receive(&mut left, &mut none);
            left.encap_stats().neighbours.resolved == 1
        });
        assert_eq!(right.encap_stats().neighbours.answers, 1);
        let _ = send(&mut left, to, &mut (7..8));
        let mut seen = Vec::new();
        wait_for("the packet", || {
            let _ = receive(&mut right, &mut seen);
            seen == [7]
        });
        // The second announcement comes two seconds later, and ends no wait.
        wait_for("both announcements", || {
            left.wait(Some(std::time::Duration::from_millis(50))).unwrap();
            let _ = receive(&mut left, &mut none);
            left.encap_stats().neighbours.announcements == 2
        });
        assert_eq!(none, [0; 0]);
    });
}

#[test]
fn packets_arrive_in_order_and_from_their_sender() {
    netns::inside(|| {
        let eal = eal(64);
        let [mut left, mut right] = bare_pair(&eal);
        let (from, to) = (left.local(), right.local());
        assert_eq!(left.payload(), 1_400);
        let mut numbers = 0..1_000;
        let mut seen = Vec::new();
        while !numbers.is_empty() {
            let _ = send(&mut left, to, &mut numbers);
            let burst = right
                .receive(|source, packet| {
                    assert_eq!(source, from);
                    seen.push(u64::from_le_bytes(packet.try_into().unwrap()));
                })
                .unwrap();
            assert!(!burst.blocked);
        }
        while receive(&mut right, &mut seen).frames > 0 {}
        assert_eq!(seen, (0..1_000).collect::<Vec<_>>());
        assert_eq!((left.stats().sent, right.stats().received), (1_000, 1_000));
        // The longest, and the shortest, which is padded on the way.
        for len in [1_400, 0] {
            let mut once = Some(to);
            let _ = left
                .send(|frame| {
                    frame.fill(7);
                    once.take().map(|to| (to, len))
                })
                .unwrap();
            let mut lens = Vec::new();
            let _ = right
                .receive(|_, packet| lens.push((packet.len(), packet.iter().all(|&byte| byte == 7))))
                .unwrap();
            assert_eq!(lens, [(len, true)]);
        }
    });
}

/// Frames of other lengths and kinds, written past the encapsulation.
#[test]
fn what_is_not_for_us_is_counted() {
    netns::inside(|| {
        let eal = eal(64);
        let [mut left, mut right] = bare_pair(&eal);
        let pool = DpdkDevice::pool(&eal, &config(EncapConfig::ethernet(), 1)).unwrap();
        let mut blank = popmap_io::dpdk::Batch::new(&eal);
        let mut batch = popmap_io::dpdk::Batch::new(&eal);
        assert!(blank.fill_up(&pool));
        // A runt, nothing at all, a foreign frame, one for another station, and one with too long a payload.
        let headers = [&[0; 10][..], &[], &[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0], &[2; 60]];
        let long: &[u8] = &[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5, 0x50, 0x4d, 1, 0, 6, 0];
        for (header, len) in headers.into_iter().map(|header| (header, header.len())).chain([(long, 1_556)]) {
            let frame = blank.last_mut(len.max(header.len())).unwrap();
            frame.fill(0);
            frame[..header.len()].copy_from_slice(header);
            blank.set_last_len(len);
            assert!(blank.move_last(&mut batch));
        }
        assert_eq!(left.port_mut().unwrap().send(&mut batch), 5);
        let burst = right.receive(|_, _| panic!("a packet")).unwrap();
        assert_eq!((burst.frames, right.stats().ignored, right.stats().oversize), (0, 4, 1));
    });
}
