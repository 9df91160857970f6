//! Worker threads that look keys up while another thread merges, also when that one stands still: a proxy's data plane.
//!
//! Knows how a lookup is used: found, absent, busy, and how old. Must not know how the data came.
//!
//! A checker (S0) writes the health of every origin anew all the time, and four threads of a proxy (S1) read it. Then the
//! proxy's gossip thread is made to stand still: its callback, which should not take long, waits for a lock.
//!
//! `cargo run --release --example worker_threads`; it ends with an error if anything is not as it says.

#![forbid(unsafe_code)]

use std::error::Error;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use popmap_core::time::Duration;
use popmap_core::{Address, Config, Key, Life, Lookup, Node, Reader, Shape, Slot, SlotSet};
use popmap_io::{Device, Driver, DriverConfig, Loopback, LoopbackDevice, MonotonicClock, Running, Storage};

const WORKERS: usize = 4;
const ORIGINS: usize = 500;
const SHAPE: Shape = Shape { schema: 1, value_len: 1 };
/// Origins are written anew every few milliseconds here; what is older than this is worth a count, and an alarm.
const MAX_AGE: Duration = Duration::from_millis(300);
/// Far longer than anything here takes.
const LONG: std::time::Duration = std::time::Duration::from_secs(20);

type Outcome<T> = Result<T, Box<dyn Error>>;

/// While this is held the proxy's gossip thread stands still as soon as it has something to tell.
static GATE: Mutex<()> = Mutex::new(());
/// What the workers count, and what ends them.
static LOOKUPS: [AtomicU64; WORKERS] = [const { AtomicU64::new(0) }; WORKERS];
static BUSY: AtomicU64 = AtomicU64::new(0);
static OLD: AtomicU64 = AtomicU64::new(0);
static STOP: AtomicBool = AtomicBool::new(false);

fn key(origin: usize) -> Key {
    Key::from_name(&origin.to_le_bytes())
}

/// One worker of the proxy: picks origins for requests until it is told to stop.
fn work(reader: Reader<'_>, clock: MonotonicClock, lookups: &AtomicU64) {
    // Whether requests may go there: yes, until somebody found otherwise.
    let mut healthy = [true; ORIGINS];
    for origin in (0..ORIGINS).cycle().take_while(|_| !STOP.load(Relaxed)) {
        let mut value = [0];
        lookups.fetch_add(1, Relaxed);
        match reader.get(key(origin), &mut value) {
            Lookup::Found(meta) => {
                healthy[origin] = value[0] == 1;
                // Old news is still the best there is. That there is no newer is for the operator, not for the request.
                OLD.fetch_add(u64::from(meta.age(clock.now()) > MAX_AGE), Relaxed);
            }
            Lookup::Absent => healthy[origin] = true,
            // The writer was in the middle of this record at every try. A request does not wait for it: the answer of
            // the last lookup is a moment old and stands.
            Lookup::Busy => _ = BUSY.fetch_add(1, Relaxed),
        }
    }
}

struct Server {
    running: Running,
    reader: Reader<'static>,
    clock: MonotonicClock,
}

fn start(slot: usize, device: LoopbackDevice, seeds: Vec<Address>) -> Outcome<Server> {
    let mut node = Config::new(7, Slot::at(slot), Life::NONE, 2 * ORIGINS, SHAPE);
    node.configured = SlotSet::first(2);
    let storage = Storage::new(Node::<2>::words(&node)).leak();
    let driver = Driver::<_, 2>::start(&DriverConfig { seeds, ..DriverConfig::new(node) }, storage, device)?;
    let (reader, clock) = (driver.reader(), driver.clock());
    // S1's is a callback as it should not be.
    let running = driver.spawn(move |_| {
        if slot == 1 {
            drop(GATE.lock());
        }
    })?;
    Ok(Server { running, reader, clock })
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) -> Outcome<()> {
    let started = std::time::Instant::now();
    while !done() {
        if started.elapsed() > LONG {
            return Err(format!("{what}: not within {LONG:?}").into());
        }
        thread::sleep(std::time::Duration::from_millis(1));
    }
    Ok(())
}

/// The proxy as its operator sees it, before, during and after the stall.
fn watch(proxy: &Server) -> Outcome<()> {
    // How long ago the gossip thread last told the time, and how much of the map is fresh. By the clock: with the
    // heartbeat for the time nothing would age while it stands still.
    let silence = || proxy.clock.now().since(proxy.reader.heartbeat());
    let harvest = || proxy.reader.harvest(proxy.clock.now(), MAX_AGE, SlotSet::first(2));
    let lookups = || LOOKUPS.each_ref().map(|count| count.load(Relaxed));
    let report = |when| {
        let before = lookups();
        wait_for(when, || lookups().iter().zip(&before).all(|(now, before)| now - before > 10_000))?;
        println!(
            "{when}: heartbeat {} ms ago, {} of {ORIGINS} keys fresh; lookups {:?}, {} busy, {} old",
            silence().as_millis(),
            harvest().fresh,
            lookups(),
            BUSY.load(Relaxed),
            OLD.load(Relaxed),
        );
        Outcome::Ok(())
    };
    wait_for("all keys are fresh", || harvest().fresh == ORIGINS)?;
    report("gossip runs")?;

    let held = GATE.lock()?;
    // Refused, because there is no such key: that is news.
    proxy.running.handle().remove(Key::from_name(b"no such origin"))?;
    wait_for("nothing is fresh any more", || silence() > MAX_AGE && harvest().fresh == 0)?;
    let heartbeat = proxy.reader.heartbeat();
    report("gossip stands still, and every worker goes on")?;
    if proxy.reader.heartbeat() != heartbeat {
        return Err("the gossip thread ran".into());
    }
    drop(held);
    wait_for("all keys are fresh again", || silence() < MAX_AGE && harvest().fresh == ORIGINS)?;
    report("gossip runs again")
}

fn show() -> Outcome<()> {
    let network = Loopback::new();
    let (left, right) = (network.device(), network.device());
    let seeds = vec![left.local()];
    let (checker, proxy) = (start(0, left, vec![])?, start(1, right, seeds)?);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !STOP.load(Relaxed) {
                // Refused until both have met. And a full queue means that the driver is behind: the next round has
                // newer values anyway.
                (0..ORIGINS).for_each(|origin| _ = checker.running.handle().put(key(origin), &[1]));
                thread::sleep(std::time::Duration::from_millis(20));
            }
        });
        for lookups in &LOOKUPS {
            scope.spawn(|| work(proxy.reader, proxy.clock, lookups));
        }
        let outcome = watch(&proxy);
        STOP.store(true, Relaxed);
        outcome
    })
}

fn main() -> Outcome<()> {
    show()
}

#[cfg(test)]
#[test]
fn readers_go_on_while_the_gossip_stands_still() {
    show().unwrap();
}
