//! Why DPDK could not be used.
//!
//! Knows what to tell an operator. Must not know how DPDK is called.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;

use crate::encap::EncapError;

/// Why EAL was not started, or a port, pool or device not made. What was made on the way is undone, except that EAL,
/// once started, cannot be started again.
#[derive(Debug)]
#[non_exhaustive]
pub enum DpdkError {
    /// EAL was started in this process before. It starts once, also if that failed.
    Started,
    /// Not a PCI address.
    PciAddress(String),
    /// No PCI device is there.
    NoPciDevice(String),
    /// The PCI device is not among those that EAL was started for.
    PciNotListed(String),
    /// Not a device's name and arguments: empty, or with a zero byte.
    DeviceName(String),
    /// The port is in use in this process.
    PortTaken(String),
    /// DPDK has no port for this device.
    NoPort {
        /// The device.
        device: String,
        /// The kernel's driver for it, if there is one.
        bound_to: Option<String>,
        /// What DPDK said.
        said: Vec<String>,
    },
    /// The port has no MAC address of its own, and none was configured.
    NoMac(String),
    /// The port does not carry frames that long.
    Mtu {
        /// The device.
        device: String,
        /// Bytes behind the Ethernet header that the configured payload needs.
        needed: usize,
        /// Bytes that the port carries there.
        most: usize,
    },
    /// A frame does not fit in one mbuf of the pool.
    FrameLength {
        /// Bytes of the longest frame.
        frame: usize,
        /// Bytes that an mbuf holds.
        room: usize,
    },
    /// The pool has too few mbufs to fill the queues.
    PoolSize {
        /// Mbufs of the pool.
        mbufs: u32,
        /// Mbufs that queues and bursts may hold at once.
        needed: u32,
    },
    /// DPDK refused.
    Refused {
        /// What was being done, and to what.
        step: String,
        /// The error number.
        errno: i32,
        /// What it means.
        text: String,
        /// What DPDK said.
        said: Vec<String>,
    },
    /// The operating system refused.
    System {
        /// What was being done.
        step: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// The encapsulation's configuration is wrong.
    Encap(EncapError),
}

impl fmt::Display for DpdkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => {
                f.write_str("EAL was started in this process before; DPDK starts once per process")
            }
            Self::PciAddress(given) => {
                write!(
                    f,
                    "pci: {given:?} is no PCI address; it must be like 0000:3b:00.0, as `lspci -D` shows it"
                )
            }
            Self::NoPciDevice(given) => {
                write!(f, "pci: there is no device at {given}; `lspci -D` shows them")
            }
            Self::PciNotListed(given) => write!(
                f,
                "device: EAL was not started for the PCI device {given}; list it in `EalConfig::pci`"
            ),
            Self::DeviceName(given) => write!(
                f,
                "device: {given:?}; it must be a PCI address, or a virtual device with its arguments, as in \
                 net_af_packet0,iface=eth1"
            ),
            Self::PortTaken(device) => write!(f, "device: {device} is in use in this process already"),
            Self::NoPort { device, bound_to, said } => {
                write!(f, "device: DPDK has no port for {device}")?;
                match bound_to.as_deref() {
                    Some("vfio-pci") | None => {}
                    Some(driver) => write!(
                        f,
                        ", which is bound to the kernel's driver {driver}; unless that is one that DPDK shares a \
                         device with (mlx5_core), bind it to vfio-pci"
                    )?,
                }
                quote(f, said)
            }
            Self::NoMac(device) => {
                write!(f, "mac: {device} has no address of its own; give it one in `DpdkConfig::mac`")
            }
            Self::Mtu { device, needed, most } => {
                write!(f, "payload: it needs an MTU of {needed} bytes, and {device} has at most {most}")
            }
            Self::FrameLength { frame, room } => {
                write!(f, "payload: a frame may have {frame} bytes, and the pool's mbufs hold {room}")
            }
            Self::PoolSize { mbufs, needed } => {
                write!(f, "mbufs: {mbufs}; queues and bursts of a port may hold {needed} at once")
            }
            Self::Refused { step, errno, text, said } => {
                write!(f, "{step}: {text} ({errno})")?;
                quote(f, said)
            }
            Self::System { step, source } => write!(f, "{step}: {source}"),
            Self::Encap(error) => error.fmt(f),
        }
    }
}

/// Appends what DPDK said.
fn quote(f: &mut fmt::Formatter<'_>, said: &[String]) -> fmt::Result {
    let mut before = "; DPDK said: ";
    for line in said {
        write!(f, "{before}{line}")?;
        before = " / ";
    }
    Ok(())
}

impl std::error::Error for DpdkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System { source, .. } => Some(source),
            Self::Encap(error) => Some(error),
            _ => None,
        }
    }
}

impl From<EncapError> for DpdkError {
    fn from(error: EncapError) -> Self {
        Self::Encap(error)
    }
}
