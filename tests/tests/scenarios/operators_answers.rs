//! What an operator asks, answered by running it: what is served while a server starts, is cut off, stands still or is
//! fenced, and what age and harvest say meanwhile. The page `operating` of popmap-core's docs names these tests.

use popmap_core::map::Meta;
use popmap_core::time::{Duration, Instant};
use popmap_core::{
    Config, Event, Key, Life, Lookup, Node, Phase, PutError, Reject, Shape, Slot, SlotSet, State,
};
use popmap_io::memory::{Faults, Network};
use popmap_tests::cluster::{Cluster, Restart, Storage};
use popmap_tests::members::{agree, all_hold_live, join, losing, pop, storage, swim};
use popmap_tests::scenario::{SHAPE, key, mends, owned_by, rejected, total, value};

type Pop<'a> = Cluster<'a, 8>;

const MAX_AGE: Duration = Duration::from_secs(10);
/// How an age may differ from the time between two moments: it is kept in steps of 16.8 ms.
const STEP: Duration = Duration(1 << 24);

/// Returns what `slot` reads under `key` and knows of it.
fn read(pop: &Pop<'_>, slot: Slot, key: Key) -> Option<([u8; 24], Meta)> {
    let mut value = [0; 24];
    match pop.node(slot).reader().get(key, &mut value) {
        Lookup::Found(meta) => Some((value, meta)),
        Lookup::Absent | Lookup::Busy => None,
    }
}

fn age(pop: &Pop<'_>, slot: Slot, key: Key) -> Duration {
    read(pop, slot, key).expect("found").1.age(pop.now())
}

/// Returns the fraction of the keys that is fresh at `slot`.
fn harvest(pop: &Pop<'_>, slot: Slot) -> f64 {
    pop.node(slot).harvest(pop.now(), MAX_AGE).fraction().expect("there are keys")
}

/// Has each live owner, in the view of `by`, write its keys anew, in one of these servers.
fn owners_write(pop: &mut Pop<'_>, among: SlotSet, keys: &[Key], with: u64) {
    for &key in keys {
        let owner = pop.node(among.iter().next().expect("a server")).owner(key);
        assert!(among.contains(owner), "{owner} is not on this side");
        pop.put(owner, key, &value(with)).expect("written");
    }
}

/// A server with an empty memory serves what has come so far, and refuses to write until it has met every live peer.
#[test]
fn a_starting_server_serves_what_has_come_and_refuses_puts() {
    const KEYS: u64 = 1_500;
    let mut storage = Storage::new::<8>(5, 2_000, SHAPE);
    // Two packets in 10 ms, so that there is something to be seen on the way.
    let slowly = |config: &mut Config| config.budget_bytes = 2_800;
    let mut pop = Pop::new(&mut storage, 3, 2_000, SHAPE, 1, Faults::default(), slowly);
    let [met, unmet, starting] = [0, 1, 2].map(Slot::at);
    pop.start_up(Duration::from_secs(6));
    (0..KEYS).for_each(|n| pop.put(met, key(n), &value(n)).expect("written"));
    pop.settle(Duration::from_secs(5));
    for heals in [true, false] {
        pop.kill(starting);
        pop.network.cut(unmet, starting);
        pop.network.cut(starting, unmet);
        pop.restart(starting, Restart::GenerationKept);
        let began = pop.now();
        let held = |pop: &Pop<'_>| pop.node(starting).map().len() as u64;
        pop.run_until(Duration::from_secs(1), |pop| held(pop) > 0).expect("something comes");
        let some = held(&pop);
        assert!(some < KEYS, "{some} of {KEYS}");
        let found = (0..KEYS).filter(|&n| read(&pop, starting, key(n)).is_some()).count() as u64;
        assert_eq!(found, some, "what has come is served, and nothing else");
        pop.run_until(Duration::from_secs(3), |pop| held(pop) == KEYS)
            .expect("all comes from the one that is met");
        assert!((0..KEYS).all(|n| read(&pop, starting, key(n)).is_some_and(|found| found.0 == value(n))));
        // One live peer is still to be met.
        assert_eq!(pop.node(starting).map().phase(), Phase::Starting);
        assert_eq!(pop.node(starting).map().waiting_for(), SlotSet::EMPTY.with(unmet));
        assert_eq!(pop.put(starting, key(0), &value(7)), Err(PutError::Starting));
        if heals {
            pop.network.heal();
        }
        pop.start_up(Duration::from_secs(6));
        let expired = !heals;
        assert_eq!(pop.node(starting).map().phase(), Phase::Active { expired });
        assert_eq!(pop.take_events(starting).last(), Some(&Event::Started { expired }));
        assert_eq!(
            pop.now().since(began) >= Duration::from_secs(5),
            expired,
            "the deadline alone breaks the wait"
        );
        pop.put(starting, key(0), &value(0)).expect("now it may");
        println!("heals {heals}: served {some}, then {KEYS} keys before it might write");
    }
}

/// Both sides serve all they had, see by their harvest what nobody of theirs looks after, and take it over.
#[test]
fn both_sides_of_a_partition_serve_and_take_over_and_their_harvest_tells() {
    for seed in 0..4 {
        let mut storage = storage::<8>(6);
        let mut pop = pop::<8>(&mut storage, 6, seed, losing(10_000));
        join(&mut pop);
        let (all, left) = (pop.running(), SlotSet::first(2));
        let right = all.difference(left);
        let keys: Vec<_> = (0..120).map(key).collect();
        owners_write(&mut pop, all, &keys, 1);
        pop.settle(Duration::from_secs(5));
        assert!(all.iter().all(|slot| harvest(&pop, slot) == 1.0));
        let of = |authors: SlotSet| {
            authors
                .iter()
                .map(|slot| owned_by(slot, all, 200).iter().filter(|key| keys.contains(key)).count())
                .sum::<usize>()
        };

        pop.network.partition(left);
        let parted = pop.run_until(Duration::from_secs(60), |pop| {
            all_hold_live(pop, left, left) && all_hold_live(pop, right, right)
        });
        let parted = parted.expect("each side holds the other dead");
        for (side, authors) in [(left, of(left)), (right, of(right))] {
            for slot in side.iter() {
                assert!(keys.iter().all(|&key| read(&pop, slot, key).is_some()), "all is served");
                let seen = pop.node(slot).harvest(pop.now(), Duration::from_secs(3_600));
                assert_eq!((seen.keys, seen.fresh, seen.orphaned), (120, authors, 120 - authors));
            }
        }
        // Whoever owns a key now finds out for itself, and writes.
        owners_write(&mut pop, left, &keys, 2);
        owners_write(&mut pop, right, &keys, 3);
        pop.run_until(Duration::from_secs(5), |pop| pop.are_equal(left) && pop.are_equal(right))
            .expect("equal");
        assert!(all.iter().all(|slot| harvest(&pop, slot) == 1.0), "both sides look after every key");
        assert!(left.iter().all(|slot| read(&pop, slot, keys[0]).expect("found").0 == value(2)));
        assert!(right.iter().all(|slot| read(&pop, slot, keys[0]).expect("found").0 == value(3)));

        pop.network.heal();
        agree(&mut pop, Duration::from_secs(5));
        let healed = pop.settle(Duration::from_secs(5));
        // One value everywhere; owners whose own one was replaced have been told, and write again.
        let mut again = 0;
        for slot in all.iter() {
            for event in pop.take_events(slot) {
                if let Event::Superseded { key } = event {
                    assert_eq!(pop.node(slot).owner(key), slot);
                    pop.put(slot, key, &value(4)).expect("written");
                    again += 1;
                }
            }
        }
        pop.settle(Duration::from_secs(5));
        assert!(again > 0, "the sides wrote the same keys");
        assert!(all.iter().all(|slot| harvest(&pop, slot) == 1.0));
        assert_eq!(total(&pop, mends), 0);
        println!(
            "seed {seed}: parted after {} ms, equal {} ms after all were live, {again} keys written again",
            parted.as_millis(),
            healed.as_millis()
        );
    }
}

/// An age is the time since a write was applied here: not since it was made, and not since it was last confirmed.
#[test]
fn an_age_counts_from_when_the_write_was_applied_here() {
    let mut storage = storage::<8>(4);
    let mut pop = pop::<8>(&mut storage, 3, 1, losing(10_000));
    join(&mut pop);
    let [author, reader, late] = [0, 1, 2].map(Slot::at);
    let written = pop.now();
    pop.put(author, key(1), &value(1)).expect("written");
    pop.settle(Duration::from_secs(5));
    let applied = pop.now();
    pop.run(Duration::from_secs(20));
    for slot in [author, reader] {
        // Versions, repair and probes went on all the time: nothing that says the same again makes a value younger.
        let came = pop.now() - age(&pop, slot, key(1));
        assert!(came + STEP >= written && came <= applied + STEP, "{came:?} of {written:?} to {applied:?}");
    }

    pop.kill(late);
    pop.restart(late, Restart::GenerationKept);
    pop.start_up(Duration::from_secs(6));
    agree(&mut pop, Duration::from_secs(3));
    assert!(age(&pop, author, key(1)) > Duration::from_secs(20));
    assert!(age(&pop, late, key(1)) < Duration::from_secs(5), "it came lately, however old it is");
    assert_eq!((harvest(&pop, author), harvest(&pop, reader), harvest(&pop, late)), (0.0, 0.0, 1.0));

    // The same value, written again, is a new write: that is how an owner says that it still holds.
    pop.put(author, key(1), &value(1)).expect("written");
    pop.settle(Duration::from_secs(5));
    assert!([author, reader, late].iter().all(|&slot| age(&pop, slot, key(1)) < Duration::from_secs(5)));
    assert!([author, reader, late].iter().all(|&slot| harvest(&pop, slot) == 1.0));
}

/// Readers of a server whose gossip thread stands still read on; the heartbeat tells, and the others take its keys over.
#[test]
fn a_stalled_gossip_thread_stops_the_heartbeat_and_nothing_else() {
    let mut storage = storage::<8>(5);
    let mut pop = pop::<8>(&mut storage, 5, 1, losing(10_000));
    join(&mut pop);
    let (stalled, other) = (Slot::at(2), Slot::at(0));
    let all = pop.running();
    let keys: Vec<_> = (0..60).map(key).collect();
    owners_write(&mut pop, all, &keys, 1);
    pop.settle(Duration::from_secs(5));
    pop.run(Duration::from_secs(1));
    let (reader, life) = (pop.node(stalled).reader(), pop.node(stalled).map().life());
    let heartbeat = reader.heartbeat();
    assert!(pop.now().since(heartbeat) <= Duration::from_millis(100), "ten times a second at least");

    pop.stall(stalled, Duration::from_secs(30));
    pop.run(Duration::from_secs(1));
    pop.put(other, key(1_000), &value(1)).expect("written");
    pop.run_until(Duration::from_secs(15), |pop| {
        pop.running()
            .without(stalled)
            .iter()
            .all(|slot| pop.node(slot).member(stalled).is_some_and(|member| member.state == State::Dead))
    })
    .expect("the others hold it dead, and its keys are theirs");
    pop.run(Duration::from_secs(12));
    assert!(reader.heartbeat() == heartbeat && pop.now().since(heartbeat) > Duration::from_secs(10));
    assert!(keys.iter().all(|&key| read(&pop, stalled, key).is_some_and(|found| found.0 == value(1))));
    assert!(read(&pop, stalled, key(1_000)).is_none(), "nothing new comes");
    // By the clock it is all old. By the heartbeat it would be fresh for ever.
    let live = pop.node(stalled).map().live();
    let by = |now: Instant| reader.harvest(now, MAX_AGE, live).fraction();
    assert_eq!((by(pop.now()), by(heartbeat)), (Some(0.0), Some(1.0)));

    pop.run(Duration::from_secs(20));
    agree(&mut pop, Duration::from_secs(3));
    pop.settle(Duration::from_secs(5));
    assert!(pop.now().since(reader.heartbeat()) <= Duration::from_millis(100));
    assert!(read(&pop, stalled, key(1_000)).is_some());
    assert_eq!(pop.node(stalled).map().life(), life, "it goes on as it was, without a restart");
}

/// A fenced server reads on from what it has, and hears nothing new: it has to be taken out of service.
#[test]
fn a_fenced_server_serves_what_it_has_and_hears_nothing_new() {
    let mut storage = storage::<8>(5);
    let mut pop = pop::<8>(&mut storage, 4, 1, losing(10_000));
    join(&mut pop);
    let shared = Slot::at(1);
    (0..20).for_each(|n| pop.put(shared, key(n), &value(n)).expect("written"));
    pop.settle(Duration::from_secs(5));
    let beside = pop.start_beside(shared, 9);
    pop.run_until(Duration::from_secs(10), |pop| pop.node(shared).map().phase() == Phase::Fenced)
        .expect("the lesser life is fenced");
    pop.start_up(Duration::from_secs(6));
    let events = pop.take_events(shared);
    assert!(events.iter().any(|event| matches!(event, Event::Fenced { .. })), "{events:?}");
    (0..10).for_each(|n| pop.put(beside, key(n), &value(100 + n)).expect("written"));
    pop.run(Duration::from_secs(20));
    assert_eq!(pop.put(shared, key(0), &value(0)), Err(PutError::Fenced));
    assert_eq!(pop.remove(shared, key(0)), Err(popmap_core::RemoveError::Refused(PutError::Fenced)));
    for n in 0..20 {
        assert_eq!(read(&pop, shared, key(n)).expect("served").0, value(n), "as it was");
        let elsewhere = read(&pop, Slot::at(0), key(n)).expect("served").0;
        assert_eq!(elsewhere, value(if n < 10 { 100 + n } else { n }));
    }
    assert!(
        total(&pop, |stats| rejected(stats, Reject::OldLife)) > 0,
        "the others no longer take what it sends"
    );
    assert_eq!(harvest(&pop, shared), 0.0, "its harvest tells");
    assert!(
        all_hold_live(&pop, SlotSet::EMPTY.with(Slot::at(0)), SlotSet::first(4)),
        "the slot has its server"
    );
}

/// A server whose table is full goes on with the keys that it has: reads, its own writes and those of the others.
#[test]
fn a_full_server_goes_on_with_the_keys_that_it_has() {
    const ROOM: u64 = 100;
    const SMALL: Slot = Slot::at(2);
    let mut storage = Storage::new::<8>(3, 400, SHAPE);
    let small =
        |config: &mut Config| config.capacity = if config.slot == SMALL { ROOM as usize } else { 400 };
    let mut pop = Pop::new(&mut storage, 3, 400, SHAPE, 1, losing(10_000), small);
    let roomy = SlotSet::first(2);
    pop.start_up(Duration::from_secs(6));
    (0..ROOM).for_each(|n| pop.put(Slot::at(0), key(n), &value(n)).expect("written"));
    pop.settle(Duration::from_secs(5));
    pop.take_events(SMALL);
    (ROOM..2 * ROOM).for_each(|n| pop.put(Slot::at(1), key(n), &value(n)).expect("written"));
    pop.run_until(Duration::from_secs(5), |pop| pop.are_equal(roomy)).expect("the others are not held up");
    pop.run(Duration::from_secs(1));
    assert_eq!(pop.take_events(SMALL), [Event::Full]);
    assert!(pop.node(SMALL).stats().map.records_refused > 0);
    assert_eq!(pop.put(SMALL, key(9_999), &value(0)), Err(PutError::Full));

    for n in 0..ROOM {
        pop.put(if n % 2 == 0 { Slot::at(0) } else { SMALL }, key(n), &value(1_000 + n))
            .expect("it takes no room");
        pop.run(Duration::from_millis(5));
    }
    let all_new = |pop: &Pop<'_>| {
        let new = |slot| {
            (0..ROOM).all(|n| read(pop, slot, key(n)).is_some_and(|found| found.0 == value(1_000 + n)))
        };
        roomy.with(SMALL).iter().all(new)
    };
    let took = pop.run_until(Duration::from_secs(30), all_new).expect("what it has is kept up to date");
    assert!(
        (ROOM..2 * ROOM).all(|n| read(&pop, SMALL, key(n)).is_none()),
        "what did not fit is absent there"
    );
    println!("up to date after {} ms", took.as_millis());
}

/// Who says goodbye and comes back without seeds is looked for by nobody; who crashed is tried again by the others.
#[test]
fn without_seeds_a_server_that_comes_back_is_a_pop_of_its_own() {
    for says_goodbye in [true, false] {
        let mut storage = storage::<8>(5);
        let mut pop = pop::<8>(&mut storage, 4, 1, losing(10_000));
        join(&mut pop);
        let (all, returns) = (pop.running(), Slot::at(3));
        let (rest, alone) = (all.without(returns), SlotSet::EMPTY.with(returns));
        if says_goodbye {
            let now = pop.now();
            pop.node_mut(returns).leave(now);
        }
        pop.run(Duration::from_millis(200));
        pop.kill(returns);
        pop.run_until(Duration::from_secs(10), |pop| all_hold_live(pop, rest, rest)).expect("it is missed");
        pop.restart(returns, Restart::GenerationKept);
        let now = pop.now();
        pop.node_mut(returns).join(now, &[]);
        pop.run(Duration::from_secs(60));
        assert_eq!(pop.node(returns).map().phase(), Phase::Active { expired: false }, "nobody to wait for");
        if says_goodbye {
            assert!(all_hold_live(&pop, alone, alone) && all_hold_live(&pop, rest, rest));
            // The way back: tell it where the others are.
            let now = pop.now();
            pop.node_mut(returns).join(now, &[Network::address(Slot::at(0))]);
        }
        agree(&mut pop, Duration::from_secs(3));
    }
}

/// Servers that are configured unlike each other say so in a counter by the reason's name.
#[test]
fn a_configuration_unlike_the_others_shows_in_a_counter() {
    const ODD: Slot = Slot::at(1);
    fn by(config: &mut Config) -> usize {
        swim(config);
        usize::from(config.slot == ODD)
    }
    // Whether they are members of each other all the same, and whether the odd one starts without the others' data.
    type Case = (fn(&mut Config), Reject, bool, bool);
    let cases: [Case; 4] = [
        (|config| config.cluster += by(config) as u64, Reject::Cluster, false, true),
        (|config| config.shape.schema += by(config) as u32, Reject::Schema, true, true),
        (|config| config.shape.value_len -= by(config) as u16, Reject::ValueLength, true, true),
        (|config| config.payload -= 200 * by(config), Reject::Oversize, true, false),
    ];
    for (differ, reason, members, expires) in cases {
        let mut storage = storage::<8>(3);
        let mut pop = Pop::new(&mut storage, 3, 300, SHAPE, 1, losing(0), differ);
        pop.start_up(Duration::from_secs(10));
        assert_eq!(pop.node(ODD).map().phase(), Phase::Active { expired: expires }, "{reason}");
        (0..100).for_each(|n| pop.put(Slot::at(0), key(n), &value(n)).expect("written"));
        pop.run(Duration::from_secs(10));
        assert_eq!(pop.node(ODD).map().live().len() == 3, members, "{reason}");
        assert!(rejected(&pop.node(ODD).stats(), reason) > 0, "{reason}");
        assert!(!expires || pop.node(ODD).map().is_empty(), "{reason}: nothing came");
    }
}

/// The README's formula for the words of a node's memory, and its example.
#[test]
fn memory_is_what_the_readme_says() {
    let formula = |slots: usize, capacity: usize, value_len: usize| {
        let record = 5 + value_len.div_ceil(8);
        8 + 8 * capacity.div_ceil(12) + capacity * record + capacity.div_ceil(2) + (slots + 16) * slots
    };
    for (capacity, value_len) in [(1, 0), (300, 8), (57_143, 24), (60_000, 24), (99_999, 25), (1 << 22, 512)]
    {
        let shape = Shape { schema: 1, value_len: value_len as u16 };
        let config = Config::new(1, Slot::at(0), Life { generation: 1, id: 1 }, capacity, shape);
        assert_eq!(Node::<64>::words(&config), formula(64, capacity, value_len));
        assert_eq!(Node::<3>::words(&config), formula(3, capacity, value_len));
    }
    assert_eq!(formula(64, 60_000, 24), 555_128);
}
