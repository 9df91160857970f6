//! A server that is gone for good is forgotten: tombstones go, and when it comes back after all, with its old table,
//! nothing of that comes back. Its next life catches up (R2).

use popmap_core::limits::QUARANTINE;
use popmap_core::map::Request;
use popmap_core::time::{Duration, Instant};
use popmap_core::wire::{Kind, LifeNotice};
use popmap_core::{Event, ForgetError, Life, Lookup, Map, Phase, PutError, Reject, Slot, SlotSet};
use popmap_io::memory::Faults;
use popmap_tests::cluster::{Cluster, Restart, Sent, Storage};
use popmap_tests::link;
use popmap_tests::members::{join, losing};
use popmap_tests::scenario::{SHAPE, assert_same_records, key, mends, rejected, total, value};

const KEYS: u64 = 40;
const SERVERS: usize = 4;
const ALL: SlotSet = SlotSet::first(SERVERS);
const AWAY: Slot = Slot::at(3);
const HERE: SlotSet = ALL.without(AWAY);
/// All have forgotten a slot by then: exchanges are a quarter of a second apart while something is new.
const SPREAD: Duration = Duration::from_secs(5);
/// Two rounds of collection, each a quarantine and the time until everybody was heard.
const COLLECTED: Duration = QUARANTINE.times(4);

type Pop<'a> = Cluster<'a, 8>;

fn storage() -> Storage {
    Storage::new::<8>(SERVERS + 3, 200, SHAPE)
}

fn tombstones(pop: &Pop<'_>) -> usize {
    HERE.iter().map(|slot| pop.node(slot).map().tombstones()).sum()
}

fn cut_off(pop: &mut Pop<'_>) {
    HERE.iter().for_each(|other| pop.network.cut(other, AWAY));
    pop.set_live(HERE);
}

/// A PoP with records, one of whose servers is cut off before the first half of them is deleted; it writes one of those.
fn deleted_without_one<'a>(storage: &'a mut Storage, seed: u64) -> Pop<'a> {
    let faults = Faults { loss_ppm: 50_000, jitter: Duration::from_millis(1), ..Faults::default() };
    let mut pop = Pop::new(storage, SERVERS, 200, SHAPE, seed, faults, |_| {});
    pop.start_up(Duration::from_secs(6));
    for n in 0..KEYS {
        pop.put(Slot::at((n % 4) as usize), key(n), &value(n)).unwrap();
    }
    pop.settle(Duration::from_secs(5));
    cut_off(&mut pop);
    for n in 0..KEYS / 2 {
        pop.remove(Slot::at((n % 3) as usize), key(n)).unwrap();
    }
    pop.put(AWAY, key(3), &value(1_003)).unwrap();
    let equal = |pop: &Pop<'_>| pop.are_equal(HERE);
    pop.run_until(Duration::from_secs(5), equal).expect("the others become equal");
    pop
}

fn forget(pop: &mut Pop<'_>, at: Slot, slot: Slot) -> Result<u32, ForgetError> {
    let now = pop.now();
    pop.node_mut(at).forget(now, slot)
}

fn knows(pop: &Pop<'_>, slot: Slot) -> bool {
    pop.node(slot).map().forgotten_slots() == SlotSet::EMPTY.with(AWAY)
}

/// Nothing that was deleted is there, all else is.
fn assert_nothing_came_back(pop: &Pop<'_>, among: SlotSet) {
    for n in 0..KEYS / 2 {
        for slot in among.iter() {
            assert_eq!(pop.get(slot, key(n)), None, "key {n} is back at {slot}");
        }
    }
    assert_eq!(assert_same_records(pop, among, (0..KEYS).map(key)) as u64, KEYS - KEYS / 2);
}

#[test]
fn tombstones_go_and_the_old_server_brings_nothing_back() {
    let mut storage = storage();
    let mut pop = deleted_without_one(&mut storage, 1);
    pop.run(QUARANTINE.times(6));
    assert_eq!(tombstones(&pop) as u64, KEYS / 2 * 3, "they wait for the one that is away");

    let versions: Vec<_> = HERE.iter().map(|slot| *pop.node(slot).map().version()).collect();
    assert_eq!(forget(&mut pop, Slot::at(0), AWAY), Ok(1));
    assert_eq!(forget(&mut pop, Slot::at(0), AWAY), Ok(1), "again, and nothing changes");
    let told =
        pop.run_until(SPREAD, |pop| HERE.iter().all(|slot| knows(pop, slot))).expect("all come to know");
    let gone = pop.run_until(COLLECTED, |pop| tombstones(pop) == 0).expect("tombstones leave");
    println!("all knew after {} ms, the last tombstone left {} ms later", told.as_millis(), gone.as_millis());
    assert!(gone >= QUARANTINE);
    for (slot, before) in HERE.iter().zip(&versions) {
        assert!(pop.node(slot).map().version().covers_all(before), "forgetting lowers no version");
    }
    assert_nothing_came_back(&pop, HERE);

    // It is back, in its old life and with its old table.
    pop.take_events(AWAY);
    pop.watch();
    pop.network.heal();
    pop.set_live(ALL);
    assert!(HERE.iter().all(|slot| !pop.node(slot).map().live().contains(AWAY)));
    let over = |pop: &Pop<'_>| pop.node(AWAY).map().phase() == Phase::Forgotten;
    let took = pop.run_until(Duration::from_secs(5), over).expect("it is told");
    println!("the one that was forgotten knew {} ms after it was back", took.as_millis());
    let answers: Vec<_> = pop.take_sent().into_iter().filter(|sent| sent.to == AWAY).collect();
    assert!(answers.iter().any(|sent| sent.kind() == Kind::LifeNotice));
    pop.run(QUARANTINE.times(2));
    assert!(pop.take_events(AWAY).contains(&Event::Forgotten { generation: 1 }));
    assert_eq!(pop.put(AWAY, key(99), &value(1)), Err(PutError::Forgotten));
    assert!(pop.take_sent().iter().all(|sent| sent.from != AWAY), "it has nothing to say any more");
    assert_nothing_came_back(&pop, HERE);
    assert!(total(&pop, |stats| rejected(stats, Reject::Forgotten)) > 0);

    // Its next life starts empty and catches up; tombstones wait for it as for any other.
    pop.kill(AWAY);
    pop.restart(AWAY, Restart::GenerationKept);
    pop.set_live(ALL);
    let started = |pop: &Pop<'_>| matches!(pop.node(AWAY).map().phase(), Phase::Active { .. });
    pop.run_until(Duration::from_secs(2), started).expect("it starts");
    assert_eq!(pop.node(AWAY).map().phase(), Phase::Active { expired: false });
    pop.settle(Duration::from_secs(5));
    assert_nothing_came_back(&pop, ALL);
    let held = |pop: &Pop<'_>, slot| pop.node(slot).map().tombstones();
    pop.put(AWAY, key(0), &value(7)).unwrap();
    pop.settle(Duration::from_secs(5));
    cut_off(&mut pop);
    pop.remove(Slot::at(1), key(0)).unwrap();
    pop.run(QUARANTINE.times(4));
    assert_eq!(held(&pop, Slot::at(1)), 1);
    pop.network.heal();
    pop.set_live(ALL);
    pop.run_until(COLLECTED, |pop| ALL.iter().all(|slot| held(pop, slot) == 0)).expect("and leave with it");
    assert_eq!(total(&pop, |stats| mends(stats) + stats.map.reports), 0);
}

/// The one that comes back is the first that a server meets which has just started, alone with it.
#[test]
pub(crate) fn a_new_server_that_met_the_old_one_first_begins_again() {
    let (mut storage, fresh) = (storage(), Slot::at(2));
    let mut pop = deleted_without_one(&mut storage, 2);
    forget(&mut pop, Slot::at(0), AWAY).unwrap();
    pop.run_until(COLLECTED, |pop| tombstones(pop) == 0).expect("tombstones leave");

    let others = HERE.without(fresh);
    pop.kill(fresh);
    pop.network.heal();
    others.iter().for_each(|other| [fresh, AWAY].iter().for_each(|&slot| pop.network.cut(other, slot)));
    pop.set_live(ALL);
    pop.restart(fresh, Restart::GenerationKept);
    pop.run(Duration::from_secs(10));
    assert!(pop.get(fresh, key(1)).is_some(), "it has what was deleted from the one that was forgotten");
    assert_eq!(pop.node(fresh).map().phase(), Phase::Active { expired: true });

    pop.network.heal();
    let over = |pop: &Pop<'_>, slot| pop.node(slot).map().phase() == Phase::Forgotten;
    pop.run_until(Duration::from_secs(10), |pop| over(pop, fresh) && over(pop, AWAY)).expect("both are told");
    assert!(pop.take_events(fresh).contains(&Event::Forgotten { generation: 2 }));
    assert_nothing_came_back(&pop, others);
    assert!(total(&pop, |stats| rejected(stats, Reject::LacksBuried)) > 0);
    for slot in [fresh, AWAY] {
        pop.kill(slot);
        pop.restart(slot, Restart::GenerationKept);
    }
    pop.settle(Duration::from_secs(10));
    assert_nothing_came_back(&pop, ALL);
}

/// A server that had lost its generation, and starts in one that was forgotten.
#[test]
pub(crate) fn a_start_that_was_forgotten_is_over() {
    let (slot, id) = (Slot::at(1), 77);
    for (generation, over) in [(2, true), (5, true), (6, false)] {
        let mut words = link::storage::<4>(16, &SHAPE);
        let mut config = link::config(slot.index(), 4, 16, SHAPE);
        (config.life, config.start_deadline) = (Life { generation, id }, Instant::NEVER);
        let mut map = link::started::<4>(&mut words, &config);
        map.on_life_notice(LifeNotice { slot, life: Life { generation: 5, id }, forgotten: true });
        let mut told = Vec::new();
        while let Some(event) = map.poll_event() {
            told.push(event);
        }
        assert_eq!(map.phase() == Phase::Forgotten, over, "generation {generation}");
        assert_eq!(told.contains(&Event::Forgotten { generation: 5 }), over);
        // For a driver to save: the next life is above what was forgotten.
        assert_eq!(map.life().generation, generation.max(5));
        assert_eq!(told.contains(&Event::GenerationRaised { generation: 5 }), generation < 5);
    }
}

const SMALL: usize = 400;

/// `asker` asks `server` for one packet. Returns whether it was answered with records; else it is told the server's version.
fn ask(server: &mut Map<'_, 4>, asker: &mut Map<'_, 4>) -> bool {
    let mut frame = [0; SMALL];
    let request = Request { force: true, window: 1, ..Request::default() };
    let written = asker.write_version(server.slot(), &request, &mut frame);
    link::deliver(server, link::sealed(&mut frame, written).unwrap()).unwrap();
    let serves = server.owes_delta().contains(asker.slot());
    let written = if serves {
        server.write_delta(asker.slot(), &mut frame)
    } else {
        server.write_version(asker.slot(), &Request { reply: true, ..Request::default() }, &mut frame)
    };
    let outcome = link::deliver(asker, link::sealed(&mut frame, written).unwrap());
    assert!(outcome.is_ok(), "{outcome:?}");
    serves
}

/// It takes the first of several packets of a server that has buried nothing, then hears of another what is buried.
#[test]
pub(crate) fn a_start_sees_a_version_before_records() {
    let mut words: [_; 4] = std::array::from_fn(|_| link::storage::<4>(100, &SHAPE));
    let [one, two, old, new] = &mut words;
    let config = |at| link::config(at, 4, 100, SHAPE);
    let mut first = link::started::<4>(one, &config(0));
    let mut second = link::started::<4>(two, &config(1));
    let mut third = link::started::<4>(old, &config(2));
    for map in [&mut first, &mut second, &mut third] {
        map.hear_of(AWAY, 1);
        map.set_live(HERE);
        assert_eq!(map.forget(AWAY), Ok(1));
    }
    for n in 0..KEYS {
        first.put(key(n), &value(n)).unwrap();
    }
    second.put(key(KEYS), &value(1)).unwrap();
    second.remove(key(KEYS)).unwrap();
    let round = |maps: &mut [&mut Map<'_, 4>; 3]| {
        for (to, from) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
            let [from, to] = maps.get_disjoint_mut([from, to]).unwrap();
            ask(from, to);
            link::pull_all(from, to, &mut [0; SMALL]);
        }
    };
    let mut maps = [&mut first, &mut second, &mut third];
    (0..2).for_each(|_| round(&mut maps));
    second.sweep(usize::MAX);
    let later = Instant::ZERO + QUARANTINE.times(2);
    for map in [&mut first, &mut second, &mut third] {
        map.advance(later);
    }
    round(&mut [&mut first, &mut second, &mut third]);
    second.sweep(usize::MAX);
    assert!(second.tombstones() == 0 && !second.buried().occupied().is_empty());
    assert!(first.tombstones() == 1 && first.buried().occupied().is_empty());

    let mut begins = config(2);
    (begins.life, begins.start_deadline) = (Life { generation: 2, id: 7 }, Instant::NEVER);
    let mut map = link::started::<4>(new, &begins);
    map.set_live(HERE);
    map.advance(later);
    for server in [&mut first, &mut second] {
        // Told of its life, then of its version, then records.
        let asked = (1..4).find(|_| ask(server, &mut map)).expect("it is served");
        println!("{} served it when it had asked {asked} times", server.slot());
    }
    assert_eq!(map.phase(), Phase::Starting, "it has all that it needs and took nothing that it must not");
    for server in [&mut first, &mut second] {
        link::pull_all(server, &mut map, &mut [0; SMALL]);
    }
    assert_eq!(map.phase(), Phase::Active { expired: false });
    let mut found = value(0);
    assert!(matches!(map.reader().get(key(1), &mut found), Lookup::Found(_)));
    assert!(!matches!(map.reader().get(key(KEYS), &mut found), Lookup::Found(_)));
}

/// Two servers start at the same time, know of somebody forgotten, and wait for one that is silent. Each tells the other its
/// version, which the other counts on; that is not an answer to be answered.
#[test]
pub(crate) fn two_that_start_do_not_answer_answers() {
    let (mut storage, silent, starting) =
        (Storage::new::<8>(SERVERS + 4, 200, SHAPE), 4, [1, 2].map(Slot::at));
    let mut pop = Pop::new(&mut storage, SERVERS + 1, 200, SHAPE, 5, Faults::default(), |_| {});
    pop.start_up(Duration::from_secs(6));
    pop.put(Slot::at(0), key(0), &value(0)).unwrap();
    pop.settle(Duration::from_secs(5));
    pop.kill(AWAY);
    pop.set_live(SlotSet::first(SERVERS + 1).without(AWAY));
    assert_eq!(forget(&mut pop, Slot::at(0), AWAY), Ok(1));
    pop.run_until(SPREAD, |pop| HERE.iter().all(|slot| knows(pop, slot))).expect("all come to know");
    pop.kill(Slot::at(silent));
    starting.iter().for_each(|&slot| pop.kill(slot));
    starting.iter().for_each(|&slot| pop.restart(slot, Restart::GenerationKept));
    pop.set_live(SlotSet::first(SERVERS + 1).without(AWAY));
    let know = |pop: &Pop<'_>| starting.iter().all(|&slot| knows(pop, slot));
    pop.run_until(Duration::from_secs(1), know).expect("both come to know");

    pop.watch();
    pop.run(Duration::from_secs(1));
    assert!(starting.iter().all(|&slot| pop.node(slot).map().phase() == Phase::Starting));
    let between = |from: Slot, to: Slot, kind: Kind| {
        move |sent: &&Sent| sent.from == from && sent.to == to && sent.kind() == kind
    };
    let sent = pop.take_sent();
    let [one, two] = starting;
    for (from, to) in [(one, two), (two, one)] {
        let count = |kind| sent.iter().filter(between(from, to, kind)).count();
        let (versions, deltas) = (count(Kind::Version), count(Kind::Delta));
        println!("{from} sent {to} {versions} versions and {deltas} deltas in a second");
        // It asks each 40 ms, and tells whenever it is asked.
        assert!((25..=75).contains(&versions) && (25..=75).contains(&deltas));
    }
}

#[test]
fn whom_nobody_can_forget() {
    let mut storage = storage();
    let mut pop = Pop::new(&mut storage, SERVERS, 200, SHAPE, 3, Faults::default(), |config| {
        // One more slot than there are servers.
        config.configured = SlotSet::first(SERVERS + 1);
    });
    pop.start_up(Duration::from_secs(6));
    pop.run(Duration::from_secs(2));
    let (me, never, beyond) = (Slot::at(0), Slot::at(SERVERS), Slot::at(SERVERS + 1));
    assert_eq!(forget(&mut pop, me, me), Err(ForgetError::Own));
    assert_eq!(forget(&mut pop, me, AWAY), Err(ForgetError::Alive(AWAY)));
    assert_eq!(forget(&mut pop, me, beyond), Err(ForgetError::NotConfigured(beyond)));
    pop.set_live(HERE);
    assert_eq!(forget(&mut pop, me, never), Err(ForgetError::Unknown(never)));
    for (at, slot) in [(me, me), (me, never), (me, beyond)] {
        let text = forget(&mut pop, at, slot).unwrap_err().to_string();
        assert!(text.starts_with("slot: "), "{text}");
    }
    assert_eq!(forget(&mut pop, me, AWAY), Ok(1));
    let over = |pop: &Pop<'_>| pop.node(AWAY).map().phase() == Phase::Forgotten;
    pop.run_until(SPREAD, over).expect("it was alive after all, and is told");
    assert_eq!(forget(&mut pop, AWAY, me), Err(ForgetError::Over));
}

/// With membership: the dead one is forgotten, comes back, is refused and told, leaves, and its next life is a member again.
#[test]
fn among_members() {
    let mut storage = popmap_tests::members::storage::<8>(SERVERS + 1);
    let mut pop = popmap_tests::members::pop::<8>(&mut storage, SERVERS, 4, losing(10_000));
    join(&mut pop);
    for n in 0..KEYS {
        pop.put(Slot::at((n % 4) as usize), key(n), &value(n)).unwrap();
    }
    pop.settle(Duration::from_secs(5));
    HERE.iter().for_each(|other| pop.network.cut(other, AWAY));
    let dead = |pop: &Pop<'_>| HERE.iter().all(|slot| pop.node(slot).map().live() == HERE);
    pop.run_until(Duration::from_secs(20), dead).expect("it is declared dead");
    for n in 0..KEYS / 2 {
        pop.remove(Slot::at(1), key(n)).unwrap();
    }
    assert_eq!(forget(&mut pop, Slot::at(1), AWAY), Ok(1));
    pop.run_until(SPREAD, |pop| HERE.iter().all(|slot| knows(pop, slot))).expect("all come to know");
    pop.run_until(COLLECTED, |pop| tombstones(pop) == 0).expect("tombstones leave");

    pop.network.heal();
    let over = |pop: &Pop<'_>| pop.node(AWAY).map().phase() == Phase::Forgotten;
    pop.run_until(Duration::from_secs(10), over).expect("it is told");
    pop.run(Duration::from_secs(5));
    assert!(dead(&pop), "nobody takes it back");
    assert_nothing_came_back(&pop, HERE);
    pop.kill(AWAY);
    pop.restart(AWAY, Restart::GenerationKept);
    let back =
        |pop: &Pop<'_>| ALL.iter().all(|slot| pop.node(slot).map().live() == ALL) && pop.is_converged();
    pop.run_until(Duration::from_secs(20), back).expect("its next life is a member");
    assert_nothing_came_back(&pop, ALL);
}
