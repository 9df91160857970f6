//! What one frames the other takes apart: every framing, tag and length; everyone; gateways; hints of devices.

use super::*;

/// Every framing with and without a tag, two stations each.
fn pairs() -> Vec<(Encap, Encap)> {
    let mut all = Vec::new();
    for vlan in [None, Some(1), Some(4_094)] {
        for (left, right) in [(A4, B4), (A6, B6)] {
            let make = |mac, local| Encap::new(mac, &EncapConfig { vlan, ..udp_config(local) }).unwrap();
            all.push(pair(make(A, left), make(B, right), at(0)));
        }
        for ethertype in [ETHERTYPE_DEFAULT, ETHERTYPE_OTHER] {
            let framing = Framing::Ethernet { ethertype };
            let config = EncapConfig { vlan, ..EncapConfig::new(framing).insecure(true) };
            all.push((Encap::new(A, &config).unwrap(), Encap::new(B, &config).unwrap()));
        }
    }
    all
}

#[test]
fn every_length_comes_out_as_it_went_in() {
    for (mut left, mut right) in pairs() {
        let shortest = if left.station.vlan.is_some() { 64 } else { 60 };
        for len in (0..80).chain([1_199, 1_200, 1_399, 1_400]) {
            let payload: Vec<u8> = (0..len).map(|byte| byte as u8).collect();
            let frame = sent(&mut left, at(1), right.local(), &payload).unwrap();
            assert_eq!(frame.len(), (left.headroom() + len).max(shortest));
            let expected = Stripped::Payload { from: left.local(), bytes: &payload };
            assert_eq!(right.strip(at(1), &frame), expected, "{len} of {right:?}");
        }
        assert_eq!((left.stats().framed, right.stats().payloads), (84, 84));
        assert_eq!((ignored(&right), left.payload()), (vec![], 1_400));
    }
}

#[test]
fn headers_are_as_long_as_they_say() {
    let lens = |encap: &Encap| (encap.headroom(), encap.frame_len(), encap.mtu());
    assert_eq!(lens(&bare(A)), (20, 1_420, 1_406));
    assert_eq!(lens(&udp(A, A4)), (42, 1_442, 1_428));
    assert_eq!(lens(&udp(A, A6)), (62, 1_462, 1_448));
    assert_eq!(lens(&tagged(A, udp_config(A6), 9)), (66, 1_466, 1_448));
    let jumbo = EncapConfig { payload: 8_952, ..udp_config(A6) };
    assert_eq!(Encap::new(A, &jumbo).unwrap().mtu(), 9_000);
}

#[test]
fn what_a_device_has_to_let_through() {
    let wanted = |encap: &Encap| (encap.ethertypes().collect::<Vec<_>>(), encap.groups().collect::<Vec<_>>());
    assert_eq!(wanted(&bare(A)), (vec![0x88b5], vec![Mac::BROADCAST]));
    assert_eq!(wanted(&udp(A, A4)), (vec![0x0800, 0x0806], vec![Mac::BROADCAST]));
    let groups = ["33:33:00:00:00:01", "33:33:ff:0a:00:01"].map(|text| text.parse().unwrap());
    assert_eq!(wanted(&udp(A, A6)), (vec![0x86dd], groups.to_vec()));
}

#[test]
fn everyone_hears_who_joins() {
    for (to, mut left, mut right) in [
        (address::from_mac(Mac::BROADCAST), bare(A), bare(B)),
        (address::from_socket(socket("255.255.255.255:7946")), udp(A, A4), udp(B, B4)),
        (address::from_socket(socket("10.0.0.255:7946")), udp(A, A4), udp(B, B4)),
        (address::from_socket(socket("[ff02::1]:7946")), udp(A, A6), udp(B, B6)),
        (address::from_socket(socket("[ff02::1%7]:7946")), udp(A, A6), udp(B, B6)),
    ] {
        let frame = sent(&mut left, at(0), to, b"join").unwrap();
        let expected = Stripped::Payload { from: left.local(), bytes: b"join" };
        assert_eq!(right.strip(at(0), &frame), expected);
    }
}

#[test]
fn link_local_peers_are_on_our_link_whatever_its_number() {
    let (left, right) = (udp(A, "[fe80::a%3]:7946"), udp(B, "[fe80::b%5]:7946"));
    let (mut left, mut right) = pair(left, right, at(0));
    let to = address::from_socket(socket("[fe80::b%9]:7946"));
    let frame = sent(&mut left, at(0), to, b"here").unwrap();
    let from = address::from_socket(socket("[fe80::a%5]:7946"));
    assert_eq!(right.strip(at(0), &frame), Stripped::Payload { from, bytes: b"here" });
}

#[test]
fn hosts_behind_a_router_are_reached_through_it() {
    let router = Mac([2, 0, 0, 0, 0, 0xfe]);
    for (near, gateway, far) in [
        (A4, "10.0.0.254", "192.0.2.9:5"),
        (A6, "fe80::1", "[2001:ffff::9]:5"),
        (A6, "2001:db8::fe", "[2001::9]:5"),
    ] {
        let with = |config: EncapConfig| match config.framing {
            Framing::Udp(udp) => {
                let udp = UdpFraming { gateway: Some(gateway.parse().unwrap()), ..udp };
                EncapConfig { framing: Framing::Udp(udp), ..config }
            }
            Framing::Ethernet { .. } => unreachable!(),
        };
        let mut near = Encap::new(A, &with(udp_config(near))).unwrap();
        // The router is a host as others are, to its neighbours.
        let gateway = SocketAddr::new(gateway.parse().unwrap(), 1);
        let mut router_side = udp(router, &gateway.to_string());
        let to = address::from_socket(socket(far));
        assert_eq!(sent(&mut near, at(0), to, b"far"), Err(Unsent::Unresolved));
        settle(&mut near, &mut router_side, at(1_000), |_| false);
        let frame = sent(&mut near, at(1_000), to, b"far").unwrap();
        assert_eq!(frame[..6], router.0);
        // The router lowers the hop limit and passes it on; the other end answers in the same way.
        let mut far = Encap::new(B, &udp_config(far)).unwrap();
        let mut arrived = frame;
        arrived[..6].copy_from_slice(&B.0);
        arrived[6..12].copy_from_slice(&router.0);
        arrived[if near.headroom() == 42 { 22 } else { 21 }] = 63;
        let expected = Stripped::Payload { from: near.local(), bytes: b"far" };
        assert_eq!(far.strip(at(1_000), &mend(arrived)), expected);
    }
}

#[test]
fn what_is_not_reached_is_counted() {
    let far = address::from_socket(socket("192.0.2.1:7946"));
    let (mac, own) = (address::from_mac(B), address::from_socket(socket(A4)));
    let no_port = address::from_socket(socket("10.0.0.2:0"));
    let group = address::from_mac(Mac([1, 0, 0x5e, 0, 0, 1]));
    let multicast = address::from_socket(socket("224.0.0.1:7946"));
    let unknown = Address::default();
    let to = [far, mac, own, no_port, multicast, unknown, address::from_socket(socket(B6))];
    let mut four = udp(A, A4);
    for to in to {
        assert_eq!(sent(&mut four, at(0), to, b"lost"), Err(Unsent::NoRoute));
    }
    assert_eq!(unsent(&four), [Unsent::NoRoute; 7]);
    let mut two = bare(A);
    for to in [far, group, unknown, two.local(), address::from_mac(Mac::default())] {
        assert_eq!(sent(&mut two, at(0), to, b"lost"), Err(Unsent::NoRoute));
    }
    assert_eq!(unsent(&two), [Unsent::NoRoute; 5]);
    for mut encap in [two, four] {
        let before = unsent(&encap).len();
        assert_eq!(sent(&mut encap, at(0), mac, &[0; 1_401]), Err(Unsent::TooLong));
        assert_eq!(unsent(&encap)[before..], [Unsent::TooLong]);
        assert_eq!(encap.stats().framed, 0);
    }
}

#[test]
#[should_panic(expected = "a frame of 1441 bytes where 1442 are needed")]
fn a_frame_without_room_is_a_mistake() {
    let mut encap = udp(A, A4);
    let _ = encap.prepend(at(0), address::from_socket(socket(B4)), &mut [0; 1_441], 1);
}

#[test]
fn a_tag_that_was_taken_off_counts_as_there() {
    let (mut left, mut right) = pair(tagged(A, udp_config(A4), 7), tagged(B, udp_config(B4), 7), at(0));
    let mut frame = sent(&mut left, at(0), right.local(), b"off").unwrap();
    frame.drain(12..16);
    let tag = |tag| Offload { tag: Some(tag), ..Offload::default() };
    let expected = Stripped::Payload { from: left.local(), bytes: b"off" };
    // With a priority, or without.
    assert_eq!(right.strip_offloaded(at(0), &frame, tag(7)), expected);
    assert_eq!(right.strip_offloaded(at(0), &frame, tag(0xe007)), expected);
    assert_eq!(right.strip_offloaded(at(0), &frame, tag(8)), Stripped::Ignored(Ignored::OtherVlan));
    assert_eq!(right.strip(at(0), &frame), Stripped::Ignored(Ignored::Untagged));
}

#[test]
fn a_tag_without_a_vlan_is_a_priority_and_no_more() {
    let (mut left, mut right) = (bare(A), bare(B));
    let mut frame = sent(&mut left, at(0), right.local(), b"first").unwrap();
    frame.splice(12..12, [0x81, 0, 0xe0, 0]);
    let expected = Stripped::Payload { from: left.local(), bytes: b"first" };
    assert_eq!(right.strip(at(0), &frame), expected);
}

#[test]
fn checksums_that_nobody_filled_in_pass_where_that_is_said() {
    for (left, right) in [(A4, B4), (A6, B6)] {
        let (mut left, mut right) = pair(udp(A, left), udp(B, right), at(0));
        let mut frame = sent(&mut left, at(0), right.local(), b"unfilled").unwrap();
        // As a kernel leaves it to the hardware: the pseudo header's part only.
        let field = left.headroom() - 2;
        frame[field..field + 2].copy_from_slice(&[0x12, 0x34]);
        let expected = Stripped::Payload { from: left.local(), bytes: b"unfilled" };
        assert_eq!(right.strip(at(0), &frame), Stripped::Ignored(Ignored::UdpChecksum));
        let checked = Offload { checked: true, ..Offload::default() };
        assert_eq!(right.strip_offloaded(at(0), &frame, checked), expected);
        let config = match udp_config(&address::display(right.local()).to_string()) {
            EncapConfig { framing: Framing::Udp(udp), .. } => {
                EncapConfig::new(Framing::Udp(UdpFraming { checksums: Checksums::Trust, ..udp }))
            }
            bare => bare,
        };
        let mut trusting = Encap::new(B, &config.insecure(true)).unwrap();
        assert_eq!(trusting.strip(at(0), &frame), expected);
    }
}

#[test]
fn several_packets_in_one_frame_pass_when_each_of_them_may() {
    for (left, right) in [(A4, B4), (A6, B6)] {
        let long = EncapConfig { payload: 4_300, ..udp_config(left) };
        let (mut left, mut right) = pair(Encap::new(A, &long).unwrap(), udp(B, right), at(0));
        let payload = [7; 1_400 * 3 + 100];
        let frame = sent(&mut left, at(0), right.local(), &payload).unwrap();
        let of = |segment| Offload { segment: NonZeroU16::new(segment), ..Offload::default() };
        let expected = Stripped::Payload { from: left.local(), bytes: &payload };
        assert_eq!(right.strip_offloaded(at(0), &frame, of(1_400)), expected);
        for segment in [0, 1_401, 9_000] {
            let stripped = right.strip_offloaded(at(0), &frame, of(segment));
            assert_eq!(stripped, Stripped::Ignored(Ignored::Oversize), "{segment}");
        }
    }
}

#[test]
fn ipv4_may_do_without_a_udp_checksum() {
    let (mut left, mut right) = pair(udp(A, A4), udp(B, B4), at(0));
    let mut frame = sent(&mut left, at(0), right.local(), b"none").unwrap();
    frame[40..42].fill(0);
    let expected = Stripped::Payload { from: left.local(), bytes: b"none" };
    assert_eq!(right.strip(at(0), &frame), expected);
}
