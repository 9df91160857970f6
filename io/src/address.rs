//! Addresses: the 24 opaque bytes of core as socket addresses, and back.
//!
//! Knows the one layout that every device with IP addresses uses. Must not know who is reached there.
//!
//! | bytes | field |
//! |---|---|
//! | 0 | family: 0 unknown (then all 24 bytes are zero), 4 IPv4, 6 IPv6 |
//! | 1 | zero |
//! | 2..4 | port, little-endian |
//! | 4..20 | IP address, most significant byte first; IPv4 in 4..8 and the rest zero |
//! | 20..24 | IPv6 scope id, little-endian; zero for IPv4 |
//!
//! Each address has one encoding, so equal addresses are equal bytes: an IPv4-mapped IPv6 address is written as the
//! IPv4 address it is, and an IPv6 flow label is no part of an address. A scope id numbers an interface of the host
//! that wrote it: gossiped link-local addresses work only where all hosts number their interfaces alike.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use popmap_core::Address;

const V4: u8 = 4;
const V6: u8 = 6;

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
}
