//! Every kind: what the writers make is, byte by byte, what the layout says, and it parses back field by field.

use std::vec::Vec;

use super::{
    KEY_A, KEY_B, OUR_LIFE, PEER, PEER_LIFE, SLOTS, active, build, header, incoming, parsed, record, sealed,
    shape, take, version_hash, written,
};
use crate::clock::{Dot, VersionVector};
use crate::id::{Key, Life, Slot, SlotSet};
use crate::map::{Map, Request};
use crate::ownership::owner;
use crate::time::Instant;
use crate::wire::{Body, Envelope, Kind, Records, flag};

const CAUGHT_UP: u8 = 1;
const UNMET: u8 = 4;

/// Our header, as packet number 7.
fn ours(kind: u8, flags: u8, to_life: u64) -> Vec<u8> {
    header(kind, flags, Slot::at(1), to_life, 7)
}

/// Checks the header of one of our packets, and returns its body.
fn opened(packet: &[u8], kind: Kind, flags: u8, to_life: u64) -> Body<'_> {
    let (envelope, body) = parsed(packet).expect("a packet that parses");
    assert_eq!(envelope, Envelope { kind, slot: Slot::at(1), flags, life: OUR_LIFE, to_life });
    body
}

fn assert_record(records: &Records<'_>, at: usize, key: Key, dot: (usize, u64), term: u32, value: u8) {
    let record = records.iter().nth(at).expect("a record");
    assert_eq!(record.key(), key);
    assert_eq!(record.dot(), Dot { slot: Slot::at(dot.0), counter: dot.1 });
    assert_eq!(record.term(), term);
    assert_eq!(record.is_tombstone(), value == 0);
    assert_eq!(record.value()[..12], [value; 12]);
    assert_eq!(record.value()[12..], [0; 4]);
}

/// The peer's log to position 9, complete: one record, its version, floor 3.
fn first_delta() -> Vec<u8> {
    incoming(
        2,
        &[
            &shape(1),
            &[0, 0, 0, 0, 0, 0, 0, 0], // from 0
            &[9, 0, 0, 0, 0, 0, 0, 0], // to 9
            &[9, 0, 0, 0, 0, 0, 0, 0], // head 9
            &[3, 0, 0, 0],             // floor 3
            &[7, 0, 0, 0],             // FROM_BASE, COMPLETE, LAST
            &record(KEY_B, [3, 2], 4, 2, 0, 0x22),
            &[4, 0, 0, 0, 0, 0, 0, 0], // slot 2
            &[2, 0, 0, 0, 3, 0, 0, 0], // its counter: generation 3, sequence 2
        ],
    )
}

/// A version of the peer's that wants everything.
fn bare_version() -> Vec<u8> {
    incoming(
        1,
        &[
            &shape(0),
            &[0; 8],                   // cursor
            &[0; 8],                   // until
            &[4, 0],                   // window 4
            &[4, 0],                   // FORCE
            &[0; 4],                   // floor
            &[0; 8],                   // reserved
            &[0, 0, 0, 0, 0, 0, 0, 0], // no slots
        ],
    )
}

/// The packet of the worked example: see [`documented`](super::documented).
pub(super) fn version() -> Vec<u8> {
    let mut map = active();
    map.put(KEY_A, &[0x11; 12]).unwrap();
    take(&mut map, &first_delta()).unwrap();
    // Log positions 10 to 12 were lost; 13 and 14 wait.
    let behind_a_gap = incoming(
        2,
        &[
            &shape(0),
            &[12, 0, 0, 0, 0, 0, 0, 0], // from 12
            &[14, 0, 0, 0, 0, 0, 0, 0], // to 14
            &[20, 0, 0, 0, 0, 0, 0, 0], // head 20
            &[0, 0, 0, 0],
            &[0, 0, 0, 0],
            &[0; 8],
        ],
    );
    take(&mut map, &behind_a_gap).unwrap();
    let request = Request { reply: true, force: true, window: 4 };
    written(&mut map, |map, frame| map.write_version(PEER, &request, frame))
}

#[test]
fn a_version() {
    let golden = sealed(&[
        &ours(1, CAUGHT_UP, PEER_LIFE.id),
        &shape(0),
        &[9, 0, 0, 0, 0, 0, 0, 0],  // cursor 9
        &[12, 0, 0, 0, 0, 0, 0, 0], // until 12
        &[4, 0],                    // window 4
        &[23, 0],                   // REPLY, HAS_CURSOR, FORCE, UNSEEN
        &[3, 0, 0, 0],              // floor 3
        &[0, 0, 0, 0, 0, 0, 0, 0],  // reserved
        &[6, 0, 0, 0, 0, 0, 0, 0],  // slots 1 and 2
        &[1, 0, 0, 0, 5, 0, 0, 0],  // slot 1: generation 5, sequence 1
        &[2, 0, 0, 0, 3, 0, 0, 0],  // slot 2: generation 3, sequence 2
    ]);
    assert_eq!(version(), golden);
    let Body::Version(body) = opened(&golden, Kind::Version, flag::CAUGHT_UP, PEER_LIFE.id) else {
        panic!("a version")
    };
    assert_eq!(body.fixed.shape.schema.get(), 0x1122_3344);
    assert_eq!(body.fixed.shape.value_len.get(), 12);
    assert_eq!((body.fixed.cursor.get(), body.fixed.until.get()), (9, 12));
    assert_eq!((body.fixed.window.get(), body.fixed.flags.get()), (4, 23));
    assert_eq!(body.fixed.floor.get(), 3);
    let vector = body.version.to_vector::<SLOTS>();
    assert_eq!(*vector.counters(), [0, 5 << 32 | 1, 3 << 32 | 2]);
}

/// The packet of the worked example: see [`documented`](super::documented).
pub(super) fn delta() -> Vec<u8> {
    let mut map = active();
    map.put(KEY_A, &[0x11; 12]).unwrap();
    map.put(KEY_B, &[0x22; 12]).unwrap();
    map.remove(KEY_B).unwrap();
    take(&mut map, &bare_version()).unwrap();
    written(&mut map, |map, frame| map.write_delta(PEER, frame))
}

#[test]
fn a_delta() {
    let golden = sealed(&[
        &ours(2, CAUGHT_UP, PEER_LIFE.id),
        &shape(2),
        &[0, 0, 0, 0, 0, 0, 0, 0], // from 0
        &[3, 0, 0, 0, 0, 0, 0, 0], // to 3
        &[3, 0, 0, 0, 0, 0, 0, 0], // head 3
        &[0, 0, 0, 0],             // floor
        &[14, 0, 0, 0],            // FROM_SCAN, COMPLETE, LAST
        &record(KEY_A, [5, 1], 1, 1, 0, 0x11),
        &record(KEY_B, [5, 3], 1, 1, 1, 0),
        &[2, 0, 0, 0, 0, 0, 0, 0], // slot 1
        &[3, 0, 0, 0, 5, 0, 0, 0], // its counter
    ]);
    assert_eq!(delta(), golden);
    let Body::Delta(body) = opened(&golden, Kind::Delta, flag::CAUGHT_UP, PEER_LIFE.id) else {
        panic!("a delta")
    };
    assert_eq!(body.fixed.shape.count.get(), 2);
    assert_eq!((body.fixed.from.get(), body.fixed.to.get(), body.fixed.head.get()), (0, 3, 3));
    assert_eq!((body.fixed.floor.get(), body.fixed.flags.get()), (0, 14));
    assert_eq!(body.records.len(), 2);
    assert_record(&body.records, 0, KEY_A, (1, 5 << 32 | 1), 1, 0x11);
    assert_record(&body.records, 1, KEY_B, (1, 5 << 32 | 3), 1, 0);
    assert_eq!(*body.version.to_vector::<SLOTS>().counters(), [0, 5 << 32 | 3, 0]);
}

/// A walk cut short by the frame carries an empty version, and neither COMPLETE nor LAST.
#[test]
fn a_delta_that_is_cut() {
    let mut map = active();
    map.put(KEY_A, &[0x11; 12]).unwrap();
    map.put(KEY_B, &[0x22; 12]).unwrap();
    take(&mut map, &bare_version()).unwrap();
    // Room for one record and an empty version.
    let cut = written(&mut map, |map, frame| map.write_delta(PEER, &mut frame[..64 + 40 + 48 + 8]));
    let golden = sealed(&[
        &ours(2, CAUGHT_UP, PEER_LIFE.id),
        &shape(1),
        &[0, 0, 0, 0, 0, 0, 0, 0], // from 0
        &[1, 0, 0, 0, 0, 0, 0, 0], // to 1
        &[2, 0, 0, 0, 0, 0, 0, 0], // head 2
        &[0, 0, 0, 0],             // floor
        &[8, 0, 0, 0],             // FROM_SCAN
        &record(KEY_A, [5, 1], 1, 1, 0, 0x11),
        &[0, 0, 0, 0, 0, 0, 0, 0], // no slots
    ]);
    assert_eq!(cut, golden);
    let Body::Delta(body) = opened(&golden, Kind::Delta, flag::CAUGHT_UP, PEER_LIFE.id) else {
        panic!("a delta")
    };
    assert_eq!(body.version.to_vector::<SLOTS>(), VersionVector::new());
}

#[test]
fn a_push() {
    let mut map = active();
    take(&mut map, &bare_version()).unwrap();
    map.put(KEY_A, &[0x11; 12]).unwrap();
    map.put(KEY_B, &[0x22; 12]).unwrap();
    let golden = sealed(&[
        &ours(3, CAUGHT_UP, PEER_LIFE.id),
        &shape(2),
        &[0, 0, 0, 0, 0, 0, 0, 0], // from 0
        &[2, 0, 0, 0, 5, 0, 0, 0], // to generation 5, sequence 2
        &[0, 0, 0, 0],             // floor
        &[0, 0, 0, 0],             // reserved
        &record(KEY_A, [5, 1], 1, 1, 0, 0x11),
        &record(KEY_B, [5, 2], 1, 1, 0, 0x22),
    ]);
    assert_eq!(written(&mut map, |map, frame| map.write_push(PEER, frame)), golden);
    let Body::Push(body) = opened(&golden, Kind::Push, flag::CAUGHT_UP, PEER_LIFE.id) else {
        panic!("a push")
    };
    assert_eq!((body.fixed.from.get(), body.fixed.to.get()), (0, 5 << 32 | 2));
    assert_eq!(body.fixed.floor.get(), 0);
    assert_record(&body.records, 1, KEY_B, (1, 5 << 32 | 2), 1, 0x22);
}

/// The digest of one record, from the formula of the documentation.
fn digest_of(record: &[u8]) -> u64 {
    let mut x = 0x9e37_79b9_7f4a_7c15_u64;
    for word in record.chunks(8) {
        let word = word.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
        let product = u128::from(x ^ word) * u128::from(0xd1b5_4a32_d192_ed03_u64);
        x = (product % (1 << 64)) as u64 ^ (product >> 64) as u64 ^ word.rotate_left(32);
    }
    x
}

#[test]
fn a_digest() {
    let mut map = active();
    map.put(KEY_A, &[0x11; 12]).unwrap();
    map.put(KEY_B, &[0x22; 12]).unwrap();
    take(&mut map, &first_delta()).unwrap();
    let (a, b) = (record(KEY_A, [5, 1], 1, 1, 0, 0x11), record(KEY_B, [3, 2], 4, 2, 0, 0x22));
    let golden = sealed(&[
        &ours(4, CAUGHT_UP, PEER_LIFE.id),
        &shape(1),
        &[1, 0, 0, 0, 0, 0, 0, 0], // question 1
        &[0, 0, 0, 0],             // bucket 0
        &[0],                      // 0 bits: one bucket
        &[0, 0, 0],                // reserved
        &digest_of(&a).wrapping_add(digest_of(&b)).to_le_bytes(),
    ]);
    assert_eq!(written(&mut map, |map, frame| map.write_digest(PEER, frame)), golden);
    let Body::Digest(body) = opened(&golden, Kind::Digest, flag::CAUGHT_UP, PEER_LIFE.id) else {
        panic!("a digest")
    };
    assert_eq!((body.fixed.question.get(), body.fixed.first.get(), body.fixed.bits), (1, 0, 0));
    assert_eq!(body.digests.len(), 1);
    assert_eq!(body.digests[0].get(), map.digest(0, u64::MAX));
}

/// A question of the peer's with a digest that no table has.
fn question() -> Vec<u8> {
    incoming(4, &[&shape(1), &[0x77, 0, 0, 0, 0, 0, 0, 0], &[0; 4], &[0], &[0; 3], &[1; 8]])
}

#[test]
fn a_repair() {
    let mut map = active();
    map.put(KEY_A, &[0x11; 12]).unwrap();
    map.put(KEY_B, &[0x22; 12]).unwrap();
    map.remove(KEY_B).unwrap();
    take(&mut map, &bare_version()).unwrap();
    take(&mut map, &question()).unwrap();
    let golden = sealed(&[
        &ours(5, CAUGHT_UP, PEER_LIFE.id),
        &shape(1),
        &[0x77, 0, 0, 0, 0, 0, 0, 0], // question
        &[0, 0, 0, 0, 0, 0, 0, 0],    // from mix 0
        &[0xff; 8],                   // to the last mix
        &[0, 0, 0, 0],                // flags
        &[0, 0, 0, 0],                // reserved
        &record(KEY_A, [5, 1], 1, 1, 0, 0x11),
    ]);
    assert_eq!(written(&mut map, Map::write_repair), golden);
    let Body::Repair(body) = opened(&golden, Kind::Repair, flag::CAUGHT_UP, PEER_LIFE.id) else {
        panic!("a repair")
    };
    assert_eq!((body.fixed.question.get(), body.fixed.flags.get()), (0x77, 0));
    assert_eq!((body.fixed.from.get(), body.fixed.to.get()), (0, u64::MAX));
    assert_eq!(body.records.len(), 1);
    assert_record(&body.records, 0, KEY_A, (1, 5 << 32 | 1), 1, 0x11);
}

/// The peer's answer to our first question: these records, and no more.
fn answer(records: &[u8]) -> Vec<u8> {
    let fixed: [&[u8]; 6] = [
        &shape((records.len() / 48) as u8),
        &[1, 0, 0, 0, 0, 0, 0, 0],
        &[0; 8],
        &[0xff; 8],
        &[0; 4],
        &[0; 4],
    ];
    incoming(5, &[&fixed.concat(), records])
}

#[test]
fn a_repair_back() {
    let mut map = active();
    map.put(KEY_A, &[0x11; 12]).unwrap();
    take(&mut map, &bare_version()).unwrap();
    written(&mut map, |map, frame| map.write_digest(PEER, frame));
    take(&mut map, &answer(&[])).unwrap();
    // Deleted since it was found to be missing there: the tombstone goes back in its place.
    map.remove(KEY_A).unwrap();
    let golden = sealed(&[
        &ours(5, CAUGHT_UP, PEER_LIFE.id),
        &shape(1),
        &[1, 0, 0, 0, 0, 0, 0, 0], // question
        &[0, 0, 0, 0, 0, 0, 0, 0], // from
        &[0xff; 8],                // to
        &[1, 0, 0, 0],             // BACK
        &[0, 0, 0, 0],             // reserved
        &record(KEY_A, [5, 2], 1, 1, 1, 0),
    ]);
    assert_eq!(written(&mut map, Map::write_repair), golden);
    let Body::Repair(body) = opened(&golden, Kind::Repair, flag::CAUGHT_UP, PEER_LIFE.id) else {
        panic!("a repair")
    };
    assert_eq!(body.fixed.flags.get(), 1);
    assert_record(&body.records, 0, KEY_A, (1, 5 << 32 | 2), 1, 0);
}

#[test]
fn a_report() {
    let mut map = active();
    // Our version covers the peer's writes to sequence 2.
    take(&mut map, &first_delta()).unwrap();
    let key = (0..u128::MAX).map(|n| Key(n.to_le_bytes())).find(|&key| owner(key, map.live()) == Some(PEER));
    let absent = record(key.unwrap(), [3, 1], 1, 2, 0, 0x33);
    written(&mut map, |map, frame| map.write_digest(PEER, frame));
    take(&mut map, &answer(&absent)).unwrap();
    let golden = sealed(&[&ours(6, CAUGHT_UP, PEER_LIFE.id), &shape(1), &absent]);
    assert_eq!(written(&mut map, Map::write_report), golden);
    let Body::Report(body) = opened(&golden, Kind::Report, flag::CAUGHT_UP, PEER_LIFE.id) else {
        panic!("a report")
    };
    assert_record(&body.records, 0, key.unwrap(), (2, 3 << 32 | 1), 1, 0x33);
}

/// A map whose start deadline passed before it met the peer.
fn expired() -> Map<'static, SLOTS> {
    let mut map = build(SlotSet::first(SLOTS));
    map.advance(Instant::from_millis(1));
    take(&mut map, &bare_version()).unwrap();
    map
}

/// The peer's answer about our older records: none so far, ask on at `resume`.
fn history(resume: u8) -> Vec<u8> {
    incoming(8, &[&shape(0), &[resume, 0, 0, 0], &[0, 0, 0, 0]])
}

#[test]
fn a_history_ask() {
    let mut map = expired();
    take(&mut map, &history(0x20)).unwrap();
    let golden = sealed(&[
        &ours(7, CAUGHT_UP | UNMET, PEER_LIFE.id),
        &shape(0),
        &[1, 0, 0, 0, 5, 0, 0, 0], // below the first counter of generation 5
        &[0x20, 0, 0, 0],          // resume
        &[0, 0, 0, 0],             // reserved
    ]);
    assert_eq!(written(&mut map, |map, frame| map.write_history_ask(PEER, frame)), golden);
    let Body::HistoryAsk(body) =
        opened(&golden, Kind::HistoryAsk, flag::CAUGHT_UP | flag::UNMET, PEER_LIFE.id)
    else {
        panic!("a history ask")
    };
    assert_eq!((body.fixed.below.get(), body.fixed.resume.get()), (5 << 32 | 1, 0x20));
}

#[test]
fn a_history_answer() {
    let mut map = active();
    take(&mut map, &first_delta()).unwrap();
    // The peer's life now would be of generation 4.
    let ask = incoming(7, &[&shape(0), &[1, 0, 0, 0, 4, 0, 0, 0], &[0; 4], &[0; 4]]);
    take(&mut map, &ask).unwrap();
    let golden = sealed(&[
        &ours(8, CAUGHT_UP, PEER_LIFE.id),
        &shape(1),
        &[0, 0, 0, 0], // resume: this was the last
        &[0, 0, 0, 0], // flags: of the receiver's slot
        &record(KEY_B, [3, 2], 4, 2, 0, 0x22),
    ]);
    assert_eq!(written(&mut map, |map, frame| map.write_history_answer(PEER, frame)), golden);
    let Body::HistoryAnswer(body) = opened(&golden, Kind::HistoryAnswer, flag::CAUGHT_UP, PEER_LIFE.id)
    else {
        panic!("a history answer")
    };
    assert_eq!((body.fixed.resume.get(), body.fixed.flags.get()), (0, 0));
    assert_record(&body.records, 0, KEY_B, (2, 3 << 32 | 2), 4, 0x22);
}

#[test]
fn a_history_told() {
    let mut map = expired();
    let found = record(KEY_A, [4, 9], 2, 1, 0, 0x44);
    let told = incoming(8, &[&shape(1), &[0, 0, 0, 0], &[0, 0, 0, 0], &found]);
    take(&mut map, &told).unwrap();
    let golden = sealed(&[
        &ours(8, CAUGHT_UP | UNMET, PEER_LIFE.id),
        &shape(1),
        &[0, 0, 0, 0], // resume
        &[1, 0, 0, 0], // OWN
        &found,
    ]);
    assert_eq!(written(&mut map, |map, frame| map.write_history_answer(PEER, frame)), golden);
    let Body::HistoryAnswer(body) =
        opened(&golden, Kind::HistoryAnswer, flag::CAUGHT_UP | flag::UNMET, PEER_LIFE.id)
    else {
        panic!("a history answer")
    };
    assert_eq!(body.fixed.flags.get(), 1);
    assert_record(&body.records, 0, KEY_A, (1, 4 << 32 | 9), 2, 0x44);
}

#[test]
fn a_life_notice() {
    let mut map = active();
    let other = Life { generation: 9, id: 0xd8d7_d6d5_d4d3_d2d1 };
    let golden = sealed(&[
        &ours(9, CAUGHT_UP, PEER_LIFE.id),
        &[9, 0, 0, 0], // generation of the other life
        &[2],          // the slot that both claim
        &[0, 0, 0],    // reserved
        &[0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8],
    ]);
    let notice = written(&mut map, |map, frame| map.write_life_notice(PEER, other, PEER_LIFE.id, frame));
    assert_eq!(notice, golden);
    let Body::LifeNotice(body) = opened(&golden, Kind::LifeNotice, flag::CAUGHT_UP, PEER_LIFE.id) else {
        panic!("a life notice")
    };
    assert_eq!((body.slot, body.life, body.forgotten), (PEER, other, false));
}

/// A map that has forgotten slot 0 in generation 7, and knows of one tombstone that left because of that: the peer's.
fn forgetful() -> Map<'static, SLOTS> {
    let mut map = active();
    map.hear_of(Slot::at(0), 7);
    map.set_live(SlotSet::first(SLOTS).without(Slot::at(0)));
    assert_eq!(map.forget(Slot::at(0)), Ok(7));
    let buries = incoming(
        2,
        &[
            &shape(0),
            &[0; 24],                  // an empty log
            &[0, 0, 0, 0],             // floor
            &[23, 0, 0, 0],            // FROM_BASE, COMPLETE, LAST, BURIED
            &[4, 0, 0, 0, 0, 0, 0, 0], // version: slot 2
            &[2, 0, 0, 0, 3, 0, 0, 0], // its counter: generation 3, sequence 2
            &[4, 0, 0, 0, 0, 0, 0, 0], // buried: slot 2
            &[1, 0, 0, 0, 3, 0, 0, 0], // generation 3, sequence 1
        ],
    );
    take(&mut map, &buries).unwrap();
    assert_eq!(*map.buried().counters(), [0, 0, 3 << 32 | 1]);
    map
}

#[test]
fn a_version_that_forgets() {
    let golden = sealed(&[
        &ours(1, CAUGHT_UP, PEER_LIFE.id),
        &shape(0),
        &[0, 0, 0, 0, 0, 0, 0, 0],             // cursor 0
        &[0, 0, 0, 0, 0, 0, 0, 0],             // until
        &[0, 0],                               // window
        &[26, 0],                              // HAS_CURSOR, FORGETS, UNSEEN
        &[0, 0, 0, 0],                         // floor
        &[0, 0, 0, 0, 0, 0, 0, 0],             // reserved
        &[4, 0, 0, 0, 0, 0, 0, 0],             // slot 2
        &[2, 0, 0, 0, 3, 0, 0, 0],             // generation 3, sequence 2
        &[1, 0, 0, 0, 0, 0, 0, 0],             // forgotten: slot 0
        &[0xff, 0xff, 0xff, 0xff, 7, 0, 0, 0], // all of generation 7
    ]);
    let request = Request::default();
    let version = written(&mut forgetful(), |map, frame| map.write_version(PEER, &request, frame));
    assert_eq!(version, golden);
    let Body::Version(body) = opened(&golden, Kind::Version, flag::CAUGHT_UP, PEER_LIFE.id) else {
        panic!("a version")
    };
    assert_eq!(*body.forgotten.to_vector::<SLOTS>().counters(), [7 << 32 | 0xffff_ffff, 0, 0]);
}

/// Slot 0 is back, in a life that knows nothing: it is told what is buried, before anything else of the packet is used.
#[test]
fn a_delta_that_buries() {
    let mut map = forgetful();
    map.put(KEY_A, &[0x11; 12]).unwrap();
    let (back, to) = (Life { generation: 8, id: 0xf1 }, Slot::at(0));
    let mut asks = bare_version();
    asks[2] = to.get();
    asks[16..20].copy_from_slice(&back.generation.to_le_bytes());
    asks[24..32].copy_from_slice(&back.id.to_le_bytes());
    take(&mut map, &sealed(&[&asks])).unwrap();
    let golden = sealed(&[
        &ours(2, CAUGHT_UP, back.id),
        &shape(1),
        &[0, 0, 0, 0, 0, 0, 0, 0], // from 0
        &[1, 0, 0, 0, 0, 0, 0, 0], // to 1
        &[1, 0, 0, 0, 0, 0, 0, 0], // head 1
        &[0, 0, 0, 0],             // floor
        &[30, 0, 0, 0],            // FROM_SCAN, COMPLETE, LAST, BURIED
        &record(KEY_A, [5, 1], 1, 1, 0, 0x11),
        &[6, 0, 0, 0, 0, 0, 0, 0], // slots 1 and 2
        &[1, 0, 0, 0, 5, 0, 0, 0],
        &[2, 0, 0, 0, 3, 0, 0, 0],
        &[4, 0, 0, 0, 0, 0, 0, 0], // buried: slot 2
        &[1, 0, 0, 0, 3, 0, 0, 0],
    ]);
    assert_eq!(written(&mut map, |map, frame| map.write_delta(to, frame)), golden);
    let Body::Delta(body) = opened(&golden, Kind::Delta, flag::CAUGHT_UP, back.id) else { panic!("a delta") };
    assert_eq!(*body.buried.to_vector::<SLOTS>().counters(), [0, 0, 3 << 32 | 1]);
}

#[test]
fn a_life_notice_of_a_forgotten_life() {
    let id = 0xd8d7_d6d5_d4d3_d2d1;
    let golden = sealed(&[
        &ours(9, CAUGHT_UP, id),
        &[7, 0, 0, 0], // the last generation that was forgotten
        &[0],          // the slot
        &[1],          // FORGOTTEN
        &[0, 0],       // reserved
        &[0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8],
    ]);
    let to = Slot::at(0);
    assert_eq!(written(&mut forgetful(), |map, frame| map.write_forgotten_notice(to, id, frame)), golden);
    let Body::LifeNotice(body) = opened(&golden, Kind::LifeNotice, flag::CAUGHT_UP, id) else {
        panic!("a life notice")
    };
    assert_eq!((body.slot, body.life, body.forgotten), (to, Life { generation: 7, id }, true));
}

/// A ping of the peer's with this version hash.
fn ping(version: [u8; 8]) -> Vec<u8> {
    incoming(10, &[&[9, 0, 0, 0], &[1, 0, 0, 0], &version])
}

#[test]
fn a_version_hash() {
    let mut map = active();
    let ours = |map: &Map<'_, SLOTS>| map.version_hash().to_le_bytes();
    assert_eq!(ours(&map), version_hash(&[], &[], 0));
    map.put(KEY_A, &[0x11; 12]).unwrap();
    assert_eq!(ours(&map), version_hash(&[(1, 5 << 32 | 1)], &[], 0));
    take(&mut map, &first_delta()).unwrap();
    let counters = [(1, 5 << 32 | 1), (2, 3 << 32 | 2)];
    assert_eq!(ours(&map), version_hash(&counters, &[], 3));
    // A push behind a gap: its record is held ahead of the version.
    let gap: [&[u8]; 4] = [&shape(1), &[5, 0, 0, 0, 3, 0, 0, 0], &[6, 0, 0, 0, 3, 0, 0, 0], &[3, 0, 0, 0]];
    let ahead = record(KEY_A, [3, 6], 9, 2, 0, 0x33);
    take(&mut map, &incoming(3, &[&gap.concat(), &[0; 4], &ahead])).unwrap();
    let held = (2, 3 << 32 | 6);
    assert_eq!(ours(&map), version_hash(&counters, &[held], 3));
    // The value that the documentation gives.
    assert_eq!(map.version_hash(), 0xc4a4_43e9_e2ec_9068);

    // An equal one is taken for a version like ours, any other for nothing.
    let known = |map: &Map<'_, SLOTS>| *map.version_of(PEER);
    for other in [version_hash(&counters, &[], 3), version_hash(&counters, &[held], 2), [0; 8]] {
        let before = known(&map);
        take(&mut map, &ping(other)).unwrap();
        assert!(known(&map) == before && known(&map) != *map.version());
    }
    let equal = ours(&map);
    take(&mut map, &ping(equal)).unwrap();
    // What the push announced is known beside.
    assert_eq!(*known(&map).counters(), [0, 5 << 32 | 1, 3 << 32 | 6]);
}

/// The flags of a server that may not write yet.
#[test]
fn the_flags_of_a_starting_server() {
    let mut map = build(SlotSet::first(SLOTS));
    let packet = written(&mut map, |map, frame| map.write_version(PEER, &Request::default(), frame));
    assert_eq!(packet[3], 2);
    // Nothing known of the peer: for any life of its.
    assert_eq!(packet[32..40], [0; 8]);
}
