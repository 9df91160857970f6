//! A ping with 30 members that all change, and a node that takes it and answers.
//!
//! Knows the wire format of members. Must not know what is measured.
//!
//! Thirty members need a packet of 2,000 bytes, because one takes 64 with its address, its metadata and who suspects it:
//! the node's payload limit is raised for that.

use std::hint::black_box;

use popmap_core::time::{Duration, Instant};
use popmap_core::wire::{HEADER, Header, Kind, MEMBER, MemberEntry, ProbeFixed, VERSION};
use popmap_core::{Address, Config, Life, Node, Slot};
use popmap_io::Storage;
use zerocopy::IntoBytes;

use crate::stream::{SHAPE, SLOTS};

const CLUSTER: u64 = 9;
/// Members of a ping.
pub const MEMBERS: usize = 30;
const PAYLOAD: usize = 2_048;
const NOW: Instant = Instant::from_millis(1);

/// Returns a ping with members, each of this incarnation.
#[must_use]
pub fn packet(incarnation: u32) -> Vec<u8> {
    let life = |slot: usize| 100 + slot as u64;
    let members = (2..2 + MEMBERS).map(|slot| MemberEntry {
        slot: slot as u8,
        state: 1,
        reserved: [0; 2],
        incarnation: incarnation.into(),
        generation: 1.into(),
        by: [0; 4],
        life: life(slot).into(),
        address: Address([slot as u8; 24]),
        meta: [100, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    });
    let probe =
        ProbeFixed { number: incarnation.into(), target: 1, owed: 0, reserved: [0; 2], version: 0.into() };
    let length = HEADER + size_of::<ProbeFixed>() + MEMBERS * MEMBER;
    let header = Header {
        version: VERSION,
        kind: Kind::Ping as u8,
        slot: 0,
        flags: 0,
        crc: 0.into(),
        cluster: CLUSTER.into(),
        generation: 1.into(),
        length: (length as u16).into(),
        key_id: 0,
        members: MEMBERS as u8,
        life: life(0).into(),
        to_life: 0.into(),
        number: u64::from(incarnation).into(),
        mac: [0; 16],
    };
    let mut packet = [header.as_bytes(), probe.as_bytes()].concat();
    members.for_each(|member| packet.extend_from_slice(member.as_bytes()));
    let mut crc = crc32fast::Hasher::new();
    crc.update(&packet[..4]);
    crc.update(&packet[8..]);
    packet[4..8].copy_from_slice(&crc.finalize().to_le_bytes());
    packet
}

/// Returns a node that knows nobody; its memory is never given back.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn node() -> Box<Node<'static, SLOTS>> {
    let config = Config::new(CLUSTER, Slot::at(1), Life { generation: 1, id: 7 }, 1_000, SHAPE);
    let config =
        Config { payload: PAYLOAD, address: Address([1; 24]), start_within: Duration::ZERO, ..config };
    let storage = Storage::new(Node::<SLOTS>::words(&config)).leak();
    Box::new(Node::new(NOW, storage, &config).expect("the configuration is valid"))
}

/// Takes pings and sends their acks; returns how many packets were sent.
///
/// # Panics
/// When a ping is not valid.
pub fn take(node: &mut Node<'_, SLOTS>, packets: &[Vec<u8>]) -> usize {
    let mut frame = [0; PAYLOAD];
    let mut sent = 0;
    for packet in packets {
        node.handle_packet(NOW, Address([9; 24]), black_box(packet)).expect("the packet is valid");
        while node.poll_transmit(NOW, &mut frame).is_some() {
            sent += 1;
        }
        black_box(&frame);
    }
    sent
}

/// Returns the incarnation of the last of the members.
#[must_use]
pub fn incarnation(node: &Node<'_, SLOTS>) -> Option<u32> {
    Some(node.member(Slot::at(1 + MEMBERS))?.incarnation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_changes_every_member_and_is_answered() {
        let mut node = node();
        for incarnation in [1, 2] {
            assert!(take(&mut node, &[packet(incarnation)]) > 0);
            let changed = node.members().filter(|(_, member)| member.incarnation == incarnation).count();
            // Ourselves are of the first.
            assert!(changed >= MEMBERS);
            assert_eq!(super::incarnation(&node), Some(incarnation));
        }
    }
}
