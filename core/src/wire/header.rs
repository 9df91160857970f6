//! The header that every packet starts with.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Reject;
use crate::arch::crc32;
use crate::id::{Life, Slot};

/// The wire version: major in the high half, minor in the low. A receiver takes any minor of its own major.
pub const VERSION: u8 = 0x10;
/// Bytes of the header.
pub const HEADER: usize = 64;
/// Bytes of the room for a message authentication code.
pub const MAC: usize = 16;
/// Bytes before the message authentication code.
pub const HEAD: usize = HEADER - MAC;
/// In the low byte of an authenticated packet's number, where no receiver is known.
pub const NOBODY: u8 = 0xff;

/// Bits of [`Header::flags`].
pub mod flag {
    /// The sender has committed from every peer that it holds live, or has long been active (rule R4.2).
    pub const CAUGHT_UP: u8 = 1;
    /// The sender may not write: it is still starting, or it is fenced.
    pub const SILENT: u8 = 2;
    /// The sender started writing before it had met every configured server: its deadline expired, or one was held
    /// dead (rule R4.2).
    pub const UNMET: u8 = 4;
    pub(super) const KNOWN: u8 = CAUGHT_UP | SILENT | UNMET;
}

/// What a packet is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The sender's version vector; a request for what it lacks.
    Version = 1,
    /// A stretch of the sender's change log.
    Delta = 2,
    /// An author's own fresh writes, unasked.
    Push = 3,
    /// Digests of buckets: a repair question.
    Digest = 4,
    /// All live records of a range of the key space: a repair answer.
    Repair = 5,
    /// Records that are absent at the sender though its version covers them, for their owner.
    Report = 6,
    /// Asks for the records of the asker's slot from before its present life.
    HistoryAsk = 7,
    /// Records of one slot's earlier lives, stamps unchanged.
    HistoryAnswer = 8,
    /// Tells a server of another life that was heard in its slot.
    LifeNotice = 9,
    /// Asks for an ack: the sender probes the receiver.
    Ping = 10,
    /// Asks the receiver to ping another server.
    PingReq = 11,
    /// Answers a ping.
    Ack = 12,
    /// Carries members and nothing else.
    Gossip = 13,
}

impl Kind {
    /// Every kind, in ascending order of its number.
    pub const ALL: [Self; 13] = [
        Self::Version,
        Self::Delta,
        Self::Push,
        Self::Digest,
        Self::Repair,
        Self::Report,
        Self::HistoryAsk,
        Self::HistoryAnswer,
        Self::LifeNotice,
        Self::Ping,
        Self::PingReq,
        Self::Ack,
        Self::Gossip,
    ];

    /// Returns the kind's name for metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Delta => "delta",
            Self::Push => "push",
            Self::Digest => "digest",
            Self::Repair => "repair",
            Self::Report => "report",
            Self::HistoryAsk => "history_ask",
            Self::HistoryAnswer => "history_answer",
            Self::LifeNotice => "life_notice",
            Self::Ping => "ping",
            Self::PingReq => "ping_req",
            Self::Ack => "ack",
            Self::Gossip => "gossip",
        }
    }

    /// Returns the kind's place in [`Kind::ALL`].
    pub const fn index(self) -> usize {
        self as usize - 1
    }

    /// Whether a packet of this kind must name the life of the server that it was computed for (rule R4.4).
    pub const fn is_bound(self) -> bool {
        !matches!(self, Self::Version | Self::Ping | Self::PingReq | Self::Gossip)
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte).checked_sub(1)?).copied()
    }
}

/// The first 64 bytes of every packet, little-endian, no padding.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Header {
    /// Wire version: major in the high 4 bits, minor in the low.
    pub version: u8,
    /// The [`Kind`].
    pub kind: u8,
    /// The sender's slot.
    pub slot: u8,
    /// Bits of [`flag`]; unknown ones are ignored.
    pub flags: u8,
    /// CRC-32 (IEEE, reflected) of the packet without these four bytes; zero when a key is configured.
    pub crc: U32,
    /// The cluster: packets of another are rejected.
    pub cluster: U64,
    /// The sender's generation.
    pub generation: U32,
    /// Bytes of the packet, this header included.
    pub length: U16,
    /// The key that authenticates the packet; zero for none.
    pub key_id: u8,
    /// Member entries that end the packet.
    pub members: u8,
    /// The sender's life id, never zero.
    pub life: U64,
    /// The life id of the server that the packet was computed for; zero where it does not matter.
    pub to_life: U64,
    /// Rises by one with each packet of a life; with a key it is [`numbered`] for each receiver.
    pub number: U64,
    /// Message authentication code; zero when `key_id` is.
    pub mac: [u8; MAC],
}

const _: () = assert!(size_of::<Header>() == HEADER && align_of::<Header>() == 1);

/// What a header says once it has been checked, or is to say before it is sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Envelope {
    /// What the packet is for.
    pub kind: Kind,
    /// The sender's slot.
    pub slot: Slot,
    /// Bits of [`flag`].
    pub flags: u8,
    /// The sender's life.
    pub life: Life,
    /// The life id that the packet was computed for; zero for any.
    pub to_life: u64,
}

/// Returns the number of an authenticated packet: the `count`-th, below 2^56, that its sender's life has for `receiver`, or
/// for a server that it does not know yet.
pub const fn numbered(count: u64, receiver: Option<Slot>) -> u64 {
    let receiver = match receiver {
        Some(slot) => slot.get(),
        None => NOBODY,
    };
    count << 8 | receiver as u64
}

/// A packet with a message authentication code that has still to be checked. No more is known of it than that what stands
/// here is in range.
#[derive(Clone, Copy, Debug)]
pub struct Sealed<'p> {
    /// The header.
    pub header: &'p Header,
    /// What is authenticated of the header: all but the code.
    pub head: &'p [u8; HEAD],
    /// What stands behind the header, perhaps encrypted.
    pub body: &'p [u8],
}

impl<'p> Sealed<'p> {
    /// Checks a packet's header as far as that takes no key. Whether there is a key of that id is for the caller to see.
    ///
    /// # Errors
    /// The first reason found to reject the packet; [`Reject::Unauthenticated`] when it names no key.
    pub fn parse(bytes: &'p [u8], cluster: u64, slots: usize) -> Result<Self, Reject> {
        let (header, packet) = Header::outline(bytes, cluster)?;
        if header.key_id == 0 {
            return Err(Reject::Unauthenticated);
        }
        header.check_sender(slots)?;
        let (head, _) = packet.split_first_chunk().ok_or(Reject::Truncated)?;
        Ok(Self { header, head, body: &packet[HEADER..] })
    }

    /// Returns what the header says.
    pub fn envelope(&self) -> Envelope {
        self.header.envelope()
    }
}

impl Header {
    /// Checks a packet's header and checksum; returns it with the body that it states.
    #[inline(always)]
    pub(super) fn parse(bytes: &[u8], cluster: u64, slots: usize) -> Result<(&Self, &[u8]), Reject> {
        let (header, packet) = Self::outline(bytes, cluster)?;
        if header.key_id != 0 {
            return Err(Reject::KeyId);
        }
        if header.crc.get() != checksum(packet) {
            return Err(Reject::Checksum);
        }
        header.check_sender(slots)?;
        Ok((header, &packet[HEADER..]))
    }

    /// Checks what says whether the rest is to be looked at; returns the header and the packet that it states.
    #[inline(always)]
    fn outline(bytes: &[u8], cluster: u64) -> Result<(&Self, &[u8]), Reject> {
        let (header, _) = Self::ref_from_prefix(bytes).map_err(|_| Reject::Truncated)?;
        if header.version >> 4 != VERSION >> 4 {
            return Err(Reject::WireVersion);
        }
        Kind::from_byte(header.kind).ok_or(Reject::Kind)?;
        if header.cluster.get() != cluster {
            return Err(Reject::Cluster);
        }
        let length = usize::from(header.length.get());
        if length < HEADER {
            return Err(Reject::Length);
        }
        let packet = bytes.get(..length).ok_or(Reject::Truncated)?;
        Ok((header, packet))
    }

    fn check_sender(&self, slots: usize) -> Result<(), Reject> {
        if usize::from(self.slot) >= slots || self.life.get() == 0 {
            return Err(Reject::Header);
        }
        Ok(())
    }

    /// Returns what a checked header says.
    #[inline]
    pub(super) fn envelope(&self) -> Envelope {
        Envelope {
            kind: Kind::from_byte(self.kind).unwrap_or(Kind::Version),
            slot: Slot::at(usize::from(self.slot)),
            flags: self.flags & flag::KNOWN,
            life: Life { generation: self.generation.get(), id: self.life.get() },
            to_life: self.to_life.get(),
        }
    }
}

/// Writes the header of a packet whose body stands behind it in `packet`, and its checksum.
///
/// # Panics
/// When `packet` is shorter than a header or longer than 65,535 bytes.
pub fn seal(packet: &mut [u8], envelope: &Envelope, cluster: u64, number: u64) {
    seal_with_members(packet, envelope, cluster, number, 0);
}

/// The same for a packet that ends with `members` member entries.
///
/// # Panics
/// When `packet` is shorter than a header or longer than 65,535 bytes.
pub(crate) fn seal_with_members(
    packet: &mut [u8],
    envelope: &Envelope,
    cluster: u64,
    number: u64,
    members: u8,
) {
    write(packet, envelope, cluster, number, members, 0);
    let crc = checksum(packet);
    packet[4..8].copy_from_slice(&crc.to_le_bytes());
}

/// Writes the header of a packet that ends with `members` member entries and is authenticated by the key of this id, and
/// the code that `tag` makes of the header up to there and of the body, which it may encrypt.
///
/// # Panics
/// When `packet` is shorter than a header or longer than 65,535 bytes.
pub fn seal_with_key(
    packet: &mut [u8],
    envelope: &Envelope,
    cluster: u64,
    number: u64,
    members: u8,
    key_id: u8,
    tag: impl FnOnce(&[u8; HEAD], &mut [u8]) -> [u8; MAC],
) {
    write(packet, envelope, cluster, number, members, key_id);
    let (header, body) = packet.split_at_mut(HEADER);
    let (head, mac) = header.split_at_mut(HEAD);
    let head: &[u8; HEAD] = (&*head).try_into().expect("a header has that many bytes");
    mac.copy_from_slice(&tag(head, body));
}

fn write(packet: &mut [u8], envelope: &Envelope, cluster: u64, number: u64, members: u8, key_id: u8) {
    let header = Header {
        version: VERSION,
        kind: envelope.kind as u8,
        slot: envelope.slot.get(),
        flags: envelope.flags,
        crc: U32::ZERO,
        cluster: cluster.into(),
        generation: envelope.life.generation.into(),
        length: U16::new(u16::try_from(packet.len()).expect("a packet's length is 16 bits on the wire")),
        key_id,
        members,
        life: envelope.life.id.into(),
        to_life: envelope.to_life.into(),
        number: number.into(),
        mac: [0; MAC],
    };
    packet[..HEADER].copy_from_slice(header.as_bytes());
}

/// CRC-32 of a packet without its own field, bytes 4 to 8.
fn checksum(packet: &[u8]) -> u32 {
    let words = u64::from_le_bytes(*packet.first_chunk().expect("a packet has a header"));
    // A CRC goes on with its inverse added to the next four bytes. With this one that leaves of the field the inverse of
    // the first four bytes, which is what a packet without the field begins with.
    crc32::continued(words as u32 ^ (words >> 32) as u32, &packet[4..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_leaves_out_its_field_at_every_length() {
        let mut rng = crate::rng::Rng::new(1);
        let packet: Vec<u8> = (0..1_500).map(|_| rng.next_u64() as u8).collect();
        for length in HEADER..=packet.len() {
            let packet = &packet[..length];
            let mut expected = crc32fast::Hasher::new();
            expected.update(&packet[..4]);
            expected.update(&packet[8..]);
            assert_eq!(checksum(packet), expected.finalize(), "{length}");
        }
    }
}
