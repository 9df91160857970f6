//! Every limit in one place, with the relations between them checked at compile time.

use crate::time::Duration;

/// Servers in a PoP: the most that a 64-bit set of slots holds.
pub const SLOTS_MAX: usize = 64;

/// Bytes of a packet, header included, unless jumbo frames are configured.
pub const PAYLOAD_DEFAULT: usize = 1_400;
/// The least payload limit that can be configured.
pub const PAYLOAD_MIN: usize = 1_200;
/// The greatest payload limit that can be configured (a 9,000-byte frame less IPv6 and UDP headers).
pub const PAYLOAD_MAX: usize = 8_952;

/// Bytes of a record beside its value: key 16, counter 8, term 4, slot 1, flags 1, reserved 2.
pub const RECORD_OVERHEAD: usize = 32;
/// The longest value, in bytes: with it a record still fits beside a full version vector in the least payload.
pub const VALUE_MAX: usize = 512;
/// The value length that memory and packet figures are quoted for: a record with its slot's stamp is a cache line.
pub const VALUE_DEFAULT: usize = 24;

/// Records a map may be built for.
pub const CAPACITY_MAX: usize = 1 << 22;
/// The part of the capacity that only remote records may use is one in this many (rule R3).
pub const RESERVE_DIVISOR: usize = 8;

/// Checkpoints that a map keeps of its change log.
pub const CHECKPOINTS: usize = 16;
/// Ranges of a peer's log that may wait ahead of the cursor for a gap to close.
pub const RANGES_AHEAD: usize = 8;
/// Own writes that are remembered for pushes: more than a packet holds, and some that were replaced meanwhile.
pub const FRESH: usize = 256;
/// Log entries that one delta packet may examine.
pub const WALK_MAX: u64 = 4_096;
/// Parts of the change log's ring after each of which a checkpoint is noted, however short the time since the last.
pub const LOG_PARTS: u64 = 8;
/// The least changes between two checkpoints that are noted for that reason.
pub const LOG_PART_MIN: u64 = 64;

/// Records of a packet that are looked up together before the first of them is merged.
pub const MERGE_BATCH: usize = 32;

/// Longer than any packet can live between two servers of a PoP, duplicates and switch buffers included (rule R2). Measured by
/// the clock handed to the node: a leap forward by x shortens the one under way by x.
pub const QUARANTINE: Duration = Duration::from_secs(10);

/// Records that answering one repair question may read.
pub const REPAIR_SCAN_MAX: usize = 4_096;
/// Times that a reader tries a slot before it reports that the writer kept it busy.
pub const READ_TRIES: u32 = 64;
/// Events that wait to be polled before the oldest is given up for an explicit count.
pub const EVENTS: usize = 64;

const _: () = {
    assert!(SLOTS_MAX <= u64::BITS as usize);
    assert!(PAYLOAD_MIN <= PAYLOAD_DEFAULT && PAYLOAD_DEFAULT <= PAYLOAD_MAX);
    // A delta with a full version vector still carries one record of the greatest length.
    assert!(crate::wire::DELTA_FIXED + 8 + 8 * SLOTS_MAX + RECORD_OVERHEAD + VALUE_MAX <= PAYLOAD_MIN);
    // One for a server that is new to what left without a forgotten slot carries that, and beside it the version or a record.
    assert!(crate::wire::DELTA_FIXED + 2 * (8 + 8 * SLOTS_MAX) <= PAYLOAD_MIN);
    // A version with all that can be forgotten.
    assert!(crate::wire::VERSION_FIXED + 2 * (8 + 8 * SLOTS_MAX) <= PAYLOAD_MIN);
    // Packet lengths and record counts are 16-bit on the wire.
    assert!(PAYLOAD_MAX <= u16::MAX as usize);
    // Log positions are compared through their low 30 bits. Between two that are compared lie no more than the entries of
    // the ring, which is as long as the table, and the places of one scan.
    assert!(CAPACITY_MAX * 2 + 2 < 1 << 30);
    assert!(LOG_PARTS < CHECKPOINTS as u64);
    assert!(VALUE_DEFAULT <= VALUE_MAX && VALUE_MAX.is_multiple_of(8));
};
