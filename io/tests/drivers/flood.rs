//! More writes, or more packets, than a driver can take at once: neither keeps the rest waiting.

use std::io;
use std::task::Waker;
use std::time::Duration;

use popmap_core::{Address, Reject};
use popmap_io::{BURST, Burst, Device, DeviceStats, Driver, Handle, Loopback, LoopbackDevice};

use super::{config, converge, key, read, spawn_all, start};

/// Writes made in one poll, at most.
const WRITES: u64 = 4_096;
const WAITING: usize = 10_000;

/// A server on its own that may write, with many writes waiting.
fn flooded(grace: Duration) -> (Driver<'static, LoopbackDevice, 8>, Handle) {
    let mut config = config(0, 1, &[]);
    (config.grace, config.node.capacity) = (grace, 2 * WAITING);
    let mut driver = start(&config, Loopback::new().device()).unwrap();
    driver.poll(|_| ()).unwrap();
    let handle = driver.handle();
    (0..WAITING).for_each(|n| handle.put(key(n), &n.to_le_bytes()).unwrap());
    (driver, handle)
}

#[test]
fn a_poll_makes_some_of_many_writes_and_wants_to_be_called_again_at_once() {
    let (mut driver, handle) = flooded(Duration::ZERO);
    for made in [WRITES, 2 * WRITES] {
        let deadline = driver.poll(|_| ()).unwrap();
        assert!(deadline <= driver.clock().now());
        assert_eq!(driver.stats().writes, made);
    }
    // What is queued meanwhile comes behind: the order is kept.
    handle.put(key(WAITING - 1), &[1; 8]).unwrap();
    driver.poll(|_| ()).unwrap();
    assert_eq!((driver.stats().writes, driver.stats().refused), (WAITING as u64 + 1, 0));
    assert_eq!(read(driver.reader(), key(WAITING - 1)), Some(u64::from_le_bytes([1; 8])));
    assert_eq!(driver.reader().len(), WAITING);
}

/// Even without any grace: behind the word that this server leaves they would be refused.
#[test]
fn a_stop_makes_all_that_waits_before_it_says_that_it_leaves() {
    let (mut driver, handle) = flooded(Duration::ZERO);
    driver.poll(|_| ()).unwrap();
    handle.put(key(WAITING), &[1; 8]).unwrap();
    handle.stop();
    driver.run(|_| ()).unwrap();
    assert_eq!((driver.stats().writes, driver.stats().refused), (WAITING as u64 + 1, 0));
    assert_eq!(driver.reader().len(), WAITING + 1);
}

/// A device to which a burst of nonsense comes at every turn, before what the others sent.
struct Flooded(LoopbackDevice);

impl Device for Flooded {
    fn receive(&mut self, mut sink: impl FnMut(Address, &[u8])) -> io::Result<Burst> {
        (0..BURST).for_each(|_| sink(Address([9; 24]), b"nonsense"));
        let burst = self.0.receive(sink)?;
        Ok(Burst { frames: burst.frames + BURST, more: true, blocked: false })
    }

    fn send(&mut self, fill: impl FnMut(&mut [u8]) -> Option<(Address, usize)>) -> io::Result<Burst> {
        self.0.send(fill)
    }

    fn wait(&mut self, _: Option<Duration>) -> io::Result<()> {
        panic!("there is always more to receive")
    }

    fn waker(&self) -> Waker {
        self.0.waker()
    }

    fn payload(&self) -> usize {
        self.0.payload()
    }

    fn local(&self) -> Address {
        self.0.local()
    }

    fn stats(&self) -> DeviceStats {
        self.0.stats()
    }
}

#[test]
fn a_flood_of_packets_keeps_neither_timers_nor_writes_nor_sending_waiting() {
    let network = Loopback::new();
    let servers = spawn_all([0; 2].map(|_| Flooded(network.device())).into());
    converge(&servers);
    for server in servers {
        let snapshot = server.running.handle().snapshot();
        assert!(snapshot.node.rejected[Reject::Truncated.index()] >= BURST as u64, "every one is counted");
        assert_eq!(snapshot.driver.waits, 0);
        server.running.stop().unwrap();
    }
}
