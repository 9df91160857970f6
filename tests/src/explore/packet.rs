//! Packets in flight: real bytes from one replica to another.
//!
//! Knows how a node turns what a map writes into a packet, and a packet into one call of a handler. Must not know what
//! any of it means.

use std::fmt;
use std::rc::Rc;

use popmap_core::wire::{self, Body, Envelope, Reject, VersionFixed, flag};
use popmap_core::{Life, Map, Shape, Slot};

use super::action::Label;
use super::hash::Hash128;
use crate::checker::{Violation, violated};
use crate::link;

/// The cluster of every packet.
pub const CLUSTER: u64 = 1;
/// The longest frame that a scope may ask for.
pub const FRAME_MAX: usize = 512;

/// A packet in flight.
#[derive(Clone)]
pub struct Packet {
    /// Its name in a trace.
    pub label: Label,
    /// The receiver's slot.
    pub to: u8,
    /// When it was sent, in ticks.
    pub sent: u8,
    /// The packet, header and all.
    pub bytes: Rc<[u8]>,
    /// A hash over receiver and bytes.
    pub hash: u128,
}

/// What a delivery came to.
pub struct Delivered {
    /// Why the packet was rejected.
    pub rejected: Option<Reject>,
    /// The sender's life.
    pub sender: Life,
    /// What the sender is to be told of, if that is worth telling: its own life was forgotten, or is over.
    pub notice: bool,
}

/// Makes a packet of a body and its envelope. The packet number is always the same, so that states merge.
pub fn seal(to: u8, sent: u8, label: Label, frame: &mut [u8], envelope: &Envelope, len: usize) -> Packet {
    wire::seal(&mut frame[..len], envelope, CLUSTER, 0);
    let bytes: Rc<[u8]> = frame[..len].into();
    let hash = Hash128::of(&(to, &bytes));
    Packet { label, to, sent, bytes, hash }
}

/// Hands a packet to its receiver as a node does: checked, admitted, then given to exactly one handler.
///
/// # Errors
/// When a packet of a life is taken that the receiver knows to be forgotten.
///
/// # Panics
/// When the packet does not parse: it was made by a map.
pub fn deliver<const N: usize>(map: &mut Map<'_, N>, bytes: &[u8]) -> Result<Delivered, Violation> {
    let shape = *map.shape();
    let (envelope, body) = wire::parse(bytes, CLUSTER, &shape, N).expect("a map's packet parses");
    let forgotten = map.is_forgotten(envelope.slot, envelope.life);
    let result = map.admit(&envelope).and_then(|()| link::handle(map, &envelope, &body));
    let (me, from, sender) = (map.slot(), envelope.slot, envelope.life);
    if forgotten && result.is_ok() {
        return violated!("{me} took a packet of {from} in {sender:?}, which it knows to be forgotten");
    }
    let rejected = result.err();
    let notice = matches!(rejected, Some(Reject::OldLife | Reject::Forgotten));
    Ok(Delivered { rejected, sender, notice })
}

/// Fills `frame` with word for the sender of a rejected packet, in `slot` and `life`: its life is over, or forgotten.
pub fn write_notice<const N: usize>(
    map: &Map<'_, N>,
    slot: Slot,
    life: Life,
    frame: &mut [u8],
) -> Option<(Envelope, usize)> {
    if map.is_forgotten(slot, life) {
        map.write_forgotten_notice(slot, life.id, frame)
    } else {
        map.write_life_notice(slot, map.life_of(slot), life.id, frame)
    }
}

/// Writes a packet's contents for a trace.
pub struct Described<'p, const N: usize> {
    /// The packet.
    pub packet: &'p Packet,
    /// What the map's servers agree on.
    pub shape: Shape,
}

impl<const N: usize> fmt::Display for Described<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Packet { label, to, bytes, .. } = self.packet;
        let (envelope, body) = wire::parse(bytes, CLUSTER, &self.shape, N).map_err(|_| fmt::Error)?;
        let Life { generation, id } = envelope.life;
        write!(f, "packet {}.{} {} ", label.step, label.nth, envelope.kind.name())?;
        write!(f, "{}({generation}:{id})->S{to}", envelope.slot)?;
        if envelope.to_life != 0 {
            write!(f, "({})", envelope.to_life)?;
        }
        if envelope.flags & flag::CAUGHT_UP == 0 {
            f.write_str(" behind")?;
        }
        match &body {
            Body::Version(version) => {
                let flags = version.fixed.flags.get();
                write!(f, " {:?} floor {}", version.version.to_vector::<N>(), version.fixed.floor)?;
                if flags & VersionFixed::HAS_CURSOR != 0 {
                    write!(f, " cursor {} until {}", version.fixed.cursor, version.fixed.until)?;
                }
            }
            Body::Delta(delta) => {
                let fixed = delta.fixed;
                write!(
                    f,
                    " ({}, {}] of {} flags {:#b}",
                    fixed.from,
                    fixed.to,
                    fixed.head,
                    fixed.flags.get()
                )?;
                write!(f, " +{:?} floor {}", delta.version.to_vector::<N>(), fixed.floor)?;
                describe_records(f, &delta.records)?;
            }
            Body::Push(push) => {
                write!(f, " ({:#x}, {:#x}] floor {}", push.fixed.from, push.fixed.to, push.fixed.floor)?;
                describe_records(f, &push.records)?;
            }
            Body::Ping(probe) => write!(f, " version hash {:016x}", probe.version)?,
            Body::LifeNotice(notice) => write!(f, " {} has life {:?}", notice.slot, notice.life)?,
            _ => {}
        }
        Ok(())
    }
}

fn describe_records(f: &mut fmt::Formatter<'_>, records: &wire::Records<'_>) -> fmt::Result {
    for record in records.iter() {
        let kind = if record.is_tombstone() { "deleted" } else { "put" };
        write!(
            f,
            " [{:.4}.. {kind} {:?} term {}]",
            format!("{:?}", record.key()),
            record.dot(),
            record.term()
        )?;
    }
    Ok(())
}
