//! Packets made by hand from the documented layout, for what no well-behaved map would send.
//!
//! Knows bytes and offsets. Must not use the writers of the code under test, the header's seal apart.

use aes_gcm::Aes128Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit};
use chacha20::{R20, hchacha};
use popmap_core::clock::Dot;
use popmap_core::wire::{Envelope, HEADER, Kind, seal};
use popmap_core::{Key, Life, Shape, Slot};

use crate::link::CLUSTER;

/// Returns a packet from the server in `from`, of life `life`, with `body` behind the header.
pub fn packet(kind: Kind, from: Slot, life: Life, to_life: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = [&[0; HEADER], body].concat();
    seal(&mut bytes, &Envelope { kind, slot: from, flags: 0, life, to_life }, CLUSTER, 1);
    bytes
}

/// Gives a packet whose bytes were changed the checksum that fits them.
///
/// # Panics
/// When it is shorter than 8 bytes.
pub fn restore_checksum(packet: &mut [u8]) {
    let crc = checksum(packet);
    packet[4..8].copy_from_slice(&crc.to_le_bytes());
}

/// Returns the checksum of a packet: over everything but its field.
///
/// # Panics
/// When it is shorter than 8 bytes.
pub fn checksum(packet: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&packet[..4]);
    crc.update(&packet[8..]);
    crc.finalize()
}

/// Gives a packet the key id, the number and the code of a key that only authenticates, by AES-128-GCM as the
/// documentation describes it. For a key of a row, `secret` is that of the pair.
///
/// # Panics
/// When it is shorter than a header.
pub fn authenticate(packet: &mut [u8], key_id: u8, secret: &[u8; 32], number: u64) {
    packet[4..8].fill(0);
    packet[22] = key_id;
    packet[40..48].copy_from_slice(&number.to_le_bytes());
    let tag = code(packet, key_id, secret, number);
    packet[48..HEADER].copy_from_slice(&tag);
}

fn code(packet: &[u8], key_id: u8, secret: &[u8; 32], number: u64) -> [u8; 16] {
    let slot = packet[2];
    let input = [&packet[24..32], &[slot, key_id, 1, 0, 0, 0, 0, 1]].concat();
    let subkey = hchacha::<R20>(secret.into(), input.as_slice().try_into().expect("8 + 8"));
    let nonce: [u8; 12] = [&[0; 4], &number.to_le_bytes()[..]].concat().try_into().expect("4 + 8");
    let associated = [&packet[..48], &packet[HEADER..]].concat();
    let cipher = Aes128Gcm::new(subkey.first_chunk::<16>().expect("of 32").into());
    let tag = cipher.encrypt_inout_detached(&nonce.into(), &associated, (&mut [][..]).into());
    tag.expect("far below the limit").into()
}

/// A record to be forged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its key.
    pub key: Key,
    /// Its dot.
    pub dot: Dot,
    /// Its term.
    pub term: u32,
    /// Its value; `None` for a tombstone.
    pub value: Option<Vec<u8>>,
}

impl Record {
    /// Returns its bytes.
    pub fn bytes(&self, shape: &Shape) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.append(shape, &mut bytes);
        bytes
    }

    fn append(&self, shape: &Shape, bytes: &mut Vec<u8>) {
        let end = bytes.len() + shape.record_len();
        bytes.extend(self.key.0);
        bytes.extend(self.dot.counter.to_le_bytes());
        bytes.extend(self.term.to_le_bytes());
        bytes.extend([self.dot.slot.get(), u8::from(self.value.is_none()), 0, 0]);
        bytes.extend(self.value.iter().flatten());
        bytes.resize(end, 0);
    }
}

/// A delta to be forged. Its log positions decide what its receiver makes of it beside merging its records.
#[derive(Clone, Debug)]
pub struct Delta<'r> {
    /// The sender.
    pub from: Slot,
    /// The sender's life.
    pub life: Life,
    /// The receiver's life id.
    pub to_life: u64,
    /// The range of the log, and its head.
    pub range: (u64, u64, u64),
    /// Bits of `DeltaFixed`.
    pub flags: u32,
    /// The records.
    pub records: &'r [Record],
    /// The sender's version: the dots that matter, slots ascending.
    pub version: &'r [Dot],
}

impl Delta<'_> {
    /// Returns the packet.
    pub fn packet(&self, shape: &Shape) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(shape.schema.to_le_bytes());
        bytes.extend(shape.value_len.to_le_bytes());
        bytes.extend((self.records.len() as u16).to_le_bytes());
        let (from, to, head) = self.range;
        [from, to, head].into_iter().for_each(|position| bytes.extend(position.to_le_bytes()));
        bytes.extend(0u32.to_le_bytes());
        bytes.extend(self.flags.to_le_bytes());
        self.records.iter().for_each(|record| record.append(shape, &mut bytes));
        let bitmap = self.version.iter().fold(0u64, |bits, dot| bits | 1 << dot.slot.get());
        bytes.extend(bitmap.to_le_bytes());
        self.version.iter().for_each(|dot| bytes.extend(dot.counter.to_le_bytes()));
        packet(Kind::Delta, self.from, self.life, self.to_life, &bytes)
    }
}
