//! Repair: questions, answers and reports of two replicas whose versions say nothing of what differs.

use super::*;
use crate::time::Duration;
use crate::wire::{Reject, RepairFixed};

const ASKER: Slot = Slot::at(0);
const ASKED: Slot = Slot::at(1);

/// Two replicas with the same so many records, all of the asked one's. Both began to write before they had met anybody: that
/// is the cause under which mends are counted.
fn pair(records: u64) -> [Box<Replica>; 2] {
    let [mut asker, mut asked] = [0, 1].map(|slot| replica(slot, 12_000));
    put_all(&mut asked, 0..records);
    pull(&mut asked, &mut asker);
    tell(&asker, &mut asked);
    [asker, asked]
}

/// Loses a record, as if memory had not kept it: versions do not tell.
fn lose(map: &mut Replica, key: Key) {
    let at = map.table.find(key, key.mix()).unwrap();
    let position = map.log.append(at);
    map.table.remove(at, key.mix(), table::Stamp::new(position, 0));
}

fn question(asker: &mut Replica) -> Option<Vec<u8>> {
    written(|frame| asker.write_digest(ASKED, frame))
}

/// The first bucket, the buckets' bits, and how many they are.
fn buckets(question: &[u8]) -> (u32, u8, usize) {
    let (_, Body::Digest(digest)) = parse(question, CLUSTER, &SHAPE, 4).unwrap() else { unreachable!() };
    (digest.fixed.first.get(), digest.fixed.bits, digest.digests.len())
}

fn ask(asked: &mut Replica, question: &[u8]) -> Result<(), Reject> {
    let (envelope, Body::Digest(digest)) = parse(question, CLUSTER, &SHAPE, 4).unwrap() else {
        unreachable!()
    };
    asked.admit(&envelope).unwrap();
    asked.on_digest(envelope.slot, &digest)
}

fn repair(from: &mut Replica) -> Option<Vec<u8>> {
    written(|frame| from.write_repair(frame))
}

/// Whether it goes back to the asked one, and how many records it has.
fn said(packet: &[u8]) -> (bool, usize) {
    let (_, Body::Repair(repair)) = parse(packet, CLUSTER, &SHAPE, 4).unwrap() else { unreachable!() };
    (repair.fixed.flags.get() == RepairFixed::BACK, repair.records.len())
}

fn take(to: &mut Replica, packet: &[u8]) -> Result<(), Reject> {
    let (envelope, Body::Repair(repair)) = parse(packet, CLUSTER, &SHAPE, 4).unwrap() else { unreachable!() };
    to.admit(&envelope).unwrap();
    to.on_repair(envelope.slot, &repair)
}

#[test]
fn questions_go_round_through_buckets_of_some_sixteen_records() {
    let cases = [
        (0, &[(0, 0, 1), (0, 0, 1)][..]),
        (31, &[(0, 0, 1), (0, 0, 1)]),
        (32, &[(0, 1, 2), (0, 1, 2)]),
        (511, &[(0, 4, 16), (0, 4, 16)]),
        (512, &[(0, 5, 32), (0, 5, 32)]),
        (2_048, &[(0, 7, 32), (32, 7, 32), (64, 7, 32), (96, 7, 32), (0, 7, 32)]),
    ];
    for (records, expected) in cases {
        let [mut asker, mut asked] = pair(records);
        for (n, expected) in (1..).zip(expected) {
            let question = question(&mut asker).unwrap();
            assert_eq!(buckets(&question), *expected, "{records} records");
            assert_eq!(asker.stats().repair_questions, n);
            ask(&mut asked, &question).unwrap();
            assert_eq!(asked.owes_repair(), None, "nothing differs");
        }
        let stats = asked.stats();
        let compared: usize = expected.iter().map(|(.., count)| count).sum();
        assert_eq!((stats.buckets_compared, stats.buckets_differing), (compared as u64, 0));
    }
    let mut nobody_heard = replica(0, 100);
    assert_eq!(question(&mut nobody_heard), None);
}

#[test]
fn every_record_is_in_one_bucket_and_counts() {
    let [asker, _] = pair(100);
    for bits in [0u32, 1, 5, 8] {
        let parts = (0..1u64 << bits).map(|bucket| {
            let shift = 64 - bits;
            if bits == 0 { (0, u64::MAX) } else { (bucket << shift, (bucket << shift) + ((1 << shift) - 1)) }
        });
        let sum = parts.fold(0u64, |sum, (from, to)| sum.wrapping_add(asker.digest(from, to)));
        assert_eq!(sum, asker.digest(0, u64::MAX), "{bits} bits");
    }
    for n in 0..100 {
        let [mut without, _] = pair(100);
        let mix = key(n).mix();
        assert!(asker.digest(mix, mix) != 0 && without.digest(mix, mix) == asker.digest(mix, mix));
        lose(&mut without, key(n));
        assert_eq!(without.digest(mix, mix), 0);
        assert_eq!(
            without.digest(0, u64::MAX).wrapping_add(asker.digest(mix, mix)),
            asker.digest(0, u64::MAX)
        );
    }
}

/// What the asker lacks though its version covers it is not taken but reported to the key's owner.
#[test]
fn what_is_absent_and_covered_is_reported_and_its_owner_writes_it_again() {
    let [mut asker, mut asked] = pair(100);
    asker.set_live(SlotSet::EMPTY.with(ASKED));
    asker.set_weight(ASKER, 0);
    asked.set_live(SlotSet::EMPTY);
    lose(&mut asker, key(7));
    let q = question(&mut asker).unwrap();
    ask(&mut asked, &q).unwrap();
    assert_eq!(asked.stats().buckets_differing, 1);
    assert_eq!(asked.owes_repair(), Some(ASKER));
    let answer = repair(&mut asked).unwrap();
    assert_eq!((repair(&mut asked), asked.owes_repair()), (None, None));
    let (back, records) = said(&answer);
    assert!(!back && records > 1, "the bucket's");
    take(&mut asker, &answer).unwrap();
    assert_eq!((asker.stats().reports, asker.stats().mends_started_unmet, asker.len()), (1, 0, 99));
    assert_eq!((asker.owes_repair(), asker.owes_report()), (None, Some(ASKED)));
    let report = written(|frame| asker.write_report(frame)).unwrap();
    assert_eq!(asker.owes_report(), None);
    let (envelope, Body::Report(report)) = parse(&report, CLUSTER, &SHAPE, 4).unwrap() else {
        unreachable!()
    };
    let before = asked.inspect(key(7)).unwrap();
    asked.admit(&envelope).unwrap();
    asked.on_report(envelope.slot, &report).unwrap();
    let after = asked.inspect(key(7)).unwrap();
    assert_eq!((asked.stats().reports_rewritten, asked.stats().reports_buried), (1, 0));
    assert!(after.dot.counter > before.dot.counter && after.term == before.term);
    // It has it not either: then it is deleted, above what was reported.
    lose(&mut asked, key(7));
    asked.on_report(envelope.slot, &report).unwrap();
    assert_eq!((asked.stats().reports_rewritten, asked.stats().reports_buried), (1, 1));
    assert_eq!((asked.tombstones(), asked.inspect(key(7)).unwrap().term), (1, before.term + 1));
}

/// Writes a value over a record where it stands, as if memory had changed: its dot does not tell.
fn spoil(map: &mut Replica, key: Key, value: u64) {
    let mix = key.mix();
    let entry = map.table.find_entry(key, mix).unwrap();
    let mark = map.table.mark(entry.at).unwrap();
    let stamp = table::Stamp::new(map.log.append(entry.at), 0);
    map.table.write(entry, stamp, false, mark.words(), core::iter::once(value));
}

#[test]
fn of_two_values_under_one_dot_the_greater_goes_either_way_and_is_counted() {
    for (ours, mended_here) in [(0, true), (u64::MAX, false)] {
        let [mut asker, mut asked] = pair(100);
        spoil(&mut asker, key(7), ours);
        let start = Instant::from_millis(60_000);
        asked.advance(start);
        let q = question(&mut asker).unwrap();
        ask(&mut asked, &q).unwrap();
        let answer = repair(&mut asked).unwrap();
        take(&mut asker, &answer).unwrap();
        assert_eq!(asker.stats().mends_started_unmet, u64::from(mended_here));
        assert_eq!(asker.owes_repair(), (!mended_here).then_some(ASKED));
        if !mended_here {
            let back = repair(&mut asker).unwrap();
            assert_eq!(said(&back), (true, 1));
            assert_eq!(asker.owes_repair(), None);
            asked.advance(start + Duration::from_secs(2));
            take(&mut asked, &back).unwrap();
            assert_eq!(asked.stats().mends_started_unmet, 1);
            asked.advance(start + Duration::from_secs(2) + Duration(1));
            assert_eq!(take(&mut asked, &back), Err(Reject::Unasked), "too late");
        }
        assert_eq!(asker.digest(0, u64::MAX), asked.digest(0, u64::MAX));
    }
}

#[test]
fn only_the_last_question_is_answered_and_within_two_seconds() {
    let [mut asker, mut asked] = pair(100);
    spoil(&mut asker, key(7), 0);
    let first = question(&mut asker).unwrap();
    ask(&mut asked, &first).unwrap();
    let answer = repair(&mut asked).unwrap();
    let second = question(&mut asker).unwrap();
    assert_eq!(take(&mut asker, &answer), Err(Reject::Unasked), "another was asked since");
    ask(&mut asked, &second).unwrap();
    let answer = repair(&mut asked).unwrap();
    asker.advance(Instant::ZERO + Duration::from_secs(2) + Duration(1));
    assert_eq!(take(&mut asker, &answer), Err(Reject::Unasked), "too late");
    assert_eq!(asker.stats().mends_started_unmet, 0);

    let third = question(&mut asker).unwrap();
    ask(&mut asked, &third).unwrap();
    let answer = repair(&mut asked).unwrap();
    asker.advance(Instant::ZERO + Duration::from_secs(4) + Duration(1));
    assert_eq!(take(&mut asker, &answer), Ok(()), "two seconds after the question");
    assert_eq!(asker.stats().mends_started_unmet, 1);
}

/// A bucket that does not fit a packet is halved; of buckets that differ four are answered, the others the next time.
#[test]
fn answers_are_of_what_fits() {
    let [mut asker, mut asked] = pair(2_000);
    (0..2_000).for_each(|n| spoil(&mut asker, key(n), 0));
    let q = question(&mut asker).unwrap();
    ask(&mut asked, &q).unwrap();
    assert_eq!(asked.stats().buckets_differing, 32);
    let (mut packets, mut records) = (0, 0);
    while let Some(packet) = repair(&mut asked) {
        packets += 1;
        let (back, count) = said(&packet);
        assert!(!back && count <= 32, "1,400 bytes less header and fixed part, 40 a record");
        records += count;
        take(&mut asker, &packet).unwrap();
    }
    // 2,000 records in 64 buckets.
    assert!(packets >= 4 && (80..180).contains(&records), "{packets}, {records}");
    // Key 0 had that value all along.
    assert!(records as u64 - asker.stats().mends_started_unmet <= 1);
}

#[test]
fn who_asks_about_too_much_at_once_is_refused() {
    let [mut asker, _] = pair(100);
    let mut asked = replica(1, 12_000);
    tell(&asker, &mut asked);
    let q = question(&mut asker).unwrap();
    assert_eq!(buckets(&q), (0, 2, 4), "a quarter of the keys each");
    put_all(&mut asked, 0..4_099);
    assert_eq!(ask(&mut asked, &q), Ok(()), "1,024 records each");
    put_all(&mut asked, 4_099..4_100);
    assert_eq!(ask(&mut asked, &q), Err(Reject::Field));
}

#[test]
fn questions_answers_and_reports_are_written_where_they_just_fit() {
    let [mut asker, mut asked] = pair(100);
    let mut digest = |len: usize| asker.write_digest(ASKED, &mut vec![0; len]).map(|(_, len)| len);
    assert_eq!((0..HEADER + 24 + 4 * 8).find_map(&mut digest), None);
    assert_eq!(digest(HEADER + 24 + 4 * 8), Some(HEADER + 24 + 4 * 8));
    spoil(&mut asker, key(7), u64::MAX);
    let q = question(&mut asker).unwrap();
    ask(&mut asked, &q).unwrap();
    let answer = repair(&mut asked).unwrap();
    take(&mut asker, &answer).unwrap();
    let mut back = |len: usize| asker.write_repair(&mut vec![0; len]).map(|(_, len)| len);
    assert_eq!((0..HEADER + 40 + 40).find_map(&mut back), None);
    assert_eq!(back(HEADER + 40 + 40), Some(HEADER + 40 + 40));
    // What is not written for want of room is lost: the bucket differs again the next time.
    ask(&mut asked, &q).unwrap();
    let records = said(&answer).1;
    let len = asked.write_repair(&mut vec![0; HEADER + 40 + 40 * records]).unwrap().1;
    assert_eq!(len, HEADER + 40 + 40 * records, "all of the bucket");
    ask(&mut asked, &q).unwrap();
    let len = asked.write_repair(&mut vec![0; HEADER + 40 + 40 * records - 1]).unwrap().1;
    assert!(len < HEADER + 40 + 40 * records, "a part of it");
    assert_eq!(asked.owes_repair(), Some(ASKER));
}
