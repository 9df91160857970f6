//! What a probe says of the map: a hash of all that its sender's version says, so that servers which are equal find
//! that out without sending versions.
//!
//! An equal hash is taken as a version equal to ours, whose sender has walked our whole log and asks for nothing. An
//! unequal one says nothing that the map could use.

use super::Map;
use super::peer::Noted;
use crate::id::Slot;
use crate::limits::SLOTS_MAX;
use crate::teeth::Tooth;
use crate::wire::{Envelope, Kind, Probe, ProbeFixed, Writer};

/// Where the terms of the hash come from: a slot's counter of the version, of HELD, the floor, the shape, a slot's forgotten
/// lives.
const HELD: usize = SLOTS_MAX;
const FLOOR: usize = 2 * SLOTS_MAX;
const SHAPE: usize = FLOOR + 1;
const FORGOTTEN: usize = SHAPE + 1;

/// One term of the hash: for each place a permutation of the words (the finalizer of splitmix64, Steele et al. 2014).
fn term(place: usize, word: u64) -> u64 {
    let x = word ^ (place as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

impl<const N: usize> Map<'_, N> {
    /// Returns the hash of our version, of what we hold ahead of it, the floor, the shape and the lives that were forgotten;
    /// never 0. Part of the wire
    /// version.
    ///
    /// A sum, so replicas that differ in one slot's counter alone never hash alike, and any two that differ with a chance
    /// of 2^-64. Worked out anew each time: that is some 100 ns, a few dozen times a second, and a hash that lagged behind
    /// the version would be taken for knowledge.
    pub fn version_hash(&self) -> u64 {
        let (version, held) = (&self.state.version, &self.state.held);
        let shape = u64::from(self.shape.schema) | u64::from(self.shape.value_len) << 32;
        let mut hash = term(FLOOR, self.state.floor.into()).wrapping_add(term(SHAPE, shape));
        let skipped = usize::from(self.broken(Tooth::HashOmitsSlot));
        for (place, &counter) in version.counters().iter().enumerate().skip(skipped) {
            if counter > 0 {
                hash = hash.wrapping_add(term(place, counter));
            }
        }
        for slot in held.exceeding(version).iter() {
            hash = hash.wrapping_add(term(HELD + slot.index(), held.get(slot)));
        }
        let forgotten = self.forgotten();
        for slot in forgotten.occupied().iter() {
            hash = hash.wrapping_add(term(FORGOTTEN + slot.index(), forgotten.get(slot)));
        }
        hash.max(1)
    }

    /// Fills `frame` with a probe of `kind` for `to`. Returns its header and length, or `None` if it is too short.
    pub fn write_probe(
        &self,
        kind: Kind,
        to: Slot,
        probe: &Probe,
        frame: &mut [u8],
    ) -> Option<(Envelope, usize)> {
        // An ack that was on its way to an earlier life of the prober's must not count for this one.
        let to_life = if kind == Kind::Ack { self.life_of(to).id } else { 0 };
        let mut writer = Writer::new(frame)?;
        if writer.room() < size_of::<ProbeFixed>() {
            return None;
        }
        let at = writer.reserve::<ProbeFixed>();
        writer.fill(at, &ProbeFixed::from(probe));
        Some((self.envelope(kind, to_life), writer.len()))
    }

    /// Takes the hash that a probe of `from` carries. Returns whether it is ours: then `from` accounts for all that we
    /// do, and for no more.
    ///
    /// What follows from that is what would follow from its version. Like that it was true when it was sent and stays true
    /// for that life, and [`admit`](Self::admit) has seen to it that it is the life which we know.
    pub fn on_version_hash(&mut self, from: Slot, hash: u64) -> bool {
        if hash != self.version_hash() {
            return false;
        }
        if self.state.peers[from.index()].equal != Noted(hash) {
            let (ours, floor) = (self.state.version, self.state.floor);
            self.note_version(from, &ours, floor);
            self.state.peers[from.index()].equal = Noted(hash);
        }
        true
    }
}
