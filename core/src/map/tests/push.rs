//! The author's push: what is claimed with it, when it only announces, and what its receiver makes of it.

use super::*;
use crate::limits::FRESH;
use crate::wire::{PushFixed, Reject};

const AUTHOR: Slot = Slot::at(0);
const PEER: Slot = Slot::at(1);
/// Records of 40 bytes that fit 1,400 less header and fixed part.
const FIT: usize = 32;

/// An author that writes, and a peer that know each other.
fn pair() -> [Box<Replica>; 2] {
    let [mut author, mut peer] = [0, 1].map(|slot| replica(slot, 1_000));
    for _ in 0..2 {
        tell(&author, &mut peer);
        tell(&peer, &mut author);
    }
    [author, peer]
}

fn pushed(author: &mut Replica) -> Option<Vec<u8>> {
    written(|frame| author.write_push(PEER, frame))
}

/// The range that a push claims, in writes of this life, and its records.
fn claim(packet: &[u8]) -> (u32, u32, usize) {
    let (_, Body::Push(push)) = parse(packet, CLUSTER, &SHAPE, 4).unwrap() else { unreachable!() };
    (push.fixed.from.get() as u32, push.fixed.to.get() as u32, push.records.len())
}

/// Returns whether something before it was missed.
fn take(peer: &mut Replica, packet: &[u8]) -> bool {
    let (envelope, Body::Push(push)) = parse(packet, CLUSTER, &SHAPE, 4).unwrap() else { unreachable!() };
    peer.admit(&envelope).unwrap();
    peer.on_push(envelope.slot, &push).unwrap()
}

#[test]
fn writes_are_pushed_once_oldest_first_and_accounted_for() {
    let [mut author, mut peer] = pair();
    assert!(!author.owes_push(PEER) && author.push_backlog(PEER) == 0);
    assert_eq!(pushed(&mut author), None);
    put_all(&mut author, 0..50);
    assert!(author.owes_push(PEER) && !author.owes_push(Slot::at(2)), "nobody was heard there");
    assert_eq!(author.push_backlog(PEER), 50);
    let sent = author.stats().records_sent;
    let packets = [(); 3].map(|()| pushed(&mut author));
    let [Some(first), Some(second), None] = &packets else { panic!("{packets:?}") };
    assert_eq!((claim(first), claim(second)), ((0, 32, FIT), (32, 50, 50 - FIT)));
    assert!(!author.owes_push(PEER) && author.push_backlog(PEER) == 0);
    assert_eq!((author.stats().records_sent - sent, author.stats().pushes_announced), (50, 0));
    assert!(!take(&mut peer, first) && !take(&mut peer, second));
    assert_eq!((peer.len(), peer.version()), (50, author.version()));
    assert_eq!((peer.stats().pushes_taken, peer.stats().push_gaps), (2, 0));
    assert!(!take(&mut peer, first), "again, and late");
    assert_eq!((peer.stats().pushes_taken, peer.stats().records_covered), (2, FIT as u64));
    assert!(!take(&mut peer, second));
    assert_eq!(peer.stats().pushes_taken, 2);
}

#[test]
fn behind_a_gap_records_are_taken_and_nothing_is_accounted_for() {
    let [mut author, mut peer] = pair();
    put_all(&mut author, 0..50);
    let (_lost, second) = (pushed(&mut author).unwrap(), pushed(&mut author).unwrap());
    assert!(take(&mut peer, &second));
    assert_eq!((peer.len(), peer.version().get(AUTHOR)), (50 - FIT, 0));
    assert_eq!((peer.stats().push_gaps, peer.stats().pushes_taken), (1, 0));
    assert!(peer.lacks(AUTHOR), "but it knows how far the author is");
    assert_eq!(peer.version_of(AUTHOR), author.version());
}

/// A write that was replaced is not there to be sent: whoever accounts for it has to have what replaced it.
#[test]
fn a_range_is_claimed_with_what_replaced_a_write_in_it_or_not_at_all() {
    let [mut author, _] = pair();
    put_all(&mut author, (0..10).chain(0..3));
    assert_eq!(claim(&pushed(&mut author).unwrap()), (0, 13, 10), "all of it is here");

    // The first is replaced by the last, which does not fit beside the others.
    let [mut author, mut peer] = pair();
    put_all(&mut author, (0..40).chain(0..1));
    let announced = pushed(&mut author).unwrap();
    assert_eq!(claim(&announced), (41, 41, 0));
    assert_eq!((author.stats().pushes_announced, author.stats().records_sent), (1, 0));
    assert!(take(&mut peer, &announced), "so it asks");
    assert!(peer.is_empty() && peer.version().occupied().is_empty());

    // What replaced it fits, and is before the end of the first packet.
    let [mut author, _] = pair();
    put_all(&mut author, (0..20).chain(0..1).chain(20..40));
    assert_eq!(claim(&pushed(&mut author).unwrap()), (0, 33, FIT));
    assert_eq!(claim(&pushed(&mut author).unwrap()), (33, 41, 8));
}

#[test]
fn more_than_is_remembered_is_announced() {
    for (writes, remembered) in [(FRESH, true), (FRESH + 1, false)] {
        let [mut author, _] = pair();
        put_all(&mut author, 0..writes as u64);
        assert_eq!(author.push_backlog(PEER), FRESH);
        let claimed = claim(&pushed(&mut author).unwrap());
        let all = writes as u32;
        assert_eq!(claimed, if remembered { (0, 32, FIT) } else { (all, all, 0) }, "{writes} writes");
    }
}

#[test]
fn where_anothers_record_replaced_a_write_it_is_announced() {
    let [mut author, mut peer] = pair();
    put_all(&mut author, 0..2);
    take(&mut peer, &pushed(&mut author).unwrap());
    put_all(&mut author, 2..3);
    put_all(&mut peer, 0..1);
    pull(&mut peer, &mut author);
    assert_eq!(author.inspect(key(0)).unwrap().dot.slot, PEER);
    assert_eq!(claim(&pushed(&mut author).unwrap()), (2, 3, 1), "pushed already: nothing of what is claimed");
    put_all(&mut author, 3..5);
    let mut other = replica(2, 1_000);
    pull(&mut author, &mut other);
    put_all(&mut other, 4..5);
    pull(&mut other, &mut author);
    assert_eq!(claim(&pushed(&mut author).unwrap()), (5, 5, 0), "one of two was replaced");
}

#[test]
fn who_does_not_write_pushes_nothing() {
    let mut starting = starting(AUTHOR, Life { generation: 2, id: 200 });
    let [mut before, mut peer] = pair();
    put_all(&mut before, 0..1);
    pull(&mut before, &mut peer);
    tell(&starting, &mut peer);
    pull(&mut peer, &mut starting);
    assert!(starting.phase() == Phase::Starting && starting.version().get(AUTHOR) > 0);
    assert!(!starting.owes_push(PEER), "of an earlier life");
    starting.advance(Instant::NEVER);
    assert!(matches!(starting.phase(), Phase::Active { .. }) && !starting.owes_push(PEER));
    put_all(&mut starting, 1..2);
    let push = pushed(&mut starting).unwrap();
    let (_, Body::Push(push)) = parse(&push, CLUSTER, &SHAPE, 4).unwrap() else { unreachable!() };
    assert_eq!(
        (push.fixed.from.get(), push.fixed.to.get(), push.records.len()),
        (1 << 32 | 1, 2 << 32 | 1, 1)
    );
}

#[test]
fn a_push_is_written_where_it_just_fits() {
    let [mut author, _] = pair();
    put_all(&mut author, 0..3);
    let mut push = |len: usize| author.write_push(PEER, &mut vec![0; len]).map(|(_, len)| len);
    assert_eq!((0..HEADER + 32).find_map(&mut push), None);
    assert_eq!(push(HEADER + 32 + 40), Some(HEADER + 32 + 40));
    assert_eq!(push(HEADER + 32 + 40 + 39), Some(HEADER + 32 + 40));
    assert_eq!(push(HEADER + 32 + 39), Some(HEADER + 32), "no place for a record: it is announced");
    assert_eq!(push(1_400), None);
    let [mut author, _] = pair();
    put_all(&mut author, 0..1);
    assert_eq!(author.write_push(PEER, &mut [0; HEADER + 32]).map(|(_, len)| len), Some(HEADER + 32));
}

/// A push is of its author's writes in the range that it claims, or it is none.
#[test]
fn records_that_are_not_what_a_push_claims_are_refused() {
    let [mut author, mut peer] = pair();
    put_all(&mut author, 0..3);
    let packet = pushed(&mut author).unwrap();
    let (_, Body::Push(push)) = parse(&packet, CLUSTER, &SHAPE, 4).unwrap() else { unreachable!() };
    let taken = |peer: &mut Replica, from, (behind, to): (u64, u64)| {
        let fixed = PushFixed { from: (1 << 32 | behind).into(), to: (1 << 32 | to).into(), ..*push.fixed };
        peer.on_push(from, &crate::wire::Push { fixed: &fixed, records: push.records })
    };
    for (from, range) in [(AUTHOR, (1, 3)), (AUTHOR, (0, 2)), (Slot::at(2), (0, 3))] {
        assert_eq!(taken(&mut peer, from, range), Err(Reject::Record), "{from} {range:?}");
    }
    peer.state.forgets.buried.raise(Slot::at(2), 1);
    peer.state.forgets.any_buried = true;
    assert_eq!(taken(&mut peer, AUTHOR, (0, 3)), Err(Reject::LacksBuried));
    assert!(peer.is_empty() && peer.version().occupied().is_empty());
    // Without a record there is nothing to refuse.
    put_all(&mut author, 3..4);
    author.state.push_barrier = u64::MAX;
    assert!(take(&mut peer, &pushed(&mut author).unwrap()));
    assert_eq!(peer.stats().push_gaps, 1);
}
