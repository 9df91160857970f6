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

mod config;
mod dissemination;
mod health;
mod member;
mod probe;
mod suspicion;
mod timers;

use crate::id::{Address, Life, Slot, SlotSet};
use crate::teeth::Tooth;
use crate::time::{Duration, Instant};

use heapless::Vec;

pub use config::{SwimConfig, SwimStats};
use dissemination::Dissemination;
pub(crate) use dissemination::ENTRIES;
use health::Health;
pub use member::{Member, Meta, State};
use probe::Probes;
pub(crate) use suspicion::SUSPECTORS;
use suspicion::{Looks, Suspicion};

/// How often one of the dead is tried once one has answered, until none has for as long as we else wait between tries.
const RETRY_ON: Duration = Duration::from_millis(20);

/// One server's view of the PoP.
pub(crate) struct Membership<const N: usize> {
    config: SwimConfig,
    me: Slot,
    members: [Member; N],
    suspicions: [Option<Suspicion>; N],
    /// Those of whom there is one: few, so that nobody looks through all of them at each poll.
    suspects: SlotSet,
    probes: Probes<N>,
    spread: Dissemination<N>,
    health: Health,
    /// Members whose state changed since the node last looked.
    changed: SlotSet,
    next_period: Instant,
    next_gossip: Instant,
    next_retry: Instant,
    retry_on_until: Instant,
    /// Members that were told of everybody since they joined.
    greeted: SlotSet,
    pub(crate) stats: SwimStats,
    #[cfg(popmap_teeth)]
    pub(crate) tooth: Option<Tooth>,
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
    /// Tell `to` what is new.
    Gossip { to: Slot },
}

impl<const N: usize> Membership<N> {
    /// Returns the view of a server in slot `me` that says `own` of itself and has heard of nobody else. The first
    /// period is over at `first`, which should differ among servers that start together.
    pub(crate) fn new(config: SwimConfig, me: Slot, own: Member, now: Instant, first: Instant) -> Self {
        let mut members = [Member::UNKNOWN; N];
        members[me.index()] = own;
        let mut spread = Dissemination::new();
        spread.renew(me);
        Self {
            config,
            me,
            members,
            suspicions: [None; N],
            suspects: SlotSet::EMPTY,
            probes: Probes::new(),
            spread,
            health: Health::new(),
            changed: SlotSet::EMPTY,
            next_period: first,
            next_gossip: now,
            next_retry: now + config.retry_dead,
            retry_on_until: now,
            greeted: SlotSet::EMPTY,
            stats: SwimStats::default(),
            #[cfg(popmap_teeth)]
            tooth: None,
        }
    }

    /// Whether a rule is broken on purpose; never, outside the negative controls.
    #[cfg(popmap_teeth)]
    fn broken(&self, tooth: Tooth) -> bool {
        self.tooth == Some(tooth)
    }

    #[cfg(not(popmap_teeth))]
    #[allow(clippy::unused_self, reason = "the negative controls have a choice here")]
    const fn broken(&self, _: Tooth) -> bool {
        false
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

    /// Returns the members ever heard of, ourselves among them.
    pub(crate) fn known(&self) -> SlotSet {
        self.those(|state| state != State::Unknown)
    }

    /// Returns the members that are there or are tried again by themselves: all ever heard of but those that left.
    pub(crate) fn expected(&self) -> SlotSet {
        self.those(|state| !matches!(state, State::Unknown | State::Left))
    }

    fn others(&self) -> SlotSet {
        self.live().without(self.me)
    }

    /// Takes the members of whom something changed since the last call.
    pub(crate) fn take_changes(&mut self) -> SlotSet {
        core::mem::take(&mut self.changed)
    }

    // ---- what others say ----

    /// Learns what a packet of `from` says of a member, and by whom it is suspected if it is: the greater of that and
    /// what is known stands.
    pub(crate) fn learn(&mut self, now: Instant, from: Slot, slot: Slot, news: &Member, by: SlotSet) {
        if slot == self.me {
            self.refute(from, news);
            return;
        }
        let unnumbered = self.broken(Tooth::IncarnationIgnored);
        let known = &mut self.members[slot.index()];
        let by = by.without(slot);
        if news.state == State::Suspect && news.supports(known) {
            self.confirm(now, slot, by);
            return;
        }
        let worth = |member: &Member| Member { incarnation: 0, ..*member };
        if !news.replaces(known) || unnumbered && !worth(news).replaces(&worth(known)) {
            return;
        }
        // Who does not know its own address leaves it to the others to see where its packets come from.
        let address = if news.address == Address::default() { known.address } else { news.address };
        let news = Member { address, ..*news };
        let reborn = news.life.id != known.life.id;
        if (news.state, news.life, address, news.meta) != (known.state, known.life, known.address, known.meta)
        {
            self.changed.insert(slot);
        }
        *known = news;
        self.spread.renew(slot);
        if reborn {
            self.met(slot);
        }
        let before = self.probes.newest();
        self.suspect(slot, (news.state == State::Suspect).then(|| Suspicion::new(now, by, before)));
    }

    /// A packet of `slot` came in this life. If it is the life that is known, it was alive when it sent that; but only
    /// its own word, in a higher incarnation, clears a suspicion: the packet may be old.
    pub(crate) fn heard(&mut self, slot: Slot, life: Life, address: Address) {
        let known = &mut self.members[slot.index()];
        if life <= known.life {
            return;
        }
        let reborn = life.id != known.life.id;
        // Its own entry follows; until then it is known to exist.
        *known = Member { life, incarnation: 0, state: State::Alive, address, meta: known.meta };
        self.changed.insert(slot);
        self.suspect(slot, None);
        self.spread.renew(slot);
        if reborn {
            self.met(slot);
        }
    }

    /// A member is new to us, or back in another life: it hears from ourselves who we are.
    fn met(&mut self, slot: Slot) {
        self.greeted.remove(slot);
        self.spread.owe(slot, self.me);
    }

    /// Somebody says of us what would stand over what we say: say otherwise in a higher incarnation.
    fn refute(&mut self, from: Slot, news: &Member) {
        if self.broken(Tooth::NotRefuted) {
            return;
        }
        let me = &mut self.members[self.me.index()];
        if news.life != me.life || !news.replaces(me) {
            if news.replaces_not(me) {
                // It has missed what we last said.
                self.spread.owe(from, self.me);
            }
            return;
        }
        let Some(incarnation) = news.incarnation.checked_add(1) else {
            // Nothing stands over that but another life.
            self.stats.unrefuted += 1;
            return;
        };
        me.incarnation = incarnation;
        self.stats.refutations += 1;
        self.health.worsen();
        self.spread.renew(self.me);
    }

    /// Begins a suspicion, or ends one.
    fn suspect(&mut self, slot: Slot, suspicion: Option<Suspicion>) {
        self.suspicions[slot.index()] = suspicion;
        if suspicion.is_some() {
            self.suspects.insert(slot);
        } else {
            self.suspects.remove(slot);
        }
    }

    fn looks(&self) -> Looks {
        Looks { evenly: self.config.looks, last: self.config.timeout }
    }

    /// These suspect a suspect too.
    fn confirm(&mut self, now: Instant, slot: Slot, by: SlotSet) {
        let looks = self.looks();
        let suspicion = self.suspicions[slot.index()].as_mut();
        if suspicion.is_some_and(|suspicion| suspicion.confirm(now, by, looks)) {
            // An independent confirmation is worth passing on.
            self.spread.renew(slot);
        }
    }

    /// Returns those who suspect `slot`, as far as they count.
    pub(crate) fn suspected_by(&self, slot: Slot) -> SlotSet {
        self.suspicions[slot.index()].as_ref().map_or(SlotSet::EMPTY, Suspicion::by)
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
        self.members[self.me.index()].state = State::Left;
        self.changed.insert(self.me);
        self.spread.renew(self.me);
    }

    pub(crate) fn has_left(&self) -> bool {
        self.members[self.me.index()].state == State::Left
    }

    // ---- probes ----

    /// `from` pings us: an ack is due, with the number of its latest ping. One that is `joining` is told of everybody.
    pub(crate) fn on_ping(&mut self, from: Slot, number: u32, joining: bool) {
        self.probes.owe_ack(from, number);
        if joining && !self.greeted.contains(from) {
            self.greeted.insert(from);
            self.spread.greet(from, self.known());
        }
    }

    /// `from` asks us to ping `target` for it.
    pub(crate) fn on_ping_req(&mut self, from: Slot, target: Slot, number: u32) {
        if target == self.me {
            self.probes.owe_ack(from, number);
        } else if self.member(target).state != State::Unknown {
            self.probes.relay(from, target, number);
        }
    }

    /// `from` answers, or tells that `target` answered it on our behalf.
    pub(crate) fn on_ack(&mut self, now: Instant, from: Slot, target: Slot, number: u32) {
        let newest = self.probes.newest();
        // Without looks only a refutation counts, as in SWIM.
        let counts = from == target && self.config.looks > 0;
        let suspicion = self.suspicions[from.index()].as_mut().filter(|_| counts);
        let looked_for = suspicion.is_some_and(|suspicion| suspicion.answered(now, number, newest));
        let number =
            if self.broken(Tooth::StaleAckTaken) { self.probes.awaited().unwrap_or(number) } else { number };
        match self.probes.on_ack(from, target, number) {
            probe::Acked::Ours => self.health.improve(),
            // One of the dead is back; so may be others.
            probe::Acked::Retried => {
                self.retry_on_until = now + self.config.retry_dead;
                self.next_retry = self.next_retry.min(now + RETRY_ON);
            }
            probe::Acked::Relayed => {}
            probe::Acked::Stale => self.stats.stale_acks += u64::from(!looked_for),
        }
    }

    /// Whether there is news to tell.
    pub(crate) fn has_news(&self) -> bool {
        self.spread.has_news(self.others())
    }

    /// Returns how many members `to` has still to be told of.
    pub(crate) fn owed(&self, to: Slot) -> u8 {
        self.spread.owed(to)
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
    /// comes first, if it may want to refute it; then the least often told. `rotate` adds one more, in rotation. To
    /// ourselves stands for to anybody: only who we are.
    pub(crate) fn tell(&mut self, to: Slot, room: usize, rotate: bool) -> Vec<Slot, ENTRIES> {
        let doubted = matches!(self.member(to).state, State::Suspect | State::Dead | State::Left);
        let first = if self.has_left() || to == self.me { Some(self.me) } else { doubted.then_some(to) };
        let room = if to == self.me { room.min(1) } else { room };
        let rotate = if rotate { self.known() } else { SlotSet::EMPTY };
        self.spread.choose(to, first, rotate, room, self.others())
    }
}

#[cfg(test)]
mod tests;
