//! The worked examples in `docs/wire.md` are what the writers make.

use std::vec::Vec;

use super::{crc32, golden};

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

/// The check value that catalogues of CRCs give for this one.
#[test]
fn the_checksum() {
    assert_eq!(crc32(b"123456789".iter().copied()), 0xcbf4_3926);
}
