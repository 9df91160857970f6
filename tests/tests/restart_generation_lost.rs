//! A server restarts with generation 1 although it has had greater ones: it raises its generation above all of its past
//! before its first write, so that no dot is used twice and nothing is lost.

use popmap_core::time::Duration;
use popmap_core::wire::Kind;
use popmap_core::{Event, Phase, Reject, Slot, SlotSet, State};
use popmap_io::memory::Faults;
use popmap_tests::cluster::{Cluster, Restart, Storage};
use popmap_tests::members::{self, agree, join, losing};
use popmap_tests::scenario::{SHAPE, assert_same_records, key, mends, rejected, total, value};

const KEYS: u64 = 40;

/// Restarts slot 1 in generation 1 after a life in generation `before`; returns packets refused as of an old life.
fn restart(seed: u64, kept: usize) -> (u64, u64) {
    let faults = Faults { loss_ppm: 50_000, jitter: Duration::from_millis(1), ..Faults::default() };
    let mut storage = Storage::new::<8>(5 + kept, 200, SHAPE);
    let mut pop = Cluster::<8>::new(&mut storage, 4, 200, SHAPE, seed, faults, |_| {});
    let (all, lost, other) = (pop.running(), Slot::at(1), Slot::at(2));
    pop.start_up(Duration::from_secs(6));
    for _ in 0..kept {
        pop.kill(lost);
        pop.restart(lost, Restart::GenerationKept);
        pop.start_up(Duration::from_secs(6));
    }
    for n in 0..KEYS {
        pop.put(lost, key(n), &value(n)).unwrap();
    }
    pop.settle(Duration::from_secs(5));
    let before = pop.node(lost).map().life();
    assert_eq!(before.generation as usize, 1 + kept);
    pop.kill(lost);
    pop.set_live(all.without(lost));
    pop.put(other, key(1), &value(1_001)).unwrap();
    pop.settle(Duration::from_secs(5));

    pop.take_events(lost);
    pop.restart(lost, Restart::GenerationLost);
    pop.set_live(all);
    pop.start_up(Duration::from_secs(4));
    let events = pop.take_events(lost);
    let raised = |event: &Event| matches!(event, Event::GenerationRaised { .. });
    assert!(events.iter().any(raised), "so that the next life knows: {events:?}");
    assert!(events.contains(&Event::Started { expired: false }));
    let life = pop.node(lost).map().life();
    assert!(life.generation > before.generation, "{life:?} after {before:?}");
    pop.put(lost, key(0), &value(2_000)).unwrap();
    pop.put(lost, key(KEYS), &value(KEYS)).unwrap();
    let first = pop.node(lost).map().inspect(key(0)).expect("just written").dot;
    assert_eq!(first.generation(), life.generation, "no dot of the past is used again");
    pop.settle(Duration::from_secs(5));

    for slot in all.iter() {
        let read = |n| pop.get(slot, key(n));
        assert_eq!(read(0), Some(value(2_000).to_vec()), "the new life's write stands, at {slot}");
        assert_eq!(read(1), Some(value(1_001).to_vec()), "the stand-in's write, at {slot}");
        assert_eq!(read(KEYS), Some(value(KEYS).to_vec()), "a new key, at {slot}");
        for n in 2..KEYS {
            assert_eq!(read(n), Some(value(n).to_vec()), "an earlier life's record, at {slot}");
        }
    }
    assert_eq!(assert_same_records(&pop, all, (0..=KEYS).map(key)) as u64, KEYS + 1);
    assert_eq!(total(&pop, mends), 0);
    (
        total(&pop, |stats| rejected(stats, Reject::OldLife)),
        total(&pop, |stats| stats.received[Kind::LifeNotice.index()]),
    )
}

#[test]
fn after_greater_generations_a_notice_raises_it() {
    for seed in 0..4 {
        let (refused, notices) = restart(seed, 2);
        println!("seed {seed}: {refused} packets refused as of an old life, {notices} notices taken");
        assert!(refused > 0 && notices > 0);
    }
}

#[test]
fn after_the_same_generation_whichever_life_id_is_greater() {
    let outcomes: Vec<_> = (0..8).map(|seed| restart(seed, 0)).collect();
    println!("(refused, notices) for each seed: {outcomes:?}");
    assert!(outcomes.iter().any(|&(refused, _)| refused > 0), "the new id was the lesser");
    assert!(outcomes.iter().any(|&(refused, _)| refused == 0), "the new id was the greater");
}

/// Nobody remembers the life, but its records are there: every other server has started anew meanwhile.
#[test]
fn after_everybody_forgot_the_life() {
    for seed in 0..4 {
        let mut storage = Storage::new::<8>(7, 200, SHAPE);
        let mut pop = Cluster::<8>::new(&mut storage, 3, 200, SHAPE, seed, Faults::default(), |_| {});
        let (all, lost) = (pop.running(), Slot::at(1));
        pop.start_up(Duration::from_secs(6));
        pop.kill(lost);
        pop.restart(lost, Restart::GenerationKept);
        pop.start_up(Duration::from_secs(6));
        (0..KEYS).for_each(|n| pop.put(lost, key(n), &value(n)).unwrap());
        pop.settle(Duration::from_secs(5));
        let before = pop.node(lost).map().life();
        pop.kill(lost);
        pop.set_live(all.without(lost));
        for other in all.without(lost).iter() {
            pop.kill(other);
            pop.restart(other, Restart::GenerationKept);
            pop.start_up(Duration::from_secs(6));
        }
        pop.settle(Duration::from_secs(5));
        assert!(all.without(lost).iter().all(|slot| !pop.node(slot).map().life_of(lost).is_known()));

        pop.restart(lost, Restart::GenerationLost);
        pop.set_live(all);
        pop.start_up(Duration::from_secs(4));
        let life = pop.node(lost).map().life();
        assert!(life.generation > before.generation, "its own records tell: {life:?} after {before:?}");
        assert_eq!(total(&pop, |stats| stats.received[Kind::LifeNotice.index()]), 0, "nobody else can");
        pop.put(lost, key(0), &value(2_000)).unwrap();
        pop.settle(Duration::from_secs(5));
        assert_eq!(assert_same_records(&pop, all, (0..KEYS).map(key)) as u64, KEYS);
        assert!(all.iter().all(|slot| pop.get(slot, key(0)) == Some(value(2_000).to_vec())));
        assert_eq!(total(&pop, mends), 0);
    }
}

/// Nobody can be reached, and nobody remembers: dots are used twice, which is found when the servers meet.
#[test]
fn alone_with_a_lost_generation() {
    let mut outcomes = Vec::new();
    for seed in 0..6 {
        let mut storage = Storage::new::<8>(5, 200, SHAPE);
        let mut pop = Cluster::<8>::new(&mut storage, 3, 200, SHAPE, seed, Faults::default(), |_| {});
        let (all, lost) = (pop.running(), Slot::at(1));
        pop.start_up(Duration::from_secs(6));
        (0..KEYS).for_each(|n| pop.put(lost, key(n), &value(n)).unwrap());
        pop.settle(Duration::from_secs(5));
        pop.kill(lost);
        pop.network.partition(SlotSet::EMPTY.with(lost));
        pop.restart(lost, Restart::GenerationLost);
        pop.start_up(Duration::from_secs(6));
        (KEYS..2 * KEYS).for_each(|n| pop.put(lost, key(n), &value(n)).unwrap());
        pop.take_events(lost);
        pop.network.heal();
        pop.run(Duration::from_secs(2));
        let events = pop.take_events(lost);
        let fenced = events.iter().any(|event| matches!(event, Event::Fenced { .. }));
        if fenced {
            // Told so, and started anew.
            pop.kill(lost);
            pop.restart(lost, Restart::GenerationKept);
        }
        let took = pop.settle(Duration::from_secs(60));
        let live = assert_same_records(&pop, all, (0..2 * KEYS).map(key)) as u64;
        println!(
            "seed {seed}: fenced {fenced}; equal after {} ms, {live} of {} keys",
            took.as_millis(),
            2 * KEYS
        );
        // Raised and re-dotted, it loses nothing; fenced, what it wrote alone was never the PoP's.
        assert_eq!(live, if fenced { KEYS } else { 2 * KEYS });
        outcomes.push(fenced);
        assert_eq!(total(&pop, |stats| stats.map.mends_unknown), 0);
    }
    assert!(outcomes.contains(&true) && outcomes.contains(&false), "both ways were seen");
}

/// Nobody has heard the life, and it wrote nothing: the others only tell each other of it. The next has a lesser generation
/// and begins to write while it is cut off. It must not stay a server that writes and that nobody holds alive: it is fenced,
/// and its next life is a member (R4.5).
#[test]
fn after_a_life_that_is_known_from_others_only() {
    for seed in 0..4 {
        let mut storage = members::storage::<8>(7);
        let mut pop = members::pop::<8>(&mut storage, 3, seed, losing(10_000));
        let (all, lost) = (pop.running(), Slot::at(1));
        let others = all.without(lost);
        join(&mut pop);
        pop.kill(lost);
        pop.restart(lost, Restart::GenerationKept);
        agree(&mut pop, Duration::from_secs(20));
        let now = pop.now();
        pop.node_mut(lost).leave(now);
        pop.run(Duration::from_millis(500));
        pop.kill(lost);
        for other in others.iter() {
            pop.kill(other);
            pop.restart(other, Restart::GenerationKept);
            agree(&mut pop, Duration::from_secs(20));
        }
        for other in others.iter() {
            let (life, member) = (pop.node(other).map().life_of(lost), *pop.node(other).member(lost).unwrap());
            assert!(!life.is_known() && member.state == State::Left && member.life.generation == 2);
        }

        others.iter().for_each(|other| pop.network.cut(lost, other));
        pop.restart(lost, Restart::GenerationLost);
        pop.start_up(Duration::from_secs(10));
        assert_eq!(pop.node(lost).map().phase(), Phase::Active { expired: true });
        assert_eq!(pop.node(lost).map().life().generation, 1);
        pop.network.heal();
        let fenced = |pop: &Cluster<'_, 8>| pop.node(lost).map().phase() == Phase::Fenced;
        let took = pop.run_until(Duration::from_secs(5), fenced).expect("it is told");
        println!("seed {seed}: fenced after {} ms", took.as_millis());

        pop.kill(lost);
        pop.restart(lost, Restart::GenerationKept);
        agree(&mut pop, Duration::from_secs(20));
        assert!(pop.node(lost).map().life().generation > 2);
        pop.put(lost, key(1), &value(1)).unwrap();
        pop.settle(Duration::from_secs(5));
    }
}
