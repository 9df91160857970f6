//! One socket on one queue of an interface: frames, the four rings they go around in, and the calls that move them.
//!
//! Knows whose a frame is. Must not know what is in one, nor which interface this is.
//!
//! Two circles, each with frames of its own, so that neither starves the other:
//!
//! - receiving: fill ring, kernel, receive ring, handed over, fill ring;
//! - sending: free, filled, transmit ring, kernel, completion ring, free.
//!
//! No ring is ever full: each has as many entries as its circle has frames, and those that the kernel takes from twice
//! as many, because it returns a frame before it says that it took it.

#![allow(unsafe_code, reason = "a frame that the kernel returns is ours on its word")]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, XDP_PGOFF_RX_RING, XDP_PGOFF_TX_RING, XDP_UMEM_PGOFF_COMPLETION_RING,
    XDP_UMEM_PGOFF_FILL_RING, XdpOptionsFlags, XdpUmemReg, XdpUmemRegFlags,
};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, bind, send, socket_with, sockopt};

use super::memory::{Frame, Frames};
use super::ring::{Consumer, Descriptor, Producer};
use super::stats::KernelStats;

/// Frames that may wait to be received: some milliseconds of a whole PoP talking at once.
const RECEIVING: u32 = 2_048;
/// Frames that may wait to be sent: four bursts.
const SENDING: u32 = 256;
/// Entries of the rings that the kernel takes from.
const FILL_RING: u32 = 2 * RECEIVING;
const TRANSMIT_RING: u32 = 2 * SENDING;
/// What the kernel keeps free in front of a received frame, for headers that programs prepend.
const RESERVED: usize = 256;
/// Chunks are of half a page or of a page.
const CHUNKS: [usize; 2] = [2_048, 4_096];
/// Bytes of the longest frame that can be received; what can be sent is more.
pub(super) const FRAME_MAX: usize = CHUNKS[1] - RESERVED;

/// One socket, bound.
#[derive(Debug)]
pub(super) struct Queue {
    socket: OwnedFd,
    frames: Frames,
    fill: Producer<u64>,
    received: Consumer<Descriptor>,
    transmit: Producer<Descriptor>,
    completed: Consumer<u64>,
    free: Vec<Frame>,
    /// Given to the kernel and not yet seen to be taken.
    held: u32,
    zero_copy: bool,
}

/// What came of an attempt to send what was filled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[must_use]
pub(super) struct Flushed {
    /// Frames that the kernel took and did not drop at once.
    pub(super) sent: u32,
    /// Frames that the kernel took and the interface refused.
    pub(super) refused: u32,
    /// Some are held back until the kernel takes more.
    pub(super) blocked: bool,
}

/// A socket that could not be made.
#[derive(Debug)]
pub(super) struct QueueError {
    pub(super) step: &'static str,
    pub(super) source: Errno,
}

impl Queue {
    /// Opens a socket for frames of up to `frame_len` bytes and binds it. With `copy`, frames are copied also where they
    /// need not be; without, the interface does without or refuses. (Asked for neither, the kernel falls back to copying
    /// and does not say why.)
    pub(super) fn bind(interface: u32, queue: u32, frame_len: usize, copy: bool) -> Result<Self, QueueError> {
        let failed = |step| move |source| QueueError { step, source };
        let io_failed = |step| {
            move |error: io::Error| QueueError {
                step,
                source: Errno::from_io_error(&error).unwrap_or(Errno::OPNOTSUPP),
            }
        };
        let socket = socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None)
            .map_err(failed("opening an AF_XDP socket"))?;
        // Also longer ones than ours are of use: they are seen to be too long, and counted.
        let chunk = if frame_len <= CHUNKS[0] - RESERVED { CHUNKS[0] } else { CHUNKS[1] } as u32;
        let (frames, mut free) =
            Frames::new(RECEIVING + SENDING, chunk).map_err(io_failed("taking memory for frames"))?;
        let region = XdpUmemReg {
            addr: frames.memory().address(),
            len: frames.memory().len() as u64,
            chunk_size: chunk,
            headroom: 0,
            flags: XdpUmemRegFlags::empty(),
            tx_metadata_len: 0,
        };
        let set = "registering the memory for frames";
        sockopt::set_xdp_umem_reg(&socket, region).map_err(failed(set))?;
        let sizes = || {
            sockopt::set_xdp_umem_fill_ring_size(&socket, FILL_RING)?;
            sockopt::set_xdp_umem_completion_ring_size(&socket, SENDING)?;
            sockopt::set_xdp_rx_ring_size(&socket, RECEIVING)?;
            sockopt::set_xdp_tx_ring_size(&socket, TRANSMIT_RING)?;
            sockopt::xdp_mmap_offsets(&socket)
        };
        let offsets = sizes().map_err(failed("making the rings"))?;
        let mapped = || {
            Ok((
                Producer::map(&socket, XDP_UMEM_PGOFF_FILL_RING, &offsets.fr, FILL_RING)?,
                Consumer::map(&socket, XDP_PGOFF_RX_RING, &offsets.rx, RECEIVING)?,
                Producer::map(&socket, XDP_PGOFF_TX_RING, &offsets.tx, TRANSMIT_RING)?,
                Consumer::map(&socket, XDP_UMEM_PGOFF_COMPLETION_RING, &offsets.cr, SENDING)?,
            ))
        };
        let (mut fill, received, transmit, completed) = mapped().map_err(io_failed("mapping the rings"))?;
        for frame in free.drain(SENDING as usize..) {
            fill.push(frames.give(frame));
        }
        fill.commit();
        let copy = if copy { SocketAddrXdpFlags::XDP_COPY } else { SocketAddrXdpFlags::XDP_ZEROCOPY };
        let flags = SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP | copy;
        bind(&socket, &SocketAddrXdp::new(flags, interface, queue)).map_err(failed(BINDING))?;
        let options = sockopt::xdp_options(&socket).map_err(failed("asking for the mode"))?;
        let zero_copy = options.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY);
        Ok(Self { socket, frames, fill, received, transmit, completed, free, held: 0, zero_copy })
    }

    /// Whether the device writes received frames to our memory, and reads those sent from there.
    pub(super) const fn is_zero_copy(&self) -> bool {
        self.zero_copy
    }

    /// Hands over up to `most` received frames; returns how many, and of these how many were none.
    pub(super) fn receive(&mut self, most: usize, mut sink: impl FnMut(&[u8])) -> (usize, usize) {
        let (mut taken, mut invalid) = (0, 0);
        while taken < most
            && let Some(Descriptor { offset, len, .. }) = self.received.pop()
        {
            taken += 1;
            // SAFETY: the kernel received into a chunk of the fill ring, and returns it here.
            let Some(frame) = (unsafe { self.frames.take(offset) }) else {
                invalid += 1;
                continue;
            };
            match self.frames.bytes(&frame, self.frames.within(offset), len) {
                Some(bytes) => sink(bytes),
                None => invalid += 1,
            }
            self.fill.push(self.frames.give(frame));
        }
        if taken > 0 {
            self.received.release();
            self.fill.commit();
            if self.fill.needs_wakeup() {
                // A driver that ran out of chunks looks again when it is polled.
                let now = Timespec { tv_sec: 0, tv_nsec: 0 };
                let _ = poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&now));
            }
        }
        (taken, invalid)
    }

    /// Has `fill` write a frame of up to `len` bytes, and has it sent with the next [`flush`](Self::flush), unless it
    /// returns `None`. Returns `false`, and does not ask, when all frames are on their way.
    pub(super) fn fill(&mut self, len: usize, fill: impl FnOnce(&mut [u8]) -> Option<usize>) -> bool {
        if self.free.is_empty() {
            self.collect();
        }
        let Some(mut frame) = self.free.pop() else { return false };
        match fill(self.frames.bytes_mut(&mut frame, len)) {
            Some(filled) => {
                assert!(filled <= len, "{filled} bytes in a frame of {len}");
                let offset = self.frames.give(frame);
                self.transmit.push(Descriptor { offset, len: filled as u32, options: 0 });
                self.held += 1;
            }
            None => self.free.push(frame),
        }
        true
    }

    /// Takes back what was sent.
    fn collect(&mut self) {
        while let Some(offset) = self.completed.pop() {
            // SAFETY: the kernel has sent a chunk of the transmit ring, and returns it here.
            self.free.extend(unsafe { self.frames.take(offset) });
        }
        self.completed.release();
    }

    /// Sends what was filled, as far as the kernel takes it.
    ///
    /// # Errors
    /// The interface is down or gone. What was not taken stays.
    pub(super) fn flush(&mut self) -> Result<Flushed, Errno> {
        let mut flushed = Flushed::default();
        if self.held == 0 {
            return Ok(flushed);
        }
        self.transmit.commit();
        // A kernel that copies takes what waits while it is called, a batch of frames at a time; a driver that does not
        // is only woken, and needs no more than that.
        while self.transmit.needs_wakeup() && self.transmit.pending() > 0 {
            // It does not copy past a completion ring that is full of what we have not taken back.
            self.collect();
            let before = self.transmit.pending();
            let refused = match send(&self.socket, &[], SendFlags::DONTWAIT) {
                Ok(_) | Err(Errno::AGAIN | Errno::NOBUFS | Errno::INTR) => 0,
                // The one frame that it took last.
                Err(Errno::BUSY) => 1,
                Err(error) => {
                    self.count(&mut flushed);
                    return Err(error);
                }
            };
            let taken = before - self.transmit.pending();
            flushed.refused += refused.min(taken);
            if taken == 0 || self.zero_copy {
                break;
            }
        }
        self.count(&mut flushed);
        flushed.blocked = self.is_blocked();
        Ok(flushed)
    }

    /// Counts what the kernel took since the last time.
    fn count(&mut self, flushed: &mut Flushed) {
        let held = self.transmit.pending();
        flushed.sent += (self.held - held).saturating_sub(flushed.refused);
        self.held = held;
        self.collect();
    }

    /// Returns how many frames were filled and not taken by the kernel.
    pub(super) const fn held(&self) -> u32 {
        self.held
    }

    /// Whether nothing more can be filled until the kernel took or returned some.
    pub(super) const fn is_blocked(&self) -> bool {
        self.free.is_empty() || (!self.zero_copy && self.held > 0)
    }

    /// Returns what the kernel counted.
    pub(super) fn stats(&self) -> KernelStats {
        sockopt::xdp_statistics(&self.socket).map_or_else(|_| KernelStats::default(), KernelStats::of)
    }
}

/// The step that fails when somebody else has the queue, or there is no such queue.
pub(super) const BINDING: &str = "binding an AF_XDP socket to the queue";

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
