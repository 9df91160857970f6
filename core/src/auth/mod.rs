//! Keys, the ciphers that they belong to, and replay windows: what makes a packet the word of a server of the PoP.
//!
//! Knows secrets, subkeys and packet numbers. Must not know what a packet says, nor who may say it: the node does.
//!
//! One construction for all ciphers. A key is 32 secret bytes that belong to one algorithm. From it comes a *subkey* for
//! each life of each sender (HChaCha20), and under the subkey each packet number is used once:
//!
//! ```text
//! subkey = HChaCha20(key, life id (8 bytes) | slot | key id | algorithm | 1 if encrypted | 0 0 0 | 1)
//! mac    = tag of the AEAD under (subkey, nonce = packet number) over the packet without its MAC field
//! ```
//!
//! A life id is 64 random bits drawn at each start, so neither a lost generation nor a clock that ran backward repeats a
//! nonce. HChaCha20 is a pseudorandom function if ChaCha20 is (Bernstein 2011, "Extending the Salsa20 nonce"). Packets are authenticated as they are, or, by a key that says so, also encrypted behind the
//! header. The choice is the key's and never a packet's.

mod gcm;
mod key;
mod ring;
mod window;

use core::fmt;

pub use gcm::Aes128Gcm;
pub use key::{AuthKey, PAIRS, Row, SECRET, Subkey};
pub use ring::{KEYS_MAX, KeyRing, KeyRingError, RotationError};
pub use window::REPLAY_WINDOW;
pub(crate) use window::Window;

/// Bytes of a packet before its message authentication code: a multiple of every cipher's block.
pub const HEAD: usize = 48;

/// An authenticated cipher (AEAD), each packet under a nonce of its own.
///
/// `head` is the packet's header without the message authentication code, `body` what stands behind it, and `number` the
/// nonce: used once with each subkey. Whatever the cipher does with secrets takes the same time whatever their bytes.
///
/// Implemented here by [`Aes128Gcm`], and in `popmap-io` by a faster one for CPUs with AES instructions.
pub trait Aead: Sync + fmt::Debug {
    /// Returns the name that key files have for it.
    fn name(&self) -> &'static str;

    /// Returns its number, which takes part in the derivation of subkeys; each algorithm has another. 1 is
    /// [`Aes128Gcm`], 2 is AEGIS-128L.
    fn number(&self) -> u8;

    /// Returns the tag of `head` and `body`, neither of which is encrypted.
    fn tag(&self, subkey: &[u8; SECRET], number: u64, head: &[u8; HEAD], body: &[u8]) -> [u8; 16];

    /// Whether [`tag`](Self::tag) returns `tag`; compared in constant time.
    fn verify(
        &self,
        subkey: &[u8; SECRET],
        number: u64,
        head: &[u8; HEAD],
        body: &[u8],
        tag: &[u8; 16],
    ) -> bool;

    /// Encrypts `body` in place and returns the tag of `head` and what it has become.
    fn encrypt(&self, subkey: &[u8; SECRET], number: u64, head: &[u8; HEAD], body: &mut [u8]) -> [u8; 16];

    /// Decrypts `body` in place if the tag fits, which is compared in constant time. If not, it returns false and nobody
    /// may read `body`.
    fn decrypt(
        &self,
        subkey: &[u8; SECRET],
        number: u64,
        head: &[u8; HEAD],
        body: &mut [u8],
        tag: &[u8; 16],
    ) -> bool;
}

#[cfg(test)]
mod tests;
