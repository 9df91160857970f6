//! A server's health checks in flight: asks origins over HTTP, many at a time, on one thread.
//!
//! Knows sockets, the one request that is sent, and when an answer is one. Must not know which origin is due, nor what
//! becomes of an outcome.
//!
//! A check is a connection of its own, that ends with the answer's headers: what an origin is like for someone who has
//! not talked to it yet is what a health check is to find out.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use httparse::{ParserConfig, Response, Status};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use popmap_core::time;
use rustix::io::Errno;
use socket2::SockRef;

use crate::origins::OriginId;

/// Bytes of an answer's headers at most, and headers in it.
const ANSWER_MAX: usize = 8_192;
const HEADERS_MAX: usize = 128;
/// Events that are taken from the system at once.
const BURST: usize = 1_024;

/// What the waker's events are told by; no check ever is.
const WAKE: Token = Token(usize::MAX);

/// What a check found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// The status that the origin answered with, or why there is none.
    pub answer: Result<u16, Failure>,
    /// How long the check took, from before the connection to the end of the headers or the failure.
    pub latency: Duration,
    /// When it ended, since the epoch.
    pub ended: time::Instant,
}

/// Why an origin gave no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// It did not connect or answer in time.
    TimedOut,
    /// Nobody listens at its address.
    Refused,
    /// It closed the connection before it had answered.
    Closed,
    /// What it said is not HTTP/1, or has more headers than anybody needs.
    NotHttp,
    /// There is no way to it.
    Unreachable,
    /// This machine has no socket, port or memory left to ask it.
    NoSocket,
}

impl Failure {
    /// Whether this says something about us, and nothing about the origin.
    pub fn is_about_us(self) -> bool {
        self == Self::NoSocket
    }

    fn of(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::TimedOut => return Self::TimedOut,
            ErrorKind::ConnectionRefused => return Self::Refused,
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
                return Self::Closed;
            }
            _ => {}
        }
        match Errno::from_io_error(error) {
            Some(
                Errno::MFILE
                | Errno::NFILE
                | Errno::NOBUFS
                | Errno::NOMEM
                // All ephemeral ports to that address are taken.
                | Errno::ADDRNOTAVAIL
                | Errno::ADDRINUSE
                | Errno::AGAIN
                // Without IPv6, for one.
                | Errno::AFNOSUPPORT,
            ) => Self::NoSocket,
            _ => Self::Unreachable,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "no answer in time",
            Self::Refused => "connection refused",
            Self::Closed => "connection closed without an answer",
            Self::NotHttp => "the answer is not HTTP/1",
            Self::Unreachable => "unreachable",
            Self::NoSocket => "not asked: no socket left on this machine",
        })
    }
}

impl std::error::Error for Failure {}

/// A check in flight.
struct Check {
    origin: OriginId,
    started: Instant,
    stream: TcpStream,
    /// What is left of the request; all of it while the connection is being made.
    unsent: Vec<u8>,
    /// The answer as far as it was read.
    received: Vec<u8>,
}

/// The checks of one server that are in flight.
pub struct Prober {
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    checks: Checks,
    /// Checks that had ended as soon as they were started.
    stillborn: Vec<(OriginId, Outcome)>,
    in_flight_max: usize,
    request: Vec<u8>,
}

impl Prober {
    /// Returns a prober of at most `in_flight_max` checks at a time, each of which fails after `timeout`. The times at
    /// which checks end are told since `epoch`.
    ///
    /// # Errors
    /// When the system gives no file descriptor to wait on.
    pub fn new(in_flight_max: usize, timeout: Duration, epoch: Instant) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        Ok(Self {
            poll,
            events: Events::with_capacity(in_flight_max.saturating_add(1).min(BURST)),
            waker,
            checks: Checks {
                all: VecDeque::new(),
                first: 0,
                live: 0,
                buffer: vec![0; ANSWER_MAX].into(),
                timeout,
                epoch,
            },
            stillborn: Vec::new(),
            in_flight_max,
            request: Vec::new(),
        })
    }

    /// Returns what ends a [`wait`](Self::wait) from another thread, or the next one if there is none.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Whether one more check may be started.
    pub fn has_room(&self) -> bool {
        self.in_flight() < self.in_flight_max
    }

    /// Returns how many checks were started and not reported.
    pub fn in_flight(&self) -> usize {
        self.checks.live + self.stillborn.len()
    }

    /// Starts to check an origin: asks `to` for `path` of `host`. Whatever becomes of it, [`wait`](Self::wait) reports.
    ///
    /// # Panics
    /// When there is no room.
    pub fn start(&mut self, origin: OriginId, to: SocketAddr, host: &str, path: &str) {
        assert!(self.has_room(), "{} checks in flight", self.in_flight());
        debug_assert!([host, path].iter().all(|text| text.bytes().all(|byte| byte.is_ascii_graphic())));
        self.request.clear();
        for part in [
            "GET ",
            path,
            " HTTP/1.1\r\nHost: ",
            host,
            "\r\nUser-Agent: popmap-pop\r\nConnection: close\r\n\r\n",
        ] {
            self.request.extend_from_slice(part.as_bytes());
        }
        let started = Instant::now();
        match self.begin(origin, to, started) {
            Ok(check) => self.checks.push(check),
            Err(failure) => {
                let outcome = self.checks.outcome(started, Err(failure));
                self.stillborn.push((origin, outcome));
            }
        }
    }

    fn begin(&mut self, origin: OriginId, to: SocketAddr, started: Instant) -> Result<Check, Failure> {
        let mut stream = TcpStream::connect(to).map_err(|error| Failure::of(&error))?;
        // Closed by a reset and not by a handshake, a connection leaves no TIME_WAIT behind. At thousands of checks a
        // second those would take up all ephemeral ports; what the origin may still say is not of interest. If it
        // fails, the check is as good.
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        // On loopback the connection is made by now, and the request can go.
        let sent = send(&stream, &self.request)?;
        let unsent = self.request[sent..].to_vec();
        // Once and edge-triggered. A request that has gone leaves only the answer to wait for: that the connection
        // can be written to would be one more wake-up.
        let writable = Interest::READABLE | Interest::WRITABLE;
        let interest = if unsent.is_empty() { Interest::READABLE } else { writable };
        let token = self.checks.next_token();
        let registered = self.poll.registry().register(&mut stream, token, interest);
        registered.map_err(|_| Failure::NoSocket)?;
        Ok(Check { origin, started, stream, unsent, received: Vec::new() })
    }

    /// Waits until something is ready, [`waker`](Self::waker) wakes, or the earlier of `until` and the next check's
    /// timeout; tells `done` of all checks that have ended.
    ///
    /// # Errors
    /// When the system cannot wait. No check is lost.
    pub fn wait(
        &mut self,
        until: Option<Duration>,
        mut done: impl FnMut(OriginId, Outcome),
    ) -> io::Result<()> {
        let until = if self.stillborn.is_empty() { until } else { Some(Duration::ZERO) };
        let patience = match (until, self.checks.next_timeout()) {
            (Some(until), Some(timeout)) => Some(until.min(timeout)),
            (until, timeout) => until.or(timeout),
        };
        match self.poll.poll(&mut self.events, patience) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        self.stillborn.drain(..).for_each(|(origin, outcome)| done(origin, outcome));
        for event in &self.events {
            self.checks.advance(event.token(), &mut done);
        }
        self.checks.expire(&mut done);
        Ok(())
    }
}

/// Checks in the order in which they were started, and so of their timeouts.
struct Checks {
    /// A check's token is its place among all that there ever were, so that no event is taken for another's.
    all: VecDeque<Option<Check>>,
    /// The token of the first.
    first: usize,
    /// How many have not ended. `all` has no more than were started within one timeout.
    live: usize,
    buffer: Box<[u8]>,
    timeout: Duration,
    epoch: Instant,
}

impl Checks {
    fn next_token(&self) -> Token {
        Token(self.first + self.all.len())
    }

    fn push(&mut self, check: Check) {
        self.all.push_back(Some(check));
        self.live += 1;
    }

    fn outcome(&self, started: Instant, answer: Result<u16, Failure>) -> Outcome {
        let now = Instant::now();
        let ns = u64::try_from(now.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX);
        Outcome { answer, latency: now.saturating_duration_since(started), ended: time::Instant(ns) }
    }

    /// Returns the time until the next check times out.
    fn next_timeout(&mut self) -> Option<Duration> {
        while let Some(None) = self.all.front() {
            self.all.pop_front();
            self.first += 1;
        }
        let next = self.all.front()?.as_ref()?;
        Some((next.started + self.timeout).saturating_duration_since(Instant::now()))
    }

    /// Goes on with the check of `token`; an event of one that has ended is nobody's.
    fn advance(&mut self, token: Token, done: &mut impl FnMut(OriginId, Outcome)) {
        let Some(place) = token.0.checked_sub(self.first) else {
            return;
        };
        let Some(Some(check)) = self.all.get_mut(place) else {
            return;
        };
        if let Some(answer) = check.advance(&mut self.buffer) {
            self.end(place, answer, done);
        }
    }

    /// Ends the checks that have had their time.
    fn expire(&mut self, done: &mut impl FnMut(OriginId, Outcome)) {
        while self.next_timeout() == Some(Duration::ZERO) {
            // It may be we who are late: an answer that is there counts.
            let answer = self.all[0].as_mut().and_then(|check| check.advance(&mut self.buffer));
            self.end(0, answer.unwrap_or(Err(Failure::TimedOut)), done);
        }
    }

    fn end(&mut self, place: usize, answer: Result<u16, Failure>, done: &mut impl FnMut(OriginId, Outcome)) {
        if let Some(check) = self.all[place].take() {
            self.live -= 1;
            let outcome = self.outcome(check.started, answer);
            done(check.origin, outcome);
        }
    }
}

impl Check {
    /// Sends and reads as much as there is, and returns the answer when it is whole or cannot be any more.
    fn advance(&mut self, buffer: &mut [u8]) -> Option<Result<u16, Failure>> {
        if !self.unsent.is_empty() {
            match send(&self.stream, &self.unsent) {
                Ok(sent) => _ = self.unsent.drain(..sent),
                Err(failure) => return Some(Err(failure)),
            }
        }
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Some(Err(Failure::Closed)),
                Ok(n) => self.received.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Some(Err(Failure::of(&error))),
            }
            let answer = status(&self.received);
            if answer.is_some() {
                return answer;
            }
        }
    }
}

/// Sends as much of `bytes` as can be sent at once, which is nothing while the connection is being made.
fn send(mut stream: &TcpStream, bytes: &[u8]) -> Result<usize, Failure> {
    loop {
        match stream.write(bytes) {
            Ok(n) => return Ok(n),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Why a connection was not made is told either here or by the socket, once.
            Err(error) => {
                let told = stream.take_error().ok().flatten();
                return Err(Failure::of(&told.unwrap_or(error)));
            }
        }
    }
}

/// Returns the status of the answer that `bytes` start with, or `None` while it is not whole.
fn status(mut bytes: &[u8]) -> Option<Result<u16, Failure>> {
    let too_long = bytes.len() >= ANSWER_MAX;
    loop {
        let mut headers = [MaybeUninit::uninit(); HEADERS_MAX];
        let mut answer = Response::new(&mut []);
        let parsed =
            ParserConfig::default().parse_response_with_uninit_headers(&mut answer, bytes, &mut headers);
        match (parsed, answer.code) {
            // Word from an origin that is still at it, such as Early Hints: the answer comes after it.
            (Ok(Status::Complete(length)), Some(code)) if (100..200).contains(&code) && code != 101 => {
                bytes = &bytes[length..];
            }
            (Ok(Status::Complete(_)), Some(code)) => return Some(Ok(code)),
            (Ok(Status::Partial), _) if !too_long => return None,
            _ => return Some(Err(Failure::NotHttp)),
        }
    }
}

#[cfg(test)]
mod tests;
