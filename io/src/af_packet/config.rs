//! How a packet device is opened, and why it was not, or why its link is down.
//!
//! Knows ranges, and what each failure takes to be mended. Must not know how a socket is made.

use std::fmt;
use std::io;
use std::ops::RangeInclusive;

use crate::encap::EncapError;
use crate::interface::InterfaceError;

/// Bytes that a ring may have.
pub(super) const RING_BYTES: RangeInclusive<usize> = 512 << 10..=1 << 30;
/// Milliseconds that a block may wait for more frames.
const BLOCK_TIMEOUT_MS: RangeInclusive<u32> = 1..=1_000;

/// How a [`PacketDevice`](super::PacketDevice) receives and sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacketConfig {
    /// When received frames are handed over. Default: [`Mode::Latency`].
    pub mode: Mode,
    /// Bytes of the ring for received frames, 512 KiB to 1 GiB, rounded up to whole pieces of at most 256 KiB. The kernel
    /// keeps it in memory. Default: 4 MiB, which is 2,048 frames of up to 1,500 bytes and some more: a stall of some
    /// milliseconds while the whole PoP talks at once.
    pub ring_bytes: usize,
    /// Bytes asked of the system for frames waiting to be sent. Default: 1 MiB.
    pub send_buffer: usize,
}

/// When received frames are handed over: at once, or many at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Each frame as it comes (`TPACKET_V2`).
    Latency,
    /// Blocks of 256 KiB, each when it is full or [`timed out`](Self::Bulk::block_timeout_ms) (`TPACKET_V3`). Fewer
    /// wake-ups and denser memory, so less processor time for each frame of a flood; but in anything less than a flood
    /// a frame waits for the time-out, half of it on average, and so does each round trip twice. Not for a node whose
    /// probes time out within a few of these. And a block that timed out is given away however little is in it: whoever
    /// does not read for as many time-outs as the ring has blocks, 16 with the default, loses frames
    /// ([`overruns`](crate::DeviceStats::overruns)) also where there are few.
    Bulk {
        /// Milliseconds from the first frame of a block until it is handed over, 1 to 1,000. The kernel rounds it up to
        /// its timer's ticks.
        block_timeout_ms: u32,
    },
}

impl PacketConfig {
    /// The defaults: for latency.
    pub const DEFAULT: Self = Self { mode: Mode::Latency, ring_bytes: 4 << 20, send_buffer: 1 << 20 };
    /// The defaults for bulk, with a time-out of one millisecond.
    pub const BULK: Self = Self { mode: Mode::Bulk { block_timeout_ms: 1 }, ..Self::DEFAULT };

    pub(super) fn check(&self) -> Result<(), PacketError> {
        if !RING_BYTES.contains(&self.ring_bytes) {
            return Err(PacketError::RingBytes(self.ring_bytes));
        }
        match self.mode {
            Mode::Bulk { block_timeout_ms } if !BLOCK_TIMEOUT_MS.contains(&block_timeout_ms) => {
                Err(PacketError::BlockTimeout(block_timeout_ms))
            }
            Mode::Bulk { .. } | Mode::Latency => Ok(()),
        }
    }
}

impl Default for PacketConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why a packet device could not be opened, and nothing is left behind; or why its link is down, and it tries again.
#[derive(Debug)]
#[non_exhaustive]
pub enum PacketError {
    /// The encapsulation's configuration was refused.
    Encap(EncapError),
    /// The ring's size is out of range.
    RingBytes(usize),
    /// The block time-out is out of range.
    BlockTimeout(u32),
    /// No packet socket without the capability.
    Capability,
    /// The kernel is too old, or was built without packet sockets.
    Unsupported {
        /// What was being done.
        step: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// Something is wrong with the interface.
    Interface(InterfaceError),
    /// The operating system refused.
    System {
        /// The interface.
        interface: String,
        /// What was being done.
        step: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
}

impl PacketError {
    /// Says what a step lacks that only a kernel or a capability can keep from succeeding.
    pub(super) fn of_step(interface: &str, step: &'static str, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::Capability,
            Some(libc::EAFNOSUPPORT | libc::ENOPROTOOPT) => Self::Unsupported { step, source },
            _ => Self::System { interface: interface.into(), step, source },
        }
    }
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encap(error) => error.fmt(f),
            Self::RingBytes(given) => write!(
                f,
                "ring_bytes: {given}; {} to {} are possible",
                RING_BYTES.start(),
                RING_BYTES.end()
            ),
            Self::BlockTimeout(given) => write!(
                f,
                "block_timeout_ms: {given}; {} to {} are possible",
                BLOCK_TIMEOUT_MS.start(),
                BLOCK_TIMEOUT_MS.end()
            ),
            Self::Capability => f.write_str(
                "packet sockets need the capability CAP_NET_RAW: run as root, or give it to the program (setcap \
                 cap_net_raw+ep), or run in a user and network namespace of its own (unshare --map-root-user --net)",
            ),
            Self::Unsupported { step, source } => {
                write!(f, "{step} failed: {source}; it needs Linux 4.20 or newer with CONFIG_PACKET")
            }
            Self::Interface(error) => error.fmt(f),
            Self::System { interface, step, source } => {
                write!(f, "cannot use {interface}: {step} failed: {source}")
            }
        }
    }
}

impl std::error::Error for PacketError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Encap(error) => Some(error),
            Self::Interface(error) => Some(error),
            Self::Unsupported { source, .. } | Self::System { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<EncapError> for PacketError {
    fn from(error: EncapError) -> Self {
        Self::Encap(error)
    }
}

impl From<InterfaceError> for PacketError {
    fn from(error: InterfaceError) -> Self {
        Self::Interface(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_is_named() {
        let ring = |ring_bytes| PacketConfig { ring_bytes, ..PacketConfig::DEFAULT }.check();
        for given in [0, (512 << 10) - 1, (1 << 30) + 1] {
            let said = ring(given).unwrap_err().to_string();
            assert_eq!(said, format!("ring_bytes: {given}; 524288 to 1073741824 are possible"));
        }
        for given in [512 << 10, 1 << 30] {
            ring(given).unwrap();
        }
        let bulk = |block_timeout_ms| {
            PacketConfig { mode: Mode::Bulk { block_timeout_ms }, ..PacketConfig::DEFAULT }.check()
        };
        for given in [0, 1_001] {
            let said = bulk(given).unwrap_err().to_string();
            assert_eq!(said, format!("block_timeout_ms: {given}; 1 to 1000 are possible"));
        }
        bulk(1).unwrap();
        bulk(1_000).unwrap();
    }

    /// What kernels without it say, which the one that tests has.
    #[test]
    fn a_kernel_that_lacks_something_is_told_from_other_failures() {
        let of =
            |code| PacketError::of_step("eth7", "opening", io::Error::from_raw_os_error(code)).to_string();
        for code in [libc::EAFNOSUPPORT, libc::ENOPROTOOPT] {
            let said = of(code);
            assert!(said.starts_with("opening failed: "), "{said}");
            assert!(said.ends_with("; it needs Linux 4.20 or newer with CONFIG_PACKET"), "{said}");
        }
        for code in [libc::EPERM, libc::EACCES] {
            assert!(of(code).starts_with("packet sockets need the capability CAP_NET_RAW"));
        }
        assert!(of(libc::ENOMEM).starts_with("cannot use eth7: opening failed: "));
    }
}
