//! The driver: a node, a device and a clock, kept going.
//!
//! Knows when to poll what, and is the only reader of the clock. Must not know what a packet means, nor how one travels.
//!
//! One [`Driver::poll`] takes a burst, does what is due and sends a burst; it fits in anybody's loop. [`Driver::run`] is
//! that loop, and [`Driver::spawn`] gives it a thread. Other threads write through a [`Handle`] and read through a
//! [`Reader`], which needs neither the handle nor the driver's attention.

mod config;
mod handle;
mod inbox;
mod news;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use popmap_core::limits::QUARANTINE;
use popmap_core::time::{Duration, Instant};
use popmap_core::{Address, Key, Node, PutError, Reader, RemoveError};

use config::Beginning;
pub use config::{DriverConfig, Pace, StartError};
pub use handle::{Handle, Running, Snapshot};
pub use inbox::QueueError;
pub use news::{News, NewsReceiver, NewsSender, news_channel};

use crate::address;
use crate::clock::{MonotonicClock, wall_clock_seconds};
use crate::device::{Burst, Device, DeviceStats};
use crate::generation::{GenerationError, GenerationFile};
use handle::{Closing, Shared};
use inbox::{Inbox, Write, Writes};

/// How often the snapshot is renewed.
const PUBLISH: Duration = Duration::from_millis(100);
/// Writes made in one poll: half a millisecond's worth, or two in a large map. All that may wait takes twenty, and whoever
/// pings us then waits so long for an ack, while packets pile up.
const WRITES: usize = 4_096;
/// A device that is blocked and does not say when it no longer is, is asked again after this.
const BLOCKED: Duration = Duration::from_millis(1);

/// Plain counters, all rising from zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DriverStats {
    /// Polls.
    pub polls: u64,
    /// Times that the driver slept.
    pub waits: u64,
    /// Writes taken from the queue.
    pub writes: u64,
    /// Writes of these that the map refused.
    pub refused: u64,
}

/// A wait for the last packets of the slot's last life to be gone.
#[derive(Debug)]
struct Silence {
    until: Instant,
    seeds: Vec<Address>,
    told: bool,
}

/// A node at work. `N` is the number of slots, the same on every server of a PoP.
pub struct Driver<'a, D, const N: usize = 64> {
    node: Box<Node<'a, N>>,
    device: D,
    clock: MonotonicClock,
    generation: Option<GenerationFile>,
    pace: Pace,
    grace: Duration,
    value_len: usize,
    shared: Closing,
    /// What was taken from the inbox.
    writes: Writes,
    /// A generation that was not saved and not told yet.
    unsaved: Option<GenerationError>,
    /// The generation that was saved last, or could not be.
    saved: u32,
    /// The generation is in doubt: until then nothing is sent and what comes is dropped. Then the seeds are asked.
    silence: Option<Silence>,
    next_publish: Instant,
    /// How often the link was lost and came back, as far as was told.
    link: [u64; 2],
    stats: DriverStats,
}

impl<'a, D: Device, const N: usize> Driver<'a, D, N> {
    /// Begins a new life in `storage`, which is all zero and has [`Node::words`] words ([`Storage`](crate::Storage) has
    /// some): the generation is raised and on disk when this returns, or [`News::GenerationNotSaved`] follows with the
    /// first poll. No packet is sent before that.
    ///
    /// Where nothing shows that the generation is above the slot's last one, no packet is sent within 10 s of this call
    /// either: see [`News::GenerationInDoubt`].
    ///
    /// # Errors
    /// Why there is no driver. The saved generation may have been raised.
    pub fn start(config: &DriverConfig, storage: &'a mut [u64], device: D) -> Result<Self, StartError> {
        Self::start_at(config, storage, device, wall_clock_seconds())
    }

    fn start_at(
        config: &DriverConfig,
        storage: &'a mut [u64],
        device: D,
        clock_seconds: u32,
    ) -> Result<Self, StartError> {
        if config.node.payload > device.payload() {
            return Err(StartError::Payload { node: config.node.payload, device: device.payload() });
        }
        if device.needs_keys() && config.keys.is_none() {
            return Err(StartError::NoKeys);
        }
        let Beginning { node: mut node_config, in_doubt, unsaved } = config.begin(clock_seconds)?;
        if node_config.address == Address::default() {
            node_config.address = address::advertised(device.local());
        }
        if in_doubt {
            // It is the wait for the others, and they hear nothing before.
            node_config.start_within = Duration(node_config.start_within.0.saturating_add(QUARANTINE.0));
        }
        let clock = MonotonicClock::new();
        let now = clock.now();
        let node = match config.keys.as_deref().cloned() {
            Some(keys) => Node::with_keys(now, storage, &node_config, keys),
            None => Node::new(now, storage, &node_config),
        };
        let mut node = Box::new(node.map_err(StartError::Config)?);
        // Whoever is told who is alive asks nobody.
        let seeds: &[Address] = if node_config.swim.is_some() { &config.seeds } else { &[] };
        let silence =
            in_doubt.then(|| Silence { until: now + QUARANTINE, seeds: seeds.to_vec(), told: false });
        if silence.is_none() {
            node.join(now, seeds);
        }
        let value_len = usize::from(node_config.shape.value_len);
        let stats = DriverStats::default();
        let snapshot = Snapshot {
            at: now,
            life: node.map().life(),
            phase: node.map().phase(),
            owners: *node.map().owners(),
            members: Vec::with_capacity(N),
            node: node.stats(),
            device: device.stats(),
            driver: stats,
        };
        let shared = Shared { inbox: Inbox::new(config.queue, value_len), snapshot: Mutex::new(snapshot) };
        let grace = Duration(u64::try_from(config.grace.as_nanos()).unwrap_or(u64::MAX));
        Ok(Self {
            node,
            device,
            clock,
            generation: config.generation.clone(),
            pace: config.pace,
            grace,
            value_len,
            shared: Closing(Arc::new(shared)),
            writes: Writes::default(),
            unsaved,
            saved: node_config.life.generation,
            silence,
            next_publish: now,
            link: [0; 2],
            stats,
        })
    }

    // ---- the loop ----

    /// Takes one burst of packets and up to 4,096 of the queued writes, does what is due, and sends one burst. Never waits.
    ///
    /// Returns when to call it next, at the latest; a packet or a wake may come first, and [`wait`](Self::wait) waits
    /// for all three. `tell` is called with what happened.
    ///
    /// # Errors
    /// The device's end.
    pub fn poll(&mut self, tell: impl FnMut(News)) -> io::Result<Instant> {
        self.poll_at(self.clock.now(), tell)
    }

    /// The same with a time that has been read already, of [`clock`](Self::clock): a loop that knows it reads no clock twice,
    /// and a test decides it. The node holds a time before that of an earlier poll (`clock_backward` among its counters).
    ///
    /// # Errors
    /// The device's end.
    pub fn poll_at(&mut self, now: Instant, mut tell: impl FnMut(News)) -> io::Result<Instant> {
        self.stats.polls += 1;
        let silent = self.is_silent(now);
        let (node, device) = (&mut self.node, &mut self.device);
        let received = device.receive(|from, packet| {
            if !silent {
                // Rejections are counted by the node.
                let _ = node.handle_packet(now, from, packet);
            }
        })?;
        self.take_writes(now, &mut tell);
        self.node.handle_timeout(now);
        // Before sending: a raised generation is on disk before anybody hears of it.
        self.tell_news(&mut tell);
        let node = &mut self.node;
        let mut fill = |frame: &mut [u8]| {
            let packet = node.poll_transmit(now, frame)?;
            Some((packet.to, packet.len))
        };
        let sent = if silent { Burst::default() } else { self.device.send(&mut fill)? };
        if now >= self.next_publish {
            self.publish(now);
            self.tell_link(&mut tell);
        }
        Ok(self.deadline(now, received, sent))
    }

    /// Whether nothing may be sent yet; asks the seeds when that is over.
    fn is_silent(&mut self, now: Instant) -> bool {
        let Some(silence) = self.silence.take_if(|silence| now >= silence.until) else {
            return self.silence.is_some();
        };
        self.node.join(now, &silence.seeds);
        false
    }

    fn deadline(&mut self, now: Instant, received: Burst, sent: Burst) -> Instant {
        if received.more || sent.more || !self.writes.is_empty() {
            now
        } else if let Some(silence) = &self.silence {
            // The node may have something to send and does not get to; the heartbeat goes on.
            silence.until.min(self.next_publish)
        } else if sent.blocked {
            // What the node would like to send has to wait, whatever it says.
            now + BLOCKED
        } else {
            self.node.poll_timeout()
        }
    }

    /// Waits until `deadline`, a packet or a wake.
    ///
    /// # Errors
    /// The device's end.
    pub fn wait(&mut self, deadline: Instant) -> io::Result<()> {
        let left = deadline.since(self.clock.now());
        if left == Duration::ZERO {
            return Ok(());
        }
        self.stats.waits += 1;
        let left = (deadline != Instant::NEVER).then(|| std::time::Duration::from_nanos(left.0));
        let Pace::Coalesce(nap) = self.pace else { return self.device.wait(left) };
        let nap = left.map_or(nap, |left| left.min(nap));
        std::thread::sleep(nap);
        self.device.wait(left.map(|left| left - nap))
    }

    /// Polls and waits until [`Handle::stop`]; then the last writes get out, the others are told that this server
    /// leaves, and the run ends after the configured grace.
    ///
    /// # Errors
    /// The device's end. Nothing was said to the others.
    pub fn run(&mut self, mut tell: impl FnMut(News)) -> io::Result<()> {
        while !self.shared.0.inbox.is_closed() {
            self.step(Instant::NEVER, &mut tell)?;
        }
        let half = Duration(self.grace.0 / 2);
        self.linger(half, &mut tell)?;
        self.node.leave(self.clock.now());
        self.linger(half, &mut tell)?;
        self.publish(self.clock.now());
        Ok(())
    }

    fn step(&mut self, until: Instant, tell: &mut impl FnMut(News)) -> io::Result<()> {
        let deadline = self.poll(tell)?.min(until);
        match self.pace {
            Pace::Sleep | Pace::Coalesce(_) => self.wait(deadline),
            Pace::Busy => {
                std::hint::spin_loop();
                Ok(())
            }
        }
    }

    /// Goes on for `span`, and at least once.
    fn linger(&mut self, span: Duration, tell: &mut impl FnMut(News)) -> io::Result<()> {
        let until = self.clock.now() + span;
        self.step(until, tell)?;
        while self.clock.now() < until {
            self.step(until, tell)?;
        }
        Ok(())
    }

    // ---- the queue, the news ----

    fn take_writes(&mut self, now: Instant, tell: &mut impl FnMut(News)) {
        let inbox = &self.shared.0.inbox;
        // What waits at a stop is made at once: the word that we leave comes behind it.
        let mut left = if inbox.is_closed() { usize::MAX } else { WRITES };
        let (node, stats) = (&mut self.node, &mut self.stats);
        while left > 0 {
            if self.writes.is_empty() {
                if !inbox.take(&mut self.writes) {
                    return;
                }
                if let Some(meta) = self.writes.meta.take() {
                    node.set_meta(now, meta);
                }
                if let Some(keys) = self.writes.ring.take() {
                    let sending = keys.sending().id();
                    tell(match node.set_keys(*keys) {
                        Ok(()) => News::KeysChanged { sending },
                        Err(error) => News::KeysRefused(error),
                    });
                }
                for slot in std::mem::take(&mut self.writes.forget).iter() {
                    if let Err(error) = node.forget(now, slot) {
                        tell(News::ForgetRefused(error));
                    }
                }
            }
            left -= self.writes.drain(left, self.value_len, |key, write| {
                stats.writes += 1;
                let refused = match write {
                    Write::Put(value) => {
                        node.put(now, key, value).err().map(|error| News::PutRefused { key, error })
                    }
                    Write::Remove => {
                        node.remove(now, key).err().map(|error| News::RemoveRefused { key, error })
                    }
                };
                if let Some(news) = refused {
                    stats.refused += 1;
                    tell(news);
                }
            });
        }
    }

    fn tell_news(&mut self, tell: &mut impl FnMut(News)) {
        for error in [self.unsaved.take(), self.save_generation()].into_iter().flatten() {
            tell(News::GenerationNotSaved(error));
        }
        if let Some(silence) = self.silence.as_mut().filter(|silence| !silence.told) {
            silence.told = true;
            tell(News::GenerationInDoubt);
        }
        while let Some(event) = self.node.poll_event() {
            tell(News::Map(event));
        }
        while let Some((slot, state)) = self.node.poll_member() {
            tell(News::Member { slot, state });
        }
    }

    /// Tells of the link, as often as the snapshot is renewed: no device has a link that flaps faster and is of use.
    fn tell_link(&mut self, tell: &mut impl FnMut(News)) {
        let DeviceStats { link_losses, link_returns, .. } = self.device.stats();
        let link = [link_losses, link_returns];
        if link != self.link {
            self.link = link;
            tell(News::Link { up: link_returns >= link_losses });
        }
    }

    /// Saves the generation if it was raised. Looks at the life itself: of the events, the one that says so may be among
    /// those lost.
    fn save_generation(&mut self) -> Option<GenerationError> {
        let generation = self.node.map().life().generation;
        if generation <= self.saved {
            return None;
        }
        self.saved = generation;
        // At least this one.
        self.generation.as_ref()?.raise(generation - 1).err()
    }

    fn publish(&mut self, now: Instant) {
        self.next_publish = now + PUBLISH;
        let (node, map) = (&self.node, self.node.map());
        let mut snapshot = self.shared.0.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        snapshot.at = now;
        snapshot.life = map.life();
        snapshot.phase = map.phase();
        snapshot.owners = *map.owners();
        snapshot.members.clear();
        snapshot.members.extend(node.members().map(|(slot, member)| (slot, *member)));
        snapshot.node = node.stats();
        snapshot.device = self.device.stats();
        snapshot.driver = self.stats;
    }

    // ---- for whoever owns the loop ----

    /// Writes at once; see [`Node::put`]. It leaves with the next poll.
    ///
    /// # Errors
    /// Why the write was refused; the map is as it was.
    pub fn put(&mut self, key: Key, value: &[u8]) -> Result<(), PutError> {
        self.node.put(self.clock.now(), key, value).map(drop)
    }

    /// Deletes at once; see [`Node::remove`]. It leaves with the next poll.
    ///
    /// # Errors
    /// Why nothing was deleted; the map is as it was.
    pub fn remove(&mut self, key: Key) -> Result<(), RemoveError> {
        self.node.remove(self.clock.now(), key).map(drop)
    }

    /// Returns the node.
    pub fn node(&self) -> &Node<'a, N> {
        &self.node
    }

    /// Returns the node, to change what this driver has no call for. Poll the driver afterwards.
    pub fn node_mut(&mut self) -> &mut Node<'a, N> {
        &mut self.node
    }

    /// Returns the device.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// Returns the clock: copies read the same.
    pub fn clock(&self) -> MonotonicClock {
        self.clock
    }

    /// Returns a handle on the data for any thread, as long as the storage lives.
    pub fn reader(&self) -> Reader<'a> {
        self.node.reader()
    }

    /// Returns what reaches this driver from other threads, whether it has a thread of its own or not.
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.shared.0), waker: self.device.waker() }
    }

    /// Returns the counters.
    pub fn stats(&self) -> DriverStats {
        self.stats
    }
}

impl<D: fmt::Debug, const N: usize> fmt::Debug for Driver<'_, D, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("node", &self.node)
            .field("device", &self.device)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
