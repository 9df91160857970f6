//! Ethernet: the header of a frame, and its 802.1Q tag.
//!
//! Knows MAC addresses, EtherTypes and one VLAN. Must not know what a frame carries.

use zerocopy::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::stats::Ignored;
use crate::address::Mac;

pub(super) const IPV4: u16 = 0x0800;
pub(super) const ARP: u16 = 0x0806;
pub(super) const IPV6: u16 = 0x86dd;
const TAGGED: u16 = 0x8100;

pub(super) const HEADER: usize = 14;
pub(super) const TAG: usize = 4;
/// Bytes of the shortest frame, without its frame check sequence.
const FRAME_MIN: usize = 60;
/// Bytes of the longest frame that still is padded: one that was padded with a tag, and with as many without.
pub(super) const PADDED_MAX: usize = FRAME_MIN + TAG;
/// The bits of a tag that are the VLAN; the others are a priority. All zero is a priority and no VLAN.
const VLAN: u16 = 0x0fff;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    destination: Mac,
    source: Mac,
    ethertype: U16,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Tag {
    control: U16,
    ethertype: U16,
}

const _: () = assert!(size_of::<Header>() == HEADER && size_of::<Tag>() == TAG);

/// A station on a segment: which frames are for it, and how its own begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Station {
    pub(super) mac: Mac,
    pub(super) vlan: Option<u16>,
    /// The groups that it is in.
    pub(super) groups: [Mac; 2],
}

/// A frame for this station.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'f> {
    pub(super) source: Mac,
    /// Sent to a group that we are in, rather than to us alone.
    pub(super) to_group: bool,
    pub(super) ethertype: u16,
    /// What is behind the header, padding too.
    pub(super) bytes: &'f [u8],
}

impl Station {
    /// Returns the bytes of a header.
    pub(super) const fn header_len(&self) -> usize {
        HEADER + if self.vlan.is_some() { TAG } else { 0 }
    }

    /// Checks a frame's header. `tag` is the control field of a tag that was taken off before.
    pub(super) fn parse<'f>(
        &self,
        frame: &'f [u8],
        tag: Option<u16>,
        expected: impl Fn(u16) -> bool,
    ) -> Result<Frame<'f>, Ignored> {
        let (header, mut bytes) = Header::ref_from_prefix(frame).map_err(|_| Ignored::Runt)?;
        let (mut control, mut ethertype) = (tag, header.ethertype.get());
        if control.is_none() && ethertype == TAGGED {
            let (tag, rest) = Tag::ref_from_prefix(bytes).map_err(|_| Ignored::Runt)?;
            (control, ethertype, bytes) = (Some(tag.control.get()), tag.ethertype.get(), rest);
        }
        let vlan = control.map(|control| control & VLAN).filter(|&vlan| vlan != 0);
        if vlan != self.vlan {
            return Err(match (vlan, self.vlan) {
                (None, _) => Ignored::Untagged,
                (_, None) => Ignored::Tagged,
                _ => Ignored::OtherVlan,
            });
        }
        // A second tag ends here: it is no EtherType that anyone expects.
        if !expected(ethertype) {
            return Err(Ignored::Foreign);
        }
        if header.source == self.mac {
            return Err(Ignored::Own);
        }
        if !header.source.is_station() {
            return Err(Ignored::SourceMac);
        }
        let to_group = self.groups.contains(&header.destination);
        if header.destination != self.mac && !to_group {
            return Err(Ignored::OtherMac);
        }
        Ok(Frame { source: header.source, to_group, ethertype, bytes })
    }

    /// Writes the header of a frame; returns what is behind it.
    pub(super) fn emit<'f>(&self, frame: &'f mut [u8], destination: Mac, ethertype: u16) -> &'f mut [u8] {
        let (head, rest) = frame.split_at_mut(HEADER);
        let header = |ethertype: u16| Header { destination, source: self.mac, ethertype: ethertype.into() };
        let Some(vlan) = self.vlan else {
            head.copy_from_slice(header(ethertype).as_bytes());
            return rest;
        };
        head.copy_from_slice(header(TAGGED).as_bytes());
        let (tag, rest) = rest.split_at_mut(TAG);
        tag.copy_from_slice(Tag { control: vlan.into(), ethertype: ethertype.into() }.as_bytes());
        rest
    }

    /// Pads a frame of `len` bytes; returns its length.
    ///
    /// With zeros and here, because what was left in the buffer is nobody's to read, and not every driver pads. A
    /// tagged frame is padded so that it is long enough when a bridge takes the tag off (802.1Q, annex G).
    pub(super) fn pad(&self, frame: &mut [u8], len: usize) -> usize {
        let least = FRAME_MIN - HEADER + self.header_len();
        if len >= least {
            return len;
        }
        frame[len..least].fill(0);
        least
    }
}
