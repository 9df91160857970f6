//! Names of things: slots, sets of slots, lives, keys and addresses.
//!
//! Knows what identifies a server, a record and a cluster. Must not know how any of them is stored or sent.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::limits::SLOTS_MAX;

/// A server's place in the PoP, `0..64`, from configuration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u8);

impl Slot {
    /// Returns slot `index`, or `None` when it is not below 64.
    pub const fn new(index: u8) -> Option<Self> {
        if (index as usize) < SLOTS_MAX { Some(Self(index)) } else { None }
    }

    /// Returns slot `index` for an index already known to be below 64.
    ///
    /// # Panics
    /// When `index` is 64 or more.
    #[inline]
    pub const fn at(index: usize) -> Self {
        assert!(index < SLOTS_MAX);
        Self(index as u8)
    }

    /// Returns the slot's number, `0..64`, as an array index.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Returns the slot's number as it stands on the wire.
    #[inline]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S{}", self.0)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A set of slots, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct SlotSet(u64);

impl SlotSet {
    /// The empty set.
    pub const EMPTY: Self = Self(0);

    /// Returns the set whose members are the set bits of `bits`, slot 0 in the lowest.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Returns the first `n` slots.
    ///
    /// # Panics
    /// When `n` is above 64.
    pub const fn first(n: usize) -> Self {
        assert!(n <= SLOTS_MAX);
        if n == SLOTS_MAX { Self(u64::MAX) } else { Self((1 << n) - 1) }
    }

    /// Returns the bitmap, slot 0 in the lowest bit.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether `slot` is a member.
    pub const fn contains(self, slot: Slot) -> bool {
        self.0 >> slot.0 & 1 == 1
    }

    /// Adds `slot`.
    pub const fn insert(&mut self, slot: Slot) {
        self.0 |= 1 << slot.0;
    }

    /// Removes `slot`.
    pub const fn remove(&mut self, slot: Slot) {
        self.0 &= !(1 << slot.0);
    }

    /// Returns this set with `slot` added.
    #[must_use]
    pub const fn with(mut self, slot: Slot) -> Self {
        self.insert(slot);
        self
    }

    /// Returns this set with `slot` left out.
    #[must_use]
    pub const fn without(mut self, slot: Slot) -> Self {
        self.remove(slot);
        self
    }

    /// Returns the members that `other` has too.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns the members of either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the members that `other` lacks.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Returns the number of members.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether the set has no member.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the first member after `slot` in rotation (`slot` itself comes last), or `None` when empty.
    pub const fn next_after(self, slot: Slot) -> Option<Slot> {
        if self.0 == 0 {
            return None;
        }
        let turned = self.0.rotate_right((slot.0 as u32 + 1) % 64);
        Some(Slot(((slot.0 as u32 + 1 + turned.trailing_zeros()) % 64) as u8))
    }

    /// Returns the `n`-th member in ascending order, or `None` when there are no more than `n`.
    pub fn nth(self, n: usize) -> Option<Slot> {
        self.iter().nth(n)
    }

    /// Iterates the members in ascending order.
    pub fn iter(self) -> impl Iterator<Item = Slot> + Clone {
        let mut bits = self.0;
        core::iter::from_fn(move || {
            let slot = Slot(bits.trailing_zeros() as u8);
            (bits != 0).then(|| {
                bits &= bits - 1;
                slot
            })
        })
    }
}

impl fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl FromIterator<Slot> for SlotSet {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> Self {
        slots.into_iter().fold(Self::EMPTY, Self::with)
    }
}

/// One life of a server: from its start to its end (rule R4).
///
/// Lives of a slot are ordered by generation, then by id, so that of two lives in one slot all servers agree
/// which is the greater. All zero means "no life known".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Life {
    /// Rises each time the server in a slot starts; the high half of every counter written in this life.
    pub generation: u32,
    /// 64 random bits drawn at each start, never zero; tells two lives apart even when the generation does not.
    pub id: u64,
}

impl Life {
    /// No life: nothing has been heard.
    pub const NONE: Self = Self { generation: 0, id: 0 };

    /// Whether this is a life at all.
    pub const fn is_known(self) -> bool {
        self.id != 0
    }
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:016x}", self.generation, self.id)
    }
}

/// A record's key: 16 opaque bytes.
///
/// Names longer or shorter than that become keys through [`Key::from_name`]; short binary identities (an IPv6
/// address) can be used as they are.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(transparent)]
pub struct Key(pub [u8; 16]);

impl Key {
    /// Returns the key of a name: XXH3-128 with seed 0, as 16 little-endian bytes.
    ///
    /// The hash is part of the wire version: every server of a PoP turns a name into the same key.
    pub fn from_name(name: &[u8]) -> Self {
        Self(twox_hash::XxHash3_128::oneshot(name).to_le_bytes())
    }

    #[inline]
    pub(crate) fn from_words(words: [u64; 2]) -> Self {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&words[0].to_le_bytes());
        bytes[8..].copy_from_slice(&words[1].to_le_bytes());
        Self(bytes)
    }

    #[inline]
    pub(crate) fn words(self) -> [u64; 2] {
        let wide = u128::from_le_bytes(self.0);
        [wide as u64, (wide >> 64) as u64]
    }

    /// Returns the key's 64-bit mix: its place in the table, in the digests and in the priorities.
    ///
    /// Part of the wire version. With `lo` and `hi` the key's little-endian halves:
    /// `p = (lo ^ 0x9e3779b97f4a7c15) * (hi ^ 0xd1b54a32d192ed03)` in 128 bits, its two halves xored.
    #[inline]
    pub const fn mix(self) -> u64 {
        let wide = u128::from_le_bytes(self.0);
        let product = (wide as u64 ^ 0x9e37_79b9_7f4a_7c15) as u128
            * ((wide >> 64) as u64 ^ 0xd1b5_4a32_d192_ed03) as u128;
        product as u64 ^ (product >> 64) as u64
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Where a server is reached: 24 opaque bytes that only the IO side understands.
///
/// Core copies and compares addresses and never looks inside. Where a packet came from is a hint, not an identity.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct Address(pub [u8; 24]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotation_visits_every_member_once() {
        let set: SlotSet = [3, 0, 63, 17].into_iter().map(Slot::at).collect();
        let mut at = Slot::at(17);
        let mut seen = [0u8; 4];
        for place in &mut seen {
            at = set.next_after(at).unwrap();
            *place = at.get();
        }
        assert_eq!(seen, [63, 0, 3, 17]);
        assert_eq!(SlotSet::EMPTY.next_after(at), None);
        assert_eq!(SlotSet::first(64).next_after(Slot::at(63)), Some(Slot::at(0)));
    }

    #[test]
    fn lives_are_ordered_by_generation_then_id() {
        let life = |generation, id| Life { generation, id };
        assert!(life(2, 1) > life(1, 9));
        assert!(life(2, 2) > life(2, 1));
        assert!(life(0, 1) > Life::NONE);
    }
}
