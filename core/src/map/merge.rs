//! The merge of a packet's records, all together.
//!
//! In a large table each step of a lookup is a cache miss. So the records of a packet go through the steps of their
//! lookups together, that the misses overlap: what their buckets are, what the buckets tell, and then the records
//! themselves. Nearly all records of a peaceful PoP are the next value that the same writer gives a key; they are
//! overwritten in one loop that calls nothing. The others go the way of single records (`write`).

use super::Map;
use super::layout::SLOT_WORDS;
use super::table::{Packed, next_writer, writer};
use super::write::Merged;
use crate::id::Slot;
use crate::limits::MERGE_BATCH;
use crate::wire::{RECORD_DEFAULT, RecordRef, Records};

/// A record between the steps of its lookup.
#[derive(Clone, Copy, Default)]
struct Pending {
    /// The bucket that the lookup begins with, and then the position where the record may be.
    at: u32,
    /// The low bits of the key's mix: those that buckets tell.
    mix: u16,
    /// Its number in the batch.
    n: u16,
}

impl<const N: usize> Map<'_, N> {
    /// Merges the records of a packet, skipping those that the version covers (R6). `from` sent it. Returns false when one
    /// was refused.
    pub(super) fn merge_all(&mut self, records: &Records<'_>, from: Slot) -> bool {
        let (mut applied, mut refused) = (0, 0);
        self.stats.records_received += records.len() as u64;
        let record_len = records.record_len();
        for batch in records.batches(MERGE_BATCH) {
            // Of one length the compiler knows strides and bounds.
            let merged = match record_len {
                RECORD_DEFAULT => self.merge_batch(batch.as_chunks::<RECORD_DEFAULT>().0, from),
                _ => {
                    let mut records = [&[][..]; MERGE_BATCH];
                    records.iter_mut().zip(batch.chunks_exact(record_len)).for_each(|(to, from)| *to = from);
                    self.merge_batch(&records[..batch.len() / record_len], from)
                }
            };
            applied += merged.applied;
            refused += merged.refused;
        }
        self.stats.records_applied += applied;
        self.note_room(refused == 0);
        self.note_distant_checkpoint();
        refused == 0
    }

    /// Merges so many records at most as are looked up together, in their order.
    #[inline(always)]
    fn merge_batch<R: AsRef<[u8]>>(&mut self, records: &[R], from: Slot) -> Batch {
        let mut pending = [Pending::default(); MERGE_BATCH];
        let new = self.begin_lookups(records, &mut pending);
        self.stats.records_covered += (records.len() - new) as u64;
        let mut merged = Batch { applied: 0, refused: 0 };
        if new == 0 {
            return merged;
        }
        self.guess_all(&mut pending[..new]);
        let mut done = 0;
        loop {
            let overwritten = self.overwrite_guessed(records, &pending[done..new]);
            merged.applied += overwritten as u64;
            done += overwritten;
            if done == new {
                return merged;
            }
            match self.merge_other(records[pending[done].n as usize].as_ref(), from) {
                Merged::Applied => merged.applied += 1,
                Merged::Kept => {}
                Merged::Refused => merged.refused += 1,
            }
            done += 1;
        }
    }

    /// Merges one that is not overwritten. Looked up anew: a key that was absent may have been inserted by a record before
    /// it.
    #[inline(never)]
    fn merge_other(&mut self, record: &[u8], from: Slot) -> Merged {
        self.merge(&RecordRef::new(record), Some(from))
    }

    /// Finds the records that the version does not cover (R6), and brings their buckets into the cache. Returns how many
    /// there are.
    #[inline(always)]
    fn begin_lookups<R: AsRef<[u8]>>(&self, records: &[R], pending: &mut [Pending; MERGE_BATCH]) -> usize {
        let mut new = 0;
        for (n, record) in records.iter().enumerate() {
            let record = RecordRef::new(record.as_ref());
            let [counter, meta] = record.mark_words();
            if counter > self.state.version.get(writer(meta)) {
                let mix = record.key().mix();
                let at = self.table.home(mix);
                self.table.touch_home(at);
                pending[new % MERGE_BATCH] = Pending { at, mix: mix as u16, n: n as u16 };
                new += 1;
            }
        }
        new
    }

    /// Asks the buckets where the records may be, and brings what is there into the cache.
    #[inline(never)]
    fn guess_all(&self, pending: &mut [Pending]) {
        let table = &self.table;
        for pending in pending {
            pending.at = table.guess_from(pending.at, pending.mix);
            table.touch_slot(pending.at);
        }
    }

    /// Overwrites the first of these that are the next values of the same writers for their keys, and not ours: does for
    /// each what [`merge`](Self::merge) would do. Returns how many.
    #[inline(never)]
    fn overwrite_guessed<R: AsRef<[u8]>>(&mut self, records: &[R], pending: &[Pending]) -> usize {
        let (table, state) = (&self.table, &mut self.state);
        let me = state.slot;
        let Some(mut run) = self.log.run(pending.len(), state.now.0) else { return 0 };
        for pending in pending {
            let Some(record) = records.get(pending.n as usize) else { break };
            let record = RecordRef::new(record.as_ref());
            let new = record.mark_words();
            let slot_words = SLOT_WORDS + record.packed_value().len();
            if let Some(entry) = table.entry_with(pending.at, record.key().words(), slot_words)
                && let Some(slot) = next_writer(new, entry.mark_words())
                && slot != me
            {
                table.overwrite(entry, run.append(pending.at), new[0], Packed(record.packed_value()));
                state.held.raise(slot, new[0]);
            } else {
                break;
            }
        }
        let overwritten = run.end();
        // Where no sweep is under way the next one begins with the version, and finds the rest in the table.
        if state.sweep_at > 0 {
            for pending in &pending[..overwritten] {
                let [counter, meta] = RecordRef::new(records[pending.n as usize].as_ref()).mark_words();
                state.held_next.raise(writer(meta), counter);
            }
        }
        overwritten
    }
}

/// What became of the records of a batch that the version does not cover.
struct Batch {
    applied: u64,
    refused: u64,
}
