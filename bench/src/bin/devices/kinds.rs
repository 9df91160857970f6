//! The kinds of devices, and how two of each are opened and what they are held against.
//!
//! Knows every device. Must not know how they are measured.

use std::hint::black_box;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use clap::ValueEnum;
use popmap_bench::feed::{Feed, Prepared};
use popmap_core::limits::PAYLOAD_DEFAULT;
use popmap_io::af_packet::{PacketConfig, PacketDevice};
use popmap_io::af_xdp::{XdpConfig, XdpDevice, XdpMode};
use popmap_io::encap::EncapConfig;
use popmap_io::{Device, Loopback, UdpConfig, UdpDevice};

use crate::cost::{Contest, Following, Loop, Pass, drain, lockstep, receiving, sending};
use crate::lent::Lent;
use crate::namespace::Veth;
use crate::plain::Plain;

/// Room for a frame.
const FRAME: usize = 2_048;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Kind {
    /// Queues in memory
    Loopback,
    /// Kernel UDP on the loopback interface; bursts are sent and received as series (GSO, GRO)
    Udp,
    /// The same, each packet sent on its own
    UdpSingle,
    /// AF_PACKET for latency
    Packet,
    /// AF_PACKET for bulk
    PacketBulk,
    /// AF_XDP behind the driver, copied
    XdpGeneric,
    /// AF_XDP in the driver, copied
    XdpDriver,
    /// DPDK, two ports joined by rings in memory
    DpdkRing,
    /// DPDK over the kernel's packet sockets (net_af_packet)
    DpdkPacket,
}

/// What a figure of a kind is to be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Target {
    /// The driver adds at most so many nanoseconds to the plain loop and the merge.
    Adds(f64),
    /// The driver, merge included, takes at most so many times the device's loop.
    Ratio(f64),
}

impl Kind {
    /// Returns the name in tables and on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().expect("none is hidden").get_name().to_owned()
    }

    /// Whether it takes a wire between interfaces of our own.
    pub const fn is_on_wire(self) -> bool {
        !matches!(self, Self::Loopback | Self::Udp | Self::UdpSingle | Self::DpdkRing)
    }

    /// Whether packets wait for company before they are handed over.
    pub const fn floods(self) -> bool {
        matches!(self, Self::PacketBulk)
    }

    /// Returns the packets that a round has at least: those that wait for company fill two blocks of 256 KiB.
    pub const fn packets_min(self) -> usize {
        if self.floods() { 512 } else { 1 }
    }

    /// Returns what was asked of it when it was built.
    pub const fn target(self) -> Option<Target> {
        match self {
            Self::DpdkRing => Some(Target::Adds(60.0)),
            Self::Packet | Self::PacketBulk | Self::XdpGeneric | Self::XdpDriver => Some(Target::Ratio(1.35)),
            _ => None,
        }
    }
}

/// Loops and what they need.
pub struct Opened {
    pub contest: Contest<'static>,
    /// Behind the devices: they are closed first.
    _wires: Vec<Veth>,
}

/// Opens a kind that needs no DPDK.
pub fn open(kind: Kind, feed: &Feed, burst: usize) -> Result<Opened, String> {
    let pass = Pass { burst, floods: kind.floods() };
    let (contest, wires) = match kind {
        Kind::Loopback => {
            let network = Loopback::new();
            (between(network.device(), network.device(), feed, (pass, burst), None)?, vec![])
        }
        Kind::Udp | Kind::UdpSingle => {
            let at_a_time = if kind == Kind::Udp { burst } else { 1 };
            let plain = plain_udp(pass).map_err(|error| format!("plain sockets: {error}"))?;
            let [left, right] = udp_pair()?;
            (between(left, right, feed, (pass, at_a_time), Some(plain))?, vec![])
        }
        Kind::Packet | Kind::PacketBulk => {
            let wires = vec![Veth::new("device")?, Veth::new("plain")?];
            let [left, right] = packet_pair(kind, &wires[0])?;
            let plain = plain_packet(&wires[1], pass)?;
            (between(left, right, feed, (pass, burst), Some(plain))?, wires)
        }
        Kind::XdpGeneric | Kind::XdpDriver => {
            let wire = Veth::new("device")?;
            let [left, right] = xdp_pair(kind, &wire)?;
            (between(left, right, feed, (pass, burst), None)?, vec![wire])
        }
        Kind::DpdkRing | Kind::DpdkPacket => return Err(NOT_BUILT.into()),
    };
    Ok(Opened { contest, _wires: wires })
}

#[cfg(feature = "dpdk")]
impl Opened {
    /// Joins loops and the wires that they need.
    pub fn new(contest: Contest<'static>, wires: Vec<Veth>) -> Self {
        Self { contest, _wires: wires }
    }
}

/// Why there is no DPDK.
pub const NOT_BUILT: &str = "not built: --features dpdk";

/// Bare Ethernet: there is nobody else on the wire.
pub fn bare() -> EncapConfig {
    EncapConfig::ethernet().insecure(true)
}

pub fn packet_pair(kind: Kind, wire: &Veth) -> Result<[PacketDevice; 2], String> {
    let config = if kind == Kind::PacketBulk { PacketConfig::BULK } else { PacketConfig::DEFAULT };
    let open = |end: &str| PacketDevice::bind(end, &bare(), &config).map_err(|error| error.to_string());
    Ok([open(&wire.left)?, open(&wire.right)?])
}

pub fn xdp_pair(kind: Kind, wire: &Veth) -> Result<[XdpDevice; 2], String> {
    let mode = if kind == Kind::XdpDriver { XdpMode::DriverCopy } else { XdpMode::Generic };
    let config = XdpConfig { mode: Some(mode), ..XdpConfig::DEFAULT };
    let open = |end: &str| XdpDevice::bind(end, &bare(), &config).map_err(|error| error.to_string());
    Ok([open(&wire.left)?, open(&wire.right)?])
}

fn udp_pair() -> Result<[UdpDevice; 2], String> {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let open = || UdpDevice::bind(local, &UdpConfig::DEFAULT).map_err(|error| error.to_string());
    Ok([open()?, open()?])
}

/// Makes the loops between two devices; a burst is sent so many frames at a time.
fn between<D: Device + 'static>(
    left: D,
    right: D,
    feed: &Feed,
    (pass, at_a_time): (Pass, usize),
    plain: Option<Loop<'static>>,
) -> Result<Contest<'static>, String> {
    let (left, right) = (Lent::new(left), Lent::new(right));
    let to = right.local();
    let send = || sending(left.clone(), to, at_a_time);
    let mut back = left.clone();
    let driver = Following::start(feed, &right)?;
    let driver = driver.into_loop(pass, send(), move || drain(&mut back));
    let device = lockstep(pass, send(), receiving(right));
    Ok(Contest { plain, device, driver })
}

/// Returns a loop of `send(2)` and `recv(2)` on packet sockets.
fn plain_packet(wire: &Veth, pass: Pass) -> Result<Loop<'static>, String> {
    let Plain { left, mut right, mut framer } =
        Plain::open(wire).map_err(|error| format!("plain sockets: {error}"))?;
    let send = move |burst: Prepared<'_>| {
        for packet in burst.iter() {
            left.send(framer.frame(packet)).map_err(|error| format!("send: {error}"))?;
        }
        Ok(())
    };
    let mut frame = [0; FRAME];
    let take = move |count, _| {
        for _ in 0..count {
            let len = right.read(&mut frame).map_err(|error| format!("recv: {error}"))?;
            black_box(frame[len - 1]);
        }
        Ok(count)
    };
    Ok(lockstep(pass, send, take))
}

/// Returns a loop of `sendto(2)` and `recvfrom(2)`.
fn plain_udp(pass: Pass) -> std::io::Result<Loop<'static>> {
    let [left, right] =
        [UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?, UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?];
    right.set_read_timeout(Some(Duration::from_secs(1)))?;
    socket2::SockRef::from(&right).set_recv_buffer_size(UdpConfig::DEFAULT.receive_buffer)?;
    let to = right.local_addr()?;
    let send = move |burst: Prepared<'_>| {
        for packet in burst.iter() {
            left.send_to(packet, to).map_err(|error| format!("sendto: {error}"))?;
        }
        Ok(())
    };
    let mut packet = [0; PAYLOAD_DEFAULT];
    let take = move |count, _| {
        for _ in 0..count {
            let (len, _) = right.recv_from(&mut packet).map_err(|error| format!("recvfrom: {error}"))?;
            black_box(packet[len - 1]);
        }
        Ok(count)
    };
    Ok(lockstep(pass, send, take))
}
