//! Lives (rule R4): who is heard, what word of another life in our slot does, and for how long.

use super::*;
use crate::limits::{GENERATION_TOLD_MAX, TOLD_INTERVAL};
use crate::time::Duration;
use crate::wire::{LifeNotice, Reject};

const ME: Slot = Slot::at(0);
const PEER: Slot = Slot::at(1);
/// Of the replica in our slot.
const ID: u64 = 100;

/// A replica in our slot, of this generation, that writes if `writes`, and starts otherwise.
fn ours(generation: u32, writes: bool) -> Box<Replica> {
    let start_deadline = if writes { Instant::ZERO } else { Instant::NEVER };
    let life = Life { generation, id: ID };
    let map = built(&MapConfig { start_deadline, ..config(ME, life, 100) });
    assert_eq!(map.phase() == Phase::Starting, !writes);
    map
}

fn hear(map: &mut Replica, generation: u32, id: u64) {
    map.on_life_notice(LifeNotice { slot: ME, life: Life { generation, id }, forgotten: false });
}

#[test]
fn who_writes_is_fenced_by_a_greater_life_and_not_by_a_lesser() {
    let greater = [(6, 1), (6, u64::MAX), (5, ID + 1)];
    for (generation, id) in greater {
        let mut map = ours(5, true);
        events(&mut map);
        hear(&mut map, generation, id);
        assert_eq!(map.phase(), Phase::Fenced, "{generation}:{id}");
        assert_eq!(events(&mut map), [Event::Fenced { by: Life { generation, id } }]);
        // What comes then changes nothing.
        hear(&mut map, 9, 9);
        assert_eq!((map.life().generation, events(&mut map)), (5, vec![]));
    }
    for (generation, id) in [(4, u64::MAX), (5, ID)] {
        let mut map = ours(5, true);
        events(&mut map);
        hear(&mut map, generation, id);
        assert_eq!((map.phase(), map.life().generation), (Phase::Active { expired: true }, 5));
        assert_eq!(events(&mut map), []);
    }
}

/// A lesser life of the same generation may have given our dots away: what this life wrote is written again, twice at most.
#[test]
fn who_writes_raises_its_generation_above_a_lesser_life_of_the_same() {
    let mut map = ours(5, true);
    put_all(&mut map, 0..3);
    map.remove(key(0)).unwrap();
    events(&mut map);
    for raised in [6, 7] {
        hear(&mut map, raised - 1, ID - 1);
        assert_eq!(map.life(), Life { generation: raised, id: ID });
        let expected = [Event::SlotConflict { slot: ME }, Event::GenerationRaised { generation: raised }];
        assert_eq!(events(&mut map), expected);
        for n in 0..3 {
            let held = map.inspect(key(n)).unwrap();
            assert_eq!((held.dot.slot, held.dot.generation()), (ME, raised), "key {n}");
        }
        assert_eq!(map.stats().redotted, 3 * u64::from(raised - 5));
        assert_eq!((map.len(), map.tombstones(), map.inspect(key(0)).unwrap().tombstone), (3, 1, true));
    }
    hear(&mut map, 7, ID - 1);
    assert_eq!(
        (map.phase(), map.life().generation),
        (Phase::Active { expired: true }, 7),
        "it is the greater"
    );
    assert_eq!(events(&mut map), []);
}

#[test]
fn who_starts_raises_its_generation_above_every_life_it_hears_of_once_for_each_peer() {
    let mut map = ours(5, false);
    hear(&mut map, 4, 1);
    assert_eq!((map.life().generation, events(&mut map)), (5, vec![]), "a lesser one");
    for (heard, raised) in [(5, 6), (9, 10), (10, 11), (11, 12)] {
        hear(&mut map, heard, 1);
        assert_eq!(map.life(), Life { generation: raised, id: ID });
        assert_eq!(events(&mut map), [Event::GenerationRaised { generation: raised }]);
    }
    hear(&mut map, 12, 1);
    assert_eq!((map.phase(), map.life().generation), (Phase::Starting, 12), "of four slots");
    hear(&mut map, 12, ID + 1);
    assert_eq!((map.phase(), map.life().generation), (Phase::Fenced, 12), "by a greater one");
}

#[test]
fn no_generation_is_above_the_last() {
    let mut map = ours(5, false);
    hear(&mut map, u32::MAX, 1);
    assert_eq!(events(&mut map), [Event::Fenced { by: Life { generation: u32::MAX, id: 1 } }]);
    let mut map = ours(u32::MAX, true);
    events(&mut map);
    hear(&mut map, u32::MAX, ID - 1);
    assert_eq!(
        (map.phase(), events(&mut map)),
        (Phase::Active { expired: true }, vec![]),
        "it is the greater"
    );
}

/// Word is no proof: it raises the generation of a bound slot, and not more often than every 10 s.
#[test]
fn word_raises_the_generation_of_a_bound_slot_and_what_comes_too_soon_waits() {
    let mut map = ours(5, true);
    map.bind_slot(true);
    put_all(&mut map, 0..1);
    let start = Instant::from_millis(1_000);
    map.advance(start);
    hear(&mut map, 4, 1);
    hear(&mut map, GENERATION_TOLD_MAX + 1, 1);
    assert_eq!(map.life().generation, 5, "neither is believed nor of interest");
    hear(&mut map, 5, u64::MAX);
    assert_eq!((map.life().generation, map.stats().redotted), (6, 1));
    hear(&mut map, 8, 1);
    hear(&mut map, 7, 1);
    map.advance(start + TOLD_INTERVAL - Duration(1));
    assert_eq!((map.life().generation, map.stats().redotted), (6, 1));
    map.advance(start + TOLD_INTERVAL);
    assert_eq!((map.life().generation, map.stats().redotted), (9, 2), "above the greatest");
    map.advance(start + TOLD_INTERVAL + TOLD_INTERVAL);
    assert_eq!(map.life().generation, 9, "once");
    hear(&mut map, GENERATION_TOLD_MAX, 1);
    assert_eq!(map.life().generation, GENERATION_TOLD_MAX + 1);
    assert_eq!(map.phase(), Phase::Active { expired: true });
}

#[test]
fn word_raises_the_generation_of_a_bound_slot_that_starts_once_for_each_peer() {
    let mut map = ours(5, false);
    map.bind_slot(true);
    hear(&mut map, 4, 1);
    hear(&mut map, GENERATION_TOLD_MAX + 1, 1);
    assert_eq!(map.life().generation, 5);
    for (heard, raised) in [(5, 6), (8, 9), (9, 10), (10, 11), (11, 11)] {
        hear(&mut map, heard, u64::MAX);
        assert_eq!((map.phase(), map.life().generation), (Phase::Starting, raised));
    }
}

/// A peer whose version has counters of our slot that this life did not write.
fn one_that_knows(generation: u32) -> Box<Replica> {
    let mut other_life = ours(generation, true);
    put_all(&mut other_life, 90..91);
    let mut peer = replica(1, 100);
    pull(&mut other_life, &mut peer);
    peer
}

#[test]
fn evidence_of_writes_that_are_not_ours_raises_once_and_fences_then() {
    let mut map = ours(5, true);
    put_all(&mut map, 0..2);
    // Ours, as a peer may know them, are none.
    tell(&one_that_knows(5), &mut map);
    assert_eq!(map.life().generation, 5);
    let mut map = ours(5, true);
    events(&mut map);
    put_all(&mut map, 0..2);
    tell(&one_that_knows(7), &mut map);
    assert_eq!((map.life().generation, map.stats().redotted), (8, 2));
    tell(&one_that_knows(7), &mut map);
    assert_eq!(map.life().generation, 8, "the same again");
    events(&mut map);
    tell(&one_that_knows(8), &mut map);
    assert_eq!(
        (map.life().generation, map.phase()),
        (8, Phase::Active { expired: true }),
        "no counter above ours"
    );
    tell(&one_that_knows(9), &mut map);
    assert_eq!(map.phase(), Phase::Fenced);
    assert_eq!(events(&mut map), [Event::Fenced { by: Life::NONE }]);
}

#[test]
fn a_start_begins_above_every_counter_of_its_slot_that_it_saw() {
    for (seen, begins) in [(4, 5), (5, 6), (7, 8)] {
        let mut map = ours(5, false);
        tell(&one_that_knows(seen), &mut map);
        assert_eq!(map.life().generation, 5, "not before it starts to write");
        map.advance(Instant::NEVER);
        assert_eq!((map.phase(), map.life().generation), (Phase::Active { expired: true }, begins));
        let dot = map.put(key(1), &[0; 8]).unwrap();
        assert_eq!(dot.generation(), begins);
    }
    let mut map = ours(5, false);
    tell(&one_that_knows(u32::MAX), &mut map);
    map.advance(Instant::NEVER);
    assert_eq!(map.phase(), Phase::Fenced, "there is no generation left");
}

fn envelope(slot: Slot, generation: u32, id: u64, kind: Kind, to_life: u64) -> Envelope {
    Envelope { kind, slot, flags: 0, life: Life { generation, id }, to_life }
}

#[test]
fn who_is_heard_and_who_is_not() {
    let mut map = ours(5, true);
    let from = |generation, id, kind, to_life| envelope(PEER, generation, id, kind, to_life);
    let mut admitted = |packet: &Envelope| map.admit(packet);
    assert_eq!(admitted(&envelope(ME, 5, ID, Kind::Ping, 0)), Err(Reject::OwnPacket));
    assert_eq!(admitted(&envelope(ME, 4, 7, Kind::Ping, 0)), Err(Reject::SlotConflict));
    assert_eq!(admitted(&envelope(Slot::at(3), 1, 1, Kind::Ping, 0)), Err(Reject::Unconfigured));
    assert_eq!(admitted(&from(3, 30, Kind::Delta, 0)), Err(Reject::NoLife));
    assert_eq!(admitted(&from(3, 30, Kind::Delta, ID + 1)), Err(Reject::OtherLife));
    assert_eq!(admitted(&from(3, 30, Kind::Delta, ID)), Ok(()));
    assert_eq!(admitted(&from(3, 30, Kind::Ping, 0)), Ok(()));
    assert_eq!(admitted(&from(2, 99, Kind::Ping, 0)), Err(Reject::OldLife));
    assert_eq!(admitted(&from(3, 29, Kind::Ping, 0)), Err(Reject::OldLife));
    // Of a version the life is checked if it names one.
    assert_eq!(admitted(&from(3, 30, Kind::Version, 0)), Ok(()));
    assert_eq!(admitted(&from(3, 30, Kind::Version, ID + 1)), Err(Reject::OtherLife));
    // A raised generation is the same life; so is an earlier one that comes late.
    assert_eq!(admitted(&from(4, 30, Kind::Ping, 0)), Ok(()));
    assert_eq!(admitted(&from(3, 30, Kind::Ping, 0)), Ok(()));
    assert_eq!(map.life_of(PEER), Life { generation: 4, id: 30 });
    // The sender's life is noted even from a packet for another life of ours.
    assert_eq!(map.admit(&from(6, 60, Kind::Delta, ID + 1)), Err(Reject::OtherLife));
    assert_eq!(map.life_of(PEER), Life { generation: 6, id: 60 });
}

#[test]
fn two_lives_of_one_generation_in_a_slot_are_told_of_and_others_are_not() {
    let mut map = ours(5, true);
    events(&mut map);
    let mut told = |generation, id| {
        let _ = map.admit(&envelope(PEER, generation, id, Kind::Ping, 0));
        events(&mut map)
    };
    assert_eq!(told(3, 30), []);
    assert_eq!(told(4, 40), []);
    assert_eq!(told(3, 50), []);
    assert_eq!(told(4, 39), [Event::SlotConflict { slot: PEER }]);
    assert_eq!(told(4, 41), [Event::SlotConflict { slot: PEER }]);
}

#[test]
fn what_was_known_of_a_life_ends_with_it() {
    let [mut author, mut map] = [1, 0].map(|slot| replica(slot, 100));
    put_all(&mut author, 0..3);
    pull(&mut author, &mut map);
    put_all(&mut map, 3..5);
    assert!(map.owes_push(PEER));
    assert!(map.has_version_of(PEER) && map.version_of(PEER) == author.version());
    assert!(!map.lacks(PEER));
    assert_eq!(start(&mut author, &map).from, 3);
    map.admit(&envelope(PEER, 2, 7, Kind::Ping, 0)).unwrap();
    assert!(!map.has_version_of(PEER) && map.version_of(PEER).occupied().is_empty());
    assert!(!map.owes_delta().contains(PEER));
    assert!(!map.owes_push(PEER), "what was written before is not fresh to it: it asks");
    let request = Request { window: 9, ..Request::default() };
    let asked = written(|frame| map.write_version(PEER, &request, frame)).unwrap();
    let (envelope, Body::Version(version)) = parse(&asked, CLUSTER, &SHAPE, 4).unwrap() else {
        unreachable!()
    };
    assert_eq!(
        (envelope.to_life, version.fixed.flags.get()),
        (7, VersionFixed::UNSEEN),
        "no cursor, no version"
    );
}

/// What starts waits for all that are alive, and counts on nobody who waits itself.
#[test]
fn a_start_waits_for_the_live_ones_until_each_has_counted() {
    let mut map = ours(5, false);
    assert_eq!(map.waiting_for(), SlotSet::EMPTY.with(PEER).with(Slot::at(2)));
    map.set_live(SlotSet::EMPTY.with(PEER));
    assert_eq!(map.waiting_for(), SlotSet::EMPTY.with(PEER));
    // One that starts itself and has committed from nobody.
    let mut starting = starting(PEER, Life { generation: 1, id: 1 });
    pull(&mut starting, &mut map);
    assert_eq!((map.phase(), map.waiting_for()), (Phase::Starting, SlotSet::EMPTY.with(PEER)));
    // Now it has, of everybody.
    starting.set_live(SlotSet::EMPTY.with(ME));
    pull(&mut map, &mut starting);
    assert_eq!(starting.phase(), Phase::Active { expired: false }, "we had committed from it");
    pull(&mut starting, &mut map);
    assert_eq!((map.phase(), map.waiting_for()), (Phase::Active { expired: false }, SlotSet::EMPTY));
    assert_eq!(map.history_unmet(), SlotSet::EMPTY.with(Slot::at(2)), "who was not live is met later");
}

/// Whose records were taken before the start tells something until then, or as long as nobody knows who was met.
#[test]
fn of_whom_records_were_taken_counts_until_a_start_that_waited() {
    for waited in [true, false] {
        let mut map = ours(5, false);
        map.state.forgets.taken = SlotSet::EMPTY.with(PEER);
        if waited {
            map.set_live(SlotSet::EMPTY);
        } else {
            map.advance(Instant::NEVER);
        }
        assert_eq!(map.phase(), Phase::Active { expired: !waited });
        assert_eq!(map.state.forgets.taken.is_empty(), waited);
    }
}

#[test]
fn an_earlier_lifes_records_keep_their_dots() {
    let [mut before, mut peer] = [ours(3, true), replica(1, 100)];
    before.state.life.id = 7;
    put_all(&mut before, 90..91);
    pull(&mut before, &mut peer);
    let mut map = ours(5, false);
    tell(&map, &mut peer);
    pull(&mut peer, &mut map);
    map.advance(Instant::NEVER);
    put_all(&mut map, 0..1);
    hear(&mut map, 5, ID - 1);
    assert_eq!((map.life().generation, map.stats().redotted), (6, 1));
    assert_eq!(map.inspect(key(90)).unwrap().dot.generation(), 3);
    assert_eq!(map.inspect(key(0)).unwrap().dot.generation(), 6);
}

/// Others know of our writes what we wrote: that is no reason to push them as if they were somebody else's.
#[test]
fn what_others_know_of_our_own_writes_stops_no_push() {
    let beyond = u64::from(GENERATION_TOLD_MAX + 1) << 32;
    for known in [3, 5] {
        let [mut map, mut peer, mut other] = [0, 1, 2].map(|slot| replica(slot, 100));
        tell(&peer, &mut map);
        tell(&map, &mut peer);
        put_all(&mut map, 0..known);
        pull(&mut map, &mut other);
        put_all(&mut map, known..5);
        tell(&other, &mut map);
        let push = written(|frame| map.write_push(PEER, frame)).unwrap();
        let (_, Body::Push(push)) = parse(&push, CLUSTER, &SHAPE, 4).unwrap() else { unreachable!() };
        assert_eq!(push.records.len(), 5, "one knows {known}");
        assert_eq!(
            map.believed(VersionVector::from_counters([beyond, 1, 1, 1])).get(ME),
            beyond,
            "not bound"
        );
    }
}

/// What a version says of a bound slot is word; of the others it is what they wrote.
#[test]
fn of_a_bound_slot_no_version_is_believed_beyond_belief() {
    let beyond = u64::from(GENERATION_TOLD_MAX + 1) << 32;
    let mut map = ours(5, true);
    put_all(&mut map, 0..2);
    let ours = map.version().get(ME);
    for (bound, mine, believed) in
        [(false, beyond, beyond), (true, beyond, ours), (true, beyond - 1, beyond - 1), (true, 7, 7)]
    {
        map.bind_slot(bound);
        let version = map.believed(VersionVector::from_counters([mine, beyond, 0, 3]));
        assert_eq!(version, VersionVector::from_counters([believed, beyond, 0, 3]), "{bound}, {mine:x}");
        assert_eq!(map.believes()(&(ME, mine)), believed == mine);
        assert!(map.believes()(&(PEER, beyond)));
    }
}

/// Two servers that lost their generations, and each knows the other's last life, have to be able to tell each other.
#[test]
fn a_start_hears_a_life_notice_of_a_life_that_is_over() {
    let over = |kind, to_life| envelope(PEER, 3, 30, kind, to_life);
    let mut map = ours(5, false);
    map.admit(&envelope(PEER, 4, 40, Kind::Ping, 0)).unwrap();
    assert_eq!(map.admit(&over(Kind::LifeNotice, ID)), Ok(()));
    assert_eq!(map.admit(&over(Kind::LifeNotice, ID + 1)), Err(Reject::OldLife), "for another life of ours");
    assert_eq!(map.admit(&over(Kind::Ping, ID)), Err(Reject::OldLife));
    assert_eq!(map.life_of(PEER), Life { generation: 4, id: 40 });
    let mut map = ours(5, true);
    map.admit(&envelope(PEER, 4, 40, Kind::Ping, 0)).unwrap();
    assert_eq!(map.admit(&over(Kind::LifeNotice, ID)), Err(Reject::OldLife), "too late: it writes");
}

#[test]
fn what_a_peer_said_of_itself_is_kept_for_its_life() {
    let mut map = ours(5, true);
    let said = |map: &Replica| {
        let peer = &map.state.peers[PEER.index()];
        (peer.active, peer.started_unmet)
    };
    let with = |generation, flags| Envelope {
        flags,
        ..envelope(PEER, generation, 7 * u64::from(generation), Kind::Ping, 0)
    };
    for (packet, expected) in [
        (with(1, flag::SILENT), (false, false)),
        (with(1, 0), (true, false)),
        (with(1, flag::SILENT), (true, false)),
        (with(1, flag::UNMET | flag::SILENT), (true, true)),
        (with(1, 0), (true, true)),
        (with(2, flag::SILENT | flag::CAUGHT_UP), (false, false)),
        (with(2, flag::UNMET), (true, true)),
    ] {
        map.admit(&packet).unwrap();
        assert_eq!(said(&map), expected, "{packet:?}");
    }
    map.advance(Instant::from_millis(3));
    assert_eq!(map.state.peers[PEER.index()].heard, Instant::ZERO);
    map.admit(&with(2, 0)).unwrap();
    assert_eq!(map.state.peers[PEER.index()].heard, Instant::from_millis(3));
}

#[test]
fn a_life_notice_is_written_where_it_just_fits() {
    let map = ours(5, true);
    fits_exactly(HEADER + 16, |frame| map.write_life_notice(PEER, Life { generation: 1, id: 1 }, 2, frame));
}

/// A record that would follow ours, if it were ours, is none: it is compared with what we have written again above it.
#[test]
fn a_record_of_our_slot_that_we_did_not_write_replaces_none_of_ours() {
    let [mut map, mut twin, mut peer] = [ours(5, true), ours(5, true), replica(1, 100)];
    map.put(key(0), &[1; 8]).unwrap();
    twin.put(key(0), &[2; 8]).unwrap();
    twin.put(key(0), &[2; 8]).unwrap();
    pull(&mut twin, &mut peer);
    pull(&mut peer, &mut map);
    assert_eq!((map.life().generation, map.stats().redotted), (6, 1));
    let mut value = [0; 8];
    assert!(matches!(map.reader().get(key(0), &mut value), Lookup::Found(_)));
    assert_eq!(value, [1; 8]);
}
