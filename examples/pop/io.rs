//! What carries packets between servers: the choice, and what it means for each server.
//!
//! Must not know how a device is opened.

use clap::ValueEnum;
use popmap_core::Slot;
use serde::{Deserialize, Serialize};

use crate::measure::UDP_HEADERS;

/// Bytes of an Ethernet header, and of the payload's length behind it.
const ETHERNET_HEADERS: u64 = 14 + 2;

/// What carries packets between servers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Io {
    /// UDP sockets on loopback, all servers in one process. Needs nothing
    #[default]
    Udp,
    /// Packet sockets (AF_PACKET), bare Ethernet. Needs root, or user namespaces
    Raw,
    /// AF_XDP, bare Ethernet. Needs root
    Xdp,
    /// DPDK (net_af_packet), bare Ethernet. Needs root or user namespaces, and `--features dpdk`
    Dpdk,
    /// UDP sockets, packet sockets, AF_XDP and DPDK in one PoP, all speaking UDP. Needs root, and `--features dpdk`
    Mixed,
}

/// The device of one server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Carrier {
    /// A socket of the kernel's.
    Udp,
    /// A packet socket.
    Raw,
    /// A socket of AF_XDP.
    Xdp,
    /// A port of DPDK's.
    Dpdk,
}

/// What is in front of a packet on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Wire {
    /// An Ethernet header; servers find each other by broadcast.
    Ethernet,
    /// UDP in IPv4; servers are told each other's addresses.
    Udp,
}

impl Io {
    /// Returns the name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Raw => "raw",
            Self::Xdp => "xdp",
            Self::Dpdk => "dpdk",
            Self::Mixed => "mixed",
        }
    }

    /// Returns the name in a sentence.
    pub fn title(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Raw => "AF_PACKET",
            Self::Xdp => "AF_XDP",
            Self::Dpdk => "DPDK",
            Self::Mixed => "mixed devices",
        }
    }

    /// Whether each server is a process with a network namespace of its own.
    pub fn is_isolated(self) -> bool {
        self != Self::Udp
    }

    /// Whether it takes root itself, and not the root of a user namespace.
    pub fn needs_root(self) -> bool {
        matches!(self, Self::Xdp | Self::Mixed)
    }

    /// Whether it takes a program that was built with DPDK.
    pub fn needs_dpdk(self) -> bool {
        matches!(self, Self::Dpdk | Self::Mixed)
    }

    /// Returns what the server in `slot` has.
    pub fn carrier(self, slot: Slot) -> Carrier {
        match self {
            Self::Udp => Carrier::Udp,
            Self::Raw => Carrier::Raw,
            Self::Xdp => Carrier::Xdp,
            Self::Dpdk => Carrier::Dpdk,
            Self::Mixed => [Carrier::Udp, Carrier::Raw, Carrier::Xdp, Carrier::Dpdk][slot.index() % 4],
        }
    }

    /// Returns what all of them have on the wire.
    pub fn wire(self) -> Wire {
        match self {
            Self::Udp | Self::Mixed => Wire::Udp,
            Self::Raw | Self::Xdp | Self::Dpdk => Wire::Ethernet,
        }
    }
}

impl Wire {
    /// Returns the bytes of a packet's headers: those of the Internet where there are any, else all.
    pub fn headers(self) -> u64 {
        match self {
            Self::Ethernet => ETHERNET_HEADERS,
            Self::Udp => UDP_HEADERS,
        }
    }
}
