//! The adversary: what goes wrong when, drawn from the seed.
//!
//! Knows which episodes begin when, how long they last and what follows from them. Must not know nodes, nor how a fault
//! is done.

use popmap_core::limits::QUARANTINE;
use popmap_core::rng::Rng;
use popmap_core::time::{Duration, Instant};

use super::network::LinkFault;
use super::plan::{Episode, Generation, LEAPS, Plan, pick};

/// A server that does not answer is declared dead within this time, mostly: a period of probes with two timeouts, and a
/// suspicion.
const FOUND_DEAD_MS: u64 = 4_000;
/// Lives that may follow from one that is forgotten: its own next, and those of servers that took records from it.
const LIVES_TO_FORGET: usize = 8;
/// Ends that a second server in a slot may have, beside the servers' own.
pub const SECONDS: usize = 2;

/// Something to be done to the PoP now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// Links are faulty for a while.
    Link(LinkFault),
    /// A server stops, and its memory is gone.
    Crash(usize),
    /// A server that does not run starts.
    Start(usize, Generation),
    /// A process stands still for a while; when `frozen`, its clock too.
    Pause {
        /// The server.
        server: usize,
        /// For how long.
        span: Duration,
        /// Whether the clock stands still with it.
        frozen: bool,
    },
    /// A clock leaps, by so many nanoseconds.
    Leap(usize, i64),
    /// A second server starts at this end, in the slot of another, with a generation so far above the other's.
    Second(usize, usize, i64),
    /// A server says goodbye.
    Leave(usize),
    /// A server tells another weight.
    Reweigh(usize, u16),
    /// The operator of the first server forgets the slot of the second there.
    Forget(usize, usize),
    /// So many nanoseconds pass for all clocks, and nothing is on the way.
    Days(u64),
}

/// What the adversary is told of the PoP.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Ends whose server runs, a bit each.
    pub running: u128,
    /// Lives for which there is still memory, beside those of the end.
    pub lives_left: usize,
}

impl View {
    fn runs(&self, server: usize) -> bool {
        self.running >> server & 1 == 1
    }
}

/// What goes wrong, and when.
pub struct Adversary {
    rng: Rng,
    servers: usize,
    span: Duration,
    tombstones: bool,
    generations: Vec<Generation>,
    /// When each kind of episode begins next.
    next: Vec<(Instant, Episode, Duration)>,
    /// What follows from episodes that have begun.
    scheduled: Vec<(Instant, Act)>,
    /// How far each clock has leapt forward and backward.
    leapt: Vec<(u64, u64)>,
    /// Until when each server is taken to be gone by operators, who ask nothing of it.
    gone: Vec<Instant>,
    /// The only server that is ever forgotten, where generations are lost.
    victim: Option<usize>,
    /// It does not come back.
    for_good: bool,
}

impl Adversary {
    /// Draws when everything begins; nothing does before `first`.
    pub fn new(plan: &Plan, first: Instant) -> Self {
        let mut rng = Rng::new(plan.seed ^ 0x00fa_0175);
        let begins = |&(episode, every): &(Episode, Duration)| {
            (first + Duration(rng.below(every.0.max(1))), episode, every)
        };
        let next = plan.episodes.iter().map(begins).collect();
        Self {
            rng,
            servers: plan.servers,
            span: plan.span,
            tombstones: plan.has_tombstones(),
            generations: plan.generations.clone(),
            next,
            scheduled: Vec::new(),
            leapt: vec![(0, 0); plan.servers],
            gone: vec![Instant::ZERO; plan.servers],
            victim: plan.gone,
            for_good: plan.gone.is_some(),
        }
    }

    /// Returns when there is something to do next.
    pub fn next(&self) -> Instant {
        let begins = self.next.iter().map(|(at, ..)| *at);
        begins.chain(self.scheduled.iter().map(|(at, _)| *at)).min().unwrap_or(Instant::NEVER)
    }

    /// Returns something to be done by `now`, or `None` when there is nothing.
    pub fn act(&mut self, now: Instant, view: &View) -> Option<Act> {
        loop {
            if let Some(place) = self.scheduled.iter().position(|(at, _)| *at <= now) {
                return Some(self.scheduled.remove(place).1);
            }
            let place = self.next.iter().position(|(at, ..)| *at <= now)?;
            let (_, episode, every) = self.next[place];
            self.next[place].0 = now + Duration(every.0 / 2 + self.rng.below(every.0.max(1)));
            self.begin(now, episode, view);
        }
    }

    /// A server was fenced, or its life forgotten: its operator stops it after a while, and starts it anew unless it was the
    /// second in its slot.
    pub fn over(&mut self, now: Instant, server: usize) {
        let stop = now + self.between(200, 3_000);
        self.scheduled.push((stop, Act::Crash(server)));
        if server < self.servers {
            let start = stop + self.between(100, 2_000);
            self.scheduled.push((start, Act::Start(server, Generation::Kept)));
        }
    }

    fn between(&mut self, least_ms: u64, most_ms: u64) -> Duration {
        Duration::from_millis(least_ms + self.rng.below(most_ms - least_ms + 1))
    }

    fn any(&mut self) -> usize {
        self.rng.below(self.servers as u64) as usize
    }

    /// A random set of servers, neither none nor all.
    fn side(&mut self) -> u128 {
        let all = (1u128 << self.servers) - 1;
        let one = 1u128 << self.any();
        let bits = u128::from(self.rng.next_u64());
        // Halves, a few, one alone.
        let side = match self.rng.below(3) {
            0 => bits,
            1 => bits & u128::from(self.rng.next_u64()) & u128::from(self.rng.next_u64()),
            _ => one,
        };
        let side = (side | one) & all;
        if side == all { all & !one } else { side }
    }

    fn begin(&mut self, now: Instant, episode: Episode, view: &View) {
        let server = self.any();
        let everyone = u128::MAX;
        match episode {
            Episode::Partition => {
                let (side, until) = (self.side(), now + self.between(200, 12_000));
                self.cut(now, side, everyone & !side, until);
                self.cut(now, everyone & !side, side, until);
            }
            Episode::OneWay => {
                let (to, until) = (self.side() & !(1 << server), now + self.between(200, 8_000));
                self.cut(now, 1 << server, to, until);
            }
            Episode::Slow => {
                let delay = self.between(5, 300);
                let until = now + self.between(500, 8_000);
                for (from, to) in [(1 << server, everyone), (everyone, 1 << server)] {
                    self.link(now, LinkFault { from, to, loss_ppm: 0, delay, until });
                }
            }
            Episode::Storm => {
                let (from, to) = (self.side(), self.side());
                let loss_ppm = pick(&mut self.rng, &[300_000, 600_000, 900_000]);
                let until = now + self.between(200, 5_000);
                self.link(now, LinkFault { from, to, loss_ppm, delay: Duration::ZERO, until });
            }
            Episode::Crash => {
                let away = self.between(50, 4_000);
                self.crash(now, server, away, view);
            }
            Episode::MassCrash => {
                let side = self.side();
                let all = self.rng.below(4) == 0;
                let away = self.between(50, 3_000);
                let those = (0..self.servers).filter(|server| all || side >> server & 1 == 1);
                those.collect::<Vec<_>>().into_iter().for_each(|server| self.crash(now, server, away, view));
            }
            Episode::Absence => {
                let away = Duration(self.span.0 / 4 + self.rng.below(self.span.0));
                self.crash(now, server, away, view);
            }
            Episode::Leave if view.runs(server) => {
                self.scheduled.push((now, Act::Leave(server)));
                let away = self.between(50, 6_000);
                let stops = now + self.between(100, 600);
                self.crash(stops, server, away, view);
            }
            Episode::Pause | Episode::Freeze => {
                let most = pick(&mut self.rng, &[300, 2_000, 6_000]);
                let span = self.between(50, most);
                let frozen = episode == Episode::Freeze;
                self.scheduled.push((now, Act::Pause { server, span, frozen }));
            }
            Episode::Forward => self.leap_forward(now, server),
            Episode::Backward => {
                // Its time stands still until the clock has caught up.
                let by = self
                    .between(1, 2_000)
                    .0
                    .min(Duration::from_secs(4).0.saturating_sub(self.leapt[server].1));
                self.leapt[server].1 += by;
                self.scheduled.push((now, Act::Leap(server, -(by as i64))));
            }
            Episode::Second if view.lives_left > 0 => {
                let end = self.servers + self.rng.below(SECONDS as u64) as usize;
                let above = pick(&mut self.rng, &[-1, 0, 0, 1, 5]);
                self.scheduled.push((now, Act::Second(end, server, above)));
                let stops = now + self.between(1_000, 10_000);
                self.scheduled.push((stops, Act::Crash(end)));
            }
            Episode::Reweigh => {
                let weight = pick(&mut self.rng, &[0, 50, 100, 400]);
                self.scheduled.push((now, Act::Reweigh(server, weight)));
            }
            Episode::Days => {
                let days = 1 + self.rng.below(30);
                self.scheduled.push((now, Act::Days(Duration::from_secs(days * 86_400).0)));
            }
            Episode::Forgotten => self.forget(now, server, view),
            Episode::Leave | Episode::Second => {}
        }
    }

    /// A server stops, or is cut off, and operators take it to be gone: they forget it at one other server, at some, or at
    /// all, each when it gets round to it. Then it is back, with an old table or a new life; or it stays away for good.
    fn forget(&mut self, now: Instant, server: usize, view: &View) {
        let server = self.victim.unwrap_or(server);
        if self.generations != [Generation::Kept] {
            // Who lost its generation, and would be told of that only by one that is refused, is beyond the protocol.
            self.victim = Some(server);
        }
        if self.gone[server] > now || view.lives_left < LIVES_TO_FORGET {
            return;
        }
        let away = self.between(FOUND_DEAD_MS, 30_000);
        let returns = if self.for_good { Instant::NEVER } else { now + away };
        self.gone[server] = returns;
        let (asked, one) = (self.side(), self.any());
        let asked = match self.rng.below(3) {
            0 => 1 << one,
            1 => asked,
            _ => u128::MAX,
        };
        if self.for_good {
            self.scheduled.retain(|(_, act)| !matches!(act, Act::Start(end, _) if *end == server));
            self.scheduled.push((now, Act::Crash(server)));
        } else if self.rng.below(2) == 0 {
            self.crash(now, server, away, view);
        } else {
            self.cut(now, 1 << server, u128::MAX, returns);
            self.cut(now, u128::MAX, 1 << server, returns);
        }
        let is_asked = |&at: &usize| asked >> at & 1 == 1 && self.gone[at] <= now;
        let asked: Vec<usize> = (0..self.servers).filter(is_asked).collect();
        for at in asked {
            // Some only once it is back: refused, or wrong.
            let when = now + self.between(FOUND_DEAD_MS / 2, away.as_millis() + 2_000);
            self.scheduled.push((when, Act::Forget(at, server)));
        }
    }

    fn leap_forward(&mut self, now: Instant, server: usize) {
        let most = if self.tombstones {
            LEAPS.0.saturating_sub(self.leapt[server].0)
        } else {
            pick(&mut self.rng, &[2, 60, 3_600]) * 1_000_000_000
        };
        let by = self.rng.below(most.max(1));
        self.leapt[server].0 += by;
        self.scheduled.push((now, Act::Leap(server, by as i64)));
    }

    fn cut(&mut self, now: Instant, from: u128, to: u128, until: Instant) {
        self.link(now, LinkFault { from, to, loss_ppm: 1_000_000, delay: Duration::ZERO, until });
    }

    fn link(&mut self, now: Instant, fault: LinkFault) {
        self.scheduled.push((now, Act::Link(fault)));
    }

    fn crash(&mut self, now: Instant, server: usize, away: Duration, view: &View) {
        if view.lives_left == 0 || !view.runs(server) {
            return;
        }
        self.scheduled.push((now, Act::Crash(server)));
        let generation = self.generations[self.rng.below(self.generations.len() as u64) as usize];
        // With neither a file nor a clock a driver is silent first.
        let silence = if generation == Generation::Lost { QUARANTINE } else { Duration::ZERO };
        self.scheduled.push((now + away + silence, Act::Start(server, generation)));
    }
}
