//! The four rings of a socket: single producer, single consumer, the kernel at one end.
//!
//! Knows the two indices and what orders them. Must not know what an entry stands for.
//!
//! Indices run through all of 32 bits and are cut down to the ring's length, a power of two, where an entry is read or
//! written. Each end keeps its own index in its own memory, and a copy of the other's that is renewed only when it does
//! not suffice, so that a burst costs one miss.

#![allow(unsafe_code, reason = "the kernel is at the other end of this memory")]

use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering, fence};

use rustix::net::xdp::XdpRingOffset;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::memory::Mapping;

/// `XDP_RING_NEED_WAKEUP`: the kernel does not look at the ring by itself.
const NEED_WAKEUP: u32 = 1;

/// An entry of the two rings that carry packets: `struct xdp_desc`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Descriptor {
    /// Offset in the frames' memory.
    pub(super) offset: u64,
    pub(super) len: u32,
    pub(super) options: u32,
}

#[derive(Debug)]
struct Ring<T> {
    /// Holds what the addresses point to.
    _memory: Mapping,
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    entries: NonNull<T>,
    len: u32,
}

// SAFETY: the addresses point to memory that the ring owns; entries are plain bytes.
unsafe impl<T: FromBytes + IntoBytes> Send for Ring<T> {}

impl<T: FromBytes + IntoBytes> Ring<T> {
    fn map(socket: impl AsFd, page: u64, offsets: &XdpRingOffset, len: u32) -> io::Result<Self> {
        assert!(len.is_power_of_two(), "a ring of {len} entries");
        // Flags came with Linux 5.4, and what is loaded before needs a newer one.
        let flags = offsets.flags.ok_or(io::ErrorKind::Unsupported)?;
        let offset = |offset: u64| usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidData);
        let entries = offset(offsets.desc)?;
        let memory = Mapping::of(socket, page, entries + len as usize * size_of::<T>())?;
        Ok(Self {
            producer: memory.at(offset(offsets.producer)?, 1),
            consumer: memory.at(offset(offsets.consumer)?, 1),
            flags: memory.at(offset(flags)?, 1),
            entries: memory.at(entries, len as usize),
            _memory: memory,
            len,
        })
    }

    fn producer(&self) -> &AtomicU32 {
        // SAFETY: aligned and in the mapping, which lives as long as the ring; all sides treat it as atomic.
        unsafe { self.producer.as_ref() }
    }

    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as for the producer.
        unsafe { self.consumer.as_ref() }
    }

    fn needs_wakeup(&self) -> bool {
        // What was produced is to be seen before the kernel is seen asleep.
        fence(Ordering::SeqCst);
        // SAFETY: as for the producer.
        let flags = unsafe { self.flags.as_ref() };
        flags.load(Ordering::Relaxed) & NEED_WAKEUP != 0
    }

    fn entry(&self, index: u32) -> NonNull<T> {
        // SAFETY: cut down to the ring's length, the index is in the mapping.
        unsafe { self.entries.add((index & (self.len - 1)) as usize) }
    }
}

/// Our end of a ring that the kernel takes from: what it may fill, what it is to send.
#[derive(Debug)]
pub(super) struct Producer<T> {
    ring: Ring<T>,
    /// Entries written, of which the kernel knows those up to the last [`commit`](Self::commit).
    written: u32,
    consumed: u32,
}

impl<T: FromBytes + IntoBytes> Producer<T> {
    /// Maps the ring of `len` entries that is `page` bytes into the socket.
    pub(super) fn map(socket: impl AsFd, page: u64, offsets: &XdpRingOffset, len: u32) -> io::Result<Self> {
        let ring = Ring::map(socket, page, offsets, len)?;
        let written = ring.producer().load(Ordering::Relaxed);
        let consumed = ring.consumer().load(Ordering::Acquire);
        Ok(Self { ring, written, consumed })
    }

    /// Appends an entry.
    ///
    /// # Panics
    /// When the ring is full.
    pub(super) fn push(&mut self, entry: T) {
        if self.written.wrapping_sub(self.consumed) == self.ring.len {
            self.consumed = self.ring.consumer().load(Ordering::Acquire);
            assert_ne!(self.written.wrapping_sub(self.consumed), self.ring.len, "a ring is full");
        }
        let at = self.ring.entry(self.written);
        // SAFETY: in the mapping and aligned; the kernel has consumed what was there and does not look here before it is
        // told to.
        unsafe { at.write(entry) };
        self.written = self.written.wrapping_add(1);
    }

    /// Lets the kernel see what was appended.
    pub(super) fn commit(&mut self) {
        self.ring.producer().store(self.written, Ordering::Release);
    }

    /// Returns the entries that the kernel has not taken yet.
    pub(super) fn pending(&mut self) -> u32 {
        self.consumed = self.ring.consumer().load(Ordering::Acquire);
        self.written.wrapping_sub(self.consumed)
    }

    /// Whether the kernel wants a system call before it looks at the ring.
    pub(super) fn needs_wakeup(&self) -> bool {
        self.ring.needs_wakeup()
    }
}

/// Our end of a ring that the kernel appends to: what it received, what it has sent.
#[derive(Debug)]
pub(super) struct Consumer<T> {
    ring: Ring<T>,
    /// Entries read, of which the kernel knows those up to the last [`release`](Self::release).
    read: u32,
    produced: u32,
}

impl<T: FromBytes + IntoBytes> Consumer<T> {
    /// Maps the ring of `len` entries that is `page` bytes into the socket.
    pub(super) fn map(socket: impl AsFd, page: u64, offsets: &XdpRingOffset, len: u32) -> io::Result<Self> {
        let ring = Ring::map(socket, page, offsets, len)?;
        let read = ring.consumer().load(Ordering::Relaxed);
        let produced = ring.producer().load(Ordering::Acquire);
        Ok(Self { ring, read, produced })
    }

    fn is_empty(&mut self) -> bool {
        if self.read == self.produced {
            self.produced = self.ring.producer().load(Ordering::Acquire);
        }
        self.read == self.produced
    }

    /// Reads the next entry.
    pub(super) fn pop(&mut self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        let at = self.ring.entry(self.read);
        // SAFETY: in the mapping and aligned; the kernel has written it, and does not touch it before it is told to. Any
        // bytes are an entry.
        let entry = unsafe { at.read() };
        self.read = self.read.wrapping_add(1);
        Some(entry)
    }

    /// Lets the kernel use the places of what was read.
    pub(super) fn release(&mut self) {
        self.ring.consumer().store(self.read, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
