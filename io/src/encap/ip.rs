//! IPv4 (RFC 791) and IPv6 (RFC 8200): headers, without options, extensions or fragments.
//!
//! Knows headers and pseudo headers. Must not know who we are, nor what a packet carries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::Sum;
use super::stats::Ignored;

pub(super) const V4_HEADER: usize = 20;
pub(super) const V6_HEADER: usize = 40;
pub(super) const UDP: u8 = 17;
pub(super) const ICMPV6: u8 = 58;

/// Version 4, five words.
const V4_START: u8 = 0x45;
const DONT_FRAGMENT: u16 = 0x4000;
/// More fragments, and the offset of this one: any bit means a fragment.
const FRAGMENTED: u16 = 0x3fff;
/// The next headers that are extensions: hop-by-hop options, routing, encapsulating security, authentication,
/// destination options, mobility, host identity, shim6, and the two for experiments (IANA's list, RFC 7045).
const EXTENSIONS: [u8; 10] = [0, 43, 50, 51, 60, 135, 139, 140, 253, 254];
const FRAGMENT: u8 = 44;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct V4 {
    version_and_words: u8,
    class: u8,
    total: U16,
    identification: U16,
    fragment: U16,
    hops: u8,
    protocol: u8,
    checksum: U16,
    source: [u8; 4],
    destination: [u8; 4],
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct V6 {
    /// Version, traffic class, flow label.
    start: U32,
    payload: U16,
    next: u8,
    hops: u8,
    source: [u8; 16],
    destination: [u8; 16],
}

const _: () = assert!(size_of::<V4>() == V4_HEADER && size_of::<V6>() == V6_HEADER);

/// What a checked packet says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'f> {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    pub(super) hops: u8,
    /// What is behind the header, as long as the header says.
    pub(super) bytes: &'f [u8],
}

/// What a header is to say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Envelope {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    pub(super) hops: u8,
    /// The differentiated services code point; explicit congestion notification is not used.
    pub(super) dscp: u8,
}

/// Checks an IPv4 packet, which may have padding behind it.
pub(super) fn parse_v4(bytes: &[u8]) -> Result<Packet<'_>, Ignored> {
    let (header, _) = V4::ref_from_prefix(bytes).map_err(|_| Ignored::Truncated)?;
    if header.version_and_words != V4_START {
        let options = header.version_and_words > V4_START && header.version_and_words < 0x50;
        return Err(if options { Ignored::IpOptions } else { Ignored::IpHeader });
    }
    if !Sum::NONE.add(header.as_bytes()).is_valid() {
        return Err(Ignored::IpChecksum);
    }
    let total = usize::from(header.total.get());
    if total < V4_HEADER {
        return Err(Ignored::IpHeader);
    }
    let packet = bytes.get(..total).ok_or(Ignored::Truncated)?;
    if header.fragment.get() & FRAGMENTED != 0 {
        return Err(Ignored::Fragment);
    }
    Ok(Packet {
        source: Ipv4Addr::from(header.source).into(),
        destination: Ipv4Addr::from(header.destination).into(),
        protocol: header.protocol,
        hops: header.hops,
        bytes: &packet[V4_HEADER..],
    })
}

/// Checks an IPv6 packet, which may have padding behind it.
pub(super) fn parse_v6(bytes: &[u8]) -> Result<Packet<'_>, Ignored> {
    let (header, rest) = V6::ref_from_prefix(bytes).map_err(|_| Ignored::Truncated)?;
    if header.start.get() >> 28 != 6 {
        return Err(Ignored::IpHeader);
    }
    let bytes = rest.get(..usize::from(header.payload.get())).ok_or(Ignored::Truncated)?;
    if header.next == FRAGMENT {
        return Err(Ignored::Fragment);
    }
    if EXTENSIONS.contains(&header.next) {
        return Err(Ignored::ExtensionHeader);
    }
    Ok(Packet {
        source: Ipv6Addr::from(header.source).into(),
        destination: Ipv6Addr::from(header.destination).into(),
        protocol: header.next,
        hops: header.hops,
        bytes,
    })
}

/// Writes the header of a packet with `len` bytes behind it; returns what is behind it.
///
/// Identification is zero and fragmenting forbidden: an atomic datagram (RFC 6864).
pub(super) fn emit<'f>(out: &'f mut [u8], envelope: &Envelope, len: usize) -> &'f mut [u8] {
    match (envelope.source, envelope.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let (out, rest) = out.split_at_mut(V4_HEADER);
            let mut header = V4 {
                version_and_words: V4_START,
                class: envelope.dscp << 2,
                total: U16::new((V4_HEADER + len) as u16),
                identification: U16::ZERO,
                fragment: DONT_FRAGMENT.into(),
                hops: envelope.hops,
                protocol: envelope.protocol,
                checksum: U16::ZERO,
                source: source.octets(),
                destination: destination.octets(),
            };
            header.checksum = Sum::NONE.add(header.as_bytes()).checksum();
            out.copy_from_slice(header.as_bytes());
            rest
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let (out, rest) = out.split_at_mut(V6_HEADER);
            let header = V6 {
                start: U32::new(6 << 28 | u32::from(envelope.dscp) << 22),
                payload: U16::new(len as u16),
                next: envelope.protocol,
                hops: envelope.hops,
                source: source.octets(),
                destination: destination.octets(),
            };
            out.copy_from_slice(header.as_bytes());
            rest
        }
        _ => unreachable!("one packet, one version"),
    }
}

/// Returns the sum of the pseudo header (RFC 768; RFC 8200, 8.1), the same for both but for the addresses' length.
pub(super) fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, len: usize) -> Sum {
    let add = |sum: Sum, ip: IpAddr| match ip {
        IpAddr::V4(ip) => sum.add(&ip.octets()),
        IpAddr::V6(ip) => sum.add(&ip.octets()),
    };
    add(add(Sum::NONE, source), destination).add_number(protocol.into()).add_number(len as u16)
}
