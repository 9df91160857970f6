//! One server's view, driven by hand: probe rounds, relays, acks, suspicions, refutations, joining and leaving.

use std::vec::Vec;

use super::*;
use crate::rng::Rng;

const ME: Slot = Slot::at(0);

fn at(slot: usize) -> Slot {
    Slot::at(slot)
}

fn life(generation: u32) -> Life {
    Life { generation, id: 7 }
}

fn ms(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

fn by(slots: impl IntoIterator<Item = usize>) -> SlotSet {
    slots.into_iter().map(Slot::at).collect()
}

fn said(incarnation: u32, state: State) -> Member {
    Member { incarnation, state, ..Member::starting(life(1), Address([9; 24]), Meta::default()) }
}

/// A view that holds `servers` alive, with nothing to tell. Its first period ends after 100 ms.
fn view<const N: usize>(servers: usize) -> Membership<N> {
    let own = Member::starting(life(1), Address::default(), Meta::default());
    let mut view = Membership::new(SwimConfig::DEFAULT, ME, own, Instant::ZERO, ms(100));
    for slot in (1..servers).map(at) {
        view.learn(Instant::ZERO, slot, slot, &said(1, State::Alive), SlotSet::EMPTY);
    }
    view.spread = Dissemination::new();
    view.changed = SlotSet::EMPTY;
    view
}

/// Ticks and returns what is to be sent.
fn tick<const N: usize>(view: &mut Membership<N>, now: Instant, rng: &mut Rng) -> Vec<Outgoing> {
    view.tick(now, rng);
    core::iter::from_fn(|| view.outgoing()).collect()
}

fn ping_of(sent: &[Outgoing]) -> Option<(Slot, u32)> {
    sent.iter().find_map(|sent| match *sent {
        Outgoing::Ping { to, number } => Some((to, number)),
        _ => None,
    })
}

#[test]
fn each_member_is_probed_once_a_round() {
    let (mut view, mut rng) = (view::<64>(20), Rng::new(1));
    let mut rounds = Vec::new();
    for period in 0..60 {
        let now = ms(100 + 150 * period);
        let (to, number) = ping_of(&tick(&mut view, now, &mut rng)).expect("a probe a period");
        view.on_ack(now, to, to, number);
        rounds.push(to);
    }
    for round in rounds.chunks_exact(19) {
        assert_eq!(round.iter().copied().collect::<SlotSet>(), SlotSet::first(20).without(ME));
    }
    assert_ne!(rounds[..19], rounds[19..38], "in another order");
    assert_eq!((view.stats.probes, view.stats.failed_probes), (60, 0));
}

#[test]
fn no_ack_then_help_then_suspicion() {
    let (mut view, mut rng) = (view::<64>(20), Rng::new(2));
    let (target, number) = ping_of(&tick(&mut view, ms(100), &mut rng)).expect("a probe");
    assert_eq!(view.next_tick(), ms(160));
    let helpers: Vec<_> = tick(&mut view, ms(160), &mut rng);
    assert_eq!(helpers.len(), 3);
    for asked in &helpers {
        let Outgoing::PingReq { to, target: of, number: same } = *asked else { panic!("{asked:?}") };
        assert!(to != target && to != ME && (of, same) == (target, number));
    }
    assert!(tick(&mut view, ms(249), &mut rng).is_empty());
    tick(&mut view, ms(250), &mut rng);
    assert_eq!(view.member(target).state, State::Suspect);
    assert_eq!(view.suspected_by(target), by([0]));
    assert_eq!(view.take_changes(), SlotSet::EMPTY.with(target));
    assert_eq!(view.member(target).state, State::Suspect);
    assert!(view.live().contains(target), "a suspect is live until declared dead");
}

#[test]
fn an_ack_passed_on_counts_and_others_do_not() {
    for (way, counts) in [(0, true), (1, true), (2, false), (3, false)] {
        let (mut view, mut rng) = (view::<64>(20), Rng::new(3));
        let (target, number) = ping_of(&tick(&mut view, ms(100), &mut rng)).expect("a probe");
        let other = by(1..20).without(target).iter().next().expect("nineteen");
        match way {
            0 => view.on_ack(ms(101), target, target, number),
            1 => view.on_ack(ms(101), other, target, number),
            2 => view.on_ack(ms(101), other, other, number),
            _ => view.on_ack(ms(101), target, target, number.wrapping_sub(1)),
        }
        assert_eq!(view.stats.stale_acks, u64::from(!counts));
        assert_eq!(tick(&mut view, ms(160), &mut rng).is_empty(), counts);
        tick(&mut view, ms(250), &mut rng);
        assert_eq!(view.member(target).state == State::Alive, counts);
    }
}

#[test]
fn an_ack_of_the_last_period_does_not_count_for_this_one() {
    let (mut view, mut rng) = (view::<2>(2), Rng::new(3));
    let (to, old) = ping_of(&tick(&mut view, ms(100), &mut rng)).expect("a probe");
    view.on_ack(ms(110), to, to, old);
    let (_, new) = ping_of(&tick(&mut view, ms(250), &mut rng)).expect("a probe");
    view.on_ack(ms(310), to, to, old);
    assert!(old != new && view.stats.stale_acks == 1);
    tick(&mut view, ms(400), &mut rng);
    assert_eq!(view.member(to).state, State::Suspect);
}

#[test]
fn a_relay_keeps_the_latest_request_of_each_origin() {
    let mut view = view::<8>(8);
    view.on_ping_req(at(1), at(3), 10);
    view.on_ping_req(at(2), at(3), 20);
    view.on_ping_req(at(1), at(4), 11);
    let mut pings: Vec<_> = core::iter::from_fn(|| view.outgoing()).collect();
    assert_eq!(pings.len(), 2, "{pings:?}");
    let Some(Outgoing::Ping { to: first, number: ours }) = pings.pop() else { panic!("a ping") };
    let Some(Outgoing::Ping { to: second, number: theirs }) = pings.pop() else { panic!("a ping") };
    assert_eq!((first, second), (at(3), at(4)));
    // Another's ack, and a number of another ping, pass nothing on.
    view.on_ack(ms(1), at(5), at(5), ours);
    view.on_ack(ms(1), at(3), at(3), theirs);
    assert!(!view.is_due() && view.stats.stale_acks == 2);
    view.on_ack(ms(1), at(3), at(3), ours);
    view.on_ack(ms(1), at(4), at(4), theirs);
    let acks: Vec<_> = core::iter::from_fn(|| view.outgoing()).collect();
    let expected = [
        Outgoing::Ack { to: at(1), number: 11, target: Some(at(4)) },
        Outgoing::Ack { to: at(2), number: 20, target: Some(at(3)) },
    ];
    assert_eq!(acks, expected);
    // Asked to ping ourselves we answer; whom we never heard of we cannot ping.
    view.on_ping_req(at(1), ME, 12);
    view.members.set(at(5), Member::UNKNOWN);
    view.on_ping_req(at(2), at(5), 21);
    let acks: Vec<_> = core::iter::from_fn(|| view.outgoing()).collect();
    assert_eq!(acks, [Outgoing::Ack { to: at(1), number: 12, target: None }]);
}

/// A rumour of one suspector, however often it is repeated and by whomever, confirms nothing.
#[test]
fn only_names_confirm() {
    let (mut view, mut rng) = (view::<64>(20), Rng::new(4));
    for from in 2..20 {
        view.learn(ms(10), at(from), at(1), &said(1, State::Suspect), by([5]));
    }
    assert_eq!(view.suspected_by(at(1)), by([5]));
    view.learn(ms(10), at(6), at(1), &said(1, State::Suspect), by([5, 6, 1]));
    assert_eq!(view.suspected_by(at(1)), by([5, 6]), "itself is not asked");
    // We look at once; nobody answers, so we know it ourselves.
    assert_eq!(ping_of(&tick(&mut view, ms(10), &mut rng)).map(|(to, _)| to), Some(at(1)));
    tick(&mut view, ms(70), &mut rng);
    assert_eq!(view.suspected_by(at(1)), by([0, 5, 6]));
    view.learn(ms(80), at(7), at(1), &said(1, State::Suspect), by([7, 8, 9]));
    assert_eq!(view.suspected_by(at(1)).len(), 4);
    for now in 0..600 {
        tick(&mut view, ms(now), &mut rng);
        let dead = view.member(at(1)).state == State::Dead;
        // Our own probes of the others fail as well, which makes us doubt ourselves.
        assert!(!dead || now >= 510);
    }
}

#[test]
fn only_a_higher_incarnation_clears_a_suspicion() {
    let (mut view, from) = (view::<8>(8), at(2));
    view.learn(ms(0), from, at(1), &said(1, State::Suspect), by([2]));
    view.heard(at(1), life(1), Address([9; 24]));
    view.learn(ms(0), at(1), at(1), &said(1, State::Alive), SlotSet::EMPTY);
    assert_eq!(view.member(at(1)).state, State::Suspect, "the packets may be old");
    view.learn(ms(0), from, at(1), &said(2, State::Alive), SlotSet::EMPTY);
    assert_eq!((view.member(at(1)).state, view.suspected_by(at(1))), (State::Alive, SlotSet::EMPTY));
    view.learn(ms(0), from, at(1), &said(2, State::Dead), SlotSet::EMPTY);
    view.heard(at(1), life(1), Address([9; 24]));
    assert_eq!(view.member(at(1)).state, State::Dead);
    view.heard(at(1), Life { generation: 1, id: 8 }, Address([3; 24]));
    let member = view.member(at(1));
    assert_eq!((member.state, member.incarnation, member.address), (State::Alive, 0, Address([3; 24])));
}

#[test]
fn a_suspect_that_answers_gets_more_time() {
    let (mut view, mut rng) = (view::<2>(2), Rng::new(5));
    view.next_period = Instant::NEVER;
    view.learn(ms(0), at(1), at(1), &said(1, State::Suspect), by([0]));
    let (_, number) = ping_of(&tick(&mut view, ms(0), &mut rng)).expect("a look");
    // With nobody else to confirm it, the time is the least.
    tick(&mut view, ms(499), &mut rng);
    view.on_ack(ms(499), at(1), at(1), number);
    tick(&mut view, ms(998), &mut rng);
    assert_eq!(view.member(at(1)).state, State::Suspect);
    tick(&mut view, ms(999), &mut rng);
    assert_eq!((view.member(at(1)).state, view.stats.deaths), (State::Dead, 1));
}

/// Whatever is due when we come back late, nobody is judged by the time that we missed.
#[test]
fn who_was_late_judges_nobody() {
    let (mut view, mut rng) = (view::<64>(20), Rng::new(6));
    view.learn(ms(90), at(2), at(1), &said(1, State::Suspect), by([2, 3, 4, 5]));
    tick(&mut view, ms(100), &mut rng);
    tick(&mut view, ms(5_000), &mut rng);
    assert_eq!((view.stats.stalls, view.stats.suspicions, view.stats.deaths), (1, 0, 0));
    assert_eq!(view.member(at(1)).state, State::Suspect);
    assert_eq!(view.health.stretch(Duration(1)), Duration(2));
    for now in (5_000..7_000).step_by(10) {
        tick(&mut view, ms(now), &mut rng);
    }
    assert_eq!(view.member(at(1)).state, State::Dead);
}

#[test]
fn we_refute_what_would_stand_over_our_word() {
    let mut view = view::<8>(8);
    let mut hear = |news: Member| {
        view.learn(ms(0), at(1), ME, &news, SlotSet::EMPTY);
        (view.member(ME).incarnation, view.member(ME).state, view.owed(at(1)))
    };
    assert_eq!(hear(said(1, State::Alive)), (1, State::Alive, 0));
    assert_eq!(hear(said(1, State::Suspect)), (2, State::Alive, 1));
    assert_eq!(hear(said(1, State::Dead)), (2, State::Alive, 1), "it is told what it missed");
    assert_eq!(
        hear(Member { life: life(9), ..said(5, State::Dead) }),
        (2, State::Alive, 1),
        "not about this life"
    );
    assert_eq!(hear(said(u32::MAX, State::Dead)), (2, State::Alive, 1));
    assert_eq!((view.stats.refutations, view.stats.unrefuted), (1, 1));
}

/// Who is told, beside acks, that we are alive in which incarnation.
fn refuted_to(view: &mut Membership<64>) -> SlotSet {
    let mut told = SlotSet::EMPTY;
    while let Some(sent) = view.outgoing() {
        let Outgoing::Gossip { to } = sent else { panic!("{sent:?}") };
        assert!(view.tell(to, ENTRIES, false).contains(&ME), "told of something else");
        told.insert(to);
    }
    told
}

#[test]
fn everybody_is_told_at_once_but_once_a_period_that_we_refute() {
    let mut view = view::<64>(64);
    view.learn(ms(0), at(2), at(9), &said(1, State::Dead), SlotSet::EMPTY);
    let others = SlotSet::first(64).without(ME).without(at(9));
    let suspect = |view: &mut Membership<64>, now, incarnation| {
        view.learn(now, at(1), ME, &said(incarnation, State::Suspect), SlotSet::EMPTY);
        assert_eq!(view.member(ME).incarnation, incarnation + 1);
    };
    // An ack that is due to one of them tells it too: one of the two may be lost.
    view.on_ping(at(5), 7, false);
    suspect(&mut view, ms(10), 1);
    assert_eq!(view.outgoing(), Some(Outgoing::Ack { to: at(5), number: 7, target: None }));
    assert!(view.tell(at(5), ENTRIES, false).contains(&ME));
    assert_eq!(refuted_to(&mut view), others);
    // Who says it again and again has us send no more for it.
    for (now, incarnation) in [(11, 2), (100, 3), (159, 4)] {
        suspect(&mut view, ms(now), incarnation);
        assert_eq!(refuted_to(&mut view), SlotSet::EMPTY);
    }
    suspect(&mut view, ms(160), 5);
    assert_eq!(refuted_to(&mut view), others);
    // Without looks suspects refute by rumour, as in SWIM.
    view.config.looks = 0;
    suspect(&mut view, ms(1_000), 6);
    assert_eq!(refuted_to(&mut view), SlotSet::EMPTY);
}

#[test]
fn weights_and_addresses_are_changes_too() {
    let mut view = view::<8>(8);
    let heavier = Member { meta: Meta::weighted(300), ..said(2, State::Alive) };
    view.learn(ms(0), at(2), at(1), &heavier, SlotSet::EMPTY);
    assert_eq!(view.take_changes().len(), 1);
    // No address of its own: what is known of it stays.
    let moved = Member { address: Address::default(), ..said(3, State::Alive) };
    view.learn(ms(0), at(2), at(1), &moved, SlotSet::EMPTY);
    assert_eq!(view.member(at(1)).address, Address([9; 24]));
}

#[test]
fn who_joins_is_greeted_once_a_life() {
    let mut view = view::<64>(40);
    let joiner = at(50);
    view.heard(joiner, life(1), Address([5; 24]));
    view.on_ping(joiner, 0, true);
    assert_eq!(view.owed(joiner), 40);
    assert_eq!(view.tell(joiner, 16, false).len(), 16);
    view.on_ping(joiner, 0, true);
    assert_eq!(view.owed(joiner), 24, "it goes on where it was");
    view.tell(joiner, 16, false);
    view.tell(joiner, 16, false);
    view.on_ping(joiner, 0, true);
    assert_eq!(view.owed(joiner), 0);
    view.heard(joiner, Life { generation: 2, id: 8 }, Address([5; 24]));
    view.on_ping(joiner, 0, true);
    assert_eq!(view.owed(joiner), 40, "a new life knows nobody");
}

#[test]
fn what_is_told_first() {
    let mut view = view::<8>(8);
    assert!(view.tell(at(1), 16, false).is_empty());
    view.learn(ms(0), at(2), at(1), &said(1, State::Dead), SlotSet::EMPTY);
    assert_eq!(view.tell(at(1), 1, false)[..], [at(1)], "what it may want to refute");
    assert_eq!(view.tell(ME, 16, false)[..], [ME], "to whoever is there: who we are");
    view.leave();
    assert_eq!(view.tell(at(3), 1, false)[..], [ME], "that we leave");
    assert!(view.has_left() && view.next_tick() == Instant::NEVER);
}

#[test]
fn the_dead_are_tried_again_and_sooner_when_one_answers() {
    let (mut view, mut rng) = (view::<8>(8), Rng::new(8));
    view.next_period = Instant::NEVER;
    (1..8).for_each(|slot| view.learn(ms(0), at(1), at(slot), &said(1, State::Dead), SlotSet::EMPTY));
    let mut tries = Vec::new();
    for now in 0..2_400 {
        for sent in tick(&mut view, ms(now), &mut rng) {
            let Outgoing::Ping { to, number } = sent else { continue };
            tries.push(now);
            if tries.len() == 3 {
                view.on_ack(ms(now), to, to, number);
            }
        }
    }
    assert_eq!(tries[..4], [500, 1_000, 1_500, 1_520]);
    assert_eq!(tries[tries.len() - 2..], [1_980, 2_000], "until none has answered for half a second");
}

fn gossips(sent: &[Outgoing]) -> SlotSet {
    let mut to = SlotSet::EMPTY;
    for sent in sent {
        let Outgoing::Gossip { to: next } = *sent else { continue };
        assert!(!to.contains(next), "twice");
        to.insert(next);
    }
    to
}

#[test]
fn news_goes_to_three_others_each_time() {
    let (mut view, mut rng) = (view::<64>(20), Rng::new(9));
    view.next_period = Instant::NEVER;
    view.next_retry = Instant::NEVER;
    assert!(tick(&mut view, ms(7), &mut rng).is_empty() && view.next_tick() == Instant::NEVER);
    view.learn(ms(10), at(2), at(5), &said(1, State::Dead), SlotSet::EMPTY);
    let others = by(1..20).without(at(5));
    let (mut now, mut told) = (10, SlotSet::EMPTY);
    while view.has_news() {
        assert!(view.next_tick() <= ms(now));
        let to = gossips(&tick(&mut view, ms(now), &mut rng));
        assert!(to.len() == 3 && to.difference(others).is_empty(), "{to:?}");
        for to in to.iter() {
            let news = view.tell(to, ENTRIES, false);
            assert!(news.is_empty() || news[..] == [at(5)] && !told.contains(to));
            told.insert(to);
        }
        assert!(tick(&mut view, ms(now + 49), &mut rng).is_empty());
        now += 50;
    }
    assert_eq!((told.len(), view.next_tick()), (8, Instant::NEVER));
}

#[test]
fn what_we_say_of_ourselves_is_news_in_a_higher_incarnation() {
    let mut view = view::<8>(8);
    assert!(!view.has_news());
    view.restate(life(4), Meta::weighted(7));
    let own = *view.member(ME);
    assert_eq!((own.life, own.incarnation, own.meta.weight()), (life(4), 2, 7));
    assert!(view.has_news());
    view.members.set(ME, Member { incarnation: u32::MAX, ..own });
    view.restate(life(5), Meta::weighted(8));
    assert_eq!(
        (view.member(ME).life, view.member(ME).incarnation),
        (life(5), u32::MAX),
        "the life is greater"
    );
    // A farewell is, too.
    let mut view = self::view::<8>(8);
    view.leave();
    assert!(view.has_news() && view.take_changes() == by([0]) && view.live() == by(1..8));
}

#[test]
fn who_is_expected_is_known_and_has_not_left() {
    let mut view = view::<8>(6);
    let states = [State::Suspect, State::Dead, State::Left];
    for (slot, state) in (1..).zip(states) {
        view.learn(ms(0), at(1), at(slot), &said(1, state), SlotSet::EMPTY);
    }
    assert_eq!(view.known(), by(0..6));
    assert_eq!(view.expected(), by(0..6).without(at(3)));
    assert_eq!(view.live(), by([0, 1, 4, 5]));
    assert_eq!(view.take_changes(), by(1..4));
}

#[test]
fn who_is_new_or_back_hears_who_we_are() {
    let mut view = view::<8>(3);
    let hear = |view: &mut Membership<8>, life: Life| view.heard(at(5), life, Address([5; 24]));
    hear(&mut view, life(1));
    assert_eq!((view.owed(at(5)), view.take_changes()), (1, by([5])));
    assert_eq!(view.tell(at(5), 2, false)[..], [ME], "and of itself it hears nothing");
    assert!(view.has_news(), "the others hear of it");
    // A generation that was raised is no other life.
    hear(&mut view, life(2));
    assert_eq!((view.owed(at(5)), view.take_changes()), (0, by([5])));
    hear(&mut view, life(2));
    assert_eq!(view.take_changes(), SlotSet::EMPTY, "that is known");
    // Others may tell of it first.
    let reborn = Member { life: Life { generation: 3, id: 9 }, ..said(1, State::Alive) };
    view.learn(ms(0), at(1), at(5), &reborn, SlotSet::EMPTY);
    assert_eq!((view.owed(at(5)), view.take_changes()), (1, by([5])));
    view.tell(at(5), 2, false);
    view.learn(ms(0), at(1), at(5), &Member { incarnation: 2, ..reborn }, SlotSet::EMPTY);
    assert_eq!(
        (view.owed(at(5)), view.take_changes()),
        (0, SlotSet::EMPTY),
        "another incarnation is no change"
    );
}

#[test]
fn failed_probes_stretch_the_next_ones_and_acks_bring_them_back() {
    let (mut view, mut rng) = (view::<64>(20), Rng::new(10));
    let at_ms = |instant: Instant| instant.0 / 1_000_000;
    let mut periods = Vec::new();
    let mut now = ms(100);
    for period in 0..6 {
        let (to, number) = ping_of(&tick(&mut view, now, &mut rng)).expect("a probe");
        periods.push((at_ms(view.next_period) - at_ms(now), at_ms(view.probes.help_at()) - at_ms(now)));
        if period >= 2 {
            view.on_ack(now, to, to, number);
            assert_eq!(view.probes.help_at(), Instant::NEVER, "nobody has to help");
        }
        now = view.next_period;
    }
    assert_eq!(periods, [(150, 60), (300, 120), (450, 180), (300, 120), (150, 60), (150, 60)]);
    let SwimStats { probes, indirect_probes, failed_probes, suspicions, .. } = view.stats;
    // Of the two that failed others were asked, though only when the period was over: we did not come by sooner.
    assert_eq!((probes, indirect_probes, failed_probes, suspicions), (6, 6, 2, 2));
}

#[test]
fn whom_we_cannot_reach_either_is_confirmed_and_the_dead_stay_dead() {
    for (state, expected) in
        [(State::Suspect, by([0, 3])), (State::Dead, SlotSet::EMPTY), (State::Left, SlotSet::EMPTY)]
    {
        let (mut view, mut rng) = (view::<2>(2), Rng::new(11));
        tick(&mut view, ms(100), &mut rng);
        view.config.looks = 0;
        view.learn(ms(120), at(1), at(1), &said(1, state), SlotSet::from_bits(0b1000));
        tick(&mut view, ms(250), &mut rng);
        assert_eq!((view.suspected_by(at(1)), view.member(at(1)).state), (expected, state));
        assert_eq!((view.stats.failed_probes, view.stats.suspicions), (1, 0));
    }
}

#[test]
fn a_period_is_late_once_a_time_out_has_passed() {
    for (now, stalls) in [(160, 0), (161, 1)] {
        let (mut view, mut rng) = (view::<8>(8), Rng::new(12));
        tick(&mut view, ms(now), &mut rng);
        assert_eq!((view.stats.stalls, view.stats.probes), (stalls, 1));
        assert_eq!(view.health.stretch(Duration(1)), Duration(1 + stalls));
    }
    let own = Member::starting(life(1), Address::default(), Meta::default());
    let mut alone = Membership::<8>::new(SwimConfig::DEFAULT, ME, own, Instant::ZERO, ms(100));
    assert!(tick(&mut alone, ms(100), &mut Rng::new(13)).is_empty() && alone.stats.probes == 0);
    assert!(!alone.has_news(), "there is nobody to tell");
}

#[test]
fn help_that_is_no_longer_needed_is_not_asked_for() {
    let (mut view, mut rng) = (view::<8>(8), Rng::new(14));
    let (to, number) = ping_of(&tick(&mut view, ms(100), &mut rng)).expect("a probe");
    view.tick(ms(160), &mut rng);
    assert!(view.is_due() && view.stats.indirect_probes == 3);
    view.on_ack(ms(160), to, to, number);
    assert!(!view.is_due() && view.outgoing().is_none());
    assert_eq!(view.next_tick(), ms(250), "and not again");
}

#[test]
fn every_ping_has_a_number_of_its_own() {
    let (mut view, mut rng) = (view::<8>(8), Rng::new(15));
    (0..3).for_each(|_| view.on_ping_req(at(1), at(2), 5));
    let before = view.probes.newest();
    let (_, number) = ping_of(&tick(&mut view, ms(100), &mut rng)).expect("a probe");
    assert_eq!((before, number), (3, 4), "each has one of its own");
    let mut idle = Probes::<8>::new();
    assert!(!idle.is_due() && idle.newest() == 0);
    idle.retry(SlotSet::EMPTY, &mut rng);
    assert!(!idle.is_due(), "nobody is dead");
}

#[test]
fn an_answer_to_a_look_is_not_stale() {
    let (mut view, mut rng) = (view::<8>(8), Rng::new(16));
    view.next_period = Instant::NEVER;
    view.learn(ms(0), at(2), at(1), &said(1, State::Suspect), by([2]));
    let (to, number) = ping_of(&tick(&mut view, ms(0), &mut rng)).expect("a look");
    assert_eq!(to, at(1));
    view.on_ack(ms(1), at(3), at(1), number);
    assert_eq!(view.stats.stale_acks, 1, "another's word of it is none");
    view.on_ack(ms(2), at(1), at(1), number);
    assert_eq!(view.stats.stale_acks, 1);
    assert_eq!(view.health.stretch(Duration(1)), Duration(1));
}

#[test]
fn one_more_member_is_told_in_rotation_when_there_is_room() {
    let mut view = view::<8>(4);
    let told: Vec<_> = (0..4).flat_map(|_| view.tell(at(1), 1, true)).collect();
    assert_eq!(told, [at(2), at(3), ME, at(2)]);
    assert!(view.tell(at(1), 1, false).is_empty());
    assert_eq!(view.tell(ME, 16, true)[..], [ME], "who is asked to be let in hears of us alone");
}

#[test]
fn a_suspect_that_speaks_of_another_or_without_looks_gets_no_more_time() {
    let (mut view, mut rng) = (view::<8>(8), Rng::new(17));
    view.next_period = Instant::NEVER;
    view.learn(ms(0), at(2), at(1), &said(1, State::Suspect), by([2]));
    let (_, number) = ping_of(&tick(&mut view, ms(0), &mut rng)).expect("a look");
    view.on_ack(ms(1), at(1), at(3), number);
    assert_eq!(view.stats.stale_acks, 1);
    let (mut view, mut rng) = (self::view::<2>(2), Rng::new(18));
    view.config.looks = 0;
    view.learn(ms(0), at(1), at(1), &said(1, State::Suspect), by([0]));
    let (to, number) = ping_of(&tick(&mut view, ms(100), &mut rng)).expect("a probe");
    view.on_ack(ms(110), to, to, number);
    view.next_period = Instant::NEVER;
    tick(&mut view, ms(499), &mut rng);
    assert_eq!(view.member(to).state, State::Suspect);
    tick(&mut view, ms(500), &mut rng);
    assert_eq!(view.member(to).state, State::Dead, "only a refutation counts, as in SWIM");
}
