//! A 128-bit hash for sets of states. Knows nothing of what is hashed.
//!
//! Two lanes of folded multiplication with different constants. At 50 million states the chance that any two distinct
//! ones share all 128 bits is below 2^-75.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A hasher with 128 bits of result.
#[derive(Clone, Debug)]
pub struct Hash128 {
    lanes: [u64; 2],
}

impl Default for Hash128 {
    fn default() -> Self {
        Self { lanes: [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344] }
    }
}

const fn fold(x: u64, by: u64) -> u64 {
    let product = x as u128 * by as u128;
    product as u64 ^ (product >> 64) as u64
}

impl Hash128 {
    /// Returns the hash of all that was fed.
    pub fn finish_128(&self) -> u128 {
        let [a, b] = self.lanes;
        let low = fold(a ^ b.rotate_left(17), 0x9fb2_1c65_1e98_df25);
        let high = fold(b ^ a.rotate_left(41), 0xd6e8_feb8_6659_fd93);
        u128::from(low ^ a) | u128::from(high ^ b) << 64
    }

    /// Returns the hash of one value.
    pub fn of(value: &impl Hash) -> u128 {
        let mut hasher = Self::default();
        value.hash(&mut hasher);
        hasher.finish_128()
    }
}

impl Hasher for Hash128 {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.write_u64(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.write_u64(u64::from_le_bytes(word) ^ (rest.len() as u64) << 56);
        }
    }

    fn write_u8(&mut self, i: u8) {
        self.write_u64(i.into());
    }

    fn write_u16(&mut self, i: u16) {
        self.write_u64(i.into());
    }

    fn write_u32(&mut self, i: u32) {
        self.write_u64(i.into());
    }

    fn write_u64(&mut self, word: u64) {
        let [a, b] = self.lanes;
        self.lanes = [
            fold(a ^ word, 0x9e37_79b9_7f4a_7c15).wrapping_add(word.rotate_left(32)),
            fold(b.wrapping_add(word), 0xd1b5_4a32_d192_ed03).wrapping_add(a) ^ word.rotate_left(11),
        ];
    }

    fn write_usize(&mut self, i: usize) {
        self.write_u64(i as u64);
    }

    fn finish(&self) -> u64 {
        self.finish_128() as u64
    }
}

/// Takes the low half of what is a hash already.
#[derive(Default, Clone, Debug)]
pub struct Identity(u64);

impl Hasher for Identity {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only 128-bit hashes are kept in such a set");
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A set of states, each as its hash.
pub type Seen = HashSet<u128, BuildHasherDefault<Identity>>;
