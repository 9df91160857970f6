//! The Internet checksum (RFC 1071).
//!
//! Knows the one's complement sum. Must not know which headers carry it.

use zerocopy::big_endian::U16;

/// A one's complement sum in the making.
///
/// The sum is the same in either byte order but for a swap at the end (RFC 1071, 2B), and 32-bit words add up to the
/// same as their halves (2C), so words are added as the machine reads them.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(super) struct Sum(u64);

impl Sum {
    /// The sum of nothing.
    pub(super) const NONE: Self = Self(0);

    /// Adds bytes. All parts but the last are of even length.
    pub(super) fn add(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<4>();
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        let sum: u64 = words.iter().map(|&word| u64::from(u32::from_ne_bytes(word))).sum();
        Self(self.0 + sum + u64::from(u32::from_ne_bytes(last)))
    }

    /// Adds a 16-bit number as it would stand in the packet.
    pub(super) fn add_number(self, number: u16) -> Self {
        self.add(&number.to_be_bytes())
    }

    fn folded(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    /// Returns what goes into the checksum field, when the field was summed as zero.
    pub(super) fn checksum(self) -> U16 {
        U16::from_bytes((!self.folded()).to_ne_bytes())
    }

    /// Whether the sum over everything, the checksum field too, is that of an undamaged packet.
    pub(super) fn is_valid(self) -> bool {
        self.folded() == 0xffff
    }
}

#[cfg(test)]
mod tests {
    use popmap_core::rng::Rng;

    use super::*;

    /// Sixteen bits at a time, as the RFC defines it.
    fn defined(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u32::from(low));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn the_example_of_the_rfc() {
        // RFC 1071, section 3: the sum of these is ddf2.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::NONE.add(&bytes).checksum(), !0xddf2);
    }

    #[test]
    fn agrees_with_the_definition_however_it_is_cut() {
        let mut rng = Rng::new(1);
        let bytes: Vec<u8> = (0..9_000).map(|_| rng.next_u64() as u8).collect();
        for len in (0..80).chain([1_399, 1_400, 8_951, 9_000]) {
            let expected = defined(&bytes[..len]);
            for cut in (0..=len.min(40)).step_by(2) {
                let (left, right) = bytes[..len].split_at(cut);
                assert_eq!(Sum::NONE.add(left).add(right).checksum(), expected, "{len} at {cut}");
            }
        }
        let ones = [0xff; 9_000];
        assert_eq!(Sum::NONE.add(&ones).checksum(), defined(&ones));
    }

    #[test]
    fn every_damaged_bit_shows() {
        let mut packet = *b"some bytes and their checksum: ..";
        packet[30..32].fill(0);
        let sum = Sum::NONE.add(&packet).checksum().to_bytes();
        packet[30..32].copy_from_slice(&sum);
        assert!(Sum::NONE.add(&packet).is_valid());
        for bit in 0..packet.len() * 8 {
            packet[bit / 8] ^= 1 << (bit % 8);
            assert!(!Sum::NONE.add(&packet).is_valid(), "bit {bit}");
            packet[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
