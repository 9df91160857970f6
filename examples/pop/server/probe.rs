//! A device that times what its driver does with each packet.
//!
//! Must not know what that is.

use std::io;

use popmap_core::Address;
use popmap_io::{Burst, Device, delegate_device};

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

    delegate_device!(device: send, wait, waker, payload, local, stats);
}
