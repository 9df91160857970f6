//! Versions and deltas: where a walk starts, what a packet says, how much room it takes.

use super::*;

const fn at_cursor(from: u64) -> Start {
    Start { from, flags: 0 }
}

const fn at_checkpoint(from: u64) -> Start {
    Start { from, flags: DeltaFixed::FROM_BASE }
}

/// Where a walk for a peer starts whose cursor is at change 100 and whose version covers `covered` more changes; `behind` more
/// follow. Checkpoints are at every 2,500th change.
fn start_after(covered: u64, behind: u64) -> Start {
    let [mut author, mut peer, mut other] = [0, 1, 2].map(|slot| replica(slot, 20_000));
    put_all(&mut author, 0..100);
    pull(&mut author, &mut peer);
    put_all(&mut author, 100..100 + covered);
    pull(&mut author, &mut other);
    pull(&mut other, &mut peer);
    put_all(&mut author, 100 + covered..100 + covered + behind);
    start(&mut author, &peer)
}

#[test]
fn a_walk_starts_at_a_cursor_that_is_near() {
    assert_eq!(start_after(0, 0), at_cursor(100));
    // Though a checkpoint is nearer.
    assert_eq!(start_after(3_000, 1_096), at_cursor(100), "4,096 behind the head");
}

#[test]
fn a_walk_starts_at_the_newest_checkpoint_that_the_version_covers_if_the_cursor_is_far() {
    assert_eq!(start_after(3_000, 1_097), at_checkpoint(2_500), "4,097 behind the head");
    assert_eq!(start_after(5_500, 2_000), at_checkpoint(5_000));
    assert_eq!(start_after(0, 6_000), at_cursor(100), "its version covers no checkpoint");
}

#[test]
fn a_walk_for_one_without_a_cursor_starts_at_a_checkpoint_or_with_a_scan() {
    let [mut author, mut other, mut peer] = [0, 1, 2].map(|slot| replica(slot, 20_000));
    put_all(&mut author, 0..3_000);
    pull(&mut author, &mut other);
    put_all(&mut author, 3_000..3_100);
    assert_eq!(start(&mut author, &peer), Start { from: 0, flags: DeltaFixed::FROM_SCAN });
    pull(&mut other, &mut peer);
    assert_eq!(start(&mut author, &peer), at_checkpoint(2_500));
    // A checkpoint at the head: it lacks nothing of what is in front of it.
    author.note_checkpoint();
    pull(&mut author, &mut other);
    let mut late = replica(2, 20_000);
    pull(&mut other, &mut late);
    assert_eq!(start(&mut author, &late), at_checkpoint(3_100));
}

/// A checkpoint costs a version, and its place among sixteen: none is noted where nothing changed, and one comes of itself
/// after an eighth of the ring, or 64 changes where that is more.
#[test]
fn checkpoints_are_noted_after_an_eighth_of_the_ring() {
    for (capacity, far) in [(100, 64), (800, 100), (4_000, 500)] {
        let mut map = replica(0, capacity);
        let mut noted = Vec::new();
        for n in 1..=3 * far {
            put_all(&mut map, core::iter::once(n % 50));
            if map.checkpoints.newest() == map.log_head() {
                noted.push(n);
            }
        }
        assert_eq!(noted, [far, 2 * far, 3 * far], "of {capacity}");
        let count = map.checkpoints.iter().count();
        map.note_checkpoint();
        assert_eq!(map.checkpoints.iter().count(), count);
        put_all(&mut map, 0..1);
        map.note_checkpoint();
        assert_eq!(map.checkpoints.iter().count(), count + 1);
        assert_eq!(map.checkpoints.newest(), map.log_head());
    }
}

#[test]
fn before_the_first_answer_one_packet_is_asked_for() {
    let [mut author, mut peer] = [0, 1].map(|slot| replica(slot, 1_000));
    put_all(&mut author, 0..1);
    let asked = |peer: &Replica, window| {
        let request = Request { window, ..Request::default() };
        let packet = written(|frame| peer.write_version(Slot::at(0), &request, frame)).unwrap();
        let (_, Body::Version(version)) = parse(&packet, CLUSTER, &SHAPE, 4).unwrap() else { unreachable!() };
        version.fixed.window.get()
    };
    assert_eq!([0, 1, 64].map(|window| asked(&peer, window)), [0, 1, 1]);
    pull(&mut author, &mut peer);
    assert_eq!([0, 1, 64].map(|window| asked(&peer, window)), [0, 1, 64]);
}

#[test]
fn a_version_says_what_is_asked() {
    let [mut author, mut peer] = [0, 1].map(|slot| replica(slot, 1_000));
    put_all(&mut author, 0..1);
    let flags = |peer: &Replica, request: &Request| {
        let packet = written(|frame| peer.write_version(Slot::at(0), request, frame)).unwrap();
        let (_, Body::Version(version)) = parse(&packet, CLUSTER, &SHAPE, 4).unwrap() else { unreachable!() };
        version.fixed.flags.get()
    };
    let plain = Request::default();
    assert_eq!(flags(&peer, &plain), VersionFixed::UNSEEN);
    assert_eq!(flags(&peer, &Request { reply: true, ..plain }), VersionFixed::UNSEEN | VersionFixed::REPLY);
    pull(&mut author, &mut peer);
    assert_eq!(flags(&peer, &plain), VersionFixed::HAS_CURSOR);
    let all = Request { reply: true, force: true, window: 1 };
    assert_eq!(flags(&peer, &all), VersionFixed::HAS_CURSOR | VersionFixed::REPLY | VersionFixed::FORCE);
}

#[test]
fn packets_are_written_where_they_just_fit() {
    let [mut author, mut peer] = [0, 1].map(|slot| replica(slot, 1_000));
    put_all(&mut author, 0..1);
    put_all(&mut peer, 1..2);
    // A counter of 8 bytes for each of the slots that wrote, behind the bits of which they are.
    let request = Request::default();
    fits_exactly(HEADER + 40 + 8 + 8, |frame| author.write_version(Slot::at(1), &request, frame));
    pull(&mut author, &mut peer);
    fits_exactly(HEADER + 40 + 8 + 16, |frame| peer.write_version(Slot::at(0), &request, frame));
    // A record of 40 bytes must fit, and a version that says nothing.
    ask(&mut peer, &author, 1);
    let mut delta = |len: usize| peer.write_delta(Slot::at(0), &mut vec![0; len]).map(|(_, len)| len);
    assert_eq!((0..HEADER + 40 + 8 + 40).find_map(&mut delta), None);
    assert_eq!(delta(HEADER + 40 + 8 + 40), Some(HEADER + 40 + 40 + 8), "but no counter: it would go on");
    ask(&mut peer, &author, 1);
    let whole = written(|frame| peer.write_delta(Slot::at(0), frame)).unwrap();
    assert_eq!(whole.len(), HEADER + 40 + 40 + 8 + 8, "and the counter that the asker lacks");
}

/// The packets of an answer, one by one.
fn answer(from: &mut Replica, to: Slot) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    while let Some(packet) = written(|frame| from.write_delta(to, frame)) {
        packets.push(packet);
    }
    assert!(from.owes_delta().is_empty());
    packets
}

/// Calls `look` with the fixed part of a delta and the number of its records.
fn delta_of<T>(packet: &[u8], look: impl FnOnce(&DeltaFixed, usize) -> T) -> T {
    let (_, Body::Delta(delta)) = parse(packet, CLUSTER, &SHAPE, 4).unwrap() else { unreachable!() };
    look(delta.fixed, delta.records.len())
}

/// The stretch that a delta is of, and whether it is the last, and complete.
fn stretch(packet: &[u8]) -> (u64, u64, bool, bool) {
    delta_of(packet, |fixed, _| {
        let has = |flag| fixed.flags.get() & flag != 0;
        (fixed.from.get(), fixed.to.get(), has(DeltaFixed::LAST), has(DeltaFixed::COMPLETE))
    })
}

/// An author of 500 records, and one that has the first and a cursor.
fn author_and_follower() -> [Box<Replica>; 2] {
    let [mut author, mut follower] = [0, 1].map(|slot| replica(slot, 1_000));
    put_all(&mut author, 0..1);
    pull(&mut author, &mut follower);
    put_all(&mut author, 1..500);
    [author, follower]
}

#[test]
fn an_answer_has_as_many_packets_as_the_window_and_they_follow_one_another() {
    for window in [1, 3, 64] {
        let [mut author, mut follower] = author_and_follower();
        let sent = author.stats().records_sent;
        ask(&mut author, &follower, window);
        let packets = answer(&mut author, follower.slot());
        // 32 records of 40 bytes fit beside an empty version.
        assert_eq!(packets.len(), usize::from(window).min(500_usize.div_ceil(32)));
        let records: usize = packets.iter().map(|packet| delta_of(packet, |_, records| records)).sum();
        assert_eq!(author.stats().records_sent - sent, records as u64);
        let mut at = 1;
        for (n, packet) in (1..).zip(&packets) {
            let (from, to, last, complete) = stretch(packet);
            assert_eq!((from, last, complete), (at, n == packets.len(), to == 500), "packet {n} of {window}");
            at = to;
            let outcome = deliver(&mut follower, packet).unwrap();
            let expected =
                DeltaOutcome { progress: true, committed: complete, last, ..DeltaOutcome::default() };
            assert_eq!(outcome, expected);
        }
        assert_eq!(follower.len(), 1 + records);
    }
}

/// Packets of an answer in frames of so many bytes.
fn short_answer(from: &mut Replica, to: Slot, len: usize) -> Vec<Vec<u8>> {
    core::iter::from_fn(|| written(|frame| from.write_delta(to, &mut frame[..len]))).collect()
}

#[test]
fn what_was_lost_is_sent_to_the_end_of_the_gap_and_no_further() {
    let [mut author, mut follower] = author_and_follower();
    ask(&mut author, &follower, 5);
    // Ten records each, so that more would fit when they are sent again.
    let packets = short_answer(&mut author, follower.slot(), HEADER + 40 + 400 + 8);
    let [first, second, _, fourth, fifth] = &packets[..] else { panic!() };
    assert!(!deliver(&mut follower, first).unwrap().gap);
    let behind = deliver(&mut follower, fourth).unwrap();
    assert_eq!(behind, DeltaOutcome { progress: true, gap: true, ..DeltaOutcome::default() });
    let behind = deliver(&mut follower, fifth).unwrap();
    assert_eq!(behind, DeltaOutcome { progress: true, last: true, gap: true, ..DeltaOutcome::default() });

    ask(&mut author, &follower, 64);
    let again = answer(&mut author, follower.slot());
    let stretches = |packets: &[Vec<u8>]| packets.iter().map(|packet| stretch(packet)).collect::<Vec<_>>();
    assert_eq!(stretches(&again), [(11, 31, true, false)], "in one packet now");
    // In short frames it takes two, and the first is not the last.
    ask(&mut author, &follower, 64);
    let again = short_answer(&mut author, follower.slot(), HEADER + 40 + 480 + 8);
    assert_eq!(stretches(&again), [(11, 23, false, false), (23, 31, true, false)]);
    assert!(deliver(&mut follower, &again[0]).unwrap().gap);
    assert!(deliver(&mut follower, second).unwrap().duplicate, "late");
    let closed = deliver(&mut follower, &again[1]).unwrap();
    assert_eq!(closed, DeltaOutcome { progress: true, last: true, ..DeltaOutcome::default() });
    // The cursor is behind the fifth now.
    ask(&mut author, &follower, 1);
    assert_eq!(stretch(&answer(&mut author, follower.slot())[0]).0, stretch(fifth).1);
}

/// The ring has an end, and the stretch goes on at its beginning: in the same packet.
#[test]
fn a_walk_goes_on_over_the_end_of_the_ring() {
    let [mut author, mut follower] = [0, 1].map(|slot| replica(slot, 50));
    put_all(&mut author, core::iter::repeat_n(0, 45));
    pull(&mut author, &mut follower);
    put_all(&mut author, 1..11);
    ask(&mut author, &follower, 64);
    let packets = answer(&mut author, follower.slot());
    assert_eq!(packets.iter().map(|packet| stretch(packet)).collect::<Vec<_>>(), [(45, 55, true, true)]);
    assert_eq!(delta_of(&packets[0], |_, records| records), 10);
}

/// What a receiver takes for granted of a packet's start is what the packet says.
#[test]
fn a_scan_claims_nothing_of_what_is_in_front_of_it_and_a_checkpoint_does() {
    let [mut author, mut other] = [0, 1].map(|slot| replica(slot, 1_000));
    put_all(&mut author, 0..300);
    pull(&mut author, &mut other);
    let low = |map: &Replica| map.state.peers[0].session.low;
    // From the log's start, before the ring is full.
    assert_eq!((low(&other), other.state.peers[0].session.cursor), (0, Some(300)));
    let mut by_checkpoint = replica(2, 1_000);
    pull(&mut other, &mut by_checkpoint);
    assert_eq!(start(&mut author, &by_checkpoint), at_checkpoint(250));
    pull(&mut author, &mut by_checkpoint);
    assert_eq!((low(&by_checkpoint), by_checkpoint.state.peers[0].session.cursor), (0, Some(300)));
    // The ring has moved on: the places of the table are walked.
    put_all(&mut author, core::iter::repeat_n(0, 1_000));
    let mut by_scan = replica(2, 1_000);
    by_scan.state.life.id += 1;
    by_scan.state.life.generation += 1;
    ask(&mut author, &by_scan, 64);
    let packets = answer(&mut author, by_scan.slot());
    let (from, ..) = stretch(&packets[0]);
    assert_eq!((from, packets.len()), (1_301, 1), "of the first answer there is one packet");
    let outcome = deliver(&mut by_scan, &packets[0]);
    assert!(outcome.unwrap().progress);
    assert_eq!(low(&by_scan), 1_301);
}

/// Of the places of a scan a packet walks no more than of changes.
#[test]
fn a_packet_of_a_scan_walks_no_more_than_4096_places() {
    let [mut author, mut follower] = [0, 1].map(|slot| replica(slot, 6_000));
    put_all(&mut author, 0..5_000);
    pull(&mut author, &mut follower);
    put_all(&mut author, core::iter::repeat_n(4_999, 6_000));
    // It has all records but the last one's, and no cursor nor a checkpoint that the ring still reaches.
    let mut late = replica(2, 6_000);
    pull(&mut follower, &mut late);
    ask(&mut author, &late, 64);
    let packet = written(|frame| author.write_delta(Slot::at(2), frame)).unwrap();
    let (from, to, last, complete) = stretch(&packet);
    assert_eq!((to - from, last, complete), (4_096, true, false));
    assert_eq!(delta_of(&packet, |_, records| records), 0);
}

#[test]
fn a_packet_walks_no_more_than_4096_changes() {
    let [mut author, mut follower] = [0, 1].map(|slot| replica(slot, 10_000));
    put_all(&mut author, 0..1);
    pull(&mut author, &mut follower);
    // All but the last have moved on.
    put_all(&mut author, core::iter::repeat_n(0, 5_000));
    ask(&mut author, &follower, 64);
    let packets = answer(&mut author, follower.slot());
    let stretches: Vec<_> = packets.iter().map(|packet| stretch(packet)).collect();
    assert_eq!(stretches, [(1, 4_097, false, false), (4_097, 5_001, true, true)]);
    assert_eq!(
        packets.iter().map(|packet| delta_of(packet, |_, records| records)).collect::<Vec<_>>(),
        [0, 1]
    );
}

#[test]
fn a_duplicate_is_passed_over_and_counted() {
    let [mut author, mut follower] = author_and_follower();
    ask(&mut author, &follower, 1);
    let packet = &answer(&mut author, follower.slot())[0];
    let before = *follower.stats();
    assert!(!deliver(&mut follower, packet).unwrap().duplicate);
    let once = *follower.stats();
    assert_eq!((once.deltas, once.records_received - before.records_received), (before.deltas + 1, 32));
    assert_eq!(once.records_applied - before.records_applied, 32);
    let outcome = deliver(&mut follower, packet).unwrap();
    assert_eq!(outcome, DeltaOutcome { duplicate: true, last: true, ..DeltaOutcome::default() });
    let twice = *follower.stats();
    assert_eq!((twice.deltas, twice.deltas_out_of_order), (once.deltas + 1, once.deltas_out_of_order + 1));
    assert_eq!(twice.records_received - once.records_received, 32);
    assert_eq!(twice.records_covered - once.records_covered, 32);
    assert_eq!(twice.records_applied, once.records_applied);
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_committed() {
    let mut author = replica(0, 1_000);
    let mut small = replica(1, 20);
    put_all(&mut author, 0..1);
    pull(&mut author, &mut small);
    put_all(&mut author, 1..30);
    ask(&mut author, &small, 64);
    let packets = answer(&mut author, small.slot());
    assert_eq!(packets.len(), 1);
    let outcome = deliver(&mut small, &packets[0]).unwrap();
    assert_eq!(outcome, DeltaOutcome { refused: true, last: true, ..DeltaOutcome::default() });
    assert_eq!((small.len(), small.version().get(Slot::at(0))), (20, 1 << 32 | 1));
    assert_eq!(small.stats().records_refused, 10);
    ask(&mut author, &small, 64);
    assert_eq!(stretch(&answer(&mut author, small.slot())[0]).0, 1, "the cursor has not moved");
}

/// A record that changed since a scan began is left to the changes behind the scan.
#[test]
fn a_scan_has_each_record_once() {
    let mut author = replica(0, 50);
    put_all(&mut author, 0..40);
    put_all(&mut author, core::iter::repeat_n(0, 60));
    let mut scanned = |changed: core::ops::Range<u64>| {
        put_all(&mut author, changed);
        let mut late = replica(1, 100);
        (late.state.life.id, late.state.life.generation) = (author.log_head(), author.log_head() as u32);
        tell(&late, &mut author);
        pull(&mut author, &mut late);
        assert_eq!(late.version(), author.version());
        late.stats().records_received
    };
    assert_eq!(scanned(0..0), 40);
    assert_eq!(scanned(1..4), 40);
    assert_eq!(scanned(2..30), 40);
    // More than the ring holds: another scan.
    assert_eq!(scanned(5..40), 40);
}

/// HELD is gathered anew by a sweep: what changes behind its back, where it has been, counts too.
#[test]
fn what_is_merged_while_a_sweep_is_under_way_is_held() {
    let [mut author, mut follower] = [0, 1].map(|slot| replica(slot, 1_000));
    put_all(&mut author, 0..70);
    pull(&mut author, &mut follower);
    // The last of these are at the first places.
    put_all(&mut author, (0..70).rev());
    ask(&mut author, &follower, 64);
    let packets = answer(&mut author, follower.slot());
    let [_lost, second, third] = &packets[..] else { panic!("{}", packets.len()) };
    deliver(&mut follower, second).unwrap();
    follower.sweep(10);
    assert!(follower.state.sweep_at > 0);
    deliver(&mut follower, third).unwrap();
    follower.sweep(1_000);
    assert_eq!(follower.state.sweep_at, 0);
    let covered = (follower.version().get(Slot::at(0)), follower.held().get(Slot::at(0)));
    assert_eq!(covered, (1 << 32 | 70, 1 << 32 | 140));
}
