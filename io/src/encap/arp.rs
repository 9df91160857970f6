//! ARP (RFC 826, RFC 5227): who has an IPv4 address, and the answer.
//!
//! Knows the packet and what it says. Must not know what is done about it.

use std::net::{IpAddr, Ipv4Addr};

use zerocopy::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::ethernet::{ARP, IPV4, Station};
use super::resolution::{Heard, Say};
use super::stats::Ignored;
use crate::address::Mac;

const LEN: usize = 28;
const ETHERNET: u16 = 1;
const REQUEST: u16 = 1;
const REPLY: u16 = 2;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Packet {
    hardware: U16,
    protocol: U16,
    mac_len: u8,
    ip_len: u8,
    operation: U16,
    sender_mac: Mac,
    sender_ip: [u8; 4],
    target_mac: Mac,
    target_ip: [u8; 4],
}

const _: () = assert!(size_of::<Packet>() == LEN);

/// Returns what a packet says that concerns the host with the address `local`.
pub(super) fn parse(bytes: &[u8], local: Ipv4Addr) -> Result<Heard, Ignored> {
    let (packet, _) = Packet::ref_from_prefix(bytes).map_err(|_| Ignored::Arp)?;
    let ipv4_over_ethernet = packet.hardware == ETHERNET
        && packet.protocol == IPV4
        && packet.mac_len == 6
        && packet.ip_len == 4
        && matches!(packet.operation.get(), REQUEST | REPLY);
    if !ipv4_over_ethernet || !packet.sender_mac.is_station() {
        return Err(Ignored::Arp);
    }
    let (sender, target) = (Ipv4Addr::from(packet.sender_ip), Ipv4Addr::from(packet.target_ip));
    let mac = packet.sender_mac;
    let claim = |solicited| Heard::Claim { ip: sender.into(), mac: Some(mac), solicited, overrides: true };
    // An announcement asks for its own sender (RFC 5227, 2.3). Whoever speaks from our address claims it (2.4).
    if sender == target || sender == local {
        return Ok(claim(false));
    }
    if target != local {
        return Err(Ignored::OtherArp);
    }
    if packet.operation == REPLY {
        return Ok(claim(true));
    }
    // A probe (RFC 5227, 2.1) asks from no address, and is answered there: to its station.
    Ok(Heard::Question { asker: Some(sender.into()), mac })
}

/// Writes a frame; returns its length.
pub(super) fn emit(station: &Station, local: Ipv4Addr, say: &Say, frame: &mut [u8]) -> usize {
    let v4 = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    };
    let (operation, to, target_mac, target) = match *say {
        Say::Answer { asker, mac } => (REPLY, mac, mac, asker.map_or(Ipv4Addr::UNSPECIFIED, v4)),
        // To one station alone when its address is only to be confirmed (RFC 1122, 2.3.2.1).
        Say::Question { ip, mac } => (REQUEST, mac.unwrap_or(Mac::BROADCAST), Mac::default(), v4(ip)),
        Say::Announcement => (REQUEST, Mac::BROADCAST, Mac::default(), local),
    };
    let packet = Packet {
        hardware: ETHERNET.into(),
        protocol: IPV4.into(),
        mac_len: 6,
        ip_len: 4,
        operation: operation.into(),
        sender_mac: station.mac,
        sender_ip: local.octets(),
        target_mac,
        target_ip: target.octets(),
    };
    station.emit(frame, to, ARP)[..LEN].copy_from_slice(packet.as_bytes());
    station.pad(frame, station.header_len() + LEN)
}
