//! Addresses: the 24 opaque bytes of core as socket addresses or MAC addresses, and back.
//!
//! Knows the one layout that every device uses. Must not know who is reached there.
//!
//! | bytes | field |
//! |---|---|
//! | 0 | family: 0 unknown (then all 24 bytes are zero), 2 Ethernet, 4 IPv4, 6 IPv6 |
//! | 1 | zero |
//! | 2..4 | port, little-endian; zero for Ethernet |
//! | 4..20 | IP address, most significant byte first; IPv4 in 4..8, a MAC address in 4..10 and the rest zero |
//! | 20..24 | IPv6 scope id, little-endian; zero for the others |
//!
//! Each address has one encoding, so equal addresses are equal bytes: an IPv4-mapped IPv6 address is written as the
//! IPv4 address it is, and an IPv6 flow label is no part of an address. A scope id numbers an interface of the host
//! that wrote it: gossiped link-local addresses work only where all hosts number their interfaces alike. A VLAN is no
//! part of a MAC address here: one host of a segment may see it tagged and another untagged.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::str::FromStr;

use popmap_core::Address;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const ETHERNET: u8 = 2;
const V4: u8 = 4;
const V6: u8 = 6;

/// A MAC address (EUI-48).
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(transparent)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Every station on the segment: whom to send to where no peer is known yet.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether this is the address of one station: neither a group's nor all zero.
    #[must_use]
    pub const fn is_station(&self) -> bool {
        let [a, b, c, d, e, f] = self.0;
        a & 1 == 0 && a | b | c | d | e | f != 0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = MacError;

    /// Reads six pairs of hexadecimal digits with colons between them.
    fn from_str(text: &str) -> Result<Self, MacError> {
        let mut mac = [0; 6];
        let mut pairs = text.split(':');
        for byte in &mut mac {
            let pair = pairs.next().ok_or(MacError)?;
            // Signs, too, would be digits to the parser.
            if pair.len() != 2 || !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(MacError);
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| MacError)?;
        }
        if pairs.next().is_none() { Ok(Self(mac)) } else { Err(MacError) }
    }
}

/// A text is not a MAC address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MacError;

impl fmt::Display for MacError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a MAC address: six pairs of hexadecimal digits with colons, as in 02:00:5e:10:00:01")
    }
}

impl std::error::Error for MacError {}

/// Every station on an Ethernet segment: a seed that joins without knowing a peer. With UDP in frames of its own the
/// same is `255.255.255.255` or `[ff02::1]` with the port that all use.
pub const BROADCAST: Address = from_mac(Mac::BROADCAST);

/// Returns the bytes of a MAC address.
#[must_use]
pub const fn from_mac(mac: Mac) -> Address {
    let [a, b, c, d, e, f] = mac.0;
    Address([ETHERNET, 0, 0, 0, a, b, c, d, e, f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

/// Returns the MAC address that the bytes stand for; `None` when they are no encoding of one.
#[must_use]
pub fn to_mac(address: Address) -> Option<Mac> {
    let [ETHERNET, 0, 0, 0, a, b, c, d, e, f, rest @ ..] = address.0 else { return None };
    (rest == [0; 14]).then_some(Mac([a, b, c, d, e, f]))
}

/// Returns what prints an address as the kind that it is: a socket address, a MAC address, `unknown` for the zero
/// address, and hexadecimal digits for any other bytes.
pub fn display(address: Address) -> impl fmt::Display {
    Shown(address)
}

struct Shown(Address);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(socket) = to_socket(self.0) {
            return write!(f, "{socket}");
        }
        if let Some(mac) = to_mac(self.0) {
            return write!(f, "{mac}");
        }
        if self.0 == Address::default() {
            return f.write_str("unknown");
        }
        self.0.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Returns the bytes of a socket address.
#[must_use]
pub fn from_socket(socket: SocketAddr) -> Address {
    let mut bytes = [0; 24];
    bytes[2..4].copy_from_slice(&socket.port().to_le_bytes());
    match socket.ip().to_canonical() {
        IpAddr::V4(ip) => {
            bytes[0] = V4;
            bytes[4..8].copy_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            bytes[0] = V6;
            bytes[4..20].copy_from_slice(&ip.octets());
            if let SocketAddr::V6(socket) = socket {
                bytes[20..].copy_from_slice(&socket.scope_id().to_le_bytes());
            }
        }
    }
    Address(bytes)
}

/// Returns the socket address that the bytes stand for; `None` when they are no encoding of one, as the zero address
/// is not.
#[must_use]
pub fn to_socket(address: Address) -> Option<SocketAddr> {
    let [family, 0, port_low, port_high, ip @ .., s0, s1, s2, s3] = address.0 else { return None };
    let port = u16::from_le_bytes([port_low, port_high]);
    let scope_id = u32::from_le_bytes([s0, s1, s2, s3]);
    match family {
        V4 => {
            let [a, b, c, d, rest @ ..] = ip;
            (rest == [0; 12] && scope_id == 0)
                .then(|| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), port))
        }
        V6 => {
            let ip = Ipv6Addr::from(ip);
            let socket = SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope_id));
            ip.to_ipv4_mapped().is_none().then_some(socket)
        }
        _ => None,
    }
}

/// Returns what a server may tell the others of its own address: the address, or the zero address, which leaves it to
/// them to see where its packets come from, when it is bound to all of the host's addresses.
#[must_use]
pub fn advertised(local: Address) -> Address {
    match to_socket(local) {
        Some(socket) if socket.ip().is_unspecified() => Address::default(),
        _ => local,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_address_comes_back() {
        for text in
            ["127.0.0.1:7946", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:7946", "[fe80::1%3]:1", "[::]:0"]
        {
            let socket: SocketAddr = text.parse().unwrap();
            assert_eq!(to_socket(from_socket(socket)), Some(socket), "{text}");
        }
    }

    #[test]
    fn the_layout_is_part_of_the_wire() {
        let v4 = from_socket("10.1.2.3:258".parse().unwrap());
        assert_eq!(v4.0[..8], [4, 0, 2, 1, 10, 1, 2, 3]);
        assert_eq!(v4.0[8..], [0; 16]);
        let v6 = from_socket("[fe80::7%9]:258".parse().unwrap());
        assert_eq!(v6.0, [6, 0, 2, 1, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 9, 0, 0, 0]);
    }

    #[test]
    fn one_address_has_one_encoding() {
        let mapped = from_socket("[::ffff:10.1.2.3]:5".parse().unwrap());
        assert_eq!(mapped, from_socket("10.1.2.3:5".parse().unwrap()));
        let flow = SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 5, 77, 0));
        assert_eq!(from_socket(flow), from_socket("[::1]:5".parse().unwrap()));
    }

    #[test]
    fn bytes_that_encode_nothing_are_refused() {
        assert_eq!(to_socket(Address::default()), None);
        let good = from_socket("10.1.2.3:5".parse().unwrap());
        for (at, wrong) in [(0, 5), (1, 1), (8, 1), (19, 1), (20, 1)] {
            let mut bad = good;
            bad.0[at] = wrong;
            assert_eq!(to_socket(bad), None, "byte {at}");
        }
        let mut mapped = Address::default();
        mapped.0[0] = 6;
        mapped.0[14..20].copy_from_slice(&[0xff, 0xff, 10, 1, 2, 3]);
        assert_eq!(to_socket(mapped), None);
    }

    #[test]
    fn a_wildcard_is_not_advertised() {
        let at = |text: &str| from_socket(text.parse().unwrap());
        assert_eq!(advertised(at("0.0.0.0:5")), Address::default());
        assert_eq!(advertised(at("[::]:5")), Address::default());
        assert_eq!(advertised(at("127.0.0.1:5")), at("127.0.0.1:5"));
    }
    #[test]
    fn a_mac_address_comes_back() {
        for text in ["02:00:5e:10:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"] {
            let mac: Mac = text.parse().unwrap();
            assert_eq!((mac.to_string(), to_mac(from_mac(mac))), (text.to_owned(), Some(mac)));
            assert_eq!(to_socket(from_mac(mac)), None);
        }
        let mac = from_mac("02:00:5e:10:00:01".parse().unwrap());
        assert_eq!(mac.0[..10], [2, 0, 0, 0, 2, 0, 0x5e, 0x10, 0, 1]);
        assert_eq!(mac.0[10..], [0; 14]);
        for at in [0, 1, 2, 3, 10, 23] {
            let mut bad = mac;
            bad.0[at] ^= 1;
            assert_eq!(to_mac(bad), None, "byte {at}");
        }
        assert_eq!(to_mac(from_socket("10.1.2.3:5".parse().unwrap())), None);
    }

    #[test]
    fn what_is_no_mac_address_is_refused() {
        let bad = ["", "02:00:5e:10:00", "02:00:5e:10:00:01:02", "02-00-5e-10-00-01", "2:0:5e:10:0:1"];
        for text in bad.into_iter().chain(["02:00:5e:10:00:0g", "02:00:5e:10:00:+1", "02:00:5e:10:00:01:"]) {
            assert_eq!(text.parse::<Mac>(), Err(MacError), "{text}");
        }
    }

    #[test]
    fn a_station_is_no_group() {
        let is_station = |text: &str| text.parse::<Mac>().unwrap().is_station();
        assert!(is_station("02:00:00:00:00:00") && is_station("00:00:00:00:00:01"));
        assert!(!is_station("ff:ff:ff:ff:ff:ff") && !is_station("01:00:5e:00:00:01"));
        assert!(!is_station("00:00:00:00:00:00"));
    }

    #[test]
    fn addresses_print_as_what_they_are() {
        let shown = |address| display(address).to_string();
        assert_eq!(shown(from_socket("10.1.2.3:5".parse().unwrap())), "10.1.2.3:5");
        assert_eq!(shown(from_socket("[fe80::1%3]:5".parse().unwrap())), "[fe80::1%3]:5");
        assert_eq!(shown(from_mac(Mac::BROADCAST)), "ff:ff:ff:ff:ff:ff");
        assert_eq!(shown(Address::default()), "unknown");
        assert_eq!(shown(Address([0xab; 24])), "ab".repeat(24));
    }
}
