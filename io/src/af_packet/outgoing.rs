//! The frame on its way out: one at a time, filled where it is sent from, and kept there while it cannot be sent.
//!
//! Knows what the operating system's refusals mean for a frame. Must not know what is in one, nor how it is sent. The
//! time it is given.

use std::io;

use popmap_core::time::{Duration, Instant};
use rustix::io::Errno;

use super::frames::VIRTIO;
use crate::device::DeviceStats;

/// When to try again where the interface's own queue was full: nothing tells when it no longer is.
const BUSY: Duration = Duration::from_millis(1);

/// What became of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(super) enum Outcome {
    /// It is gone: sent, or lost for a reason of its own.
    Gone,
    /// It waits in its place, where nothing else may be written.
    Held,
    /// It is lost because of the interface, which had better be looked at.
    Odd,
}

/// Room for one frame.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Virtio's header, all zero, and the frame.
    memory: Box<[u8]>,
    held: Option<Held>,
    pub(super) stats: DeviceStats,
}

/// A frame that waits.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// Bytes, without virtio's header.
    len: usize,
    is_packet: bool,
    /// When to try again; `None`: when the socket says so.
    retry_at: Option<Instant>,
}

impl Outgoing {
    /// Returns room for a frame of `len` bytes.
    pub(super) fn new(len: usize) -> Self {
        Self { memory: vec![0; VIRTIO + len].into(), held: None, stats: DeviceStats::default() }
    }

    /// Returns the frame, to be filled.
    pub(super) fn frame(&mut self) -> &mut [u8] {
        debug_assert!(self.held.is_none(), "a frame waits here");
        &mut self.memory[VIRTIO..]
    }

    /// Whether the frame waits for the socket to have room.
    pub(super) fn is_socket_full(&self) -> bool {
        self.held.is_some_and(|held| held.retry_at.is_none())
    }

    /// Returns when to try again, if it is time that the frame waits for.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.held?.retry_at
    }

    /// Sends the frame of `len` bytes through `send`, which is given virtio's header too. `is_packet`: somebody else's
    /// packet is in it, which is counted, rather than what finds neighbours.
    ///
    /// # Errors
    /// The socket is gone.
    pub(super) fn transmit(
        &mut self,
        now: Instant,
        len: usize,
        is_packet: bool,
        mut send: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<Outcome> {
        self.held = None;
        let error = loop {
            match send(&self.memory[..VIRTIO + len]) {
                Ok(()) => {
                    self.stats.sent += u64::from(is_packet);
                    return Ok(Outcome::Gone);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break error,
            }
        };
        let (counter, outcome) = match Errno::from_io_error(&error) {
            Some(Errno::BADF | Errno::NOTSOCK) => return Err(error),
            Some(Errno::AGAIN) => return Ok(self.hold(len, is_packet, None)),
            // The interface's queue, or memory, is full, and the kernel has dropped its copy.
            Some(Errno::NOBUFS | Errno::NOMEM) => return Ok(self.hold(len, is_packet, Some(now + BUSY))),
            _ if is_link(&error) => (&mut self.stats.unreachable, Outcome::Odd),
            Some(Errno::MSGSIZE) => (&mut self.stats.too_long, Outcome::Odd),
            Some(Errno::PERM | Errno::ACCESS) => (&mut self.stats.forbidden, Outcome::Gone),
            _ => (&mut self.stats.send_errors, Outcome::Gone),
        };
        *counter += u64::from(is_packet);
        Ok(outcome)
    }

    fn hold(&mut self, len: usize, is_packet: bool, retry_at: Option<Instant>) -> Outcome {
        self.stats.blocked += 1;
        self.held = Some(Held { len, is_packet, retry_at });
        Outcome::Held
    }

    /// Sends the frame that waits, if there is one and it is time to.
    ///
    /// # Errors
    /// The socket is gone.
    pub(super) fn flush(
        &mut self,
        now: Instant,
        send: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<Outcome> {
        match self.held {
            None => Ok(Outcome::Gone),
            Some(Held { retry_at: Some(at), .. }) if now < at => Ok(Outcome::Held),
            Some(held) => self.transmit(now, held.len, held.is_packet, send),
        }
    }

    /// Gives up the frame that waits: there is nowhere to send it.
    pub(super) fn give_up(&mut self) {
        if self.held.take().is_some_and(|held| held.is_packet) {
            self.stats.unreachable += 1;
        }
    }
}

/// Whether an error says that the interface cannot be used, for now or any more.
pub(super) fn is_link(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NETDOWN | Errno::NXIO | Errno::NODEV))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_millis(7);

    fn fails(error: Errno) -> impl FnMut(&[u8]) -> io::Result<()> {
        move |_| Err(error.into())
    }

    fn filled(is_packet: bool, error: Errno) -> (Outgoing, io::Result<Outcome>) {
        let mut outgoing = Outgoing::new(100);
        outgoing.frame()[..3].copy_from_slice(b"abc");
        let outcome = outgoing.transmit(NOW, 3, is_packet, fails(error));
        (outgoing, outcome)
    }

    #[test]
    fn what_cannot_be_sent_yet_is_kept_as_it_is() {
        for error in [Errno::AGAIN, Errno::NOBUFS, Errno::NOMEM] {
            let (mut outgoing, outcome) = filled(true, error);
            assert_eq!(outcome.unwrap(), Outcome::Held);
            assert_eq!(outgoing.is_socket_full(), error == Errno::AGAIN);
            // Where no event tells, time does.
            let retry_at = (error != Errno::AGAIN).then(|| NOW + BUSY);
            assert_eq!(outgoing.retry_at(), retry_at);
            if retry_at.is_some() {
                assert_eq!(outgoing.flush(NOW, |_| unreachable!()).unwrap(), Outcome::Held);
            }
            let later = NOW + BUSY;
            assert_eq!(outgoing.flush(later, fails(Errno::AGAIN)).unwrap(), Outcome::Held);
            let mut sent = Vec::new();
            let send = |frame: &[u8]| {
                sent.push(frame.to_vec());
                Ok(())
            };
            assert_eq!(outgoing.flush(later, send).unwrap(), Outcome::Gone);
            assert_eq!(sent, [b"\0\0\0\0\0\0\0\0\0\0abc"]);
            assert_eq!(outgoing.flush(later, |_| unreachable!()).unwrap(), Outcome::Gone);
            let stats = outgoing.stats;
            assert_eq!((stats.sent, stats.blocked, stats.lost()), (1, 2, 0), "{error}");
        }
    }

    #[test]
    fn what_is_lost_is_counted_by_its_reason() {
        type Counter = fn(&DeviceStats) -> u64;
        let reasons: [(Errno, Outcome, Counter); 8] = [
            (Errno::NETDOWN, Outcome::Odd, |stats| stats.unreachable),
            (Errno::NXIO, Outcome::Odd, |stats| stats.unreachable),
            (Errno::NODEV, Outcome::Odd, |stats| stats.unreachable),
            (Errno::MSGSIZE, Outcome::Odd, |stats| stats.too_long),
            (Errno::PERM, Outcome::Gone, |stats| stats.forbidden),
            (Errno::ACCESS, Outcome::Gone, |stats| stats.forbidden),
            (Errno::INVAL, Outcome::Gone, |stats| stats.send_errors),
            (Errno::IO, Outcome::Gone, |stats| stats.send_errors),
        ];
        for (error, expected, counter) in reasons {
            for is_packet in [true, false] {
                let (outgoing, outcome) = filled(is_packet, error);
                assert_eq!(outcome.unwrap(), expected, "{error}");
                let stats = outgoing.stats;
                let count = u64::from(is_packet);
                assert_eq!((counter(&stats), stats.lost(), stats.sent), (count, count, 0), "{error}");
                assert!(!outgoing.is_socket_full() && outgoing.retry_at().is_none());
            }
        }
    }

    #[test]
    fn only_a_lost_socket_is_an_end() {
        for error in [Errno::BADF, Errno::NOTSOCK] {
            assert!(filled(true, error).1.is_err());
        }
    }

    #[test]
    fn a_signal_is_no_reason() {
        let mut outgoing = Outgoing::new(100);
        let mut tries = 0;
        let outcome = outgoing.transmit(NOW, 3, true, |_| {
            tries += 1;
            if tries < 3 { Err(Errno::INTR.into()) } else { Ok(()) }
        });
        assert_eq!((outcome.unwrap(), tries, outgoing.stats.sent), (Outcome::Gone, 3, 1));
    }

    #[test]
    fn what_is_given_up_is_lost_if_it_is_a_packet() {
        for is_packet in [true, false] {
            let (mut outgoing, _) = filled(is_packet, Errno::AGAIN);
            outgoing.give_up();
            outgoing.give_up();
            assert_eq!(outgoing.stats.unreachable, u64::from(is_packet));
            assert_eq!(outgoing.flush(NOW, |_| unreachable!()).unwrap(), Outcome::Gone);
        }
    }
}
