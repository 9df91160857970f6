//! Versions and deltas: the walk along the change log, and the commit (rules R5 and R6).

use super::Map;
use super::log::Piece;
use super::peer::{Origin, Serve, Session, Stretch};
use super::table::writer as writer_of;
use crate::clock::VersionVector;
use crate::id::{Slot, SlotSet};
use crate::limits::WALK_MAX;
use crate::teeth::Tooth;
use crate::wire::{Delta, DeltaFixed, Envelope, Kind, MapShape, Reject, Version, VersionFixed, flag};

/// How a version is to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Request {
    /// In answer to a version that had something [to be told](VersionOutcome::tell): not to be answered so again.
    pub reply: bool,
    /// An answer is wanted even if it carries no record.
    pub force: bool,
    /// Packets that the peer may send in answer.
    pub window: u16,
}

/// What a version calls for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VersionOutcome {
    /// The peer lacks something, or wants an answer: send it deltas.
    pub owes_delta: bool,
    /// We lack something: send our version, unless this was a reply to it.
    pub lacks: bool,
    /// The peer has to see our version before it may take our deltas, or count on us: send it (R2).
    pub tell: bool,
}

/// What a delta packet brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DeltaOutcome {
    /// The cursor moved, or a range behind a gap was kept.
    pub progress: bool,
    /// The sender's version was committed (R5): we have everything that it had.
    pub committed: bool,
    /// The sender sends no more in answer to our last request.
    pub last: bool,
    /// Something between the cursor and what came is missing: lost, or overtaken.
    pub gap: bool,
    /// A record did not fit (R3): nothing was committed.
    pub refused: bool,
    /// All of its stretch was walked before: its records were passed over.
    pub duplicate: bool,
}

impl<const N: usize> Map<'_, N> {
    /// Fills `frame` with our version and what we ask of `to`. Returns its header and length, or `None` if it is too
    /// short.
    pub fn write_version(&self, to: Slot, request: &Request, frame: &mut [u8]) -> Option<(Envelope, usize)> {
        let peer = &self.state.peers[to.index()];
        let Session { cursor, ref ahead, .. } = peer.session;
        let forgotten = &self.state.forgets.lives;
        let set = |flag: u16, on: bool| if on { flag } else { 0 };
        let flags = set(VersionFixed::REPLY, request.reply)
            | set(VersionFixed::FORCE, request.force)
            | set(VersionFixed::HAS_CURSOR, cursor.is_some())
            | set(VersionFixed::UNSEEN, !peer.told_version)
            | set(VersionFixed::FORGETS, !forgotten.occupied().is_empty());
        let until = if ahead.is_empty() { 0 } else { peer.session.gap_end() };
        let fixed = VersionFixed {
            shape: MapShape::new(&self.shape, 0),
            cursor: cursor.unwrap_or(0).into(),
            until: until.into(),
            // Before the first answer there is no cursor: what follows a lost first packet would be of no use.
            window: if cursor.is_some() { request.window } else { request.window.min(1) }.into(),
            flags: flags.into(),
            floor: self.state.floor.into(),
            reserved: 0.into(),
        };
        let mut writer = self.writer(frame)?;
        if writer.room() < size_of::<VersionFixed>() {
            return None;
        }
        let at = writer.reserve::<VersionFixed>();
        writer.fill(at, &fixed);
        let version = &self.state.version;
        let fits = writer.sparse(version, version.occupied())
            && (flags & VersionFixed::FORGETS == 0 || writer.sparse(forgotten, forgotten.occupied()));
        if !fits {
            return None;
        }
        Some((self.envelope(Kind::Version, peer.life.id), writer.len()))
    }

    /// Takes a peer's version, and what it asks of our change log.
    pub fn on_version(&mut self, from: Slot, packet: &Version<'_>) -> VersionOutcome {
        let theirs = self.believed(packet.version.to_vector());
        if !packet.forgotten.is_empty() {
            let forgotten = packet.forgotten.to_vector();
            self.learn_forgotten(&forgotten);
            self.state.peers[from.index()].knows_forgotten = forgotten.covers_all(self.forgotten());
            self.try_start();
        }
        self.note_version(from, &theirs, packet.fixed.floor.get());
        if self.is_over() {
            // That is what it told.
            return VersionOutcome::default();
        }

        let flags = packet.fixed.flags.get();
        let has_seen = flags & VersionFixed::UNSEEN == 0;
        // Two that start would else tell each other without end, as fast as the network carries it.
        let may_tell = flags & VersionFixed::REPLY == 0 || self.broken(Tooth::ReplyAnswered);
        let peer = &mut self.state.peers[from.index()];
        peer.has_seen = has_seen && !peer.active;
        let has_cursor = flags & VersionFixed::HAS_CURSOR != 0;
        let cursor =
            Some(packet.fixed.cursor.get()).filter(|&cursor| has_cursor && cursor <= self.log.head());
        // What we account for, and what we hold ahead of that and the peer has not walked past.
        let unseen = !theirs.covers_all(&self.state.version)
            || cursor != Some(self.log.head()) && !theirs.covers_all(&self.state.held);
        let owes_delta = unseen || flags & VersionFixed::FORCE != 0;
        let lacks = !self.state.version.covers_all(&theirs);
        if owes_delta && !has_seen && self.has_forgotten() && !self.broken(Tooth::ServedUnseen) {
            // Of whose version it has not seen it cannot know whether that covers what is buried: it asks again.
            return VersionOutcome { owes_delta: false, lacks, tell: may_tell };
        }
        if owes_delta {
            let serve = self.start_of(from, cursor);
            let until = if serve.origin == Origin::Cursor { packet.fixed.until.get() } else { 0 };
            let packets_left = packet.fixed.window.get().max(1);
            self.state.peers[from.index()].serve = Some(Serve { until, packets_left, ..serve });
            self.state.serving.insert(from);
        }
        let starts = !self.state.peers[from.index()].active;
        let wants = !self.has_had_buried(from) || starts && self.has_forgotten();
        let tell = owes_delta && may_tell && wants;
        VersionOutcome { owes_delta, lacks, tell }
    }

    /// Takes note of what `from` accounts for, as it says in this life.
    pub(super) fn note_version(&mut self, from: Slot, theirs: &VersionVector<N>, floor: u32) {
        self.peer_versions[from.index()].join(theirs);
        self.state.peers[from.index()].told_version = true;
        self.join_floor(floor);
        self.witness_own(theirs.get(self.state.slot));
    }

    /// Takes note of another's floor (R2).
    pub(super) fn join_floor(&mut self, floor: u32) {
        if !self.broken(Tooth::FloorNotJoined) {
            self.state.floor = self.state.floor.max(floor);
        }
    }

    /// Where a walk for `peer` starts: at its cursor, or at the newest checkpoint that its version covers, or with a scan.
    fn start_of(&mut self, peer: Slot, cursor: Option<u64>) -> Serve {
        let serve = |at, origin| Serve { at, origin, until: 0, packets_left: 0 };
        let reaches = |position| self.log.reaches(position);
        let cursor = cursor.filter(|&cursor| reaches(cursor) || self.broken(Tooth::WalkFromTail));
        if let Some(cursor) = cursor
            && self.log.head() - cursor <= WALK_MAX
        {
            return serve(cursor, Origin::Cursor);
        }
        let base = self.checkpoints.newest_covered_by(&self.peer_versions[peer.index()], reaches);
        match (cursor, base) {
            (Some(cursor), base) if base.is_none_or(|base| cursor >= base) => serve(cursor, Origin::Cursor),
            (_, Some(base)) => serve(base, Origin::Base),
            _ => serve(self.log.start_scan(), Origin::Scan),
        }
    }

    /// Whether `peer` has told us its version in its present life.
    pub fn has_version_of(&self, peer: Slot) -> bool {
        self.state.peers[peer.index()].told_version
    }

    /// Whether `peer` is known to account for something that we do not.
    pub fn lacks(&self, peer: Slot) -> bool {
        !self.state.version.covers_all(&self.peer_versions[peer.index()])
    }

    /// Returns what `peer` is known to account for, in its present life.
    pub fn version_of(&self, peer: Slot) -> &VersionVector<N> {
        &self.peer_versions[peer.index()]
    }

    /// Returns the peers that wait for deltas.
    pub fn owes_delta(&self) -> SlotSet {
        self.state.serving
    }

    /// Fills `frame` with the next delta packet for `to`. Returns its header and length, or `None` when none is due.
    ///
    /// The work is in proportion to what changed, not to the size of the map: the walk looks at no more than
    /// [`WALK_MAX`] log entries.
    pub fn write_delta(&mut self, to: Slot, frame: &mut [u8]) -> Option<(Envelope, usize)> {
        let peer = &self.state.peers[to.index()];
        let (Some(mut serve), life) = (peer.serve, peer.life.id) else {
            self.state.serving.remove(to);
            return None;
        };
        if !self.log.reaches(serve.at) && !self.broken(Tooth::WalkFromTail) {
            // So much has changed meanwhile.
            serve = Serve { packets_left: serve.packets_left, ..self.start_of(to, None) };
        }
        let mut writer = self.writer(frame)?;
        let record_len = self.shape.record_len();
        // Whoever may hold records older than what is buried has to know of that before it uses anything of this.
        let buried =
            if self.has_had_buried(to) { SlotSet::EMPTY } else { self.state.forgets.buried.occupied() };
        let buried_len = if buried.is_empty() { 0 } else { 8 + 8 * buried.len() };
        if writer.room() < size_of::<DeltaFixed>() + 8 + buried_len + record_len {
            return None;
        }
        let fixed_at = writer.reserve::<DeltaFixed>();
        let theirs = &self.peer_versions[to.index()];
        let head = self.log.head();
        let stop = if serve.until == 0 { head } else { serve.until };

        let (mut reached, mut count, mut steps) = (serve.at, 0, self.log.steps(serve.at));
        let mut left = WALK_MAX;
        while reached < stop && left > 0 {
            if let Some(Piece { first, entries }) = self.log.piece(&steps) {
                let most = left.min(stop.saturating_sub(first).saturating_add(1));
                let entries = &entries[..entries.len().min(most as usize)];
                let lacks = |mark: [u64; 2]| mark[0] > theirs.get(writer_of(mark[1]));
                // Eight bytes stay for an empty version.
                let room = writer.left(8 + buried_len);
                let (walked, copied) = self.table.copy_changed(entries, first, lacks, room);
                writer.claim(copied * record_len);
                count += copied;
                steps.pass(first, walked);
                if walked > 0 {
                    reached = first + walked as u64 - 1;
                }
                if walked < entries.len() {
                    break;
                }
                left -= walked as u64;
                continue;
            }
            let Some((position, record)) = self.log.step(&self.table, &mut steps) else {
                reached = head;
                break;
            };
            if let Some((at, mark)) = record
                && !theirs.covers(mark.dot)
            {
                if writer.room() < record_len + 8 + buried_len {
                    break;
                }
                self.table.copy_out(at, writer.claim(record_len));
                count += 1;
            }
            reached = position;
            left -= 1;
        }
        let news = if self.broken(Tooth::PublishedOrder) {
            // The published rule needs all of the sender's version.
            self.state.version.occupied()
        } else {
            self.state.version.exceeding(theirs)
        };
        let fits = writer.room() >= 8 + 8 * news.len() + buried_len;
        let complete = reached == head && fits && writer.sparse(&self.state.version, news);
        if !complete {
            writer.put(&[0; 8]);
        }
        if !buried.is_empty() {
            writer.sparse(&self.state.forgets.buried, buried);
        }
        let last = complete || serve.packets_left <= 1 || serve.until != 0 && reached >= stop;
        let bit = |flag: u32, on: bool| if on { flag } else { 0 };
        writer.fill(
            fixed_at,
            &DeltaFixed {
                shape: MapShape::new(&self.shape, count),
                from: serve.at.into(),
                to: reached.into(),
                head: head.into(),
                floor: self.state.floor.into(),
                flags: (bit(DeltaFixed::FROM_BASE, serve.origin == Origin::Base)
                    | bit(DeltaFixed::FROM_SCAN, serve.origin == Origin::Scan)
                    | bit(DeltaFixed::COMPLETE, complete)
                    | bit(DeltaFixed::LAST, last)
                    | bit(DeltaFixed::BURIED, !buried.is_empty()))
                .into(),
            },
        );
        self.stats.records_sent += count as u64;
        let next =
            Serve { at: reached, packets_left: serve.packets_left - 1, origin: Origin::Cursor, ..serve };
        self.state.peers[to.index()].serve = (!last).then_some(next);
        if last {
            self.state.serving.remove(to);
        }
        Some((self.envelope(Kind::Delta, life), writer.len()))
    }

    /// Takes a delta: merges its records at once, and commits the sender's version when R5 allows it.
    ///
    /// # Errors
    /// [`Reject::LacksBuried`] when no record of the sender's may be taken (R2); nothing was changed.
    pub fn on_delta(&mut self, envelope: &Envelope, packet: &Delta<'_>) -> Result<DeltaOutcome, Reject> {
        let from = envelope.slot;
        let fixed = packet.fixed;
        let theirs = packet.version.iter().filter(self.believes());
        let flags = fixed.flags.get();
        let buried = if packet.buried.is_empty() { None } else { Some(packet.buried.to_vector()) };
        let takes = !packet.records.is_empty();
        if takes && (self.state.forgets.any_buried || buried.is_some()) {
            let mut known = self.peer_versions[from.index()];
            theirs.clone().for_each(|(slot, counter)| known.raise(slot, counter));
            self.check_has_had(&known, buried.as_ref(), envelope.flags)?;
        }
        let known = &mut self.peer_versions[from.index()];
        theirs.clone().for_each(|(slot, counter)| known.raise(slot, counter));
        if let Some(buried) = &buried {
            self.learn_buried(buried);
            if self.is_over() {
                // That is what it brought.
                return Ok(DeltaOutcome::default());
            }
        }
        if takes {
            self.note_taken(from, buried.as_ref());
        }
        self.stats.deltas += 1;
        self.join_floor(fixed.floor.get());
        let last = flags & DeltaFixed::LAST != 0;
        let origin = match flags & (DeltaFixed::FROM_SCAN | DeltaFixed::FROM_BASE) {
            0 => Origin::Cursor,
            DeltaFixed::FROM_BASE => Origin::Base,
            _ => Origin::Scan,
        };
        let origin = if self.broken(Tooth::CursorPastGap) { Origin::Base } else { origin };
        let (start, to, head) = (fixed.from.get(), fixed.to.get(), fixed.head.get());
        let stretch = Stretch { origin, from: start, to, head };
        let walked = (start, if self.broken(Tooth::DuplicateByStart) { start } else { to });
        let duplicate = self.state.peers[from.index()].session.has_walked(walked);
        if duplicate {
            // A duplicate leaves here: each of its records is held, or was replaced where it came from.
            self.stats.records_received += packet.records.len() as u64;
            self.stats.records_covered += packet.records.len() as u64;
        } else if !self.merge_all(&packet.records, from) {
            return Ok(DeltaOutcome { refused: true, last, ..DeltaOutcome::default() });
        }
        if self.broken(Tooth::CommitEveryPacket) {
            let theirs = self.peer_versions[from.index()];
            self.join_version(SlotSet::first(N).iter().map(|slot| (slot, theirs.get(slot))));
        }
        let (ordered, scan_is_whole) = (self.broken(Tooth::HeadOrder), self.broken(Tooth::ScanIsWhole));
        let peer = &mut self.state.peers[from.index()];
        let newest_before = peer.session.newest_head;
        let advance = peer.session.advance(stretch);
        if scan_is_whole {
            peer.session.low = 0;
        }
        let gap = !peer.session.ahead.is_empty();
        // R5: no older head than the newest used on the way, or what moved in between was in neither walk.
        let in_order = head >= newest_before || ordered;
        let committed = flags & DeltaFixed::COMPLETE != 0 && advance.contiguous && in_order;
        if committed {
            peer.committed = true;
            peer.counted |= envelope.flags & flag::CAUGHT_UP != 0;
            self.stats.commits += 1;
            self.join_version(theirs);
            self.try_start();
        } else if !advance.progress {
            self.stats.deltas_out_of_order += 1;
        }
        Ok(DeltaOutcome { progress: advance.progress, committed, last, gap, refused: false, duplicate })
    }

    /// Accounts for everything up to these counters: R6 must hold for it already.
    fn join_version(&mut self, theirs: impl Iterator<Item = (Slot, u64)> + Clone) {
        let me = self.state.slot;
        if let Some((_, counter)) = theirs.clone().find(|&(slot, _)| slot == me) {
            self.witness_own(counter);
        }
        for (slot, counter) in theirs {
            self.state.version.raise(slot, counter);
            self.state.held.raise(slot, counter);
            self.state.held_next.raise(slot, counter);
        }
    }
}
