//! The port: a packet socket on an interface, with its ring.
//!
//! Knows how a socket is opened, bound, and bound again when the interface is another one of the same name. Must not
//! know what is in a frame, nor when to look.
//!
//! A socket is opened once: binding it anew needs no capability, so a link comes back also after the program has given
//! up its privileges.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};

use libc::c_int;
use socket2::{Domain, Protocol, Socket, Type};

use super::config::{Mode, PacketConfig, PacketError};
use super::filter;
use super::frames::{self, BEFORE, Place, Received, VIRTIO};
use super::ring::{Ring, Slots};
use super::sys::{self, Interface};
use crate::address::Mac;
use crate::device::BURST;
use crate::encap::{Encap, EncapConfig, Offload};
use crate::interface::InterfaceError;

/// Bytes of a block: room for several of the longest frames that there can be.
const BLOCK: usize = 256 << 10;
/// Bytes of the longest frame that there can be, several packets in one: 64 KiB and its headers.
const FRAME_MAX: usize = (1 << 16) + 64;

/// A packet socket.
#[derive(Debug)]
pub(super) struct Port {
    interface: Box<str>,
    /// Before the socket, though it would not matter: the mapping holds on to it.
    ring: Ring,
    socket: Socket,
    /// The next slot.
    next: usize,
    reading: Reading,
    /// A frame that was too long for its slot, behind virtio's header.
    long: Box<[u8]>,
    mac: Mac,
    groups: Vec<Mac>,
    /// Bytes that the interface must carry behind an Ethernet header.
    mtu: usize,
    /// The interface that the socket was bound to last.
    bound: c_int,
    /// Frames to our MAC address, which is not the interface's, were asked for.
    has_asked: bool,
    pub(super) overruns: u64,
}

#[derive(Clone, Copy, Debug)]
enum Reading {
    Frames,
    /// Where in the next block we are, if it was begun.
    Blocks(Option<Place>),
}

impl Port {
    /// Opens a socket and binds it to an interface; returns it with the encapsulation for its MAC address, and with the
    /// reason if frames cannot pass for now.
    pub(super) fn open(
        name: &str,
        encap: &EncapConfig,
        config: &PacketConfig,
    ) -> Result<(Self, Encap, Option<PacketError>), PacketError> {
        config.check()?;
        let failed = |step| move |source| PacketError::System { interface: name.into(), step, source };
        // Of no protocol, so that nothing is received before it is bound.
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))
            .map_err(|source| PacketError::of_step(name, "opening a packet socket", source))?;
        socket.set_nonblocking(true).map_err(failed("making the socket non-blocking"))?;
        let interface = look(&socket, name)?;
        let encap = Encap::new(interface.mac, encap)?;
        check(name, &interface, encap.mtu())?;

        let yes: c_int = 1;
        let set = |option, step| {
            sys::set(&socket, option, &yes).map_err(|source| PacketError::of_step(name, step, source))
        };
        set(libc::PACKET_IGNORE_OUTGOING, "PACKET_IGNORE_OUTGOING")?;
        set(libc::PACKET_VNET_HDR, "PACKET_VNET_HDR")?;
        // Frames too long for a slot are queued as a whole.
        set(libc::PACKET_COPY_THRESH, "PACKET_COPY_THRESH")?;
        sys::force_receive_buffer(&socket, config.ring_bytes)
            .or_else(|_| socket.set_recv_buffer_size(config.ring_bytes))
            .map_err(failed("sizing the receive buffer"))?;
        socket.set_send_buffer_size(config.send_buffer).map_err(failed("sizing the send buffer"))?;
        socket.attach_filter(&filter::program(&encap)).map_err(failed("attaching a filter"))?;
        let (slots, slot_len, reading) = match config.mode {
            Mode::Latency => {
                (Slots::Frames, (BEFORE + encap.frame_len()).next_power_of_two(), Reading::Frames)
            }
            Mode::Bulk { block_timeout_ms } => {
                (Slots::Blocks { timeout_ms: block_timeout_ms }, BLOCK, Reading::Blocks(None))
            }
        };
        let ring = Ring::new(&socket, slots, slot_len, config.ring_bytes).map_err(failed("making a ring"))?;
        let mut port = Self {
            interface: name.into(),
            ring,
            socket,
            next: 0,
            reading,
            long: vec![0; VIRTIO + FRAME_MAX].into(),
            mac: interface.mac,
            groups: encap.groups().filter(|group| *group != Mac::BROADCAST).collect(),
            mtu: encap.mtu(),
            bound: 0,
            has_asked: false,
            overruns: 0,
        };
        port.attach(&interface)?;
        let down =
            (!interface.is_running).then(|| InterfaceError::NoCarrier { interface: name.into() }.into());
        Ok((port, encap, down))
    }

    /// Looks whether frames can pass, and binds the socket anew where that takes it: after the link was down, because
    /// what is there now may be another interface of the same name. Returns whether it is.
    pub(super) fn look(&mut self, was_down: bool) -> Result<bool, PacketError> {
        let interface = look(&self.socket, &self.interface)?;
        check(&self.interface, &interface, self.mtu)?;
        if !interface.is_running {
            return Err(InterfaceError::NoCarrier { interface: self.interface.clone().into() }.into());
        }
        let is_another = interface.index != self.bound;
        if was_down || is_another {
            self.attach(&interface)?;
        } else if interface.mac != self.mac && !self.has_asked {
            self.ask(interface.index)?;
        }
        Ok(is_another)
    }

    fn attach(&mut self, interface: &Interface) -> Result<(), PacketError> {
        sys::bind(&self.socket, interface.index, libc::ETH_P_ALL as u16).map_err(self.failed("binding"))?;
        self.bound = interface.index;
        // What the last interface's end has left there.
        let _ = self.take_error();
        for group in &self.groups {
            // Joined twice is joined.
            join(&self.socket, interface.index, libc::PACKET_MR_MULTICAST, *group)
                .map_err(self.failed("joining a multicast group"))?;
        }
        self.has_asked = false;
        if interface.mac != self.mac { self.ask(interface.index) } else { Ok(()) }
    }

    /// Has the interface pass frames to our MAC address although its own is another: ours is the one that it had when
    /// we began, and that the others know us by.
    fn ask(&mut self, index: c_int) -> Result<(), PacketError> {
        join(&self.socket, index, libc::PACKET_MR_UNICAST, self.mac)
            .map_err(self.failed("asking for frames to the MAC address that it had"))?;
        self.has_asked = true;
        Ok(())
    }

    fn failed(&self, step: &'static str) -> impl FnOnce(io::Error) -> PacketError + use<> {
        let interface = self.interface.clone().into();
        move |source| PacketError::System { interface, step, source }
    }

    /// Hands over the next frames, [`BURST`] at most; returns whether there are more.
    pub(super) fn receive(&mut self, mut each: impl FnMut(&[u8], Offload)) -> bool {
        let mut is_behind_lost = false;
        for _ in 0..BURST {
            let Some(slot) = self.ring.slot(self.next) else { break };
            let (received, is_done) = match &mut self.reading {
                Reading::Frames => (frames::single(slot), true),
                Reading::Blocks(place) => {
                    let mut at = place.unwrap_or_else(|| Place::first(slot));
                    let received = at.next(slot);
                    *place = (!at.is_end()).then_some(at);
                    (received, at.is_end())
                }
            };
            if let Some(received) = received {
                is_behind_lost |= received.is_behind_lost;
                match whole(&self.socket, &mut self.long, received) {
                    Some(Received { bytes, offload, .. }) => each(bytes, offload),
                    None => each(received.bytes, received.offload),
                }
            }
            if is_done {
                self.ring.give_back(self.next);
                self.next = (self.next + 1) % self.ring.count();
            }
        }
        if is_behind_lost {
            // An error is one of the socket, and shows when it is used.
            self.overruns += sys::take_overruns(&self.socket).unwrap_or(0);
        }
        self.ring.slot(self.next).is_some()
    }

    /// Sends a frame behind virtio's header, all zero.
    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.send(frame).map(drop)
    }

    /// Returns the error that waits at the socket.
    pub(super) fn take_error(&self) -> Option<io::Error> {
        self.socket.take_error().unwrap_or_else(Some)
    }
}

/// Reads the frame that was too long for its slot; `None` where it was not, or is not there.
fn whole<'l>(mut socket: &Socket, long: &'l mut [u8], received: Received<'_>) -> Option<Received<'l>> {
    if !received.is_elsewhere {
        return None;
    }
    let len = socket.read(long).ok()?;
    let (virtio, bytes) = long[..len].split_at_checked(VIRTIO)?;
    let offload = Offload { segment: frames::segment(virtio), ..received.offload };
    Some(Received { bytes, offload, ..received })
}

fn look(socket: &Socket, name: &str) -> Result<Interface, PacketError> {
    let interface = Interface::named(socket, name).map_err(|source| match source.raw_os_error() {
        Some(libc::ENODEV) => InterfaceError::Missing { interface: name.into() }.into(),
        _ => PacketError::System { interface: name.into(), step: "asking for the interface", source },
    })?;
    match interface.hardware {
        libc::ARPHRD_ETHER => Ok(interface),
        hardware => Err(InterfaceError::NotEthernet { interface: name.into(), hardware }.into()),
    }
}

fn check(name: &str, interface: &Interface, needed: usize) -> Result<(), InterfaceError> {
    let (name, mtu) = (|| name.to_owned(), interface.mtu);
    if !interface.is_up {
        return Err(InterfaceError::Down { interface: name() });
    }
    if mtu < needed {
        return Err(InterfaceError::Mtu { interface: name(), mtu, needed });
    }
    Ok(())
}

fn join(socket: &Socket, index: c_int, kind: c_int, mac: Mac) -> io::Result<()> {
    let mut address = [0; 8];
    address[..6].copy_from_slice(&mac.0);
    let request = libc::packet_mreq {
        mr_ifindex: index,
        mr_type: kind as u16,
        mr_alen: mac.0.len() as u16,
        mr_address: address,
    };
    sys::set(socket, libc::PACKET_ADD_MEMBERSHIP, &request)
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
