//! The device: where packets come from and go to, a burst at a time.
//!
//! Knows bursts, frames, waiting and waking. Must not know what is in a packet, nor the time.
//!
//! Nothing is allocated per packet and nothing dispatched at run time: a driver is compiled for its device, a packet is
//! read where the device put it, and written where the device sends it from.

use std::io;
use std::task::Waker;
use std::time::Duration;

use popmap_core::Address;

/// The most frames of one burst, in either direction. A burst shares one reading of the clock, so it is kept short.
pub const BURST: usize = 64;

/// Something that carries packets.
///
/// An error is the device's end: the socket is gone, the interface was taken away. Whatever concerns one packet or one
/// destination, or passes by itself, is counted in [`DeviceStats`] and never returned: a peer's word decides where
/// packets go, and no peer's word may stop this server.
pub trait Device {
    /// Hands each packet of the next burst to `sink`, with the address it came from, and returns at once, also when
    /// there is none. The bytes are the device's own and good during the call only.
    ///
    /// Packets longer than [`payload`](Self::payload) are dropped and counted.
    ///
    /// # Errors
    /// The device cannot receive any more. Packets handed over before remain so.
    fn receive(&mut self, sink: impl FnMut(Address, &[u8])) -> io::Result<Burst>;

    /// Has `fill` write packets into the device's own frames, each of [`payload`](Self::payload) bytes, until it returns
    /// `None` or the burst is full, and sends them. `fill` returns where to and how many bytes.
    ///
    /// What was filled is not lost to back-pressure: the device keeps what it could not send, says
    /// [`blocked`](Burst::blocked), and asks `fill` for nothing more until that is gone. [`wait`](Self::wait) ends when
    /// it can send again.
    ///
    /// # Errors
    /// The device cannot send any more. What was filled may be lost.
    ///
    /// # Panics
    /// When `fill` returns more bytes than the frame has.
    fn send(&mut self, fill: impl FnMut(&mut [u8]) -> Option<(Address, usize)>) -> io::Result<Burst>;

    /// Waits until a packet can be received, a held one can be sent, a [`waker`](Self::waker) was used or `timeout` is
    /// over (`None`: never), or for no reason at all. A wake before the wait ends it at once; many count as one.
    ///
    /// # Errors
    /// The device cannot wait any more.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// Returns what ends a wait, from any thread.
    fn waker(&self) -> Waker;

    /// Returns the bytes of the longest packet that this device carries.
    fn payload(&self) -> usize;

    /// Returns the address that this device is bound to.
    fn local(&self) -> Address;

    /// Returns the counters.
    fn stats(&self) -> DeviceStats;

    /// Whether strangers reach this device, and it was opened for authenticated packets only: a driver without keys
    /// refuses it.
    fn needs_keys(&self) -> bool {
        false
    }
}

/// Writes methods of [`Device`](crate::Device) that pass the call on to a device within, for one that is around another:
/// those that are named, of `receive`, `send`, `wait`, `waker`, `payload`, `local` and `stats`.
///
/// ```
/// use popmap_io::{Burst, Device, delegate_device};
///
/// /// Counts bursts.
/// struct Counted<D> {
///     device: D,
///     bursts: u64,
/// }
///
/// impl<D: Device> Device for Counted<D> {
///     fn receive(&mut self, sink: impl FnMut(popmap_core::Address, &[u8])) -> std::io::Result<Burst> {
///         self.bursts += 1;
///         self.device.receive(sink)
///     }
///
///     delegate_device!(device: send, wait, waker, payload, local, stats);
/// }
/// ```
#[macro_export]
macro_rules! delegate_device {
    ($within:ident: $($method:ident),+) => {
        $($crate::delegate_device!(@$method $within);)+
    };
    (@receive $within:ident) => {
        fn receive(
            &mut self,
            sink: impl FnMut(::popmap_core::Address, &[u8]),
        ) -> ::std::io::Result<$crate::Burst> {
            self.$within.receive(sink)
        }
    };
    (@send $within:ident) => {
        fn send(
            &mut self,
            fill: impl FnMut(&mut [u8]) -> Option<(::popmap_core::Address, usize)>,
        ) -> ::std::io::Result<$crate::Burst> {
            self.$within.send(fill)
        }
    };
    (@wait $within:ident) => {
        fn wait(&mut self, timeout: Option<::std::time::Duration>) -> ::std::io::Result<()> {
            self.$within.wait(timeout)
        }
    };
    (@waker $within:ident) => {
        fn waker(&self) -> ::std::task::Waker {
            self.$within.waker()
        }
    };
    (@payload $within:ident) => {
        fn payload(&self) -> usize {
            self.$within.payload()
        }

        // With the payload, because a device around another must not hide it.
        fn needs_keys(&self) -> bool {
            self.$within.needs_keys()
        }
    };
    (@local $within:ident) => {
        fn local(&self) -> ::popmap_core::Address {
            self.$within.local()
        }
    };
    (@stats $within:ident) => {
        fn stats(&self) -> $crate::DeviceStats {
            self.$within.stats()
        }
    };
}

/// What came of a burst.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[must_use]
pub struct Burst {
    /// Packets handed over, or frames filled.
    pub frames: usize,
    /// The burst was cut short: there may be more at once.
    pub more: bool,
    /// Something is held back until the device can send again. Never when receiving.
    pub blocked: bool,
}

/// Plain counters, all rising from zero when the device is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct DeviceStats {
    /// Packets received, without those dropped here.
    pub received: u64,
    /// Packets dropped because they were longer than the payload limit.
    pub oversize: u64,
    /// Frames dropped because they were not for this device, or damaged. What was wrong with them the device itself
    /// tells, where it looks at frames at all: [`EncapStats`](crate::encap::EncapStats).
    pub ignored: u64,
    /// Packets lost because they came faster than they were taken, where the operating system or the hardware tells.
    pub overruns: u64,
    /// Times that receiving failed for now.
    pub receive_errors: u64,
    /// Packets given to the operating system, or to the other end.
    pub sent: u64,
    /// Times that sending had to wait: the socket's buffer was full. Nothing is lost.
    pub blocked: u64,
    /// Packets lost because the address is not one that this device reaches, by kind or by
    /// [`insecure`](crate::UdpConfig::insecure).
    pub no_route: u64,
    /// Packets lost because nobody receives there: the other's port is closed, or its queue is full.
    pub refused: u64,
    /// Packets lost because the host or the network cannot be reached.
    pub unreachable: u64,
    /// Packets lost because the operating system had no memory for them.
    pub no_buffers: u64,
    /// Packets lost because a firewall, or the operating system's rules, forbid them.
    pub forbidden: u64,
    /// Packets lost because they are longer than the network carries: the configured payload is too long for it.
    pub too_long: u64,
    /// Packets lost for any other reason.
    pub send_errors: u64,
    /// Times that the link was lost, where the device watches it: the interface is down, has no carrier or is gone.
    pub link_losses: u64,
    /// Times that it came back. The link is up while there are as many of these as of the losses.
    pub link_returns: u64,
}

impl DeviceStats {
    /// Returns the packets that were given to the device and lost there.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.no_route
            + self.refused
            + self.unreachable
            + self.no_buffers
            + self.forbidden
            + self.too_long
            + self.send_errors
    }
}
