//! How long a packet takes one way: stamped, sent every 50 µs, and taken by a thread that sleeps until it comes.
//!
//! Knows stamps and percentiles. Must not know which device it is, but that one of all is the plain socket.

use std::io::{self, Read};
use std::marker;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use popmap_core::Address;
use popmap_io::Device;

use crate::namespace::Veth;
use crate::plain::Plain;

/// From one packet to the next.
const PACE: Duration = Duration::from_micros(50);
/// Packets of one path before it is the next one's turn.
const TURN: usize = 500;
/// Packets of a turn that are not counted: the receiving thread has just begun.
const WARM_UP: usize = 20;
/// The longest wait for a packet.
const WAIT: Duration = Duration::from_millis(10);
/// Bytes of a packet.
const LEN: usize = 64;

/// Sends a packet.
type Send = dyn FnMut(&[u8]) -> io::Result<()>;
/// Waits for packets, and hands over those that came.
type Receive = dyn FnMut(&mut dyn FnMut(&[u8])) -> io::Result<()> + marker::Send;

/// The two ends of one way.
pub struct Path {
    send: Box<Send>,
    receive: Box<Receive>,
    /// Behind the ends: they are closed first.
    _wire: Option<Veth>,
}

impl Path {
    /// Makes a path of two devices.
    pub fn between<D: Device + marker::Send + 'static>(
        [mut left, mut right]: [D; 2],
        wire: impl Into<Option<Veth>>,
    ) -> Self {
        let to = right.local();
        Self {
            send: Box::new(move |packet| {
                let mut once = Some((to, packet.len()));
                let mut fill = |frame: &mut [u8]| -> Option<(Address, usize)> {
                    frame[..packet.len()].copy_from_slice(packet);
                    once.take()
                };
                while left.send(&mut fill)?.blocked {}
                Ok(())
            }),
            receive: Box::new(move |each| {
                right.wait(Some(WAIT))?;
                right.receive(|_, packet| each(packet)).map(drop)
            }),
            _wire: wire.into(),
        }
    }

    /// Makes the path that others are held against: a blocking `recv(2)`.
    pub fn plain(wire: Veth) -> Result<Self, String> {
        let failed = |error| format!("plain sockets: {error}");
        let Plain { left, mut right, mut framer } = Plain::open(&wire).map_err(failed)?;
        right.set_read_timeout(Some(WAIT)).map_err(failed)?;
        let mut frame = [0; 2_048];
        let start = framer.headers(LEN).len();
        Ok(Self {
            send: Box::new(move |packet| left.send(framer.frame(packet)).map(drop)),
            receive: Box::new(move |each| match right.read(&mut frame) {
                Ok(len) => {
                    each(frame.get(start..len).unwrap_or_default());
                    Ok(())
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                Err(error) => Err(error),
            }),
            _wire: Some(wire),
        })
    }
}

/// What came of one path.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    pub p50_ns: u64,
    pub p99_ns: u64,
    pub p999_ns: u64,
    /// Packets that are counted in these.
    pub arrived: u64,
    /// Packets that did not come.
    pub lost: u64,
}

/// Has the paths take turns, each for `duration` in all.
///
/// # Errors
/// A path's end.
pub fn measure(paths: &mut [&mut Path], duration: Duration) -> io::Result<Vec<Latency>> {
    let turns = (duration.as_nanos() / (PACE.as_nanos() * TURN as u128)).max(2) as usize;
    let mut times: Vec<_> = paths.iter().map(|_| Times::new()).collect();
    for _ in 0..turns {
        for (path, times) in paths.iter_mut().zip(&mut times) {
            path.turn(times)?;
        }
    }
    Ok(times.iter().map(Times::latency).collect())
}

struct Times {
    histogram: Histogram<u64>,
    sent: u64,
}

impl Times {
    fn new() -> Self {
        // From a nanosecond to a minute, to a part in a thousand.
        let histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are possible");
        Self { histogram, sent: 0 }
    }

    fn latency(&self) -> Latency {
        let at = |quantile| self.histogram.value_at_quantile(quantile);
        let arrived = self.histogram.len();
        let lost = self.sent.saturating_sub(arrived);
        Latency { p50_ns: at(0.5), p99_ns: at(0.99), p999_ns: at(0.999), arrived, lost }
    }
}

impl Path {
    fn turn(&mut self, times: &mut Times) -> io::Result<()> {
        let (origin, done) = (Instant::now(), AtomicBool::new(false));
        let Self { send, receive, .. } = self;
        let now_ns = || u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1);
        thread::scope(|scope| {
            let receiving = scope.spawn(|| -> io::Result<()> {
                let mut seen = 0;
                while seen < TURN {
                    let (all_sent, before) = (done.load(Ordering::Acquire), seen);
                    receive(&mut |packet| {
                        let now = now_ns();
                        let Some(stamp) = packet.first_chunk().filter(|_| packet.len() == LEN) else {
                            return;
                        };
                        seen += 1;
                        match u64::from_ne_bytes(*stamp) {
                            0 => {}
                            stamp => times.histogram.saturating_record(now.saturating_sub(stamp)),
                        }
                    })?;
                    // What does not come within a wait then is lost.
                    if all_sent && seen == before {
                        break;
                    }
                }
                Ok(())
            });
            let mut packet = [0; LEN];
            let sent = (0..TURN).try_for_each(|n| {
                let next = Instant::now() + PACE;
                let stamp = if n < WARM_UP { 0 } else { now_ns() };
                packet[..8].copy_from_slice(&stamp.to_ne_bytes());
                send(&packet)?;
                // The processor stays awake, and the receiver's has time to fall asleep.
                while Instant::now() < next {
                    std::hint::spin_loop();
                }
                io::Result::Ok(())
            });
            done.store(true, Ordering::Release);
            receiving.join().expect("receiving does not panic")?;
            sent
        })?;
        times.sent += (TURN - WARM_UP) as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use popmap_io::Loopback;

    use super::*;

    #[test]
    fn every_packet_but_the_first_is_counted() {
        let network = Loopback::new();
        let mut path = Path::between([network.device(), network.device()], None);
        let [latency] = measure(&mut [&mut path], Duration::ZERO).unwrap()[..] else { unreachable!() };
        assert_eq!((latency.arrived, latency.lost), (2 * (TURN - WARM_UP) as u64, 0));
        assert!(latency.p50_ns <= latency.p99_ns && latency.p99_ns <= latency.p999_ns);
    }
}
