//! What the peers with packets of their own have in common: as many records in a packet, of the same keys and values.

use crate::stream;

/// Records of such a packet: what 1,472 bytes hold at 48 bytes each.
pub const RECORDS: usize = 30;

/// A key: that of popmap with the same number.
pub type Key = [u8; 16];
/// A value of the same length as popmap's.
pub type Value = [u8; 24];

/// Returns the key with this number.
#[must_use]
pub fn key(i: u64) -> Key {
    stream::key(i).0
}

/// Returns a value of a change with this number.
#[must_use]
pub fn value(change: u64) -> Value {
    let mut value = [0; 24];
    value[..8].copy_from_slice(&change.to_le_bytes());
    value
}
