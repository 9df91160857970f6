//! What a device counts beside what every device counts.
//!
//! Knows names and sums. Must not know when something is counted.

use rustix::net::xdp::XdpStatistics;

/// What the kernel counted at the sockets, all rising from zero when the device is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct KernelStats {
    /// Frames for us that were dropped because they do not fit into a chunk of memory, or for want of kernel memory.
    pub dropped: u64,
    /// Frames for us that were dropped because as many wait as may: this server does not keep up.
    pub receive_ring_full: u64,
    /// Times that a driver found no memory to receive into.
    pub fill_ring_empty: u64,
    /// Entries of our rings that the kernel refused: a fault of ours.
    pub invalid: u64,
}

impl KernelStats {
    pub(super) fn of(kernel: XdpStatistics) -> Self {
        Self {
            dropped: kernel.rx_dropped,
            receive_ring_full: kernel.rx_ring_full.unwrap_or(0),
            fill_ring_empty: kernel.rx_fill_ring_empty_descs.unwrap_or(0),
            invalid: kernel.rx_invalid_descs + kernel.tx_invalid_descs,
        }
    }

    pub(super) const fn add(&mut self, other: &Self) {
        self.dropped += other.dropped;
        self.receive_ring_full += other.receive_ring_full;
        self.fill_ring_empty += other.fill_ring_empty;
        self.invalid += other.invalid;
    }
}

/// What is particular to this device, all rising from zero when it is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct XdpStats {
    /// Times that program and sockets were made anew, at an interface that came back.
    pub reopens: u64,
    /// Times that this failed, to be tried again.
    pub reopen_failures: u64,
    /// The kernel's counters.
    pub kernel: KernelStats,
}
