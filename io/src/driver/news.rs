//! What a driver has to tell its embedder, and a bounded channel for it.
//!
//! Knows events and refusals. Must not know how they came about.

use std::fmt;
use std::num::NonZeroU8;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use popmap_core::auth::RotationError;
use popmap_core::{Event, ForgetError, Key, PutError, RemoveError, Slot, State};

use crate::generation::GenerationError;

/// Something the embedder may want to act on.
#[derive(Debug)]
#[non_exhaustive]
pub enum News {
    /// The map has something to tell; its own [`Event::Lagged`] among it.
    Map(Event),
    /// A member's state is another one now. Changes in quick succession may come as the last of them.
    Member {
        /// The member.
        slot: Slot,
        /// Its state now.
        state: State,
    },
    /// A put from the queue was refused; the map is as it was.
    PutRefused {
        /// The key.
        key: Key,
        /// Why.
        error: PutError,
    },
    /// A remove from the queue was refused; the map is as it was.
    RemoveRefused {
        /// The key.
        key: Key,
        /// Why.
        error: RemoveError,
    },
    /// A slot was not forgotten ([`Handle::forget`](super::Handle::forget)); nothing has changed.
    ForgetRefused(ForgetError),
    /// The generation could not be saved: should the clock stand still too, the next start may take the same one.
    GenerationNotSaved(GenerationError),
    /// The generation is in doubt ([`Start::in_doubt`](crate::Start::in_doubt)): the driver sends nothing and drops what
    /// comes for [`QUARANTINE`](popmap_core::limits::QUARANTINE), 10 s from its start. Else a late packet of the slot's
    /// last life could pass for a second server's. Until then, and then until the others are met, puts are refused with
    /// [`PutError::Starting`].
    GenerationInDoubt,
    /// Other keys are in use now.
    KeysChanged {
        /// The id of the key that is sent with.
        sending: NonZeroU8,
    },
    /// Other keys were refused; those in use stay.
    KeysRefused(RotationError),
    /// The device's link was lost or came back, perhaps both in turn: its interface is down, has no carrier, is gone or too
    /// small, or is none of that any more. The driver goes on all the same, and the device uses the link when it is back.
    Link {
        /// Whether frames can pass now.
        up: bool,
    },
    /// The channel was full, and this many news were lost. Ask for a [`Snapshot`](super::Snapshot).
    Lagged {
        /// How many.
        missed: u64,
    },
}

/// Makes a channel that keeps up to `capacity` news for a receiver on another thread. The driver never waits for it: what
/// finds it full is lost, and [`News::Lagged`] says how many were.
#[must_use]
pub fn news_channel(capacity: usize) -> (NewsSender, NewsReceiver) {
    let (sender, receiver) = mpsc::sync_channel(capacity);
    let missed = Arc::new(AtomicU64::new(0));
    (NewsSender { sender, missed: Arc::clone(&missed) }, NewsReceiver { receiver, missed })
}

/// The driver's end of a [`news_channel`].
pub struct NewsSender {
    sender: SyncSender<News>,
    missed: Arc<AtomicU64>,
}

impl NewsSender {
    /// Sends, or counts the loss. With the receiver gone nothing happens.
    pub fn send(&self, news: News) {
        if self.sender.try_send(news).is_err() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The embedder's end of a [`news_channel`].
pub struct NewsReceiver {
    receiver: Receiver<News>,
    missed: Arc<AtomicU64>,
}

impl NewsReceiver {
    /// Returns the next news, if there is any: losses first, then the oldest.
    #[must_use]
    pub fn try_recv(&self) -> Option<News> {
        self.lagged().or_else(|| self.receiver.try_recv().ok())
    }

    /// Waits for the next news.
    ///
    /// # Errors
    /// There was none within `timeout`, or there is none and the driver has ended.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<News, RecvTimeoutError> {
        // Losses imply a full channel, so whoever empties it comes back here.
        self.lagged().map_or_else(|| self.receiver.recv_timeout(timeout), Ok)
    }

    fn lagged(&self) -> Option<News> {
        match self.missed.swap(0, Ordering::Relaxed) {
            0 => None,
            missed => Some(News::Lagged { missed }),
        }
    }
}

impl fmt::Debug for NewsSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewsSender").field("missed", &self.missed).finish_non_exhaustive()
    }
}

impl fmt::Debug for NewsReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewsReceiver").field("missed", &self.missed).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_channel_says_how_many_were_lost() {
        let (sender, receiver) = news_channel(2);
        for _ in 0..5 {
            sender.send(News::Map(Event::Full));
        }
        assert!(matches!(receiver.try_recv(), Some(News::Lagged { missed: 3 })));
        assert!(matches!(receiver.try_recv(), Some(News::Map(Event::Full))));
        assert!(matches!(receiver.recv_timeout(Duration::ZERO), Ok(News::Map(Event::Full))));
        assert!(receiver.try_recv().is_none());
        drop(sender);
        assert_eq!(
            receiver.recv_timeout(Duration::from_secs(9)).unwrap_err(),
            RecvTimeoutError::Disconnected
        );
    }
}
