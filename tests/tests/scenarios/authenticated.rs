//! PoPs whose packets are authenticated: they find together, recordings and strangers move nothing, keys are exchanged
//! under load, and a server's keys speak for its own slot.

use std::num::NonZeroU8;

use popmap_core::auth::{AuthKey, KeyRing, RotationError, Row};
use popmap_core::time::{Duration, Instant};
use popmap_core::wire::{Kind, NOBODY};
use popmap_core::{Address, Config, Life, Lookup, Node, Reject, Slot, SlotSet};
use popmap_io::memory::Faults;
use popmap_io::{Device, Driver, DriverConfig, News, StartError, Storage as Words, UdpConfig, UdpDevice};
use popmap_tests::adversary::{self, Keys};
use popmap_tests::cluster::{Cluster, Restart, Storage};
use popmap_tests::forge::{authenticate, packet};
use popmap_tests::scenario::{SHAPE, key, value};

const CAPACITY: usize = 2_000;
const MASTER: [u8; 32] = [0x5e; 32];

fn id(id: u8) -> NonZeroU8 {
    NonZeroU8::new(id).expect("above zero")
}

fn shared(n: u8) -> AuthKey {
    AuthKey::shared(id(n), [n; 32])
}

/// These keys, and the first is sent with.
fn ring(ids: &[u8]) -> KeyRing {
    KeyRing::new(ids.iter().map(|&n| shared(n)), id(ids[0])).expect("a ring")
}

fn with_members(config: &mut Config) {
    config.swim = Some(popmap_core::SwimConfig::DEFAULT);
}

fn without_members(_: &mut Config) {}

fn pop<'s>(
    storage: &'s mut Storage,
    servers: usize,
    adjust: fn(&mut Config),
    keys: fn(Slot) -> KeyRing,
) -> Cluster<'s, 64> {
    let plan = (servers, CAPACITY, SHAPE);
    Cluster::with_keys(storage, plan, 5, Faults::default(), adjust, Some(keys))
}

fn storage(lives: usize) -> Storage {
    Storage::new::<64>(lives, CAPACITY, SHAPE)
}

fn rejected(pop: &Cluster<'_, 64>, reason: Reject) -> u64 {
    pop.stats().iter().map(|stats| stats.rejected[reason.index()]).sum()
}

/// Asserts that nothing was rejected but what a start comes with.
fn assert_only_unproved(pop: &Cluster<'_, 64>) {
    for reason in Reject::ALL.iter().copied().filter(|&reason| reason != Reject::Unproved) {
        // A seed asks itself.
        if reason != Reject::OwnPacket {
            assert_eq!(rejected(pop, reason), 0, "{reason:?}");
        }
    }
}

#[test]
fn a_pop_finds_together_with_keys_of_every_sort() {
    for keys in Keys::ALL {
        for adjust in [with_members, without_members] {
            let mut storage = storage(8);
            let ring: fn(Slot) -> KeyRing = match keys {
                Keys::Shared => |slot| Keys::Shared.ring(slot),
                Keys::Encrypted => |slot| Keys::Encrypted.ring(slot),
                Keys::Rows => |slot| Keys::Rows.ring(slot),
            };
            let mut pop = pop(&mut storage, 8, adjust, ring);
            pop.watch();
            let started = pop.start_up(Duration::from_secs(4));
            let live = SlotSet::first(8);
            assert!(pop.running().iter().all(|slot| pop.node(slot).map().live() == live), "{keys:?}");
            for n in 0..80 {
                pop.put(Slot::at(n as usize % 8), key(n), b"do not read this 8888888").expect("started");
            }
            pop.settle(Duration::from_secs(2));
            assert_only_unproved(&pop);
            let sent = pop.take_sent();
            assert!(sent.iter().all(|sent| sent.packet[22] == 1 && sent.packet[4..8] == [0; 4]));
            let readable =
                sent.iter().any(|sent| sent.packet.windows(16).any(|part| part == b"do not read this"));
            assert_eq!(readable, keys != Keys::Encrypted, "{keys:?}");
            println!(
                "{keys:?}: started in {} ms, {} unproved",
                started.as_millis(),
                rejected(&pop, Reject::Unproved)
            );
        }
    }
}

/// Each server has to learn each other's life; that costs a round trip and not seconds.
#[test]
fn keys_do_not_make_a_start_long() {
    let start = |keys| {
        let mut storage = storage(16);
        let plan = (16, CAPACITY, SHAPE);
        let mut pop = Cluster::<64>::with_keys(&mut storage, plan, 5, Faults::default(), with_members, keys);
        pop.start_up(Duration::from_secs(4)).as_millis()
    };
    let (bare, keyed) = (start(None), start(Some(|_| ring(&[1]))));
    println!("started in {bare} ms, with keys in {keyed} ms");
    assert!(keyed <= bare + 300, "{bare} ms, with keys {keyed} ms");
}

/// Recordings of both directions are refused after a restart of either side.
#[test]
fn recordings_of_an_earlier_life_move_nothing() {
    let (left, right) = (Slot::at(0), Slot::at(1));
    for restarted in [left, right] {
        for how in [Restart::GenerationKept, Restart::GenerationLost] {
            let mut storage = storage(4);
            let mut pop = pop(&mut storage, 3, with_members, |_| ring(&[1]));
            pop.watch();
            pop.start_up(Duration::from_secs(4));
            for n in 0..50 {
                pop.put(Slot::at(n as usize % 3), key(n), &value(n)).expect("started");
            }
            pop.settle(Duration::from_secs(2));
            pop.kill(restarted);
            let recorded = pop.take_sent();
            pop.restart(restarted, how);
            pop.start_up(Duration::from_secs(6));
            pop.settle(Duration::from_secs(2));
            let phase = pop.node(right).map().phase();
            let of_right = recorded.iter().filter(|sent| sent.to == right);
            let mut counts = [0; Reject::ALL.len()];
            for sent in of_right {
                let why = pop.deliver_to(right, sent.from, &sent.packet).expect_err("a recording");
                counts[why.index()] += 1;
            }
            let [unproved, replay, old, own] =
                [Reject::Unproved, Reject::Replay, Reject::OldLife, Reject::OwnPacket]
                    .map(|reason| counts[reason.index()]);
            assert_eq!(unproved + replay + old + own, counts.iter().sum::<i32>(), "{counts:?}");
            assert!(if restarted == right { unproved > 20 } else { replay > 5 && old > 5 }, "{counts:?}");
            pop.run(Duration::from_secs(1));
            assert_eq!(pop.node(right).map().phase(), phase, "nobody was fenced");
            assert!(pop.is_converged());
            assert!(pop.running().iter().all(|slot| pop.node(slot).map().live() == SlotSet::first(3)));
        }
    }
}

/// A server that holds its own row only cannot speak for another slot, nor make one believe that it is another.
#[test]
fn a_stolen_server_speaks_for_its_own_slot() {
    let [victim, stolen, other] = [0, 1, 2].map(Slot::at);
    let mut storage = storage(3);
    let mut pop = pop(&mut storage, 3, with_members, |slot| Keys::Rows.ring(slot));
    pop.start_up(Duration::from_secs(4));
    let mut row = [0; Row::LEN];
    Row::derive(&MASTER, id(1), stolen).write_to(&mut row);
    let secrets: Vec<[u8; 32]> = row.as_chunks().0.to_vec();
    let ours = pop.node(victim).map().life().id;
    let theirs = pop.node(other).map().life();
    let forged = |secret: &[u8; 32], from, life, to_life, count: u64| {
        let receiver = if to_life == 0 { NOBODY } else { victim.get() };
        let mut packet = packet(Kind::Gossip, from, life, to_life, &[0; 16]);
        packet[8..16].copy_from_slice(&0x00c1_u64.to_le_bytes());
        authenticate(&mut packet, 1, secret, count << 8 | u64::from(receiver));
        packet
    };
    for (count, secret) in (1 << 30..).zip(&secrets) {
        let packet = forged(secret, other, theirs, ours, count);
        assert_eq!(pop.deliver_to(victim, other, &packet), Err(Reject::Mac));
    }
    // The group's secret gets it as far as a question: a packet with it moves no state, whoever it claims to be.
    let packet = forged(&secrets[0], other, theirs, 0, 1 << 40);
    assert_eq!(pop.deliver_to(victim, other, &packet), Err(Reject::Unproved));
    // For itself it may speak.
    let own = pop.node(stolen).map().life();
    let packet = forged(&secrets[1 + victim.index()], stolen, own, ours, 1 << 40);
    assert_eq!(pop.deliver_to(victim, stolen, &packet), Ok(()));
}

/// Strangers are not answered; recordings by no more than they are long.
#[test]
fn no_answer_is_longer_than_its_question() {
    let config = Config::new(7, Slot::at(0), Life { generation: 2, id: 9 }, 100, SHAPE);
    let mut words = vec![0; Node::<8>::words(&config)];
    let mut node = Node::<8>::with_keys(Instant::ZERO, &mut words, &config, ring(&[1])).expect("valid");
    node.join(Instant::ZERO, &[]);
    let mut frame = [0; 1_400];
    let now = Instant::from_millis(1);
    while node.poll_transmit(now, &mut frame).is_some() {}
    let theirs = Life { generation: 1, id: 8 };
    let asked = |length: usize, secret: &[u8; 32]| {
        let mut packet = packet(Kind::Gossip, Slot::at(1), theirs, 0, &vec![0; length - 64]);
        packet[8..16].copy_from_slice(&7u64.to_le_bytes());
        authenticate(&mut packet, 1, secret, 1 << 8 | u64::from(NOBODY));
        packet
    };
    for length in [64, 79, 80, 200] {
        for (secret, reason) in [([1; 32], Reject::Unproved), ([2; 32], Reject::Mac)] {
            let packet = asked(length, &secret);
            assert_eq!(node.handle_packet(now, Address([3; 24]), &packet), Err(reason));
            // The same again is answered once.
            assert_eq!(node.handle_packet(now, Address([3; 24]), &packet), Err(reason));
            let answer = node.poll_transmit(now, &mut frame);
            let expected = (reason == Reject::Unproved && length >= 80).then_some(80);
            assert_eq!(answer.map(|transmit| transmit.len), expected, "{length}");
            assert!(node.poll_transmit(now, &mut frame).is_none());
        }
    }
}

fn set_keys(pop: &mut Cluster<'_, 64>, slot: usize, ids: &[u8]) -> Result<(), RotationError> {
    pop.node_mut(Slot::at(slot)).set_keys(ring(ids))
}

/// Servers, and what each writes per round.
const SERVERS: usize = 64;

/// Runs 64 servers that write all the time, and in each round exchanges one server's keys, if there are any to exchange;
/// returns how long each round's writes took to be everywhere.
fn rotate(steps: &[&[u8]]) -> Vec<u64> {
    let mut storage = storage(SERVERS);
    let mut pop = pop(&mut storage, SERVERS, with_members, |_| ring(&[1]));
    pop.start_up(Duration::from_secs(10));
    let before = rejected(&pop, Reject::Unproved);
    let (mut took, mut n) = (Vec::new(), 0);
    for step in 0..4 {
        // Eight servers at a time, so that for most of a step the PoP is mixed.
        for group in 0..8 {
            for slot in 8 * group..8 * group + 8 {
                if let Some(ids) = steps.get(step) {
                    set_keys(&mut pop, slot, ids).expect("in order");
                }
            }
            for slot in 0..SERVERS {
                n += 1;
                pop.put(Slot::at(slot), key(n % 1_000), &value(n)).expect("active");
            }
            took.push(pop.settle(Duration::from_secs(2)).as_millis());
            pop.run(Duration::from_millis(150));
        }
        // All push to all, so each has heard all with what they send with now, as the last step wants it.
        pop.run(Duration::from_secs(1));
    }
    assert_only_unproved(&pop);
    assert_eq!(rejected(&pop, Reject::Unproved), before, "nobody had to prove itself again");
    assert!(pop.stats().iter().all(|stats| stats.swim.deaths == 0 && stats.swim.suspicions == 0));
    took
}

#[test]
fn keys_are_exchanged_under_load() {
    let with = rotate(&[&[1, 2], &[2, 1], &[2]]);
    let without = rotate(&[]);
    println!("with: {with:?} ms\nwithout: {without:?} ms");
    assert_eq!(with, without, "an exchange of keys costs no time");
}

#[test]
fn steps_in_the_wrong_order_are_refused_or_survived() {
    let mut storage = storage(4);
    let mut pop = pop(&mut storage, 4, with_members, |_| ring(&[1]));
    pop.start_up(Duration::from_secs(4));
    assert_eq!(set_keys(&mut pop, 0, &[2, 1]), Err(RotationError::NotAccepted(id(2))));
    assert_eq!(set_keys(&mut pop, 0, &[2]), Err(RotationError::NotAccepted(id(2))));
    set_keys(&mut pop, 0, &[1, 2]).expect("in order");
    assert_eq!(set_keys(&mut pop, 0, &[2]), Err(RotationError::StillSent(id(1))));
    // The others were left out: this one goes on taking their packets, and they refuse its own.
    set_keys(&mut pop, 0, &[2, 1]).expect("what the others know, it cannot");
    pop.run(Duration::from_millis(500));
    assert!(rejected(&pop, Reject::KeyId) > 0);
    let in_use = set_keys(&mut pop, 0, &[2]).expect_err("the others send with it");
    assert!(matches!(in_use, RotationError::InUse { id, .. } if id.get() == 1), "{in_use}");
    pop.run(Duration::from_secs(20));
    assert!(!pop.node(Slot::at(1)).map().live().contains(Slot::at(0)), "it counts as dead");
    // Once they have the key, it is back, in the same life.
    for slot in 1..4 {
        set_keys(&mut pop, slot, &[1, 2]).expect("in order");
    }
    let whole = |pop: &Cluster<'_, 64>| {
        pop.running().iter().all(|slot| pop.node(slot).map().live() == SlotSet::first(4))
    };
    pop.run_until(Duration::from_secs(10), whole).expect("whole again");
    pop.put(Slot::at(0), key(1), &value(1)).expect("active");
    pop.settle(Duration::from_secs(2));
    for reason in [Reject::Mac, Reject::Unauthenticated, Reject::Replay] {
        assert_eq!(rejected(&pop, reason), 0);
    }
}

#[test]
fn a_node_without_keys_gets_none_while_it_runs() {
    let mut storage = storage(1);
    let mut pop = Cluster::<64>::new(&mut storage, 1, CAPACITY, SHAPE, 1, Faults::default(), |_| {});
    assert_eq!(set_keys(&mut pop, 0, &[1]), Err(RotationError::NoKeys));
    assert!(pop.node(Slot::at(0)).keys().is_none());
}

/// Forged, mutated, truncated, spliced, replayed and foreign packets, from somebody who recorded all there was.
#[test]
fn an_adversary_without_a_key_moves_nothing() {
    for keys in Keys::ALL {
        let outcome = adversary::attack(keys, 3, 150_000, |_| {});
        assert_eq!(outcome.broken, None, "{keys:?}");
        assert!(outcome.answered > 0 && outcome.answered <= outcome.asked, "{outcome:?}");
        for reason in
            [Reject::Mac, Reject::Replay, Reject::Unproved, Reject::Unauthenticated, Reject::Cluster]
        {
            assert!(outcome.rejected[reason.index()] > 1_000, "{keys:?}: {reason:?}: {outcome:?}");
        }
    }
}

type Drivers<'a> = [Driver<'a, UdpDevice, 2>; 2];

/// Drivers over UDP: a device for authenticated packets is refused without keys, and keys are exchanged by the handle.
#[test]
fn drivers_want_the_keys_that_their_device_was_opened_for() {
    let open = || {
        let device = UdpDevice::bind("127.0.0.1:0".parse().unwrap(), &UdpConfig::DEFAULT.authenticated(true));
        device.expect("loopback")
    };
    let node = |slot| {
        let mut node = Config::new(7, Slot::at(slot), Life::NONE, 100, SHAPE);
        node.configured = SlotSet::first(2);
        node
    };
    let words = || Words::new(Node::<2>::words(&node(0))).leak();
    let device = open();
    assert!(device.needs_keys());
    let refused = Driver::<_, 2>::start(&DriverConfig::new(node(0)), words(), device).err();
    assert!(matches!(refused, Some(StartError::NoKeys)), "{refused:?}");
    assert!(
        refused.unwrap().to_string().starts_with("keys: none, and the device was opened for authenticated")
    );

    let devices = [(); 2].map(|()| open());
    let seeds = devices.each_ref().map(Device::local);
    let mut slot = 0;
    let mut drivers = devices.map(|device| {
        let keys = Some(ring(&[1]));
        let config = DriverConfig { seeds: seeds.to_vec(), keys, ..DriverConfig::new(node(slot)) };
        slot += 1;
        Driver::<_, 2>::start(&config, words(), device).expect("keys")
    });
    let (mut news, mut buffer) = (Vec::new(), [0; 24]);
    let mut until = |drivers: &mut Drivers<'_>, done: &mut dyn FnMut(&mut Drivers<'_>, &[News]) -> bool| {
        let limit = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !done(drivers, &news) {
            assert!(std::time::Instant::now() < limit, "{news:?}");
            for driver in drivers.iter_mut() {
                driver.poll(|what| news.push(what)).expect("a socket");
            }
        }
        std::mem::take(&mut news)
    };
    until(&mut drivers, &mut |drivers, _| {
        let _ = drivers[0].put(key(1), &value(1));
        matches!(drivers[1].reader().get(key(1), &mut buffer), Lookup::Found(_))
    });
    let changed = |news: &[News]| news.iter().filter(|what| matches!(what, News::KeysChanged { .. })).count();
    for step in [&[1, 2][..], &[2, 1]] {
        for driver in &drivers {
            driver.handle().set_keys(ring(step)).expect("it runs");
        }
        let news = until(&mut drivers, &mut |_, news| changed(news) == 2);
        let last = news.iter().find_map(|what| match what {
            News::KeysChanged { sending } => Some(*sending),
            _ => None,
        });
        assert_eq!(last, Some(id(step[0])));
    }
    drivers[0].handle().set_keys(ring(&[3])).expect("it runs");
    let refused = |news: &[News]| {
        news.iter().any(
            |what| matches!(what, News::KeysRefused(RotationError::NotAccepted(three)) if *three == id(3)),
        )
    };
    until(&mut drivers, &mut |_, news| refused(news));
    // And they still understand each other.
    until(&mut drivers, &mut |drivers, _| {
        let _ = drivers[1].put(key(2), &value(2));
        matches!(drivers[0].reader().get(key(2), &mut [0; 24]), Lookup::Found(_))
    });
}
