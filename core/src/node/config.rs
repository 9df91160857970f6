//! What a node is told when it is built.

use core::fmt;

use crate::auth::RotationError;
use crate::id::{Address, Life, Slot, SlotSet};
use crate::limits::{PAYLOAD_DEFAULT, PAYLOAD_MAX, PAYLOAD_MIN, SLOTS_MAX};
use crate::map::MapError;
use crate::membership::{Meta, SwimConfig};
use crate::sync::SyncConfig;
use crate::time::Duration;
use crate::wire::Shape;

/// Everything a node has to know; [`Config::new`] has a sensible default for what is not an argument of it.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The cluster: packets of another are dropped.
    pub cluster: u64,
    /// Our slot.
    pub slot: Slot,
    /// Every slot of the PoP, ours among them; those at or above the node's `N` are left out. Default: all.
    pub configured: SlotSet,
    /// This life: a generation above every earlier one as far as is known, and 64 fresh random bits (R4).
    pub life: Life,
    /// Records that the map holds, tombstones and the reserve among them.
    pub capacity: usize,
    /// What all servers agree on.
    pub shape: Shape,
    /// Bytes of the longest packet. Default: [`PAYLOAD_DEFAULT`]; more is for jumbo frames on every server of the PoP.
    pub payload: usize,
    /// What the node's choices are drawn from: the same seed and inputs give the same run. Default: the life id.
    pub seed: u64,
    /// How long the first write may wait for every live peer to be met (R4.2). Default: 5 s.
    pub start_within: Duration,
    /// Where the others reach us, as far as we know; zero leaves it to them to see where our packets come from.
    pub address: Address,
    /// What the others are told of us, with [`swim`](Self::swim). Default: a weight of 100 and nothing else.
    pub meta: Meta,
    /// How to find out who is alive; `None` when somebody else does and tells by
    /// [`Node::set_live`](super::Node::set_live). Default: [`SwimConfig::DEFAULT`].
    pub swim: Option<SwimConfig>,
    /// When to exchange, pull and push.
    pub sync: SyncConfig,
    /// How often some buckets are compared with a peer (DESIGN section 4). Default: 1 s.
    pub repair: Duration,
    /// Bytes of data that may leave in each [`budget_interval`](Self::budget_interval). Default: 1 MiB.
    pub budget_bytes: u32,
    /// The interval of the budget. Default: 10 ms.
    pub budget_interval: Duration,
}

impl Config {
    /// Returns the configuration of a server in `slot` of a PoP that uses all of its `N` slots, with defaults for everything else.
    pub const fn new(cluster: u64, slot: Slot, life: Life, capacity: usize, shape: Shape) -> Self {
        Self {
            cluster,
            slot,
            configured: SlotSet::first(SLOTS_MAX),
            life,
            capacity,
            shape,
            payload: PAYLOAD_DEFAULT,
            seed: life.id,
            start_within: Duration::from_secs(5),
            address: Address([0; 24]),
            meta: Meta::weighted(Meta::DEFAULT_WEIGHT),
            swim: Some(SwimConfig::DEFAULT),
            sync: SyncConfig::DEFAULT,
            repair: Duration::from_secs(1),
            budget_bytes: 1 << 20,
            budget_interval: Duration::from_millis(10),
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if !(PAYLOAD_MIN..=PAYLOAD_MAX).contains(&self.payload) {
            return Err(ConfigError::Payload(self.payload));
        }
        if self.budget_bytes < self.payload as u32 {
            return Err(ConfigError::Budget { bytes: self.budget_bytes, payload: self.payload });
        }
        let SyncConfig { push_delay: _, exchange, exchange_idle, exchange_equal, retry, pull_pause, window } =
            self.sync;
        let spans = [
            ("sync.exchange", exchange),
            ("sync.exchange_idle", exchange_idle),
            ("sync.exchange_equal", exchange_equal),
            ("sync.retry", retry),
            ("sync.pull_pause", pull_pause),
            ("repair", self.repair),
            ("budget_interval", self.budget_interval),
        ];
        let swim = self.swim.unwrap_or(SwimConfig::DEFAULT);
        let swim = [
            ("swim.period", swim.period),
            ("swim.gossip", swim.gossip),
            ("swim.retry_dead", swim.retry_dead),
        ];
        match spans.into_iter().chain(swim).find(|(_, span)| *span == Duration::ZERO) {
            Some((field, _)) => Err(ConfigError::Zero { field }),
            None if window == 0 => Err(ConfigError::Zero { field: "sync.window" }),
            None => Ok(()),
        }
    }
}

/// Why a node could not be built. Nothing has been changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// The map could not be built.
    Map(MapError),
    /// The keys are not for this server.
    Keys(RotationError),
    /// The payload limit is out of range.
    Payload(usize),
    /// The budget is below one packet.
    Budget {
        /// Bytes of an interval.
        bytes: u32,
        /// Bytes of the longest packet.
        payload: usize,
    },
    /// A span of time or a count is zero.
    Zero {
        /// The field.
        field: &'static str,
    },
}

impl From<MapError> for ConfigError {
    fn from(error: MapError) -> Self {
        Self::Map(error)
    }
}

impl From<RotationError> for ConfigError {
    fn from(error: RotationError) -> Self {
        Self::Keys(error)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Map(error) => error.fmt(f),
            Self::Keys(error) => error.fmt(f),
            Self::Payload(given) => {
                write!(f, "payload: {given} bytes; {PAYLOAD_MIN} to {PAYLOAD_MAX} are possible")
            }
            Self::Budget { bytes, payload } => {
                write!(f, "budget_bytes: {bytes}; at least one packet of {payload} bytes must fit")
            }
            Self::Zero { field } => write!(f, "{field}: 0 was given; anything above is possible"),
        }
    }
}

impl core::error::Error for ConfigError {}
