//! Caches without anything of ours in them.
//!
//! Knows how large the last-level cache is. Must not know what was in it.

use std::fs;
use std::hint::black_box;

/// Taken for the size of the last-level cache where the kernel does not tell it.
const LLC_DEFAULT: usize = 32 << 20;
const LINE: usize = 64;

/// A buffer larger than the last-level cache.
pub struct Evictor {
    buffer: Vec<u8>,
}

impl Default for Evictor {
    fn default() -> Self {
        Self::new()
    }
}

impl Evictor {
    /// Returns a buffer twice as large as the last-level cache.
    #[must_use]
    pub fn new() -> Self {
        Self { buffer: vec![1; 2 * llc()] }
    }

    /// Walks the buffer, so that what else was cached no longer is. It reads only: what it leaves has not to be written
    /// back by whoever comes next.
    pub fn evict(&self) {
        let sum = self.buffer.chunks_exact(LINE).fold(0, |sum: u8, line| sum.wrapping_add(line[0]));
        black_box(sum);
    }
}

/// Returns the bytes of the largest cache of the first processor.
#[must_use]
pub fn llc() -> usize {
    let sizes = (0..8).filter_map(|index| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size");
        parse(fs::read_to_string(path).ok()?.trim())
    });
    sizes.max().unwrap_or(LLC_DEFAULT)
}

/// Reads a size as the kernel writes it: `32768K`.
fn parse(size: &str) -> Option<usize> {
    let (number, unit) = size.split_at(size.find(|c: char| !c.is_ascii_digit()).unwrap_or(size.len()));
    let shift = match unit {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_shl(shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!(["32768K", "2M", "64"].map(parse), [Some(32 << 20), Some(2 << 20), Some(64)]);
        assert_eq!(["", "K", "3T"].map(parse), [None; 3]);
        assert!(llc() >= 1 << 15);
    }
}
