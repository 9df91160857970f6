//! A packet out: encoded from the state as it is when the frame is filled. Egress never parses.

use super::auth::{Auth, Challenge};
use super::{Node, Notice};
use crate::id::{Address, Slot, SlotSet};
use crate::limits::PAYLOAD_MIN;
use crate::map::Phase;
use crate::time::Instant;
use crate::wire::{self, Envelope, Kind, Probe};

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

/// What there is to send, in the order of the turns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Work {
    Push,
    Delta,
    Version,
    Repair,
    Digest,
    History,
    HistoryAsk,
    Report,
}

impl Work {
    const ALL: [Self; 8] = [
        Self::Push,
        Self::Delta,
        Self::Version,
        Self::Repair,
        Self::Digest,
        Self::History,
        Self::HistoryAsk,
        Self::Report,
    ];
}

/// Something to send, and whom to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Due {
    work: Work,
    slot: Slot,
}

/// Whose turn it is: kinds take turns, and within a kind peers do, so that none starves another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    work: usize,
    peer: [Slot; Work::ALL.len()],
}

impl Default for Turn {
    fn default() -> Self {
        Self { work: 0, peer: [Slot::at(0); Work::ALL.len()] }
    }
}

/// Returns what is due next, without the budget. Nothing is, once this life is over.
pub(super) fn due<const N: usize>(node: &Node<'_, N>) -> Option<Due> {
    if node.map.is_over() || !is_anything_due(node) {
        return None;
    }
    let (done, turn) = Work::ALL.split_at(node.turn.work);
    turn.iter().chain(done).find_map(|&work| Some(Due { work, slot: due_of(node, work)? }))
}

/// Whether it is worth working out whose turn it is: mostly nothing is due.
fn is_anything_due<const N: usize>(node: &Node<'_, N>) -> bool {
    let (map, sync) = (&node.map, &node.sync);
    let peers = node.pushes.union(node.asks).union(map.owes_delta()).union(map.owes_history());
    let answers = map.owes_repair().or(map.owes_report()).or(node.question);
    !peers.union(sync.versions()).is_empty() || answers.is_some()
}

fn due_of<const N: usize>(node: &Node<'_, N>, work: Work) -> Option<Slot> {
    let map = &node.map;
    let next = |set: SlotSet| set.next_after(node.turn.peer[work as usize]);
    match work {
        Work::Push => next(node.pushes),
        Work::Delta => next(map.owes_delta()),
        Work::Version => next(node.sync.versions()),
        Work::Repair => map.owes_repair(),
        Work::Digest => node.question,
        Work::History => next(map.owes_history()),
        Work::HistoryAsk => next(node.asks),
        Work::Report => map.owes_report(),
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
            let Notice { slot, other, to_life, to } = notice;
            let written = match other {
                Some(other) => self.map.write_life_notice(slot, other, to_life, frame),
                None => self.map.write_forgotten_notice(slot, to_life, frame),
            };
            if let Some((envelope, len)) = written {
                // Where a key binds the slot the two have to meet: word of each other proves nothing (R4.5).
                let met = other.filter(|_| self.auth.is_some() && slot != self.config.slot);
                let (len, members) = met.map_or((len, 0), |other| self.append_other(slot, other, frame, len));
                return Some(self.seal(frame, (envelope, len), members, to, slot));
            }
        }
        if let Some(challenge) = self.auth.as_mut().and_then(Auth::next_challenge)
            && let Some((envelope, len)) = self.write_challenge(&challenge, frame)
        {
            return Some(self.seal(frame, (envelope, len), 0, challenge.to, challenge.slot));
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
            if let Some((envelope, len)) = self.fill(due, &mut frame[..limit - share]) {
                let (len, members) = self.append_members(due.slot, frame, len);
                self.budget.spend(len);
                return Some(self.seal(frame, (envelope, len), members, self.address(due.slot), due.slot));
            }
        }
        None
    }

    /// Encodes what is due and takes it off what is due, whether it came to a packet or not.
    fn fill(&mut self, due: Due, frame: &mut [u8]) -> Option<(Envelope, usize)> {
        let Due { work, slot } = due;
        self.turn.work = (work as usize + 1) % Work::ALL.len();
        self.turn.peer[work as usize] = slot;
        match work {
            Work::Push => {
                self.pushes.remove(slot);
                let written = self.map.write_push(slot, frame);
                if self.map.owes_push(slot) {
                    self.sync.on_push_left(self.now);
                }
                written
            }
            Work::Delta => self.map.write_delta(slot, frame),
            Work::Version => {
                let starting = self.map.phase() == Phase::Starting;
                let request = self.sync.take_version(slot, starting);
                self.map.write_version(slot, &request, frame)
            }
            Work::Repair => self.map.write_repair(frame),
            Work::Digest => {
                self.question = None;
                self.map.write_digest(slot, frame)
            }
            Work::History => self.map.write_history_answer(slot, frame),
            Work::HistoryAsk => {
                self.asks.remove(slot);
                self.map.write_history_ask(slot, frame)
            }
            Work::Report => self.map.write_report(frame),
        }
    }

    /// Fills `frame` with our life, for a server that does not know it. As an ack that answers no probe it says nothing
    /// else, but that there is more to tell: a joiner asks on, now that it knows whom.
    fn write_challenge(&self, challenge: &Challenge, frame: &mut [u8]) -> Option<(Envelope, usize)> {
        let probe = Probe { number: 0, target: self.config.slot, owed: 1, version: 0 };
        let (envelope, len) = self.map.write_probe(Kind::Ack, challenge.slot, &probe, frame)?;
        Some((Envelope { to_life: challenge.life, ..envelope }, len))
    }

    /// Returns the life id to name in a packet for `slot`: the one heard of itself, else what the members say; zero when
    /// there is none. A packet for ourselves is for a seed that we do not know.
    fn life_to_name(&self, slot: Slot) -> u64 {
        let heard = self.map.life_of(slot);
        match &self.membership {
            _ if slot == self.config.slot => 0,
            Some(membership) if !heard.is_known() => membership.member(slot).life.id,
            _ => heard.id,
        }
    }

    fn seal(
        &mut self,
        frame: &mut [u8],
        written: (Envelope, usize),
        members: u8,
        to: Address,
        slot: Slot,
    ) -> Transmit {
        let (mut envelope, len) = written;
        let (packet, cluster) = (&mut frame[..len], self.config.cluster);
        if self.auth.is_some() && envelope.to_life == 0 {
            // Who is not named does not take it.
            envelope.to_life = self.life_to_name(slot);
        }
        if let Some(auth) = &mut self.auth {
            auth.seal(packet, &envelope, cluster, members, slot);
        } else {
            self.packet_number += 1;
            wire::seal_with_members(packet, &envelope, cluster, self.packet_number, members);
        }
        self.stats.sent[envelope.kind.index()] += 1;
        self.stats.sent_bytes += len as u64;
        Transmit { to, slot, len }
    }
}
