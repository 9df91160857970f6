//! Devices that cannot send for now: what was filled leaves later, all of it and in order, and the driver neither spins nor
//! forgets.

use std::collections::VecDeque;
use std::io;
use std::thread;

use popmap_core::{Address, Phase};
use popmap_io::{Burst, Device, Driver, Handle, Loopback, LoopbackDevice, delegate_device};

use super::{StopAll, config, key, read, start, wait_for};

/// Frames of a burst.
const FEW: usize = 3;

/// A device that keeps what it is given, and refuses as many times as there are frames before it sends them. It does not
/// say when it can send again.
struct Balky {
    device: LoopbackDevice,
    held: VecDeque<(Address, Vec<u8>)>,
    /// Times that it still refuses.
    refuses: u32,
    filled: u64,
    blocked: u64,
}

impl Balky {
    fn new(device: LoopbackDevice) -> Self {
        Self { device, held: VecDeque::new(), refuses: 0, filled: 0, blocked: 0 }
    }

    fn pass_on(&mut self) -> io::Result<()> {
        let count = self.held.len();
        let mut packets = self.held.drain(..);
        let burst = self.device.send(|frame| {
            let (to, packet) = packets.next()?;
            frame[..packet.len()].copy_from_slice(&packet);
            Some((to, packet.len()))
        })?;
        assert_eq!(burst.frames, count);
        Ok(())
    }
}

impl Device for Balky {
    fn send(&mut self, mut fill: impl FnMut(&mut [u8]) -> Option<(Address, usize)>) -> io::Result<Burst> {
        if self.refuses > 0 {
            self.refuses -= 1;
            self.blocked += 1;
            return Ok(Burst { blocked: true, ..Burst::default() });
        }
        self.pass_on()?;
        let mut frame = vec![0; self.payload()];
        while self.held.len() < FEW
            && let Some((to, len)) = fill(&mut frame)
        {
            self.held.push_back((to, frame[..len].to_vec()));
        }
        let frames = self.held.len();
        self.filled += frames as u64;
        self.refuses = frames as u32;
        Ok(Burst { frames, more: false, blocked: frames > 0 })
    }

    delegate_device!(device: receive, wait, waker, payload, local, stats);
}

#[test]
fn nothing_is_lost_between_a_node_and_a_device_that_is_often_blocked() {
    let network = Loopback::new();
    let devices = [0; 3].map(|_| Balky::new(network.device()));
    let seeds = [devices[0].local()];
    let drivers: Vec<Driver<'_, _, 8>> =
        (0..).zip(devices).map(|(slot, device)| start(&config(slot, 3, &seeds), device).unwrap()).collect();
    let handles: Vec<_> = drivers.iter().map(Driver::handle).collect();
    let readers: Vec<_> = drivers.iter().map(Driver::reader).collect();
    let ended: Vec<_> = thread::scope(|scope| {
        let run = |mut driver: Driver<'static, Balky, 8>| {
            scope.spawn(move || {
                driver.run(|_| ()).unwrap();
                driver
            })
        };
        let running: Vec<_> = drivers.into_iter().map(run).collect();
        let stop = StopAll(&handles);
        let writes = |handle: &Handle| matches!(handle.snapshot().phase, Phase::Active { .. });
        wait_for("all write", || handles.iter().all(writes));
        for (slot, handle) in handles.iter().enumerate() {
            (0..50).for_each(|n| handle.put(key(slot * 50 + n), &[7; 8]).unwrap());
        }
        wait_for("all see all writes", || {
            readers.iter().all(|reader| (0..150).all(|n| read(*reader, key(n)).is_some()))
        });
        drop(stop);
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for driver in ended {
        let (node, balky) = (driver.node().stats(), driver.device());
        let sent: u64 = node.sent.iter().sum();
        // Each as often as it was given frames, but for the last burst.
        let often = balky.filled - balky.held.len() as u64;
        assert!(often > 10 && balky.blocked >= often, "blocked {} times, {often} sent", balky.blocked);
        assert_eq!(balky.filled, sent, "filled is what the node counts as sent");
        assert_eq!(balky.stats().sent + balky.held.len() as u64, sent);
        assert_eq!((balky.stats().lost(), node.map.mends_unknown), (0, 0));
    }
}

#[test]
fn a_blocked_device_is_asked_again_after_a_millisecond_and_not_before() {
    let network = Loopback::new();
    let device = Balky { refuses: u32::MAX, ..Balky::new(network.device()) };
    // The node has something to send all the time: it asks its seed.
    let seed = network.device().local();
    let mut driver = start(&config(0, 2, &[seed]), device).unwrap();
    let clock = driver.clock();
    for _ in 0..20 {
        let before = clock.now().0;
        let deadline = driver.poll(|_| ()).unwrap().0;
        let span = before + 1_000_000..=clock.now().0 + 1_000_000;
        assert!(span.contains(&deadline), "{deadline} is not in {span:?}");
    }
    assert_eq!((driver.device().filled, driver.device().blocked), (0, 20));
}
