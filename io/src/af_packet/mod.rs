//! The packet device: frames on a Linux interface, through an `AF_PACKET` socket.
//!
//! Knows sockets, interfaces and what becomes of them. Must not know what is in a packet; what is in front of one is the
//! encapsulation's.
//!
//! | file | knows |
//! |---|---|
//! | `config` | what can be chosen, and what each failure takes to be mended |
//! | `port` | a socket on an interface: opened once, bound as often as the interface comes back |
//! | `filter` | which frames the kernel hands over at all |
//! | `ring` | memory that the kernel writes frames into, and whose each slot is |
//! | `frames` | what is in a slot |
//! | `outgoing` | the frame that is sent, and what refusals mean for it |
//! | `link` | whether frames can pass, and when to look again |
//! | `sys` | the system calls that no safe API has |
//!
//! Received packets are handed over where the kernel wrote them, in a ring that it shares with us: no system call and
//! no copy for a frame. Each sent frame is filled in place and takes one system call: batches gain nothing where the
//! interface's own cost is ten times that of the call, as on veth.
//!
//! # What it needs
//!
//! Linux 4.20 with CONFIG_PACKET, and the capability `CAP_NET_RAW` while it is opened: root has it, as has whoever is root in a user
//! namespace, for the network namespaces made in there. An Ethernet interface that is up, with an MTU of at least
//! [`Encap::mtu`].
//!
//! # Beside a kernel
//!
//! The kernel sees every frame too. With UDP, take an address that it does not have: it would answer each packet with
//! ICMP "port unreachable" (see [`UdpFraming::local`](crate::encap::UdpFraming::local)). The filter leaves the kernel's
//! own traffic alone, however much it is. Frames between two programs on one interface do not meet: a frame that was
//! sent there has left.
//!
//! A kernel's UDP socket at the other end of a virtual wire leaves two things to hardware that is not there, and both
//! are seen to: checksums, and cutting long series apart
//! ([`Offload::segment`](crate::encap::Offload::segment), Linux 6.2; before, such a series is lost and counted as
//! [`overruns`](DeviceStats::overruns): switch `tx-udp-segmentation` off at the sender). A series is longer than a slot of
//! the ring and waits in the socket's receive buffer, which is as large as the ring for whoever has CAP_NET_ADMIN, and
//! else no larger than `net.core.rmem_max`; what finds no room there is cut short, and counted as
//! [`Ignored::Truncated`](crate::encap::Ignored::Truncated).
//!
//! # When the link goes
//!
//! An interface that is switched off, loses its carrier, gets too small an MTU or is taken away is no error of
//! [`Device::receive`] or [`Device::send`]: the device lives on as behind a cut cable. What is sent meanwhile is lost and
//! counted as [`unreachable`](DeviceStats::unreachable), so that the node sees its peers fail and they see it fail; held
//! frames are lost too. The device looks for the interface by name, at first every 50 ms and in the end every 2 s, binds
//! to what has the name then, announces its address, and goes on. Its MAC address, by which the others know it, stays
//! what it was at the start, also when the new interface has another. [`DeviceStats::link_losses`] and
//! [`link_returns`](DeviceStats::link_returns) count, and [`PacketDevice::link`] says what is wrong. No privilege is
//! needed for any of that.
//!
//! ```no_run
//! use popmap_io::af_packet::{PacketConfig, PacketDevice};
//! use popmap_io::encap::EncapConfig;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Bare Ethernet: whoever is on the segment is trusted.
//! let device = PacketDevice::bind("eth1", &EncapConfig::ethernet().insecure(true), &PacketConfig::DEFAULT)?;
//! // The first peer is found by asking everyone.
//! let seeds = [popmap_io::address::BROADCAST];
//! # let _ = (device, seeds);
//! # Ok(())
//! # }
//! ```

mod config;
mod filter;
mod frames;
mod link;
mod outgoing;
mod port;
mod ring;
mod sys;

use std::fmt;
use std::io;
use std::mem;
use std::task::Waker;
use std::time::Duration;

use popmap_core::Address;
use popmap_core::time::Instant;
use rustix::event::PollFlags;

pub use config::{Mode, PacketConfig, PacketError};

use crate::bell::Bell;
use crate::clock::MonotonicClock;
use crate::device::{BURST, Burst, Device, DeviceStats};
use crate::encap::{Encap, EncapConfig, EncapStats, Stripped, Unsent};
use frames::VIRTIO;
use link::{Change, Link};
use outgoing::{Outcome, Outgoing, is_link};
use port::Port;

/// A [`Device`] on an interface, through a packet socket.
pub struct PacketDevice {
    interface: Box<str>,
    port: Port,
    encap: Encap,
    link: Link,
    bell: Bell,
    /// Runs neighbours' times and looks at the link, and nothing else.
    clock: MonotonicClock,
    outgoing: Outgoing,
    /// An error showed at the socket.
    is_odd: bool,
}

impl PacketDevice {
    /// Opens a packet socket on the interface with this name. Without a carrier its [link](Self::link) begins down.
    ///
    /// # Errors
    /// [`PacketError::Encap`] unless the encapsulation says [`insecure`](EncapConfig::insecure); which field is out of
    /// range; what is wrong with the interface; what the operating system said and to what.
    pub fn bind(interface: &str, encap: &EncapConfig, config: &PacketConfig) -> Result<Self, PacketError> {
        let (port, encap, down) = Port::open(interface, encap, config)?;
        let failed =
            |source| PacketError::System { interface: interface.into(), step: "making the waker", source };
        let bell = Bell::new().map_err(failed)?;
        let clock = MonotonicClock::new();
        Ok(Self {
            interface: interface.into(),
            port,
            link: Link::new(clock.now(), down),
            bell,
            clock,
            outgoing: Outgoing::new(encap.frame_len()),
            encap,
            is_odd: false,
        })
    }

    /// Returns the interface's name.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// Returns whether frames can pass.
    ///
    /// # Errors
    /// Why they cannot, when this was last looked at. The device goes on looking by itself.
    pub fn link(&self) -> Result<(), &PacketError> {
        self.link.down().map_or(Ok(()), Err)
    }

    /// Returns the encapsulation's counters: why frames were ignored, and what came of finding neighbours.
    #[must_use]
    pub fn encap_stats(&self) -> EncapStats {
        self.encap.stats()
    }

    /// Sends a frame that the caller has made, from its Ethernet header on, as it is and past the counters: what others may
    /// send, for tests, or another protocol's.
    ///
    /// # Errors
    /// The operating system's; nothing was sent.
    ///
    /// # Panics
    /// When it is longer than [`Encap::frame_len`].
    pub fn inject(&mut self, frame: &[u8]) -> io::Result<()> {
        assert!(frame.len() <= self.encap.frame_len(), "a frame of {} bytes", frame.len());
        // Not where a packet may wait.
        self.port.send(&[&[0; VIRTIO][..], frame].concat())
    }

    /// Looks at the link if it is time to, or something was odd.
    fn tend(&mut self, now: Instant) {
        if mem::take(&mut self.is_odd)
            && let Some(error) = self.port.take_error()
        {
            self.outgoing.stats.receive_errors += u64::from(!is_link(&error));
            self.link.doubt(now);
        }
        match self.link.poll(now, |was_down| self.port.look(was_down)) {
            Change::None => {}
            Change::Lost => self.outgoing.give_up(),
            // Others may look for us where we are no longer, or have forgotten us.
            Change::Returned => self.encap.announce(now),
        }
    }

    /// Takes note of what became of a frame; returns whether it has to wait.
    fn is_held(&mut self, now: Instant, outcome: Outcome) -> bool {
        if outcome == Outcome::Odd {
            self.link.doubt(now);
        }
        outcome == Outcome::Held
    }

    /// Sends what waits and what the encapsulation has to say; returns whether some of it has to wait.
    fn catch_up(&mut self, now: Instant) -> io::Result<bool> {
        let mut outcome = self.outgoing.flush(now, |frame| self.port.send(frame))?;
        while !self.is_held(now, outcome) {
            let Some(len) = self.encap.poll_transmit(now, self.outgoing.frame()) else { return Ok(false) };
            outcome = self.outgoing.transmit(now, len, false, |frame| self.port.send(frame))?;
        }
        Ok(true)
    }

    /// Frames and sends a packet of `len` bytes that stands in its place; returns whether it has to wait.
    fn dispatch(&mut self, now: Instant, to: Address, len: usize) -> io::Result<bool> {
        let framed = self.encap.prepend(now, to, self.outgoing.frame(), len);
        let stats = &mut self.outgoing.stats;
        let counter = match framed {
            Ok(len) => {
                let outcome = self.outgoing.transmit(now, len, true, |frame| self.port.send(frame))?;
                return Ok(self.is_held(now, outcome));
            }
            Err(Unsent::NoRoute) => &mut stats.no_route,
            Err(Unsent::TooLong) => &mut stats.too_long,
            // Gossip repeats what is lost until its neighbour is found.
            Err(_) => &mut stats.unreachable,
        };
        *counter += 1;
        Ok(false)
    }

    /// Returns how long a wait may be, given how long the caller's is: until the next thing that only time brings.
    fn patience(&self, timeout: Option<Duration>) -> Duration {
        let say_at = self.encap.poll_timeout().filter(|_| self.link.down().is_none());
        let next = [self.outgoing.retry_at(), say_at]
            .into_iter()
            .flatten()
            .fold(self.link.next_look(), Instant::min);
        let left = Duration::from_nanos(next.since(self.clock.now()).0);
        timeout.map_or(left, |timeout| timeout.min(left))
    }
}

impl Device for PacketDevice {
    fn receive(&mut self, mut sink: impl FnMut(Address, &[u8])) -> io::Result<Burst> {
        let now = self.clock.now();
        self.tend(now);
        let (encap, mut frames) = (&mut self.encap, 0);
        let mut hand_over = |from, packet: &[u8]| {
            frames += 1;
            sink(from, packet);
        };
        let more = self.port.receive(|frame, offload| {
            let Stripped::Payload { from, bytes } = encap.strip_offloaded(now, frame, offload) else {
                return;
            };
            match offload.segment.map(|segment| usize::from(segment.get())) {
                Some(segment) if segment < bytes.len() => {
                    bytes.chunks(segment).for_each(|packet| hand_over(from, packet));
                }
                _ => hand_over(from, bytes),
            }
        });
        self.outgoing.stats.received += frames as u64;
        Ok(Burst { frames, more, blocked: false })
    }

    fn send(&mut self, mut fill: impl FnMut(&mut [u8]) -> Option<(Address, usize)>) -> io::Result<Burst> {
        let now = self.clock.now();
        self.tend(now);
        let is_up = self.link.down().is_none();
        if is_up && self.catch_up(now)? {
            return Ok(Burst { blocked: true, ..Burst::default() });
        }
        let (start, payload) = (self.encap.headroom(), self.encap.payload());
        let (mut frames, mut more, mut blocked) = (0, true, false);
        while frames < BURST && !blocked {
            let Some((to, len)) = fill(&mut self.outgoing.frame()[start..start + payload]) else {
                more = false;
                break;
            };
            assert!(len <= payload, "a packet of {len} bytes in a frame of {payload}");
            frames += 1;
            if is_up {
                blocked = self.dispatch(now, to, len)?;
            } else {
                self.outgoing.stats.unreachable += 1;
            }
        }
        // Whoever was not known is asked for.
        if is_up && !blocked {
            blocked = self.catch_up(now)?;
        }
        Ok(Burst { frames, more: more && !blocked, blocked })
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let is_full = self.outgoing.is_socket_full();
        let wanted = if is_full { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let came = self.bell.wait(&self.port, wanted, Some(self.patience(timeout)))?;
        self.is_odd |= came.contains(PollFlags::ERR);
        Ok(())
    }

    fn waker(&self) -> Waker {
        self.bell.waker()
    }

    fn payload(&self) -> usize {
        self.encap.payload()
    }

    fn needs_keys(&self) -> bool {
        self.encap.needs_keys()
    }

    fn local(&self) -> Address {
        self.encap.local()
    }

    fn stats(&self) -> DeviceStats {
        let (oversize, ignored) = self.encap.stats().oversize_and_ignored();
        DeviceStats {
            oversize,
            ignored,
            overruns: self.port.overruns,
            link_losses: self.link.losses,
            link_returns: self.link.returns,
            ..self.outgoing.stats
        }
    }
}

impl fmt::Debug for PacketDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketDevice")
            .field("interface", &self.interface)
            .field("link", &self.link)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
