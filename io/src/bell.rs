//! The bell: ends a wait on file descriptors from another thread.
//!
//! Knows one flag and one pair of connected sockets, which every Unix has and std makes. Must not know who waits.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// The waiting end.
#[derive(Debug)]
pub(crate) struct Bell {
    listening: UnixStream,
    rope: Arc<Rope>,
}

/// The waking end: many wakes between two waits cost one system call.
#[derive(Debug)]
struct Rope {
    pulled: AtomicBool,
    ringing: UnixStream,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        let (listening, ringing) = UnixStream::pair()?;
        listening.set_nonblocking(true)?;
        ringing.set_nonblocking(true)?;
        Ok(Self { listening, rope: Arc::new(Rope { pulled: AtomicBool::new(false), ringing }) })
    }

    pub(crate) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.rope))
    }

    /// Waits until there are `events` of a file descriptor, a wake, or `timeout` is over (`None`: never); returns which of
    /// the events there are, and whatever is wrong with the descriptor. A signal ends it too.
    pub(crate) fn wait(
        &self,
        on: impl AsFd,
        events: PollFlags,
        timeout: Option<Duration>,
    ) -> io::Result<PollFlags> {
        let mut on = [PollFd::new(&on, events), PollFd::new(self, PollFlags::IN)];
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        match poll(&mut on, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(PollFlags::empty()),
            Err(error) => return Err(error.into()),
        }
        let [came, bell] = on.map(|on| on.revents());
        if !bell.is_empty() {
            self.silence();
        }
        Ok(came)
    }

    /// Takes note of all wakes so far. What was done before them is seen after this.
    pub(crate) fn silence(&self) {
        // At most one byte waits, so one read takes all: the next is written only after the flag is lowered. In this
        // order, or a wake between the two would leave the flag up and nothing to read.
        let _ = (&self.listening).read(&mut [0; 8]);
        self.rope.pulled.swap(false, Ordering::AcqRel);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listening.as_fd()
    }
}

impl Wake for Rope {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.pulled.swap(true, Ordering::AcqRel) {
            // One byte always fits; if the other end is gone, nobody waits.
            let _ = (&self.ringing).write(&[1]);
        }
    }
}
