//! Rings: two ports in one process, joined by memory alone.
//!
//! Knows how a port is made of rings. Must not know what passes through them. For tests, and for measuring what is left
//! of the cost of a packet without a card and without a kernel.

use std::ffi::CString;
use std::ptr::NonNull;

use popmap_dpdk_sys as sys;

use super::eal::{Eal, c_string, errno, refused};
use super::error::DpdkError;
use super::log;
use super::pool::Pool;
use super::port::{Port, PortConfig, find};

impl Port {
    /// Makes two ports that are joined by rings in memory: what one sends the other receives, mbuf and all. They have no
    /// MAC addresses of their own.
    ///
    /// # Errors
    /// Why not.
    pub fn pair(eal: &Eal, pools: [&Pool; 2], configs: [&PortConfig; 2]) -> Result<[Self; 2], DpdkError> {
        let there = ring(eal, configs[0].send_queue)?;
        let back = ring(eal, configs[1].send_queue)?;
        let left = ring_port(eal, back, there)?;
        let left = Self::start(eal, left.0, left.1, pools[0], configs[0])?;
        let right = ring_port(eal, there, back)?;
        let right = Self::start(eal, right.0, right.1, pools[1], configs[1])?;
        Ok([left, right])
    }
}

/// A ring that lives until EAL ends, because either port may go first.
#[derive(Clone, Copy)]
struct Ring(NonNull<sys::rte_ring>);

/// Makes a ring for so many mbufs.
fn ring(eal: &Eal, size: u16) -> Result<Ring, DpdkError> {
    let name = c_string(&eal.name("ring"))?;
    let size = u32::from(size).next_power_of_two();
    let (mark, held) = (log::mark(), eal.control());
    // SAFETY: EAL runs; the name outlives the call, which copies it. -1 is "anywhere".
    let ring = unsafe { sys::rte_ring_create(name.as_ptr(), size, -1, sys::POPMAP_RING_FLAGS) };
    drop(held);
    NonNull::new(ring).map(Ring).ok_or_else(|| refused("making a ring", errno(), mark))
}

/// Makes a port that receives from one ring and sends into another; returns it and its device's name.
fn ring_port(eal: &Eal, from: Ring, to: Ring) -> Result<(u16, CString), DpdkError> {
    let (from, to) = (from.0.as_ptr(), to.0.as_ptr());
    let name = eal.name("port");
    let (c_name, device) = (c_string(&name)?, c_string(&format!("net_ring_{name}"))?);
    let (mark, mut held) = (log::mark(), eal.control());
    // SAFETY: EAL runs; the name and both arrays outlive the call, and the rings every port.
    let id = unsafe { sys::rte_eth_from_rings(c_name.as_ptr(), &from, 1, &to, 1, 0) };
    let id = u16::try_from(id).map_err(|_| refused("making a port of rings", errno(), mark))?;
    debug_assert_eq!(find(&held, &device), Some(id));
    held.insert(id);
    Ok((id, device))
}
