//! What a driver is told, and how a life begins.
//!
//! Knows the order of a start: the generation is saved before anything else, and whether it can be relied on. Must not
//! know the device, nor what is done about a doubt.

use std::fmt;
use std::io;
use std::time::Duration;

use popmap_core::auth::KeyRing;
use popmap_core::{Address, Config, ConfigError, Life};

use crate::clock::is_set;
use crate::generation::{GenerationError, GenerationFile, Start};
use crate::life::life_id;

/// Everything a driver has to know; [`DriverConfig::new`] has a default for what is not an argument of it.
#[derive(Clone, Debug)]
pub struct DriverConfig {
    /// The node's configuration. Two fields may be left open: with [`Life::NONE`] a new life is begun (and `seed` is its
    /// id), and with the zero address the device's own is told to the others.
    pub node: Config,
    /// Servers of the PoP to join through; the first eight are used, and ours may be among them. None: this server
    /// begins a PoP of its own. Default: none.
    pub seeds: Vec<Address>,
    /// Where the generation survives restarts; without a file it comes from the clock alone. Where neither can be relied
    /// on ([`Start::in_doubt`](crate::Start::in_doubt)), the driver is silent for the first 10 seconds. Default: none.
    pub generation: Option<GenerationFile>,
    /// What packets are authenticated by; every server of the PoP needs keys then. Without them packets have a checksum
    /// only, and devices that strangers reach have to be opened as insecure. Default: none.
    pub keys: Option<Box<KeyRing>>,
    /// Writes from other threads that may wait. Default: 65,536.
    pub queue: usize,
    /// What to do while there is nothing to do. Default: sleep.
    pub pace: Pace,
    /// How long a stop may take: half of it for the last writes to get out, then the word that we leave, then half for
    /// that. Default: 100 ms.
    pub grace: Duration,
}

/// What a driver does while there is nothing to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Pace {
    /// Waits for the device, the deadline or a wake.
    #[default]
    Sleep,
    /// The same, after a nap of this length, or until the deadline if that is sooner: what comes meanwhile is taken as one
    /// burst. As interrupt coalescing does for a network card, this trades latency, of packets and of queued writes, for
    /// wake-ups: in a busy PoP they are most of what gossip costs. Some milliseconds are a good choice; what the
    /// device can hold meanwhile (for UDP its receive buffer) is the limit.
    Coalesce(Duration),
    /// Polls again at once: a core of its own for the least latency.
    Busy,
}

impl DriverConfig {
    /// Returns the configuration of a driver for `node`, with defaults for everything else.
    #[must_use]
    pub const fn new(node: Config) -> Self {
        Self {
            node,
            seeds: Vec::new(),
            generation: None,
            keys: None,
            queue: 65_536,
            pace: Pace::Sleep,
            grace: Duration::from_millis(100),
        }
    }

    /// Begins a life if none was given. `clock_seconds` is the wall clock's.
    pub(super) fn begin(&self, clock_seconds: u32) -> Result<Beginning, StartError> {
        let mut node = self.node;
        if node.life.is_known() {
            return Ok(Beginning { node, in_doubt: false, unsaved: None });
        }
        let start = match &self.generation {
            Some(file) => file.start(clock_seconds).map_err(StartError::Generation)?,
            None => Start {
                generation: clock_seconds.saturating_add(1),
                in_doubt: !is_set(clock_seconds),
                warning: None,
            },
        };
        let id = life_id().map_err(StartError::LifeId)?.get();
        node.life = Life { generation: start.generation, id };
        node.seed = id;
        Ok(Beginning { node, in_doubt: start.in_doubt, unsaved: start.warning })
    }
}

/// How a life begins.
pub(super) struct Beginning {
    /// The node's configuration, with a life.
    pub(super) node: Config,
    /// Nothing shows that the generation is above the last life's.
    pub(super) in_doubt: bool,
    /// Why the generation is not on disk, if it should be.
    pub(super) unsaved: Option<GenerationError>,
}

/// Why a driver could not be started. No packet was sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The node could not be built.
    Config(ConfigError),
    /// The node's packets may be longer than the device's.
    Payload {
        /// Bytes of the node's longest packet.
        node: usize,
        /// Bytes of the device's.
        device: usize,
    },
    /// The device was opened for authenticated packets, and there are no keys.
    NoKeys,
    /// No generation is left.
    Generation(GenerationError),
    /// The operating system has no randomness to give.
    LifeId(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Payload { node, device } => {
                write!(
                    f,
                    "payload: {node} bytes configured for the node; the device carries at most {device}"
                )
            }
            Self::NoKeys => f.write_str(
                "keys: none, and the device was opened for authenticated packets only; read a key file \
                 (popmap_io::keys::read), or open the device as insecure if the network itself keeps others out",
            ),
            Self::Generation(error) => error.fmt(f),
            Self::LifeId(error) => write!(f, "cannot draw a life id: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Generation(error) => Some(error),
            Self::LifeId(error) => Some(error),
            Self::Payload { .. } | Self::NoKeys => None,
        }
    }
}
