//! A stolen server: what each lie of `docs/trust.md` does, and what it cannot do.
//!
//! Four servers with rows; the last is stolen. Who is alive is told, unless a test says otherwise.

use popmap_core::clock::Dot;
use popmap_core::limits::GENERATION_TOLD_MAX;
use popmap_core::time::Duration;
use popmap_core::wire::Kind;
use popmap_core::{Config, Event, Life, Phase, PutError, Reject, Slot, SlotSet, SwimConfig};
use popmap_io::memory::Faults;
use popmap_tests::adversary::Keys;
use popmap_tests::cluster::{Cluster, Restart, Storage};
use popmap_tests::forge::Record;
use popmap_tests::liar::{Liar, forgotten, member, notice, push, version};
use popmap_tests::scenario::{SHAPE, key, value};

const SERVERS: usize = 4;
const CAPACITY: usize = 500;
const VICTIM: Slot = Slot::at(0);
const OTHER: Slot = Slot::at(1);
const STOLEN: Slot = Slot::at(3);

fn storage(lives: usize) -> Storage {
    Storage::new::<8>(lives, CAPACITY, SHAPE)
}

fn told(_: &mut Config) {}

fn swim(config: &mut Config) {
    config.swim = Some(SwimConfig::DEFAULT);
}

/// A PoP that has started and written, and its liar.
fn pop(storage: &mut Storage, adjust: fn(&mut Config), rows: bool) -> (Cluster<'_, 8>, Liar) {
    let plan = (SERVERS, CAPACITY, SHAPE);
    let keys = if rows { |slot| Keys::Rows.ring(slot) } else { |slot| Keys::Shared.ring(slot) };
    let mut pop = Cluster::with_keys(storage, plan, 7, Faults::default(), adjust, Some(keys));
    pop.start_up(Duration::from_secs(5));
    (0..40).for_each(|n| pop.put(Slot::at(n as usize % SERVERS), key(n), &value(n)).expect("active"));
    pop.settle(Duration::from_secs(5));
    pop.running().iter().for_each(|slot| drop(pop.take_events(slot)));
    let liar = Liar::steal(&mut pop, STOLEN, rows);
    (pop, liar)
}

fn generation(pop: &Cluster<'_, 8>, slot: Slot) -> u32 {
    pop.node(slot).map().life().generation
}

fn counter(pop: &Cluster<'_, 8>, slot: Slot, of: Slot) -> u64 {
    pop.node(slot).map().version().get(of)
}

/// Asserts that the victim is not fenced, and that what it writes, at keys that it owns, is soon at all others; returns
/// after how long.
fn assert_writes_on(pop: &mut Cluster<'_, 8>, first: u64, within: Duration) -> u64 {
    assert!(matches!(pop.node(VICTIM).map().phase(), Phase::Active { .. }), "it is not fenced");
    let ours: Vec<u64> = (first..).filter(|n| pop.node(VICTIM).owner(key(*n)) == VICTIM).take(5).collect();
    ours.iter().for_each(|&n| pop.put(VICTIM, key(n), &value(n)).expect("it writes"));
    let everywhere = |pop: &Cluster<'_, 8>| {
        let at = |slot, n| pop.get(slot, key(n)) == Some(value(n).to_vec());
        pop.running().iter().all(|slot| ours.iter().all(|&n| at(slot, n)))
    };
    pop.run_until(within, everywhere).expect("its writes are everywhere").as_millis()
}

fn dot(slot: Slot, generation: u32, sequence: u32) -> Dot {
    Dot { slot, counter: u64::from(generation) << 32 | u64::from(sequence) }
}

/// Each second for a minute, a counter above whatever the victim has: it raises its generation once in ten seconds, and
/// goes on.
#[test]
fn counters_of_a_victim_ahead_of_its_own_raise_its_generation() {
    let mut storage = storage(SERVERS);
    let (mut pop, mut liar) = pop(&mut storage, told, true);
    let before = generation(&pop, VICTIM);
    for second in 0..60 {
        let ahead = dot(VICTIM, generation(&pop, VICTIM) + 3, second);
        for to in [VICTIM, OTHER] {
            assert_eq!(liar.say(&mut pop, to, (Kind::Version, &version(&SHAPE, &[ahead], 0))), Ok(()));
            assert_eq!(liar.commit(&mut pop, to, &SHAPE, (&[], &[ahead])), Ok(()));
        }
        pop.run(Duration::from_secs(1));
    }
    let raised = pop.take_events(VICTIM);
    assert!(!raised.iter().any(|event| matches!(event, Event::Fenced { .. })), "{raised:?}");
    assert!(raised.iter().any(|event| matches!(event, Event::SlotConflict { .. })), "it tells: {raised:?}");
    // Three above each time, and one more; the commits are adopted besides.
    let rose = generation(&pop, VICTIM) - before;
    assert!((12..=250).contains(&rose), "{rose}");
    let took = assert_writes_on(&mut pop, 100, Duration::from_secs(20));
    println!("generation up by {rose}, then writes everywhere after {took} ms");
    pop.run_until(Duration::from_secs(30), Cluster::is_converged).expect("equal again");
}

/// The greatest counters there are: nobody's generation rises, and what the victim writes comes by repair.
#[test]
fn counters_beyond_belief_are_not_believed() {
    let mut storage = storage(SERVERS);
    let (mut pop, mut liar) = pop(&mut storage, told, true);
    let before = generation(&pop, VICTIM);
    for counter in [u64::MAX, u64::from(GENERATION_TOLD_MAX + 1) << 32] {
        for to in [VICTIM, OTHER] {
            let claims = [Dot { slot: VICTIM, counter }];
            assert_eq!(liar.say(&mut pop, to, (Kind::Version, &version(&SHAPE, &claims, 0))), Ok(()));
            assert_eq!(liar.commit(&mut pop, to, &SHAPE, (&[], &claims)), Ok(()));
        }
    }
    pop.run(Duration::from_secs(2));
    assert_eq!(generation(&pop, VICTIM), before);
    let took = assert_writes_on(&mut pop, 100, Duration::from_secs(30));
    println!("writes are everywhere after {took} ms");
    // A record in its name with such a counter is overwritten as any other.
    let owned = (200..).map(key).find(|key| pop.node(VICTIM).owner(*key) == VICTIM).expect("some are");
    let record = Record {
        key: owned,
        dot: Dot { slot: VICTIM, counter: u64::MAX },
        term: 9,
        value: Some(value(1).to_vec()),
    };
    assert_eq!(liar.commit(&mut pop, VICTIM, &SHAPE, (&[record], &[])), Ok(()));
    pop.run(Duration::from_secs(3));
    pop.put(VICTIM, owned, &value(7)).expect("it writes");
    let everywhere = |pop: &Cluster<'_, 8>| {
        pop.running().iter().all(|slot| pop.get(slot, owned) == Some(value(7).to_vec()))
    };
    pop.run_until(Duration::from_secs(30), everywhere).expect("the writer has the last word");
    assert_eq!(generation(&pop, VICTIM), before);
}

/// Word of a greater life in its slot: with rows it raises the generation once in ten seconds; whoever shares one key is
/// fenced by it.
#[test]
fn word_of_another_life_does_not_fence_a_row() {
    for rows in [true, false] {
        let mut storage = storage(SERVERS);
        let (mut pop, mut liar) = pop(&mut storage, told, rows);
        let before = generation(&pop, VICTIM);
        // Who is fenced by the first hears no more.
        let heard = if rows { Ok(()) } else { Err(Reject::Over) };
        for second in 0..30 {
            let other = Life { generation: generation(&pop, VICTIM) + 1, id: 77 + second };
            let said = liar.say(&mut pop, VICTIM, (Kind::LifeNotice, &notice(VICTIM, other)));
            assert_eq!(said, if second == 0 { Ok(()) } else { heard });
            pop.run(Duration::from_secs(1));
        }
        let greatest = Life { generation: u32::MAX, id: 5 };
        assert_eq!(liar.say(&mut pop, VICTIM, (Kind::LifeNotice, &notice(VICTIM, greatest))), heard);
        if rows {
            assert!((2..=8).contains(&(generation(&pop, VICTIM) - before)));
            assert_writes_on(&mut pop, 100, Duration::from_secs(20));
        } else {
            assert_eq!(pop.node(VICTIM).map().phase(), Phase::Fenced);
        }
    }
}

/// Word that the victim's slot was forgotten: its life is over, the next one lives; a generation that would leave it none is
/// not believed.
#[test]
fn word_that_a_slot_was_forgotten_ends_a_life_and_not_the_slot() {
    let mut storage = storage(SERVERS + 1);
    let (mut pop, mut liar) = pop(&mut storage, told, true);
    let tell = |pop: &mut Cluster<'_, 8>, liar: &mut Liar, generation| {
        for to in [VICTIM, OTHER] {
            let word = forgotten(&SHAPE, &[dot(VICTIM, generation, 0)]);
            assert_eq!(liar.say(pop, to, (Kind::Version, &word)), Ok(()));
        }
        pop.run(Duration::from_secs(1));
    };
    for beyond in [GENERATION_TOLD_MAX + 1, u32::MAX] {
        tell(&mut pop, &mut liar, beyond);
    }
    assert_eq!(pop.node(OTHER).map().forgotten().get(VICTIM), 0);
    assert_writes_on(&mut pop, 100, Duration::from_secs(20));
    let before = generation(&pop, VICTIM);
    tell(&mut pop, &mut liar, before);
    assert_eq!(pop.node(VICTIM).map().phase(), Phase::Forgotten);
    assert_eq!(pop.put(VICTIM, key(1), &value(1)), Err(PutError::Forgotten));
    pop.kill(VICTIM);
    pop.restart(VICTIM, Restart::GenerationKept);
    pop.run_until(Duration::from_secs(30), |pop| {
        matches!(pop.node(VICTIM).map().phase(), Phase::Active { .. })
    })
    .expect("it starts again");
    assert!(generation(&pop, VICTIM) > before);
    assert_writes_on(&mut pop, 200, Duration::from_secs(20));
}

/// Gossip that the victim's slot has another life, is dead, or has left: it says that it is alive, above all of it.
#[test]
fn word_of_a_death_is_refuted() {
    let mut storage = storage(SERVERS);
    let (mut pop, mut liar) = pop(&mut storage, swim, true);
    let honest = SlotSet::first(3);
    for round in 0..20 {
        let life = pop.node(VICTIM).map().life();
        let lies = [
            member(VICTIM, life, round, 3),
            member(VICTIM, Life { generation: life.generation + 1, id: 99 }, 0, 3),
            member(OTHER, pop.node(OTHER).map().life(), round, 4),
            member(OTHER, Life { generation: u32::MAX, id: 98 }, 0, 3),
        ];
        for to in honest.iter() {
            assert_eq!(liar.gossip(&mut pop, to, &lies), Ok(()));
        }
        pop.run(Duration::from_secs(1));
        assert!(pop.running().iter().all(|slot| pop.node(slot).map().phase() != Phase::Fenced));
    }
    let held = |pop: &Cluster<'_, 8>| {
        honest.iter().all(|slot| pop.node(slot).map().live().intersection(honest) == honest)
    };
    let back = pop.run_until(Duration::from_secs(15), held).expect("all alive again");
    println!("all held alive {} ms after the last lie", back.as_millis());
    assert_writes_on(&mut pop, 100, Duration::from_secs(20));
}

/// Commits writes that it withholds: repair finds those, and who owns their keys writes them again.
#[test]
fn withheld_writes_are_found() {
    let mut storage = storage(SERVERS);
    let (mut pop, mut liar) = pop(&mut storage, told, true);
    let next = counter(&pop, VICTIM, VICTIM) + 5;
    let claims = [Dot { slot: VICTIM, counter: next }];
    for to in [OTHER, Slot::at(2)] {
        assert_eq!(liar.commit(&mut pop, to, &SHAPE, (&[], &claims)), Ok(()));
    }
    assert_eq!(counter(&pop, OTHER, VICTIM), next, "they believe that they have them");
    let took = assert_writes_on(&mut pop, 100, Duration::from_secs(30));
    println!("withheld writes are everywhere after {took} ms");
}

/// Counters of its own that are far ahead: whoever asks is told nothing, and sends little in vain.
#[test]
fn own_counters_ahead_cost_questions() {
    let mut storage = storage(SERVERS);
    let (mut pop, mut liar) = pop(&mut storage, told, true);
    let sent = |pop: &Cluster<'_, 8>| pop.node(VICTIM).stats().sent_bytes;
    pop.run(Duration::from_secs(10));
    let start = sent(&pop);
    pop.run(Duration::from_secs(10));
    let quiet = sent(&pop) - start;
    let claims = [dot(STOLEN, liar.life.generation + 7, 1)];
    for _ in 0..1_000 {
        assert_eq!(liar.say(&mut pop, VICTIM, (Kind::Version, &version(&SHAPE, &claims, 0))), Ok(()));
        pop.run(Duration::from_millis(10));
    }
    let lied = sent(&pop) - start - quiet;
    println!("{quiet} bytes in 10 s, {lied} with the lie");
    assert!(lied < quiet + 10 * 200_000, "{lied} bytes for a claim");
    assert_writes_on(&mut pop, 100, Duration::from_secs(5));
}

/// A record at the greatest term: the key is lost, and only that key. The greatest floor: no absent key can be written.
#[test]
fn the_greatest_terms_stand() {
    let mut storage = storage(SERVERS);
    let (mut pop, mut liar) = pop(&mut storage, told, true);
    let lost = Record {
        key: key(0),
        dot: dot(STOLEN, liar.life.generation, 900),
        term: u32::MAX,
        value: Some(value(666).to_vec()),
    };
    assert_eq!(liar.say(&mut pop, VICTIM, (Kind::Push, &push(&SHAPE, &lost))), Ok(()));
    pop.run(Duration::from_secs(3));
    assert_eq!(pop.put(VICTIM, key(0), &value(1)), Err(PutError::TermExhausted));
    assert!(pop.running().iter().all(|slot| pop.get(slot, key(0)) == Some(value(666).to_vec())));
    assert_writes_on(&mut pop, 100, Duration::from_secs(5));
    assert_eq!(liar.say(&mut pop, VICTIM, (Kind::Version, &version(&SHAPE, &[], u32::MAX))), Ok(()));
    assert_eq!(pop.put(VICTIM, key(300), &value(1)), Err(PutError::TermExhausted));
    pop.put(VICTIM, key(1), &value(2)).expect("what is there is written as ever");
}

/// A value at a key of the victim's, with a high term: the owner is told, and has the last word.
#[test]
fn a_written_over_key_is_taken_back() {
    let mut storage = storage(SERVERS);
    let (mut pop, mut liar) = pop(&mut storage, told, true);
    let owned = (0..40).map(key).find(|key| pop.node(VICTIM).owner(*key) == VICTIM).expect("some are");
    pop.put(VICTIM, owned, &value(1)).expect("active");
    pop.settle(Duration::from_secs(2));
    let lie = Record {
        key: owned,
        dot: dot(STOLEN, liar.life.generation, 900),
        term: 1_000_000,
        value: Some(value(666).to_vec()),
    };
    assert_eq!(liar.say(&mut pop, OTHER, (Kind::Push, &push(&SHAPE, &lie))), Ok(()));
    pop.run(Duration::from_secs(3));
    let told = pop.take_events(VICTIM);
    assert!(told.contains(&Event::Superseded { key: owned }), "{told:?}");
    pop.put(VICTIM, owned, &value(2)).expect("active");
    pop.run(Duration::from_secs(3));
    assert!(pop.running().iter().all(|slot| pop.get(slot, owned) == Some(value(2).to_vec())));
}

/// In another's name it can neither push nor be; garbage moves nothing.
#[test]
fn other_names_and_garbage_move_nothing() {
    let mut storage = storage(SERVERS);
    let (mut pop, mut liar) = pop(&mut storage, told, true);
    let in_anothers_name =
        Record { key: key(3), dot: dot(OTHER, 1, 900), term: 50, value: Some(value(666).to_vec()) };
    let body = push(&SHAPE, &in_anothers_name);
    assert_eq!(liar.say(&mut pop, VICTIM, (Kind::Push, &body)), Err(Reject::Record));
    let (own, life) = (liar.slot, liar.life);
    (liar.slot, liar.life) = (OTHER, pop.node(OTHER).map().life());
    assert_eq!(liar.say(&mut pop, VICTIM, (Kind::Push, &body)), Err(Reject::Mac));
    (liar.slot, liar.life) = (VICTIM, Life { generation: 900, id: 77 });
    assert_eq!(liar.say(&mut pop, VICTIM, (Kind::LifeNotice, &notice(VICTIM, life))), Err(Reject::Mac));
    (liar.slot, liar.life) = (own, life);
    let digest =
        |pop: &Cluster<'_, 8>| (pop.node(VICTIM).map().digest(0, u64::MAX), pop.node(VICTIM).map().life());
    let before = digest(&pop);
    let mut rng = popmap_core::rng::Rng::new(5);
    for _ in 0..20_000 {
        let kind = Kind::ALL[rng.below(Kind::ALL.len() as u64) as usize];
        if kind == Kind::LifeNotice {
            // Any sixteen bytes are word of a life: no garbage.
            continue;
        }
        let mut body: Vec<u8> = (0..rng.below(300)).map(|_| rng.next_u64() as u8).collect();
        if rng.below(2) == 0 {
            // As far as the records.
            let shape = [&SHAPE.schema.to_le_bytes()[..], &SHAPE.value_len.to_le_bytes()].concat();
            body.splice(..body.len().min(6), shape);
        }
        let _ = liar.say(&mut pop, VICTIM, (kind, &body));
        pop.run(Duration(50_000));
    }
    assert_eq!(digest(&pop), before);
    assert_writes_on(&mut pop, 100, Duration::from_secs(10));
}

/// Two honest servers in one slot with the same row find out, and one is fenced: they meet.
#[test]
fn two_servers_with_one_row_meet() {
    for generation in [1, 2, 7] {
        let mut storage = storage(SERVERS + 1);
        let plan = (SERVERS, CAPACITY, SHAPE);
        let keys = Some((|slot| Keys::Rows.ring(slot)) as fn(Slot) -> _);
        let mut pop = Cluster::<8>::with_keys(&mut storage, plan, 7, Faults::default(), swim, keys);
        pop.start_up(Duration::from_secs(5));
        (0..40).for_each(|n| pop.put(OTHER, key(n), &value(n)).expect("active"));
        pop.settle(Duration::from_secs(5));
        let beside = pop.start_beside(OTHER, generation);
        let fenced = |pop: &Cluster<'_, 8>, of: Slot| pop.node(of).map().phase() == Phase::Fenced;
        let decided = pop.run_until(Duration::from_secs(30), |pop| fenced(pop, OTHER) != fenced(pop, beside));
        println!("generation {generation}: one is fenced after {} ms", decided.expect("one is").as_millis());
        let (winner, loser) = if fenced(&pop, OTHER) { (beside, OTHER) } else { (OTHER, beside) };
        assert!(pop.node(winner).map().life() > pop.node(loser).map().life());
        pop.run(Duration::from_secs(20));
        assert!(!fenced(&pop, winner), "the other goes on");
        assert_eq!(pop.put(loser, key(0), &value(0)), Err(PutError::Fenced));
        (50..55).for_each(|n| pop.put(winner, key(n), &value(n)).expect("it writes"));
        let rest = SlotSet::first(SERVERS).without(OTHER).with(winner);
        pop.run_until(Duration::from_secs(10), |pop| pop.are_equal(rest)).expect("equal");
    }
}

/// A server with a row that has lost its generation learns from the others what its slot has written, and writes above it.
#[test]
fn a_lost_generation_is_learnt_from_others() {
    for adjust in [told, swim] {
        let mut storage = storage(SERVERS + 2);
        let plan = (SERVERS, CAPACITY, SHAPE);
        let keys = Some((|slot| Keys::Rows.ring(slot)) as fn(Slot) -> _);
        let mut pop = Cluster::<8>::with_keys(&mut storage, plan, 7, Faults::default(), adjust, keys);
        pop.start_up(Duration::from_secs(5));
        for how in [Restart::GenerationKept, Restart::GenerationLost] {
            (0..40).for_each(|n| pop.put(VICTIM, key(n), &value(n)).expect("active"));
            pop.settle(Duration::from_secs(5));
            let before = generation(&pop, VICTIM);
            pop.kill(VICTIM);
            pop.restart(VICTIM, how);
            pop.start_up(Duration::from_secs(6));
            assert!(generation(&pop, VICTIM) > before, "{how:?}");
            assert_writes_on(&mut pop, 0, Duration::from_secs(5));
            pop.settle(Duration::from_secs(5));
        }
    }
}
