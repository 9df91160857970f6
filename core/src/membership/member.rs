//! What is known of one member, and which of two such things stands.

use crate::id::{Address, Life};

/// What a server tells of itself beside its address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
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

    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        let [low, high, opaque @ ..] = bytes;
        Self { weight: [low, high], opaque }
    }

    pub(crate) fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&self.weight);
        bytes[2..].copy_from_slice(&self.opaque);
        bytes
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
    /// What a server says of itself when it starts.
    pub(crate) const fn starting(life: Life, address: Address, meta: Meta) -> Self {
        Self { life, incarnation: 1, state: State::Alive, address, meta }
    }

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

    /// Whether this is less than what is known.
    pub(crate) fn replaces_not(&self, known: &Self) -> bool {
        !self.replaces(known) && !self.supports(known)
    }

    /// Whether this says the same of the same incarnation.
    pub(crate) fn supports(&self, known: &Self) -> bool {
        (self.life, self.incarnation, self.state) == (known.life, known.incarnation, known.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every entry of two generations, two ids, two incarnations and every state.
    fn all() -> Vec<Member> {
        let mut all = std::vec![Member::UNKNOWN];
        for bits in 0..32_u8 {
            let bit = |at: u8| bits >> at & 1;
            let life = Life { generation: u32::from(bit(0)), id: 1 + u64::from(bit(1)) };
            let state = State::from_byte(1 + bit(3) + 2 * bit(4)).unwrap();
            all.push(Member { life, incarnation: u32::from(bit(2)), state, ..Member::UNKNOWN });
        }
        all
    }

    fn join(a: Member, b: Member) -> Member {
        if b.replaces(&a) { b } else { a }
    }

    #[test]
    fn learning_is_a_join() {
        for a in all() {
            assert_eq!(join(a, a), a);
            for b in all() {
                assert_eq!(join(a, b), join(b, a));
                let relations = [a.replaces(&b), a.supports(&b), a.replaces_not(&b)];
                assert_eq!(relations.iter().filter(|&&holds| holds).count(), 1, "{a:?} {b:?}");
                for c in all() {
                    assert_eq!(join(join(a, b), c), join(a, join(b, c)));
                }
            }
        }
    }

    #[test]
    fn only_a_higher_incarnation_refutes_and_only_a_new_life_comes_back() {
        let life = Life { generation: 3, id: 7 };
        let said = |incarnation, state| Member {
            incarnation,
            state,
            ..Member::starting(life, Address::default(), Meta::default())
        };
        let chain = [
            said(1, State::Alive),
            said(1, State::Suspect),
            said(1, State::Dead),
            said(1, State::Left),
            said(2, State::Alive),
            Member { life: Life { generation: 3, id: 8 }, ..said(0, State::Alive) },
            Member { life: Life { generation: 4, id: 1 }, ..said(0, State::Alive) },
        ];
        for pair in chain.windows(2) {
            assert!(pair[1].replaces(&pair[0]) && pair[0].replaces_not(&pair[1]));
        }
        assert!(chain[0].replaces(&Member::UNKNOWN));
    }

    #[test]
    fn metadata_and_states_go_through_bytes() {
        let bytes = core::array::from_fn(|at| at as u8);
        let meta = Meta::from_bytes(bytes);
        assert_eq!((meta.weight(), meta.opaque[0], meta.to_bytes()), (0x0100, 2, bytes));
        for byte in 0..=u8::MAX {
            assert_eq!(
                State::from_byte(byte).map(|state| state as u8),
                (1..=4).contains(&byte).then_some(byte)
            );
        }
    }
}
