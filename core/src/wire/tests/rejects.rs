//! Every reason that the wire layer has to reject a packet, by name; and what it must not reject.
//!
//! `Oversize` and the reasons from `Unconfigured` on are not the wire layer's.

use std::vec::Vec;

use super::{
    CLUSTER, KEY_A, OUR_LIFE, PEER, PEER_LIFE, SHAPE, SLOTS, entry, header, incoming, parsed, record,
    rejected, restore_crc, sealed, shape,
};
use crate::wire::{Body, Envelope, Kind, Reject, Shape, parse, parse_with_members};

/// A version with one slot: 64 + 40 + 16 bytes.
fn version() -> Vec<u8> {
    incoming(1, &[&shape(0), &[0; 32], &[4, 0, 0, 0, 0, 0, 0, 0], &[1, 0, 0, 0, 3, 0, 0, 0]])
}

/// A delta with `records`: from 2 to 5, head 9, no flags, no version.
fn delta(count: u8, records: &[u8]) -> Vec<u8> {
    let range: [&[u8]; 3] = [&[2, 0, 0, 0, 0, 0, 0, 0], &[5, 0, 0, 0, 0, 0, 0, 0], &[9, 0, 0, 0, 0, 0, 0, 0]];
    incoming(2, &[&shape(count), &range.concat(), &[0; 4], &[0; 4], records, &[0; 8]])
}

fn push(count: u8, records: &[u8]) -> Vec<u8> {
    incoming(3, &[&shape(count), &[0; 8], &[0xff; 8], &[0; 8], records])
}

fn digest(first: u32, bits: u8, count: u8) -> Vec<u8> {
    let digests = std::vec![0; 8 * usize::from(count)];
    incoming(4, &[&shape(count), &[0; 8], &first.to_le_bytes(), &[bits, 0, 0, 0], &digests])
}

fn repair(from: u64, to: u64, flags: u8, count: u8, records: &[u8]) -> Vec<u8> {
    let range = [from.to_le_bytes(), to.to_le_bytes()].concat();
    incoming(5, &[&shape(count), &[0; 8], &range, &[flags, 0, 0, 0], &[0; 4], records])
}

fn report(count: u8, records: &[u8]) -> Vec<u8> {
    incoming(6, &[&shape(count), records])
}

fn history_ask() -> Vec<u8> {
    incoming(7, &[&shape(0), &[0; 16]])
}

fn history_answer(count: u8, records: &[u8]) -> Vec<u8> {
    incoming(8, &[&shape(count), &[0; 8], records])
}

fn life_notice(slot: u8, life: u64) -> Vec<u8> {
    incoming(9, &[&[9, 0, 0, 0], &[slot, 0, 0, 0], &life.to_le_bytes()])
}

/// A ping, ping-req or ack with number 7 about `target`.
fn probe(kind: u8, target: u8) -> Vec<u8> {
    incoming(kind, &[&[7, 0, 0, 0], &[target, 0, 0, 0], &[0; 8]])
}

fn good() -> Vec<u8> {
    record(KEY_A, [3, 1], 1, 2, 0, 0x11)
}

/// One valid packet of every kind, with a list where the kind has one.
fn every_kind() -> [Vec<u8>; 13] {
    [
        version(),
        delta(1, &good()),
        push(1, &good()),
        digest(0, 1, 2),
        repair(0, u64::MAX, 0, 1, &good()),
        report(1, &good()),
        history_ask(),
        history_answer(1, &good()),
        life_notice(1, 1),
        probe(10, 1),
        probe(11, 0),
        probe(12, 2),
        incoming(13, &[]),
    ]
}

/// `packet` with `bytes` at `at`, and a checksum that fits.
fn with(packet: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet[at..at + bytes.len()].copy_from_slice(bytes);
    restore_crc(&mut packet);
    packet
}

#[test]
fn none_of_what_the_others_start_from() {
    for (kind, packet) in Kind::ALL.into_iter().zip(every_kind()) {
        let (envelope, _) = parsed(&packet).expect("a valid packet");
        let expected = Envelope { kind, slot: PEER, flags: 1, life: PEER_LIFE, to_life: OUR_LIFE.id };
        assert_eq!(envelope, expected);
    }
}

// ---- header ----

#[test]
fn truncated_anywhere() {
    for packet in every_kind() {
        for len in 0..packet.len() {
            assert_eq!(rejected(&packet[..len]), Some(Reject::Truncated), "{len} bytes");
        }
    }
}

#[test]
fn truncated_by_a_length_beyond_the_bytes() {
    let packet = with(&version(), 20, &[0xff, 0xff]);
    assert_eq!(rejected(&packet), Some(Reject::Truncated));
}

#[test]
fn wire_version_of_another_major() {
    for version_byte in [0x00, 0x0f, 0x20, 0xf0] {
        assert_eq!(rejected(&with(&version(), 0, &[version_byte])), Some(Reject::WireVersion));
    }
}

/// A newer minor has longer bodies for us to read past, unknown flags and uses for what is reserved; members end it.
#[test]
fn not_a_newer_minor_with_more_bytes() {
    for (kind, packet) in Kind::ALL.into_iter().zip(every_kind()) {
        let newer = [&packet[..], &[0xaa; 24], &entry(0, 2)].concat();
        let newer = sealed(&[&with(&with(&newer, 0, &[0x1f]), 23, &[1])]);
        let newer = with(&newer, 3, &[0xff]);
        let (envelope, body) = parsed(&newer).expect("a newer minor is taken");
        assert_eq!(envelope.kind, kind);
        assert_eq!(envelope.flags, 7, "unknown flags are left out");
        match body {
            Body::Version(body) => assert_eq!(*body.version.to_vector::<3>().counters(), [0, 0, 3 << 32 | 1]),
            Body::Delta(body) => assert_eq!(body.records.len(), 1),
            Body::Push(body) => assert_eq!(body.records.len(), 1),
            Body::Digest(body) => assert_eq!(body.digests.len(), 2),
            Body::Repair(body) => assert_eq!(body.records.len(), 1),
            Body::Report(body) => assert_eq!(body.records.len(), 1),
            Body::HistoryAnswer(body) => assert_eq!(body.records.len(), 1),
            Body::HistoryAsk(_) | Body::LifeNotice(_) => {}
            Body::Ping(body) | Body::PingReq(body) | Body::Ack(body) => assert_eq!(body.number, 7),
            Body::Gossip => {}
        }
        let (.., members) =
            parse_with_members(&newer, CLUSTER, &SHAPE, SLOTS).expect("a newer minor is taken");
        assert_eq!(
            members.iter().map(|(slot, entry)| (slot.index(), entry.state)).collect::<Vec<_>>(),
            [(0, 2)]
        );
    }
}

#[test]
fn kind_that_is_unknown() {
    for kind in [0, 14, 0xff] {
        assert_eq!(rejected(&with(&version(), 1, &[kind])), Some(Reject::Kind));
    }
}

#[test]
fn cluster_of_others() {
    assert_eq!(rejected(&with(&version(), 8, &[2])), Some(Reject::Cluster));
    assert_eq!(parse(&version(), CLUSTER + 1, &SHAPE, SLOTS).err(), Some(Reject::Cluster));
}

#[test]
fn length_below_the_header() {
    for length in [0, 63] {
        assert_eq!(rejected(&with(&version(), 20, &[length, 0])), Some(Reject::Length));
    }
}

#[test]
fn key_id_without_keys() {
    assert_eq!(rejected(&with(&version(), 22, &[1])), Some(Reject::KeyId));
}

#[test]
fn checksum_of_every_byte() {
    let packet = delta(1, &good());
    // Kind, cluster, length and key id are looked at before the checksum.
    let earlier = [0..2, 8..16, 20..23];
    for at in (0..packet.len()).filter(|at| !earlier.iter().any(|range| range.contains(at))) {
        let mut packet = packet.clone();
        packet[at] ^= 1;
        assert_eq!(rejected(&packet), Some(Reject::Checksum), "byte {at}");
    }
    let mut packet = packet;
    packet[20] -= 1;
    assert_eq!(rejected(&packet), Some(Reject::Checksum));
}

#[test]
fn header_slot_out_of_range() {
    assert!(parsed(&with(&version(), 2, &[2])).is_ok());
    assert_eq!(rejected(&with(&version(), 2, &[3])), Some(Reject::Header));
    assert_eq!(rejected(&with(&version(), 2, &[0xff])), Some(Reject::Header));
    let slot_63 = with(&version(), 2, &[63]);
    assert!(parse(&slot_63, CLUSTER, &SHAPE, 64).is_ok());
    assert_eq!(parse(&with(&version(), 2, &[64]), CLUSTER, &SHAPE, 64).err(), Some(Reject::Header));
}

#[test]
fn header_without_a_life() {
    assert_eq!(rejected(&with(&version(), 24, &[0; 8])), Some(Reject::Header));
}

/// Ethernet pads short frames; what follows the stated length is not part of the packet.
#[test]
fn not_padding_behind_the_length() {
    for packet in every_kind() {
        assert!(parsed(&[&packet[..], &[0xcc; 46]].concat()).is_ok());
    }
}

#[test]
fn not_any_mac_or_number() {
    let packet = with(&version(), 40, &[0xff; 24]);
    assert!(parsed(&packet).is_ok());
}

// ---- body ----

#[test]
fn schema_of_another_map() {
    for packet in &every_kind()[..8] {
        assert_eq!(rejected(&with(packet, 64, &[0x45])), Some(Reject::Schema));
    }
}

#[test]
fn value_length_of_another_map() {
    for packet in &every_kind()[..8] {
        assert_eq!(rejected(&with(packet, 68, &[13])), Some(Reject::ValueLength));
        let other = Shape { value_len: 16, ..SHAPE };
        assert_eq!(parse(packet, CLUSTER, &other, SLOTS).err(), Some(Reject::ValueLength));
    }
}

#[test]
fn length_below_the_fixed_part() {
    for (kind, fixed) in (1..).zip([40, 40, 32, 24, 40, 8, 24, 16, 16, 8, 8, 8]) {
        let head = header(kind, 0, PEER, OUR_LIFE.id, 1);
        for len in 0..fixed {
            let body = [&shape(0)[..], &[0; 40]].concat();
            assert_eq!(rejected(&sealed(&[&head, &body[..len]])), Some(Reject::Length), "kind {kind}, {len}");
        }
    }
}

#[test]
fn length_below_the_list() {
    // Every byte that the list or the version behind it lacks.
    for (packet, fixed) in every_kind()[..8].iter().zip([40, 40, 32, 24, 40, 8, 24, 16]) {
        for len in 64 + fixed..packet.len() {
            assert_eq!(rejected(&sealed(&[&packet[..len]])), Some(Reject::Length), "{len} bytes");
        }
    }
}

#[test]
fn length_of_a_list_counted_beyond_all_bytes() {
    for at in [1, 2, 4, 5, 7] {
        let packet = with(&every_kind()[at], 70, &[0xff, 0xff]);
        assert_eq!(rejected(&packet), Some(Reject::Length));
    }
    // Records of the longest value: their length in bytes does not fit 16 bits, and must not be computed in them.
    let shape = Shape { value_len: 512, ..SHAPE };
    let packet = with(&push(0, &[]), 68, &[0, 2, 0xff, 0xff]);
    assert_eq!(parse(&packet, CLUSTER, &shape, SLOTS).err(), Some(Reject::Length));
}

#[test]
fn field_of_a_version_with_slots_out_of_range() {
    assert_eq!(rejected(&with(&version(), 104, &[8])), Some(Reject::Field));
    assert_eq!(rejected(&with(&version(), 111, &[0x80])), Some(Reject::Field));
    let all = incoming(1, &[&shape(0), &[0; 32], &[0xff; 8], &[1; 8 * 64]]);
    assert!(parse(&all, CLUSTER, &SHAPE, 64).is_ok());
    assert_eq!(rejected(&all), Some(Reject::Field));
}

#[test]
fn field_of_a_delta_with_a_range_that_is_none() {
    assert_eq!(rejected(&with(&delta(0, &[]), 72, &[6])), Some(Reject::Field), "from > to");
    assert_eq!(rejected(&with(&delta(0, &[]), 80, &[10])), Some(Reject::Field), "to > head");
    assert_eq!(rejected(&with(&delta(0, &[]), 100, &[2])), Some(Reject::Field), "complete before the head");
    let complete = with(&with(&delta(0, &[]), 100, &[2]), 80, &[9]);
    assert!(parsed(&complete).is_ok());
    let last = with(&delta(0, &[]), 72, &[0xff; 24]);
    assert!(parsed(&last).is_ok(), "the last log position of all");
}

/// A version with flag bit 3 and a forgotten slot, whose counter ends in `low`.
fn forgets(slot: u8, low: [u8; 4]) -> Vec<u8> {
    let slots = [1 << slot, 0, 0, 0, 0, 0, 0, 0];
    let fixed = [&[0; 18][..], &[8, 0], &[0; 12]].concat();
    incoming(1, &[&shape(0), &fixed, &[0; 8], &slots, &low, &[7, 0, 0, 0]])
}

#[test]
fn field_of_a_version_that_forgets() {
    assert!(parsed(&forgets(2, [0xff; 4])).is_ok());
    assert_eq!(rejected(&forgets(3, [0xff; 4])), Some(Reject::Field), "slot");
    assert_eq!(
        rejected(&forgets(2, [0xff, 0xff, 0xff, 0x7f])),
        Some(Reject::Field),
        "not all of a generation"
    );
    let short = sealed(&[&forgets(2, [0xff; 4])[..124]]);
    assert_eq!(rejected(&short), Some(Reject::Length));
}

#[test]
fn field_of_a_delta_that_buries() {
    let buries = |slot: u8| {
        let packet = with(&delta(0, &[]), 100, &[16]);
        sealed(&[&packet, &[1 << slot, 0, 0, 0, 0, 0, 0, 0], &[1, 0, 0, 0, 3, 0, 0, 0]])
    };
    assert!(parsed(&buries(2)).is_ok());
    assert_eq!(rejected(&buries(3)), Some(Reject::Field), "slot");
    assert_eq!(rejected(&sealed(&[&buries(2)[..120]])), Some(Reject::Length));
    assert_eq!(rejected(&with(&delta(0, &[]), 100, &[16])), Some(Reject::Length), "none");
}

#[test]
fn field_of_a_push_with_a_range_that_is_none() {
    let backward = with(&with(&push(0, &[]), 72, &[2]), 80, &[1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(rejected(&backward), Some(Reject::Field));
    assert!(parsed(&with(&backward, 72, &[1])).is_ok());
}

#[test]
fn field_of_a_digest_with_buckets_that_are_none() {
    assert_eq!(rejected(&digest(0, 0, 0)), Some(Reject::Field), "no digest");
    assert!(parsed(&digest(0, 0, 1)).is_ok());
    assert_eq!(rejected(&digest(0, 0, 2)), Some(Reject::Field), "two of one");
    assert_eq!(rejected(&digest(1, 0, 1)), Some(Reject::Field), "the second of one");
    assert!(parsed(&digest(6, 3, 2)).is_ok());
    assert_eq!(rejected(&digest(7, 3, 2)), Some(Reject::Field), "the ninth of eight");
    assert!(parsed(&digest((1 << 31) - 2, 31, 2)).is_ok());
    assert_eq!(rejected(&digest((1 << 31) - 1, 31, 2)), Some(Reject::Field));
    assert_eq!(rejected(&digest(u32::MAX, 31, 1)), Some(Reject::Field));
    for bits in [32, 63, 64, 255] {
        assert_eq!(rejected(&digest(0, bits, 1)), Some(Reject::Field), "{bits} bits");
    }
}

#[test]
fn field_of_a_repair_outside_its_range() {
    let mix = KEY_A.mix();
    assert!(parsed(&repair(mix, mix, 0, 1, &good())).is_ok());
    assert_eq!(rejected(&repair(mix + 1, u64::MAX, 0, 1, &good())), Some(Reject::Field));
    assert_eq!(rejected(&repair(0, mix - 1, 0, 1, &good())), Some(Reject::Field));
    assert_eq!(rejected(&repair(2, 1, 0, 0, &[])), Some(Reject::Field), "from > to");
    assert_eq!(rejected(&repair(2, 1, 1, 0, &[])), Some(Reject::Field), "from > to, back");
}

/// An answer lists live records. What goes back is what the table holds when it is sent: that may be a tombstone.
#[test]
fn field_of_a_repair_with_a_tombstone() {
    let tombstone = record(KEY_A, [3, 1], 1, 2, 1, 0);
    assert_eq!(rejected(&repair(0, u64::MAX, 0, 1, &tombstone)), Some(Reject::Field));
    assert!(parsed(&repair(0, u64::MAX, 1, 1, &tombstone)).is_ok());
}

#[test]
fn field_of_a_report_with_a_tombstone() {
    let tombstone = record(KEY_A, [3, 1], 1, 2, 1, 0);
    assert_eq!(rejected(&report(1, &tombstone)), Some(Reject::Field));
}

#[test]
fn field_of_a_life_notice() {
    assert!(parsed(&life_notice(2, 1)).is_ok());
    assert_eq!(rejected(&life_notice(3, 1)), Some(Reject::Field), "slot");
    assert_eq!(rejected(&life_notice(0xff, 1)), Some(Reject::Field), "slot");
    assert_eq!(rejected(&life_notice(1, 0)), Some(Reject::Field), "life");
}

// ---- records ----

/// `bytes` at `at` of the second of two records, in every kind that carries records.
fn second_record(at: usize, bytes: &[u8]) -> [Option<Reject>; 5] {
    let mut second = good();
    second[at..at + bytes.len()].copy_from_slice(bytes);
    let records = [good(), second].concat();
    [
        delta(2, &records),
        push(2, &records),
        repair(0, u64::MAX, 1, 2, &records),
        report(2, &records),
        history_answer(2, &records),
    ]
    .map(|packet| rejected(&packet))
}

#[test]
fn record_with_a_slot_out_of_range() {
    assert_eq!(second_record(28, &[1]), [None; 5]);
    assert_eq!(second_record(28, &[3]), [Some(Reject::Record); 5]);
    assert_eq!(second_record(28, &[0xff]), [Some(Reject::Record); 5]);
}

#[test]
fn record_without_a_counter() {
    assert_eq!(second_record(16, &[0xff; 8]), [None; 5]);
    assert_eq!(second_record(16, &[0; 8]), [Some(Reject::Record); 5]);
}

#[test]
fn record_without_a_term() {
    assert_eq!(second_record(24, &[0xff; 4]), [None; 5]);
    assert_eq!(second_record(24, &[0; 4]), [Some(Reject::Record); 5]);
}

#[test]
fn record_with_unknown_flags() {
    for flags in [2, 0x80, 0xff] {
        assert_eq!(second_record(29, &[flags]), [Some(Reject::Record); 5]);
    }
}

#[test]
fn record_with_reserved_bytes_in_use() {
    assert_eq!(second_record(30, &[1, 0]), [Some(Reject::Record); 5]);
    assert_eq!(second_record(30, &[0, 1]), [Some(Reject::Record); 5]);
}

#[test]
fn record_with_padding_in_use() {
    for at in 44..48 {
        assert_eq!(second_record(at, &[1]), [Some(Reject::Record); 5]);
    }
}

#[test]
fn record_of_a_tombstone_with_a_value() {
    assert_eq!(second_record(29, &[1]), [Some(Reject::Record); 5]);
}

#[test]
fn not_a_tombstone_without_a_value() {
    let tombstone = record(KEY_A, [3, 1], 1, 2, 1, 0);
    for packet in [delta(1, &tombstone), push(1, &tombstone), history_answer(1, &tombstone)] {
        assert!(parsed(&packet).is_ok());
    }
}

#[test]
fn not_a_record_without_any_value() {
    let empty = Shape { value_len: 0, ..SHAPE };
    let packet = with(&push(1, &good()[..32]), 68, &[0]);
    assert!(parse(&packet, CLUSTER, &empty, SLOTS).is_ok());
}

/// The names are those of metrics and must not change; every reason has its own.
#[test]
fn names_and_places() {
    for (at, reject) in Reject::ALL.iter().enumerate() {
        assert_eq!(reject.index(), at);
        assert!(Reject::ALL[..at].iter().all(|other| other.name() != reject.name()));
        assert!(reject.name().bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase()));
    }
}
