//! Memory that is shared with the kernel: a mapping, and frames cut out of one.
//!
//! Knows addresses and lengths. Must not know what is in a frame, nor whose turn it is with one but by who holds its
//! [`Frame`].

#![allow(unsafe_code, reason = "memory that the kernel reads and writes has no safe API")]

use std::io;
use std::os::fd::AsFd;
use std::ptr::{self, NonNull};
use std::slice;

use rustix::mm::{self, MapFlags, ProtFlags};

/// A mapping of its own; gone when dropped.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory belongs to the mapping, not to a thread.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Returns `len` bytes, all zero.
    pub(super) fn new(len: usize) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a mapping at an address that the kernel chooses replaces no other.
        let start = unsafe { mm::mmap_anonymous(ptr::null_mut(), len, access, MapFlags::PRIVATE) }?;
        Self::of_address(start.cast(), len)
    }

    /// Returns `len` bytes of what `file` is, from `offset`; both sides see what the other writes.
    pub(super) fn of(file: impl AsFd, offset: u64, len: usize) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: a mapping at an address that the kernel chooses replaces no other.
        let start = unsafe { mm::mmap(ptr::null_mut(), len, access, flags, file, offset) }?;
        Self::of_address(start.cast(), len)
    }

    fn of_address(start: *mut u8, len: usize) -> io::Result<Self> {
        let start = NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }

    /// Returns where `count` values of this type stand, `offset` bytes behind the start.
    ///
    /// # Panics
    /// When they would not all be in the mapping, or not be aligned.
    pub(super) fn at<T>(&self, offset: usize, count: usize) -> NonNull<T> {
        let end = count.checked_mul(size_of::<T>()).and_then(|len| len.checked_add(offset));
        assert!(end.is_some_and(|end| end <= self.len), "{count} values at {offset} of {} bytes", self.len);
        // SAFETY: the offset is in the mapping, as was just seen.
        let at = unsafe { self.start.add(offset) }.cast::<T>();
        assert!(at.is_aligned(), "values of {} bytes at {offset}", size_of::<T>());
        at
    }

    /// Returns the address that the kernel is told.
    pub(super) fn address(&self) -> u64 {
        self.start.as_ptr().expose_provenance() as u64
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it is as long as it was made, and whatever borrowed from it is gone.
        let unmapped = unsafe { mm::munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert_eq!(unmapped, Ok(()));
    }
}

/// The frames of one socket: a number of chunks of equal length, one behind the other.
///
/// There is one [`Frame`] for each chunk that is ours. A chunk that is the kernel's has none: it was given away for a
/// number in a ring, and is made anew of the number that comes back. Whoever holds `Frames` holds its frames and no
/// others: a frame does not know whose it is.
#[derive(Debug)]
pub(super) struct Frames {
    memory: Mapping,
    chunk: u32,
}

/// A chunk that is ours. Not to be copied: whoever holds it may write to the chunk.
#[derive(Debug)]
pub(super) struct Frame(u32);

impl Frames {
    /// Returns `count` chunks of `chunk` bytes, and a frame for each.
    pub(super) fn new(count: u32, chunk: u32) -> io::Result<(Self, Vec<Frame>)> {
        let memory = Mapping::new(count as usize * chunk as usize)?;
        Ok((Self { memory, chunk }, (0..count).map(Frame).collect()))
    }

    pub(super) const fn memory(&self) -> &Mapping {
        &self.memory
    }

    /// Returns the number that stands for a chunk in a ring: its offset. The chunk is the kernel's now.
    #[allow(clippy::needless_pass_by_value, reason = "it is no longer the caller's")]
    pub(super) fn give(&self, frame: Frame) -> u64 {
        u64::from(frame.0) * u64::from(self.chunk)
    }

    /// Returns the frame of a chunk that came back, by an offset into it; `None` when there is no such chunk.
    ///
    /// # Safety
    /// The offset came from the kernel, through a ring of this socket, once: the chunk was given away, and is ours
    /// again.
    pub(super) unsafe fn take(&self, offset: u64) -> Option<Frame> {
        let number = u32::try_from(offset / u64::from(self.chunk)).ok()?;
        ((number as usize) < self.memory.len() / self.chunk as usize).then_some(Frame(number))
    }

    /// Returns `len` bytes of a chunk, from `start`; `None` where they would not all be in it.
    pub(super) fn bytes<'f>(&'f self, frame: &'f Frame, start: u32, len: u32) -> Option<&'f [u8]> {
        if start.checked_add(len)? > self.chunk {
            return None;
        }
        let at = self.memory.at::<u8>(frame.0 as usize * self.chunk as usize + start as usize, len as usize);
        // SAFETY: the bytes are in the mapping and initialised, as all of a mapping is. The chunk is ours, and nobody
        // writes to it while its only frame is borrowed.
        Some(unsafe { slice::from_raw_parts(at.as_ptr(), len as usize) })
    }

    /// Returns the first `len` bytes of a chunk, to be written.
    ///
    /// # Panics
    /// When a chunk is shorter.
    pub(super) fn bytes_mut<'f>(&'f mut self, frame: &'f mut Frame, len: usize) -> &'f mut [u8] {
        assert!(len <= self.chunk as usize, "{len} bytes of a chunk of {}", self.chunk);
        let at = self.memory.at::<u8>(frame.0 as usize * self.chunk as usize, len);
        // SAFETY: the bytes are in the mapping and initialised. The chunk is ours, and nobody else reads or writes it
        // while its only frame is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(at.as_ptr(), len) }
    }

    /// Returns where in its chunk an offset points.
    pub(super) fn within(&self, offset: u64) -> u32 {
        (offset % u64::from(self.chunk)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_do_not_overlap_and_come_back() {
        let (mut frames, mut ours) = Frames::new(4, 2_048).unwrap();
        assert_eq!((ours.len(), frames.memory().len()), (4, 8_192));
        for (n, frame) in ours.iter_mut().enumerate() {
            frames.bytes_mut(frame, 2_048).fill(n as u8 + 1);
        }
        let given: Vec<_> = ours.drain(..).map(|frame| frames.give(frame)).collect();
        assert_eq!(given, [0, 2_048, 4_096, 6_144]);
        for (n, offset) in given.into_iter().enumerate() {
            // SAFETY: what was given comes back once.
            let frame = unsafe { frames.take(offset + 300) }.unwrap();
            assert_eq!(frames.within(offset + 300), 300);
            assert_eq!(frames.bytes(&frame, 0, 2_048), Some(&[n as u8 + 1; 2_048][..]));
        }
    }

    #[test]
    fn nothing_outside_is_reached() {
        let (mut frames, mut ours) = Frames::new(2, 2_048).unwrap();
        for offset in [4_096, 1 << 40, u64::MAX] {
            // SAFETY: it stands for no chunk.
            assert!(unsafe { frames.take(offset) }.is_none());
        }
        for (start, len) in [(0, 2_049), (2_048, 1), (u32::MAX, 1), (1, u32::MAX)] {
            assert_eq!(frames.bytes(&ours[1], start, len), None);
        }
        assert_eq!(frames.bytes(&ours[1], 2_048, 0), Some(&[][..]));
        let mut last = ours.pop().unwrap();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            frames.bytes_mut(&mut last, 2_049);
        }));
        assert!(caught.is_err());
        let misaligned = std::panic::catch_unwind(|| Mapping::new(4_096).unwrap().at::<u64>(4, 1));
        assert!(misaligned.is_err());
    }
}
