//! Neighbour discovery (RFC 4861): solicitations and advertisements.
//!
//! Knows the two messages, their options and the rules of section 7.1. Must not know what is done about them, nor
//! routers: the gateway is configured.

use std::net::{IpAddr, Ipv6Addr};

use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::ethernet::{IPV6, Station};
use super::ip::{self, Envelope, ICMPV6};
use super::resolution::{Heard, Say};
use super::route::ALL_NODES;
use super::stats::Ignored;
use crate::address::Mac;

const MESSAGE: usize = 24;
const OPTION: usize = 8;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOLICITED: u32 = 1 << 30;
const OVERRIDE: u32 = 1 << 29;
const SOURCE_MAC: u8 = 1;
const TARGET_MAC: u8 = 2;
/// What a router would have lowered: the packet is from this link.
const HOPS: u8 = 255;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Message {
    kind: u8,
    code: u8,
    checksum: U16,
    flags: U32,
    target: [u8; 16],
}

/// The option that carries a MAC address.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct LinkAddress {
    kind: u8,
    /// In units of 8 bytes.
    length: u8,
    mac: Mac,
}

const _: () = assert!(size_of::<Message>() == MESSAGE && size_of::<LinkAddress>() == OPTION);

/// Returns the group in which the host with this address is asked for (RFC 4291, 2.7.1).
pub(super) fn solicited_node(ip: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = ip.octets();
    let mut group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).octets();
    group[13..].copy_from_slice(&[a, b, c]);
    group.into()
}

/// Returns the MAC address that stands for a group (RFC 2464, section 7).
pub(super) fn group_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac([0x33, 0x33, a, b, c, d])
}

/// Returns what a packet says that concerns the host with the address `local`; `station` sent the frame.
pub(super) fn parse(packet: &ip::Packet<'_>, local: Ipv6Addr, station: Mac) -> Result<Heard, Ignored> {
    let (IpAddr::V6(source), IpAddr::V6(destination)) = (packet.source, packet.destination) else {
        return Err(Ignored::Ndp);
    };
    let (message, options) = Message::ref_from_prefix(packet.bytes).map_err(|_| Ignored::NotUdp)?;
    if !matches!(message.kind, SOLICITATION | ADVERTISEMENT) {
        return Err(Ignored::NotUdp);
    }
    if packet.hops != HOPS {
        return Err(Ignored::HopLimit);
    }
    let sum = ip::pseudo_header(packet.source, packet.destination, ICMPV6, packet.bytes.len());
    if !sum.add(packet.bytes).is_valid() {
        return Err(Ignored::IcmpChecksum);
    }
    let target = Ipv6Addr::from(message.target);
    if message.code != 0 || target.is_multicast() || source.is_multicast() || source.is_loopback() {
        return Err(Ignored::Ndp);
    }
    if message.kind == SOLICITATION {
        let option = link_address(options, SOURCE_MAC)?;
        solicitation(source, destination, target, option, local, station)
    } else {
        let option = link_address(options, TARGET_MAC)?;
        advertisement(source, destination, target, option, local, message.flags.get())
    }
}

fn solicitation(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    target: Ipv6Addr,
    option: Option<Mac>,
    local: Ipv6Addr,
    station: Mac,
) -> Result<Heard, Ignored> {
    let mac = option.unwrap_or(station);
    if source == local {
        return Ok(Heard::Claim { ip: local.into(), mac: Some(mac), solicited: false, overrides: false });
    }
    // A host without an address asks whether it may have this one (RFC 4862, 5.4).
    let probe = source.is_unspecified();
    if probe && (destination != solicited_node(target) || option.is_some()) {
        return Err(Ignored::Ndp);
    }
    if target != local || (destination != local && destination != solicited_node(local)) {
        return Err(Ignored::OtherNdp);
    }
    Ok(Heard::Question { asker: (!probe).then_some(source.into()), mac })
}

fn advertisement(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    target: Ipv6Addr,
    option: Option<Mac>,
    local: Ipv6Addr,
    flags: u32,
) -> Result<Heard, Ignored> {
    let solicited = flags & SOLICITED != 0;
    if source.is_unspecified() || (destination.is_multicast() && solicited) {
        return Err(Ignored::Ndp);
    }
    if destination != local && destination != ALL_NODES {
        return Err(Ignored::OtherNdp);
    }
    Ok(Heard::Claim { ip: target.into(), mac: option, solicited, overrides: flags & OVERRIDE != 0 })
}

/// Returns the MAC address that the option of this kind carries; other options are skipped (RFC 4861, 4.6).
fn link_address(mut options: &[u8], kind: u8) -> Result<Option<Mac>, Ignored> {
    let mut found = None;
    while let [option, units, ..] = *options {
        let len = usize::from(units) * 8;
        if len == 0 || len > options.len() {
            return Err(Ignored::Ndp);
        }
        if option == kind {
            let option = LinkAddress::ref_from_bytes(&options[..len]).map_err(|_| Ignored::Ndp)?;
            if !option.mac.is_station() {
                return Err(Ignored::Ndp);
            }
            found = found.or(Some(option.mac));
        }
        options = &options[len..];
    }
    if options.is_empty() { Ok(found) } else { Err(Ignored::Ndp) }
}

/// Writes a frame; returns its length.
pub(super) fn emit(station: &Station, local: Ipv6Addr, say: &Say, frame: &mut [u8]) -> usize {
    let v6 = |ip: IpAddr| match ip {
        IpAddr::V6(ip) => ip,
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
    };
    let (kind, flags, target, option, destination, to) = match *say {
        Say::Answer { asker: Some(asker), mac } => {
            (ADVERTISEMENT, SOLICITED | OVERRIDE, local, TARGET_MAC, v6(asker), mac)
        }
        Say::Question { ip, mac: Some(mac) } => (SOLICITATION, 0, v6(ip), SOURCE_MAC, v6(ip), mac),
        Say::Question { ip, mac: None } => {
            let group = solicited_node(v6(ip));
            (SOLICITATION, 0, v6(ip), SOURCE_MAC, group, group_mac(group))
        }
        // Who has no address yet hears what is sent to everyone (RFC 4861, 7.2.4).
        Say::Answer { asker: None, .. } | Say::Announcement => {
            (ADVERTISEMENT, OVERRIDE, local, TARGET_MAC, ALL_NODES, group_mac(ALL_NODES))
        }
    };
    let (source, destination) = (local.into(), destination.into());
    let len = MESSAGE + OPTION;
    let mut message =
        Message { kind, code: 0, checksum: U16::ZERO, flags: flags.into(), target: target.octets() };
    let option = LinkAddress { kind: option, length: 1, mac: station.mac };
    message.checksum = ip::pseudo_header(source, destination, ICMPV6, len)
        .add(message.as_bytes())
        .add(option.as_bytes())
        .checksum();
    let envelope = Envelope { source, destination, protocol: ICMPV6, hops: HOPS, dscp: 0 };
    let out = ip::emit(station.emit(frame, to, IPV6), &envelope, len);
    out[..MESSAGE].copy_from_slice(message.as_bytes());
    out[MESSAGE..len].copy_from_slice(option.as_bytes());
    station.pad(frame, station.header_len() + ip::V6_HEADER + len)
}
