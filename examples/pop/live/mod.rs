//! The PoP: real servers, each with a UDP socket and two threads, on loopback.
//!
//! Knows how to start, kill, cut off and ask servers. Must not know the story that is played, nor what is shown of it.
//!
//! Each server is what a real one would be: a [`Driver`] that gossips on one thread, and on another the HTTP checks of
//! the origins that it owns. Between the driver and its socket stand a device that loses packets on demand, one that
//! captures them, and one that times what becomes of them.

mod checks;
mod gossip;
mod probe;
mod status;

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use popmap_core::map::TypedReader;
use popmap_core::rng::Rng;
use popmap_core::time::Duration;
use popmap_core::{Address, Config, Key, Life, Phase, Reader, Slot, SlotSet};
use popmap_io::memory::Faults;
use popmap_io::{
    CaptureDevice, Device, Directions, Driver, DriverConfig, FaultControl, FaultDevice, Handle,
    MonotonicClock, Pace, Pcap, UdpConfig, UdpDevice, address,
};

use crate::health::{Health, SHAPE};
use crate::measure::{Stopwatch, Times, Totals};
use crate::schedule::Checks;
use crate::stop::Stop;
use crate::storage::capacity;
use crate::world::{World, lock};
pub use checks::is_orphan;
use checks::{Checker, Order, Orders};
use probe::Probe;
pub use status::Status;
use status::{Ended, Shared};

/// The cluster's number, in this process and in virtual time alike.
pub const CLUSTER: u64 = 0x504f_5001;
/// How long fresh results wait for company before they are pushed to the others. The default is a fifth of this; but here
/// all servers share the cores of one machine, and each push goes to all others.
pub const PUSH_DELAY: Duration = Duration::from_millis(50);
/// How long a gossip thread lets packets gather.
const NAP: std::time::Duration = std::time::Duration::from_millis(4);
/// Checks that all servers together have under way at most: each takes a file at both ends.
const IN_FLIGHT: usize = 1_024;
/// Bytes of a thread's stack.
const STACK: usize = 512 << 10;

/// A server at work.
struct Running<'scope, 'env> {
    shared: Arc<Shared>,
    handle: Handle,
    orders: Orders,
    reader: Reader<'env>,
    faults: FaultControl,
    gossip: ScopedJoinHandle<'scope, io::Result<Ended>>,
    checks: ScopedJoinHandle<'scope, io::Result<()>>,
}

/// One server's place.
struct Server<'scope, 'env> {
    address: SocketAddr,
    generation: u32,
    /// `None` while it is down.
    running: Option<Running<'scope, 'env>>,
}

/// How a PoP is set up.
pub struct Setup {
    /// Servers.
    pub servers: usize,
    /// Packets lost, in parts per million.
    pub loss_ppm: u32,
    /// What choices are drawn from.
    pub seed: u64,
    /// Where the packets go, beside to each other.
    pub pcap: Option<Pcap<File>>,
    /// What reading the clock costs.
    pub stopwatch: Stopwatch,
}

/// A point of presence.
pub struct Pop<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    /// What its servers share.
    pub world: &'env World,
    setup: Setup,
    storage: Vec<&'env mut [u64]>,
    servers: Vec<Server<'scope, 'env>>,
    checks: Checks,
    loss_ppm: u32,
    /// One side, while the PoP is cut in two.
    cut: Option<SlotSet>,
    rng: Rng,
    /// Counters of the lives that have ended.
    past: Totals,
    merge: Times,
}

impl<'scope, 'env> Pop<'scope, 'env> {
    /// Starts all servers at once, empty. They know each other's addresses and have to find out the rest.
    ///
    /// # Errors
    /// A socket, a node or a thread could not be had.
    pub fn start(
        scope: &'scope Scope<'scope, 'env>,
        world: &'env World,
        storage: impl Iterator<Item = &'env mut [u64]>,
        setup: Setup,
    ) -> Result<Self, Stop> {
        // Bound before any is started: what is told as an address has to answer.
        let sockets: Vec<UdpDevice> = (0..setup.servers)
            .map(|slot| bind(SocketAddr::from((Ipv4Addr::new(127, 0, 1, slot as u8 + 1), 0))))
            .collect::<Result<_, _>>()?;
        let place =
            |socket: &UdpDevice| Server { address: socket.local_socket(), generation: 0, running: None };
        let mut pop = Self {
            scope,
            world,
            storage: storage.collect(),
            servers: sockets.iter().map(place).collect(),
            checks: Checks::Overdue,
            loss_ppm: setup.loss_ppm,
            cut: None,
            rng: Rng::new(setup.seed),
            past: Totals::default(),
            merge: Times::new(),
            setup,
        };
        for (slot, socket) in sockets.into_iter().enumerate() {
            pop.launch(Slot::at(slot), socket)?;
        }
        Ok(pop)
    }

    // ---- servers ----

    /// Starts the server in `slot` again, with empty memory and the generation after its last, at its old address.
    ///
    /// # Errors
    /// A socket, a node or a thread could not be had.
    pub fn boot(&mut self, slot: Slot) -> Result<(), Stop> {
        let socket = bind(self.servers[slot.index()].address)?;
        self.launch(slot, socket)
    }

    fn launch(&mut self, slot: Slot, socket: UdpDevice) -> Result<(), Stop> {
        match self.setup.pcap.clone() {
            // Each packet once, where it is sent.
            Some(pcap) => self.launch_with(slot, CaptureDevice::new(socket, pcap, Directions::Sent)),
            None => self.launch_with(slot, socket),
        }
    }

    fn launch_with<D: Device + Send + 'static>(&mut self, slot: Slot, device: D) -> Result<(), Stop> {
        let seeds = self.servers.iter().map(|server| address::from_socket(server.address)).collect();
        let server = &mut self.servers[slot.index()];
        server.generation += 1;
        let life = Life { generation: server.generation, id: self.rng.next_u64() | 1 };
        let mut node = Config::new(CLUSTER, slot, life, capacity(self.world.keys.len()), SHAPE);
        node.configured = SlotSet::first(self.setup.servers);
        node.sync.push_delay = PUSH_DELAY;
        let config = DriverConfig { seeds, pace: Pace::Coalesce(NAP), ..DriverConfig::new(node) };
        let clock = MonotonicClock::new();
        let device =
            FaultDevice::new(device, self.rng.next_u64(), faults(self.loss_ppm), move || clock.now());
        let faults = device.control();
        let block = self.storage.pop().expect("memory for one more life");
        let driver =
            Driver::start(&config, block, Probe::new(device, self.setup.stopwatch)).map_err(Stop::Start)?;
        let in_flight = (IN_FLIGHT / self.setup.servers).max(8);
        let (mut checker, orders) =
            Checker::new(self.world, slot, self.checks, in_flight).map_err(Stop::Thread)?;
        let shared = Arc::new(Shared {
            slot,
            over: AtomicBool::new(false),
            overdue: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            status: Mutex::new(Status::of(driver.node())),
        });
        let reader = driver.reader();
        let typed = typed(reader);
        let (handle, world) = (driver.handle(), self.world);
        let gossip = {
            let (shared, orders) = (Arc::clone(&shared), orders.clone());
            let run = move || gossip::run(driver, typed, &shared, &orders, world);
            named(format!("gossip-{slot}")).spawn_scoped(self.scope, run).map_err(Stop::Thread)?
        };
        let checks = {
            let (shared, handle) = (Arc::clone(&shared), handle.clone());
            let run = move || checker.run(typed, &handle, &shared);
            named(format!("checks-{slot}")).spawn_scoped(self.scope, run).map_err(Stop::Thread)?
        };
        self.servers[slot.index()].running =
            Some(Running { shared, handle, orders, reader, faults, gossip, checks });
        self.apply_cut();
        Ok(())
    }

    /// Ends the server in `slot` without a word to anybody: its memory and what it had under way are gone. Returns when.
    ///
    /// # Errors
    /// Its device had failed before.
    pub fn kill(&mut self, slot: Slot) -> Result<u64, Stop> {
        let Some(running) = self.servers[slot.index()].running.take() else {
            return Ok(self.world.clock.now_ns());
        };
        running.shared.over.store(true, Ordering::Release);
        let at_ns = self.world.clock.now_ns();
        running.handle.stop();
        running.orders.wake();
        running.checks.join().expect("checks do not panic").map_err(Stop::Device)?;
        let ended = running.gossip.join().expect("a driver does not panic").map_err(Stop::Device)?;
        self.past.add(&ended.totals);
        self.merge.add(&ended.merge);
        let gone = SlotSet::EMPTY.with(slot);
        self.world.writes.forget(gone);
        self.world.failures.forget(gone);
        Ok(at_ns)
    }

    /// Ends all servers; returns how long packets with records took to be merged, in all lives.
    ///
    /// # Errors
    /// A device had failed before.
    pub fn end(&mut self) -> Result<Times, Stop> {
        for slot in self.running().iter() {
            self.kill(slot)?;
        }
        Ok(self.merge.clone())
    }

    /// Loses packets from now on.
    pub fn set_loss(&mut self, loss_ppm: u32) {
        self.loss_ppm = loss_ppm;
        self.each().for_each(|running| running.faults.set_faults(faults(loss_ppm)));
    }

    /// Cuts every link between `side` and the others.
    pub fn partition(&mut self, side: SlotSet) {
        self.cut = Some(side);
        self.apply_cut();
    }

    /// Mends every link.
    pub fn heal(&mut self) {
        self.cut = None;
        self.apply_cut();
    }

    fn apply_cut(&self) {
        for running in self.each() {
            let beyond = match self.cut {
                Some(side) if side.contains(running.shared.slot) => self.all().difference(side),
                Some(side) => side,
                None => SlotSet::EMPTY,
            };
            let addresses: Vec<Address> =
                beyond.iter().map(|slot| address::from_socket(self.servers[slot.index()].address)).collect();
            running.faults.cut(&addresses);
        }
    }

    /// Says which checks are made from now on.
    pub fn set_checks(&mut self, checks: Checks) {
        self.checks = checks;
        self.each().for_each(|running| running.orders.send(Order::Make(checks)));
    }

    // ---- what it is like ----

    fn each(&self) -> impl Iterator<Item = &Running<'scope, 'env>> {
        self.servers.iter().filter_map(|server| server.running.as_ref())
    }

    /// Returns every slot of the PoP.
    pub fn all(&self) -> SlotSet {
        SlotSet::first(self.servers.len())
    }

    /// Returns the slots whose servers run.
    pub fn running(&self) -> SlotSet {
        self.each().map(|running| running.shared.slot).collect()
    }

    /// Returns what the running servers were like a moment ago, with their slots.
    pub fn statuses(&self) -> impl Iterator<Item = (Slot, Status)> {
        self.each().map(|running| (running.shared.slot, lock(&running.shared.status).clone()))
    }

    /// Returns the maps of the running servers.
    pub fn readers(&self) -> impl Iterator<Item = Reader<'env>> {
        self.each().map(|running| running.reader)
    }

    /// Returns the map of the server in `slot`, if it runs.
    pub fn reader(&self, slot: Slot) -> Option<Reader<'env>> {
        self.servers[slot.index()].running.as_ref().map(|running| running.reader)
    }

    /// Returns what the server in `slot` was like a moment ago, if it runs.
    pub fn status(&self, slot: Slot) -> Option<Status> {
        self.servers[slot.index()].running.as_ref().map(|running| lock(&running.shared.status).clone())
    }

    /// Returns how many checks cannot wait, on all servers, and orders that may change that.
    pub fn overdue(&self) -> usize {
        self.each()
            .map(|running| running.orders.waiting() + running.shared.overdue.load(Ordering::Acquire))
            .sum()
    }

    /// Returns how many checks are under way, on all servers, and orders that may change that.
    pub fn in_flight(&self) -> usize {
        self.each()
            .map(|running| running.orders.waiting() + running.shared.in_flight.load(Ordering::Acquire))
            .sum()
    }

    /// Whether all servers that run may write, and hold live who runs and nobody else.
    pub fn is_agreed(&self) -> bool {
        let running = self.running();
        self.statuses()
            .all(|(_, status)| matches!(status.phase, Phase::Active { .. }) && status.live == running)
    }

    /// Whether all running servers account for the same writes.
    pub fn is_level(&self) -> bool {
        let mut statuses = self.statuses();
        let Some((_, first)) = statuses.next() else { return true };
        statuses.all(|(_, status)| status.version == first.version && status.records == first.records)
    }

    /// Returns how many (server, origin) pairs differ from what the first server holds, in value or in stamp. Only readers
    /// look, so that no server is kept from its work.
    pub fn differing(&self) -> usize {
        let readers: Vec<_> = self.readers().map(typed).collect();
        let held = |reader: &TypedReader<'_, Health>, key| {
            reader.get(key).map(|(health, meta)| (health, meta.dot, meta.term)).ok()
        };
        let Some((first, others)) = readers.split_first() else { return 0 };
        let differ = |&key: &Key| {
            let expected = held(first, key);
            others.iter().filter(|other| held(other, key) != expected).count()
        };
        self.world.keys.iter().map(differ).sum()
    }

    /// Returns how many (server, origin) pairs do not hold what the origin's last check found.
    pub fn wrong(&self) -> usize {
        let world = self.world;
        let ids = || 0..world.keys.len() as u32;
        let right = |reader: &TypedReader<'_, Health>, id| {
            let key = world.keys[id as usize];
            reader.get(key).is_ok_and(|(health, _)| health.is_whole(key) && world.is_latest(id, &health))
        };
        self.readers().map(typed).map(|reader| ids().filter(|&id| !right(&reader, id)).count()).sum()
    }

    /// Returns all counters, of ended lives too.
    pub fn totals(&self) -> Totals {
        let mut totals = self.past;
        self.statuses().for_each(|(_, status)| totals.add(&status.stats));
        totals
    }
}

/// However the story ends, its threads must.
impl Drop for Pop<'_, '_> {
    fn drop(&mut self) {
        for running in self.each() {
            running.shared.over.store(true, Ordering::Release);
            running.handle.stop();
            running.orders.wake();
        }
    }
}

/// Returns a reader of health records.
pub fn typed(reader: Reader<'_>) -> TypedReader<'_, Health> {
    reader.typed::<Health>().expect("every map here was built for this shape")
}

fn bind(address: SocketAddr) -> Result<UdpDevice, Stop> {
    UdpDevice::bind(address, &UdpConfig::DEFAULT).map_err(Stop::Bind)
}

/// Nothing but loss: what delay loopback has is its own.
fn faults(loss_ppm: u32) -> Faults {
    Faults { loss_ppm, duplicate_ppm: 0, delay: Duration::ZERO, jitter: Duration::ZERO }
}

fn named(name: String) -> Builder {
    Builder::new().name(name).stack_size(STACK)
}
