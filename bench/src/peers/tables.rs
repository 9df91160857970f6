//! Tables that are read while another thread writes: `papaya`, `dashmap`, a lock around hashbrown; and hashbrown itself,
//! which cannot be.
//!
//! With their own hasher, std's, or with that of hashbrown, which is faster.

use std::hash::{BuildHasher, RandomState};
use std::sync::{PoisonError, RwLock};

use hashbrown::{DefaultHashBuilder, HashMap};

use super::shared::{Key, Value};

/// A table that readers share with a writer.
pub trait Table: Sync {
    /// Sets a key's value.
    fn set(&self, key: Key, value: Value);
    /// Returns a copy of a key's value.
    fn get(&self, key: &Key) -> Option<Value>;
}

/// `papaya`.
#[derive(Default)]
pub struct Papaya<S = RandomState>(papaya::HashMap<Key, Value, S>);

/// `papaya` with hashbrown's hasher.
pub type PapayaFoldhash = Papaya<DefaultHashBuilder>;

impl<S: BuildHasher + Send + Sync> Table for Papaya<S> {
    fn set(&self, key: Key, value: Value) {
        self.0.pin().insert(key, value);
    }

    #[inline]
    fn get(&self, key: &Key) -> Option<Value> {
        self.0.pin().get(key).copied()
    }
}

/// `dashmap`.
#[derive(Default)]
pub struct DashMap<S: BuildHasher + Clone = RandomState>(dashmap::DashMap<Key, Value, S>);

/// `dashmap` with hashbrown's hasher.
pub type DashMapFoldhash = DashMap<DefaultHashBuilder>;

impl<S: BuildHasher + Clone + Send + Sync> Table for DashMap<S> {
    fn set(&self, key: Key, value: Value) {
        self.0.insert(key, value);
    }

    #[inline]
    fn get(&self, key: &Key) -> Option<Value> {
        self.0.get(key).map(|value| *value)
    }
}

/// hashbrown in a [`RwLock`].
#[derive(Default)]
pub struct Locked(RwLock<HashMap<Key, Value>>);

impl Table for Locked {
    fn set(&self, key: Key, value: Value) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(key, value);
    }

    #[inline]
    fn get(&self, key: &Key) -> Option<Value> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::shared::{key, value};

    #[test]
    fn what_is_set_is_read() {
        let (papaya, dashmap) = (Papaya::<RandomState>::default(), DashMap::<RandomState>::default());
        let (papaya_foldhash, dashmap_foldhash) = (PapayaFoldhash::default(), DashMapFoldhash::default());
        let tables: [&dyn Table; 5] =
            [&papaya, &papaya_foldhash, &dashmap, &dashmap_foldhash, &Locked::default()];
        for table in tables {
            assert_eq!(table.get(&key(1)), None);
            table.set(key(1), value(1));
            table.set(key(1), value(2));
            assert_eq!(table.get(&key(1)), Some(value(2)));
        }
    }
}
