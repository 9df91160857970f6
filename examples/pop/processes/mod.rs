//! The PoP of processes: each server with a process and a network namespace of its own, on the device of choice.
//!
//! Knows how to start, kill, cut off and ask servers. Must not know the story that is played, nor what is shown of it.
//!
//! | file | knows |
//! |---|---|
//! | `enter` | this program again, inside namespaces that nothing outlives |
//! | `network` | bridge, wires, and the namespaces of the servers |
//! | `serve`, `device` | a server's process, and its device |
//! | `message`, `seat` | the line between a server's process and the story |

mod device;
pub mod enter;
mod message;
mod network;
mod seat;
pub mod serve;

use std::env;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::{Builder, Scope, ScopedJoinHandle};
use std::time::Duration;

use popmap_core::rng::Rng;
use popmap_core::{Slot, SlotSet};

use crate::dataplane::Seen;
use crate::io::Io;
use crate::measure::{Times, Totals};
use crate::origins::OriginId;
use crate::pop::{Held, Pop, READ_AT, Remains, Unplugged};
use crate::schedule::Checks;
use crate::secret::Secret;
use crate::server::Status;
use crate::stop::Stop;
use crate::world::World;
use message::{Begin, Order};
pub use network::Network;
use seat::{Seat, Seats};

/// Set for a server's process.
const SERVER: &str = "POPMAP_POP_SERVER";
/// How long a process may take to answer. Far longer than any does.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a PoP is set up.
pub struct Settings {
    /// What carries packets.
    pub io: Io,
    /// Servers.
    pub servers: usize,
    /// Packets lost, in parts per million.
    pub loss_ppm: u32,
    /// What choices are drawn from.
    pub seed: u64,
    /// The file of origins, if there is one.
    pub origins: Option<PathBuf>,
    /// Where the keys come from.
    pub secret: Secret,
    /// Where the packets go, beside to each other: a file each life, named after this one.
    pub pcap: Option<PathBuf>,
}

/// A server's process.
struct Running<'scope> {
    seat: Arc<Seat>,
    child: Child,
    listening: ScopedJoinHandle<'scope, ()>,
}

/// One server's place.
#[derive(Default)]
struct Place<'scope> {
    generation: u32,
    /// `None` while it is down.
    running: Option<Running<'scope>>,
}

/// A point of presence.
pub struct Processes<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    world: &'env World,
    settings: Settings,
    network: Network,
    places: Vec<Place<'scope>>,
    seats: Arc<Seats>,
    checks: Checks,
    /// How often that was said.
    number: u64,
    loss_ppm: u32,
    rng: Rng,
    /// Counters of the lives that have ended.
    past: Totals,
}

impl<'scope, 'env> Processes<'scope, 'env> {
    /// Starts all servers at once, empty; the data plane is in the first one's process.
    ///
    /// # Errors
    /// A process could not be had, or has no device.
    pub fn start(
        scope: &'scope Scope<'scope, 'env>,
        world: &'env World,
        network: Network,
        settings: Settings,
    ) -> Result<Self, Stop> {
        let mut pop = Self {
            scope,
            world,
            network,
            places: (0..settings.servers).map(|_| Place::default()).collect(),
            seats: Arc::default(),
            checks: Checks::Overdue,
            number: 0,
            loss_ppm: settings.loss_ppm,
            rng: Rng::new(settings.seed),
            past: Totals::default(),
            settings,
        };
        let all = pop.all();
        all.iter().try_for_each(|slot| pop.spawn(slot))?;
        all.iter().try_for_each(|slot| pop.await_ready(slot))?;
        pop.each().for_each(|running| running.seat.order(&Order::Go));
        Ok(pop)
    }

    fn spawn(&mut self, slot: Slot) -> Result<(), Stop> {
        let place = &mut self.places[slot.index()];
        place.generation += 1;
        let (settings, plan) = (&self.settings, &self.world.plan);
        let begin = Begin {
            slot: slot.get(),
            servers: settings.servers,
            carrier: settings.io.carrier(slot),
            wire: settings.io.wire(),
            generation: place.generation,
            life_id: self.rng.next_u64() | 1,
            loss_ppm: self.loss_ppm,
            seed: self.rng.next_u64(),
            checks: self.checks,
            number: self.number,
            origins: settings.origins.clone(),
            secret: settings.secret.clone(),
            keys: plan.keys.len(),
            interval_ns: plan.calendar.interval().0,
            calendar_seed: settings.seed,
            port: plan.port,
            epoch_ns: plan.clock.reading(),
            lookups_seed: settings.seed,
            pcap: settings.pcap.clone(),
        };
        let program = env::current_exe().map_err(Stop::Process)?;
        let mut child = Command::new(program)
            .env(SERVER, slot.get().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Stop::Process)?;
        let (orders, reports) = child.stdin.take().zip(child.stdout.take()).expect("both were asked for");
        let seat = Arc::new(Seat::new(slot, orders, self.number));
        seat.order(&begin);
        self.seats.seat(&seat);
        let (world, seats, listener) = (self.world, Arc::clone(&self.seats), Arc::clone(&seat));
        let listen = move || listener.listen(reports, world, &seats);
        let thread = Builder::new().name(format!("listen-{slot}")).spawn_scoped(self.scope, listen);
        let listening = match thread {
            Ok(listening) => listening,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Stop::Thread(error));
            }
        };
        self.places[slot.index()].running = Some(Running { seat, child, listening });
        Ok(())
    }

    fn await_ready(&self, slot: Slot) -> Result<(), Stop> {
        self.seat(slot)
            .map_or(Ok(()), |seat| seat.await_ready(PATIENCE).map_err(|why| Stop::Server(slot, why)))
    }

    fn each(&self) -> impl Iterator<Item = &Running<'scope>> {
        self.places.iter().filter_map(|place| place.running.as_ref())
    }

    fn seat(&self, slot: Slot) -> Option<&Seat> {
        self.places[slot.index()].running.as_ref().map(|running| &*running.seat)
    }
}

impl Running<'_> {
    /// Ends the process, if it has not ended yet, and waits for what it still had to say.
    fn reap(mut self) {
        self.seat.expect_end();
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.listening.join().expect("listening does not panic");
    }
}

impl Pop for Processes<'_, '_> {
    fn world(&self) -> &World {
        self.world
    }

    fn all(&self) -> SlotSet {
        SlotSet::first(self.places.len())
    }

    fn running(&self) -> SlotSet {
        self.each().map(|running| running.seat.slot).collect()
    }

    fn status(&self, slot: Slot) -> Option<Status> {
        self.seat(slot).map(Seat::status)
    }

    fn records(&self) -> Vec<usize> {
        self.each().map(|running| running.seat.status().records).collect()
    }

    fn harvest(&self) -> f64 {
        self.seat(READ_AT).and_then(|seat| seat.state(|state| state.harvest)).unwrap_or(0.0)
    }

    fn lookups(&self) -> u64 {
        self.seat(READ_AT).and_then(|seat| seat.state(|state| state.lookups)).unwrap_or(0)
    }

    fn overdue(&self) -> usize {
        self.each().map(|running| running.seat.count(|state| state.overdue)).sum()
    }

    fn in_flight(&self) -> usize {
        self.each().map(|running| running.seat.count(|state| state.in_flight)).sum()
    }

    fn totals(&self) -> Totals {
        let mut totals = self.past;
        self.statuses().for_each(|(_, status)| totals.add(&status.totals));
        totals
    }

    fn boot(&mut self, slot: Slot) -> Result<(), Stop> {
        self.spawn(slot)?;
        self.await_ready(slot)?;
        if let Some(seat) = self.seat(slot) {
            seat.order(&Order::Go);
        }
        Ok(())
    }

    /// As the system kills: between any two instructions.
    fn kill(&mut self, slot: Slot) -> Result<u64, Stop> {
        let Some(mut running) = self.places[slot.index()].running.take() else {
            return Ok(self.world.plan.clock.now_ns());
        };
        running.seat.expect_end();
        running.child.kill().map_err(Stop::Process)?;
        let at_ns = self.world.plan.clock.now_ns();
        let seat = Arc::clone(&running.seat);
        running.reap();
        self.past.add(&seat.status().totals);
        self.world.forget(slot);
        Ok(at_ns)
    }

    fn set_loss(&mut self, loss_ppm: u32) {
        self.loss_ppm = loss_ppm;
        self.each().for_each(|running| running.seat.order(&Order::Lose(loss_ppm)));
    }

    fn partition(&mut self, side: SlotSet) -> Result<(), Stop> {
        self.network.split(side)
    }

    fn heal(&mut self) -> Result<(), Stop> {
        self.network.join()
    }

    fn has_links(&self) -> bool {
        true
    }

    fn unplug(&mut self, slot: Slot, how: Unplugged, off: bool) -> Result<(), Stop> {
        self.network.unplug(slot, how, off)
    }

    fn set_checks(&mut self, checks: Checks) {
        self.checks = checks;
        self.number += 1;
        self.each().for_each(|running| running.seat.make(checks, self.number));
    }

    fn filled(&mut self) {
        if let Some(seat) = self.seat(READ_AT) {
            seat.order(&Order::Filled);
        }
    }

    fn each_record(&self, tell: &mut dyn FnMut(Slot, OriginId, Option<Held>)) -> Result<(), Stop> {
        for running in self.each() {
            let slot = running.seat.slot;
            let records = running.seat.records(PATIENCE).map_err(|why| Stop::Server(slot, why))?;
            (0..).zip(records).for_each(|(id, held)| tell(slot, id, held.map(Held::from)));
        }
        Ok(())
    }

    fn end(&mut self) -> Result<Remains, Stop> {
        let (mut merge, mut reads) = (Times::new(), None);
        for place in &mut self.places {
            let Some(running) = place.running.take() else { continue };
            let ended = running.seat.end(PATIENCE).map_err(|why| Stop::Server(running.seat.slot, why));
            self.past.add(&running.seat.status().totals);
            running.reap();
            let (counts, seen) = ended?;
            merge.add(&Times::from_counts(counts));
            reads = reads.or(seen.map(|seen| Seen::from(*seen)));
        }
        Ok(Remains { merge, reads: reads.unwrap_or_else(Seen::new) })
    }
}

/// However the story ends, its processes must.
impl Drop for Processes<'_, '_> {
    fn drop(&mut self) {
        self.places.iter_mut().filter_map(|place| place.running.take()).for_each(Running::reap);
    }
}

/// Why a program that was built without DPDK cannot use it.
pub fn without_dpdk(io: Io) -> Stop {
    Stop::Missing(format!(
        "--io {name}: this program was built without DPDK. With the packages libdpdk-dev, libclang1-14, \
         libclang-common-14-dev, gcc and pkg-config: cargo run --release --features dpdk --example pop -- --io {name}",
        name = io.name()
    ))
}
