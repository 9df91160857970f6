//! A packet out: encoded from the state as it is when the frame is filled. Egress never parses.

use super::Node;
use crate::id::{Address, Slot, SlotSet};
use crate::limits::PAYLOAD_MIN;
use crate::map::Phase;
use crate::time::Instant;
use crate::wire::{self, Envelope};

/// A filled frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// Where to.
    pub to: Address,
    /// Whom to.
    pub slot: Slot,
    /// Bytes of the frame that were filled.
    pub len: usize,
}

/// Something to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    Push(Slot),
    Delta(Slot),
    Version(Slot),
    Repair(Slot),
    Digest(Slot),
    History(Slot),
    HistoryAsk(Slot),
    Report(Slot),
}

/// Whose turn it is: kinds take turns, and within a kind peers do, so that none starves another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    kind: usize,
    peer: [Slot; KINDS],
}

const KINDS: usize = 8;

impl Default for Turn {
    fn default() -> Self {
        Self { kind: 0, peer: [Slot::at(0); KINDS] }
    }
}

/// Returns what is due next, without the budget.
pub(super) fn due<const N: usize>(node: &Node<'_, N>) -> Option<Due> {
    (0..KINDS).map(|step| (node.turn.kind + step) % KINDS).find_map(|kind| due_of(node, kind))
}

fn due_of<const N: usize>(node: &Node<'_, N>, kind: usize) -> Option<Due> {
    let map = &node.map;
    let next = |set: SlotSet| set.next_after(node.turn.peer[kind]);
    match kind {
        0 => next(node.pushes).map(Due::Push),
        1 => next(map.owes_delta()).map(Due::Delta),
        2 => next(node.sync.versions()).map(Due::Version),
        3 => map.owes_repair().map(Due::Repair),
        4 => node.question.map(Due::Digest),
        5 => next(map.owes_history()).map(Due::History),
        6 => next(node.asks).map(Due::HistoryAsk),
        _ => map.owes_report().map(Due::Report),
    }
}

impl<const N: usize> Node<'_, N> {
    /// Fills `frame`, which may be a device's own buffer, with the next packet that is due. `None` when nothing is, or
    /// the budget of this interval is spent.
    ///
    /// `frame` should be as long as the configured payload limit; no more than that is filled, and a frame shorter than
    /// [`PAYLOAD_MIN`] is counted and left alone.
    pub fn poll_transmit(&mut self, now: Instant, frame: &mut [u8]) -> Option<Transmit> {
        self.handle_timeout(now);
        let limit = frame.len().min(self.config.payload);
        let frame = &mut frame[..limit];
        if limit < PAYLOAD_MIN {
            self.stats.short_frames += 1;
            return None;
        }
        // Keeps members' lives apart: exempt from the budget, and bounded by itself.
        while let Some(notice) = self.notices.pop() {
            let written = self.map.write_life_notice(notice.slot, notice.other, notice.to_life, frame);
            if let Some(written) = written {
                return Some(self.seal(frame, written, 0, notice.to, notice.slot));
            }
        }
        if self.owes_probe()
            && let Some((envelope, len, members, to, slot)) = self.write_probe(frame)
        {
            return Some(self.seal(frame, (envelope, len), members, to, slot));
        }
        while let Some(due) = self.due() {
            if !self.budget.allows(self.now) {
                self.stats.budget_exhausted += 1;
                return None;
            }
            let share = self.members_share(limit);
            let (written, slot) = self.fill(due, &mut frame[..limit - share]);
            if let Some((envelope, len)) = written {
                let (len, members) = self.append_members(slot, frame, len);
                self.budget.spend(len);
                return Some(self.seal(frame, (envelope, len), members, self.address(slot), slot));
            }
        }
        None
    }

    /// Encodes what is due and takes it off what is due, whether it came to a packet or not.
    fn fill(&mut self, due: Due, frame: &mut [u8]) -> (Option<(Envelope, usize)>, Slot) {
        let (kind, slot) = match due {
            Due::Push(slot) => (0, slot),
            Due::Delta(slot) => (1, slot),
            Due::Version(slot) => (2, slot),
            Due::Repair(slot) => (3, slot),
            Due::Digest(slot) => (4, slot),
            Due::History(slot) => (5, slot),
            Due::HistoryAsk(slot) => (6, slot),
            Due::Report(slot) => (7, slot),
        };
        self.turn.kind = (kind + 1) % KINDS;
        self.turn.peer[kind] = slot;
        let written = match due {
            Due::Push(slot) => {
                self.pushes.remove(slot);
                self.map.write_push(slot, frame)
            }
            Due::Delta(slot) => self.map.write_delta(slot, frame),
            Due::Version(slot) => {
                let starting = self.map.phase() == Phase::Starting;
                let request = self.sync.take_version(slot, starting);
                self.map.write_version(slot, &request, frame)
            }
            Due::Repair(_) => self.map.write_repair(frame),
            Due::Digest(slot) => {
                self.question = None;
                self.map.write_digest(slot, frame)
            }
            Due::History(slot) => self.map.write_history_answer(slot, frame),
            Due::HistoryAsk(slot) => {
                self.asks.remove(slot);
                self.map.write_history_ask(slot, frame)
            }
            Due::Report(_) => self.map.write_report(frame),
        };
        (written, slot)
    }

    fn seal(
        &mut self,
        frame: &mut [u8],
        written: (Envelope, usize),
        members: u8,
        to: Address,
        slot: Slot,
    ) -> Transmit {
        let (envelope, len) = written;
        self.packet_number += 1;
        wire::seal_with_members(
            &mut frame[..len],
            &envelope,
            self.config.cluster,
            self.packet_number,
            members,
        );
        self.stats.sent[envelope.kind.index()] += 1;
        self.stats.sent_bytes += len as u64;
        Transmit { to, slot, len }
    }
}
