//! Deliberate breakages of the rules, for the negative controls.
//!
//! Under `--cfg popmap_teeth` a map can be told to break one rule, and the checks of `popmap-tests` must notice. In
//! every other build the question "is it broken?" is the constant `false`.

macro_rules! teeth {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// One rule to break.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[cfg_attr(not(popmap_teeth), allow(dead_code, reason = "only the negative controls break rules"))]
        pub enum Tooth { $($(#[doc = $doc])+ $name,)+ }

        #[cfg(popmap_teeth)]
        impl Tooth {
            /// Every breakage.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];
        }
    };
}

teeth! {
    /// R1: the published rule instead of the total order: causality first, static priority between concurrent writes.
    PublishedOrder,
    /// R1: the term is not raised when another slot's record is overwritten.
    TermNotRaised,
    /// R2: a key created anew starts at term 1 instead of above the floor.
    TermRestarts,
    /// R2: tombstones leave without waiting for a packet's life.
    NoQuarantine,
    /// R4.1: the generation is not raised above own counters seen.
    GenerationNotRaised,
    /// R4.2: the first write is allowed before every live peer has been committed from.
    EarlyWrite,
    /// R4.4: a packet computed for another life is taken.
    AnyLife,
    /// R4.4: packets from a life older than one known are taken.
    OldLives,
    /// R5: the sender's version is adopted with every packet.
    CommitEveryPacket,
    /// R5: a delta that starts at or before the cursor is taken for a duplicate, wherever it ends.
    DuplicateByStart,
    /// R5: checkpoints note the version instead of HELD.
    CheckpointOfVersion,
    /// R5: a version is committed although a newer head was used on the way.
    HeadOrder,
    /// Change log: a receiver that the ring no longer reaches back to is served what the ring has.
    WalkFromTail,
    /// R5: what a receiver has of a scan is taken for everything from the log's start to there.
    ScanIsWhole,
    /// R4.4: the version hash of a life older than one known is taken for the present one's.
    HashOfOldLife,
    /// Version hash: a slot is left out.
    HashOmitsSlot,
    /// Push: what does not fit is left out, and the range is claimed all the same.
    PushTruncated,
    /// Push: a range ends between two writes of one key of ours, and the later one is not in it.
    PushSplitBlindly,
    /// Push: own writes replaced here by another slot's record do not stop it.
    PushUnguarded,
    /// Trust: the message authentication code is not compared.
    MacUnchecked,
    /// Trust: a packet that came before is taken again.
    ReplayTaken,
    /// Trust: a packet that does not name our life is taken, if its sender's life is known.
    UnprovedTaken,
}
