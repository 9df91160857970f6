//! The memory of a map: words, all zero, from the start of a cache line.
//!
//! Knows alignment and lifetimes. Must not know what is kept there.

/// Words of a cache line: storage that starts on one is fastest.
const LINE_WORDS: usize = 8;

/// Zeroed memory for one map, which the operating system provides as it is first used.
///
/// A map borrows it, and so do all readers: that is what lets a reader be a plain copy that counts no references. There
/// are two ways to have readers on other threads, both without unsafe code:
///
/// - [`leak`](Self::leak) it: driver and readers are `'static` and live on any thread. For a server, which starts one map
///   and ends with it; the memory is never given back, so not for a program that starts maps again and again.
/// - Keep it, [borrow](Self::words_mut) it, and run driver and readers in a [`std::thread::scope`]: given back at the end.
///
/// Counting references instead would put an atomic operation on each clone of a reader and unsafe code under it.
#[derive(Debug)]
pub struct Storage {
    words: Vec<u64>,
}

impl Storage {
    /// Returns `words` zeroed words ([`Node::words`](popmap_core::Node::words) tells how many).
    #[must_use]
    pub fn new(words: usize) -> Self {
        Self { words: vec![0; words + LINE_WORDS - 1] }
    }

    /// Returns the words.
    pub fn words_mut(&mut self) -> &mut [u64] {
        aligned(&mut self.words)
    }

    /// Returns the words for the rest of the program.
    #[must_use]
    pub fn leak(self) -> &'static mut [u64] {
        aligned(self.words.leak())
    }
}

fn aligned(words: &mut [u64]) -> &mut [u64] {
    let len = words.len() - (LINE_WORDS - 1);
    let skip = words.as_ptr().align_offset(LINE_WORDS * size_of::<u64>());
    // Where alignment cannot be told, an unaligned map is slower and as right.
    let skip = skip.min(LINE_WORDS - 1);
    &mut words[skip..skip + len]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_zero_aligned_and_as_long_as_asked() {
        for words in [0, 1, 7, 8, 1_000] {
            let mut storage = Storage::new(words);
            assert_eq!(storage.words_mut(), vec![0; words]);
            assert_eq!(storage.words_mut().as_ptr().align_offset(64), 0);
        }
    }
}
