//! Appends to a frame that the caller owns, behind the room for the header.

use zerocopy::{Immutable, IntoBytes};

use super::HEADER;

/// A cursor into a frame; what does not fit is refused by the caller's asking [`room`](Self::room) first.
pub(crate) struct Writer<'f> {
    frame: &'f mut [u8],
    at: usize,
}

impl<'f> Writer<'f> {
    /// Starts behind the header of `frame`, or returns `None` when not even that fits.
    pub fn new(frame: &'f mut [u8]) -> Option<Self> {
        (frame.len() >= HEADER).then_some(Self { frame, at: HEADER })
    }

    /// Returns the bytes left.
    #[inline]
    pub fn room(&self) -> usize {
        self.frame.len() - self.at
    }

    /// Returns the bytes written, header included.
    pub fn len(&self) -> usize {
        self.at
    }

    /// Appends `bytes`.
    ///
    /// # Panics
    /// When they do not fit: an error of the caller's, never of the network's.
    pub fn put(&mut self, bytes: &[u8]) {
        self.frame[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    /// Returns the next `len` bytes to be filled.
    #[inline]
    pub fn claim(&mut self, len: usize) -> &mut [u8] {
        let at = self.at;
        self.at += len;
        &mut self.frame[at..at + len]
    }

    /// Returns the bytes left but for the last `kept`: what is then [claimed](Self::claim) begins there.
    #[inline]
    pub fn left(&mut self, kept: usize) -> &mut [u8] {
        let end = self.frame.len().saturating_sub(kept).max(self.at);
        &mut self.frame[self.at..end]
    }

    /// Leaves room for a fixed part to be written last, and returns where it starts.
    pub fn reserve<T>(&mut self) -> usize {
        let at = self.at;
        self.at += size_of::<T>();
        at
    }

    /// Writes a fixed part at `at`.
    pub fn fill<T: IntoBytes + Immutable>(&mut self, at: usize, fixed: &T) {
        self.frame[at..at + size_of::<T>()].copy_from_slice(fixed.as_bytes());
    }
}
