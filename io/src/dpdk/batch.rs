//! The batch: mbufs in our hands, to read frames from or to fill.
//!
//! Knows where in an mbuf a frame stands. Must not know what is in the frame.

use std::fmt;
use std::ptr;
use std::slice;

use popmap_dpdk_sys as sys;

use super::eal::Eal;
use super::pool::Pool;
use crate::device::BURST;
use crate::encap::Offload;

/// Up to [`BURST`] mbufs, in order, that belong to nobody else; freed when dropped.
pub struct Batch {
    /// Those from `first` to before `end` are ours: allocated, not freed, in no other batch and no port.
    mbufs: [*mut sys::rte_mbuf; BURST],
    first: usize,
    end: usize,
    /// Keeps the pools that they are from.
    eal: Eal,
}

// SAFETY: the mbufs belong to this batch alone, and no thread to them: DPDK frees them from any.
unsafe impl Send for Batch {}

impl Batch {
    /// Returns an empty batch.
    #[must_use]
    pub fn new(eal: &Eal) -> Self {
        Self { mbufs: [ptr::null_mut(); BURST], first: 0, end: 0, eal: eal.clone() }
    }

    /// Returns the number of mbufs.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.end - self.first
    }

    /// Whether there is no mbuf.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.first == self.end
    }

    /// Whether there is no place for another mbuf behind the last one.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.end == BURST
    }

    /// Takes blank mbufs from a pool until the batch is full. Returns whether there were as many: else none was taken.
    ///
    /// The pool's EAL must be this batch's, and a process has but one.
    pub fn fill_up(&mut self, pool: &Pool) -> bool {
        self.compact();
        let free = &mut self.mbufs[self.end..];
        // SAFETY: the pool lives as long as EAL, which is held; `free` has as many places as are asked for.
        let failed = unsafe { sys::popmap_alloc_bulk(pool.raw(), free.as_mut_ptr(), free.len() as u32) };
        if failed == 0 {
            self.end = BURST;
        }
        failed == 0
    }

    /// Frees all mbufs.
    pub fn clear(&mut self) {
        let (first, len) = (self.first, self.len());
        (self.first, self.end) = (0, 0);
        if len > 0 {
            let ours = &mut self.mbufs[first..first + len];
            // SAFETY: these are ours, and we have just given them up. Their pools live as long as EAL, which is held.
            unsafe { sys::rte_pktmbuf_free_bulk(ours.as_mut_ptr(), len as u32) };
        }
    }

    /// Moves the last mbuf behind the last one of `to`. Returns whether there was one, and a place for it.
    pub fn move_last(&mut self, to: &mut Self) -> bool {
        if self.is_empty() || to.is_full() {
            return false;
        }
        self.end -= 1;
        to.mbufs[to.end] = self.mbufs[self.end];
        to.end += 1;
        true
    }

    /// Iterates the frames, each with what the device knows of it beside its bytes. One that is spread over several
    /// mbufs, as none should be but of a `net_memif` with small buffers, shows its first part.
    pub fn frames(&self) -> impl ExactSizeIterator<Item = (&[u8], Offload)> {
        self.mbufs[self.first..self.end].iter().map(|&raw| {
            // SAFETY: the mbuf is ours, and only changed through `&mut self`.
            let mbuf = unsafe { &*raw };
            (frame_of(mbuf), offload_of(mbuf))
        })
    }

    /// Returns the first `len` bytes of the last mbuf's frame, to be written to; `None` when there is no mbuf, it does
    /// not hold as many, or its frame is spread over several.
    pub fn last_mut(&mut self, len: usize) -> Option<&mut [u8]> {
        let raw = self.last()?;
        // SAFETY: the mbuf is ours, and this reference ends before another is made.
        let mbuf = unsafe { &*raw };
        if room_of(mbuf).is_none_or(|room| len > room) {
            return None;
        }
        // SAFETY: the buffer has `buf_len` bytes, and there is room in it behind `data_off`.
        let data = unsafe { mbuf.buf_addr.cast::<u8>().add(usize::from(mbuf.data_off)) };
        // SAFETY: `len` bytes from there are in the buffer, which is nobody else's while the mbuf is ours. They are
        // initialised: pools are made in memory that the kernel zeroed.
        Some(unsafe { slice::from_raw_parts_mut(data, len) })
    }

    /// Says how long the last mbuf's frame is.
    ///
    /// # Panics
    /// When there is no mbuf, it does not hold as many bytes, or its frame is spread over several.
    pub fn set_last_len(&mut self, len: usize) {
        let last = self.last().expect("no mbuf for a frame");
        // SAFETY: the mbuf is ours, and there is no other reference to it.
        let mbuf = unsafe { &mut *last };
        // Drivers send what is chained to it, too, and some into room for `pkt_len`.
        let room = room_of(mbuf).expect("a frame spread over several mbufs");
        assert!(len <= room, "a frame of {len} bytes in an mbuf for {room}");
        // Not longer than the buffer, whose length is such a number.
        mbuf.data_len = len as u16;
        mbuf.pkt_len = len as u32;
    }

    fn last(&self) -> Option<*mut sys::rte_mbuf> {
        self.mbufs[self.first..self.end].last().copied()
    }

    /// Moves the mbufs to the front, so that all free places are behind them.
    fn compact(&mut self) {
        if self.first > 0 {
            self.mbufs.copy_within(self.first..self.end, 0);
            (self.first, self.end) = (0, self.len());
        }
    }

    /// Has `receive` write mbufs to the free places; it returns how many it wrote, and they are ours.
    pub(super) fn receive(&mut self, receive: impl FnOnce(*mut *mut sys::rte_mbuf, u16) -> u16) -> usize {
        self.compact();
        let free = &mut self.mbufs[self.end..];
        let received = usize::from(receive(free.as_mut_ptr(), free.len() as u16));
        debug_assert!(received <= free.len());
        self.end += received;
        received
    }

    /// Has `send` take mbufs from the front; it returns how many it took, and they are ours no longer.
    pub(super) fn send(&mut self, send: impl FnOnce(*mut *mut sys::rte_mbuf, u16) -> u16) -> usize {
        let ours = &mut self.mbufs[self.first..self.end];
        let sent = usize::from(send(ours.as_mut_ptr(), ours.len() as u16));
        debug_assert!(sent <= ours.len());
        self.first += sent;
        if self.is_empty() {
            (self.first, self.end) = (0, 0);
        }
        sent
    }
}

/// Returns the bytes from where a frame starts to the end of its buffer; `None` if it goes on in another mbuf.
fn room_of(mbuf: &sys::rte_mbuf) -> Option<usize> {
    (mbuf.nb_segs == 1).then(|| usize::from(mbuf.buf_len.saturating_sub(mbuf.data_off)))
}

/// Returns a frame, or the first part of one that is spread over several mbufs. Nothing, if its driver says that it ends
/// behind its buffer: some say what a peer told them.
fn frame_of(mbuf: &sys::rte_mbuf) -> &[u8] {
    let (start, len) = (usize::from(mbuf.data_off), usize::from(mbuf.data_len));
    if start + len > usize::from(mbuf.buf_len) {
        return &[];
    }
    // SAFETY: the buffer has `buf_len` bytes, and `start` is not behind its end.
    let data = unsafe { mbuf.buf_addr.cast::<u8>().add(start) };
    // SAFETY: `len` bytes from there are in the buffer: initialised memory that nobody writes to while the mbuf is ours
    // and not borrowed mutably.
    unsafe { slice::from_raw_parts(data, len) }
}

fn offload_of(mbuf: &sys::rte_mbuf) -> Offload {
    let flags = mbuf.ol_flags;
    Offload {
        tag: (flags & sys::POPMAP_RX_VLAN_STRIPPED != 0).then_some(mbuf.vlan_tci),
        checked: flags & sys::POPMAP_RX_L4_CKSUM_MASK == sys::POPMAP_RX_L4_CKSUM_GOOD,
        ..Offload::default()
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.clear();
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("len", &self.len()).field("eal", &self.eal).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_ends_where_its_buffer_does() {
        let mut buffer: Vec<u8> = (0..64).collect();
        let mut mbuf = sys::rte_mbuf { nb_segs: 1, ..Default::default() };
        (mbuf.buf_addr, mbuf.buf_len) = (buffer.as_mut_ptr().cast(), 64);
        let mut frame = |start, len| {
            (mbuf.data_off, mbuf.data_len) = (start, len);
            (frame_of(&mbuf).to_vec(), room_of(&mbuf))
        };
        assert_eq!(frame(16, 48), ((16..64).collect(), Some(48)));
        assert_eq!(frame(64, 0), (vec![], Some(0)));
        // What a peer may have told the driver.
        for (start, len) in [(16, 49), (65, 0), (0, u16::MAX), (u16::MAX, u16::MAX)] {
            assert_eq!(frame(start, len).0, [0; 0], "{start} {len}");
        }
        assert_eq!(frame(65, 0).1, Some(0));
        mbuf.nb_segs = 2;
        assert_eq!(room_of(&mbuf), None);
    }
}
