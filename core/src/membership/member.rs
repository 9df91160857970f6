//! What is known of one member, and which of two such things stands.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::id::{Address, Life};

/// What a server tells of itself beside its address.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Meta {
    /// Its share of the keys relative to the other servers' (ownership), little-endian; zero owns nothing.
    weight: [u8; 2],
    /// For the embedder: a role, a zone, a version.
    pub opaque: [u8; 14],
}

impl Meta {
    /// The weight of a server that says nothing.
    pub const DEFAULT_WEIGHT: u16 = 100;

    /// Returns the metadata of a server with this weight and nothing else to say.
    pub const fn weighted(weight: u16) -> Self {
        Self { weight: weight.to_le_bytes(), opaque: [0; 14] }
    }

    /// Returns the share of the keys relative to the other servers'.
    pub const fn weight(&self) -> u16 {
        u16::from_le_bytes(self.weight)
    }
}

impl Default for Meta {
    fn default() -> Self {
        Self::weighted(Self::DEFAULT_WEIGHT)
    }
}

/// The state of a member, in the order in which one overrides another of the same incarnation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[repr(u8)]
pub enum State {
    /// Never heard of.
    Unknown = 0,
    /// Answers, as far as anybody knows.
    Alive = 1,
    /// Did not answer somebody; may refute.
    Suspect = 2,
    /// Did not refute.
    Dead = 3,
    /// Said that it leaves.
    Left = 4,
}

impl State {
    /// Whether the member takes part: a suspect does until it is declared dead.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Alive | Self::Suspect)
    }

    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Alive,
            2 => Self::Suspect,
            3 => Self::Dead,
            4 => Self::Left,
            _ => return None,
        })
    }
}

/// What is known of one member.
///
/// Of two such things the greater stands, by life, then incarnation, then state: a chain, so learning is a join. Only
/// the member itself raises its incarnation, to refute.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Member {
    /// The life that this is about.
    pub life: Life,
    /// How often the member has restated itself in this life.
    pub incarnation: u32,
    /// Its state.
    pub state: State,
    /// Where it is reached.
    pub address: Address,
    /// What it tells of itself.
    pub meta: Meta,
}

impl Member {
    pub(crate) const UNKNOWN: Self = Self {
        life: Life::NONE,
        incarnation: 0,
        state: State::Unknown,
        address: Address([0; 24]),
        meta: Meta::weighted(Meta::DEFAULT_WEIGHT),
    };

    /// Whether this stands over `known`.
    pub(crate) fn replaces(&self, known: &Self) -> bool {
        (self.life, self.incarnation, self.state) > (known.life, known.incarnation, known.state)
    }

    /// Whether this says the same of the same incarnation.
    pub(crate) fn supports(&self, known: &Self) -> bool {
        (self.life, self.incarnation, self.state) == (known.life, known.incarnation, known.state)
    }
}
