//! Every reason to reject a packet, through a live node: it is named, its counter alone rises, and nothing else moves.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU8;

use popmap_core::auth::{AuthKey, KeyRing};
use popmap_core::clock::Dot;
use popmap_core::time::{Duration, Instant};
use popmap_core::wire::{HEADER, Kind};
use popmap_core::{Address, Config, Key, Life, Member, Node, Phase, Reject, Slot, SlotSet, Stats};
use popmap_tests::forge::{Record, authenticate, packet, restore_checksum};
use popmap_tests::link::CLUSTER;
use popmap_tests::scenario::{SHAPE, key, value};

/// Slots of the node; the last of them are not configured.
const N: usize = 8;
const ME: Slot = Slot::at(0);
const PEER: Slot = Slot::at(1);
/// Was never heard to have had what is buried.
const IGNORANT: Slot = Slot::at(2);
const GONE: Slot = Slot::at(3);
const CONFIGURED: SlotSet = SlotSet::first(4);
const OURS: Life = Life { generation: 5, id: 0xa0 };
const THEIRS: Life = Life { generation: 3, id: 0xb1 };
const FROM: Address = Address([7; 24]);
const NOW: Instant = Instant::from_millis(40);
/// One more than a repair answer may read.
const RECORDS: u64 = 4_097;
const PAYLOAD: usize = 1_400;
const KEY: NonZeroU8 = NonZeroU8::MIN;
const SECRET: [u8; 32] = [0x5e; 32];
/// Packets of the peer's before those that are rejected.
const COUNT: u64 = 5_000;

// ---- packets ----

/// A packet of the peer's with a shape, `count` in it, and `rest` behind it.
fn of_map(kind: Kind, count: u16, rest: &[&[u8]]) -> Vec<u8> {
    let shape =
        [&SHAPE.schema.to_le_bytes()[..], &SHAPE.value_len.to_le_bytes(), &count.to_le_bytes()].concat();
    packet(kind, PEER, THEIRS, OURS.id, &[&shape[..], &rest.concat()].concat())
}

/// A version that says and asks nothing.
fn version() -> Vec<u8> {
    of_map(Kind::Version, 0, &[&[0; 32], &[0; 8]])
}

/// A version that says that a slot was forgotten.
fn version_that_forgets() -> Vec<u8> {
    let lives = [u32::MAX.to_le_bytes(), THEIRS.generation.to_le_bytes()].concat();
    let gone = (1u64 << GONE.get()).to_le_bytes();
    of_map(Kind::Version, 0, &[&[0; 18], &[8, 0], &[0; 12], &[0; 8], &gone, &lives])
}

/// The peer's whole log, with nothing in it: its version covers a write of another, which is buried.
fn delta_that_buries() -> Vec<u8> {
    let write = [(1u64 << IGNORANT.get()).to_le_bytes(), 1u64.to_le_bytes()].concat();
    of_map(Kind::Delta, 0, &[&[0; 24], &[0; 4], &[23, 0, 0, 0], &write, &write])
}

/// A push that claims all counters, and a floor of 9.
fn push(count: u16, records: &[u8]) -> Vec<u8> {
    of_map(Kind::Push, count, &[&[0; 8], &[0xff; 8], &[9, 0, 0, 0], &[0; 4], records])
}

fn repair(flags: u8) -> Vec<u8> {
    of_map(Kind::Repair, 0, &[&9u64.to_le_bytes(), &[0; 8], &[0xff; 8], &[flags, 0, 0, 0], &[0; 4]])
}

/// What the peer has of our slot's older records, or tells of its own: all of it.
fn history(own: bool, count: u16, records: &[u8]) -> Vec<u8> {
    of_map(Kind::HistoryAnswer, count, &[&[0; 4], &[u8::from(own), 0, 0, 0], records])
}

/// A question about the first of `1 << bits` buckets.
fn digest(bits: u8) -> Vec<u8> {
    of_map(Kind::Digest, 1, &[&[0; 8], &[0; 4], &[bits, 0, 0, 0], &[0; 8]])
}

fn record(slot: Slot, term: u32) -> Vec<u8> {
    let dot = Dot { slot, counter: 1 };
    Record { key: Key::from_name(b"new"), dot, term, value: Some(value(1).to_vec()) }.bytes(&SHAPE)
}

/// `packet` with `bytes` at `at`, and a checksum that fits.
fn with(mut packet: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    packet[at..at + bytes.len()].copy_from_slice(bytes);
    restore_checksum(&mut packet);
    packet
}

/// `packet` as the `count`-th of the peer's for us, authenticated.
fn sealed(mut packet: Vec<u8>, count: u64) -> Vec<u8> {
    authenticate(&mut packet, KEY.get(), &SECRET, count << 8 | u64::from(ME.get()));
    packet
}

/// A version of another sender.
fn from(slot: Slot, life: Life) -> Vec<u8> {
    packet(Kind::Version, slot, life, 0, &version()[HEADER..])
}

// ---- the table ----

struct Row {
    reason: Reject,
    packets: fn() -> Vec<Vec<u8>>,
}

/// One row per reason, in the order of the counters. Of another length than the reasons it does not compile: a reason that
/// is new wants a row.
const ROWS: [Row; Reject::ALL.len()] = [
    Row {
        reason: Reject::Truncated,
        packets: || {
            let whole = version();
            let lengths = [0, 1, HEADER - 1, HEADER, whole.len() - 1];
            lengths.into_iter().map(|len| whole[..len].to_vec()).collect()
        },
    },
    Row { reason: Reject::WireVersion, packets: || vec![with(version(), 0, &[0x20])] },
    Row {
        reason: Reject::Kind,
        packets: || [0, Kind::ALL.len() as u8 + 1].map(|kind| with(version(), 1, &[kind])).into(),
    },
    Row {
        reason: Reject::Length,
        packets: || {
            let below_fixed = packet(Kind::Version, PEER, THEIRS, OURS.id, &version()[HEADER..HEADER + 8]);
            vec![with(version(), 20, &[63, 0]), below_fixed, push(1, &[]), with(version(), 23, &[2])]
        },
    },
    Row {
        reason: Reject::Oversize,
        packets: || vec![[version(), vec![0; PAYLOAD]].concat()[..=PAYLOAD].to_vec()],
    },
    Row {
        reason: Reject::Checksum,
        packets: || {
            let mut flipped = version();
            flipped[HEADER + 20] ^= 1;
            vec![flipped]
        },
    },
    Row { reason: Reject::KeyId, packets: || vec![with(version(), 22, &[1])] },
    Row { reason: Reject::Unauthenticated, packets: || vec![version()] },
    Row {
        reason: Reject::Mac,
        packets: || {
            let mut flipped = sealed(version(), COUNT + 1);
            flipped[HEADER + 20] ^= 1;
            let mut foreign = version();
            authenticate(&mut foreign, KEY.get(), &[0; 32], (COUNT + 1) << 8);
            vec![flipped, foreign]
        },
    },
    Row {
        reason: Reject::Unproved,
        packets: || {
            let unnamed = packet(Kind::Version, PEER, THEIRS, 0, &version()[HEADER..]);
            let other = packet(Kind::Version, PEER, THEIRS, 0xdead, &version()[HEADER..]);
            vec![sealed(unnamed, COUNT + 1), sealed(other, COUNT + 1)]
        },
    },
    Row {
        reason: Reject::Replay,
        packets: || [COUNT, COUNT - 1_024].map(|count| sealed(version(), count)).into(),
    },
    Row { reason: Reject::OverBudget, packets: || vec![sealed(version(), COUNT + 9_000)] },
    Row { reason: Reject::Cluster, packets: || vec![with(version(), 8, &(CLUSTER + 1).to_le_bytes())] },
    Row {
        reason: Reject::Header,
        packets: || vec![with(version(), 2, &[N as u8]), with(version(), 24, &[0; 8])],
    },
    Row {
        reason: Reject::Field,
        packets: || vec![with(version(), HEADER + 41, &[1]), digest(32), digest(0)],
    },
    Row { reason: Reject::Schema, packets: || vec![with(version(), HEADER, &[0xee])] },
    Row { reason: Reject::ValueLength, packets: || vec![with(version(), HEADER + 4, &[1])] },
    Row {
        reason: Reject::Record,
        packets: || {
            // What is wrong comes behind what is right.
            let second = |slot, term| [record(PEER, 1), record(slot, term)].concat();
            let others = second(Slot::at(2), 1);
            // The reader's word for it, then two of the handlers'.
            vec![push(2, &second(PEER, 0)), push(2, &others), history(true, 2, &others)]
        },
    },
    Row {
        reason: Reject::Member,
        packets: || {
            let mut entry = [0; 64];
            (entry[0], entry[16]) = (2, 1);
            let long = packet(Kind::Version, PEER, THEIRS, 0, &[&version()[HEADER..], &entry].concat());
            vec![with(long, 23, &[1])]
        },
    },
    Row { reason: Reject::Unconfigured, packets: || vec![from(Slot::at(N - 1), THEIRS)] },
    Row { reason: Reject::OwnPacket, packets: || vec![from(ME, OURS)] },
    // Of a lesser generation, which is no threat; the greater and the equal are scenarios of their own.
    Row { reason: Reject::SlotConflict, packets: || vec![from(ME, Life { generation: 1, id: 0xa1 })] },
    Row {
        reason: Reject::OldLife,
        packets: || vec![from(PEER, Life { generation: THEIRS.generation - 1, id: u64::MAX })],
    },
    Row { reason: Reject::OtherLife, packets: || vec![with(push(0, &[]), 32, &0xdead_u64.to_le_bytes())] },
    Row { reason: Reject::NoLife, packets: || vec![with(push(0, &[]), 32, &[0; 8])] },
    Row { reason: Reject::Over, packets: || vec![version(), push(0, &[])] },
    Row { reason: Reject::Forgotten, packets: || vec![from(GONE, THEIRS)] },
    // Of a server that was never heard to have had what is buried.
    Row {
        reason: Reject::LacksBuried,
        packets: || {
            let records = record(IGNORANT, 1);
            let packets =
                [push(1, &records), history(true, 1, &records), of_map(Kind::Report, 1, &[&records])];
            packets.map(|packet| with(packet, 2, &[IGNORANT.get()])).into()
        },
    },
    Row { reason: Reject::Unasked, packets: || vec![repair(0), repair(1), history(false, 0, &[])] },
];

// ---- the node ----

/// Whether a reason takes keys.
fn is_keyed(reason: Reject) -> bool {
    use Reject::{Mac, OverBudget, Replay, Unauthenticated, Unproved};
    matches!(reason, Unauthenticated | Mac | Unproved | Replay | OverBudget)
}

/// A node that writes, knows a peer, and has nothing to send or to tell.
fn node(storage: &mut Vec<u64>, keyed: bool) -> Node<'_, N> {
    let mut config = Config::new(CLUSTER, ME, OURS, 6_000, SHAPE);
    (config.configured, config.payload) = (CONFIGURED, PAYLOAD);
    storage.clear();
    storage.resize(Node::<N>::words(&config), 0);
    let ring = KeyRing::new([AuthKey::shared(KEY, SECRET)], KEY).expect("a key");
    let node = match keyed {
        true => Node::with_keys(Instant::ZERO, storage, &config, ring),
        false => Node::new(Instant::ZERO, storage, &config),
    };
    let mut node = node.expect("a valid configuration");
    node.join(Instant::ZERO, &[]);
    node.handle_timeout(Instant::ZERO);
    assert!(matches!(node.map().phase(), Phase::Active { .. }));
    for n in 0..RECORDS {
        node.put(Instant::ZERO, key(n), &value(n)).expect("room");
    }
    // It was not met before we wrote, so it is asked for our past; this answers for good.
    let ignorant = packet(Kind::Version, IGNORANT, THEIRS, OURS.id, &version()[HEADER..]);
    let packets = [version(), history(false, 0, &[]), ignorant, version_that_forgets(), delta_that_buries()];
    for (count, packet) in (COUNT - 4..).zip(packets) {
        let packet = if keyed { sealed(packet, count) } else { packet };
        assert_eq!(node.handle_packet(NOW, FROM, &packet), Ok(()));
    }
    rest(&mut node);
    node
}

/// Lets the node send and tell all it wants to; returns the kinds of what it sent.
fn rest(node: &mut Node<'_, N>) -> Vec<u8> {
    let (mut frame, mut kinds) = ([0; PAYLOAD], Vec::new());
    while node.poll_transmit(NOW, &mut frame).is_some() {
        kinds.push(frame[1]);
    }
    while node.poll_event().is_some() {}
    while node.poll_member().is_some() {}
    kinds
}

fn state(node: &Node<'_, N>) -> (u64, Vec<(Slot, Member)>, SlotSet) {
    let mut hasher = DefaultHasher::new();
    node.map().hash_state(&mut hasher);
    node.map().phase().hash(&mut hasher);
    (hasher.finish(), node.members().map(|(slot, member)| (slot, *member)).collect(), node.map().live())
}

#[test]
fn every_reason_raises_its_counter_and_moves_nothing() {
    let mut storage = Vec::new();
    for (at, Row { reason, packets }) in ROWS.iter().enumerate() {
        assert_eq!(*reason, Reject::ALL[at], "in the order of the counters");
        let packets = packets();
        assert!(!packets.is_empty());
        for (number, packet) in packets.iter().enumerate() {
            let what = format!("{reason:?}, packet {number}");
            let keyed = is_keyed(*reason);
            let mut node = node(&mut storage, keyed);
            let (over, ended) = (*reason == Reject::OverBudget, *reason == Reject::Over);
            if ended {
                let greater = Life { generation: OURS.generation + 1, ..THEIRS };
                assert_eq!(node.handle_packet(NOW, FROM, &from(ME, greater)), Err(Reject::SlotConflict));
                assert_eq!(node.map().phase(), Phase::Fenced);
                rest(&mut node);
            }
            if over {
                // More than twice its budget would let it send.
                for count in COUNT + 1.. {
                    let packet = sealed(version(), count);
                    if node.handle_packet(NOW, FROM, &packet).is_err() {
                        break;
                    }
                }
                rest(&mut node);
            }
            let (before, stats) = (state(&node), node.stats());
            assert_eq!(node.handle_packet(NOW, FROM, packet), Err(*reason), "{what}");

            let mut expected = Stats { received_bytes: stats.received_bytes + packet.len() as u64, ..stats };
            expected.rejected[reason.index()] += 1;
            assert_eq!(node.stats(), expected, "{what}");
            assert_eq!(state(&node), before, "{what}");
            assert_eq!((node.poll_event(), node.poll_member()), (None, None), "{what}");
            // Who speaks for a life that is over or forgotten, or in a slot that is taken, is told so (R4.5, R2). Nobody else is answered.
            let told: &[u8] = match reason {
                Reject::OldLife | Reject::SlotConflict | Reject::Forgotten => &[Kind::LifeNotice as u8],
                // And with keys, who does not know our life hears it.
                Reject::Unproved => &[Kind::Ack as u8],
                _ => &[],
            };
            assert_eq!(rest(&mut node), told, "{what}");
            if ended {
                continue;
            }
            // The next packet is none the worse for it.
            let next = match (keyed, over) {
                (_, true) => sealed(version(), COUNT + 9_001),
                (true, _) => sealed(version(), COUNT + 1),
                _ => version(),
            };
            let later = if over { NOW + Duration::from_millis(10) } else { NOW };
            assert_eq!(node.handle_packet(later, FROM, &next), Ok(()), "{what}");
        }
    }
}

/// What packets are made of is taken as it is: it is the change that each is rejected for.
#[test]
fn the_packets_they_are_made_from_are_taken() {
    let mut storage = Vec::new();
    for packet in [
        version(),
        push(0, &[]),
        push(1, &record(PEER, 1)),
        history(true, 1, &record(PEER, 1)),
        digest(1),
        from(Slot::at(2), THEIRS),
        [version(), vec![0; PAYLOAD]].concat()[..PAYLOAD].to_vec(),
    ] {
        let mut node = node(&mut storage, false);
        let stats = node.stats();
        assert_eq!(node.handle_packet(NOW, FROM, &packet), Ok(()), "{packet:?}");
        assert_eq!(node.stats().rejected, stats.rejected);
    }
}

#[test]
fn every_reason_says_what_it_is() {
    let texts: HashSet<_> = Reject::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), Reject::ALL.len(), "two say the same");
    for reason in Reject::ALL {
        let text = reason.to_string();
        let message = text.strip_prefix(reason.name()).and_then(|text| text.strip_prefix(": "));
        // The name for metrics, then words.
        assert!(message.is_some_and(|message| message.split(' ').count() > 2), "{text}");
    }
}
