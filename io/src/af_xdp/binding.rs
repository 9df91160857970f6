//! A program and its sockets at one interface, all of it or nothing.
//!
//! Knows the order in which they are made, and what is tried again. Must not know time but as a number of attempts, nor
//! what a frame is for.
//!
//! The program comes first, with an empty map: what it finds no socket for it passes on, and some drivers give memory
//! to a socket only where there is a program. When all goes, the program goes first.

use std::io;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;

use super::bpf::{self, Place};
use super::config::{XdpConfig, XdpMode};
use super::error::XdpError;
use super::groups;
use super::link::Interface;
use super::program::{Take, assemble};
use super::queue::{BINDING, Queue, QueueError};
use super::stats::KernelStats;
use crate::address::Mac;
use crate::encap::{Encap, EncapConfig};

/// The most queues that one device takes; each costs a socket to be polled and 4.5 MiB.
pub(super) const QUEUES_MAX: usize = 64;
/// The waits between attempts at what a process that just ended still has: the first, and the longest.
const WAIT: Duration = Duration::from_millis(1);
const WAIT_MAX: Duration = Duration::from_millis(128);

const JOINING: &str = "asking for frames to our MAC address and groups";

/// What does not depend on the interface.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings<'a> {
    /// The station that we are, which need not be the interface.
    pub(super) mac: Mac,
    pub(super) framing: &'a EncapConfig,
    pub(super) encap: &'a Encap,
    pub(super) config: &'a XdpConfig,
}

/// A program at an interface, and sockets on its queues.
#[derive(Debug)]
pub(super) struct Binding {
    /// Dropped before the sockets: what comes between goes to the kernel.
    _program: OwnedFd,
    memberships: OwnedFd,
    queues: Vec<Queue>,
    /// The queue that is looked at first.
    next: usize,
    interface: Interface,
    mode: XdpMode,
    refused: Option<io::Error>,
}

impl Binding {
    /// Puts a program at `interface` and opens its sockets. What somebody else still has is tried `attempts` times, over
    /// more than a second with twelve, and with one at once.
    pub(super) fn open(
        name: &str,
        interface: Interface,
        settings: &Settings<'_>,
        attempts: u32,
    ) -> Result<Self, XdpError> {
        let &Settings { mac, framing, encap, config } = settings;
        let of_bpf = |error| XdpError::of_bpf(name, error);
        let last = config.queue.unwrap_or(interface.queues.saturating_sub(1));
        // A map of more entries than queues is refused nothing.
        let map = bpf::socket_map(last.saturating_add(1).min(1 << 16)).map_err(of_bpf)?;
        let program = assemble(mac, framing, Take::Redirect(bpf::descriptor(&map)));
        let program = bpf::load(&program).map_err(of_bpf)?;
        let (link, place, mut refused) = attach(name, &interface, &program, config.mode, attempts)?;
        let mut copy = place == Place::Generic || config.mode == Some(XdpMode::DriverCopy);
        let mut bind = |queue| {
            let attempt = |copy| {
                let busy = |error: &QueueError| error.source == Errno::BUSY;
                again(attempts, busy, || Queue::bind(interface.index, queue, encap.frame_len(), copy))
            };
            match attempt(copy) {
                Err(QueueError { step: BINDING, source }) if !copy && !is_final(source) => {
                    // If that is refused too, it was not for the want of copies.
                    let bound = attempt(true)?;
                    (copy, refused) = (true, Some(source.into()));
                    Ok(bound)
                }
                done => done,
            }
        };
        let of_queue = |queue, error| XdpError::of_queue(name, queue, interface.queues, error);
        let mut queues = Vec::new();
        if let Some(queue) = config.queue {
            queues.push((queue, bind(queue).map_err(|error| of_queue(queue, error))?));
        } else {
            for queue in 0..interface.queues {
                if queues.len() == QUEUES_MAX {
                    return Err(XdpError::Queues { interface: name.to_owned(), most: QUEUES_MAX });
                }
                match bind(queue) {
                    Ok(bound) => queues.push((queue, bound)),
                    // Fewer are in use than there can be.
                    Err(QueueError { step: BINDING, source: Errno::INVAL }) if queue > 0 => break,
                    Err(error) => return Err(of_queue(queue, error)),
                }
            }
        }
        let zero_copy = queues.iter().all(|(_, queue)| queue.is_zero_copy());
        let mode = match place {
            Place::Generic => XdpMode::Generic,
            Place::Driver if zero_copy => XdpMode::ZeroCopy,
            Place::Driver => XdpMode::DriverCopy,
        };
        if let Some(wanted) = config.mode
            && wanted != mode
        {
            let source = refused.unwrap_or_else(|| Errno::OPNOTSUPP.into());
            return Err(XdpError::Mode { interface: name.to_owned(), wanted, source });
        }
        let memberships = groups::join(&interface, mac, encap.groups())
            .map_err(|source| XdpError::system(name, JOINING, source))?;
        // Only now do frames come here.
        for (queue, socket) in &queues {
            bpf::enter(&map, *queue, socket).map_err(of_bpf)?;
        }
        let queues = queues.into_iter().map(|(_, socket)| socket).collect();
        Ok(Self { _program: link, memberships, queues, next: 0, interface, mode, refused })
    }

    pub(super) const fn interface(&self) -> &Interface {
        &self.interface
    }

    /// Goes on as the station that it was, although the interface's own MAC address is another now.
    pub(super) fn stay(
        &mut self,
        name: &str,
        now: &Interface,
        mac: Mac,
        encap: &Encap,
    ) -> Result<(), XdpError> {
        self.memberships = groups::join(now, mac, encap.groups())
            .map_err(|source| XdpError::system(name, JOINING, source))?;
        self.interface = *now;
        Ok(())
    }

    pub(super) const fn mode(&self) -> XdpMode {
        self.mode
    }

    /// Returns why the next better mode is not in force, if that was tried.
    pub(super) const fn refused(&self) -> Option<&io::Error> {
        self.refused.as_ref()
    }

    pub(super) fn queues(&self) -> &[Queue] {
        &self.queues
    }

    /// Returns the queue that frames are sent through.
    pub(super) fn sending(&mut self) -> &mut Queue {
        &mut self.queues[0]
    }

    /// Hands over up to `most` received frames, from one queue after the other; returns how many, and of these how many
    /// were none.
    pub(super) fn receive(&mut self, most: usize, mut sink: impl FnMut(&[u8])) -> (usize, usize) {
        let (mut taken, mut invalid) = (0, 0);
        // No queue starves the others when the burst is full.
        let first = self.next;
        self.next = if first + 1 < self.queues.len() { first + 1 } else { 0 };
        let (before, from) = self.queues.split_at_mut(first);
        for queue in from.iter_mut().chain(before) {
            let came = queue.receive(most - taken, &mut sink);
            (taken, invalid) = (taken + came.0, invalid + came.1);
        }
        (taken, invalid)
    }

    pub(super) fn stats(&self) -> KernelStats {
        let mut stats = KernelStats::default();
        self.queues.iter().for_each(|queue| stats.add(&queue.stats()));
        stats
    }
}

/// Puts the program as near to the hardware as it may; returns also why it is not nearer.
fn attach(
    name: &str,
    interface: &Interface,
    program: &OwnedFd,
    wanted: Option<XdpMode>,
    attempts: u32,
) -> Result<(OwnedFd, Place, Option<io::Error>), XdpError> {
    let busy = |error: &io::Error| Errno::from_io_error(error) == Some(Errno::BUSY);
    let at = |place| again(attempts, busy, || bpf::attach(program, interface.index, place));
    let mut refused = None;
    if wanted != Some(XdpMode::Generic) {
        match at(Place::Driver) {
            Ok(link) => return Ok((link, Place::Driver, None)),
            Err(error) => match (Errno::from_io_error(&error), wanted) {
                (Some(Errno::BUSY | Errno::EXIST | Errno::PERM | Errno::ACCESS | Errno::NODEV), _) => {
                    return Err(XdpError::of_attach(name, error));
                }
                (_, Some(wanted)) => {
                    return Err(XdpError::Mode { interface: name.to_owned(), wanted, source: error });
                }
                // The driver knows no programs, or not with this MTU or so few queues.
                _ => refused = Some(error),
            },
        }
    }
    let link = at(Place::Generic).map_err(|error| XdpError::of_attach(name, error))?;
    Ok((link, Place::Generic, refused))
}

/// Whether a queue is refused for another reason than that frames would not be copied.
fn is_final(error: Errno) -> bool {
    matches!(error, Errno::BUSY | Errno::NODEV | Errno::PERM | Errno::ACCESS | Errno::NOBUFS)
}

/// Tries up to `attempts` times while it fails in a way that passes.
fn again<T, E>(
    attempts: u32,
    passes: impl Fn(&E) -> bool,
    mut attempt: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let mut wait = WAIT;
    for _ in 1..attempts {
        match attempt() {
            Err(error) if passes(&error) => thread::sleep(wait),
            done => return done,
        }
        wait = (wait * 2).min(WAIT_MAX);
    }
    attempt()
}
