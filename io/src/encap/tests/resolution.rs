//! Neighbours finding each other over a wire in memory, in virtual time.

use super::golden::*;
use super::*;

/// Each test runs for ARP and for neighbour discovery.
fn families(test: impl Fn(Encap, Encap)) {
    test(udp(A, A4), udp(B, B4));
    test(udp(A, A6), udp(B, B6));
}

fn quiet(mut encap: Encap) -> Encap {
    while polled(&mut encap, at(0)).is_some() {}
    while polled(&mut encap, at(2_000)).is_some() {}
    encap
}

/// Lets time pass until `end`, stopping only where the encapsulation says; returns when it sent what.
fn sends(encap: &mut Encap, end: Instant) -> Vec<(u64, Vec<u8>)> {
    let mut sent = Vec::new();
    while let Some(now) = encap.poll_timeout().filter(|&now| now <= end) {
        while let Some(frame) = polled(encap, now) {
            sent.push((now.0 / 1_000_000, frame));
        }
        assert!(encap.poll_timeout().is_none_or(|next| next > now), "due again at once");
    }
    sent
}

#[test]
fn the_first_packet_is_lost_and_the_next_arrives() {
    families(|left, right| {
        let (mut left, mut right) = (quiet(left), quiet(right));
        let to = right.local();
        assert_eq!(sent(&mut left, at(0), to, b"one"), Err(Unsent::Unresolved));
        assert_eq!(unsent(&left), [Unsent::Unresolved]);
        settle(&mut left, &mut right, at(3_000), |_| false);
        let frame = sent(&mut left, at(3_000), to, b"two").unwrap();
        let expected = Stripped::Payload { from: left.local(), bytes: b"two" };
        assert_eq!(right.strip(at(3_000), &frame), expected);
        // Who was asked knows who asks: its own first packet passes.
        assert!(sent(&mut right, at(3_000), left.local(), b"three").is_ok());
        let (left, right) = (left.stats().neighbours, right.stats().neighbours);
        assert_eq!((left.requests, left.resolved, left.requests_heard), (1, 1, 0));
        assert_eq!((right.answers, right.resolved, right.requests_heard, right.requests), (1, 1, 1, 0));
    });
}

#[test]
fn a_lost_request_or_answer_is_made_up_for() {
    families(|left, right| {
        for lost in [1, 2] {
            let (mut left, mut right) = (quiet(left.clone()), quiet(right.clone()));
            let to = right.local();
            let _ = sent(&mut left, at(5_000), to, b"");
            settle(&mut left, &mut right, at(5_000), |number| number == lost);
            assert_eq!(sent(&mut left, at(5_999), to, b""), Err(Unsent::Unresolved));
            settle(&mut left, &mut right, at(5_999), |_| false);
            assert_eq!(sent(&mut left, at(5_999), to, b""), Err(Unsent::Unresolved));
            settle(&mut left, &mut right, at(6_000), |_| false);
            assert!(sent(&mut left, at(6_000), to, b"").is_ok());
        }
    });
}

#[test]
fn nobody_there_is_asked_for_ever_more_rarely() {
    families(|left, right| {
        let mut left = quiet(left);
        let mut asked = Vec::new();
        // A probe a second, as membership sends them.
        for now in 10..200 {
            assert_eq!(sent(&mut left, at(now * 1_000), right.local(), b""), Err(Unsent::Unresolved));
            asked.extend(sends(&mut left, at(now * 1_000)).into_iter().map(|(when, _)| when / 1_000));
        }
        assert_eq!(asked, [10, 11, 13, 17, 25, 41, 73, 105, 137, 169]);
        assert_eq!(left.stats().unsent[Unsent::Unresolved.index()], 190);
    });
}

#[test]
fn while_peers_talk_nothing_is_asked() {
    families(|left, right| {
        let (mut left, mut right) = pair(left, right, at(0));
        let before = (left.stats().neighbours.requests, right.stats().neighbours.requests);
        for now in (10..3_600).step_by(20).map(|s| at(s * 1_000)) {
            let frame = sent(&mut left, now, right.local(), b"ping").unwrap();
            let _ = right.strip(now, &frame);
            let frame = sent(&mut right, now, left.local(), b"ack").unwrap();
            let _ = left.strip(now, &frame);
            settle(&mut left, &mut right, now, |_| false);
        }
        assert_eq!((left.stats().neighbours.requests, right.stats().neighbours.requests), before);
    });
}

#[test]
fn a_host_that_is_replaced_announces_itself() {
    families(|left, right| {
        let (mut left, _) = pair(quiet(left), right.clone(), at(0));
        let local = socket(&address::display(right.local()).to_string());
        let new = Mac([2, 0, 0, 0, 0, 0xcc]);
        let mut right = Encap::new(new, &udp_config(&local.to_string())).unwrap();
        let announcement = polled(&mut right, at(100)).unwrap();
        assert_eq!(left.strip(at(100), &announcement), Stripped::Resolution);
        assert_eq!(left.stats().neighbours.moved, 1);
        let frame = sent(&mut left, at(100), right.local(), b"").unwrap();
        assert_eq!(frame[..6], new.0);
        // It is believed, and checked: the new station is asked itself.
        let asked = sends(&mut left, at(6_000));
        assert_eq!((asked[0].0, &asked[0].1[..6]), (5_100, &new.0[..]));
    });
}

#[test]
fn strangers_that_announce_themselves_are_not_remembered() {
    for (by, announcement) in [(B4, ARP_ANNOUNCEMENT), (B6, NA_UNSOLICITED)] {
        let mut right = quiet(udp(B, by));
        assert_eq!(right.strip(at(0), &bytes(announcement)), Stripped::Ignored(Ignored::Unasked));
        assert_eq!(right.stats().neighbours.resolved, 0);
    }
}

#[test]
fn an_answer_to_a_question_that_was_not_asked_is_not_believed() {
    for (local, peer, answer) in [(A4, B4, ARP_REPLY), (A6, B6, NA)] {
        let mut left = quiet(udp(A, local));
        assert_eq!(left.strip(at(0), &bytes(answer)), Stripped::Ignored(Ignored::Unasked));
        let to = address::from_socket(socket(peer));
        assert_eq!(sent(&mut left, at(0), to, b""), Err(Unsent::Unresolved));
    }
}

#[test]
fn our_address_is_announced_twice_and_again_when_told() {
    families(|mut left, _| {
        let times = |sent: Vec<(u64, Vec<u8>)>| sent.into_iter().map(|(when, _)| when).collect::<Vec<_>>();
        assert_eq!(times(sends(&mut left, at(60_000))), [0, 2_000]);
        assert_eq!(left.poll_timeout(), None);
        left.announce(at(70_000));
        assert_eq!(times(sends(&mut left, at(90_000))), [70_000, 72_000]);
        assert_eq!(left.stats().neighbours.announcements, 4);
    });
    let mut left = bare(A);
    left.announce(at(0));
    assert_eq!((polled(&mut left, at(0)), left.poll_timeout()), (None, None));
}

#[test]
fn another_with_our_address_is_reported() {
    for (by, theirs) in [(A4, udp(B, A4)), (A6, udp(B, A6))] {
        let (mut left, mut theirs) = (quiet(udp(A, by)), theirs);
        let announcement = polled(&mut theirs, at(0)).unwrap();
        assert_eq!(left.strip(at(0), &announcement), Stripped::Ignored(Ignored::Conflict));
        assert_eq!(ignored(&left), [Ignored::Conflict]);
    }
}

#[test]
fn a_probe_for_our_address_is_answered_and_teaches_nothing() {
    for (by, probe) in [(B4, ARP_PROBE), (B6, DAD_NS)] {
        let mut right = quiet(udp(B, by));
        assert_eq!(right.strip(at(0), &bytes(probe)), Stripped::Resolution);
        assert_eq!(right.poll_timeout(), Some(Instant::ZERO));
        assert!(polled(&mut right, at(0)).is_some());
        assert_eq!((right.poll_timeout(), right.stats().neighbours.resolved), (None, 0));
    }
}

#[test]
fn who_asks_without_saying_from_which_station_is_answered_where_the_frame_came_from() {
    let mut right = quiet(udp(B, B6));
    let mut frame = bytes(NS_STATION);
    frame.truncate(78);
    frame[19] = 24;
    assert_eq!(right.strip(at(0), &mend(frame)), Stripped::Resolution);
    assert_eq!(hex(&polled(&mut right, at(0)).unwrap()), NA);
}

/// The question of another host on the link.
fn question(by: &str, host: u8) -> Vec<u8> {
    let (mut frame, mac, ip) = if by == B4 { (bytes(ARP_REQUEST), 27, 31) } else { (bytes(NS), 85, 37) };
    (frame[11], frame[mac], frame[ip]) = (host, host, host);
    mend(frame)
}

#[test]
fn answers_that_wait_are_bounded_and_one_for_each() {
    for by in [B4, B6] {
        let mut right = quiet(udp(B, by));
        for _ in 0..3 {
            assert_eq!(right.strip(at(0), &question(by, 9)), Stripped::Resolution);
        }
        for host in 10..30 {
            assert_eq!(right.strip(at(0), &question(by, host)), Stripped::Resolution);
        }
        let stats = right.stats().neighbours;
        assert_eq!((stats.requests_heard, stats.answers_lost), (23, 5));
        let answers: Vec<_> = sends(&mut right, at(0)).into_iter().map(|(_, frame)| frame[5]).collect();
        assert_eq!(answers, (9..25).collect::<Vec<_>>());
    }
}

#[test]
fn strangers_from_off_the_link_are_answered_and_not_remembered() {
    let mut right = quiet(udp(B, B4));
    let mut frame = bytes(ARP_REQUEST);
    frame[28..32].copy_from_slice(&[192, 0, 2, 1]);
    assert_eq!(right.strip(at(0), &frame), Stripped::Resolution);
    let stats = right.stats().neighbours;
    assert_eq!((stats.requests_heard, stats.resolved), (1, 0));
}

#[test]
fn a_full_table_is_counted_and_takes_no_more_memory() {
    for (local, peers) in [(A4, "10.0.0."), (A6, "[2001:db8::")] {
        let EncapConfig { framing: Framing::Udp(framing), .. } = udp_config(local) else { unreachable!() };
        let framing = Framing::Udp(UdpFraming { neighbours: 8, ..framing });
        let mut left = Encap::new(A, &EncapConfig::new(framing).insecure(true)).unwrap();
        let peer = |host: u64| {
            let end = if local == A4 { ":1" } else { "]:1" };
            address::from_socket(socket(&format!("{peers}{host}{end}")))
        };
        for host in 100..108 {
            assert_eq!(sent(&mut left, at(0), peer(host), b""), Err(Unsent::Unresolved));
        }
        assert_eq!(sent(&mut left, at(9_999), peer(108), b""), Err(Unsent::NeighboursFull));
        assert_eq!(unsent(&left), [[Unsent::Unresolved; 8].as_slice(), &[Unsent::NeighboursFull]].concat());
        assert_eq!(sent(&mut left, at(10_000), peer(108), b""), Err(Unsent::Unresolved));
        assert_eq!(left.stats().neighbours.evicted, 1);
        // One request for each, and none for the one that was given up; and an announcement.
        let said = std::iter::from_fn(|| polled(&mut left, at(10_000))).count();
        assert_eq!((said, left.stats().neighbours.requests), (9, 8));
    }
}

#[test]
fn frames_are_never_late_and_never_for_nothing() {
    // A PoP on one wire: all look for all, a third of the frames is lost, and nobody is asked but when it says.
    families(|left, _| {
        let four = left.headroom() == 42;
        let local = |host: usize| {
            if four { format!("10.0.0.{host}:7946") } else { format!("[2001:db8::{host}]:7946") }
        };
        let mut hosts: Vec<_> =
            (1..=16).map(|host| udp(Mac([2, 0, 0, 0, 0, host as u8]), &local(host))).collect();
        let peers: Vec<_> = hosts.iter().map(Encap::local).collect();
        let mut rng = popmap_core::rng::Rng::new(5);
        let (mut arrived, mut frames) = (0, 0);
        for now in (0..60_000).step_by(500).map(at) {
            let mut wire = Vec::new();
            for (number, host) in hosts.iter_mut().enumerate() {
                let to = rng.below(16) as usize;
                if to != number {
                    wire.extend(sent(host, now, peers[to], b"gossip").ok());
                }
                if host.poll_timeout().is_some_and(|due| due <= now) {
                    while let Some(frame) = polled(host, now) {
                        wire.push(frame);
                    }
                } else {
                    assert_eq!(polled(host, now), None, "due before it said");
                }
            }
            for frame in wire {
                frames += 1;
                for host in &mut hosts {
                    if rng.below(3) > 0 && matches!(host.strip(now, &frame), Stripped::Payload { .. }) {
                        arrived += 1;
                    }
                }
            }
        }
        assert!(arrived > 800 && frames < 3_000, "{arrived} of {frames}");
        for host in &hosts {
            assert!(ignored(host).iter().all(|&why| {
                use Ignored::{OtherArp, OtherIp, OtherMac, OtherNdp, Own, Unasked};
                matches!(why, OtherArp | OtherIp | OtherMac | OtherNdp | Own | Unasked)
            }));
        }
    });
}
