//! The inbox: writes from any thread on their way to the driver, bounded.
//!
//! Knows keys, values and how many wait. Must not know what becomes of them.
//!
//! All that waits is taken at once, and handed over in as many parts as the driver likes: meanwhile as many again may
//! wait.

use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use popmap_core::auth::KeyRing;
use popmap_core::{Key, Meta, Slot, SlotSet};

/// Why a write was not queued. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum QueueError {
    /// As many writes wait as the queue holds: the driver is behind. Try again later, or drop the write.
    Full {
        /// What the queue holds.
        capacity: usize,
    },
    /// The value does not have the map's length.
    ValueLength {
        /// Bytes given.
        given: usize,
        /// Bytes of a value in this map.
        expected: usize,
    },
    /// The driver was told to stop, or has ended.
    Stopped,
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { capacity } => write!(f, "queue: {capacity} writes wait already"),
            Self::ValueLength { given, expected } => {
                write!(f, "value: {given} bytes given; this map's values have {expected}")
            }
            Self::Stopped => f.write_str("the driver has been stopped"),
        }
    }
}

impl std::error::Error for QueueError {}

/// What is to be written under a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Write<'v> {
    Put(&'v [u8]),
    Remove,
}

/// Writes in the order in which they were queued.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// Key, and whether it is a put: then the next value belongs to it.
    keys: Vec<(Key, bool)>,
    values: Vec<u8>,
    pub(super) meta: Option<Meta>,
    pub(super) ring: Option<Box<KeyRing>>,
    /// Slots to be forgotten.
    pub(super) forget: SlotSet,
    /// Keys, and bytes of values, that were handed over.
    done: (usize, usize),
}

impl Writes {
    /// Hands over the next writes, at most so many, and keeps the memory. Returns how many there were.
    pub(super) fn drain(
        &mut self,
        most: usize,
        value_len: usize,
        mut each: impl FnMut(Key, Write<'_>),
    ) -> usize {
        let (from, mut start) = self.done;
        let next = &self.keys[from..][..most.min(self.keys.len() - from)];
        for &(key, is_put) in next {
            if is_put {
                each(key, Write::Put(&self.values[start..start + value_len]));
                start += value_len;
            } else {
                each(key, Write::Remove);
            }
        }
        let count = next.len();
        self.done = (from + count, start);
        if self.done.0 == self.keys.len() {
            self.keys.clear();
            self.values.clear();
            self.done = (0, 0);
        }
        count
    }

    /// Whether everything was handed over.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

#[derive(Debug)]
pub(super) struct Inbox {
    writes: Mutex<Writes>,
    any: AtomicBool,
    /// Set under the lock, so that whoever sees it set finds all that was queued before.
    closed: AtomicBool,
    capacity: usize,
    value_len: usize,
}

impl Inbox {
    pub(super) fn new(capacity: usize, value_len: usize) -> Self {
        let [any, closed] = [false; 2].map(AtomicBool::new);
        Self { writes: Mutex::default(), any, closed, capacity, value_len }
    }

    fn lock(&self) -> MutexGuard<'_, Writes> {
        // Whole between any two statements that can panic: allocation alone.
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, key: Key, write: Write<'_>) -> Result<(), QueueError> {
        if let Write::Put(value) = write
            && value.len() != self.value_len
        {
            return Err(QueueError::ValueLength { given: value.len(), expected: self.value_len });
        }
        let mut writes = self.lock();
        if self.is_closed() {
            return Err(QueueError::Stopped);
        }
        if writes.keys.len() >= self.capacity {
            return Err(QueueError::Full { capacity: self.capacity });
        }
        if let Write::Put(value) = write {
            writes.values.extend_from_slice(value);
        }
        writes.keys.push((key, matches!(write, Write::Put(_))));
        self.any.store(true, Ordering::Release);
        Ok(())
    }

    pub(super) fn set_meta(&self, meta: Meta) -> Result<(), QueueError> {
        let mut writes = self.lock();
        if self.is_closed() {
            return Err(QueueError::Stopped);
        }
        writes.meta = Some(meta);
        self.any.store(true, Ordering::Release);
        Ok(())
    }

    pub(super) fn set_keys(&self, keys: KeyRing) -> Result<(), QueueError> {
        let mut writes = self.lock();
        if self.is_closed() {
            return Err(QueueError::Stopped);
        }
        writes.ring = Some(Box::new(keys));
        self.any.store(true, Ordering::Release);
        Ok(())
    }

    pub(super) fn forget(&self, slot: Slot) -> Result<(), QueueError> {
        let mut writes = self.lock();
        if self.is_closed() {
            return Err(QueueError::Stopped);
        }
        writes.forget.insert(slot);
        self.any.store(true, Ordering::Release);
        Ok(())
    }

    /// Exchanges what waits for `empty`; whether there was anything.
    pub(super) fn take(&self, empty: &mut Writes) -> bool {
        debug_assert!(empty.is_empty(), "what is not done yet would come after what is new");
        if !self.any.swap(false, Ordering::AcqRel) {
            return false;
        }
        mem::swap(&mut *self.lock(), empty);
        true
    }

    /// Takes nothing more.
    pub(super) fn close(&self) {
        let _writes = self.lock();
        self.closed.store(true, Ordering::Release);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(inbox: &Inbox, writes: &mut Writes) -> Vec<(u8, Option<u8>)> {
        let mut seen = Vec::new();
        inbox.take(writes);
        writes.drain(usize::MAX, inbox.value_len, |key, write| seen.push(noted(key, write)));
        seen
    }

    fn noted(key: Key, write: Write<'_>) -> (u8, Option<u8>) {
        match write {
            Write::Put(value) => (key.0[0], Some(value[0])),
            Write::Remove => (key.0[0], None),
        }
    }

    #[test]
    fn keeps_order_bounds_and_says_so() {
        let (inbox, mut writes) = (Inbox::new(3, 2), Writes::default());
        let key = |n| Key([n; 16]);
        inbox.push(key(1), Write::Put(&[10, 0])).unwrap();
        inbox.push(key(1), Write::Remove).unwrap();
        inbox.push(key(2), Write::Put(&[20, 0])).unwrap();
        assert_eq!(inbox.push(key(3), Write::Remove), Err(QueueError::Full { capacity: 3 }));
        assert_eq!(
            inbox.push(key(3), Write::Put(&[1])),
            Err(QueueError::ValueLength { given: 1, expected: 2 })
        );
        assert_eq!(drained(&inbox, &mut writes), [(1, Some(10)), (1, None), (2, Some(20))]);
        assert_eq!(drained(&inbox, &mut writes), []);
        inbox.push(key(4), Write::Put(&[40, 0])).unwrap();
        inbox.close();
        assert_eq!(inbox.push(key(5), Write::Remove), Err(QueueError::Stopped));
        assert_eq!(inbox.set_meta(Meta::default()), Err(QueueError::Stopped));
        assert_eq!(inbox.forget(Slot::at(0)), Err(QueueError::Stopped));
        // What was queued before is still handed over, and it stays closed.
        assert_eq!(drained(&inbox, &mut writes), [(4, Some(40))]);
        assert!(inbox.is_closed());
    }

    #[test]
    fn hands_over_in_parts() {
        let (inbox, mut writes) = (Inbox::new(9, 2), Writes::default());
        let expected: Vec<_> = (0..7u8).map(|n| (n, (n % 3 > 0).then_some(10 * n))).collect();
        for round in 0..2 {
            for &(n, value) in &expected {
                let value = value.map(|value| [value, 0]);
                inbox
                    .push(Key([n; 16]), value.as_ref().map_or(Write::Remove, |value| Write::Put(value)))
                    .unwrap();
            }
            assert!(writes.is_empty() && inbox.take(&mut writes));
            let (mut seen, mut counts) = (Vec::new(), Vec::new());
            while !writes.is_empty() {
                counts.push(writes.drain(3, 2, |key, write| seen.push(noted(key, write))));
            }
            assert_eq!((seen, counts), (expected.clone(), vec![3, 3, 1]), "round {round}");
            assert_eq!(writes.drain(3, 2, |_, _| unreachable!()), 0);
        }
    }
}
