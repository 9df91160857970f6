//! Where membership meets the rest: who is alive decides whom the map waits for, pushes to and shares keys with.
//!
//! The only place that turns members into wire entries and back.

use heapless::Vec;

use super::{Node, Notice};
use crate::id::{Address, Life, Slot, SlotSet};
use crate::limits::{GENERATION_TOLD_MAX, PAYLOAD_MIN};
use crate::map::Phase;
use crate::membership::{ENTRIES, Member, Membership, Meta, Outgoing, SUSPECTORS, State};
use crate::time::{Duration, Instant};
use crate::wire::{Envelope, HEADER, Kind, LifeNotice, MEMBER, MemberEntry, Members, Probe, ProbeFixed};

const _: () = {
    assert!(HEADER + size_of::<ProbeFixed>() + ENTRIES * MEMBER <= PAYLOAD_MIN);
    assert!(SUSPECTORS == 4, "as many as an entry has room for");
};

/// Seeds that a node remembers.
pub(super) const SEEDS: usize = 8;
/// How often a seed is asked while nobody is known, and how soon again while it has more to tell.
const JOIN: Duration = Duration::from_millis(100);
const JOIN_ON: Duration = Duration::from_millis(10);
/// How often a seed is asked after that, while a configured slot was never heard of or has left: two parts that never met
/// each other have nobody to try again.
const JOIN_LATER: Duration = Duration::from_secs(1);
/// Nobody new for this long, and the list of members counts as whole.
const JOIN_QUIET: Duration = Duration::from_millis(500);
/// One ping in this many tells of one more member, in rotation.
const ROTATE_EVERY: u32 = 4;

/// Finding the others.
#[derive(Clone, Debug)]
pub(super) struct Join {
    pub(super) seeds: Vec<Address, SEEDS>,
    /// Still looking: the map may not take its empty world for the whole one.
    joining: bool,
    next: Instant,
    turn: usize,
    due: Option<Address>,
    /// A server that answered and has more to tell: asked before the next seed is.
    asked: Option<Slot>,
    /// A member told that it has nothing more to tell.
    told: bool,
    last_news: Instant,
}

impl Join {
    pub(super) fn none() -> Self {
        Self {
            seeds: Vec::new(),
            joining: false,
            next: Instant::NEVER,
            turn: 0,
            due: None,
            asked: None,
            told: false,
            last_news: Instant::ZERO,
        }
    }
}

impl<const N: usize> Node<'_, N> {
    /// Joins the PoP through servers at these addresses, of which the first eight are used; ours may be among them.
    /// Needs [`Config::swim`](super::Config::swim). Writing waits until the members are known, or the start deadline; with
    /// no seeds this server begins a PoP of its own at once.
    pub fn join(&mut self, now: Instant, seeds: &[Address]) {
        self.now = self.now.max(now);
        self.join.seeds = seeds.iter().copied().take(SEEDS).collect();
        self.join.joining = !self.join.seeds.is_empty();
        self.join.next = if self.join.joining { self.now } else { Instant::NEVER };
        self.join.last_news = self.now;
        self.map.hold_start(self.join.joining);
    }

    /// Says to the others that we leave: they stop probing us and share our keys out. Poll on for a moment so that the word
    /// gets out. From now on writes are refused with [`PutError::Left`](crate::PutError::Left); reading, merging and serving
    /// go on. The way back is a new life.
    ///
    /// Who does not hold us live does not pull from us: poll for a moment before, too, if there was much to write last.
    ///
    /// Without [`Config::swim`](super::Config::swim) nobody is told; whoever tells the others who is alive tells them this
    /// too.
    pub fn leave(&mut self, now: Instant) {
        self.observe(now);
        self.left = true;
        self.say_goodbye();
    }

    fn say_goodbye(&mut self) {
        let Some(membership) = self.membership.as_mut().filter(|membership| !membership.has_left()) else {
            return;
        };
        self.goodbyes = membership.live().without(self.config.slot);
        membership.leave();
        self.join = Join::none();
    }

    /// Tells the others something else of ourselves: a new weight, a new role. Without [`Config::swim`](super::Config::swim)
    /// nobody is told, and all servers weigh the same.
    pub fn set_meta(&mut self, now: Instant, meta: Meta) {
        self.observe(now);
        self.config.meta = meta;
        if let Some(membership) = &mut self.membership {
            membership.restate(self.map.life(), meta);
            self.map.set_weight(self.config.slot, meta.weight());
        }
    }

    /// Returns what is known of `slot`; `None` without [`Config::swim`](super::Config::swim), or when it was never heard
    /// of.
    pub fn member(&self, slot: Slot) -> Option<&Member> {
        let member = self.membership.as_ref()?.member(slot);
        (member.state != State::Unknown).then_some(member)
    }

    /// Iterates all members ever heard of, dead and gone ones too.
    pub fn members(&self) -> impl Iterator<Item = (Slot, &Member)> {
        (0..N).map(Slot::at).filter_map(|slot| Some((slot, self.member(slot)?)))
    }

    /// Returns a member that changed since it was last returned, with its state now: its state, life, address or
    /// metadata. Changes of one member coalesce, so none is ever lost.
    pub fn poll_member(&mut self) -> Option<(Slot, State)> {
        let slot = self.member_changes.iter().next()?;
        self.member_changes.remove(slot);
        Some((slot, self.membership.as_ref()?.member(slot).state))
    }

    // ---- in ----

    /// Takes note of an admitted packet's sender.
    pub(super) fn hear_member(&mut self, envelope: &Envelope, from: Address) {
        if let Some(membership) = &mut self.membership {
            membership.heard(envelope.slot, envelope.life, from);
        }
    }

    /// Learns what a packet that was taken says of the members.
    pub(super) fn learn_members(&mut self, from: Slot, members: Members<'_>) {
        let (now, me) = (self.now, self.config.slot);
        let Some(membership) = &mut self.membership else { return };
        let mut met = None;
        for (slot, entry) in members.iter().filter(|(slot, _)| self.config.configured.contains(*slot)) {
            let Some(member) = member_of(entry) else { continue };
            let known = if slot == me { self.map.life() } else { self.map.life_of(slot) };
            let generation = member.life.generation;
            // Nobody comes to it by himself, and the slot has not said so (R4.5).
            let unbelieved =
                self.map.slot_is_bound() && generation > GENERATION_TOLD_MAX.max(known.generation);
            if unbelieved || self.map.is_forgotten(slot, member.life) {
                continue;
            }
            if slot == me && (self.map.phase() == Phase::Starting || member.life > self.map.life()) {
                // An earlier life of ours, which those who only heard of it hold greater: raise ours (R4.1). Once we write
                // that is too late: while they hold that one greater nobody holds us alive, and nobody else would tell
                // us, because whose packets were never heard is told of by members only (R4.5).
                self.map.on_life_notice(LifeNotice { slot, life: member.life, forgotten: false });
            }
            // With a key that binds our slot that is no proof, but a packet from there is. Our generation may just have been
            // raised above.
            let ours = self.map.life();
            let is_other = slot == me && member.life.id != ours.id && member.state.is_live();
            if is_other
                && self.map.slot_is_bound()
                && member.life.generation >= ours.generation.saturating_sub(1)
            {
                met = Some(member);
            }
            membership.learn(now, from, slot, &member, entry.suspected_by());
        }
        if let Some(member) = met.filter(|member| member.address != Address::default()) {
            let other = Some(self.map.life());
            self.tell(Notice { to: member.address, to_life: member.life.id, slot: me, other });
        }
    }

    pub(super) fn on_ping(&mut self, from: Slot, probe: Probe) {
        // A joiner does not know whom it pings, and names itself.
        let joining = probe.target == from;
        if (joining || probe.target == self.config.slot)
            && let Some(membership) = &mut self.membership
        {
            membership.on_ping(from, probe.number, joining);
        }
    }

    pub(super) fn on_ping_req(&mut self, from: Slot, probe: Probe) {
        if let Some(membership) = &mut self.membership {
            membership.on_ping_req(from, probe.target, probe.number);
        }
    }

    pub(super) fn on_ack(&mut self, from: Slot, probe: Probe) {
        if let Some(membership) = &mut self.membership {
            membership.on_ack(self.now, from, probe.target, probe.number);
        }
        if self.join.joining {
            if self.auth.is_some() && probe.owed > 0 {
                // It may only have told its life: now it can be asked by name, wherever it answered from.
                self.join.asked = Some(from);
            }
            self.join.told |= probe.owed == 0;
            self.join.next = if probe.owed > 0 { self.now + JOIN_ON } else { self.join.next };
        }
    }

    /// Hands what changed among the members to the map, the addresses and the embedder.
    pub(super) fn apply_changes(&mut self) {
        let Some(membership) = &mut self.membership else { return };
        let changed = membership.take_changes();
        if changed.is_empty() {
            return;
        }
        let live = membership.live();
        for slot in changed.iter() {
            let member = *membership.member(slot);
            if member.address != Address::default() {
                self.addresses[slot.index()] = member.address;
            }
            self.map.set_weight(slot, member.meta.weight());
            self.map.hear_of(slot, member.life.generation);
            self.member_changes.insert(slot);
            if member.state.is_live() {
                self.join.last_news = self.now;
            }
        }
        self.map.set_live(live);
        self.pushes = self.pushes.intersection(live);
    }

    // ---- time ----

    pub(super) fn tick_members(&mut self) {
        let now = self.now;
        if self.map.phase().is_over() {
            // Who may not write must not own keys; whoever has the slot rightly has a greater life.
            self.say_goodbye();
        }
        let Some(membership) = &mut self.membership else { return };
        membership.tick(now, &mut self.rng);
        if membership.member(self.config.slot).life != self.map.life() {
            // The generation was raised: say so before anybody wonders.
            membership.restate(self.map.life(), self.config.meta);
        }
        self.apply_changes();
        self.tick_join();
    }

    fn tick_join(&mut self) {
        let (now, join) = (self.now, &mut self.join);
        let starting = self.map.phase() == Phase::Starting;
        if join.joining && (!starting || join.told && now >= join.last_news + JOIN_QUIET) {
            join.joining = false;
            self.map.hold_start(false);
        }
        if now < join.next || join.seeds.is_empty() {
            return;
        }
        join.next = now + if join.joining { JOIN } else { JOIN_LATER };
        // Who left is not tried again. Seeds that all left and came back know nobody, and would else stay a PoP of their own.
        let expected = self.membership.as_ref().map_or(SlotSet::EMPTY, Membership::expected);
        let configured = self.config.configured.intersection(SlotSet::first(N));
        if join.joining || !configured.difference(expected).is_empty() {
            join.due = match join.asked.take() {
                Some(slot) => Some(self.addresses[slot.index()]),
                None => {
                    join.turn += 1;
                    join.seeds.get((join.turn - 1) % join.seeds.len()).copied()
                }
            };
        }
    }

    pub(super) fn next_member_tick(&self) -> Instant {
        let Some(membership) = &self.membership else { return Instant::NEVER };
        let whole = self.join.joining && self.join.told;
        let quiet = if whole { self.join.last_news + JOIN_QUIET } else { Instant::NEVER };
        membership.next_tick().min(self.join.next).min(quiet)
    }

    // ---- out ----

    /// Whether a probe, an ack or a goodbye may wait to be sent.
    pub(super) fn owes_probe(&self) -> bool {
        self.join.due.is_some()
            || !self.goodbyes.is_empty()
            || self.membership.as_ref().is_some_and(Membership::is_due)
    }

    /// Fills `frame` with what keeps members alive, and as much of what is known of them as is worth telling.
    pub(super) fn write_probe(&mut self, frame: &mut [u8]) -> Option<(Envelope, usize, u8, Address, Slot)> {
        let me = self.config.slot;
        if let Some(seed) = self.join.due.take() {
            let (envelope, len, members) = self.fill_probe(frame, Kind::Ping, me, 0, me)?;
            return Some((envelope, len, members, seed, self.who_is_at(seed).unwrap_or(me)));
        }
        if let Some(to) = self.goodbyes.iter().next() {
            self.goodbyes.remove(to);
            let (envelope, len, members) = self.fill_probe(frame, Kind::Gossip, to, 0, to)?;
            return Some((envelope, len, members, self.address(to), to));
        }
        loop {
            let (kind, to, number, target) = match self.membership.as_mut()?.outgoing()? {
                Outgoing::Ping { to, number } => (Kind::Ping, to, number, to),
                Outgoing::PingReq { to, target, number } => (Kind::PingReq, to, number, target),
                Outgoing::Gossip { to } => (Kind::Gossip, to, 0, to),
                Outgoing::Ack { to, number, target } => (Kind::Ack, to, number, target.unwrap_or(me)),
            };
            let (envelope, len, members) = self.fill_probe(frame, kind, to, number, target)?;
            // Gossip that has nothing to tell is none.
            if kind != Kind::Gossip || members > 0 {
                return Some((envelope, len, members, self.address(to), to));
            }
        }
    }

    /// Returns the server that was heard from `address`, so that a packet for it can name its life. Without keys none need.
    fn who_is_at(&self, address: Address) -> Option<Slot> {
        self.auth.as_ref()?;
        let heard =
            |slot: &Slot| self.map.life_of(*slot).is_known() && self.addresses[slot.index()] == address;
        (0..N).map(Slot::at).filter(|slot| *slot != self.config.slot).find(heard)
    }

    fn fill_probe(
        &mut self,
        frame: &mut [u8],
        kind: Kind,
        to: Slot,
        number: u32,
        target: Slot,
    ) -> Option<(Envelope, usize, u8)> {
        let membership = self.membership.as_mut()?;
        let rotate = kind == Kind::Ping && number % ROTATE_EVERY == ROTATE_EVERY - 1;
        // What is still owed is known when the members have been chosen.
        let (end, members) = append(membership, to, frame, HEADER + size_of::<ProbeFixed>(), ENTRIES, rotate);
        let owed = if kind == Kind::Ack { membership.owed(to) } else { 0 };
        let version = if kind == Kind::Gossip { 0 } else { self.map.version_hash() };
        let (envelope, _) =
            self.map.write_probe(kind, to, &Probe { number, target, owed, version }, frame)?;
        Some((envelope, end, members))
    }

    /// Bytes of a data packet's frame that stay free for members, so that neither crowds out the other.
    pub(super) fn members_share(&self, limit: usize) -> usize {
        let share = DATA_ENTRIES * MEMBER;
        let news = self.membership.as_ref().is_some_and(Membership::has_news);
        if news && limit - share >= PAYLOAD_MIN { share } else { 0 }
    }

    /// Appends what is known of where life `other` in `slot` is, for the server that has to know of it; returns the
    /// packet's new length and the number of members.
    pub(super) fn append_other(&self, slot: Slot, other: Life, frame: &mut [u8], len: usize) -> (usize, u8) {
        let member = self.member(slot).filter(|member| member.life.id == other.id);
        match (member, frame.get_mut(len..len + MEMBER)) {
            (Some(member), Some(room)) => {
                let entry = entry_of(slot, member, SlotSet::EMPTY);
                room.copy_from_slice(zerocopy::IntoBytes::as_bytes(&entry));
                (len + MEMBER, 1)
            }
            _ => (len, 0),
        }
    }

    /// Appends members to a data packet of `len` bytes; returns its new length and their number.
    pub(super) fn append_members(&mut self, to: Slot, frame: &mut [u8], len: usize) -> (usize, u8) {
        let Some(membership) = self.membership.as_mut().filter(|membership| membership.has_news()) else {
            return (len, 0);
        };
        append(membership, to, frame, len, DATA_ENTRIES, false)
    }
}

/// Members that ride on a data packet.
const DATA_ENTRIES: usize = 2;

fn append<const N: usize>(
    membership: &mut Membership<N>,
    to: Slot,
    frame: &mut [u8],
    len: usize,
    most: usize,
    rotate: bool,
) -> (usize, u8) {
    let room = most.min((frame.len() - len) / MEMBER);
    let mut end = len;
    for slot in membership.tell(to, room, rotate) {
        let entry = entry_of(slot, membership.member(slot), membership.suspected_by(slot));
        frame[end..end + MEMBER].copy_from_slice(zerocopy::IntoBytes::as_bytes(&entry));
        end += MEMBER;
    }
    (end, ((end - len) / MEMBER) as u8)
}

fn entry_of(slot: Slot, member: &Member, by: SlotSet) -> MemberEntry {
    let Member { life, incarnation, state, address, meta } = *member;
    MemberEntry {
        slot: slot.get(),
        state: state as u8,
        reserved: [0; 2],
        incarnation: incarnation.into(),
        generation: life.generation.into(),
        by: MemberEntry::by(by),
        life: life.id.into(),
        address,
        meta: meta.to_bytes(),
    }
}

fn member_of(entry: &MemberEntry) -> Option<Member> {
    Some(Member {
        life: Life { generation: entry.generation.get(), id: entry.life.get() },
        incarnation: entry.incarnation.get(),
        state: State::from_byte(entry.state)?,
        address: entry.address,
        meta: Meta::from_bytes(entry.meta),
    })
}

/// Without membership everyone configured is held live until told otherwise; with it, only who was heard of.
pub(super) fn first_live(me: Slot, swim: bool, configured: SlotSet) -> SlotSet {
    if swim { SlotSet::EMPTY.with(me) } else { configured }
}
