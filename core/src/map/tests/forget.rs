//! Forgetting a slot (rule R2): who may be forgotten, until when it is, and what becomes of whoever was.

use super::*;
use crate::limits::QUARANTINE;
use crate::wire::{LifeNotice, Reject};

const ME: Slot = Slot::at(0);
const OTHER: Slot = Slot::at(1);
const THIRD: Slot = Slot::at(2);

/// A replica for which only it is alive, and the others were never heard.
fn alone() -> Box<Replica> {
    let mut map = replica(0, 100);
    map.set_live(SlotSet::EMPTY.with(ME));
    map
}

/// Word that the lives of our slot up to this generation were forgotten.
fn told_of_our_own(map: &mut Replica, generation: u32) {
    let life = Life { generation, id: map.life().id };
    map.on_life_notice(LifeNotice { slot: ME, life, forgotten: true });
}

#[test]
fn who_may_not_be_forgotten_is_refused_with_a_reason() {
    let said = |map: &mut Replica, slot| map.forget(slot).map_err(|error| (error, std::format!("{error}")));
    let mut map = alone();
    assert_eq!(
        said(&mut map, ME),
        Err((ForgetError::Own, "slot: our own cannot be forgotten here; ask another server".into()))
    );
    let beyond = Slot::at(3);
    let text = "slot: S3 is not configured, so nothing waits for it";
    assert_eq!(said(&mut map, beyond), Err((ForgetError::NotConfigured(beyond), text.into())));
    let text = "slot: no life of S1 is known; take it out of the configured slots instead";
    assert_eq!(said(&mut map, OTHER), Err((ForgetError::Unknown(OTHER), text.into())));
    map.set_live(SlotSet::EMPTY.with(OTHER));
    let text = "slot: S1 is alive; only a server held dead can be forgotten";
    assert_eq!(said(&mut map, OTHER), Err((ForgetError::Alive(OTHER), text.into())));
    assert!(map.forgotten_slots().is_empty() && map.forgotten().occupied().is_empty());
    told_of_our_own(&mut map, 1);
    assert_eq!(
        said(&mut map, OTHER),
        Err((ForgetError::Over, "this life is over itself: start anew".into()))
    );
}

/// Each by itself is knowledge of a life: a packet, a write, others' word.
#[test]
fn whoever_was_ever_known_of_can_be_forgotten() {
    let mut heard = replica(0, 100);
    let mut peer = replica(1, 100);
    tell(&peer, &mut heard);
    heard.set_live(SlotSet::EMPTY);
    assert_eq!(heard.forget(OTHER), Ok(1));

    put_all(&mut peer, 0..1);
    let mut between = replica(2, 100);
    pull(&mut peer, &mut between);
    let mut holds = replica(0, 100);
    pull(&mut between, &mut holds);
    holds.set_live(SlotSet::EMPTY);
    assert!(!holds.life_of(OTHER).is_known());
    assert_eq!(holds.forget(OTHER), Ok(1));
    assert_eq!(holds.len(), 1, "what it wrote stays");
    assert!(holds.version().get(OTHER) > 0, "and no version falls");

    let mut told = alone();
    told.hear_of(OTHER, 7);
    assert_eq!(told.forget(OTHER), Ok(7));
}

#[test]
fn a_slot_is_forgotten_until_a_later_life_is_known() {
    let mut map = alone();
    map.hear_of(OTHER, 7);
    assert_eq!(map.forget(OTHER), Ok(7));
    assert_eq!(
        map.forgotten().get(OTHER),
        7 << 32 | u64::from(u32::MAX),
        "all that generation 7 may have used"
    );
    assert_eq!(map.forgotten_slots(), SlotSet::EMPTY.with(OTHER));
    assert_eq!(map.forget(OTHER), Ok(7), "again, and nothing changes");
    map.hear_of(OTHER, 7);
    assert_eq!(map.forgotten_slots(), SlotSet::EMPTY.with(OTHER));
    map.set_live(SlotSet::first(3));
    assert_eq!(map.live(), SlotSet::EMPTY.with(ME).with(THIRD), "nobody waits for it");
    for (generation, forgotten) in [(6, true), (7, true), (8, false)] {
        assert_eq!(map.is_forgotten(OTHER, Life { generation, id: 1 }), forgotten, "generation {generation}");
    }
    map.hear_of(OTHER, 8);
    assert!(map.forgotten_slots().is_empty());
    map.set_live(SlotSet::first(3));
    assert_eq!(map.live(), SlotSet::first(3));
    map.set_live(SlotSet::EMPTY);
    assert_eq!(map.forget(OTHER), Ok(8));
}

#[test]
fn who_was_forgotten_is_over() {
    for (generation, raised) in [(1, 1), (5, 5)] {
        let mut map = alone();
        put_all(&mut map, 0..1);
        events(&mut map);
        told_of_our_own(&mut map, generation);
        assert_eq!((map.phase(), map.life().generation), (Phase::Forgotten, raised));
        assert!(map.is_over());
        let raise = (raised > 1).then_some(Event::GenerationRaised { generation: raised });
        let expected: Vec<_> = raise.into_iter().chain([Event::Forgotten { generation: raised }]).collect();
        assert_eq!(events(&mut map), expected);
        assert!(map.put(key(1), &[0; 8]).is_err());
        assert_eq!(written(|frame| map.write_version(OTHER, &Request::default(), frame)), None);
    }
    // Word of the lives before it is none of ours.
    let mut map = alone();
    let life = map.life();
    told_of_our_own(&mut map, 0);
    assert_eq!((map.phase(), map.life()), (Phase::Active { expired: true }, life));
}

/// A slot that keys bind does not believe just any generation, or none would be left to come back with (R4.5).
#[test]
fn a_bound_slot_believes_no_generation_near_the_end() {
    let most = crate::limits::GENERATION_TOLD_MAX;
    for (bound, generation, believed) in
        [(false, most + 1, true), (true, most, true), (true, most + 1, false)]
    {
        let mut teller = alone();
        teller.hear_of(OTHER, generation);
        assert_eq!(teller.forget(OTHER), Ok(generation));
        let mut told = replica(2, 100);
        told.bind_slot(bound);
        told.set_live(SlotSet::EMPTY);
        tell(&teller, &mut told);
        assert_eq!(told.forgotten_slots().contains(OTHER), believed, "{generation:x}, bound: {bound}");
    }
}

#[test]
fn whoever_is_heard_in_a_later_life_is_waited_for_again_at_once() {
    let mut map = alone();
    map.hear_of(OTHER, 7);
    map.forget(OTHER).unwrap();
    map.set_live(SlotSet::first(3));
    let heard = |generation| Envelope {
        kind: Kind::Ping,
        slot: OTHER,
        flags: 0,
        life: Life { generation, id: 70 + u64::from(generation) },
        to_life: 0,
    };
    assert_eq!(map.admit(&heard(7)), Err(Reject::Forgotten));
    assert!(!map.live().contains(OTHER));
    assert_eq!(map.admit(&heard(8)), Ok(()));
    assert!(map.live().contains(OTHER));
}

/// A replica that deleted a key, has forgotten the third slot, and waits for the other one, which has heard of the delete.
fn one_that_collects() -> [Box<Replica>; 2] {
    let [mut map, mut other] = [0, 1].map(|slot| replica(slot, 100));
    put_all(&mut map, 0..2);
    map.set_live(SlotSet::EMPTY.with(OTHER));
    map.hear_of(THIRD, 1);
    map.forget(THIRD).unwrap();
    map.remove(key(0)).unwrap();
    pull(&mut map, &mut other);
    tell(&other, &mut map);
    map.sweep(100);
    [map, other]
}

#[test]
fn what_leaves_without_a_forgotten_slot_is_remembered_and_told_to_whoever_may_hold_older_records() {
    let [mut map, other] = one_that_collects();
    map.advance(Instant::ZERO + QUARANTINE);
    map.sweep(100);
    assert_eq!(map.tombstones(), 1, "the other has not been heard that late");
    tell(&other, &mut map);
    map.sweep(100);
    assert_eq!((map.tombstones(), map.stats().tombstones_collected), (0, 1));
    assert_eq!(map.buried().occupied(), SlotSet::EMPTY.with(ME));
    assert_eq!(map.buried().get(ME), 1 << 32 | 3, "the delete");

    // To whom its version does not tell that it has had the delete: and there has to be room for that.
    let mut new = replica(1, 100);
    map.hear_of(OTHER, 1);
    let asked = |map: &mut Replica, new: &Replica| {
        let _ = map.admit(
            &parse(
                &written(|frame| new.write_version(ME, &Request::default(), frame)).unwrap(),
                CLUSTER,
                &SHAPE,
                4,
            )
            .unwrap()
            .0,
        );
        ask(map, new, 1);
    };
    new.state.life.id += 1;
    new.state.life.generation += 1;
    asked(&mut map, &new);
    assert!(map.owes_delta().is_empty(), "it has not seen our version");
    tell(&map, &mut new);
    asked(&mut map, &new);
    let mut delta = |len: usize| map.write_delta(OTHER, &mut vec![0; len]).map(|(_, len)| len);
    assert_eq!((0..HEADER + 40 + 40 + 8 + 16).find_map(&mut delta), None);
    assert_eq!(
        delta(HEADER + 40 + 40 + 8 + 16),
        Some(HEADER + 40 + 40 + 8 + 16),
        "a record, no version, what is buried"
    );
    let whole = HEADER + 40 + 40 + 16 + 16;
    for (len, written) in [(whole - 1, whole - 8), (whole, whole)] {
        ask(&mut map, &new, 1);
        let packet = map.write_delta(OTHER, &mut vec![0; len]);
        assert_eq!(packet.unwrap().1, written, "a version of one counter in {len} bytes");
    }
    ask(&mut map, &new, 1);
    let packet = written(|frame| map.write_delta(OTHER, frame)).unwrap();
    let (_, Body::Delta(delta)) = parse(&packet, CLUSTER, &SHAPE, 4).unwrap() else { unreachable!() };
    assert_eq!(delta.buried.to_vector::<4>(), *map.buried());

    // Of two slots it is eight bytes more; also where the places of the table are walked.
    map.state.forgets.buried.raise(OTHER, 1);
    put_all(&mut map, (2..4).chain(core::iter::repeat_n(2, 100)));
    ask(&mut map, &new, 1);
    let mut delta = |len: usize| map.write_delta(OTHER, &mut vec![0; len]).map(|(_, len)| len);
    let one = HEADER + 40 + 40 + 8 + 24;
    assert_eq!((0..one).find_map(&mut delta), None);
    assert_eq!(delta(one + 39), Some(one), "no second record");
}

/// What a server that lacks what is buried has may be older than that.
#[test]
fn records_of_whoever_lacks_what_is_buried_are_refused() {
    let [mut map, other] = one_that_collects();
    map.advance(Instant::ZERO + QUARANTINE);
    tell(&other, &mut map);
    map.sweep(100);
    assert!(!map.buried().occupied().is_empty());
    let mut lacks = replica(1, 100);
    (lacks.state.life.id, lacks.state.life.generation) = (7, 2);
    tell(&lacks, &mut map);
    tell(&map, &mut lacks);
    let mut sent = |lacks: &mut Replica| {
        ask(lacks, &map, 1);
        let packet = written(|frame| lacks.write_delta(ME, frame)).unwrap();
        let (envelope, Body::Delta(delta)) = parse(&packet, CLUSTER, &SHAPE, 4).unwrap() else {
            unreachable!()
        };
        map.admit(&envelope).unwrap();
        let taken = map.on_delta(&envelope, &delta);
        (delta.records.len(), taken.map(|outcome| outcome.committed), map.stats().deltas)
    };
    assert_eq!(sent(&mut lacks), (0, Ok(true), 1), "no records, no doubt");
    put_all(&mut lacks, 50..51);
    assert_eq!(sent(&mut lacks), (1, Err(Reject::LacksBuried), 1));
}

/// Alone, nobody is waited for but the packets that may still be on their way.
#[test]
fn a_tombstone_leaves_ten_seconds_after_the_observation() {
    let mut map = replica(0, 100);
    map.set_configured(SlotSet::EMPTY);
    put_all(&mut map, 0..1);
    map.remove(key(0)).unwrap();
    map.advance(Instant::from_millis(500));
    map.sweep(100);
    let from = Instant::from_millis(500) + QUARANTINE;
    map.advance(Instant(from.0 - 1));
    map.sweep(100);
    assert_eq!(map.tombstones(), 1);
    map.advance(from);
    map.sweep(100);
    assert_eq!((map.tombstones(), map.floor(), map.buried().occupied()), (0, 1, SlotSet::EMPTY));
}

/// What a start takes of whose version it has not seen would end its life.
#[test]
fn who_starts_is_pushed_records_once_it_has_seen_our_version() {
    let [mut map, _] = one_that_collects();
    let mut starting = starting(OTHER, Life { generation: 2, id: 7 });
    let pushed = |map: &mut Replica, n| {
        put_all(map, n..n + 1);
        let push = written(|frame| map.write_push(OTHER, frame)).unwrap();
        let (_, Body::Push(push)) = parse(&push, CLUSTER, &SHAPE, 4).unwrap() else { unreachable!() };
        push.records.len()
    };
    tell(&starting, &mut map);
    pushed(&mut map, 10);
    assert_eq!(pushed(&mut map, 11), 0, "it has not");
    tell(&map, &mut starting);
    tell(&starting, &mut map);
    assert_eq!(pushed(&mut map, 12), 1);
    starting.advance(Instant::NEVER);
    tell(&starting, &mut map);
    assert_eq!(pushed(&mut map, 13), 1, "it writes");
    assert!(!map.state.peers[OTHER.index()].has_seen, "which counts by itself");
}

/// So many writes of the other slot.
fn writes(counter: u64) -> VersionVector<4> {
    VersionVector::from_counters([0, counter, 0, 0])
}

fn in_phase(phase: Phase) -> Box<Replica> {
    let mut map = replica(0, 100);
    map.state.phase = phase;
    map
}

const STARTING: Phase = Phase::Starting;
const EXPIRED: Phase = Phase::Active { expired: true };
const STARTED: Phase = Phase::Active { expired: false };

/// What was taken of a server that lacked something buried may be older than that. Until we write, who that was is known;
/// once everybody had met us before we wrote, nothing is buried that our version does not cover.
#[test]
fn whoever_took_records_of_one_that_lacked_it_is_over_when_it_is_told_of_what_is_buried() {
    for phase in [STARTING, EXPIRED] {
        // What the sender covered, what it told to be buried, what we cover; and whether that is the end, the fifth being buried.
        for (theirs, told, ours, over) in [
            (5, None, 0, false),
            (4, None, 0, true),
            (4, None, 5, false),
            (4, Some(5), 0, false),
            (4, Some(4), 0, true),
        ] {
            let mut map = in_phase(phase);
            map.peer_versions[THIRD.index()] = writes(theirs);
            map.note_taken(THIRD, told.map(writes).as_ref());
            map.state.version.join(&writes(ours));
            map.learn_buried(&writes(5));
            assert_eq!(map.is_over(), over, "{theirs} {told:?} {ours} in {phase:?}");
            assert_eq!(*map.buried(), writes(5));
            // It is no news.
            map.state.forgets.clean = VersionVector::new();
            map.state.phase = phase;
            map.learn_buried(&writes(5));
            assert!(!map.is_over());
        }
        // Of two senders the one that lacked it counts, whichever came first; nothing taken is nothing in doubt.
        for (first, second) in [(4, 5), (5, 4)] {
            let mut map = in_phase(phase);
            for (slot, covered) in [(OTHER, first), (THIRD, second)] {
                map.peer_versions[slot.index()] = writes(covered);
                map.note_taken(slot, None);
            }
            map.learn_buried(&writes(5));
            assert!(map.is_over());
        }
        let mut map = in_phase(phase);
        map.learn_buried(&writes(5));
        assert!(!map.is_over());
        // What a sender covered when it was taken from first counts: it has not covered less since.
        map.peer_versions[THIRD.index()] = writes(9);
        map.note_taken(THIRD, None);
        map.peer_versions[THIRD.index()] = writes(8);
        map.note_taken(THIRD, None);
        map.learn_buried(&writes(9));
        assert!(!map.is_over());
        map.note_taken(THIRD, Some(&writes(0)));
        map.learn_buried(&writes(10));
        assert!(map.is_over());
    }
    for (ours, over) in [(0, true), (5, false)] {
        let mut map = in_phase(STARTED);
        map.peer_versions[THIRD.index()] = writes(5);
        map.note_taken(THIRD, None);
        map.state.version.join(&writes(ours));
        map.learn_buried(&writes(5));
        assert_eq!(map.is_over(), over, "{ours}");
    }
}

#[test]
fn records_are_taken_of_whoever_has_had_what_is_buried_or_vouches_for_it() {
    let taken = |phase, ours, theirs, told: Option<u64>, silent| {
        let mut map = in_phase(phase);
        map.state.forgets.buried = writes(ours);
        let flags = if silent { flag::SILENT } else { flag::UNMET };
        map.check_has_had(&writes(theirs), told.map(writes).as_ref(), flags).is_ok()
    };
    for phase in [STARTING, EXPIRED, STARTED] {
        for silent in [true, false] {
            assert!(taken(phase, 5, 5, None, silent) && taken(phase, 0, 0, None, silent));
            assert!(!taken(phase, 5, 4, None, silent));
            assert!(!taken(phase, 5, 4, Some(4), silent), "it does not know of all");
            let vouches = phase != STARTING || silent;
            assert_eq!(taken(phase, 5, 4, Some(5), silent), vouches, "{phase:?}, silent: {silent}");
            assert_eq!(taken(phase, 0, 0, Some(5), silent), vouches);
            assert_eq!(taken(phase, 5, 5, Some(6), silent), vouches, "it knows of more than we do");
        }
    }
    let mut map = in_phase(EXPIRED);
    assert_eq!(map.take_from(THIRD), Ok(()));
    map.state.forgets.buried = writes(5);
    map.state.forgets.any_buried = true;
    assert_eq!(map.take_from(THIRD), Err(Reject::LacksBuried));
    assert!(!map.has_had_buried(THIRD));
    map.peer_versions[THIRD.index()] = writes(5);
    assert_eq!(map.take_from(THIRD), Ok(()));
    assert!(map.has_had_buried(THIRD));
}

#[test]
fn a_start_counts_on_whoever_knows_who_was_forgotten() {
    let mut map = alone();
    assert!(map.refuses_forgotten(OTHER), "nobody was");
    map.hear_of(THIRD, 1);
    map.forget(THIRD).unwrap();
    assert!(!map.refuses_forgotten(OTHER));
    let mut other = replica(1, 100);
    tell(&other, &mut map);
    assert!(!map.refuses_forgotten(OTHER));
    tell(&map, &mut other);
    tell(&other, &mut map);
    assert!(map.refuses_forgotten(OTHER));
    map.hear_of(THIRD, 2);
    map.forget(THIRD).unwrap();
    assert!(!map.refuses_forgotten(OTHER), "not of this life");
}
