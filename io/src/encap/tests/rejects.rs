//! Every reason to ignore a frame: what is done to a good one, and that exactly that counter rises.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use super::golden::*;
use super::*;

/// A frame that is to be ignored, by whom and why.
struct Case {
    by: Encap,
    frame: Vec<u8>,
    why: Ignored,
}

/// Collects cases; each starts from a good frame.
#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    /// `by` takes `good`, and ignores it once `damage` is done.
    fn add(&mut self, by: &Encap, good: &[u8], why: Ignored, damage: impl FnOnce(&mut Vec<u8>)) {
        let mut probe = by.clone();
        let stripped = probe.strip(at(0), good);
        assert!(!matches!(stripped, Stripped::Ignored(_)), "{why}: the good frame is ignored: {stripped:?}");
        let mut frame = good.to_vec();
        damage(&mut frame);
        assert_ne!(frame, good, "{why}: nothing was done");
        self.0.push(Case { by: by.clone(), frame, why });
    }

    /// The same with all checksums right in the end.
    fn add_mended(&mut self, by: &Encap, good: &[u8], why: Ignored, damage: impl FnOnce(&mut Vec<u8>)) {
        self.add(by, good, why, |frame| {
            damage(frame);
            *frame = mend(std::mem::take(frame));
        });
    }
}

fn set(at: usize, bytes: &[u8]) -> impl FnOnce(&mut Vec<u8>) {
    move |frame| frame[at..at + bytes.len()].copy_from_slice(bytes)
}

fn flip(at: usize, bits: u8) -> impl FnOnce(&mut Vec<u8>) {
    move |frame| frame[at] ^= bits
}

fn cut(len: usize) -> impl FnOnce(&mut Vec<u8>) {
    move |frame| frame.truncate(len)
}

fn link(cases: &mut Cases) {
    let plain = bare(B);
    let config = EncapConfig::ethernet().insecure(true);
    let in_vlan = tagged(B, config, 100);
    let good = sent(&mut bare(A), at(0), plain.local(), &[7; 100]).unwrap();
    let in_100 = sent(&mut tagged(A, config, 100), at(0), plain.local(), &[7; 100]).unwrap();
    cases.add(&plain, &good, Ignored::Runt, cut(13));
    cases.add(&plain, &good, Ignored::Runt, cut(0));
    cases.add(&in_vlan, &in_100, Ignored::Runt, cut(17));
    cases.add(&plain, &good, Ignored::Tagged, |frame| frame.clone_from(&in_100));
    cases.add(&in_vlan, &in_100, Ignored::Untagged, |frame| frame.clone_from(&good));
    cases.add(&in_vlan, &in_100, Ignored::Untagged, set(14, &[0xe0, 0]));
    cases.add(&in_vlan, &in_100, Ignored::OtherVlan, set(14, &[0, 101]));
    cases.add(&in_vlan, &in_100, Ignored::OtherVlan, set(14, &[0x0f, 0xff]));
    cases.add(&plain, &good, Ignored::Foreign, set(12, &[0x88, 0xb6]));
    // A length instead of a type: IEEE 802.3 with LLC, as bridges talk to each other.
    cases.add(&plain, &good, Ignored::Foreign, set(12, &[0, 100]));
    cases.add(&in_vlan, &in_100, Ignored::Foreign, set(16, &[0x81, 0]));
    cases.add(&in_vlan, &in_100, Ignored::Foreign, set(16, &[0x08, 0]));
    cases.add(&plain, &good, Ignored::Own, set(6, &B.0));
    cases.add(&plain, &good, Ignored::SourceMac, flip(6, 1));
    cases.add(&plain, &good, Ignored::SourceMac, set(6, &[0; 6]));
    cases.add(&plain, &good, Ignored::OtherMac, flip(5, 0x10));
    cases.add(&plain, &good, Ignored::OtherMac, set(0, &[0x33, 0x33, 0, 0, 0, 1]));
}

fn bare_ethernet(cases: &mut Cases) {
    let by = bare(B);
    let good = sent(&mut bare(A), at(0), by.local(), &[7; 1_400]).unwrap();
    let short = sent(&mut bare(A), at(0), by.local(), &[7; 10]).unwrap();
    cases.add(&by, &good, Ignored::OtherProtocol, flip(14, 1));
    cases.add(&by, &good, Ignored::OtherProtocol, flip(16, 2));
    cases.add(&by, &good, Ignored::Truncated, cut(19));
    cases.add(&by, &good, Ignored::Truncated, cut(1_419));
    cases.add(&by, &short, Ignored::Truncated, set(18, &[0, 41]));
    cases.add(&by, &good, Ignored::Oversize, |frame| {
        frame.push(7);
        frame[18..20].copy_from_slice(&1_401u16.to_be_bytes());
    });
    cases.add(&by, &good, Ignored::Trailing, |frame| frame.push(0));
    cases.add(&by, &good, Ignored::Trailing, set(18, &[5, 0]));
    cases.add(&by, &short, Ignored::Trailing, |frame| frame.resize(65, 0));
}

fn ipv4(cases: &mut Cases) {
    let (mut left, by) = pair(udp(A, A4), udp(B, B4), at(0));
    let good = sent(&mut left, at(0), by.local(), &[7; 1_400]).unwrap();
    let short = sent(&mut left, at(0), by.local(), &[7; 10]).unwrap();
    cases.add(&by, &good, Ignored::Foreign, set(12, &[0x86, 0xdd]));
    cases.add(&by, &good, Ignored::Truncated, cut(33));
    cases.add(&by, &good, Ignored::Truncated, cut(1_441));
    cases.add_mended(&by, &short, Ignored::IpHeader, set(14, &[0x44]));
    cases.add_mended(&by, &short, Ignored::IpHeader, set(14, &[0x55]));
    cases.add(&by, &good, Ignored::IpHeader, |frame| {
        frame[16..18].copy_from_slice(&[0, 19]);
        frame[24..26].fill(0);
        let right = sum(&[&frame[14..34]]);
        frame[24..26].copy_from_slice(&right.to_be_bytes());
    });
    cases.add_mended(&by, &good, Ignored::IpOptions, set(14, &[0x46]));
    cases.add_mended(&by, &good, Ignored::IpOptions, set(14, &[0x4f]));
    for bit in (8..160).filter(|bit| bit / 8 != 14) {
        cases.add(&by, &good, Ignored::IpChecksum, flip(14 + bit / 8, 1 << (bit % 8)));
    }
    cases.add_mended(&by, &good, Ignored::Fragment, set(20, &[0x20, 0]));
    cases.add_mended(&by, &good, Ignored::Fragment, set(20, &[0, 1]));
    cases.add_mended(&by, &good, Ignored::Fragment, set(20, &[0x1f, 0xff]));
    cases.add_mended(&by, &good, Ignored::OtherIp, set(30, &[10, 0, 0, 3]));
    // To everyone in a frame to us, and to us in a frame to everyone.
    cases.add_mended(&by, &good, Ignored::OtherIp, set(30, &[255; 4]));
    cases.add(&by, &good, Ignored::OtherIp, set(0, &[255; 6]));
    cases.add_mended(&by, &good, Ignored::NotUdp, set(23, &[6]));
    for source in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [255; 4], [10, 0, 0, 255], [10, 0, 0, 2]] {
        cases.add_mended(&by, &good, Ignored::SourceIp, set(26, &source));
    }
    cases.add_mended(&by, &good, Ignored::SourceIp, set(34, &[0, 0]));
    cases.add_mended(&by, &good, Ignored::OtherPort, flip(37, 1));
    cases.add_mended(&by, &good, Ignored::UdpLength, set(38, &[5, 0x7f]));
    cases.add_mended(&by, &good, Ignored::UdpLength, set(38, &[5, 0x81]));
    cases.add_mended(&by, &good, Ignored::UdpLength, set(38, &[0, 0]));
    cases.add(&by, &short, Ignored::UdpLength, |frame| {
        // An IP packet with half a UDP header.
        frame[16..18].copy_from_slice(&[0, 24]);
        frame[24..26].fill(0);
        let right = sum(&[&frame[14..34]]);
        frame[24..26].copy_from_slice(&right.to_be_bytes());
    });
    cases.add_mended(&by, &good, Ignored::Oversize, |frame| {
        frame.push(7);
        frame[16..18].copy_from_slice(&1_429u16.to_be_bytes());
        frame[38..40].copy_from_slice(&1_409u16.to_be_bytes());
    });
    for bit in (0..160).chain([8 * 1_400, 8 * 1_407 + 7]) {
        let in_checksum_or_port = matches!(bit / 8, 0..=5);
        if !in_checksum_or_port {
            cases.add(&by, &good, Ignored::UdpChecksum, flip(34 + bit / 8, 1 << (bit % 8)));
        }
    }
}

fn ipv6(cases: &mut Cases) {
    let (mut left, by) = pair(udp(A, A6), udp(B, B6), at(0));
    let good = sent(&mut left, at(0), by.local(), &[7; 1_400]).unwrap();
    cases.add(&by, &good, Ignored::Foreign, set(12, &[0x08, 0]));
    cases.add(&by, &good, Ignored::Foreign, set(12, &[0x08, 0x06]));
    cases.add(&by, &good, Ignored::Truncated, cut(53));
    cases.add(&by, &good, Ignored::Truncated, cut(1_461));
    cases.add(&by, &good, Ignored::IpHeader, set(14, &[0x40]));
    cases.add(&by, &good, Ignored::Fragment, set(20, &[44]));
    for next in [0, 43, 50, 51, 60, 135] {
        cases.add(&by, &good, Ignored::ExtensionHeader, set(20, &[next]));
    }
    cases.add_mended(&by, &good, Ignored::OtherIp, flip(53, 1));
    cases.add(&by, &good, Ignored::OtherIp, set(0, &[0x33, 0x33, 0, 0, 0, 1]));
    for next in [6, 17 + 1, 59] {
        cases.add(&by, &good, Ignored::NotUdp, set(20, &[next]));
    }
    let hosts = ["::", "::1", "ff02::1", "::ffff:10.0.0.1", "2001:db8::b:2"];
    for source in hosts.map(|text| text.parse::<Ipv6Addr>().unwrap().octets()) {
        cases.add_mended(&by, &good, Ignored::SourceIp, set(22, &source));
    }
    cases.add_mended(&by, &good, Ignored::OtherPort, flip(57, 1));
    cases.add_mended(&by, &good, Ignored::UdpLength, set(58, &[5, 0x7f]));
    cases.add(&by, &good, Ignored::NoUdpChecksum, set(60, &[0, 0]));
    cases.add(&by, &good, Ignored::UdpChecksum, flip(37, 1));
    cases.add(&by, &good, Ignored::UdpChecksum, flip(1_461, 0x80));
}

fn arp(cases: &mut Cases) {
    let by = udp(B, B4);
    let good = bytes(ARP_REQUEST);
    cases.add(&by, &good, Ignored::Arp, cut(41));
    // Hardware, protocol, their lengths, operation.
    for at in [15, 17, 18, 19, 21] {
        cases.add(&by, &good, Ignored::Arp, flip(at, 8));
    }
    cases.add(&by, &good, Ignored::Arp, set(20, &[0, 3]));
    cases.add(&by, &good, Ignored::Arp, set(22, &[255; 6]));
    cases.add(&by, &good, Ignored::Arp, set(22, &[0; 6]));
    cases.add(&by, &good, Ignored::OtherArp, flip(41, 4));
    cases.add(&by, &good, Ignored::Own, set(22, &B.0));
    cases.add(&by, &good, Ignored::Conflict, set(28, &[10, 0, 0, 2]));
    // They ask somebody else from our address.
    cases.add(&by, &good, Ignored::Conflict, |frame| {
        frame[28..32].copy_from_slice(&[10, 0, 0, 2]);
        frame[38..42].copy_from_slice(&[10, 0, 0, 3]);
    });
    cases.add(&by, &good, Ignored::Unasked, |frame| *frame = bytes(ARP_ANNOUNCEMENT));
    let mut asks = udp(A, A4);
    let _ = sent(&mut asks, at(0), address::from_socket(socket(B4)), b"");
    let _ = polled(&mut asks, at(0));
    let good = bytes(ARP_REPLY);
    cases.add(&asks, &good, Ignored::Unasked, set(28, &[10, 0, 0, 3]));
    cases.add(&asks, &good, Ignored::OtherArp, set(38, &[10, 0, 0, 9]));
    cases.add(&asks, &good, Ignored::Conflict, set(28, &[10, 0, 0, 1]));
}

fn neighbour_discovery(cases: &mut Cases) {
    let by = udp(B, B6);
    let good = bytes(NS);
    cases.add_mended(&by, &good, Ignored::HopLimit, set(21, &[254]));
    cases.add(&by, &good, Ignored::IcmpChecksum, flip(56, 1));
    cases.add(&by, &good, Ignored::IcmpChecksum, flip(85, 1));
    cases.add_mended(&by, &good, Ignored::Ndp, set(55, &[1]));
    cases.add_mended(&by, &good, Ignored::Ndp, set(62, &[0xff]));
    cases.add_mended(&by, &good, Ignored::Ndp, set(22, &[0xff]));
    cases.add_mended(&by, &good, Ignored::Ndp, set(22, &Ipv6Addr::LOCALHOST.octets()));
    // Options: of no length, beyond the end, not of a MAC address's length, of a group.
    cases.add_mended(&by, &good, Ignored::Ndp, set(79, &[0]));
    cases.add_mended(&by, &good, Ignored::Ndp, set(79, &[2]));
    cases.add_mended(&by, &good, Ignored::Ndp, set(80, &[3]));
    cases.add_mended(&by, &good, Ignored::Ndp, |frame| {
        frame.truncate(85);
        frame[19] = 31;
    });
    cases.add_mended(&by, &good, Ignored::Ndp, |frame| {
        frame.push(0);
        frame[19] = 33;
    });
    // A probe with a MAC address, or to one host.
    cases.add_mended(&by, &good, Ignored::Ndp, set(22, &[0; 16]));
    let to_b = bytes(NS_STATION)[38..54].to_vec();
    cases.add_mended(&by, &bytes(DAD_NS), Ignored::Ndp, set(38, &to_b));
    cases.add_mended(&by, &good, Ignored::OtherNdp, flip(75, 1));
    cases.add_mended(&by, &good, Ignored::OtherNdp, set(38, &bytes(NA_UNSOLICITED)[38..54]));
    cases.add_mended(&by, &good, Ignored::Own, set(80, &B.0));
    cases.add_mended(&by, &good, Ignored::Conflict, set(22, &to_b));
    // Other ICMPv6: an echo request, a router's advertisement; and one too short to be any of these.
    for kind in [128, 134] {
        cases.add_mended(&by, &good, Ignored::NotUdp, set(54, &[kind]));
    }
    cases.add_mended(&by, &good, Ignored::NotUdp, set(19, &[23]));

    let mut asks = udp(A, A6);
    let _ = sent(&mut asks, at(0), address::from_socket(socket(B6)), b"");
    let _ = polled(&mut asks, at(0));
    let good = bytes(NA);
    cases.add_mended(&asks, &good, Ignored::HopLimit, set(21, &[64]));
    cases.add(&asks, &good, Ignored::IcmpChecksum, flip(58, 0x20));
    cases.add_mended(&asks, &good, Ignored::Ndp, set(22, &[0; 16]));
    // An answer to everyone is none.
    cases.add_mended(&asks, &good, Ignored::Ndp, set(38, &bytes(NA_UNSOLICITED)[38..54]));
    cases.add_mended(&asks, &good, Ignored::OtherNdp, flip(53, 1));
    cases.add_mended(&asks, &good, Ignored::Unasked, flip(77, 1));
    // Without the MAC address that was asked for.
    cases.add_mended(&asks, &good, Ignored::Unasked, set(78, &[1]));
    let ours = bytes(NA)[38..54].to_vec();
    cases.add_mended(&asks, &good, Ignored::Conflict, set(62, &ours));
}

#[test]
fn each_reason_is_counted_and_changes_nothing_else() {
    let mut cases = Cases::default();
    let parts = [link, bare_ethernet, ipv4, ipv6, arp, neighbour_discovery];
    parts.into_iter().for_each(|part| part(&mut cases));
    let mut seen = BTreeSet::new();
    for (number, Case { mut by, frame, why }) in cases.0.into_iter().enumerate() {
        let before = by.stats();
        assert_eq!(by.strip(at(0), &frame), Stripped::Ignored(why), "case {number}: {}", hex(&frame));
        let mut expected = before;
        expected.ignored[why.index()] += 1;
        assert_eq!(by.stats(), expected, "case {number}");
        seen.insert(why.index());
    }
    let missing: Vec<_> = Ignored::ALL.iter().filter(|why| !seen.contains(&why.index())).collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}
