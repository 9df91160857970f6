//! DPDK: network cards and virtual devices without the kernel, in rings of memory that both sides share.
//!
//! Knows DPDK. Must not know what is in a packet. With the `dpdk` feature only.
//!
//! - [`Eal`]: DPDK itself, started once per process;
//! - [`DpdkDevice`]: a [`Device`](crate::Device) over one port, with an [`Encap`](crate::encap::Encap) for what stands in
//!   front of a packet. Packets are read where the card wrote them and written where it reads them;
//! - [`Port`], [`Pool`], [`Batch`]: what it is made of, for loops of your own.
//!
//! ```no_run
//! use popmap_io::dpdk::{DpdkConfig, DpdkDevice, Eal, EalConfig};
//! use popmap_io::encap::EncapConfig;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let eal = Eal::start(&EalConfig { pci: vec!["0000:3b:00.0".to_owned()], ..EalConfig::new() })?;
//! let encap = EncapConfig::udp("10.0.0.1:7946".parse()?, 24).insecure(true);
//! let device = DpdkDevice::open(&eal, "0000:3b:00.0", &DpdkConfig::new(encap))?;
//! # Ok(())
//! # }
//! ```
//!
//! What is unsafe is here, and in `popmap-dpdk-sys`. The rules that it keeps: EAL runs as long as anything made with it
//! is there; a pool lives as long as EAL; an mbuf is in one batch or in one port, never in two; a port is one value, and
//! its queues are used through `&mut` alone; devices come and go under one lock.
//!
//! Taken on trust: that drivers keep to the bounds of the mbufs they are given, and that nobody writes to a frame once
//! it was handed over. A `net_memif` in its zero-copy mode lets another process do so; its default mode copies, and
//! trusts the other's lengths. A [`Batch`] of frames should not outlive the [`Port`] that they are from: with some drivers
//! (mlx5 in its multi-packet mode) they stand in memory of the port's. [`DpdkDevice`] keeps to that.
//!
//! How to run it: [`docs::dpdk`](crate::docs::dpdk).

#[allow(unsafe_code, reason = "reads and writes mbufs")]
mod batch;
mod config;
mod device;
#[allow(unsafe_code, reason = "calls DPDK")]
mod eal;
mod error;
mod idle;
#[allow(unsafe_code, reason = "called by DPDK")]
mod log;
mod plug;
#[allow(unsafe_code, reason = "calls DPDK")]
mod pool;
#[allow(unsafe_code, reason = "calls DPDK")]
mod port;
#[allow(unsafe_code, reason = "calls DPDK")]
mod ring;
#[allow(unsafe_code, reason = "calls DPDK")]
mod thread;

pub use batch::Batch;
pub use config::{DpdkConfig, DpdkStats};
pub use device::DpdkDevice;
pub use eal::{Eal, EalConfig};
pub use error::DpdkError;
pub use pool::{MBUFS_DEFAULT, Pool};
pub use port::{Port, PortConfig, PortStats};
