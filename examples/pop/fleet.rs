//! The origins' servers: one listener that answers HTTP/1.1 for every address of 127.0.0.0/8.
//!
//! Knows requests, the truth about each origin, and how often each was asked. Must not know who asks, nor why.
//!
//! An origin is told by the address that was connected to, so that a million of them need one socket and one thread.
//! Requests from other machines do not arrive, and would not be answered.

mod request;
mod server;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use mio::net::TcpListener;
use mio::{Interest, Poll, Waker};
use socket2::{Domain, Protocol, Socket, Type};

use crate::origins::{Origin, OriginId};
use server::{LISTENER, Server, WAKE};

/// Connections that the system accepts for us while we are busy.
const BACKLOG: i32 = 4_096;

/// How an origin fares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Mood {
    /// Answers 200.
    Well,
    /// Answers 503.
    Failing503,
    /// Closes the connection instead of an answer.
    HangingUp,
    /// Never answers. The connection is closed after five seconds.
    Silent,
}

impl Mood {
    fn from_stored(stored: u8) -> Self {
        [Self::Well, Self::Failing503, Self::HangingUp, Self::Silent][usize::from(stored)]
    }
}

/// What there is about one origin.
struct Station {
    hits: AtomicU32,
    mood: AtomicU8,
    /// Zero before the first hit.
    last_hit_ns: AtomicU64,
}

/// What the server and its owner both see. The figures order nothing, so relaxed they may be.
struct Shared {
    stations: Box<[Station]>,
    accept_failures: AtomicU64,
    stop: AtomicBool,
}

/// The running server of all origins. It stops when this is dropped.
pub struct Fleet {
    shared: Arc<Shared>,
    port: u16,
    waker: Waker,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Fleet {
    /// Starts to answer for `origins`, all well, of which no two may have one address in the fleet. Hits are timed
    /// from `epoch`.
    ///
    /// # Errors
    /// When the system gives no socket or no thread. Nothing is left behind.
    pub fn start(origins: Arc<[Origin]>, epoch: Instant) -> Result<Self, StartError> {
        let failed = |step| move |source| StartError { step, source };
        let socket = listen().map_err(failed("listening"))?;
        let mut listener = TcpListener::from_std(socket.into());
        let port = listener.local_addr().map_err(failed("asking for the port"))?.port();
        let poll = Poll::new().map_err(failed("setting up polling"))?;
        let waker = Waker::new(poll.registry(), WAKE).map_err(failed("setting up a waker"))?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)
            .map_err(failed("watching the listener"))?;
        let station = |_: &Origin| Station {
            hits: AtomicU32::new(0),
            mood: AtomicU8::new(Mood::Well as u8),
            last_hit_ns: AtomicU64::new(0),
        };
        let shared = Arc::new(Shared {
            stations: origins.iter().map(station).collect(),
            accept_failures: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let mut server = Server::new(origins, epoch, Arc::clone(&shared), poll, listener);
        let thread = thread::Builder::new()
            .name("fleet".into())
            .spawn(move || server.run())
            .map_err(failed("starting a thread"))?;
        Ok(Self { shared, port, waker, thread: Some(thread) })
    }

    /// Returns the port that all its origins have.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sets how an origin fares from now on.
    ///
    /// # Panics
    /// When there is no such origin.
    pub fn set_mood(&self, origin: OriginId, mood: Mood) {
        self.shared.stations[origin as usize].mood.store(mood as u8, Ordering::Relaxed);
    }

    /// Returns how often each origin was asked, by [`OriginId`], however it answered.
    pub fn hits(&self) -> Vec<u32> {
        self.shared.stations.iter().map(|station| station.hits.load(Ordering::Relaxed)).collect()
    }

    /// Returns when an origin was last asked, in nanoseconds since the epoch and at least 1; 0 when never.
    ///
    /// # Panics
    /// When there is no such origin.
    pub fn last_hit_ns(&self, origin: OriginId) -> u64 {
        self.shared.stations[origin as usize].last_hit_ns.load(Ordering::Relaxed)
    }

    /// Returns how often the system could not accept a connection, for want of file descriptors or memory.
    pub fn accept_failures(&self) -> u64 {
        self.shared.accept_failures.load(Ordering::Relaxed)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Neither can fail in a way that anybody could mend.
        let _ = self.waker.wake();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Why the fleet did not start.
#[derive(Debug)]
pub struct StartError {
    step: &'static str,
    source: io::Error,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot start the origins' server: {} failed: {}", self.step, self.source)
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Opens a listener that whoever is not on this machine does not reach.
fn listen() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    // Only an old kernel asks for a privilege here. Every connection's addresses are looked at all the same.
    #[cfg(target_os = "linux")]
    let _ = socket.bind_device(Some(b"lo"));
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

#[cfg(test)]
mod tests;
