//! Probes and members: what a node writes is, byte by byte, what the layout says; and what an entry is rejected for.

use std::vec::Vec;

use super::{
    CLUSTER, OUR_LIFE, PEER, PEER_LIFE, SHAPE, SLOTS, entry, header, rejected, sealed, version_hash,
};
use crate::id::{Address, Life, Slot};
use crate::membership::{Member, State};
use crate::node::{Config, Node};
use crate::time::Instant;
use crate::wire::{Body, Kind, MemberEntry, Reject, parse_with_members};

const US: Slot = Slot::at(1);
const THIRD: Slot = Slot::at(0);
const SEED: Address = Address([0x5e; 24]);

const SILENT: u8 = 2;

fn node() -> Node<'static, SLOTS> {
    let mut config = Config::new(CLUSTER, US, OUR_LIFE, 16, SHAPE);
    config.address = Address([0xd1; 24]);
    config.meta.opaque = [0xe1; 14];
    let storage = std::vec![0; Node::<SLOTS>::words(&config)].leak();
    Node::new(Instant::ZERO, storage, &config).expect("a valid configuration")
}

/// A header that announces `members` entries behind its body.
fn head(kind: u8, flags: u8, from: Slot, to_life: u64, number: u64, members: u8) -> Vec<u8> {
    let mut header = header(kind, flags, from, to_life, number);
    header[23] = members;
    header
}

/// What we say of ourselves: in incarnation 1 of our life.
fn our_entry() -> Vec<u8> {
    let mut entry = entry(1, 1);
    entry[4] = 1;
    entry[8] = 5;
    entry[16..24].copy_from_slice(&[0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8]);
    entry
}

/// What the peer says of itself.
fn peer_entry() -> Vec<u8> {
    let mut entry = entry(2, 1);
    entry[16..24].copy_from_slice(&[0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8]);
    entry
}

/// The peer's ping number 9 of us, with what it says of itself and of the third server.
fn ping_of_the_peer(target: u8) -> Vec<u8> {
    let body: [&[u8]; 3] = [&[9, 0, 0, 0], &[target, 0, 0, 0], &[0x77; 8]];
    sealed(&[&head(10, 1, PEER, 0, 1, 2), &body.concat(), &peer_entry(), &entry(0, 1)])
}

/// Everything that `node` sends by `at`, with whom it is for.
fn sent(node: &mut Node<'_, SLOTS>, at: Instant) -> Vec<(Slot, Vec<u8>)> {
    let mut frame = [0xee; 1_400];
    let mut sent = Vec::new();
    while let Some(transmit) = node.poll_transmit(at, &mut frame) {
        sent.push((transmit.slot, frame[..transmit.len].to_vec()));
    }
    sent
}

fn of_kind(sent: Vec<(Slot, Vec<u8>)>, kind: Kind) -> Option<(Slot, Vec<u8>)> {
    sent.into_iter().find(|(_, packet)| packet[1] == kind as u8)
}

/// The packet's number as it stands in the header: how many were sent before depends on other kinds.
fn number(packet: &[u8]) -> u64 {
    u64::from(packet[40])
}

#[test]
fn a_ping_of_one_who_joins() {
    let mut node = node();
    node.join(Instant::ZERO, &[SEED]);
    let (_, ping) = of_kind(sent(&mut node, Instant::ZERO), Kind::Ping).expect("a seed is asked");
    let golden = sealed(&[
        &head(10, 1 | SILENT, US, 0, 1, 1),
        &[0, 0, 0, 0], // number 0: of no probe
        &[1],          // target: itself, whoever that reaches
        &[0],          // owed
        &[0, 0],       // reserved
        &version_hash(&[], &[], 0),
        &our_entry(),
    ]);
    assert_eq!(ping, golden);
    let (envelope, body, members) = parse_with_members(&golden, CLUSTER, &SHAPE, SLOTS).expect("a ping");
    assert_eq!((envelope.kind, envelope.to_life), (Kind::Ping, 0));
    let Body::Ping(probe) = body else { panic!("a ping") };
    assert_eq!((probe.number, probe.target, probe.owed), (0, US, 0));
    let (slot, entry) = members.iter().next().expect("an entry");
    assert_eq!((slot, entry.state, entry.incarnation.get(), entry.generation.get()), (US, 1, 1, 5));
    assert_eq!(
        (entry.life.get(), entry.address, entry.suspected_by().len()),
        (OUR_LIFE.id, Address([0xd1; 24]), 0)
    );
    assert_eq!(
        (entry.meta[..2].to_vec(), entry.meta[2..].to_vec()),
        (std::vec![100, 0], std::vec![0xe1; 14])
    );
}

#[test]
fn an_ack() {
    let mut node = node();
    node.handle_packet(Instant::ZERO, SEED, &ping_of_the_peer(1)).expect("taken");
    let (to, ack) = of_kind(sent(&mut node, Instant::ZERO), Kind::Ack).expect("an ack");
    let golden = sealed(&[
        &head(12, SILENT, US, PEER_LIFE.id, number(&ack), 2),
        &[9, 0, 0, 0], // the ping's number
        &[1],          // target: who answered
        &[0],          // owed
        &[0, 0],       // reserved
        &version_hash(&[], &[], 0),
        &entry(0, 1),
        &our_entry(),
    ]);
    assert_eq!((to, ack), (PEER, golden));
    let member = node.member(PEER).expect("known");
    assert_eq!((member.life, member.incarnation, member.state), (PEER_LIFE, 4, State::Alive));
    assert_eq!(
        (member.address, member.meta.weight(), member.meta.opaque),
        (Address([0xd2; 24]), 100, [0xe2; 14])
    );
}

#[test]
fn gossip_a_ping_and_a_ping_req() {
    let mut node = node();
    node.handle_packet(Instant::ZERO, SEED, &ping_of_the_peer(1)).expect("taken");
    sent(&mut node, Instant::ZERO);
    let (mut ping, mut ping_req) = (None, None);
    for ms in 1..=260 {
        let sent = sent(&mut node, Instant::from_millis(ms));
        ping = ping.or(of_kind(sent.clone(), Kind::Ping));
        ping_req = ping_req.or(of_kind(sent, Kind::PingReq));
    }
    let (target, ping) = ping.expect("a probe");
    let (helper, ping_req) = ping_req.expect("a call for help");
    assert!(target != helper && target != US && helper != US);
    let golden = |kind: u8, packet: &[u8], members: &[u8]| {
        let count = (members.len() / 64) as u8;
        let head = head(kind, SILENT, US, 0, number(packet), count);
        sealed(&[&head, &[1, 0, 0, 0], &[target.get(), 0, 0, 0], &version_hash(&[], &[], 0), members])
    };
    // How much is told depends on what was told before.
    assert_eq!(ping, golden(10, &ping, &ping[80..]));
    assert_eq!(ping_req, golden(11, &ping_req, &ping_req[80..]));
}

#[test]
fn gossip_of_a_leaver() {
    let mut node = node();
    node.handle_packet(Instant::ZERO, SEED, &ping_of_the_peer(1)).expect("taken");
    sent(&mut node, Instant::ZERO);
    node.leave(Instant::ZERO);
    let mut left = our_entry();
    left[1] = 4;
    let goodbyes: Vec<_> = sent(&mut node, Instant::ZERO)
        .into_iter()
        .filter(|(_, packet)| packet[1] == Kind::Gossip as u8)
        .collect();
    assert_eq!(goodbyes.len(), 2);
    for (to, packet) in goodbyes {
        let body = [&[0; 4][..], &[to.get()], &[0; 11]].concat();
        assert_eq!(packet[64..80], body[..], "sixteen bytes that mean nothing");
        assert_eq!(packet[80..80 + 64], left[..], "first of all that it leaves");
    }
    assert_eq!(node.member(US).map(|member| member.state), Some(State::Left));
}

/// A suspect's entry tells who suspects it.
#[test]
fn the_word_of_a_suspect() {
    let mut node = node();
    let mut suspect = entry(0, 2);
    // Slots 2 and 1, in any order, with room for two more.
    suspect[12..16].copy_from_slice(&[3, 0, 2, 0]);
    let packet = sealed(&[&head(13, 1, PEER, 0, 1, 2), &peer_entry(), &suspect]);
    node.handle_packet(Instant::ZERO, SEED, &packet).expect("taken");
    let told = sent(&mut node, Instant::from_millis(1)).into_iter();
    let told: Vec<_> =
        told.filter(|(to, _)| *to == PEER).flat_map(|(_, packet)| packet[80..].to_vec()).collect();
    suspect[12..16].copy_from_slice(&[2, 3, 0, 0]);
    assert!(told.windows(64).any(|entry| entry == suspect), "passed on");
    let state = node.member(THIRD).map(|&Member { state, life, .. }| (state, life));
    assert_eq!(state, Some((State::Suspect, Life { generation: 3, id: 0xa0a0_a0a0_a0a0_a0a0 })));
    for bits in 0..64_u64 {
        let slots = crate::id::SlotSet::from_bits(bits);
        let entry = MemberEntry { by: MemberEntry::by(slots), ..entry_of(&suspect) };
        assert_eq!(entry.suspected_by().len(), slots.len().min(4));
        assert!(entry.suspected_by().difference(slots).is_empty());
    }
}

fn entry_of(bytes: &[u8]) -> MemberEntry {
    *<MemberEntry as zerocopy::FromBytes>::ref_from_bytes(bytes).expect("64 bytes")
}

// ---- rejects ----

/// Gossip of two entries, the second with `bytes` at `at`.
fn second_entry(at: usize, bytes: &[u8]) -> Option<Reject> {
    let mut second = entry(0, 1);
    second[at..at + bytes.len()].copy_from_slice(bytes);
    rejected(&sealed(&[&head(13, 1, PEER, 0, 1, 2), &peer_entry(), &second]))
}

#[test]
fn member_out_of_range() {
    assert_eq!(second_entry(0, &[2]), None);
    assert_eq!([second_entry(0, &[3]), second_entry(0, &[0xff])], [Some(Reject::Member); 2], "slot");
    assert_eq!(second_entry(1, &[4]), None);
    assert_eq!([0, 5, 0xff].map(|state| second_entry(1, &[state])), [Some(Reject::Member); 3], "state");
    assert_eq!(second_entry(16, &[0; 8]), Some(Reject::Member), "life");
    for at in 12..16 {
        assert_eq!(second_entry(at, &[3]), None);
        assert_eq!(second_entry(at, &[4]), Some(Reject::Member), "who suspects it");
    }
    assert_eq!(second_entry(2, &[0xff; 2]), None, "reserved");
    assert_eq!(second_entry(4, &[0xff; 8]), None, "the greatest incarnation and generation");
}

#[test]
fn length_below_the_members() {
    for members in [3, 0xff] {
        let packet = sealed(&[&head(13, 1, PEER, 0, 1, members), &peer_entry(), &entry(0, 1)]);
        assert_eq!(rejected(&packet), Some(Reject::Length));
    }
    // What the members take is not the body's.
    let packet = sealed(&[&head(10, 1, PEER, 0, 1, 1), &entry(0, 1)]);
    assert_eq!(rejected(&packet), Some(Reject::Length));
}

#[test]
fn field_of_a_probe_with_a_target_out_of_range() {
    for kind in 10..13 {
        let head = head(kind, 1, PEER, OUR_LIFE.id, 1, 0);
        let probe = |target: u8| sealed(&[&head, &[7, 0, 0, 0, target, 0, 0, 0], &[0; 8]]);
        assert_eq!(
            [2, 3, 0xff].map(|target| rejected(&probe(target))),
            [None, Some(Reject::Field), Some(Reject::Field)]
        );
    }
}
