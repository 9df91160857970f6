//! The bodies, one fixed part a kind, and what follows it.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Kind, Records, Reject, Shape, Sparse};
use crate::id::{Life, Slot};

macro_rules! layouts {
    ($($(#[doc = $doc:literal])+ $name:ident: $len:literal { $($(#[doc = $field_doc:literal])+ $field:ident: $ty:ty,)+ })+) => {
        $(
            $(#[doc = $doc])+
            #[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
            #[repr(C)]
            pub struct $name { $($(#[doc = $field_doc])+ pub $field: $ty,)+ }
            const _: () = assert!(size_of::<$name>() == $len && align_of::<$name>() == 1 && $len % 8 == 0);
        )+
    };
}

layouts! {
    /// What every kind that speaks of the map starts with.
    MapShape: 8 {
        /// The map's schema id.
        schema: U32,
        /// Bytes of a value.
        value_len: U16,
        /// Entries of the list behind the fixed part: records or digests; zero for other kinds.
        count: U16,
    }
    /// The fixed part of [`Kind::Version`]; the sender's version in sparse form follows, then, with [`VersionFixed::FORGETS`],
    /// what it knows to be forgotten.
    VersionFixed: 40 {
        /// Schema and value length; count zero.
        shape: MapShape,
        /// The sender's cursor into the receiver's log; meaningful with [`VersionFixed::HAS_CURSOR`].
        cursor: U64,
        /// The log position where a gap ends; zero to be sent everything to the head.
        until: U64,
        /// Packets that the receiver may send in answer.
        window: U16,
        /// [`VersionFixed::REPLY`], [`VersionFixed::HAS_CURSOR`], [`VersionFixed::FORCE`], [`VersionFixed::FORGETS`],
        /// [`VersionFixed::UNSEEN`].
        flags: U16,
        /// The sender's floor (rule R2).
        floor: U32,
        /// Zero; ignored.
        reserved: U64,
    }
    /// The fixed part of [`Kind::Delta`]; the records follow, then the sender's version in exceptions form, then, with
    /// [`DeltaFixed::BURIED`], what left without a forgotten slot.
    DeltaFixed: 40 {
        /// Schema, value length and number of records.
        shape: MapShape,
        /// Log position that the walk started behind.
        from: U64,
        /// Log position of the last entry examined.
        to: U64,
        /// The sender's newest log position.
        head: U64,
        /// The sender's floor (rule R2).
        floor: U32,
        /// [`DeltaFixed::FROM_BASE`] or [`DeltaFixed::FROM_SCAN`], [`DeltaFixed::COMPLETE`], [`DeltaFixed::LAST`],
        /// [`DeltaFixed::BURIED`].
        flags: U32,
    }
    /// The fixed part of [`Kind::Push`]; the records follow.
    PushFixed: 32 {
        /// Schema, value length and number of records.
        shape: MapShape,
        /// The author's counter behind which the push starts.
        from: U64,
        /// The author's newest counter.
        to: U64,
        /// The author's floor (rule R2).
        floor: U32,
        /// Zero; ignored.
        reserved: U32,
    }
    /// The fixed part of [`Kind::Digest`]; the digests follow, 8 bytes each.
    DigestFixed: 24 {
        /// Schema, value length and number of digests.
        shape: MapShape,
        /// A number of the asker's, repeated in the answer.
        question: U64,
        /// The first bucket.
        first: U32,
        /// Bits of a key's mix that number a bucket.
        bits: u8,
        /// Zero; ignored.
        reserved: [u8; 3],
    }
    /// The fixed part of [`Kind::Repair`]; the records follow.
    RepairFixed: 40 {
        /// Schema, value length and number of records.
        shape: MapShape,
        /// The question that this answers.
        question: U64,
        /// The least mix of the range.
        from: U64,
        /// The greatest mix of the range.
        to: U64,
        /// [`RepairFixed::BACK`].
        flags: U32,
        /// Zero; ignored.
        reserved: U32,
    }
    /// The fixed part of [`Kind::HistoryAsk`].
    HistoryAskFixed: 24 {
        /// Schema and value length; count zero.
        shape: MapShape,
        /// The asker's first counter in its present life.
        below: U64,
        /// Where the answerer's table is to be read on from; zero at first.
        resume: U32,
        /// Zero; ignored.
        reserved: U32,
    }
    /// The fixed part of [`Kind::HistoryAnswer`]; the records follow.
    HistoryAnswerFixed: 16 {
        /// Schema, value length and number of records.
        shape: MapShape,
        /// Where to ask on from; zero when this was the last.
        resume: U32,
        /// [`HistoryAnswerFixed::OWN`].
        flags: U32,
    }
    /// The fixed part of [`Kind::LifeNotice`].
    LifeNoticeFixed: 16 {
        /// The generation of the other life.
        generation: U32,
        /// The slot that both claim.
        slot: u8,
        /// [`LifeNoticeFixed::FORGOTTEN`].
        flags: u8,
        /// Zero; ignored.
        reserved: [u8; 2],
        /// The id of the other life.
        life: U64,
    }
    /// The body of [`Kind::Ping`], [`Kind::PingReq`] and [`Kind::Ack`].
    ProbeFixed: 16 {
        /// The prober's number, repeated in the ack.
        number: U32,
        /// The server that is probed: the receiver of a ping, whom a ping-req asks to ping, who answered for an ack. A
        /// joiner does not know whom it pings and names itself.
        target: u8,
        /// Members that the sender has still to tell the receiver of, in an ack: a joiner asks on until there are none.
        owed: u8,
        /// Zero; ignored.
        reserved: [u8; 2],
        /// The hash of what the sender accounts for; zero says nothing.
        version: U64,
    }
}

impl VersionFixed {
    /// Sent in answer to a version: not to be answered by another.
    pub const REPLY: u16 = 1;
    /// The cursor is meaningful.
    pub const HAS_CURSOR: u16 = 2;
    /// A delta is wanted even if it carries nothing: the asker is starting (rule R4.2) or closes a session.
    pub const FORCE: u16 = 4;
    /// The forgotten lives follow the version (rule R2).
    pub const FORGETS: u16 = 8;
    /// The sender has not seen the receiver's version in its present life.
    pub const UNSEEN: u16 = 16;
}

impl DeltaFixed {
    /// The receiver's version covers everything up to `from` (rule R5).
    pub const FROM_BASE: u32 = 1;
    /// The walk reached the head.
    pub const COMPLETE: u32 = 2;
    /// No more packets answer this request.
    pub const LAST: u32 = 4;
    /// The range starts a scan of the table: what it has is of the receiver's walk from here on, and claims nothing of what
    /// is in front of it (rule R5).
    pub const FROM_SCAN: u32 = 8;
    /// What left without a forgotten slot follows the version: the receiver is not known to have had it (rule R2).
    pub const BURIED: u32 = 16;
}

impl LifeNoticeFixed {
    /// No other life: the receiver's, and all others of its slot up to this generation, were forgotten (rule R2).
    pub const FORGOTTEN: u8 = 1;
}

impl RepairFixed {
    /// An answer to an answer: what the asker has beyond it.
    pub const BACK: u32 = 1;
}

impl HistoryAnswerFixed {
    /// The sender tells of its own slot; otherwise it answers about the receiver's.
    pub const OWN: u32 = 1;
}

/// A checked [`Kind::Version`].
#[derive(Clone, Copy)]
pub struct Version<'p> {
    /// The fixed part.
    pub fixed: &'p VersionFixed,
    /// The sender's version, sparse form.
    pub version: Sparse<'p>,
    /// Per slot the highest counter of the lives that were forgotten: all of a generation.
    pub forgotten: Sparse<'p>,
}

/// A checked [`Kind::Delta`].
#[derive(Clone, Copy)]
pub struct Delta<'p> {
    /// The fixed part.
    pub fixed: &'p DeltaFixed,
    /// The records.
    pub records: Records<'p>,
    /// The sender's version, exceptions form; empty unless the walk is complete.
    pub version: Sparse<'p>,
    /// The dots of tombstones that left without a forgotten slot; all of them that the sender knows of, or none.
    pub buried: Sparse<'p>,
}

/// A checked [`Kind::Push`].
#[derive(Clone, Copy)]
pub struct Push<'p> {
    /// The fixed part.
    pub fixed: &'p PushFixed,
    /// The records, all of the author's slot.
    pub records: Records<'p>,
}

/// A checked [`Kind::Digest`].
#[derive(Clone, Copy)]
pub struct Digest<'p> {
    /// The fixed part.
    pub fixed: &'p DigestFixed,
    /// The digests of `count` buckets from the first.
    pub digests: &'p [U64],
}

/// A checked [`Kind::Repair`].
#[derive(Clone, Copy)]
pub struct Repair<'p> {
    /// The fixed part.
    pub fixed: &'p RepairFixed,
    /// The records, all with a mix in the range.
    pub records: Records<'p>,
}

/// A checked [`Kind::Report`].
#[derive(Clone, Copy)]
pub struct Report<'p> {
    /// The records, all live.
    pub records: Records<'p>,
}

/// A checked [`Kind::HistoryAsk`].
#[derive(Clone, Copy)]
pub struct HistoryAsk<'p> {
    /// The fixed part.
    pub fixed: &'p HistoryAskFixed,
}

/// A checked [`Kind::HistoryAnswer`].
#[derive(Clone, Copy)]
pub struct HistoryAnswer<'p> {
    /// The fixed part.
    pub fixed: &'p HistoryAnswerFixed,
    /// The records.
    pub records: Records<'p>,
}

/// A checked [`Kind::LifeNotice`].
#[derive(Clone, Copy)]
pub struct LifeNotice {
    /// The slot that both lives claim.
    pub slot: Slot,
    /// The other life; or the receiver's id, in the last generation that was forgotten.
    pub life: Life,
    /// Lives up to that one were forgotten.
    pub forgotten: bool,
}

/// A checked body.
#[derive(Clone, Copy)]
pub enum Body<'p> {
    /// The sender's version vector.
    Version(Version<'p>),
    /// A stretch of the sender's change log.
    Delta(Delta<'p>),
    /// An author's fresh writes.
    Push(Push<'p>),
    /// A repair question.
    Digest(Digest<'p>),
    /// A repair answer.
    Repair(Repair<'p>),
    /// Records for their owner.
    Report(Report<'p>),
    /// Asks for older records of the asker's slot.
    HistoryAsk(HistoryAsk<'p>),
    /// Older records of one slot.
    HistoryAnswer(HistoryAnswer<'p>),
    /// Another life in the receiver's slot.
    LifeNotice(LifeNotice),
    /// A probe of the receiver.
    Ping(Probe),
    /// A request to probe another.
    PingReq(Probe),
    /// An answer to a probe.
    Ack(Probe),
    /// Members and nothing else.
    Gossip,
}

/// A checked [`Kind::Ping`], [`Kind::PingReq`] or [`Kind::Ack`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Probe {
    /// The prober's number.
    pub number: u32,
    /// The server that is probed; a joiner that does not know whom it pings names itself.
    pub target: Slot,
    /// Members that the sender has still to tell of.
    pub owed: u8,
    /// The hash of what the sender accounts for, whoever the target is; zero says nothing.
    pub version: u64,
}

impl Probe {
    fn parse(bytes: &[u8], slots: usize) -> Result<Self, Reject> {
        let (fixed, _) = split::<ProbeFixed>(bytes)?;
        if usize::from(fixed.target) >= slots {
            return Err(Reject::Field);
        }
        let target = Slot::at(usize::from(fixed.target));
        Ok(Self { number: fixed.number.get(), target, owed: fixed.owed, version: fixed.version.get() })
    }
}

impl From<&Probe> for ProbeFixed {
    fn from(probe: &Probe) -> Self {
        let Probe { number, target, owed, version } = *probe;
        Self { number: number.into(), target: target.get(), owed, reserved: [0; 2], version: version.into() }
    }
}

impl<'p> Body<'p> {
    /// Checks a body of `kind`.
    pub(super) fn parse(kind: Kind, bytes: &'p [u8], shape: &Shape, slots: usize) -> Result<Self, Reject> {
        let list = |map: &MapShape, rest| -> Result<Records<'p>, Reject> {
            Records::parse(rest, usize::from(map.count.get()), shape, slots)
        };
        match kind {
            Kind::Version => {
                let (fixed, rest) = split::<VersionFixed>(bytes)?;
                fixed.shape.check(shape)?;
                let (version, rest) = Sparse::parse(rest, slots)?;
                let mut forgotten = Sparse::EMPTY;
                if fixed.flags.get() & VersionFixed::FORGETS != 0 {
                    (forgotten, _) = Sparse::parse(rest, slots)?;
                }
                // All of a generation, or none.
                if forgotten.iter().any(|(_, counter)| counter as u32 != u32::MAX) {
                    return Err(Reject::Field);
                }
                Ok(Self::Version(Version { fixed, version, forgotten }))
            }
            Kind::Delta => {
                let (fixed, rest) = split::<DeltaFixed>(bytes)?;
                fixed.shape.check(shape)?;
                let (from, to, head) = (fixed.from.get(), fixed.to.get(), fixed.head.get());
                let complete = fixed.flags.get() & DeltaFixed::COMPLETE != 0;
                if from > to || to > head || complete && to != head {
                    return Err(Reject::Field);
                }
                let records = list(&fixed.shape, rest)?;
                let (version, rest) = Sparse::parse(&rest[records.len() * shape.record_len()..], slots)?;
                let mut buried = Sparse::EMPTY;
                if fixed.flags.get() & DeltaFixed::BURIED != 0 {
                    (buried, _) = Sparse::parse(rest, slots)?;
                }
                Ok(Self::Delta(Delta { fixed, records, version, buried }))
            }
            Kind::Push => {
                let (fixed, rest) = split::<PushFixed>(bytes)?;
                fixed.shape.check(shape)?;
                if fixed.from.get() > fixed.to.get() {
                    return Err(Reject::Field);
                }
                Ok(Self::Push(Push { fixed, records: list(&fixed.shape, rest)? }))
            }
            Kind::Digest => {
                let (fixed, rest) = split::<DigestFixed>(bytes)?;
                fixed.shape.check(shape)?;
                let count = usize::from(fixed.shape.count.get());
                let end = u64::from(fixed.first.get()) + count as u64;
                if fixed.bits > 31 || count == 0 || end > 1 << fixed.bits {
                    return Err(Reject::Field);
                }
                let (digests, _) =
                    <[U64]>::ref_from_prefix_with_elems(rest, count).map_err(|_| Reject::Length)?;
                Ok(Self::Digest(Digest { fixed, digests }))
            }
            Kind::Repair => {
                let (fixed, rest) = split::<RepairFixed>(bytes)?;
                fixed.shape.check(shape)?;
                let (from, to) = (fixed.from.get(), fixed.to.get());
                let records = list(&fixed.shape, rest)?;
                let inside =
                    records.iter().all(|r| (from..=to).contains(&r.key().mix()) && !r.is_tombstone());
                if from > to || !inside && fixed.flags.get() & RepairFixed::BACK == 0 {
                    return Err(Reject::Field);
                }
                Ok(Self::Repair(Repair { fixed, records }))
            }
            Kind::Report => {
                let (fixed, rest) = split::<MapShape>(bytes)?;
                fixed.check(shape)?;
                let records = list(fixed, rest)?;
                if records.iter().any(|record| record.is_tombstone()) {
                    return Err(Reject::Field);
                }
                Ok(Self::Report(Report { records }))
            }
            Kind::HistoryAsk => {
                let (fixed, _) = split::<HistoryAskFixed>(bytes)?;
                fixed.shape.check(shape)?;
                Ok(Self::HistoryAsk(HistoryAsk { fixed }))
            }
            Kind::HistoryAnswer => {
                let (fixed, rest) = split::<HistoryAnswerFixed>(bytes)?;
                fixed.shape.check(shape)?;
                Ok(Self::HistoryAnswer(HistoryAnswer { fixed, records: list(&fixed.shape, rest)? }))
            }
            Kind::Ping => Ok(Self::Ping(Probe::parse(bytes, slots)?)),
            Kind::PingReq => Ok(Self::PingReq(Probe::parse(bytes, slots)?)),
            Kind::Gossip => Ok(Self::Gossip),
            Kind::Ack => Ok(Self::Ack(Probe::parse(bytes, slots)?)),
            Kind::LifeNotice => {
                let (fixed, _) = split::<LifeNoticeFixed>(bytes)?;
                if usize::from(fixed.slot) >= slots || fixed.life.get() == 0 {
                    return Err(Reject::Field);
                }
                let life = Life { generation: fixed.generation.get(), id: fixed.life.get() };
                let forgotten = fixed.flags & LifeNoticeFixed::FORGOTTEN != 0;
                Ok(Self::LifeNotice(LifeNotice { slot: Slot::at(usize::from(fixed.slot)), life, forgotten }))
            }
        }
    }
}

impl MapShape {
    pub(crate) fn new(shape: &Shape, count: usize) -> Self {
        Self {
            schema: shape.schema.into(),
            value_len: shape.value_len.into(),
            count: U16::new(u16::try_from(count).expect("a packet's list is counted in 16 bits")),
        }
    }

    fn check(&self, shape: &Shape) -> Result<(), Reject> {
        if self.schema.get() != shape.schema {
            return Err(Reject::Schema);
        }
        if self.value_len.get() != shape.value_len {
            return Err(Reject::ValueLength);
        }
        Ok(())
    }
}

fn split<T: FromBytes + KnownLayout + Immutable + Unaligned>(bytes: &[u8]) -> Result<(&T, &[u8]), Reject> {
    T::ref_from_prefix(bytes).map_err(|_| Reject::Length)
}
