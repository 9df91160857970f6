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
    /// R1: of two records with one term and different writers the one that is there stands.
    TieUnbroken,
    /// R1: the term is not raised when another slot's record is overwritten.
    TermNotRaised,
    /// R2: a key created anew starts at term 1 instead of above the floor.
    TermRestarts,
    /// R2: tombstones leave without waiting for a packet's life.
    NoQuarantine,
    /// R2: the life that a server had at the observation is not looked at again.
    StaleObservation,
    /// R2: the floor of others is not joined.
    FloorNotJoined,
    /// R2: packets of forgotten lives are taken.
    ForgottenTaken,
    /// R2: forgetting lowers the version.
    ForgetLowersVersion,
    /// R2: a start that was forgotten raises its generation and goes on.
    ForgottenStartStays,
    /// R2: one that knows of somebody forgotten serves whoever has not seen its version.
    ServedUnseen,
    /// R2: a version that answers a version is answered by another.
    ReplyAnswered,
    /// R2: what left without a forgotten slot is not learned from others.
    ForgetUnbound,
    /// R2: it is learned by whoever holds older records, too, and nothing follows from that.
    BuriedLate,
    /// R2: records of a server that lacks what has left are taken.
    LacksBuriedTaken,
    /// R4.1: the generation is not raised above own counters seen.
    GenerationNotRaised,
    /// R4.2: the first write is allowed before every live peer has been committed from.
    EarlyWrite,
    /// R4.2: servers that are met after the start are not asked for our slot's older records.
    HistoryUnasked,
    /// R4.4: a packet computed for another life is taken.
    AnyLife,
    /// R4.4: packets from a life older than one known are taken.
    OldLives,
    /// R4.3: an earlier life's record replaces what this life wrote.
    NotReasserted,
    /// R4.4: the cursor into a peer's log outlives the peer's life.
    CursorKept,
    /// R4.5: the lesser of two lives in a slot goes on writing.
    NotFenced,
    /// R4.5: it goes on serving.
    FencedServes,
    /// R5: the cursor is moved past a gap.
    CursorPastGap,
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
    /// R7: what no version covers when its author dies is left to itself.
    OrphansLeft,
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
    /// Repair: digests leave the value out.
    DigestWithoutValue,
    /// Repair: a record that is absent though the version covers it is adopted.
    RepairAdopts,
    /// Membership: a server that is suspected does not refute.
    NotRefuted,
    /// Membership: an entry of a higher incarnation stands for no more than one of a lower.
    IncarnationIgnored,
    /// Membership: any ack answers the present probe, whatever its number.
    StaleAckTaken,
    /// Reader: the stamp is not looked at again after the value was copied.
    StampUnchecked,
}

/// Whether readers are broken; they have no map to ask.
#[cfg(popmap_teeth)]
static STAMP_UNCHECKED: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(false);

/// Breaks all readers, or mends them: [`Tooth::StampUnchecked`].
#[cfg(popmap_teeth)]
pub fn break_readers(broken: bool) {
    STAMP_UNCHECKED.store(broken, core::sync::atomic::Ordering::Relaxed);
}

/// Whether a reader's second look at the stamp is left out.
#[cfg(popmap_teeth)]
#[inline(always)]
pub(crate) fn stamp_unchecked() -> bool {
    STAMP_UNCHECKED.load(core::sync::atomic::Ordering::Relaxed)
}

#[cfg(not(popmap_teeth))]
#[inline(always)]
pub(crate) const fn stamp_unchecked() -> bool {
    false
}
