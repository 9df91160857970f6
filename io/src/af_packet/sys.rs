//! The system calls of packet sockets that no safe API has: options, binding, and asking for an interface.
//!
//! Knows the kernel's structures. Must not know what they are used for.

#![allow(unsafe_code, reason = "setsockopt, getsockopt and ioctl take pointers")]

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::AsRawFd;

use libc::{sockaddr_ll, socklen_t};
use rustix::ioctl::{self, Opcode, Updater};
use socket2::{SockAddr, SockAddrStorage, Socket};

use crate::address::Mac;

/// Bytes of an interface's name, with the zero at its end.
const NAME: usize = libc::IFNAMSIZ;

const GET_INDEX: Opcode = libc::SIOCGIFINDEX as Opcode;
const GET_FLAGS: Opcode = libc::SIOCGIFFLAGS as Opcode;
const GET_MTU: Opcode = libc::SIOCGIFMTU as Opcode;
const GET_MAC: Opcode = libc::SIOCGIFHWADDR as Opcode;

/// What an option of a packet socket may be set to.
///
/// # Safety
/// All bytes of the type are initialised, and none of them is part of a pointer.
pub(super) unsafe trait Plain: Copy {}

// SAFETY: an integer.
unsafe impl Plain for c_int {}
// SAFETY: four `c_uint`, without padding.
unsafe impl Plain for libc::tpacket_req {}
// SAFETY: seven `c_uint`, without padding.
unsafe impl Plain for libc::tpacket_req3 {}
// SAFETY: an `int`, two `unsigned short` and eight bytes, without padding.
unsafe impl Plain for libc::packet_mreq {}

const _: () = {
    assert!(size_of::<libc::tpacket_req>() == 4 * size_of::<libc::c_uint>());
    assert!(size_of::<libc::tpacket_req3>() == 7 * size_of::<libc::c_uint>());
    assert!(size_of::<libc::packet_mreq>() == size_of::<c_int>() + 2 * size_of::<libc::c_ushort>() + 8);
    assert!(size_of::<libc::tpacket_stats>() == 2 * size_of::<libc::c_uint>());
};

/// Sets an option of level `SOL_PACKET`.
pub(super) fn set<T: Plain>(socket: &Socket, option: c_int, value: &T) -> io::Result<()> {
    set_at(socket, libc::SOL_PACKET, option, value)
}

/// Sizes the receive buffer past what the system grants to everyone (`net.core.rmem_max`). Takes `CAP_NET_ADMIN`, and
/// not that of a user namespace.
pub(super) fn force_receive_buffer(socket: &Socket, len: usize) -> io::Result<()> {
    // The kernel doubles it.
    let len = c_int::try_from(len).unwrap_or(c_int::MAX / 2);
    set_at(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &len)
}

fn set_at<T: Plain>(socket: &Socket, level: c_int, option: c_int, value: &T) -> io::Result<()> {
    // SAFETY: the kernel reads as many bytes as it is told there are, from a reference, and keeps no pointer to them;
    // what they say it checks.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const *value).cast::<c_void>(),
            size_of::<T>() as socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Returns the packets that the ring had no room for since the last call.
pub(super) fn take_overruns(socket: &Socket) -> io::Result<u64> {
    let mut stats = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut len = size_of_val(&stats) as socklen_t;
    // SAFETY: the kernel writes no more bytes than it is told there are, into a variable of plain integers; a longer
    // structure (TPACKET_V3 has one) it cuts.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut stats).cast::<c_void>(),
            &raw mut len,
        )
    };
    if result == 0 { Ok(stats.tp_drops.into()) } else { Err(io::Error::last_os_error()) }
}

/// Binds a packet socket to an interface and an EtherType, [`libc::ETH_P_ALL`] for all.
pub(super) fn bind(socket: &Socket, index: c_int, ethertype: u16) -> io::Result<()> {
    let address = sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: ethertype.to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: a `sockaddr_ll` is one of the platform's socket addresses, so the storage is large and aligned enough.
    *unsafe { storage.view_as() } = address;
    // SAFETY: the storage holds an address of the family that it names, as long as said.
    let address = unsafe { SockAddr::new(storage, size_of_val(&address) as socklen_t) };
    socket.bind(&address)
}

/// An interface as it is now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Interface {
    pub(super) index: c_int,
    /// Bytes of the longest packet behind an Ethernet header.
    pub(super) mtu: usize,
    pub(super) mac: Mac,
    /// What hardware it is, or pretends to be: `ARPHRD_ETHER`.
    pub(super) hardware: u16,
    /// Somebody switched it on.
    pub(super) is_up: bool,
    /// It is on and has a carrier.
    pub(super) is_running: bool,
}

impl Interface {
    /// Returns the interface with this name in the network namespace of `socket`.
    pub(super) fn named(socket: &Socket, name: &str) -> io::Result<Self> {
        let mut request = Request::new(name)?;
        let flags = u16::from_ne_bytes(request.get::<GET_FLAGS, 2>(socket)?);
        let [family @ .., a, b, c, d, e, f] = request.get::<GET_MAC, 8>(socket)?;
        Ok(Self {
            index: c_int::from_ne_bytes(request.get::<GET_INDEX, 4>(socket)?),
            mtu: usize::try_from(c_int::from_ne_bytes(request.get::<GET_MTU, 4>(socket)?)).unwrap_or(0),
            mac: Mac([a, b, c, d, e, f]),
            hardware: u16::from_ne_bytes(family),
            is_up: flags & libc::IFF_UP as u16 != 0,
            is_running: flags & libc::IFF_RUNNING as u16 != 0,
        })
    }
}

/// The kernel's `struct ifreq`: a name, and a union of which the kernel writes one member.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Request {
    name: [u8; NAME],
    answer: [u8; 24],
}

const _: () = assert!(size_of::<Request>() >= size_of::<libc::ifreq>());

impl Request {
    fn new(name: &str) -> io::Result<Self> {
        let mut request = Self { name: [0; NAME], answer: [0; 24] };
        // A name that is too long, or ends early, is no interface's.
        if name.len() >= NAME || name.is_empty() || name.contains('\0') {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        request.name[..name.len()].copy_from_slice(name.as_bytes());
        Ok(request)
    }

    /// Asks one of the questions above; returns the beginning of the answer.
    fn get<const QUESTION: Opcode, const LEN: usize>(&mut self, socket: &Socket) -> io::Result<[u8; LEN]> {
        const { assert!(matches!(QUESTION, GET_INDEX | GET_FLAGS | GET_MTU | GET_MAC)) };
        // SAFETY: each of these questions takes a `struct ifreq`, as which `Request` is laid out, and writes an answer of
        // plain bytes into it.
        let question = unsafe { Updater::<'_, QUESTION, Self>::new(self) };
        // SAFETY: as above; the kernel keeps no pointer.
        unsafe { ioctl::ioctl(socket, question) }?;
        let mut answer = [0; LEN];
        answer.copy_from_slice(&self.answer[..LEN]);
        Ok(answer)
    }
}
