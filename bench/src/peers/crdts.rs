//! The crate `crdts`: its map of multi-value registers, its last-writer-wins register in a std table, its vector clock.
//!
//! What is sent is encoded by bincode; crdts leaves that to its users.

use std::collections::HashMap;

use bincode::config::{Configuration, Fixint, LittleEndian};
use bincode::serde::{decode_from_slice, encode_to_vec};
use crdts::{CmRDT, CvRDT, Dot, LWWReg, MVReg, Map, VClock, map, mvreg};

use super::shared::{Key, Value, key, value};

const CODING: Configuration<LittleEndian, Fixint> = bincode::config::standard().with_fixed_int_encoding();

type Actor = u8;
type Op = map::Op<Key, MVReg<Value, Actor>, Actor>;

/// Writes operations for a [`Map`] as some actors would that know of each other's.
pub struct MapWriter {
    actors: u64,
    clock: VClock<Actor>,
}

impl MapWriter {
    /// Returns so many actors that wrote nothing yet.
    #[must_use]
    pub fn new(actors: u64) -> Self {
        Self { actors, clock: VClock::new() }
    }

    /// Encodes a packet that sets these keys.
    ///
    /// # Panics
    /// When the encoder fails.
    pub fn packet(&mut self, keys: &[u64]) -> Vec<u8> {
        let ops: Vec<Op> = keys.iter().map(|&i| self.set(i)).collect();
        encode_to_vec(&ops, CODING).expect("operations can be encoded")
    }

    fn set(&mut self, i: u64) -> Op {
        let actor = (i % self.actors) as Actor;
        let dot: Dot<Actor> = self.clock.inc(actor);
        self.clock.apply(dot);
        let val = value(dot.counter);
        let op = mvreg::Op::Put { clock: self.clock.clone(), val };
        map::Op::Up { dot, key: key(i), op }
    }
}

/// A replica of a [`Map`].
#[derive(Default)]
pub struct MapReader(Map<Key, MVReg<Value, Actor>, Actor>);

impl MapReader {
    /// Decodes a packet and applies its operations.
    ///
    /// # Panics
    /// When it cannot be decoded.
    pub fn take(&mut self, packet: &[u8]) {
        let (ops, _): (Vec<Op>, _) = decode_from_slice(packet, CODING).expect("the packet is valid");
        ops.into_iter().for_each(|op| self.0.apply(op));
    }

    /// Returns the number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len().val
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The register of one key: a value, and the counter and slot of its writer.
type Register = LWWReg<Value, (u64, u8)>;

/// Encodes a packet that sets these keys at this time, by some writers.
///
/// # Panics
/// When the encoder fails.
#[must_use]
pub fn register_packet(keys: &[u64], time: u64, writers: u64) -> Vec<u8> {
    let register = |&i: &u64| {
        let register = Register { val: value(time), marker: (time, (i % writers) as u8) };
        (key(i), register)
    };
    let registers: Vec<(Key, Register)> = keys.iter().map(register).collect();
    encode_to_vec(&registers, CODING).expect("registers can be encoded")
}

/// A std table of registers.
#[derive(Default)]
pub struct Registers(HashMap<Key, Register>);

impl Registers {
    /// Decodes a packet and merges its registers.
    ///
    /// # Panics
    /// When it cannot be decoded.
    pub fn take(&mut self, packet: &[u8]) {
        let (registers, _): (Vec<(Key, Register)>, _) =
            decode_from_slice(packet, CODING).expect("the packet is valid");
        for (key, register) in registers {
            match self.0.entry(key) {
                std::collections::hash_map::Entry::Occupied(mut mine) => mine.get_mut().merge(register),
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(register);
                }
            }
        }
    }

    /// Returns the time of a key's last change.
    #[must_use]
    pub fn time(&self, i: u64) -> Option<u64> {
        Some(self.0.get(&key(i))?.marker.0)
    }
}

/// Returns the vector clock with these counters, one a slot.
#[must_use]
pub fn clock(counters: &[u64]) -> VClock<Actor> {
    VClock { dots: counters.iter().enumerate().map(|(slot, &counter)| (slot as Actor, counter)).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_and_registers_arrive() {
        let (mut writer, mut reader) = (MapWriter::new(3), MapReader::default());
        let keys: Vec<u64> = (0..30).collect();
        for _ in 0..2 {
            reader.take(&writer.packet(&keys));
            assert_eq!(reader.len(), 30);
        }
        // Key 7 is the third of ten that actor 1 writes in each round.
        assert_eq!(reader.0.get(&key(7)).val.unwrap().read().val, [value(13)]);
        let mut registers = Registers::default();
        registers.take(&register_packet(&keys, 5, 3));
        registers.take(&register_packet(&keys[1..], 6, 3));
        assert_eq!([0, 1, 30].map(|i| registers.time(i)), [Some(5), Some(6), None]);
    }
}
