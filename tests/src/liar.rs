//! A stolen server: whoever has its key says in its name what it likes, in packets that are valid to the last byte.
//!
//! Knows the documented layout and one server's key. Must not know another's.

use std::num::NonZeroU8;

use popmap_core::auth::{AuthKey, Row};
use popmap_core::clock::Dot;
use popmap_core::wire::{Envelope, HEADER, Kind, MEMBER, VersionFixed, numbered, seal_with_key};
use popmap_core::{Life, Reject, Shape, Slot};

use crate::cluster::Cluster;
use crate::forge::{Delta, Record};

/// The master of the rows.
pub const MASTER: [u8; 32] = [0x5e; 32];
/// The cluster of [`Cluster`].
const CLUSTER: u64 = 0x00c1;
/// What the node itself has counted by then is far below.
const FIRST: u64 = 1 << 30;

/// A stolen server.
#[derive(Debug)]
pub struct Liar {
    key: AuthKey,
    /// Its slot.
    pub slot: Slot,
    /// Its life.
    pub life: Life,
    sent: u64,
}

/// Counters of slots, as a version in sparse form.
pub fn sparse(version: &[Dot]) -> Vec<u8> {
    let bitmap = version.iter().fold(0u64, |bits, dot| bits | 1 << dot.slot.get());
    let mut bytes = bitmap.to_le_bytes().to_vec();
    version.iter().for_each(|dot| bytes.extend(dot.counter.to_le_bytes()));
    bytes
}

fn map_shape(shape: &Shape, count: usize) -> Vec<u8> {
    let mut bytes = shape.schema.to_le_bytes().to_vec();
    bytes.extend(shape.value_len.to_le_bytes());
    bytes.extend((count as u16).to_le_bytes());
    bytes
}

/// Returns the body of a version: the counters that are claimed, and a floor.
pub fn version(shape: &Shape, dots: &[Dot], floor: u32) -> Vec<u8> {
    let mut bytes = map_shape(shape, 0);
    bytes.extend([0; 16]);
    bytes.extend(1u16.to_le_bytes());
    bytes.extend(0u16.to_le_bytes());
    bytes.extend(floor.to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(sparse(dots));
    bytes
}

/// Returns the body of a version that says which lives were forgotten: of each slot all up to the dot's generation.
pub fn forgotten(shape: &Shape, dots: &[Dot]) -> Vec<u8> {
    let mut bytes = version(shape, &[], 0);
    bytes[26..28].copy_from_slice(&VersionFixed::FORGETS.to_le_bytes());
    let last = |dot: &Dot| Dot { counter: dot.counter | u64::from(u32::MAX), ..*dot };
    bytes.extend(sparse(&dots.iter().map(last).collect::<Vec<_>>()));
    bytes
}

/// Returns the body of a question about `buckets` buckets of a map in 2^`bits`, none of which is as asked.
pub fn digest(shape: &Shape, bits: u8, buckets: usize) -> Vec<u8> {
    let mut bytes = map_shape(shape, buckets);
    bytes.extend(7u64.to_le_bytes());
    bytes.extend(0u32.to_le_bytes());
    bytes.extend([bits, 0, 0, 0]);
    bytes.extend(vec![0x99; 8 * buckets]);
    bytes
}

/// Returns the body of a push of one record.
pub fn push(shape: &Shape, record: &Record) -> Vec<u8> {
    let mut bytes = map_shape(shape, 1);
    bytes.extend(0u64.to_le_bytes());
    bytes.extend(record.dot.counter.to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(record.bytes(shape));
    bytes
}

/// Returns the body of word that `life` is in `slot`.
pub fn notice(slot: Slot, life: Life) -> Vec<u8> {
    let mut bytes = life.generation.to_le_bytes().to_vec();
    bytes.extend([slot.get(), 0, 0, 0]);
    bytes.extend(life.id.to_le_bytes());
    bytes
}

/// Returns an entry of a member: `state` is 1 alive, 2 suspect, 3 dead, 4 left.
pub fn member(slot: Slot, life: Life, incarnation: u32, state: u8) -> [u8; MEMBER] {
    let mut bytes = [0; MEMBER];
    (bytes[0], bytes[1]) = (slot.get(), state);
    bytes[4..8].copy_from_slice(&incarnation.to_le_bytes());
    bytes[8..12].copy_from_slice(&life.generation.to_le_bytes());
    bytes[16..24].copy_from_slice(&life.id.to_le_bytes());
    bytes
}

impl Liar {
    /// Takes over the server in `slot`, in its present life; with its row, or with the key that all share.
    ///
    /// # Panics
    /// When it does not run.
    pub fn steal<const N: usize>(pop: &mut Cluster<'_, N>, slot: Slot, row: bool) -> Self {
        let life = pop.node(slot).map().life();
        let id = NonZeroU8::MIN;
        let key = match row {
            true => AuthKey::row(id, Row::derive(&MASTER, id, slot)),
            false => AuthKey::shared(id, MASTER),
        };
        pop.kill(slot);
        Self::with_key(key, slot, life)
    }

    /// Speaks for `slot` in `life` by `key`.
    pub fn with_key(key: AuthKey, slot: Slot, life: Life) -> Self {
        Self { key, slot, life, sent: FIRST }
    }

    /// Returns a packet for the server in `to`, whose life id is `to_life`; the last `members` entries of `body` are
    /// members.
    pub fn packet(&mut self, kind: Kind, to: Slot, to_life: u64, body: &[u8], members: u8) -> Vec<u8> {
        self.sent += 1;
        let mut packet = [&[0; HEADER], body].concat();
        let envelope = Envelope { kind, slot: self.slot, flags: 1, life: self.life, to_life };
        let number = numbered(self.sent, Some(to));
        let subkey = self.key.subkey(self.slot, self.life.id, Some(to));
        seal_with_key(&mut packet, &envelope, CLUSTER, number, members, 1, |head, body| {
            self.key.cipher().tag(subkey.bytes(), number, head, body)
        });
        packet
    }

    /// Says `body` to the server in `to`.
    ///
    /// # Errors
    /// Why it was not taken.
    pub fn say<const N: usize>(
        &mut self,
        pop: &mut Cluster<'_, N>,
        to: Slot,
        (kind, body): (Kind, &[u8]),
    ) -> Result<(), Reject> {
        let to_life = pop.node(to).map().life().id;
        let packet = self.packet(kind, to, to_life, body, 0);
        pop.deliver_to(to, self.slot, &packet)
    }

    /// Tells the server in `to` of members.
    ///
    /// # Errors
    /// Why it was not taken.
    pub fn gossip<const N: usize>(
        &mut self,
        pop: &mut Cluster<'_, N>,
        to: Slot,
        members: &[[u8; MEMBER]],
    ) -> Result<(), Reject> {
        let to_life = pop.node(to).map().life().id;
        let body = [&[0; 16], members.as_flattened()].concat();
        let packet = self.packet(Kind::Gossip, to, to_life, &body, members.len() as u8);
        pop.deliver_to(to, self.slot, &packet)
    }

    /// Sends the server in `to` a whole delta: these records, and these counters to commit.
    ///
    /// # Errors
    /// Why it was not taken.
    pub fn commit<const N: usize>(
        &mut self,
        pop: &mut Cluster<'_, N>,
        to: Slot,
        shape: &Shape,
        (records, version): (&[Record], &[Dot]),
    ) -> Result<(), Reject> {
        // From a scan and complete: a walk that needs nothing before it.
        let range = (0, 1 << 40, 1 << 40);
        let delta =
            Delta { from: self.slot, life: self.life, to_life: 1, range, flags: 0b1110, records, version };
        let body = delta.packet(shape).split_off(HEADER);
        self.say(pop, to, (Kind::Delta, &body))
    }
}
