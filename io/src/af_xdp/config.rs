//! How an AF_XDP device is opened, and in which mode it works.
//!
//! Knows choices and their defaults. Must not know system calls.

use std::fmt;

/// Where and how an [`XdpDevice`](super::XdpDevice) works.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct XdpConfig {
    /// The one queue to receive from and send through, where the interface is made to put all frames for us on it
    /// (`ethtool -L eth0 combined 1`, or a rule of `ethtool -N`). Default: `None`, all queues: which one a frame comes
    /// in on is the sender's or the hardware's choice.
    pub queue: Option<u32>,
    /// The one mode to work in. Default: `None`, the best that interface and kernel have;
    /// [`XdpDevice::mode`](super::XdpDevice::mode) says which that is.
    pub mode: Option<XdpMode>,
}

impl XdpConfig {
    /// The defaults.
    pub const DEFAULT: Self = Self { queue: None, mode: None };
}

impl Default for XdpConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How frames get from the interface to our memory and back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum XdpMode {
    /// Behind the driver, copied by the kernel; any interface can. Called SKB mode elsewhere.
    Generic,
    /// In the driver, copied by the kernel.
    DriverCopy,
    /// In the driver, and the device itself reads and writes our memory.
    ZeroCopy,
}

impl fmt::Display for XdpMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Generic => "generic, copied",
            Self::DriverCopy => "in the driver, copied",
            Self::ZeroCopy => "in the driver, zero-copy",
        })
    }
}
