//! The worked examples in `docs/wire.md` are what the writers make.

use std::vec::Vec;

use core::num::NonZeroU8;

use super::{CLUSTER, OUR_LIFE, PEER, PEER_LIFE, crc32, golden};
use crate::auth::{AuthKey, Row};
use crate::id::Slot;
use crate::wire::{Envelope, HEADER, Kind, Probe, ProbeFixed, numbered, seal_with_key};

const DOCUMENT: &str = include_str!("../../../docs/wire.md");

/// Returns the bytes of the example under `heading`; its lines are "offset  hex bytes | meaning".
fn example(heading: &str) -> Vec<u8> {
    let (_, after) = DOCUMENT.split_once(heading).expect("the heading");
    let block = after.split("```").nth(1).expect("a block under the heading");
    let mut bytes = Vec::new();
    for line in block.lines().filter(|line| line.contains('|')) {
        let (data, _) = line.split_once('|').expect("a line with a meaning");
        let mut fields = data.split_whitespace();
        let offset: usize = fields.next().expect("an offset").parse().expect("a decimal offset");
        assert_eq!(offset, bytes.len(), "{line}");
        bytes.extend(fields.map(|byte| u8::from_str_radix(byte, 16).expect("a hex byte")));
    }
    bytes
}

fn check(example: &[u8], made: &[u8]) {
    assert_eq!(example, made);
    let crc = crc32(example[..4].iter().chain(&example[8..]).copied());
    assert_eq!(example[4..8], crc.to_le_bytes());
}

#[test]
fn the_version() {
    check(&example("### A version, byte by byte"), &golden::version());
}

#[test]
fn the_delta() {
    check(&example("### A delta, byte by byte"), &golden::delta());
}

/// Our ping of the peer, as the seventh packet for it.
fn ping(key: &AuthKey) -> Vec<u8> {
    let probe = Probe { number: 9, target: PEER, owed: 0, version: 0xc4a4_43e9_e2ec_9068 };
    let mut packet = [&[0; HEADER], zerocopy::IntoBytes::as_bytes(&ProbeFixed::from(&probe))].concat();
    let (slot, number) = (Slot::at(1), numbered(7, Some(PEER)));
    let envelope = Envelope { kind: Kind::Ping, slot, flags: 1, life: OUR_LIFE, to_life: PEER_LIFE.id };
    let (cipher, subkey) = (key.cipher(), key.subkey(slot, OUR_LIFE.id, Some(PEER)));
    seal_with_key(&mut packet, &envelope, CLUSTER, number, 0, key.id().get(), |head, body| {
        if key.encrypts() {
            cipher.encrypt(&subkey.0, number, head, body)
        } else {
            cipher.tag(&subkey.0, number, head, body)
        }
    });
    packet
}

/// The bytes were computed by OpenSSL's AES-128-GCM, and HChaCha20 written for it from its description.
#[test]
fn authenticated_pings() {
    let secret = core::array::from_fn(|at| at as u8);
    let key = AuthKey::shared(NonZeroU8::new(3).unwrap(), secret);
    assert_eq!(example("### An authenticated ping, byte by byte"), ping(&key));
    assert_eq!(example("### The same, encrypted"), ping(&key.encrypted(true)));
}

#[test]
fn the_secrets_of_a_row() {
    let (master, id) = (core::array::from_fn(|at| at as u8), NonZeroU8::new(3).unwrap());
    let mut row = [0; Row::LEN];
    Row::derive(&master, id, Slot::at(2)).write_to(&mut row);
    assert_eq!(example("### The secrets of a row"), [&row[..32], &row[64..96]].concat());
}

/// The check value that catalogues of CRCs give for this one.
#[test]
fn the_checksum() {
    assert_eq!(crc32(b"123456789".iter().copied()), 0xcbf4_3926);
}
