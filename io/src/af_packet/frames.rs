//! What is in a slot of the ring: frames, and what the kernel says of each.
//!
//! Knows the layouts of `TPACKET_V2` and `TPACKET_V3`, and the header of virtio that tells of several packets in one
//! frame. Must not know whose a slot is. Whatever is in one, nothing beyond it is read.

use std::mem;
use std::num::NonZeroU16;

use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::encap::Offload;

/// Bytes of the header of virtio: in a ring before each frame, and before each that is sent or read.
pub(super) const VIRTIO: usize = 10;
/// Bytes that the kernel may need in a slot before a frame with a header of `header` bytes behind Ethernet: its own
/// header, an address (`struct sockaddr_ll`), virtio's header, and alignment of what is behind the Ethernet header.
pub(super) const BEFORE: usize = 48 + 20 + VIRTIO + 16 + 16;
/// What the kernel calls several UDP datagrams in one (`VIRTIO_NET_HDR_GSO_UDP_L4`).
const SEVERAL_UDP: u8 = 5;
/// The tag of 802.1Q; that of 802.1ad is no part of any framing here.
const TAGGED: u16 = 0x8100;

/// A received frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Received<'r> {
    pub(super) bytes: &'r [u8],
    pub(super) offload: Offload,
    /// The slot was too short for it, and all of it waits at the socket.
    pub(super) is_elsewhere: bool,
    /// Frames were lost before it, and not yet taken note of.
    pub(super) is_behind_lost: bool,
}

/// `struct tpacket2_hdr`.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct FrameHeader {
    status: u32,
    len: u32,
    captured: u32,
    frame_at: u16,
    network_at: u16,
    seconds: u32,
    nanoseconds: u32,
    tag: u16,
    tag_type: u16,
    padding: [u8; 4],
}

/// `struct tpacket_block_desc` as far as it is of use.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct BlockHeader {
    version: u32,
    private_at: u32,
    status: u32,
    packets: u32,
    first_at: u32,
    len: u32,
}

/// `struct tpacket3_hdr`.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct PacketHeader {
    /// From this header to the next.
    next: u32,
    seconds: u32,
    nanoseconds: u32,
    captured: u32,
    len: u32,
    status: u32,
    frame_at: u16,
    network_at: u16,
    flow: u32,
    tag: u32,
    tag_type: u16,
    padding: [u8; 10],
}

const _: () = {
    assert!(size_of::<FrameHeader>() == size_of::<libc::tpacket2_hdr>());
    assert!(size_of::<PacketHeader>() == size_of::<libc::tpacket3_hdr>());
    assert!(size_of::<BlockHeader>() <= size_of::<libc::tpacket_block_desc>());
};

/// Returns the frame in a slot of single frames; `None` when what the kernel says of it cannot be.
pub(super) fn single(slot: &[u8]) -> Option<Received<'_>> {
    let (header, _) = FrameHeader::read_from_prefix(slot).ok()?;
    received(slot, header.frame_at, header.captured, header.status, (header.tag, header.tag_type))
}

/// A place in a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    at: usize,
    left: u32,
    is_behind_lost: bool,
}

impl Place {
    const END: Self = Self { at: 0, left: 0, is_behind_lost: false };

    /// Returns the beginning of a block.
    pub(super) fn first(block: &[u8]) -> Self {
        let Ok((header, _)) = BlockHeader::read_from_prefix(block) else { return Self::END };
        // Of a block the kernel says so once.
        let is_behind_lost = header.status & libc::TP_STATUS_LOSING != 0;
        Self { at: header.first_at as usize, left: header.packets, is_behind_lost }
    }

    /// Whether nothing is left.
    pub(super) fn is_end(self) -> bool {
        self.left == 0
    }

    /// Returns the frame at this place, and goes on to the next. `None` at the end, and when what the kernel says of it
    /// cannot be: then the rest of the block is lost too.
    pub(super) fn next<'r>(&mut self, block: &'r [u8]) -> Option<Received<'r>> {
        let here = mem::replace(self, Self::END);
        let left = here.left.checked_sub(1)?;
        let packet = block.get(here.at..)?;
        let (header, _) = PacketHeader::read_from_prefix(packet).ok()?;
        if header.next != 0 {
            *self = Self { at: here.at.saturating_add(header.next as usize), left, is_behind_lost: false };
        }
        let tag = (header.tag as u16, header.tag_type);
        let received = received(packet, header.frame_at, header.captured, header.status, tag)?;
        Some(Received { is_behind_lost: here.is_behind_lost, ..received })
    }
}

fn received(slot: &[u8], at: u16, len: u32, status: u32, tag: (u16, u16)) -> Option<Received<'_>> {
    let at = usize::from(at);
    let bytes = slot.get(at..)?.get(..len as usize)?;
    let virtio = slot.get(at.checked_sub(VIRTIO)?..at)?;
    let is = |flag| status & flag != 0;
    // A kernel that does not tell the type has the only one that it knows.
    let is_tagged =
        is(libc::TP_STATUS_VLAN_VALID) && (!is(libc::TP_STATUS_VLAN_TPID_VALID) || tag.1 == TAGGED);
    let offload = Offload {
        tag: is_tagged.then_some(tag.0),
        checked: is(libc::TP_STATUS_CSUMNOTREADY | libc::TP_STATUS_CSUM_VALID),
        segment: segment(virtio),
    };
    Some(Received {
        bytes,
        offload,
        is_elsewhere: is(libc::TP_STATUS_COPY),
        is_behind_lost: is(libc::TP_STATUS_LOSING),
    })
}

/// Returns the bytes of each of several packets, where virtio's header says that there are several.
pub(super) fn segment(virtio: &[u8]) -> Option<NonZeroU16> {
    let [_flags, kind, _, _, low, high, ..] = *virtio else { return None };
    (kind == SEVERAL_UDP).then(|| NonZeroU16::new(u16::from_ne_bytes([low, high]))).flatten()
}

#[cfg(test)]
mod tests {
    use popmap_core::rng::Rng;

    use super::*;

    const PACKET: usize = size_of::<PacketHeader>();
    const USER: u32 = libc::TP_STATUS_USER;

    fn put(slot: &mut [u8], at: usize, bytes: &[u8]) {
        slot[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// A slot with a frame of `len` bytes at 80, as `TPACKET_V2` has it.
    fn slot(len: u32, status: u32, tag: (u16, u16)) -> Vec<u8> {
        let mut slot = vec![0; 256];
        for (at, word) in [status, len, len].into_iter().enumerate() {
            put(&mut slot, at * 4, &word.to_ne_bytes());
        }
        put(&mut slot, 12, &80u16.to_ne_bytes());
        put(&mut slot, 24, &tag.0.to_ne_bytes());
        put(&mut slot, 26, &tag.1.to_ne_bytes());
        slot[80..].fill(7);
        slot
    }

    /// A block of three frames of 1, 2 and 3 bytes, as `TPACKET_V3` has it.
    fn block() -> Vec<u8> {
        let mut block = vec![0; 1_024];
        put(&mut block, 8, &(USER | libc::TP_STATUS_LOSING).to_ne_bytes());
        put(&mut block, 12, &3u32.to_ne_bytes());
        put(&mut block, 16, &48u32.to_ne_bytes());
        for n in 0..3 {
            let (at, len) = (48 + n * 160, n as u32 + 1);
            let next: u32 = if n < 2 { 160 } else { 0 };
            for (word, value) in [(0, next), (3, len), (4, len), (5, libc::TP_STATUS_CSUM_VALID)] {
                put(&mut block, at + word * 4, &value.to_ne_bytes());
            }
            put(&mut block, at + 24, &100u16.to_ne_bytes());
            block[at + 100..at + 103].fill(n as u8);
        }
        block
    }

    #[test]
    fn a_frame_is_where_the_kernel_says() {
        let slot = slot(60, USER, (0, 0));
        let expected = Received {
            bytes: &[7; 60],
            offload: Offload::default(),
            is_elsewhere: false,
            is_behind_lost: false,
        };
        assert_eq!(single(&slot), Some(expected));
    }

    #[test]
    fn what_the_kernel_knows_is_passed_on() {
        use libc::{
            TP_STATUS_COPY, TP_STATUS_CSUM_VALID, TP_STATUS_CSUMNOTREADY, TP_STATUS_LOSING,
            TP_STATUS_VLAN_TPID_VALID, TP_STATUS_VLAN_VALID,
        };
        let with =
            |status, tag| single(&slot(60, USER | status, tag)).map(|received| received.offload).unwrap();
        assert!(with(TP_STATUS_CSUM_VALID, (0, 0)).checked && with(TP_STATUS_CSUMNOTREADY, (0, 0)).checked);
        assert_eq!(with(0, (7, TAGGED)).tag, None);
        assert_eq!(with(TP_STATUS_VLAN_VALID, (7, 0)).tag, Some(7));
        let both = TP_STATUS_VLAN_VALID | TP_STATUS_VLAN_TPID_VALID;
        assert_eq!((with(both, (0xe007, TAGGED)).tag, with(both, (7, 0x88a8)).tag), (Some(0xe007), None));
        let slot = slot(60, USER | TP_STATUS_COPY | TP_STATUS_LOSING, (0, 0));
        assert!(single(&slot).is_some_and(|received| received.is_elsewhere && received.is_behind_lost));
    }

    #[test]
    fn only_series_of_udp_are_several_packets() {
        let with = |kind: u8, size: u16| {
            let mut slot = slot(60, USER, (0, 0));
            slot[71] = kind;
            put(&mut slot, 74, &size.to_ne_bytes());
            single(&slot).unwrap().offload.segment.map(NonZeroU16::get)
        };
        assert_eq!((with(5, 1_400), with(5, 0)), (Some(1_400), None));
        // None, TCP over either, UDP fragments.
        for kind in [0, 1, 4, 3] {
            assert_eq!(with(kind, 1_400), None, "{kind}");
        }
    }

    #[test]
    fn a_block_is_walked_to_its_end() {
        let block = block();
        let mut place = Place::first(&block);
        for n in 0..3 {
            assert!(!place.is_end());
            let received = place.next(&block).unwrap();
            assert_eq!(received.bytes, vec![n; usize::from(n) + 1]);
            assert_eq!((received.is_behind_lost, received.offload.checked), (n == 0, true));
        }
        assert!(place.is_end() && place.next(&block).is_none());
        // One that says it has more than it links to, or links to more than it says.
        let mut more = block.clone();
        put(&mut more, 12, &9u32.to_ne_bytes());
        let mut fewer = block;
        put(&mut fewer, 12, &2u32.to_ne_bytes());
        for (block, expected) in [(more, 3), (fewer, 2)] {
            let mut place = Place::first(&block);
            assert_eq!(std::iter::from_fn(|| place.next(&block)).count(), expected);
        }
    }

    /// No kernel writes this.
    #[test]
    fn nonsense_ends_in_nothing_and_in_time() {
        let mut rng = Rng::new(1);
        let (slot, block) = (slot(60, USER, (0, 0)), block());
        for _ in 0..200_000 {
            let (mut slot, mut block) = (slot.clone(), block.clone());
            for (bytes, most) in [(&mut slot, 32), (&mut block, 48 + 2 * 160 + PACKET as u64)] {
                for _ in 0..=rng.below(3) {
                    bytes[rng.below(most) as usize] = rng.next_u64() as u8;
                }
                bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize);
            }
            let _ = single(&slot);
            // Each step either goes forward or is the last.
            let mut place = Place::first(&block);
            let steps = std::iter::from_fn(|| place.next(&block)).count();
            assert!(steps <= block.len());
        }
    }
}
