//! What the UDP device counts beside what every device counts.
//!
//! Knows names. Must not know when something is counted.

/// How often one system call carried several packets, and how often it could not: plain counters, all rising from zero
/// when the device is made, and what the system can at this moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct UdpStats {
    /// Series of packets that left with one call (generic segmentation offload, Linux 4.18).
    pub sent: u64,
    /// Packets that took a call of their own although they would have gone with the one before: the system cannot send
    /// series, or refused one. Nothing is lost, and each costs a call.
    pub sent_singly: u64,
    /// Series of packets that were handed over as one (generic receive offload, Linux 5.0).
    pub received: u64,
    /// Series can be sent. Ends for good when an interface refuses one.
    pub can_segment: bool,
    /// The system hands series over.
    pub can_coalesce: bool,
}
