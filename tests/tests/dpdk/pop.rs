//! Servers over DPDK devices, and what they have to arrive at.
//!
//! Knows drivers and readers. Must not know how frames travel.

use std::time::{Duration, Instant};

use popmap_core::{Address, Config, Key, Life, Lookup, Node, Phase, Reader, Shape, Slot, SlotSet};
use popmap_io::dpdk::{DpdkConfig, DpdkDevice, Eal, EalConfig};
use popmap_io::encap::EncapConfig;
use popmap_io::{Device, Driver, DriverConfig, Running, Storage, address::Mac};

use super::peer::end_with_parent;

/// Far longer than anything takes, also on a busy machine.
pub const LONG: Duration = Duration::from_secs(60);
const SHAPE: Shape = Shape { schema: 1, value_len: 8 };

pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LONG, "{what}: not within {LONG:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Starts EAL in ordinary memory.
pub fn eal(memory_mib: u32) -> Eal {
    Eal::start(&EalConfig::without_huge_pages(memory_mib)).unwrap()
}

pub fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

/// Returns a configuration with little memory, for a station of this number.
pub fn config(encap: EncapConfig, station: u8) -> DpdkConfig {
    let config = DpdkConfig::new(encap.insecure(true)).mac(mac(station));
    DpdkConfig { receive_queue: 256, send_queue: 256, mbufs: 2_047, ..config }
}

/// Two devices joined by rings, with bare frames.
pub fn bare_pair(eal: &Eal) -> [DpdkDevice; 2] {
    let configs = [1, 2].map(|station| config(EncapConfig::ethernet(), station));
    DpdkDevice::pair(eal, configs.each_ref()).unwrap()
}

/// Has `fill` called for so many packets of eight bytes, with their numbers.
pub fn send(device: &mut DpdkDevice, to: Address, numbers: &mut std::ops::Range<u64>) -> popmap_io::Burst {
    let fill = |frame: &mut [u8]| {
        let number = numbers.next()?;
        frame[..8].copy_from_slice(&number.to_le_bytes());
        Some((to, 8))
    };
    device.send(fill).unwrap()
}

/// Appends the numbers of the packets of one burst.
pub fn receive(device: &mut DpdkDevice, numbers: &mut Vec<u64>) -> popmap_io::Burst {
    device.receive(|_, packet| numbers.push(u64::from_le_bytes(packet.try_into().unwrap()))).unwrap()
}

/// Runs a server until this process is killed or alone, as `slot` of two, with the other as its seed; it writes its keys.
pub fn serve(slot: usize, seed: Address, device: DpdkDevice, round: u64) -> ! {
    let server = Server::spawn(&driver_config(slot, 2, &[seed]), device);
    wait_for("it may write", || server.is_active());
    server.write(round);
    end_with_parent()
}

pub fn driver_config(slot: usize, slots: usize, seeds: &[Address]) -> DriverConfig {
    let mut node = Config::new(7, Slot::at(slot), Life::NONE, 1_000, SHAPE);
    node.configured = SlotSet::first(slots);
    DriverConfig { seeds: seeds.to_vec(), ..DriverConfig::new(node) }
}

pub struct Server {
    pub running: Running,
    pub reader: Reader<'static>,
    pub slot: usize,
}

impl Server {
    pub fn spawn<D: Device + Send + 'static>(config: &DriverConfig, device: D) -> Self {
        let storage = Storage::new(Node::<8>::words(&config.node)).leak();
        let driver = Driver::<_, 8>::start(config, storage, device).unwrap();
        let (reader, slot) = (driver.reader(), driver.node().map().slot().index());
        Self { running: driver.spawn(|_| ()).unwrap(), reader, slot }
    }

    pub fn knows(&self, slots: usize) -> bool {
        self.running.handle().snapshot().owners.live() == SlotSet::first(slots)
    }

    pub fn is_active(&self) -> bool {
        matches!(self.running.handle().snapshot().phase, Phase::Active { .. })
    }

    /// Writes this server's keys.
    pub fn write(&self, round: u64) {
        for n in 0..KEYS {
            self.running.handle().put(key(self.slot, n), &(round + n).to_le_bytes()).unwrap();
        }
    }

    /// Whether all keys of a server are here.
    pub fn has(&self, slot: usize, round: u64) -> bool {
        (0..KEYS).all(|n| {
            let mut value = [0; 8];
            let found = matches!(self.reader.get(key(slot, n), &mut value), Lookup::Found(_));
            found && u64::from_le_bytes(value) == round + n
        })
    }
}

/// Keys that each server writes.
const KEYS: u64 = 50;

fn key(slot: usize, n: u64) -> Key {
    Key::from_name(&[slot as u64, n].map(u64::to_le_bytes).concat())
}

/// All join, each writes, all see everything.
pub fn converge(servers: &[Server]) {
    wait_for("all know all", || servers.iter().all(|server| server.knows(servers.len())));
    wait_for("all may write", || servers.iter().all(Server::is_active));
    servers.iter().for_each(|server| server.write(0));
    wait_for("all see all writes", || {
        servers.iter().all(|server| (0..servers.len()).all(|slot| server.has(slot, 0)))
    });
}

/// The server in slot 0 meets one in another process, and sees all that it writes.
pub fn converge_with(server: &Server, slot: usize, round: u64) {
    wait_for("both are live", || server.knows(2));
    wait_for("it may write", || server.is_active());
    wait_for("it sees what the other wrote", || server.has(slot, round));
}
