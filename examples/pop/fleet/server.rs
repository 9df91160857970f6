//! The thread that serves all origins.
//!
//! Knows connections, from when they are accepted until they are closed. Must not know how a request is read.
//!
//! A request is mostly there when its connection is accepted, and is answered at once; only a connection whose request
//! is not is watched. Once answered it is given a moment in which the client may close, and then closed: to watch for
//! that would cost a wake-up for each request.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use super::request::{REQUEST_MAX, Request};
use super::{Mood, Shared};
use crate::origins::{Origin, OriginId, Target};

/// Connections that are accepted before others are looked after.
const BURST: usize = 256;
/// Connections that wait for their request, or for an answer that never comes; the oldest gives way to one more.
const WAITING_MAX: usize = 8_192;
/// How long they wait.
const STALE: Duration = Duration::from_secs(5);
/// Connections that are answered but not closed; the oldest gives way to one more.
const ANSWERED_MAX: usize = 1_024;
/// How long the client has time to close.
const GRACE: Duration = Duration::from_millis(20);
/// How long nothing is accepted after the system could not.
const BACK_OFF: Duration = Duration::from_millis(5);

/// What the events of the fleet's waker are told by.
pub const WAKE: Token = Token(usize::MAX);
/// What those of the listener are told by.
pub const LISTENER: Token = Token(usize::MAX - 1);

/// A connection that is not answered.
struct Connection {
    stream: TcpStream,
    accepted: Instant,
    /// Who it is for; `None` when nobody has the address.
    origin: Option<OriginId>,
    /// The request was read, and is not going to be answered.
    silent: bool,
    /// The request as far as it was read.
    received: Vec<u8>,
}

/// What becomes of a connection.
enum Next {
    Wait,
    /// It was answered.
    Linger,
    Close,
}

/// What the thread works with.
pub struct Server {
    origins: Arc<[Origin]>,
    by_address: HashMap<Ipv4Addr, OriginId>,
    epoch: Instant,
    shared: Arc<Shared>,
    poll: Poll,
    listener: TcpListener,
    /// When to accept connections; `None` until the listener says that there are any.
    accept_at: Option<Instant>,
    /// By age. A connection's token is its place among all that ever waited, so that none is taken for another.
    waiting: VecDeque<Option<Connection>>,
    /// The token of the oldest.
    first: usize,
    /// How many of `waiting` are still there.
    live: usize,
    /// By when they were answered.
    answered: VecDeque<(Instant, TcpStream)>,
    buffer: Box<[u8]>,
    reply: Vec<u8>,
}

impl Server {
    /// Returns a server on `listener`, which `poll` tells about as [`LISTENER`].
    pub fn new(
        origins: Arc<[Origin]>,
        epoch: Instant,
        shared: Arc<Shared>,
        poll: Poll,
        listener: TcpListener,
    ) -> Self {
        let address = |(id, origin): (OriginId, &Origin)| match origin.target {
            Target::Fleet(address) => Some((address, id)),
            Target::Other(_) => None,
        };
        let by_address = (0..).zip(origins.iter()).filter_map(address).collect();
        Self {
            origins,
            by_address,
            epoch,
            shared,
            poll,
            listener,
            accept_at: None,
            waiting: VecDeque::new(),
            first: 0,
            live: 0,
            answered: VecDeque::with_capacity(ANSWERED_MAX),
            buffer: vec![0; REQUEST_MAX].into(),
            reply: Vec::new(),
        }
    }

    /// Serves until the fleet is stopped.
    ///
    /// # Errors
    /// When the system cannot wait.
    pub fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(BURST);
        while !self.shared.stop.load(Ordering::Relaxed) {
            let patience = self.sweep();
            match self.poll.poll(&mut events, patience) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                match event.token() {
                    WAKE => {}
                    // Does not cut a back-off short.
                    LISTENER => _ = self.accept_at.get_or_insert_with(Instant::now),
                    token => self.resume(token),
                }
            }
            self.accept();
        }
        Ok(())
    }

    /// Closes what has had its time, and returns how long there is nothing else to do.
    fn sweep(&mut self) -> Option<Duration> {
        if self.accept_at.is_none() && self.answered.is_empty() && self.waiting.is_empty() {
            return None;
        }
        let now = Instant::now();
        while self.answered.front().is_some_and(|&(at, _)| now >= at + GRACE) {
            self.answered.pop_front();
        }
        let is_over = |one: &Option<Connection>| one.as_ref().is_none_or(|one| now >= one.accepted + STALE);
        while self.waiting.front().is_some_and(is_over) {
            self.pop_waiting();
        }
        let answered = self.answered.front().map(|&(at, _)| at + GRACE);
        let stale = self.waiting.front().and_then(Option::as_ref).map(|one| one.accepted + STALE);
        let next = [self.accept_at, answered, stale].into_iter().flatten().min();
        next.map(|at| at.saturating_duration_since(now))
    }

    fn pop_waiting(&mut self) {
        if let Some(one) = self.waiting.pop_front() {
            self.first += 1;
            self.live -= usize::from(one.is_some());
        }
    }

    fn accept(&mut self) {
        let Some(at) = self.accept_at else {
            return;
        };
        let now = Instant::now();
        if now < at {
            return;
        }
        for _ in 0..BURST {
            match self.listener.accept() {
                Ok((stream, peer)) => self.begin(stream, peer, now),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => {
                        self.accept_at = None;
                        return;
                    }
                    // That one is gone; there may be others.
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    _ => {
                        self.shared.accept_failures.fetch_add(1, Ordering::Relaxed);
                        self.accept_at = Some(now + BACK_OFF);
                        return;
                    }
                },
            }
        }
    }

    fn begin(&mut self, stream: TcpStream, peer: SocketAddr, now: Instant) {
        let Ok(SocketAddr::V4(local)) = stream.local_addr() else {
            return;
        };
        if !local.ip().is_loopback() || !peer.ip().is_loopback() {
            return;
        }
        let origin = self.by_address.get(local.ip()).copied();
        let mut one = Connection { stream, accepted: now, origin, silent: false, received: Vec::new() };
        match self.serve(&mut one, now) {
            Next::Wait => self.wait_for(one),
            Next::Linger => self.linger(one.stream, now),
            Next::Close => {}
        }
    }

    fn wait_for(&mut self, mut one: Connection) {
        while self.live >= WAITING_MAX {
            self.pop_waiting();
        }
        let token = Token(self.first + self.waiting.len());
        // What has arrived since it was read is an event too.
        if self.poll.registry().register(&mut one.stream, token, Interest::READABLE).is_ok() {
            self.waiting.push_back(Some(one));
            self.live += 1;
        }
    }

    fn linger(&mut self, stream: TcpStream, now: Instant) {
        if self.answered.len() == ANSWERED_MAX {
            self.answered.pop_front();
        }
        self.answered.push_back((now, stream));
    }

    /// Goes on with a connection that has more to say; one that is answered already is told by its token.
    fn resume(&mut self, token: Token) {
        let Some(place) = token.0.checked_sub(self.first) else {
            return;
        };
        let Some(mut one) = self.waiting.get_mut(place).and_then(Option::take) else {
            return;
        };
        let now = Instant::now();
        match self.serve(&mut one, now) {
            Next::Wait => {
                self.waiting[place] = Some(one);
                return;
            }
            Next::Linger => self.linger(one.stream, now),
            Next::Close => {}
        }
        self.live -= 1;
    }

    fn serve(&mut self, one: &mut Connection, now: Instant) -> Next {
        loop {
            let n = match one.stream.read(&mut self.buffer) {
                Ok(0) => return Next::Close,
                // After its request a client has nothing more to say.
                Ok(_) if one.silent => return Next::Close,
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Next::Wait,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Next::Close,
            };
            one.received.extend_from_slice(&self.buffer[..n]);
            let name = one.origin.map(|origin| &*self.origins[origin as usize].name);
            match Request::parse(&one.received, name) {
                Request::Partial => {}
                Request::Refused { status, head } => return self.answer(one, status, head),
                Request::Whole { head } => {
                    let Some(mood) = one.origin.map(|origin| self.hit(origin, now)) else {
                        return Next::Close;
                    };
                    match mood {
                        Mood::Well => return self.answer(one, 200, head),
                        Mood::Failing503 => return self.answer(one, 503, head),
                        Mood::HangingUp => return Next::Close,
                        Mood::Silent => one.silent = true,
                    }
                }
            }
        }
    }

    /// Counts a request to an origin, and returns how that fares.
    fn hit(&self, origin: OriginId, now: Instant) -> Mood {
        let station = &self.shared.stations[origin as usize];
        station.hits.fetch_add(1, Ordering::Relaxed);
        let ns = u64::try_from(now.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX);
        station.last_hit_ns.store(ns.max(1), Ordering::Relaxed);
        Mood::from_stored(station.mood.load(Ordering::Relaxed))
    }

    fn answer(&mut self, one: &Connection, status: u16, head: bool) -> Next {
        let (reason, more) = match status {
            200 => ("OK", ""),
            405 => ("Method Not Allowed", "Allow: GET, HEAD\r\n"),
            421 => ("Misdirected Request", ""),
            431 => ("Request Header Fields Too Large", ""),
            503 => ("Service Unavailable", ""),
            _ => ("Bad Request", ""),
        };
        self.reply.clear();
        let length = reason.len() + 1;
        let body = if head { "" } else { reason };
        let end = if head { "" } else { "\n" };
        let written = write!(
            self.reply,
            "HTTP/1.1 {status} {reason}\r\n{more}Content-Type: text/plain\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}{end}",
        );
        debug_assert!(written.is_ok());
        // So little always fits in a connection's empty buffer.
        let sent = (&one.stream).write(&self.reply);
        if sent.is_ok_and(|n| n == self.reply.len()) { Next::Linger } else { Next::Close }
    }
}
