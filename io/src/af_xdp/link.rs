//! The interface as the kernel describes it, and the word that something about it changed (rtnetlink, RFC 3549).
//!
//! Knows names, numbers and flags of interfaces. Must not know what they are used for.
//!
//! Netlink rather than files under `/sys`, which show the interfaces of the network namespace that they were mounted
//! in.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};
use zerocopy::native_endian::{I32, U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::address::Mac;

/// Bytes of the longest name, without the zero behind it.
const NAME_MAX: usize = 15;

const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const ERROR: u16 = 2;
const REQUEST: u16 = 1;
/// The multicast group for interfaces that come, go and change (`RTMGRP_LINK`).
const LINK_GROUP: u32 = 1;

const ATTRIBUTE_ADDRESS: u16 = 1;
const ATTRIBUTE_NAME: u16 = 3;
const ATTRIBUTE_MTU: u16 = 4;
const ATTRIBUTE_EXT_MASK: u16 = 29;
const ATTRIBUTE_TX_QUEUES: u16 = 31;
const ATTRIBUTE_RX_QUEUES: u16 = 32;
/// Bits above these of an attribute's type are flags.
const ATTRIBUTE_TYPE: u16 = 0x3fff;
/// No statistics, which are most of a description.
const SKIP_STATS: u32 = 1 << 3;

const FLAG_UP: u32 = 1;
const FLAG_CARRIER: u32 = 1 << 16;

/// Room for one description; they have some 1,500 bytes.
const ROOM: usize = 32 << 10;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    len: U32,
    kind: U16,
    flags: U16,
    sequence: U32,
    port: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Link {
    family: u8,
    padding: u8,
    kind: U16,
    index: I32,
    flags: U32,
    change: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Attribute {
    len: U16,
    kind: U16,
}

/// An interface at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Interface {
    pub(super) index: u32,
    /// What it is, as ARP numbers it.
    pub(super) hardware: u16,
    pub(super) mac: Mac,
    /// Bytes behind the Ethernet header that a frame may have.
    pub(super) mtu: u32,
    /// Of either direction, whichever are more; as many as there can be, not all of which need be in use.
    pub(super) queues: u32,
    pub(super) is_up: bool,
    pub(super) has_carrier: bool,
}

/// Asks for one interface.
fn request(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Filled in at the end.
    bytes.extend_from_slice(&[0; size_of::<Header>() + size_of::<Link>()]);
    let mut attribute = |kind: u16, value: &[u8]| {
        let len = U16::new((size_of::<Attribute>() + value.len()) as u16);
        bytes.extend_from_slice(Attribute { len, kind: kind.into() }.as_bytes());
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    };
    attribute(ATTRIBUTE_EXT_MASK, &SKIP_STATS.to_ne_bytes());
    let mut value = name.as_bytes().to_vec();
    value.push(0);
    attribute(ATTRIBUTE_NAME, &value);
    let header = Header {
        len: U32::new(bytes.len() as u32),
        kind: GET_LINK.into(),
        flags: REQUEST.into(),
        sequence: U32::new(1),
        port: U32::ZERO,
    };
    bytes[..size_of::<Header>()].copy_from_slice(header.as_bytes());
    bytes
}

fn describe(body: &[u8]) -> Option<Interface> {
    let (link, mut rest) = Link::ref_from_prefix(body).ok()?;
    let flags = link.flags.get();
    let mut interface = Interface {
        index: u32::try_from(link.index.get()).ok()?,
        hardware: link.kind.get(),
        mac: Mac::default(),
        mtu: 0,
        queues: 1,
        is_up: flags & FLAG_UP != 0,
        has_carrier: flags & FLAG_CARRIER != 0,
    };
    while let Ok((attribute, _)) = Attribute::ref_from_prefix(rest) {
        let len = usize::from(attribute.len.get());
        let value = rest.get(size_of::<Attribute>()..len)?;
        let number = || U32::read_from_bytes(value).ok().map(U32::get);
        match attribute.kind.get() & ATTRIBUTE_TYPE {
            ATTRIBUTE_ADDRESS if value.len() == 6 => interface.mac = Mac::read_from_bytes(value).ok()?,
            ATTRIBUTE_MTU => interface.mtu = number()?,
            ATTRIBUTE_RX_QUEUES | ATTRIBUTE_TX_QUEUES => interface.queues = interface.queues.max(number()?),
            _ => {}
        }
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(interface)
}

/// Looks at interfaces and hears of changes; needs no capability.
#[derive(Debug)]
pub(super) struct Watch {
    /// The kernel answers a question before asking returns, so that nothing is waited for.
    asking: OwnedFd,
    listening: OwnedFd,
}

impl Watch {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { asking: open(0)?, listening: open(LINK_GROUP)? })
    }

    /// Returns the interface with this name; `None` when there is none.
    pub(super) fn look(&self, name: &str) -> io::Result<Option<Interface>> {
        if name.is_empty() || name.len() > NAME_MAX || name.contains('\0') {
            return Ok(None);
        }
        send(&self.asking, &request(name), SendFlags::empty())?;
        let mut answer = vec![0; ROOM];
        let (_, len) = recv(&self.asking, &mut answer[..], RecvFlags::empty())?;
        let broken = || io::Error::from(io::ErrorKind::InvalidData);
        let answer = answer.get(..len).ok_or_else(broken)?;
        let (header, rest) = Header::ref_from_prefix(answer).map_err(|_| broken())?;
        let (len, start) = (header.len.get() as usize, size_of::<Header>());
        let body = rest.get(..len.saturating_sub(start)).ok_or_else(broken)?;
        match header.kind.get() {
            NEW_LINK => describe(body).map(Some).ok_or_else(broken),
            ERROR => {
                let (code, _) = I32::ref_from_prefix(body).map_err(|_| broken())?;
                match Errno::from_raw_os_error(-code.get()) {
                    Errno::NODEV => Ok(None),
                    error => Err(error.into()),
                }
            }
            _ => Err(broken()),
        }
    }

    /// Whether any interface changed since the last call. Which, and how, is to be looked at: words get lost when many
    /// come at once.
    pub(super) fn has_changed(&self) -> bool {
        let mut changed = false;
        loop {
            // What does not fit into the room is cut off, and nobody reads it.
            match recv(&self.listening, &mut [0; 16], RecvFlags::DONTWAIT) {
                Ok(_) | Err(Errno::NOBUFS) => changed = true,
                Err(Errno::INTR) => {}
                Err(_) => return changed,
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listening.as_fd()
    }
}

fn open(groups: u32) -> io::Result<OwnedFd> {
    // Protocol 0 is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_found_and_no_other() {
        let watch = Watch::new().unwrap();
        let found = watch.look("lo").unwrap().expect("every namespace has one");
        assert!(
            found.index > 0 && found.hardware == libc::ARPHRD_LOOPBACK && found.mtu > 0 && found.queues > 0,
            "{found:?}"
        );
        assert_eq!(found.mac, Mac::default());
        for none in ["", "popmap-none", "a name of more than fifteen bytes", "lo\0"] {
            assert_eq!(watch.look(none).unwrap(), None, "{none:?}");
        }
    }

    #[test]
    fn nothing_changed_yet() {
        // In a namespace of its own nothing would; on a busy host something may.
        let watch = Watch::new().unwrap();
        let _ = watch.has_changed();
    }

    #[test]
    fn damaged_descriptions_are_none_or_something_but_no_panic() {
        let mut body = vec![0; 16];
        body[2] = 1;
        body[4] = 7;
        for (kind, value) in
            [(1u16, &[2, 0, 0, 0, 0, 9][..]), (4, &1_500u32.to_ne_bytes()), (32, &4u32.to_ne_bytes())]
        {
            body.extend_from_slice(&(4 + value.len() as u16).to_ne_bytes());
            body.extend_from_slice(&kind.to_ne_bytes());
            body.extend_from_slice(value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        if cfg!(target_endian = "little") {
            let whole = describe(&body).unwrap();
            assert_eq!((whole.index, whole.mtu, whole.queues), (7, 1_500, 4));
            assert_eq!(whole.mac, Mac([2, 0, 0, 0, 0, 9]));
        }
        for len in 0..body.len() {
            let _ = describe(&body[..len]);
            for byte in 0..=255 {
                let mut damaged = body.clone();
                damaged[len] = byte;
                let _ = describe(&damaged);
            }
        }
    }
}
