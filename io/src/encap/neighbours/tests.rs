//! The table alone: states, times, and what may change it.

use super::*;

const A: Mac = Mac([2, 0, 0, 0, 0, 0xa]);
const B: Mac = Mac([2, 0, 0, 0, 0, 0xb]);

fn ip(host: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, host])
}

fn at(s: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(s)
}

fn claim(host: u8, mac: Mac, solicited: bool, overrides: bool) -> Claim {
    Claim { ip: ip(host), mac: Some(mac), solicited, overrides }
}

/// A table of four with host 1 reachable at A since `now`.
fn table(now: Instant) -> Neighbours {
    let mut table = Neighbours::new(4);
    assert_eq!(table.resolve(now, ip(1)), Err(Unsent::Unresolved));
    assert_eq!(table.poll_request(now), Some((ip(1), None)));
    assert!(table.hear(now, &claim(1, A, true, true)));
    assert_eq!(table.resolve(now, ip(1)), Ok(A));
    table
}

/// Lets time pass until `end`, stopping only where the table says; returns when it asked and whom.
fn requests(table: &mut Neighbours, end: Instant) -> Vec<(u64, Option<Mac>)> {
    let mut asked = Vec::new();
    while let Some(now) = table.timeout().filter(|&now| now <= end) {
        while let Some((_, mac)) = table.poll_request(now) {
            asked.push((now.0 / 1_000_000_000, mac));
        }
    }
    asked
}

#[test]
fn requests_without_an_answer_become_rare_and_end() {
    let mut table = Neighbours::new(4);
    let _ = table.resolve(at(100), ip(1));
    assert_eq!(requests(&mut table, at(1_000)), [(100, None), (101, None), (103, None)]);
    assert_eq!(table.timeout(), None);
    // Further packets do not make them more frequent.
    let mut asked = Vec::new();
    for now in 107..400 {
        assert_eq!(table.resolve(at(now), ip(1)), Err(Unsent::Unresolved));
        asked.extend(requests(&mut table, at(now)).into_iter().map(|(when, _)| when));
    }
    assert_eq!(asked[..6], [107, 115, 131, 163, 195, 227]);
    assert!(asked.windows(2).skip(3).all(|pair| pair[1] - pair[0] == 32), "{asked:?}");
}

#[test]
fn a_silent_neighbour_is_probed_then_looked_for_anew() {
    let mut table = table(at(0));
    // Nobody wants it: nobody asks.
    assert_eq!(requests(&mut table, at(1_000)), []);
    assert_eq!(table.resolve(at(29), ip(1)), Ok(A));
    assert_eq!(requests(&mut table, at(1_000)), []);
    assert_eq!(table.resolve(at(30), ip(1)), Ok(A));
    let probes = [(35, Some(A)), (36, Some(A)), (37, Some(A))];
    assert_eq!(requests(&mut table, at(37)), probes);
    assert_eq!(table.resolve(at(37), ip(1)), Ok(A));
    assert_eq!(requests(&mut table, at(1_000)), [(38, None), (39, None), (41, None)]);
    assert_eq!(table.resolve(at(45), ip(1)), Err(Unsent::Unresolved));
    assert_eq!(table.stats.lost, 1);
}

#[test]
fn a_probe_is_answered_and_trust_begins_anew() {
    let mut table = table(at(0));
    assert_eq!(table.resolve(at(30), ip(1)), Ok(A));
    assert_eq!(requests(&mut table, at(35)), [(35, Some(A))]);
    assert!(table.hear(at(35), &claim(1, A, true, true)));
    assert_eq!(requests(&mut table, at(64)), []);
    assert_eq!(table.resolve(at(64), ip(1)), Ok(A));
    assert_eq!(requests(&mut table, at(1_000)), []);
}

#[test]
fn payloads_from_the_same_station_keep_it_reachable() {
    let mut table = table(at(0));
    for now in (0..3_600).step_by(60) {
        assert_eq!(table.resolve(at(now), ip(1)), Ok(A));
        // The answer to what was sent comes before the probe would.
        table.confirm(at(now + 4), ip(1), A);
        assert_eq!(requests(&mut table, at(now + 59)), []);
    }
    // Another station under the same address proves nothing, nor does any payload while the station is unknown.
    assert_eq!(table.resolve(at(3_660), ip(1)), Ok(A));
    table.confirm(at(3_661), ip(1), B);
    assert_eq!(requests(&mut table, at(3_665)), [(3_665, Some(A))]);
    let _ = table.resolve(at(3_665), ip(2));
    table.confirm(at(3_665), ip(2), Mac::default());
    assert_eq!(table.resolve(at(3_665), ip(2)), Err(Unsent::Unresolved));
}

#[test]
fn what_is_said_unasked_makes_no_entry() {
    let mut table = Neighbours::new(4);
    assert!(!table.hear(at(0), &claim(1, A, true, true)));
    table.confirm(at(0), ip(1), A);
    assert_eq!(table.resolve(at(0), ip(1)), Err(Unsent::Unresolved));
    // Nothing was asked yet: this is no answer, but it is better than nothing, until a probe shows.
    assert!(table.hear(at(0), &claim(1, A, true, true)));
    assert_eq!(table.resolve(at(0), ip(1)), Ok(A));
    assert_eq!(requests(&mut table, at(5)), [(5, Some(A))]);
}

#[test]
fn what_is_said_unasked_of_a_neighbour_is_taken_and_checked() {
    let mut table = table(at(0));
    assert!(table.hear(at(1), &claim(1, B, true, true)));
    assert_eq!(table.resolve(at(1), ip(1)), Ok(B));
    assert_eq!(table.stats.moved, 1);
    assert_eq!(requests(&mut table, at(8))[0], (6, Some(B)));
    // The same again says nothing new.
    assert!(table.hear(at(8), &claim(1, B, false, true)));
    assert_eq!(table.stats.moved, 1);
    assert_eq!(requests(&mut table, at(9)), [(9, None)]);
}

#[test]
fn without_override_another_station_only_raises_doubt() {
    let mut table = table(at(0));
    assert!(table.hear(at(1), &claim(1, B, false, false)));
    assert_eq!(table.resolve(at(1), ip(1)), Ok(A));
    assert_eq!(table.stats.moved, 0);
    assert_eq!(requests(&mut table, at(6)), [(6, Some(A))]);
}

#[test]
fn an_answer_without_a_station_confirms_the_known_one_and_finds_none() {
    let mut table = table(at(0));
    assert_eq!(table.resolve(at(30), ip(1)), Ok(A));
    assert_eq!(requests(&mut table, at(35)), [(35, Some(A))]);
    let bare = |host| Claim { ip: ip(host), mac: None, solicited: true, overrides: false };
    assert!(table.hear(at(35), &bare(1)));
    assert_eq!(requests(&mut table, at(1_000)), []);
    let _ = table.resolve(at(35), ip(2));
    assert_eq!(requests(&mut table, at(35)), [(35, None)]);
    assert!(!table.hear(at(35), &bare(2)));
    assert_eq!(table.resolve(at(35), ip(2)), Err(Unsent::Unresolved));
}

#[test]
fn those_who_ask_for_us_take_free_places_only() {
    let mut table = table(at(0));
    for host in 2..=4 {
        table.learn(at(0), ip(host), B);
    }
    table.learn(at(1_000), ip(5), B);
    assert_eq!((table.entries.len(), table.stats.evicted, table.stats.resolved), (4, 0, 4));
    // They give way to those that packets are for, before any that ever was wanted.
    assert_eq!(table.resolve(at(1_000), ip(6)), Err(Unsent::Unresolved));
    assert_eq!(table.resolve(at(1_000), ip(1)), Ok(A));
    assert_eq!((table.entries.len(), table.stats.evicted), (4, 1));
    // One that is known and asks from another station has moved; one that was looked for is found.
    table.learn(at(1_000), ip(1), B);
    table.learn(at(1_000), ip(6), B);
    assert_eq!((table.resolve(at(1_000), ip(1)), table.resolve(at(1_000), ip(6))), (Ok(B), Ok(B)));
    assert_eq!((table.stats.moved, table.stats.resolved), (1, 5));
}

#[test]
fn a_full_table_gives_up_the_one_that_was_idle_longest() {
    let mut table = table(at(0));
    for host in 2..=4 {
        let _ = table.resolve(at(u64::from(host)), ip(host));
    }
    let capacity = table.entries.capacity();
    assert_eq!(table.resolve(at(9), ip(5)), Err(Unsent::NeighboursFull));
    assert_eq!(table.resolve(at(10), ip(1)), Ok(A));
    assert_eq!(table.resolve(at(11), ip(5)), Err(Unsent::NeighboursFull));
    assert_eq!(table.stats.evicted, 0);
    assert_eq!(table.resolve(at(12), ip(5)), Err(Unsent::Unresolved));
    assert!(table.find(ip(2)).is_err() && table.find(ip(5)).is_ok());
    assert_eq!(table.resolve(at(12), ip(1)), Ok(A));
    assert_eq!((table.entries.len(), table.entries.capacity(), table.stats.evicted), (4, capacity, 1));
}

#[test]
fn a_clock_that_runs_backward_breaks_nothing() {
    let mut table = table(at(1_000));
    assert_eq!(table.resolve(at(1), ip(1)), Ok(A));
    assert_eq!(table.poll_request(at(1)), None);
    assert_eq!(table.resolve(Instant::NEVER, ip(1)), Ok(A));
    while table.poll_request(Instant::NEVER).is_some() {}
    assert_eq!(table.resolve(Instant::ZERO, ip(1)), Err(Unsent::Unresolved));
}
