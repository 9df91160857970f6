//! A server's process: one server, and the line to the story.
//!
//! Knows how orders are carried out and reports are written. Must not know the story, nor the other servers.
//!
//! Its gossip lives in the server's network namespace. Its checks live in the one that the process was started in, where
//! the origins answer.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Lines, StdinLock, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use popmap_core::map::TypedReader;
use popmap_core::{Life, Slot, SlotSet};
use popmap_io::{CaptureDevice, Device, Directions, Pcap, wall_clock};

use super::message::{self, Begin, Order, Report, State};
use super::network::Namespace;
use super::{SERVER, device};
use crate::dataplane::{self, Board, Seen};
use crate::health::Health;
use crate::io::Carrier;
use crate::measure::{Clock, Stopwatch, Times};
use crate::origins::{self, Origin, OriginId};
use crate::plan::Plan;
use crate::pop::{Held, READ_AT};
use crate::propagation::knows;
use crate::server::{Server, Setup, Witness, typed};
use crate::stop::Stop;
use crate::storage::Storage;
use crate::world::{Followed, lock};

/// How often is looked whether there is a new state to tell, and how often one is told in any case.
const LOOK: Duration = Duration::from_millis(10);
const TELL_NS: u64 = 100_000_000;

/// Whether this process is a server's.
pub fn is_server() -> bool {
    env::var_os(SERVER).is_some()
}

/// Is a server until the story says that it ends, or is gone.
pub fn run() -> ExitCode {
    // Ctrl-C reaches every process of the terminal; the story decides what comes of it.
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        let _ = signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)));
    }
    let (sender, receiver) = channel();
    let writer = thread::spawn(move || write_all(&receiver));
    let ended = serve(&sender);
    let failed = ended.is_err();
    if let Err(stop) = ended {
        let _ = sender.send(Report::Failed(stop.to_string()));
    }
    drop(sender);
    let _ = writer.join();
    ExitCode::from(u8::from(failed))
}

/// Writes reports, as many at a time as there are.
fn write_all(reports: &Receiver<Report>) {
    let mut out = BufWriter::new(io::stdout().lock());
    while let Ok(report) = reports.recv() {
        let mut next = Some(report);
        while let Some(report) = next {
            // Whoever reads is gone, and we are told so by the end of the orders.
            let _ = message::write(&mut out, &report);
            next = reports.try_recv().ok();
        }
        let _ = out.flush();
    }
}

/// The orders that come.
struct Orders<'i>(Lines<StdinLock<'i>>);

impl Orders<'_> {
    /// Returns the next; `None` when there will be none, because the story is gone.
    fn next<T: serde::de::DeserializeOwned>(&mut self) -> Option<T> {
        let line = self.0.next()?.ok()?;
        Some(serde_json::from_str(&line).expect("this program talks to itself"))
    }
}

fn serve(reports: &Sender<Report>) -> Result<(), Stop> {
    let mut orders = Orders(io::stdin().lines());
    let Some(begin) = orders.next::<Begin>() else { return Ok(()) };
    let slot = Slot::at(begin.slot.into());
    let failed = |error: io::Error| Stop::Network(format!("entering a namespace: {error}"));
    let home = Namespace::current().map_err(failed)?;
    Namespace::of(slot).and_then(|server| server.enter()).map_err(failed)?;
    let origins: Arc<[Origin]> = match &begin.origins {
        Some(file) => origins::read(file).map_err(Stop::Origins)?,
        None => origins::generated(begin.keys),
    }
    .into();
    let clock = Clock::from_reading(begin.epoch_ns);
    let interval = popmap_core::time::Duration(begin.interval_ns);
    let plan = Plan::new(clock, origins, interval, begin.calendar_seed, begin.port, begin.secret.ring()?);
    let desk = Desk {
        slot,
        plan,
        reports: reports.clone(),
        watched: Mutex::default(),
        watching: AtomicUsize::new(0),
        number: AtomicU64::new(begin.number),
        begin,
        stopwatch: Stopwatch::calibrate(),
    };
    let Begin { carrier, wire, .. } = desk.begin;
    match carrier {
        Carrier::Udp => desk.capture(device::udp(slot)?, home, &mut orders),
        Carrier::Raw => desk.capture(device::raw(wire, slot)?, home, &mut orders),
        Carrier::Xdp => desk.capture(device::xdp(wire, slot)?, home, &mut orders),
        #[cfg(feature = "dpdk")]
        Carrier::Dpdk => desk.capture(device::dpdk(wire, slot)?, home, &mut orders),
        #[cfg(not(feature = "dpdk"))]
        Carrier::Dpdk => Err(super::without_dpdk(crate::io::Io::Dpdk)),
    }
}

/// What is watched for.
#[derive(Clone, Copy)]
struct Watched {
    how: Followed,
    origin: OriginId,
    at_ns: u64,
}

/// Where reports are made, for all threads of the server.
struct Desk {
    begin: Begin,
    slot: Slot,
    plan: Plan,
    reports: Sender<Report>,
    watched: Mutex<Vec<Watched>>,
    /// How many those are.
    watching: AtomicUsize,
    /// The last order of checks that was passed on.
    number: AtomicU64,
    stopwatch: Stopwatch,
}

impl Desk {
    /// Whoever reads may be gone: then there is nobody to tell.
    fn report(&self, report: Report) {
        let _ = self.reports.send(report);
    }

    fn capture(
        &self,
        device: impl Device + Send + 'static,
        home: Namespace,
        orders: &mut Orders<'_>,
    ) -> Result<(), Stop> {
        let Some(path) = &self.begin.pcap else { return self.work(device, home, orders) };
        let path = of_life(path, self.slot, self.begin.generation);
        let failed = |error| Stop::Capture(path.clone(), error);
        let pcap = File::create(&path).and_then(|file| Pcap::new(file, wall_clock)).map_err(failed)?;
        self.work(CaptureDevice::new(device, pcap.clone(), Directions::Sent), home, orders)?;
        pcap.finish().map(drop).map_err(failed)
    }

    fn work(
        &self,
        device: impl Device + Send + 'static,
        home: Namespace,
        orders: &mut Orders<'_>,
    ) -> Result<(), Stop> {
        let mut storage = Storage::new(1, self.plan.keys.len());
        let block = storage.iter_mut().next().expect("there is one");
        self.report(Report::Ready);
        loop {
            match orders.next() {
                None | Some(Order::End) => return Ok(()),
                Some(Order::Go) => break,
                // What there is to know before it begins, it was told.
                Some(_) => {}
            }
        }
        let (begin, board) = (&self.begin, &Board::default());
        let setup = Setup {
            slot: self.slot,
            servers: begin.servers,
            life: Life { generation: begin.generation, id: begin.life_id },
            seeds: device::seeds(begin.wire, begin.servers),
            loss_ppm: begin.loss_ppm,
            seed: begin.seed,
            checks: begin.checks,
            headers: begin.wire.headers(),
            stopwatch: self.stopwatch,
            before_checks: Some(Box::new(move || home.enter())),
        };
        thread::scope(|scope| {
            let server = Server::start(scope, (&self.plan, self), block, device, setup)?;
            let reader = typed(server.reader());
            let (seed, stopwatch) = (begin.lookups_seed, self.stopwatch);
            let work = move || dataplane::work(reader, &self.plan.keys, board, seed, stopwatch);
            let dataplane = (self.slot == READ_AT).then(|| scope.spawn(work));
            let over = &AtomicBool::new(false);
            let told = {
                let server = &server;
                thread::scope(|inner| {
                    inner.spawn(move || self.tell_state(server, board, over));
                    let told = self.obey(orders, server, board);
                    over.store(true, Ordering::Relaxed);
                    told
                })
            };
            board.end();
            server.kill();
            let seen =
                dataplane.map(ScopedJoinHandle::join).map(|seen| seen.expect("a reader does not panic"));
            if told {
                self.end(server, seen.as_ref())?;
            }
            Ok(())
        })
    }

    /// Carries out orders; whether it was told to end.
    fn obey(&self, orders: &mut Orders<'_>, server: &Server<'_, '_>, board: &Board) -> bool {
        let reader = typed(server.reader());
        loop {
            match orders.next() {
                None => return false,
                Some(Order::End) => return true,
                Some(Order::Go) => {}
                Some(Order::Make(checks, number)) => {
                    server.make(checks);
                    // Whoever sees this number counts the order as waiting until it takes effect.
                    self.number.store(number, Ordering::Release);
                }
                Some(Order::Lose(loss_ppm)) => server.lose(loss_ppm),
                Some(Order::Watch { how, origin, at_ns }) => {
                    lock(&self.watched).push(Watched { how, origin, at_ns });
                    self.watching.fetch_add(1, Ordering::Release);
                    // It may be here already.
                    self.changed(self.slot, self.plan.clock.now_ns(), &reader);
                }
                Some(Order::Filled) => board.filled(),
                Some(Order::Tell) => {
                    let held = |&key| Held::at(&reader, key).map(Into::into);
                    self.report(Report::Records(self.plan.keys.iter().map(held).collect()));
                }
            }
        }
    }

    /// Tells what the server is like, as often as that changes, until it is over.
    fn tell_state(&self, server: &Server<'_, '_>, board: &Board, over: &AtomicBool) {
        let (mut last, mut told_ns, mut looked_ns, mut harvest) = (None, 0, 0, 0.0);
        while !over.load(Ordering::Relaxed) {
            // One that has failed can only tell why.
            if server.is_finished() {
                self.alarm(format_args!("{}: its device or its checks have failed", self.slot));
                return;
            }
            let now_ns = self.plan.clock.now_ns();
            // A walk through the whole map.
            if self.slot == READ_AT && now_ns - looked_ns >= TELL_NS {
                looked_ns = now_ns;
                harvest = dataplane::harvest(&server.reader(), server.status().live, &self.plan);
            }
            let state = self.state(server, board, harvest);
            if now_ns - told_ns >= TELL_NS || last.as_ref() != Some(&state) {
                told_ns = now_ns;
                self.report(Report::Status(Box::new(state.clone())));
                last = Some(state);
            }
            thread::sleep(LOOK);
        }
    }

    fn state(&self, server: &Server<'_, '_>, board: &Board, harvest: f64) -> State {
        // In this order: no check is under way whose result the status lacks, and what is counted as waiting has to count
        // for the status.
        let (number, in_flight) = (self.number.load(Ordering::Acquire), server.in_flight());
        let (status, overdue) = (server.status(), server.overdue());
        State { status, overdue, in_flight, number, lookups: board.lookups(), harvest }
    }

    fn end(&self, server: Server<'_, '_>, seen: Option<&Seen>) -> Result<(), Stop> {
        let mut state = self.state(&server, &Board::default(), 0.0);
        let ended = server.join()?;
        state.status.totals = ended.totals;
        let merge = Times::counts(&ended.merge).collect();
        self.report(Report::Ended {
            state: Box::new(state),
            merge,
            seen: seen.map(|seen| Box::new(seen.into())),
        });
        Ok(())
    }
}

impl Witness for Desk {
    fn checked(&self, _: Slot, origin: OriginId, up: bool, at_ns: u64, others: SlotSet) {
        self.report(Report::Checked { origin, up, at_ns, others });
    }

    fn changed(&self, _: Slot, now_ns: u64, reader: &TypedReader<'_, Health>) {
        if self.watching.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut watched = lock(&self.watched);
        watched.retain(|&Watched { how, origin, at_ns }| {
            let is_known = knows(reader, self.plan.keys[origin as usize], at_ns);
            if is_known {
                self.report(Report::Knows { how, origin, at_ns, now_ns });
            }
            !is_known
        });
        self.watching.store(watched.len(), Ordering::Release);
    }

    fn holds_dead(&self, _: Slot, of: Slot) {
        self.report(Report::Dead { of: of.get(), at_ns: self.plan.clock.now_ns() });
    }

    fn alarm(&self, what: fmt::Arguments<'_>) {
        self.report(Report::Alarm(what.to_string()));
    }
}

/// Returns the file of one life: `out.pcap` becomes `out-s3-2.pcap`.
fn of_life(path: &Path, slot: Slot, generation: u32) -> PathBuf {
    let part = |part: Option<&OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let (stem, extension) = (part(path.file_stem()), part(path.extension()));
    let dot = if extension.is_empty() { "" } else { "." };
    path.with_file_name(format!("{stem}-s{}-{generation}{dot}{extension}", slot.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_life_has_a_file_of_its_own() {
        let name = |path: &str| of_life(Path::new(path), Slot::at(3), 2);
        assert_eq!(name("a/out.pcap"), Path::new("a/out-s3-2.pcap"));
        assert_eq!(name("out"), Path::new("out-s3-2"));
    }
}
