//! A network in memory and in real time, for drivers on several threads of one process.
//!
//! Knows queues and who waits at them. Must not know what is in a packet. For one thread and virtual time there is
//! [`memory`](crate::memory).
//!
//! Each device has a bounded queue of packets in memory that is used again and again. A packet that finds the other's
//! queue full is lost, as it is with a socket's buffer, and counted by the sender as
//! [`refused`](DeviceStats::refused).

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::{Wake, Waker};
use std::time::Duration;

use popmap_core::Address;
use popmap_core::limits::PAYLOAD_DEFAULT;

use crate::address;
use crate::device::{BURST, Burst, Device, DeviceStats};

/// Packets that wait at a device before further ones are lost.
const QUEUE: usize = 4_096;

/// A network in memory; [`device`](Self::device) adds a device to it. Clones are the same network.
#[derive(Clone, Debug)]
pub struct Loopback {
    mailboxes: Arc<RwLock<Vec<Arc<Mailbox>>>>,
    payload: usize,
}

/// A [`Device`] on a [`Loopback`].
#[derive(Debug)]
pub struct LoopbackDevice {
    network: Loopback,
    mailbox: Arc<Mailbox>,
    local: Address,
    /// Packets taken out, and then their memory on its way back.
    taken: VecDeque<(Address, Vec<u8>)>,
    frame: Box<[u8]>,
    stats: DeviceStats,
}

#[derive(Debug, Default)]
struct Mailbox {
    state: Mutex<Mail>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Mail {
    packets: VecDeque<(Address, Vec<u8>)>,
    spare: Vec<Vec<u8>>,
    woken: bool,
    closed: bool,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Mail> {
        // Whole between any two statements that can panic: allocation alone.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a packet in, unless the queue is full.
    fn deliver(&self, from: Address, packet: &[u8]) -> bool {
        let mut mail = self.lock();
        if mail.closed || mail.packets.len() >= QUEUE {
            return false;
        }
        let mut bytes = mail.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(packet);
        mail.packets.push_back((from, bytes));
        drop(mail);
        self.changed.notify_one();
        true
    }
}

impl Wake for Mailbox {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.lock().woken = true;
        self.changed.notify_one();
    }
}

impl Loopback {
    /// Returns a network without devices, for packets of [`PAYLOAD_DEFAULT`] bytes.
    #[must_use]
    pub fn new() -> Self {
        Self { mailboxes: Arc::default(), payload: PAYLOAD_DEFAULT }
    }

    /// Adds a device. The first has the address 127.0.0.1:1, the next 127.0.0.1:2 and so on: no such sockets are opened,
    /// but captures read well.
    ///
    /// # Panics
    /// When there are 65,535 devices already.
    #[must_use]
    pub fn device(&self) -> LoopbackDevice {
        let mailbox = Arc::new(Mailbox::default());
        let mut mailboxes = self.mailboxes.write().unwrap_or_else(PoisonError::into_inner);
        mailboxes.push(Arc::clone(&mailbox));
        let port = u16::try_from(mailboxes.len()).expect("at most 65,535 devices");
        drop(mailboxes);
        LoopbackDevice {
            network: self.clone(),
            mailbox,
            local: address::from_socket(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
            taken: VecDeque::new(),
            frame: vec![0; self.payload].into(),
            stats: DeviceStats::default(),
        }
    }

    fn mailbox(&self, to: Address) -> Option<Arc<Mailbox>> {
        let to = address::to_socket(to).filter(|to| to.ip() == Ipv4Addr::LOCALHOST)?;
        let mailboxes = self.mailboxes.read().unwrap_or_else(PoisonError::into_inner);
        mailboxes.get(usize::from(to.port()).checked_sub(1)?).cloned()
    }
}

impl Default for Loopback {
    fn default() -> Self {
        Self::new()
    }
}

impl Device for LoopbackDevice {
    fn receive(&mut self, mut sink: impl FnMut(Address, &[u8])) -> io::Result<Burst> {
        let mut mail = self.mailbox.lock();
        let burst = mail.packets.len().min(BURST);
        if burst == mail.packets.len() {
            mem::swap(&mut mail.packets, &mut self.taken);
        } else {
            self.taken.extend(mail.packets.drain(..burst));
        }
        let more = !mail.packets.is_empty();
        drop(mail);
        if burst == 0 {
            return Ok(Burst::default());
        }
        for (from, packet) in &self.taken {
            sink(*from, packet);
        }
        self.stats.received += burst as u64;
        let mut mail = self.mailbox.lock();
        mail.spare.extend(self.taken.drain(..).map(|(_, memory)| memory));
        Ok(Burst { frames: burst, more, blocked: false })
    }

    fn send(&mut self, mut fill: impl FnMut(&mut [u8]) -> Option<(Address, usize)>) -> io::Result<Burst> {
        for frames in 0..BURST {
            let Some((to, len)) = fill(&mut self.frame) else {
                return Ok(Burst { frames, ..Burst::default() });
            };
            match self.network.mailbox(to) {
                None => self.stats.no_route += 1,
                Some(mailbox) if mailbox.deliver(self.local, &self.frame[..len]) => self.stats.sent += 1,
                Some(_) => self.stats.refused += 1,
            }
        }
        Ok(Burst { frames: BURST, more: true, blocked: false })
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let idle = |mail: &mut Mail| mail.packets.is_empty() && !mail.woken;
        let (mail, changed) = (self.mailbox.lock(), &self.mailbox.changed);
        let mut mail = match timeout {
            None => changed.wait_while(mail, idle).unwrap_or_else(PoisonError::into_inner),
            Some(timeout) => {
                changed.wait_timeout_while(mail, timeout, idle).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        mail.woken = false;
        Ok(())
    }

    fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.mailbox))
    }

    fn payload(&self) -> usize {
        self.frame.len()
    }

    fn local(&self) -> Address {
        self.local
    }

    fn stats(&self) -> DeviceStats {
        self.stats
    }
}

impl Drop for LoopbackDevice {
    fn drop(&mut self) {
        let mut mail = self.mailbox.lock();
        mail.closed = true;
        mail.packets.clear();
        mail.spare.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(device: &mut LoopbackDevice, to: Address, count: usize) {
        let mut numbers = 0..count;
        let mut fill = |frame: &mut [u8]| {
            frame[0] = numbers.next()? as u8;
            Some((to, 1))
        };
        while device.send(&mut fill).unwrap().more {}
    }

    #[test]
    fn packets_arrive_in_order_until_the_queue_is_full() {
        let network = Loopback::new();
        let (mut left, mut right) = (network.device(), network.device());
        send(&mut left, right.local(), QUEUE + 10);
        assert_eq!((left.stats().sent, left.stats().refused), (QUEUE as u64, 10));
        let mut seen = Vec::new();
        let from = left.local();
        while right
            .receive(|source, packet| {
                assert_eq!(source, from);
                seen.push(packet[0]);
            })
            .unwrap()
            .more
        {}
        assert_eq!(seen, (0..QUEUE).map(|n| n as u8).collect::<Vec<_>>());
        send(&mut left, right.local(), 1);
        assert_eq!(right.receive(|_, _| ()).unwrap().frames, 1);
    }

    #[test]
    fn nobody_is_at_an_address_without_a_device() {
        let network = Loopback::new();
        let mut device = network.device();
        let gone = network.device().local();
        send(&mut device, gone, 1);
        send(&mut device, Address::default(), 1);
        send(&mut device, address::from_socket("127.0.0.1:9".parse().unwrap()), 1);
        assert_eq!((device.stats().refused, device.stats().no_route, device.stats().sent), (1, 2, 0));
    }

    #[test]
    fn a_packet_or_a_wake_ends_a_wait() {
        let network = Loopback::new();
        let (mut left, mut right) = (network.device(), network.device());
        right.waker().wake();
        right.wait(None).unwrap();
        std::thread::scope(|scope| {
            let waker = right.waker();
            scope.spawn(move || waker.wake());
            right.wait(None).unwrap();
            let to = right.local();
            scope.spawn(move || send(&mut left, to, 1));
            right.wait(None).unwrap();
        });
        assert_eq!(right.receive(|_, _| ()).unwrap().frames, 1);
    }
}
