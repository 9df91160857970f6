//! The wire format against packets assembled by hand from `docs/wire.md`, with a checksum of the tests' own.

mod documented;
mod golden;
mod members;
mod rejects;

use std::vec::Vec;

use super::{Body, Envelope, Reject, Shape, parse, seal};
use crate::id::{Key, Life, Slot, SlotSet};
use crate::map::{Map, MapConfig};
use crate::time::Instant;

const CLUSTER: u64 = 0x0807_0605_0403_0201;
/// Twelve bytes of value, so that a record ends in four bytes of padding.
const SHAPE: Shape = Shape { schema: 0x1122_3344, value_len: 12 };
const SLOTS: usize = 3;

/// We are slot 1; the peer is slot 2.
const OUR_LIFE: Life = Life { generation: 5, id: 0xb8b7_b6b5_b4b3_b2b1 };
const PEER_LIFE: Life = Life { generation: 3, id: 0xc8c7_c6c5_c4c3_c2c1 };
const PEER: Slot = Slot::at(2);

const KEY_A: Key = Key(*b"key-a-0123456789");
const KEY_B: Key = Key(*b"key-b-0123456789");

/// CRC-32 a bit at a time: reflected, polynomial 0x04c11db7, all ones before and inverted after.
fn crc32(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
    })
}

/// The bytes of a packet, with length and checksum filled in where the layout has them.
fn sealed(parts: &[&[u8]]) -> Vec<u8> {
    let mut packet = parts.concat();
    let length = packet.len() as u16;
    packet[20..22].copy_from_slice(&length.to_le_bytes());
    restore_crc(&mut packet);
    packet
}

fn restore_crc(packet: &mut [u8]) {
    let length = usize::from(u16::from_le_bytes([packet[20], packet[21]])).clamp(64, packet.len());
    let crc = crc32(packet[..4].iter().chain(&packet[8..length]).copied());
    packet[4..8].copy_from_slice(&crc.to_le_bytes());
}

/// The 64 bytes of a header by hand; length and checksum are filled in by [`sealed`].
fn header(kind: u8, flags: u8, from: Slot, to_life: u64, number: u64) -> Vec<u8> {
    let life = if from == PEER { PEER_LIFE } else { OUR_LIFE };
    [
        &[0x10][..],                    // 0: version 1.0
        &[kind],                        // 1: kind
        &[from.get()],                  // 2: slot
        &[flags],                       // 3: flags
        &[0, 0, 0, 0],                  // 4: CRC
        &[1, 2, 3, 4, 5, 6, 7, 8],      // 8: cluster
        &life.generation.to_le_bytes(), // 16: generation
        &[0, 0],                        // 20: length
        &[0],                           // 22: key id
        &[0],                           // 23: members
        &life.id.to_le_bytes(),         // 24: life id
        &to_life.to_le_bytes(),         // 32: the receiver's life id
        &number.to_le_bytes(),          // 40: packet number
        &[0; 16],                       // 48: MAC
    ]
    .concat()
}

/// Schema 0x11223344, value length 12, and a count.
fn shape(count: u8) -> [u8; 8] {
    [0x44, 0x33, 0x22, 0x11, 12, 0, count, 0]
}

/// A record by hand: 32 bytes, twelve of value, four of padding.
fn record(key: Key, [generation, sequence]: [u32; 2], term: u8, slot: u8, flags: u8, value: u8) -> Vec<u8> {
    [
        &key.0[..],                // 0: key
        &sequence.to_le_bytes(),   // 16: counter, low half
        &generation.to_le_bytes(), // 20: counter, high half
        &[term, 0, 0, 0],          // 24: term
        &[slot],                   // 28: slot
        &[flags],                  // 29: flags
        &[0, 0],                   // 30: reserved
        &[value; 12],              // 32: value
        &[0; 4],                   // 44: padding
    ]
    .concat()
}

/// A member entry by hand, of the first life of generation 3 that `slot` has.
fn entry(slot: u8, state: u8) -> Vec<u8> {
    [
        &[slot][..],        // 0: slot
        &[state],           // 1: state
        &[0, 0],            // 2: reserved
        &[4, 0, 0, 0],      // 4: incarnation
        &[3, 0, 0, 0],      // 8: generation
        &[0, 0, 0, 0],      // 12: who suspects it
        &[0xa0 + slot; 8],  // 16: life id
        &[0xd0 + slot; 24], // 24: address
        &[100, 0],          // 48: weight
        &[0xe0 + slot; 14], // 50: for the embedder
    ]
    .concat()
}

/// The version hash by the formula of the documentation: of counters of the version, counters held ahead, and the floor.
fn version_hash(version: &[(u64, u64)], ahead: &[(u64, u64)], floor: u64) -> [u8; 8] {
    let wrapped = |x: u128| x % (1 << 64);
    let term = |(place, word): (u64, u64)| {
        let mut x = u128::from(word) ^ wrapped(u128::from(place + 1) * 0x9e37_79b9_7f4a_7c15);
        x = wrapped((x ^ x >> 30) * 0xbf58_476d_1ce4_e5b9);
        x = wrapped((x ^ x >> 27) * 0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    };
    let ahead = ahead.iter().map(|&(slot, counter)| (64 + slot, counter));
    let terms = version.iter().copied().chain(ahead).chain([(128, floor), (129, 0x000c_1122_3344)]);
    (terms.map(term).sum::<u128>() as u64).to_le_bytes()
}

/// A packet of the peer's for us.
fn incoming(kind: u8, body: &[&[u8]]) -> Vec<u8> {
    sealed(&[&header(kind, 1, PEER, OUR_LIFE.id, 1), &body.concat()])
}

fn parsed(packet: &[u8]) -> Result<(Envelope, Body<'_>), Reject> {
    parse(packet, CLUSTER, &SHAPE, SLOTS)
}

fn rejected(packet: &[u8]) -> Option<Reject> {
    parsed(packet).err()
}

fn config(configured: SlotSet) -> MapConfig {
    MapConfig {
        slot: Slot::at(1),
        configured,
        life: OUR_LIFE,
        capacity: 16,
        shape: SHAPE,
        start_deadline: Instant::from_millis(1),
    }
}

fn build(configured: SlotSet) -> Map<'static, SLOTS> {
    let storage = std::vec![0; Map::<SLOTS>::words(16, &SHAPE)].leak();
    Map::new(storage, &config(configured)).expect("a valid configuration")
}

/// A map that has started with nobody to wait for.
fn active() -> Map<'static, SLOTS> {
    let mut map = build(SlotSet::EMPTY.with(Slot::at(1)));
    map.advance(Instant::ZERO);
    map.set_configured(SlotSet::first(SLOTS));
    map.set_live(SlotSet::first(SLOTS));
    map
}

/// Hands a packet to a map.
fn take(map: &mut Map<'_, SLOTS>, packet: &[u8]) -> Result<(), Reject> {
    let (envelope, body) = parsed(packet)?;
    map.admit(&envelope)?;
    let from = envelope.slot;
    match body {
        Body::Gossip => unreachable!("of no meaning to a map"),
        Body::Ping(probe) | Body::PingReq(probe) | Body::Ack(probe) => {
            map.on_version_hash(from, probe.version);
        }
        Body::Version(packet) => {
            map.on_version(from, &packet);
        }
        Body::Delta(packet) => {
            map.on_delta(&envelope, &packet)?;
        }
        Body::Push(packet) => {
            map.on_push(from, &packet)?;
        }
        Body::Digest(packet) => map.on_digest(from, &packet)?,
        Body::Repair(packet) => map.on_repair(from, &packet)?,
        Body::Report(packet) => map.on_report(from, &packet)?,
        Body::HistoryAsk(packet) => map.on_history_ask(from, &packet),
        Body::HistoryAnswer(packet) => {
            map.on_history_answer(from, &packet)?;
        }
        Body::LifeNotice(notice) => map.on_life_notice(notice),
    }
    Ok(())
}

/// What a writer of the map's made, sealed as packet number 7.
fn written(
    map: &mut Map<'static, SLOTS>,
    write: impl FnOnce(&mut Map<'static, SLOTS>, &mut [u8]) -> Option<(Envelope, usize)>,
) -> Vec<u8> {
    let mut frame = [0xee; 1_400];
    let (envelope, len) = write(map, &mut frame).expect("a packet is due");
    seal(&mut frame[..len], &envelope, CLUSTER, 7);
    frame[..len].to_vec()
}
