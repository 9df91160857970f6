//! A server whose version claims what its table does not hold, through no fault of the protocol: digests find it, it is
//! mended and counted without a known cause, and repair costs little (DESIGN section 4).

use popmap_core::time::Duration;
use popmap_core::wire::{Envelope, HEADER, Kind, seal};
use popmap_core::{Key, Slot, SlotSet};
use popmap_io::memory::Faults;
use popmap_tests::cluster::{Cluster, Sent, Storage};
use popmap_tests::scenario::{SHAPE, assert_same_records, key, owned_by, total, value};

const SERVERS: usize = 4;
const AUTHOR: Slot = Slot::at(1);
const VICTIM: Slot = Slot::at(0);

type Pop<'a> = Cluster<'a, 8>;

/// Starts a PoP with some records, and cuts the author off.
fn start(storage: &mut Storage, seed: u64) -> Pop<'_> {
    let mut pop = Pop::new(storage, SERVERS, 1_000, SHAPE, seed, Faults::default(), |_| {});
    pop.start_up(Duration::from_secs(6));
    (10_000..10_300).for_each(|n| pop.put(Slot::at((n % 4) as usize), key(n), &value(n)).unwrap());
    pop.settle(Duration::from_secs(5));
    pop
}

/// Makes the victim's version cover the author's newest writes: a push of all of them, with these records only.
fn claim(pop: &mut Pop<'_>, records: &[(Key, u64, [u8; 24])]) {
    let author = pop.node(AUTHOR).map();
    let (from, to) = (pop.node(VICTIM).map().version().get(AUTHOR), author.version().get(AUTHOR));
    let mut packet = vec![0; HEADER];
    packet.extend(SHAPE.schema.to_le_bytes());
    packet.extend(SHAPE.value_len.to_le_bytes());
    packet.extend((records.len() as u16).to_le_bytes());
    packet.extend([from, to, 0].into_iter().flat_map(u64::to_le_bytes));
    for (key, counter, value) in records {
        packet.extend(key.0);
        packet.extend(counter.to_le_bytes());
        packet.extend(1u32.to_le_bytes());
        packet.extend([AUTHOR.get(), 0, 0, 0]);
        packet.extend(value);
    }
    let to_life = pop.node(VICTIM).map().life().id;
    let envelope = Envelope { kind: Kind::Push, slot: AUTHOR, flags: 0, life: author.life(), to_life };
    seal(&mut packet, &envelope, 0x00c1, 1);
    pop.deliver_to(VICTIM, AUTHOR, &packet).expect("a valid packet");
    assert_eq!(pop.node(VICTIM).map().version().get(AUTHOR), to);
}

/// Heals the network, waits until all are equal, and until nothing differs any more. Returns how long it took and the
/// bytes that repair sent meanwhile.
fn mend(pop: &mut Pop<'_>) -> (Duration, usize) {
    let is_repair = |sent: &Sent| sent.kind() == Kind::Repair || sent.kind() == Kind::Report;
    pop.network.heal();
    pop.watch();
    // Equal versions hide it: only digests can tell.
    let took = pop.settle(Duration::from_secs(60));
    let bytes = pop.take_sent().iter().filter(|sent| is_repair(sent)).map(|sent| sent.packet.len()).sum();
    pop.run(Duration::from_secs(5));
    pop.take_sent();
    pop.run(Duration::from_secs(60));
    let more = pop.take_sent().iter().filter(|sent| is_repair(sent)).count();
    assert_eq!(more, 0, "nothing differs any more");
    (took, bytes)
}

#[test]
fn an_older_value_is_replaced_and_counted() {
    for seed in 0..5 {
        let mut storage = Storage::new::<8>(SERVERS, 1_000, SHAPE);
        let mut pop = start(&mut storage, seed);
        let all = pop.running();
        let keys: Vec<_> = (0..40).map(key).collect();
        keys.iter().for_each(|&key| pop.put(AUTHOR, key, &value(1)).unwrap());
        pop.settle(Duration::from_secs(5));
        pop.network.partition(SlotSet::EMPTY.with(AUTHOR));
        keys.iter().for_each(|&key| pop.put(AUTHOR, key, &value(2)).unwrap());
        claim(&mut pop, &[]);

        let (took, bytes) = mend(&mut pop);
        assert_same_records(&pop, all, keys.iter().copied());
        assert!(keys.iter().all(|&key| pop.get(VICTIM, key) == Some(value(2).to_vec())));
        let mended = total(&pop, |stats| stats.map.mends_unknown);
        assert_eq!(mended, pop.node(VICTIM).stats().map.mends_unknown);
        assert_eq!(mended, keys.len() as u64, "each counted once, without a known cause");
        assert_eq!(total(&pop, |stats| stats.map.reports), 0);
        println!("seed {seed}: {mended} mended within {} ms, {bytes} bytes of repair", took.as_millis());
        assert!(bytes < 100 * 1_400, "{bytes} bytes of repair");
    }
}

#[test]
pub(crate) fn an_absent_record_is_reported_to_its_owner() {
    for seed in 0..5 {
        let mut storage = Storage::new::<8>(SERVERS, 1_000, SHAPE);
        let mut pop = start(&mut storage, seed);
        let all = pop.running();
        let mine = owned_by(VICTIM, all, 6);
        let others = [owned_by(AUTHOR, all, 6), owned_by(Slot::at(2), all, 6)].concat();
        // The others have it before the victim claims it: what everybody claims and its owner lacks is lost.
        pop.network.partition(SlotSet::EMPTY.with(VICTIM));
        mine.iter().chain(&others).for_each(|&key| pop.put(AUTHOR, key, &value(3)).unwrap());
        pop.run(Duration::from_secs(1));
        claim(&mut pop, &[]);
        assert!(mine.iter().chain(&others).all(|&key| pop.get(VICTIM, key).is_none()));

        let (took, bytes) = mend(&mut pop);
        assert_same_records(&pop, all, mine.iter().chain(&others).copied());
        for &key in &others {
            let held = pop.node(VICTIM).map().inspect(key).expect("written again");
            assert_eq!(pop.get(VICTIM, key), Some(value(3).to_vec()));
            assert_eq!(held.dot.slot, pop.node(VICTIM).owner(key), "by its owner, who has it");
        }
        assert!(
            mine.iter().all(|&key| pop.get(VICTIM, key).is_none()),
            "its owner has it not, so it is deleted"
        );
        let sum = |of: fn(&popmap_core::Stats) -> u64| total(&pop, of);
        let (reports, buried) = (sum(|stats| stats.map.reports), sum(|stats| stats.map.reports_buried));
        let rewritten = sum(|stats| stats.map.reports_rewritten);
        assert_eq!(buried, mine.len() as u64, "each once");
        assert!(rewritten >= others.len() as u64);
        assert_eq!(sum(|stats| stats.map.mends_unknown), 0, "none was adopted");
        println!(
            "seed {seed}: {reports} reports, {rewritten} rewritten, {buried} buried within {} ms, {bytes} bytes of repair",
            took.as_millis()
        );
        assert!(bytes < 100 * 1_400, "{bytes} bytes of repair");
        assert!(rewritten <= 3 * others.len() as u64, "{rewritten} written again");
    }
}

/// One write, two values: memory that did not keep what was written to it. The greater bytes win everywhere (R1).
#[test]
pub(crate) fn values_that_differ_under_one_dot_become_equal() {
    for (flipped, winner) in [(5, 7), (9, 9)] {
        let mut storage = Storage::new::<8>(SERVERS, 1_000, SHAPE);
        let mut pop = start(&mut storage, 1);
        let all = pop.running();
        pop.network.partition(SlotSet::EMPTY.with(AUTHOR));
        pop.put(AUTHOR, key(0), &value(7)).unwrap();
        let counter = pop.node(AUTHOR).map().version().get(AUTHOR);
        claim(&mut pop, &[(key(0), counter, value(flipped))]);
        assert_eq!(pop.get(VICTIM, key(0)), Some(value(flipped).to_vec()));

        let (took, _) = mend(&mut pop);
        assert_same_records(&pop, all, [key(0)].into_iter());
        assert_eq!(pop.get(VICTIM, key(0)), Some(value(winner).to_vec()));
        let mended = total(&pop, |stats| stats.map.mends_unknown);
        assert!((1..SERVERS as u64).contains(&mended), "{mended} mended");
        println!("{flipped} against 7: {mended} mended within {} ms", took.as_millis());
    }
}
