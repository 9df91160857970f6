//! The replicated map: a join semilattice of records with the protocol that keeps replicas equal (rules R1 to R7).
//!
//! Knows what a packet means for the table, the version and each peer's session. Must not know when to send what, to
//! which address, or whether anyone is alive other than by being told.
//!
//! [`Map`] is one replica. Local writes are [`Map::put`] and [`Map::remove`]; each kind of packet has a `write_*` that
//! fills a frame and an `on_*` that takes a checked body. A packet either passes [`Map::admit`] and then exactly one
//! handler, or changes nothing.

mod checkpoint;
mod collect;
mod config;
mod delta;
mod event;
mod forget;
mod harvest;
mod history;
mod inspect;
mod layout;
mod lives;
mod log;
mod merge;
mod order;
mod peer;
mod push;
mod reader;
mod repair;
mod stats;
mod sweep;
mod table;
mod typed;
mod version_hash;
mod write;

use core::fmt;
use core::hash::Hash;

pub use config::{MapConfig, MapError};
pub use delta::{DeltaOutcome, Request, VersionOutcome};
pub use event::Event;
pub(crate) use event::Events;
pub use forget::ForgetError;
pub use harvest::Harvest;
pub use inspect::Held;
pub use reader::{Lookup, Meta, Reader, Records};
pub use stats::{Cause, MapStats};
pub use typed::{Typed, TypedReader};
pub use write::{PutError, RemoveError};
#[cfg(not(popmap_loom))]
use zerocopy::{FromBytes, IntoBytes};

use checkpoint::Checkpoints;
use collect::Collection;
use forget::Forgets;
use layout::Layout;
use log::ChangeLog;
use peer::Peer;
use repair::Repairs;
use table::Table;

use crate::clock::VersionVector;
use crate::id::{Life, Slot, SlotSet};
use crate::limits::{CAPACITY_MAX, LOG_PART_MIN, LOG_PARTS};
use crate::ownership::Owners;
use crate::teeth::Tooth;
use crate::time::Instant;
use crate::wire::{Envelope, Kind, Shape, flag};

/// Whether this replica may write (rule R4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Phase {
    /// Committing from every live peer before the first write.
    Starting,
    /// Writing.
    Active {
        /// The start deadline passed before every live peer was met.
        expired: bool,
    },
    /// Another server has our slot (R4.5): this life is over.
    Fenced,
    /// The PoP has forgotten this life, or what it holds came from one that it has forgotten (R2): it is over.
    Forgotten,
}

impl Phase {
    /// Whether this life is over: it neither writes, merges nor serves. Reads go on, of what it holds; its table is to be
    /// discarded and a new life started.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Fenced | Self::Forgotten)
    }
}

/// One replica of the map.
///
/// `N` is the number of slots, 64 unless a smaller PoP or a model check asks for less; all servers of a PoP use the
/// same.
///
/// ```
/// use popmap_core::{Key, Life, Lookup, Map, MapConfig, Shape, Slot, SlotSet, time::Instant};
///
/// let shape = Shape { schema: 1, value_len: 8 };
/// let mut words = vec![0; Map::<64>::words(1_000, &shape)];
/// let mut map = Map::<64>::new(
///     &mut words,
///     &MapConfig {
///         slot: Slot::at(3),
///         configured: SlotSet::first(8),
///         life: Life { generation: 1, id: 0xfeed },
///         capacity: 1_000,
///         shape,
///         start_deadline: Instant::ZERO,
///     },
/// )?;
/// map.advance(Instant::ZERO); // alone, and its deadline is now: it may write
/// let key = Key::from_name(b"origin-17");
/// map.put(key, &7u64.to_le_bytes())?;
/// let mut value = [0; 8];
/// assert!(matches!(map.reader().get(key, &mut value), Lookup::Found(_)));
/// assert_eq!(u64::from_le_bytes(value), 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Map<'a, const N: usize = 64> {
    table: Table<'a>,
    log: ChangeLog<'a>,
    checkpoints: Checkpoints<'a, N>,
    /// What each peer's version is known to have reached, in its present life.
    peer_versions: &'a mut [VersionVector<N>],
    state: State<N>,
    layout: Layout,
    shape: Shape,
    stats: MapStats,
    fresh: push::Fresh,
    events: Events,
    #[cfg(popmap_teeth)]
    tooth: Option<Tooth>,
}

/// The parts of a map's storage.
struct Parts<'a, const N: usize> {
    table: Table<'a>,
    ring: &'a mut [u32],
    peer_versions: &'a mut [VersionVector<N>],
    checkpoints: &'a mut [VersionVector<N>],
}

impl<'a, const N: usize> Parts<'a, N> {
    #[cfg(not(popmap_loom))]
    fn carve(storage: &'a mut [u64], layout: Layout) -> Result<Self, MapError> {
        let too_small = MapError::Storage { needed: layout.words(N), given: storage.len() };
        let (table, rest) = storage.split_at_mut_checked(layout.table_words()).ok_or(too_small)?;
        let (ring, rest) = rest.split_at_mut_checked(layout.ring_words()).ok_or(too_small)?;
        let (versions, _) = rest.split_at_mut_checked(Layout::version_words(N)).ok_or(too_small)?;
        let table =
            <[crate::atomic::AtomicU64]>::mut_from_bytes(table.as_mut_bytes()).map_err(|_| too_small)?;
        let ring = <[u32]>::mut_from_bytes(ring.as_mut_bytes()).map_err(|_| too_small)?;
        let versions =
            <[VersionVector<N>]>::mut_from_bytes(versions.as_mut_bytes()).map_err(|_| too_small)?;
        let (peer_versions, checkpoints) = versions.split_at_mut(N);
        let ring = &mut ring[..layout.ring as usize];
        Ok(Self { table: Table::new(table, layout), ring, peer_versions, checkpoints })
    }

    /// Loom's atomics are no plain words: under loom only the table is checked, and no map is built.
    #[cfg(popmap_loom)]
    fn carve(storage: &'a mut [u64], layout: Layout) -> Result<Self, MapError> {
        Err(MapError::Storage { needed: layout.words(N), given: storage.len() })
    }
}

/// What decides how a replica behaves, beside its storage: copied and compared by model checks.
#[derive(Clone, Hash, Debug)]
struct State<const N: usize> {
    slot: Slot,
    configured: SlotSet,
    /// Who is alive and shares the keys: as told, less those that were forgotten; ourselves always.
    owners: Owners,
    /// Who is alive, as told from outside.
    told_live: SlotSet,
    /// No start yet: the members are still being found.
    start_held: bool,
    life: Life,
    phase: Phase,
    now: Instant,
    start_deadline: Instant,
    version: VersionVector<N>,
    /// The version joined with the dots of the records in the table.
    held: VersionVector<N>,
    /// The same, gathered anew by the sweep that is under way.
    held_next: VersionVector<N>,
    /// The greatest term of any tombstone collected anywhere (R2).
    floor: u32,
    /// Only a packet of our slot proves that another server has it (R4.5).
    bound: bool,
    /// The greatest generation of our slot that others told of and ours is to be raised above, once it may.
    told: Option<u32>,
    /// No raise by word of others before.
    told_after: Instant,
    /// The highest counter of our own slot seen anywhere (R4.1).
    own_seen: u64,
    /// Counters above this are of our present life.
    life_base: u64,
    /// The highest counter of our own writes that another slot's record replaced here: pushes start above it.
    push_barrier: u64,
    /// Our generation was raised because of counters of ours that we did not write; happens once (R4.5).
    raised_on_evidence: bool,
    /// Times our generation was raised because another life was heard in our slot.
    raised_on_notice: u8,
    /// Slots in which two servers were heard, and ours if another life in it was heard of while we started.
    conflicted: SlotSet,
    /// Configured peers that we had not met when we started writing, and have not asked since (R4.2).
    unmet: SlotSet,
    /// There were such peers: repair knows why it mends our slot's records.
    started_unmet: bool,
    /// Peers that wait for deltas.
    serving: SlotSet,
    /// Peers that wait for older records.
    telling: SlotSet,
    full: bool,
    peers: [Peer; N],
    collection: Collection<N>,
    forgets: Forgets<N>,
    sweep_at: u32,
    sweep_collects: bool,
    repairs: Repairs,
}

impl<'a, const N: usize> Map<'a, N> {
    /// Returns the words of storage that a map needs.
    ///
    /// # Panics
    /// When `capacity` is not from 1 to [`CAPACITY_MAX`].
    pub const fn words(capacity: usize, shape: &Shape) -> usize {
        Layout::new(capacity, shape).words(N)
    }

    /// Builds an empty replica in `storage`, of which it takes the first [`words`](Self::words).
    ///
    /// Nothing is written to the storage before it is needed, so pages the system zeroes lazily stay untouched.
    /// Storage that starts on a 64-byte boundary is fastest.
    ///
    /// # Errors
    /// When a field of `config` is out of range, or the storage is too small or not zero. Nothing has been changed.
    pub fn new(storage: &'a mut [u64], config: &MapConfig) -> Result<Self, MapError> {
        let MapConfig { slot, configured, life, capacity, shape, start_deadline } = *config;
        if slot.index() >= N
            || !configured.contains(slot)
            || !configured.difference(SlotSet::first(N)).is_empty()
        {
            return Err(MapError::Slot { slot, slots: N });
        }
        if !life.is_known() {
            return Err(MapError::Life);
        }
        if capacity == 0 || capacity > CAPACITY_MAX {
            return Err(MapError::Capacity(capacity));
        }
        if !shape.is_valid() {
            return Err(MapError::ValueLength(shape.value_len));
        }
        let layout = Layout::new(capacity, &shape);
        let Parts { table, ring, peer_versions, checkpoints } = Parts::carve(storage, layout)?;
        if !table.is_pristine() {
            return Err(MapError::NotZero);
        }
        Ok(Self {
            table,
            log: ChangeLog::new(ring, capacity),
            checkpoints: Checkpoints::new(checkpoints),
            peer_versions,
            state: State {
                slot,
                configured,
                owners: Owners::equal(configured),
                told_live: configured,
                start_held: false,
                life,
                phase: Phase::Starting,
                now: Instant::ZERO,
                start_deadline,
                version: VersionVector::new(),
                held: VersionVector::new(),
                held_next: VersionVector::new(),
                floor: 0,
                bound: false,
                told: None,
                told_after: Instant::ZERO,
                own_seen: 0,
                life_base: 0,
                push_barrier: 0,
                raised_on_evidence: false,
                raised_on_notice: 0,
                conflicted: SlotSet::EMPTY,
                unmet: SlotSet::EMPTY,
                started_unmet: false,
                serving: SlotSet::EMPTY,
                telling: SlotSet::EMPTY,
                full: false,
                peers: core::array::from_fn(|_| Peer::default()),
                collection: Collection::default(),
                forgets: Forgets::default(),
                sweep_at: 0,
                sweep_collects: false,
                repairs: Repairs::default(),
            },
            layout,
            shape,
            stats: MapStats::default(),
            fresh: push::Fresh::default(),
            events: Events::new(),
            #[cfg(popmap_teeth)]
            tooth: None,
        })
    }

    /// Tells the time; it never runs backward. Starts writing when rule R4.2 allows it.
    pub fn advance(&mut self, now: Instant) {
        self.state.now = self.state.now.max(now);
        self.table.set_heartbeat(self.state.now.0);
        self.try_start();
        if self.state.told.is_some() {
            self.act_on_word();
        }
    }

    /// Returns a handle that reads from any thread while this map writes.
    pub fn reader(&self) -> Reader<'a> {
        Reader::new(self.table, self.shape)
    }

    /// Returns our slot.
    pub fn slot(&self) -> Slot {
        self.state.slot
    }

    /// Returns this life; its generation may rise.
    pub fn life(&self) -> Life {
        self.state.life
    }

    /// Returns whether this replica may write.
    pub fn phase(&self) -> Phase {
        self.state.phase
    }

    /// Returns what this replica accounts for.
    pub fn version(&self) -> &VersionVector<N> {
        &self.state.version
    }

    /// Returns the version joined with the dots of the records in the table.
    pub fn held(&self) -> &VersionVector<N> {
        &self.state.held
    }

    /// Returns the greatest term of any tombstone collected (R2).
    pub fn floor(&self) -> u32 {
        self.state.floor
    }

    /// Returns what the servers of the PoP agree on.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Returns the records in the table, tombstones among them.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether the table holds no record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the tombstones in the table.
    pub fn tombstones(&self) -> usize {
        self.table.tombstones()
    }

    /// Returns the records that the map holds at most.
    pub fn capacity(&self) -> usize {
        self.table.capacity()
    }

    /// Returns the newest position of the change log: it rises with every change.
    pub fn log_head(&self) -> u64 {
        self.log.head()
    }

    /// Returns the counters.
    pub fn stats(&self) -> &MapStats {
        &self.stats
    }

    /// Returns the next event, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// Returns the life in which `slot` was last heard.
    pub fn life_of(&self, slot: Slot) -> Life {
        self.state.peers.get(slot.index()).map_or(Life::NONE, |peer| peer.life)
    }

    /// Returns who is alive, as told.
    pub fn live(&self) -> SlotSet {
        self.state.owners.live()
    }

    /// Tells a server's share of the keys relative to the others'; see [`Owners`].
    pub fn set_weight(&mut self, slot: Slot, weight: u16) {
        self.state.owners.set_weight(slot, weight);
    }

    /// Returns who shares the keys, and how.
    pub fn owners(&self) -> &Owners {
        &self.state.owners
    }

    /// Tells whether a key binds our slot, so that a packet of it can only come from a server that has the key. Then what
    /// others say of our slot raises our generation, within bounds, and never fences us (R4.5).
    pub fn bind_slot(&mut self, bound: bool) {
        self.state.bound = bound;
    }

    /// Whether a key binds our slot.
    pub fn slot_is_bound(&self) -> bool {
        self.state.bound
    }

    /// Tells whether the members are still being found: until then nobody is known to wait for (R4.2), and only the
    /// deadline starts.
    pub fn hold_start(&mut self, held: bool) {
        self.state.start_held = held;
        self.try_start();
    }

    /// Tells who is alive; slots that are not configured are left out, and those that were forgotten
    /// ([`forget`](Self::forget)) until a later life is known. Our own is always in.
    pub fn set_live(&mut self, live: SlotSet) {
        self.state.told_live = live;
        self.refresh_live();
    }

    /// Works out anew who is alive: somebody was forgotten, or is back.
    fn refresh_live(&mut self) {
        let live =
            self.state.told_live.intersection(self.state.configured).difference(self.forgotten_slots());
        self.state.owners.set_live(live.with(self.state.slot));
        self.try_start();
    }

    /// Tells which slots the PoP has; ours is always in. Tombstones wait for these and no others, less those that were
    /// forgotten (R2).
    pub fn set_configured(&mut self, configured: SlotSet) {
        self.state.configured = configured.intersection(SlotSet::first(N)).with(self.state.slot);
        self.state.collection = Collection::default();
        self.refresh_live();
    }

    /// Returns the header of a packet of `kind`, computed for the present life of `to` where that matters.
    pub(crate) fn envelope(&self, kind: Kind, to_life: u64) -> Envelope {
        let State { slot, life, phase, .. } = self.state;
        let mut flags = 0;
        if self.is_caught_up() {
            flags |= flag::CAUGHT_UP;
        }
        if !matches!(phase, Phase::Active { .. }) {
            flags |= flag::SILENT;
        }
        if self.state.started_unmet {
            flags |= flag::UNMET;
        }
        Envelope { kind, slot, flags, life, to_life }
    }

    /// Notes a checkpoint of the change log, if it moved since the last.
    pub fn note_checkpoint(&mut self) {
        if self.log.head() != self.checkpoints.newest() {
            let held =
                if self.broken(Tooth::CheckpointOfVersion) { self.state.version } else { self.state.held };
            self.checkpoints.note(self.log.head(), &held);
        }
    }

    /// Notes one when so much has changed that the ring would else lose sight of the last.
    #[inline]
    fn note_distant_checkpoint(&mut self) {
        let far = (u64::from(self.layout.ring) / LOG_PARTS).max(LOG_PART_MIN);
        if self.log.head() - self.checkpoints.newest() >= far {
            self.note_checkpoint();
        }
    }

    /// Whether a rule is broken on purpose; never, outside the negative controls.
    #[cfg(popmap_teeth)]
    pub(crate) fn broken(&self, tooth: Tooth) -> bool {
        self.tooth == Some(tooth)
    }

    #[cfg(not(popmap_teeth))]
    #[allow(clippy::unused_self, reason = "the negative controls have a choice here")]
    pub(crate) const fn broken(&self, _: Tooth) -> bool {
        false
    }

    /// Breaks one rule.
    #[cfg(popmap_teeth)]
    pub fn break_rule(&mut self, tooth: Tooth) {
        self.tooth = Some(tooth);
    }
}

impl<const N: usize> fmt::Debug for Map<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let State { slot, life, phase, version, floor, .. } = &self.state;
        f.debug_struct("Map")
            .field("slot", slot)
            .field("life", life)
            .field("phase", phase)
            .field("len", &self.len())
            .field("log_head", &self.log_head())
            .field("version", version)
            .field("floor", floor)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(popmap_loom)))]
mod tests;
