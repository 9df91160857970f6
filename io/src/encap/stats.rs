//! Why frames were not passed on, and what was sent to find neighbours: counters.
//!
//! Knows reasons and their names. Must not know how a frame is checked.

use std::fmt;

macro_rules! reasons {
    ($(#[doc = $type_doc:literal])+ $type:ident { $($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+ }) => {
        $(#[doc = $type_doc])+
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[non_exhaustive]
        pub enum $type { $($(#[doc = $doc])+ $name,)+ }

        impl $type {
            /// Every reason, in the order of its counters in [`EncapStats`].
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Returns the reason's name for metrics, in snake case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// Returns the reason's place in [`ALL`](Self::ALL).
            #[must_use]
            pub const fn index(self) -> usize {
                self as usize
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl std::error::Error for $type {}
    };
}

reasons! {
    /// Why a received frame was not passed on. It changed nothing but a counter.
    Ignored {
        /// Too short for an Ethernet header and its tag.
        Runt = "runt",
        /// An 802.1Q tag, and no VLAN is configured.
        Tagged = "tagged",
        /// No 802.1Q tag, or one without a VLAN, and a VLAN is configured.
        Untagged = "untagged",
        /// Another VLAN.
        OtherVlan = "other_vlan",
        /// An EtherType that this encapsulation does not use; noise on a shared wire.
        Foreign = "foreign",
        /// We sent it: our own MAC address is its source.
        Own = "own",
        /// A source MAC address that no station has: zero, or a group.
        SourceMac = "source_mac",
        /// For another station, or a group that we are not in.
        OtherMac = "other_mac",
        /// Bare Ethernet: another protocol under the shared experimental EtherType, or another version of ours.
        OtherProtocol = "other_protocol",
        /// The frame ends before the length that one of its headers states.
        Truncated = "truncated",
        /// Bare Ethernet: more bytes behind the payload than padding explains.
        Trailing = "trailing",
        /// The payload is longer than the configured limit.
        Oversize = "oversize",
        /// An IP header of another version, or with a length that contradicts itself.
        IpHeader = "ip_header",
        /// An IPv4 header with options; none of the senders that we talk to uses them.
        IpOptions = "ip_options",
        /// The IPv4 header checksum does not match.
        IpChecksum = "ip_checksum",
        /// A fragment; packets are never longer than the wire carries (DESIGN section 6).
        Fragment = "fragment",
        /// An IPv6 extension header other than a fragment's.
        ExtensionHeader = "extension_header",
        /// A source address that no host has: unspecified, loopback, a group, ours, or port 0.
        SourceIp = "source_ip",
        /// For another IP address, or for ours in a frame to everyone (RFC 1122, 3.3.6).
        OtherIp = "other_ip",
        /// Another protocol than UDP.
        NotUdp = "not_udp",
        /// The UDP length is not that of the IP packet's rest.
        UdpLength = "udp_length",
        /// For another UDP port.
        OtherPort = "other_port",
        /// IPv6 without a UDP checksum (RFC 8200, 8.1).
        NoUdpChecksum = "no_udp_checksum",
        /// The UDP checksum does not match.
        UdpChecksum = "udp_checksum",
        /// An ARP packet that is cut short, is not about IPv4 over Ethernet, or names a station that cannot be.
        Arp = "arp",
        /// ARP between others.
        OtherArp = "other_arp",
        /// Neighbour discovery that came through a router: its hop limit is not 255 (RFC 4861, 7.1).
        HopLimit = "hop_limit",
        /// The ICMPv6 checksum does not match.
        IcmpChecksum = "icmp_checksum",
        /// Neighbour discovery that breaks a rule of RFC 4861, 7.1.
        Ndp = "ndp",
        /// Neighbour discovery about others.
        OtherNdp = "other_ndp",
        /// Somebody says where a host is that we do not talk to, or says so without its MAC address.
        Unasked = "unasked",
        /// Another station claims our IP address. Give one of the two another.
        Conflict = "conflict",
    }
}

reasons! {
    /// Why a payload was not sent. It is lost; the frame's headroom may have been written to.
    Unsent {
        /// The address is not one that this encapsulation reaches: of another kind, a group, ourselves, or off the
        /// link while no gateway is configured.
        NoRoute = "no_route",
        /// The next hop's MAC address is not known yet; a request is on its way. What gossip loses it repeats.
        Unresolved = "unresolved",
        /// The next hop is not known, and every place in the neighbour table is in use.
        NeighboursFull = "neighbours_full",
        /// The payload is longer than the configured limit.
        TooLong = "too_long",
    }
}

/// Plain counters, all rising from zero when the encapsulation is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct EncapStats {
    /// Frames with a payload for us.
    pub payloads: u64,
    /// Frames not passed on, by reason in the order of [`Ignored::ALL`].
    pub ignored: [u64; Ignored::ALL.len()],
    /// Payloads framed.
    pub framed: u64,
    /// Payloads not framed, by reason in the order of [`Unsent::ALL`].
    pub unsent: [u64; Unsent::ALL.len()],
    /// What came of looking for neighbours, and of those who looked for us.
    pub neighbours: NeighbourStats,
}

impl EncapStats {
    pub(super) const NONE: Self = Self {
        payloads: 0,
        ignored: [0; Ignored::ALL.len()],
        framed: 0,
        unsent: [0; Unsent::ALL.len()],
        neighbours: NeighbourStats::NONE,
    };

    /// Iterates all frames not passed on: (reason, count).
    pub fn ignored(&self) -> impl Iterator<Item = (Ignored, u64)> + '_ {
        Ignored::ALL.iter().copied().zip(self.ignored)
    }

    /// Returns the frames that were too long, and those not passed on for any other reason, as
    /// [`DeviceStats`](crate::DeviceStats) tells them apart.
    pub(crate) fn oversize_and_ignored(&self) -> (u64, u64) {
        let oversize = self.ignored[Ignored::Oversize.index()];
        (oversize, self.ignored.iter().sum::<u64>() - oversize)
    }

    /// Iterates all payloads not framed: (reason, count).
    pub fn unsent(&self) -> impl Iterator<Item = (Unsent, u64)> + '_ {
        Unsent::ALL.iter().copied().zip(self.unsent)
    }
}

/// Counters of ARP (RFC 826) and of neighbour discovery (RFC 4861).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct NeighbourStats {
    /// Requests for our address that were heard.
    pub requests_heard: u64,
    /// Answers sent.
    pub answers: u64,
    /// Answers not sent because as many were waiting as may; who asked asks again.
    pub answers_lost: u64,
    /// Requests sent.
    pub requests: u64,
    /// Announcements of our own address sent.
    pub announcements: u64,
    /// Neighbours whose MAC address became known.
    pub resolved: u64,
    /// Neighbours whose MAC address became another: a host was replaced, or somebody pretends so.
    pub moved: u64,
    /// Neighbours that answered no probe and are looked for anew.
    pub lost: u64,
    /// Neighbours given up for others because the table was full.
    pub evicted: u64,
}

impl NeighbourStats {
    pub(super) const NONE: Self = Self {
        requests_heard: 0,
        answers: 0,
        answers_lost: 0,
        requests: 0,
        announcements: 0,
        resolved: 0,
        moved: 0,
        lost: 0,
        evicted: 0,
    };
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_its_own_place_and_name() {
        let names: BTreeSet<_> = Ignored::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Ignored::ALL.len());
        assert!(Ignored::ALL.iter().enumerate().all(|(at, reason)| reason.index() == at));
        let names: BTreeSet<_> = Unsent::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Unsent::ALL.len());
        assert!(Unsent::ALL.iter().enumerate().all(|(at, reason)| reason.index() == at));
    }
}
