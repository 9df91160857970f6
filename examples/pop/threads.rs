//! The PoP in one process: each server with a UDP socket of its own on loopback and two threads.
//!
//! Knows how to start, kill, cut off and ask servers. Must not know the story that is played, nor what is shown of it.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::{self, Scope, ScopedJoinHandle};

use popmap_core::rng::Rng;
use popmap_core::{Address, Life, Reader, Slot, SlotSet};
use popmap_io::{CaptureDevice, Directions, Pcap, UdpConfig, UdpDevice, address};

use crate::dataplane::{self, Board, Seen};
use crate::measure::{Stopwatch, Times, Totals, UDP_HEADERS};
use crate::origins::OriginId;
use crate::pop::{Held, Pop, READ_AT, Remains, Unplugged};
use crate::schedule::Checks;
use crate::server::{Server, Setup, Status, typed};
use crate::stop::Stop;
use crate::world::World;

/// One server's place.
struct Place<'scope, 'env> {
    address: SocketAddr,
    generation: u32,
    /// `None` while it is down.
    running: Option<Server<'scope, 'env>>,
}

/// How a PoP is set up.
pub struct Settings {
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
pub struct Threads<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    world: &'env World,
    settings: Settings,
    storage: Vec<&'env mut [u64]>,
    places: Vec<Place<'scope, 'env>>,
    checks: Checks,
    loss_ppm: u32,
    /// One side, while the PoP is cut in two.
    cut: Option<SlotSet>,
    rng: Rng,
    /// Counters of the lives that have ended.
    past: Totals,
    merge: Times,
    board: Arc<Board>,
    dataplane: Option<ScopedJoinHandle<'scope, Seen>>,
}

impl<'scope, 'env> Threads<'scope, 'env> {
    /// Starts all servers at once, empty, and a data plane beside them. They know each other's addresses and have to find
    /// out the rest.
    ///
    /// # Errors
    /// A socket, a node or a thread could not be had.
    pub fn start(
        scope: &'scope Scope<'scope, 'env>,
        world: &'env World,
        storage: impl Iterator<Item = &'env mut [u64]>,
        settings: Settings,
    ) -> Result<Self, Stop> {
        // Bound before any is started: what is told as an address has to answer.
        let sockets: Vec<UdpDevice> = (0..settings.servers)
            .map(|slot| bind(SocketAddr::from((Ipv4Addr::new(127, 0, 1, slot as u8 + 1), 0))))
            .collect::<Result<_, _>>()?;
        let place =
            |socket: &UdpDevice| Place { address: socket.local_socket(), generation: 0, running: None };
        let mut pop = Self {
            scope,
            world,
            storage: storage.collect(),
            places: sockets.iter().map(place).collect(),
            checks: Checks::Overdue,
            loss_ppm: settings.loss_ppm,
            cut: None,
            rng: Rng::new(settings.seed),
            past: Totals::default(),
            merge: Times::new(),
            board: Arc::default(),
            dataplane: None,
            settings,
        };
        for (slot, socket) in sockets.into_iter().enumerate() {
            pop.launch(Slot::at(slot), socket)?;
        }
        let reader = typed(pop.reader(READ_AT).expect("it has just been started"));
        let (board, seed, stopwatch) = (Arc::clone(&pop.board), pop.settings.seed, pop.settings.stopwatch);
        let work = move || dataplane::work(reader, &world.plan.keys, &board, seed, stopwatch);
        let worker = thread::Builder::new().name("dataplane".into()).spawn_scoped(scope, work);
        pop.dataplane = Some(worker.map_err(Stop::Thread)?);
        Ok(pop)
    }

    fn launch(&mut self, slot: Slot, socket: UdpDevice) -> Result<(), Stop> {
        let seeds = self.places.iter().map(|place| address::from_socket(place.address)).collect();
        let place = &mut self.places[slot.index()];
        place.generation += 1;
        let setup = Setup {
            slot,
            servers: self.settings.servers,
            life: Life { generation: place.generation, id: self.rng.next_u64() | 1 },
            seeds,
            loss_ppm: self.loss_ppm,
            seed: self.rng.next_u64(),
            checks: self.checks,
            headers: UDP_HEADERS,
            stopwatch: self.settings.stopwatch,
            before_checks: None,
        };
        let (world, block) = (self.world, self.storage.pop().expect("memory for one more life"));
        let with = (&world.plan, world);
        let server = match self.settings.pcap.clone() {
            // Each packet once, where it is sent.
            Some(pcap) => {
                let device = CaptureDevice::new(socket, pcap, Directions::Sent);
                Server::start(self.scope, with, block, device, setup)?
            }
            None => Server::start(self.scope, with, block, socket, setup)?,
        };
        self.places[slot.index()].running = Some(server);
        self.apply_cut();
        Ok(())
    }

    fn apply_cut(&self) {
        for server in self.each() {
            let beyond = match self.cut {
                Some(side) if side.contains(server.slot()) => self.all().difference(side),
                Some(side) => side,
                None => SlotSet::EMPTY,
            };
            let addresses: Vec<Address> =
                beyond.iter().map(|slot| address::from_socket(self.places[slot.index()].address)).collect();
            server.cut(&addresses);
        }
    }

    fn each(&self) -> impl Iterator<Item = &Server<'scope, 'env>> {
        self.places.iter().filter_map(|place| place.running.as_ref())
    }

    /// Returns the map of the server in `slot`, if it runs.
    fn reader(&self, slot: Slot) -> Option<Reader<'env>> {
        self.places[slot.index()].running.as_ref().map(Server::reader)
    }
}

impl Pop for Threads<'_, '_> {
    fn world(&self) -> &World {
        self.world
    }

    fn all(&self) -> SlotSet {
        SlotSet::first(self.places.len())
    }

    fn running(&self) -> SlotSet {
        self.each().map(Server::slot).collect()
    }

    fn status(&self, slot: Slot) -> Option<Status> {
        self.places[slot.index()].running.as_ref().map(Server::status)
    }

    fn records(&self) -> Vec<usize> {
        self.each().map(|server| server.reader().len()).collect()
    }

    fn harvest(&self) -> f64 {
        let Some((reader, status)) = self.reader(READ_AT).zip(self.status(READ_AT)) else { return 0.0 };
        dataplane::harvest(&reader, status.live, &self.world.plan)
    }

    fn lookups(&self) -> u64 {
        self.board.lookups()
    }

    fn overdue(&self) -> usize {
        self.each().map(Server::overdue).sum()
    }

    fn in_flight(&self) -> usize {
        self.each().map(Server::in_flight).sum()
    }

    fn totals(&self) -> Totals {
        let mut totals = self.past;
        self.statuses().for_each(|(_, status)| totals.add(&status.totals));
        totals
    }

    fn boot(&mut self, slot: Slot) -> Result<(), Stop> {
        let socket = bind(self.places[slot.index()].address)?;
        self.launch(slot, socket)
    }

    fn kill(&mut self, slot: Slot) -> Result<u64, Stop> {
        let Some(server) = self.places[slot.index()].running.take() else {
            return Ok(self.world.plan.clock.now_ns());
        };
        server.kill();
        let at_ns = self.world.plan.clock.now_ns();
        let ended = server.join()?;
        self.past.add(&ended.totals);
        self.merge.add(&ended.merge);
        self.world.forget(slot);
        Ok(at_ns)
    }

    fn set_loss(&mut self, loss_ppm: u32) {
        self.loss_ppm = loss_ppm;
        self.each().for_each(|server| server.lose(loss_ppm));
    }

    fn partition(&mut self, side: SlotSet) -> Result<(), Stop> {
        self.cut = Some(side);
        self.apply_cut();
        Ok(())
    }

    fn heal(&mut self) -> Result<(), Stop> {
        self.cut = None;
        self.apply_cut();
        Ok(())
    }

    /// They share the loopback interface.
    fn has_links(&self) -> bool {
        false
    }

    fn unplug(&mut self, _: Slot, _: Unplugged, _: bool) -> Result<(), Stop> {
        Ok(())
    }

    fn set_checks(&mut self, checks: Checks) {
        self.checks = checks;
        self.each().for_each(|server| server.make(checks));
    }

    fn filled(&mut self) {
        self.board.filled();
    }

    /// Only readers look, so that no server is kept from its work.
    fn each_record(&self, tell: &mut dyn FnMut(Slot, OriginId, Option<Held>)) -> Result<(), Stop> {
        for server in self.each() {
            let reader = typed(server.reader());
            for (id, &key) in (0..).zip(self.world.plan.keys.iter()) {
                tell(server.slot(), id, Held::at(&reader, key));
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<Remains, Stop> {
        self.board.end();
        let worker = self.dataplane.take().expect("a PoP ends once");
        let reads = worker.join().expect("a reader does not panic");
        for slot in self.running().iter() {
            self.kill(slot)?;
        }
        Ok(Remains { merge: self.merge.clone(), reads })
    }
}

/// However the story ends, its threads must.
impl Drop for Threads<'_, '_> {
    fn drop(&mut self) {
        self.board.end();
        self.each().for_each(Server::kill);
    }
}

fn bind(address: SocketAddr) -> Result<UdpDevice, Stop> {
    UdpDevice::bind(address, &UdpConfig::DEFAULT).map_err(Stop::Bind)
}
