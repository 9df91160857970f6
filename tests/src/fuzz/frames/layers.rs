//! What is in a frame, taken apart by offsets from the standards, and its checksums by their definition.
//!
//! Knows Ethernet, 802.1Q, IPv4, IPv6, UDP, ARP and neighbour discovery. Must not use the code under test, nor know what
//! a station does with a frame.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

use popmap_core::Address;
use popmap_io::address::{self, Mac};

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// A frame's headers, as far as they are there.
pub struct Layers<'f> {
    frame: &'f [u8],
    pub source: Mac,
    pub destination: Mac,
    pub vlan: Option<u16>,
    pub ethertype: u16,
    /// Where the header behind Ethernet's begins.
    network: usize,
    ip: Option<Ip>,
}

/// An IP header without options or extensions, and what it says is behind it.
struct Ip {
    protocol: u8,
    hops: u8,
    source: IpAddr,
    addresses: Range<usize>,
    rest: Range<usize>,
}

fn pair(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

fn mac(bytes: &[u8]) -> Mac {
    Mac(std::array::from_fn(|at| bytes[at]))
}

impl<'f> Layers<'f> {
    /// Takes a frame apart; `None` when it has no Ethernet header. `tag_taken`: there is no tag to be looked for, it is the
    /// tests' VLAN.
    pub fn of(frame: &'f [u8], tag_taken: bool) -> Option<Self> {
        let head = frame.get(..14)?;
        let (mut ethertype, mut network) = (pair(frame, 12)?, 14);
        let mut vlan = tag_taken.then_some(super::VLAN);
        if !tag_taken && ethertype == 0x8100 {
            vlan = Some(pair(frame, 14)? & 0x0fff).filter(|vlan| *vlan != 0);
            (ethertype, network) = (pair(frame, 16)?, 18);
        }
        let ip = match ethertype {
            IPV4 => Ip::v4(frame, network),
            IPV6 => Ip::v6(frame, network),
            _ => None,
        };
        Some(Self { frame, source: mac(&head[6..]), destination: mac(head), vlan, ethertype, network, ip })
    }

    /// Returns the payload, if the headers are all there.
    pub fn payload(&self) -> Option<&'f [u8]> {
        let at = match &self.ip {
            Some(ip) => ip.rest.start + 8..ip.rest.end,
            None => self.network + 6..self.network + 6 + usize::from(pair(self.frame, self.network + 4)?),
        };
        self.frame.get(at)
    }

    /// Returns the address that whoever sent the payload is answered at.
    ///
    /// # Panics
    /// When there is none.
    pub fn sender(&self) -> Address {
        let Some(ip) = &self.ip else { return address::from_mac(self.source) };
        let port = pair(self.frame, ip.rest.start).expect("a port");
        address::from_socket(SocketAddr::new(ip.source, port))
    }

    /// Asserts that a payload's headers are those of one whole packet, with right checksums or, where `trusted`, any for
    /// UDP.
    ///
    /// # Panics
    /// When they are not.
    pub fn assert_whole(&self, trusted: bool) {
        let Some(ip) = &self.ip else {
            assert_eq!(self.frame[self.network..self.network + 3], [0x50, 0x4d, 1]);
            return;
        };
        let udp = ip.rest.start;
        assert_eq!(ip.protocol, UDP);
        assert_eq!(pair(self.frame, udp + 2), Some(7_946), "another port");
        assert_eq!(pair(self.frame, udp + 4).map(usize::from), Some(ip.rest.len()));
        assert_ne!(pair(self.frame, udp), Some(0), "nobody's port");
        assert!(!ip.source.is_multicast() && !ip.source.is_unspecified() && !ip.source.is_loopback());
        self.assert_header();
        let is_absent = pair(self.frame, udp + 6) == Some(0);
        assert!(trusted || is_absent && self.ethertype == IPV4 || self.transport_sum(ip) == 0, "damaged");
    }

    /// Asserts that this is a question or an answer: ARP or neighbour discovery.
    ///
    /// # Panics
    /// When it is not.
    pub fn assert_resolves(&self) {
        let Some(ip) = &self.ip else {
            let arp = &self.frame[self.network..];
            assert_eq!((self.ethertype, &arp[..6]), (ARP, &[0, 1, 8, 0, 6, 4][..]));
            assert!(arp.len() >= 28 && matches!(arp[6..8], [0, 1 | 2]));
            assert!(mac(&arp[8..]).is_station());
            return;
        };
        let icmp = &self.frame[ip.rest.clone()];
        assert_eq!((ip.protocol, ip.hops), (ICMPV6, 255));
        assert!(icmp.len() >= 24 && matches!(icmp[..2], [135 | 136, 0]));
        assert_eq!(self.transport_sum(ip), 0, "damaged");
    }

    fn assert_header(&self) {
        if self.ethertype == IPV4 {
            let header = &self.frame[self.network..self.network + 20];
            assert_eq!(sum(&[header]), 0, "damaged");
            assert_eq!([header[6] & 0x3f, header[7]], [0, 0], "a fragment");
        }
    }

    /// Zero when the checksum over pseudo header and rest is right.
    fn transport_sum(&self, ip: &Ip) -> u16 {
        let len = (ip.rest.len() as u16).to_be_bytes();
        let addresses = &self.frame[ip.addresses.clone()];
        sum(&[addresses, &[0, ip.protocol], &len, &self.frame[ip.rest.clone()]])
    }
}

impl Ip {
    fn v4(frame: &[u8], at: usize) -> Option<Self> {
        let header = frame.get(at..at + 20)?;
        let rest = at + 20..at + usize::from(pair(header, 2)?);
        let source: [u8; 4] = header[12..16].try_into().expect("four bytes");
        let ip = Self {
            protocol: header[9],
            hops: header[8],
            source: Ipv4Addr::from(source).into(),
            addresses: at + 12..at + 20,
            rest,
        };
        (header[0] == 0x45 && ip.is_inside(frame)).then_some(ip)
    }

    fn v6(frame: &[u8], at: usize) -> Option<Self> {
        let header = frame.get(at..at + 40)?;
        let rest = at + 40..at + 40 + usize::from(pair(header, 4)?);
        let source: [u8; 16] = header[8..24].try_into().expect("sixteen bytes");
        let ip = Self {
            protocol: header[6],
            hops: header[7],
            source: Ipv6Addr::from(source).into(),
            addresses: at + 8..at + 40,
            rest,
        };
        (header[0] >> 4 == 6 && ip.is_inside(frame)).then_some(ip)
    }

    /// Whether there is room for the least that is carried here.
    fn is_inside(&self, frame: &[u8]) -> bool {
        self.rest.start + 8 <= self.rest.end && self.rest.end <= frame.len()
    }
}

/// The Internet checksum as RFC 1071 defines it, over parts that have even lengths but for the last.
fn sum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u32::from(low));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Puts right every checksum of an IP frame, so that what is wrong with it is something else.
pub fn mend(frame: &mut [u8]) {
    let Some(Layers { network, ip: Some(ip), ethertype, .. }) = Layers::of(frame, false) else { return };
    if ethertype == IPV4 {
        frame[network + 10..network + 12].fill(0);
        let right = sum(&[&frame[network..network + 20]]);
        frame[network + 10..network + 12].copy_from_slice(&right.to_be_bytes());
    }
    let field = ip.rest.start + if ip.protocol == UDP { 6 } else { 2 };
    frame[field..field + 2].fill(0);
    let right = Layers::of(frame, false).map_or(0, |layers| layers.transport_sum(&ip));
    frame[field..field + 2].copy_from_slice(&right.to_be_bytes());
}
