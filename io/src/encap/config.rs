//! How payloads are framed, and why a configuration was refused.
//!
//! Knows ranges and what is allowed without authentication. Must not know how a frame is built.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use popmap_core::limits::{PAYLOAD_DEFAULT, PAYLOAD_MAX, PAYLOAD_MIN};

use super::route::{Route, is_host};
use crate::address::Mac;

/// The EtherType of bare frames unless another is chosen: IEEE 802, local experimental 1.
pub const ETHERTYPE_DEFAULT: u16 = 0x88b5;
/// The other EtherType that bare frames may have: IEEE 802, local experimental 2.
pub const ETHERTYPE_OTHER: u16 = 0x88b6;
/// Neighbours remembered unless another number is chosen: two PoPs of the greatest size.
pub const NEIGHBOURS_DEFAULT: usize = 128;
/// The most neighbours that can be remembered.
pub const NEIGHBOURS_MAX: usize = 4_096;

/// VLAN ids that name a VLAN: 0 is none, and 4095 is reserved (802.1Q, 9.6).
const VLANS: std::ops::RangeInclusive<u16> = 1..=4_094;
/// The greatest code point that six bits hold (RFC 2474).
const DSCP_MAX: u8 = 63;

/// How an [`Encap`](super::Encap) frames payloads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EncapConfig {
    /// What a payload is wrapped in behind the Ethernet header.
    pub framing: Framing,
    /// The 802.1Q VLAN that every frame is tagged with and must be tagged with; 1 to 4094. Default: no tag.
    pub vlan: Option<u16>,
    /// Bytes of the longest payload. Default: [`PAYLOAD_DEFAULT`]; the node's may not be longer.
    pub payload: usize,
    /// Allows frames that are not authenticated: whoever is on the segment (with UDP, whoever can route a packet
    /// to it) can write to the map, and whoever sees the wire reads it. Default: no.
    pub insecure: bool,
    /// Allows frames for a driver that has keys ([`DriverConfig::keys`](crate::DriverConfig::keys)) and no other. Default:
    /// no.
    pub authenticated: bool,
}

/// What a payload is wrapped in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// Nothing but Ethernet: peers are MAC addresses on one segment.
    Ethernet {
        /// [`ETHERTYPE_DEFAULT`] or [`ETHERTYPE_OTHER`].
        ethertype: u16,
    },
    /// UDP in IPv4 or IPv6: peers are socket addresses, on the link or behind a router, and may use a
    /// [`UdpDevice`](crate::UdpDevice).
    Udp(UdpFraming),
}

/// One socket address that no kernel knows of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UdpFraming {
    /// Our address. It should be ours alone: a kernel that has it too answers each packet with ICMP "port unreachable",
    /// unless a socket of its own holds the port.
    pub local: SocketAddr,
    /// Bits of the address that all hosts on the link share; up to 32 or 128.
    pub prefix_len: u8,
    /// The router to all other hosts, in the prefix; with a prefix of a single address it may be any. For IPv6 also a
    /// link-local address. Default: none, and other hosts are not reached.
    pub gateway: Option<IpAddr>,
    /// The differentiated services code point of what is sent; 0 to 63. Default: 0, best effort.
    pub dscp: u8,
    /// Default: [`Checksums::Verify`].
    pub checksums: Checksums,
    /// Neighbours remembered, 1 to [`NEIGHBOURS_MAX`]. Default: [`NEIGHBOURS_DEFAULT`].
    pub neighbours: usize,
}

/// What is done about the UDP checksum of received packets. Sent ones always have it; IPv4 and ICMPv6 checksums are
/// always verified.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksums {
    /// It must match, or for IPv4 be absent.
    Verify,
    /// It is not looked at: for veth and other virtual wires, where a kernel leaves it to hardware that is not there.
    /// Where the device tells which packets those are, [`Offload::checked`](super::Offload::checked) is better.
    Trust,
}

impl EncapConfig {
    /// Returns the defaults for bare Ethernet.
    #[must_use]
    pub const fn ethernet() -> Self {
        Self::new(Framing::Ethernet { ethertype: ETHERTYPE_DEFAULT })
    }

    /// Returns the defaults for UDP at `local`, on a link with this prefix and without a gateway.
    #[must_use]
    pub const fn udp(local: SocketAddr, prefix_len: u8) -> Self {
        Self::new(Framing::Udp(UdpFraming::new(local, prefix_len)))
    }

    /// Returns the defaults for a framing.
    #[must_use]
    pub const fn new(framing: Framing) -> Self {
        Self { framing, vlan: None, payload: PAYLOAD_DEFAULT, insecure: false, authenticated: false }
    }

    /// Returns this configuration with unauthenticated frames allowed, or not; see [`insecure`](Self::insecure).
    #[must_use]
    pub const fn insecure(self, insecure: bool) -> Self {
        Self { insecure, ..self }
    }

    /// Returns this configuration for authenticated packets, or not; see [`authenticated`](Self::authenticated).
    #[must_use]
    pub const fn authenticated(self, authenticated: bool) -> Self {
        Self { authenticated, ..self }
    }

    pub(super) fn check(&self, mac: Mac) -> Result<(), EncapError> {
        if !self.insecure && !self.authenticated {
            return Err(EncapError::Insecure);
        }
        if !mac.is_station() {
            return Err(EncapError::Mac(mac));
        }
        if let Some(vlan) = self.vlan.filter(|vlan| !VLANS.contains(vlan)) {
            return Err(EncapError::Vlan(vlan));
        }
        if !(PAYLOAD_MIN..=PAYLOAD_MAX).contains(&self.payload) {
            return Err(EncapError::Payload(self.payload));
        }
        match &self.framing {
            Framing::Ethernet { ethertype: ETHERTYPE_DEFAULT | ETHERTYPE_OTHER } => Ok(()),
            Framing::Ethernet { ethertype } => Err(EncapError::Ethertype(*ethertype)),
            Framing::Udp(udp) => udp.check(),
        }
    }
}

impl UdpFraming {
    /// Returns the defaults at `local`, on a link with this prefix and without a gateway.
    #[must_use]
    pub const fn new(local: SocketAddr, prefix_len: u8) -> Self {
        Self {
            local,
            prefix_len,
            gateway: None,
            dscp: 0,
            checksums: Checksums::Verify,
            neighbours: NEIGHBOURS_DEFAULT,
        }
    }

    fn check(&self) -> Result<(), EncapError> {
        let ip = self.local.ip();
        let bits = if ip.is_ipv4() { 32 } else { 128 };
        if self.prefix_len > bits {
            return Err(EncapError::PrefixLen { given: self.prefix_len, most: bits });
        }
        let alone = Route { local: ip, prefix_len: self.prefix_len, gateway: None };
        if self.local.port() == 0 || !is_host(ip) || alone.is_edge(ip) {
            return Err(EncapError::Local(self.local));
        }
        if let Some(gateway) = self.gateway {
            let anywhere = self.prefix_len == bits && gateway.is_ipv4() == ip.is_ipv4();
            let reached = alone.is_on_link(gateway) || (anywhere && is_host(gateway));
            if !reached || gateway == ip {
                return Err(EncapError::Gateway { gateway, local: ip, prefix_len: self.prefix_len });
            }
        }
        if self.dscp > DSCP_MAX {
            return Err(EncapError::Dscp(self.dscp));
        }
        if !(1..=NEIGHBOURS_MAX).contains(&self.neighbours) {
            return Err(EncapError::Neighbours(self.neighbours));
        }
        Ok(())
    }
}

/// Why an [`Encap`](super::Encap) could not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum EncapError {
    /// Neither `authenticated` nor `insecure` was said.
    Insecure,
    /// Our MAC address is none that a station has.
    Mac(Mac),
    /// The VLAN id is out of range.
    Vlan(u16),
    /// The payload limit is out of range.
    Payload(usize),
    /// The EtherType is not an experimental one.
    Ethertype(u16),
    /// The address is none that a host on a wire has, or lacks a port.
    Local(SocketAddr),
    /// The prefix is longer than an address.
    PrefixLen {
        /// The configured length.
        given: u8,
        /// The bits of an address.
        most: u8,
    },
    /// The gateway is not on the link.
    Gateway {
        /// The configured gateway.
        gateway: IpAddr,
        /// Our address.
        local: IpAddr,
        /// Bits of its prefix.
        prefix_len: u8,
    },
    /// The code point is out of range.
    Dscp(u8),
    /// The neighbour table's size is out of range.
    Neighbours(usize),
}

impl fmt::Display for EncapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Insecure => write!(
                f,
                "insecure: false; frames are not authenticated, so that anyone on the wire could write to the map; give \
                 the driver keys and set `authenticated`, or set `insecure` if the network itself keeps others out"
            ),
            Self::Mac(given) => {
                write!(f, "mac: {given}; it must be one station's, neither a group's nor all zero")
            }
            Self::Vlan(given) => {
                write!(f, "vlan: {given}; {} to {} are possible", VLANS.start(), VLANS.end())
            }
            Self::Payload(given) => {
                write!(f, "payload: {given} bytes; {PAYLOAD_MIN} to {PAYLOAD_MAX} are possible")
            }
            Self::Ethertype(given) => write!(
                f,
                "ethertype: {given:#06x}; {ETHERTYPE_DEFAULT:#06x} and {ETHERTYPE_OTHER:#06x} are possible, which are \
                 for local experiments"
            ),
            Self::Local(given) => write!(
                f,
                "local: {given}; it must be one host's address on the link and have a port: not unspecified, loopback, \
                 a group, a broadcast, IPv4-mapped, nor port 0"
            ),
            Self::PrefixLen { given, most } => {
                write!(f, "prefix_len: {given} bits; 0 to {most} are possible")
            }
            Self::Gateway { gateway, local, prefix_len } => write!(
                f,
                "gateway: {gateway}; it must be another host's address in {local}/{prefix_len}, or link-local for IPv6, \
                 or any when the prefix is a single address"
            ),
            Self::Dscp(given) => write!(f, "dscp: {given}; 0 to {DSCP_MAX} are possible"),
            Self::Neighbours(given) => {
                write!(f, "neighbours: {given}; 1 to {NEIGHBOURS_MAX} are possible")
            }
        }
    }
}

impl std::error::Error for EncapError {}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn udp(local: &str, prefix_len: u8, change: impl Fn(&mut UdpFraming)) -> Result<(), EncapError> {
        let mut udp = UdpFraming::new(local.parse().unwrap(), prefix_len);
        change(&mut udp);
        EncapConfig::new(Framing::Udp(udp)).insecure(true).check(MAC)
    }

    fn refused(checked: Result<(), EncapError>, start: &str) {
        let said = checked.expect_err(start).to_string();
        assert!(said.starts_with(start), "{said:?} does not start with {start:?}");
    }

    #[test]
    fn the_defaults_need_only_consent() {
        let bare = EncapConfig::ethernet();
        refused(bare.check(MAC), "insecure: false;");
        assert_eq!(bare.insecure(true).check(MAC), Ok(()));
        assert_eq!(udp("10.0.0.1:7946", 24, |_| ()), Ok(()));
        assert_eq!(udp("[2001:db8::1]:7946", 64, |_| ()), Ok(()));
    }

    #[test]
    fn a_refusal_names_the_field_the_value_and_what_is_accepted() {
        let bare = EncapConfig::ethernet().insecure(true);
        refused(bare.check(Mac::BROADCAST), "mac: ff:ff:ff:ff:ff:ff; it must be one station's");
        refused(bare.check(Mac::default()), "mac: 00:00:00:00:00:00;");
        refused(EncapConfig { vlan: Some(0), ..bare }.check(MAC), "vlan: 0; 1 to 4094 are possible");
        refused(EncapConfig { vlan: Some(4_095), ..bare }.check(MAC), "vlan: 4095;");
        refused(EncapConfig { payload: 1_199, ..bare }.check(MAC), "payload: 1199 bytes; 1200 to 8952 are");
        refused(EncapConfig { payload: 8_953, ..bare }.check(MAC), "payload: 8953 bytes;");
        let framing = Framing::Ethernet { ethertype: 0x0800 };
        refused(EncapConfig { framing, ..bare }.check(MAC), "ethertype: 0x0800; 0x88b5 and 0x88b6 are");
        refused(udp("10.0.0.1:7", 33, |_| ()), "prefix_len: 33 bits; 0 to 32 are possible");
        refused(udp("[2001:db8::1]:7", 129, |_| ()), "prefix_len: 129 bits; 0 to 128 are");
        refused(udp("10.0.0.1:7", 24, |udp| udp.dscp = 64), "dscp: 64; 0 to 63 are possible");
        refused(udp("10.0.0.1:7", 24, |udp| udp.neighbours = 0), "neighbours: 0; 1 to 4096 are possible");
        refused(udp("10.0.0.1:7", 24, |udp| udp.neighbours = 4_097), "neighbours: 4097;");
    }

    #[test]
    fn the_ends_of_each_range_are_in_it() {
        let bare = EncapConfig::ethernet().insecure(true);
        for vlan in [1, 4_094] {
            assert_eq!(EncapConfig { vlan: Some(vlan), ..bare }.check(MAC), Ok(()));
        }
        for payload in [PAYLOAD_MIN, PAYLOAD_MAX] {
            assert_eq!(EncapConfig { payload, ..bare }.check(MAC), Ok(()));
        }
        let framing = Framing::Ethernet { ethertype: ETHERTYPE_OTHER };
        assert_eq!(EncapConfig { framing, ..bare }.check(MAC), Ok(()));
        assert_eq!(udp("10.0.0.1:1", 0, |udp| (udp.dscp, udp.neighbours) = (63, 1)), Ok(()));
        assert_eq!(udp("10.0.0.1:65535", 32, |udp| udp.neighbours = NEIGHBOURS_MAX), Ok(()));
        assert_eq!(udp("10.0.0.0:7", 31, |_| ()), Ok(()));
        assert_eq!(udp("[2001:db8::]:7", 128, |_| ()), Ok(()));
    }

    #[test]
    fn an_address_that_no_host_has_is_refused() {
        for (local, prefix_len) in [
            ("10.0.0.1:0", 24),
            ("0.0.0.0:7", 24),
            ("127.0.0.1:7", 8),
            ("224.0.0.1:7", 24),
            ("255.255.255.255:7", 24),
            ("10.0.0.0:7", 24),
            ("10.0.0.255:7", 24),
            ("[::]:7", 64),
            ("[::1]:7", 128),
            ("[ff02::1]:7", 64),
            ("[::ffff:10.0.0.1]:7", 96),
        ] {
            refused(udp(local, prefix_len, |_| ()), &format!("local: {local}; it must be"));
        }
    }

    #[test]
    fn a_gateway_is_on_the_link() {
        let with = |local: &str, prefix_len, gateway: &str| {
            udp(local, prefix_len, |udp| udp.gateway = Some(gateway.parse().unwrap()))
        };
        for (local, prefix_len, gateway) in [
            ("10.0.0.1:7", 24, "10.0.0.254"),
            ("10.0.0.1:7", 32, "169.254.1.1"),
            ("[2001:db8::1]:7", 64, "2001:db8::2"),
            ("[2001:db8::1]:7", 64, "fe80::1"),
            ("[2001:db8::1]:7", 128, "2001:db8:1::1"),
        ] {
            assert_eq!(with(local, prefix_len, gateway), Ok(()), "{local} {gateway}");
        }
        for (local, prefix_len, gateway) in [
            ("10.0.0.1:7", 24, "10.0.1.1"),
            ("10.0.0.1:7", 24, "10.0.0.1"),
            ("10.0.0.1:7", 24, "10.0.0.255"),
            ("10.0.0.1:7", 32, "10.0.0.1"),
            ("10.0.0.1:7", 32, "0.0.0.0"),
            ("10.0.0.1:7", 24, "fe80::1"),
            ("10.0.0.1:7", 32, "fe80::1"),
            ("[2001:db8::1]:7", 64, "2001:db8:1::1"),
            ("[2001:db8::1]:7", 128, "ff02::2"),
            ("[2001:db8::1]:7", 64, "10.0.0.254"),
        ] {
            refused(with(local, prefix_len, gateway), &format!("gateway: {gateway}; it must be another"));
        }
    }
}
