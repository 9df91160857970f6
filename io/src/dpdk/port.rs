//! The port: one device of DPDK's, with one queue in each direction.
//!
//! Knows how a port is set up, asked and taken down. Must not know what frames hold, nor when to send some.

use std::cell::Cell;
use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::fmt;
use std::marker::PhantomData;
use std::sync::MutexGuard;

use popmap_dpdk_sys as sys;
use rustix::net::netdevice::index_to_name;
use rustix::net::{AddressFamily, SocketType, socket};

use super::batch::Batch;
use super::eal::{Eal, c_string, kernel_driver, name_of, refused, text};
use super::error::DpdkError;
use super::log;
use super::pool::Pool;
use crate::address::Mac;
use crate::device::BURST;

/// The MTU that a port gets where it can, although less is needed: then a frame that is too long is seen and counted.
const MTU: usize = 1_500;
/// Bytes that an Ethernet header with two tags and the frame check sequence add to it.
const AROUND: usize = 14 + 2 * 4 + 4;
/// Mbufs that a thread may have at hand besides those in queues and batches.
const AT_HAND: u32 = 512;
/// Mbufs that are taken from a port of rings before it is closed, in bursts: else they are in its ring for ever. Other
/// drivers see to that by themselves, and memif's is better not asked when the other end may just be ending, too.
const DRAIN: usize = 65_536 / BURST;
const RINGS: &str = "net_ring";

/// Drivers that leave something with DPDK's own thread when their port is closed: memif's listening socket.
const LINGERING: [&str; 1] = ["net_memif"];

/// How a port is set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortConfig {
    /// Bytes behind the Ethernet header that frames may have. Default: 1,500.
    pub mtu: usize,
    /// The MAC address it gets. Default: none, it keeps its own.
    pub mac: Option<Mac>,
    /// Frames that may wait to be taken; the driver may choose another number. Default: 1,024.
    pub receive_queue: u16,
    /// Frames that may wait to be sent; the driver may choose another number. Default: 1,024.
    pub send_queue: u16,
}

impl PortConfig {
    /// The defaults.
    pub const DEFAULT: Self = Self { mtu: MTU, mac: None, receive_queue: 1_024, send_queue: 1_024 };
}

impl PortConfig {
    /// Returns the bytes of the longest frame that a port so set up may hand over: what the mbufs of its pool must hold.
    #[must_use]
    pub fn frame_len(&self) -> usize {
        self.mtu.max(MTU) + AROUND
    }
}

impl Default for PortConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What a port counts, as far as its driver does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PortStats {
    /// Frames received.
    pub received: u64,
    /// Frames lost because the queue was full.
    pub missed: u64,
    /// Frames lost because they were damaged, or too long.
    pub receive_errors: u64,
    /// Times that there was no mbuf for a frame.
    pub no_mbuf: u64,
    /// Frames sent.
    pub sent: u64,
    /// Frames that could not be sent.
    pub send_errors: u64,
}

/// A port at work. Dropping it stops it and gives the device back.
pub struct Port {
    id: u16,
    name: CString,
    mac: Mac,
    pool: Pool,
    /// The kernel's interface that it uses, 0 if there is none.
    interface: u32,
    driver: String,
    is_started: bool,
    /// DPDK wants one thread at a time, also for questions.
    one_thread: PhantomData<Cell<()>>,
}

impl Port {
    /// Sets up and starts the port of a device: a PCI address, or a virtual device with its arguments. The device is
    /// attached unless it is already.
    ///
    /// # Errors
    /// Why not. The device is given back.
    pub fn open(eal: &Eal, device: &str, pool: &Pool, config: &PortConfig) -> Result<Self, DpdkError> {
        let name = name_of(device)?;
        let c_name = c_string(name)?;
        // As one step: else a number found may be another device's a moment later.
        let mut held = eal.control();
        let id = match find(&held, &c_name) {
            Some(id) => id,
            None => attached(eal, &held, device, &c_name)?,
        };
        if !held.insert(id) {
            return Err(DpdkError::PortTaken(name.to_owned()));
        }
        drop(held);
        Self::start(eal, id, c_name, pool, config)
    }

    /// Sets up and starts a port that is there, and was just now noted as in use.
    pub(super) fn start(
        eal: &Eal,
        id: u16,
        name: CString,
        pool: &Pool,
        config: &PortConfig,
    ) -> Result<Self, DpdkError> {
        let device = || name.to_string_lossy().into_owned();
        // From here on dropping it gives the device back.
        let mut port = Self {
            id,
            mac: Mac::default(),
            pool: pool.clone(),
            interface: 0,
            driver: String::new(),
            is_started: false,
            one_thread: PhantomData,
            name: name.clone(),
        };
        let info = port.info()?;
        port.interface = info.if_index;
        // SAFETY: a string of the driver's, which is not unloaded while it has a port.
        port.driver = unsafe { text(info.driver_name) };
        if LINGERING.contains(&port.driver.as_str()) {
            eal.keep();
        }
        let mtu = mtu_of(&info, config.mtu);
        if mtu < config.mtu {
            return Err(DpdkError::Mtu { device: device(), needed: config.mtu, most: mtu });
        }
        if mtu + AROUND > pool.frame_len() {
            return Err(DpdkError::FrameLength { frame: mtu + AROUND, room: pool.frame_len() });
        }
        port.set_up(&info, mtu, config)?;
        let own = port.own_mac();
        port.mac = config.mac.or(own).ok_or_else(|| DpdkError::NoMac(device()))?;
        if own != Some(port.mac) {
            port.set_mac(port.mac);
        }
        // SAFETY: the port exists and is set up; nobody else has it.
        port.check("starting", |id| unsafe { sys::rte_eth_dev_start(id) })?;
        port.is_started = true;
        eal.register_thread();
        Ok(port)
    }

    /// Sets up the queues.
    fn set_up(
        &mut self,
        info: &sys::rte_eth_dev_info,
        mtu: usize,
        config: &PortConfig,
    ) -> Result<(), DpdkError> {
        let mut settings = sys::rte_eth_conf::default();
        settings.rxmode.mtu = mtu as u32;
        // SAFETY: the port exists, and `settings` outlives the call.
        self.check("configuring", |id| unsafe { sys::rte_eth_dev_configure(id, 1, 1, &settings) })?;
        let (mut receive, mut send) = (config.receive_queue, config.send_queue);
        // SAFETY: the port exists, and both numbers outlive the call.
        self.check("sizing the queues of", |id| unsafe {
            sys::rte_eth_dev_adjust_nb_rx_tx_desc(id, &mut receive, &mut send)
        })?;
        let needed = u32::from(receive) + u32::from(send) + 4 * BURST as u32 + AT_HAND;
        if needed > self.pool.mbufs() {
            return Err(DpdkError::PoolSize { mbufs: self.pool.mbufs(), needed });
        }
        // SAFETY: the port exists.
        let socket = unsafe { sys::rte_eth_dev_socket_id(self.id) }.cast_unsigned();
        let pool = self.pool.raw();
        let rx = sys::rte_eth_rxconf { offloads: 0, ..info.default_rxconf };
        // SAFETY: the port exists, `rx` outlives the call, and the pool everything but EAL.
        self.check("making the receive queue of", |id| unsafe {
            sys::rte_eth_rx_queue_setup(id, 0, receive, socket, &rx, pool)
        })?;
        let tx = sys::rte_eth_txconf { offloads: 0, ..info.default_txconf };
        // SAFETY: the port exists, and `tx` outlives the call.
        self.check("making the send queue of", |id| unsafe {
            sys::rte_eth_tx_queue_setup(id, 0, send, socket, &tx)
        })
    }

    /// Takes frames until the batch is full or no more wait; returns how many. DPDK may stop before either, so only zero
    /// says that none waits.
    #[inline]
    pub fn receive(&mut self, batch: &mut Batch) -> usize {
        let id = self.id;
        // SAFETY: the port is ours and started, so its first queue is used by nobody else; the batch has as many free
        // places as it says.
        batch.receive(|mbufs, count| unsafe { sys::popmap_rx_burst(id, mbufs, count) })
    }

    /// Sends frames from the front of the batch; returns how many. The others stay in it.
    #[inline]
    pub fn send(&mut self, batch: &mut Batch) -> usize {
        let id = self.id;
        // SAFETY: the port is ours and started, so its first queue is used by nobody else; the mbufs are the batch's to
        // give away. No send offload is on, so they may be of any pool.
        batch.send(|mbufs, count| unsafe { sys::popmap_tx_burst(id, mbufs, count) })
    }

    /// Whether the link is up, as far as the driver knows.
    #[must_use]
    pub fn is_up(&self) -> bool {
        let mut link = sys::rte_eth_link::default();
        // SAFETY: takes any port number and checks it; `link` outlives the call.
        let failed = unsafe { sys::rte_eth_link_get_nowait(self.id, &mut link) };
        failed == 0 && link.link_status() != 0
    }

    /// Takes the link down, or up again.
    ///
    /// # Errors
    /// The driver cannot.
    pub fn set_link(&mut self, up: bool) -> Result<(), DpdkError> {
        let set = if up { sys::rte_eth_dev_set_link_up } else { sys::rte_eth_dev_set_link_down };
        // SAFETY: the port exists; nobody else has it.
        self.check("setting the link of", |id| unsafe { set(id) })
    }

    /// Whether the device is gone: the card was taken out, or the kernel's interface deleted.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        // SAFETY: takes any port number and checks it.
        let removed = unsafe { sys::rte_eth_dev_is_removed(self.id) };
        removed != 0 || (self.interface != 0 && !interface_exists(self.interface))
    }

    /// Has frames to these groups received too. Where the driver has no list of groups it receives all of them, as most
    /// virtual devices do anyway.
    pub fn join(&mut self, groups: &[Mac]) {
        let mut groups: Vec<_> = groups.iter().map(ether).collect();
        let count = groups.len() as u32;
        // SAFETY: the port exists; there are as many addresses, and they outlive the call.
        let failed = unsafe { sys::rte_eth_dev_set_mc_addr_list(self.id, groups.as_mut_ptr(), count) };
        if failed != 0 && count > 0 {
            // SAFETY: the port exists; nobody else has it.
            let _ = unsafe { sys::rte_eth_allmulticast_enable(self.id) };
        }
    }

    /// Returns what the port counted.
    #[must_use]
    pub fn stats(&self) -> PortStats {
        let mut stats = sys::rte_eth_stats::default();
        // SAFETY: takes any port number and checks it; `stats` outlives the call.
        let failed = unsafe { sys::rte_eth_stats_get(self.id, &mut stats) };
        if failed != 0 {
            return PortStats::default();
        }
        PortStats {
            received: stats.ipackets,
            missed: stats.imissed,
            receive_errors: stats.ierrors,
            no_mbuf: stats.rx_nombuf,
            sent: stats.opackets,
            send_errors: stats.oerrors,
        }
    }

    /// Returns the MAC address.
    #[must_use]
    pub const fn mac(&self) -> Mac {
        self.mac
    }

    /// Returns the name of the driver.
    #[must_use]
    pub fn driver(&self) -> &str {
        &self.driver
    }

    fn info(&self) -> Result<sys::rte_eth_dev_info, DpdkError> {
        let mut info = sys::rte_eth_dev_info::default();
        // SAFETY: the port exists, and `info` outlives the call.
        self.check("asking about", |id| unsafe { sys::rte_eth_dev_info_get(id, &mut info) })?;
        Ok(info)
    }

    fn own_mac(&self) -> Option<Mac> {
        let mut own = sys::rte_ether_addr::default();
        // SAFETY: the port exists, and `own` outlives the call.
        let failed = unsafe { sys::rte_eth_macaddr_get(self.id, &mut own) };
        Some(Mac(own.addr_bytes)).filter(|mac| failed == 0 && mac.is_station())
    }

    fn set_mac(&mut self, mac: Mac) {
        let mut mac = ether(&mac);
        // SAFETY: the port exists, and the address outlives the call.
        let failed = unsafe { sys::rte_eth_dev_default_mac_addr_set(self.id, &mut mac) };
        if failed != 0 {
            // Then frames to it have to be picked out of all frames. A driver that cannot do this either has no filter.
            // SAFETY: the port exists; nobody else has it.
            let _ = unsafe { sys::rte_eth_promiscuous_enable(self.id) };
        }
    }

    /// Calls DPDK for this port; a negative result is an error number.
    fn check(&self, step: &str, call: impl FnOnce(u16) -> i32) -> Result<(), DpdkError> {
        let mark = log::mark();
        match call(self.id) {
            failed if failed < 0 => {
                Err(refused(&format!("{step} {}", self.name.to_string_lossy()), -failed, mark))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let eal = self.pool.eal().clone();
        if self.is_started && self.driver == RINGS {
            let mut left = Batch::new(&eal);
            for _ in 0..DRAIN {
                if self.receive(&mut left) == 0 {
                    break;
                }
                left.clear();
            }
        }
        let mut held = eal.control();
        // What fails here fails because the device is gone.
        // SAFETY: the port exists, and nobody uses it any more.
        let _ = unsafe { sys::rte_eth_dev_stop(self.id) };
        if !eal.detach(&held, &self.name) {
            // SAFETY: takes any port number and checks it; stopped above.
            let _ = unsafe { sys::rte_eth_dev_close(self.id) };
        }
        held.remove(&self.id);
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port")
            .field("name", &self.name)
            .field("driver", &self.driver)
            .field("mac", &self.mac)
            .finish_non_exhaustive()
    }
}

/// Attaches a device, and returns its port.
fn attached(
    eal: &Eal,
    held: &MutexGuard<'_, HashSet<u16>>,
    device: &str,
    name: &CStr,
) -> Result<u16, DpdkError> {
    let mark = log::mark();
    eal.attach(held, device)?;
    if let Some(id) = find(held, name) {
        return Ok(id);
    }
    eal.detach(held, name);
    let name = name.to_string_lossy().into_owned();
    let bound_to = kernel_driver(&name);
    Err(DpdkError::NoPort { device: name, bound_to, said: log::since(mark) })
}

/// Returns the port of a device, if there is one.
pub(super) fn find(_held: &MutexGuard<'_, HashSet<u16>>, name: &CStr) -> Option<u16> {
    let mut id = 0;
    // SAFETY: the string and `id` outlive the call, and no port comes or goes meanwhile.
    let failed = unsafe { sys::rte_eth_dev_get_port_by_name(name.as_ptr(), &mut id) };
    (failed == 0).then_some(id)
}

/// Returns the MTU that a port gets, less than `needed` if it carries no more.
fn mtu_of(info: &sys::rte_eth_dev_info, needed: usize) -> usize {
    let (max_mtu, max_frame) = (usize::from(info.max_mtu), info.max_rx_pktlen as usize);
    // As DPDK reckons: some drivers state one limit, some the other.
    let around = if info.max_mtu != u16::MAX && max_frame > max_mtu { max_frame - max_mtu } else { 14 + 4 };
    needed.max(MTU).min(max_mtu).min(max_frame.saturating_sub(around))
}

fn ether(mac: &Mac) -> sys::rte_ether_addr {
    sys::rte_ether_addr { addr_bytes: mac.0 }
}

/// Whether the kernel has an interface of this number.
fn interface_exists(index: u32) -> bool {
    // Where no socket is to be had, nothing is known, and nothing is given up.
    let Ok(any) = socket(AddressFamily::UNIX, SocketType::DGRAM, None) else { return true };
    index_to_name(&any, index).is_ok()
}
