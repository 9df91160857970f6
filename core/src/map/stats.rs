//! Counters of what happened to the map.

/// Why repair had to mend something (DESIGN section 4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Cause {
    /// The author of the record started writing before it had met every configured server: its deadline expired, or one
    /// was held dead.
    StartedUnmet,
    /// Two servers were heard in the author's slot; or it is ours, and we heard of another life in it while we started.
    SlotConflict,
    /// None known: a bug, or memory that does not keep what is written to it.
    Unknown,
}

/// Plain counters, all rising from zero at the start of a life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MapStats {
    /// Values written here.
    pub puts: u64,
    /// Keys deleted here.
    pub removes: u64,
    /// Records sent in deltas and pushes.
    pub records_sent: u64,
    /// Records that came in deltas and pushes.
    pub records_received: u64,
    /// Records that changed the table, repair not counted.
    pub records_applied: u64,
    /// Records skipped because the version covers them (R6), or because their stretch of the sender's log was walked
    /// before (R5).
    pub records_covered: u64,
    /// Records that lost against what the table held (R1).
    pub records_superseded: u64,
    /// Records equal to what the table held.
    pub records_duplicate: u64,
    /// Merges between records of equal term and different writers: rendezvous decided (R1).
    pub conflicts: u64,
    /// Records that did not fit (R3).
    pub records_refused: u64,
    /// Puts refused because the table was full (R3).
    pub puts_refused: u64,
    /// Delta packets taken in.
    pub deltas: u64,
    /// Versions committed from deltas (R5).
    pub commits: u64,
    /// Delta packets that neither moved a cursor nor committed.
    pub deltas_out_of_order: u64,
    /// Pushes that raised the author's counter.
    pub pushes_taken: u64,
    /// Pushes that showed that something was missed.
    pub push_gaps: u64,
    /// Own pushes sent without records, because these did not fit or a record of ours was replaced.
    pub pushes_announced: u64,
    /// Tombstones collected (R2).
    pub tombstones_collected: u64,
    /// Orphans rewritten (R7).
    pub orphans_rewritten: u64,
    /// Own values written again because an earlier life's record beat them (R4.3).
    pub reasserted: u64,
    /// Own records given new dots after a conflict in the slot (R4.5).
    pub redotted: u64,
    /// Repair questions asked.
    pub repair_questions: u64,
    /// Buckets compared for others.
    pub buckets_compared: u64,
    /// Buckets that differed.
    pub buckets_differing: u64,
    /// Records that a repair brought before the ordinary delta did: no mend.
    pub repair_early: u64,
    /// Records mended because their author had started before it had met every configured server.
    pub mends_started_unmet: u64,
    /// Records mended after a slot conflict.
    pub mends_slot_conflict: u64,
    /// Records mended for no known reason: each is a bug to explain.
    pub mends_unknown: u64,
    /// Live records reported as absent where the version covers them.
    pub reports: u64,
    /// Reported keys that their owner had and wrote again.
    pub reports_rewritten: u64,
    /// Reported keys that their owner did not have and deleted.
    pub reports_buried: u64,
}

impl MapStats {
    /// Returns records received over records applied; 1 is ideal, `None` before the first.
    pub fn redundancy(&self) -> Option<f64> {
        (self.records_applied > 0).then(|| self.records_received as f64 / self.records_applied as f64)
    }

    pub(super) fn count_mend(&mut self, cause: Cause) {
        match cause {
            Cause::StartedUnmet => self.mends_started_unmet += 1,
            Cause::SlotConflict => self.mends_slot_conflict += 1,
            Cause::Unknown => self.mends_unknown += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redundancy_is_what_came_over_what_changed_something() {
        assert_eq!(MapStats::default().redundancy(), None);
        let stats = |records_received, records_applied| MapStats {
            records_received,
            records_applied,
            ..MapStats::default()
        };
        assert_eq!(stats(5, 0).redundancy(), None);
        assert_eq!(stats(6, 4).redundancy(), Some(1.5));
        assert_eq!(stats(1, 1).redundancy(), Some(1.0));
    }

    #[test]
    fn mends_are_counted_by_their_cause() {
        let mut stats = MapStats::default();
        for (cause, times) in [(Cause::StartedUnmet, 1), (Cause::SlotConflict, 2), (Cause::Unknown, 3)] {
            (0..times).for_each(|_| stats.count_mend(cause));
        }
        let MapStats { mends_started_unmet, mends_slot_conflict, mends_unknown, .. } = stats;
        assert_eq!([mends_started_unmet, mends_slot_conflict, mends_unknown], [1, 2, 3]);
    }
}
