//! The node: the one public state machine, and the only place where the parts below meet.
//!
//! Sans-IO: packets and time go in, packets, events and the next deadline come out. After each input, drain
//! [`Node::poll_transmit`] and [`Node::poll_event`]; then sleep until [`Node::poll_timeout`] or the next packet.
//!
//! Egress is derived, not queued: a handler only marks what is due, and [`Node::poll_transmit`] encodes from the state
//! as it is when the frame is filled. Back-pressure loses nothing, duplicates coalesce, and no queue can grow.

mod auth;
mod config;
mod egress;
mod ingress;
mod share;
mod stats;
mod swim;

use core::fmt;

use heapless::Vec;

pub use config::{Config, ConfigError};
pub use egress::Transmit;
pub use stats::Stats;

use crate::auth::{KeyRing, RotationError};
use crate::clock::Dot;
use crate::id::{Address, Key, Life, Slot, SlotSet};
use crate::map::{Event, ForgetError, Harvest, Lookup, Map, MapConfig, Phase, PutError, Reader, RemoveError};
use crate::membership::{Member, Membership, SwimConfig};
use crate::rng::Rng;
use crate::sync::{Budget, Seen, Sync};
use crate::time::{Duration, Instant};

use egress::Due;

/// How often checkpoints are noted and the table is swept.
const MAINTAIN: Duration = Duration::from_millis(100);
/// A sweep of the table is cut into this many parts.
const SWEEP_PARTS: usize = 20;
/// Life notices that may wait to be sent.
const NOTICES: usize = 8;

/// Word of another life in a slot, or with none that its own was forgotten, for a server that must know.
#[derive(Clone, Copy)]
struct Notice {
    to: Address,
    to_life: u64,
    slot: Slot,
    other: Option<Life>,
}

/// One server's share of the PoP: the map, and the schedule that keeps it equal to the others'.
///
/// `N` is the number of slots, the same on every server of a PoP.
pub struct Node<'a, const N: usize = 64> {
    map: Map<'a, N>,
    sync: Sync,
    config: Config,
    addresses: [Address; N],
    rng: Rng,
    budget: Budget,
    /// The keys, when packets are authenticated.
    auth: Option<auth::Auth<N>>,
    /// Peers that our fresh writes are to be pushed to.
    pushes: SlotSet,
    /// Whom to ask the next repair question.
    question: Option<Slot>,
    /// Whom to ask for our slot's older records.
    asks: SlotSet,
    /// Who is alive, when we find that out ourselves.
    membership: Option<Membership<N>>,
    join: swim::Join,
    /// Members whose change of state was not polled yet.
    member_changes: SlotSet,
    /// Members that are to be told that we leave.
    goodbyes: SlotSet,
    /// We said that we leave.
    left: bool,
    notices: Vec<Notice, NOTICES>,
    /// Lives that were told of another since the last maintenance: each once.
    noticed: Vec<u64, NOTICES>,
    turn: egress::Turn,
    packet_number: u64,
    now: Instant,
    next_maintain: Instant,
    next_repair: Instant,
    /// The log position at the last exchange: no change since then is quiet.
    quiet_head: u64,
    stats: Stats,
}

impl<'a, const N: usize> Node<'a, N> {
    /// Returns the words of storage that a node needs.
    ///
    /// # Panics
    /// When the capacity is not from 1 to [`CAPACITY_MAX`](crate::limits::CAPACITY_MAX).
    pub const fn words(config: &Config) -> usize {
        Map::<N>::words(config.capacity, &config.shape)
    }

    /// Builds a node in `storage`: all zero, of at least [`words`](Self::words) 8-byte words. Its packets have a checksum,
    /// and whoever can send it a packet can write to its map: see [`docs::trust`](crate::docs::trust).
    ///
    /// # Errors
    /// Which field of `config` is out of range, or what is wrong with the storage. Nothing has been changed.
    pub fn new(now: Instant, storage: &'a mut [u64], config: &Config) -> Result<Self, ConfigError> {
        Self::build(now, storage, config, None)
    }

    /// The same for a node that sends and takes authenticated packets only. Every server of the PoP needs keys then.
    ///
    /// # Errors
    /// The same, and [`ConfigError::Keys`] for the keys of another slot.
    pub fn with_keys(
        now: Instant,
        storage: &'a mut [u64],
        config: &Config,
        keys: KeyRing,
    ) -> Result<Self, ConfigError> {
        keys.check_slot(config.slot)?;
        Self::build(now, storage, config, Some(keys))
    }

    fn build(
        now: Instant,
        storage: &'a mut [u64],
        config: &Config,
        keys: Option<KeyRing>,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let configured = config.configured.intersection(SlotSet::first(N));
        let mut map = Map::new(
            storage,
            &MapConfig {
                slot: config.slot,
                configured,
                life: config.life,
                capacity: config.capacity,
                shape: config.shape,
                start_deadline: now + config.start_within,
            },
        )?;
        // Who has still to find the others must not take its empty world for the whole one.
        map.hold_start(config.swim.is_some());
        map.bind_slot(keys.as_ref().is_some_and(KeyRing::binds));
        map.set_live(swim::first_live(config.slot, config.swim.is_some(), configured));
        // Without membership nobody tells the others our weight, so all weigh the same.
        if config.swim.is_some() {
            map.set_weight(config.slot, config.meta.weight());
        }
        let mut rng = Rng::new(config.seed);
        // Servers that start together must not stay in step.
        let mut new_membership = |swim: SwimConfig| {
            let own = Member::starting(config.life, config.address, config.meta);
            Membership::new(swim, config.slot, own, now, now + Duration(rng.below(swim.period.0)))
        };
        let membership = config.swim.map(&mut new_membership);
        let first_exchange = now + Duration(rng.below(config.sync.exchange.0));
        let next_repair = now + Duration(rng.below(config.repair.0));
        Ok(Self {
            map,
            sync: Sync::new(config.sync, config.slot, first_exchange),
            config: *config,
            addresses: [Address::default(); N],
            rng,
            budget: Budget::new(config.budget_bytes, config.budget_interval),
            auth: keys.map(|keys| {
                let Config { budget_bytes, budget_interval, payload, .. } = *config;
                auth::Auth::new(keys, share::Shares::new(budget_bytes, budget_interval, payload))
            }),
            pushes: SlotSet::EMPTY,
            question: None,
            asks: SlotSet::EMPTY,
            membership,
            join: swim::Join::none(),
            member_changes: SlotSet::EMPTY,
            goodbyes: SlotSet::EMPTY,
            left: false,
            notices: Vec::new(),
            noticed: Vec::new(),
            turn: egress::Turn::default(),
            packet_number: 0,
            now,
            next_maintain: now,
            next_repair,
            quiet_head: 0,
            stats: Stats::new(),
        })
    }

    // ---- time ----

    /// Moves time on to `now` and does what is due. A clock that ran backward is held.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.observe(now);
        self.tick_members();
        let now = self.now;
        let me = self.config.slot;
        let live = self.map.live().without(me);
        let head = self.map.log_head();
        let (map, turn) = (&self.map, self.rng.next_u64());
        let seen = Seen {
            live,
            waiting: map.waiting_for(),
            lacks: |peer| map.lacks(peer),
            quiet: head == self.quiet_head,
            version_hash: || map.version_hash(),
            turn,
        };
        let exchanged = self.sync.stats.exchanges;
        if self.sync.tick(now, &seen) {
            self.pushes = live;
        }
        if self.sync.stats.exchanges != exchanged {
            self.quiet_head = head;
        }
        if now >= self.next_maintain {
            self.next_maintain = now + MAINTAIN;
            self.maintain();
        }
        if now >= self.next_repair {
            self.next_repair = now + self.config.repair;
            let pick = self.rng.below(live.len() as u64);
            self.question = live.nth(pick as usize).filter(|_| self.map.phase() != Phase::Starting);
        }
    }

    fn observe(&mut self, now: Instant) {
        if now < self.now {
            self.stats.clock_backward += 1;
        }
        self.now = self.now.max(now);
        self.map.advance(self.now);
    }

    fn maintain(&mut self) {
        self.map.note_checkpoint();
        self.noticed.clear();
        self.asks = self.map.history_unmet();
        if self.map.needs_sweep() {
            self.map.sweep((self.map.capacity() / SWEEP_PARTS).max(64));
        }
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is to be called next, at the latest.
    ///
    /// Call it, or [`poll_transmit`](Self::poll_transmit), earlier and nothing is lost.
    pub fn poll_timeout(&mut self) -> Instant {
        let starting = !self.map.waiting_for().is_empty();
        if self.owes_probe() || self.auth.as_ref().is_some_and(auth::Auth::owes_challenge) {
            return Instant::ZERO;
        }
        let timers = self
            .next_member_tick()
            .min(self.next_maintain)
            .min(self.next_repair)
            .min(self.sync.next_tick(starting));
        if self.due().is_none() { timers } else { timers.min(self.budget.next_refill()) }
    }

    // ---- the map ----

    /// Writes `value` under `key`; it is pushed to the live peers after a short delay. See [`Map::put`].
    ///
    /// # Errors
    /// Why the write was refused; the map is as it was.
    pub fn put(&mut self, now: Instant, key: Key, value: &[u8]) -> Result<Dot, PutError> {
        self.observe(now);
        self.may_write()?;
        let dot = self.map.put(key, value)?;
        self.on_write();
        Ok(dot)
    }

    /// Deletes `key`. See [`Map::remove`].
    ///
    /// # Errors
    /// Why nothing was deleted; the map is as it was.
    pub fn remove(&mut self, now: Instant, key: Key) -> Result<Dot, RemoveError> {
        self.observe(now);
        self.may_write().map_err(RemoveError::Refused)?;
        let dot = self.map.remove(key)?;
        self.on_write();
        Ok(dot)
    }

    fn may_write(&self) -> Result<(), PutError> {
        if self.left { Err(PutError::Left) } else { Ok(()) }
    }

    fn on_write(&mut self) {
        let record = self.config.shape.record_len();
        let room = (self.config.payload - crate::wire::PUSH_FIXED) / record;
        let others = self.map.live().without(self.config.slot);
        // One that was never heard is pushed nothing, however long that is.
        let pushed_to = others.iter().find(|peer| self.map.owes_push(*peer));
        let full = pushed_to.is_some_and(|peer| self.map.push_backlog(peer) >= room);
        self.sync.on_write(self.now, full);
    }

    /// Copies the value of `key`, which must have the map's length, into `value`. See [`Reader::get`].
    ///
    /// # Panics
    /// When `value` does not have the map's value length.
    pub fn get(&self, key: Key, value: &mut [u8]) -> Lookup {
        self.map.reader().get(key, value)
    }

    /// Returns a handle that reads from any thread while this node runs.
    pub fn reader(&self) -> Reader<'a> {
        self.map.reader()
    }

    /// Returns how many keys were written by servers that this one holds live, and applied here at most `max_age` ago.
    /// See [`Reader::harvest`] for what it tells, what it costs, and to ask on another thread.
    pub fn harvest(&self, now: Instant, max_age: Duration) -> Harvest {
        self.reader().harvest(now, max_age, self.map.live())
    }

    /// Returns the replica itself.
    pub fn map(&self) -> &Map<'a, N> {
        &self.map
    }

    /// Returns the live server that owns `key`.
    pub fn owner(&self, key: Key) -> Slot {
        // We are always live, so there always is one.
        self.map.owners().owner(key).unwrap_or(self.config.slot)
    }

    /// Fills `slots` with the live owners of `key` in order of priority, and returns how many there are: when the first
    /// fails, the second owns the key, and so on.
    pub fn owners(&self, key: Key, slots: &mut [Slot]) -> usize {
        self.map.owners().owners(key, slots)
    }

    // ---- the PoP ----

    /// Tells who is alive, when somebody else finds that out (no [`Config::swim`]). Slots that are not configured are
    /// left out; our own is always in.
    pub fn set_live(&mut self, live: SlotSet) {
        self.map.set_live(live);
        self.pushes = self.pushes.intersection(self.map.live());
    }

    /// Forgets the server in `slot`, which is dead and is not coming back, so that tombstones do not wait for it. See
    /// [`Map::forget`]; any one server is asked, and all others come to know.
    ///
    /// # Errors
    /// Why it was not forgotten; nothing was changed.
    pub fn forget(&mut self, now: Instant, slot: Slot) -> Result<u32, ForgetError> {
        self.observe(now);
        self.map.forget(slot)
    }

    /// Tells where `slot` is reached. Packets from there update it.
    ///
    /// # Panics
    /// When `slot` is not below `N`.
    pub fn set_address(&mut self, slot: Slot, address: Address) {
        self.addresses[slot.index()] = address;
    }

    // ---- what happened ----

    /// Returns the next event, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.map.poll_event()
    }

    /// Returns the counters.
    pub fn stats(&self) -> Stats {
        let swim = self.membership.as_ref().map(|membership| membership.stats).unwrap_or_default();
        Stats { map: *self.map.stats(), swim, sync: self.sync.stats, ..self.stats }
    }

    // ---- keys ----

    /// Exchanges the keys while the node runs. Three steps, each on every server before the next: accept the new key beside
    /// the old one; send with the new one; drop the old one. No packet is lost in any of them.
    ///
    /// # Errors
    /// Why the keys may not follow those that are in use, which stay.
    pub fn set_keys(&mut self, keys: KeyRing) -> Result<(), RotationError> {
        let me = self.config.slot;
        let live = self.map.live().without(me);
        let binds = keys.binds();
        self.auth.as_mut().ok_or(RotationError::NoKeys)?.set_ring(me, live, keys)?;
        self.map.bind_slot(binds);
        Ok(())
    }

    /// Returns the keys; `None` when packets are not authenticated.
    pub fn keys(&self) -> Option<&KeyRing> {
        self.auth.as_ref().map(auth::Auth::ring)
    }

    /// Breaks one rule.
    #[cfg(popmap_teeth)]
    pub fn break_rule(&mut self, tooth: crate::Tooth) {
        self.map.break_rule(tooth);
        if let Some(membership) = &mut self.membership {
            membership.tooth = Some(tooth);
        }
    }

    fn due(&self) -> Option<Due> {
        egress::due(self)
    }
}

impl<const N: usize> fmt::Debug for Node<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("map", &self.map).field("now", &self.now).finish_non_exhaustive()
    }
}
