//! Hostile members: entries with any number in any field, on packets of every kind, into live nodes.
//!
//! Nothing panics, nothing runs away, what nodes send is well formed, and a rejected packet changes no member but its
//! sender, who was heard.

use popmap_core::time::{Duration, Instant};
use popmap_core::wire::parse_with_members;
use popmap_core::{Address, Config, Life, Member, Node, Phase, Reject, Slot, SlotSet, State};
use proptest::prelude::*;
use proptest::sample::select;

use crate::packet::{CLUSTER, Entry, Fields, SHAPE, idle, key};
use crate::site::{CONFIGURED, ME, MY_LIFE, life_of};
use crate::strategy::fields;

const CAPACITY: usize = 24;
const SEED: Address = Address([1; 24]);

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![
        6 => 0..8_u32,
        3 => select(vec![u32::MAX, u32::MAX - 1, 1 << 31]),
        1 => any::<u32>(),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    let slot = prop_oneof![12 => 0..CONFIGURED as u8, 1 => any::<u8>()];
    let state = prop_oneof![30 => 1..5_u8, 1 => any::<u8>()];
    let by = prop_oneof![20 => prop::array::uniform4(0..4_u8), 1 => any::<[u8; 4]>()];
    let life = prop_oneof![10 => Just(None), 2 => select(vec![1, MY_LIFE, u64::MAX]).prop_map(Some), 1 => (0..2_u64).prop_map(Some)];
    let weight = select(vec![0, 1, 100, u16::MAX]);
    (slot, state, [number(), number()], by, life, 0..3_u8, weight).prop_map(
        |(slot, state, [incarnation, generation], by, life, address, weight)| {
            let known = if usize::from(slot) == ME { MY_LIFE } else { life_of(slot).id };
            Entry { slot, state, incarnation, generation, by, life: life.unwrap_or(known), address, weight }
        },
    )
}

#[derive(Clone, Debug)]
struct Arrival {
    fields: Fields,
    entries: Vec<Entry>,
    overwrite: Option<(usize, u8)>,
    later: Duration,
}

fn arrival() -> impl Strategy<Value = Arrival> {
    let probes = (fields(), 10..14_u8).prop_map(|(fields, kind)| Fields { kind, ..fields });
    let later = select(vec![0, 1, 50, 60, 200, 700, 2_500, 1 << 40]);
    (
        prop_oneof![2 => probes, 1 => fields()],
        prop::collection::vec(entry(), 0..8),
        prop::option::weighted(0.05, (0..600_usize, any::<u8>())),
        later.prop_map(Duration::from_millis),
    )
        .prop_map(|(fields, entries, overwrite, later)| Arrival { fields, entries, overwrite, later })
}

fn node<const N: usize>(storage: &mut Vec<u64>, generation: u32, joins: bool) -> Node<'_, N> {
    let mut config = Config::new(CLUSTER, Slot::at(ME), Life { generation, id: MY_LIFE }, CAPACITY, SHAPE);
    config.configured = SlotSet::first(CONFIGURED);
    config.start_within = Duration::from_millis(300);
    storage.clear();
    storage.resize(Node::<N>::words(&config), 0);
    let mut node = Node::new(Instant::ZERO, storage, &config).expect("a valid configuration");
    let seeds = [SEED, SEED];
    node.join(Instant::ZERO, if joins { &seeds } else { &[] });
    let _ = node.put(Instant::ZERO, key(1), &[1; 12]);
    node
}

/// Lets the node do all that it wants to at `now`: bounded, and well formed.
fn drain<const N: usize>(node: &mut Node<'_, N>, now: Instant) {
    let mut frame = [0; 1_400];
    // What is found out while it is polled may be worth telling at once: asked again, it rests.
    for _ in 0..3 {
        let mut sent = 0;
        while let Some(transmit) = node.poll_transmit(now, &mut frame) {
            let packet = &frame[..transmit.len];
            let (envelope, _, members) = parse_with_members(packet, CLUSTER, &SHAPE, N).expect("well formed");
            assert_eq!(envelope.slot, Slot::at(ME));
            assert!(members.iter().count() <= 16);
            sent += 1;
            assert!(sent < 200, "it does not stop");
        }
        while node.poll_event().is_some() {}
        while node.poll_member().is_some() {}
        if node.poll_timeout() > now {
            return;
        }
    }
    panic!("it does not rest");
}

fn known<const N: usize>(node: &Node<'_, N>, but: Slot) -> Vec<(Slot, Member)> {
    node.members().filter(|(slot, _)| *slot != but).map(|(slot, member)| (slot, *member)).collect()
}

/// Hands `arrivals` to a node; returns how many were taken, and how many rejected for their members.
fn run<const N: usize>(generation: u32, joins: bool, arrivals: &[Arrival]) -> (u32, u32) {
    let mut storage = Vec::new();
    let mut node = node::<N>(&mut storage, generation, joins);
    let (mut now, me) = (Instant::ZERO, Slot::at(ME));
    let mut tally = (0, 0);
    for Arrival { fields, entries, overwrite, later } in arrivals {
        let mut packet = fields.with_members(entries);
        if let Some((at, byte)) = *overwrite {
            let at = at % packet.len();
            packet[at] = byte;
            crate::packet::restore(&mut packet);
        }
        let sender = Slot::new(packet[2]).unwrap_or(me);
        let contents =
            |node: &Node<'_, N>| (node.map().digest(0, u64::MAX), *node.map().version(), node.map().len());
        let before = (known(&node, sender), contents(&node), *node.member(me).expect("ourselves"));
        match node.handle_packet(now, SEED, &packet) {
            Ok(()) => tally.0 += 1,
            Err(why) => {
                assert_eq!(known(&node, sender), before.0, "{why}");
                // A second server in our slot may make us write anew what we wrote.
                assert!(why == Reject::SlotConflict || contents(&node) == before.1, "{why}");
                tally.1 += u32::from(why == Reject::Member);
            }
        }
        drain(&mut node, now);
        let own = node.member(me).expect("ourselves");
        assert!(matches!(own.state, State::Alive | State::Left), "only we say what we are");
        assert!(own.state == State::Alive || node.map().phase() == Phase::Fenced);
        let was = before.2;
        assert!((own.life, own.incarnation) >= (was.life, was.incarnation), "and never less than before");
        assert_eq!((own.life.id, own.address, own.meta), (MY_LIFE, was.address, was.meta));
        assert!(
            node.map().live().contains(me)
                && node.map().live().difference(SlotSet::first(CONFIGURED)).is_empty()
        );
        assert!(node.members().all(|(slot, _)| slot.index() < CONFIGURED));
        now = now + *later;
        drain(&mut node, now);
        let _ = node.put(now, key(2), &[2; 12]);
    }
    tally
}

fn run_many<const N: usize>(cases: u32) {
    let strategy =
        (select(vec![5, u32::MAX - 1, u32::MAX]), any::<bool>(), prop::collection::vec(arrival(), 1..12));
    let mut runner = proptest::test_runner::TestRunner::new(crate::config(cases));
    let (taken, rejected) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let outcome = runner.run(&strategy, |(generation, joins, arrivals)| {
        let tally = run::<N>(generation, joins, &arrivals);
        taken.set(taken.get() + tally.0);
        rejected.set(rejected.get() + tally.1);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    assert!(
        taken.get() > cases && rejected.get() > cases / 10,
        "{taken:?} taken, {rejected:?} with bad members"
    );
}

#[test]
fn hostile_members_into_a_node_of_3() {
    run_many::<3>(6_000);
}

#[test]
fn hostile_members_into_a_node_of_64() {
    run_many::<64>(3_000);
}

/// The last incarnation cannot be refuted: it is counted, and nothing wraps.
#[test]
fn a_suspicion_that_nothing_stands_over() {
    let mut storage = Vec::new();
    let mut node = node::<3>(&mut storage, 5, false);
    let me = Slot::at(ME);
    let mut say = |incarnation: u32, state: u8| {
        let entry = Entry {
            slot: ME as u8,
            state,
            incarnation,
            generation: 5,
            by: [1, 0, 0, 0],
            life: MY_LIFE,
            address: 9,
            weight: 7,
        };
        let packet = Fields { kind: 13, ..idle() }.with_members(&[entry]);
        node.handle_packet(Instant::ZERO, SEED, &packet).expect("taken");
        let swim = node.stats().swim;
        (node.member(me).expect("ourselves").incarnation, swim.refutations, swim.unrefuted)
    };
    assert_eq!(say(1, 1), (1, 0, 0), "what we say ourselves");
    assert_eq!(say(1, 2), (2, 1, 0));
    assert_eq!(say(1, 3), (2, 1, 0), "refuted already");
    assert_eq!(say(2, 3), (3, 2, 0));
    assert_eq!(say(7, 1), (8, 3, 0), "alive, but not by our word");
    assert_eq!(say(u32::MAX - 1, 4), (u32::MAX, 4, 0));
    for state in [2, 3, 4] {
        assert_eq!(say(u32::MAX, state), (u32::MAX, 4, u64::from(state) - 1));
    }
}
