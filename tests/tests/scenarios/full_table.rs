//! A server with less room than the others: it says so, its version stands still, it costs the others little, and
//! nothing is lost anywhere else; started anew with more room it is whole (R3).

use popmap_core::time::Duration;
use popmap_core::{Event, PutError, Slot, SlotSet};
use popmap_io::memory::Faults;
use popmap_tests::cluster::{Cluster, Restart, Storage};
use popmap_tests::scenario::{SHAPE, assert_same_records, key, mends, total, value};

const ROOM: usize = 400;
const LITTLE_ROOM: usize = 100;
const KEYS: u64 = 200;

type Pop<'a> = Cluster<'a, 8>;

const SMALL: Slot = Slot::at(2);

#[test]
fn a_small_server_stands_still_until_it_gets_room() {
    let mut storage = Storage::new::<8>(4, ROOM, SHAPE);
    let faults = Faults { loss_ppm: 20_000, ..Faults::default() };
    let unequal = |config: &mut popmap_core::Config| {
        if config.slot == SMALL {
            config.capacity = LITTLE_ROOM;
        }
    };
    let mut pop = Pop::new(&mut storage, 3, ROOM, SHAPE, 1, faults, unequal);
    let (all, roomy) = (pop.running(), SlotSet::first(2));
    pop.start_up(Duration::from_secs(6));
    let write = |pop: &mut Pop<'_>, from: u64, to: u64, round: u64| {
        for n in from..to {
            pop.put(Slot::at((n % 2) as usize), key(n), &value(n + round)).unwrap();
            pop.run(Duration::from_millis(2));
        }
    };

    // Up to its capacity everything fits: the reserve is for records of others.
    write(&mut pop, 0, LITTLE_ROOM as u64, 0);
    pop.settle(Duration::from_secs(5));
    assert_eq!(pop.put(SMALL, key(KEYS), &value(0)), Err(PutError::Full), "above 7/8 of its room");
    assert_eq!(pop.put(SMALL, key(0), &value(1)), Ok(()), "overwriting takes no room");
    pop.settle(Duration::from_secs(5));
    assert_eq!(pop.take_events(SMALL), [Event::Started { expired: false }]);

    write(&mut pop, LITTLE_ROOM as u64, KEYS, 0);
    pop.run_until(Duration::from_secs(5), |pop| pop.are_equal(roomy)).expect("the others are not held up");
    pop.run(Duration::from_secs(1));
    assert_eq!(pop.take_events(SMALL), [Event::Full], "told once");
    let version = *pop.node(SMALL).map().version();
    let refused = pop.node(SMALL).stats().map.records_refused;
    assert!(refused > 0);
    assert_eq!(pop.node(SMALL).map().len(), LITTLE_ROOM);

    // Pulls back off: what it is sent again and again stays bounded.
    let sent = |pop: &Pop<'_>| total(pop, |stats| stats.map.records_sent);
    pop.run(Duration::from_secs(20));
    let before = sent(&pop);
    pop.run(Duration::from_secs(60));
    let again = sent(&pop) - before;
    assert_eq!(*pop.node(SMALL).map().version(), version, "its version stands still");

    // The others go on, and so do its own writes.
    write(&mut pop, 0, KEYS, 1_000);
    pop.put(SMALL, key(1), &value(77)).unwrap();
    let first = Slot::at(0);
    let its_own = |pop: &Pop<'_>| pop.are_equal(roomy) && pop.get(first, key(1)) == Some(value(77).to_vec());
    pop.run_until(Duration::from_secs(10), its_own).expect("the others have all, its own writes too");
    assert_eq!(
        assert_same_records(&pop, roomy, (0..KEYS).map(key)) as u64,
        KEYS,
        "nothing is lost elsewhere"
    );
    let own = pop.node(SMALL).map().version().get(SMALL);
    let grown = pop.node(SMALL).map().version();
    assert!(roomy.iter().all(|slot| grown.get(slot) == version.get(slot)) && own > version.get(SMALL));

    // The way out: a new, empty life with more room.
    pop.kill(SMALL);
    pop.adjust = |_| {};
    pop.restart(SMALL, Restart::GenerationKept);
    let took = pop.settle(Duration::from_secs(5));
    assert_eq!(assert_same_records(&pop, all, (0..KEYS).map(key)) as u64, KEYS);
    assert_eq!(total(&pop, |stats| mends(stats) + stats.map.reports), 0);
    println!(
        "{refused} records refused at first; {again} records sent again in a minute, {KEYS} keys; with room equal after {} ms",
        took.as_millis(),
    );
    assert!(again <= KEYS * 60 / 5, "{again} records sent again in a minute");
}

/// Whatever else is in an answer of which something did not fit: at its end there may be only a version.
#[test]
fn the_end_of_an_answer_does_not_make_a_small_server_ask_again() {
    for more in 1..=100 {
        let mut storage = Storage::new::<8>(8, ROOM, SHAPE);
        let small = Slot::at(7);
        let mut pop = Pop::new(&mut storage, 8, ROOM, SHAPE, more, Faults::default(), |config| {
            if config.slot == Slot::at(7) {
                config.capacity = LITTLE_ROOM;
            }
        });
        pop.start_up(Duration::from_secs(6));
        let keys = LITTLE_ROOM as u64 + more;
        (0..keys).for_each(|n| pop.put(Slot::at((n % 7) as usize), key(n), &value(n)).unwrap());
        pop.run(Duration::from_secs(20));
        let sessions_before = pop.node(small).stats().sync.sessions;
        let sent = |pop: &Pop<'_>| total(pop, |stats| stats.map.records_sent);
        let before = sent(&pop);
        pop.run(Duration::from_secs(60));
        assert!(pop.node(small).stats().map.records_refused > 0);
        let (again, sessions) =
            (sent(&pop) - before, pop.node(small).stats().sync.sessions - sessions_before);
        // Pauses have doubled to ten seconds: some six answers, of all that it lacks.
        let much = format!("{more} more than fit: {again} records sent in a minute, {sessions} sessions");
        assert!(sessions <= 10 && again <= 10 * keys, "{much}");
    }
}

#[test]
fn local_writes_leave_the_reserve_to_others() {
    let mut storage = Storage::new::<8>(2, ROOM, SHAPE);
    let mut pop = Pop::new(&mut storage, 2, ROOM, SHAPE, 2, Faults::default(), |_| {});
    let [one, other] = [0, 1].map(Slot::at);
    pop.start_up(Duration::from_secs(6));
    pop.network.partition(SlotSet::EMPTY.with(one));
    let fill = |pop: &mut Pop<'_>, slot, from: u64| {
        let written = (from..).take_while(|&n| pop.put(slot, key(n), &value(n)).is_ok()).count();
        assert_eq!(pop.put(slot, key(0), &value(0)), if from == 0 { Ok(()) } else { Err(PutError::Full) });
        written
    };
    assert_eq!(fill(&mut pop, one, 0), ROOM * 7 / 8);
    // What the other wrote meanwhile still fits into the reserve.
    for n in 0..ROOM as u64 / 8 {
        pop.put(other, key(1_000 + n), &value(n)).unwrap();
    }
    pop.network.heal();
    pop.settle(Duration::from_secs(5));
    assert_eq!(pop.node(one).map().len(), ROOM);
    assert_eq!(total(&pop, |stats| stats.map.records_refused), 0);
    assert_eq!(total(&pop, |stats| stats.map.puts_refused), 1);
    // Deleting is possible when full, and in time gives room.
    for n in 0..100 {
        pop.remove(one, key(n)).unwrap();
    }
    pop.run(Duration::from_secs(60));
    assert!(pop.is_converged());
    assert_eq!(pop.node(one).map().len(), ROOM - 100);
    pop.put(one, key(0), &value(5)).unwrap();
    pop.settle(Duration::from_secs(5));
}
