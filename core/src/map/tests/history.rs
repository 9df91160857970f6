//! Older records of a slot (rule R4.2): asked of whoever was met after the start, and told on.

use super::*;
use crate::wire::{HistoryAnswerFixed, Reject};

const ME: Slot = Slot::at(0);
const KEEPER: Slot = Slot::at(1);
const THIRD: Slot = Slot::at(2);

/// Our slot's later life, which writes and has met nobody; and a peer that holds `keys` records of the life before.
fn met_late(keys: u64, capacity: usize) -> [Box<Replica>; 2] {
    met_late_after(0, keys, capacity)
}

/// The same, and the life before had written so much that this is its last counter when it wrote those.
fn met_late_after(counter: u64, keys: u64, capacity: usize) -> [Box<Replica>; 2] {
    let (mut before, mut keeper) = (replica(0, capacity), replica(1, capacity));
    before.state.version.raise(ME, counter);
    put_all(&mut keeper, 1_000_000..1_000_002);
    put_all(&mut before, 0..keys);
    pull(&mut before, &mut keeper);
    let mut after = built(&config(ME, Life { generation: 2, id: 200 }, capacity));
    assert_eq!(after.history_unmet(), SlotSet::EMPTY.with(KEEPER).with(THIRD));
    tell(&after, &mut keeper);
    tell(&keeper, &mut after);
    [after, keeper]
}

fn asked(map: &Replica) -> Option<Vec<u8>> {
    written(|frame| map.write_history_ask(KEEPER, frame))
}

/// Has the keeper take the question; returns its answer.
fn answered(keeper: &mut Replica, question: &[u8]) -> Vec<u8> {
    let (envelope, Body::HistoryAsk(ask)) = parse(question, CLUSTER, &SHAPE, 4).unwrap() else {
        unreachable!()
    };
    keeper.admit(&envelope).unwrap();
    keeper.on_history_ask(envelope.slot, &ask);
    assert_eq!(keeper.owes_history(), SlotSet::EMPTY.with(ME));
    written(|frame| keeper.write_history_answer(ME, frame)).unwrap()
}

fn taken(to: &mut Replica, packet: &[u8]) -> Result<bool, Reject> {
    let (envelope, Body::HistoryAnswer(answer)) = parse(packet, CLUSTER, &SHAPE, 4).unwrap() else {
        unreachable!()
    };
    to.admit(&envelope).unwrap();
    to.on_history_answer(envelope.slot, &answer)
}

/// Where to ask on, whether it tells of the sender's own slot, and how many records it has.
fn said(packet: &[u8]) -> (u32, bool, usize) {
    let (_, Body::HistoryAnswer(answer)) = parse(packet, CLUSTER, &SHAPE, 4).unwrap() else { unreachable!() };
    let own = answer.fixed.flags.get() == HistoryAnswerFixed::OWN;
    (answer.fixed.resume.get(), own, answer.records.len())
}

#[test]
fn who_is_met_late_is_asked_once_and_what_is_learned_is_told_on() {
    let [mut map, mut keeper] = met_late(3, 100);
    let mut third = replica(2, 100);
    tell(&third, &mut map);
    tell(&map, &mut third);
    put_all(&mut map, 50..52);
    let answer = answered(&mut keeper, &asked(&map).unwrap());
    assert_eq!(said(&answer), (0, false, 3), "ours of the life before, and neither its own nor this life's");
    assert!(keeper.owes_history().is_empty());
    assert_eq!(taken(&mut map, &answer), Ok(false), "that was all");
    assert_eq!((map.len(), map.stats().mends_started_unmet), (5, 3));
    assert_eq!(map.history_unmet(), SlotSet::EMPTY.with(THIRD));
    assert_eq!(asked(&map), None);
    // To all that are known, the one that told us among them: it may lack what another knew.
    assert_eq!(map.owes_history(), SlotSet::EMPTY.with(KEEPER).with(THIRD));
    let told = written(|frame| map.write_history_answer(THIRD, frame)).unwrap();
    assert_eq!(said(&told), (0, true, 3), "of the life before, and not this life's");
    assert_eq!(map.owes_history(), SlotSet::EMPTY.with(KEEPER));
    assert_eq!(written(|frame| map.write_history_answer(THIRD, frame)), None);
    assert_eq!(taken(&mut third, &told), Ok(false));
    assert_eq!((third.len(), third.stats().mends_started_unmet), (3, 3));
    assert!(third.owes_history().is_empty(), "its slot is another");
}

/// An answer reads 4,096 places of the table at most, and has what fits a packet.
#[test]
fn a_long_history_is_asked_for_in_parts() {
    let [mut map, mut keeper] = met_late(5_000, 12_000);
    let (mut records, mut packets) = (0, 0);
    let mut earlier = Vec::new();
    loop {
        let answer = answered(&mut keeper, &asked(&map).unwrap());
        let (resume, own, count) = said(&answer);
        assert!(!own && (count == 33 || resume == 0), "1,400 bytes less header and fixed part, 40 a record");
        records += count;
        packets += 1;
        assert_eq!(taken(&mut map, &answer), Ok(resume != 0));
        if resume == 0 {
            break;
        }
        assert_eq!(taken(&mut map, &answer), Ok(false), "this has come before: asked on already");
        let earlier = core::mem::replace(&mut earlier, answer);
        if !earlier.is_empty() {
            assert_eq!(taken(&mut map, &earlier), Ok(false), "and this before that");
        }
    }
    assert_eq!((records, packets, map.len()), (5_000, 5_000_usize.div_ceil(33), 5_000));
    assert!(!map.history_unmet().contains(KEEPER));
    // Told back in parts too: once, because nothing was learned while it was told.
    let mut told = 0;
    while let Some(packet) = written(|frame| map.write_history_answer(KEEPER, frame)) {
        told += said(&packet).2;
    }
    assert!(map.owes_history().is_empty());
    assert_eq!(told, 5_000);
}

#[test]
fn what_is_learned_while_it_is_told_is_told_once_more_from_the_start() {
    let [mut map, mut keeper] = met_late(100, 1_000);
    let first = answered(&mut keeper, &asked(&map).unwrap());
    assert_eq!(taken(&mut map, &first), Ok(true));
    let part = written(|frame| map.write_history_answer(KEEPER, frame)).unwrap();
    assert_eq!(said(&part), (0, true, 33), "all that is known");
    let second = answered(&mut keeper, &asked(&map).unwrap());
    assert_eq!(taken(&mut map, &second), Ok(true));
    let part = written(|frame| map.write_history_answer(KEEPER, frame)).unwrap();
    assert_eq!(said(&part), (33, true, 33), "of 66");
    assert!(map.owes_history().contains(KEEPER));
    // A third part comes while the pass is under way.
    let third = answered(&mut keeper, &asked(&map).unwrap());
    assert_eq!(taken(&mut map, &third), Ok(true));
    let mut told = Vec::new();
    while let Some(packet) = written(|frame| map.write_history_answer(KEEPER, frame)) {
        told.push(said(&packet).2);
    }
    assert_eq!(told, [33, 33, 33, 33, 33], "to the end, and from the start");
}

#[test]
fn what_was_not_asked_for_or_is_of_somebody_else_is_refused() {
    let [mut map, mut keeper] = met_late(3, 100);
    let answer = answered(&mut keeper, &asked(&map).unwrap());
    let mut started = replica(2, 100);
    tell(&keeper, &mut started);
    // Its records are of another slot, whether it says they are its own or ours.
    let (envelope, Body::HistoryAnswer(ours)) = parse(&answer, CLUSTER, &SHAPE, 4).unwrap() else { panic!() };
    let own = HistoryAnswerFixed { flags: HistoryAnswerFixed::OWN.into(), ..*ours.fixed };
    let claimed = crate::wire::HistoryAnswer { fixed: &own, records: ours.records };
    assert_eq!(map.on_history_answer(envelope.slot, &claimed), Err(Reject::Record));
    assert_eq!(started.on_history_answer(envelope.slot, &ours), Err(Reject::Record));
    assert_eq!((map.len(), started.len()), (0, 0));
    taken(&mut map, &answer).unwrap();
    assert_eq!(taken(&mut map, &answer), Err(Reject::Unasked), "that one was asked for, and has answered");
    // Another may have the same.
    put_all(&mut map, 50..51);
    let mut knows = replica(2, 100);
    pull(&mut map, &mut knows);
    tell(&knows, &mut map);
    let (_, Body::HistoryAnswer(theirs)) = parse(&answer, CLUSTER, &SHAPE, 4).unwrap() else { panic!() };
    assert_eq!(map.on_history_answer(THIRD, &theirs), Ok(false), "of the life before: taken");
}

/// A sequence at its end carries into the next generation: the first counter of that one may be the life's before.
#[test]
fn the_last_counters_of_the_life_before_are_older_and_the_first_of_this_one_is_not() {
    let [mut map, mut keeper] = met_late_after((2 << 32) - 2, 2, 100);
    let answer = answered(&mut keeper, &asked(&map).unwrap());
    assert_eq!(said(&answer), (0, false, 2));
    assert_eq!(taken(&mut map, &answer), Ok(false));
    let counters = [0, 1].map(|n| map.inspect(key(n)).unwrap().dot.counter);
    assert_eq!(counters, [(2 << 32) - 1, 2 << 32]);
    let mut told = written(|frame| map.write_history_answer(KEEPER, frame)).unwrap();
    assert_eq!(said(&told), (0, true, 2));

    // One that tells of this life's is wrong.
    let [mut map, mut keeper] = met_late(1, 100);
    put_all(&mut map, 60..61);
    pull(&mut map, &mut keeper);
    let question = asked(&map).unwrap();
    let (_, Body::HistoryAsk(ask)) = parse(&question, CLUSTER, &SHAPE, 4).unwrap() else { unreachable!() };
    let fixed = crate::wire::HistoryAskFixed { below: u64::MAX.into(), ..*ask.fixed };
    keeper.on_history_ask(ME, &crate::wire::HistoryAsk { fixed: &fixed });
    told = written(|frame| keeper.write_history_answer(ME, frame)).unwrap();
    assert_eq!(said(&told).2, 2);
    assert_eq!(taken(&mut map, &told), Err(Reject::Record));
}

#[test]
fn records_of_whoever_lacks_what_is_buried_are_refused() {
    for (keys, expected) in [(1, Err(Reject::LacksBuried)), (0, Ok(false))] {
        let [mut map, mut keeper] = met_late(keys, 100);
        map.state.forgets.buried.raise(THIRD, 1);
        map.state.forgets.any_buried = true;
        let answer = answered(&mut keeper, &asked(&map).unwrap());
        assert_eq!(taken(&mut map, &answer), expected);
        assert!(map.is_empty());
    }
}

#[test]
fn questions_and_answers_are_written_where_they_just_fit() {
    let [map, mut keeper] = met_late(3, 100);
    fits_exactly(HEADER + 24, |frame| map.write_history_ask(KEEPER, frame));
    assert_eq!(written(|frame| map.write_history_ask(THIRD, frame)), None, "never heard");
    let question = asked(&map).unwrap();
    let (_, Body::HistoryAsk(ask)) = parse(&question, CLUSTER, &SHAPE, 4).unwrap() else { unreachable!() };
    keeper.on_history_ask(ME, &ask);
    let mut answer = |len: usize| keeper.write_history_answer(ME, &mut vec![0; len]).map(|(_, len)| len);
    assert_eq!((0..HEADER + 16 + 40).find_map(&mut answer), None, "no place for a record");
    assert_eq!(answer(HEADER + 16 + 40), Some(HEADER + 16 + 40));
    assert!(keeper.owes_history().is_empty());
    keeper.on_history_ask(ME, &ask);
    let two = keeper.write_history_answer(ME, &mut [0; HEADER + 16 + 2 * 40 + 39]);
    assert_eq!(two.unwrap().1, HEADER + 16 + 2 * 40);
}
