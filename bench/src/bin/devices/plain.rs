//! Plain packet sockets: what the devices are held against.
//!
//! Knows two sockets and system calls. Must not know rings, nor what is in a packet.

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

use popmap_core::Address;
use popmap_core::time::Instant;
use popmap_io::Device;
use popmap_io::address;
use popmap_io::af_packet::{PacketConfig, PacketDevice};
use popmap_io::encap::{ETHERTYPE_OTHER, Encap, EncapConfig, EncapError, Framing};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::namespace::Veth;

/// Longer than a frame on a virtual wire takes.
const LOST: Duration = Duration::from_millis(500);

/// Two blocking packet sockets at the ends of a wire.
pub struct Plain {
    pub left: Socket,
    pub right: Socket,
    /// Makes frames for the right one.
    pub framer: Framer,
}

impl Plain {
    /// Opens and binds the sockets.
    ///
    /// # Errors
    /// The operating system's.
    pub fn open(wire: &Veth) -> io::Result<Self> {
        let socket = || {
            let protocol = Protocol::from(i32::from(ETHERTYPE_OTHER.to_be()));
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
            socket.set_read_timeout(Some(LOST))?;
            socket.set_recv_buffer_size(4 << 20)?;
            io::Result::Ok(socket)
        };
        let (left, right) = (socket()?, socket()?);
        let encap = EncapConfig::new(Framing::Ethernet { ethertype: ETHERTYPE_OTHER }).insecure(true);
        let device =
            |end: &str| PacketDevice::bind(end, &encap, &PacketConfig::DEFAULT).map_err(io::Error::other);
        let (mut from_left, mut from_right) = (device(&wire.left)?, device(&wire.right)?);
        // No safe API writes an address with an interface's number. The kernel does, with each frame that comes; and until
        // they are bound both sockets are given each.
        call(&mut from_left)?;
        let at_right = heard(&right)?;
        heard(&left)?;
        call(&mut from_right)?;
        let at_left = heard(&left)?;
        heard(&right)?;
        left.bind(&at_left)?;
        right.bind(&at_right)?;
        let framer = Framer::new(from_left.local(), from_right.local(), &encap).map_err(io::Error::other)?;
        Ok(Self { left, right, framer })
    }
}

fn call(device: &mut PacketDevice) -> io::Result<()> {
    let mut once = Some((address::BROADCAST, 1));
    device.send(|_| once.take()).map(drop)
}

fn heard(socket: &Socket) -> io::Result<SockAddr> {
    let mut frame = [MaybeUninit::uninit(); 64];
    socket.recv_from(&mut frame).map(|(_, address)| address)
}

/// Puts packets into frames for one station.
pub struct Framer {
    encap: Encap,
    to: Address,
    frame: Vec<u8>,
    /// Of the packet that the headers in `frame` are for.
    packet_len: usize,
}

impl Framer {
    /// Makes one for frames between two stations, named by their MAC addresses.
    pub fn new(from: Address, to: Address, encap: &EncapConfig) -> Result<Self, EncapError> {
        let mac = address::to_mac(from).unwrap_or_default();
        let encap = Encap::new(mac, encap)?;
        Ok(Self { frame: vec![0; encap.frame_len()], encap, to, packet_len: 0 })
    }

    /// Returns the headers before a packet of this length.
    pub fn headers(&mut self, packet_len: usize) -> &[u8] {
        if packet_len != self.packet_len {
            let framed = self.encap.prepend(Instant::ZERO, self.to, &mut self.frame, packet_len);
            framed.expect("bare frames need no neighbour");
            self.packet_len = packet_len;
        }
        &self.frame[..self.encap.headroom()]
    }

    /// Returns the frame around a packet, which is copied.
    pub fn frame(&mut self, packet: &[u8]) -> &[u8] {
        let start = self.headers(packet.len()).len();
        let end = start + packet.len();
        self.frame[start..end].copy_from_slice(packet);
        &self.frame[..end]
    }
}
