//! The next hop: a neighbour, the gateway, or everyone on the link.
//!
//! Knows one address, its prefix and one gateway. Must not know MAC addresses.

use std::net::{IpAddr, Ipv6Addr};

/// Every node on the link (RFC 4291, 2.7.1): what IPv6 has for a broadcast.
pub(super) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Where packets go first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub(super) local: IpAddr,
    pub(super) prefix_len: u8,
    pub(super) gateway: Option<IpAddr>,
}

/// Where a packet goes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hop {
    Neighbour(IpAddr),
    /// All that are on the link.
    Everyone,
}

impl Route {
    /// Returns where a packet to `to` goes first; `None` when it cannot be sent there.
    pub(super) fn hop(&self, to: IpAddr) -> Option<Hop> {
        if self.is_everyone(to) {
            return Some(Hop::Everyone);
        }
        if !is_host(to) || to.is_ipv4() != self.local.is_ipv4() {
            return None;
        }
        if self.is_on_link(to) {
            return Some(Hop::Neighbour(to));
        }
        // In our prefix and no neighbour: we, or the prefix itself.
        if self.in_prefix(to) {
            return None;
        }
        self.gateway.map(Hop::Neighbour)
    }

    /// Whether `ip` is a host that is reached without a router, or the gateway itself.
    pub(super) fn is_on_link(&self, ip: IpAddr) -> bool {
        if self.gateway == Some(ip) {
            return true;
        }
        let near = match ip {
            IpAddr::V4(_) => self.in_prefix(ip) && !self.is_edge(ip),
            IpAddr::V6(v6) => self.in_prefix(ip) || (self.local.is_ipv6() && v6.is_unicast_link_local()),
        };
        near && is_host(ip) && ip != self.local
    }

    /// Whether `ip` stands for all that are on the link.
    pub(super) fn is_everyone(&self, ip: IpAddr) -> bool {
        match (ip, self.local) {
            (IpAddr::V4(ip), IpAddr::V4(_)) => {
                let host = self.host_bits();
                let all_ones = host > 1 && ip.to_bits() & host == host;
                ip.is_broadcast() || (all_ones && self.in_prefix(ip.into()))
            }
            (IpAddr::V6(ip), IpAddr::V6(_)) => ip == ALL_NODES,
            _ => false,
        }
    }

    fn in_prefix(&self, ip: IpAddr) -> bool {
        let shared = match (ip, self.local) {
            (IpAddr::V4(ip), IpAddr::V4(local)) => (ip.to_bits() ^ local.to_bits()).leading_zeros(),
            (IpAddr::V6(ip), IpAddr::V6(local)) => (ip.to_bits() ^ local.to_bits()).leading_zeros(),
            _ => return false,
        };
        shared >= u32::from(self.prefix_len)
    }

    /// Whether an address in an IPv4 prefix is its first or its last, which are no hosts where there are others
    /// (RFC 3021).
    pub(super) fn is_edge(&self, ip: IpAddr) -> bool {
        let (IpAddr::V4(ip), host) = (ip, self.host_bits()) else { return false };
        host > 1 && (ip.to_bits() & host == 0 || ip.to_bits() & host == host)
    }

    /// Returns the bits that tell the hosts of an IPv4 prefix apart.
    fn host_bits(&self) -> u32 {
        u32::MAX.checked_shr(self.prefix_len.into()).unwrap_or(0)
    }
}

/// Whether a host on a wire can have this address.
pub(super) fn is_host(ip: IpAddr) -> bool {
    let general = !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast();
    general
        && match ip {
            // "This network" and what was never given out, the broadcast among it.
            IpAddr::V4(ip) => !matches!(ip.octets()[0], 0 | 240..),
            IpAddr::V6(ip) => ip.to_ipv4_mapped().is_none(),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn route(local: &str, prefix_len: u8, gateway: Option<&str>) -> Route {
        Route { local: ip(local), prefix_len, gateway: gateway.map(ip) }
    }

    fn neighbour(text: &str) -> Option<Hop> {
        Some(Hop::Neighbour(ip(text)))
    }

    #[test]
    fn inside_the_prefix_straight_outside_through_the_gateway() {
        let with = route("10.1.2.3", 23, Some("10.1.3.254"));
        assert_eq!(with.hop(ip("10.1.3.9")), neighbour("10.1.3.9"));
        assert_eq!(with.hop(ip("10.1.4.9")), neighbour("10.1.3.254"));
        assert_eq!(route("10.1.2.3", 23, None).hop(ip("10.1.4.9")), None);
        assert_eq!(route("10.1.2.3", 0, None).hop(ip("192.0.2.1")), neighbour("192.0.2.1"));

        let with = route("2001:db8::1", 64, Some("fe80::1"));
        assert_eq!(with.hop(ip("2001:db8::9")), neighbour("2001:db8::9"));
        assert_eq!(with.hop(ip("2001:db8:0:1::9")), neighbour("fe80::1"));
        assert_eq!(with.hop(ip("fe80::77")), neighbour("fe80::77"));
    }

    #[test]
    fn a_prefix_of_one_address_has_its_gateway_outside() {
        let one = route("10.1.2.3", 32, Some("169.254.1.1"));
        assert_eq!(one.hop(ip("10.1.2.4")), neighbour("169.254.1.1"));
        assert!(one.is_on_link(ip("169.254.1.1")) && !one.is_on_link(ip("10.1.2.4")));
    }

    #[test]
    fn everyone_is_a_broadcast_of_our_link_only() {
        let on = route("10.1.2.3", 23, None);
        for all in ["255.255.255.255", "10.1.3.255"] {
            assert_eq!(on.hop(ip(all)), Some(Hop::Everyone), "{all}");
        }
        assert_eq!(on.hop(ip("10.1.2.255")), neighbour("10.1.2.255"));
        assert_eq!(route("10.1.2.3", 23, Some("10.1.2.1")).hop(ip("10.1.2.0")), None);
        let six = route("2001:db8::1", 64, None);
        assert_eq!(six.hop(ip("ff02::1")), Some(Hop::Everyone));
        assert_eq!((six.hop(ip("ff02::2")), six.hop(ip("255.255.255.255"))), (None, None));
        // Two addresses, both of them hosts.
        let two = route("10.1.2.2", 31, None);
        assert_eq!(two.hop(ip("10.1.2.3")), neighbour("10.1.2.3"));
    }

    #[test]
    fn what_is_no_host_is_not_reached() {
        let four = route("10.1.2.3", 0, Some("10.1.2.1"));
        for no in ["10.1.2.3", "0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "240.0.0.1", "fe80::1"] {
            assert_eq!((four.hop(ip(no)), four.is_on_link(ip(no))), (None, false), "{no}");
        }
        let six = route("2001:db8::1", 64, Some("fe80::1"));
        for no in ["2001:db8::1", "::", "::1", "ff05::1", "::ffff:10.1.2.4", "10.1.2.4"] {
            assert_eq!((six.hop(ip(no)), six.is_on_link(ip(no))), (None, false), "{no}");
        }
    }
}
