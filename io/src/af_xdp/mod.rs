//! The AF_XDP device: frames between the interface's driver and this process, past the host's network stack.
//!
//! Knows when the interface can be used, and what is waited for. Must not know what is in a packet.
//!
//! A program of a few dozen instructions, assembled here, runs at the interface for each frame. Frames for this server
//! (our EtherType, or our address and port) go to sockets in memory shared with the kernel; everything else goes the
//! way it always went, the host's own ARP and neighbour discovery too, and so do announcements that concern both. Packets
//! are read where the kernel put them and filled where it sends them from. Program and sockets are descriptors of this
//! process: however it ends, nothing is left at the interface.
//!
//! | [`XdpMode`] | frames are copied | works on |
//! |---|---|---|
//! | [`ZeroCopy`](XdpMode::ZeroCopy) | never | network cards whose drivers can, with their queues |
//! | [`DriverCopy`](XdpMode::DriverCopy) | once, by the kernel | drivers with XDP, veth among them |
//! | [`Generic`](XdpMode::Generic) | once, by the kernel, and later | any interface |
//!
//! # What it needs
//!
//! Linux 5.9 with CONFIG_BPF_SYSCALL and CONFIG_XDP_SOCKETS; CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF, or root, and
//! not those of a user namespace; with UDP, an IP address that no kernel has. One interface has one program, so one
//! device. A frame has one page of memory, less what the kernel keeps, so jumbo payloads end at some 3,800 bytes
//! ([`XdpError::Payload`] says where).
//!
//! A program sees a frame and nothing of what is known beside it, so the interface must leave in the frame
//!
//! - the 802.1Q tag, if a VLAN is configured: `ethtool -K eth0 rxvlan off`;
//! - whole checksums: a kernel's UDP packets on a veth lack them, unless its end is told `ethtool -K veth1 tx off` or the
//!   encapsulation to do without, [`Checksums::Trust`](crate::encap::Checksums::Trust);
//! - one packet: a kernel sends series of packets over a veth as one long frame, and where the program is not in the
//!   driver that is dropped (counted as [`KernelStats::dropped`]), unless its end is told
//!   `ethtool -K veth1 tx-udp-segmentation off`.
//!
//! # When the link goes
//!
//! An interface that is switched off, loses its carrier, gets too small an MTU or is taken away is no error of
//! [`Device::receive`](crate::Device::receive) or [`Device::send`](crate::Device::send): the device lives on as behind a
//! cut cable. What is sent meanwhile is lost and counted as [`unreachable`](DeviceStats::unreachable). The kernel tells of
//! every change, so that nothing is polled for; an interface that comes back under its name gets the program and new
//! sockets, at once and, while that is refused, with waits that grow from 0.1 to 5 s. The device's MAC address, by which
//! the others know it, stays what it was at the start, also when the new interface has another.
//! [`DeviceStats::link_losses`] and [`link_returns`](DeviceStats::link_returns) count, and [`XdpDevice::link`] says what
//! is wrong. The capabilities are needed for that too.
//!
//! ```no_run
//! use popmap_io::af_xdp::{XdpConfig, XdpDevice};
//! use popmap_io::encap::EncapConfig;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Bare Ethernet: whoever is on the segment is trusted.
//! let device = XdpDevice::bind("eth1", &EncapConfig::ethernet().insecure(true), &XdpConfig::DEFAULT)?;
//! if let (Some(mode), Some(why)) = (device.mode(), device.refused()) {
//!     eprintln!("AF_XDP on eth1 works {mode}: {why}");
//! }
//! # Ok(())
//! # }
//! ```

mod assembler;
mod binding;
mod bpf;
mod config;
mod error;
mod groups;
mod link;
mod memory;
mod program;
mod queue;
mod returning;
mod ring;
mod stats;
mod traffic;

use std::fmt;
use std::io;

use popmap_core::time::Instant;

pub use config::{XdpConfig, XdpMode};
pub use error::XdpError;
pub use stats::{KernelStats, XdpStats};

use crate::address::Mac;
use crate::bell::Bell;
use crate::clock::MonotonicClock;
use crate::device::DeviceStats;
use crate::encap::{Encap, EncapConfig, EncapStats};
use crate::interface::InterfaceError;
use binding::{Binding, Settings};
use link::Watch;
use returning::{Retry, check};

/// Attempts at what another process still has, at the start: a second and more. Later ones must not hold up the loop.
const ATTEMPTS: u32 = 16;

/// A [`Device`](crate::Device) on an interface's queues.
pub struct XdpDevice {
    name: String,
    config: XdpConfig,
    framing: EncapConfig,
    encap: Encap,
    mac: Mac,
    clock: MonotonicClock,
    bell: Bell,
    watch: Watch,
    binding: Option<Binding>,
    /// Why frames cannot pass, if so.
    down: Option<XdpError>,
    /// When the interface is to be looked at: it changed, or it is time for another attempt. `None`: when it changes.
    look_at: Option<Instant>,
    retry: Retry,
    idle: u32,
    /// Frames with the kernel, or held back, that carry no packet: they are not counted as sent.
    said: u32,
    /// Where packets are filled that cannot be sent.
    nowhere: Box<[u8]>,
    stats: DeviceStats,
    xdp: XdpStats,
}

impl XdpDevice {
    /// Opens AF_XDP on the interface with this name. While that is down or has no carrier, the [link](Self::link) begins
    /// down.
    ///
    /// # Errors
    /// [`XdpError::Encap`] unless the encapsulation says [`insecure`](EncapConfig::insecure); which field is out of range;
    /// what is missing, or taken by somebody else; what the operating system said and to what.
    pub fn bind(interface: &str, encap: &EncapConfig, config: &XdpConfig) -> Result<Self, XdpError> {
        let failed = |step| move |source| XdpError::system(interface, step, source);
        // Before the first look, so that no change is missed.
        let watch = Watch::new().map_err(failed("listening for changes of interfaces"))?;
        let found = watch.look(interface).map_err(failed("asking for the interface"))?;
        let framing = *encap;
        let (found, down) = check(interface, found, 0)?;
        let mac = found.mac;
        let encap = Encap::new(mac, &framing)?;
        let most = queue::FRAME_MAX - encap.headroom();
        if encap.payload() > most {
            return Err(XdpError::Payload { given: encap.payload(), most });
        }
        let (mtu, needed) = (found.mtu as usize, encap.mtu());
        if mtu < needed {
            return Err(InterfaceError::Mtu { interface: interface.into(), mtu, needed }.into());
        }
        let settings = Settings { mac, framing: &framing, encap: &encap, config };
        let binding = Binding::open(interface, found, &settings, ATTEMPTS)?;
        Ok(Self {
            name: interface.to_owned(),
            config: *config,
            framing,
            mac,
            clock: MonotonicClock::new(),
            bell: Bell::new().map_err(failed("making the waker"))?,
            watch,
            binding: Some(binding),
            stats: DeviceStats { link_losses: u64::from(down.is_some()), ..DeviceStats::default() },
            down: down.map(XdpError::from),
            look_at: None,
            retry: Retry::NOW,
            idle: 0,
            said: 0,
            nowhere: vec![0; encap.frame_len()].into(),
            encap,
            xdp: XdpStats::default(),
        })
    }

    /// Returns the interface's name.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.name
    }

    /// Returns the mode that is in force; `None` while there is no interface to have one.
    #[must_use]
    pub fn mode(&self) -> Option<XdpMode> {
        self.binding.as_ref().map(Binding::mode)
    }

    /// Returns what the driver said to the mode above the one that is in force, if that was tried: to a program of its own
    /// where it is [`XdpMode::Generic`], to doing without copies where it is [`XdpMode::DriverCopy`].
    #[must_use]
    pub fn refused(&self) -> Option<&io::Error> {
        self.binding.as_ref().and_then(Binding::refused)
    }

    /// Returns how many of the interface's queues frames are received from.
    #[must_use]
    pub fn queues(&self) -> usize {
        self.binding.as_ref().map_or(0, |binding| binding.queues().len())
    }

    /// Returns whether frames can pass.
    ///
    /// # Errors
    /// Why they cannot, as of the last change that was heard of. The device goes on by itself when they can.
    pub fn link(&self) -> Result<(), &XdpError> {
        self.down.as_ref().map_or(Ok(()), Err)
    }

    /// Returns the counters that no other device has, the kernel's among them.
    #[must_use]
    pub fn xdp_stats(&self) -> XdpStats {
        let mut stats = self.xdp;
        if let Some(binding) = &self.binding {
            stats.kernel.add(&binding.stats());
        }
        stats
    }

    /// Returns the encapsulation's counters: why frames were ignored, and what came of finding neighbours.
    #[must_use]
    pub fn encap_stats(&self) -> EncapStats {
        self.encap.stats()
    }
}

impl fmt::Debug for XdpDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("XdpDevice")
            .field("interface", &self.name)
            .field("mode", &self.mode())
            .field("down", &self.down)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}
