//! Waiting where no file descriptor tells of packets: naps that a waker ends.
//!
//! Knows the bell and how long to nap. Must not know what is waited for.

#![forbid(unsafe_code)]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::bell::Bell;

/// The first nap. The kernel adds some 50 µs of its own (its timer slack).
const NAP_MIN: Duration = Duration::from_micros(20);

/// The longest nap, so that the link is looked at.
const NAP_MAX: Duration = Duration::from_millis(999);

/// Naps that double while nothing happens.
#[derive(Debug)]
pub(super) struct Idle {
    bell: Bell,
    flag: Arc<Flag>,
    next: Duration,
    most: Duration,
}

/// The waking end. The flag is for one who looks all the time, the bell for one who sleeps.
#[derive(Debug)]
struct Flag {
    is_raised: AtomicBool,
    bell: Waker,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // In this order: whoever hears the bell finds the flag.
        if !self.is_raised.swap(true, Ordering::AcqRel) {
            self.bell.wake_by_ref();
        }
    }
}

impl Idle {
    /// Returns naps of up to `most`, and less than a second.
    pub(super) fn new(most: Duration) -> io::Result<Self> {
        let most = most.min(NAP_MAX);
        let bell = Bell::new()?;
        let flag = Arc::new(Flag { is_raised: AtomicBool::new(false), bell: bell.waker() });
        Ok(Self { bell, flag, next: NAP_MIN, most })
    }

    pub(super) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.flag))
    }

    /// Something happened: it may go on.
    pub(super) const fn reset(&mut self) {
        self.next = NAP_MIN;
    }

    /// Whether a waker was used since this was last asked.
    pub(super) fn is_woken(&self) -> bool {
        if !self.flag.is_raised.load(Ordering::Relaxed) {
            return false;
        }
        // In this order: a wake between the two rings once more, which ends the next nap early and nothing else.
        self.bell.silence();
        self.flag.is_raised.swap(false, Ordering::AcqRel)
    }

    /// Naps, not longer than `left`. Ends early for a waker.
    pub(super) fn nap(&mut self, left: Duration) -> io::Result<()> {
        let nap = self.step().min(left);
        let time = Timespec { tv_sec: 0, tv_nsec: nap.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&self.bell, PollFlags::IN)], Some(&time)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the length of the next nap.
    fn step(&mut self) -> Duration {
        let nap = self.next.min(self.most);
        self.next = (self.next * 2).min(self.most);
        nap
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn naps_double_up_to_the_bound() {
        let mut idle = Idle::new(Duration::from_micros(100)).unwrap();
        let mut naps = || idle.step().as_micros();
        assert_eq!([naps(), naps(), naps(), naps(), naps()], [20, 40, 80, 100, 100]);
        idle.reset();
        assert_eq!(idle.step(), NAP_MIN);
    }

    #[test]
    fn wakes_are_seen_once_and_none_is_missed() {
        let mut idle = Idle::new(Duration::from_millis(500)).unwrap();
        let waker = idle.waker();
        assert!(!idle.is_woken());
        waker.wake_by_ref();
        waker.wake_by_ref();
        idle.next = idle.most;
        let start = std::time::Instant::now();
        idle.nap(idle.most).unwrap();
        assert!(start.elapsed() < idle.most, "the nap ends at once");
        assert!(idle.is_woken() && !idle.is_woken());
        // Silent again, and it rings again.
        idle.nap(Duration::from_millis(1)).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| waker.wake_by_ref());
            while !idle.is_woken() {
                idle.nap(idle.most).unwrap();
            }
        });
    }
}
