//! How a DPDK device is opened, and what it counts.
//!
//! Knows defaults. Must not know how they are put to use.

#![forbid(unsafe_code)]

use std::time::Duration;

use super::pool::MBUFS_DEFAULT;
use super::port::PortConfig;
use crate::address::Mac;
use crate::encap::EncapConfig;

/// How a [`DpdkDevice`](super::DpdkDevice) is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DpdkConfig {
    /// What stands in front of a payload, and how long that may be.
    pub encap: EncapConfig,
    /// The MAC address to use. Default: none, the port's own; virtual devices in memory have none.
    pub mac: Option<Mac>,
    /// Frames that may wait to be taken; the driver may choose another number. Default: 1,024.
    pub receive_queue: u16,
    /// Frames that may wait to be sent; the driver may choose another number. Default: 1,024.
    pub send_queue: u16,
    /// Mbufs of the device's own pool. Default: [`MBUFS_DEFAULT`].
    pub mbufs: u32,
    /// How long a wait looks for packets without a pause before it begins to nap. Default: 20 µs.
    pub spin: Duration,
    /// The longest nap of a wait: what a packet may wait in an idle device, less the 50 µs or so that the kernel adds.
    /// DPDK's devices cannot wake a thread. Zero never naps; no nap lasts a second. Default: 1 ms.
    pub nap: Duration,
}

impl DpdkConfig {
    /// Returns the defaults for an encapsulation.
    #[must_use]
    pub const fn new(encap: EncapConfig) -> Self {
        Self {
            encap,
            mac: None,
            receive_queue: PortConfig::DEFAULT.receive_queue,
            send_queue: PortConfig::DEFAULT.send_queue,
            mbufs: MBUFS_DEFAULT,
            spin: Duration::from_micros(20),
            nap: Duration::from_millis(1),
        }
    }

    /// Returns this configuration with a MAC address.
    #[must_use]
    pub const fn mac(self, mac: Mac) -> Self {
        Self { mac: Some(mac), ..self }
    }
}

/// What a [`DpdkDevice`](super::DpdkDevice) counts beside [`DeviceStats`](crate::DeviceStats), all rising from zero when
/// it is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct DpdkStats {
    /// Naps of waits.
    pub naps: u64,
    /// Times that there was no mbuf to be filled: sending waited.
    pub no_mbuf: u64,
    /// Times that the port was gone.
    pub gone: u64,
    /// Times that it was there again.
    pub reopened: u64,
    /// Times that it was looked for in vain.
    pub reopen_errors: u64,
}
