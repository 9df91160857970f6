//! Bytes as choices: what a script takes from an input.
//!
//! An input that ends is read again from its start, altered, so that a short one is a long script too. Knows nothing of
//! what is chosen.

/// A reader that never ends.
#[derive(Clone, Debug)]
pub struct Bytes<'b> {
    bytes: &'b [u8],
    at: usize,
    /// Changes the bytes of each pass but the first.
    twist: u8,
    passes: usize,
}

impl<'b> Bytes<'b> {
    /// Starts at the first byte.
    pub fn new(bytes: &'b [u8]) -> Self {
        Self { bytes: if bytes.is_empty() { &[0] } else { bytes }, at: 0, twist: 0, passes: 0 }
    }

    /// Whether every byte was read once.
    pub fn is_over(&self) -> bool {
        self.passes > 0
    }

    /// Returns the next byte.
    #[inline]
    pub fn byte(&mut self) -> u8 {
        let byte = self.bytes[self.at] ^ self.twist;
        self.at += 1;
        if self.at == self.bytes.len() {
            self.at = 0;
            self.passes += 1;
            // Odd, so that no two of 256 passes are the same.
            self.twist = self.twist.wrapping_add(0x9d);
        }
        byte
    }

    /// Returns a number below `bound`, which is at most 256.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    /// Returns one of `these`.
    pub fn pick<T: Copy>(&mut self, these: &[T]) -> T {
        these[self.below(these.len())]
    }

    /// Returns true once in `n`, if bytes are even.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    /// Returns the next eight bytes as a number.
    pub fn word(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }
}

/// Returns the little-endian number of `LEN` bytes at `at`.
///
/// # Panics
/// When there are fewer.
pub fn number<const LEN: usize>(bytes: &[u8], at: usize) -> u64 {
    const { assert!(LEN <= 8) };
    let mut word = [0; 8];
    word[..LEN].copy_from_slice(&bytes[at..at + LEN]);
    u64::from_le_bytes(word)
}
