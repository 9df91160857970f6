//! Bare Ethernet: payloads behind an experimental EtherType.
//!
//! Knows how a payload's length survives padding. Must not know what is in a payload.
//!
//! | bytes | field, most significant byte first |
//! |---|---|
//! | 0..2 | protocol subtype, 0x504d: the EtherType is shared with every other experiment |
//! | 2 | protocol version, 1 |
//! | 3 | sent as zero, ignored |
//! | 4..6 | bytes of the payload that follows |
//!
//! Subtype and version are what IEEE 802a-2003 asks of protocols under an experimental EtherType. The length is here
//! although popmap's own header states one: a device carries any bytes, and what is padding shows without a look
//! inside.

use zerocopy::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Stripped;
use super::ethernet::{Frame, PADDED_MAX, Station};
use super::stats::{Ignored, Unsent};
use crate::address::{self, Mac};
use popmap_core::Address;

pub(super) const HEADER: usize = 6;
/// "PM".
const SUBTYPE: u16 = 0x504d;
const VERSION: u8 = 1;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    subtype: U16,
    version: u8,
    reserved: u8,
    length: U16,
}

const _: () = assert!(size_of::<Header>() == HEADER);

/// Returns the payload of a frame that is `frame_len` bytes long as a whole.
pub(super) fn strip<'f>(
    frame: &Frame<'f>,
    frame_len: usize,
    payload_max: usize,
) -> Result<Stripped<'f>, Ignored> {
    let (header, rest) = Header::ref_from_prefix(frame.bytes).map_err(|_| Ignored::Truncated)?;
    if header.subtype != SUBTYPE || header.version != VERSION {
        return Err(Ignored::OtherProtocol);
    }
    let length = usize::from(header.length.get());
    if length > payload_max {
        return Err(Ignored::Oversize);
    }
    let bytes = rest.get(..length).ok_or(Ignored::Truncated)?;
    if length < rest.len() && frame_len > PADDED_MAX {
        return Err(Ignored::Trailing);
    }
    Ok(Stripped::Payload { from: address::from_mac(frame.source), bytes })
}

/// Writes the headers before `payload_len` bytes of payload; returns the frame's length.
pub(super) fn prepend(
    station: &Station,
    ethertype: u16,
    to: Address,
    frame: &mut [u8],
    payload_len: usize,
) -> Result<usize, Unsent> {
    let reached = |to: &Mac| (to.is_station() || *to == Mac::BROADCAST) && *to != station.mac;
    let to = address::to_mac(to).filter(reached).ok_or(Unsent::NoRoute)?;
    let header = Header {
        subtype: SUBTYPE.into(),
        version: VERSION,
        reserved: 0,
        length: (payload_len as u16).into(),
    };
    station.emit(frame, to, ethertype)[..HEADER].copy_from_slice(header.as_bytes());
    Ok(station.pad(frame, station.header_len() + HEADER + payload_len))
}
