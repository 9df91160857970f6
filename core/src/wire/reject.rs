//! Why a packet was rejected.

use core::fmt;

macro_rules! rejects {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $message:literal;)+) => {
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

            const fn message(self) -> &'static str {
                match self { $(Self::$name => $message,)+ }
            }
        }
    };
}

rejects! {
    /// Shorter than a header, or than the length that its header states.
    Truncated = "truncated", "shorter than a header, or than its header says";
    /// A major version other than ours.
    WireVersion = "wire_version", "another major version of the wire format";
    /// A kind that this version does not know.
    Kind = "kind", "a kind that this version does not know";
    /// The stated length is below that of its fixed part, or its list does not fit in it.
    Length = "length", "the stated length is too short for the kind, or for its list";
    /// Longer than the configured payload limit.
    Oversize = "oversize", "longer than the configured payload limit";
    /// The checksum does not match.
    Checksum = "checksum", "the checksum does not match";
    /// No key of this id is configured.
    KeyId = "key_id", "names a key that is not configured";
    /// Names no key, while keys are configured.
    Unauthenticated = "unauthenticated", "names no key, and only authenticated packets are taken";
    /// The message authentication code is not that of the key which the packet names.
    Mac = "mac", "the message authentication code does not match: forged, damaged, or of another key with this id";
    /// An authenticated packet that was not made for this life of ours: it may be a recording. It may be answered by one
    /// that tells our life.
    Unproved = "unproved", "does not name our life: it may be a recording";
    /// An authenticated packet that was taken before, or is too old for that to be known.
    Replay = "replay", "came before, or is too old to know";
    /// More of this source than its share of the interval; its code was not looked at.
    OverBudget = "over_budget", "its source has used up its share of this interval";
    /// Another cluster's packet.
    Cluster = "cluster", "a packet of another cluster";
    /// A slot or life in the header outside its range.
    Header = "header", "a slot or life in the header is out of range";
    /// A fixed field of the body outside its range; a repair question about more than one answer may read.
    Field = "field", "a fixed field of the body is out of range";
    /// Another schema id.
    Schema = "schema", "another schema id: the values would be misread";
    /// Another value length.
    ValueLength = "value_length", "another value length";
    /// A record with a slot, counter, term, flag or padding outside its range, or of a slot that the sender does not speak for.
    Record = "record", "a record is out of range, or not the sender's to send";
    /// A member entry with a slot, state or life outside its range.
    Member = "member", "a member entry is out of range";
    /// A server outside the configured slots.
    Unconfigured = "unconfigured", "the sender's slot is not configured here";
    /// Our own packet came back.
    OwnPacket = "own_packet", "our own packet came back";
    /// Another server claims our slot (rule R4.5).
    SlotConflict = "slot_conflict", "another server claims our slot";
    /// The sender's life is older than one known in its slot (rule R4.4).
    OldLife = "old_life", "the sender's life is over: a newer one is known in its slot";
    /// Computed for another life than ours (rule R4.4).
    OtherLife = "other_life", "computed for another life than ours";
    /// Must name the receiver's life and does not (rule R4.4).
    NoLife = "no_life", "must name the life that it was computed for, and does not";
    /// Our own life is over: fenced (rule R4.5) or forgotten (rule R2).
    Over = "over", "our own life is over: fenced or forgotten";
    /// The sender's life was forgotten (rule R2).
    Forgotten = "forgotten", "the sender's life was forgotten";
    /// Records of a server whose version does not cover tombstones that have left: they may be older (rule R2).
    LacksBuried = "lacks_buried", "the sender may lack tombstones that have left, so its records may be older";
    /// An answer to a question that was not asked, or not of this peer, or too long ago.
    Unasked = "unasked", "answers a question that was not asked, not of this peer, or too long ago";
}

impl Reject {
    /// Returns the reason's place in [`Reject::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name(), self.message())
    }
}

impl core::error::Error for Reject {}
