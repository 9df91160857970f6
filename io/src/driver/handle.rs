//! The handle: a driver as the other threads see it.
//!
//! Knows the queue, the latest snapshot and how to wake and stop the driver. Must not touch the node.

use std::io;
use std::panic;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::thread::{Builder, JoinHandle};

use popmap_core::auth::KeyRing;
use popmap_core::ownership::Owners;
use popmap_core::time::Instant;
use popmap_core::{Key, Life, Member, Meta, Phase, Slot, Stats};

use super::inbox::{Inbox, QueueError, Write};
use super::news::News;
use super::{Driver, DriverStats};
use crate::device::{Device, DeviceStats};

/// What a driver and its node looked like a moment ago.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When, on the driver's clock.
    pub at: Instant,
    /// The server's life.
    pub life: Life,
    /// Whether it may write.
    pub phase: Phase,
    /// Who is live, and who owns what.
    pub owners: Owners,
    /// All members ever heard of.
    pub members: Vec<(Slot, Member)>,
    /// The node's counters.
    pub node: Stats,
    /// The device's counters.
    pub device: DeviceStats,
    /// The driver's counters.
    pub driver: DriverStats,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) inbox: Inbox,
    pub(super) snapshot: Mutex<Snapshot>,
}

/// Closes the inbox when the driver goes, also by a panic.
#[derive(Debug)]
pub(super) struct Closing(pub(super) Arc<Shared>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.inbox.close();
    }
}

/// Reaches a [`Driver`] from any thread. Clones reach the same one.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) shared: Arc<Shared>,
    pub(super) waker: Waker,
}

impl Handle {
    /// Queues a write of `value` under `key` and wakes the driver. Whether the map takes it is known later: a refusal
    /// comes as [`News::PutRefused`].
    ///
    /// # Errors
    /// Why it was not queued; nothing has changed.
    pub fn put(&self, key: Key, value: &[u8]) -> Result<(), QueueError> {
        self.shared.inbox.push(key, Write::Put(value))?;
        self.waker.wake_by_ref();
        Ok(())
    }

    /// Queues the deletion of `key` and wakes the driver. A refusal comes as [`News::RemoveRefused`].
    ///
    /// # Errors
    /// Why it was not queued; nothing has changed.
    pub fn remove(&self, key: Key) -> Result<(), QueueError> {
        self.shared.inbox.push(key, Write::Remove)?;
        self.waker.wake_by_ref();
        Ok(())
    }

    /// Has the others told something else of this server; the latest of several counts.
    ///
    /// # Errors
    /// [`QueueError::Stopped`] only.
    pub fn set_meta(&self, meta: Meta) -> Result<(), QueueError> {
        self.shared.inbox.set_meta(meta)?;
        self.waker.wake_by_ref();
        Ok(())
    }

    /// Exchanges the keys while the driver runs; the latest of several counts. What came of it is told as
    /// [`News::KeysChanged`] or [`News::KeysRefused`]. The steps of an exchange are those of
    /// [`Node::set_keys`](popmap_core::Node::set_keys), each on every server before the next.
    ///
    /// # Errors
    /// [`QueueError::Stopped`] only.
    pub fn set_keys(&self, keys: KeyRing) -> Result<(), QueueError> {
        self.shared.inbox.set_keys(keys)?;
        self.waker.wake_by_ref();
        Ok(())
    }

    /// Forgets the server in `slot`, which is dead and is not coming back; see [`Node::forget`](popmap_core::Node::forget).
    /// That it was refused comes as [`News::ForgetRefused`].
    ///
    /// # Errors
    /// [`QueueError::Stopped`] only.
    pub fn forget(&self, slot: Slot) -> Result<(), QueueError> {
        self.shared.inbox.forget(slot)?;
        self.waker.wake_by_ref();
        Ok(())
    }

    /// Returns what the driver last published, at most a tenth of a second ago while it runs.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.shared.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells the driver to stop, and returns at once. Writes queued before are still made.
    pub fn stop(&self) {
        self.shared.inbox.close();
        self.waker.wake_by_ref();
    }

    /// Whether the driver was told to stop, or has ended.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.shared.inbox.is_closed()
    }
}

/// A driver on a thread of its own. Dropping it stops the driver and waits for its end.
#[derive(Debug)]
#[must_use]
pub struct Running {
    handle: Handle,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Running {
    /// Returns the driver's handle.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Whether the thread has ended: stopped, or the device failed ([`stop`](Self::stop) tells how).
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Stops the driver and waits for its end: it says that it leaves and ends after its grace.
    ///
    /// # Errors
    /// The device's error, if that has ended the driver.
    ///
    /// # Panics
    /// With the thread's own panic, if there was one.
    pub fn stop(mut self) -> io::Result<()> {
        self.handle.stop();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(payload)) => panic::resume_unwind(payload),
            None => Ok(()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.stop();
        if let Some(thread) = self.thread.take() {
            // Whoever wants to know calls `stop`.
            let _ = thread.join();
        }
    }
}

impl<D: Device + Send + 'static, const N: usize> Driver<'static, D, N> {
    /// Runs the driver on a thread of its own; `tell` is called there, and should not take long.
    ///
    /// The storage has to live as long as the thread and all readers: [`Storage::leak`](crate::Storage::leak). With
    /// storage that is given back, [`run`](Driver::run) the driver in a [`std::thread::scope`].
    ///
    /// # Errors
    /// The operating system has no thread to give.
    pub fn spawn(mut self, tell: impl FnMut(News) + Send + 'static) -> io::Result<Running> {
        let handle = self.handle();
        let name = format!("popmap-{}", self.node().map().slot());
        let thread = Builder::new().name(name).spawn(move || self.run(tell))?;
        Ok(Running { handle, thread: Some(thread) })
    }
}
