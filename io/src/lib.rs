//! What [popmap-core] leaves to its host, for hosts with std.
//!
//! The core reads no clock, opens no file, sends no packet and draws no randomness. This crate does:
//!
//! - [`Driver`]: a node with a device and a clock, in your loop ([`Driver::poll`]) or on a thread of its own
//!   ([`Driver::spawn`]), written to through a [`Handle`];
//! - [`Device`]: where packets go, a burst at a time: [`UdpDevice`] over the network, [`LoopbackDevice`] within a
//!   process, and around either of them [`FaultDevice`] (loss, delay, damage) and [`CaptureDevice`] (pcap);
//! - [`af_packet`] on Linux: frames on an interface, past the kernel's own protocols;
//! - [`af_xdp`] on Linux: the same past the whole network stack, by a small program in the interface's driver;
//! - `dpdk` with the feature of that name: network cards and virtual devices without the kernel; [`docs::dpdk`] says how
//!   they are set up;
//! - [`encap`]: what stands before a packet where no kernel puts it there: bare Ethernet, or UDP with an IP address of
//!   its own; for devices that carry frames;
//! - [`GenerationFile`]: the number that rises each time the server in a slot starts, kept across restarts, and
//!   [`life_id`], the random bits that tell two lives apart even where it does not (DESIGN R4);
//! - [`keys`]: the files with the secrets that packets are authenticated by;
//! - [`MonotonicClock`], which drives a node, and [`wall_clock_seconds`], the floor under a new generation;
//! - [`memory`]: a network in virtual time, with faults drawn from a seed, for tests on one thread.
//!
//! Two servers in one process; on two hosts, each has its part, an address of its own and a [`GenerationFile`]:
//!
//! ```
//! use popmap_core::{Config, Key, Life, Lookup, Node, Shape, Slot};
//! use popmap_io::{Device, Driver, DriverConfig, Storage, UdpConfig, UdpDevice};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let shape = Shape { schema: 1, value_len: 8 };
//! let (mut handles, mut readers, mut running, mut seeds) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
//! for slot in 0..2 {
//!     let device = UdpDevice::bind("127.0.0.1:0".parse()?, &UdpConfig::DEFAULT)?;
//!     seeds.push(device.local());
//!     let node = Config::new(7, Slot::at(slot), Life::NONE, 1_000, shape); // a new life, drawn at the start
//!     let config = DriverConfig { seeds: seeds.clone(), ..DriverConfig::new(node) };
//!     let storage = Storage::new(Node::<2>::words(&node)).leak(); // for driver and readers, on any thread
//!     let driver = Driver::<_, 2>::start(&config, storage, device)?;
//!     handles.push(driver.handle());
//!     readers.push(driver.reader());
//!     running.push(driver.spawn(|news| println!("{news:?}"))?);
//! }
//! let (key, mut value) = (Key::from_name(b"origin-17"), [0; 8]);
//! while !matches!(readers[1].get(key, &mut value), Lookup::Found(_)) {
//!     handles[0].put(key, &200u64.to_le_bytes())?; // refused, and told so, until both have met: rule R4
//!     std::thread::sleep(std::time::Duration::from_millis(10));
//! }
//! assert_eq!(u64::from_le_bytes(value), 200);
//! for server in running {
//!     server.stop()?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [popmap-core]: https://docs.rs/popmap-core

// The back ends say where they need it and why.
#![deny(unsafe_code)]

pub mod address;
#[cfg(target_os = "linux")]
pub mod af_packet;
#[cfg(target_os = "linux")]
pub mod af_xdp;
mod bell;
mod capture;
mod clock;
mod device;
pub mod docs;
#[cfg(feature = "dpdk")]
pub mod dpdk;
mod driver;
pub mod encap;
mod fault;
mod generation;
#[cfg(target_os = "linux")]
mod interface;
pub mod keys;
mod life;
mod loopback;
pub mod memory;
mod storage;
mod udp;

pub use capture::{CaptureDevice, Directions, Pcap};
pub use clock::{MonotonicClock, SET_CLOCK_SECONDS, wall_clock, wall_clock_seconds};
pub use device::{BURST, Burst, Device, DeviceStats};
pub use driver::{
    Driver, DriverConfig, DriverStats, Handle, News, NewsReceiver, NewsSender, Pace, QueueError, Running,
    Snapshot, StartError, news_channel,
};
pub use fault::{FaultControl, FaultDevice};
pub use generation::{GenerationError, GenerationFile, Start, WriteStep};
#[cfg(target_os = "linux")]
pub use interface::InterfaceError;
pub use life::life_id;
pub use loopback::{Loopback, LoopbackDevice};
pub use storage::Storage;
pub use udp::{BindError, UdpConfig, UdpDevice, UdpStats};
