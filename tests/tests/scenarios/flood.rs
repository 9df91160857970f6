//! Floods at the rate of a device, a million packets a second for a tenth of one: by a stranger, by somebody on the wire
//! who repeats and damages what he recorded, and by a stolen server that sends garbage and valid packets of no use. The
//! PoP writes meanwhile and converges as without.

use popmap_core::time::Duration;
use popmap_core::wire::{HEADER, Kind};
use popmap_core::{Config, Life, Reject, Slot, SlotSet, SwimConfig};
use popmap_io::memory::Faults;
use popmap_tests::adversary::Keys;
use popmap_tests::cluster::{Cluster, Sent, Storage};
use popmap_tests::forge::packet;
use popmap_tests::liar::{Liar, digest, member, notice, version};
use popmap_tests::scenario::{SHAPE, key, value};

const SERVERS: usize = 5;
const CAPACITY: usize = 3_000;
const VICTIM: Slot = Slot::at(0);
const STOLEN: Slot = Slot::at(4);
/// Packets in each millisecond, and of those.
const RATE: usize = 1_000;
const MILLISECONDS: u64 = 100;
/// Twice the default budget, in packets of 1,400 bytes, in each 10 ms.
const SHARE: u64 = 2 * (1 << 20) / 1_400;

/// Who floods with what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flood {
    Nobody,
    Stranger,
    Wire,
    Garbage,
    /// Valid packets of this kind.
    Valid(Kind),
}

/// What came of it.
#[derive(Debug)]
struct Outcome {
    /// How long each round of writes took to be everywhere, in milliseconds.
    took: Vec<u64>,
    rejected: [u64; Reject::ALL.len()],
    taken: u64,
    sent_bytes: u64,
}

impl Outcome {
    fn of(&self, reason: Reject) -> u64 {
        self.rejected[reason.index()]
    }
}

fn swim(config: &mut Config) {
    config.swim = Some(SwimConfig::DEFAULT);
}

/// A packet of the flood, the `n`-th.
fn one(flood: Flood, n: usize, liar: &mut Liar, victim: Life, recorded: &[Sent]) -> Vec<u8> {
    match flood {
        Flood::Nobody => unreachable!("no packet"),
        Flood::Stranger => {
            // He knows the layout and has guessed the cluster and a key's id, but no life of ours.
            let life = Life { generation: 9, id: 1 + n as u64 };
            let mut packet = packet(Kind::Delta, Slot::at(1 + n % 3), life, n as u64, &[n as u8; 1_336]);
            packet[8..16].copy_from_slice(&0x00c1_u64.to_le_bytes());
            packet[22] = 1;
            packet
        }
        Flood::Wire => {
            let mut packet = recorded[n % recorded.len()].packet.clone();
            match n % 3 {
                0 => {}
                1 => packet[HEADER - 1 - n % 16] ^= 1,
                // A number that is new.
                _ => packet[43] = packet[43].wrapping_add(1 + n as u8 % 200),
            }
            packet
        }
        Flood::Garbage => {
            let kind = Kind::ALL[n % Kind::ALL.len()];
            liar.packet(kind, VICTIM, victim.id, &vec![n as u8; 100 + n % 1_200], 0)
        }
        Flood::Valid(kind) => {
            let body = match kind {
                Kind::Version => version(&SHAPE, &[], 0),
                Kind::Digest => digest(&SHAPE, 4, 8),
                Kind::LifeNotice => notice(VICTIM, Life { generation: 1, id: 1 + n as u64 }),
                Kind::Gossip => {
                    let entry = member(STOLEN, liar.life, n as u32, 1);
                    return liar.packet(kind, VICTIM, victim.id, &[&[0; 16], &entry[..]].concat(), 1);
                }
                // A ping of the victim, or one that it is to ping another.
                _ => [&(n as u32).to_le_bytes()[..], &[u8::from(kind == Kind::PingReq), 0, 0, 0], &[0; 8]]
                    .concat(),
            };
            liar.packet(kind, VICTIM, victim.id, &body, 0)
        }
    }
}

fn run(flood: Flood) -> Outcome {
    let mut storage = Storage::new::<8>(SERVERS, CAPACITY, SHAPE);
    let plan = (SERVERS, CAPACITY, SHAPE);
    let keys = Some((|slot| Keys::Rows.ring(slot)) as fn(Slot) -> _);
    let mut pop = Cluster::<8>::with_keys(&mut storage, plan, 3, Faults::default(), swim, keys);
    pop.watch();
    pop.start_up(Duration::from_secs(5));
    (0..400).for_each(|n| pop.put(Slot::at(n as usize % SERVERS), key(n), &value(n)).expect("active"));
    pop.settle(Duration::from_secs(5));
    let recorded: Vec<_> = pop.take_sent().into_iter().filter(|sent| sent.to == VICTIM).collect();
    let mut liar = Liar::steal(&mut pop, STOLEN, true);
    // Time for all to see that it is gone: the flood is of a server that answers no probe.
    pop.run(Duration::from_secs(5));
    let honest = SlotSet::first(SERVERS).without(STOLEN);
    let incarnations = |pop: &Cluster<'_, 8>| -> u32 {
        let of = |slot| pop.node(slot).member(slot).map_or(0, |member| member.incarnation);
        honest.iter().map(of).sum()
    };
    let (stats, doubted) = (pop.node(VICTIM).stats(), incarnations(&pop));
    let victim = pop.node(VICTIM).map().life();
    let mut outcome = Outcome { took: Vec::new(), rejected: [0; Reject::ALL.len()], taken: 0, sent_bytes: 0 };
    let (mut writes, mut n) = (0, 0);
    let mut waiting = None;
    for ms in 0..MILLISECONDS {
        if flood != Flood::Nobody {
            for _ in 0..RATE {
                let bytes = one(flood, n, &mut liar, victim, &recorded);
                n += 1;
                match pop.deliver_to(VICTIM, STOLEN, &bytes) {
                    Ok(()) => outcome.taken += 1,
                    Err(reason) => outcome.rejected[reason.index()] += 1,
                }
            }
        }
        if ms % 20 == 0 {
            assert_eq!(waiting, None, "{flood:?}: the last round is everywhere before the next");
            for slot in honest.iter() {
                writes += 1;
                pop.put(slot, key(writes % 300), &value(1_000 + writes)).expect("active");
            }
            waiting = Some(ms);
        }
        pop.run(Duration::from_millis(1));
        if let Some(since) = waiting
            && pop.is_converged()
        {
            outcome.took.push(ms + 1 - since);
            waiting = None;
        }
        for of in honest.iter() {
            assert_eq!(
                pop.node(of).map().live().intersection(honest),
                honest,
                "{flood:?}: nobody honest dies"
            );
        }
    }
    outcome.sent_bytes = pop.node(VICTIM).stats().sent_bytes - stats.sent_bytes;
    // Word of another life is believed once in ten seconds (R4.5), and the new generation is told.
    let raises = u32::from(flood == Flood::Valid(Kind::LifeNotice));
    assert_eq!(incarnations(&pop), doubted + raises, "{flood:?}: nobody honest was doubted");
    pop.run(Duration::from_secs(1));
    assert!(pop.is_converged());
    outcome
}

#[test]
fn a_flooded_server_converges_as_without() {
    let packets = RATE as u64 * MILLISECONDS;
    let calm = run(Flood::Nobody);
    println!("nobody: {} bytes sent, writes everywhere after {:?} ms", calm.sent_bytes, calm.took);
    for flood in [Flood::Stranger, Flood::Wire, Flood::Garbage].into_iter().chain(
        [Kind::Ping, Kind::PingReq, Kind::Gossip, Kind::Version, Kind::Digest, Kind::LifeNotice]
            .map(Flood::Valid),
    ) {
        let outcome = run(flood);
        let reasons: Vec<_> = Reject::ALL.iter().filter(|reason| outcome.of(**reason) > 0).collect();
        let reasons: Vec<_> =
            reasons.into_iter().map(|reason| format!("{} {}", reason.name(), outcome.of(*reason))).collect();
        println!(
            "{flood:?}: {} of {packets} taken, {} bytes sent, writes everywhere after {:?} ms; {}",
            outcome.taken,
            outcome.sent_bytes,
            outcome.took,
            reasons.join(", ")
        );
        assert_eq!(outcome.taken + outcome.rejected.iter().sum::<u64>(), packets);
        assert_eq!(outcome.took.len(), calm.took.len(), "{flood:?}");
        let slower = outcome.took.iter().zip(&calm.took).map(|(with, without)| with.saturating_sub(*without));
        assert!(slower.max() <= Some(2), "{flood:?}: {:?} ms, without {:?}", outcome.took, calm.took);
        match flood {
            Flood::Nobody => {}
            Flood::Stranger => {
                assert_eq!(outcome.of(Reject::Mac), packets, "not one is taken or answered");
                assert!(outcome.sent_bytes <= calm.sent_bytes);
            }
            Flood::Wire => assert_eq!(outcome.taken, 0),
            Flood::Garbage | Flood::Valid(_) => {
                let intervals = MILLISECONDS / 10 + 1;
                let looked_at = packets - outcome.of(Reject::OverBudget);
                assert!(looked_at <= SHARE * intervals, "{flood:?}: {looked_at} looked at");
                assert!(outcome.of(Reject::OverBudget) >= packets / 2, "{flood:?}");
                // An answer is a probe's at most, and what is beside has its budget.
                assert!(outcome.sent_bytes <= calm.sent_bytes + looked_at * 200, "{flood:?}");
            }
        }
    }
}
