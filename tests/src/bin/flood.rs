//! Floods one of three servers over UDP on the loopback, as fast as a core sends, and measures what that does to the others'
//! writes: how long after it was made a write is readable at the flooded server.

use std::net::UdpSocket;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use popmap_core::auth::AuthKey;
use popmap_core::wire::Kind;
use popmap_core::{Config, Life, Lookup, Node, Reject, Slot, SlotSet, State};
use popmap_io::address::to_socket;
use popmap_io::{Device, DeviceStats, Driver, DriverConfig, News, Storage, UdpConfig, UdpDevice};
use popmap_tests::adversary::Keys;
use popmap_tests::liar::{Liar, digest, version};
use popmap_tests::scenario::{SHAPE, key};

/// Servers that run; the slot behind them is the stolen one's.
const SERVERS: usize = 3;
const N: usize = 4;
const VICTIM: usize = 0;
const AUTHOR: usize = 1;
const STOLEN: Slot = Slot::at(SERVERS);
const CLUSTER: u64 = 0x00c1;
const CAPACITY: usize = 20_000;
/// Between two writes of the author.
const WRITES: Duration = Duration::from_millis(5);

/// What the flood is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Sort {
    /// Nothing, to compare with
    None,
    /// 1,400 bytes that are right but for their code, by who knows the victim's life
    Forged,
    /// One valid packet, again and again
    Replayed,
    /// Valid pings of the holder of a key
    Pings,
    /// Valid versions
    Versions,
    /// Valid repair questions
    Digests,
    /// A valid code, and garbage behind it
    Garbage,
}

/// Measures how a PoP of three servers over UDP converges while one of them is flooded.
#[derive(Parser)]
struct Args {
    /// Seconds of each flood
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// The floods; all of them unless told otherwise
    sorts: Vec<Sort>,
}

/// What the threads tell each other.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Servers that write.
    started: AtomicU64,
    /// The victim's life id.
    life: AtomicU64,
    /// Since the threads began, in nanoseconds: from then on it is measured.
    from: AtomicU64,
    offered: AtomicU64,
    latencies: Mutex<Vec<u64>>,
    victim: Mutex<Option<Ended>>,
    /// Times that one of the three held another dead.
    deaths: AtomicU64,
}

/// The victim's counters, since it was flooded.
#[derive(Clone, Copy)]
struct Ended {
    device: DeviceStats,
    rejected: [u64; Reject::ALL.len()],
    received: u64,
}

fn config(slot: usize) -> Config {
    let mut config = Config::new(CLUSTER, Slot::at(slot), Life::NONE, CAPACITY, SHAPE);
    config.configured = SlotSet::first(N);
    config
}

fn counters(driver: &Driver<'_, UdpDevice, N>) -> Ended {
    let stats = driver.node().stats();
    let received = stats.received().map(|(_, count)| count).sum();
    Ended { device: driver.device().stats(), rejected: stats.rejected, received }
}

fn serve(slot: usize, mut driver: Driver<'_, UdpDevice, N>, begin: Instant, shared: &Shared) {
    let nanoseconds = || begin.elapsed().as_nanos() as u64;
    let (mut written, mut seen, mut first, mut told) = (Instant::now(), 0, None, false);
    let mut buffer = [0; 24];
    while !shared.stop.load(Relaxed) {
        let deadline = driver.poll(|news| {
            // The stolen server answers no probe: that one is held dead is right.
            if let News::Member { slot, state: State::Dead } = news
                && slot != STOLEN
            {
                shared.deaths.fetch_add(1, Relaxed);
            }
        });
        let deadline = deadline.expect("a socket");
        if slot == VICTIM {
            shared.life.store(driver.node().map().life().id, Relaxed);
            let from = shared.from.load(Relaxed);
            if from > 0 && first.is_none() {
                first = Some(counters(&driver));
            }
            if matches!(driver.reader().get(key(1), &mut buffer), Lookup::Found(_)) {
                let at = u64::from_le_bytes(buffer[..8].try_into().expect("8 of 24"));
                if at != seen && from > 0 && at > from {
                    shared.latencies.lock().expect("nobody panicked").push(nanoseconds() - at);
                }
                seen = at;
            }
        }
        if slot == AUTHOR && written.elapsed() >= WRITES {
            written = Instant::now();
            let mut value = [0; 24];
            value[..8].copy_from_slice(&nanoseconds().to_le_bytes());
            // Refused while it is starting.
            if driver.put(key(1), &value).is_ok() && !told {
                told = true;
                shared.started.fetch_add(1, Relaxed);
            }
            continue;
        }
        let wait = if slot == AUTHOR {
            deadline.min(driver.clock().now() + popmap_core::time::Duration(1_000_000))
        } else {
            deadline
        };
        driver.wait(wait).expect("a socket");
    }
    if let Some(first) = first {
        let mut ended = counters(&driver);
        ended.device.overruns -= first.device.overruns;
        ended.received -= first.received;
        ended.rejected.iter_mut().zip(first.rejected).for_each(|(now, before)| *now -= before);
        *shared.victim.lock().expect("nobody panicked") = Some(ended);
    }
}

fn flood(sort: Sort, to: std::net::SocketAddr, victim: u64, until: Instant, shared: &Shared) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    socket.connect(to).expect("loopback");
    let key: AuthKey = Keys::Rows.ring(STOLEN).sending().clone();
    let life = Life { generation: 1, id: 0xbad };
    let mut liar = Liar::with_key(key, STOLEN, life);
    let to = Slot::at(VICTIM);
    let mut forged = liar.packet(Kind::Delta, to, victim, &[7; 1_336], 0);
    forged[63] ^= 1;
    let ping = [1, 0, 0, 0, VICTIM as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let replayed = liar.packet(Kind::Ping, to, victim, &ping, 0);
    let (version, digest, garbage) = (version(&SHAPE, &[], 0), digest(&SHAPE, 4, 8), [0x77; 600]);
    let mut offered = 0;
    while offered % 64 != 0 || Instant::now() < until {
        let made;
        let packet = match sort {
            Sort::None => return thread::sleep(until - Instant::now()),
            Sort::Forged => &forged,
            Sort::Replayed => &replayed,
            Sort::Pings | Sort::Versions | Sort::Digests | Sort::Garbage => {
                let (kind, body) = match sort {
                    Sort::Versions => (Kind::Version, &version[..]),
                    Sort::Digests => (Kind::Digest, &digest[..]),
                    Sort::Garbage => (Kind::Delta, &garbage[..]),
                    _ => (Kind::Ping, &ping[..]),
                };
                made = liar.packet(kind, to, victim, body, 0);
                &made
            }
        };
        // A full buffer, or the victim's: it is lost, as anywhere.
        offered += u64::from(socket.send(packet).is_ok());
    }
    shared.offered.fetch_add(offered, Relaxed);
}

fn run(sort: Sort, seconds: u64) {
    let shared = Shared::default();
    let begin = Instant::now();
    let devices: Vec<_> = (0..SERVERS)
        .map(|_| {
            UdpDevice::bind(
                "127.0.0.1:0".parse().expect("an address"),
                &UdpConfig::DEFAULT.authenticated(true),
            )
        })
        .map(|device| device.expect("loopback"))
        .collect();
    let seeds: Vec<_> = devices.iter().map(Device::local).collect();
    let victim = to_socket(seeds[VICTIM]).expect("of UDP");
    thread::scope(|scope| {
        for (slot, device) in devices.into_iter().enumerate() {
            let (shared, seeds) = (&shared, seeds.clone());
            scope.spawn(move || {
                let keys = Some(Box::new(Keys::Rows.ring(Slot::at(slot))));
                let config = DriverConfig { seeds, keys, ..DriverConfig::new(config(slot)) };
                let mut storage = Storage::new(Node::<N>::words(&config.node));
                let driver =
                    Driver::<_, N>::start(&config, storage.words_mut(), device).expect("a configuration");
                serve(slot, driver, begin, shared);
            });
        }
        while shared.started.load(Relaxed) == 0 {
            thread::sleep(Duration::from_millis(10));
        }
        thread::sleep(Duration::from_secs(1));
        shared.from.store(begin.elapsed().as_nanos() as u64, Relaxed);
        flood(
            sort,
            victim,
            shared.life.load(Relaxed),
            Instant::now() + Duration::from_secs(seconds),
            &shared,
        );
        shared.stop.store(true, Relaxed);
    });
    let mut latencies = shared.latencies.into_inner().expect("nobody panicked");
    latencies.sort_unstable();
    let quantile =
        |permille: usize| latencies.get(latencies.len() * permille / 1_000).map_or(0, |ns| ns / 1_000);
    let ended = shared.victim.into_inner().expect("nobody panicked").expect("it was measured");
    let per_second = |count: u64| count / seconds;
    let reasons: Vec<_> = Reject::ALL.iter().filter(|reason| ended.rejected[reason.index()] > 0).collect();
    let reasons: Vec<_> = reasons
        .into_iter()
        .map(|reason| format!("{} {}", reason.name(), per_second(ended.rejected[reason.index()])))
        .collect();
    println!(
        "{sort:?}: offered {}/s, taken {}/s, lost before the socket {}/s, rejected a second: {}; {} writes readable \
         after {} us (median), {} us (99 %), {} us (longest); {} deaths",
        per_second(shared.offered.load(Relaxed)),
        per_second(ended.received),
        per_second(ended.device.overruns),
        if reasons.is_empty() { "none".to_owned() } else { reasons.join(", ") },
        latencies.len(),
        quantile(500),
        quantile(990),
        latencies.last().map_or(0, |ns| ns / 1_000),
        shared.deaths.load(Relaxed)
    );
}

fn main() -> ExitCode {
    let Args { seconds, sorts } = Args::parse();
    let sorts = if sorts.is_empty() { Sort::value_variants().to_vec() } else { sorts };
    sorts.into_iter().for_each(|sort| run(sort, seconds.max(1)));
    ExitCode::SUCCESS
}
