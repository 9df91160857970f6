//! Two servers over UDP: a value is put at one and read at the other, and one leaves.
//!
//! Knows what a program does that embeds popmap the ready-made way: a device, a driver on a thread of its own, a handle to
//! write through and a reader to read through. Must not know what the driver does: the example `own_loop` shows that.
//!
//! `cargo run --release --example two_nodes`; it ends with an error if anything is not as it says.

#![forbid(unsafe_code)]

use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use popmap_core::{Address, Config, Key, Life, Lookup, Node, Phase, Reader, Shape, Slot, SlotSet, State};
use popmap_io::{Device, Driver, DriverConfig, MonotonicClock, Running, Storage, UdpConfig, UdpDevice};

/// Slots of the PoP: 64 on real servers. All servers of a PoP have the same number.
const SLOTS: usize = 2;
/// What all servers of a PoP agree on: what the values mean, and how long each is.
const SHAPE: Shape = Shape { schema: 1, value_len: 8 };
/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

type Outcome<T> = Result<T, Box<dyn Error>>;

struct Server {
    running: Running,
    reader: Reader<'static>,
    clock: MonotonicClock,
    address: Address,
}

/// Starts the server in `slot`, which asks `seeds` for the others. With none it begins a PoP of its own.
fn start(slot: usize, seeds: &[Address]) -> Outcome<Server> {
    // A real server has a fixed port, 7946 say, keys in its `DriverConfig`, and says
    // `authenticated`: without that, or `insecure`, only loopback is allowed.
    let device = UdpDevice::bind("127.0.0.1:0".parse()?, &UdpConfig::DEFAULT)?;
    let address = device.local();
    // `Life::NONE`: a new one is drawn at the start. A real server also names a `GenerationFile`.
    let mut node = Config::new(7, Slot::at(slot), Life::NONE, 1_000, SHAPE);
    // The slots that have a server. Deleted keys leave the memory only once all of these know of it.
    node.configured = SlotSet::first(SLOTS);
    let config = DriverConfig { seeds: seeds.to_vec(), ..DriverConfig::new(node) };
    let storage = Storage::new(Node::<SLOTS>::words(&node)).leak();
    let driver = Driver::<_, SLOTS>::start(&config, storage, device)?;
    let (reader, clock) = (driver.reader(), driver.clock());
    let running = driver.spawn(move |news| println!("  S{slot}: {news:?}"))?;
    Ok(Server { running, reader, clock, address })
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) -> Outcome<()> {
    let started = Instant::now();
    while !done() {
        if started.elapsed() > LONG {
            return Err(format!("{what}: not within {LONG:?}").into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn show() -> Outcome<()> {
    println!("Two servers start; the second joins through the first.");
    let first = start(0, &[])?;
    let second = start(1, &[first.address])?;
    let snapshot = |server: &Server| server.running.handle().snapshot();
    // A server writes once it has everything that the others have; until then puts are refused (rule R4).
    wait_for("both know both and may write", || {
        [&first, &second].map(snapshot).iter().all(|seen| {
            seen.owners.live() == SlotSet::first(SLOTS) && seen.phase == Phase::Active { expired: false }
        })
    })?;

    let key = Key::from_name(b"origin-17");
    println!(
        "A value is put at the first, from this thread: the driver's own thread writes it and sends it out."
    );
    first.running.handle().put(key, &200u64.to_le_bytes())?;

    let mut value = [0; 8];
    let mut found = Lookup::Absent;
    wait_for("the value is at the second", || {
        found = second.reader.get(key, &mut value);
        matches!(found, Lookup::Found(_))
    })?;
    let Lookup::Found(meta) = found else { return Err("found and lost".into()) };
    println!(
        "The second reads {}: write {:?} of {}, which came {} ms ago.",
        u64::from_le_bytes(value),
        meta.dot.counter,
        meta.dot.slot,
        meta.age(second.clock.now()).as_millis()
    );
    if (u64::from_le_bytes(value), meta.dot.slot) != (200, Slot::at(0)) {
        return Err("not what was put".into());
    }

    println!("The second leaves: it says so, and its keys are the first's at once.");
    second.running.stop()?;
    wait_for("the first hears that the second left", || {
        let seen = snapshot(&first);
        let left = |(slot, member): &(Slot, popmap_core::Member)| {
            *slot == Slot::at(1) && member.state == State::Left
        };
        seen.members.iter().any(left) && seen.owners.owner(key) == Some(Slot::at(0))
    })?;
    first.running.stop()?;
    println!("Done.");
    Ok(())
}

fn main() -> Outcome<()> {
    show()
}

#[cfg(test)]
#[test]
fn a_value_crosses_and_a_leave_is_heard() {
    show().unwrap();
}
