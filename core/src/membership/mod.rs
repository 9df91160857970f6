//! Membership: who is in the PoP, and who of them is alive (SWIM with the Lifeguard extensions).
//!
//! Knows probes, suspicions and what the members say of each other. Must not know the map, nor how a packet is sent: it
//! marks what is due, and egress asks for it.
//!
//! Each period one member is pinged, in random order but every member once a round (Das, Gupta, Motivala 2002). No ack
//! in time, and three others are asked to ping it; still none, and it is suspected. A suspect that does not refute is
//! declared dead after a time that falls with each independent confirmation, and that grows while this server itself
//! seems slow (Dadgar, Phillips, Currey 2018, "Lifeguard"). What is known of a member is one of a chain of states, and
//! learning is taking the greater ([`Member`]), so gossip may be lost, duplicated and reordered.

mod dissemination;
mod health;
mod member;
mod probe;
mod suspicion;

use crate::id::{Address, Life, Slot, SlotSet};
use crate::rng::Rng;
use crate::time::{Duration, Instant};

use heapless::Vec;

pub(crate) use dissemination::ENTRIES;
use dissemination::Dissemination;
use health::Health;
pub use member::{Member, Meta, State};
use probe::Probes;
use suspicion::Suspicion;

/// The protocol's times and counts.
#[derive(Clone, Copy, Debug)]
pub struct SwimConfig {
    /// One member is probed each period. Default: 200 ms.
    pub period: Duration,
    /// How long a direct ping may take before others are asked. Default: 60 ms.
    pub timeout: Duration,
    /// Others asked to ping a member that did not answer. Default: 3.
    pub indirect: u8,
    /// How long a suspect has to refute once three others have confirmed the suspicion. Default: 500 ms.
    pub suspicion_min: Duration,
    /// The same while nobody confirms it. Default: 2 s.
    pub suspicion_max: Duration,
    /// How often a dead member is tried again, so that partitions heal. Default: 1 s.
    pub retry_dead: Duration,
}

impl SwimConfig {
    /// The defaults, for servers in one datacenter.
    pub const DEFAULT: Self = Self {
        period: Duration::from_millis(200),
        timeout: Duration::from_millis(60),
        indirect: 3,
        suspicion_min: Duration::from_millis(500),
        suspicion_max: Duration::from_secs(2),
        retry_dead: Duration::from_secs(1),
    };
}

impl Default for SwimConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What changed in the view of the members.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(crate) struct Change {
    pub(crate) slot: Slot,
    pub(crate) state: State,
}

/// Counters of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SwimStats {
    /// Members pinged directly.
    pub probes: u64,
    /// Members asked to ping another.
    pub indirect_probes: u64,
    /// Probes that nobody answered in time.
    pub failed_probes: u64,
    /// Members that we suspected by our own probe.
    pub suspicions: u64,
    /// Suspicions of ourselves that we refuted.
    pub refutations: u64,
    /// Members that we declared dead.
    pub deaths: u64,
    /// Acks that answered no probe under way.
    pub stale_acks: u64,
}

/// One server's view of the PoP.
pub(crate) struct Membership<const N: usize> {
    config: SwimConfig,
    me: Slot,
    members: [Member; N],
    suspicions: [Option<Suspicion>; N],
    probes: Probes<N>,
    spread: Dissemination<N>,
    health: Health,
    /// Members whose state changed since the node last looked.
    changed: SlotSet,
    next_period: Instant,
    next_retry: Instant,
    left: bool,
    pub(crate) stats: SwimStats,
}

/// Something for egress to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outgoing {
    /// Ping `to`; the ack repeats the number.
    Ping { to: Slot, number: u32 },
    /// Ask `to` to ping `target`.
    PingReq { to: Slot, target: Slot, number: u32 },
    /// Answer `to`'s ping; or, with a target, tell that this answered our ping on its behalf.
    Ack { to: Slot, number: u32, target: Option<Slot> },
}

impl<const N: usize> Membership<N> {
    pub(crate) fn new(config: SwimConfig, me: Slot, life: Life, address: Address, meta: Meta, now: Instant) -> Self {
        let mut members = [Member::UNKNOWN; N];
        members[me.index()] = Member { life, incarnation: 1, state: State::Alive, address, meta };
        let mut spread = Dissemination::new();
        spread.renew(me);
        Self {
            config,
            me,
            members,
            suspicions: [None; N],
            probes: Probes::new(),
            spread,
            health: Health::new(),
            changed: SlotSet::EMPTY,
            next_period: now,
            next_retry: now + config.retry_dead,
            left: false,
            stats: SwimStats::default(),
        }
    }

    /// Returns what is known of `slot`.
    pub(crate) fn member(&self, slot: Slot) -> &Member {
        &self.members[slot.index()]
    }

    /// Returns the members that are alive or only suspected, ourselves among them.
    pub(crate) fn live(&self) -> SlotSet {
        self.those(State::is_live)
    }

    fn those(&self, of: impl Fn(State) -> bool) -> SlotSet {
        (0..N).map(Slot::at).filter(|slot| of(self.members[slot.index()].state)).collect()
    }

    fn known(&self) -> SlotSet {
        self.those(|state| state != State::Unknown)
    }

    fn others(&self) -> SlotSet {
        self.live().without(self.me)
    }

    /// Takes the members whose state changed since the last call.
    pub(crate) fn take_changes(&mut self) -> impl Iterator<Item = Change> + use<'_, N> {
        let changed = core::mem::take(&mut self.changed);
        changed.iter().map(|slot| Change { slot, state: self.members[slot.index()].state })
    }

    // ---- what others say ----

    /// Learns what a packet says of a member: the greater of that and what is known stands.
    pub(crate) fn learn(&mut self, now: Instant, from: Slot, slot: Slot, news: &Member) {
        if slot == self.me {
            self.refute(news);
            return;
        }
        let known = &self.members[slot.index()];
        if news.state == State::Suspect && known.state == State::Suspect && news.supports(known) {
            self.confirm(now, from, slot);
            return;
        }
        if !news.replaces(known) {
            return;
        }
        if news.state != known.state || news.life != known.life {
            self.changed.insert(slot);
        }
        self.members[slot.index()] = *news;
        self.spread.renew(slot);
        match news.state {
            State::Suspect => self.begin_suspicion(now, from, slot),
            _ => self.suspicions[slot.index()] = None,
        }
    }

    /// A packet of `slot` came in the life that is known: it was alive when it sent that. Only its own word, in a
    /// higher incarnation, clears a suspicion: the packet may be old.
    pub(crate) fn heard(&mut self, slot: Slot, life: Life, address: Address) {
        let known = &mut self.members[slot.index()];
        if !known.life.is_known() || life > known.life {
            // Its own entry follows; until then it is known to exist.
            *known = Member { life, incarnation: 0, state: State::Alive, address, meta: known.meta };
            self.changed.insert(slot);
            self.suspicions[slot.index()] = None;
            self.spread.greet(slot, self.known());
            self.spread.renew(slot);
        }
    }

    /// Somebody thinks less of us than we do: say otherwise in a higher incarnation.
    fn refute(&mut self, news: &Member) {
        let me = &mut self.members[self.me.index()];
        let wrong = news.life.id == me.life.id && news.state != State::Alive && news.incarnation >= me.incarnation;
        if !wrong || self.left {
            return;
        }
        me.incarnation = news.incarnation.saturating_add(1);
        self.stats.refutations += 1;
        self.health.worsen();
        self.spread.renew(self.me);
    }

    fn begin_suspicion(&mut self, now: Instant, by: Slot, slot: Slot) {
        self.suspicions[slot.index()] = Some(Suspicion::new(now, by));
    }

    fn confirm(&mut self, now: Instant, by: Slot, slot: Slot) {
        let suspicion = self.suspicions[slot.index()].get_or_insert(Suspicion::new(now, by));
        if suspicion.confirm(by) {
            // An independent confirmation is worth passing on.
            self.spread.renew(slot);
        }
    }

    /// Our generation was raised, or our metadata changed.
    pub(crate) fn restate(&mut self, life: Life, meta: Meta) {
        let me = &mut self.members[self.me.index()];
        me.life = life;
        me.meta = meta;
        me.incarnation = me.incarnation.saturating_add(1);
        self.spread.renew(self.me);
    }

    /// Says that we leave: the others stop probing us at once.
    pub(crate) fn leave(&mut self) {
        self.left = true;
        self.members[self.me.index()].state = State::Left;
        self.changed.insert(self.me);
        self.spread.renew(self.me);
    }

    // ---- time ----

    /// Moves the protocol on.
    pub(crate) fn tick(&mut self, now: Instant, rng: &mut Rng) {
        if self.left {
            return;
        }
        if self.probes.wants_help(now) {
            let helpers = self.others();
            self.stats.indirect_probes += self.probes.ask_help(helpers, self.config.indirect, rng);
        }
        if now >= self.next_period {
            self.end_probe(now);
            self.next_period = now + self.health.stretch(self.config.period);
            let timeout = self.health.stretch(self.config.timeout);
            if self.probes.begin(now + timeout, self.others(), rng) {
                self.stats.probes += 1;
            }
        }
        if now >= self.next_retry {
            self.next_retry = now + self.config.retry_dead;
            self.probes.retry(self.those(|state| state == State::Dead), rng);
        }
        self.end_suspicions(now);
    }

    /// The period is over: a member that did not answer in it is suspected.
    fn end_probe(&mut self, now: Instant) {
        let Some(target) = self.probes.unanswered() else { return };
        self.stats.failed_probes += 1;
        self.health.worsen();
        let member = &mut self.members[target.index()];
        match member.state {
            State::Alive => {
                member.state = State::Suspect;
                self.stats.suspicions += 1;
                self.changed.insert(target);
                self.spread.renew(target);
                self.begin_suspicion(now, self.me, target);
            }
            State::Suspect => self.confirm(now, self.me, target),
            State::Unknown | State::Dead | State::Left => {}
        }
    }

    fn end_suspicions(&mut self, now: Instant) {
        for slot in self.those(|state| state == State::Suspect).iter() {
            let Some(suspicion) = self.suspicions[slot.index()] else { continue };
            if now < self.deadline(&suspicion) {
                continue;
            }
            self.suspicions[slot.index()] = None;
            self.members[slot.index()].state = State::Dead;
            self.stats.deaths += 1;
            self.changed.insert(slot);
            self.spread.renew(slot);
        }
    }

    fn deadline(&self, suspicion: &Suspicion) -> Instant {
        let (min, max) = (self.config.suspicion_min, self.config.suspicion_max);
        suspicion.deadline(self.health.stretch(min), self.health.stretch(max), self.others().len())
    }

    /// Returns when [`tick`](Self::tick) has something to do next.
    pub(crate) fn next_tick(&self) -> Instant {
        if self.left {
            return Instant::NEVER;
        }
        let suspicions = self.suspicions.iter().flatten().map(|suspicion| self.deadline(suspicion));
        let timers = self.next_period.min(self.next_retry).min(self.probes.help_at());
        suspicions.fold(timers, Instant::min)
    }

    // ---- probes ----

    /// `from` pings us: an ack is due, with the number of its latest ping.
    pub(crate) fn on_ping(&mut self, from: Slot, number: u32) {
        self.probes.owe_ack(from, number);
    }

    /// `from` asks us to ping `target` for it.
    pub(crate) fn on_ping_req(&mut self, from: Slot, target: Slot, number: u32) {
        if target == self.me {
            self.probes.owe_ack(from, number);
        } else {
            self.probes.relay(from, target, number);
        }
    }

    /// `from` answers, or tells that `target` answered it on our behalf.
    pub(crate) fn on_ack(&mut self, from: Slot, target: Slot, number: u32) {
        match self.probes.on_ack(from, target, number) {
            probe::Acked::Ours => self.health.improve(),
            probe::Acked::Relayed => {}
            probe::Acked::Stale => self.stats.stale_acks += 1,
        }
    }

    /// Returns what is to be sent next, and takes it off what is due.
    pub(crate) fn outgoing(&mut self) -> Option<Outgoing> {
        self.probes.outgoing()
    }

    /// Whether anything is to be sent.
    pub(crate) fn is_due(&self) -> bool {
        self.probes.is_due()
    }

    /// Returns the members to be told of in a packet for `to` with room for `room` entries. What is said of `to` itself
    /// comes first, if it may want to refute it; then the least often told. `rotate` adds one more, in rotation.
    pub(crate) fn tell(&mut self, to: Slot, room: usize, rotate: bool) -> Vec<Slot, ENTRIES> {
        let limit = dissemination::limit(self.others().len());
        let first = matches!(self.members[to.index()].state, State::Suspect | State::Dead).then_some(to);
        let known = self.known();
        self.spread.choose(to, first, rotate.then_some(known), room, limit)
    }
}
