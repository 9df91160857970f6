//! Repair, the safety net (DESIGN section 4): replicas compare state directly and exchange what differs.
//!
//! The key space is cut into buckets by the high bits of [`Key::mix`]. A bucket's digest is the sum of a hash over each
//! of its live records: key, stamp and value. It is computed from the table when it is asked for, so it costs a merge
//! nothing and also sees memory that did not keep what was written to it. A question names the first of a run of
//! buckets; the peer answers each that differs with all its live records there; the asker takes what beats its own and
//! sends back what beats, or is missing at, the peer.

use core::cmp::Ordering;

use heapless::Vec;

use super::Map;
use super::order::compare;
use super::stats::Cause;
use super::table::Position;
use super::write::{Merged, mark_of, words_of};
use crate::clock::{Dot, generation_of};
use crate::id::{Key, Slot};
use crate::limits::{REPAIR_SCAN_MAX, SLOTS_MAX, VALUE_MAX};
use crate::teeth::Tooth;
use crate::time::{Duration, Instant};
use crate::wire::{
    Digest, DigestFixed, Envelope, Kind, MapShape, RecordRef, Records, Reject, Repair, RepairFixed, Report,
};

/// How long an answer to a repair question is taken.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Records that a bucket is to hold on average.
const BUCKET_RECORDS: usize = 16;
/// Digests in a question, at most.
const DIGESTS: u32 = 32;
/// Differing buckets that one question has answered, at most; the others differ again next time.
const ANSWERS: usize = 4;
/// Keys that wait to be sent back, and records that wait to be reported.
const BACKLOG: usize = 32;
const REPORTS: usize = 4;

/// An exchange under way: one as asker and one as answerer, each replaced by the next.
#[derive(Clone, Hash, Debug, Default)]
pub(super) struct Repairs {
    /// The last question number used.
    last_question: u64,
    /// The bucket that the next question starts with.
    next_bucket: u32,
    /// The question that we asked.
    asked: Option<Exchange>,
    /// The question that we answered, with what it asked about.
    answered: Option<Exchange>,
    /// Ranges still to be sent in answer.
    ranges: Vec<(u64, u64), ANSWERS>,
    /// Keys of ours that the peer we asked lacks or has older.
    back: Vec<Key, BACKLOG>,
    /// Live records absent here though our version covers them.
    reports: Vec<Reported, REPORTS>,
}

#[derive(Clone, Copy, Hash, Debug)]
struct Exchange {
    peer: Slot,
    question: u64,
    until: Instant,
}

#[derive(Clone, Hash, Debug)]
struct Reported {
    owner: Slot,
    words: Vec<u64, { 4 + VALUE_MAX / 8 }>,
}

impl Exchange {
    fn is(&self, peer: Slot, question: u64, now: Instant) -> bool {
        self.peer == peer && self.question == question && now <= self.until
    }
}

/// The first and last mix of a bucket.
fn bucket_range(bucket: u32, bits: u8) -> (u64, u64) {
    match bits {
        0 => (0, u64::MAX),
        bits => {
            let shift = 64 - u32::from(bits);
            let from = u64::from(bucket) << shift;
            (from, from | ((1 << shift) - 1))
        }
    }
}

/// The hash of a record that digests sum up; part of the wire version.
///
/// Over the record's words: `x = 0x9e3779b97f4a7c15`, then for each word `w`, with `p = (x ^ w) * 0xd1b54a32d192ed03`
/// in 128 bits, `x = low(p) ^ high(p) ^ w.rotate_left(32)`.
pub(super) fn record_hash(words: impl Iterator<Item = u64>) -> u64 {
    words.fold(0x9e37_79b9_7f4a_7c15, |x, word| {
        let product = u128::from(x ^ word) * 0xd1b5_4a32_d192_ed03;
        product as u64 ^ (product >> 64) as u64 ^ word.rotate_left(32)
    })
}

impl<'a, const N: usize> Map<'a, N> {
    /// Returns the digest of all live records whose mix is from `from` to `to`: equal replicas have equal digests.
    pub fn digest(&self, from: u64, to: u64) -> u64 {
        let words = if self.broken(Tooth::DigestWithoutValue) { 4 } else { usize::MAX };
        let hash = |at| record_hash(self.table.record(at).take(words));
        self.live_in(from, to).fold(0, |sum, at| sum.wrapping_add(hash(at)))
    }

    fn live_in(&self, from: u64, to: u64) -> impl Iterator<Item = Position> + use<'a, '_, N> {
        self.table.range(from, to).filter(move |&at| {
            self.table.mark(at).is_some_and(|mark| !mark.tombstone)
                && (from..=to).contains(&self.table.key(at).mix())
        })
    }

    fn bucket_bits(&self) -> u8 {
        (self.len() / BUCKET_RECORDS).max(1).ilog2() as u8
    }

    /// Fills `frame` with the next question, to `to`. Returns its header and length, or `None` when nothing is known
    /// of `to`.
    pub fn write_digest(&mut self, to: Slot, frame: &mut [u8]) -> Option<(Envelope, usize)> {
        let life = self.state.peers[to.index()].life;
        let bits = self.bucket_bits();
        let first =
            if self.state.repairs.next_bucket >> bits == 0 { self.state.repairs.next_bucket } else { 0 };
        let count = ((1u32 << bits) - first).min(DIGESTS);
        let mut writer = self.writer(frame)?;
        if !life.is_known() || writer.room() < size_of::<DigestFixed>() + 8 * count as usize {
            return None;
        }
        let at = writer.reserve::<DigestFixed>();
        for bucket in first..first + count {
            let (from, to) = bucket_range(bucket, bits);
            writer.put(&self.digest(from, to).to_le_bytes());
        }
        let repairs = &mut self.state.repairs;
        repairs.last_question += 1;
        repairs.next_bucket = first + count;
        let question = repairs.last_question;
        repairs.asked = Some(Exchange { peer: to, question, until: self.state.now + ANSWER_WITHIN });
        self.stats.repair_questions += 1;
        writer.fill(
            at,
            &DigestFixed {
                shape: MapShape::new(&self.shape, count as usize),
                question: question.into(),
                first: first.into(),
                bits,
                reserved: [0; 3],
            },
        );
        Some((self.envelope(Kind::Digest, life.id), writer.len()))
    }

    /// Takes a question: compares each bucket with our own.
    ///
    /// # Errors
    /// When the buckets asked about hold more records than one answer may read.
    pub fn on_digest(&mut self, from: Slot, packet: &Digest<'_>) -> Result<(), Reject> {
        let (bits, first) = (packet.fixed.bits, packet.fixed.first.get());
        // A peer with a tenth of our records asks about buckets ten times as large: fair, but not without end.
        if (self.len() >> bits.min(31)) * packet.digests.len() > REPAIR_SCAN_MAX {
            return Err(Reject::Field);
        }
        let mut ranges = Vec::new();
        for (bucket, digest) in (first..).zip(packet.digests) {
            let (low, high) = bucket_range(bucket, bits);
            self.stats.buckets_compared += 1;
            if self.digest(low, high) != digest.get() {
                self.stats.buckets_differing += 1;
                // What does not fit differs again next time.
                let _ = ranges.push((low, high));
            }
        }
        let question = packet.fixed.question.get();
        self.state.repairs.answered =
            Some(Exchange { peer: from, question, until: self.state.now + ANSWER_WITHIN });
        self.state.repairs.ranges = ranges;
        Ok(())
    }

    /// Returns the peer that waits for an answer, or for what it lacks.
    pub fn owes_repair(&self) -> Option<Slot> {
        let repairs = &self.state.repairs;
        let answer = repairs.answered.filter(|_| !repairs.ranges.is_empty());
        let back = repairs.asked.filter(|_| !repairs.back.is_empty());
        answer.or(back).map(|exchange| exchange.peer)
    }

    /// Fills `frame` with an answer, or with what the peer lacks. Returns its header and length, or `None` when
    /// nothing is due.
    pub fn write_repair(&mut self, frame: &mut [u8]) -> Option<(Envelope, usize)> {
        if self.state.repairs.ranges.is_empty() { self.write_back(frame) } else { self.write_range(frame) }
    }

    fn write_range(&mut self, frame: &mut [u8]) -> Option<(Envelope, usize)> {
        let (from, end) = self.state.repairs.ranges.pop()?;
        let exchange = self.state.repairs.answered?;
        let mut writer = self.writer(frame)?;
        let room = writer.room().checked_sub(size_of::<RepairFixed>())? / self.shape.record_len();
        let mut to = end;
        while self.live_in(from, to).nth(room).is_some() {
            if from == to {
                return None;
            }
            to = from + (to - from) / 2;
        }
        if to < end {
            let _ = self.state.repairs.ranges.push((to + 1, end));
        }
        let at = writer.reserve::<RepairFixed>();
        let mut count = 0;
        for record in self.live_in(from, to) {
            self.table.copy_out(record, writer.claim(self.shape.record_len()));
            count += 1;
        }
        let fixed = RepairFixed {
            shape: MapShape::new(&self.shape, count),
            question: exchange.question.into(),
            from: from.into(),
            to: to.into(),
            flags: 0.into(),
            reserved: 0.into(),
        };
        writer.fill(at, &fixed);
        let life = self.state.peers[exchange.peer.index()].life.id;
        Some((self.envelope(Kind::Repair, life), writer.len()))
    }

    fn write_back(&mut self, frame: &mut [u8]) -> Option<(Envelope, usize)> {
        let exchange = self.state.repairs.asked?;
        let mut writer = self.writer(frame)?;
        if writer.room() < size_of::<RepairFixed>() + self.shape.record_len() {
            return None;
        }
        let at = writer.reserve::<RepairFixed>();
        let mut count = 0;
        while writer.room() >= self.shape.record_len()
            && let Some(key) = self.state.repairs.back.pop()
        {
            if let Some(found) = self.table.find(key, key.mix()) {
                self.table.copy_out(found, writer.claim(self.shape.record_len()));
                count += 1;
            }
        }
        let fixed = RepairFixed {
            shape: MapShape::new(&self.shape, count),
            question: exchange.question.into(),
            from: 0.into(),
            to: u64::MAX.into(),
            flags: RepairFixed::BACK.into(),
            reserved: 0.into(),
        };
        writer.fill(at, &fixed);
        let life = self.state.peers[exchange.peer.index()].life.id;
        Some((self.envelope(Kind::Repair, life), writer.len()))
    }

    /// Takes an answer to our question, or what we lack of an answer of ours.
    ///
    /// # Errors
    /// When it is no timely answer in this exchange, or no record of the sender's may be taken ([`Reject::LacksBuried`]);
    /// nothing was changed.
    pub fn on_repair(&mut self, from: Slot, packet: &Repair<'_>) -> Result<(), Reject> {
        let back = packet.fixed.flags.get() & RepairFixed::BACK != 0;
        let repairs = &self.state.repairs;
        let exchange = if back { repairs.answered } else { repairs.asked };
        let question = packet.fixed.question.get();
        if !exchange.is_some_and(|exchange| exchange.is(from, question, self.state.now)) {
            return Err(Reject::Unasked);
        }
        if !packet.records.is_empty() {
            self.take_from(from)?;
        }
        for record in packet.records.iter() {
            self.mend(&record);
        }
        if !back {
            self.gather_back(packet.fixed.from.get(), packet.fixed.to.get(), &packet.records);
        }
        Ok(())
    }

    /// Notes which of our records in a range the answer lacks or has older.
    fn gather_back(&mut self, from: u64, to: u64, theirs: &Records<'_>) {
        let mut back = core::mem::take(&mut self.state.repairs.back);
        for at in self.live_in(from, to) {
            let key = self.table.key(at);
            let mark = self.table.mark(at).expect("a live record");
            let beaten = theirs.iter().find(|record| record.key() == key).is_none_or(|record| {
                let theirs = (&mark_of(&record), words_of(record.value()));
                compare(key, (&mark, self.table.value(at)), theirs) == Ordering::Greater
            });
            if beaten && !back.contains(&key) && back.push(key).is_err() {
                break;
            }
        }
        self.state.repairs.back = back;
    }

    /// Takes a record past the skip of R6 (DESIGN section 4).
    fn mend(&mut self, record: &RecordRef<'_>) {
        let key = record.key();
        let covered = self.state.version.covers(record.dot());
        let absent = self.table.find(key, key.mix()).is_none();
        let adopts = self.is_unmet_past(record.dot()) || self.broken(Tooth::RepairAdopts);
        if absent && covered && (record.is_tombstone() || !adopts) {
            // Collected here, or never had: its owner knows better than either of us.
            if !record.is_tombstone() {
                self.report(key, record);
            }
            return;
        }
        if self.merge(record, None) == Merged::Applied {
            if covered {
                let cause = self.cause_of(record.dot());
                self.stats.count_mend(cause);
            } else {
                self.stats.repair_early += 1;
            }
        }
    }

    /// Whether our version may cover `dot` unseen because its author's next life started before it had met everyone:
    /// the exchange of older records brings it, unless we are first (R4.2). Of a life that we have not heard from since
    /// it started, nobody has told us how.
    fn is_unmet_past(&self, dot: Dot) -> bool {
        let generation = generation_of(self.state.version.get(dot.slot));
        let peer = &self.state.peers[dot.slot.index()];
        let heard = dot.slot == self.state.slot || peer.active && peer.life.generation >= generation;
        dot.generation() < generation && (!heard || self.started_unmet(dot.slot))
    }

    fn started_unmet(&self, slot: Slot) -> bool {
        if slot == self.state.slot {
            self.state.started_unmet
        } else {
            self.state.peers[slot.index()].started_unmet
        }
    }

    fn cause_of(&self, dot: Dot) -> Cause {
        let unmet = self.started_unmet(dot.slot) || self.is_unmet_past(dot);
        if self.state.conflicted.contains(dot.slot) {
            Cause::SlotConflict
        } else if unmet {
            Cause::StartedUnmet
        } else {
            Cause::Unknown
        }
    }

    // ---- reports ----

    fn report(&mut self, key: Key, record: &RecordRef<'_>) {
        let Some(owner) = self.state.owners.owner(key) else {
            return;
        };
        self.stats.reports += 1;
        if owner == self.state.slot {
            self.settle(record);
            return;
        }
        let count = 4 + self.shape.value_words();
        let words = (0..count).map(|i| record.raw_word(i)).collect();
        // A full backlog loses nothing: the bucket differs again next time.
        let _ = self.state.repairs.reports.push(Reported { owner, words });
    }

    /// Returns the owner that has a report coming.
    pub fn owes_report(&self) -> Option<Slot> {
        self.state.repairs.reports.last().map(|report| report.owner)
    }

    /// Fills `frame` with a report. Returns its header and length, or `None` when none is due.
    pub fn write_report(&mut self, frame: &mut [u8]) -> Option<(Envelope, usize)> {
        let report = self.state.repairs.reports.pop()?;
        let life = self.state.peers[report.owner.index()].life;
        let mut writer = self.writer(frame)?;
        if !life.is_known() || writer.room() < size_of::<MapShape>() + self.shape.record_len() {
            return None;
        }
        let at = writer.reserve::<MapShape>();
        for word in &report.words {
            writer.put(&word.to_le_bytes());
        }
        writer.fill(at, &MapShape::new(&self.shape, 1));
        Some((self.envelope(Kind::Report, life.id), writer.len()))
    }

    /// Takes records that a peer lacks though its version covers them; as their owner we put or remove them.
    ///
    /// # Errors
    /// [`Reject::LacksBuried`] when no record of the sender's may be taken; nothing was changed.
    pub fn on_report(&mut self, from: Slot, packet: &Report<'_>) -> Result<(), Reject> {
        self.take_from(from)?;
        for record in packet.records.iter() {
            if self.state.owners.owner(record.key()) == Some(self.state.slot) {
                self.settle(&record);
            }
        }
        Ok(())
    }

    /// As the owner of a disputed record: has it, then writes it again for all to see; has it not, then deletes it.
    fn settle(&mut self, record: &RecordRef<'_>) {
        if self.may_write().is_err() {
            return;
        }
        let key = record.key();
        let mix = key.mix();
        let Some(at) = self.table.find(key, mix) else {
            if !self.state.version.covers(record.dot()) {
                self.merge(record, None);
                return;
            }
            let Some(term) = self.state.floor.max(record.term()).checked_add(1) else {
                return;
            };
            if self.write_own_at(key, mix, None, term, None::<core::iter::Empty<u64>>).is_ok() {
                self.stats.reports_buried += 1;
            }
            return;
        };
        self.merge(record, None);
        if self.table.mark(at).is_some_and(|mark| !mark.tombstone) {
            let value = self.copy_value(at);
            if self.write_own(key, mix, Some(at), Some(words_of(&value))).is_ok() {
                self.stats.reports_rewritten += 1;
            }
        }
    }
}

const _: () = assert!(SLOTS_MAX <= 64 && BUCKET_RECORDS * DIGESTS as usize * 2 <= REPAIR_SCAN_MAX);
