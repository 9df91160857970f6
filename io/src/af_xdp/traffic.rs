//! The device at work: bursts in and out, and waiting between.
//!
//! Knows frames, rings that are full, and what ends a wait. Must not know how an interface is lost and found.

use std::io;
use std::task::Waker;
use std::time::Duration;

use popmap_core::Address;
use popmap_core::time::Instant;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::XdpDevice;
use super::binding::{Binding, QUEUES_MAX};
use crate::device::{BURST, Burst, Device, DeviceStats};
use crate::encap::{Stripped, Unsent};

/// A kernel that takes no more frames is asked again after this; its readiness does not tell.
const BLOCKED: Duration = Duration::from_millis(1);
/// Receives without a frame between two looks at the interface, for loops that never wait.
const IDLE: u32 = 1_024;

impl Device for XdpDevice {
    fn receive(&mut self, mut sink: impl FnMut(Address, &[u8])) -> io::Result<Burst> {
        self.attend();
        let Self { binding, encap, clock, stats, .. } = self;
        let Some(binding) = binding else {
            self.speak();
            return Ok(Burst::default());
        };
        let (mut now, mut frames) = (None, 0);
        let (taken, invalid) = binding.receive(BURST, |frame| {
            let now = *now.get_or_insert_with(|| clock.now());
            if let Stripped::Payload { from, bytes } = encap.strip(now, frame) {
                frames += 1;
                sink(from, bytes);
            }
        });
        stats.received += frames as u64;
        stats.receive_errors += invalid as u64;
        if taken == 0 {
            self.idle += 1;
            if self.idle >= IDLE {
                self.idle = 0;
                self.hear();
            }
        }
        self.speak();
        Ok(Burst { frames, more: taken == BURST, blocked: false })
    }

    fn send(&mut self, mut fill: impl FnMut(&mut [u8]) -> Option<(Address, usize)>) -> io::Result<Burst> {
        if self.down.is_some() {
            return Ok(self.lose(fill));
        }
        if self.flush() {
            return Ok(Burst { blocked: true, ..Burst::default() });
        }
        let Self { binding, encap, clock, stats, .. } = self;
        // Flushing may have found the interface gone.
        let Some(binding) = binding else { return Ok(self.lose(fill)) };
        let queue = binding.sending();
        let (start, payload, len) = (encap.headroom(), encap.payload(), encap.frame_len());
        let (mut now, mut frames, mut is_dry, mut has_room) = (None, 0, false, true);
        while frames < BURST && !is_dry && has_room {
            has_room = queue.fill(len, |frame| {
                let Some((to, len)) = fill(&mut frame[start..start + payload]) else {
                    is_dry = true;
                    return None;
                };
                assert!(len <= payload, "a packet of {len} bytes in a frame of {payload}");
                frames += 1;
                let now = *now.get_or_insert_with(|| clock.now());
                let framed = encap.prepend(now, to, frame, len);
                framed.inspect_err(|reason| count_lost(stats, *reason)).ok()
            });
        }
        let blocked = self.flush() || !has_room;
        self.speak();
        Ok(Burst { frames, more: !is_dry && !blocked, blocked })
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = self.limit(timeout).map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let queues = self.binding.as_ref().map_or(&[][..], Binding::queues);
        // Whatever is not there stands for the bell once more, and is not polled.
        let mut on: [PollFd<'_>; QUEUES_MAX + 2] = std::array::from_fn(|n| match n {
            0 => PollFd::new(&self.bell, PollFlags::IN),
            1 => PollFd::new(&self.watch, PollFlags::IN),
            _ => match queues.get(n - 2) {
                Some(queue) => PollFd::new(queue, PollFlags::IN),
                None => PollFd::new(&self.bell, PollFlags::empty()),
            },
        });
        match poll(&mut on[..queues.len() + 2], timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let (bell, watch) = (on[0].revents(), on[1].revents());
        if !bell.is_empty() {
            self.bell.silence();
        }
        if !watch.is_empty() {
            self.hear();
        }
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
        let kernel = self.xdp_stats().kernel;
        DeviceStats { oversize, ignored, overruns: kernel.dropped + kernel.receive_ring_full, ..self.stats }
    }
}

impl XdpDevice {
    /// Sends what was filled; returns whether some of it has to wait.
    fn flush(&mut self) -> bool {
        let Some(binding) = &mut self.binding else { return false };
        match binding.sending().flush() {
            Ok(flushed) => {
                let said = self.said.min(flushed.sent);
                self.said -= said;
                self.stats.sent += u64::from(flushed.sent - said);
                self.stats.send_errors += u64::from(flushed.refused);
                self.stats.blocked += u64::from(flushed.blocked);
                flushed.blocked
            }
            // The kernel has let go of the interface, or the interface of the kernel.
            Err(Errno::NXIO | Errno::NODEV | Errno::BADF) => {
                self.unbind(self.clock.now());
                false
            }
            Err(_) => {
                self.look_at = Some(Instant::ZERO);
                self.stats.blocked += 1;
                true
            }
        }
    }

    /// Has packets filled that cannot be sent, so that the driver sees to its other business.
    fn lose(&mut self, mut fill: impl FnMut(&mut [u8]) -> Option<(Address, usize)>) -> Burst {
        let payload = self.encap.payload();
        for frames in 0..BURST {
            if fill(&mut self.nowhere[..payload]).is_none() {
                return Burst { frames, ..Burst::default() };
            }
            self.stats.unreachable += 1;
        }
        Burst { frames: BURST, more: true, blocked: false }
    }

    /// Sends what the encapsulation has to say: questions, answers, announcements.
    fn speak(&mut self) {
        let Some(due) = self.encap.poll_timeout() else { return };
        let now = self.clock.now();
        if now < due {
            return;
        }
        let Self { encap, binding, down, nowhere, said, .. } = self;
        let Some(binding) = binding.as_mut().filter(|_| down.is_none()) else {
            // It is said anew when there is somebody to hear it.
            while encap.poll_transmit(now, nowhere).is_some() {}
            return;
        };
        let (queue, len) = (binding.sending(), encap.frame_len());
        let (mut is_dry, mut has_room) = (false, true);
        while !is_dry && has_room {
            has_room = queue.fill(len, |frame| {
                let len = encap.poll_transmit(now, frame);
                is_dry = len.is_none();
                *said += u32::from(!is_dry);
                len
            });
        }
        self.flush();
    }

    /// Whether frames wait for the kernel.
    fn is_blocked(&self) -> bool {
        self.down.is_none() && self.binding.as_ref().is_some_and(|binding| binding.queues()[0].is_blocked())
    }

    /// Returns how long a wait may be.
    fn limit(&self, timeout: Option<Duration>) -> Option<Duration> {
        let own = if self.is_blocked() {
            Some(BLOCKED)
        } else {
            let next = [self.encap.poll_timeout(), self.look_at].into_iter().flatten().min();
            next.map(|at| Duration::from_nanos(at.since(self.clock.now()).0))
        };
        [timeout, own].into_iter().flatten().min()
    }
}

fn count_lost(stats: &mut DeviceStats, reason: Unsent) {
    let counter = match reason {
        Unsent::NoRoute => &mut stats.no_route,
        Unsent::TooLong => &mut stats.too_long,
        Unsent::Unresolved | Unsent::NeighboursFull => &mut stats.unreachable,
    };
    *counter += 1;
}
