//! The worked examples of AEGIS-128L in core's `docs/wire.md` are what the writers make.

use std::num::NonZeroU8;

use popmap_core::auth::AuthKey;
use popmap_core::wire::{Envelope, HEADER, Kind, numbered, seal_with_key};
use popmap_core::{Life, Slot};

use super::Aegis128L;

const DOCUMENT: &str = include_str!("../../../core/docs/wire.md");

/// Returns the bytes of the example under `heading`; its lines are "offset  hex bytes | meaning".
fn example(heading: &str) -> Vec<u8> {
    let (_, after) = DOCUMENT.split_once(heading).expect("the heading");
    let block = after.split("```").nth(1).expect("a block under the heading");
    let lines = block.lines().filter_map(|line| line.split_once('|'));
    let bytes = lines.flat_map(|(data, _)| data.split_whitespace().skip(1));
    bytes.map(|byte| u8::from_str_radix(byte, 16).expect("a hex byte")).collect()
}

/// The bytes were computed by an implementation written for it from draft-irtf-cfrg-aegis-aead, which has that draft's
/// vectors for the AEAD and for AEGIS-MAC.
#[test]
fn authenticated_pings() {
    let key = AuthKey::shared(NonZeroU8::new(3).unwrap(), std::array::from_fn(|at| at as u8));
    let key = key.with_cipher(&Aegis128L);
    for (heading, encrypts) in
        [("### The same with AEGIS-128L\n", false), ("### The same with AEGIS-128L, encrypted\n", true)]
    {
        let (key, slot, receiver) = (key.clone().encrypted(encrypts), Slot::at(1), Slot::at(2));
        let life = Life { generation: 5, id: 0xb8b7_b6b5_b4b3_b2b1 };
        let to_life = 0xc8c7_c6c5_c4c3_c2c1;
        // Number 9 for slot 2, and the version hash.
        let body = [9, 0, 0, 0, 2, 0, 0, 0, 0x68, 0x90, 0xec, 0xe2, 0xe9, 0x43, 0xa4, 0xc4];
        let mut packet = [&[0; HEADER][..], &body].concat();
        let number = numbered(7, Some(receiver));
        let envelope = Envelope { kind: Kind::Ping, slot, flags: 1, life, to_life };
        let subkey = key.subkey(slot, life.id, Some(receiver));
        seal_with_key(&mut packet, &envelope, 0x0807_0605_0403_0201, number, 0, 3, |head, body| {
            let cipher = key.cipher();
            if encrypts {
                cipher.encrypt(subkey.bytes(), number, head, body)
            } else {
                cipher.tag(subkey.bytes(), number, head, body)
            }
        });
        assert_eq!(packet, example(heading), "{heading}");
    }
}
