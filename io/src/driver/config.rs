//! What a driver is told, and how a life begins.
//!
//! Knows the order of a start: the generation is saved before anything else. Must not know the device.

use std::fmt;
use std::io;
use std::time::Duration;

use popmap_core::{Address, Config, ConfigError, Life};

use crate::clock::wall_clock_seconds;
use crate::generation::{GenerationError, GenerationFile};
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
    /// Where the generation survives restarts; without a file it comes from the clock alone. Default: none.
    pub generation: Option<GenerationFile>,
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
            queue: 65_536,
            pace: Pace::Sleep,
            grace: Duration::from_millis(100),
        }
    }

    /// Begins a life if none was given, and returns the node's configuration with it, and why the generation is not on
    /// disk if it should be.
    pub(super) fn begin(&self) -> Result<(Config, Option<GenerationError>), StartError> {
        let mut node = self.node;
        if node.life.is_known() {
            return Ok((node, None));
        }
        let clock = wall_clock_seconds();
        let (generation, warning) = match &self.generation {
            Some(file) => {
                let start = file.start(clock).map_err(StartError::Generation)?;
                (start.generation, start.warning)
            }
            None => (clock.saturating_add(1), None),
        };
        let id = life_id().map_err(StartError::LifeId)?.get();
        node.life = Life { generation, id };
        node.seed = id;
        Ok((node, warning))
    }
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
            Self::Payload { .. } => None,
        }
    }
}
