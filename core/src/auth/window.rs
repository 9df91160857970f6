//! Which packet numbers of a life were taken: each is taken once.

/// Numbers behind the highest that may still come: as many packets of a sender may overtake one another.
pub const REPLAY_WINDOW: usize = 1_024;

const WORDS: usize = REPLAY_WINDOW / 64;

/// The numbers taken of one life: the highest, and which of the 1,024 up to it (RFC 6479 does the same).
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// One more than the highest number taken; zero before the first.
    next: u64,
    /// A bit for each number, at its remainder by [`REPLAY_WINDOW`].
    taken: [u64; WORDS],
}

impl Window {
    /// Nothing was taken yet.
    pub(crate) const NEW: Self = Self { next: 0, taken: [0; WORDS] };

    /// Takes `number`, below 2^63. Returns false, with nothing changed, if it was taken before or is 1,024 or more below
    /// the highest.
    pub(crate) fn take(&mut self, number: u64) -> bool {
        let (word, bit) = ((number / 64) as usize % WORDS, 1 << (number % 64));
        if self.has_passed(number) {
            return false;
        }
        if number >= self.next {
            self.advance(number);
        }
        self.taken[word] |= bit;
        true
    }

    /// Whether `number` was taken before, or is 1,024 or more below the highest: [`take`](Self::take) would refuse it.
    pub(crate) fn has_passed(&self, number: u64) -> bool {
        let (word, bit) = ((number / 64) as usize % WORDS, 1 << (number % 64));
        number < self.next && (self.next - number > REPLAY_WINDOW as u64 || self.taken[word] & bit != 0)
    }

    /// Makes `number` the highest: what falls out of the window makes room for what lies between.
    fn advance(&mut self, number: u64) {
        if number - self.next >= REPLAY_WINDOW as u64 {
            self.taken = [0; WORDS];
        } else {
            for number in self.next..=number {
                self.taken[(number / 64) as usize % WORDS] &= !(1 << (number % 64));
            }
        }
        self.next = number + 1;
    }
}
