//! The wire format: bytes only.
//!
//! Knows layouts, lengths and checksums. Must not know what a version, a record or a life means to the map.
//!
//! A packet is a 64-byte [`Header`], a body whose fixed part depends on the [`Kind`], and for most kinds a list
//! (counters, digests or records). [`parse`] checks a packet once; everything after it is infallible. The layouts are
//! documented field by field in [`docs::wire`](crate::docs::wire).

mod body;
mod header;
mod member;
mod record;
mod reject;
mod sparse;
mod writer;

pub use body::{
    Body, Delta, DeltaFixed, Digest, DigestFixed, HistoryAnswer, HistoryAnswerFixed, HistoryAsk,
    HistoryAskFixed, LifeNotice, LifeNoticeFixed, MapShape, Probe, ProbeFixed, Push, PushFixed, Repair,
    RepairFixed, Report, Version, VersionFixed,
};
pub(crate) use header::seal_with_members;
pub use header::{
    Envelope, HEAD, HEADER, Header, Kind, MAC, NOBODY, Sealed, VERSION, flag, numbered, seal, seal_with_key,
};
pub use member::{MEMBER, MemberEntry, Members};
pub use record::{RecordRef, Records, Shape, TOMBSTONE};
pub use reject::Reject;
pub use sparse::Sparse;
pub(crate) use writer::Writer;

/// Bytes of a version packet before the version.
pub const VERSION_FIXED: usize = HEADER + size_of::<VersionFixed>();
/// Bytes of a delta packet before its sender's version and records.
pub const DELTA_FIXED: usize = HEADER + size_of::<DeltaFixed>();
/// Bytes of a push packet before its records.
pub const PUSH_FIXED: usize = HEADER + size_of::<PushFixed>();

/// Checks a packet from the network and returns a view of it.
///
/// `bytes` may be longer than the packet (Ethernet pads short frames); what follows the stated length is ignored, and
/// so are bytes of the body behind what this minor version knows. `slots` is the number of slots of the receiver.
///
/// # Errors
/// The first reason found to reject the packet; nothing has been changed.
pub fn parse<'p>(
    bytes: &'p [u8],
    cluster: u64,
    shape: &Shape,
    slots: usize,
) -> Result<(Envelope, Body<'p>), Reject> {
    let (envelope, body, _) = parse_with_members(bytes, cluster, shape, slots)?;
    Ok((envelope, body))
}

/// The same, with the members that end the packet.
///
/// # Errors
/// The first reason found to reject the packet; nothing has been changed.
pub fn parse_with_members<'p>(
    bytes: &'p [u8],
    cluster: u64,
    shape: &Shape,
    slots: usize,
) -> Result<(Envelope, Body<'p>, Members<'p>), Reject> {
    let (header, body) = Header::parse(bytes, cluster, slots)?;
    parse_behind(header, body, shape, slots)
}

/// Checks what stands behind a header that was checked, by a checksum or by a key.
///
/// # Errors
/// The first reason found to reject the packet; nothing has been changed.
pub fn parse_behind<'p>(
    header: &Header,
    body: &'p [u8],
    shape: &Shape,
    slots: usize,
) -> Result<(Envelope, Body<'p>, Members<'p>), Reject> {
    let envelope = header.envelope();
    let (body, members) = Members::split(body, usize::from(header.members), slots)?;
    Ok((envelope, Body::parse(envelope.kind, body, shape, slots)?, members))
}

#[cfg(test)]
mod tests;
