//! One server, as a real one would be: a [`Driver`] that gossips on one thread, and on another the HTTP checks of the
//! origins that it owns.
//!
//! Knows how a server is started, and how it is told what to do. Must not know which other servers there are, nor where
//! they run.
//!
//! Between the driver and its device stand one that loses packets on demand and one that times what becomes of them.

mod checks;
mod gossip;
mod probe;
mod status;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use popmap_core::map::TypedReader;
use popmap_core::time::Duration;
use popmap_core::{Address, Config, Life, Reader, Slot, SlotSet};
use popmap_io::memory::Faults;
use popmap_io::{Device, Driver, DriverConfig, FaultControl, FaultDevice, Handle, MonotonicClock, Pace};

use crate::health::{Health, SHAPE};
use crate::measure::Stopwatch;
use crate::origins::OriginId;
use crate::plan::Plan;
use crate::schedule::Checks;
use crate::stop::Stop;
use crate::storage::capacity;
use crate::world::lock;
pub use checks::is_orphan;
use checks::{Checker, Order, Orders};
use probe::Probe;
use status::Shared;
pub use status::{Ended, Status, bits};

/// The cluster's number, in this process, in others and in virtual time alike.
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

/// Who is told what a server does. Nothing that is told here is acted on by a server.
pub trait Witness: Sync {
    /// A check of `origin` by `by` ended at `at_ns`, and its result has to reach `others`. Told before it is written.
    fn checked(&self, by: Slot, origin: OriginId, up: bool, at_ns: u64, others: SlotSet);

    /// The map of the server in `slot` has changed.
    fn changed(&self, slot: Slot, now_ns: u64, reader: &TypedReader<'_, Health>);

    /// `by` holds `of` dead.
    fn holds_dead(&self, by: Slot, of: Slot);

    /// Something that should not have happened.
    fn alarm(&self, what: fmt::Arguments<'_>);
}

/// How a server is started.
pub struct Setup {
    /// Its place.
    pub slot: Slot,
    /// Servers in the PoP.
    pub servers: usize,
    /// Its life.
    pub life: Life,
    /// Whom it asks for the others.
    pub seeds: Vec<Address>,
    /// Packets lost, in parts per million, and what they are drawn from.
    pub loss_ppm: u32,
    pub seed: u64,
    /// Which checks it makes.
    pub checks: Checks,
    /// Bytes of headers that each packet has on its wire.
    pub headers: u64,
    /// What reading the clock costs.
    pub stopwatch: Stopwatch,
    /// Run on the thread of the checks before it begins.
    pub before_checks: Option<Box<dyn FnOnce() -> io::Result<()> + Send>>,
}

/// A server at work.
pub struct Server<'scope, 'env> {
    shared: Arc<Shared>,
    handle: Handle,
    orders: Orders,
    reader: Reader<'env>,
    faults: FaultControl,
    gossip: ScopedJoinHandle<'scope, io::Result<Ended>>,
    checks: ScopedJoinHandle<'scope, io::Result<()>>,
}

impl<'scope, 'env> Server<'scope, 'env> {
    /// Starts a server with an empty map in `storage`.
    ///
    /// # Errors
    /// The node or a thread could not be had.
    pub fn start<D: Device + Send + 'static, W: Witness>(
        scope: &'scope Scope<'scope, 'env>,
        (plan, witness): (&'env Plan, &'env W),
        storage: &'env mut [u64],
        device: D,
        setup: Setup,
    ) -> Result<Self, Stop> {
        let slot = setup.slot;
        let mut node = Config::new(CLUSTER, slot, setup.life, capacity(plan.keys.len()), SHAPE);
        node.configured = SlotSet::first(setup.servers);
        node.sync.push_delay = PUSH_DELAY;
        let config = DriverConfig {
            seeds: setup.seeds,
            keys: Some(Box::new(plan.ring.clone())),
            pace: Pace::Coalesce(NAP),
            ..DriverConfig::new(node)
        };
        let clock = MonotonicClock::new();
        let device = FaultDevice::new(device, setup.seed, faults(setup.loss_ppm), move || clock.now());
        let faults = device.control();
        let driver =
            Driver::start(&config, storage, Probe::new(device, setup.stopwatch)).map_err(Stop::Start)?;
        let in_flight = (IN_FLIGHT / setup.servers).max(8);
        let (mut checker, orders) =
            Checker::new(plan, witness, slot, setup.checks, in_flight).map_err(Stop::Thread)?;
        let shared = Arc::new(Shared {
            slot,
            headers: setup.headers,
            over: AtomicBool::new(false),
            overdue: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            put: AtomicU64::new(0),
            status: Mutex::new(Status::of(driver.node(), 0, setup.headers)),
        });
        let reader = driver.reader();
        let (typed, handle) = (typed(reader), driver.handle());
        let gossip = {
            let (shared, orders) = (Arc::clone(&shared), orders.clone());
            let run = move || gossip::run(driver, typed, &shared, &orders, plan, witness);
            named(format!("gossip-{slot}")).spawn_scoped(scope, run).map_err(Stop::Thread)?
        };
        let checks = {
            let (over, stopper) = (&shared.over, &handle);
            let (shared, handle) = (Arc::clone(&shared), handle.clone());
            let run = move || {
                setup.before_checks.map_or(Ok(()), |before| before())?;
                checker.run(typed, &handle, &shared)
            };
            let spawned = named(format!("checks-{slot}")).spawn_scoped(scope, run);
            spawned.map_err(|error| {
                // The other thread must not outlive us.
                over.store(true, Ordering::Release);
                stopper.stop();
                Stop::Thread(error)
            })?
        };
        Ok(Self { shared, handle, orders, reader, faults, gossip, checks })
    }

    /// Has the threads end, without a word to anybody.
    pub fn kill(&self) {
        self.shared.over.store(true, Ordering::Release);
        self.handle.stop();
        self.orders.wake();
    }

    /// Waits for the end of its threads; returns what its life came to.
    ///
    /// # Errors
    /// The device or the checks had failed before.
    pub fn join(self) -> Result<Ended, Stop> {
        self.checks.join().expect("checks do not panic").map_err(Stop::Device)?;
        self.gossip.join().expect("a driver does not panic").map_err(Stop::Device)
    }

    /// Whether a thread has ended.
    pub fn is_finished(&self) -> bool {
        self.gossip.is_finished() || self.checks.is_finished()
    }

    /// Returns its place.
    pub fn slot(&self) -> Slot {
        self.shared.slot
    }

    /// Returns its map.
    pub fn reader(&self) -> Reader<'env> {
        self.reader
    }

    /// Returns what it was like a moment ago.
    pub fn status(&self) -> Status {
        lock(&self.shared.status).clone()
    }

    /// Says which checks are made from now on.
    pub fn make(&self, checks: Checks) {
        self.orders.send(Order::Make(checks));
    }

    /// Loses packets from now on.
    pub fn lose(&self, loss_ppm: u32) {
        self.faults.set_faults(faults(loss_ppm));
    }

    /// Hears and reaches no more those at these addresses, and all others.
    pub fn cut(&self, addresses: &[Address]) {
        self.faults.cut(addresses);
    }

    /// Returns how many checks cannot wait, and orders that may change that. Asked after [`status`](Self::status), it
    /// counts for that status, too.
    pub fn overdue(&self) -> usize {
        self.orders.waiting() + self.shared.overdue.load(Ordering::Acquire)
    }

    /// Returns how many checks are under way, results among them that the status lacks, and orders that may change that.
    /// A [`status`](Self::status) that is asked for when there is none has all of them.
    pub fn in_flight(&self) -> usize {
        let checks = self.orders.waiting() + self.shared.in_flight.load(Ordering::Acquire);
        let put = self.shared.put.load(Ordering::Acquire);
        checks + put.saturating_sub(lock(&self.shared.status).taken) as usize
    }
}

/// Returns a reader of health records.
pub fn typed(reader: Reader<'_>) -> TypedReader<'_, Health> {
    reader.typed::<Health>().expect("every map here was built for this shape")
}

/// Nothing but loss: what delay a network has is its own.
fn faults(loss_ppm: u32) -> Faults {
    Faults { loss_ppm, duplicate_ppm: 0, delay: Duration::ZERO, jitter: Duration::ZERO }
}

fn named(name: String) -> Builder {
    Builder::new().name(name).stack_size(STACK)
}
