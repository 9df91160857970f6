//! A device that two loops use in turn: the driver, which owns its device, and the loop without one.
//!
//! Knows who has it now: whoever calls. Must not know what passes through it.

use std::cell::{Cell, RefCell, RefMut};
use std::io;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use popmap_core::Address;
use popmap_io::{Burst, Device, DeviceStats};

/// A share in a device. What it adds to a burst is two or three instructions, for both loops the same.
pub struct Lent<D> {
    device: Rc<RefCell<D>>,
    received: Rc<Cell<u64>>,
}

impl<D> Lent<D> {
    pub fn new(device: D) -> Self {
        Self { device: Rc::new(RefCell::new(device)), received: Rc::default() }
    }

    pub fn get(&self) -> RefMut<'_, D> {
        self.device.borrow_mut()
    }

    /// Returns how many packets were handed over, by whomever they were taken.
    pub fn received(&self) -> u64 {
        self.received.get()
    }
}

impl<D> Clone for Lent<D> {
    fn clone(&self) -> Self {
        Self { device: Rc::clone(&self.device), received: Rc::clone(&self.received) }
    }
}

impl<D: Device> Device for Lent<D> {
    fn receive(&mut self, sink: impl FnMut(Address, &[u8])) -> io::Result<Burst> {
        let burst = self.get().receive(sink)?;
        self.received.set(self.received.get() + burst.frames as u64);
        Ok(burst)
    }

    fn send(&mut self, fill: impl FnMut(&mut [u8]) -> Option<(Address, usize)>) -> io::Result<Burst> {
        self.get().send(fill)
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.get().wait(timeout)
    }

    fn waker(&self) -> Waker {
        self.get().waker()
    }

    fn payload(&self) -> usize {
        self.get().payload()
    }

    fn local(&self) -> Address {
        self.get().local()
    }

    fn stats(&self) -> DeviceStats {
        self.get().stats()
    }
}
