//! UDP (RFC 768) in IPv4 or IPv6, built and checked here instead of by a kernel.
//!
//! Knows ports, checksums, and the next hop of a packet. Must not know what is in a payload, nor how neighbours are
//! found.

use std::net::{IpAddr, SocketAddr};

use popmap_core::Address;
use popmap_core::time::Instant;
use zerocopy::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::config::{Checksums, UdpFraming};
use super::ethernet::{ARP, Frame, IPV4, IPV6, Station};
use super::ip::{self, Envelope, ICMPV6, Packet, V4_HEADER, V6_HEADER};
use super::resolution::Resolution;
use super::route::{ALL_NODES, Hop, Route, is_host};
use super::stats::{Ignored, Unsent};
use super::{Offload, Stripped, arp, ndp};
use crate::address::{self, Mac};

const HEADER: usize = 8;
/// Routers that a packet may pass.
const HOPS: u8 = 64;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    source: U16,
    destination: U16,
    length: U16,
    checksum: U16,
}

const _: () = assert!(size_of::<Header>() == HEADER);

/// One socket address on a link, without a socket.
#[derive(Clone, Debug)]
pub(super) struct Udp {
    local: SocketAddr,
    route: Route,
    dscp: u8,
    checksums: Checksums,
    pub(super) resolution: Resolution,
}

impl Udp {
    pub(super) fn new(config: &UdpFraming) -> Self {
        let route =
            Route { local: config.local.ip(), prefix_len: config.prefix_len, gateway: config.gateway };
        Self {
            local: config.local,
            route,
            dscp: config.dscp,
            checksums: config.checksums,
            resolution: Resolution::new(config.local.ip(), config.neighbours),
        }
    }

    /// Returns the groups that a station with this address is in.
    pub(super) fn groups(&self) -> [Mac; 2] {
        match self.local.ip() {
            IpAddr::V4(_) => [Mac::BROADCAST; 2],
            IpAddr::V6(ip) => [ndp::group_mac(ALL_NODES), ndp::group_mac(ndp::solicited_node(ip))],
        }
    }

    /// Returns the bytes of the headers behind that of Ethernet.
    pub(super) const fn headers_len(&self) -> usize {
        HEADER + if self.local.is_ipv4() { V4_HEADER } else { V6_HEADER }
    }

    pub(super) fn local(&self) -> Address {
        address::from_socket(self.local)
    }

    /// Whether frames of this type are of use here.
    pub(super) const fn expects(&self, ethertype: u16) -> bool {
        if self.local.is_ipv4() { matches!(ethertype, IPV4 | ARP) } else { ethertype == IPV6 }
    }

    /// Takes a frame apart.
    pub(super) fn strip<'f>(
        &mut self,
        now: Instant,
        station: &Station,
        frame: &Frame<'f>,
        offload: Offload,
        payload_max: usize,
    ) -> Result<Stripped<'f>, Ignored> {
        let heard = match (frame.ethertype, self.local.ip()) {
            (ARP, IpAddr::V4(local)) => arp::parse(frame.bytes, local)?,
            (IPV4, _) => {
                let packet = ip::parse_v4(frame.bytes)?;
                return self.payload(now, frame, &packet, offload, payload_max);
            }
            (_, IpAddr::V6(local)) => {
                let packet = ip::parse_v6(frame.bytes)?;
                if packet.protocol != ICMPV6 {
                    return self.payload(now, frame, &packet, offload, payload_max);
                }
                ndp::parse(&packet, local, frame.source)?
            }
            _ => return Err(Ignored::Foreign),
        };
        self.resolution.hear(now, station, &self.route, heard)?;
        Ok(Stripped::Resolution)
    }

    fn payload<'f>(
        &mut self,
        now: Instant,
        frame: &Frame<'_>,
        packet: &Packet<'f>,
        offload: Offload,
        payload_max: usize,
    ) -> Result<Stripped<'f>, Ignored> {
        let ours = if frame.to_group {
            self.route.is_everyone(packet.destination)
        } else {
            packet.destination == self.local.ip()
        };
        if !ours {
            return Err(Ignored::OtherIp);
        }
        if packet.protocol != ip::UDP {
            return Err(Ignored::NotUdp);
        }
        let (header, payload) = Header::ref_from_prefix(packet.bytes).map_err(|_| Ignored::UdpLength)?;
        if header.destination != self.local.port() {
            return Err(Ignored::OtherPort);
        }
        let ip = packet.source;
        if !is_host(ip) || ip == self.local.ip() || self.route.is_everyone(ip) || header.source == 0 {
            return Err(Ignored::SourceIp);
        }
        // Bytes between the end of the datagram and that of the packet would be nobody's.
        if usize::from(header.length.get()) != packet.bytes.len() {
            return Err(Ignored::UdpLength);
        }
        if offload.longest(payload.len()) > payload_max {
            return Err(Ignored::Oversize);
        }
        if self.checksums == Checksums::Verify && !offload.checked {
            verify(header, packet)?;
        }
        if let Some(Hop::Neighbour(hop)) = self.route.hop(ip) {
            self.resolution.neighbours.confirm(now, hop, frame.source);
        }
        let mut from = SocketAddr::new(ip, header.source.get());
        if let (SocketAddr::V6(from), SocketAddr::V6(local)) = (&mut from, self.local)
            && from.ip().is_unicast_link_local()
        {
            // There is one link here, and ours is its number.
            from.set_scope_id(local.scope_id());
        }
        Ok(Stripped::Payload { from: address::from_socket(from), bytes: payload })
    }

    /// Writes the headers before `payload_len` bytes of payload; returns the frame's length.
    pub(super) fn prepend(
        &mut self,
        now: Instant,
        station: &Station,
        to: Address,
        frame: &mut [u8],
        payload_len: usize,
    ) -> Result<usize, Unsent> {
        let to = address::to_socket(to).filter(|to| to.port() != 0).ok_or(Unsent::NoRoute)?;
        let mac = match self.route.hop(to.ip()).ok_or(Unsent::NoRoute)? {
            Hop::Neighbour(hop) => self.resolution.neighbours.resolve(now, hop)?,
            Hop::Everyone if to.is_ipv4() => Mac::BROADCAST,
            Hop::Everyone => ndp::group_mac(ALL_NODES),
        };
        let (source, destination) = (self.local.ip(), to.ip());
        let len = HEADER + payload_len;
        let envelope = Envelope { source, destination, protocol: ip::UDP, hops: HOPS, dscp: self.dscp };
        let ethertype = if source.is_ipv4() { IPV4 } else { IPV6 };
        let out = station.emit(frame, mac, ethertype);
        let out = ip::emit(out, &envelope, len);
        let mut header = Header {
            source: self.local.port().into(),
            destination: to.port().into(),
            length: U16::new(len as u16),
            checksum: U16::ZERO,
        };
        let checksum = ip::pseudo_header(source, destination, ip::UDP, len)
            .add(header.as_bytes())
            .add(&out[HEADER..len])
            .checksum();
        // Zero means that there is none.
        header.checksum = if checksum == 0 { U16::MAX_VALUE } else { checksum };
        out[..HEADER].copy_from_slice(header.as_bytes());
        Ok(station.pad(frame, station.header_len() + self.headers_len() + payload_len))
    }
}

fn verify(header: &Header, packet: &Packet<'_>) -> Result<(), Ignored> {
    if header.checksum == 0 {
        return if packet.source.is_ipv4() { Ok(()) } else { Err(Ignored::NoUdpChecksum) };
    }
    let sum = ip::pseudo_header(packet.source, packet.destination, ip::UDP, packet.bytes.len());
    if sum.add(packet.bytes).is_valid() { Ok(()) } else { Err(Ignored::UdpChecksum) }
}
