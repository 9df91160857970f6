//! Drivers over real sockets, on threads of their own. Conditions are waited for, times never asserted.

#[path = "drivers/blocked.rs"]
mod blocked;
#[path = "drivers/flood.rs"]
mod flood;
#[path = "drivers/link.rs"]
mod link;
#[path = "drivers/raised_generation.rs"]
mod raised_generation;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use popmap_core::{
    Address, Config, Event, Key, Life, Lookup, Node, Phase, PutError, Reader, RemoveError, Shape, Slot,
    SlotSet, State,
};
use popmap_io::{
    Device, Driver, DriverConfig, FaultDevice, GenerationFile, Handle, Loopback, MonotonicClock, News, Pace,
    QueueError, Running, StartError, Storage, UdpConfig, UdpDevice, memory::Faults, news_channel,
};

const SHAPE: Shape = Shape { schema: 1, value_len: 8 };
/// Far longer than anything takes, also on a busy machine.
const LONG: Duration = Duration::from_secs(60);

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LONG, "{what}: not within {LONG:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn config(slot: usize, slots: usize, seeds: &[Address]) -> DriverConfig {
    let mut node = Config::new(7, Slot::at(slot), Life::NONE, 1_000, SHAPE);
    node.configured = SlotSet::first(slots);
    DriverConfig { seeds: seeds.to_vec(), ..DriverConfig::new(node) }
}

fn start<D: Device>(config: &DriverConfig, device: D) -> Result<Driver<'static, D, 8>, StartError> {
    Driver::start(config, Storage::new(Node::<8>::words(&config.node)).leak(), device)
}

fn udp(ip: impl Into<IpAddr>) -> UdpDevice {
    UdpDevice::bind(SocketAddr::new(ip.into(), 0), &UdpConfig::DEFAULT).unwrap()
}

fn key(n: usize) -> Key {
    Key::from_name(&n.to_le_bytes())
}

fn read(reader: Reader<'_>, key: Key) -> Option<u64> {
    let mut value = [0; 8];
    matches!(reader.get(key, &mut value), Lookup::Found(_)).then(|| u64::from_le_bytes(value))
}

struct Server {
    running: Running,
    reader: Reader<'static>,
    news: Arc<Mutex<Vec<News>>>,
}

impl Server {
    fn spawn<D: Device + Send + 'static>(config: &DriverConfig, device: D) -> Self {
        let driver = start(config, device).unwrap();
        let reader = driver.reader();
        let news = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&news);
        let running = driver.spawn(move |news| told.lock().unwrap().push(news)).unwrap();
        Self { running, reader, news }
    }

    fn put(&self, key: Key, value: u64) {
        self.running.handle().put(key, &value.to_le_bytes()).unwrap();
    }

    fn live(&self) -> SlotSet {
        self.running.handle().snapshot().owners.live()
    }

    fn is_active(&self) -> bool {
        matches!(self.running.handle().snapshot().phase, Phase::Active { .. })
    }

    fn heard(&self, what: impl Fn(&News) -> bool) -> bool {
        self.news.lock().unwrap().iter().any(what)
    }
}

fn spawn_all<D: Device + Send + 'static>(devices: Vec<D>) -> Vec<Server> {
    let seeds = [devices[0].local()];
    let slots = devices.len();
    let spawn = |(slot, device)| Server::spawn(&config(slot, slots, &seeds), device);
    devices.into_iter().enumerate().map(spawn).collect()
}

/// All join, each writes, all see everything; one deletes, all see that.
fn converge(servers: &[Server]) {
    let all = SlotSet::first(servers.len());
    wait_for("all know all", || servers.iter().all(|server| server.live() == all));
    wait_for("all may write", || servers.iter().all(Server::is_active));
    for (slot, server) in servers.iter().enumerate() {
        for n in 0..50 {
            server.put(key(slot * 50 + n), n as u64);
        }
    }
    let keys = servers.len() * 50;
    wait_for("all see all writes", || {
        servers.iter().all(|server| (0..keys).all(|k| read(server.reader, key(k)) == Some((k % 50) as u64)))
    });
    servers[0].running.handle().remove(key(3)).unwrap();
    wait_for("all see the deletion", || servers.iter().all(|server| read(server.reader, key(3)).is_none()));
    for server in servers {
        assert!(!server.heard(|news| matches!(news, News::PutRefused { .. } | News::RemoveRefused { .. })));
    }
}

#[test]
fn two_converge_over_udp_and_a_leave_is_heard() {
    let devices = [udp(Ipv4Addr::LOCALHOST), udp(Ipv4Addr::LOCALHOST)];
    let seeds = [devices[0].local()];
    let patient = |slot| DriverConfig { grace: Duration::from_secs(2), ..config(slot, 2, &seeds) };
    let mut servers: Vec<_> =
        devices.into_iter().enumerate().map(|(slot, device)| Server::spawn(&patient(slot), device)).collect();
    converge(&servers);
    let last = servers.pop().unwrap();
    // The last write before the end gets out too.
    last.put(key(9_999), 9);
    last.running.stop().unwrap();
    let left =
        |news: &News| matches!(news, News::Member { slot, state: State::Left } if *slot == Slot::at(1));
    wait_for("the other hears of it", || servers[0].heard(left));
    wait_for("the last write is there", || read(servers[0].reader, key(9_999)) == Some(9));
    assert_eq!(last.reader.len(), servers[0].reader.len(), "the storage outlives the driver");
}

#[test]
fn five_converge_over_udp() {
    let servers = spawn_all((0..5).map(|_| udp(Ipv4Addr::LOCALHOST)).collect());
    converge(&servers);
    let device = servers[0].running.handle().snapshot().device;
    assert_eq!(device.oversize, 0);
    for server in servers {
        server.running.stop().unwrap();
    }
}

#[test]
fn five_converge_over_ipv6() {
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        println!("SKIPPED: this host has no ::1");
        return;
    }
    converge(&spawn_all((0..5).map(|_| udp(Ipv6Addr::LOCALHOST)).collect()));
}

#[test]
fn five_converge_in_memory_through_faults() {
    let (network, clock) = (Loopback::new(), MonotonicClock::new());
    let faults = Faults { loss_ppm: 100_000, duplicate_ppm: 50_000, ..Faults::default() };
    let device = |seed| {
        let device = FaultDevice::new(network.device(), seed, faults, move || clock.now());
        device.control().set_corruption(20_000);
        device
    };
    let servers = spawn_all((0..5).map(device).collect());
    converge(&servers);
    let rejected: u64 = servers
        .iter()
        .map(|server| server.running.handle().snapshot().node.rejected[..].iter().sum::<u64>())
        .sum();
    assert!(rejected > 0, "no damaged packet came");
}

/// Stops drivers at the end of a scope, or a failed test would wait for them for ever.
struct StopAll<'h>(&'h [Handle]);

impl Drop for StopAll<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(Handle::stop);
    }
}

#[test]
fn drivers_run_in_scoped_threads_over_memory_that_is_given_back() {
    let network = Loopback::new();
    let (left, right) = (network.device(), network.device());
    let seeds = [left.local()];
    let configs = [config(0, 2, &seeds), config(1, 2, &seeds)];
    let words = Node::<8>::words(&configs[0].node);
    let mut storage = [Storage::new(words), Storage::new(words)];
    let [first, second] = storage.each_mut();
    let mut left: Driver<'_, _, 8> = Driver::start(&configs[0], first.words_mut(), left).unwrap();
    let mut right: Driver<'_, _, 8> = Driver::start(&configs[1], second.words_mut(), right).unwrap();
    let (handles, reader) = ([left.handle(), right.handle()], right.reader());
    std::thread::scope(|scope| {
        scope.spawn(move || left.run(|_| ()).unwrap());
        scope.spawn(move || right.run(|_| ()).unwrap());
        let _stop = StopAll(&handles);
        wait_for("both know both", || {
            handles.iter().all(|h| h.snapshot().owners.live() == SlotSet::first(2))
        });
        wait_for("the write crosses", || {
            // Refused while starting.
            handles[0].put(key(1), &5u64.to_le_bytes()).unwrap();
            read(reader, key(1)) == Some(5)
        });
    });
    assert!(handles.iter().all(Handle::is_stopped));
}

#[test]
fn two_drivers_share_somebody_elses_loop() {
    let (left, right) = (udp(Ipv4Addr::LOCALHOST), udp(Ipv4Addr::LOCALHOST));
    let seeds = [left.local()];
    let mut drivers =
        [start(&config(0, 2, &seeds), left).unwrap(), start(&config(1, 2, &seeds), right).unwrap()];
    let mut started = [false; 2];
    wait_for("both start", || {
        for (driver, started) in drivers.iter_mut().zip(&mut started) {
            driver.poll(|news| *started |= matches!(news, News::Map(Event::Started { .. }))).unwrap();
        }
        started == [true; 2]
    });
    drivers[0].put(key(1), &[1; 8]).unwrap();
    wait_for("the write crosses", || {
        for driver in &mut drivers {
            driver.poll(|_| ()).unwrap();
        }
        read(drivers[1].reader(), key(1)).is_some()
    });
    drivers[1].remove(key(1)).unwrap();
    assert_eq!(drivers[1].remove(key(1)), Err(RemoveError::NotFound));
}

#[test]
fn the_queue_is_bounded_and_says_so() {
    let mut config = config(0, 1, &[]);
    config.queue = 3;
    let network = Loopback::new();
    let mut driver = start(&config, network.device()).unwrap();
    let handle = driver.handle();
    for n in 0..3 {
        handle.put(key(n), &[1; 8]).unwrap();
    }
    assert_eq!(handle.put(key(3), &[1; 8]), Err(QueueError::Full { capacity: 3 }));
    assert_eq!(handle.put(key(3), &[1; 7]), Err(QueueError::ValueLength { given: 7, expected: 8 }));
    driver.poll(|_| ()).unwrap();
    handle.put(key(3), &[1; 8]).unwrap();
    handle.stop();
    assert_eq!(handle.remove(key(3)), Err(QueueError::Stopped));
    assert_eq!(driver.stats().writes, 3);
    // What was queued before the stop is still written.
    driver.run(|_| ()).unwrap();
    assert_eq!(driver.stats().writes, 4);
    // And nothing behind the word that we leave.
    assert_eq!(driver.put(key(4), &[1; 8]), Err(PutError::Left));
    assert_eq!(driver.remove(key(3)), Err(RemoveError::Refused(PutError::Left)));
    assert!(read(driver.reader(), key(3)).is_some(), "readers go on");
}

#[test]
fn refusals_come_as_news_through_a_bounded_channel() {
    let network = Loopback::new();
    // Somebody else was to be met first, and does not exist.
    let nowhere = network.device().local();
    let mut config = config(0, 2, &[nowhere]);
    config.node.start_within = popmap_core::time::Duration::from_secs(3_600);
    let driver = start(&config, network.device()).unwrap();
    let handle = driver.handle();
    handle.put(key(0), &[1; 8]).unwrap();
    handle.remove(key(1)).unwrap();
    handle.put(key(2), &[1; 8]).unwrap();
    let (sender, receiver) = news_channel(2);
    let running = driver.spawn(move |news| sender.send(news)).unwrap();
    wait_for("three refusals", || running.handle().snapshot().driver.refused == 3);
    running.stop().unwrap();
    assert!(matches!(receiver.try_recv(), Some(News::Lagged { missed: 1.. })));
    let refused = Some((key(0), PutError::Starting));
    assert_eq!(
        receiver.try_recv().and_then(|news| match news {
            News::PutRefused { key, error } => Some((key, error)),
            _ => None,
        }),
        refused
    );
    assert!(matches!(receiver.try_recv(), Some(News::RemoveRefused { .. })));
}

#[test]
fn a_wait_without_a_deadline_ends_with_a_write() {
    let mut driver = start(&config(0, 1, &[]), udp(Ipv4Addr::LOCALHOST)).unwrap();
    let handle = driver.handle();
    std::thread::scope(|scope| {
        scope.spawn(move || handle.put(key(1), &[1; 8]).unwrap());
        driver.wait(popmap_core::time::Instant::NEVER).unwrap();
    });
    driver.poll(|_| ()).unwrap();
    assert_eq!((driver.stats().waits, driver.stats().writes), (1, 1));
}

#[test]
fn dropping_a_running_driver_stops_it() {
    let server = Server::spawn(&config(0, 1, &[]), udp(Ipv4Addr::LOCALHOST));
    let handle = server.running.handle().clone();
    assert!(!handle.is_stopped() && !server.running.is_finished());
    drop(server.running);
    assert!(handle.is_stopped());
    assert_eq!(handle.put(key(0), &[0; 8]), Err(QueueError::Stopped));
    // The thread is gone, and its callback with it.
    assert_eq!(Arc::strong_count(&server.news), 1);
}

#[test]
fn a_busy_driver_never_sleeps_and_stops_too() {
    let mut config = config(0, 1, &[]);
    config.pace = Pace::Busy;
    let server = Server::spawn(&config, udp(Ipv4Addr::LOCALHOST));
    wait_for("it may write", || server.is_active());
    let handle = server.running.handle().clone();
    server.running.stop().unwrap();
    let stats = handle.snapshot().driver;
    assert!(stats.polls > 0 && stats.waits == 0, "{stats:?}");
}

#[test]
fn a_payload_beyond_the_devices_is_refused() {
    let mut config = config(0, 1, &[]);
    config.node.payload = 1_500;
    let error = start(&config, udp(Ipv4Addr::LOCALHOST)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "payload: 1500 bytes configured for the node; the device carries at most 1400"
    );
}

#[test]
fn each_start_raises_the_saved_generation_first() {
    let directory = std::env::temp_dir().join(format!("popmap-io-drivers-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = GenerationFile::new(directory.join("generation"));
    let mut config = config(0, 1, &[]);
    config.generation = Some(file.clone());
    let network = Loopback::new();
    let mut lives = Vec::new();
    for _ in 0..3 {
        let driver = start(&config, network.device()).unwrap();
        lives.push(driver.node().map().life());
        assert_eq!(file.read().unwrap(), Some(lives.last().unwrap().generation));
    }
    assert!(lives.windows(2).all(|pair| pair[0].generation < pair[1].generation && pair[0].id != pair[1].id));
    std::fs::remove_dir_all(&directory).unwrap();

    // No directory any more: the clock carries on, with a warning in the first poll.
    let mut driver = start(&config, network.device()).unwrap();
    assert!(driver.node().map().life().generation > 0);
    let mut warned = 0;
    for _ in 0..3 {
        driver.poll(|news| warned += u32::from(matches!(news, News::GenerationNotSaved(_)))).unwrap();
    }
    assert_eq!(warned, 1);
}

#[test]
fn an_idle_driver_sleeps() {
    let server = Server::spawn(&config(0, 1, &[]), udp(Ipv4Addr::LOCALHOST));
    wait_for("it waits, and goes on", || server.running.handle().snapshot().driver.waits > 10);
    // It polls once per wait, but for what came in a hurry.
    let stats = server.running.handle().snapshot().driver;
    assert!(stats.polls < 100 * stats.waits, "{stats:?}");
}
