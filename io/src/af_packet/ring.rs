//! The ring: memory that the kernel writes received frames into and we read them from.
//!
//! Knows slots, and whose each of them is. Must not know what is in one.
//!
//! A slot has a word that says whose it is. The kernel gives a slot to us when it is filled, and we give it back; in
//! between it belongs to one of the two alone. That is what makes a slot of ours an ordinary slice.

#![allow(unsafe_code, reason = "memory that the kernel maps")]

use std::io;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{c_int, c_uint};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use socket2::Socket;

use super::sys;

/// Bytes of the pieces that the kernel allocates for a ring of single frames: the largest page of any machine.
const PIECE: usize = 1 << 16;
/// Bytes at which a frame's slot must start.
const ALIGNMENT: usize = 16;

/// What a slot holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Slots {
    /// One frame (`TPACKET_V2`).
    Frames,
    /// A block of frames, handed over when it is full or so many milliseconds after its first frame (`TPACKET_V3`).
    Blocks {
        /// Milliseconds.
        timeout_ms: u32,
    },
}

/// A ring of received frames.
#[derive(Debug)]
pub(super) struct Ring {
    memory: NonNull<u8>,
    slot_len: usize,
    count: usize,
    /// Where in a slot the word is that says whose it is.
    owner_at: usize,
}

// SAFETY: the mapping belongs to this value alone, and the kernel does not care which thread reads it.
unsafe impl Send for Ring {}

impl Ring {
    /// Has the kernel allocate a ring for a socket that has none, and maps it. `slot_len` is a power of two; it has at
    /// least as many slots as fit into `len` bytes.
    pub(super) fn new(socket: &Socket, slots: Slots, slot_len: usize, len: usize) -> io::Result<Self> {
        assert!(slot_len.is_power_of_two() && slot_len >= ALIGNMENT, "a slot of {slot_len} bytes");
        // Slots lie one behind the other only where they fill their pieces.
        let piece = slot_len.max(PIECE);
        let pieces = len.div_ceil(piece).max(1);
        let count = pieces * (piece / slot_len);
        let number = |n: usize| c_uint::try_from(n).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
        let (block_size, block_nr) = (number(piece)?, number(pieces)?);
        let (frame_size, frame_nr) = (number(slot_len)?, number(count)?);
        let (version, owner_at) = match slots {
            Slots::Frames => (libc::tpacket_versions::TPACKET_V2, 0),
            Slots::Blocks { .. } => (libc::tpacket_versions::TPACKET_V3, 8),
        };
        sys::set(socket, libc::PACKET_VERSION, &(version as c_int))?;
        match slots {
            Slots::Frames => {
                let request = libc::tpacket_req {
                    tp_block_size: block_size,
                    tp_block_nr: block_nr,
                    tp_frame_size: frame_size,
                    tp_frame_nr: frame_nr,
                };
                sys::set(socket, libc::PACKET_RX_RING, &request)?;
            }
            Slots::Blocks { timeout_ms } => {
                let request = libc::tpacket_req3 {
                    tp_block_size: block_size,
                    tp_block_nr: block_nr,
                    // Frames lie in a block as they come; this is looked at and not used.
                    tp_frame_size: frame_size,
                    tp_frame_nr: frame_nr,
                    tp_retire_blk_tov: timeout_ms,
                    tp_sizeof_priv: 0,
                    tp_feature_req_word: 0,
                };
                sys::set(socket, libc::PACKET_RX_RING, &request)?;
            }
        }
        let (access, shared) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: at no particular place, so over nothing that is there; nobody else knows of the mapping, and it stays
        // until this value is dropped, also when the socket is closed before.
        let memory = unsafe { mmap(ptr::null_mut(), pieces * piece, access, shared, socket, 0) }?;
        let memory = NonNull::new(memory.cast()).expect("mmap succeeded");
        Ok(Self { memory, slot_len, count, owner_at })
    }

    /// Returns how many slots there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    fn owner(&self, slot: usize) -> &AtomicU32 {
        assert!(slot < self.count, "slot {slot} of {}", self.count);
        // SAFETY: the slot is in the mapping, and so is its word: `owner_at` is 0 or 8, and a slot has 16 bytes and
        // more.
        let owner = unsafe { self.memory.add(slot * self.slot_len + self.owner_at) };
        // SAFETY: slots begin at multiples of 16 in a page, so the word is aligned; it is valid as long as `self`. The
        // kernel reads and writes it as one word. The slices of `slot` cover it too while the slot is ours, but then
        // nobody writes to it: we do so in `give_back` only, and for that no slice is left.
        unsafe { AtomicU32::from_ptr(owner.as_ptr().cast()) }
    }

    /// Returns the bytes of a slot if it is ours.
    pub(super) fn slot(&self, slot: usize) -> Option<&[u8]> {
        // What the kernel wrote before it gave the slot away is seen after this.
        if self.owner(slot).load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return None;
        }
        // SAFETY: in the mapping, as `owner` has asserted.
        let start = unsafe { self.memory.add(slot * self.slot_len) };
        // SAFETY: the bytes are in the mapping, which is valid as long as `self` and was all zero before the kernel
        // wrote to it. While the slot is ours the kernel does not write to it, and `give_back` wants `self` alone.
        Some(unsafe { slice::from_raw_parts(start.as_ptr(), self.slot_len) })
    }

    /// Gives a slot of ours to the kernel, to be filled again.
    pub(super) fn give_back(&mut self, slot: usize) {
        let owner = self.owner(slot);
        debug_assert!(owner.load(Ordering::Relaxed) & libc::TP_STATUS_USER != 0, "slot {slot} is not ours");
        // What we read of it was read before.
        owner.store(libc::TP_STATUS_KERNEL, Ordering::Release);
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`, as a whole, and no slice of it outlives `self`.
        let unmapped = unsafe { munmap(self.memory.as_ptr().cast(), self.count * self.slot_len) };
        debug_assert!(unmapped.is_ok(), "the mapping was ours: {unmapped:?}");
    }
}
