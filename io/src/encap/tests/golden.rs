//! Frames byte for byte. They were computed by other code from the RFCs, and other tools found every header and checksum
//! in them right.
//!
//! From station A (10.0.0.1, 2001:db8::a:1) to station B (10.0.0.2, 2001:db8::b:2) or back.

use super::*;

pub(super) const BARE: &str = "\
    02000000000202000000000188b5504d01000006706f706d617000000000000000000000000000000000000000000000\
    000000000000000000000000";
pub(super) const BARE_TAGGED: &str = "\
    ffffffffffff0200000000018100006488b6504d010000310102030405060708090a0b0c0d0e0f101112131415161718\
    191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031";
pub(super) const UDP4: &str = "\
    020000000002020000000001080045b8003b00004000401125f80a0000010a0000021f0a01020027617b746869727479\
    2d6f6e652062797465732c20616e206f6464206e756d626572";
pub(super) const UDP4_TAGGED: &str = "\
    02000000000202000000000181000ffe08004500001d00004000401126ce0a0000010a0000021f0a1f0a000935c57800\
    00000000000000000000000000000000";
pub(super) const UDP4_NO_ZERO: &str = "\
    02000000000202000000000108004500001e00004000401126cd0a0000010a0000021f0a1f0a000affffadc300000000\
    000000000000000000000000";
pub(super) const UDP6: &str = "\
    02000000000202000000000186dd6b8000000027114020010db80000000000000000000a000120010db8000000000000\
    0000000b00021f0a0102002719f47468697274792d6f6e652062797465732c20616e206f6464206e756d626572";
pub(super) const UDP6_EVERYONE: &str = "\
    3333000000010200000000018100006486dd60000000000c114020010db80000000000000000000a0001ff0200000000\
    000000000000000000011f0a1f0a000cc11c6a6f696e";
pub(super) const ARP_REQUEST: &str = "\
    ffffffffffff020000000001080600010800060400010200000000010a0000010000000000000a000002000000000000\
    000000000000000000000000";
pub(super) const ARP_REPLY: &str = "\
    020000000001020000000002080600010800060400020200000000020a0000020200000000010a000001000000000000\
    000000000000000000000000";
pub(super) const ARP_ANNOUNCEMENT: &str = "\
    ffffffffffff020000000001080600010800060400010200000000010a0000010000000000000a000001000000000000\
    000000000000000000000000";
pub(super) const ARP_PROBE_OF_STATION: &str = "\
    020000000002020000000001080600010800060400010200000000010a0000010000000000000a000002000000000000\
    000000000000000000000000";
pub(super) const ARP_REQUEST_TAGGED: &str = "\
    ffffffffffff02000000000181000064080600010800060400010200000000010a0000010000000000000a0000020000\
    00000000000000000000000000000000";
pub(super) const NS: &str = "\
    3333ff0b000202000000000186dd6000000000203aff20010db80000000000000000000a0001ff020000000000000000\
    0001ff0b000287001c070000000020010db80000000000000000000b00020101020000000001";
pub(super) const NS_STATION: &str = "\
    02000000000202000000000186dd6000000000203aff20010db80000000000000000000a000120010db8000000000000\
    0000000b00028700ec520000000020010db80000000000000000000b00020101020000000001";
pub(super) const NA: &str = "\
    02000000000102000000000286dd6000000000203aff20010db80000000000000000000b000220010db8000000000000\
    0000000a000188008a516000000020010db80000000000000000000b00020201020000000002";
pub(super) const NA_UNSOLICITED: &str = "\
    33330000000102000000000186dd6000000000203aff20010db80000000000000000000a0001ff020000000000000000\
    0000000000018800f9162000000020010db80000000000000000000a00010201020000000001";
pub(super) const ARP_PROBE: &str = "\
    ffffffffffff02000000000108060001080006040001020000000001000000000000000000000a000002000000000000\
    000000000000000000000000";
pub(super) const ARP_PROBE_REPLY: &str = "\
    020000000001020000000002080600010800060400020200000000020a00000202000000000100000000000000000000\
    000000000000000000000000";
pub(super) const DAD_NS: &str = "\
    3333ff0b000202000000000186dd6000000000183aff00000000000000000000000000000000ff020000000000000000\
    0001ff0b000287004cd50000000020010db80000000000000000000b0002";
pub(super) const DAD_NA: &str = "\
    33330000000102000000000286dd6000000000203aff20010db80000000000000000000b0002ff020000000000000000\
    0000000000018800f9112000000020010db80000000000000000000b00020201020000000002";

const ODD: &[u8] = b"thirty-one bytes, an odd number";

pub(super) fn hex(frame: &[u8]) -> String {
    frame.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What `left` sends to `to` once it has found `right`.
fn payload_frame(left: Encap, right: Encap, to: &str, payload: &[u8]) -> String {
    let (mut left, _) = pair(left, right, at(0));
    hex(&sent(&mut left, at(1), address::from_socket(socket(to)), payload).unwrap())
}

#[test]
fn bare_frames() {
    let to = address::from_mac(B);
    assert_eq!(hex(&sent(&mut bare(A), at(0), to, b"popmap").unwrap()), BARE);
    let framing = Framing::Ethernet { ethertype: ETHERTYPE_OTHER };
    let mut other = tagged(A, EncapConfig::new(framing).insecure(true), 100);
    let (to, payload): (_, Vec<u8>) = (address::from_mac(Mac::BROADCAST), (1..50).collect());
    assert_eq!(hex(&sent(&mut other, at(0), to, &payload).unwrap()), BARE_TAGGED);
}

#[test]
fn udp_frames() {
    let urgent = |local: &str| {
        let mut udp = UdpFraming::new(socket(local), 32 - u8::from(socket(local).is_ipv4()) * 8);
        udp.dscp = 46;
        Encap::new(A, &EncapConfig::new(Framing::Udp(udp)).insecure(true)).unwrap()
    };
    assert_eq!(payload_frame(urgent(A4), udp(B, B4), "10.0.0.2:258", ODD), UDP4);
    assert_eq!(payload_frame(urgent(A6), udp(B, B6), "[2001:db8::b:2]:258", ODD), UDP6);
    let (left, right) = (tagged(A, udp_config(A4), 4_094), tagged(B, udp_config(B4), 4_094));
    assert_eq!(payload_frame(left, right, B4, b"x"), UDP4_TAGGED);
    let (left, right) = (tagged(A, udp_config(A6), 100), tagged(B, udp_config(B6), 100));
    assert_eq!(payload_frame(left, right, "[ff02::1]:7946", b"join"), UDP6_EVERYONE);
}

#[test]
fn a_checksum_of_zero_is_sent_as_ones() {
    assert_eq!(payload_frame(udp(A, A4), udp(B, B4), B4, &[0xad, 0xc3]), UDP4_NO_ZERO);
    let mut right = udp(B, B4);
    assert!(matches!(right.strip(at(0), &bytes(UDP4_NO_ZERO)), Stripped::Payload { .. }));
}

/// Has `left` look for `right`; returns what was said, and what `left` says first when it is to confirm that.
fn search(mut left: Encap, mut right: Encap) -> (Vec<String>, String) {
    let mut said = Vec::new();
    let announcement = |encap: &mut Encap, now| hex(&polled(encap, now).unwrap());
    said.push(announcement(&mut left, at(0)));
    let _ = announcement(&mut right, at(0));
    assert_eq!(sent(&mut left, at(0), right.local(), b""), Err(Unsent::Unresolved));
    let question = polled(&mut left, at(0)).unwrap();
    assert_eq!(right.strip(at(0), &question), Stripped::Resolution);
    let answer = polled(&mut right, at(0)).unwrap();
    assert_eq!(left.strip(at(0), &answer), Stripped::Resolution);
    said.extend([hex(&question), hex(&answer)]);
    assert!(sent(&mut left, at(40_000), right.local(), b"").is_ok());
    let _ = announcement(&mut left, at(40_000));
    (said, hex(&polled(&mut left, at(45_000)).unwrap()))
}

#[test]
fn arp_frames() {
    let (said, probe) = search(udp(A, A4), udp(B, B4));
    assert_eq!(said, [ARP_ANNOUNCEMENT, ARP_REQUEST, ARP_REPLY]);
    assert_eq!(probe, ARP_PROBE_OF_STATION);
    let mut other = tagged(A, udp_config(A4), 100);
    let _ = polled(&mut other, at(0));
    let _ = sent(&mut other, at(0), address::from_socket(socket(B4)), b"");
    assert_eq!(hex(&polled(&mut other, at(0)).unwrap()), ARP_REQUEST_TAGGED);
}

#[test]
fn neighbour_discovery_frames() {
    let (said, probe) = search(udp(A, A6), udp(B, B6));
    assert_eq!(said, [NA_UNSOLICITED, NS, NA]);
    assert_eq!(probe, NS_STATION);
}

#[test]
fn hosts_without_an_address_are_answered() {
    for (local, question, answer) in [(B4, ARP_PROBE, ARP_PROBE_REPLY), (B6, DAD_NS, DAD_NA)] {
        let mut right = udp(B, local);
        let _ = polled(&mut right, at(0));
        assert_eq!(right.strip(at(0), &bytes(question)), Stripped::Resolution);
        assert_eq!(hex(&polled(&mut right, at(0)).unwrap()), answer);
        assert_eq!(right.stats().neighbours.resolved, 0);
    }
}
