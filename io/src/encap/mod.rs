//! Encapsulation: what stands before a packet on a wire where no kernel puts it there.
//!
//! Knows frames, whom they are for, and how the neighbours' stations are found. Must not know what is in a packet, how
//! a frame gets onto a wire, nor the time but as it is given.
//!
//! A choice beside the device: AF_PACKET, AF_XDP and DPDK carry frames and leave to an [`Encap`] what is in front of
//! the payload:
//!
//! | framing | headers | peers are |
//! |---|---|---|
//! | [`Framing::Ethernet`] | Ethernet, an experimental EtherType, the payload's length | MAC addresses on one segment |
//! | [`Framing::Udp`] | Ethernet, IPv4 or IPv6, UDP | socket addresses, on the link or behind a gateway |
//!
//! Either with or without an 802.1Q tag. With UDP an `Encap` has an IP address of its own, for which it answers ARP
//! (RFC 826) and neighbour discovery (RFC 4861), finds its neighbours in the same way, and speaks to any UDP socket.
//! It does nothing else that a host does: no ICMP errors, no echo, no routers but the one that is configured, no
//! multicast listener reports (where switches filter IPv6 multicast by those, they must let solicitations for it pass),
//! and no defence when another host claims its address, which it counts as [`Ignored::Conflict`].
//!
//! Sans-IO: frames and times go in, frames and the next deadline come out. Nothing is allocated after
//! [`new`](Encap::new), no payload is copied, and no packet is held back for a neighbour that is not found yet.
//!
//! A device keeps the loop:
//!
//! ```
//! use popmap_core::time::Instant;
//! use popmap_io::address::{self, Mac};
//! use popmap_io::encap::{Encap, EncapConfig, Stripped, Unsent};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let at = |host: u8| EncapConfig::udp(([10, 0, 0, host], 7946).into(), 24).insecure(true);
//! let mut left = Encap::new(Mac([2, 0, 0, 0, 0, 1]), &at(1))?;
//! let mut right = Encap::new(Mac([2, 0, 0, 0, 0, 2]), &at(2))?;
//! let (now, mut frame) = (Instant::ZERO, vec![0; left.frame_len()]);
//!
//! let (to, start) = (right.local(), left.headroom());
//! frame[start..start + 5].copy_from_slice(b"hello");
//! assert_eq!(left.prepend(now, to, &mut frame, 5), Err(Unsent::Unresolved));
//! // What is due goes out before the next burst: requests, answers, announcements.
//! while let Some(len) = left.poll_transmit(now, &mut frame) {
//!     let _ = right.strip(now, &frame[..len]);
//! }
//! while let Some(len) = right.poll_transmit(now, &mut frame) {
//!     let _ = left.strip(now, &frame[..len]);
//! }
//! // Gossip repeats itself.
//! frame[start..start + 5].copy_from_slice(b"hello");
//! let len = left.prepend(now, to, &mut frame, 5)?;
//! assert_eq!(right.strip(now, &frame[..len]), Stripped::Payload { from: left.local(), bytes: b"hello" });
//! # Ok(())
//! # }
//! ```

mod arp;
mod bare;
mod checksum;
mod config;
mod ethernet;
mod ip;
mod ndp;
mod neighbours;
mod resolution;
mod route;
mod stats;
mod udp;

use std::num::NonZeroU16;

use popmap_core::Address;
use popmap_core::time::Instant;

pub use config::{
    Checksums, ETHERTYPE_DEFAULT, ETHERTYPE_OTHER, EncapConfig, EncapError, Framing, NEIGHBOURS_DEFAULT,
    NEIGHBOURS_MAX, UdpFraming,
};
pub use stats::{EncapStats, Ignored, NeighbourStats, Unsent};

use crate::address::{self, Mac};
use ethernet::Station;
use udp::Udp;

/// Frames payloads and takes frames apart, for one station on one segment.
#[derive(Clone, Debug)]
pub struct Encap {
    station: Station,
    framing: Wrapping,
    payload: usize,
    needs_keys: bool,
    stats: EncapStats,
}

#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a device has one, and a box would be one more miss for each frame"
)]
enum Wrapping {
    Bare { ethertype: u16 },
    Udp(Udp),
}

/// What was in a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stripped<'f> {
    /// A payload for us.
    Payload {
        /// Whom to answer. A hint, not an identity: anyone on the wire can write any address.
        from: Address,
        /// The payload, without headers and padding; several in one where [`Offload::segment`] says so.
        bytes: &'f [u8],
    },
    /// A question for our MAC address, or the answer to one of ours: [`poll_transmit`](Encap::poll_transmit) may have
    /// something, and a neighbour may be reached now.
    Resolution,
    /// Nothing for us; counted.
    Ignored(Ignored),
}

/// What is known of a received frame beside its bytes. Default: nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Offload {
    /// The control field of an 802.1Q tag that was taken off the frame: AF_PACKET's `tp_vlan_tci`, an mbuf's `vlan_tci`.
    pub tag: Option<u16>,
    /// The UDP checksum was found right by the hardware, or the packet never left this host and has none yet:
    /// AF_PACKET's `TP_STATUS_CSUM_VALID` and `TP_STATUS_CSUMNOTREADY`, an mbuf's `RTE_MBUF_F_RX_L4_CKSUM_GOOD`.
    pub checked: bool,
    /// The frame stands for several, which the sending host left in one because no hardware on the way wanted them apart
    /// (generic segmentation offload: virtual wires): the payload is theirs one behind the other, of so many bytes each
    /// but for a shorter last one.
    pub segment: Option<NonZeroU16>,
}

impl Offload {
    /// Returns the bytes of the longest packet in a payload of `len` bytes.
    const fn longest(&self, len: usize) -> usize {
        match self.segment {
            Some(segment) if (segment.get() as usize) < len => segment.get() as usize,
            _ => len,
        }
    }
}

impl Encap {
    /// Returns an encapsulation for the station with this MAC address. With UDP its first frames announce its address.
    ///
    /// # Errors
    /// Which field of the configuration is out of range, and what is accepted.
    pub fn new(mac: Mac, config: &EncapConfig) -> Result<Self, EncapError> {
        config.check(mac)?;
        let (framing, groups) = match &config.framing {
            Framing::Ethernet { ethertype } => {
                (Wrapping::Bare { ethertype: *ethertype }, [Mac::BROADCAST; 2])
            }
            Framing::Udp(udp) => {
                let udp = Udp::new(udp);
                let groups = udp.groups();
                (Wrapping::Udp(udp), groups)
            }
        };
        let station = Station { mac, vlan: config.vlan, groups };
        let needs_keys = !config.insecure;
        Ok(Self { station, framing, payload: config.payload, needs_keys, stats: EncapStats::NONE })
    }

    /// Returns the bytes of the headers: where in a frame the payload stands, the same for every frame.
    #[must_use]
    pub const fn headroom(&self) -> usize {
        let behind = match &self.framing {
            Wrapping::Bare { .. } => bare::HEADER,
            Wrapping::Udp(udp) => udp.headers_len(),
        };
        self.station.header_len() + behind
    }

    /// Whether frames are for authenticated packets only; see
    /// [`Device::needs_keys`](crate::Device::needs_keys).
    #[must_use]
    pub const fn needs_keys(&self) -> bool {
        self.needs_keys
    }

    /// Returns the bytes of the longest payload.
    #[must_use]
    pub const fn payload(&self) -> usize {
        self.payload
    }

    /// Returns the bytes of the longest frame, without its frame check sequence: the room that frames to be filled need.
    #[must_use]
    pub const fn frame_len(&self) -> usize {
        self.headroom() + self.payload
    }

    /// Returns the bytes of the longest frame behind its Ethernet header and tag: the least MTU that the interface, and
    /// every router on the way, must have.
    #[must_use]
    pub const fn mtu(&self) -> usize {
        self.frame_len() - self.station.header_len()
    }

    /// Returns the address that peers reach this station at.
    #[must_use]
    pub fn local(&self) -> Address {
        match &self.framing {
            Wrapping::Bare { .. } => address::from_mac(self.station.mac),
            Wrapping::Udp(udp) => udp.local(),
        }
    }

    /// Iterates the EtherTypes of frames that are of use here, for a device's filter.
    pub fn ethertypes(&self) -> impl Iterator<Item = u16> + '_ {
        let (first, second) = match &self.framing {
            Wrapping::Bare { ethertype } => (*ethertype, None),
            Wrapping::Udp(udp) if udp.expects(ethernet::ARP) => (ethernet::IPV4, Some(ethernet::ARP)),
            Wrapping::Udp(_) => (ethernet::IPV6, None),
        };
        [Some(first), second].into_iter().flatten()
    }

    /// Iterates the groups whose frames are of use here, broadcast among them where it is: an interface that does not
    /// pass all multicast must be told of the others.
    pub fn groups(&self) -> impl Iterator<Item = Mac> + '_ {
        let [first, second] = self.station.groups;
        [Some(first), (second != first).then_some(second)].into_iter().flatten()
    }

    /// Returns the counters.
    #[must_use]
    pub fn stats(&self) -> EncapStats {
        let neighbours = match &self.framing {
            Wrapping::Bare { .. } => NeighbourStats::NONE,
            Wrapping::Udp(udp) => udp.resolution.stats(),
        };
        EncapStats { neighbours, ..self.stats }
    }

    /// Takes a received frame apart. Whatever is in it, it never panics.
    pub fn strip<'f>(&mut self, now: Instant, frame: &'f [u8]) -> Stripped<'f> {
        self.strip_offloaded(now, frame, Offload::default())
    }

    /// The same for a frame of which the device knows more than its bytes say.
    pub fn strip_offloaded<'f>(&mut self, now: Instant, frame: &'f [u8], offload: Offload) -> Stripped<'f> {
        let stripped = match &mut self.framing {
            Wrapping::Bare { ethertype } => self
                .station
                .parse(frame, offload.tag, |found| found == *ethertype)
                .and_then(|parsed| bare::strip(&parsed, frame.len(), self.payload)),
            Wrapping::Udp(udp) => self
                .station
                .parse(frame, offload.tag, |found| udp.expects(found))
                .and_then(|parsed| udp.strip(now, &self.station, &parsed, offload, self.payload)),
        };
        match stripped {
            Ok(Stripped::Payload { .. }) => self.stats.payloads += 1,
            Ok(_) => {}
            Err(reason) => self.stats.ignored[reason.index()] += 1,
        }
        stripped.unwrap_or_else(Stripped::Ignored)
    }

    /// Writes the headers of a frame whose payload of `payload_len` bytes stands behind its
    /// [headroom](Self::headroom); returns the frame's length, which may be more than both together: short frames are
    /// padded.
    ///
    /// # Errors
    /// Why the payload cannot be sent, at all or for now. It is counted, and lost unless the caller keeps it.
    ///
    /// # Panics
    /// When `frame` is shorter than [`frame_len`](Self::frame_len).
    pub fn prepend(
        &mut self,
        now: Instant,
        to: Address,
        frame: &mut [u8],
        payload_len: usize,
    ) -> Result<usize, Unsent> {
        self.assert_room(frame);
        let framed = match &mut self.framing {
            _ if payload_len > self.payload => Err(Unsent::TooLong),
            Wrapping::Bare { ethertype } => bare::prepend(&self.station, *ethertype, to, frame, payload_len),
            Wrapping::Udp(udp) => udp.prepend(now, &self.station, to, frame, payload_len),
        };
        match framed {
            Ok(_) => self.stats.framed += 1,
            Err(reason) => self.stats.unsent[reason.index()] += 1,
        }
        framed
    }

    /// Writes the next frame that is due beside the payloads, from the start of `frame`; returns its length. To be called
    /// until there is none, after frames were stripped, after payloads could not be sent, and at
    /// [`poll_timeout`](Self::poll_timeout).
    ///
    /// # Panics
    /// When `frame` is shorter than [`frame_len`](Self::frame_len).
    pub fn poll_transmit(&mut self, now: Instant, frame: &mut [u8]) -> Option<usize> {
        self.assert_room(frame);
        match &mut self.framing {
            Wrapping::Bare { .. } => None,
            Wrapping::Udp(udp) => udp.resolution.poll_transmit(now, &self.station, frame),
        }
    }

    /// Returns when [`poll_transmit`](Self::poll_transmit) has something next; earlier at times, never later. `None`:
    /// not before something else happens.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.framing {
            Wrapping::Bare { .. } => None,
            Wrapping::Udp(udp) => udp.resolution.timeout(),
        }
    }

    /// Announces our address anew, so that others that know it at another station learn better: when the link was down,
    /// or the address moved here. Does nothing for bare Ethernet.
    pub fn announce(&mut self, now: Instant) {
        if let Wrapping::Udp(udp) = &mut self.framing {
            udp.resolution.announce(now);
        }
    }

    fn assert_room(&self, frame: &[u8]) {
        let (given, needed) = (frame.len(), self.frame_len());
        assert!(given >= needed, "a frame of {given} bytes where {needed} are needed");
    }
}

#[cfg(test)]
mod tests;
