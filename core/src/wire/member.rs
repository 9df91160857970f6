//! Members on the wire: entries that end any packet with room.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Reject;
use crate::id::{Address, Slot, SlotSet};
use crate::limits::SLOTS_MAX;

/// Bytes of an entry.
pub const MEMBER: usize = 64;

/// The greatest number of a member's state that this version knows; zero is no state.
const STATES: u8 = 4;

/// What a server says of one member. [`Header::members`](super::Header::members) tells how many of these end a packet.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct MemberEntry {
    /// The member's slot.
    pub slot: u8,
    /// Its state: 1 alive, 2 suspect, 3 dead, 4 left.
    pub state: u8,
    /// Zero; ignored.
    pub reserved: [u8; 2],
    /// How often it has restated itself in this life.
    pub incarnation: U32,
    /// Its generation.
    pub generation: U32,
    /// Of a suspect: up to four servers whose own pings it did not answer, each by its slot plus one; zero for none.
    /// Ignored for other states.
    pub by: [u8; 4],
    /// Its life id, never zero.
    pub life: U64,
    /// Where it is reached, opaque to core.
    pub address: Address,
    /// What it tells of itself: its weight as a little-endian u16, then 14 bytes for the embedder.
    pub meta: [u8; 16],
}

const _: () = assert!(size_of::<MemberEntry>() == MEMBER && align_of::<MemberEntry>() == 1);

/// The checked members that end a packet.
#[derive(Clone, Copy)]
pub struct Members<'p>(&'p [MemberEntry]);

impl<'p> Members<'p> {
    /// Splits `count` entries off the end of `body` and checks them.
    #[inline]
    pub(super) fn split(body: &'p [u8], count: usize, slots: usize) -> Result<(&'p [u8], Self), Reject> {
        let (body, entries) =
            <[MemberEntry]>::ref_from_suffix_with_elems(body, count).map_err(|_| Reject::Length)?;
        let valid = |entry: &MemberEntry| {
            usize::from(entry.slot) < slots
                && (1..=STATES).contains(&entry.state)
                && entry.life.get() != 0
                && entry.by.iter().all(|&by| usize::from(by) <= slots)
        };
        if entries.iter().all(valid) { Ok((body, Self(entries))) } else { Err(Reject::Member) }
    }

    /// Iterates the entries with their slots.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &'p MemberEntry)> + use<'p> {
        self.0.iter().map(|entry| (Slot::at(usize::from(entry.slot)), entry))
    }
}

impl MemberEntry {
    /// Returns the servers that suspect the member, as far as the entry tells.
    pub fn suspected_by(&self) -> SlotSet {
        let slots = self.by.iter().filter_map(|&by| Slot::new(by.checked_sub(1)?));
        slots.collect()
    }

    /// Returns how an entry tells of these: the first four.
    pub fn by(slots: SlotSet) -> [u8; 4] {
        let mut by = [0; 4];
        by.iter_mut().zip(slots.iter()).for_each(|(by, slot)| *by = slot.get() + 1);
        by
    }
}

const _: () = assert!(SLOTS_MAX < u8::MAX as usize);
