//! What a device drops, and what it is not opened for.

use popmap_io::af_packet::{PacketConfig, PacketError};
use popmap_io::encap::{ETHERTYPE_OTHER, EncapConfig, Framing, Ignored};
use popmap_tests::netns;

use super::*;

fn ignored(device: &PacketDevice) -> Vec<(Ignored, u64)> {
    device.encap_stats().ignored().filter(|(_, count)| *count > 0).collect()
}

#[test]
fn foreign_frames_never_reach_us() {
    netns::inside(|| {
        netns::veth("left", "right");
        let framing = Framing::Ethernet { ethertype: ETHERTYPE_OTHER };
        let mut other = bind("left", &EncapConfig::new(framing).insecure(true));
        let mut arp = bind("left", &udp("10.0.0.1:7946"));
        let (mut left, mut right) = (bind("left", &bare()), bind("right", &bare()));
        let mut beside = bind("left", &bare());
        send(&mut other, right.local(), &vec![vec![7; 100]; 50]);
        until("it announces itself twice", &mut [&mut arp], |devices, _| {
            devices[0].encap_stats().neighbours.announcements == 2
        });
        // The kernel's own neighbour discovery is on the wire all the time.
        get_through(&mut left, &mut right);
        assert_eq!((ignored(&right), right.stats().overruns), (vec![], 0));
        // Nor does a station see what it sent itself.
        assert_eq!(left.receive(|_, _| unreachable!()).unwrap().frames, 0);
        assert_eq!((ignored(&left), ignored(&other)), (vec![], vec![]));
        // Nor what others send from the same interface.
        assert_eq!(beside.receive(|_, _| unreachable!()).unwrap().frames, 0);
        assert_eq!(ignored(&beside), []);
    });
}

#[test]
fn the_hosts_own_traffic_never_reaches_us() {
    netns::inside(|| {
        netns::veth("kernel", "ours");
        netns::ip("addr add 10.0.0.1/24 dev kernel");
        // Beside us on the same interface, as it is on most hosts.
        let mut right = bind("ours", &udp("10.0.0.2:7946"));
        netns::ip("neigh add 10.0.0.3 lladdr 02:00:00:00:00:03 dev kernel");
        let socket = std::net::UdpSocket::bind("10.0.0.1:0").unwrap();
        for _ in 0..50 {
            socket.send_to(&[7; 100], "10.0.0.3:7946").unwrap();
        }
        socket.send_to(b"for us", "10.0.0.2:7946").unwrap();
        until("ours comes", &mut [&mut right], |_, packets| packets == [b"for us"]);
        assert_eq!(ignored(&right), []);
    });
}

#[test]
fn what_is_wrong_with_a_frame_is_counted() {
    netns::inside(|| {
        netns::veth("left", "right");
        for end in ["left", "right"] {
            netns::ip(&format!("link set {end} mtu 9000"));
        }
        for config in MODES {
            let mut left = bind("left", &bare());
            let mut right = PacketDevice::bind("right", &bare(), &config).unwrap();
            let [ours, theirs] =
                [&left, &right].map(|device| popmap_io::address::to_mac(device.local()).unwrap().0);
            let header = [&theirs[..], &ours, &[0x88, 0xb5]].concat();
            let with = |rest: &[u8]| [&header, rest].concat();

            // No header of ours, half of one, and one that states more than there is.
            for rest in [&[][..], &[0x50, 0x4d, 1], &[0x50, 0x4d, 1, 0, 0, 100, 7, 7, 7]] {
                left.inject(&with(rest)).unwrap();
            }
            left.inject(&with(&[0x50, 0x4d, 9, 0, 0, 1, 7])).unwrap();
            left.inject(&with(&[&[0x50, 0x4d, 1, 0, 0, 1][..], &[7; 100]].concat())).unwrap();
            let elsewhere =
                [&[2, 9, 9, 9, 9, 9][..], &ours, &[0x88, 0xb5, 0x50, 0x4d, 1, 0, 0, 1, 7]].concat();
            left.inject(&elsewhere).unwrap();
            // Shorter than an Ethernet header does not get onto the wire.
            assert!(left.inject(&header[..13]).is_err());

            let mut tagged = bind("left", &EncapConfig { vlan: Some(7), ..bare() });
            send(&mut tagged, right.local(), &[vec![7; 100]]);
            // Within the slot of a frame, and beyond it.
            let mut jumbo = bind("left", &EncapConfig { payload: 8_952, ..bare() });
            send(&mut jumbo, right.local(), &[vec![7; 1_401], vec![7; 8_952], vec![7; 1_400]]);
            assert_eq!(receive(&mut right, 1), [(left.local(), vec![7; 1_400])]);

            let expected = [
                (Ignored::Tagged, 1),
                (Ignored::OtherMac, 1),
                (Ignored::OtherProtocol, 1),
                (Ignored::Truncated, 3),
                (Ignored::Trailing, 1),
                (Ignored::Oversize, 2),
            ];
            assert_eq!(ignored(&right), expected, "{config:?}");
            let stats = right.stats();
            assert_eq!((stats.received, stats.oversize, stats.ignored), (1, 2, 7), "{config:?}");

            // And the other way round.
            send(&mut left, tagged.local(), &[vec![7; 100]]);
            let mut tagged =
                PacketDevice::bind("right", &EncapConfig { vlan: Some(7), ..bare() }, &config).unwrap();
            let mut other = bind("left", &EncapConfig { vlan: Some(8), ..bare() });
            send(&mut other, tagged.local(), &[vec![7; 100]]);
            send(&mut left, tagged.local(), &[vec![7; 100]]);
            let mut same = bind("left", &EncapConfig { vlan: Some(7), ..bare() });
            get_through(&mut same, &mut tagged);
            assert_eq!(ignored(&tagged), [(Ignored::Untagged, 1), (Ignored::OtherVlan, 1)], "{config:?}");
        }
    });
}

#[test]
fn ip_frames_that_are_cut_short_are_counted_too() {
    netns::inside(|| {
        netns::veth("left", "right");
        let mut left = bind("left", &bare());
        let mut right = bind("right", &udp("10.0.0.2:7946"));
        let mut frame = [0xff; 33];
        frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
        frame[12..14].copy_from_slice(&[8, 0]);
        for len in 14..=33 {
            left.inject(&frame[..len]).unwrap();
        }
        until("all are counted", &mut [&mut right], |devices, _| devices[0].stats().ignored == 20);
    });
}

/// What a refusal says.
fn refused(interface: &str, encap: &EncapConfig) -> String {
    PacketDevice::bind(interface, encap, &PacketConfig::DEFAULT).unwrap_err().to_string()
}

#[test]
fn refusals_say_what_is_needed() {
    netns::inside(|| {
        netns::veth("left", "right");
        let bare = bare();
        assert!(refused("left", &EncapConfig::ethernet()).starts_with("insecure: false; frames are not"));
        for name in ["nobody", "", "much-too-long-a-name", "a\0b"] {
            let said = refused(name, &bare);
            assert!(said.starts_with(&format!("{name}: no interface has this name")), "{said}");
        }
        assert!(
            refused("lo", &bare)
                .starts_with("lo: not an Ethernet interface (hardware type 772, Ethernet is 1)")
        );
        let said = refused("left", &EncapConfig { payload: 8_952, ..bare });
        let expected = "left: its MTU is 1500 bytes, and payload and headers need 8958; raise it (ip link set left mtu \
                        8958) or configure a shorter payload";
        assert_eq!(said, expected);
        // What it said helps.
        netns::ip("link set left mtu 8958");
        bind("left", &EncapConfig { payload: 8_952, ..bare });
        let said = refused("left", &EncapConfig { payload: 8_952, vlan: Some(1), ..udp("[fd00::1]:1") });
        assert!(
            said.starts_with("left: its MTU is 8958 bytes, and payload and headers need 9000;"),
            "{said}"
        );
        netns::ip("link set left down");
        assert_eq!(refused("left", &bare), "left: the interface is down; switch it on (ip link set left up)");
        let ring = PacketConfig { ring_bytes: 1, ..PacketConfig::DEFAULT };
        let error = PacketDevice::bind("right", &bare, &ring).unwrap_err();
        assert!(matches!(error, PacketError::RingBytes(1)));
    });
}

#[test]
fn a_missing_capability_is_named() {
    netns::without_privilege(|| {
        let said = refused("lo", &bare());
        assert!(
            said.starts_with("packet sockets need the capability CAP_NET_RAW: run as root, or"),
            "{said}"
        );
    });
}
