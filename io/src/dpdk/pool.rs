//! The pool: memory for frames, where the network card reads and writes them.
//!
//! Knows mbufs by number and size. Must not know what they hold.

use std::fmt;
use std::ptr::NonNull;

use popmap_dpdk_sys as sys;

use super::eal::{Eal, c_string, errno, refused};
use super::error::DpdkError;
use super::log;

/// Mbufs of a pool unless another number is chosen: one less than a power of two wastes no memory.
pub const MBUFS_DEFAULT: u32 = 8_191;
/// Bytes in front of a frame, for drivers.
pub(super) const HEADROOM: usize = sys::RTE_PKTMBUF_HEADROOM as usize;
/// Bytes of a frame that an mbuf holds at least. Drivers expect as many.
const ROOM_MIN: usize = 2_048;
/// Bytes of a frame that an mbuf holds at most: its length is a 16-bit number, and so is that of its buffer.
const ROOM_MAX: usize = 32_768;
/// Mbufs that each thread keeps at hand.
const CACHE: u32 = 256;
/// Anywhere.
const SOCKET_ANY: i32 = -1;

/// Mbufs. Clones are the same pool.
///
/// A pool is never freed before the end of [`Eal`], because mbufs travel: what one port sent into a ring is in another's
/// hands, for as long as that likes. A device that is opened again should be given the same pool.
#[derive(Clone)]
pub struct Pool {
    raw: NonNull<sys::rte_mempool>,
    eal: Eal,
    mbufs: u32,
    room: usize,
}

// SAFETY: DPDK's pools are made for any number of threads, and this handle is but a pointer to one.
unsafe impl Send for Pool {}
// SAFETY: as above; nothing is changed through a shared handle but by DPDK itself.
unsafe impl Sync for Pool {}

impl Pool {
    /// Makes a pool of so many mbufs, each for a frame of up to `frame_len` bytes and not less than 2,048.
    ///
    /// # Errors
    /// Frames are too long, or there is too little memory: [`EalConfig::memory_mib`](super::EalConfig::memory_mib).
    pub fn new(eal: &Eal, mbufs: u32, frame_len: usize) -> Result<Self, DpdkError> {
        if frame_len > ROOM_MAX {
            return Err(DpdkError::FrameLength { frame: frame_len, room: ROOM_MAX });
        }
        // Some drivers copy their own buffers, which are powers of two.
        let room = frame_len.next_power_of_two().max(ROOM_MIN);
        let name = c_string(&eal.name("pool"))?;
        let mark = log::mark();
        let held = eal.control();
        // SAFETY: EAL runs; the name outlives the call, which copies it; every number is in range: headroom and room
        // are less than 2^16 together, and DPDK refuses a cache too large for the pool.
        let raw = unsafe {
            sys::rte_pktmbuf_pool_create(
                name.as_ptr(),
                mbufs,
                CACHE.min(mbufs / 2),
                0,
                (HEADROOM + room) as u16,
                SOCKET_ANY,
            )
        };
        drop(held);
        let Some(raw) = NonNull::new(raw) else {
            let step = format!("making a pool of {mbufs} mbufs of {room} bytes in `EalConfig::memory_mib`");
            return Err(refused(&step, errno(), mark));
        };
        eal.register_thread();
        Ok(Self { raw, eal: eal.clone(), mbufs, room })
    }

    /// Returns the number of mbufs.
    #[must_use]
    pub const fn mbufs(&self) -> u32 {
        self.mbufs
    }

    /// Returns the bytes of the longest frame.
    #[must_use]
    pub const fn frame_len(&self) -> usize {
        self.room
    }

    /// Returns how many mbufs are in nobody's hands. Counts all threads' caches, so it takes a while.
    #[must_use]
    pub fn available(&self) -> u32 {
        // SAFETY: the pool lives as long as EAL, which is held.
        unsafe { sys::rte_mempool_avail_count(self.raw.as_ptr()) }
    }

    pub(super) const fn raw(&self) -> *mut sys::rte_mempool {
        self.raw.as_ptr()
    }

    pub(super) const fn eal(&self) -> &Eal {
        &self.eal
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("mbufs", &self.mbufs).field("room", &self.room).finish_non_exhaustive()
    }
}
