//! A key: what its secret bytes are, which algorithm they belong to, and what is derived from them.

use core::fmt;
use core::num::NonZeroU8;

use chacha20::{R20, hchacha};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{Aead, Aes128Gcm};
use crate::id::Slot;
use crate::limits::SLOTS_MAX;

/// Bytes of a secret.
pub const SECRET: usize = 32;
/// Secrets of a row: one for each slot.
pub const PAIRS: usize = SLOTS_MAX;

/// What a derived secret is for: two of different uses never come from equal inputs.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Use {
    Subkey = 1,
    Pair = 2,
    Group = 3,
}

fn derive(secret: &[u8; SECRET], mut input: [u8; 16], purpose: Use) -> [u8; SECRET] {
    input[15] = purpose as u8;
    hchacha::<R20>(secret.into(), &input.into()).into()
}

/// What authenticates the packets of one sender's life; zeroed when it is dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Subkey(pub(crate) [u8; SECRET]);

impl Subkey {
    pub(crate) const NONE: Self = Self([0; SECRET]);

    /// Returns the secret, for a cipher.
    #[must_use]
    pub fn bytes(&self) -> &[u8; SECRET] {
        &self.0
    }
}

impl fmt::Debug for Subkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subkey").finish_non_exhaustive()
    }
}

/// The secrets that one server shares with each other server, all derived from a master that no server has: with them it
/// can speak for its own slot and no other.
///
/// Each verifier of a MAC can also make it. So servers `i` and `j` have a secret of their own, which nobody else has and
/// which the packets from `i` to `j` and from `j` to `i` are authenticated by. All servers of the PoP share one more, the
/// group's, for a packet to a server that is not known yet; such a packet moves no state.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Row {
    #[zeroize(skip)]
    slot: Slot,
    group: [u8; SECRET],
    pairs: [[u8; SECRET]; PAIRS],
}

impl Row {
    /// Bytes of a row: the group's secret, then those of slots 0 to 63.
    pub const LEN: usize = SECRET * (1 + PAIRS);

    /// Derives the row of `slot` for the key `id` from `master`: `HChaCha20(master, lesser slot | greater slot | id | 0 ..
    /// 0 | 2)` for each pair, and `HChaCha20(master, 0 | 0 | id | 0 .. 0 | 3)` for the group.
    #[must_use]
    pub fn derive(master: &[u8; SECRET], id: NonZeroU8, slot: Slot) -> Self {
        let input = |low: u8, high: u8| {
            let mut input = [0; 16];
            (input[0], input[1], input[2]) = (low, high, id.get());
            input
        };
        let mut row = Self { slot, group: [0; SECRET], pairs: [[0; SECRET]; PAIRS] };
        row.group = derive(master, input(0, 0), Use::Group);
        for (other, pair) in row.pairs.iter_mut().enumerate() {
            let (me, other) = (slot.get(), other as u8);
            *pair = derive(master, input(me.min(other), me.max(other)), Use::Pair);
        }
        row
    }

    /// Returns the row of `slot` whose bytes are `bytes`; `None` unless there are [`LEN`](Self::LEN) of them.
    #[must_use]
    pub fn from_bytes(slot: Slot, bytes: &[u8]) -> Option<Self> {
        let (secrets, rest) = bytes.as_chunks::<SECRET>();
        let (group, pairs) = secrets.split_first()?;
        let pairs = *<&[_; PAIRS]>::try_from(pairs).ok()?;
        rest.is_empty().then(|| Self { slot, group: *group, pairs })
    }

    /// Fills `bytes` with the row.
    pub fn write_to(&self, bytes: &mut [u8; Self::LEN]) {
        bytes[..SECRET].copy_from_slice(&self.group);
        bytes[SECRET..].copy_from_slice(self.pairs.as_flattened());
    }

    /// Returns whose row it is.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.slot
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row").field("slot", &self.slot).finish_non_exhaustive()
    }
}

#[derive(Clone)]
#[allow(clippy::large_enum_variant, reason = "there is no allocator, and few keys")]
enum Material {
    /// All servers have it.
    Shared([u8; SECRET]),
    Row(Row),
}

impl Drop for Material {
    fn drop(&mut self) {
        if let Self::Shared(secret) = self {
            secret.zeroize();
        }
    }
}

/// A key that packets are authenticated by. Its secret bytes are zeroed when it is dropped and never printed; where a
/// value was moved from, the compiler may leave copies.
#[derive(Clone)]
pub struct AuthKey {
    id: NonZeroU8,
    cipher: &'static dyn Aead,
    encrypts: bool,
    material: Material,
}

impl AuthKey {
    /// Returns a key that all servers of the PoP have: any of them can speak for any other.
    ///
    /// `secret` is 32 random bytes. Packets are authenticated by [`Aes128Gcm`] and not encrypted, unless
    /// [`with_cipher`](Self::with_cipher) and [`encrypted`](Self::encrypted) say otherwise.
    #[must_use]
    pub fn shared(id: NonZeroU8, secret: [u8; SECRET]) -> Self {
        Self { id, cipher: &Aes128Gcm, encrypts: false, material: Material::Shared(secret) }
    }

    /// Returns the key of a server that can speak for its own slot only.
    #[must_use]
    pub fn row(id: NonZeroU8, row: Row) -> Self {
        Self { id, cipher: &Aes128Gcm, encrypts: false, material: Material::Row(row) }
    }

    /// Returns this key for another algorithm; it must be the same on every server.
    #[must_use]
    pub fn with_cipher(self, cipher: &'static dyn Aead) -> Self {
        Self { cipher, ..self }
    }

    /// Returns this key with packets encrypted behind their headers, or not; it must be the same on every server.
    #[must_use]
    pub fn encrypted(self, encrypts: bool) -> Self {
        Self { encrypts, ..self }
    }

    /// Returns the key's id, as packets have it.
    #[must_use]
    pub fn id(&self) -> NonZeroU8 {
        self.id
    }

    /// Returns the algorithm.
    #[must_use]
    pub fn cipher(&self) -> &'static dyn Aead {
        self.cipher
    }

    /// Whether packets are encrypted, and not only authenticated.
    #[must_use]
    pub fn encrypts(&self) -> bool {
        self.encrypts
    }

    /// Returns the slot that the key is bound to; `None` for a shared key.
    #[must_use]
    pub fn slot(&self) -> Option<Slot> {
        match &self.material {
            Material::Shared(_) => None,
            Material::Row(row) => Some(row.slot),
        }
    }

    /// Returns the subkey of the packets from the server in `from`, in the life of this id. `with` is the other of the two
    /// servers, seen from the one that holds this key; `None` while the receiver is not known. A node does all of this by
    /// itself; this is for those who make packets without one.
    #[must_use]
    pub fn subkey(&self, from: Slot, life: u64, with: Option<Slot>) -> Subkey {
        let secret = match (&self.material, with) {
            (Material::Shared(secret), _) => secret,
            (Material::Row(row), None) => &row.group,
            (Material::Row(row), Some(slot)) => &row.pairs[slot.index()],
        };
        let mut input = [0; 16];
        input[..8].copy_from_slice(&life.to_le_bytes());
        input[8..12].copy_from_slice(&[
            from.get(),
            self.id.get(),
            self.cipher.number(),
            u8::from(self.encrypts),
        ]);
        Subkey(derive(secret, input, Use::Subkey))
    }

    /// Whether `other` authenticates the same packets. Not in constant time with respect to how the keys differ: both are
    /// the operator's.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let material = match (&self.material, &other.material) {
            (Material::Shared(one), Material::Shared(two)) => one == two,
            (Material::Row(one), Material::Row(two)) => {
                one.slot == two.slot && one.group == two.group && one.pairs == two.pairs
            }
            _ => false,
        };
        material
            && self.id == other.id
            && self.encrypts == other.encrypts
            && self.cipher.number() == other.cipher.number()
    }
}

impl fmt::Debug for AuthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthKey")
            .field("id", &self.id)
            .field("cipher", &self.cipher.name())
            .field("encrypts", &self.encrypts)
            .field("slot", &self.slot())
            .finish_non_exhaustive()
    }
}
