//! Changing the table: local writes, and the merge of remote records.

use core::cmp::Ordering;
use core::fmt;

use super::event::Event;
use super::order::compare;
use super::table::{Entry, Mark, Packed, Position, Stamp, Words, writer};
use super::{Map, Phase};
use crate::clock::{Dot, VersionVector};
use crate::id::{Key, Slot};
use crate::limits::{RESERVE_DIVISOR, VALUE_MAX};
use crate::teeth::Tooth;
use crate::wire::RecordRef;

/// Why a put was refused. The map is as it was before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PutError {
    /// Not every live peer has been met yet, and the start deadline has not passed (R4.2). Try again later.
    Starting,
    /// Another server has our slot (R4.5). Start anew with a greater generation.
    Fenced,
    /// The PoP has forgotten this life (R2). Discard the table and start anew with a greater generation.
    Forgotten,
    /// This server has said that it leaves ([`Node::leave`](crate::Node::leave)): others own its keys. Only a new life
    /// may write again.
    Left,
    /// A new key, and the table is full but for the reserve (R3).
    Full,
    /// The value does not have the map's length.
    ValueLength {
        /// Bytes given.
        given: usize,
        /// Bytes of a value in this map.
        expected: usize,
    },
    /// The key's term is at its maximum: it can never be overwritten again (R1).
    TermExhausted,
    /// The slot's counter is at its maximum.
    CounterExhausted,
}

impl fmt::Display for PutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("still starting: not every live peer has been committed from"),
            Self::Fenced => f.write_str("fenced: another server claims this slot"),
            Self::Forgotten => f.write_str("forgotten: the PoP goes on without this life"),
            Self::Left => f.write_str("left: this server has said that it leaves"),
            Self::Full => f.write_str("the table is full but for its reserve for remote records"),
            Self::ValueLength { given, expected } => {
                write!(f, "value: {given} bytes given; this map's values have {expected}")
            }
            Self::TermExhausted => f.write_str("the key's term is at its maximum"),
            Self::CounterExhausted => f.write_str("the slot's counter is at its maximum"),
        }
    }
}

impl core::error::Error for PutError {}

/// Why a remove was refused. The map is as it was before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RemoveError {
    /// The key is absent, or deleted already: nothing is written (R2).
    NotFound,
    /// The write itself was refused.
    Refused(PutError),
}

impl fmt::Display for RemoveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("the key is absent"),
            Self::Refused(why) => why.fmt(f),
        }
    }
}

impl core::error::Error for RemoveError {}

/// What a merge of one record did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Merged {
    /// The table changed.
    Applied,
    /// The table held the same or better, or the version covers the record.
    Kept,
    /// The table is full: nothing may be committed (R3).
    Refused,
}

/// A value as words, from bytes of any length.
#[inline]
pub(super) fn words_of(value: &[u8]) -> impl Iterator<Item = u64> + Clone + '_ {
    let (words, rest) = value.as_chunks();
    let last = (!rest.is_empty()).then(|| {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        u64::from_le_bytes(word)
    });
    words.iter().copied().map(u64::from_le_bytes).chain(last)
}

impl<'a, const N: usize> Map<'a, N> {
    /// Writes `value` under `key`.
    ///
    /// # Errors
    /// Why the write was refused; the map is as it was.
    pub fn put(&mut self, key: Key, value: &[u8]) -> Result<Dot, PutError> {
        let expected = usize::from(self.shape.value_len);
        if value.len() != expected {
            return Err(PutError::ValueLength { given: value.len(), expected });
        }
        self.may_write()?;
        let mix = key.mix();
        let found = self.table.find(key, mix);
        let limit = self.capacity() - self.capacity().div_ceil(RESERVE_DIVISOR).min(self.capacity() - 1);
        if found.is_none() && self.len() >= limit {
            self.stats.puts_refused += 1;
            return Err(PutError::Full);
        }
        let dot = self.write_own(key, mix, found, Some(words_of(value)))?;
        self.stats.puts += 1;
        Ok(dot)
    }

    /// Deletes `key`: writes a tombstone that leaves once every server has it (R2).
    ///
    /// # Errors
    /// [`RemoveError::NotFound`] when there is nothing to delete; else why the write was refused. The map is as it was.
    pub fn remove(&mut self, key: Key) -> Result<Dot, RemoveError> {
        self.may_write().map_err(RemoveError::Refused)?;
        let mix = key.mix();
        let found = self.table.find(key, mix);
        if found.and_then(|at| self.table.mark(at)).is_none_or(|mark| mark.tombstone) {
            return Err(RemoveError::NotFound);
        }
        let dot = self.write_own(key, mix, found, NO_VALUE).map_err(RemoveError::Refused)?;
        self.stats.removes += 1;
        Ok(dot)
    }

    pub(super) fn may_write(&self) -> Result<(), PutError> {
        match self.state.phase {
            Phase::Active { .. } => Ok(()),
            Phase::Starting => Err(PutError::Starting),
            Phase::Fenced => Err(PutError::Fenced),
            Phase::Forgotten => Err(PutError::Forgotten),
        }
    }

    /// Writes our own record over what stands at `found`: a value, or a tombstone for none. Room has been checked.
    pub(super) fn write_own(
        &mut self,
        key: Key,
        mix: u64,
        found: Option<Position>,
        value: Option<impl Iterator<Item = u64>>,
    ) -> Result<Dot, PutError> {
        let slot = self.state.slot;
        let term = match found.and_then(|at| self.table.mark(at)) {
            None if self.broken(Tooth::TermRestarts) => Some(1),
            None => self.state.floor.checked_add(1),
            Some(old) if self.broken(Tooth::TermNotRaised) => Some(old.term),
            Some(old) if old.dot.slot == slot && !old.tombstone => Some(old.term),
            Some(old) => old.term.checked_add(1),
        };
        let term = term.ok_or(PutError::TermExhausted)?;
        self.write_own_at(key, mix, found, term, value)
    }

    /// Writes our own record with a term that the caller has worked out.
    pub(super) fn write_own_at(
        &mut self,
        key: Key,
        mix: u64,
        found: Option<Position>,
        term: u32,
        value: Option<impl Iterator<Item = u64>>,
    ) -> Result<Dot, PutError> {
        let slot = self.state.slot;
        let counter = self.state.version.get(slot).max(self.state.life_base);
        let counter = counter.checked_add(1).ok_or(PutError::CounterExhausted)?;
        let entry = match found {
            Some(at) => self.table.entry(at),
            None => self.table.insert(key, mix).ok_or(PutError::Full)?,
        };
        let (old, dot) = (entry.mark(), Dot { slot, counter });
        let mark = Mark { dot, term, tombstone: value.is_none() };
        match value {
            Some(value) => self.store(entry, old.as_ref(), &mark, value),
            None => self.store(entry, old.as_ref(), &mark, core::iter::repeat(0)),
        }
        self.fresh.note(counter, entry.at);
        self.state.version.raise(slot, counter);
        self.state.own_seen = self.state.own_seen.max(counter);
        self.note_distant_checkpoint();
        if dot.generation() > self.state.life.generation {
            // The sequence is exhausted and has carried.
            self.state.life.generation = dot.generation();
            self.events.push(Event::GenerationRaised { generation: dot.generation() });
        }
        Ok(dot)
    }

    /// Puts a record into a slot of its key, over `old` where there is one: the one place where the table, the log and HELD
    /// change together.
    #[inline]
    pub(super) fn store(&mut self, entry: Entry<'a>, old: Option<&Mark>, mark: &Mark, value: impl Words) {
        let me = self.state.slot;
        if let Some(old) = old
            && old.dot.slot == me
            && mark.dot.slot != me
        {
            self.state.push_barrier = self.state.push_barrier.max(old.dot.counter);
        }
        self.apply(entry, old.is_some_and(|old| old.tombstone), mark.words(), value);
    }

    #[inline(always)]
    fn apply(&mut self, entry: Entry<'a>, was_tombstone: bool, mark: [u64; 2], value: impl Words) {
        let position = self.log.append(entry.at);
        self.table.write(entry, Stamp::new(position, self.state.now.0), was_tombstone, mark, value);
        self.hold(writer(mark[1]), mark[0]);
    }

    /// Takes note that the table holds this write.
    #[inline(always)]
    fn hold(&mut self, slot: Slot, counter: u64) {
        self.state.held.raise(slot, counter);
        // Where no sweep is under way the next one begins with the version, and finds the rest in the table.
        if self.state.sweep_at > 0 {
            self.state.held_next.raise(slot, counter);
        }
    }

    /// Takes note of whether all records of a packet have found room (R3).
    pub(super) fn note_room(&mut self, room: bool) {
        if !room && !self.state.full {
            self.events.push(Event::Full);
            // Only a collected tombstone makes room again.
            self.state.full = true;
        }
    }

    /// Merges one record whether the version covers it or not (R1). `sender` is what its sender accounts for.
    pub(super) fn merge(&mut self, record: &RecordRef<'_>, sender: &VersionVector<N>) -> Merged {
        let key = record.key();
        let mix = key.mix();
        self.merge_at(self.table.find_entry(key, mix), mix, record, sender)
    }

    /// Merges one record whose key is at `found`, or nowhere.
    #[inline(never)]
    fn merge_at(
        &mut self,
        found: Option<Entry<'a>>,
        mix: u64,
        record: &RecordRef<'_>,
        sender: &VersionVector<N>,
    ) -> Merged {
        let (key, mark) = (record.key(), mark_of(record));
        let me = self.state.slot;
        if mark.dot.slot == me {
            self.witness_own(mark.dot.counter);
        }
        let Some(entry) = found else {
            let Some(entry) = self.table.insert(key, mix) else {
                self.stats.records_refused += 1;
                return Merged::Refused;
            };
            self.store(entry, None, &mark, Packed(record.packed_value()));
            return Merged::Applied;
        };
        let old = entry.mark().expect("an indexed slot holds a record");
        if old.term == mark.term && old.dot.slot != mark.dot.slot {
            self.stats.conflicts += 1;
        }
        match self.order(key, (&mark, record), (&old, &entry), sender) {
            Ordering::Less => {
                self.stats.records_superseded += 1;
                return Merged::Kept;
            }
            Ordering::Equal => {
                self.stats.records_duplicate += 1;
                return Merged::Kept;
            }
            Ordering::Greater => {}
        }
        if old.dot.slot == me && matches!(self.state.phase, Phase::Active { .. }) {
            return self.merge_over_own(key, mix, entry, (&mark, record), &old);
        }
        self.store(entry, Some(&old), &mark, Packed(record.packed_value()));
        Merged::Applied
    }

    /// Merges a record that beats one of ours, while we may write.
    #[inline(never)]
    fn merge_over_own(
        &mut self,
        key: Key,
        mix: u64,
        entry: Entry<'a>,
        (mark, record): (&Mark, &RecordRef<'_>),
        old: &Mark,
    ) -> Merged {
        let me = self.state.slot;
        let is_old_life = mark.dot.slot == me && mark.dot.counter <= self.state.life_base;
        if is_old_life && old.dot.counter > self.state.life_base && !self.broken(Tooth::NotReasserted) {
            return self.reassert(key, mix, entry.at, mark, old);
        }
        self.store(entry, Some(old), mark, Packed(record.packed_value()));
        if mark.dot.slot != me && self.state.owners.owner(key) == Some(me) {
            self.events.push(Event::Superseded { key });
        }
        Merged::Applied
    }

    #[inline]
    fn order(
        &self,
        key: Key,
        new: (&Mark, &RecordRef<'_>),
        old: (&Mark, &Entry<'_>),
        sender: &VersionVector<N>,
    ) -> Ordering {
        if self.broken(Tooth::PublishedOrder) && new.0.dot.slot != old.0.dot.slot {
            if sender.covers(old.0.dot) {
                return Ordering::Greater;
            }
            let (a, b) = (new.0.dot.slot, old.0.dot.slot);
            return crate::ownership::priority(a, key).cmp(&crate::ownership::priority(b, key));
        }
        if self.broken(Tooth::TieUnbroken) && new.0.term == old.0.term && new.0.dot.slot != old.0.dot.slot {
            return Ordering::Less;
        }
        compare(key, (new.0, new.1.value_words()), (old.0, old.1.value()))
    }

    /// Our earlier life's record beats what we wrote in this one: our value stands, as a new write above it (R4.3).
    fn reassert(&mut self, key: Key, mix: u64, at: Position, beaten_by: &Mark, ours: &Mark) -> Merged {
        let term = if beaten_by.tombstone { beaten_by.term.checked_add(1) } else { Some(beaten_by.term) };
        let value = self.copy_value(at);
        let value = (!ours.tombstone).then(|| words_of(&value));
        // At the last term there is no writing above it: the earlier record is then left for the next writer.
        if let Some(term) = term
            && self.write_own_at(key, mix, Some(at), term, value).is_ok()
        {
            self.stats.reasserted += 1;
        }
        Merged::Applied
    }

    /// Returns a copy of a value, zero-padded to the longest.
    pub(super) fn copy_value(&self, at: Position) -> [u8; VALUE_MAX] {
        let mut copy = [0; VALUE_MAX];
        for (bytes, word) in copy.chunks_exact_mut(8).zip(self.table.value(at)) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        copy
    }
}

/// The value of a tombstone, in the type of any other.
const NO_VALUE: Option<core::iter::Empty<u64>> = None;

#[inline]
pub(super) fn mark_of(record: &RecordRef<'_>) -> Mark {
    Mark { dot: record.dot(), term: record.term(), tombstone: record.is_tombstone() }
}
