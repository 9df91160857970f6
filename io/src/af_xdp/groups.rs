//! Memberships: which frames the hardware lets in beside those to its own MAC address.
//!
//! Knows one socket option. Must not know why a group is of interest.
//!
//! A packet socket without a protocol receives nothing and holds memberships, which end with it. The kernel's own way,
//! joining an IPv6 group, would need IPv6 on the interface.

#![allow(unsafe_code, reason = "no crate used here has PACKET_ADD_MEMBERSHIP")]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::link::Interface;
use crate::address::Mac;

/// Has the interface let frames in that are for these groups, and for the station if that is not the interface's own, as
/// long as the socket lives. Broadcast needs no membership.
pub(super) fn join(
    interface: &Interface,
    station: Mac,
    groups: impl Iterator<Item = Mac>,
) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    for group in groups.filter(|group| *group != Mac::BROADCAST) {
        add(&socket, interface.index, libc::PACKET_MR_MULTICAST, group)?;
    }
    if station != interface.mac {
        add(&socket, interface.index, libc::PACKET_MR_UNICAST, station)?;
    }
    Ok(socket)
}

fn add(socket: &OwnedFd, interface: u32, kind: libc::c_int, mac: Mac) -> io::Result<()> {
    let mut address = [0; 8];
    address[..6].copy_from_slice(&mac.0);
    let membership = libc::packet_mreq {
        mr_ifindex: interface.cast_signed(),
        mr_type: kind as libc::c_ushort,
        mr_alen: 6,
        mr_address: address,
    };
    // SAFETY: the option's value is a membership, as long as said, and is only read.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            (&raw const membership).cast(),
            size_of::<libc::packet_mreq>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
