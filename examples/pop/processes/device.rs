//! How a server's device is opened in its namespace.
//!
//! Must not know what is sent.

use popmap_core::{Address, Slot};
use popmap_io::af_packet::{PacketConfig, PacketDevice};
use popmap_io::af_xdp::{XdpConfig, XdpDevice};
use popmap_io::encap::{Checksums, EncapConfig, Framing};
use popmap_io::{UdpConfig, UdpDevice, address};

use super::network::{INTERFACE, PREFIX_LEN, socket};
use crate::io::Wire;
use crate::stop::Stop;

/// Returns whom a server asks for the others: everybody, or all that there may be.
pub fn seeds(wire: Wire, servers: usize) -> Vec<Address> {
    match wire {
        Wire::Ethernet => vec![address::BROADCAST],
        Wire::Udp => (0..servers).map(|slot| address::from_socket(socket(Slot::at(slot)))).collect(),
    }
}

fn encap(wire: Wire, slot: Slot) -> EncapConfig {
    let mut encap = match wire {
        Wire::Ethernet => EncapConfig::ethernet(),
        Wire::Udp => EncapConfig::udp(socket(slot), PREFIX_LEN),
    };
    if let Framing::Udp(udp) = &mut encap.framing {
        // The kernels of those with sockets leave them to hardware that no wire here has.
        udp.checksums = Checksums::Trust;
    }
    encap.authenticated(true)
}

/// Opens a UDP socket.
pub fn udp(slot: Slot) -> Result<UdpDevice, Stop> {
    UdpDevice::bind(socket(slot), &UdpConfig::DEFAULT.authenticated(true)).map_err(Stop::Bind)
}

/// Opens a packet socket.
pub fn raw(wire: Wire, slot: Slot) -> Result<PacketDevice, Stop> {
    let device = PacketDevice::bind(INTERFACE, &encap(wire, slot), &PacketConfig::DEFAULT);
    device.map_err(|error| Stop::Open(error.to_string()))
}

/// Opens AF_XDP.
pub fn xdp(wire: Wire, slot: Slot) -> Result<XdpDevice, Stop> {
    let device = XdpDevice::bind(INTERFACE, &encap(wire, slot), &XdpConfig::DEFAULT);
    device.map_err(|error| Stop::Open(error.to_string()))
}

/// Starts DPDK, without huge pages, and opens a port.
#[cfg(feature = "dpdk")]
pub fn dpdk(wire: Wire, slot: Slot) -> Result<popmap_io::dpdk::DpdkDevice, Stop> {
    use popmap_io::dpdk::{DpdkConfig, DpdkDevice, Eal, EalConfig};
    let failed = |error: popmap_io::dpdk::DpdkError| Stop::Open(error.to_string());
    let eal = Eal::start(&EalConfig::without_huge_pages(MEMORY_MIB)).map_err(failed)?;
    let device = format!("net_af_packet0,iface={INTERFACE}");
    DpdkDevice::open(&eal, &device, &DpdkConfig::new(encap(wire, slot))).map_err(failed)
}

/// Enough for the mbufs of a port.
#[cfg(feature = "dpdk")]
const MEMORY_MIB: u32 = 64;
