//! Timers, tries and pauses, to the nanosecond.

use super::*;

const ME: Slot = Slot::at(0);
const PEER: Slot = Slot::at(1);
const OTHER: Slot = Slot::at(2);
const THIRD: Slot = Slot::at(3);
const ALL: SlotSet = SlotSet::EMPTY.with(PEER).with(OTHER).with(THIRD);
const START: Instant = Instant::from_millis(1_000);
/// A packet of an answer that brings us on, and is not its last.
const PART: DeltaOutcome = DeltaOutcome {
    progress: true,
    committed: false,
    last: false,
    gap: false,
    refused: false,
    duplicate: false,
};
const LAST: DeltaOutcome = DeltaOutcome { last: true, ..PART };
const COMMIT: DeltaOutcome = DeltaOutcome { committed: true, ..LAST };
const REFUSED: DeltaOutcome = DeltaOutcome { refused: true, progress: false, ..PART };

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn before(at: Instant) -> Instant {
    Instant(at.0 - 1)
}

/// A schedule in which no exchange is due.
fn sync() -> Sync {
    Sync::new(SyncConfig::DEFAULT, ME, Instant::NEVER)
}

/// What is seen when time passes.
#[derive(Clone, Copy)]
struct Sight {
    live: SlotSet,
    waiting: SlotSet,
    /// Who has something that we lack.
    ahead: SlotSet,
    quiet: bool,
    hash: u64,
    turn: u64,
}

impl Sight {
    /// All are live and have something that we lack, and nothing has changed here.
    const ALL: Self = Self { live: ALL, waiting: SlotSet::EMPTY, ahead: ALL, quiet: true, hash: 0, turn: 0 };

    /// Moves the timers on. Returns whether writes are to be pushed.
    fn tick(self, sync: &mut Sync, now: Instant) -> bool {
        let Self { live, waiting, ahead, quiet, hash, turn } = self;
        let lacks = |peer| ahead.contains(peer);
        sync.tick(now, &Seen { live, waiting, lacks, quiet, version_hash: || hash, turn })
    }

    /// Moves the timers on. Returns who is sent our version then.
    fn asked(self, sync: &mut Sync, now: Instant) -> SlotSet {
        self.tick(sync, now);
        taken(sync)
    }
}

/// Sends our version to whom it is to be sent to. Returns these.
fn taken(sync: &mut Sync) -> SlotSet {
    let versions = sync.versions();
    for peer in versions.iter() {
        let _ = sync.take_version(peer, false);
    }
    assert!(sync.versions().is_empty());
    versions
}

fn only(peer: Slot) -> SlotSet {
    SlotSet::EMPTY.with(peer)
}

/// A schedule whose session with `PEER` has asked at `START`.
fn asking() -> Sync {
    let mut sync = sync();
    sync.on_behind(START, PEER);
    assert_eq!(Sight::ALL.asked(&mut sync, START), only(PEER));
    sync.next_exchange = Instant::NEVER;
    sync
}

// ---- pushes ----

#[test]
fn writes_wait_for_company_and_a_packetful_does_not() {
    let mut sync = sync();
    let due = START + SyncConfig::DEFAULT.push_delay;
    sync.on_write(START, false);
    assert_eq!(sync.next_tick(false), due);
    sync.on_write(START + ms(5), false);
    assert_eq!(sync.next_tick(false), due, "later writes do not put it off");
    assert!(!Sight::ALL.tick(&mut sync, before(due)));
    assert!(Sight::ALL.tick(&mut sync, due));
    assert!(!Sight::ALL.tick(&mut sync, due), "once");
    assert_eq!(
        sync.next_tick(false),
        START + SyncConfig::DEFAULT.exchange,
        "and exchanges are worth it again"
    );
    let full = due + ms(1);
    sync.on_write(full, false);
    sync.on_write(full, true);
    assert_eq!(sync.next_tick(false), full);
    assert!(Sight::ALL.tick(&mut sync, full));
}

#[test]
fn what_did_not_fit_one_push_follows_a_moment_later() {
    let mut sync = sync();
    sync.on_push_left(START);
    assert_eq!(sync.next_tick(false), START + PUSH_PAUSE);
    assert!(!Sight::ALL.tick(&mut sync, before(START + PUSH_PAUSE)));
    assert!(Sight::ALL.tick(&mut sync, START + PUSH_PAUSE));
    sync.on_write(START, true);
    sync.on_push_left(START);
    assert!(Sight::ALL.tick(&mut sync, START), "what is due sooner stays so");
}

// ---- exchanges ----

#[test]
fn exchanges_slow_down_while_nothing_changes() {
    let mut sync = Sync::new(SyncConfig::DEFAULT, ME, START);
    assert_eq!(Sight::ALL.asked(&mut sync, before(START)), SlotSet::EMPTY);
    let mut now = START;
    for (turn, peer, pause) in [(0, PEER, 500), (4, OTHER, 1_000), (5, THIRD, 1_000), (6, PEER, 1_000)] {
        assert_eq!(sync.next_tick(false), now);
        assert_eq!(Sight { turn, ..Sight::ALL }.asked(&mut sync, now), only(peer));
        assert_eq!(sync.next_tick(false), now + ms(pause), "after the exchange with {peer}");
        now = now + ms(pause);
    }
    Sight { quiet: false, ..Sight::ALL }.asked(&mut sync, now);
    assert_eq!(sync.next_tick(false), now + ms(250), "something has changed");
    assert_eq!(sync.stats.exchanges, 5);
    let nobody = Sight { live: SlotSet::EMPTY, ..Sight::ALL };
    assert_eq!(nobody.asked(&mut sync, now + ms(250)), SlotSet::EMPTY);
    assert_eq!(sync.stats.exchanges, 5, "with nobody there is none");
}

#[test]
fn exchanges_nearly_stop_while_probes_say_that_all_have_the_same() {
    let mut sync = Sync::new(SyncConfig::DEFAULT, ME, START);
    let sight = Sight { hash: 7, ..Sight::ALL };
    let mut now = START;
    let mut pauses = |sync: &mut Sync, sight: Sight, count: usize| {
        let mut pauses = Vec::new();
        for _ in 0..count {
            sight.asked(sync, now);
            pauses.push(sync.next_tick(false).since(now).as_millis());
            now = sync.next_tick(false);
        }
        (pauses, now)
    };
    ALL.iter().for_each(|peer| sync.on_compared(START, peer, 7, true));
    let (slower, now) = pauses(&mut sync, sight, 7);
    assert_eq!(slower, [500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
    // One has something else, as its probe says 100 ms before the next would be due.
    let heard = Instant(now.0 - ms(100).0);
    sync.on_compared(heard, OTHER, 7, false);
    assert_eq!(sync.next_tick(false), now, "what is due sooner stays so");
    let (again, now) = pauses(&mut sync, sight, 4);
    assert_eq!(again, [500, 1_000, 1_000, 1_000]);
    sync.on_compared(now, OTHER, 7, false);
    sync.on_compared(now, OTHER, 7, true);
    assert_eq!(pauses(&mut sync, sight, 3).0, [500, 1_000, 2_000]);
    let (mixed, now) = pauses(&mut sync, Sight { hash: 8, ..sight }, 2);
    assert_eq!(mixed, [1_000, 1_000], "ours is another one now");
    sync.on_compared(now, OTHER, 8, true);
    let (alone, _) = pauses(&mut sync, Sight { hash: 8, ..sight }, 2);
    assert_eq!(alone, [1_000, 1_000], "the others' words were about the old one");
}

#[test]
fn a_probe_that_differs_makes_an_exchange_soon() {
    let mut sync = sync();
    sync.on_compared(START, PEER, 7, false);
    assert_eq!(sync.next_tick(false), START + SyncConfig::DEFAULT.exchange);
    let mut sync = self::sync();
    sync.on_compared(START, PEER, 7, true);
    assert_eq!(sync.next_tick(false), Instant::NEVER);
}

#[test]
fn no_exchange_begins_beside_a_session() {
    let mut sync = asking();
    sync.next_exchange = START + ms(1);
    assert_eq!(Sight::ALL.asked(&mut sync, START + ms(1)), SlotSet::EMPTY);
    assert_eq!(sync.stats.exchanges, 0);
    assert!(sync.next_exchange > START + ms(1), "the next is later");
}

// ---- sessions ----

#[test]
fn a_peer_that_is_silent_is_asked_at_leisure_and_given_up() {
    let mut sync = asking();
    let mut now = START;
    for (tries, wait) in [20, 20, 40, 80, 160, 320, 640].into_iter().enumerate() {
        assert_eq!(sync.stats.retries, tries as u64);
        assert_eq!(sync.next_tick(false), now + ms(wait), "after {tries} in vain");
        now = now + ms(wait);
        assert_eq!(Sight::ALL.asked(&mut sync, before(now)), SlotSet::EMPTY);
        let asked = Sight::ALL.asked(&mut sync, now);
        assert_eq!(asked, if tries < TRIES as usize { only(PEER) } else { SlotSet::EMPTY });
    }
    let SyncStats { sessions, sessions_committed, retries, peers_lost, .. } = sync.stats;
    assert_eq!((sessions, sessions_committed, retries, peers_lost), (1, 0, u64::from(TRIES), 1));
    assert_eq!(sync.next_tick(false), Instant::NEVER, "until something shows again that it has more");
    // Another takes its turn after a pause.
    sync.on_behind(now, OTHER);
    sync.next_exchange = Instant::NEVER;
    assert_eq!(sync.next_tick(false), now + ms(40));
    assert_eq!(Sight::ALL.asked(&mut sync, before(now + ms(40))), SlotSet::EMPTY);
    assert_eq!(Sight::ALL.asked(&mut sync, now + ms(40)), only(OTHER));
}

#[test]
fn peers_take_turns_with_a_pause_between() {
    let mut sync = sync();
    ALL.iter().for_each(|peer| sync.on_behind(START, peer));
    sync.next_exchange = Instant::NEVER;
    assert_eq!(sync.next_tick(false), Instant::ZERO, "at once");
    let mut now = START;
    for peer in ALL.iter() {
        assert_eq!(Sight::ALL.asked(&mut sync, now), only(peer), "one at a time");
        sync.on_delta(now, peer, &COMMIT, false);
        assert_eq!(Sight::ALL.asked(&mut sync, before(now + ms(40))), SlotSet::EMPTY);
        now = now + ms(40);
    }
    assert_eq!((sync.stats.sessions, sync.stats.sessions_committed), (3, 3));
    assert_eq!(sync.next_tick(false), Instant::NEVER);
    assert_eq!(Sight::ALL.asked(&mut sync, now), SlotSet::EMPTY);
}

#[test]
fn who_has_nothing_any_more_or_is_dead_is_not_asked() {
    let mut sync = sync();
    ALL.iter().for_each(|peer| sync.on_behind(START, peer));
    sync.next_exchange = Instant::NEVER;
    let sight = Sight { live: ALL.without(PEER), ahead: ALL.without(OTHER), ..Sight::ALL };
    assert_eq!(sight.asked(&mut sync, START), only(THIRD));
    sync.on_delta(START, THIRD, &COMMIT, false);
    assert_eq!(sync.next_tick(false), Instant::NEVER, "nobody is left");
    // Who dies in a session makes way at once.
    let mut sync = asking();
    sync.on_behind(START, OTHER);
    assert_eq!(Sight { live: ALL.without(PEER), ..Sight::ALL }.asked(&mut sync, START + ms(1)), only(OTHER));
    assert_eq!(sync.stats.peers_lost, 0);
}

#[test]
fn an_answer_is_waited_for_as_long_as_round_trips_say() {
    let rest = |sync: &Sync, now: Instant| sync.next_tick(false).since(now);
    let mut sync = asking();
    let now = START + ms(13);
    sync.on_delta(now, PEER, &PART, false);
    assert_eq!(rest(&sync, now), ms(12), "twice (7 * 5 + 13) / 8");
    let now = START + ms(14);
    sync.on_delta(now, PEER, &PART, false);
    assert_eq!(rest(&sync, now), ms(12), "only the first of an answer tells a round trip");
    sync.on_delta(now, PEER, &LAST, false);
    assert_eq!(taken(&mut sync), only(PEER), "it asks on");
    assert_eq!(rest(&sync, now), ms(24), "four of them");
    // Nobody knows which of two requests this answers.
    let late = now + ms(24);
    assert_eq!(Sight::ALL.asked(&mut sync, late), only(PEER));
    sync.on_delta(late + ms(2), PEER, &PART, false);
    assert_eq!(rest(&sync, late + ms(2)), ms(12));
    // No longer than a retry, and not too short.
    let mut sync = asking();
    sync.on_delta(START + Duration::from_secs(9), PEER, &PART, false);
    assert_eq!(rest(&sync, START + Duration::from_secs(9)), SyncConfig::DEFAULT.retry);
    let mut sync = asking();
    for _ in 0..60 {
        sync.on_delta(START, PEER, &LAST, false);
        taken(&mut sync);
    }
    assert_eq!(rest(&sync, START), ANSWER_MIN);
    sync.on_delta(START, PEER, &PART, false);
    assert_eq!(rest(&sync, START), STRAGGLERS);
}

#[test]
fn tries_are_counted_anew_once_something_comes() {
    let mut sync = asking();
    let mut now = START;
    for _ in 0..TRIES {
        now = sync.next_tick(false);
        assert_eq!(Sight::ALL.asked(&mut sync, now), only(PEER));
    }
    sync.on_delta(now, PEER, &LAST, false);
    assert_eq!(taken(&mut sync), only(PEER), "it is not given up");
    assert_eq!(sync.next_tick(false), now + ms(20), "and asked as soon again as at first");
}

#[test]
fn the_last_packet_ends_an_answer_once_those_that_it_overtook_are_here() {
    let mut sync = asking();
    sync.on_delta(START, PEER, &DeltaOutcome { gap: true, ..LAST }, false);
    assert_eq!(taken(&mut sync), SlotSet::EMPTY, "some are on their way");
    sync.on_delta(START, PEER, &DeltaOutcome { gap: true, ..PART }, false);
    assert_eq!(taken(&mut sync), SlotSet::EMPTY);
    sync.on_delta(START, PEER, &PART, false);
    assert_eq!(taken(&mut sync), only(PEER), "now it asks on");
    sync.on_delta(START, PEER, &PART, false);
    assert_eq!(taken(&mut sync), SlotSet::EMPTY, "the last of this answer has not come");
}

#[test]
fn a_long_answer_to_an_exchange_becomes_a_session() {
    let mut sync = sync();
    sync.on_delta(START, OTHER, &LAST, false);
    assert_eq!((taken(&mut sync), sync.stats.sessions), (only(OTHER), 1));
    sync.on_delta(START, PEER, &LAST, false);
    assert_eq!((taken(&mut sync), sync.stats.sessions), (SlotSet::EMPTY, 1), "one at a time");
    sync.on_delta(START, PEER, &COMMIT, false);
    assert_eq!(sync.stats.sessions_committed, 0, "this was none");
    sync.on_delta(START, OTHER, &COMMIT, false);
    assert_eq!(sync.stats.sessions_committed, 1);
}

/// Lets the peer answer each request at once with the same packet. Returns how often it was asked, and in what time.
fn asked_in_vain(outcome: &DeltaOutcome, most: u32) -> (u32, Duration) {
    let mut sync = sync();
    sync.on_behind(START, PEER);
    let (mut now, mut asked) = (START, 0);
    while now < Instant::NEVER && asked < most {
        if Sight::ALL.asked(&mut sync, now).contains(PEER) {
            asked += 1;
            sync.on_delta(now, PEER, outcome, false);
        } else {
            // No exchange is due: only what this peer makes us do.
            sync.next_exchange = Instant::NEVER;
            now = sync.next_tick(false);
        }
    }
    (asked, now.min(START + Duration::from_secs(100)).since(START))
}

#[test]
fn a_peer_that_repeats_itself_is_asked_at_leisure_and_given_up() {
    let vain = DeltaOutcome { progress: false, ..LAST };
    let (times, took) = asked_in_vain(&vain, 1_000);
    assert_eq!((times, took), (1 + TRIES, Duration::from_secs(100)), "and then no more");
    let (_, took) = asked_in_vain(&vain, 1 + TRIES);
    assert!(took > ms(500), "{} ms", took.as_millis());
    let long = asked_in_vain(&LAST, 1_000);
    assert_eq!(long, (1_000, Duration::ZERO), "a long delta is asked for as fast as it comes");
    assert_eq!(asked_in_vain(&COMMIT, 1_000).0, 1, "its end");
}

#[test]
fn a_packet_that_came_twice_makes_no_second_request() {
    let mut sync = asking();
    sync.on_delta(START, PEER, &LAST, false);
    assert_eq!(taken(&mut sync), only(PEER), "it asks on");
    sync.on_delta(START, PEER, &DeltaOutcome { progress: false, ..LAST }, false);
    assert_eq!(taken(&mut sync), SlotSet::EMPTY, "once");
}

// ---- a start ----

#[test]
fn a_start_asks_all_that_it_waits_for_in_rounds() {
    let mut sync = sync();
    let sight = Sight { live: ALL.without(THIRD), waiting: ALL, ..Sight::ALL };
    assert_eq!(sync.next_tick(true), Instant::ZERO);
    assert_eq!(sight.asked(&mut sync, START), ALL.without(THIRD), "who is dead cannot answer");
    assert_eq!(sync.next_tick(true), START + ms(40));
    assert_eq!(sight.asked(&mut sync, before(START + ms(40))), SlotSet::EMPTY);
    assert_eq!(sight.asked(&mut sync, START + ms(40)), ALL.without(THIRD));
    // A session that brought it on ends: the others may have become less.
    let now = START + ms(50);
    sync.on_delta(now, PEER, &PART, true);
    assert_eq!(sight.asked(&mut sync, now), SlotSet::EMPTY, "not beside a session");
    sync.on_delta(now, PEER, &COMMIT, true);
    assert_eq!(sync.next_tick(true), now);
    assert_eq!(sight.asked(&mut sync, now), ALL.without(THIRD));
    // A session that did not leaves the round as it was.
    let mut sync = asking();
    assert_eq!(sync.next_round, Instant::ZERO);
    sync.next_round = START + ms(40);
    sync.on_delta(START, PEER, &COMMIT, true);
    assert_eq!(sight.asked(&mut sync, START), SlotSet::EMPTY);
    assert_eq!(sync.next_tick(true), START + ms(40));
}

// ---- a full table ----

#[test]
fn what_follows_a_record_that_did_not_fit_opens_no_session() {
    let mut sync = sync();
    let mut now = START;
    for pause in [80, 160, 320, 640, 1_280, 2_560, 5_120, 10_000, 10_000] {
        sync.on_behind(now, PEER);
        sync.next_exchange = now + ms(pause - 1);
        assert_eq!(Sight::ALL.asked(&mut sync, now), only(PEER), "before a pause of {pause} ms");
        sync.on_delta(now, PEER, &REFUSED, false);
        sync.on_delta(now, PEER, &LAST, false);
        let exchanges = sync.stats.exchanges;
        let late = now + ms(pause - 1);
        assert_eq!(Sight::ALL.asked(&mut sync, late), SlotSet::EMPTY, "in a pause of {pause} ms");
        assert_eq!(sync.stats.exchanges, exchanges);
        sync.next_exchange = Instant::NEVER;
        // A second peer's does not fit either, and another has nothing.
        sync.on_delta(late, OTHER, &REFUSED, false);
        sync.on_delta(late, THIRD, &COMMIT, false);
        now = now + ms(pause);
    }
    sync.on_delta(now, PEER, &COMMIT, false);
    assert_eq!(sync.full_pause, SyncConfig::DEFAULT.pull_pause, "there is room again");
    sync.on_delta(now, PEER, &LAST, false);
    assert_eq!(taken(&mut sync), only(PEER), "and its answers count");
}

// ---- requests ----

#[test]
fn a_request_says_what_it_is_for() {
    let request = |reply, force, window| Request { reply, force, window };
    let mut sync = asking();
    for peer in [PEER, OTHER] {
        sync.tell(peer);
    }
    assert_eq!(sync.versions(), ALL.without(THIRD));
    let window = SyncConfig::DEFAULT.window;
    assert_eq!(sync.take_version(OTHER, false), request(true, false, 1), "an answer asks for nothing");
    assert_eq!(sync.versions(), only(PEER));
    assert_eq!(sync.take_version(OTHER, false), request(false, false, window), "it was answered");
    assert_eq!(sync.take_version(PEER, true), request(true, true, window), "the session's peer");
    assert_eq!(sync.take_version(PEER, false), request(false, true, window));
    assert_eq!(sync.take_version(OTHER, true), request(false, true, 1), "a start finds out who has more");
    assert!(sync.versions().is_empty());
}

// ---- the budget ----

#[test]
fn a_budget_is_for_an_interval_and_what_is_overdrawn_is_owed() {
    let (interval, end) = (ms(10), START + ms(10));
    let mut budget = Budget::new(1_000, interval);
    assert!(budget.allows(START));
    budget.spend(600);
    assert!(budget.allows(START) && budget.next_refill() == Instant::ZERO);
    budget.spend(600);
    assert!(!budget.allows(before(end)));
    assert_eq!(budget.next_refill(), end);
    assert!(budget.allows(end), "800 are left of it");
    budget.spend(799);
    assert!(budget.allows(end));
    budget.spend(1);
    assert!(!budget.allows(before(end + interval)));
    assert_eq!(budget.next_refill(), end + interval);
    // What is left of one is not the next one's.
    assert!(budget.allows(end + interval) && budget.allows(end + interval.times(3)));
    budget.spend(999);
    assert!(budget.allows(end + interval.times(3)));
    budget.spend(1);
    assert!(!budget.allows(end + interval.times(3)));
}
