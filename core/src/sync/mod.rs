//! Whom to pull from, and when.
//!
//! Knows timers, retries and budgets. Must not know what a version or a record is: the node tells what a packet meant,
//! and asks what to send next.
//!
//! There is at most one session at a time in which this replica pulls a long delta; everything that shows that a peer
//! has more than we do only marks the peer. One session, because two peers asked at once would both send the same
//! records. A session asks for a window of packets, asks on from where it has come to, repeats itself with back-off
//! when nothing comes, and gives the peer up after a few tries: nothing is lost, the version simply has not moved.

mod budget;

pub(crate) use budget::Budget;

use crate::id::{Slot, SlotSet};
use crate::map::{DeltaOutcome, Request};
use crate::time::{Duration, Instant};

/// When to exchange, pull and push.
#[derive(Clone, Copy, Debug)]
pub struct SyncConfig {
    /// How long fresh writes may wait for company before they are pushed.
    pub push_delay: Duration,
    /// How often our version is sent to some peer while there are changes.
    pub exchange: Duration,
    /// The same when there are none: reached by doubling.
    pub exchange_idle: Duration,
    /// The same while the probes of every live peer also say that it has what we have: reached by doubling, and not below
    /// [`exchange_idle`](Self::exchange_idle). Without membership there are no probes.
    pub exchange_equal: Duration,
    /// How long a session waits for an answer before it asks again, after a first time that is as short as the round trips
    /// were; doubles with each further try.
    pub retry: Duration,
    /// The least time between the starts of two sessions: one session mends what many lost pushes left behind.
    pub pull_pause: Duration,
    /// Packets that a peer may send in answer to one request.
    pub window: u16,
}

impl SyncConfig {
    /// The defaults: a change reaches a 64-server PoP in a few tens of milliseconds, and idle costs 1 packet a second, or
    /// 8 seconds with membership.
    pub const DEFAULT: Self = Self {
        push_delay: Duration::from_millis(10),
        exchange: Duration::from_millis(250),
        exchange_idle: Duration::from_secs(1),
        exchange_equal: Duration::from_secs(8),
        retry: Duration::from_millis(40),
        pull_pause: Duration::from_millis(40),
        window: 16,
    };
}

impl Default for SyncConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Between the parts of what is pushed in several packets.
const PUSH_PAUSE: Duration = Duration::from_millis(1);
/// Times that a session repeats a request before it gives the peer up.
const TRIES: u32 = 6;
/// The least time that the answer to a request is waited for the first two times. A peer whose answers wait for its budget
/// is asked once more in vain.
const ANSWER_MIN: Duration = Duration::from_millis(4);
/// The least time that a packet which others have overtaken is waited for.
const STRAGGLERS: Duration = Duration::from_millis(1);
/// The longest pause after the table was too full to take a record (R3).
const FULL_PAUSE_MAX: Duration = Duration::from_secs(10);

/// A session in which we pull from one peer.
#[derive(Clone, Copy, Debug)]
struct Pull {
    peer: Slot,
    deadline: Instant,
    /// Times that we asked in vain: nothing came, or nothing that brought us on.
    tries: u32,
    /// When we last asked; `None` once something has come that brought us on.
    asked: Option<Instant>,
    /// The answer's last packet has come, perhaps ahead of others.
    last_seen: bool,
    /// Anything in this session has brought us on.
    progress: bool,
}

/// What came of sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SyncStats {
    /// Sessions begun.
    pub sessions: u64,
    /// Sessions that ended with a commit.
    pub sessions_committed: u64,
    /// Requests repeated because nothing came.
    pub retries: u64,
    /// Sessions given up because the peer was silent, or repeated itself.
    pub peers_lost: u64,
    /// Versions sent to find out whether anything is missing.
    pub exchanges: u64,
}

/// What the node sees when time passes.
pub(crate) struct Seen<F: Fn(Slot) -> bool, H: Fn() -> u64> {
    /// The peers to talk to.
    pub(crate) live: SlotSet,
    /// Those that a start waits for (R4.2).
    pub(crate) waiting: SlotSet,
    /// Whether a peer has what we lack.
    pub(crate) lacks: F,
    /// Nothing has changed since the last exchange.
    pub(crate) quiet: bool,
    /// The hash of what we account for.
    pub(crate) version_hash: H,
    /// A random number, for the choice of a peer.
    pub(crate) turn: u64,
}

/// The schedule of versions, pulls and pushes.
pub(crate) struct Sync {
    config: SyncConfig,
    pull: Option<Pull>,
    /// Peers that showed to have what we lack.
    behind: SlotSet,
    next_pull: Instant,
    /// No earlier are those asked again, all at once, that a start waits for.
    next_round: Instant,
    /// Who sent the last record that did not fit, until we have committed from it.
    full_of: Option<Slot>,
    /// The pause that followed.
    full_pause: Duration,
    next_exchange: Instant,
    interval: Duration,
    /// When fresh writes are to be pushed; never, when there are none.
    push_at: Instant,
    /// Smoothed time from a request to its first answer (RFC 6298's estimator, without the variance).
    round_trip: Duration,
    /// The peers whose last probe said that they have just what we had when this was the hash of it.
    equal: (u64, SlotSet),
    /// Peers that our version is to be sent to.
    versions: SlotSet,
    /// Those among them whose own version calls for it.
    replies: SlotSet,
    last_peer: Slot,
    pub(crate) stats: SyncStats,
}

impl Sync {
    pub(crate) fn new(config: SyncConfig, me: Slot, first_exchange: Instant) -> Self {
        Self {
            config,
            pull: None,
            behind: SlotSet::EMPTY,
            next_pull: Instant::ZERO,
            next_round: Instant::ZERO,
            full_of: None,
            full_pause: config.pull_pause,
            next_exchange: first_exchange,
            interval: config.exchange,
            push_at: Instant::NEVER,
            round_trip: Duration(config.retry.0 / 8),
            equal: (0, SlotSet::EMPTY),
            versions: SlotSet::EMPTY,
            replies: SlotSet::EMPTY,
            last_peer: me,
            stats: SyncStats::default(),
        }
    }

    // ---- what happened ----

    /// Own writes wait to be pushed; `full` when a packet's worth or more.
    pub(crate) fn on_write(&mut self, now: Instant, full: bool) {
        let at = if full { now } else { now + self.config.push_delay };
        self.push_at = self.push_at.min(at);
        self.stir(now);
    }

    /// What was pushed did not fit one packet. The rest follows by itself a moment later: a packet that another overtakes
    /// makes a gap, and a gap a pull.
    pub(crate) fn on_push_left(&mut self, now: Instant) {
        self.push_at = self.push_at.min(now + PUSH_PAUSE);
    }

    /// `peer` has something that we lack.
    pub(crate) fn on_behind(&mut self, now: Instant, peer: Slot) {
        self.behind.insert(peer);
        self.stir(now);
    }

    /// `peer` has to see our version, as its own showed.
    pub(crate) fn tell(&mut self, peer: Slot) {
        self.versions.insert(peer);
        self.replies.insert(peer);
    }

    /// A probe of `peer` said that the hash of what it accounts for is `hash`: equal to ours, or not. If not, somebody has
    /// something, but pushes on their way may bring it: no more than a reason to exchange soon.
    pub(crate) fn on_compared(&mut self, now: Instant, peer: Slot, hash: u64, equal: bool) {
        if !equal {
            self.equal.1.remove(peer);
            self.stir(now);
            return;
        }
        if self.equal.0 != hash {
            self.equal = (hash, SlotSet::EMPTY);
        }
        self.equal.1.insert(peer);
    }

    /// A delta came. `starting`: no write is allowed yet, so sessions need no pause.
    pub(crate) fn on_delta(&mut self, now: Instant, from: Slot, outcome: &DeltaOutcome, starting: bool) {
        if outcome.refused {
            self.pull = None;
            // Once for an answer, however many of its packets do not fit.
            if !self.is_full(now) {
                self.full_of = Some(from);
                self.full_pause = self.full_pause.times(2).min(FULL_PAUSE_MAX);
                self.next_pull = now + self.full_pause;
            }
            return;
        }
        let session = self.pull.filter(|pull| pull.peer == from);
        if outcome.committed {
            self.behind.remove(from);
            if self.full_of == Some(from) {
                self.full_of = None;
                self.full_pause = self.config.pull_pause;
            }
            if let Some(session) = session {
                self.pull = None;
                self.stats.sessions_committed += 1;
                self.next_pull = if starting { now } else { now + self.config.pull_pause };
                if session.progress {
                    self.next_round = now;
                }
            }
        } else if outcome.progress && (session.is_some() || self.pull.is_none() && !self.is_full(now)) {
            // What brings us no further was repeated, or came late: it shows nothing of the answer that we wait for.
            self.go_on(now, from, session, outcome);
        }
    }

    /// A packet of a long delta came that brought us on: more of the answer may follow, or it is time to ask on.
    fn go_on(&mut self, now: Instant, from: Slot, session: Option<Pull>, outcome: &DeltaOutcome) {
        // Without a session an exchange turned out to be long.
        let mut pull = session.unwrap_or_else(|| self.begin(now, from));
        // Of a request that was repeated nobody knows which one this answers (Karn's algorithm).
        if let Some(asked) = pull.asked.take().filter(|_| pull.tries == 0) {
            let sample = now.since(asked).0;
            self.round_trip = Duration((7 * self.round_trip.0 + sample) / 8);
        }
        pull = Pull { tries: 0, progress: true, last_seen: pull.last_seen || outcome.last, ..pull };
        if pull.last_seen && !outcome.gap {
            self.ask(now, pull);
        } else {
            // What has not come within two round trips was lost; until then it may only have been overtaken.
            let patience = self.round_trip.times(2).max(STRAGGLERS).min(self.config.retry);
            self.pull = Some(Pull { deadline: now + patience, ..pull });
        }
    }

    /// A session that has not asked yet.
    fn begin(&mut self, now: Instant, peer: Slot) -> Pull {
        self.stats.sessions += 1;
        Pull { peer, deadline: now, tries: 0, asked: None, last_seen: false, progress: false }
    }

    /// Asks the peer of a session, or gives it up after so many tries in vain.
    fn ask(&mut self, now: Instant, pull: Pull) {
        let Pull { peer, tries, .. } = pull;
        if tries > TRIES {
            self.pull = None;
            self.behind.remove(peer);
            self.next_pull = now + self.config.pull_pause;
            self.stats.peers_lost += 1;
            return;
        }
        self.versions.insert(peer);
        self.pull =
            Some(Pull { deadline: now + self.patience(tries), asked: Some(now), last_seen: false, ..pull });
    }

    /// Something changes: exchanges are worth their bytes again.
    fn stir(&mut self, now: Instant) {
        self.interval = self.config.exchange;
        self.next_exchange = self.next_exchange.min(now + self.interval);
    }

    // ---- time ----

    /// Moves timers on. Returns whether fresh writes are to be pushed now.
    pub(crate) fn tick(
        &mut self,
        now: Instant,
        seen: &Seen<impl Fn(Slot) -> bool, impl Fn() -> u64>,
    ) -> bool {
        let Seen { live, waiting, ref lacks, quiet, ref version_hash, turn } = *seen;
        if let Some(pull) = self.pull {
            if !live.contains(pull.peer) {
                self.pull = None;
            } else if now >= pull.deadline {
                self.stats.retries += u64::from(pull.tries < TRIES);
                self.ask(now, Pull { tries: pull.tries + 1, ..pull });
            }
        }
        if self.pull.is_none() && now >= self.next_pull {
            self.next_session(now, live, waiting, lacks);
        }
        if now >= self.next_exchange {
            let (hash, equal) = self.equal;
            let all_equal = live.difference(equal).is_empty() && hash == version_hash();
            self.exchange(now, live, quiet, all_equal, turn);
        }
        let push = now >= self.push_at;
        if push {
            self.push_at = Instant::NEVER;
        }
        push
    }

    /// Whether the table lately could not take a record (R3), so that it is not to be offered any for now: not at every turn,
    /// and not because of what else was in the same answer.
    fn is_full(&self, now: Instant) -> bool {
        self.full_of.is_some() && now < self.next_pull
    }

    /// Returns how long the answer to a request is waited for that follows `tries` in vain. One in twenty is lost on a bad
    /// link, so the first repeat comes as soon as the round trips allow; who does not answer that either is busy, or gone.
    fn patience(&self, tries: u32) -> Duration {
        let SyncConfig { retry, .. } = self.config;
        match tries {
            0 | 1 => self.round_trip.times(4).max(ANSWER_MIN).min(retry),
            _ => retry.times(1 << (tries - 2).min(u32::BITS)),
        }
    }

    fn next_session(&mut self, now: Instant, live: SlotSet, waiting: SlotSet, lacks: impl Fn(Slot) -> bool) {
        if !waiting.is_empty() {
            if now >= self.next_round {
                // All at once: each answers with one packet, and whose is not the last becomes the session. Who still waits
                // when that has ended may wait for one that is silent: asking the others faster brings nothing.
                self.versions = self.versions.union(waiting.intersection(live));
                self.next_round = now + self.config.pull_pause;
            }
            self.next_pull = self.next_round;
            return;
        }
        self.behind = self.behind.intersection(live);
        while let Some(peer) = self.behind.next_after(self.last_peer) {
            self.last_peer = peer;
            if lacks(peer) {
                let pull = self.begin(now, peer);
                return self.ask(now, pull);
            }
            // Another session has brought it meanwhile.
            self.behind.remove(peer);
        }
    }

    fn exchange(&mut self, now: Instant, live: SlotSet, quiet: bool, all_equal: bool, turn: u64) {
        let SyncConfig { exchange_idle, exchange_equal, .. } = self.config;
        let most = if all_equal { exchange_idle.max(exchange_equal) } else { exchange_idle };
        let doubled = self.interval.times(2).min(most);
        self.interval = if quiet { doubled } else { self.config.exchange };
        self.next_exchange = now + self.interval;
        if self.pull.is_none()
            && !self.is_full(now)
            && let Some(peer) = live.nth((turn % live.len().max(1) as u64) as usize)
        {
            self.stats.exchanges += 1;
            self.versions.insert(peer);
        }
    }

    /// Returns when [`tick`](Self::tick) has something to do next.
    pub(crate) fn next_tick(&self, starting: bool) -> Instant {
        let session = match self.pull {
            Some(pull) => pull.deadline,
            None if !self.behind.is_empty() || starting => self.next_pull,
            None => Instant::NEVER,
        };
        self.next_exchange.min(self.push_at).min(session)
    }

    // ---- what to send ----

    /// Returns the peers that our version is to be sent to.
    pub(crate) fn versions(&self) -> SlotSet {
        self.versions
    }

    /// Returns how to send our version to `peer`, which takes it off the list.
    pub(crate) fn take_version(&mut self, peer: Slot, starting: bool) -> Request {
        let reply = self.replies.contains(peer);
        self.versions.remove(peer);
        self.replies.remove(peer);
        let ours = self.pull.is_some_and(|pull| pull.peer == peer);
        Request {
            reply,
            force: ours || starting,
            // An answer asks for nothing; who starts finds out first who has more.
            window: if ours || !starting && !reply { self.config.window } else { 1 },
        }
    }
}

#[cfg(test)]
mod tests;
