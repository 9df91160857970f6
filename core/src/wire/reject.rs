//! Why a packet was rejected.

use core::fmt;

macro_rules! rejects {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// Why a packet was rejected. Whatever the reason, no record, version or cursor changed, only a counter.
        ///
        /// Some reasons are news all the same (rule R4). [`SlotConflict`](Self::SlotConflict) may raise our generation or
        /// fence us. The sender's life is noted whoever the packet was for ([`OtherLife`](Self::OtherLife)), and a lesser
        /// one under the same generation ([`OldLife`](Self::OldLife)) marks the slot as claimed twice. A reason that a
        /// handler finds, behind every check of header and life, leaves the sender noted as heard.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[non_exhaustive]
        pub enum Reject { $($(#[doc = $doc])+ $name,)+ }

        impl Reject {
            /// Every reason, in the order of the counters in [`Stats`](crate::Stats).
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Returns the reason's name for metrics, in snake case.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

rejects! {
    /// Shorter than a header, or than the length that its header states.
    Truncated = "truncated",
    /// A major version other than ours.
    WireVersion = "wire_version",
    /// A kind that this version does not know.
    Kind = "kind",
    /// The stated length is below that of its fixed part, or its list does not fit in it.
    Length = "length",
    /// Longer than the configured payload limit.
    Oversize = "oversize",
    /// The checksum does not match.
    Checksum = "checksum",
    /// A key id other than zero, while no key is configured.
    KeyId = "key_id",
    /// Another cluster's packet.
    Cluster = "cluster",
    /// A slot, life or bit in the header outside its range.
    Header = "header",
    /// A fixed field of the body outside its range.
    Field = "field",
    /// Another schema id.
    Schema = "schema",
    /// Another value length.
    ValueLength = "value_length",
    /// A record with a slot, counter, term, flag or padding outside its range.
    Record = "record",
    /// A member entry with a slot, state or life outside its range.
    Member = "member",
    /// A server outside the configured slots.
    Unconfigured = "unconfigured",
    /// Our own packet came back.
    OwnPacket = "own_packet",
    /// Another server claims our slot (rule R4.5).
    SlotConflict = "slot_conflict",
    /// The sender's life is older than one known in its slot (rule R4.4).
    OldLife = "old_life",
    /// Computed for another life than ours (rule R4.4).
    OtherLife = "other_life",
    /// Must name the receiver's life and does not (rule R4.4).
    NoLife = "no_life",
    /// An answer to a question that was not asked, or not of this peer, or too long ago.
    Unasked = "unasked",
}

impl Reject {
    /// Returns the reason's place in [`Reject::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl core::error::Error for Reject {}
