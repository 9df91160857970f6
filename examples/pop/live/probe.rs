//! A device that times what its driver does with each packet.
//!
//! Must not know what that is.

use std::io;
use std::task::Waker;
use std::time::Duration;

use popmap_core::Address;
use popmap_io::{Burst, Device, DeviceStats};

use crate::measure::{MergeTimes, Stopwatch};

/// A [`Device`] around another.
pub struct Probe<D> {
    device: D,
    /// How long packets that carry records took to be merged.
    pub merge: MergeTimes,
}

impl<D> Probe<D> {
    /// Wraps `device`.
    pub fn new(device: D, stopwatch: Stopwatch) -> Self {
        Self { device, merge: MergeTimes::new(stopwatch) }
    }
}

impl<D: Device> Device for Probe<D> {
    fn receive(&mut self, mut sink: impl FnMut(Address, &[u8])) -> io::Result<Burst> {
        let Self { device, merge } = self;
        device.receive(|from, packet| merge.time(packet, || sink(from, packet)))
    }

    fn send(&mut self, fill: impl FnMut(&mut [u8]) -> Option<(Address, usize)>) -> io::Result<Burst> {
        self.device.send(fill)
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.device.wait(timeout)
    }

    fn waker(&self) -> Waker {
        self.device.waker()
    }

    fn payload(&self) -> usize {
        self.device.payload()
    }

    fn local(&self) -> Address {
        self.device.local()
    }

    fn stats(&self) -> DeviceStats {
        self.device.stats()
    }
}
