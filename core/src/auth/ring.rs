//! The keys that a server has at a time, and the order in which they may be exchanged.

use core::fmt;
use core::num::NonZeroU8;

use heapless::Vec;

use super::AuthKey;
use crate::id::{Slot, SlotSet};

/// Keys that a server may have at a time. A rotation takes two.
pub const KEYS_MAX: usize = 4;

/// Up to four keys: packets under any of them are taken, and one of them is sent with.
#[derive(Clone)]
pub struct KeyRing {
    keys: Vec<AuthKey, KEYS_MAX>,
    sending: usize,
}

impl KeyRing {
    /// Returns a ring of `keys` that sends with the one whose id is `sending`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(keys: impl IntoIterator<Item = AuthKey>, sending: NonZeroU8) -> Result<Self, KeyRingError> {
        let mut ring = Vec::<AuthKey, KEYS_MAX>::new();
        for key in keys {
            if ring.iter().any(|other| other.id() == key.id()) {
                return Err(KeyRingError::Duplicate(key.id()));
            }
            ring.push(key).map_err(|_| KeyRingError::TooMany)?;
        }
        let place = ring.iter().position(|key| key.id() == sending);
        Ok(Self { sending: place.ok_or(KeyRingError::NotThere(sending))?, keys: ring })
    }

    /// Whether every key is a row: then nobody else's packets are taken for this server's.
    #[must_use]
    pub fn binds(&self) -> bool {
        self.keys.iter().all(|key| key.slot().is_some())
    }

    /// Returns the keys.
    #[must_use]
    pub fn keys(&self) -> &[AuthKey] {
        &self.keys
    }

    /// Returns the key that is sent with.
    #[must_use]
    pub fn sending(&self) -> &AuthKey {
        &self.keys[self.sending]
    }

    /// Returns the key with this id.
    #[must_use]
    pub fn get(&self, id: u8) -> Option<&AuthKey> {
        self.keys.iter().find(|key| key.id().get() == id)
    }

    /// Whether a server in `slot` may use these keys: a row is one slot's alone.
    pub(crate) fn check_slot(&self, slot: Slot) -> Result<(), RotationError> {
        match self.keys.iter().find(|key| key.slot().is_some_and(|of| of != slot)) {
            Some(key) => Err(RotationError::OtherSlot { id: key.id(), slot }),
            None => Ok(()),
        }
    }

    /// Whether `next` may follow this ring without a server's being cut off: a key is accepted everywhere before it is
    /// sent with, and sent with nowhere before it is dropped. `users` are the live servers that last sent with a key of
    /// this id.
    pub(crate) fn check_next(
        &self,
        next: &Self,
        users: impl Fn(NonZeroU8) -> SlotSet,
    ) -> Result<(), RotationError> {
        for key in &next.keys {
            if self.get(key.id().get()).is_some_and(|known| !known.is_same(key)) {
                return Err(RotationError::Changed(key.id()));
            }
        }
        let sending = next.sending().id();
        if self.get(sending.get()).is_none() {
            return Err(RotationError::NotAccepted(sending));
        }
        let dropped = |id: NonZeroU8| next.get(id.get()).is_none();
        let ours = self.sending().id();
        if dropped(ours) {
            return Err(RotationError::StillSent(ours));
        }
        for id in self.keys.iter().map(AuthKey::id).filter(|&id| dropped(id)) {
            if let Some(slot) = users(id).iter().next() {
                return Err(RotationError::InUse { id, slot });
            }
        }
        Ok(())
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("keys", &self.keys).field("sending", &self.sending().id()).finish()
    }
}

/// Why keys make no ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum KeyRingError {
    /// Two keys have one id.
    Duplicate(NonZeroU8),
    /// There are more than [`KEYS_MAX`].
    TooMany,
    /// None has the id that is to be sent with.
    NotThere(NonZeroU8),
}

impl fmt::Display for KeyRingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate(id) => write!(f, "keys: two have the id {id}; each needs one of its own"),
            Self::TooMany => write!(f, "keys: at most {KEYS_MAX} are possible at a time"),
            Self::NotThere(id) => write!(f, "keys: {id} is to be sent with and is not among them"),
        }
    }
}

impl core::error::Error for KeyRingError {}

/// Why a server does not take other keys. It goes on with those that it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RotationError {
    /// The node was built without keys: whether packets are authenticated is decided at the start.
    NoKeys,
    /// A row of another slot.
    OtherSlot {
        /// The key.
        id: NonZeroU8,
        /// Our slot.
        slot: Slot,
    },
    /// A key of this id is in use, with other bytes or another algorithm.
    Changed(NonZeroU8),
    /// The key to be sent with is new here, so perhaps elsewhere too: first it has to be accepted everywhere.
    NotAccepted(NonZeroU8),
    /// The key that was sent with until now is to be dropped at once: packets on their way would be lost, and those of
    /// servers that have not changed yet. First another has to be sent with, everywhere.
    StillSent(NonZeroU8),
    /// A live server still sends with the key that is to be dropped.
    InUse {
        /// The key.
        id: NonZeroU8,
        /// The server.
        slot: Slot,
    },
}

impl fmt::Display for RotationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKeys => f.write_str("keys: this node was built without any; keys are given at its start"),
            Self::OtherSlot { id, slot } => {
                write!(f, "key {id}: a row of another slot; a server in {slot} needs the row of {slot}")
            }
            Self::Changed(id) => {
                write!(
                    f,
                    "key {id}: other bytes or another algorithm than the key {id} in use; give it a new id"
                )
            }
            Self::NotAccepted(id) => {
                write!(
                    f,
                    "key {id}: to be sent with, but not accepted here yet; add it on every server first"
                )
            }
            Self::StillSent(id) => {
                write!(
                    f,
                    "key {id}: to be dropped while it is sent with; send with another on every server first"
                )
            }
            Self::InUse { id, slot } => {
                write!(f, "key {id}: to be dropped, but the server in {slot} still sends with it")
            }
        }
    }
}

impl core::error::Error for RotationError {}
