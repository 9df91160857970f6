//! One packet, or what is none: taken or rejected as the documented format has it, and what is taken says what its bytes
//! say.
//!
//! The first byte chooses the receiver, and what is put right in the rest so that it gets past the header. Knows layouts.
//! Must not know what a packet does.

use std::cell::RefCell;

use popmap_core::Shape;
use popmap_core::wire::{HEADER, VERSION, parse_with_members};

use super::frame::Frame;
use crate::forge::restore_checksum;
use crate::link::CLUSTER;

mod again;
pub mod oracle;

/// Who receives: the shape of its map, and its number of slots.
pub const RECEIVERS: [(Shape, usize); 4] = [
    (Shape { schema: 7, value_len: 12 }, 3),
    (Shape { schema: 7, value_len: 24 }, 64),
    (Shape { schema: 7, value_len: 0 }, 64),
    (Shape { schema: 7, value_len: 512 }, 5),
];

/// Bits of the first byte: the bytes are taken as they are; the stated length is left if it is possible; the shape is
/// left.
const AS_IT_IS: u8 = 4;
const KEEP_LENGTH: u8 = 8;
const KEEP_SHAPE: u8 = 16;
/// Kinds that start with a map's shape.
const SHAPED: std::ops::RangeInclusive<u8> = 1..=8;

thread_local! {
    static FRAME: RefCell<Frame> = const { RefCell::new(Frame::new()) };
}

/// Does what the bytes say.
///
/// # Panics
/// When something does not hold.
pub fn run(input: &[u8]) {
    let Some((&mode, bytes)) = input.split_first() else { return };
    let (shape, slots) = RECEIVERS[usize::from(mode & 3)];
    FRAME.with_borrow_mut(|frame| {
        frame.copy(bytes);
        let packet = frame.bytes_mut();
        if mode & AS_IT_IS == 0 && packet.len() >= HEADER {
            put_right(packet, &shape, mode);
        }
        check(packet, &shape, slots);
    });
}

/// Makes a packet of these bytes, as far as the header goes.
fn put_right(packet: &mut [u8], shape: &Shape, mode: u8) {
    packet[0] = VERSION & 0xf0 | packet[0] & 0x0f;
    packet[8..16].copy_from_slice(&CLUSTER.to_le_bytes());
    packet[22] = 0;
    let stated = usize::from(u16::from_le_bytes([packet[20], packet[21]]));
    let stays = mode & KEEP_LENGTH != 0 && (HEADER..=packet.len()).contains(&stated);
    let len = if stays { stated } else { packet.len() };
    packet[20..22].copy_from_slice(&(len as u16).to_le_bytes());
    if mode & KEEP_SHAPE == 0 && SHAPED.contains(&packet[1]) && len >= HEADER + 8 {
        packet[HEADER..HEADER + 4].copy_from_slice(&shape.schema.to_le_bytes());
        packet[HEADER + 4..HEADER + 6].copy_from_slice(&shape.value_len.to_le_bytes());
    }
    restore_checksum(&mut packet[..len]);
}

fn check(packet: &[u8], shape: &Shape, slots: usize) {
    let judged = oracle::judge(packet, CLUSTER, shape, slots);
    match parse_with_members(packet, CLUSTER, shape, slots) {
        Ok((envelope, body, members)) => {
            assert_eq!(judged, Ok(()), "taken");
            again::assert_says_the_same(packet, &envelope, &body, &members, shape);
        }
        Err(why) => assert_eq!(judged, Err(why), "rejected"),
    }
}
